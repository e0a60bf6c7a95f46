//! `weirgate-local` between curl and a proxy, in every dialect.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

mod accounts;
mod applications;
mod home;
mod http;
#[cfg(feature = "shadowsocks")]
mod shadowsocks;
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "../proxy/support.rs"]
mod support;
