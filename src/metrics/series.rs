//! Offered and delivered bytes in bins of equal width: time series and
//! cumulative curves, in bounded memory.

use flow::Nanos;

use crate::results::{CurveRow, SeriesRow};

use super::schedule::{Schedule, nanobytes, to_bytes};

/// A longer run gets wider bins: a power of two of the asked width.
const MOST_BINS: u64 = 1 << 14;

/// The three streams that are counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    Offered = 0,
    Delivered = 1,
    Dropped = 2,
}

/// Bytes by bin and stream.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    width: u64,
    bins: Vec<[u64; 3]>,
    cursors: [Cursor; 3],
}

/// The bin that a stream is in, and what it has counted there.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    bin: usize,
    start: u64,
    bytes: u64,
}

impl Series {
    /// Bins of `width` nanoseconds, at least one.
    pub(crate) fn new(width: u64) -> Self {
        Self {
            width: width.max(1),
            bins: Vec::new(),
            cursors: [Cursor::default(); 3],
        }
    }

    #[inline]
    pub(crate) fn add(&mut self, stream: Stream, at: u64, bytes: u64) {
        let cursor = &mut self.cursors[stream as usize];
        if at.wrapping_sub(cursor.start) < self.width {
            cursor.bytes += bytes;
        } else {
            self.move_to(stream, at, bytes);
        }
    }

    fn move_to(&mut self, stream: Stream, at: u64, bytes: u64) {
        self.store(stream as usize);
        while at / self.width >= MOST_BINS {
            self.halve();
        }
        let bin = at / self.width;
        self.cursors[stream as usize] = Cursor {
            bin: usize::try_from(bin).unwrap_or(usize::MAX),
            start: bin * self.width,
            bytes,
        };
    }

    /// Puts what a cursor has counted into its bin.
    fn store(&mut self, stream: usize) {
        let Cursor { bin, bytes, .. } = self.cursors[stream];
        self.cursors[stream].bytes = 0;
        if bytes > 0 {
            if bin >= self.bins.len() {
                self.bins.resize(bin + 1, [0; 3]);
            }
            self.bins[bin][stream] += bytes;
        }
    }

    /// Doubles the width.
    fn halve(&mut self) {
        (0..3).for_each(|stream| self.store(stream));
        self.width = self.width.saturating_mul(2);
        self.bins = self
            .bins
            .chunks(2)
            .map(|pair| std::array::from_fn(|k| pair.iter().map(|bin| bin[k]).sum()))
            .collect();
        for cursor in &mut self.cursors {
            cursor.bin /= 2;
            cursor.start = (cursor.bin as u64) * self.width;
        }
    }

    /// The bins of a run that ended at `end`.
    pub(crate) fn bins(mut self, end: u64) -> Bins {
        (0..3).for_each(|stream| self.store(stream));
        while end / self.width >= MOST_BINS {
            self.halve();
        }
        let count = usize::try_from(end.div_ceil(self.width)).unwrap_or(usize::MAX);
        // What happened at the very end belongs to the last bin.
        let beyond = self.bins.split_off(count.min(self.bins.len()));
        self.bins.resize(count, [0; 3]);
        if let Some(last) = self.bins.last_mut() {
            for bin in beyond {
                (0..3).for_each(|k| last[k] += bin[k]);
            }
        }
        Bins {
            width: self.width,
            end,
            bins: self.bins,
        }
    }
}

/// Every bin from 0 to the end of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bins {
    width: u64,
    end: u64,
    bins: Vec<[u64; 3]>,
}

impl Bins {
    /// Rows of `timeseries.csv`, with the labels left empty. The backlog stays
    /// empty for a sender that waits: what it would like to send is unknown.
    pub(crate) fn rows(&self, waits: bool) -> Vec<SeriesRow> {
        let mut backlog = 0_u64;
        let mut smoothed: Option<f64> = None;
        let row = |(bin, &[offered, delivered, dropped]): (usize, &[u64; 3])| {
            let (start, end) = self.span(bin);
            let rate = per_second(delivered, end - start);
            // The seed's monitor: 7/8 old + 1/8 new, the first as it is.
            let smooth = smoothed.map_or(rate, |before| before * 7.0 / 8.0 + rate / 8.0);
            smoothed = Some(smooth);
            backlog = (backlog + offered).saturating_sub(delivered + dropped);
            SeriesRow {
                t_s: as_seconds(start),
                offered_Bps: per_second(offered, end - start),
                delivered_Bps: rate,
                smoothed_Bps: smooth,
                dropped_Bps: Some(per_second(dropped, end - start)),
                backlog_bytes: (!waits).then_some(backlog),
                ..SeriesRow::default()
            }
        };
        self.bins.iter().enumerate().map(row).collect()
    }

    /// Rows of `arrival-curve.csv`, with the labels left empty: cumulative
    /// bytes at the end of each bin, and the envelope r t + b summed over `limits`.
    pub(crate) fn arrival_curve(&self, limits: &[(&Schedule, u64)]) -> Vec<CurveRow> {
        let envelope = |at: u64| {
            let bytes =
                |&(rate, burst): &(&Schedule, u64)| rate.earned_until(at) + nanobytes(burst);
            to_bytes(limits.iter().map(bytes).sum())
        };
        let ends = (0..self.bins.len()).map(|bin| self.span(bin).1);
        let mut rows = self.cumulative("offered", Stream::Offered);
        rows.extend(self.cumulative("delivered", Stream::Delivered));
        if !limits.is_empty() {
            let at = |at| point("envelope", at, envelope(at));
            rows.extend(std::iter::once(0).chain(ends).map(at));
        }
        rows
    }

    fn cumulative(&self, curve: &str, stream: Stream) -> Vec<CurveRow> {
        let mut sum = 0_u64;
        let mut rows = vec![point(curve, 0, 0.0)];
        for (bin, bytes) in self.bins.iter().enumerate() {
            sum += bytes[stream as usize];
            rows.push(point(curve, self.span(bin).1, to_bytes(nanobytes(sum))));
        }
        rows
    }

    fn span(&self, bin: usize) -> (u64, u64) {
        let start = (bin as u64).saturating_mul(self.width);
        (start, start.saturating_add(self.width).min(self.end))
    }
}

fn point(curve: &str, at: u64, y: f64) -> CurveRow {
    CurveRow {
        curve: curve.to_owned(),
        x: as_seconds(at),
        y,
        ..CurveRow::default()
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "figures for people, 53 bits suffice"
)]
fn per_second(bytes: u64, nanos: u64) -> f64 {
    bytes as f64 * 1e9 / nanos as f64
}

fn as_seconds(nanos: u64) -> f64 {
    Nanos::new(nanos).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::ByteRate;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn rows_hold_rates_backlog_and_the_smoothed_rate() {
        let mut series = Series::new(SECOND);
        series.add(Stream::Offered, 0, 100);
        series.add(Stream::Delivered, 0, 40);
        series.add(Stream::Dropped, 5, 10);
        series.add(Stream::Delivered, SECOND, 30);
        series.add(Stream::Delivered, 2 * SECOND + SECOND / 2, 20);
        let rows = series.bins(2 * SECOND + SECOND / 2).rows(false);
        let found: Vec<_> = rows
            .iter()
            .map(|row| {
                (
                    row.t_s,
                    row.offered_Bps,
                    row.delivered_Bps,
                    row.backlog_bytes,
                )
            })
            .collect();
        // The last bin is half as long, and holds what left at its very end.
        assert_eq!(
            found,
            [
                (0.0, 100.0, 40.0, Some(50)),
                (1.0, 0.0, 30.0, Some(20)),
                (2.0, 0.0, 40.0, Some(0)),
            ]
        );
        let smoothed: Vec<_> = rows.iter().map(|row| row.smoothed_Bps).collect();
        assert_eq!(smoothed, [40.0, 38.75, 38.90625]);
    }

    #[test]
    fn a_departure_at_the_end_is_in_the_last_bin() {
        let mut series = Series::new(SECOND);
        series.add(Stream::Delivered, 2 * SECOND, 7);
        let rows = series.bins(2 * SECOND).rows(true);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1].delivered_Bps, 7.0);
        assert_eq!(rows[1].backlog_bytes, None);
    }

    #[test]
    fn a_run_without_length_has_no_row() {
        let mut series = Series::new(SECOND);
        series.add(Stream::Offered, 0, 7);
        let bins = series.bins(0);
        assert!(bins.rows(false).is_empty());
        assert_eq!(bins.arrival_curve(&[]).len(), 2);
    }

    #[test]
    fn memory_does_not_grow_with_the_run() {
        let mut series = Series::new(1);
        let mut bytes = 0;
        for i in 0..200_000 {
            series.add(Stream::Delivered, i * 1_000, 1);
            bytes += 1;
            assert!(series.bins.len() <= 1 << 14);
        }
        let bins = series.bins(200_000_000);
        assert!(bins.bins.len() > 1 << 12);
        assert_eq!(bins.bins.iter().map(|bin| bin[1]).sum::<u64>(), bytes);
    }

    #[test]
    fn curves_are_cumulative_below_the_envelope() {
        let schedule = Schedule::new(ByteRate::new(10).unwrap(), &[]);
        let mut series = Series::new(SECOND);
        series.add(Stream::Offered, 0, 100);
        series.add(Stream::Delivered, SECOND / 2, 15);
        series.add(Stream::Delivered, SECOND, 5);
        let rows = series.bins(2 * SECOND).arrival_curve(&[(&schedule, 7)]);
        let of = |curve: &str| -> Vec<_> {
            rows.iter()
                .filter(|row| row.curve == curve)
                .map(|row| (row.x, row.y))
                .collect()
        };
        assert_eq!(of("offered"), [(0.0, 0.0), (1.0, 100.0), (2.0, 100.0)]);
        assert_eq!(of("delivered"), [(0.0, 0.0), (1.0, 15.0), (2.0, 20.0)]);
        assert_eq!(of("envelope"), [(0.0, 7.0), (1.0, 17.0), (2.0, 27.0)]);
    }
}
