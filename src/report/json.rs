//! `summary.json`: the rows of `summary.csv` and `users.csv` with everything
//! needed to understand them without the other files.

use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::claims::Verdict;
use super::{ReportError, SCHEMA_VERSION, TOOL, VERSION};
use crate::results::{RequestRow, Results, Row};
use crate::statistics::{Maximum, Summary};

/// The text of `summary.json`: one row a line, so that two runs can be compared by eye.
pub(super) fn summary(
    run_toml: &str,
    results: &Results,
    verdicts: &[Verdict],
) -> Result<String, ReportError> {
    let seeds = results.summary.iter().map(|row| row.seed).collect();
    let mut text = head(run_toml, seeds)?;
    section(&mut text, "claims", verdicts, ",")?;
    section(&mut text, "statistics", &statistics(&results.summary)?, ",")?;
    section(&mut text, "rows", &results.summary, ",")?;
    section(&mut text, "users", &results.users, "")?;
    text.push_str("}\n");
    Ok(text)
}

/// The same of a scenario of requests.
pub(super) fn summary_of_requests(
    run_toml: &str,
    rows: &[RequestRow],
    verdicts: &[Verdict],
) -> Result<String, ReportError> {
    let seeds = rows.iter().map(|row| row.seed).collect();
    let mut text = head(run_toml, seeds)?;
    section(&mut text, "claims", verdicts, ",")?;
    section(&mut text, "rows", rows, "")?;
    text.push_str("}\n");
    Ok(text)
}

/// What says where the rows come from, and how they are to be read.
fn head(run_toml: &str, mut seeds: Vec<u64>) -> Result<String, ReportError> {
    let scenario: Value = toml::from_str(run_toml).map_err(|error| ReportError::Broken {
        place: "run.toml".into(),
        what: error.message().to_owned(),
    })?;
    seeds.sort_unstable();
    seeds.dedup();
    let mut text = String::from("{\n");
    for (key, value) in [
        ("schema_version", json!(SCHEMA_VERSION)),
        ("tool", json!(TOOL)),
        ("version", json!(VERSION)),
        ("seeds", json!(seeds)),
        ("scenario", scenario),
    ] {
        text.push_str(&format!("  {}: {},\n", json!(key), pretty(&value)));
    }
    Ok(text)
}

/// One column over the runs of one algorithm under one driver.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Statistic<'a> {
    driver: &'a str,
    algorithm: &'a str,
    column: String,
    /// How many runs know it.
    n: usize,
    mean: f64,
    sd: Option<f64>,
    /// 95 %, Student's t.
    t_low: Option<f64>,
    t_high: Option<f64>,
    /// 95 %, bias-corrected and accelerated bootstrap, from 30 runs on.
    bootstrap_low: Option<f64>,
    bootstrap_high: Option<f64>,
    most: f64,
    most_repetition: u64,
}

/// Columns that say which run a row is of, and so measure nothing.
const IDENTITY: [&str; 4] = ["repetition", "seed", "rate_Bps", "burst_bytes"];

/// Driver, algorithm, and the runs of both.
type Runs<'a> = (&'a str, &'a str, Vec<Map<String, Value>>);

/// Every column that holds a figure, over the runs of each algorithm and driver.
fn statistics(rows: &[Row]) -> Result<Vec<Statistic<'_>>, ReportError> {
    let mut groups: Vec<Runs<'_>> = Vec::new();
    for row in rows {
        let Value::Object(figures) = serde_json::to_value(row)? else {
            continue;
        };
        match groups
            .iter_mut()
            .find(|group| group.0 == row.driver && group.1 == row.algorithm)
        {
            Some(group) => group.2.push(figures),
            None => groups.push((&row.driver, &row.algorithm, vec![figures])),
        }
    }
    Ok(groups
        .par_iter()
        .flat_map_iter(|(driver, algorithm, runs)| {
            let columns = runs.first().into_iter().flat_map(Map::keys);
            columns.filter_map(|column| statistic(driver, algorithm, column, runs))
        })
        .collect())
}

fn statistic<'a>(
    driver: &'a str,
    algorithm: &'a str,
    column: &str,
    runs: &[Map<String, Value>],
) -> Option<Statistic<'a>> {
    if IDENTITY.contains(&column) {
        return None;
    }
    let known: Vec<(f64, u64)> = runs
        .iter()
        .filter_map(|run| Some((run.get(column)?.as_f64()?, run.get("repetition")?.as_u64()?)))
        .collect();
    let values: Vec<f64> = known.iter().map(|(value, _)| *value).collect();
    let summary = Summary::of(&values)?;
    let most = Maximum::of(&values)?;
    Some(Statistic {
        driver,
        algorithm,
        column: column.to_owned(),
        n: summary.n,
        mean: summary.mean,
        sd: summary.sd,
        t_low: summary.t.map(|interval| interval.low),
        t_high: summary.t.map(|interval| interval.high),
        bootstrap_low: summary.bootstrap.map(|interval| interval.low),
        bootstrap_high: summary.bootstrap.map(|interval| interval.high),
        most: most.value,
        most_repetition: known.get(most.run)?.1,
    })
}

/// Indented as part of an object.
fn pretty(value: &Value) -> String {
    format!("{value:#}").replace('\n', "\n  ")
}

fn section(
    text: &mut String,
    key: &str,
    rows: &[impl Serialize],
    end: &str,
) -> Result<(), ReportError> {
    let rows: Vec<String> = rows
        .iter()
        .map(serde_json::to_string)
        .collect::<Result<_, _>>()?;
    let rows = if rows.is_empty() {
        String::new()
    } else {
        format!("\n    {}\n  ", rows.join(",\n    "))
    };
    text.push_str(&format!("  {}: [{rows}]{end}\n", json!(key)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::Sample;

    #[test]
    fn summary_holds_scenario_seeds_and_rows() {
        let results = Sample {
            algorithms: 2,
            ..Sample::default()
        }
        .results();
        let text = summary("name = \"x\"\n[[users]]\nname = \"a\"\n", &results, &[]).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["tool"], "weirgate");
        assert_eq!(value["schema_version"], SCHEMA_VERSION);
        assert_eq!(value["scenario"]["users"][0]["name"], "a");
        assert_eq!(value["seeds"], json!([42, 43, 44]));
        assert_eq!(
            value["rows"].as_array().unwrap().len(),
            results.summary.len()
        );
        assert_eq!(
            value["rows"][0]["utilisation"],
            json!(results.summary[0].utilisation)
        );
        assert_eq!(value["rows"][0]["second_min_Bps"], Value::Null);
        let statistics = value["statistics"].as_array().unwrap();
        let of = |column: &str| statistics.iter().find(|one| one["column"] == column);
        let jitter = of("jitter_rfc3550_us").unwrap();
        assert_eq!((&jitter["n"], &jitter["mean"]), (&json!(3), &json!(1300.0)));
        // 100 / sqrt(3) standard errors, times the t quantile of two degrees of freedom, 4.3027.
        assert!((jitter["t_high"].as_f64().unwrap() - 1548.41).abs() < 0.01);
        assert_eq!(
            (&jitter["most"], &jitter["most_repetition"]),
            (&json!(1400.0), &json!(2))
        );
        assert!(of("seed").is_none() && of("second_min_Bps").is_none());
    }
}
