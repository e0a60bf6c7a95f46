//! The part of the page that answers: algorithms on and off, a stretch enlarged, values
//! read, by a script and data that are in the page.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::escape;
use crate::report::scene::SERIES;
use crate::report::subject::Subject;
use crate::results::{CurveRow, Results};

/// The script; it knows nothing of a network.
const SCRIPT: &str = include_str!("explore.js");
/// Points of a line: more than a screen is wide are not seen.
const MOST_POINTS: usize = 600;
const HINT: &str = "Point at the drawing to read values; drag to enlarge a stretch, double-click to \
                    see all. With the keyboard: left and right, + and −, Escape.";

/// The element and its script; `None` if there is nothing to draw.
pub(super) fn section(subject: &Subject, results: &Results) -> Option<String> {
    let views = views(subject, results);
    if views.is_empty() {
        return None;
    }
    let buttons: Vec<String> = views
        .iter()
        .enumerate()
        .map(|(at, view)| {
            format!(
                "<button type=\"button\" data-view=\"{at}\" aria-pressed=\"{}\">{}</button>",
                at == 0,
                escape(view["title"].as_str().unwrap_or_default())
            )
        })
        .collect();
    let algorithms: Vec<&str> = subject
        .algorithms
        .iter()
        .map(|a| a.label.as_str())
        .collect();
    let keys: Vec<String> = algorithms
        .iter()
        .enumerate()
        .map(|(rank, name)| {
            let name = escape(name);
            format!(
                "<button type=\"button\" data-algorithm=\"{name}\" aria-pressed=\"true\"><i class=\"s{}\"></i>{name}</button>",
                rank % SERIES
            )
        })
        .collect();
    let drivers: Vec<String> = match subject.drivers.as_slice() {
        [] | [_] => Vec::new(),
        several => several
            .iter()
            .map(|name| {
                format!("<button type=\"button\" data-driver=\"{name}\" aria-pressed=\"true\">{name}</button>")
            })
            .collect(),
    };
    let data = json!({
        "algorithms": algorithms,
        "drivers": subject.drivers,
        "series": SERIES,
        "views": views,
    });
    // Nothing in it may end the element that it stands in.
    let data = data.to_string().replace('<', "\\u003c");
    Some(format!(
        "<div id=\"explore\" data-hint=\"{HINT}\" hidden>\n\
         <div class=\"keys\" role=\"group\" aria-label=\"What is drawn\">{}</div>\n\
         <div class=\"chart\"><svg tabindex=\"0\" role=\"application\" aria-label=\"Drawing; left and right read values, plus and minus enlarge\"></svg></div>\n\
         <output aria-live=\"polite\"></output>\n\
         <div class=\"keys\" role=\"group\" aria-label=\"Algorithms\">{}</div>\n\
         <div class=\"keys\" role=\"group\" aria-label=\"Drivers and view\">{}\
         <button type=\"button\" data-all>All</button><button type=\"button\" data-none>None</button>\
         <button type=\"button\" data-in>Enlarge</button><button type=\"button\" data-reset disabled>Whole</button></div>\n\
         </div>\n<noscript><p class=\"note\">This drawing needs a script; the pictures below do not.</p></noscript>\n\
         <script type=\"application/json\" id=\"explore-data\">{data}</script>\n<script>\n{SCRIPT}</script>",
        buttons.concat(),
        keys.concat(),
        drivers.concat(),
    ))
}

fn views(subject: &Subject, results: &Results) -> Vec<Value> {
    let limit = match subject.limit.as_slice() {
        [(_, rate)] => json!(rate),
        _ => Value::Null,
    };
    let all = [
        json!({
            "title": "Throughput", "steps": true, "limit": limit,
            "x": axis("Time", "s", false), "y": axis("throughput", "B/s", false),
            "lines": lines(&throughput(results)),
        }),
        json!({
            "title": "Bytes so far", "steps": false, "limit": null,
            "x": axis("Time", "s", false), "y": axis("bytes delivered", "B", false),
            "lines": lines(&curves(&results.arrival_curve, "delivered", 1.0)),
        }),
        json!({
            "title": "Delay", "steps": true, "limit": null,
            "x": axis("Delay", "s", true), "y": axis("share of packets that waited longer", "%", true),
            "lines": lines(&ended(curves(&results.delay, "ccdf", 1e-6))),
        }),
        json!({
            "title": "Gaps", "steps": false, "limit": null,
            "x": axis("Percentile", "", false), "y": axis("gap between departures", "s", true),
            "lines": lines(&curves(&results.jitter, "gap", 1.0)
                .into_iter().map(|(key, points)| (key, points.into_iter().map(|(x, y)| (x, y * 1e-6)).collect())).collect()),
        }),
        json!({
            "title": "Burstiness", "steps": false, "limit": null,
            "x": axis("Rate", "B/s", true), "y": axis("smallest bucket", "B", true),
            "lines": lines(&curves(&results.burstiness, "burstiness", 1.0)),
        }),
    ];
    let has_lines = |view: &Value| {
        view["lines"]
            .as_array()
            .is_some_and(|lines| !lines.is_empty())
    };
    all.into_iter().filter(has_lines).collect()
}

fn axis(name: &str, unit: &str, log: bool) -> Value {
    json!({ "name": name, "unit": unit, "log": log })
}

/// Lines by driver and algorithm.
type Lines<'a> = BTreeMap<(&'a str, &'a str), Vec<(f64, f64)>>;

/// The same, with the last step of each drawn: a share of nothing has no place on a logarithmic axis.
fn ended(mut lines: Lines<'_>) -> Lines<'_> {
    for points in lines.values_mut() {
        if let [.., (_, before), (_, last)] = points.as_mut_slice()
            && *last <= 0.0
        {
            *last = *before;
        }
    }
    lines
}

/// Start of a bin, sum of the rates in it, and of how many runs.
type Bin = (f64, f64, f64);

/// Delivered bytes a second, the mean over repetitions.
fn throughput(results: &Results) -> Lines<'_> {
    let mut sums: BTreeMap<(&str, &str), Vec<Bin>> = BTreeMap::new();
    let mut at = 0;
    let mut last = None;
    for row in &results.series {
        let run = (row.driver.as_str(), row.algorithm.as_str(), row.repetition);
        at = if last == Some(run) { at + 1 } else { 0 };
        last = Some(run);
        let bins = sums.entry((run.0, run.1)).or_default();
        match bins.get_mut(at) {
            Some((_, sum, n)) => {
                *sum += row.delivered_Bps;
                *n += 1.0;
            }
            None => bins.push((row.t_s, row.delivered_Bps, 1.0)),
        }
    }
    let mean = |bins: Vec<Bin>| bins.into_iter().map(|(t, sum, n)| (t, sum / n));
    sums.into_iter()
        .map(|(key, bins)| (key, mean(bins).collect()))
        .collect()
}

/// The lines named `curve`, x in the unit of the page.
fn curves<'a>(rows: &'a [CurveRow], curve: &str, unit: f64) -> Lines<'a> {
    let mut lines = Lines::new();
    for row in rows.iter().filter(|row| row.curve == curve) {
        let key = (row.driver.as_str(), row.algorithm.as_str());
        lines.entry(key).or_default().push((row.x * unit, row.y));
    }
    lines
}

fn lines(lines: &Lines<'_>) -> Vec<Value> {
    lines
        .iter()
        .map(|((driver, algorithm), points)| {
            let step = points.len().div_ceil(MOST_POINTS).max(1);
            let last = points.len().saturating_sub(1);
            let kept = points
                .iter()
                .enumerate()
                .filter(|(at, _)| at % step == 0 || *at == last);
            let points: Vec<[f64; 2]> = kept.map(|(_, (x, y))| [short(*x), short(*y)]).collect();
            json!({ "d": driver, "a": algorithm, "p": points })
        })
        .collect()
}

/// Five digits: what a drawing can show.
fn short(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}
