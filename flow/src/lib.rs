//! Flow-control algorithms as exact integer arithmetic.
//!
//! The code that decides about a packet exists once, here, and serves the
//! simulator, the proxy and the tests. Nothing here knows a clock, a socket, a
//! task, a log or a random number: time is an argument.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod as_coded;
pub mod color_marker;
pub mod ewma;
pub mod fixed_window;
pub mod gcra;
pub mod leaky_bucket;
pub mod limiter;
mod meter;
pub mod monitor;
pub mod policer;
pub mod policy;
pub mod shaper;
pub mod share;
pub mod sliding_window;
pub mod spec;
pub mod stream;
pub mod time;
pub mod token_bucket;
pub mod units;
mod wide;

pub use limiter::Limiter;
pub use policer::{DropReason, Policer, Verdict};
pub use policy::{AnyLimiter, Policy};
pub use shaper::Shaper;
pub use time::{Nanos, Timestamp};
pub use units::{ByteRate, ByteSize};
