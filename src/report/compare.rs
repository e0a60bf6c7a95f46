//! Two reports side by side.

use std::cmp::Ordering;

use super::Report;
use super::estimate::Estimate;
use super::figures::{Group, groups};
use super::format::{Scale, significant};
use super::metric::{self, Better, Metric, OverRuns};
use super::subject::Subject;
use super::table::{self, Cell, Head, Look, Mark, Table};
use crate::results::Row;
use crate::scenario::{Repetitions, Scenario};
use crate::statistics::{self, Comparison, NOISE, Verdict, holm};

/// What is compared.
pub(super) static METRICS: [Metric; 12] = [
    metric::THROUGHPUT,
    metric::UTILISATION,
    metric::OVERSHOOT,
    metric::WINDOW_1S,
    metric::DELAY_P50,
    metric::DELAY_P90,
    metric::DELAY_P99,
    metric::JITTER,
    metric::PDV_P99,
    metric::GAP_COV,
    metric::LOSS,
    metric::JAIN,
];

/// Compares `other` with `base`: what differs, by how much, and whether that is
/// better. Runs with the same seed are paired.
#[must_use]
pub fn compare(base: &Report, other: &Report, look: Look) -> String {
    let subjects = [Subject::of(&base.scenario), Subject::of(&other.scenario)];
    let pairs = pairs(&subjects, base, other);
    let lines = judged(&pairs);
    let mut text = format!("{}\n", table::bold(&title(&subjects), look));
    for sentence in preface(base, other, &subjects, &lines) {
        text.push_str(&table::wrapped(&sentence, look.width));
    }
    if !lines.is_empty() {
        text.push_str(&format!("\n{}\n", overview(&pairs, &lines).text(look)));
        let details = details(&lines);
        if details.rows.is_empty() {
            text.push_str("Nothing differs.\n");
        } else {
            text.push_str(&details.text(look));
        }
    }
    text
}

/// One algorithm under one driver in both reports.
pub(super) struct Pair<'a> {
    pub(super) base: Group<'a>,
    pub(super) other: Group<'a>,
}

pub(super) fn pairs<'a>(
    subjects: &'a [Subject; 2],
    base: &'a Report,
    other: &'a Report,
) -> Vec<Pair<'a>> {
    let mut others = groups(&subjects[1], &other.results.summary);
    groups(&subjects[0], &base.results.summary)
        .into_iter()
        .filter_map(|base| {
            let at = others.iter().position(|other| {
                other.algorithm == base.algorithm && other.driver == base.driver
            })?;
            Some(Pair {
                base,
                other: others.swap_remove(at),
            })
        })
        .collect()
}

/// One metric of one pair.
struct Line<'a> {
    metric: &'static Metric,
    algorithm: &'a str,
    driver: &'a str,
    pair: usize,
    comparison: Comparison,
    paired: bool,
    judgement: Judgement,
}

/// What can be said of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Better,
    Worse,
    /// It changed, and neither way is better.
    Changed,
    Same,
    /// One run each, and they differ.
    Untested,
}

impl Judgement {
    const fn word(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Changed => "changed",
            Self::Same => "same",
            Self::Untested => "untested",
        }
    }

    const fn mark(self) -> Mark {
        match self {
            Self::Better => Mark::Best,
            Self::Worse => Mark::Bad,
            Self::Changed | Self::Same | Self::Untested => Mark::None,
        }
    }
}

/// Every metric that both know, of every pair, judged together.
fn judged<'a>(pairs: &[Pair<'a>]) -> Vec<Line<'a>> {
    let mut lines: Vec<Line<'a>> = Vec::new();
    for (at, pair) in pairs.iter().enumerate() {
        for metric in &METRICS {
            if let Some((comparison, paired)) =
                comparison(metric, &pair.base.rows, &pair.other.rows)
            {
                lines.push(Line {
                    metric,
                    algorithm: pair.base.algorithm,
                    driver: pair.base.driver,
                    pair: at,
                    comparison,
                    paired,
                    judgement: Judgement::Same,
                });
            }
        }
    }
    let chances = corrected(lines.iter().map(|line| &line.comparison));
    for (line, chance) in lines.iter_mut().zip(chances) {
        line.judgement = judge(line.metric, &line.comparison, chance);
    }
    lines
}

/// The chance that each came about without a cause, among all of them (Holm). What could not be
/// tested has none, and takes no part.
pub(super) fn corrected<'a>(
    comparisons: impl Iterator<Item = &'a Comparison> + Clone,
) -> Vec<Option<f64>> {
    let tested: Vec<f64> = comparisons.clone().filter_map(|one| one.p).collect();
    let mut corrected = holm(&tested).into_iter();
    comparisons
        .map(|one| one.p.and_then(|_| corrected.next()))
        .collect()
}

fn judge(metric: &Metric, comparison: &Comparison, chance: Option<f64>) -> Judgement {
    let verdict = match chance {
        Some(chance) => comparison.verdict(statistics::Better::More, chance),
        // The worst of the runs, or one run each: nothing but the figures themselves.
        None if comparison.difference.abs() <= NOISE * comparison.base.abs() => {
            Verdict::NoDifference
        }
        None if metric.over_runs == OverRuns::Most && comparison.difference > 0.0 => {
            Verdict::Better
        }
        None if metric.over_runs == OverRuns::Most => Verdict::Worse,
        None => Verdict::Unknown,
    };
    judgement(metric, comparison, verdict)
}

/// What it says of a figure that it grew (`Better`), shrank (`Worse`), or did neither.
pub(super) fn judgement(metric: &Metric, comparison: &Comparison, grew: Verdict) -> Judgement {
    let from = |best: f64| {
        let [base, other] = [comparison.base, comparison.other].map(|one| (one - best).abs());
        other.total_cmp(&base)
    };
    match (grew, metric.better) {
        (Verdict::NoDifference, _) => Judgement::Same,
        (Verdict::Unknown, _) => Judgement::Untested,
        (_, Better::Neither) => Judgement::Changed,
        (_, Better::Near(best)) => match from(best) {
            Ordering::Less => Judgement::Better,
            Ordering::Equal => Judgement::Changed,
            Ordering::Greater => Judgement::Worse,
        },
        (Verdict::Better, Better::More) | (Verdict::Worse, Better::Less) => Judgement::Better,
        _ => Judgement::Worse,
    }
}

/// The runs of both, paired where all have the same seed and repetition; of
/// maxima the worst of each, which has no interval.
fn comparison(metric: &Metric, base: &[&Row], other: &[&Row]) -> Option<(Comparison, bool)> {
    if metric.over_runs == OverRuns::Most {
        let worst = |rows| Estimate::of(metric, rows).map(|most| [most.value]);
        return Some((
            Comparison::independent(&worst(base)?, &worst(other)?)?,
            false,
        ));
    }
    of_runs(metric, base, other)
}

/// The runs of both, paired where all have the same seed and repetition.
pub(super) fn of_runs(
    metric: &Metric,
    base: &[&Row],
    other: &[&Row],
) -> Option<(Comparison, bool)> {
    let figure = metric.figure;
    let same = |row: &Row| {
        other
            .iter()
            .find(|twin| twin.seed == row.seed && twin.repetition == row.repetition)
    };
    let twins: Vec<(f64, f64)> = base
        .iter()
        .filter_map(|row| Some((figure(row)?, figure(same(row)?)?)))
        .collect();
    if !twins.is_empty() && twins.len() == base.len() && base.len() == other.len() {
        let (base, other): (Vec<f64>, Vec<f64>) = twins.into_iter().unzip();
        return Some((Comparison::paired(&base, &other)?, true));
    }
    let values =
        |rows: &[&Row]| -> Vec<f64> { rows.iter().filter_map(|row| figure(row)).collect() };
    Some((
        Comparison::independent(&values(base), &values(other))?,
        false,
    ))
}

pub(super) fn title(subjects: &[Subject; 2]) -> String {
    if subjects[0].name == subjects[1].name {
        format!("{}: two runs", subjects[0].name)
    } else {
        format!("{} against {}", subjects[1].name, subjects[0].name)
    }
}

/// What one has to know first.
fn preface(
    base: &Report,
    other: &Report,
    subjects: &[Subject; 2],
    lines: &[Line<'_>],
) -> Vec<String> {
    if lines.is_empty() {
        return vec![
            "They have no algorithm under the same driver in common: nothing to compare.".into(),
        ];
    }
    let count = |judgement| {
        lines
            .iter()
            .filter(|line| line.judgement == judgement)
            .count()
    };
    let mut sentences = vec![format!(
        "{} better, {} worse, {} changed, {} the same, {} untested.",
        count(Judgement::Better),
        count(Judgement::Worse),
        count(Judgement::Changed),
        count(Judgement::Same),
        count(Judgement::Untested),
    )];
    if asked(&base.scenario) != asked(&other.scenario) {
        sentences.push(
            "The scenarios differ, so what changed may be the question and not the answer.".into(),
        );
    }
    if (subjects[0].rate_Bps, subjects[0].burst_bytes)
        != (subjects[1].rate_Bps, subjects[1].burst_bytes)
    {
        sentences.push("They are judged against different rates or bursts.".into());
    }
    let means = || {
        lines
            .iter()
            .filter(|line| line.metric.over_runs == OverRuns::Mean)
    };
    sentences.push(if means().all(|line| line.paired) {
        "Runs are paired: same seed, same repetition.".into()
    } else if means().any(|line| line.paired) {
        "Runs are paired where seed and repetition are the same.".into()
    } else {
        "Runs are not paired: seeds or repetitions differ.".into()
    });
    sentences
}

/// What a scenario asks, however often and with whichever chance.
fn asked(scenario: &Scenario) -> Scenario {
    let once = Repetitions {
        model: 1,
        proxy: 1,
        kernel: 1,
        external: 1,
        shadowsocks: 1,
    };
    Scenario {
        name: String::new(),
        seed: 0,
        repetitions: once,
        until: None,
        ..scenario.clone()
    }
}

/// A line for each algorithm and driver, a verdict for each metric.
fn overview(pairs: &[Pair<'_>], lines: &[Line<'_>]) -> Table {
    let known: Vec<&Metric> = METRICS
        .iter()
        .filter(|metric| lines.iter().any(|line| line.metric.title == metric.title))
        .collect();
    let mut table = Table {
        title: "Change against the base".into(),
        head: vec![Head::words("Algorithm"), Head::words("Driver")],
        rows: Vec::new(),
        note: format!(
            "= no difference: the 95 % interval reaches into ±{} %, or chance explains it (Holm over all figures here). \
             * better, ! worse. Of overshoot and worst second the worst runs are compared, without interval.",
            NOISE * 100.0
        ),
    };
    for (at, metric) in known.iter().enumerate() {
        let spare = u8::try_from(at.saturating_sub(2)).unwrap_or(u8::MAX);
        table
            .head
            .push(Head::numbers(metric.title, "%".into()).spare(spare));
    }
    for (at, pair) in pairs.iter().enumerate() {
        let mut row = vec![Cell::new(pair.base.algorithm), Cell::new(pair.base.driver)];
        row.extend(known.iter().map(|metric| {
            lines
                .iter()
                .find(|line| line.pair == at && line.metric.title == metric.title)
                .map_or_else(Cell::unknown, short)
        }));
        table.rows.push(row);
    }
    table
}

/// "+3.2", or "=".
fn short(line: &Line<'_>) -> Cell {
    if line.judgement == Judgement::Same {
        return Cell::new("=");
    }
    let change = line.comparison.difference / line.comparison.base;
    let text = if line.comparison.base == 0.0 {
        format!("from 0 to {}", significant(line.comparison.other, 2))
    } else {
        let sign = if change > 0.0 { "+" } else { "" };
        format!("{sign}{}", super::format::fixed(change * 100.0, 1))
    };
    let untested = if line.judgement == Judgement::Untested {
        "?"
    } else {
        ""
    };
    Cell::marked(format!("{text}{untested}"), line.judgement.mark())
}

/// Every figure that differs, both values beside each other.
fn details(lines: &[Line<'_>]) -> Table {
    let rows = lines
        .iter()
        .filter(|line| line.judgement != Judgement::Same)
        .map(|line| {
            let comparison = &line.comparison;
            let scale = Scale::of(
                line.metric.unit,
                comparison.base.abs().max(comparison.other.abs()),
            );
            let unit = scale.symbol();
            vec![
                Cell::new(line.algorithm),
                Cell::new(line.driver),
                Cell::new(line.metric.title),
                Cell::new(format!("{} {unit}", scale.number(comparison.base, 4)).trim_end()),
                Cell::new(format!("{} {unit}", scale.number(comparison.other, 4)).trim_end()),
                Cell::new(ratio(comparison)),
                Cell::new(if line.metric.over_runs == OverRuns::Most {
                    "worst".into()
                } else {
                    comparison.n.to_string()
                }),
                Cell::marked(line.judgement.word(), line.judgement.mark()),
            ]
        });
    let rows: Vec<Vec<Cell>> = rows.collect();
    let number = |name: &str| Head::numbers(name, String::new());
    Table {
        title: "What differs".into(),
        head: vec![
            Head::words("Algorithm"),
            Head::words("Driver"),
            Head::words("Figure"),
            number("Base"),
            number("Other"),
            number("Ratio\u{a0}(95\u{a0}%)"),
            number("n").spare(1),
            Head::words("Verdict"),
        ],
        rows,
        note: String::new(),
    }
}

/// "1.032 (1.021 to 1.043)".
fn ratio(comparison: &Comparison) -> String {
    let digits = |value: f64| significant(value, 4);
    match (comparison.ratio, comparison.ratio_interval) {
        (Some(ratio), Some(interval)) => {
            format!(
                "{} ({} to {})",
                digits(ratio),
                digits(interval.low),
                digits(interval.high)
            )
        }
        (Some(ratio), None) => digits(ratio),
        (None, _) => "–".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::Sample;

    const SAMPLE: Sample = Sample {
        algorithms: 2,
        proxy: false,
        repetitions: 5,
        duration_s: 20.0,
        rate: 5000.0,
        burst: 5000.0,
        change: None,
        users: 1,
    };

    /// Of the last algorithm, whose delays are never zero.
    fn judgement(lines: &[Line<'_>], title: &str) -> Judgement {
        lines
            .iter()
            .rfind(|line| line.metric.title == title)
            .unwrap()
            .judgement
    }

    fn lines(base: &Report, other: &Report, check: impl Fn(&[Line<'_>])) {
        let subjects = [Subject::of(&base.scenario), Subject::of(&other.scenario)];
        check(&judged(&pairs(&subjects, base, other)));
    }

    #[test]
    fn a_report_does_not_differ_from_itself() {
        let base = SAMPLE.report(|_| {});
        lines(&base, &base, |lines| {
            assert!(lines.len() > 10);
            assert!(lines.iter().all(|line| line.judgement == Judgement::Same));
            assert!(lines.iter().any(|line| line.paired));
        });
        let text = compare(&base, &base, Look::PLAIN);
        assert!(text.contains("Nothing differs."), "{text}");
    }

    #[test]
    fn a_change_of_a_tenth_is_seen_and_named() {
        let base = SAMPLE.report(|_| {});
        let other = SAMPLE.report(|row| {
            row.delay_p90_us = row.delay_p90_us.map(|delay| delay * 1.1);
            row.jitter_rfc3550_us = row.jitter_rfc3550_us.map(|jitter| jitter * 0.9);
            row.throughput_Bps *= 1.1;
            row.utilisation = row.utilisation.map(|used| used * 1.1);
            row.overshoot_bytes = row.overshoot_bytes.map(|bytes| bytes * 2.0);
            row.delay_p50_us = row.delay_p50_us.map(|delay| delay * 1.001);
        });
        lines(&base, &other, |lines| {
            assert_eq!(judgement(lines, "Delay p90"), Judgement::Worse);
            assert_eq!(judgement(lines, "Jitter"), Judgement::Better);
            assert_eq!(judgement(lines, "Throughput"), Judgement::Changed);
            assert_eq!(judgement(lines, "Limit used"), Judgement::Better);
            assert_eq!(judgement(lines, "Overshoot"), Judgement::Worse);
            assert_eq!(judgement(lines, "Delay p50"), Judgement::Same);
        });
        insta::assert_snapshot!(compare(&base, &other, Look::PLAIN));
    }

    #[test]
    fn other_seeds_are_not_paired_and_one_run_is_no_test() {
        let base = SAMPLE.report(|_| {});
        let other = SAMPLE.report(|row| row.seed += 100);
        assert!(compare(&base, &other, Look::PLAIN).contains("not paired"));
        let once = Sample {
            repetitions: 1,
            ..SAMPLE
        };
        let base = once.report(|_| {});
        let other = once.report(|row| row.throughput_Bps *= 2.0);
        lines(&base, &other, |lines| {
            assert_eq!(judgement(lines, "Throughput"), Judgement::Untested);
        });
    }

    #[test]
    fn nothing_in_common_is_said() {
        let base = SAMPLE.report(|_| {});
        let other = SAMPLE.report(|row| row.driver = "proxy".into());
        assert!(compare(&base, &other, Look::PLAIN).contains("nothing to compare"));
    }
}
