//! Records in, figures out: every metric of SPEC, computed while a run streams
//! by, in memory that a longer run does not need more of.
//!
//! Integers decide, floats only report. What leaves after the end of the run
//! does not count as delivered, in no metric: a real receiver does not see it
//! either.

pub mod bins;
pub mod collect;
pub mod histogram;
pub mod spec;

mod bound;
mod conservation;
mod curve;
mod delay;
pub mod exact;
mod fairness;
mod figures;
mod jitter;
mod level;
mod load;
mod loss;
mod moments;
pub mod requests;
mod schedule;
mod second;
mod series;
mod settling;
mod sliding;
mod steady;
mod theory;
mod train;
mod user;
mod window;

use flow::{ByteRate, ByteSize, Nanos, Timestamp};

use crate::record::{DropReason, FlowId, Recorder};
use crate::results::{CurveRow, Row, SeriesRow};
use figures::{Pooled, UserFigures};
use histogram::Histogram;
use level::Level;
use schedule::Schedule;
use second::{Extents, SecondTotals};
use series::{Series, Stream};
use user::UserMetrics;

pub use bins::Bins;
pub use collect::Collector;
pub(crate) use curve::ccdf;
pub use level::smallest_buckets;
pub use spec::{Calibration, RunLabel, RunSpec, Step, UserSpec, real_train_gap};
pub(crate) use train::Trains;

/// Every metric of one run, fed by a driver.
///
/// A record of a user or connection that the [`RunSpec`] does not have is a
/// mistake of the driver, and panics.
#[derive(Clone, Debug)]
pub struct RunMetrics {
    /// The end of the run in nanoseconds, `u64::MAX` if it is not known before.
    horizon: u64,
    duration: Option<Nanos>,
    waits: bool,
    series: Series,
    /// Bytes by second over all users, if there are several.
    totals: Option<SecondTotals>,
    users: Vec<UserMetrics>,
    /// The rates at which the output's smallest bucket is wanted, and its level at each.
    levels: Vec<(ByteRate, Level)>,
}

/// What one run found.
#[derive(Clone, Debug)]
pub struct RunFigures {
    /// The row of the whole run in `summary.csv`.
    pub row: Row,
    /// A row for each user in `users.csv`.
    pub users: Vec<Row>,
    /// The run's part of `timeseries.csv`.
    pub series: Vec<SeriesRow>,
    /// The run's lines in `arrival-curve.csv`.
    pub arrival_curve: Vec<CurveRow>,
    /// Its line in `burstiness.csv`, if it was asked for.
    pub burstiness: Vec<CurveRow>,
    /// What merges over repetitions.
    pub distributions: Distributions,
}

/// Distributions of one or several runs, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distributions {
    /// Departure minus arrival.
    pub delay: Histogram,
    /// Delay less the least delay of the user in the run (RFC 5481).
    pub pdv: Histogram,
    /// Gaps between departures of a user.
    pub gap: Histogram,
    /// Change of delay between neighbours of a connection (RFC 3393), absolute.
    pub ipdv: Histogram,
}

impl RunMetrics {
    /// Ready for the run that `spec` describes.
    #[must_use]
    pub fn new(spec: &RunSpec) -> Self {
        let user = |user| UserMetrics::new(user, spec.train_gap);
        Self {
            horizon: spec.duration.map_or(u64::MAX, Nanos::get),
            duration: spec.duration,
            waits: spec.waits,
            series: Series::new(spec.bin.get()),
            totals: (spec.users.len() > 1).then(SecondTotals::default),
            users: spec.users.iter().map(user).collect(),
            levels: spec
                .burstiness
                .iter()
                .map(|rate| (*rate, Level::new(Schedule::new(*rate, &[]))))
                .collect(),
        }
    }

    /// The sender of a real driver sent `late` after the intended instant.
    pub fn sender_late(&mut self, user: u32, late: Nanos) {
        self.users[index(user)].sender_late(late.get());
    }

    /// The figures of the run, named by `label`.
    #[must_use]
    pub fn finish(self, label: &RunLabel) -> RunFigures {
        let last = self.users.iter().map(UserMetrics::last).max().unwrap_or(0);
        let end = self.duration.map_or(last, Nanos::get);
        let waits = self.waits;
        let totals = self.totals.map(|totals| totals.until(end));
        let finish = |user: UserMetrics| user.figures(end, waits);
        let users: Vec<UserFigures> = self.users.into_iter().map(finish).collect();
        let seconds = match (&totals, users.as_slice()) {
            (Some(totals), _) => totals.extents(),
            (None, [user]) => user.seconds,
            (None, _) => Extents::default(),
        };
        let mut pooled = Pooled::default();
        users.iter().for_each(|user| pooled.merge(&user.pooled));
        let bins = self.series.bins(end);
        let limits: Vec<_> = users.iter().filter_map(UserFigures::envelope).collect();
        let row = figures::row(&users, &pooled, seconds, end);
        let burstiness = self.levels.iter().map(smallest_bucket).collect();
        RunFigures {
            row: label.on(row, ""),
            users: users
                .iter()
                .map(|user| label.on(user.row(end), &user.name))
                .collect(),
            series: label.on_series(bins.rows(waits)),
            arrival_curve: label.on_curve(bins.arrival_curve(&limits)),
            burstiness: label.on_curve(burstiness),
            distributions: Distributions {
                delay: pooled.delays.histogram,
                pdv: pooled.pdv,
                gap: pooled.gaps.histogram,
                ipdv: pooled.jitter.ipdv,
            },
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a place on an axis")]
fn smallest_bucket((rate, level): &(ByteRate, Level)) -> CurveRow {
    CurveRow {
        curve: "burstiness".to_owned(),
        x: rate.get() as f64,
        y: level
            .peak()
            .map_or(0.0, |(peak, _)| schedule::to_bytes(peak)),
        ..CurveRow::default()
    }
}

impl Recorder for RunMetrics {
    #[inline]
    fn offered(&mut self, at: Timestamp, size: ByteSize, flow: FlowId) {
        let (at, bytes) = (at.as_nanos(), size.get());
        if at > self.horizon {
            return;
        }
        self.series.add(Stream::Offered, at, bytes);
        self.users[index(flow.user)].offered(at, bytes, index(flow.connection));
    }

    #[inline]
    fn delivered(&mut self, at: Timestamp, bytes: ByteSize, flow: FlowId) {
        let (at, bytes) = (at.as_nanos(), bytes.get());
        if at > self.horizon || bytes == 0 {
            return;
        }
        self.series.add(Stream::Delivered, at, bytes);
        if let Some(totals) = &mut self.totals {
            totals.add(at, bytes);
        }
        for (_, level) in &mut self.levels {
            level.add(at, bytes);
        }
        self.users[index(flow.user)].delivered(at, bytes, index(flow.connection));
    }

    #[inline]
    fn completed(
        &mut self,
        arrival: Timestamp,
        departure: Timestamp,
        size: ByteSize,
        flow: FlowId,
    ) {
        let user = &mut self.users[index(flow.user)];
        user.passed();
        let departure = departure.as_nanos();
        if departure > self.horizon {
            return;
        }
        let connection = index(flow.connection);
        user.completed(arrival.as_nanos(), departure, size.get(), connection);
    }

    #[inline]
    fn dropped(&mut self, at: Timestamp, size: ByteSize, flow: FlowId, why: DropReason) {
        let (at, bytes) = (at.as_nanos(), size.get());
        if at > self.horizon {
            return;
        }
        self.series.add(Stream::Dropped, at, bytes);
        self.users[index(flow.user)].dropped(bytes, why);
    }

    fn round_trip(&mut self, after: Nanos, flow: FlowId) {
        self.users[index(flow.user)].round_trip(after.get());
    }
}

impl Distributions {
    /// Adds the values of another run.
    pub fn merge(&mut self, other: &Self) {
        self.delay.merge(&other.delay);
        self.pdv.merge(&other.pdv);
        self.gap.merge(&other.gap);
        self.ipdv.merge(&other.ipdv);
    }
}

impl RunLabel {
    fn on(&self, row: Row, user: &str) -> Row {
        Row {
            scenario: self.scenario.clone(),
            driver: self.driver.clone(),
            algorithm: self.algorithm.clone(),
            repetition: self.repetition,
            seed: self.seed,
            user: user.to_owned(),
            mode: self.mode.clone(),
            limiter: self.limiter.clone(),
            cpu_s_per_GB: self.cpu_per_gigabyte(&row).filter(|_| user.is_empty()),
            memory_bytes: self.memory_bytes.filter(|_| user.is_empty()),
            setup_overshoot_bytes: self.calibration.and_then(|c| c.overshoot_bytes),
            setup_jitter_us: self.calibration.and_then(|c| c.jitter_us),
            setup_delay_p99_us: self.calibration.and_then(|c| c.delay_p99_us),
            setup_delay_max_us: self.calibration.and_then(|c| c.delay_max_us),
            setup_late_p99_us: self.calibration.and_then(|c| c.late_p99_us),
            ..row
        }
    }

    fn cpu_per_gigabyte(&self, row: &Row) -> Option<f64> {
        let gigabytes = row.throughput_Bps * row.duration_s / 1e9;
        self.cpu_seconds
            .filter(|_| gigabytes > 0.0)
            .map(|seconds| seconds / gigabytes)
    }

    fn on_series(&self, mut rows: Vec<SeriesRow>) -> Vec<SeriesRow> {
        for row in &mut rows {
            row.driver.clone_from(&self.driver);
            row.algorithm.clone_from(&self.algorithm);
            row.repetition = self.repetition;
        }
        rows
    }

    fn on_curve(&self, mut rows: Vec<CurveRow>) -> Vec<CurveRow> {
        for row in &mut rows {
            row.driver.clone_from(&self.driver);
            row.algorithm.clone_from(&self.algorithm);
        }
        rows
    }
}

#[inline]
fn index(id: u32) -> usize {
    usize::try_from(id).unwrap_or(usize::MAX)
}
