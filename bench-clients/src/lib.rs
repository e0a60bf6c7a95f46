//! Clients, senders and receivers that drive a proxy under test, with codecs of
//! their own: a client that shares the server's codec cannot catch the server's mistake.
//!
//! A run, from the ends inwards:
//! - [`dial`] reaches a target directly or through a proxy that speaks SOCKS5, HTTP,
//!   shadowsocks (the feature of that name) or seed 001's line handshake;
//! - [`target`] is what is reached: it hands over each accepted connection to the
//!   flow that it belongs to;
//! - [`sender`] sends what a [`traffic::Generator`] says, on absolute deadlines;
//! - [`receiver`] reads as it comes, verifies every byte and stamps each read;
//! - [`datagrams`] sends and receives datagrams with numbers, which may be lost;
//! - [`drive`] runs both for many flows on one [`Clock`] and returns their logs.
//!
//! [`service`] does the same for requests instead of streams.
//!
//! ```
//! use bench_clients::{
//!     Behaviour, Clock, Direction, FlowPlan, Identify, RunPlan, SocketOptions, Target, Via, drive_all,
//! };
//! use flow::{ByteSize, Nanos};
//! use std::time::Duration;
//! use traffic::{Pattern, Purpose, StreamSeed};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let sockets = SocketOptions::default();
//! let target = Target::bind("127.0.0.1:0".parse()?, sockets).await?;
//! let via = Via::Direct; // or "socks5://ann:pw@127.0.0.1:1080".parse()?
//! let pattern: Pattern = "constant:rate=1MB/s,size=1000B".parse()?;
//! let behaviour = Behaviour::Blocking { buffer: ByteSize::new(65_536) };
//! let mut plans = Vec::new();
//! for connection in 0..4 {
//!     let ends = target.open(&via, Identify::OwnPort, &sockets).await?;
//!     let seed = StreamSeed::derive(1, 0, 0, connection, Purpose::Traffic);
//!     let generator = pattern.generator(seed).ok_or("a trace")?;
//!     plans.push(FlowPlan::new(ends, Direction::Down, generator, behaviour));
//! }
//! // All connections are up: the run starts, for all of them at the same instant.
//! let clock = Clock::starting_in(Duration::from_millis(10));
//! let run = RunPlan::new(clock, Nanos::from_millis(50));
//! for log in drive_all(plans, &run).await? {
//!     println!("{} sends, {} receipts", log.sends.len(), log.receipts.len());
//! }
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod clock;
pub mod datagrams;
pub mod dial;
pub mod drive;
pub mod log;
pub mod pace;
pub mod payload;
pub mod process;
#[cfg(feature = "bins")]
pub mod program;
pub mod receiver;
pub mod sender;
pub mod service;
pub mod target;
mod task;
pub mod window;

pub use clock::Clock;
pub use datagrams::{DatagramEnds, DatagramPlan};
pub use dial::{Credentials, Endpoint, SocketOptions, Stream, Via};
pub use drive::{AnyPlan, Behaviour, Direction, FlowLog, FlowPlan, RunPlan, drive_all, drive_any};
pub use log::{Log, Sink};
pub use pace::Wait;
pub use target::{Ends, Identify, Target};
