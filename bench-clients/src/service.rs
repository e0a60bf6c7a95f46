//! What stands on both sides of an HTTPS service under test: clients of seed 003's
//! protocol, written after its description, and an origin that takes a time of its own.

pub mod frame;
pub mod open_loop;
pub mod origin;

pub use frame::{Answer, request};
pub use open_loop::{Heard, send_all};
pub use origin::Origin;
