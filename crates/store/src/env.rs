//! What the store takes from outside: the clock, the files of the WAL, and the points at which a test
//! lets it crash.

mod clock;
mod crash;
#[doc(hidden)]
pub mod fault_store;
mod files;
#[doc(hidden)]
pub mod sim;

pub use clock::{Clock, SystemClock};
pub use crash::{CrashPoint, CrashPoints, NoCrashes};
pub use files::{FileHandle, Files, SystemFiles};
