//! The tables of a report, from its rows.

use super::claims::{Outcome, Verdict};
use super::estimate::Estimate;
use super::format::{Scale, Unit, chosen, quantity};
use super::metric::{self, Metric, OverRuns};
use super::subject::Subject;
use super::table::{Cell, Head, Mark, Table};
use crate::results::{Results, Row};

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
/// More than this share of the burst beyond it, and an algorithm is no longer
/// compared with those that kept to the limit.
const TOLERANCE: f64 = 0.05;
/// The same for what was measured at a receiver, in seconds of the rate: what
/// waits on its way and then arrives together.
const ON_THE_WAY_S: f64 = 0.1;
/// An algorithm that passes less of what the limit allows has it too easy.
const LEAST_USE: f64 = 0.75;

/// The runs of one algorithm under one driver, or of one user of them.
pub(super) struct Group<'a> {
    pub(super) algorithm: &'a str,
    pub(super) driver: &'a str,
    pub(super) rows: Vec<&'a Row>,
}

/// The groups of `rows`, in the order of the scenario: algorithms, in each the drivers.
pub(super) fn groups<'a>(subject: &'a Subject, rows: &'a [Row]) -> Vec<Group<'a>> {
    let pairs = subject.algorithms.iter().flat_map(|tested| {
        subject
            .drivers
            .iter()
            .map(move |driver| (tested.label.as_str(), driver.as_str()))
    });
    pairs
        .map(|(algorithm, driver)| Group {
            algorithm,
            driver,
            rows: rows
                .iter()
                .filter(|row| row.algorithm == algorithm && row.driver == driver)
                .collect(),
        })
        .filter(|group| !group.rows.is_empty())
        .collect()
}

impl Group<'_> {
    /// Whether the algorithm is near enough to the reference for its other
    /// figures to compare: what lets more through has less delay, and so has
    /// what lets hardly anything through.
    fn competes(&self, subject: &Subject) -> bool {
        let limited = self.rows.iter().all(|row| row.limiter != "none");
        let used = Estimate::of(&metric::UTILISATION, &self.rows).map_or(1.0, |used| used.value);
        limited && used >= LEAST_USE && !self.exceeds(subject)
    }

    /// Whether more got through than rate and burst allow, by more than a little.
    fn exceeds(&self, subject: &Subject) -> bool {
        let on_the_way = if self.driver == "model" {
            0.0
        } else {
            ON_THE_WAY_S * subject.rate_Bps
        };
        let excess = Estimate::of(&metric::EXCESS, &self.rows).map_or(0.0, |excess| excess.value);
        excess > (TOLERANCE * subject.burst_bytes).max(1.0) + on_the_way
    }

    /// By how much the algorithm broke the bound that it promises itself.
    fn broke_bound(&self) -> Option<f64> {
        let excess = Estimate::of(&metric::BOUND, &self.rows)?;
        (excess.value > 0.0).then_some(excess.value)
    }
}

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

fn note(subject: &Subject, results: &Results) -> String {
    let runs: Vec<String> = subject
        .drivers
        .iter()
        .map(|driver| format!("{driver} n = {}", super::plot::runs(results, driver)))
        .collect();
    format!(
        "Means over runs ({}); beyond burst, worst second and own bound are the worst run's.\n\
         * best of the driver's algorithms within {} % of the burst{} that use {} % of the limit. ! bound broken.",
        runs.join(", "),
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

/// One metric over all groups, in one unit.
struct Column {
    scale: Scale,
    cells: Vec<Cell>,
    best: Vec<usize>,
}

impl Column {
    fn of(metric: &Metric, subject: &Subject, groups: &[Group<'_>]) -> Self {
        let estimates: Vec<Option<Estimate>> = groups
            .iter()
            .map(|group| Estimate::of(metric, &group.rows))
            .collect();
        let style = Style::of(metric, estimates.iter().flatten());
        let mut cells: Vec<Cell> = estimates
            .iter()
            .map(|estimate| {
                estimate.map_or_else(Cell::unknown, |estimate| Cell::new(style.text(estimate)))
            })
            .collect();
        let best = best(metric, subject, groups, &estimates, &cells);
        for &at in &best {
            cells[at].mark = Mark::Best;
        }
        Self {
            scale: style.scale,
            cells,
            best,
        }
    }

    fn unit(&self) -> String {
        self.scale.symbol()
    }
}

/// The value in the middle, so that few outliers do not choose the unit.
fn typical<'a>(estimates: impl Iterator<Item = &'a Estimate>) -> f64 {
    let mut values: Vec<f64> = estimates
        .map(|estimate| estimate.value.abs())
        .filter(|value| *value > 0.0)
        .collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// How the figures of one column are written: one unit, as many decimals.
#[derive(Clone, Copy)]
struct Style {
    scale: Scale,
    decimals: usize,
}

impl Style {
    fn of<'a>(metric: &Metric, estimates: impl Iterator<Item = &'a Estimate>) -> Self {
        let typical = typical(estimates);
        let scale = Scale::of(metric.unit, typical);
        let digits = if metric.over_runs == OverRuns::Most {
            3
        } else {
            4
        };
        let decimals = if typical == 0.0 {
            0
        } else {
            scale.decimals(typical, digits)
        };
        Self { scale, decimals }
    }

    fn text(self, estimate: Estimate) -> String {
        let value = self.scale.with_decimals(estimate.value, self.decimals);
        match estimate.half_width {
            Some(0.0) => format!("{value} ±0"),
            Some(half_width) => format!(
                "{value} ±{}",
                self.scale.with_decimals(half_width, self.decimals)
            ),
            None => value,
        }
    }
}

/// The groups with the best value of their driver, ties in what is shown
/// included; none where all show the same.
fn best(
    metric: &Metric,
    subject: &Subject,
    groups: &[Group<'_>],
    estimates: &[Option<Estimate>],
    cells: &[Cell],
) -> Vec<usize> {
    let mut all = Vec::new();
    for driver in &subject.drivers {
        let competing: Vec<(usize, f64)> = groups
            .iter()
            .enumerate()
            .filter(|(_, group)| group.driver == driver && group.competes(subject))
            .filter_map(|(at, _)| Some((at, metric.badness(estimates[at]?.value)?)))
            .collect();
        let Some(&(winner, _)) = competing
            .iter()
            .min_by(|one, other| one.1.total_cmp(&other.1))
        else {
            continue;
        };
        let value = |at: usize| cells[at].text.split(' ').next().map(str::to_owned);
        let tied = competing
            .iter()
            .map(|&(at, _)| at)
            .filter(|&at| value(at) == value(winner));
        let tied: Vec<usize> = tied.collect();
        if tied.len() * 2 <= competing.len() {
            all.extend(tied);
        }
    }
    all
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

/// How far the other drivers are from the model; `None` without both.
pub(super) fn agreement(subject: &Subject, results: &Results) -> Option<Table> {
    const METRICS: [Metric; 5] = [
        metric::THROUGHPUT,
        metric::OVERSHOOT,
        metric::DELAY_P50,
        metric::DELAY_P90,
        metric::DELAY_P99,
    ];
    let groups = groups(subject, &results.summary);
    let pairs: Vec<(&Group<'_>, &Group<'_>)> = groups
        .iter()
        .filter(|real| real.driver != "model")
        .filter_map(|real| {
            let model = groups
                .iter()
                .find(|group| group.driver == "model" && group.algorithm == real.algorithm)?;
            Some((model, real))
        })
        .collect();
    if pairs.is_empty() {
        return None;
    }
    let mut table = Table {
        title: "Agreement: driver minus model".into(),
        head: vec![Head::words("Algorithm"), Head::words("Driver")],
        rows: pairs.iter().map(|(_, real)| vec![Cell::new(real.algorithm), Cell::new(real.driver)]).collect(),
        note: "Differences of runs with the same seed and repetition; of the means where there are none.".into(),
    };
    for (metric, spare) in METRICS.iter().zip([0, 0, 2, 3, 1]) {
        differences(&mut table, metric, spare, &pairs);
    }
    Some(table)
}

fn differences(table: &mut Table, metric: &Metric, spare: u8, pairs: &[(&Group<'_>, &Group<'_>)]) {
    let differences: Vec<Option<(Estimate, f64)>> = pairs
        .iter()
        .map(|(model, real)| difference(metric, &model.rows, &real.rows))
        .collect();
    if differences.iter().all(Option::is_none) {
        return;
    }
    let values: Vec<Estimate> = differences
        .iter()
        .flatten()
        .map(|(difference, _)| *difference)
        .collect();
    let style = Style::of(metric, values.iter());
    let with_share = metric.unit == Unit::Rate;
    table
        .head
        .push(Head::numbers(metric.title, style.scale.symbol()).spare(spare));
    if with_share {
        table.head.push(Head::numbers("", "%".into()));
    }
    for (row, difference) in table.rows.iter_mut().zip(differences) {
        let Some((difference, model)) = difference else {
            row.extend(std::iter::repeat_n(
                Cell::unknown(),
                1 + usize::from(with_share),
            ));
            continue;
        };
        row.push(Cell::new(signed(&style.text(difference))));
        if with_share {
            let share = if model == 0.0 {
                Cell::unknown()
            } else {
                Cell::new(signed(&super::format::fixed(
                    100.0 * difference.value / model,
                    2,
                )))
            };
            row.push(share);
        }
    }
}

/// With a sign unless it is zero.
fn signed(text: &str) -> String {
    let zero = text
        .chars()
        .take_while(|&letter| letter != ' ')
        .all(|letter| matches!(letter, '0' | '.'));
    if zero || text.starts_with(['−', '<']) {
        text.to_owned()
    } else {
        format!("+{text}")
    }
}

/// The mean difference, paired where runs have the same seed, and the model's mean.
fn difference(metric: &Metric, model: &[&Row], real: &[&Row]) -> Option<(Estimate, f64)> {
    let figure = metric.figure;
    let paired: Vec<f64> = real
        .iter()
        .filter_map(|row| {
            let same = model
                .iter()
                .find(|other| other.seed == row.seed && other.repetition == row.repetition)?;
            Some(figure(row)? - figure(same)?)
        })
        .collect();
    let mean = |rows: &[&Row]| {
        let values: Vec<f64> = rows.iter().filter_map(|row| figure(row)).collect();
        Estimate::mean(&values)
    };
    let model = mean(model)?;
    let difference = Estimate::mean(&paired).or_else(|| {
        Some(Estimate {
            value: mean(real)?.value - model.value,
            half_width: None,
        })
    })?;
    Some((difference, model.value))
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

/// The answer in a few sentences.
pub(super) fn verdict(subject: &Subject, results: &Results, verdicts: &[Verdict]) -> Vec<String> {
    let mut sentences = Vec::new();
    let count = |outcome| {
        verdicts
            .iter()
            .filter(|verdict| verdict.outcome == outcome)
            .count()
    };
    let (held, broken) = (count(Outcome::Held), count(Outcome::Broken));
    sentences.push(match (held, broken) {
        (0, 0) => "The scenario makes no claim that was checked.".into(),
        (1, 0) => "The claim held.".into(),
        (_, 0) => format!("All {held} claims held."),
        _ => format!("{broken} of {} claims did not hold.", held + broken),
    });
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

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}
