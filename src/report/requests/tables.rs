//! The tables of a report of requests.

use super::{Figure, Group};
use crate::report::estimate::Estimate;
use crate::report::figures::column::Style;
use crate::report::format::{Unit, chosen};
use crate::report::table::{Cell, Head, Table};
use crate::results::RequestRow;
use crate::scenario::requests::{RequestScenario, Service};

/// A column.
struct Column {
    title: &'static str,
    unit: Unit,
    /// What stands for a unit that has no symbol of its own.
    symbol: &'static str,
    figure: Figure,
    theory: Option<Figure>,
    /// Whether the interval of the mean is shown.
    interval: bool,
    /// As in [`Head::spare`].
    spare: u8,
}

impl Column {
    const fn new(title: &'static str, unit: Unit, figure: Figure) -> Self {
        Self {
            title,
            unit,
            symbol: "",
            figure,
            theory: None,
            interval: false,
            spare: 1,
        }
    }
}

const COLUMNS: [Column; 13] = [
    Column {
        symbol: "1/s",
        spare: 2,
        ..Column::new("Offered", Unit::Number, |row| Some(row.offered_rps))
    },
    Column {
        symbol: "1/s",
        theory: Some(|row| row.theory_goodput_rps),
        interval: true,
        spare: 0,
        ..Column::new("Goodput", Unit::Number, |row| Some(row.goodput_rps))
    },
    Column {
        spare: 3,
        ..Column::new("Of peak", Unit::Share, |row| row.goodput_of_peak)
    },
    Column {
        theory: Some(|row| row.theory_rejected_ratio),
        spare: 0,
        ..Column::new("Queue full", Unit::Share, |row| {
            row.share(row.queue_full_requests)
        })
    },
    Column::new("Queue time-out", Unit::Share, |row| {
        row.share(row.queue_timeout_requests)
    }),
    Column::new("Request time-out", Unit::Share, |row| {
        row.share(row.request_timeout_requests)
    }),
    // Only where something has gone wrong.
    Column {
        spare: 0,
        ..Column::new("Failed", Unit::Share, |row| {
            let failed = row.failed_requests;
            row.share(failed).filter(|_| failed > 0)
        })
    },
    Column {
        theory: Some(|row| row.theory_waited_ratio),
        spare: 4,
        ..Column::new("Waited", Unit::Share, |row| row.waited_ratio)
    },
    Column {
        theory: Some(|row| row.theory_queue_delay_mean_us),
        ..Column::new("Queue mean", Unit::Micros, |row| row.queue_delay_mean_us)
    },
    Column {
        theory: Some(|row| row.theory_queue_delay_p50_us),
        spare: 5,
        ..Column::new("Queue p50", Unit::Micros, |row| row.queue_delay_p50_us)
    },
    Column {
        theory: Some(|row| row.theory_queue_delay_p99_us),
        spare: 0,
        ..Column::new("Queue p99", Unit::Micros, |row| row.queue_delay_p99_us)
    },
    Column {
        spare: 6,
        ..Column::new("Answer p50", Unit::Micros, |row| row.response_p50_us)
    },
    Column {
        spare: 0,
        ..Column::new("Answer p99", Unit::Micros, |row| row.response_p99_us)
    },
];

/// A table for each service: at each load what every driver found, beside theory.
pub(super) fn all(scenario: &RequestScenario, rows: &[RequestRow]) -> Vec<Table> {
    let services = scenario.services.iter();
    let mut tables: Vec<Table> = services
        .map(|service| of_service(scenario, service, rows))
        .collect();
    if let Some(last) = tables.last_mut() {
        last.note = note(scenario, rows);
    }
    tables
}

/// A line of a table: who says it, and what.
struct Line<'g, 'r> {
    load: String,
    by: String,
    group: &'g Group<'r>,
    theory: bool,
}

fn of_service(scenario: &RequestScenario, service: &Service, rows: &[RequestRow]) -> Table {
    let groups = Group::of(scenario, service, rows);
    let lines = lines(&groups);
    let mut table = Table {
        title: title(scenario, service),
        head: vec![Head::numbers("Load", "capacity".into()), Head::words("By")],
        rows: lines
            .iter()
            .map(|line| vec![Cell::new(&line.load), Cell::new(&line.by)])
            .collect(),
        note: String::new(),
    };
    for column in &COLUMNS {
        add(&mut table, column, &lines);
    }
    table
}

/// At each load the drivers in their order, then theory.
fn lines<'g, 'r>(groups: &'g [Group<'r>]) -> Vec<Line<'g, 'r>> {
    let mut lines: Vec<Line<'g, 'r>> = Vec::new();
    for (at, group) in groups.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| groups.get(at));
        let first = before.is_none_or(|before| before.load != group.load);
        lines.push(Line {
            load: if first {
                group.load.to_string()
            } else {
                String::new()
            },
            by: group.driver.to_owned(),
            group,
            theory: false,
        });
        let after = groups.get(at + 1);
        let last = after.is_none_or(|after| after.load != group.load);
        let formula = group.rows.first().map_or("", |row| &row.theory);
        if last && !formula.is_empty() {
            lines.push(Line {
                load: String::new(),
                by: formula.to_owned(),
                group,
                theory: true,
            });
        }
    }
    lines
}

fn add(table: &mut Table, column: &Column, lines: &[Line<'_, '_>]) {
    let estimate = |line: &Line<'_, '_>| {
        let figure = if line.theory {
            column.theory?
        } else {
            column.figure
        };
        let estimate = Estimate::mean(&line.group.values(figure))?;
        let shown = column.interval && !line.theory;
        Some(Estimate {
            half_width: estimate.half_width.filter(|_| shown),
            ..estimate
        })
    };
    let estimates: Vec<Option<Estimate>> = lines.iter().map(estimate).collect();
    if estimates.iter().all(Option::is_none) {
        return;
    }
    let style = Style::in_unit(column.unit, 4, estimates.iter().flatten());
    let unit = match column.symbol {
        "" => style.scale.symbol(),
        symbol => symbol.to_owned(),
    };
    let head = Head::numbers(column.title, unit);
    table.head.push(head.spare(column.spare));
    for (row, estimate) in table.rows.iter_mut().zip(estimates) {
        row.push(estimate.map_or_else(Cell::unknown, |known| Cell::new(style.text(known))));
    }
}

fn title(scenario: &RequestScenario, service: &Service) -> String {
    let rules = &service.rules;
    let seconds = |nanos: flow::Nanos| chosen(Unit::Seconds, nanos.as_secs_f64());
    format!(
        "{}: {} workers, {} in the queue, time-outs {} and {}, capacity {} a second",
        service.label,
        rules.workers,
        rules.queue,
        seconds(rules.queue_timeout),
        seconds(rules.request_timeout),
        chosen(Unit::Number, scenario.capacity(service)),
    )
}

fn note(scenario: &RequestScenario, rows: &[RequestRow]) -> String {
    let runs: Vec<String> = scenario
        .drivers
        .iter()
        .map(|driver| format!("{} n = {}", driver.name(), super::runs(rows, driver.name())))
        .collect();
    let mut note = format!(
        "Means over runs ({}). Every time counts from the instant at which the request was due.",
        runs.join(", ")
    );
    let late = rows.iter().filter_map(|row| row.sender_late_p99_us);
    if let Some(late) = late.reduce(f64::max) {
        note.push_str(&format!(
            " The proxy's queue delay ends where its origin begins; p99 of what the sender was late: at most {}.",
            chosen(Unit::Micros, late.round())
        ));
    }
    note
}
