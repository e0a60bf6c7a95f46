//! `weirgate fit`: a generator like a trace, and the bucket that it needs.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use traffic::Pattern;

use super::{Failure, Outcome, print, trace_file};
use crate::cli::FitArgs;
use crate::fit::{Fit, Judged, Sample};
use crate::output::OutputFile;
use crate::report::{self, Curve, Look, plain};

pub(super) fn run(args: &FitArgs) -> Result<Outcome, Failure> {
    let packets = trace_file::packets(&args.trace, args.user.as_deref())?;
    let packets: Vec<Sample> = packets
        .into_iter()
        .map(|(at, size)| Sample { at, size })
        .collect();
    let unsuitable = |why: &str| Failure::input(trace_file::unsuitable(&args.trace, why));
    let fit = Fit::of(&packets, args.seed).map_err(|why| unsuitable(&why.to_string()))?;
    let Some(best) = fit.best() else {
        return Err(unsuitable("no generator is like it; record more of it"));
    };
    let scenario = scenario(&fit, best, &args.trace, args.seed);
    let look = Look::of_stdout();
    let mut text = summary(&fit);
    text.push_str(&candidates(&fit, look));
    text.push('\n');
    text.push_str(&buckets(&fit, look));
    match &args.out {
        None => {
            text.push('\n');
            text.push_str(&scenario);
        }
        Some(folder) => {
            write_all(folder, &fit, best, &args.trace, &scenario)?;
            // Writing to a String cannot fail.
            let _ = writeln!(text, "\nwritten to {}", folder.display());
        }
    }
    print(&text)?;
    Ok(Outcome::Done)
}

fn summary(fit: &Fit) -> String {
    let trace = &fit.trace;
    format!(
        "{} packets, {} in {}: {}\n\n",
        trace.packets,
        plain::bytes(real(trace.bytes)),
        plain::seconds(trace.seconds()),
        plain::rate(trace.rate()),
    )
}

fn candidates(fit: &Fit, look: Look) -> String {
    let rows: Vec<Vec<String>> = fit
        .candidates
        .iter()
        .take(6)
        .map(|judged| {
            let d = &judged.distances;
            let mut row = vec![judged.candidate.name.clone()];
            let figures = [d.sizes, d.gaps, d.load_100ms, d.load_1s, d.curve, d.score()];
            row.extend(figures.map(|figure| format!("{figure:.3}")));
            row.push(d.verdict().to_owned());
            row
        })
        .collect();
    plain::table(
        "Generators, the nearest first",
        &[
            "<generator",
            "sizes",
            "gaps",
            "100 ms",
            "1 s",
            "curve",
            "score",
            "<fit",
        ],
        &rows,
        "Sizes, gaps, bytes in 100 ms and in 1 s: Kolmogorov-Smirnov distance to the trace, 0 to 1. Curve: mean \
         factor between the burstiness curves, as a logarithm. Score: their mean; close below 0.1, fair below 0.2.",
        look,
    )
}

fn buckets(fit: &Fit, look: Look) -> String {
    let rows: Vec<Vec<String>> = fit
        .curve
        .iter()
        .step_by(5)
        .map(|point| {
            let rate = real(point.rate);
            vec![
                plain::rate(rate),
                format!("{:.2}", rate / fit.trace.rate()),
                plain::bytes(point.trace),
                plain::seconds(point.trace / rate),
                plain::bytes(point.fitted),
            ]
        })
        .collect();
    plain::table(
        "The smallest bucket that passes everything",
        &["rate", "of the mean", "trace", "at the rate", "generator"],
        &rows,
        "",
        look,
    )
}

/// A scenario that offers what the nearest generator sends. The reference is a
/// quarter above the mean, with the bucket that the trace needs there.
fn scenario(fit: &Fit, best: &Judged, path: &Path, seed: u64) -> String {
    let rate = ceil(fit.trace.rate() * 1.25);
    let bucket =
        ceil(fit.bucket_at(rate).unwrap_or(0.0)).max(fit.trace.sizes.last().copied().unwrap_or(1));
    let seconds = ceil(fit.trace.seconds()).clamp(1, 3_600);
    let mut text = format!(
        "# Traffic like {}: {}, {} (score {:.3}).\n\
         # The burst is what the trace needs at the reference rate.\n\
         name = \"fitted\"\n\
         duration = \"{seconds} s\"\n\
         seed = {seed}\n\
         mode = \"shape\"\n\
         algorithms = [\"token-bucket\", \"leaky-bucket\", \"fixed-window\"]\n\n\
         [reference]\nrate = \"{rate} B/s\"\nburst = \"{bucket} B\"\n\n[traffic]\n",
        path.display().to_string().escape_debug(),
        best.candidate.name,
        best.distances.verdict(),
        best.distances.score(),
    );
    text.push_str(&pattern(&best.candidate.pattern));
    text
}

/// The lines of a `[traffic]` table.
fn pattern(pattern: &Pattern) -> String {
    let written = pattern.to_string();
    let (kind, fields) = written.split_once(':').unwrap_or((&written, ""));
    let mut text = format!("pattern = \"{kind}\"\n");
    for (key, value) in fields.split(',').filter_map(|field| field.split_once('=')) {
        // Writing to a String cannot fail.
        let _ = if value.parse::<f64>().is_ok() {
            writeln!(text, "{key} = {value}")
        } else {
            writeln!(text, "{key} = \"{value}\"")
        };
    }
    text
}

fn write_all(
    folder: &Path,
    fit: &Fit,
    best: &Judged,
    trace: &Path,
    scenario: &str,
) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|why| OutputFile::failed(folder, why))?;
    let write = |name: &str, content: &[u8]| -> Result<(), Failure> {
        let path = folder.join(name);
        let mut file = OutputFile::create(&path)?;
        file.write_all(content)
            .map_err(|why| OutputFile::failed(&path, why))?;
        Ok(file.finish()?)
    };
    let mut curve = String::from("rate_Bps,trace_bytes,generator_bytes\n");
    for point in &fit.curve {
        // Writing to a String cannot fail.
        let _ = writeln!(
            curve,
            "{},{:.3},{:.3}",
            point.rate, point.trace, point.fitted
        );
    }
    let mut candidates =
        String::from("generator,sizes,gaps,gaps_critical,load_100ms,load_1s,curve,score,pattern\n");
    for Judged {
        candidate,
        distances: d,
    } in &fit.candidates
    {
        let _ = writeln!(
            candidates,
            "\"{}\",{:.6},{:.6},{:.6},{:.6},{:.6},{:.6},{:.6},\"{}\"",
            candidate.name,
            d.sizes,
            d.gaps,
            d.gaps_critical,
            d.load_100ms,
            d.load_1s,
            d.curve,
            d.score(),
            candidate.pattern,
        );
    }
    let name = trace.file_name().map(|name| name.to_string_lossy());
    let picture = report::burstiness_png(&Curve {
        name: name.as_deref().unwrap_or("trace"),
        generator: &format!("fitted: {}", best.candidate.name),
        mean: fit.trace.rate(),
        largest: real(fit.trace.sizes.last().copied().unwrap_or(1)),
        points: &fit.curve,
    })
    .map_err(Failure::environment)?;
    write("scenario.toml", scenario.as_bytes())?;
    write("candidates.csv", candidates.as_bytes())?;
    write("burstiness.csv", curve.as_bytes())?;
    write("burstiness.png", &picture)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
const fn real(number: u64) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float's cast saturates"
)]
fn ceil(value: f64) -> u64 {
    value.ceil() as u64
}
