//! The figures of a replay for people.

use std::fmt::Write as _;

use super::super::counted;
use super::tally::Report;
use crate::cli::{ReplayArgs, ReplayMode};
use crate::metrics::exact::{BurstFigures, Distribution, DropsByReason, Figures, LimitFigures};
use crate::scenario::problem::printable;

impl Report {
    /// The figures as lines of text.
    pub(super) fn text(&self, args: &ReplayArgs) -> String {
        let mode = match args.mode {
            ReplayMode::Police => "police",
            ReplayMode::Shape => "shape",
        };
        let trace = args.trace.display().to_string();
        let mut lines = Lines(format!(
            "{} ({mode}), {}\n",
            args.limiter,
            printable(&trace)
        ));
        lines.figures(&self.all);
        for user in &self.users {
            // Writing to a String cannot fail.
            let _ = writeln!(lines.0, "\nuser {}", printable(&user.user));
            lines.figures(&user.figures);
        }
        lines.0
    }
}

/// Lines of a name and a value.
struct Lines(String);

impl Lines {
    fn line(&mut self, name: &str, value: impl std::fmt::Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "  {name:<18}{value}");
    }

    fn figures(&mut self, of: &Figures) {
        let seconds = flow::Nanos::new(of.duration_ns).as_secs_f64();
        self.line("duration", format_args!("{seconds:.3} s"));
        self.volume(
            "offered",
            of.offered_packets,
            of.offered_bytes,
            of.offered_Bps,
        );
        self.volume(
            "passed",
            of.passed_packets,
            of.passed_bytes,
            of.throughput_Bps,
        );
        let reasons = reasons(&of.drops_by_reason);
        let (packets, bytes) = (of.dropped_packets, of.dropped_bytes);
        self.line(
            "dropped",
            format_args!("{}, {bytes} B{reasons}", counted(packets, "packet")),
        );
        if let Some(limit) = &of.limit {
            self.limit(limit);
        }
        if let Some(burst) = &of.burst {
            self.burst(burst);
        }
        self.windows(of);
        self.spread("delay", of.delay_ns.as_ref());
        self.spread("delay variation", of.pdv_ns.as_ref());
        self.spread("departure gaps", of.interdeparture_ns.as_ref());
        if let Some(jitter) = of.rfc3550_ns {
            self.line("jitter, RFC 3550", millis(jitter));
        }
        if let (Some(mean), Some(max)) = (of.trains.sbb_mean, of.trains.sbb_max) {
            let n = of.trains.n;
            self.line("bursts", format_args!("{n}, mean {mean:.1} B, max {max} B"));
        }
    }

    fn volume(&mut self, name: &str, packets: u64, bytes: u64, rate: Option<f64>) {
        let rate = rate.map_or(String::new(), |rate| format!(", {rate:.1} B/s"));
        let packets = counted(packets, "packet");
        self.line(name, format_args!("{packets}, {bytes} B{rate}"));
    }

    fn limit(&mut self, limit: &LimitFigures) {
        if let Some(utilisation) = limit.utilisation {
            self.line("utilisation", percent(utilisation));
        }
        let bytes = limit.min_burst_bytes;
        self.line("smallest bucket", format_args!("{bytes:.3} B"));
    }

    fn burst(&mut self, burst: &BurstFigures) {
        self.line("overshoot", format_args!("{:.3} B", burst.overshoot_bytes));
        if let Some(efficiency) = burst.efficiency {
            self.line("efficiency", percent(efficiency));
        }
    }

    fn windows(&mut self, of: &Figures) {
        for window in &of.windows {
            let name = format!("worst {}", flow::Nanos::new(window.w_ns));
            let bytes = window.max_bytes;
            match window.ratio_to_rw {
                Some(ratio) => {
                    let value = format_args!("{bytes} B, {ratio:.3} x rate x window");
                    self.line(&name, value);
                }
                None => self.line(&name, format_args!("{bytes} B")),
            }
        }
    }

    fn spread(&mut self, name: &str, spread: Option<&Distribution>) {
        let Some(spread) = spread else {
            return;
        };
        let [p50, p90, p99, p999, max] =
            [spread.p50, spread.p90, spread.p99, spread.p999, spread.max].map(millis);
        self.line(
            name,
            format_args!("p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p999}, max {max}"),
        );
    }
}

fn reasons(drops: &DropsByReason) -> String {
    let named = [
        ("police", drops.police),
        ("queue", drops.queue),
        ("oversize", drops.oversize),
    ];
    named
        .into_iter()
        .filter_map(|(name, packets)| Some(format!(", {name} {}", packets?)))
        .collect()
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

fn millis(nanos: f64) -> String {
    format!("{:.3} ms", nanos / 1e6)
}
