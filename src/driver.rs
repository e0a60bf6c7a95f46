//! Scenario in, records out: each driver turns the same offered traffic into
//! [`Recorder`](crate::record::Recorder) calls.

pub mod external;
pub mod kernel;
pub mod model;
pub mod proxy;
pub mod real;
pub mod requests;
pub mod shadowsocks;

use std::sync::atomic::{AtomicBool, Ordering};

use std::time::Duration;

use bench_clients::Clock;
use bench_clients::drive::Behaviour;
use flow::{ByteSize, Policy, Timestamp};

use tokio_util::sync::CancellationToken;

use crate::metrics::RunLabel;
use crate::scenario::{Algorithm, DriverKind, Mode, Scenario, SenderKind, User, UserLimit};

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

/// Takes out of `scenario` what cannot run here: the kernel driver where the system does not
/// permit it, and with it the algorithms that nothing else runs; the driver `shadowsocks` where it
/// is not built in. Says why, a line each.
pub fn leave_out_what_cannot_run(scenario: &mut Scenario) -> Vec<String> {
    let mut notes = Vec::new();
    if scenario.drivers.contains(&DriverKind::Kernel)
        && let Some(reason) = kernel::unavailable()
    {
        notes.push(format!("kernel: {reason}: left out"));
        scenario
            .drivers
            .retain(|driver| *driver != DriverKind::Kernel);
    }
    if scenario.drivers.contains(&DriverKind::Shadowsocks)
        && let Some(reason) = shadowsocks::unavailable()
    {
        notes.push(format!("shadowsocks: {reason}: left out"));
        scenario
            .drivers
            .retain(|driver| *driver != DriverKind::Shadowsocks);
        scenario
            .claims
            .retain(|claim| claim.driver != Some(DriverKind::Shadowsocks));
    }
    let drivers = scenario.drivers.clone();
    scenario.algorithms.retain(|algorithm| {
        !algorithm.is_special() || drivers.iter().any(|driver| algorithm.runs_on(*driver))
    });
    let left: Vec<String> = scenario
        .algorithms
        .iter()
        .map(|a| a.label.clone())
        .collect();
    scenario.claims.retain(|claim| {
        claim
            .algorithm
            .as_ref()
            .is_none_or(|label| left.contains(label))
    });
    notes
}

/// Bytes that an open-loop sender may have in its own queue.
const BACKLOG: ByteSize = ByteSize::new(256 << 20);

/// What senders over real sockets do when they are not let through.
fn behaviour(scenario: &Scenario) -> Behaviour {
    match scenario.sender {
        SenderKind::OpenLoop => Behaviour::OpenLoop {
            backlog_limit: BACKLOG,
        },
        SenderKind::Blocking => Behaviour::Blocking {
            buffer: scenario.buffer,
        },
    }
}

/// Reports how far the batch is and passes a stop on; ends with the batch.
async fn watch(
    clock: Clock,
    token: &CancellationToken,
    report: &impl Fn(u64),
    stop: &Stop,
) -> std::convert::Infallible {
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    loop {
        ticks.tick().await;
        report(clock.now().as_nanos() / 1_000_000_000);
        if stop.requested() {
            token.cancel();
        }
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
        DriverKind::Model | DriverKind::Kernel | DriverKind::Shadowsocks => algorithm.mode,
        DriverKind::Proxy | DriverKind::External => Mode::Stream,
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
        memory_bytes: None,
        calibration: None,
    }
}
