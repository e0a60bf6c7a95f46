//! What can be set about an algorithm, and between which ends.

use flow::policy::Defaults;
use flow::spec::{self, Fields};
use flow::{ByteSize, Nanos, Policy};

use crate::scenario::{Algorithm, Mode, Scenario};

/// Settings of one parameter in the first round, when it is the only one, and when there are two.
const STEPS: [u32; 2] = [10, 7];

/// An algorithm with its parameters, and the queue in front of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// What limits.
    pub algorithm: Algorithm,
    /// The shaper's queue; `None` where nothing waits, or without limit.
    pub queue: Option<ByteSize>,
    /// Its settings, in the order of its parameters.
    settings: Vec<u64>,
}

/// A parameter that can be set, from one end to the other.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Knob {
    kind: KnobKind,
    from: u64,
    to: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum KnobKind {
    /// A field in bytes.
    Size(&'static str),
    /// A window in nanoseconds, and the limit that follows from it.
    Window,
    /// Another field in nanoseconds.
    Time(&'static str),
    /// The queue of the shaper, in bytes.
    Queue,
}

/// The settings of the first round.
pub(super) fn grid(scenario: &Scenario) -> Vec<Candidate> {
    let mut all = Vec::new();
    for algorithm in scenario.algorithms.iter().filter(|one| !one.is_special()) {
        let knobs = knobs(scenario, algorithm);
        let steps = STEPS[usize::from(knobs.len() > 1)];
        let mut settings: Vec<Vec<u64>> = vec![Vec::new()];
        for knob in &knobs {
            let values: Vec<u64> = (0..steps)
                .map(|step| knob.at(f64::from(step) / f64::from(steps - 1)))
                .collect();
            settings = settings
                .iter()
                .flat_map(|before| {
                    values
                        .iter()
                        .map(move |value| [before.as_slice(), &[*value]].concat())
                })
                .collect();
        }
        all.extend(
            settings
                .into_iter()
                .filter_map(|one| Candidate::new(scenario, algorithm, one)),
        );
    }
    all
}

fn knobs(scenario: &Scenario, algorithm: &Algorithm) -> Vec<Knob> {
    let rate = scenario.reference.rate.get();
    let sizes = scenario
        .users
        .iter()
        .map(|user| scenario.largest_packet(user).get());
    let packet = match algorithm.mode {
        Mode::Stream => 1_024,
        _ => sizes.max().unwrap_or(0).max(64),
    };
    let burst = scenario.reference.burst.get();
    let deepest = burst
        .saturating_mul(8)
        .max(rate)
        .max(packet.saturating_mul(32));
    let size = |field| Knob {
        kind: KnobKind::Size(field),
        from: packet,
        to: deepest,
    };
    // No window is shorter than its limit's largest packet takes at the rate.
    let shortest =
        u64::try_from(u128::from(packet) * 1_000_000_000 / u128::from(rate)).unwrap_or(u64::MAX);
    let from = shortest.saturating_add(1).clamp(10_000_000, 5_000_000_000);
    let span = |kind| Knob {
        kind,
        from,
        to: 10_000_000_000,
    };
    let mut knobs = match algorithm.policy.kind() {
        "token-bucket" | "dual-token-bucket" | "gcra" | "leaky-bucket-meter" => vec![size("burst")],
        "sr-tcm" | "tr-tcm" => vec![size("cbs")],
        "fixed-window" | "sliding-window-log" | "sliding-window-counter" => {
            vec![span(KnobKind::Window)]
        }
        "ewma" => vec![span(KnobKind::Time("interval"))],
        "ewma-continuous" => vec![span(KnobKind::Time("time_constant"))],
        _ => Vec::new(),
    };
    if algorithm.mode == Mode::Shape {
        knobs.push(Knob {
            kind: KnobKind::Queue,
            from: packet,
            to: deepest,
        });
    }
    knobs
}

impl Knob {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a setting between two ends, rounded"
    )]
    fn at(&self, share: f64) -> u64 {
        let (from, to) = ((self.from as f64).ln(), (self.to as f64).ln());
        let value = (from + share.clamp(0.0, 1.0) * (to - from)).exp().round() as u64;
        // Whole milliseconds are easier to write down, and as good.
        let value = match self.kind {
            KnobKind::Window | KnobKind::Time(_) => value.div_ceil(1_000_000) * 1_000_000,
            KnobKind::Size(_) | KnobKind::Queue => value,
        };
        value.max(self.from)
    }

    #[expect(clippy::cast_precision_loss, reason = "a place between two ends")]
    fn share(&self, value: u64) -> f64 {
        let (from, to) = ((self.from as f64).ln(), (self.to as f64).ln());
        ((value.max(1) as f64).ln() - from) / (to - from)
    }
}

impl Candidate {
    /// `None` if these settings make no policy.
    fn new(scenario: &Scenario, algorithm: &Algorithm, settings: Vec<u64>) -> Option<Self> {
        let knobs = knobs(scenario, algorithm);
        let (kind, written) = spec::parse(&algorithm.policy.to_string()).ok()?;
        let mut set: Vec<(&str, String)> = Vec::new();
        let mut queue = scenario.queue;
        for (knob, value) in knobs.iter().zip(&settings) {
            match knob.kind {
                KnobKind::Size(field) => set.push((field, format!("{value}B"))),
                KnobKind::Time(field) => set.push((field, Nanos::new(*value).to_string())),
                KnobKind::Queue => queue = Some(ByteSize::new(*value)),
                KnobKind::Window => {
                    let rate = u128::from(scenario.reference.rate.get());
                    let limit = rate * u128::from(*value) / 1_000_000_000;
                    set.push(("limit", format!("{limit}B")));
                    set.push(("window", Nanos::new(*value).to_string()));
                }
            }
        }
        let mut fields = Fields::new();
        for (key, value) in &set {
            fields.insert(key, value).ok()?;
        }
        for (key, value) in written.iter() {
            // A bucket begins full, however deep.
            if key != "initial" && fields.get(key).is_none() {
                fields.insert(key, value).ok()?;
            }
        }
        let policy = Policy::from_fields(&kind, &fields, &Defaults::default()).ok()?;
        Some(Self {
            algorithm: Algorithm {
                policy,
                ..algorithm.clone()
            },
            queue,
            settings,
        })
    }

    /// Its neighbours after `round` rounds: half as far as the round before, in every direction.
    pub(super) fn around(&self, scenario: &Scenario, round: u32) -> Vec<Self> {
        let knobs = knobs(scenario, &self.algorithm);
        let steps = STEPS[usize::from(knobs.len() > 1)];
        let step = 0.5_f64.powi(round.cast_signed()) / f64::from(steps - 1);
        let mut settings: Vec<Vec<u64>> = vec![Vec::new()];
        for (knob, value) in knobs.iter().zip(&self.settings) {
            let near = [-step, 0.0, step].map(|by| match by {
                0.0 => *value,
                by => knob.at(knob.share(*value) + by),
            });
            settings = settings
                .iter()
                .flat_map(|before| near.map(|value| [before.as_slice(), &[value]].concat()))
                .collect();
        }
        let own = scenario
            .algorithms
            .iter()
            .find(|one| one.label == self.algorithm.label);
        settings
            .into_iter()
            .filter_map(|one| Self::new(scenario, own?, one))
            .collect()
    }

    /// The scenario with nothing but this, `runs` times.
    pub(super) fn scenario(&self, scenario: &Scenario, runs: u32) -> Scenario {
        let mut own = scenario.clone();
        own.algorithms = vec![self.algorithm.clone()];
        own.queue = self.queue;
        own.until = None;
        own.claims.clear();
        own.repetitions.model = runs;
        own
    }

    /// "gcra:rate=..., queue 64 KiB".
    #[must_use]
    pub fn name(&self) -> String {
        let policy = &self.algorithm.policy;
        match (self.algorithm.mode, self.queue) {
            (Mode::Shape, Some(queue)) => format!("{policy}, queue {queue}"),
            _ => policy.to_string(),
        }
    }
}
