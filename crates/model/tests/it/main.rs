//! Tests about the workspace as a whole.

mod architecture;
