//! The same of scenarios of requests.

use std::path::Path;
use std::time::Instant;

use super::super::{Failure, Outcome, note, print};
use super::{cannot_run, report_failure};
use crate::cli::ScenarioArgs;
use crate::driver::Stop;
use crate::progress::Progress;
use crate::report::{Host, Look, Options, requests as report};
use crate::run;
use crate::scenario::RequestScenario;

pub(super) fn run(
    args: &ScenarioArgs,
    scenario: &RequestScenario,
    folder: &Path,
    stop: &Stop,
) -> Result<Outcome, Failure> {
    if scenario.drivers.is_empty() {
        note(&format!("{}: nothing is left to run", scenario.name));
        return Ok(Outcome::Done);
    }
    let started = Instant::now();
    let finished = run::requests(scenario, Progress::of_stderr(), stop)
        .map_err(|source| cannot_run(&scenario.name, source))?;
    let rows = &finished.rows;
    if rows.is_empty() {
        note("interrupted before any run was completed: no report was written");
        return Ok(Outcome::Interrupted);
    }
    let host = Host::here(started.elapsed());
    let options = Options {
        plots: !args.no_plots,
    };
    report::write(folder, scenario, rows, &host, options).map_err(report_failure)?;
    print(&if args.json {
        report::summary_json(scenario, rows).map_err(report_failure)?
    } else {
        report::tables(scenario, rows, Look::of_stdout())
    })?;
    note(&format!("report: {}", folder.display()));
    if finished.interrupted {
        note("interrupted: the report holds the runs that were completed");
        return Ok(Outcome::Interrupted);
    }
    if report::is_broken(&report::judge(scenario, rows)) {
        return Ok(Outcome::ClaimBroken);
    }
    Ok(Outcome::Done)
}
