//! The pipeline: a scenario goes through its drivers, their records through the
//! metrics, and the figures come out in a fixed order, whatever the number of threads.

mod requests;
mod watch;

use std::ops::Range;

use rayon::prelude::*;

use crate::driver::external::{self, ExternalError};
use crate::driver::kernel::{self, KernelError};
use crate::driver::model::{self, ModelError};
use crate::driver::proxy::{self, ProxyError};
use crate::driver::real::Ran;
use crate::driver::shadowsocks::{self, ShadowsocksError};
use crate::driver::{Stop, label};
use crate::metrics::{Collector, RunFigures, RunMetrics, RunSpec};
use crate::progress::{Progress, Stage};
use crate::results::{Results, Row};
use crate::scenario::{Algorithm, DriverKind, Scenario};
use watch::Watch;

pub use requests::{RequestsFinished, requests};

/// Repetitions between two looks at how narrow the intervals are; too few for a look
/// are fewer than RFC 7640 asks for.
const ROUND: u32 = 10;
/// Runs of the model that are held before they are merged.
const BATCH: usize = 64;

/// What came of a scenario.
#[derive(Debug)]
pub struct Finished {
    /// The figures of every run that was completed.
    pub results: Results,
    /// Whether it was stopped before all runs were completed.
    pub interrupted: bool,
    /// What a person should know, a line each: what a driver left out and why.
    pub notes: Vec<String>,
}

/// Why a scenario could not be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The simulation.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The real proxy.
    #[error("the proxy driver cannot run")]
    Proxy(#[from] ProxyError),
    /// The kernel's limiters.
    #[error("the kernel driver cannot run")]
    Kernel(#[from] KernelError),
    /// A server that somebody else runs.
    #[error("the external driver cannot run")]
    External(#[from] ExternalError),
    /// The proxy under shadowsocks.
    #[error("the shadowsocks driver cannot run")]
    Shadowsocks(#[from] ShadowsocksError),
}

/// Runs every driver of `scenario`, in order, until `stop`.
///
/// # Errors
/// See [`RunError`].
pub fn run(scenario: &Scenario, progress: Progress, stop: &Stop) -> Result<Finished, RunError> {
    let mut collector = Collector::new();
    let mut notes = Vec::new();
    for driver in &scenario.drivers {
        match driver {
            DriverKind::Model => {
                notes.extend(simulate(scenario, progress, stop, &mut collector)?);
            }
            DriverKind::Proxy => {
                keep(
                    proxy::run(scenario, progress, stop)?,
                    &mut collector,
                    &mut notes,
                );
            }
            DriverKind::Kernel => {
                keep(
                    kernel::run(scenario, progress, stop)?,
                    &mut collector,
                    &mut notes,
                );
            }
            DriverKind::External => {
                keep(
                    external::run(scenario, progress, stop)?,
                    &mut collector,
                    &mut notes,
                );
            }
            DriverKind::Shadowsocks => {
                keep(
                    shadowsocks::run(scenario, progress, stop)?,
                    &mut collector,
                    &mut notes,
                );
            }
        }
    }
    Ok(Finished {
        results: collector.finish(),
        interrupted: stop.requested(),
        notes,
    })
}

fn keep(ran: Ran, collector: &mut Collector, notes: &mut Vec<String>) {
    notes.extend(ran.notes);
    ran.figures
        .into_iter()
        .for_each(|figures| collector.add(figures));
}

/// The rows of all runs of the model, in order; `None` if it was stopped on the way.
///
/// # Errors
/// See [`ModelError`].
pub fn rows(scenario: &Scenario, stop: &Stop) -> Result<Option<Vec<Row>>, ModelError> {
    let stage = Progress::Silent.stage("", 0);
    let mut rows = Vec::new();
    let mut watch = scenario.until.as_ref().map(Watch::new);
    let most = scenario.repetitions.model;
    let mut done = 0;
    while done < most && watch.as_ref().is_none_or(|watch| !watch.is_narrow()) {
        let next = if watch.is_some() {
            most.min(done + ROUND)
        } else {
            most
        };
        repeat(scenario, done..next, &stage, stop, |run| {
            if let Some(watch) = &mut watch {
                watch.add(&run.row);
            }
            rows.push(run.row);
        })?;
        if stop.requested() {
            return Ok(None);
        }
        done = next;
    }
    Ok(Some(rows))
}

/// All runs of the model, on all cores; what a person should know of how many there were.
fn simulate(
    scenario: &Scenario,
    progress: Progress,
    stop: &Stop,
    collector: &mut Collector,
) -> Result<Option<String>, RunError> {
    let most = scenario.repetitions.model;
    let algorithms = scenario.algorithms_for(DriverKind::Model).count() as u64;
    let stage = progress.stage("model", algorithms * u64::from(most));
    let Some(until) = &scenario.until else {
        repeat(scenario, 0..most, &stage, stop, |run| collector.add(run))?;
        stage.end(&format!(
            "{} runs in virtual time",
            algorithms * u64::from(most)
        ));
        return Ok(None);
    };
    let mut watch = Watch::new(until);
    let mut done = 0;
    while done < most && !stop.requested() && !watch.is_narrow() {
        let next = most.min(done + ROUND);
        repeat(scenario, done..next, &stage, stop, |run| {
            watch.add(&run.row);
            collector.add(run);
        })?;
        done = next;
    }
    stage.end(&format!(
        "{} runs in virtual time",
        algorithms * u64::from(done)
    ));
    Ok((!stop.requested()).then(|| watch.verdict(done)))
}

/// The repetitions `numbers` of every algorithm, told to `add` in a fixed order.
fn repeat(
    scenario: &Scenario,
    numbers: Range<u32>,
    stage: &Stage,
    stop: &Stop,
    mut add: impl FnMut(RunFigures),
) -> Result<(), ModelError> {
    let jobs: Vec<(&Algorithm, u32)> = scenario
        .algorithms_for(DriverKind::Model)
        .flat_map(|algorithm| numbers.clone().map(move |number| (algorithm, number)))
        .collect();
    for batch in jobs.chunks(BATCH) {
        let runs: Vec<Option<RunFigures>> = batch
            .par_iter()
            .map(|(algorithm, number)| {
                let figures = simulate_one(scenario, algorithm, *number, stop)?;
                stage.step();
                Ok(figures)
            })
            .collect::<Result<_, ModelError>>()?;
        runs.into_iter().flatten().for_each(&mut add);
    }
    Ok(())
}

/// One run of the model; `None` if it was stopped on the way.
fn simulate_one(
    scenario: &Scenario,
    algorithm: &Algorithm,
    repetition: u32,
    stop: &Stop,
) -> Result<Option<RunFigures>, ModelError> {
    let mut spec = RunSpec::new(scenario, algorithm, DriverKind::Model);
    if repetition == 0 {
        spec.with_burstiness(scenario);
    }
    let mut metrics = RunMetrics::new(&spec);
    model::run(scenario, algorithm, repetition, &mut metrics, stop)?;
    let label = label(scenario, algorithm, DriverKind::Model, repetition);
    Ok((!stop.requested()).then(|| metrics.finish(&label)))
}
