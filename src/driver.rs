//! Scenario in, records out: each driver turns the same offered traffic into
//! [`Recorder`](crate::record::Recorder) calls.

pub mod model;
pub mod proxy;

use std::sync::atomic::{AtomicBool, Ordering};

use flow::{Policy, Timestamp};

use crate::metrics::RunLabel;
use crate::scenario::{Algorithm, DriverKind, Mode, Scenario, User, UserLimit};

/// Set from outside (Ctrl-C); drivers look at it now and then and end early.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

impl Stop {
    /// Asks every driver to end.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the end was asked for.
    #[must_use]
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The policy that limits `user` when `algorithm` is under test.
#[must_use]
pub fn policy_of(user: &User, algorithm: &Algorithm) -> Policy {
    match user.limit {
        UserLimit::Reference => algorithm.policy,
        UserLimit::Own(own) => algorithm.policy.scaled_to(own.rate, own.burst),
        UserLimit::Unlimited => Policy::None,
    }
}

/// The end of a run, as an instant of it.
fn end_of(scenario: &Scenario) -> Timestamp {
    Timestamp::ZERO + scenario.duration
}

/// The names of one run in every file.
#[must_use]
pub fn label(
    scenario: &Scenario,
    algorithm: &Algorithm,
    driver: DriverKind,
    repetition: u32,
) -> RunLabel {
    let mode = match driver {
        DriverKind::Model => algorithm.mode,
        DriverKind::Proxy => Mode::Stream,
    };
    RunLabel {
        scenario: scenario.name.clone(),
        driver: driver.name().to_owned(),
        algorithm: algorithm.label.clone(),
        repetition,
        seed: scenario.seed,
        mode: mode.name().to_owned(),
        limiter: algorithm.policy.to_string(),
        cpu_seconds: None,
    }
}
