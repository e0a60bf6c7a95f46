//! Runs in real time, side by side while their rates add up to little: each on paths of its own.

use std::time::Duration;

use bench_clients::drive::drive_all;
use bench_clients::{Clock, FlowLog, FlowPlan, Log, RunPlan, Wait};
use flow::{Nanos, Policy, Timestamp};
use tokio_util::sync::CancellationToken;

use super::path::Path;
use super::{KernelError, Ran};
use crate::driver::measure::{self, RealRun};
use crate::driver::{Stop, behaviour, policy_of, watch};
use crate::metrics::RunFigures;
use crate::progress::Progress;
use crate::scenario::{Algorithm, Direction, DriverKind, KernelLimiter, Scenario, UserLimit};

/// From the last connection to the common start of a batch.
const LEAD: Duration = Duration::from_millis(100);
/// How long receivers wait for what is under way at the end.
const DRAIN: Nanos = Nanos::from_millis(200);
/// Bytes per second that runs may move together, so that no run feels another.
const MOST_TOGETHER: u64 = 20_000_000;
/// How often paced rates are shared anew.
const REBALANCE: Duration = Duration::from_secs(1);

/// The figures of a run, with its algorithm's place in the scenario and its repetition.
type Measured = (usize, u32, RunFigures);

/// One run of one algorithm.
#[derive(Clone, Copy)]
struct Run<'a> {
    algorithm: &'a Algorithm,
    limiter: KernelLimiter,
    repetition: u32,
}

pub(super) fn run(
    scenario: &Scenario,
    progress: Progress,
    stop: &Stop,
) -> Result<Ran, KernelError> {
    let runs = runs(scenario);
    let together = together(scenario);
    let load = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("load")
        .enable_all()
        .build()
        .map_err(|source| KernelError::Io {
            what: "start a runtime",
            source,
        })?;
    let length = scenario.duration.get().div_ceil(1_000_000_000);
    let batches: Vec<&[Run<'_>]> = runs.chunks(together).collect();
    let stage = progress.stage("kernel (seconds)", length * batches.len() as u64);
    let (mut figures, mut notes) = (Vec::new(), Vec::new());
    for (number, batch) in (0u64..).zip(&batches) {
        if stop.requested() {
            break;
        }
        let report = |elapsed: u64| stage.reach(number * length + elapsed);
        let ran = load.block_on(run_batch(scenario, batch, &report, stop))?;
        figures.extend(ran.0);
        notes.extend(ran.1);
    }
    stage.end(&format!("{} runs in real time", figures.len()));
    // In order of the scenario in every file.
    figures.sort_by_key(|(index, repetition, _)| (*index, *repetition));
    Ok(Ran {
        figures: figures.into_iter().map(|(_, _, run)| run).collect(),
        notes,
    })
}

fn runs(scenario: &Scenario) -> Vec<Run<'_>> {
    let of = |repetition| {
        scenario.algorithms.iter().filter_map(move |algorithm| {
            algorithm.kernel.map(|limiter| Run {
                algorithm,
                limiter,
                repetition,
            })
        })
    };
    (0..scenario.repetitions.kernel).flat_map(of).collect()
}

/// How many runs go side by side.
fn together(scenario: &Scenario) -> usize {
    let rates = scenario.users.iter().map(|user| match user.limit {
        UserLimit::Reference => scenario.reference.rate.get(),
        UserLimit::Own(own) => own.rate.get(),
        UserLimit::Unlimited => u64::MAX,
    });
    let all = rates.fold(0_u64, u64::saturating_add);
    usize::try_from(MOST_TOGETHER / all.max(1))
        .unwrap_or(1)
        .max(1)
}

/// Runs one batch side by side.
async fn run_batch(
    scenario: &Scenario,
    batch: &[Run<'_>],
    report: &impl Fn(u64),
    stop: &Stop,
) -> Result<(Vec<Measured>, Vec<String>), KernelError> {
    let mut paths = Vec::new();
    let mut plans = Vec::new();
    for run in batch {
        for (number, user) in (0u32..).zip(&scenario.users) {
            let path = Path::new(run.limiter, policy_of(user, run.algorithm))?;
            for connection in 0..user.connections {
                plans.push(FlowPlan {
                    ends: path.open(plans.len() as u64 + 1, scenario.direction)?,
                    direction: match scenario.direction {
                        Direction::Down => bench_clients::Direction::Down,
                        Direction::Up => bench_clients::Direction::Up,
                    },
                    generator: Box::new(scenario.generator(run.repetition, number, connection)),
                    behaviour: behaviour(scenario),
                    start: user.start,
                    wait: Wait::Timer,
                    sends: Log::new(),
                    receipts: Log::of_receipts(),
                });
            }
            paths.push(path);
        }
    }
    let clock = Clock::starting_in(LEAD);
    let token = CancellationToken::new();
    let plan = RunPlan {
        clock,
        duration: scenario.duration,
        drain: DRAIN,
        stop: token.clone(),
    };
    let logs = {
        let driving = drive_all(plans, &plan);
        let watching = watch(clock, &token, report, stop);
        let changing = change_rates(scenario, batch, &mut paths, clock);
        tokio::pin!(driving);
        tokio::select! {
            logs = &mut driving => logs?,
            never = watching => match never {},
            failed = changing => return Err(failed),
        }
    };
    let lasted = if token.is_cancelled() {
        clock.now().since(Timestamp::ZERO).min(scenario.duration)
    } else {
        scenario.duration
    };
    let notes = notes_of(scenario, batch, &paths)?;
    Ok((figures_of(scenario, batch, logs, lasted), notes))
}

/// Changes rates when the scenario says so, and shares paced ones; ends only with an error.
async fn change_rates(
    scenario: &Scenario,
    batch: &[Run<'_>],
    paths: &mut [Path],
    clock: Clock,
) -> KernelError {
    let mut changes = scenario.rate_changes.iter().peekable();
    let mut ticks = tokio::time::interval(REBALANCE);
    loop {
        let due = changes.peek().map(|change| change.at);
        let changed = async {
            match due {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let done = tokio::select! {
            _ = ticks.tick() => paths.iter_mut().try_for_each(Path::rebalance),
            () = changed => match changes.next() {
                Some(change) => {
                    let new = |policy: Policy| policy.with_rate(change.rate);
                    set_policies(scenario, batch, paths, new)
                }
                None => Ok(()),
            },
        };
        if let Err(error) = done {
            return error;
        }
    }
}

fn set_policies(
    scenario: &Scenario,
    batch: &[Run<'_>],
    paths: &mut [Path],
    new: impl Fn(Policy) -> Policy,
) -> Result<(), KernelError> {
    let owners = batch
        .iter()
        .flat_map(|run| scenario.users.iter().map(move |user| (run, user)));
    for (path, (run, user)) in paths.iter_mut().zip(owners) {
        if user.limit == UserLimit::Reference {
            path.set_policy(new(policy_of(user, run.algorithm)))?;
        }
    }
    Ok(())
}

/// What each of our rules has counted.
fn notes_of(
    scenario: &Scenario,
    batch: &[Run<'_>],
    paths: &[Path],
) -> Result<Vec<String>, KernelError> {
    let owners = batch
        .iter()
        .flat_map(|run| scenario.users.iter().map(move |user| (run, user)));
    let mut notes = Vec::new();
    for (path, (run, user)) in paths.iter().zip(owners) {
        if let Some(counts) = path.counts()? {
            let (offered, lost) = (counts.offered(), counts.lost());
            notes.push(format!(
                "kernel: {}, user {}, repetition {}: {} of {} B in packets dropped, {} of {} packets",
                run.algorithm.label,
                user.name,
                run.repetition,
                lost.bytes,
                offered.bytes,
                lost.packets,
                offered.packets
            ));
        }
    }
    Ok(notes)
}

/// Sorts the logs by run and user and measures each run.
fn figures_of(
    scenario: &Scenario,
    batch: &[Run<'_>],
    logs: Vec<FlowLog>,
    lasted: Nanos,
) -> Vec<Measured> {
    let mut logs = logs.into_iter();
    let mut measured = Vec::new();
    for run in batch {
        let by_user: Vec<Vec<FlowLog>> = scenario
            .users
            .iter()
            .map(|user| logs.by_ref().take(user.connections as usize).collect())
            .collect();
        let real = RealRun {
            driver: DriverKind::Kernel,
            algorithm: run.algorithm,
            repetition: run.repetition,
            lasted,
            cpu_seconds: None,
        };
        let same = |other: &Algorithm| other.label == run.algorithm.label;
        let index = scenario.algorithms.iter().position(same).unwrap_or(0);
        let figures = measure::figures(scenario, &real, &by_user);
        measured.push((index, run.repetition, figures));
    }
    measured
}
