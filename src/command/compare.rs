//! `weirgate compare`: two runs side by side.

use super::scenario::report_failure;
use super::{Failure, Outcome, print};
use crate::cli::CompareArgs;
use crate::report::{self, Look};

pub(super) fn run(args: &CompareArgs) -> Result<Outcome, Failure> {
    let base = report::load(&args.base).map_err(report_failure)?;
    let other = report::load(&args.dir).map_err(report_failure)?;
    print(&report::compare(&base, &other, Look::of_stdout()))?;
    Ok(Outcome::Done)
}
