//! The store from outside, against real files and against stores that fail.

mod crash;
mod local_store;
mod manifest_log;
mod stopping;
mod wal;
