//! The HTTPS service on real sockets, with clients and targets that share no code with it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

#[path = "../proxy/support.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests use the rest")]
mod support;

mod admission;
mod client;
mod fetch;
mod program;
mod targets;
mod ways_in;
