//! The tables of a sweep: every run, and every cell.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use super::{KeepError, Plan, Store};
use crate::output::OutputFile;
use crate::results::Row;
use crate::statistics::{Maximum, Summary};

/// Figures of which a cell has the mean, with its interval.
const MEANS: [&str; 10] = [
    "throughput_Bps",
    "utilisation",
    "delay_p50_us",
    "delay_p90_us",
    "delay_p99_us",
    "jitter_rfc3550_us",
    "pdv_p99_us",
    "gap_cov",
    "loss_ratio",
    "jain",
];
/// Figures of which a cell has the worst run.
const WORST: [&str; 4] = [
    "overshoot_bytes",
    "overshoot_excess_bytes",
    "window_1s_ratio",
    "bound_excess_bytes",
];

/// The tables that every sweep has.
pub const TABLES: [&str; 2] = ["runs.csv", "cells.csv"];

/// Writes the tables of `plan` into `dir`, from cells in any of `stores`; gives the
/// numbers of the cells that are in none, and writes nothing then.
///
/// # Errors
/// If they cannot be written.
pub fn write(plan: &Plan, stores: &[Store], dir: &Path) -> Result<Vec<usize>, KeepError> {
    let found = |hash: &str| stores.iter().find_map(|store| store.text(hash));
    let missing: Vec<usize> = (0..plan.cells.len())
        .filter(|&number| found(&plan.cells[number].hash).is_none())
        .collect();
    if !missing.is_empty() {
        return Ok(missing);
    }
    let [runs_path, cells_path] = TABLES.map(|name| dir.join(name));
    let mut runs = OutputFile::create(&runs_path)?;
    let mut cells = csv::Writer::from_writer(OutputFile::create(&cells_path)?);
    cells.write_record(head(plan))?;
    for (number, cell) in plan.cells.iter().enumerate() {
        let Some(text) = found(&cell.hash) else {
            return Ok(vec![number]);
        };
        let mut values = vec![number.to_string()];
        let named = plan.columns.iter().zip(&cell.values);
        values.extend(named.map(|(column, value)| Plan::text(column, value)));
        let mut lines = text.lines();
        let columns = lines.next().unwrap_or_default();
        let mut out = String::new();
        if number == 0 {
            out.push_str(&format!("{},{columns}\n", line(&leading(plan))?));
        }
        let prefix = line(&values)?;
        for run in lines {
            out.push_str(&format!("{prefix},{run}\n"));
        }
        runs.write_all(out.as_bytes())
            .map_err(|source| OutputFile::failed(&runs_path, source))?;
        for record in summaries(&values, &text)? {
            cells.write_record(&record)?;
        }
    }
    runs.finish()?;
    let cells = cells
        .into_inner()
        .map_err(|error| OutputFile::failed(&cells_path, error.into_error()))?;
    cells.finish()?;
    #[cfg(feature = "parquet")]
    super::parquet::write(&runs_path, &dir.join("runs.parquet"))?;
    Ok(Vec::new())
}

/// Names of the columns before the figures.
fn leading(plan: &Plan) -> Vec<String> {
    let mut names = vec!["cell".to_owned()];
    names.extend(plan.columns.iter().map(|column| column.name.clone()));
    names
}

fn head(plan: &Plan) -> Vec<String> {
    let mut names = leading(plan);
    names.extend(["algorithm", "limiter", "n"].map(str::to_owned));
    for figure in MEANS {
        names.extend(["mean", "low", "high"].map(|what| format!("{figure}_{what}")));
    }
    names.extend(WORST.map(|figure| format!("{figure}_max")));
    names
}

/// A record for each algorithm of a cell.
fn summaries(values: &[String], text: &str) -> Result<Vec<Vec<String>>, KeepError> {
    let rows: Vec<Row> = csv::Reader::from_reader(text.as_bytes())
        .into_deserialize()
        .collect::<Result<_, csv::Error>>()?;
    let mut order: Vec<&str> = Vec::new();
    let mut groups: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in &rows {
        if !order.contains(&row.algorithm.as_str()) {
            order.push(&row.algorithm);
        }
        groups.entry(&row.algorithm).or_default().push(row);
    }
    let records = order.iter().filter_map(|algorithm| {
        let rows = groups.get(algorithm)?;
        let mut record = values.to_vec();
        record.push((*algorithm).to_owned());
        record.push(
            rows.first()
                .map(|row| row.limiter.clone())
                .unwrap_or_default(),
        );
        record.push(rows.len().to_string());
        record.extend(figures(rows));
        Some(record)
    });
    Ok(records.collect())
}

fn figures(rows: &[&Row]) -> Vec<String> {
    let values =
        |figure: &str| -> Vec<f64> { rows.iter().filter_map(|row| row.figure(figure)).collect() };
    let text = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let mut all = Vec::new();
    for figure in MEANS {
        let found = Summary::without_bootstrap(&values(figure));
        let interval = found.and_then(|found| found.t);
        all.push(text(found.map(|found| found.mean)));
        all.push(text(interval.map(|interval| interval.low)));
        all.push(text(interval.map(|interval| interval.high)));
    }
    all.extend(WORST.map(|figure| text(Maximum::of(&values(figure)).map(|most| most.value))));
    all
}

/// `fields` as a line of CSV, without its end.
fn line(fields: &[String]) -> Result<String, KeepError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(fields)?;
    let bytes = writer
        .into_inner()
        .map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes)
        .trim_end_matches('\n')
        .to_owned())
}
