//! Flow-control algorithms as exact integer arithmetic.
//!
//! The code that decides about a packet exists once, here, and serves the
//! simulator, the proxy and the tests. Nothing here knows a clock, a socket, a
//! task, a log or a random number: time is an argument.
//!
//! - [`Policy`] says which algorithm with which parameters, as data; it is read
//!   from text and builds a limiter.
//! - [`Limiter`] is what every algorithm answers. The algorithms are in
//!   [`token_bucket`], [`leaky_bucket`], [`gcra`], [`fixed_window`],
//!   [`sliding_window`], [`ewma`] and [`color_marker`]; those of the programs
//!   this project started from in [`as_coded`].
//! - [`Policer`], [`Shaper`] and [`stream::Stream`] are the three ways to apply
//!   one; [`share`] says who goes next inside one budget, [`admission`] which
//!   requests are served, wait or are refused.
//!
//! ```
//! use weirgate_flow::{ByteSize, Policy, Shaper, Timestamp, Verdict};
//!
//! let policy: Policy = "token-bucket:rate=40kbit/s,burst=5000B".parse()?;
//! let mut shaper = Shaper::new(policy.build(), Some(ByteSize::new(20_000)));
//! let packet = ByteSize::new(3_000);
//! let first = shaper.offer(Timestamp::ZERO, packet);
//! let second = shaper.offer(Timestamp::ZERO, packet);
//! assert_eq!(first, Verdict::Departs(Timestamp::ZERO));
//! // 2,000 bytes are left; 1,000 more take 0.2 s at 5,000 B/s.
//! assert_eq!(second, Verdict::Departs(Timestamp::from_nanos(200_000_000)));
//! # Ok::<(), weirgate_flow::spec::SpecError>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod admission;
pub mod as_coded;
pub mod color_marker;
pub mod ewma;
pub mod fixed_window;
pub mod gcra;
pub mod hierarchy;
pub mod leaky_bucket;
pub mod limiter;
mod meter;
pub mod monitor;
pub mod policer;
pub mod policy;
pub mod shaper;
pub mod share;
pub mod shared;
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
