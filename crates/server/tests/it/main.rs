//! The server as its clients meet it: in this process, on ports that the system chose, over a real
//! store in a folder of its own.
#![allow(clippy::panic, reason = "a test that cannot go on should say why")]

mod api;
mod bad_input;
mod grpc;
mod harness;
mod http;
mod lifecycle;
mod metrics;
mod openapi;
mod sdk;
mod search;
mod search_streams;
mod upkeep;
mod values;
