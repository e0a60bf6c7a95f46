//! The shadowsocks front end, spoken to by the clients of others: the
//! `shadowsocks` crate's, and `ss-local` of shadowsocks-libev where it is installed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

mod client;
mod crowd;
mod libev;
mod probes;
#[cfg(feature = "panel")]
mod sources;
#[path = "../proxy/support.rs"]
#[allow(dead_code, reason = "shared with the tests of the other protocols")]
mod support;
mod tcp;
mod udp;
