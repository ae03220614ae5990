//! Segments from end to end: written, opened, looked up, decoded, damaged.

mod damage;
mod file;
mod fixture;
mod fuzz;
mod index;
mod lookup;
mod merge;
mod random;
mod realistic;
mod round_trip;
mod shared_texts;
mod support;
