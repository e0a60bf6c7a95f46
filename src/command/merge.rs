//! `weirgate merge`: the tables of a sweep from the shares of several processes.

use std::fs;
use std::path::PathBuf;

use miette::Diagnostic;

use super::sweep::{keep_failure, write_plan, written};
use super::{Failure, Outcome};
use crate::cli::MergeArgs;
use crate::sweep::{self, KeepError, Plan, table};

/// Shares of different sweeps.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{} and {} are shares of different sweeps", .0.display(), .1.display())]
#[diagnostic(help("all shares need the same file, options and version"))]
struct Different(PathBuf, PathBuf);

/// A share that is not there.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{missing} of {all} cells were not run, the first of them number {first}")]
#[diagnostic(help(
    "run the share that is missing, or all of them again: what is kept is not run twice"
))]
struct Missing {
    missing: usize,
    all: String,
    first: usize,
}

pub(super) fn run(args: &MergeArgs) -> Result<Outcome, Failure> {
    let mut plans = Vec::new();
    for dir in &args.dirs {
        plans.push(Plan::read(dir).map_err(keep_failure)?);
    }
    let different = plans.iter().position(|plan| Some(plan) != plans.first());
    if let Some(at) = different {
        let error = Different(args.dirs[0].clone(), args.dirs[at].clone());
        return Err(Failure::input(error));
    }
    let plan = plans.swap_remove(0);
    let stores: Vec<_> = args.dirs.iter().map(|dir| sweep::store(dir)).collect();
    fs::create_dir_all(&args.out).map_err(|source| {
        Failure::environment(KeepError::Folder {
            path: args.out.clone(),
            source,
        })
    })?;
    let missing = table::write(&plan, &stores, &args.out).map_err(keep_failure)?;
    if let Some(&first) = missing.first() {
        return Err(Failure::input(Missing {
            missing: missing.len(),
            all: plan.cells.len().to_string(),
            first,
        }));
    }
    write_plan(&Plan::path(&args.out), &plan)?;
    written(&args.out, &plan)
}
