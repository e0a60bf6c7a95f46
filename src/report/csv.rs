//! The CSV files of a run, there and back: column names are the field names of
//! `results`, a figure nobody knows is an empty cell, and a float is written as
//! the shortest text that reads back as the same number.

use std::path::Path;

use serde::{Serialize, de::DeserializeOwned};

use super::ReportError;

/// The text of a CSV file with one line for each of `rows`, below the header;
/// the header alone when there are none.
pub(super) fn text<T: Serialize + Default>(rows: &[T]) -> Result<Vec<u8>, csv::Error> {
    if rows.is_empty() {
        return header::<T>();
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row)?;
    }
    finish(writer)
}

fn header<T: Serialize + Default>() -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.serialize(T::default())?;
    let mut text = finish(writer)?;
    let end = text
        .iter()
        .position(|&byte| byte == b'\n')
        .map_or(0, |at| at + 1);
    text.truncate(end);
    Ok(text)
}

fn finish(writer: csv::Writer<Vec<u8>>) -> Result<Vec<u8>, csv::Error> {
    writer
        .into_inner()
        .map_err(|error| error.into_error().into())
}

/// The rows of the CSV file at `path`.
///
/// # Errors
/// When it cannot be read, and with line and reason when a line is not a row.
pub(super) fn rows<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, ReportError> {
    let file = std::fs::File::open(path).map_err(|source| ReportError::Read {
        path: path.to_owned(),
        source,
    })?;
    csv::Reader::from_reader(std::io::BufReader::new(file))
        .into_deserialize()
        .map(|row| row.map_err(|error| broken(path, &error)))
        .collect()
}

fn broken(path: &Path, error: &csv::Error) -> ReportError {
    let line = error.position().map(csv::Position::line);
    let what = match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => err.to_string(),
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => {
            format!("{len} fields where the header has {expected_len}")
        }
        _ => error.to_string(),
    };
    ReportError::Broken {
        place: line.map_or_else(
            || path.display().to_string(),
            |line| format!("{}:{line}", path.display()),
        ),
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{CurveRow, Row, SeriesRow};

    const SPEC_COLUMNS: &str = "scenario,driver,algorithm,repetition,seed,duration_s,rate_Bps,burst_bytes,\
offered_bytes,delivered_bytes,dropped_bytes,throughput_Bps,utilisation,overshoot_bytes,overshoot_excess_bytes,\
window_10ms_ratio,window_100ms_ratio,window_1s_ratio,window_10s_ratio,second_min_Bps,second_mean_Bps,\
second_max_Bps,jitter_rfc3550_us,pdv_p99_us,gap_cov,delay_p50_us,delay_p90_us,delay_p99_us,delay_p999_us,\
delay_max_us,loss_ratio,jain,";

    fn written<T: Serialize + Default>(rows: &[T]) -> String {
        String::from_utf8(text(rows).unwrap()).unwrap()
    }

    #[test]
    fn summary_begins_with_the_columns_of_the_specification() {
        assert!(written::<Row>(&[]).starts_with(SPEC_COLUMNS));
        assert!(written(&[Row::default()]).starts_with(SPEC_COLUMNS));
        assert_eq!(
            written::<SeriesRow>(&[]),
            "driver,algorithm,repetition,t_s,offered_Bps,delivered_Bps,smoothed_Bps,backlog_bytes,dropped_Bps\n"
        );
    }

    #[test]
    fn unknown_figures_are_empty_and_floats_read_back() {
        let rows = vec![
            SeriesRow {
                driver: "model".into(),
                algorithm: "a, \"b\"".into(),
                t_s: 0.1,
                delivered_Bps: 1.0 / 3.0,
                backlog_bytes: None,
                ..SeriesRow::default()
            },
            SeriesRow {
                backlog_bytes: Some(0),
                ..SeriesRow::default()
            },
        ];
        let text = written(&rows);
        assert!(
            text.contains("model,\"a, \"\"b\"\"\",0,0.1,0.0,0.3333333333333333,0.0,,\n"),
            "{text}"
        );
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("timeseries.csv");
        std::fs::write(&path, text).unwrap();
        assert_eq!(super::rows::<SeriesRow>(&path).unwrap(), rows);
    }

    #[test]
    fn a_broken_line_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("delay.csv");
        std::fs::write(
            &path,
            "driver,algorithm,curve,x,y\nmodel,a,ccdf,1,0.5\nmodel,a,ccdf,one,0.5\n",
        )
        .unwrap();
        let error = super::rows::<CurveRow>(&path).unwrap_err().to_string();
        assert!(
            error.contains("delay.csv:3") && error.contains("invalid float"),
            "{error}"
        );
    }
}
