//! How far real drivers are from the model.

use super::column::Style;
use super::group::{Group, groups};
use crate::report::estimate::Estimate;
use crate::report::format::{Unit, fixed};
use crate::report::metric::{self, Metric};
use crate::report::subject::Subject;
use crate::report::table::{Cell, Head, Table};
use crate::results::{Results, Row};

/// How far the other drivers are from the model; `None` without both.
pub(in crate::report) fn agreement(subject: &Subject, results: &Results) -> Option<Table> {
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
                Cell::new(signed(&fixed(100.0 * difference.value / model, 2)))
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
