//! The library from the outside: what goes in comes out, from memory, from segments, after a restart.

mod life_of_a_span;
