//! The shadowsocks front end, spoken to by the clients of others: the
//! `shadowsocks` crate's, `sslocal` of shadowsocks-rust, and `ss-local` of
//! shadowsocks-libev where it is installed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

mod carried;
mod client;
mod crowd;
mod flaws;
mod libev;
#[cfg(all(feature = "panel", feature = "postgres"))]
#[path = "../common/postgres.rs"]
mod postgres;
#[cfg(feature = "panel")]
mod private_panel;
mod probes;
#[cfg(feature = "panel")]
mod sources;
mod sslocal;
#[path = "../proxy/support.rs"]
#[allow(dead_code, reason = "shared with the tests of the other protocols")]
mod support;
mod tcp;
mod udp;
