//! The proxy through real sockets. The tests write raw bytes themselves: a
//! client that shared the server's codecs could not catch their mistakes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

mod access;
mod accounts;
mod auth_target;
mod curl;
mod dialects;
mod http;
mod limits;
mod listeners;
#[cfg(feature = "postgres")]
mod postgres;
mod pysocks;
mod relay;
mod reuse;
mod rules;
mod support;
#[cfg(feature = "tls")]
mod tls;
mod udp;
mod volume;
