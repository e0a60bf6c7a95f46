//! `weirgate tune`: which algorithm, with which parameters, meets an objective.

mod apply;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use miette::Diagnostic;

use super::{Failure, Outcome, counted, note, print};
use crate::cli::TuneArgs;
use crate::interrupt;
use crate::output::OutputFile;
use crate::progress::Progress;
use crate::report;
use crate::scenario::{DriverKind, Mode, Overrides, Scenario};
use crate::statistics::Summary;
use crate::tune::{self, Goal, Objective, Tried, Tuned};

/// A simulation that could not go on.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("cannot tune the scenario {name}")]
struct CannotTune {
    name: String,
    source: crate::driver::model::ModelError,
}

/// A folder that could not be made.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("cannot make the folder {}", path.display())]
struct Folder {
    path: PathBuf,
    source: std::io::Error,
}

pub(super) fn run(args: &TuneArgs) -> Result<Outcome, Failure> {
    let overrides = Overrides {
        drivers: Some(vec![DriverKind::Model]),
        duration: args.duration,
        ..Overrides::default()
    };
    let scenario = Scenario::load(&args.file, &overrides).map_err(Failure::input)?;
    let (column, more) = match (&args.maximize, &args.minimize) {
        (_, Some(column)) => (column.clone(), false),
        (Some(column), None) => (column.clone(), true),
        (None, None) => ("utilisation".to_owned(), true),
    };
    let goal = Goal {
        conditions: args.conditions.clone(),
        objective: Objective { column, more },
    };
    let stop = interrupt::watch();
    let tuned = tune::tune(&scenario, &goal, Progress::of_stderr(), &stop).map_err(|source| {
        Failure::input(CannotTune {
            name: scenario.name.clone(),
            source,
        })
    })?;
    if tuned.interrupted {
        note("interrupted: nothing was chosen");
        return Ok(Outcome::Interrupted);
    }
    print(&text(&scenario, &goal, &tuned))?;
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| Path::new("reports").join(format!("{}-tune", scenario.name)));
    picture(&out, &scenario, &goal, &tuned)?;
    note(&format!("pictures: {}", out.display()));
    let best = tuned.finalists.first().filter(|best| best.holds());
    let Some(best) = best else {
        if args.apply.apply.is_some() {
            note("nothing meets all conditions: the proxy is left as it is");
        }
        return Ok(Outcome::ClaimBroken);
    };
    apply::apply(&args.apply, &scenario, best.candidate.algorithm.policy)?;
    Ok(Outcome::Done)
}

fn text(scenario: &Scenario, goal: &Goal, tuned: &Tuned) -> String {
    let Some(best) = tuned.finalists.first() else {
        return "Nothing was tried.\n".to_owned();
    };
    let mut out = String::new();
    if best.holds() {
        out.push_str(&format!("Choice: {}\n", best.candidate.name()));
    } else {
        out.push_str(&format!(
            "Nothing that was tried meets every condition in every run. The nearest: {}\n",
            best.candidate.name()
        ));
    }
    out.push_str(&evidence(goal, best));
    if let Some(next) = tuned.finalists.get(1) {
        out.push_str(&runner_up(goal, best, next));
    }
    out.push_str(&format!(
        "  tried: {}, then the best {} by {} of another seed\n",
        counted(tuned.searched.len() as u64, "setting"),
        tuned.finalists.len(),
        counted(best.rows.len() as u64, "run"),
    ));
    if best.holds() {
        out.push_str(&config(scenario, best));
    }
    out
}

/// Objective and margins of the choice.
fn evidence(goal: &Goal, best: &Tried) -> String {
    let mut out = String::new();
    let column = &goal.objective.column;
    if let Some(found) = Summary::without_bootstrap(&best.values(column)) {
        let error = found.t.map(|t| t.half_width()).unwrap_or_default();
        out.push_str(&format!(
            "  {column}: {:.4} ± {error:.4} (95 %, t, n = {})\n",
            found.mean, found.n
        ));
    }
    for condition in &goal.conditions {
        let Some(worst) = condition.worst(&best.values(&condition.column)) else {
            out.push_str(&format!("  {}: not known\n", condition.text));
            continue;
        };
        let margin =
            (condition.bound - worst) / condition.bound.abs().max(f64::MIN_POSITIVE) * 100.0;
        let margin = if condition.below { margin } else { -margin };
        let verdict = if margin < 0.0 {
            "beyond it"
        } else {
            "to spare"
        };
        out.push_str(&format!(
            "  {}: {} {worst:.1} in the worst run, {:.1} % {verdict}\n",
            condition.text,
            condition.column,
            margin.abs()
        ));
    }
    let (met, all) = (best.met, best.rows.len());
    match best.assured() {
        Some(share) => out.push_str(&format!(
            "  conditions met in {met} of {all} runs: with 95 % confidence in at least {:.1} % of all\n",
            share * 100.0
        )),
        None => out.push_str(&format!("  conditions met in {met} of {all} runs\n")),
    }
    out
}

fn runner_up(goal: &Goal, best: &Tried, next: &Tried) -> String {
    let name = next.candidate.name();
    if best.holds() && !next.holds() {
        return format!("  next: {name}, which does not meet the conditions in every run\n");
    }
    let column = &goal.objective.column;
    let Some(found) = best.against(next, column) else {
        return format!("  next: {name}\n");
    };
    let interval = found.interval.map_or_else(String::new, |interval| {
        format!(" ({:+.4} to {:+.4})", interval.low, interval.high)
    });
    let known = found.p.is_some_and(|p| p <= 0.05);
    let verdict = if known { "" } else { ", which may be chance" };
    format!(
        "  next: {name}; {column} differs by {:+.4}{interval}{verdict}\n",
        found.difference
    )
}

/// What to tell the proxy.
fn config(scenario: &Scenario, best: &Tried) -> String {
    let policy = best.candidate.algorithm.policy;
    let mut out = format!(
        "\nFor the proxy:\n  weirgate-proxy user set NAME --algorithm '{policy}'\nFor a scenario:\n{}",
        scenario_table(best)
    );
    if best.candidate.algorithm.mode != Mode::Stream {
        out.push_str(&format!(
            "The proxy relays streams: it holds this limit by back-pressure and drops nothing. What it does to\n\
             this traffic is shown by `mode = \"stream\"` in {}.\n",
            scenario.name
        ));
    }
    out
}

fn scenario_table(best: &Tried) -> String {
    let candidate = &best.candidate;
    let mut out = String::new();
    if let (Mode::Shape, Some(queue)) = (candidate.algorithm.mode, candidate.queue) {
        out.push_str(&format!("  queue = \"{queue}\"\n"));
    }
    out.push_str(&format!(
        "  algorithms = [\"{}\"]\n",
        candidate.algorithm.policy
    ));
    out
}

fn picture(out: &Path, scenario: &Scenario, goal: &Goal, tuned: &Tuned) -> Result<(), Failure> {
    fs::create_dir_all(out).map_err(|source| {
        Failure::environment(Folder {
            path: out.to_owned(),
            source,
        })
    })?;
    let all: Vec<(&Tried, bool, String)> = tuned
        .searched
        .iter()
        .map(|one| (one, false, one.candidate.name()))
        .chain(
            tuned
                .finalists
                .first()
                .map(|one| (one, true, one.candidate.name())),
        )
        .collect();
    let rank = |label: &str| {
        scenario
            .algorithms
            .iter()
            .position(|one| one.label == label)
    };
    let dots: Vec<report::Dot<'_>> = all
        .iter()
        .map(|(one, chosen, name)| report::Dot {
            rank: rank(&one.candidate.algorithm.label).unwrap_or_default(),
            label: &one.candidate.algorithm.label,
            name,
            rows: &one.rows,
            chosen: *chosen,
        })
        .collect();
    let bound = |column: &str| {
        let mut conditions = goal.conditions.iter();
        conditions
            .find(|one| one.column == column)
            .map(|one| one.bound)
    };
    let footer = format!(
        "{} · seed {} · {} · n = 3 to 5 runs a setting, {} of the chosen one",
        scenario.name,
        scenario.seed,
        scenario.duration,
        tuned.finalists.first().map_or(0, |one| one.rows.len()),
    );
    let bounds = [bound("delay_p99_us"), bound("overshoot_bytes")];
    let (png, csv) = report::pareto(&dots, bounds, &footer).map_err(Failure::environment)?;
    for (name, bytes) in [
        ("pareto.png", png.as_slice()),
        ("pareto.csv", csv.as_bytes()),
    ] {
        let path = out.join(name);
        let mut file = OutputFile::create(&path)?;
        file.write_all(bytes)
            .map_err(|source| OutputFile::failed(&path, source))?;
        file.finish()?;
    }
    Ok(())
}
