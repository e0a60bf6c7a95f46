//! The Weirgate harness.
fn main() {}
