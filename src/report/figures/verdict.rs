//! The answer in a few sentences.

use super::group::{Group, groups};
use crate::report::claims::{Outcome, Verdict};
use crate::report::format::{Unit, chosen, quantity};
use crate::report::subject::Subject;
use crate::results::Results;

/// The answer in a few sentences.
pub(in crate::report) fn verdict(
    subject: &Subject,
    results: &Results,
    verdicts: &[Verdict],
) -> Vec<String> {
    let mut sentences = vec![of_claims(verdicts)];
    let groups = groups(subject, &results.summary);
    for driver in &subject.drivers {
        let broken: Vec<String> = groups
            .iter()
            .filter(|group| group.driver == driver)
            .filter_map(|group| {
                Some(format!(
                    "{} ({})",
                    group.algorithm,
                    quantity(Unit::Bytes, group.broke_bound()?, 3)
                ))
            })
            .collect();
        sentences.push(if broken.is_empty() {
            format!(
                "{}: every algorithm kept the bound that it promises.",
                capital(driver)
            )
        } else {
            format!(
                "{}: own bound exceeded by {}.",
                capital(driver),
                broken.join(", ")
            )
        });
    }
    let beyond = named(&groups, |group| group.exceeds(subject));
    if !beyond.is_empty() {
        sentences.push(format!(
            "Clearly more than {} and a burst of {} allow: {}.",
            chosen(Unit::Rate, subject.rate_Bps),
            chosen(Unit::Bytes, subject.burst_bytes),
            beyond.join(", ")
        ));
    }
    sentences
}

/// What became of the claims, in a sentence.
pub(in crate::report) fn of_claims(verdicts: &[Verdict]) -> String {
    let count = |outcome| {
        verdicts
            .iter()
            .filter(|verdict| verdict.outcome == outcome)
            .count()
    };
    let (held, broken) = (count(Outcome::Held), count(Outcome::Broken));
    match (held, broken) {
        (0, 0) => "The scenario makes no claim that was checked.".into(),
        (1, 0) => "The claim held.".into(),
        (_, 0) => format!("All {held} claims held."),
        _ => format!("{broken} of {} claims did not hold.", held + broken),
    }
}

/// The algorithms that `which` is true of; with the driver where it is not true of all of them.
fn named(groups: &[Group<'_>], which: impl Fn(&Group<'_>) -> bool) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for first in groups {
        let drivers: Vec<&Group<'_>> = groups
            .iter()
            .filter(|group| group.algorithm == first.algorithm)
            .collect();
        let true_of: Vec<&str> = drivers
            .iter()
            .filter(|group| which(group))
            .map(|group| group.driver)
            .collect();
        let name = if true_of.len() == drivers.len() {
            first.algorithm.to_owned()
        } else {
            format!("{} ({})", first.algorithm, true_of.join(", "))
        };
        if !true_of.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

pub(in crate::report) fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}
