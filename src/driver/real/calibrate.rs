//! What a set-up does to a stream that needs no limit.

use flow::{ByteSize, Nanos, Policy, Timestamp};
use tokio::runtime::Runtime;
use traffic::arrival::Phase;
use traffic::{Pattern, SizeDistribution};

use super::plan::Run;
use super::{Batch, Bench, run_batch};
use crate::driver::Stop;
use crate::metrics::Calibration;
use crate::scenario::{Algorithm, DriverKind, Mode, Scenario, SenderKind, User, UserLimit};

/// Longest calibration: long enough for some stalls of a busy machine.
const LONGEST: Nanos = Nanos::from_secs(3);
/// Packets of the calibration a second, where they fit.
const PACKETS: u64 = 100;
/// Largest packet of the calibration: one of an Ethernet.
const LARGEST: u64 = 1400;

/// Sends packets of one size at exactly the reference rate through the set-up of `B` without
/// its limiter; `None` if it was stopped, or nothing arrived.
pub(super) fn calibrate<B: Bench>(
    scenario: &Scenario,
    load: &Runtime,
    stop: &Stop,
) -> Result<Option<Calibration>, B::Error> {
    let size = (scenario.reference.rate.get() / PACKETS).clamp(1, LARGEST);
    let plain = plain(scenario, B::KIND, ByteSize::new(size));
    let runs: Vec<Run<'_>> = plain
        .algorithms
        .iter()
        .map(|algorithm| Run {
            index: 0,
            algorithm,
            repetition: 0,
        })
        .collect();
    let batch = Batch {
        scenario: &plain,
        runs: &runs,
    };
    let silent = |_: u64| {};
    let (measured, _) = load.block_on(run_batch::<B>(batch, None, &silent, stop))?;
    let row = measured.first().map(|(_, _, figures)| &figures.row);
    let found = row.filter(|row| row.delivered_bytes > 0 && !stop.requested());
    Ok(found.map(|row| {
        #[expect(clippy::cast_precision_loss, reason = "at most 1400")]
        let packet = size as f64;
        Calibration {
            overshoot_bytes: row.overshoot_bytes.map(|bytes| (bytes - packet).max(0.0)),
            jitter_us: row.jitter_rfc3550_us,
            delay_p99_us: row.delay_p99_us,
            delay_max_us: row.delay_max_us,
            late_p99_us: row.sender_late_p99_us,
        }
    }))
}

/// What a person should know of it, in one line.
pub(super) fn words(calibration: &Calibration, driver: &str) -> String {
    let figure = |value: Option<f64>, unit: &str| {
        value.map_or_else(
            || "unknown".to_owned(),
            |value| format!("{value:.0} {unit}"),
        )
    };
    format!(
        "{driver}: without a limiter this set-up shows an overshoot of {} beyond one packet, a jitter of {}, a delay of {} (p99), and senders late by {} (p99)",
        figure(calibration.overshoot_bytes, "B"),
        figure(calibration.jitter_us, "us"),
        figure(calibration.delay_p99_us, "us"),
        figure(calibration.late_p99_us, "us"),
    )
}

/// `scenario` with one user who keeps to the reference by itself, and no limit.
fn plain(scenario: &Scenario, driver: DriverKind, size: ByteSize) -> Scenario {
    let mut algorithms = scenario.algorithms_for(driver);
    // Where all that limits is datagrams, datagrams.
    let polices = algorithms.all(|algorithm| algorithm.mode == Mode::Police);
    let mode = match driver {
        DriverKind::Shadowsocks if polices => Mode::Police,
        _ => Mode::Stream,
    };
    let kernel = scenario.algorithms.iter().find_map(|it| it.kernel);
    Scenario {
        duration: scenario.duration.min(LONGEST),
        sender: SenderKind::OpenLoop,
        users: vec![User {
            name: "calibration".to_owned(),
            pattern: Pattern::Constant {
                rate: scenario.reference.rate,
                size: SizeDistribution::Fixed(size),
                phase: Phase::Zero,
            },
            connections: 1,
            start: Timestamp::ZERO,
            limit: UserLimit::Reference,
        }],
        algorithms: vec![Algorithm {
            label: "calibration".to_owned(),
            policy: Policy::None,
            mode,
            kernel,
            tcp: None,
            external: None,
        }],
        rate_changes: Vec::new(),
        claims: Vec::new(),
        ..scenario.clone()
    }
}
