//! The report of a scenario of requests: tables, CSV, pictures and one page, drawn
//! from its rows and nothing else.

mod page;
mod tables;

use std::path::Path;

use super::claims::{self, Outcome, Verdict};
use super::folder::{self, Draft};
use super::plot::requests::Picture;
use super::table::{Look, bold, wrapped};
use super::{Host, Options, PIXELS, ReportError, csv, figures, json, plot};
use crate::results::RequestRow;
use crate::scenario::requests::{RequestClaim, RequestScenario, Service};

/// The runs of one service at one load under one driver.
#[derive(Clone, Debug)]
pub(super) struct Group<'a> {
    pub(super) driver: &'a str,
    pub(super) load: f64,
    pub(super) rows: Vec<&'a RequestRow>,
}

/// A figure of a row.
pub(super) type Figure = fn(&RequestRow) -> Option<f64>;

impl<'a> Group<'a> {
    /// The runs of `service`: by load, and then in the order of the drivers.
    pub(super) fn of(
        scenario: &'a RequestScenario,
        service: &Service,
        rows: &'a [RequestRow],
    ) -> Vec<Self> {
        let all = scenario.loads.iter().flat_map(|&load| {
            let drivers = scenario.drivers.iter();
            drivers.map(move |driver| (driver.name(), load))
        });
        let group = |(driver, load)| Self {
            driver,
            load,
            rows: rows
                .iter()
                .filter(|row| row.service == service.label)
                .filter(|row| row.driver == driver && row.load == load)
                .collect(),
        };
        all.map(group)
            .filter(|group| !group.rows.is_empty())
            .collect()
    }

    /// What the runs know of a figure.
    pub(super) fn values(&self, figure: Figure) -> Vec<f64> {
        self.rows.iter().filter_map(|row| figure(row)).collect()
    }
}

/// Writes the whole report into the folder `dir`, as [`super::write`] does.
///
/// # Errors
/// As [`super::write`].
pub fn write(
    dir: &Path,
    scenario: &RequestScenario,
    rows: &[RequestRow],
    host: &Host,
    options: Options,
) -> Result<(), ReportError> {
    let draft = Draft::begin(dir)?;
    draft.write("run.toml", scenario.to_toml().as_bytes())?;
    draft.write("summary.csv", &csv::text(rows)?)?;
    let summary = summary_json(scenario, rows)?;
    draft.write(folder::SUMMARY_JSON, summary.as_bytes())?;
    let host = format!("{:#}\n", serde_json::to_value(host)?);
    draft.write(folder::HOST_JSON, host.as_bytes())?;
    let page = page::page(scenario, rows, &judge(scenario, rows));
    draft.write("index.html", page.as_bytes())?;
    if options.plots {
        for picture in &Picture::ALL {
            let name = format!("{}.png", picture.stem);
            let scene = picture.whole(scenario, rows, plot::WIDE);
            let file = scene.png(PIXELS).map_err(|source| ReportError::Draw {
                name: name.clone(),
                source: source.into(),
            })?;
            draft.write(&name, &file)?;
        }
    }
    draft.finish()
}

/// The rows of the report in the folder `dir`.
///
/// # Errors
/// When a file is missing, and with place and reason when one is broken.
pub fn load(dir: &Path) -> Result<(Vec<RequestRow>, Host), ReportError> {
    folder::check_is_report(dir)?;
    let rows = csv::rows(&dir.join("summary.csv"))?;
    Ok((rows, super::host_of(dir)?))
}

/// The tables of a report as text: what was found, beside what theory says, and
/// what became of the claims.
#[must_use]
pub fn tables(scenario: &RequestScenario, rows: &[RequestRow], look: Look) -> String {
    let verdicts = judge(scenario, rows);
    let answer = answer(scenario, rows, &verdicts).join("\n");
    let (name, answer) = (bold(&scenario.name, look), wrapped(&answer, look.width));
    let mut tables = tables::all(scenario, rows);
    if !verdicts.is_empty() {
        tables.push(figures::claims(&verdicts));
    }
    let tables: Vec<String> = tables.iter().map(|table| table.text(look)).collect();
    format!("{name}\n{answer}\n{}", tables.join("\n"))
}

/// The text of `summary.json`, which `--json` prints.
///
/// # Errors
/// When a figure has no text form.
pub fn summary_json(
    scenario: &RequestScenario,
    rows: &[RequestRow],
) -> Result<String, ReportError> {
    json::summary_of_requests(&scenario.to_toml(), rows, &judge(scenario, rows))
}

/// Checks the claims of `scenario`, in its order, as [`claims::judge`] does.
#[must_use]
pub fn judge(scenario: &RequestScenario, rows: &[RequestRow]) -> Vec<Verdict> {
    let one = |claim: &RequestClaim| {
        let ran = claim
            .driver
            .is_none_or(|driver| scenario.drivers.contains(&driver));
        let selected = rows.iter().filter(|row| selects(claim, row));
        let runs = selected.map(|row| (figure(row, &claim.metric), place(row)));
        let bounds = (claim.at_least, claim.at_most);
        let whom = [
            claim.driver.map(|driver| driver.name().to_owned()),
            claim.service.clone(),
            claim.load.map(|load| format!("load {load}")),
        ];
        let words = claims::in_words(&claim.metric, bounds, whom);
        claims::verdict(words, ran, bounds, runs.collect())
    };
    scenario.claims.iter().map(one).collect()
}

/// Whether one of `verdicts` is that its claim did not hold.
#[must_use]
pub fn is_broken(verdicts: &[Verdict]) -> bool {
    let broken = |verdict: &Verdict| verdict.outcome == Outcome::Broken;
    verdicts.iter().any(broken)
}

fn selects(claim: &RequestClaim, row: &RequestRow) -> bool {
    let driver = claim.driver.map(|driver| driver.name());
    driver.is_none_or(|driver| driver == row.driver)
        && claim.load.is_none_or(|load| load == row.load)
        && claim
            .service
            .as_ref()
            .is_none_or(|label| *label == row.service)
}

fn figure(row: &RequestRow, metric: &str) -> Option<f64> {
    serde_json::to_value(row).ok()?.get(metric)?.as_f64()
}

fn place(row: &RequestRow) -> String {
    let RequestRow {
        driver,
        service,
        load,
        repetition,
        ..
    } = row;
    format!("{driver}, {service}, load {load}, repetition {repetition}")
}

/// The answer in a few sentences.
fn answer(scenario: &RequestScenario, rows: &[RequestRow], verdicts: &[Verdict]) -> Vec<String> {
    let mut sentences = vec![figures::of_claims(verdicts)];
    for service in &scenario.services {
        let groups = Group::of(scenario, service, rows);
        for driver in &scenario.drivers {
            let last = groups.iter().rfind(|group| group.driver == driver.name());
            let Some(group) = last else { continue };
            let shares = group.values(|row| row.goodput_of_peak);
            let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
            if least.is_finite() {
                sentences.push(format!(
                    "{}: offered {} times what its workers can do, {} still serves {:.1} % of its best in the worst run.",
                    figures::capital(group.driver),
                    group.load,
                    service.label,
                    least * 100.0
                ));
            }
        }
    }
    sentences
}

/// How often `driver` ran each cell, at most.
pub(super) fn runs(rows: &[RequestRow], driver: &str) -> u32 {
    let of_driver = rows.iter().filter(|row| row.driver == driver);
    of_driver.map(|row| row.repetition + 1).max().unwrap_or(0)
}
