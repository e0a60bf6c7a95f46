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
mod import;
mod logs;
mod operation;
mod serving;
mod support;
