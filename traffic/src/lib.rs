//! Traffic generators and traces: what is offered, when and by whom.
//!
//! No clock and no IO: a generator is told when the previous send returned and
//! answers when the next one is due, so that the same code drives a simulation,
//! a real sender that falls behind, and a sender that is blocked by back-pressure.
#![forbid(unsafe_code)]

pub mod source;

pub use source::{Generator, Packet, Send};
