//! The tables of a report, from its rows.

mod agreement;
pub(super) mod column;
mod group;
mod verdict;

use self::column::Column;
use self::group::{LEAST_USE, TOLERANCE};
use super::claims::{Outcome, Verdict};
use super::estimate::Estimate;
use super::format::{Scale, Unit, chosen, quantity};
use super::metric::{self, Metric};
use super::subject::Subject;
use super::table::{Cell, Head, Mark, Table};
use crate::results::{ON_THE_WAY_S, Results, Row};

pub(super) use agreement::agreement;
pub(super) use group::{Group, groups};
pub(super) use verdict::{capital, of_claims, verdict};

/// The metrics of the table that comes first.
const MAIN: [Metric; 8] = [
    metric::THROUGHPUT,
    metric::UTILISATION,
    metric::EXCESS,
    metric::WINDOW_1S,
    metric::DELAY_P50,
    metric::DELAY_P99,
    metric::JITTER,
    metric::LOSS,
];
/// Which of them a narrow terminal loses first.
const SPARE: [u8; 8] = [0, 3, 0, 2, 4, 0, 5, 1];

/// The table that comes first: a line for each algorithm and driver.
pub(super) fn main(subject: &Subject, results: &Results) -> Table {
    let groups = groups(subject, &results.summary);
    let mut table = of_metrics("Results", subject, &groups, &MAIN);
    for (head, metric) in table.head.iter_mut().skip(2).zip(known(&groups, &MAIN)) {
        let at = MAIN
            .iter()
            .position(|main| main.title == metric.title)
            .unwrap_or(0);
        head.spare = SPARE[at];
    }
    table.head.push(Head::numbers("Own bound", String::new()));
    for (row, group) in table.rows.iter_mut().zip(&groups) {
        row.push(bound(group));
    }
    if groups.iter().any(|group| alone(group).is_some()) {
        table
            .head
            .push(Head::numbers("Set-up alone", String::new()).spare(1));
        for (row, group) in table.rows.iter_mut().zip(&groups) {
            row.push(alone(group).map_or_else(Cell::unknown, Cell::new));
        }
    }
    table.note = note(subject, results);
    table
}

/// "held", or by how much the algorithm broke its own promise.
fn bound(group: &Group<'_>) -> Cell {
    match (
        Estimate::of(&metric::BOUND, &group.rows),
        group.broke_bound(),
    ) {
        (None, _) => Cell::unknown(),
        (Some(_), None) => Cell::new("held"),
        (_, Some(excess)) => {
            Cell::marked(format!("+{}", quantity(Unit::Bytes, excess, 3)), Mark::Bad)
        }
    }
}

/// What the set-up of a real driver shows without a limiter: bytes beyond one packet, and jitter.
fn alone(group: &Group<'_>) -> Option<String> {
    let row = group.rows.first()?;
    let (bytes, jitter) = row.setup_overshoot_bytes.zip(row.setup_jitter_us)?;
    Some(format!(
        "{}, {}",
        quantity(Unit::Bytes, bytes, 3),
        quantity(Unit::Micros, jitter, 3)
    ))
}

fn note(subject: &Subject, results: &Results) -> String {
    let runs: Vec<String> = subject
        .drivers
        .iter()
        .map(|driver| format!("{driver} n = {}", super::plot::runs(results, driver)))
        .collect();
    format!(
        "Means over runs ({}); beyond burst, worst second and own bound are the worst run's.{}\n\
         * best of the driver's algorithms within {} % of the burst{} that use {} % of the limit. ! bound broken.",
        runs.join(", "),
        if results
            .summary
            .iter()
            .any(|row| row.setup_jitter_us.is_some())
        {
            " Set-up alone: overshoot beyond one packet and jitter without a limiter, sending at the rate."
        } else {
            ""
        },
        TOLERANCE * 100.0,
        if subject.drivers.iter().any(|driver| driver != "model") {
            format!(
                " (measured: and {} of rate)",
                chosen(Unit::Seconds, ON_THE_WAY_S)
            )
        } else {
            String::new()
        },
        LEAST_USE * 100.0,
    )
}

/// A table of `metrics`, without those that nobody knows.
pub(super) fn detail(
    title: &str,
    subject: &Subject,
    results: &Results,
    metrics: &[Metric],
) -> Table {
    of_metrics(title, subject, &groups(subject, &results.summary), metrics)
}

fn of_metrics(title: &str, subject: &Subject, groups: &[Group<'_>], metrics: &[Metric]) -> Table {
    let mut table = Table {
        title: title.into(),
        head: vec![Head::words("Algorithm"), Head::words("Driver")],
        rows: groups
            .iter()
            .map(|group| vec![Cell::new(group.algorithm), Cell::new(group.driver)])
            .collect(),
        note: String::new(),
    };
    for metric in known(groups, metrics) {
        let column = Column::of(metric, subject, groups);
        table
            .head
            .push(Head::numbers(metric.title, column.unit()).spare(1));
        for (row, cell) in table.rows.iter_mut().zip(column.cells) {
            row.push(cell);
        }
    }
    table
}

fn known<'m>(groups: &[Group<'_>], metrics: &'m [Metric]) -> Vec<&'m Metric> {
    metrics
        .iter()
        .filter(|metric| {
            groups
                .iter()
                .any(|group| Estimate::of(metric, &group.rows).is_some())
        })
        .collect()
}

/// What network calculus bounds, beside what was measured; `None` where nothing is bounded.
pub(super) fn theory(subject: &Subject, results: &Results) -> Option<Table> {
    const METRICS: [Metric; 6] = [
        metric::BURST_MEASURED,
        metric::BURST_BOUND,
        metric::DELAY_MAX,
        metric::DELAY_BOUND,
        metric::BACKLOG_MAX,
        metric::BACKLOG_BOUND,
    ];
    let mut groups = groups(subject, &results.summary);
    groups.retain(|group| {
        group
            .rows
            .iter()
            .any(|row| row.backlog_bound_bytes.or(row.burst_bound_bytes).is_some())
    });
    if groups.is_empty() {
        return None;
    }
    let mut table = of_metrics("Theory beside measurement", subject, &groups, &METRICS);
    for cell in table.rows.iter_mut().flatten() {
        // Less is no merit here.
        cell.mark = Mark::None;
    }
    table.head.push(Head::numbers("Beyond", String::new()));
    for (row, group) in table.rows.iter_mut().zip(&groups) {
        row.push(beyond(group));
    }
    table.note = "The most of all runs. A limiter serves at least its burst and its rate (a window its limit less a packet, once a\n\
                  window), arrivals conform to the smallest bucket of that rate that was measured on them, and the distance of\n\
                  the two bounds delay and backlog. Measured: and what timers may be late by; a bound is broken (!, and exit code 3)\n\
                  beyond what the set-up shows without a limiter, and 100 ms."
        .into();
    Some(table)
}

/// What a TCP pays for its limit, before a policer and before a shaper: losses or round trips;
/// `None` where no TCP was simulated.
pub(super) fn closed_loops(subject: &Subject, results: &Results) -> Option<Table> {
    const METRICS: [Metric; 7] = [
        metric::LOSS,
        metric::RTT_P50,
        metric::RTT_P99,
        metric::DELAY_P50,
        metric::DELAY_P99,
        metric::THROUGHPUT,
        metric::UTILISATION,
    ];
    let mut groups = groups(subject, &results.summary);
    groups.retain(|group| group.rows.iter().any(|row| row.rtt_p50_us.is_some()));
    if groups.is_empty() {
        return None;
    }
    let title = "Policing against shaping: what TCP pays in loss or in delay";
    let mut table = of_metrics(title, subject, &groups, &METRICS);
    for cell in table.rows.iter_mut().flatten() {
        // What is best depends on what one pays with.
        cell.mark = Mark::None;
    }
    for head in table.head.iter_mut().skip(2) {
        head.spare = 0;
    }
    table.head.insert(1, Head::words("Mode"));
    for (row, group) in table.rows.iter_mut().zip(&groups) {
        let mode = group.rows.first().map_or("", |row| row.mode.as_str());
        row.insert(1, Cell::new(mode));
    }
    table.note = "Loss: of all transmissions, again or not. RTT: of segments that were not lost, with what they waited.\n\
                  Delay: of a send until all of it had arrived in order."
        .into();
    Some(table)
}

/// By how much a bound of burst, delay or backlog was exceeded.
fn beyond(group: &Group<'_>) -> Cell {
    let most = group.most_beyond();
    let all = [
        (Unit::Bytes, "burst", most.burst_bytes),
        (Unit::Micros, "delay", most.delay_us),
        (Unit::Bytes, "backlog", most.backlog_bytes),
    ];
    let broken: Vec<String> = all
        .into_iter()
        .filter(|(_, _, excess)| *excess > 0.0)
        .map(|(unit, what, excess)| format!("{what} +{}", quantity(unit, excess, 3)))
        .collect();
    if broken.is_empty() {
        Cell::new("held")
    } else {
        Cell::marked(broken.join(", "), Mark::Bad)
    }
}

/// Which algorithm is best at what, a line for each metric.
pub(super) fn winners(subject: &Subject, results: &Results) -> Table {
    let groups = groups(subject, &results.summary);
    let mut table = Table {
        title: "Best at".into(),
        head: vec![Head::words("Metric")],
        rows: Vec::new(),
        note: String::new(),
    };
    table
        .head
        .extend(subject.drivers.iter().map(|driver| Head::words(driver)));
    for metric in known(&groups, &MAIN)
        .into_iter()
        .filter(|metric| metric.badness(0.0).is_some())
    {
        let column = Column::of(metric, subject, &groups);
        let mut row = vec![Cell::new(metric.title)];
        for driver in &subject.drivers {
            let best: Vec<usize> = column
                .best
                .iter()
                .copied()
                .filter(|&at| groups[at].driver == driver)
                .collect();
            row.push(Cell::new(winner(&groups, &best, &column)));
        }
        table.rows.push(row);
    }
    table
}

/// "gcra, token-bucket and 3 more: 99.9 %".
fn winner(groups: &[Group<'_>], best: &[usize], column: &Column) -> String {
    const NAMED: usize = 2;
    let Some(&first) = best.first() else {
        return "no clear one".into();
    };
    let names: Vec<&str> = best
        .iter()
        .take(NAMED)
        .map(|&at| groups[at].algorithm)
        .collect();
    let more = if best.len() > NAMED {
        format!(" and {} more", best.len() - NAMED)
    } else {
        String::new()
    };
    format!(
        "{}{more}: {} {}",
        names.join(", "),
        column.cells[first].text,
        column.unit()
    )
    .trim_end()
    .to_owned()
}

/// What became of the claims.
pub(super) fn claims(verdicts: &[Verdict]) -> Table {
    let rows = verdicts.iter().map(|verdict| {
        let outcome = match verdict.outcome {
            Outcome::Held => Cell::new("held"),
            Outcome::Broken => Cell::marked("BROKEN", Mark::Bad),
            Outcome::NotChecked => Cell::new("not checked"),
        };
        let worst = verdict
            .worst
            .map_or_else(Cell::unknown, |worst| Cell::new(short(worst)));
        vec![
            Cell::new(&verdict.claim),
            outcome,
            worst,
            Cell::new(&verdict.place),
        ]
    });
    Table {
        title: "Claims".into(),
        head: vec![
            Head::words("Claim"),
            Head::words("Outcome"),
            Head::numbers("Nearest", String::new()),
            Head::words("Run").spare(1),
        ],
        rows: rows.collect(),
        note: String::new(),
    }
}

/// A figure in the column's own unit, as the claim has it, in six digits at most.
fn short(value: f64) -> String {
    let text = format!(
        "{value:.*}",
        Scale::of(Unit::Number, 1.0).decimals(value, 6)
    );
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// What each user got; `None` when there is one only.
pub(super) fn users(subject: &Subject, results: &Results) -> Option<Table> {
    const METRICS: [Metric; 5] = [
        metric::THROUGHPUT,
        metric::UTILISATION,
        metric::EXCESS,
        metric::DELAY_P99,
        metric::LOSS,
    ];
    if subject.users.len() < 2 {
        return None;
    }
    let all = groups(subject, &results.users);
    let mut names = Vec::new();
    let mut split = Vec::new();
    for group in &all {
        for user in &subject.users {
            let rows: Vec<&Row> = group
                .rows
                .iter()
                .copied()
                .filter(|row| row.user == user.name)
                .collect();
            if !rows.is_empty() {
                names.push(user.name.as_str());
                split.push(Group { rows, ..*group });
            }
        }
    }
    let mut table = of_metrics("Users", subject, &split, &METRICS);
    for row in table.rows.iter_mut().flatten() {
        // The users of one algorithm do not compete.
        row.mark = Mark::None;
    }
    table.head.insert(2, Head::words("User"));
    for (row, name) in table.rows.iter_mut().zip(names) {
        row.insert(2, Cell::new(name));
    }
    (!table.rows.is_empty()).then_some(table)
}

/// How evenly users and connections share; `None` where nobody shares.
pub(super) fn fairness(subject: &Subject, results: &Results) -> Option<Table> {
    let shared = subject.users.len() > 1 || subject.users.iter().any(|user| user.connections > 1);
    let mut table = detail(
        "Fairness: Jain's index, 1 is even",
        subject,
        results,
        &metric::FAIRNESS,
    );
    table.note =
        "Over users; over the connections of one user (the worst); in its worst second.".into();
    (shared && table.head.len() > 2).then_some(table)
}
