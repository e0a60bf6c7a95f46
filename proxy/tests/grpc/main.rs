//! The gRPC interface: its generated code, and every call by a generated client.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

mod calls;
mod generated;
