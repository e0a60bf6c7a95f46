//! Clients, senders and receivers that drive a proxy under test, with codecs of
//! their own: a client that shares the server's codec cannot catch the server's mistake.
//!
//! A run, from the ends inwards:
//! - [`dial`] reaches a target directly or through a proxy that speaks SOCKS5 or
//!   seed 001's line handshake;
//! - [`target`] is what is reached: it hands over each accepted connection to the
//!   flow that it belongs to;
//! - [`sender`] sends what a [`traffic::Generator`] says, on absolute deadlines;
//! - [`receiver`] reads as it comes, verifies every byte and stamps each read;
//! - [`drive`] runs both for many flows on one [`Clock`] and returns their logs.
#![forbid(unsafe_code)]

pub mod clock;
pub mod dial;
pub mod drive;
pub mod log;
pub mod pace;
pub mod payload;
#[cfg(feature = "bins")]
pub mod program;
pub mod receiver;
pub mod sender;
pub mod target;
mod task;
pub mod window;

pub use clock::Clock;
pub use dial::{Credentials, Endpoint, Via};
pub use drive::{Direction, FlowLog, FlowPlan, RunPlan};
pub use log::{Log, Sink};
pub use pace::Wait;
pub use target::{Ends, Identify, Target};
