//! The real proxy over sockets: the same traffic through a server, with a
//! client that logs in, recorded where it arrives.
//!
//! Server and load run in this process on two runtimes of their own. Runs go
//! side by side while their rates add up to little, each as users of its own.

pub(super) mod server;

pub(crate) use self::server::{PASSWORD, Server};

use bench_clients::{Credentials, Identify, Target, Via};

use super::Stop;
use super::real::plan::{Run, Together};
use super::real::{self, Batch, Bench, Opened, Ran, RealError, Used};
use crate::progress::Progress;
use crate::scenario::{DriverKind, RateChange, Scenario};

/// Why the proxy could not be driven.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The sockets, whatever is between them.
    #[error(transparent)]
    Real(#[from] RealError),
    /// The server does not start.
    #[error("the proxy does not start")]
    Bind(#[from] ::proxy::BindError),
    /// The server ended while it was needed.
    #[error("the proxy ended with an error")]
    Serve(#[from] ::proxy::RunError),
    /// An account could not be made or changed.
    #[error("the proxy refuses a user")]
    User(#[from] ::proxy::UserError),
}

/// What the driver leaves out of `scenario`, and why, a line each.
#[must_use]
pub fn left_out(scenario: &Scenario) -> Vec<String> {
    let cannot = scenario
        .algorithms
        .iter()
        .filter(|algorithm| !algorithm.is_special() && !algorithm.policy.modes().stream);
    cannot
        .map(|algorithm| {
            format!(
                "proxy: {} only polices, and a relay of streams cannot drop: left out",
                algorithm.label
            )
        })
        .collect()
}

/// Runs every algorithm that can limit a stream, as often as the scenario says.
///
/// A run that was stopped on the way counts for as long as it lasted.
///
/// # Errors
/// See [`ProxyError`].
pub fn run(scenario: &Scenario, progress: Progress, stop: &Stop) -> Result<Ran, ProxyError> {
    let mut ran = real::run::<Through>(scenario, progress, stop)?;
    ran.notes.extend(left_out(scenario));
    Ok(ran)
}

/// A server with the users of a batch, and where its connections arrive.
struct Through {
    server: Server,
    target: Target,
}

impl Bench for Through {
    type Error = ProxyError;
    const KIND: DriverKind = DriverKind::Proxy;
    /// A small part of what two cores relay; below a limit each connection wakes its
    /// sender, the relay and its receiver twenty times a second.
    const TOGETHER: Together = Together {
        rate: 50e6,
        connections: 128,
    };

    async fn set_up(batch: Batch<'_>) -> Result<Self, ProxyError> {
        Ok(Self {
            target: real::arrivals().await?,
            server: Server::with(server::accounts(batch), |_| ()).await?,
        })
    }

    async fn open(
        &mut self,
        batch: Batch<'_>,
        run: &Run<'_>,
        user: usize,
    ) -> Result<Opened, ProxyError> {
        let via = Via::Socks5 {
            proxy: self.server.address().into(),
            credentials: Some(Credentials {
                user: run.user_name(user),
                password: PASSWORD.to_owned(),
            }),
        };
        let opened = batch.stream(user, &via, Identify::OwnPort, &mut self.target);
        Ok(opened.await?)
    }

    async fn change_rate(
        &mut self,
        batch: Batch<'_>,
        change: &RateChange,
    ) -> Result<(), ProxyError> {
        self.server.change_rate(batch, change).await
    }

    fn used(&self) -> Used {
        self.server.used()
    }

    async fn tear_down(self, _: Batch<'_>) -> Result<Vec<String>, ProxyError> {
        self.server.stop().await?;
        Ok(Vec::new())
    }
}
