//! `weirgate sweep`: a scenario over all values of its `[sweep]`.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use miette::Diagnostic;

use super::{Failure, Outcome, counted, note, print};
use crate::cli::SweepArgs;
use crate::interrupt;
use crate::output::OutputFile;
use crate::progress::Progress;
use crate::scenario::{Overrides, Sweep};
use crate::sweep::{self, KeepError, Plan, Shard, SweepError, picture, table};

/// A folder with something else.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{} is neither empty nor the folder of a sweep", .0.display())]
#[diagnostic(help("choose another folder with --out"))]
struct NotOurs(PathBuf);

pub(super) fn run(args: &SweepArgs) -> Result<Outcome, Failure> {
    let overrides = Overrides {
        duration: args.duration,
        repetitions: args.repetitions,
        ..Overrides::default()
    };
    let sweep = Sweep::load(&args.file, &overrides).map_err(Failure::input)?;
    let shard = shard(args.shard)?;
    let plan = Plan::of(&sweep).map_err(failure)?;
    begin(&args.out, &plan)?;
    let stop = interrupt::watch();
    let store = sweep::store(&args.out);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    note(&format!(
        "{}, {} of {} each, on {}",
        counted(plan.cells.len() as u64, "cell"),
        counted(u64::from(sweep.base.repetitions.model), "repetition"),
        sweep.base.duration,
        counted(cores as u64, "core"),
    ));
    let done =
        sweep::run(&sweep, &plan, shard, &store, Progress::of_stderr(), &stop).map_err(failure)?;
    if done.left > 0 {
        note(&format!(
            "interrupted: {} left; the same command goes on from here",
            counted(done.left as u64, "cell")
        ));
        return Ok(Outcome::Interrupted);
    }
    if !shard.is_all() {
        note(&format!(
            "share {shard}: {}; `weirgate merge` makes the tables",
            args.out.display()
        ));
        return Ok(Outcome::Done);
    }
    table::write(&plan, &[store], &args.out).map_err(keep_failure)?;
    written(&args.out, &plan)
}

/// Says what was written.
pub(super) fn written(out: &Path, plan: &Plan) -> Result<Outcome, Failure> {
    draw(out, plan)?;
    print(&format!(
        "{}: {}, in {}\n",
        out.display(),
        counted(plan.cells.len() as u64, "cell"),
        tables()
    ))?;
    Ok(Outcome::Done)
}

/// The picture of the cells, and the CSV of what it shows.
fn draw(out: &Path, plan: &Plan) -> Result<(), Failure> {
    let path = out.join("cells.csv");
    let cells = fs::read_to_string(&path).map_err(|source| {
        keep_failure(KeepError::Read {
            path: path.clone(),
            source,
        })
    })?;
    let drawing = picture::drawing(plan, &cells, "cells.csv");
    let Some(drawing) = drawing.map_err(|error| keep_failure(error.into()))? else {
        return Ok(());
    };
    let png = drawing.png("sweep.png").map_err(Failure::environment)?;
    write_file(&out.join("sweep.csv"), drawing.csv().as_bytes())?;
    write_file(&out.join("sweep.png"), &png)
}

/// Writes a file whole or not at all.
pub(super) fn write_file(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let mut file = OutputFile::create(path)?;
    file.write_all(content)
        .map_err(|source| OutputFile::failed(path, source))?;
    Ok(file.finish()?)
}

fn tables() -> String {
    let mut names = table::TABLES.to_vec();
    if cfg!(feature = "parquet") {
        names.push("runs.parquet");
    }
    names.join(", ")
}

fn shard(given: Option<Shard>) -> Result<Shard, Failure> {
    if let Some(shard) = given {
        return Ok(shard);
    }
    let found = Shard::of_environment(|name| std::env::var(name).ok()).map_err(Failure::input)?;
    Ok(found.map_or(Shard::ALL, |(shard, name)| {
        note(&format!("share {shard}, as {name} says"));
        shard
    }))
}

/// Makes the folder and puts the plan into it.
fn begin(out: &Path, plan: &Plan) -> Result<(), Failure> {
    let failed = |source| KeepError::Folder {
        path: out.to_owned(),
        source,
    };
    fs::create_dir_all(out).map_err(|source| Failure::environment(failed(source)))?;
    let path = Plan::path(out);
    let mut entries = fs::read_dir(out).map_err(|source| Failure::environment(failed(source)))?;
    if !path.exists() && !out.join("cells").exists() && entries.next().is_some() {
        return Err(Failure::input(NotOurs(out.to_owned())));
    }
    write_plan(&path, plan)
}

/// Puts the plan into its place.
pub(super) fn write_plan(path: &Path, plan: &Plan) -> Result<(), Failure> {
    write_file(path, plan.to_json().as_bytes())
}

/// Who can mend it.
fn failure(error: SweepError) -> Failure {
    match error {
        SweepError::Keep(error) => keep_failure(error),
        error => Failure::input(error),
    }
}

pub(super) fn keep_failure(error: KeepError) -> Failure {
    match error {
        KeepError::NotOurs(_) | KeepError::Read { .. } => Failure::input(error),
        error => Failure::environment(error),
    }
}
