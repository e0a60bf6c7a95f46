//! Whether what a scenario claims held in every run that the claim is about.

use serde::{Deserialize, Serialize};

use crate::results::{Results, Row};
use crate::scenario::{Claim, Scenario};

/// How a claim came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It held in every run it is about.
    Held,
    /// It did not, or a run does not know the figure, or there was no such run.
    Broken,
    /// It is about a driver that was not asked to run, or an algorithm that none of those runs.
    NotChecked,
}

/// What became of one claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The claim in words.
    pub claim: String,
    /// How it came out.
    pub outcome: Outcome,
    /// How many runs it was checked in.
    pub runs: usize,
    /// The figure that came closest to breaking it, or broke it most, in the column's unit.
    pub worst: Option<f64>,
    /// Which run that was; why there is none.
    pub place: String,
}

/// Checks the claims of `scenario` against the runs of `results`, in its order.
///
/// A figure that a run does not know breaks the claim, and so does a claim
/// without any run: what was not measured did not hold.
#[must_use]
pub fn judge(scenario: &Scenario, results: &Results) -> Vec<Verdict> {
    scenario
        .claims
        .iter()
        .map(|claim| judge_one(claim, was_asked(claim, scenario), results))
        .collect()
}

/// Whether a driver that the claim may be about was asked to run.
fn was_asked(claim: &Claim, scenario: &Scenario) -> bool {
    let drivers = &scenario.drivers;
    match (claim.driver, &claim.algorithm) {
        (Some(driver), _) => drivers.contains(&driver),
        (None, None) => true,
        (None, Some(label)) => {
            let mut named = scenario.algorithms.iter().filter(|it| it.label == *label);
            named.any(|it| drivers.iter().any(|driver| it.runs_on(*driver)))
        }
    }
}

fn judge_one(claim: &Claim, ran: bool, results: &Results) -> Verdict {
    let rows = if claim.user.is_some() {
        &results.users
    } else {
        &results.summary
    };
    let selected = rows.iter().filter(|row| selects(claim, row));
    let runs = selected.map(|row| (figure(row, &claim.metric), place(row)));
    verdict(
        words(claim),
        ran,
        (claim.at_least, claim.at_most),
        runs.collect(),
    )
}

/// Whether a claim holds in `runs`, of which each has a figure, if it is known, and a name.
pub(super) fn verdict(
    claim: String,
    ran: bool,
    bounds: (Option<f64>, Option<f64>),
    runs: Vec<(Option<f64>, String)>,
) -> Verdict {
    let mut verdict = Verdict {
        claim,
        outcome: match (ran, runs.is_empty()) {
            (false, _) => Outcome::NotChecked,
            (true, true) => Outcome::Broken,
            (true, false) => Outcome::Held,
        },
        runs: runs.len(),
        worst: None,
        place: if ran {
            "no such run".into()
        } else {
            "the driver was not asked to run".into()
        },
    };
    let mut least_room = f64::INFINITY;
    for (value, place) in runs {
        let room = value.map_or(f64::NEG_INFINITY, |value| room(bounds, value));
        if room < 0.0 {
            verdict.outcome = Outcome::Broken;
        }
        if room < least_room {
            least_room = room;
            verdict.worst = value;
            let unknown = if value.is_some() { "" } else { ": not known" };
            verdict.place = place + unknown;
        }
    }
    verdict
}

fn selects(claim: &Claim, row: &Row) -> bool {
    claim
        .driver
        .is_none_or(|driver| driver.name() == row.driver)
        && claim
            .algorithm
            .as_ref()
            .is_none_or(|label| *label == row.algorithm)
        && claim.user.as_ref().is_none_or(|user| *user == row.user)
}

/// How far `value` is from the nearer bound; negative beyond it.
fn room((at_least, at_most): (Option<f64>, Option<f64>), value: f64) -> f64 {
    let above = at_least.map_or(f64::INFINITY, |bound| value - bound);
    let below = at_most.map_or(f64::INFINITY, |bound| bound - value);
    let room = above.min(below);
    if room.is_nan() {
        f64::NEG_INFINITY
    } else {
        room
    }
}

/// The figure in column `metric` of `row`, if it is known.
pub(super) fn figure(row: &Row, metric: &str) -> Option<f64> {
    serde_json::to_value(row).ok()?.get(metric)?.as_f64()
}

fn words(claim: &Claim) -> String {
    let whom = [
        claim.driver.map(|driver| driver.name().to_owned()),
        claim.algorithm.clone(),
        claim.user.as_ref().map(|user| format!("user {user}")),
    ];
    in_words(&claim.metric, (claim.at_least, claim.at_most), whom)
}

/// A claim about `metric` of `whom`, in words.
pub(super) fn in_words(
    metric: &str,
    (at_least, at_most): (Option<f64>, Option<f64>),
    whom: [Option<String>; 3],
) -> String {
    let mut words = metric.to_owned();
    for (bound, sign) in [(at_least, "≥"), (at_most, "≤")] {
        if let Some(bound) = bound {
            words.push_str(&format!(" {sign} {bound}"));
        }
    }
    let whom: Vec<String> = whom.into_iter().flatten().collect();
    if !whom.is_empty() {
        words.push_str(&format!(" ({})", whom.join(", ")));
    }
    words
}

fn place(row: &Row) -> String {
    let user = if row.user.is_empty() {
        String::new()
    } else {
        format!(", user {}", row.user)
    };
    format!(
        "{}, {}{user}, repetition {}",
        row.driver, row.algorithm, row.repetition
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{DriverKind, Origin, Overrides, parse};

    fn claim(metric: &str, at_least: Option<f64>, at_most: Option<f64>) -> Claim {
        Claim {
            metric: metric.into(),
            driver: Some(DriverKind::Model),
            algorithm: None,
            user: None,
            at_least,
            at_most,
        }
    }

    fn verdict(claim: &Claim, values: &[Option<f64>]) -> Verdict {
        let summary = values
            .iter()
            .zip(0..)
            .map(|(value, repetition)| Row {
                driver: "model".into(),
                algorithm: "gcra".into(),
                repetition,
                steady_error: *value,
                ..Row::default()
            })
            .collect();
        judge_one(
            claim,
            true,
            &Results {
                summary,
                ..Results::default()
            },
        )
    }

    #[test]
    fn the_worst_run_is_named() {
        let claim = claim("steady_error", Some(-0.1), Some(0.1));
        let held = verdict(&claim, &[Some(0.0), Some(-0.09), Some(0.05)]);
        assert_eq!((held.outcome, held.worst), (Outcome::Held, Some(-0.09)));
        assert_eq!(held.place, "model, gcra, repetition 1");
        assert_eq!(held.claim, "steady_error ≥ -0.1 ≤ 0.1 (model)");
        let broken = verdict(&claim, &[Some(0.0), Some(0.11)]);
        assert_eq!(
            (broken.outcome, broken.worst),
            (Outcome::Broken, Some(0.11))
        );
    }

    #[test]
    fn what_was_not_measured_did_not_hold() {
        let claim = claim("steady_error", None, Some(0.1));
        assert_eq!(verdict(&claim, &[]).outcome, Outcome::Broken);
        let unknown = verdict(&claim, &[Some(0.0), None]);
        assert_eq!(unknown.outcome, Outcome::Broken);
        assert!(unknown.place.ends_with("not known"), "{unknown:?}");
        let nonsense = Claim {
            metric: "no_such_column".into(),
            ..claim
        };
        assert_eq!(verdict(&nonsense, &[Some(0.0)]).outcome, Outcome::Broken);
    }

    #[test]
    fn a_driver_that_was_not_asked_breaks_nothing() {
        let claim = claim("steady_error", None, Some(0.1));
        assert_eq!(
            judge_one(&claim, false, &Results::default()).outcome,
            Outcome::NotChecked
        );
    }

    #[test]
    fn an_algorithm_that_no_driver_asked_runs_breaks_nothing() {
        let text = "duration = \"1 s\"\nreference = { rate = \"1 MB/s\", burst = \"10 kB\" }\n\
             traffic = { pattern = \"bursty\" }\ndrivers = [\"model\", \"kernel\"]\n\
             [[algorithm]]\nkind = \"token-bucket\"\n\
             [[algorithm]]\nkind = \"token-bucket\"\nlabel = \"tbf\"\nkernel = \"tbf\"\n\
             [[expect]]\nmetric = \"utilisation\"\nalgorithm = \"token-bucket\"\nat_most = 1.0\n\
             [[expect]]\nmetric = \"utilisation\"\nalgorithm = \"tbf\"\nat_most = 1.0\n";
        let origin = Origin {
            shown: "test.toml",
            stem: "test",
            folder: None,
        };
        let outcomes = |driver| {
            let overrides = Overrides {
                drivers: Some(vec![driver]),
                ..Overrides::default()
            };
            let scenario = parse(text, origin, &overrides).unwrap();
            let verdicts = judge(&scenario, &Results::default());
            verdicts
                .iter()
                .map(|verdict| verdict.outcome)
                .collect::<Vec<_>>()
        };
        let (broken, not_checked) = (Outcome::Broken, Outcome::NotChecked);
        assert_eq!(outcomes(DriverKind::Kernel), [not_checked, broken]);
        assert_eq!(outcomes(DriverKind::Model), [broken, not_checked]);
    }
}
