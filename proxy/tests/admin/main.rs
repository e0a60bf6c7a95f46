//! The operator's side through real sockets, by clients that share no code with it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

mod access;
mod legacy;
mod live;
mod metrics;
#[cfg(feature = "shadowsocks")]
mod ssm;
mod support;
mod users;
