//! The real binary, spawned, spoken to over its ports, told to stop and killed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say where")]

mod acked;
mod bombs;
mod boutique;
mod bucket_reads;
mod commands;
mod crash;
mod disk_full;
mod harness;
mod http;
mod load;
mod object_storage;
mod oracle;
mod s3;
mod s3_proxy;
mod search;
mod stop;
mod syscalls;
mod terminal;
mod upkeep;
