//! `[[rate_change]]`: the limit while it is running.

use flow::{ByteRate, Nanos, Timestamp};
use toml::Spanned;

use super::super::problem::Problem;
use super::super::section::{Node, Section};
use super::super::{RateChange, limits};

/// Reads all changes of rate, in order of time.
pub(super) fn read(
    top: &mut Section<'_>,
    duration: Option<Nanos>,
    problems: &mut Vec<Problem>,
) -> Option<Vec<Spanned<RateChange>>> {
    let Some(entry) = top.get("rate_change") else {
        return Some(Vec::new());
    };
    let mut changes: Vec<Spanned<RateChange>> = Vec::new();
    let nodes = entry.elements(problems)?;
    if nodes.len() > limits::RATE_CHANGES {
        let most = limits::RATE_CHANGES;
        let message = format!("more than {most} changes of rate");
        problems.push(Problem::new(entry.at(), message));
        return None;
    }
    let mut whole = true;
    for node in nodes {
        let change = rate_change(node, duration, changes.last(), problems);
        whole &= change.is_some();
        changes.extend(change);
    }
    whole.then_some(changes)
}

fn rate_change(
    node: Node<'_>,
    duration: Option<Nanos>,
    before: Option<&Spanned<RateChange>>,
    problems: &mut Vec<Problem>,
) -> Option<Spanned<RateChange>> {
    let mut section = Section::of(node, "in `rate_change`", problems)?;
    let at = section
        .require("at", "\"10 s\"")
        .and_then(|entry| Some((entry, entry.quantity::<Nanos>("10 s", problems)?)));
    let rate: Option<ByteRate> = section
        .require("rate", "\"10 kB/s\"")
        .and_then(|entry| entry.quantity("10 kB/s", problems));
    section.finish(problems);
    let (entry, at) = at?;
    let instant = Timestamp::ZERO + at;
    if let Some(duration) = duration.filter(|duration| at >= *duration) {
        problems.push(
            Problem::new(entry.at(), "the rate changes after the run has ended")
                .label("too late")
                .help(format!("the run lasts {duration}")),
        );
    }
    if let Some(before) = before.filter(|before| before.get_ref().at >= instant) {
        problems.push(
            Problem::new(entry.at(), "changes of rate are not in order of time")
                .label("not after the one before")
                .also(before.span(), "the one before")
                .help("sort the `[[rate_change]]` tables by `at`"),
        );
    }
    let change = RateChange {
        at: instant,
        rate: rate?,
    };
    Some(Spanned::new(entry.at(), change))
}
