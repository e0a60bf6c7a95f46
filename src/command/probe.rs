//! `weirgate probe`: what limits a stream, from what arrives alone.

use std::fs;
use std::path::Path;

use flow::Policy;
use miette::Diagnostic;

use super::picture::{real, side};
use super::sweep::write_file;
use super::{Failure, Outcome, print, trace_file};
use crate::cli::{ProbeArgs, ReplayMode};
use crate::output::OutputFile;
use crate::probe::{Arrival, Estimate, Flood, Kind, ProbeError, estimate};
use crate::report::{Chart, Drawing, Line, Quantity, plain};
use crate::scenario::problem::split_remedy;

/// A model whose flood says nothing.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Unknown {
    message: String,
    help: String,
}

impl Diagnostic for Unknown {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        Some(Box::new(&self.help))
    }
}

pub(super) fn run(args: &ProbeArgs) -> Result<Outcome, Failure> {
    let ((found, arrivals), truth) = match (&args.arrivals, &args.limiter) {
        (Some(path), _) => (from_file(path, args.user.as_deref())?, None),
        (None, Some(limiter)) => (from_model(args, limiter)?, Some(limiter)),
        (None, None) => return Err(unknown("nothing to probe; name a file or a --limiter")),
    };
    if let Some(out) = &args.out {
        let drawing = drawing(&found, &arrivals, args);
        fs::create_dir_all(out).map_err(|why| OutputFile::failed(out, why))?;
        let png = drawing.png("probe.png").map_err(Failure::environment)?;
        write_file(&out.join("probe.csv"), drawing.csv().as_bytes())?;
        write_file(&out.join("probe.png"), &png)?;
    }
    let text = if args.json {
        json(&found)
    } else {
        text(&found, truth)
    };
    print(&text)?;
    Ok(Outcome::Done)
}

/// The estimate, and what it is of.
type Probed = (Estimate, Vec<Arrival>);

/// Points that are drawn of a stream.
const MOST_POINTS: usize = 2_000;

/// Cumulative arrivals from the first one on, and the line that they follow.
fn drawing(found: &Estimate, arrivals: &[Arrival], args: &ProbeArgs) -> Drawing {
    let start = arrivals.first().map_or(0, |first| first.at);
    let mut sum = 0;
    let all: Vec<(f64, f64)> = arrivals
        .iter()
        .flat_map(|arrival| {
            let (at, before) = (real(arrival.at - start) / 1e9, real(sum));
            sum += arrival.size;
            [(at, before), (at, real(sum))]
        })
        .collect();
    let each = all.len().div_ceil(MOST_POINTS).max(1);
    let mut points: Vec<(f64, f64)> = all.iter().step_by(each).copied().collect();
    points.extend(all.last().filter(|last| points.last() != Some(*last)));
    let end = points.last().map_or(0.0, |last| last.0);
    let line = |(name, rank, dashed): (&str, usize, bool), points| Line {
        name: name.to_owned(),
        rank,
        points,
        band: Vec::new(),
        marked: false,
        dashed,
    };
    let chart = |title: &str, until: f64| {
        let part: Vec<(f64, f64)> = points.iter().filter(|p| p.0 <= until).copied().collect();
        let fitted = vec![
            (0.0, found.depth),
            (until, found.depth + found.rate * until),
        ];
        Chart {
            title: title.to_owned(),
            x: side("time since the first arrival", Quantity::Seconds),
            y: side("bytes so far", Quantity::Bytes),
            lines: vec![
                line(("arrived", 0, false), part),
                line(("depth + rate × time", 1, true), fitted),
            ],
        }
    };
    // Past the level shift, and for as long as the depth takes at the rate.
    let early = found.shift_s.map_or(end / 10.0, |shift| {
        (shift * 2.0).max(2.0 * found.depth / found.rate.max(1.0))
    });
    let name = args.arrivals.as_ref().and_then(|path| path.file_name());
    let name = name.map(|name| name.to_string_lossy().into_owned());
    let model = args.limiter.map(|limiter| limiter.to_string());
    Drawing {
        title: format!("What limits the stream: {}", kind(found).0),
        explanation: format!(
            "Bytes that have arrived since the first packet, and the line that they follow from below once the burst is used up: \
             rate {}, depth {}. Its height at the left edge is the depth, its slope the rate.",
            plain::rate(found.rate),
            plain::bytes(found.depth),
        ),
        charts: vec![
            chart("All of it", end),
            chart("Its beginning", early.min(end)),
        ],
        footer: name.or(model).unwrap_or_default(),
    }
}

fn from_file(path: &Path, user: Option<&str>) -> Result<Probed, Failure> {
    let packets = trace_file::packets(path, user)?;
    let arrivals: Vec<Arrival> = packets
        .into_iter()
        .map(|(at, size)| Arrival { at, size })
        .collect();
    let found = estimate(&arrivals).map_err(|why: ProbeError| {
        Failure::input(trace_file::unsuitable(path, &why.to_string()))
    })?;
    Ok((found, arrivals))
}

/// Packets of the flood are a fiftieth of the depth at most, and no more than Ethernet's.
fn from_model(args: &ProbeArgs, limiter: &Policy) -> Result<Probed, Failure> {
    if args.mode == ReplayMode::Shape && !limiter.modes().shape {
        return Err(unknown(&format!(
            "`{}` cannot be applied with --mode shape; it can only police: write --mode police",
            limiter.kind()
        )));
    }
    let Some(limit) = limiter.rate() else {
        return Err(unknown(
            "`none` has no rate to be found; name a limiter with one",
        ));
    };
    let greatest = (limiter.largest().get() / 50).clamp(16, 1_500);
    let flood = Flood {
        rate: args
            .flood
            .map_or(limit.get().saturating_mul(10), flow::ByteRate::get),
        sizes: (greatest / 8, greatest),
        lasts: args.duration,
        seed: args.seed,
    };
    let arrivals = flood.through(limiter, args.mode == ReplayMode::Shape);
    let found = estimate(&arrivals).map_err(|why| unknown(&why.to_string()))?;
    Ok((found, arrivals))
}

fn unknown(why: &str) -> Failure {
    let (message, help) = split_remedy(why);
    Failure::input(Unknown {
        message: message.to_owned(),
        help: help.unwrap_or("send for longer").to_owned(),
    })
}

fn kind(found: &Estimate) -> (&'static str, Option<f64>) {
    match found.kind {
        Kind::Constant => ("constant rate (no level shift)", None),
        Kind::Policer => ("token bucket, policing", None),
        Kind::Shaper => ("token bucket, shaping", None),
        Kind::Window { length_s } => ("counter or log of a window", Some(length_s)),
        Kind::WeightedWindow { length_s } => ("two weighted windows", Some(length_s)),
    }
}

fn text(found: &Estimate, truth: Option<&Policy>) -> String {
    let (name, window) = kind(found);
    let mut lines = vec![("looks like", name.to_owned())];
    let known = |value: Option<f64>, found: f64| match value {
        Some(value) if value > 0.0 => {
            format!(" ({:+.2} % of the truth)", (found / value - 1.0) * 100.0)
        }
        _ => String::new(),
    };
    let rate = truth.and_then(Policy::rate).map(|rate| real(rate.get()));
    lines.push(("rate", plain::rate(found.rate) + &known(rate, found.rate)));
    let depth = truth.and_then(|policy| match policy {
        Policy::FixedWindow { limit, .. }
        | Policy::SlidingWindowLog { limit, .. }
        | Policy::SlidingWindowCounter { limit, .. } => Some(real(limit.get())),
        other => other.burst().map(|burst| real(burst.get())),
    });
    lines.push((
        "depth",
        plain::bytes(found.depth) + &known(depth, found.depth),
    ));
    lines.extend(window.map(|length| ("window", plain::seconds(length))));
    lines.extend(found.peak.map(|peak| ("sent at", plain::rate(peak))));
    lines.extend(found.shift_s.map(|shift| {
        (
            "level shift",
            plain::seconds(shift) + " after the first arrival",
        )
    }));
    lines.push(("unsteadiness", plain::percent(found.unsteadiness)));
    lines
        .into_iter()
        .map(|(name, value)| format!("{name:<14}{value}\n"))
        .collect()
}

fn json(found: &Estimate) -> String {
    let kind_name = match found.kind {
        Kind::Constant => "constant",
        Kind::Policer => "policer",
        Kind::Shaper => "shaper",
        Kind::Window { .. } => "window",
        Kind::WeightedWindow { .. } => "weighted-window",
    };
    let value = serde_json::json!({
        "kind": kind_name,
        "rate_Bps": found.rate,
        "depth_bytes": found.depth,
        "window_s": kind(found).1,
        "peak_Bps": found.peak,
        "shift_s": found.shift_s,
        "unsteadiness": found.unsteadiness,
    });
    format!("{value:#}\n")
}
