//! `weirgate report`: draws the tables and plots of a run again.

use super::scenario::report_failure;
use super::{Failure, Outcome, note, print};
use crate::cli::ReportArgs;
use crate::report::{self, Look, Options};
use crate::scenario::{Loaded, Overrides, RequestScenario};

pub(super) fn run(args: &ReportArgs) -> Result<Outcome, Failure> {
    let resolved = args.dir.join("run.toml");
    if let Ok(Loaded::Requests(scenario)) = Loaded::load(&resolved, &Overrides::default()) {
        return requests(args, &scenario);
    }
    let read = report::load(&args.dir).map_err(report_failure)?;
    let (scenario, results) = (&read.scenario, &read.results);
    report::write(&args.dir, scenario, results, &read.host, Options::default())
        .map_err(report_failure)?;
    print(&report::tables(scenario, results, Look::of_stdout()))?;
    note(&format!("report: {}", args.dir.display()));
    Ok(Outcome::Done)
}

fn requests(args: &ReportArgs, scenario: &RequestScenario) -> Result<Outcome, Failure> {
    let (rows, host) = report::requests::load(&args.dir).map_err(report_failure)?;
    report::requests::write(&args.dir, scenario, &rows, &host, Options::default())
        .map_err(report_failure)?;
    print(&report::requests::tables(
        scenario,
        &rows,
        Look::of_stdout(),
    ))?;
    note(&format!("report: {}", args.dir.display()));
    Ok(Outcome::Done)
}
