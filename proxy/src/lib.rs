//! A proxy that holds one exact bandwidth budget per user over all of that
//! user's connections.
//!
//! ```text
//! config -> server (bind, accept, drain) -> session (layers, handshake, tunnel or forward)
//!        -> relay (two directions) -> budget (flow's algorithms and a clock)
//! users (accounts in memory) -> users/store (SQLite, PostgreSQL); protocol (codecs); egress (targets)
//! ```
//!
//! In a program or a test:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use proxy::{Config, Database, Limits, NewUser, PasswordCost, Server};
//!
//! let mut config = Config::new(Database::file("users.db"));
//! config.listen = vec!["127.0.0.1:0".parse()?];
//! config.allow_egress = vec!["127.0.0.0/8".parse()?];
//! config.password_cost = PasswordCost::LEAST; // throw-away users only
//! let server = Server::bind(config).await?; // listening on return
//! let address = server.addrs()[0];
//! let users = server.users();
//! let limits = Limits::down("token-bucket:rate=5000B/s,burst=5000B".parse()?);
//! users.add(NewUser { name: "ada".into(), password: b"pw".to_vec(), rules: limits.into() }).await?;
//! let running = tokio::spawn(server.run(std::future::pending()));
//! users.set_limits("ada", Limits::down("token-bucket:rate=10kB/s,burst=5000B".parse()?)).await?;
//! println!("{address} {:?}", users.usage("ada"));
//! # running.abort(); Ok(()) }
//! ```
#![forbid(unsafe_code)]

pub mod acl;
#[cfg(feature = "admin")]
pub mod admin;
pub mod causes;
pub mod config;
pub mod egress;
#[cfg(feature = "https-service")]
pub mod https_service;
#[cfg(feature = "cli")]
pub mod pages;
pub mod protocol;
pub mod server;
pub mod spans;
#[cfg_attr(
    not(feature = "tls"),
    allow(dead_code, reason = "what a config may ask for is there to be refused")
)]
pub mod tls;
pub mod users;

mod budget;
#[cfg_attr(
    not(feature = "admin"),
    allow(dead_code, reason = "who asks for what is counted is not built")
)]
mod metrics;
mod relay;
mod session;
#[cfg_attr(
    not(feature = "admin"),
    allow(dead_code, reason = "who asks for what is counted is not built")
)]
mod sessions;
#[cfg(feature = "shadowsocks")]
mod shadowsocks;
mod socket;

pub use config::{
    AdminAddress, AdminConfig, Caps, Config, HttpsService, Listener, ListenerTls, Registration,
    Timeouts,
};
pub use metrics::Protocol;
pub use server::{BindError, Handle, ReloadError, Reloaded, RunError, Server};
pub use users::{
    Bandwidth, Database, Direction, Limits, NewUser, PasswordCost, Rules, Usage, User, UserError,
    Users,
};
