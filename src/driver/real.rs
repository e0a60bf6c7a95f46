//! Real time and real sockets: one runner for every driver whose limiter is not simulated.
//!
//! A driver says what stands between the two ends of a connection (`Bench`); which runs go
//! side by side, who sends what when, and what is measured, is the same for all. Before the
//! first run the same machinery sends a stream that keeps to the reference by itself through
//! the set-up without its limiter: what overshoot and jitter that shows are the set-up's own.

pub(super) mod calibrate;
mod measure;
pub(super) mod plan;

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use bench_clients::datagrams::DatagramError;
use bench_clients::drive::{self, AnyPlan, drive_any};
use bench_clients::{
    Clock, DatagramEnds, DatagramPlan, Ends, FlowLog, FlowPlan, Identify, Log, RunPlan,
    SocketOptions, Target, Via, Wait, target,
};
use flow::{Nanos, Timestamp};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use self::measure::RealRun;
use self::plan::{Run, Together, batches};
use super::{Stop, behaviour, watch};
use crate::metrics::{Calibration, RunFigures};
use crate::progress::Progress;
use crate::scenario::{Direction, DriverKind, RateChange, Scenario};

/// From the last connection to the common start of a batch.
const LEAD: Duration = Duration::from_millis(100);
/// How long receivers wait for what is under way at the end.
const DRAIN: Nanos = Nanos::from_millis(200);
/// How often a bench is tended.
const TEND: Duration = Duration::from_secs(1);

/// Why real sockets could not be driven, whatever is between them.
#[derive(Debug, thiserror::Error)]
pub enum RealError {
    /// A runtime, a folder or a socket is not to be had.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// A client is not let through.
    #[error("user {user} cannot connect")]
    Open {
        /// Name of the user in the scenario.
        user: String,
        /// Why.
        source: target::OpenError,
    },
    /// Datagrams are not let through.
    #[error("a user's datagrams do not arrive")]
    Datagrams(#[from] DatagramError),
    /// A flow broke.
    #[error("a connection broke during the run")]
    Drive(#[from] drive::RunError),
}

/// What came of all runs of a driver.
#[derive(Debug, Default)]
pub struct Ran {
    /// In the order of the scenario.
    pub figures: Vec<RunFigures>,
    /// What receivers cannot know and a person should, a line each.
    pub notes: Vec<String>,
}

/// Runs that go side by side.
#[derive(Clone, Copy)]
pub(super) struct Batch<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) runs: &'a [Run<'a>],
}

impl Batch<'_> {
    /// A connection of user number `user` that arrives at `target`.
    pub(super) async fn stream(
        self,
        user: usize,
        via: &Via,
        identify: Identify,
        target: &mut Target,
    ) -> Result<Opened, RealError> {
        let opened = target.open(via, identify, &SocketOptions::default()).await;
        opened.map(Opened::Stream).map_err(|source| {
            let user = self.scenario.users.get(user);
            let user = user.map_or_else(String::new, |user| user.name.clone());
            RealError::Open { user, source }
        })
    }
}

/// Where connections through a server of this process arrive.
pub(super) async fn arrivals() -> Result<Target, RealError> {
    let any_port = (Ipv4Addr::LOCALHOST, 0).into();
    let target = Target::bind(any_port, SocketOptions::default()).await;
    target.map_err(io_error("listen for the proxy's connections"))
}

/// The two ends of a connection, or of a flow of datagrams.
pub(super) enum Opened {
    Stream(Ends),
    #[cfg_attr(
        not(feature = "shadowsocks"),
        expect(dead_code, reason = "shadowsocks alone carries them")
    )]
    Datagrams(DatagramEnds),
}

/// What stands between the ends of the connections of one batch.
pub(super) trait Bench: Sized {
    /// Why not.
    type Error: From<RealError>;
    /// Whose bench it is.
    const KIND: DriverKind;
    /// Which runs may go side by side.
    const TOGETHER: Together;

    /// Sets up what limits the runs of `batch`.
    async fn set_up(batch: Batch<'_>) -> Result<Self, Self::Error>;

    /// Opens one more connection of user number `user` of `run`.
    async fn open(
        &mut self,
        batch: Batch<'_>,
        run: &Run<'_>,
        user: usize,
    ) -> Result<Opened, Self::Error>;

    /// Changes the rate of everyone who is limited by the reference.
    async fn change_rate(
        &mut self,
        batch: Batch<'_>,
        change: &RateChange,
    ) -> Result<(), Self::Error>;

    /// Called once a second while a batch runs.
    fn tend(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    /// What the limiter has used so far.
    fn used(&self) -> Used {
        Used::default()
    }

    /// Ends what was set up; says what only it knows, a line each.
    async fn tear_down(self, batch: Batch<'_>) -> Result<Vec<String>, Self::Error>;
}

/// What a limiter has used; `None` where nobody can tell.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    /// Seconds on a CPU since some instant.
    pub(super) cpu_seconds: Option<f64>,
    /// Resident bytes.
    pub(super) memory_bytes: Option<u64>,
}

/// The figures of a run, with its algorithm's place in the scenario and its repetition.
type Measured = (usize, u32, RunFigures);

/// Runs every algorithm of the driver, as often as the scenario says.
///
/// A run that was stopped on the way counts for as long as it lasted.
pub(super) fn run<B: Bench>(
    scenario: &Scenario,
    progress: Progress,
    stop: &Stop,
) -> Result<Ran, B::Error> {
    let batches = batches(scenario, B::KIND, B::TOGETHER);
    if batches.is_empty() {
        return Ok(Ran::default());
    }
    let load = runtime()?;
    let length = scenario.duration.get().div_ceil(1_000_000_000);
    let name = B::KIND.name();
    let stage = progress.stage(&format!("{name} (seconds)"), length * batches.len() as u64);
    let calibration = calibrate::calibrate::<B>(scenario, &load, stop)?;
    let mut measured: Vec<Measured> = Vec::new();
    let mut notes: Vec<String> = calibration
        .iter()
        .map(|found| calibrate::words(found, name))
        .collect();
    for (number, runs) in (0u64..).zip(&batches) {
        if stop.requested() {
            break;
        }
        let report = |elapsed: u64| stage.reach(number * length + elapsed);
        let batch = Batch { scenario, runs };
        let (figures, said) = load.block_on(run_batch::<B>(batch, calibration, &report, stop))?;
        measured.extend(figures);
        notes.extend(said);
    }
    stage.end(&format!("{} runs in real time", measured.len()));
    // Interleaved while running, in order of the scenario in every file.
    measured.sort_by_key(|(algorithm, repetition, _)| (*algorithm, *repetition));
    Ok(Ran {
        figures: measured.into_iter().map(|(_, _, run)| run).collect(),
        notes,
    })
}

/// The threads of the load.
pub(crate) fn runtime() -> Result<Runtime, RealError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("load")
        .enable_all()
        .build()
        .map_err(io_error("start a runtime"))
}

/// Runs one batch side by side.
async fn run_batch<B: Bench>(
    batch: Batch<'_>,
    calibration: Option<Calibration>,
    report: &impl Fn(u64),
    stop: &Stop,
) -> Result<(Vec<Measured>, Vec<String>), B::Error> {
    let scenario = batch.scenario;
    let mut bench = B::set_up(batch).await?;
    let plans = connect(batch, &mut bench).await?;
    let clock = Clock::starting_in(LEAD);
    let token = CancellationToken::new();
    let plan = RunPlan {
        clock,
        duration: scenario.duration,
        drain: DRAIN,
        stop: token.clone(),
    };
    let before = bench.used();
    let logs = {
        let driving = drive_any(plans, &plan);
        let watching = watch(clock, &token, report, stop);
        let tending = tend(batch, &mut bench, clock);
        tokio::pin!(driving);
        tokio::select! {
            logs = &mut driving => logs.map_err(RealError::from)?,
            never = watching => match never {},
            failed = tending => return Err(failed),
        }
    };
    let after = bench.used();
    let used = Used {
        cpu_seconds: after
            .cpu_seconds
            .zip(before.cpu_seconds)
            .map(|(after, before)| after - before),
        memory_bytes: after.memory_bytes,
    };
    let lasted = if token.is_cancelled() {
        clock.now().since(Timestamp::ZERO).min(scenario.duration)
    } else {
        scenario.duration
    };
    let notes = bench.tear_down(batch).await?;
    let all = RealRun {
        driver: B::KIND,
        lasted,
        // Whose it was, nobody can tell when several runs shared it.
        used: if batch.runs.len() == 1 {
            used
        } else {
            Used::default()
        },
        calibration,
    };
    Ok((figures_of(batch, logs, &all), notes))
}

/// Opens every connection of the batch, in order of run, user and connection.
async fn connect<B: Bench>(batch: Batch<'_>, bench: &mut B) -> Result<Vec<AnyPlan>, B::Error> {
    let scenario = batch.scenario;
    let mut plans = Vec::new();
    for run in batch.runs {
        for (number, user) in (0u32..).zip(&scenario.users) {
            for connection in 0..user.connections {
                let opened = bench.open(batch, run, number as usize).await?;
                let generator = Box::new(scenario.generator(run.repetition, number, connection));
                let direction = match scenario.direction {
                    Direction::Down => bench_clients::Direction::Down,
                    Direction::Up => bench_clients::Direction::Up,
                };
                plans.push(match opened {
                    Opened::Stream(ends) => AnyPlan::Stream(FlowPlan {
                        ends,
                        direction,
                        generator,
                        behaviour: behaviour(scenario),
                        start: user.start,
                        wait: Wait::Timer,
                        sends: Log::new(),
                        receipts: Log::of_receipts(),
                    }),
                    Opened::Datagrams(ends) => AnyPlan::Datagrams(DatagramPlan {
                        ends,
                        direction,
                        generator,
                        start: user.start,
                        wait: Wait::Timer,
                    }),
                });
            }
        }
    }
    Ok(plans)
}

/// Changes rates when the scenario says so, and tends the bench; ends only with an error.
async fn tend<B: Bench>(batch: Batch<'_>, bench: &mut B, clock: Clock) -> B::Error {
    let mut changes = batch.scenario.rate_changes.iter().peekable();
    let mut ticks = tokio::time::interval(TEND);
    loop {
        let due = changes.peek().map(|change| change.at);
        let changed = async {
            match due {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let done = tokio::select! {
            _ = ticks.tick() => bench.tend(),
            () = changed => match changes.next() {
                Some(change) => bench.change_rate(batch, change).await,
                None => Ok(()),
            },
        };
        if let Err(error) = done {
            return error;
        }
    }
}

/// Sorts the logs by run and user and measures each run.
fn figures_of(batch: Batch<'_>, logs: Vec<FlowLog>, all: &RealRun) -> Vec<Measured> {
    let mut logs = logs.into_iter();
    let mut measured = Vec::new();
    for run in batch.runs {
        let by_user: Vec<Vec<FlowLog>> = batch
            .scenario
            .users
            .iter()
            .map(|user| logs.by_ref().take(user.connections as usize).collect())
            .collect();
        let figures = measure::figures(batch.scenario, all, run, &by_user);
        measured.push((run.index, run.repetition, figures));
    }
    measured
}

pub(super) fn io_error(what: &'static str) -> impl Fn(io::Error) -> RealError {
    move |source| RealError::Io { what, source }
}
