//! What the store takes from outside: the clock, the files of the WAL, and the points at which a test
//! lets it crash.

mod clock;
mod crash;
mod files;

pub use clock::{Clock, SystemClock};
pub use crash::{CrashPoint, CrashPoints, NoCrashes};
pub use files::{FileHandle, Files, SystemFiles};
