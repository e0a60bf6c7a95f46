//! What a set of runs found, as tables, CSV, pictures and one page.
//!
//! Everything is drawn from the rows of [`Results`] and the resolved scenario,
//! so that [`load`] can read a folder back and [`write()`] draw it again.

pub mod claims;
mod compare;
mod csv;
mod estimate;
mod figures;
mod folder;
mod format;
mod gate;
mod host;
mod html;
mod json;
mod metric;
pub mod plain;
mod plot;
pub mod requests;
#[cfg(test)]
mod sample;
mod scene;
mod subject;
mod table;

use std::io;
use std::path::{Path, PathBuf};

use self::folder::Draft;
use self::plot::Picture;
use self::subject::Subject;
use crate::results::Results;
use crate::scenario::{LoadError, Overrides, Scenario};

pub use compare::compare;
pub use gate::{Gate, gate};
pub use host::{DecisionCost, Host};
pub use plot::burstiness::Curve;
pub use plot::lines::{Chart, Drawing, Line, Quantity, Side};
pub use plot::pareto::{Bounds, Dot, pareto};
pub use table::Look;

/// The name in every report.
const TOOL: &str = "weirgate";
/// The version in every report.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The version of the files' columns and keys; a new one for every change that
/// a reader of the old one would stumble over.
const SCHEMA_VERSION: u32 = 1;
/// Width of the pictures in the folder.
const PIXELS: u32 = 1600;

/// What a report holds beside the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether PNG files are drawn (`index.html` has its own drawings).
    pub plots: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { plots: true }
    }
}

/// A report read back from its folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What was run.
    pub scenario: Scenario,
    /// What was found.
    pub results: Results,
    /// Where and when.
    pub host: Host,
}

/// Why a report could not be written or read.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ReportError {
    /// The disk, or somebody's permissions, refused.
    #[error("cannot write {}", path.display())]
    #[diagnostic(help("choose a folder that you may write to with --out"))]
    Write {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder for the report holds something else.
    #[error("{} exists and is not a report of weirgate", path.display())]
    #[diagnostic(help("choose another folder with --out, or move this one away"))]
    NotOurs {
        /// Which folder or file.
        path: PathBuf,
    },
    /// A file of a report is missing or unreadable.
    #[error("cannot read {}", path.display())]
    #[diagnostic(help("a report is a folder that `weirgate scenario` has written"))]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of a report does not hold what it should.
    #[error("{place}: {what}")]
    #[diagnostic(help(
        "was it edited, or written by another version? `weirgate scenario` writes it anew"
    ))]
    Broken {
        /// File, and line where there is one.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// The resolved scenario of a report cannot be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Scenario(#[from] LoadError),
    /// A picture could not be drawn.
    #[error("cannot draw {name}")]
    Draw {
        /// Which file.
        name: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A figure has no text form.
    #[error("cannot write the figures as text")]
    Encode {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ReportError {
    /// Whether who called can mend it: a wrong folder, an edited file. Else the environment failed.
    #[must_use]
    pub const fn is_input(&self) -> bool {
        matches!(
            self,
            Self::NotOurs { .. } | Self::Read { .. } | Self::Broken { .. } | Self::Scenario(_)
        )
    }
}

impl From<serde_json::Error> for ReportError {
    fn from(source: serde_json::Error) -> Self {
        Self::Encode {
            source: source.into(),
        }
    }
}

impl From<::csv::Error> for ReportError {
    fn from(source: ::csv::Error) -> Self {
        Self::Encode {
            source: source.into(),
        }
    }
}

/// Whether a report could be written into the folder `dir`: asked before a long
/// run, not after it.
///
/// # Errors
/// As [`write()`] would answer.
pub fn check_target(dir: &Path) -> Result<(), ReportError> {
    Draft::begin(dir).map(drop)
}

/// The text of a CSV file of `rows`, as `summary.csv` has them.
pub(crate) fn rows_as_csv(rows: &[crate::results::Row]) -> Result<Vec<u8>, ::csv::Error> {
    csv::text(rows)
}

/// Writes the whole report into the folder `dir`, in place of an older report
/// there; other files in it stay. The folder appears complete or not at all.
///
/// # Errors
/// When `dir` exists and is neither a report nor empty, or cannot be written.
pub fn write(
    dir: &Path,
    scenario: &Scenario,
    results: &Results,
    host: &Host,
    options: Options,
) -> Result<(), ReportError> {
    let draft = Draft::begin(dir)?;
    let run_toml = scenario.to_toml();
    let subject = Subject::of(scenario);
    draft.write("run.toml", run_toml.as_bytes())?;
    draft.traces(scenario)?;
    draft.write("summary.csv", &csv::text(&results.summary)?)?;
    draft.write("users.csv", &csv::text(&results.users)?)?;
    draft.write("timeseries.csv", &csv::text(&results.series)?)?;
    draft.write("arrival-curve.csv", &csv::text(&results.arrival_curve)?)?;
    draft.write("overshoot.csv", &csv::text(&results.overshoot)?)?;
    draft.write("delay.csv", &csv::text(&results.delay)?)?;
    draft.write("jitter.csv", &csv::text(&results.jitter)?)?;
    draft.write("burstiness.csv", &csv::text(&results.burstiness)?)?;
    let insets = plot::arrival::insets(&subject, results);
    draft.write("worst-burst.csv", insets.as_bytes())?;
    for picture in Picture::ALL {
        if let Some(text) = picture.csv(&subject, results) {
            draft.write(&format!("{}.csv", picture.stem()), text.as_bytes())?;
        }
    }
    draft.write(
        folder::SUMMARY_JSON,
        summary_json(scenario, results)?.as_bytes(),
    )?;
    draft.write(
        folder::HOST_JSON,
        format!("{:#}\n", serde_json::to_value(host)?).as_bytes(),
    )?;
    let verdicts = claims::judge(scenario, results);
    draft.write(
        "index.html",
        html::page(&subject, results, &verdicts).as_bytes(),
    )?;
    if options.plots {
        for picture in Picture::ALL {
            let name = format!("{}.png", picture.stem());
            let scene = picture.whole(&subject, results, plot::WIDE);
            let file = scene.png(PIXELS).map_err(|source| ReportError::Draw {
                name: name.clone(),
                source: source.into(),
            })?;
            draft.write(&name, &file)?;
        }
    }
    draft.finish()
}

/// The picture of a burstiness curve, as PNG.
///
/// # Errors
/// [`ReportError::Draw`] if it cannot be drawn.
pub fn burstiness_png(curve: &Curve<'_>) -> Result<Vec<u8>, ReportError> {
    let picture = plot::burstiness::scene(curve).png(PIXELS);
    picture.map_err(|source| ReportError::Draw {
        name: "burstiness.png".to_owned(),
        source: source.into(),
    })
}

/// The forest plot of what changed from `base` to `other`, as PNG, and a CSV of exactly what is drawn;
/// `None` if they have no algorithm under the same driver in common.
///
/// # Errors
/// [`ReportError::Draw`] if it cannot be drawn.
pub fn differences_between(
    base: &Report,
    other: &Report,
) -> Result<Option<(Vec<u8>, String)>, ReportError> {
    let Some((scene, csv)) = plot::differences::between(base, other) else {
        return Ok(None);
    };
    let picture = scene.png(PIXELS).map_err(|source| ReportError::Draw {
        name: "differences.png".to_owned(),
        source: source.into(),
    })?;
    Ok(Some((picture, csv)))
}

/// Users in the terminal's table; with more, `users.csv` and the page have them.
const MOST_USER_LINES: usize = 40;

/// The tables of a report as text: what was found, who is best at what, what
/// became of the claims, how far model and reality are apart, what each user got.
#[must_use]
pub fn tables(scenario: &Scenario, results: &Results, look: Look) -> String {
    let subject = Subject::of(scenario);
    let verdicts = claims::judge(scenario, results);
    let mut text = format!(
        "{}\n{}\n",
        table::bold(&subject.name, look),
        table::wrapped(
            &figures::verdict(&subject, results, &verdicts).join("\n"),
            look.width
        )
    );
    let mut tables = vec![
        figures::main(&subject, results),
        figures::winners(&subject, results),
    ];
    tables.extend(figures::theory(&subject, results));
    tables.extend(figures::closed_loops(&subject, results));
    if !verdicts.is_empty() {
        tables.push(figures::claims(&verdicts));
    }
    tables.extend(figures::agreement(&subject, results));
    tables.extend(figures::fairness(&subject, results));
    tables.extend(
        figures::users(&subject, results).filter(|table| table.rows.len() <= MOST_USER_LINES),
    );
    let tables: Vec<String> = tables.iter().map(|table| table.text(look)).collect();
    text.push_str(&tables.join("\n"));
    text
}

/// Writes [`tables`] to `out`.
///
/// # Errors
/// When `out` cannot be written.
pub fn print_tables(
    out: &mut impl io::Write,
    scenario: &Scenario,
    results: &Results,
    look: Look,
) -> io::Result<()> {
    out.write_all(tables(scenario, results, look).as_bytes())
}

/// The text of `summary.json`, which `--json` prints.
///
/// # Errors
/// When a figure has no text form.
pub fn summary_json(scenario: &Scenario, results: &Results) -> Result<String, ReportError> {
    json::summary(
        &scenario.to_toml(),
        results,
        &claims::judge(scenario, results),
    )
}

/// Reads the report in the folder `dir` back.
///
/// # Errors
/// When a file is missing, and with place and reason when one is broken.
pub fn load(dir: &Path) -> Result<Report, ReportError> {
    folder::check_is_report(dir)?;
    Ok(Report {
        scenario: Scenario::load(&dir.join("run.toml"), &Overrides::default())?,
        results: Results {
            summary: csv::rows(&dir.join("summary.csv"))?,
            users: csv::rows(&dir.join("users.csv"))?,
            series: csv::rows(&dir.join("timeseries.csv"))?,
            arrival_curve: csv::rows(&dir.join("arrival-curve.csv"))?,
            overshoot: csv::rows(&dir.join("overshoot.csv"))?,
            delay: csv::rows(&dir.join("delay.csv"))?,
            jitter: csv::rows(&dir.join("jitter.csv"))?,
            burstiness: match csv::rows(&dir.join("burstiness.csv")) {
                // Older reports have none.
                Err(ReportError::Read { source, .. })
                    if source.kind() == io::ErrorKind::NotFound =>
                {
                    Vec::new()
                }
                rows => rows?,
            },
        },
        host: host_of(dir)?,
    })
}

/// Where and when the report in the folder `dir` was made, as far as it says so.
fn host_of(dir: &Path) -> Result<Host, ReportError> {
    match folder::json(&dir.join(folder::HOST_JSON)) {
        // Whoever keeps a report may leave out the file that says on which machine it was made.
        Err(ReportError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(Host::default())
        }
        host => host,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::sample::Sample;
    use super::*;

    const SAMPLE: Sample = Sample {
        algorithms: 3,
        proxy: true,
        repetitions: 2,
        duration_s: 5.0,
        rate: 5000.0,
        burst: 5000.0,
        change: Some((3.0, 2500.0)),
        users: 2,
    };

    fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
        fs::read_dir(dir)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, fs::read(path).unwrap())
            })
            .collect()
    }

    #[test]
    fn the_same_results_are_the_same_bytes_and_read_back() {
        let root = tempfile::tempdir().unwrap();
        let (one, two) = (root.path().join("one"), root.path().join("two"));
        let (scenario, results) = (SAMPLE.scenario(), SAMPLE.results());
        let hosts = [
            Host::default(),
            Host {
                wall_s: 2.5,
                ..Host::default()
            },
        ];
        for (dir, host) in [(&one, &hosts[0]), (&two, &hosts[1])] {
            write(dir, &scenario, &results, host, Options::default()).unwrap();
        }
        let (mut first, mut second) = (files(&one), files(&two));
        assert_eq!(first.keys().map(String::as_str).collect::<Vec<_>>(), {
            let mut names = folder::FILES;
            names.sort_unstable();
            names
        });
        assert_ne!(
            first.remove(folder::HOST_JSON),
            second.remove(folder::HOST_JSON)
        );
        for (name, content) in first {
            assert!(content == second[&name], "{name} differs");
            assert!(content.len() > 60, "{name} is empty");
        }
        let report = load(&two).unwrap();
        assert_eq!(
            (report.scenario, report.results, report.host.wall_s),
            (scenario, results, 2.5)
        );
    }

    #[test]
    fn tables_fit_and_say_everything() {
        let sample = Sample {
            algorithms: 4,
            change: None,
            ..SAMPLE
        };
        let (scenario, results) = (sample.scenario(), sample.results());
        let plain = tables(&scenario, &results, Look::PLAIN);
        assert!(
            plain.lines().all(|line| line.chars().count() <= 120),
            "{plain}"
        );
        assert!(!plain.contains('\u{1b}'));
        insta::assert_snapshot!("plain", plain);
        let narrow = tables(
            &scenario,
            &results,
            Look {
                width: 80,
                color: false,
            },
        );
        insta::assert_snapshot!("narrow", narrow);
    }

    #[test]
    fn colour_adds_nothing_but_colour() {
        let (scenario, results) = (SAMPLE.scenario(), SAMPLE.results());
        let colored = tables(
            &scenario,
            &results,
            Look {
                width: 120,
                color: true,
            },
        );
        let plain = tables(&scenario, &results, Look::PLAIN);
        let mut pieces = colored.split('\u{1b}');
        let mut letters = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            letters.push_str(piece.split_once('m').unwrap().1);
        }
        let lines = |text: &str| {
            text.lines()
                .map(|line| line.trim_end().to_owned())
                .collect::<Vec<_>>()
        };
        assert!(colored.contains("\u{1b}[1m"));
        assert_eq!(lines(&letters), lines(&plain));
    }

    #[test]
    fn without_plots_there_are_none() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("run");
        write(
            &dir,
            &SAMPLE.scenario(),
            &SAMPLE.results(),
            &Host::default(),
            Options { plots: false },
        )
        .unwrap();
        assert!(!files(&dir).keys().any(|name| name.ends_with(".png")));
    }

    #[test]
    fn what_cannot_be_read_back_is_said() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("run");
        let said = |dir: &Path| {
            let error = load(dir).unwrap_err();
            assert!(error.is_input());
            error.to_string()
        };
        assert!(said(&dir).contains("summary.json"));
        write(
            &dir,
            &SAMPLE.scenario(),
            &SAMPLE.results(),
            &Host::default(),
            Options { plots: false },
        )
        .unwrap();
        let summary = fs::read_to_string(dir.join("summary.csv")).unwrap();
        fs::write(
            dir.join("summary.csv"),
            summary.replacen(",5.0,", ",five,", 1),
        )
        .unwrap();
        assert!(said(&dir).contains("summary.csv:2: "));
        fs::remove_file(dir.join("summary.csv")).unwrap();
        assert!(said(&dir).ends_with("summary.csv"));
        fs::write(
            dir.join("summary.json"),
            r#"{"tool":"weirgate","schema_version":99}"#,
        )
        .unwrap();
        assert!(said(&dir).contains("schema version 99"));
        fs::write(
            dir.join("summary.json"),
            r#"{"tool":"other","schema_version":1}"#,
        )
        .unwrap();
        assert!(said(&dir).contains("\"other\""));
    }
}
