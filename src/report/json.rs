//! `summary.json`: the rows of `summary.csv` and `users.csv` with everything
//! needed to understand them without the other files.

use serde::Serialize;
use serde_json::{Value, json};

use super::claims::Verdict;
use super::{ReportError, SCHEMA_VERSION, TOOL, VERSION};
use crate::results::Results;

/// The text of `summary.json`: one row a line, so that two runs can be compared by eye.
pub(super) fn summary(
    run_toml: &str,
    results: &Results,
    verdicts: &[Verdict],
    statistics: &[impl Serialize],
) -> Result<String, ReportError> {
    let scenario: Value = toml::from_str(run_toml).map_err(|error| ReportError::Broken {
        place: "run.toml".into(),
        what: error.message().to_owned(),
    })?;
    let mut seeds: Vec<u64> = results.summary.iter().map(|row| row.seed).collect();
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
    section(&mut text, "claims", verdicts, ",")?;
    section(&mut text, "statistics", statistics, ",")?;
    section(&mut text, "rows", &results.summary, ",")?;
    section(&mut text, "users", &results.users, "")?;
    text.push_str("}\n");
    Ok(text)
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
        let none: [(); 0] = [];
        let text = summary(
            "name = \"x\"\n[[users]]\nname = \"a\"\n",
            &results,
            &[],
            &none,
        )
        .unwrap();
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
    }
}
