//! `weirgate check`: validates scenarios, runs nothing.

use std::fmt::Write as _;
use std::path::Path;

use miette::Report;

use super::{Failure, Outcome, counted, print};
use crate::cli::CheckArgs;
use crate::scenario::{DriverKind, Loaded, Overrides, RequestScenario, Scenario};

pub(super) fn run(args: &CheckArgs) -> Result<Outcome, Failure> {
    let mut mistakes = Vec::new();
    let mut good = String::new();
    for file in &args.files {
        match Loaded::load(file, &Overrides::default()) {
            Ok(Loaded::Bytes(scenario)) => good.push_str(&line(file, &scenario)),
            Ok(Loaded::Requests(scenario)) => good.push_str(&line_of_requests(file, &scenario)),
            Err(error) => mistakes.push(Report::new(error)),
        }
    }
    print(&good)?;
    if mistakes.is_empty() {
        Ok(Outcome::Done)
    } else {
        Err(Failure::Input(mistakes))
    }
}

/// What a scenario would run, in one line.
fn line(file: &Path, scenario: &Scenario) -> String {
    let mut line = format!("{}: ok", file.display());
    let connections: u64 = scenario
        .users
        .iter()
        .map(|u| u64::from(u.connections))
        .sum();
    // Writing to a String cannot fail.
    let _ = writeln!(
        line,
        ", {}, {}, {}, {} of {}, {}",
        counted(scenario.algorithms.len() as u64, "algorithm"),
        counted(scenario.users.len() as u64, "user"),
        counted(connections, "connection"),
        runs(scenario),
        scenario.duration,
        counted(scenario.claims.len() as u64, "claim"),
    );
    line
}

/// What a scenario of requests would run, in one line.
fn line_of_requests(file: &Path, scenario: &RequestScenario) -> String {
    let cells = |driver: &DriverKind| scenario.cells(*driver).count() as u64;
    let runs = scenario.drivers.iter().map(cells).sum();
    format!(
        "{}: ok, {}, {}, {} of {}, {}\n",
        file.display(),
        counted(scenario.services.len() as u64, "service"),
        counted(scenario.loads.len() as u64, "load"),
        counted(runs, "run"),
        scenario.duration,
        counted(scenario.claims.len() as u64, "claim"),
    )
}

fn runs(scenario: &Scenario) -> String {
    let of = |driver| {
        let algorithms = scenario.algorithms_for(driver).count() as u64;
        algorithms * u64::from(scenario.repetitions.of(driver))
    };
    let all = scenario.drivers.iter().map(|driver| of(*driver)).sum();
    counted(all, "run")
}
