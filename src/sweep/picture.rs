//! What a sweep shows: a line for each algorithm along each parameter.

use std::collections::BTreeMap;

use super::Plan;
use crate::report::{Chart, Drawing, Line, Quantity, Side};

/// Parameters that are drawn: more have no room.
const MOST_PARAMETERS: usize = 3;
/// Places along a parameter; where there are more values, neighbours are put together.
const MOST_PLACES: usize = 16;
/// Largest over least from which on an axis is logarithmic.
const WIDE: f64 = 20.0;
/// Which cells the band leaves out at each end.
const OUTSIDE: f64 = 0.1;

/// A figure of the cells: column of `cells.csv`, title, unit.
const FIGURES: [(&str, &str, Quantity); 3] = [
    ("utilisation_mean", "Limit used", Quantity::Share),
    ("delay_p99_us_mean", "Delay p99", Quantity::Micros),
    ("loss_ratio_mean", "Loss", Quantity::Share),
];

/// The picture of `cells`, the text of `cells.csv`; `None` where no parameter is a number that
/// varies.
///
/// # Errors
/// When `cells` is no such table.
pub fn drawing(plan: &Plan, cells: &str, name: &str) -> Result<Option<Drawing>, csv::Error> {
    let mut reader = csv::Reader::from_reader(cells.as_bytes());
    let head: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
    let records: Vec<csv::StringRecord> = reader.into_records().collect::<Result<_, _>>()?;
    let column = |name: &str| head.iter().position(|one| one == name);
    let number = |record: &csv::StringRecord, at: usize| -> Option<f64> {
        record
            .get(at)?
            .parse()
            .ok()
            .filter(|one: &f64| one.is_finite())
    };
    let Some(algorithm) = column("algorithm") else {
        return Ok(None);
    };
    let mut algorithms: Vec<&str> = Vec::new();
    for record in &records {
        let label = record.get(algorithm).unwrap_or_default();
        if !algorithms.contains(&label) {
            algorithms.push(label);
        }
    }
    let mut charts = Vec::new();
    for parameter in plan.columns.iter().filter(|column| column.number) {
        let Some(along) = column(&parameter.name) else {
            continue;
        };
        let xs: Vec<f64> = records
            .iter()
            .filter_map(|one| number(one, along))
            .collect();
        let (low, high) = xs.iter().fold((f64::MAX, 0.0_f64), |(low, high), x| {
            (low.min(*x), high.max(*x))
        });
        if low >= high || charts.len() >= MOST_PARAMETERS * FIGURES.len() {
            continue;
        }
        for (figure, title, unit) in FIGURES {
            let Some(up) = column(figure) else { continue };
            let line = |(rank, label): (usize, &&str)| {
                let own = records
                    .iter()
                    .filter(|one| one.get(algorithm) == Some(*label));
                let points = own.filter_map(|one| Some((number(one, along)?, number(one, up)?)));
                line(label, rank, points.collect())
            };
            charts.push(Chart {
                title: title.to_owned(),
                x: Side {
                    title: parameter.name.clone(),
                    unit: quantity(&parameter.name),
                    logarithmic: low > 0.0 && high / low > WIDE,
                },
                y: Side {
                    title: title.to_owned(),
                    unit,
                    logarithmic: false,
                },
                lines: algorithms.iter().enumerate().map(line).collect(),
            });
        }
    }
    let drawn = !charts.is_empty();
    Ok(drawn.then(|| Drawing {
        title: "What each parameter does".to_owned(),
        explanation: "A row for each parameter, a column for each figure. The line is the mean of all cells with that \
                      value, whatever the other parameters are; the band holds all but the least and the greatest tenth of them."
            .to_owned(),
        charts,
        footer: format!("{name} · {} cells", plan.cells.len()),
    }))
}

/// What the numbers of a parameter are: its column ends in their unit.
fn quantity(column: &str) -> Quantity {
    match column.rsplit('_').next() {
        Some("Bps") => Quantity::Rate,
        Some("bytes") => Quantity::Bytes,
        Some("s") => Quantity::Seconds,
        _ => Quantity::Number,
    }
}

/// Means and bands of the cells at each value, or at neighbouring ones.
fn line(name: &str, rank: usize, mut cells: Vec<(f64, f64)>) -> Line {
    cells.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
    let mut places: BTreeMap<u64, Vec<(f64, f64)>> = BTreeMap::new();
    let mut distinct: Vec<f64> = cells.iter().map(|cell| cell.0).collect();
    distinct.dedup();
    let each = distinct.len().div_ceil(MOST_PLACES).max(1);
    for cell in cells {
        let at = distinct.partition_point(|x| *x < cell.0) / each;
        places.entry(at as u64).or_default().push(cell);
    }
    let mut line = Line {
        name: name.to_owned(),
        rank,
        points: Vec::new(),
        band: Vec::new(),
        marked: true,
        dashed: false,
    };
    for cells in places.values() {
        let mut ys: Vec<f64> = cells.iter().map(|cell| cell.1).collect();
        ys.sort_by(f64::total_cmp);
        let xs: Vec<f64> = cells.iter().map(|cell| cell.0).collect();
        line.points.push((mean(&xs), mean(&ys)));
        line.band
            .push((quantile(&ys, OUTSIDE), quantile(&ys, 1.0 - OUTSIDE)));
    }
    line
}

#[expect(clippy::cast_precision_loss, reason = "a number of cells")]
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// By nearest rank, of sorted values.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank among as many values as memory holds"
)]
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_put_together_and_bands_leave_out_the_ends() {
        let cells = (0..32).flat_map(|x| (0..10).map(move |y| (f64::from(x), f64::from(y))));
        let line = line("a", 0, cells.collect());
        assert_eq!(line.points.len(), 16);
        assert_eq!(line.points[0], (0.5, 4.5));
        assert_eq!(line.band[0], (0.0, 8.0));
        let few = super::line("a", 0, vec![(2.0, 1.0), (1.0, 3.0), (1.0, 5.0)]);
        assert_eq!(few.points, [(1.0, 4.0), (2.0, 1.0)]);
    }
}
