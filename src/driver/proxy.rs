//! The real proxy over sockets: the same traffic through a server, with a
//! client that logs in, recorded where it arrives.
//!
//! Server and load run in this process on two runtimes of their own. Runs go
//! side by side while their rates add up to little, each as users of its own,
//! the algorithms interleaved.

mod plan;
mod server;

use std::io;
use std::time::Duration;

use bench_clients::drive::drive_all;
use bench_clients::{
    Clock, Credentials, FlowLog, FlowPlan, Identify, Log, RunPlan, Target, Via, Wait, dial, drive,
    target,
};
use flow::{Nanos, Timestamp};
use tokio_util::sync::CancellationToken;

use self::plan::{Run, batches};
use self::server::Server;
use super::measure::{self, RealRun};
use super::{Stop, policy_of, watch};
use crate::metrics::RunFigures;
use crate::progress::Progress;
use crate::scenario::{Direction, DriverKind, Scenario, UserLimit};

/// From the last connection to the common start of a batch.
const LEAD: Duration = Duration::from_millis(100);
/// How long receivers wait for what is under way at the end.
const DRAIN: Nanos = Nanos::from_millis(200);

/// Why the proxy could not be driven.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// A runtime, a folder or a socket is not to be had.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The server does not start.
    #[error("the proxy does not start")]
    Bind(#[from] ::proxy::BindError),
    /// The server ended while it was needed.
    #[error("the proxy ended with an error")]
    Serve(#[from] ::proxy::RunError),
    /// An account could not be made or changed.
    #[error("the proxy refuses a user")]
    User(#[from] ::proxy::UserError),
    /// A client is not let through.
    #[error("user {user} cannot connect through the proxy")]
    Open {
        /// Name of the user in the scenario.
        user: String,
        /// Why.
        source: target::OpenError,
    },
    /// A flow broke.
    #[error("a connection broke during the run")]
    Drive(#[from] drive::RunError),
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
pub fn run(
    scenario: &Scenario,
    progress: Progress,
    stop: &Stop,
) -> Result<Vec<RunFigures>, ProxyError> {
    let batches = batches(scenario);
    let seconds = scenario.duration.get().div_ceil(1_000_000_000) * batches.len() as u64;
    let stage = progress.stage("proxy (seconds)", seconds);
    let load = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("load")
        .enable_all()
        .build()
        .map_err(io_error("start a runtime"))?;
    let mut figures: Vec<(usize, u32, RunFigures)> = Vec::new();
    let mut done = 0;
    for batch in &batches {
        if stop.requested() {
            break;
        }
        let report = |elapsed: u64| stage.reach(done + elapsed);
        let runs = load.block_on(run_batch(scenario, batch, &report, stop))?;
        figures.extend(runs);
        done += scenario.duration.get().div_ceil(1_000_000_000);
    }
    stage.end(&format!("{} runs in real time", figures.len()));
    // Interleaved while running, in order of the scenario in every file.
    figures.sort_by_key(|(algorithm, repetition, _)| (*algorithm, *repetition));
    Ok(figures.into_iter().map(|(_, _, run)| run).collect())
}

/// Runs one batch side by side.
async fn run_batch(
    scenario: &Scenario,
    batch: &[Run<'_>],
    report: &impl Fn(u64),
    stop: &Stop,
) -> Result<Vec<(usize, u32, RunFigures)>, ProxyError> {
    let server = Server::start(scenario, batch).await?;
    let plans = connect(scenario, batch, &server).await?;
    let clock = Clock::starting_in(LEAD);
    let token = CancellationToken::new();
    let plan = RunPlan {
        clock,
        duration: scenario.duration,
        drain: DRAIN,
        stop: token.clone(),
    };
    let cpu_before = server.cpu();
    let logs = {
        let driving = drive_all(plans, &plan);
        let watching = watch(clock, &token, report, stop);
        let changing = change_rates(scenario, batch, &server, clock);
        tokio::pin!(driving);
        tokio::select! {
            logs = &mut driving => logs?,
            never = watching => match never {},
            failed = changing => return Err(failed),
        }
    };
    let cpu = server
        .cpu()
        .zip(cpu_before)
        .map(|(after, before)| after - before);
    let lasted = if token.is_cancelled() {
        clock.now().since(Timestamp::ZERO).min(scenario.duration)
    } else {
        scenario.duration
    };
    server.stop().await?;
    Ok(figures_of(scenario, batch, logs, lasted, cpu))
}

/// Opens every connection of the batch, in order of run, user and connection.
async fn connect(
    scenario: &Scenario,
    batch: &[Run<'_>],
    server: &Server,
) -> Result<Vec<FlowPlan>, ProxyError> {
    let options = dial::SocketOptions::default();
    let any_port = (std::net::Ipv4Addr::LOCALHOST, 0).into();
    let target = Target::bind(any_port, options)
        .await
        .map_err(io_error("listen for the proxy's connections"))?;
    let mut plans = Vec::new();
    for run in batch {
        for (index, user) in scenario.users.iter().enumerate() {
            let via = Via::Socks5 {
                proxy: server.address().into(),
                credentials: Some(Credentials {
                    user: run.user_name(index),
                    password: server::PASSWORD.to_owned(),
                }),
            };
            for connection in 0..user.connections {
                let opened = target.open(&via, Identify::OwnPort, &options).await;
                let ends = opened.map_err(|source| ProxyError::Open {
                    user: user.name.clone(),
                    source,
                })?;
                let number = u32::try_from(index).unwrap_or(u32::MAX);
                plans.push(FlowPlan {
                    ends,
                    direction: match scenario.direction {
                        Direction::Down => bench_clients::Direction::Down,
                        Direction::Up => bench_clients::Direction::Up,
                    },
                    generator: Box::new(scenario.generator(run.repetition, number, connection)),
                    behaviour: super::behaviour(scenario),
                    start: user.start,
                    wait: Wait::Timer,
                    sends: Log::new(),
                    receipts: Log::of_receipts(),
                });
            }
        }
    }
    Ok(plans)
}

/// Changes rates when the scenario says so; ends only with an error.
async fn change_rates(
    scenario: &Scenario,
    batch: &[Run<'_>],
    server: &Server,
    clock: Clock,
) -> ProxyError {
    for change in &scenario.rate_changes {
        clock.sleep_until(change.at).await;
        for run in batch {
            let users = scenario.users.iter().enumerate();
            for (index, user) in users.filter(|(_, user)| user.limit == UserLimit::Reference) {
                let policy = policy_of(user, run.algorithm).with_rate(change.rate);
                let limits = server::limits(policy, scenario.direction);
                if let Err(failed) = server.set_limits(&run.user_name(index), limits).await {
                    return failed;
                }
            }
        }
    }
    std::future::pending().await
}

/// Sorts the logs by run and user and measures each run.
fn figures_of(
    scenario: &Scenario,
    batch: &[Run<'_>],
    logs: Vec<FlowLog>,
    lasted: Nanos,
    cpu: Option<f64>,
) -> Vec<(usize, u32, RunFigures)> {
    // Whose CPU time it was, nobody can tell when several runs shared it.
    let cpu = cpu.filter(|_| batch.len() == 1);
    let mut logs = logs.into_iter();
    let mut measured = Vec::new();
    for run in batch {
        let by_user: Vec<Vec<FlowLog>> = scenario
            .users
            .iter()
            .map(|user| logs.by_ref().take(user.connections as usize).collect())
            .collect();
        let real = RealRun {
            driver: DriverKind::Proxy,
            algorithm: run.algorithm,
            repetition: run.repetition,
            lasted,
            cpu_seconds: cpu,
        };
        let figures = measure::figures(scenario, &real, &by_user);
        measured.push((run.index, run.repetition, figures));
    }
    measured
}

fn io_error(what: &'static str) -> impl Fn(io::Error) -> ProxyError {
    move |source| ProxyError::Io { what, source }
}
