//! `weirgate report`: draws the tables and plots of a run again.

use super::scenario::report_failure;
use super::{Failure, Outcome, note, print};
use crate::cli::ReportArgs;
use crate::report::{self, Look, Options};

pub(super) fn run(args: &ReportArgs) -> Result<Outcome, Failure> {
    let read = report::load(&args.dir).map_err(report_failure)?;
    let (scenario, results) = (&read.scenario, &read.results);
    report::write(&args.dir, scenario, results, &read.host, Options::default())
        .map_err(report_failure)?;
    print(&report::tables(scenario, results, Look::of_stdout()))?;
    note(&format!("report: {}", args.dir.display()));
    Ok(Outcome::Done)
}
