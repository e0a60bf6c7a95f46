//! `[[expect]]`: what must hold for exit code 0.

use toml::Spanned;
use toml::de::DeValue;

use super::super::limits;
use super::super::metric::{self, Unit};
use super::super::problem::{Problem, printable, remedy};
use super::super::section::{Entry, Node, Section};
use super::super::{Claim, User};
use super::DRIVERS;
use super::algorithms::Placed;

/// What claims can name; `None` where the file's own mistakes hide it.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) algorithms: Option<&'a [Placed]>,
    pub(super) users: Option<&'a [Spanned<User>]>,
}

/// Reads all claims.
pub(super) fn read(
    top: &mut Section<'_>,
    known: Known<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Vec<Claim>> {
    let Some(entry) = top.get("expect") else {
        return Some(Vec::new());
    };
    let claims: Vec<_> = nodes(entry, problems)?
        .into_iter()
        .map(|node| claim(node, known, problems))
        .collect();
    claims.into_iter().collect()
}

/// The tables of `entry`.
pub(super) fn nodes<'a>(entry: Entry<'a>, problems: &mut Vec<Problem>) -> Option<Vec<Node<'a>>> {
    let nodes = entry.elements(problems)?;
    if nodes.len() > limits::CLAIMS {
        problems.push(Problem::new(
            entry.at(),
            format!("more than {} claims", limits::CLAIMS),
        ));
        return None;
    }
    Some(nodes)
}

fn claim(node: Node<'_>, known: Known<'_>, problems: &mut Vec<Problem>) -> Option<Claim> {
    let mut section = Section::of(node, "in `expect`", problems)?;
    let metric = section
        .require("metric", "\"overshoot_excess_bytes\"")
        .and_then(|entry| metric_name(entry, problems));
    let driver = section.get("driver");
    let driver = optional(driver, |entry| entry.word(&DRIVERS, problems));
    let algorithm = section.get("algorithm");
    let algorithm = optional(algorithm, |entry| {
        let labels = known.algorithms.map(|all| {
            let label = |placed: &Placed| placed.algorithm.label.clone();
            all.iter().map(label).collect()
        });
        one_of(entry, labels, "algorithm", problems)
    });
    let user = section.get("user");
    let user = optional(user, |entry| {
        let name = |user: &Spanned<User>| user.get_ref().name.clone();
        let names = known.users.map(|all| all.iter().map(name).collect());
        one_of(entry, names, "user", problems)
    });
    let bounds = bounds(&mut section, metric.as_deref(), problems);
    section.finish(problems);
    let (at_least, at_most) = bounds?;
    Some(Claim {
        metric: metric?,
        driver: driver?,
        algorithm: algorithm?,
        user: user?,
        at_least,
        at_most,
    })
}

/// `Some(None)` if there is no entry, `None` if it is wrong.
pub(super) fn optional<'a, T>(
    entry: Option<Entry<'a>>,
    read: impl FnOnce(Entry<'a>) -> Option<T>,
) -> Option<Option<T>> {
    match entry {
        Some(entry) => read(entry).map(Some),
        None => Some(None),
    }
}

fn metric_name(entry: Entry<'_>, problems: &mut Vec<Problem>) -> Option<String> {
    one_of(entry, Some(metric::names()), "metric", problems)
}

pub(super) fn one_of(
    entry: Entry<'_>,
    names: Option<Vec<String>>,
    what: &str,
    problems: &mut Vec<Problem>,
) -> Option<String> {
    let given = entry.string(problems)?;
    let Some(names) = names else {
        return Some(given.to_owned());
    };
    if names.iter().any(|name| name == given) {
        return Some(given.to_owned());
    }
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    problems.push(
        Problem::new(
            entry.at(),
            format!("no {what} is called \"{}\"", printable(given)),
        )
        .label(format!("unknown {what}"))
        .help(remedy(given, &names, "known names")),
    );
    None
}

pub(super) type Bounds = (Option<f64>, Option<f64>);

pub(super) fn bounds(
    section: &mut Section<'_>,
    metric: Option<&str>,
    problems: &mut Vec<Problem>,
) -> Option<Bounds> {
    let (least, most) = (section.get("at_least"), section.get("at_most"));
    if least.is_none() && most.is_none() {
        problems.push(
            Problem::new(section.at(), "a claim without a bound")
                .label("claims nothing")
                .help("add `at_most = ...`, `at_least = ...` or both"),
        );
        return None;
    }
    let unit = metric.map(Unit::of)?;
    let at_least = optional(least, |entry| bound(entry, unit, problems));
    let at_most = optional(most, |entry| bound(entry, unit, problems));
    let (at_least, at_most) = (at_least?, at_most?);
    if let (Some(least), Some(most), Some(entry)) = (at_least, at_most, section.get("at_most"))
        && least > most
    {
        problems.push(
            Problem::new(entry.at(), "nothing is at least and at most this much")
                .label("less than `at_least`")
                .help("exchange the two bounds"),
        );
    }
    Some((at_least, at_most))
}

fn bound(entry: Entry<'_>, unit: Unit, problems: &mut Vec<Problem>) -> Option<f64> {
    match unit.example() {
        Some(example) => entry.quantity_by(|text| unit.read(text), example, problems),
        None => number(entry, "this metric has no unit", "0.99", problems),
    }
}

/// A number, where `why` nothing else will do.
pub(super) fn number(
    entry: Entry<'_>,
    why: &str,
    example: &str,
    problems: &mut Vec<Problem>,
) -> Option<f64> {
    let value = match entry.value.get_ref() {
        DeValue::Integer(number) => number.as_str().parse::<f64>(),
        DeValue::Float(number) => number.as_str().parse::<f64>(),
        _ => {
            problems.push(
                Problem::new(entry.at(), why)
                    .label("expected a number")
                    .help(format!(
                        "write for example `{} = {example}`",
                        entry.key.get_ref()
                    )),
            );
            return None;
        }
    };
    let finite = value.ok().filter(|value| value.is_finite());
    if finite.is_none() {
        problems.push(Problem::new(entry.at(), "not a finite decimal number"));
    }
    finite
}
