//! Servers that somebody else runs: the same traffic through any SOCKS5 or HTTP proxy, or a
//! plain forwarder, recorded where it arrives.
//!
//! One run at a time, so that CPU time and memory can be told. A server that the scenario
//! starts is started anew for each run: none profits from what another run left behind.

mod server;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bench_clients::dial::Credentials;
use bench_clients::{Identify, SocketOptions, Target, Via};
use tokio::time::{Instant, sleep};

use self::server::Server;
use super::Stop;
use super::real::plan::{Run, Together};
use super::real::{self, Batch, Bench, Opened, Ran, RealError, Used, io_error};
use crate::progress::Progress;
use crate::scenario::{DriverKind, RateChange, Scenario};

/// How long the port of the run before may stay in use.
const GOES_WITHIN: Duration = Duration::from_secs(2);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// The variable that holds a password which the scenario does not.
const PASSWORD: &str = "WEIRGATE_PROXY_PASSWORD";
/// What stands for the name of the scenario's user in that of a login.
const USER: &str = "{user}";

/// Why a server could not be driven.
#[derive(Debug, thiserror::Error)]
pub enum ExternalError {
    /// The sockets, whatever is between them.
    #[error(transparent)]
    Real(#[from] RealError),
    /// There is no such program, or it may not run.
    #[error("cannot start `{command}`")]
    Start {
        /// As the scenario has it.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// It ended before its port was open.
    #[error("`{command}` ended with {status} before it listened{}", suffix(.said))]
    Ended {
        /// As the scenario has it.
        command: String,
        /// How.
        status: std::process::ExitStatus,
        /// The end of what it said.
        said: String,
    },
    /// Its port did not open.
    #[error("nothing listens on {address} after {seconds} s{}", suffix(.said))]
    Silent {
        /// Where it should.
        address: String,
        /// The limit.
        seconds: u64,
        /// The end of what it said.
        said: String,
    },
    /// Another program has its port.
    #[error("something listens on {address} already, and `{command}` was to be started there")]
    Taken {
        /// Where.
        address: String,
        /// As the scenario has it.
        command: String,
    },
    /// The file that names the process.
    #[error("cannot read the process number from {}", path.display())]
    Process {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn suffix(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("; it said: {text}")
    }
}

/// Runs every algorithm that names a server, as often as the scenario says.
///
/// A run that was stopped on the way counts for as long as it lasted.
///
/// # Errors
/// See [`ExternalError`].
pub fn run(scenario: &Scenario, progress: Progress, stop: &Stop) -> Result<Ran, ExternalError> {
    real::run::<Path>(scenario, progress, stop)
}

/// The way by one server, or, for the calibration, by none.
struct Path {
    target: Target,
    via: Via,
    server: Option<Server>,
}

/// `via` with `user` in place of `{user}`.
pub(crate) fn for_user(mut via: Via, user: &str) -> Via {
    if let Via::Socks5 {
        credentials: Some(credentials),
        ..
    }
    | Via::Http {
        credentials: Some(credentials),
        ..
    }
    | Via::Line { credentials, .. } = &mut via
    {
        let Credentials { user: login, .. } = credentials;
        *login = login.replace(USER, user);
    }
    via
}

/// A target at `address`; the one of the run before may need a moment to go.
async fn listen(address: SocketAddr) -> io::Result<Target> {
    let give_up = Instant::now() + GOES_WITHIN;
    loop {
        match Target::bind(address, SocketOptions::default()).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < give_up => {
                sleep(LOOK).await;
            }
            other => return other,
        }
    }
}

/// `via` with the password from the environment if it has none of its own.
pub(crate) fn with_password(via: &Via) -> Via {
    let via = via.clone();
    match std::env::var(PASSWORD) {
        Ok(password) if via.wants_password() => via.with_password(password),
        _ => via,
    }
}

impl Bench for Path {
    type Error = ExternalError;
    const KIND: DriverKind = DriverKind::External;
    const TOGETHER: Together = Together::ALONE;

    async fn set_up(batch: Batch<'_>) -> Result<Self, ExternalError> {
        let external = batch
            .runs
            .first()
            .and_then(|run| run.algorithm.external.as_ref());
        let address = external.map_or_else(
            || (std::net::Ipv4Addr::LOCALHOST, 0).into(),
            |external| external.target,
        );
        // Before the server: a forwarder may look whether its target is there.
        let target = listen(address).await;
        let target = target.map_err(io_error("listen for the server's connections"))?;
        Ok(match external {
            Some(external) => Self {
                target,
                via: with_password(&external.via),
                server: Some(Server::start(external).await?),
            },
            None => Self {
                target,
                via: Via::Direct,
                server: None,
            },
        })
    }

    async fn open(
        &mut self,
        batch: Batch<'_>,
        _: &Run<'_>,
        user: usize,
    ) -> Result<Opened, ExternalError> {
        let name = batch
            .scenario
            .users
            .get(user)
            .map(|user| user.name.as_str());
        let via = for_user(self.via.clone(), name.unwrap_or_default());
        let identify = match via {
            Via::Forward { .. } => Identify::Preamble,
            _ => Identify::OwnPort,
        };
        let opened = batch.stream(user, &via, identify, &mut self.target);
        Ok(opened.await?)
    }

    /// Scenarios with changes of rate and servers of others are refused: nobody could tell them.
    async fn change_rate(&mut self, _: Batch<'_>, _: &RateChange) -> Result<(), ExternalError> {
        Ok(())
    }

    fn used(&self) -> Used {
        self.server
            .as_ref()
            .map_or_else(Used::default, Server::used)
    }

    async fn tear_down(self, _: Batch<'_>) -> Result<Vec<String>, ExternalError> {
        if let Some(server) = self.server {
            server.stop().await;
        }
        Ok(Vec::new())
    }
}
