//! The pipeline: a scenario goes through its drivers, their records through the
//! metrics, and the figures come out in a fixed order, whatever the number of threads.

use rayon::prelude::*;

use crate::driver::model::{self, ModelError};
use crate::driver::proxy::{self, ProxyError};
use crate::driver::{Stop, label};
use crate::metrics::{Collector, RunFigures, RunMetrics, RunSpec};
use crate::progress::Progress;
use crate::results::Results;
use crate::scenario::{Algorithm, DriverKind, Scenario};

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
            DriverKind::Model => simulate(scenario, progress, stop, &mut collector)?,
            DriverKind::Proxy => {
                notes.extend(proxy::left_out(scenario));
                for figures in proxy::run(scenario, progress, stop)? {
                    collector.add(figures);
                }
            }
        }
    }
    Ok(Finished {
        results: collector.finish(),
        interrupted: stop.requested(),
        notes,
    })
}

/// All runs of the model, on all cores.
fn simulate(
    scenario: &Scenario,
    progress: Progress,
    stop: &Stop,
    collector: &mut Collector,
) -> Result<(), RunError> {
    let repetitions = 0..scenario.repetitions.model;
    let jobs: Vec<(&Algorithm, u32)> = scenario
        .algorithms
        .iter()
        .flat_map(|algorithm| repetitions.clone().map(move |number| (algorithm, number)))
        .collect();
    let stage = progress.stage("model", jobs.len() as u64);
    for batch in jobs.chunks(BATCH) {
        let runs: Vec<Option<RunFigures>> = batch
            .par_iter()
            .map(|(algorithm, number)| {
                let figures = simulate_one(scenario, algorithm, *number, stop)?;
                stage.step();
                Ok(figures)
            })
            .collect::<Result<_, ModelError>>()?;
        runs.into_iter()
            .flatten()
            .for_each(|figures| collector.add(figures));
    }
    stage.end(&format!("{} runs in virtual time", jobs.len()));
    Ok(())
}

/// One run of the model; `None` if it was stopped on the way.
fn simulate_one(
    scenario: &Scenario,
    algorithm: &Algorithm,
    repetition: u32,
    stop: &Stop,
) -> Result<Option<RunFigures>, ModelError> {
    let spec = RunSpec::new(scenario, algorithm, DriverKind::Model);
    let mut metrics = RunMetrics::new(&spec);
    model::run(scenario, algorithm, repetition, &mut metrics, stop)?;
    let label = label(scenario, algorithm, DriverKind::Model, repetition);
    Ok((!stop.requested()).then(|| metrics.finish(&label)))
}
