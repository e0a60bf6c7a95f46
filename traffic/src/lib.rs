//! Traffic generators and traces: what is offered, when and by whom.
//!
//! No clock and no IO: a generator is told when the previous send returned and
//! answers when the next one is due, so that the same code drives a simulation,
//! a real sender that falls behind, and a sender that is blocked by back-pressure.
//! Every random number comes from a [`StreamSeed`]: the same seed, the same packets.
#![forbid(unsafe_code)]

pub mod arrival;
pub mod bursty;
pub mod distribution;
pub mod generator;
pub mod mix;
mod mixture;
mod pace;
pub mod pattern;
pub mod seed;
pub mod service_time;
pub mod source;
pub mod trace;

pub use distribution::SizeDistribution;
pub use generator::AnyGenerator;
pub use mix::{Mix, Source};
pub use pattern::Pattern;
pub use seed::{Purpose, StreamSeed};
pub use service_time::ServiceTime;
pub use source::{Generator, Packet, Send};
pub use trace::{TraceError, TraceReader, TraceWriter};
