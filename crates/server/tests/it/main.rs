//! The server as its clients meet it: in this process, on ports that the system chose, over a real
//! store in a folder of its own.

mod api;
mod bad_input;
mod grpc;
mod harness;
mod http;
mod lifecycle;
mod sdk;
