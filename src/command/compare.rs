//! `weirgate compare`: two runs side by side.

use miette::Diagnostic;

use super::scenario::report_failure;
use super::{Failure, Outcome, print};
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
    let base = report::load(&args.base).map_err(report_failure)?;
    let other = report::load(&args.dir).map_err(report_failure)?;
    print(&report::compare(&base, &other, Look::of_stdout()))?;
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
