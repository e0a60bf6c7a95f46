//! The metrics of a run through their public interface: against figures that
//! were computed independently in exact fractions, against their definitions,
//! and where there is nothing to measure.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what cannot be read fails the test"
)]

use std::fs;
use std::path::{Path, PathBuf};

use flow::{ByteRate, ByteSize, Nanos, Policy, Timestamp};
use proptest::prelude::*;
use serde_json::Value;
use weirgate::metrics::{RunFigures, RunLabel, RunMetrics, RunSpec, UserSpec};
use weirgate::record::{DropReason, FlowId, Recorder};
use weirgate::results::Row;
use weirgate::scenario::Reference;

const SECOND: u64 = 1_000_000_000;

/// One packet; `departure` or why it was dropped.
#[derive(Clone, Copy, Debug)]
struct Event {
    arrival: u64,
    size: u64,
    connection: u32,
    fate: Result<u64, DropReason>,
}

fn passed(arrival: u64, departure: u64, size: u64) -> Event {
    Event {
        arrival,
        size,
        connection: 0,
        fate: Ok(departure),
    }
}

fn reference(rate: u64, burst: u64) -> Option<Reference> {
    ByteRate::new(rate).map(|rate| Reference {
        rate,
        burst: ByteSize::new(burst),
    })
}

fn user(reference: Option<Reference>, connections: u32) -> UserSpec {
    UserSpec {
        name: "u".into(),
        connections,
        reference,
        ..UserSpec::default()
    }
}

fn spec(duration: Option<u64>, users: Vec<UserSpec>) -> RunSpec {
    RunSpec {
        duration: duration.map(Nanos::new),
        bin: Nanos::from_millis(100),
        waits: false,
        burstiness: Vec::new(),
        train_gap: Nanos::ZERO,
        users,
    }
}

fn arrive(metrics: &mut RunMetrics, user: u32, event: &Event) {
    let (at, size) = (
        Timestamp::from_nanos(event.arrival),
        ByteSize::new(event.size),
    );
    metrics.offered(at, size, flow_id(user, event));
}

fn leave(metrics: &mut RunMetrics, user: u32, event: &Event) {
    let (at, size) = (
        Timestamp::from_nanos(event.arrival),
        ByteSize::new(event.size),
    );
    let flow = flow_id(user, event);
    match event.fate {
        Ok(departure) => {
            let departure = Timestamp::from_nanos(departure);
            metrics.delivered(departure, size, flow);
            metrics.completed(at, departure, size, flow);
        }
        Err(why) => metrics.dropped(at, size, flow, why),
    }
}

fn flow_id(user: u32, event: &Event) -> FlowId {
    FlowId {
        user,
        connection: event.connection,
    }
}

fn run(spec: &RunSpec, users: &[Vec<Event>]) -> RunFigures {
    let mut metrics = RunMetrics::new(spec);
    for (user, events) in (0..).zip(users) {
        for event in events {
            arrive(&mut metrics, user, event);
            leave(&mut metrics, user, event);
        }
    }
    metrics.finish(&RunLabel::default())
}

fn run_one(reference: Option<Reference>, duration: Option<u64>, events: &[Event]) -> Row {
    run(
        &spec(duration, vec![user(reference, 1)]),
        &[events.to_vec()],
    )
    .row
}

// Against the vectors.

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("flow/tests/vectors")
}

fn events_of(case: &Value) -> Vec<Event> {
    let file = folder().join(case["events"].as_str().unwrap());
    let text = fs::read_to_string(file).unwrap();
    let event = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        Event {
            arrival: cells[1].parse().unwrap(),
            size: cells[2].parse().unwrap(),
            connection: 0,
            fate: match cells[5] {
                "" => Ok(cells[4].parse().unwrap()),
                "police" => Err(DropReason::Police),
                "queue" => Err(DropReason::Queue),
                _ => Err(DropReason::Oversize),
            },
        }
    };
    text.lines().skip(1).map(event).collect()
}

/// Whether a figure is `expected`, within the precision of a histogram if `binned`.
fn same(found: Option<f64>, expected: &Value, unit: f64, binned: bool, what: &str) {
    let Some(expected) = expected.as_f64() else {
        assert_eq!(found, None, "{what}");
        return;
    };
    let found = found.unwrap_or_else(|| panic!("{what} is unknown")) * unit;
    let within = if binned { 1e-3 } else { 1e-9 };
    let off = (found - expected).abs();
    assert!(
        off <= within * expected.abs() + 1e-6,
        "{what}: {found}, not {expected}"
    );
}

#[test]
fn figures_equal_those_of_an_independent_implementation() {
    let index = fs::read_to_string(folder().join("index.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&index).unwrap();
    assert_eq!(cases.len(), 60);
    for case in &cases {
        let policy: Policy = case["limiter"].as_str().unwrap().parse().unwrap();
        let rate = case["metrics"]
            .get("min_burst_bytes")
            .and_then(|_| policy.rate());
        let burst = case["metrics"]
            .get("overshoot_bytes")
            .and_then(|_| policy.burst());
        let reference = rate.map(|rate| Reference {
            rate,
            burst: burst.unwrap_or_default(),
        });
        let mut user = user(reference, 1);
        user.policy = Some(policy);
        let row = run(&spec(None, vec![user]), &[events_of(case)]).row;
        counts_agree(&row, &case["metrics"], &case["events"]);
        times_agree(&row, &case["metrics"], &case["events"]);
        if rate.is_some() {
            limits_agree(&row, &case["metrics"], burst.is_some(), &case["events"]);
        }
        // Whoever limited these kept its own promise, to the nanosecond.
        assert_eq!(row.bound_excess_bytes, Some(0.0), "{}", case["events"]);
    }
}

fn counts_agree(row: &Row, expected: &Value, case: &Value) {
    for (found, name) in [
        (row.offered_packets, "offered_packets"),
        (row.offered_bytes, "offered_bytes"),
        (row.delivered_packets, "passed_packets"),
        (row.delivered_bytes, "passed_bytes"),
        (row.dropped_packets, "dropped_packets"),
        (row.dropped_bytes, "dropped_bytes"),
    ] {
        assert_eq!(Some(found), expected[name].as_u64(), "{case} {name}");
    }
    for (found, name) in [
        (row.dropped_police_packets, "police"),
        (row.dropped_queue_packets, "queue"),
        (row.dropped_oversize_packets, "oversize"),
    ] {
        let expected = expected["drops_by_reason"][name].as_u64().unwrap_or(0);
        assert_eq!(found, expected, "{case} {name}");
    }
    let check = |found, name: &str| {
        same(
            found,
            &expected[name],
            1.0,
            false,
            &format!("{case} {name}"),
        );
    };
    check(Some(row.duration_s * 1e9), "duration_ns");
    check(row.loss_ratio, "loss_packets");
    check(Some(row.throughput_Bps), "throughput_Bps");
    let trains = &expected["trains"];
    for (found, name, unit) in [
        (row.burst_received_mean_bytes, "sbb_mean", 1.0),
        (row.burst_received_max_bytes, "sbb_max", 1.0),
        (row.burst_interval_mean_us, "sbi_mean_ns", 1e3),
    ] {
        same(found, &trains[name], unit, false, &format!("{case} {name}"));
    }
}

fn times_agree(row: &Row, expected: &Value, case: &Value) {
    for (found, of, name, binned) in [
        (row.delay_mean_us, "delay_ns", "mean", false),
        (row.delay_max_us, "delay_ns", "max", false),
        (row.delay_p50_us, "delay_ns", "p50", true),
        (row.delay_p90_us, "delay_ns", "p90", true),
        (row.delay_p99_us, "delay_ns", "p99", true),
        (row.delay_p999_us, "delay_ns", "p999", true),
        (row.pdv_p50_us, "pdv_ns", "p50", true),
        (row.pdv_p95_us, "pdv_ns", "p95", true),
        (row.pdv_p99_us, "pdv_ns", "p99", true),
        (row.ipdv_p99_us, "ipdv_abs_ns", "p99", true),
        (row.gap_mean_us, "interdeparture_ns", "mean", false),
        (row.gap_sd_us, "interdeparture_ns", "sd", false),
        (row.gap_max_us, "interdeparture_ns", "max", false),
        (row.gap_p50_us, "interdeparture_ns", "p50", true),
        (row.gap_p90_us, "interdeparture_ns", "p90", true),
        (row.gap_p99_us, "interdeparture_ns", "p99", true),
    ] {
        let what = format!("{case} {of}.{name}");
        same(found, &expected[of][name], 1e3, binned, &what);
    }
    let cov = &expected["interdeparture_ns"]["cov"];
    same(row.gap_cov, cov, 1.0, false, &format!("{case} cov"));
    same(
        row.jitter_rfc3550_us,
        &expected["rfc3550_ns"],
        1e3,
        false,
        &format!("{case} jitter"),
    );
    let integer = expected["rfc3550_a8_ns"].as_u64();
    assert_eq!(row.jitter_rfc3550_integer_ns, integer, "{case} A.8");
}

fn limits_agree(row: &Row, expected: &Value, with_burst: bool, case: &Value) {
    let check = |found, expected: &Value, name: &str| {
        same(found, expected, 1.0, false, &format!("{case} {name}"));
    };
    check(row.overshoot_bytes, &expected["min_burst_bytes"], "b*");
    if with_burst {
        check(
            row.overshoot_excess_bytes,
            &expected["overshoot_bytes"],
            "overshoot",
        );
        check(row.efficiency, &expected["efficiency"], "efficiency");
    }
    for (k, (excess, ratio)) in [
        (row.window_10ms_excess_bytes, row.window_10ms_ratio),
        (row.window_100ms_excess_bytes, row.window_100ms_ratio),
        (row.window_1s_excess_bytes, row.window_1s_ratio),
        (row.window_10s_excess_bytes, row.window_10s_ratio),
    ]
    .into_iter()
    .enumerate()
    {
        let window = &expected["windows"][k];
        check(excess, &window["excess_over_rw"], "excess");
        if ratio.is_some() {
            check(ratio, &window["ratio_to_rw"], "ratio");
        }
    }
}

// Where there is nothing to measure.

/// Every figure is a number or unknown.
fn all_finite(row: &Row) {
    let text = format!("{row:?}");
    assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
}

#[test]
fn a_run_without_a_packet_knows_little() {
    for duration in [None, Some(0), Some(5 * SECOND)] {
        let row = run_one(reference(5_000, 5_000), duration, &[]);
        all_finite(&row);
        assert_eq!(
            (row.throughput_Bps, row.overshoot_bytes, row.utilisation),
            (0.0, None, None)
        );
        assert_eq!(
            (row.delay_p50_us, row.jain, row.loss_ratio),
            (None, None, None)
        );
        assert_eq!(row.window_1s_ratio, None);
    }
}

#[test]
fn one_packet_has_a_delay_and_no_jitter() {
    let row = run_one(
        reference(5_000, 5_000),
        Some(SECOND),
        &[passed(0, 1_000, 100)],
    );
    all_finite(&row);
    assert_eq!((row.delay_p50_us, row.delay_max_us), (Some(1.0), Some(1.0)));
    assert_eq!((row.jitter_rfc3550_us, row.gap_mean_us), (None, None));
    assert_eq!((row.overshoot_bytes, row.steady_Bps), (Some(100.0), None));
    assert_eq!((row.jain, row.utilisation), (Some(1.0), Some(1.0)));
}

#[test]
fn a_run_of_no_length_divides_by_nothing() {
    let row = run_one(
        reference(5_000, 5_000),
        Some(0),
        &[passed(0, 0, 100), passed(0, 0, 100)],
    );
    all_finite(&row);
    assert_eq!((row.throughput_Bps, row.delivered_bytes), (0.0, 200));
    assert_eq!((row.gap_mean_us, row.gap_cov), (Some(0.0), None));
}

#[test]
fn who_has_no_limit_is_not_judged_against_one() {
    let row = run_one(None, Some(SECOND), &[passed(0, 0, 100), passed(5, 7, 100)]);
    all_finite(&row);
    assert_eq!((row.rate_Bps, row.burst_bytes), (None, None));
    assert_eq!(
        (row.overshoot_bytes, row.window_1s_excess_bytes),
        (None, None)
    );
    assert_eq!(
        (row.utilisation, row.efficiency, row.late_p50_us),
        (None, None, None)
    );
    assert_eq!(row.bound_excess_bytes, None);
    assert_eq!((row.throughput_Bps, row.jain), (200.0, Some(1.0)));
}

// What counts.

#[test]
fn what_leaves_after_the_end_is_not_delivered() {
    let events = [
        passed(0, 0, 100),
        passed(SECOND, SECOND, 10),
        passed(SECOND, SECOND + 1, 1_000),
    ];
    let row = run_one(reference(5_000, 5_000), Some(SECOND), &events);
    assert_eq!((row.offered_bytes, row.delivered_bytes), (1_110, 110));
    assert_eq!(
        (row.delivered_packets, row.overshoot_bytes),
        (2, Some(100.0))
    );
    assert_eq!(row.second_max_Bps, Some(100.0));
    let everything = run_one(reference(5_000, 5_000), None, &events);
    assert_eq!(everything.delivered_bytes, 1_110);
    assert_eq!(everything.duration_s, 1.000_000_001);
}

#[test]
fn losses_in_a_row_end_where_a_packet_passes() {
    let dropped = |arrival, why| Event {
        fate: Err(why),
        ..passed(arrival, 0, 10)
    };
    let events = [
        dropped(0, DropReason::Police),
        passed(1, 1, 10),
        dropped(2, DropReason::Queue),
        dropped(3, DropReason::Oversize),
        passed(4, 9, 10),
        dropped(5, DropReason::Queue),
    ];
    let row = run_one(reference(5_000, 5_000), Some(SECOND), &events);
    assert_eq!((row.dropped_packets, row.longest_loss_run_packets), (4, 2));
    assert_eq!(
        (row.dropped_queue_packets, row.dropped_queue_bytes),
        (2, 20)
    );
    assert_eq!(row.loss_ratio, Some(4.0 / 6.0));
}

#[test]
fn several_users_add_up_and_the_worst_counts() {
    let quiet = UserSpec {
        name: "quiet".into(),
        ..user(reference(1_000, 500), 1)
    };
    let loud = UserSpec {
        name: "loud".into(),
        ..user(reference(3_000, 500), 2)
    };
    let free = UserSpec {
        name: "free".into(),
        ..user(None, 1)
    };
    let second = Event {
        connection: 1,
        ..passed(0, 10, 300)
    };
    let users = [
        vec![passed(0, 0, 100)],
        vec![passed(0, 10, 900), second],
        vec![passed(0, 5, 7_000)],
    ];
    let figures = run(&spec(Some(2 * SECOND), vec![quiet, loud, free]), &users);
    let row = &figures.row;
    assert_eq!((row.offered_bytes, row.delivered_bytes), (8_300, 8_300));
    assert_eq!(
        (row.rate_Bps, row.burst_bytes),
        (Some(4_000.0), Some(1_000.0))
    );
    // Only who has a limit can use it up.
    assert_eq!(row.utilisation, Some(1.0));
    assert_eq!(
        (row.overshoot_bytes, row.overshoot_at_s),
        (Some(1_200.0), Some(1e-8))
    );
    assert_eq!(row.overshoot_excess_bytes, Some(700.0));
    assert_eq!(
        (row.second_min_Bps, row.second_max_Bps),
        (Some(0.0), Some(8_300.0))
    );
    assert_eq!(
        (row.delay_p50_us, row.delay_max_us),
        (Some(0.005), Some(0.01))
    );
    assert_eq!(row.jain, Some(1.0));
    let names: Vec<&str> = figures.users.iter().map(|row| row.user.as_str()).collect();
    assert_eq!(names, ["quiet", "loud", "free"]);
    assert_eq!(figures.users[1].jain_connections, Some(1.0));
    assert_eq!(figures.users[2].overshoot_bytes, None);
    assert_eq!(figures.users[0].overshoot_bytes, Some(100.0));
    let delivered: f64 = figures
        .series
        .iter()
        .map(|bin| bin.delivered_Bps * 0.1)
        .sum();
    assert!((delivered - 8_300.0).abs() < 1e-6);
}

#[test]
fn a_sender_that_waits_has_no_known_backlog() {
    let mut spec = spec(Some(SECOND), vec![user(reference(5_000, 5_000), 1)]);
    spec.waits = true;
    let figures = run(&spec, &[vec![passed(0, 0, 100)]]);
    assert!(figures.series.iter().all(|bin| bin.backlog_bytes.is_none()));
}

// Against the definitions.

/// Packets through a FIFO that delays or drops as chance has it.
fn any_run() -> impl Strategy<Value = Vec<Event>> {
    let packet = (
        0u64..400_000_000,
        1u64..3_000,
        0u32..3,
        0u64..300_000_000,
        0u32..10,
    );
    prop::collection::vec(packet, 0..60).prop_map(|packets| {
        let (mut arrival, mut left) = (0, 0);
        let event = |(gap, size, connection, delay, fate)| {
            arrival += gap;
            let fate = if fate == 0 {
                Err(DropReason::Queue)
            } else {
                left = left.max(arrival + delay);
                Ok(left)
            };
            Event {
                arrival,
                size,
                connection,
                fate,
            }
        };
        packets.into_iter().map(event).collect()
    })
}

fn departures(events: &[Event]) -> Vec<(u64, u64)> {
    let left = |event: &Event| Some((event.fate.ok()?, event.size));
    events.iter().filter_map(left).collect()
}

/// max over s <= t of A[s,t] - r (t - s), from every pair.
fn overshoot(departures: &[(u64, u64)], rate: u64) -> Option<f64> {
    let from = |(i, &(start, _)): (usize, &(u64, u64))| {
        let mut sum = 0;
        let excess = departures[i..].iter().map(move |&(at, size)| {
            sum += i128::from(size) * 1_000_000_000;
            sum - i128::from(at - start) * i128::from(rate)
        });
        excess.max()
    };
    let most = departures.iter().enumerate().filter_map(from).max()?;
    Some(most as f64 / 1e9)
}

proptest! {
    #[test]
    fn figures_are_those_of_the_definitions(
        events in any_run(),
        rate in 1u64..1_000_000, burst in 1u64..10_000, duration in SECOND..20 * SECOND,
    ) {
        let spec = spec(Some(duration), vec![user(reference(rate, burst), 3)]);
        let row = run(&spec, std::slice::from_ref(&events)).row;
        all_finite(&row);
        let in_time: Vec<Event> = events.iter().copied().filter(|e| e.arrival <= duration).collect();
        let left: Vec<_> = departures(&in_time).into_iter().filter(|d| d.0 <= duration).collect();
        let offered: u64 = in_time.iter().map(|e| e.size).sum();
        let delivered: u64 = left.iter().map(|d| d.1).sum();
        prop_assert_eq!((row.offered_bytes, row.delivered_bytes), (offered, delivered));
        let t = duration as f64 / 1e9;
        prop_assert!((row.throughput_Bps - delivered as f64 / t).abs() < 1e-6);
        let most = (offered as f64).min(rate as f64 * t + burst as f64);
        let utilisation = (offered > 0).then(|| delivered as f64 / most);
        prop_assert_eq!(row.utilisation.is_some(), utilisation.is_some());
        prop_assert!((row.utilisation.unwrap_or(0.0) - utilisation.unwrap_or(0.0)).abs() < 1e-9);
        let exact = overshoot(&left, rate);
        prop_assert_eq!(row.overshoot_bytes.is_some(), exact.is_some());
        let (found, exact) = (row.overshoot_bytes.unwrap_or(0.0), exact.unwrap_or(0.0));
        prop_assert!((found - exact).abs() <= 1e-9 * exact, "{} {}", found, exact);
        let beyond = (exact - burst as f64).max(0.0);
        prop_assert!((row.overshoot_excess_bytes.unwrap_or(0.0) - beyond).abs() <= 1e-9 * exact);
        let window = |width: u64| left.iter().map(|&(start, _)| -> u64 {
            left.iter().filter(|d| (start..start + width).contains(&d.0)).map(|d| d.1).sum()
        }).max().unwrap_or(0) as f64;
        let excess = (window(SECOND) - rate as f64).max(0.0);
        prop_assert!((row.window_1s_excess_bytes.unwrap_or(0.0) - excess).abs() < 1e-6);
        let largest = left.iter().map(|d| d.1).max().unwrap_or(0);
        prop_assert_eq!(row.window_1s_ratio.is_some(), !left.is_empty() && rate >= largest);
    }

    #[test]
    fn the_order_between_arrivals_and_departures_does_not_matter(
        one in any_run(), two in any_run(), duration in SECOND..20 * SECOND,
    ) {
        let users = vec![user(reference(3_000, 5_000), 3), user(reference(9_000, 700), 3)];
        let spec = spec(Some(duration), users);
        let together = run(&spec, &[one.clone(), two.clone()]);
        let mut metrics = RunMetrics::new(&spec);
        two.iter().for_each(|event| arrive(&mut metrics, 1, event));
        one.iter().for_each(|event| arrive(&mut metrics, 0, event));
        one.iter().for_each(|event| leave(&mut metrics, 0, event));
        two.iter().for_each(|event| leave(&mut metrics, 1, event));
        let apart = metrics.finish(&RunLabel::default());
        prop_assert_eq!(together.row, apart.row);
        prop_assert_eq!(together.users, apart.users);
        prop_assert_eq!(together.series, apart.series);
        prop_assert_eq!(together.distributions, apart.distributions);
    }
}
