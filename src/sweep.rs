//! Sweeps: many cells of one scenario on all cores, kept by what they hold.
//!
//! A cell's runs are kept in a file that is called after the hash of its resolved
//! scenario, so a sweep that was killed goes on where it was, and cells of other
//! machines fit in. The tables are put together from those files in the order of the
//! plan: the same bytes whoever ran what, and when.

mod keep;
#[cfg(feature = "parquet")]
mod parquet;
pub mod picture;
mod plan;
mod shard;
pub mod table;

use std::path::Path;

use rayon::prelude::*;

use crate::driver::Stop;
use crate::driver::model::ModelError;
use crate::progress::Progress;
use crate::run;
use crate::scenario::sweep::{CellError, Sweep};

pub use keep::{KeepError, Store};
pub use plan::{Cell, Column, Plan};
pub use shard::{Shard, ShardError};

/// Why a sweep could not be run.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SweepError {
    /// Some values do not go together.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Cell(#[from] CellError),
    /// A cell could not be kept or read back.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Keep(#[from] KeepError),
    /// The simulation.
    #[error("a cell cannot be run: {cell}")]
    Model {
        /// Its values.
        cell: String,
        /// Why not.
        source: ModelError,
    },
}

/// How far a sweep came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Cells of this share that were there before.
    pub kept: usize,
    /// Cells that were run now.
    pub run: usize,
    /// Cells of this share that are still to be run: it was interrupted.
    pub left: usize,
}

/// Runs the cells of `plan` that belong to `shard` and are not in `store` yet.
///
/// # Errors
/// See [`SweepError`].
pub fn run(
    sweep: &Sweep,
    plan: &Plan,
    shard: Shard,
    store: &Store,
    progress: Progress,
    stop: &Stop,
) -> Result<Done, SweepError> {
    let mut todo: Vec<&Cell> = shard.of(&plan.cells).collect();
    // In the order of the hashes, which is by chance: cells that differ in length are
    // met in no order, so the share that is done says how long the rest takes.
    todo.sort_by(|one, other| one.hash.cmp(&other.hash));
    todo.dedup_by(|one, other| one.hash == other.hash);
    let share = todo.len();
    todo.retain(|cell| !store.has(&cell.hash));
    let stage = progress.stage("sweep", todo.len() as u64);
    let run = todo
        .par_iter()
        .map(|cell| {
            if stop.requested() {
                return Ok(0);
            }
            let whole = one(sweep, cell, store, stop)?;
            stage.step();
            Ok(usize::from(whole))
        })
        .sum::<Result<usize, SweepError>>()?;
    let done = Done {
        kept: share - todo.len(),
        run,
        left: todo.len() - run,
    };
    stage.end(&format!(
        "{} cells run, {} kept from before",
        done.run, done.kept
    ));
    Ok(done)
}

/// Whether the cell was run to its end.
fn one(sweep: &Sweep, cell: &Cell, store: &Store, stop: &Stop) -> Result<bool, SweepError> {
    let scenario = sweep.scenario(&cell.values)?;
    let found = run::rows(&scenario, stop).map_err(|source| SweepError::Model {
        cell: sweep.named(&cell.values),
        source,
    })?;
    let Some(rows) = found else {
        return Ok(false);
    };
    store.keep(&cell.hash, &rows)?;
    Ok(true)
}

/// The folder of the cells of a sweep in `dir`.
#[must_use]
pub fn store(dir: &Path) -> Store {
    Store::new(&dir.join("cells"))
}
