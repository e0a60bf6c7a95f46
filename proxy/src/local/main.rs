//! The local side: one port for applications, one login to a remote proxy.
//!
//! ```text
//! application -- SOCKS5 or CONNECT, no password --> weirgate-local -- a dialect, under TLS --> weirgate-proxy
//!                                                               -- shadowsocks ---------->
//! ```
//!
//! An application hears "connected" when the remote has said so, and why not
//! when it has not. Names go to the remote as they are: nothing is resolved here.
#![forbid(unsafe_code)]

mod account;
mod cli;
mod datagrams;
mod door;
mod failure;
#[cfg(feature = "https-service")]
mod fetch;
mod message;
mod remote;
mod secret;
#[cfg(feature = "shadowsocks")]
mod shadowsocks;
mod speech;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
