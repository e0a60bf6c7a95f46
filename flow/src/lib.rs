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
pub mod limiter;
pub mod monitor;
pub mod policy;
pub mod share;
pub mod spec;
pub mod stream;
pub mod time;
pub mod units;

pub use limiter::Limiter;
pub use policy::Policy;
pub use time::{Nanos, Timestamp};
pub use units::{ByteRate, ByteSize};
