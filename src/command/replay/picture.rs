//! A trace before and after its limiter.

use flow::{Policy, Verdict};
use traffic::Packet;

use super::super::picture::{line, over_time, real, seconds, side};
use super::tally::named_limit;
use crate::cli::{ReplayArgs, ReplayMode};
use crate::metrics::histogram::Histogram;
use crate::metrics::{Bins, ccdf};
use crate::report::{Chart, Drawing, Line, Quantity, Side, plain};

const PASSED: usize = 0;
const OFFERED: usize = 1;
const DROPPED: usize = 2;
/// Beside the lanes.
const LIMIT: usize = 3;

/// What is drawn, taken down while the trace streams by.
pub(super) struct Sketch {
    bins: Bins,
    delays: Histogram,
    dropped: bool,
}

impl Default for Sketch {
    fn default() -> Self {
        Self {
            bins: Bins::new(3),
            delays: Histogram::default(),
            dropped: false,
        }
    }
}

impl Sketch {
    pub(super) fn add(&mut self, packet: &Packet, verdict: Verdict) {
        let (at, size) = (packet.at.as_nanos(), packet.size.get());
        self.bins.add(OFFERED, at, size);
        match verdict {
            Verdict::Departs(departure) => {
                self.bins.add(PASSED, departure.as_nanos(), size);
                self.delays.record(departure.since(packet.at).get());
            }
            Verdict::Drop(_) => {
                self.bins.add(DROPPED, at, size);
                self.dropped = true;
            }
        }
    }

    pub(super) fn drawing(&self, args: &ReplayArgs) -> Drawing {
        let mut names = vec![(OFFERED, "offered"), (PASSED, "passed")];
        if self.dropped {
            names.push((DROPPED, "dropped"));
        }
        let [mut rate, mut bytes] = over_time(&self.bins, &names);
        let shared = (!args.per_user).then_some(&args.limiter);
        let limit = shared.and_then(|policy| limits(policy, self.end()));
        let explained = limit.is_some();
        if let Some([level, envelope]) = limit {
            rate.lines.push(level);
            bytes.lines.push(envelope);
        }
        let mut charts = vec![rate, bytes];
        if self.delays.max().is_some_and(|most| most > 0) {
            charts.push(self.waited());
        }
        let mode = match args.mode {
            ReplayMode::Police => "police",
            ReplayMode::Shape => "shape",
        };
        let limits = if explained {
            " Dashed: the limiter's rate, and burst + rate × time, which nothing that conforms exceeds."
        } else {
            ""
        };
        Drawing {
            title: "A trace before and after its limiter".to_owned(),
            explanation: format!("What arrives at the limiter and what leaves it.{limits}"),
            charts,
            footer: format!(
                "{} · {} ({mode}){}",
                args.trace.file_name().unwrap_or_default().to_string_lossy(),
                args.limiter,
                if args.per_user {
                    ", one for each user"
                } else {
                    ""
                },
            ),
        }
    }

    /// Seconds from the first packet to the end of the last bin.
    fn end(&self) -> f64 {
        let width = seconds(self.bins.width());
        self.bins.lane(OFFERED).map(|_| width).sum()
    }

    fn waited(&self) -> Chart {
        let rows = ccdf(&self.delays);
        let points: Vec<(f64, f64)> = rows
            .iter()
            .filter(|row| row.x > 0.0 && row.y > 0.0)
            .map(|row| (row.x, row.y))
            .collect();
        let logarithmic = |title: &str, unit| Side {
            logarithmic: true,
            ..side(title, unit)
        };
        Chart {
            title: "Share that waited longer".to_owned(),
            x: logarithmic("delay, logarithmic", Quantity::Micros),
            y: logarithmic("share", Quantity::Share),
            lines: vec![line("passed", PASSED, points)],
        }
    }
}

/// The rate as a level, and burst + rate × time, of a policy that has both.
fn limits(policy: &Policy, end: f64) -> Option<[Line; 2]> {
    let (rate, burst) = named_limit(policy);
    let (rate, burst) = (real(rate?.get()), real(burst?.get()));
    let name = format!("limit {}, burst {}", plain::rate(rate), plain::bytes(burst));
    let dashed = |points| Line {
        dashed: true,
        ..line(&name, LIMIT, points)
    };
    Some([
        dashed(vec![(0.0, rate), (end, rate)]),
        dashed(vec![(0.0, burst), (end, burst + rate * end)]),
    ])
}
