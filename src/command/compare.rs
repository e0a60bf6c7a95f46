//! `weirgate compare`: two runs side by side.

use std::fs;
use std::path::{Path, PathBuf};

use miette::Diagnostic;

use super::picture as pictures;
use super::scenario::report_failure;
use super::{Failure, Outcome, note, print};
use crate::cli::CompareArgs;
use crate::report::{self, Look};

/// A gate that would let everything pass.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("no figure of these two runs can be judged: none has an error")]
#[diagnostic(help(
    "both need the same algorithms and drivers, and at least two runs of each; ten or more say something"
))]
struct NothingToJudge;

pub(super) fn run(args: &CompareArgs) -> Result<Outcome, Failure> {
    if let Some(picture) = &args.picture {
        let folders = [&args.base, &args.dir].into_iter();
        let entries = folders.filter_map(|dir| fs::read_dir(dir).ok()).flatten();
        let files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        pictures::check(Some(picture), &files)?;
    }
    let base = report::load(&args.base).map_err(report_failure)?;
    let other = report::load(&args.dir).map_err(report_failure)?;
    print(&report::compare(&base, &other, Look::of_stdout()))?;
    if let Some(to) = &args.picture {
        let drawn = report::differences_between(&base, &other).map_err(Failure::environment)?;
        match drawn {
            Some((png, csv)) => pictures::write(to, &png, &csv)?,
            None => note("nothing to compare, and so no picture"),
        }
    }
    if !args.fail_on_regression {
        return Ok(Outcome::Done);
    }
    let gate = report::gate(&base, &other);
    if gate.tested == 0 {
        return Err(Failure::input(NothingToJudge));
    }
    print(&format!("\n{}", gate.text()))?;
    Ok(if gate.regressions.is_empty() {
        Outcome::Done
    } else {
        Outcome::Regression
    })
}
