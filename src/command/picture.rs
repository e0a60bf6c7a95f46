//! A picture that the command line names, with the CSV of what it shows beside it.

use std::path::{self, Path, PathBuf};

use miette::Diagnostic;

use super::Failure;
use super::sweep::write_file;
use crate::metrics::Bins;
use crate::report::{Chart, Drawing, Line, Quantity, Side};

/// A picture whose CSV would stand where another file of the command does.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("the picture's CSV would be written over {}", path.display())]
#[diagnostic(help(
    "what is drawn goes into a CSV of the picture's name: give the picture another"
))]
struct SamePlace {
    path: PathBuf,
}

/// Refuses a picture whose CSV would take the place of one of `others`.
pub(super) fn check(picture: Option<&Path>, others: &[&Path]) -> Result<(), Failure> {
    let Some(table) = picture.map(table) else {
        return Ok(());
    };
    let place = |path: &Path| path.canonicalize().or_else(|_| path::absolute(path)).ok();
    let same = others.iter().find(|other| place(other) == place(&table));
    same.map_or(Ok(()), |_| Err(Failure::input(SamePlace { path: table })))
}

/// Draws into `picture`.
pub(super) fn draw(drawing: &Drawing, picture: &Path) -> Result<(), Failure> {
    let png = drawing.png(&picture.display().to_string());
    write(picture, &png.map_err(Failure::environment)?, &drawing.csv())
}

/// Writes a picture that is drawn already.
pub(super) fn write(picture: &Path, png: &[u8], csv: &str) -> Result<(), Failure> {
    write_file(&table(picture), csv.as_bytes())?;
    write_file(picture, png)
}

fn table(picture: &Path) -> PathBuf {
    picture.with_extension("csv")
}

/// The lanes of `bins` as rates and as sums so far, each with its name and its place among the colours.
pub(super) fn over_time(bins: &Bins, names: &[(usize, &str)]) -> [Chart; 2] {
    let width = seconds(bins.width());
    let mut rates = Vec::new();
    let mut sums = Vec::new();
    for (lane, name) in names {
        let mut sum = 0.0;
        let (mut steps, mut so_far) = (Vec::new(), vec![(0.0, 0.0)]);
        for (at, bytes) in (0_u32..).zip(bins.lane(*lane)) {
            let (from, to) = (f64::from(at) * width, f64::from(at + 1) * width);
            let bytes = real(bytes);
            steps.extend([(from, bytes / width), (to, bytes / width)]);
            sum += bytes;
            so_far.push((to, sum));
        }
        rates.push(line(name, *lane, steps));
        sums.push(line(name, *lane, so_far));
    }
    let bins = match bins.width() {
        nanos if nanos >= 1_000_000_000 => format!("{} s", nanos / 1_000_000_000),
        nanos if nanos >= 1_000_000 => format!("{} ms", nanos / 1_000_000),
        nanos => format!("{} µs", nanos / 1_000),
    };
    let time = || side("time since the first packet", Quantity::Seconds);
    [
        Chart {
            title: format!("Rate in bins of {bins}"),
            x: time(),
            y: side("rate", Quantity::Rate),
            lines: rates,
        },
        Chart {
            title: "Bytes so far".to_owned(),
            x: time(),
            y: side("bytes", Quantity::Bytes),
            lines: sums,
        },
    ]
}

/// A solid line without marks.
pub(super) fn line(name: &str, rank: usize, points: Vec<(f64, f64)>) -> Line {
    Line {
        name: name.to_owned(),
        rank,
        points,
        band: Vec::new(),
        marked: false,
        dashed: false,
    }
}

/// An axis of even steps.
pub(super) fn side(title: &str, unit: Quantity) -> Side {
    Side {
        title: title.to_owned(),
        unit,
        logarithmic: false,
    }
}

/// Nanoseconds as seconds.
pub(super) fn seconds(nanos: u64) -> f64 {
    real(nanos) / 1e9
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(super) const fn real(number: u64) -> f64 {
    number as f64
}
