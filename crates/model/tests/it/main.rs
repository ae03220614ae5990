//! Tests about the workspace as a whole.
#![allow(clippy::panic)] // How a test fails.

mod architecture;
