//! The program as an operator uses it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

mod accounts;
#[cfg(feature = "admin")]
mod admin;
mod floors;
mod import;
mod journal;
mod logs;
mod operation;
#[cfg(feature = "otlp")]
mod otlp;
#[cfg(all(feature = "admin", feature = "postgres"))]
mod postgres;
#[cfg(feature = "postgres")]
#[path = "../common/postgres.rs"]
mod postgresql;
mod serving;
mod support;
#[cfg(all(feature = "admin", feature = "tls"))]
mod tls;
#[cfg(all(feature = "admin", feature = "tls"))]
mod warnings;
