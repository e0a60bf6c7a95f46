//! The pipeline of a scenario of requests.

use rayon::prelude::*;

use super::RunError;
use crate::driver::Stop;
use crate::driver::requests::{model, real};
use crate::metrics::requests::{RequestMetrics, Theory, against_peak};
use crate::progress::{Progress, Stage};
use crate::results::RequestRow;
use crate::scenario::requests::Cell;
use crate::scenario::{DriverKind, RequestScenario};

/// What came of a scenario of requests.
#[derive(Debug)]
pub struct RequestsFinished {
    /// The figures of every run that was completed.
    pub rows: Vec<RequestRow>,
    /// Whether it was stopped before all runs were completed.
    pub interrupted: bool,
}

/// Runs every driver of `scenario`, in order, until `stop`.
///
/// # Errors
/// See [`RunError`].
pub fn requests(
    scenario: &RequestScenario,
    progress: Progress,
    stop: &Stop,
) -> Result<RequestsFinished, RunError> {
    let mut rows = Vec::new();
    for driver in &scenario.drivers {
        let runs = scenario.cells(*driver).count() as u64;
        let stage = progress.stage(driver.name(), runs);
        match driver {
            DriverKind::Model => {
                rows.extend(simulate(scenario, &stage, stop));
                stage.end(&format!("{runs} runs in virtual time"));
            }
            _ => {
                rows.extend(real::run(scenario, &stage, stop)?);
                stage.end(&format!("{runs} runs over sockets"));
            }
        }
    }
    against_peak(&mut rows);
    Ok(RequestsFinished {
        rows,
        interrupted: stop.requested(),
    })
}

/// All runs of the model that were completed, on all cores, in a fixed order.
fn simulate(scenario: &RequestScenario, stage: &Stage, stop: &Stop) -> Vec<RequestRow> {
    let cells: Vec<Cell<'_>> = scenario.cells(DriverKind::Model).collect();
    // The same for all repetitions of a cell, and not always quickly found.
    let theories: Vec<(Cell<'_>, Option<Theory>)> = cells
        .par_iter()
        .filter(|cell| cell.repetition == 0)
        .map(|cell| (*cell, Theory::of(cell)))
        .collect();
    let theory = |cell: &Cell<'_>| {
        let of = |known: &&(Cell<'_>, Option<Theory>)| {
            known.0.service == cell.service && known.0.load == cell.load
        };
        theories.iter().find(of)?.1.as_ref()
    };
    let rows: Vec<Option<RequestRow>> = cells
        .par_iter()
        .map(|cell| {
            let mut metrics = RequestMetrics::new(cell);
            model::run(cell, &mut metrics, stop);
            stage.step();
            (!stop.requested()).then(|| metrics.finish(cell, DriverKind::Model, theory(cell)))
        })
        .collect();
    rows.into_iter().flatten().collect()
}
