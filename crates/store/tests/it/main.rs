//! The store from outside, against real files and against stores that fail.

mod backup;
mod compaction;
mod crash;
mod local_store;
mod manifest_log;
mod retention;
mod stopping;
mod support;
mod wal;
