//! The write-ahead log: what is acknowledged is recovered, whatever happens to the disk.

mod append;
mod damage;
mod faults;
mod fixture;
mod mutations;
mod power_cut;
mod support;
