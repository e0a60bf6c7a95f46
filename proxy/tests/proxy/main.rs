//! The proxy through real sockets. The tests write raw bytes themselves: a
//! client that shared the server's codecs could not catch their mistakes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

mod accounts;
mod curl;
mod dialects;
mod limits;
mod relay;
mod rules;
mod support;
