//! `weirgate scenario`: runs scenarios and writes their reports.

mod requests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use miette::{Diagnostic, Report};

use super::{Failure, Outcome, note, print};
use crate::cli::ScenarioArgs;
use crate::cost;
use crate::driver::{Stop, leave_out_what_cannot_run};
use crate::interrupt;
use crate::progress::Progress;
use crate::report::{self, Host, Look, Options, ReportError, claims};
use crate::results::Results;
use crate::run::{self, Finished, RunError};
use crate::scenario::{Loaded, Scenario};

/// Where the reports go unless the command line says otherwise.
const REPORTS: &str = "reports";

/// A run that its environment did not allow.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("cannot run the scenario {name}")]
struct CannotRun {
    name: String,
    source: RunError,
}

/// Two scenarios whose reports would overwrite each other.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("two of these scenarios are called `{name}`: {} and {}", first.display(), second.display())]
#[diagnostic(help("give one of them another `name`, or run them with different --out"))]
struct SameName {
    name: String,
    first: PathBuf,
    second: PathBuf,
}

/// A scenario on its way.
struct Job {
    /// What was left out of it, and why.
    notes: Vec<String>,
    scenario: Loaded,
    folder: PathBuf,
}

pub(super) fn run(args: &ScenarioArgs) -> Result<Outcome, Failure> {
    let jobs = jobs(args)?;
    let stop = interrupt::watch();
    for job in &jobs {
        report::check_target(&job.folder).map_err(report_failure)?;
    }
    let mut outcome = Outcome::Done;
    for job in &jobs {
        job.notes.iter().for_each(|line| note(line));
        let ended = match &job.scenario {
            Loaded::Bytes(scenario) => one(args, scenario, &job.folder, &stop)?,
            Loaded::Requests(scenario) => requests::run(args, scenario, &job.folder, &stop)?,
        };
        match ended {
            Outcome::Done => {}
            Outcome::Interrupted => return Ok(Outcome::Interrupted),
            worse => outcome = worse,
        }
    }
    Ok(outcome)
}

/// Reads every file before anything runs.
fn jobs(args: &ScenarioArgs) -> Result<Vec<Job>, Failure> {
    let overrides = args.overrides();
    let mut mistakes = Vec::new();
    let mut names: BTreeMap<String, &Path> = BTreeMap::new();
    let mut jobs = Vec::new();
    for file in &args.files {
        let mut loaded = match Loaded::load(file, &overrides) {
            Ok(loaded) => loaded,
            Err(error) => {
                mistakes.push(Report::new(error));
                continue;
            }
        };
        if let Some(first) = names.insert(loaded.name().to_owned(), file) {
            mistakes.push(Report::new(SameName {
                name: loaded.name().to_owned(),
                first: first.to_owned(),
                second: file.clone(),
            }));
        }
        let folder = folder(args, loaded.name());
        let notes = match &mut loaded {
            Loaded::Bytes(scenario) => {
                if args.start_servers {
                    scenario.start_servers();
                }
                leave_out_what_cannot_run(scenario)
            }
            Loaded::Requests(scenario) => {
                crate::driver::requests::leave_out_what_cannot_run(scenario)
            }
        };
        jobs.push(Job {
            notes,
            scenario: loaded,
            folder,
        });
    }
    if mistakes.is_empty() {
        Ok(jobs)
    } else {
        Err(Failure::Input(mistakes))
    }
}

fn folder(args: &ScenarioArgs, name: &str) -> PathBuf {
    match &args.out {
        Some(out) if args.files.len() == 1 => out.clone(),
        Some(out) => out.join(name),
        None => Path::new(REPORTS).join(name),
    }
}

fn one(
    args: &ScenarioArgs,
    scenario: &Scenario,
    folder: &Path,
    stop: &Stop,
) -> Result<Outcome, Failure> {
    if scenario.drivers.is_empty() || scenario.algorithms.is_empty() {
        note(&format!("{}: nothing is left to run", scenario.name));
        return Ok(Outcome::Done);
    }
    let started = Instant::now();
    let finished = run::run(scenario, Progress::of_stderr(), stop)
        .map_err(|source| cannot_run(&scenario.name, source))?;
    finished.notes.iter().for_each(|line| note(line));
    let options = Options {
        plots: !args.no_plots,
    };
    if finished.results.summary.is_empty() {
        note("interrupted before any run was completed: no report was written");
        return Ok(Outcome::Interrupted);
    }
    let mut host = Host::here(started.elapsed());
    host.decisions = cost::decisions(&scenario.algorithms);
    report::write(folder, scenario, &finished.results, &host, options).map_err(report_failure)?;
    show(args, scenario, &finished)?;
    note(&costs(&host));
    note(&format!("report: {}", folder.display()));
    Ok(outcome(scenario, &finished))
}

fn cannot_run(name: &str, source: RunError) -> Failure {
    let name = name.to_owned();
    Failure::environment(CannotRun { name, source })
}

/// What a decision costs here, in one line.
fn costs(host: &Host) -> String {
    let build = if cfg!(debug_assertions) {
        "development build"
    } else {
        "release build"
    };
    let cost = |cost: &report::DecisionCost| format!("{} {:.1}", cost.algorithm, cost.ns);
    let costs: Vec<String> = host.decisions.iter().map(cost).collect();
    format!("ns per decision, {build}: {}", costs.join(", "))
}

fn show(args: &ScenarioArgs, scenario: &Scenario, finished: &Finished) -> Result<(), Failure> {
    let results = &finished.results;
    if args.json {
        print(&report::summary_json(scenario, results).map_err(report_failure)?)
    } else {
        print(&report::tables(scenario, results, Look::of_stdout()))
    }
}

fn outcome(scenario: &Scenario, finished: &Finished) -> Outcome {
    let broken = |verdict: &claims::Verdict| verdict.outcome == claims::Outcome::Broken;
    if finished.interrupted {
        note("interrupted: the report holds the runs that were completed");
        Outcome::Interrupted
    } else if let Some(broken) = bound_broken(&finished.results) {
        note(&format!("a bound was exceeded: {broken}"));
        Outcome::ClaimBroken
    } else if claims::judge(scenario, &finished.results)
        .iter()
        .any(broken)
    {
        Outcome::ClaimBroken
    } else {
        Outcome::Done
    }
}

/// The first run that broke a bound of its algorithm's own, beyond what its measurement may be
/// wrong by.
fn bound_broken(results: &Results) -> Option<String> {
    let row = results.summary.iter().find(|row| row.beyond().any())?;
    Some(format!(
        "{}, {}, repetition {}",
        row.algorithm, row.driver, row.repetition
    ))
}

/// Who can mend it.
pub(super) fn report_failure(error: ReportError) -> Failure {
    if error.is_input() {
        Failure::input(error)
    } else {
        Failure::environment(error)
    }
}
