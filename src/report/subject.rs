//! What was run, as far as a report shows it: plain values and text.

use flow::{ByteRate, ByteSize, Nanos, Timestamp};

use super::format::{Unit, chosen};
use crate::scenario::{Mode, Reference, Scenario, User, UserLimit};

/// A scenario as its report speaks of it.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(
    non_snake_case,
    reason = "B/s is written Bps, as in the columns of the files"
)]
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) question: String,
    pub(super) seed: u64,
    pub(super) duration_s: f64,
    pub(super) bin_s: f64,
    /// The reference that figures are judged against.
    pub(super) rate_Bps: f64,
    pub(super) burst_bytes: f64,
    /// In the order of the report.
    pub(super) drivers: Vec<String>,
    /// In the order of the report.
    pub(super) algorithms: Vec<Tested>,
    pub(super) users: Vec<Sender>,
    /// From when on how much all users together may pass, in B/s; empty when one of them is not limited.
    pub(super) limit: Vec<(f64, f64)>,
}

/// One algorithm under test.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tested {
    /// Its name in every file.
    pub(super) label: String,
    /// `police`, `shape` or `stream`.
    pub(super) mode: String,
    /// The policy in the text form that `replay --limiter` takes.
    pub(super) limiter: String,
}

/// One user.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sender {
    pub(super) name: String,
    /// The pattern in its text form.
    pub(super) sends: String,
    pub(super) connections: u32,
    /// What limits it, in words.
    pub(super) limit: String,
}

impl Subject {
    /// What `scenario` asks for.
    pub(super) fn of(scenario: &Scenario) -> Self {
        Self {
            name: scenario.name.clone(),
            question: scenario.question.clone(),
            seed: scenario.seed,
            duration_s: seconds(scenario.duration),
            bin_s: seconds(scenario.bin),
            rate_Bps: rate(scenario.reference.rate),
            burst_bytes: bytes(scenario.reference.burst),
            drivers: scenario
                .drivers
                .iter()
                .map(|driver| driver.name().to_owned())
                .collect(),
            algorithms: scenario
                .algorithms
                .iter()
                .map(|algorithm| Tested {
                    label: algorithm.label.clone(),
                    mode: mode(algorithm.mode).to_owned(),
                    limiter: algorithm.policy.to_string(),
                })
                .collect(),
            users: scenario.users.iter().map(Sender::of).collect(),
            limit: limit(scenario),
        }
    }

    /// The place of an algorithm in the scenario's order, and so its colour.
    pub(super) fn rank(&self, algorithm: &str) -> usize {
        self.algorithms
            .iter()
            .position(|tested| tested.label == algorithm)
            .unwrap_or(self.algorithms.len())
    }

    /// The place of a driver, and so its look.
    pub(super) fn driver_rank(&self, driver: &str) -> usize {
        self.drivers
            .iter()
            .position(|name| name == driver)
            .unwrap_or(self.drivers.len())
    }

    /// Whether the limit changes while running.
    pub(super) fn has_rate_changes(&self) -> bool {
        self.limit.len() > 1
    }
}

impl Sender {
    fn of(user: &User) -> Self {
        Self {
            name: user.name.clone(),
            sends: user.pattern.to_string(),
            connections: user.connections,
            limit: match user.limit {
                UserLimit::Reference => "the algorithm under test".into(),
                UserLimit::Own(Reference { rate: own, burst }) => format!(
                    "the algorithm under test at {}, burst {}",
                    chosen(Unit::Rate, rate(own)),
                    chosen(Unit::Bytes, bytes(burst))
                ),
                UserLimit::Unlimited => "nothing".into(),
            },
        }
    }
}

/// What all users together may pass, step by step.
fn limit(scenario: &Scenario) -> Vec<(f64, f64)> {
    if scenario
        .users
        .iter()
        .any(|user| user.limit == UserLimit::Unlimited)
    {
        return Vec::new();
    }
    let own: f64 = scenario
        .users
        .iter()
        .filter_map(|user| match user.limit {
            UserLimit::Own(own) => Some(rate(own.rate)),
            UserLimit::Reference | UserLimit::Unlimited => None,
        })
        .sum();
    let sharing = scenario
        .users
        .iter()
        .filter(|user| user.limit == UserLimit::Reference)
        .count();
    #[expect(
        clippy::cast_precision_loss,
        reason = "a number of users is far below 2^52"
    )]
    let sharing = sharing as f64;
    let changes = scenario
        .rate_changes
        .iter()
        .map(|change| (seconds(change.at.since(Timestamp::ZERO)), change.rate));
    let mut steps = vec![(0.0, own + sharing * rate(scenario.reference.rate))];
    steps.extend(changes.map(|(at, changed)| (at, own + sharing * rate(changed))));
    steps
}

const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Police => "police",
        Mode::Shape => "shape",
        Mode::Stream => "stream",
    }
}

#[expect(clippy::cast_precision_loss, reason = "for showing, not for deciding")]
fn seconds(time: Nanos) -> f64 {
    time.get() as f64 / 1e9
}

#[expect(clippy::cast_precision_loss, reason = "for showing, not for deciding")]
fn rate(rate: ByteRate) -> f64 {
    rate.get() as f64
}

#[expect(clippy::cast_precision_loss, reason = "for showing, not for deciding")]
fn bytes(size: ByteSize) -> f64 {
    size.get() as f64
}
