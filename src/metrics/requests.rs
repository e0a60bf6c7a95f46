//! Records of requests in, a row of figures out.

mod theory;

use flow::{Nanos, Timestamp};

use super::histogram::Histogram;
use super::moments::Moments;
use crate::record::{RequestOutcome, RequestRecord, RequestRecorder};
use crate::results::RequestRow;
use crate::scenario::DriverKind;
use crate::scenario::requests::Cell;

pub use theory::Theory;

/// All figures of one run, fed request by request.
#[derive(Debug)]
pub struct RequestMetrics {
    /// Counted is what is due from here on, and served from here on.
    from: Timestamp,
    to: Timestamp,
    offered: u64,
    good: u64,
    /// Served between `from` and `to`, whenever they were due.
    in_time: u64,
    full: u64,
    waited_too_long: u64,
    too_slow: u64,
    failed: u64,
    waited: u64,
    queue_delay: Times,
    response: Times,
    late: Times,
}

/// Lengths of time.
#[derive(Debug, Default)]
struct Times {
    moments: Moments,
    histogram: Histogram,
}

impl RequestMetrics {
    /// Of a run of `cell`.
    #[must_use]
    pub fn new(cell: &Cell<'_>) -> Self {
        Self {
            from: Timestamp::ZERO + cell.scenario.warm_up,
            to: Timestamp::ZERO + cell.scenario.duration,
            offered: 0,
            good: 0,
            in_time: 0,
            full: 0,
            waited_too_long: 0,
            too_slow: 0,
            failed: 0,
            waited: 0,
            queue_delay: Times::default(),
            response: Times::default(),
            late: Times::default(),
        }
    }

    /// The row of the run, beside what `theory` says of it.
    #[must_use]
    pub fn finish(
        self,
        cell: &Cell<'_>,
        driver: DriverKind,
        theory: Option<&Theory>,
    ) -> RequestRow {
        let scenario = cell.scenario;
        let seconds = self.to.since(self.from).as_secs_f64().max(1e-9);
        let capacity = cell.capacity();
        let goodput = float(self.in_time) / seconds;
        let rules = &cell.service.rules;
        let mut row = RequestRow {
            scenario: scenario.name.clone(),
            driver: driver.name().to_owned(),
            service: cell.service.label.clone(),
            load: cell.load,
            repetition: cell.repetition,
            seed: scenario.seed,
            duration_s: seconds,
            workers: rules.workers.get() as u64,
            queue: rules.queue as u64,
            capacity_rps: capacity,
            offered_requests: self.offered,
            offered_rps: float(self.offered) / seconds,
            good_requests: self.good,
            goodput_rps: goodput,
            goodput_of_capacity: goodput / capacity,
            goodput_of_peak: None,
            queue_full_requests: self.full,
            queue_timeout_requests: self.waited_too_long,
            request_timeout_requests: self.too_slow,
            failed_requests: self.failed,
            rejected_ratio: ratio(self.offered - self.good, self.offered).unwrap_or(0.0),
            ..RequestRow::default()
        };
        if driver == DriverKind::Model {
            row.waited_ratio = ratio(self.waited, self.queue_delay.moments.count());
        } else {
            row.sender_late_p99_us = self.late.quantile(0.99);
            row.sender_late_max_us = self.late.quantile(1.0);
        }
        self.queue_delay.write_queue_delay(&mut row);
        self.response.write_response(&mut row);
        if let Some(theory) = theory {
            theory.write(&mut row);
        }
        row
    }
}

impl RequestRecorder for RequestMetrics {
    fn request(&mut self, record: RequestRecord) {
        let good = record.outcome == RequestOutcome::Good;
        if good && record.ended >= self.from && record.ended < self.to {
            self.in_time += 1;
        }
        if record.due < self.from || record.due >= self.to {
            return;
        }
        self.offered += 1;
        *match record.outcome {
            RequestOutcome::Good => &mut self.good,
            RequestOutcome::QueueFull => &mut self.full,
            RequestOutcome::QueueTimeout => &mut self.waited_too_long,
            RequestOutcome::RequestTimeout => &mut self.too_slow,
            RequestOutcome::Failed => &mut self.failed,
        } += 1;
        self.late.record(record.late);
        if let Some(started) = record.started {
            let delay = started.since(record.due);
            self.waited += u64::from(delay > Nanos::ZERO);
            self.queue_delay.record(delay);
        }
        if good {
            self.response.record(record.ended.since(record.due));
        }
    }
}

impl Times {
    fn record(&mut self, time: Nanos) {
        self.moments.record(time.get());
        self.histogram.record(time.get());
    }

    /// In microseconds.
    fn mean(&self) -> Option<f64> {
        self.moments.mean().map(|nanos| nanos / 1e3)
    }

    /// In microseconds.
    fn quantile(&self, quantile: f64) -> Option<f64> {
        let nanos = self.histogram.quantile(quantile)?;
        Some(float(nanos) / 1e3)
    }

    fn write_queue_delay(&self, row: &mut RequestRow) {
        row.queue_delay_mean_us = self.mean();
        row.queue_delay_p50_us = self.quantile(0.5);
        row.queue_delay_p90_us = self.quantile(0.9);
        row.queue_delay_p99_us = self.quantile(0.99);
        row.queue_delay_p999_us = self.quantile(0.999);
        row.queue_delay_max_us = self.quantile(1.0);
    }

    fn write_response(&self, row: &mut RequestRow) {
        row.response_mean_us = self.mean();
        row.response_p50_us = self.quantile(0.5);
        row.response_p90_us = self.quantile(0.9);
        row.response_p99_us = self.quantile(0.99);
        row.response_p999_us = self.quantile(0.999);
        row.response_max_us = self.quantile(1.0);
    }
}

/// Fills in what only the runs at all loads together tell: the goodput of each
/// against the best of its driver, service and repetition.
pub fn against_peak(rows: &mut [RequestRow]) {
    let peak = |rows: &[RequestRow], of: &RequestRow| {
        let same = rows.iter().filter(|row| {
            row.driver == of.driver && row.service == of.service && row.repetition == of.repetition
        });
        same.map(|row| row.goodput_rps).fold(0.0, f64::max)
    };
    let peaks: Vec<f64> = rows.iter().map(|row| peak(rows, row)).collect();
    for (row, peak) in rows.iter_mut().zip(peaks) {
        row.goodput_of_peak = (peak > 0.0).then(|| row.goodput_rps / peak);
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| float(part) / float(whole))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a figure for people, 53 bits suffice"
)]
const fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use flow::admission::Rules;

    use super::*;
    use crate::scenario::Repetitions;
    use crate::scenario::requests::{Arrivals, RequestScenario, Service};

    fn scenario() -> RequestScenario {
        RequestScenario {
            name: "few".into(),
            question: String::new(),
            duration: Nanos::from_secs(10),
            warm_up: Nanos::from_secs(2),
            seed: 1,
            drivers: vec![DriverKind::Model],
            repetitions: Repetitions {
                model: 1,
                proxy: 1,
                kernel: 1,
                external: 1,
                shadowsocks: 1,
            },
            arrivals: Arrivals::Constant,
            service_time: "constant:1s".parse().unwrap(),
            loads: vec![1.0],
            services: vec![Service {
                label: "one".into(),
                rules: Rules {
                    workers: NonZeroUsize::MIN,
                    queue: 1,
                    queue_timeout: Nanos::from_secs(30),
                    request_timeout: Nanos::from_secs(30),
                },
            }],
            claims: Vec::new(),
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    fn record(
        due: u64,
        started: Option<u64>,
        ended: u64,
        outcome: RequestOutcome,
    ) -> RequestRecord {
        RequestRecord {
            due: at(due),
            late: Nanos::ZERO,
            started: started.map(at),
            ended: at(ended),
            outcome,
        }
    }

    #[test]
    fn what_counts_is_what_is_due_and_what_is_served_after_the_warm_up() {
        let scenario = scenario();
        let cell = scenario.cells(DriverKind::Model).next().unwrap();
        let mut metrics = RequestMetrics::new(&cell);
        use RequestOutcome::{Good, QueueFull, QueueTimeout, RequestTimeout};
        for record in [
            // Due before, served after the warm-up: goodput, and nothing else.
            record(1, Some(1), 2, Good),
            record(2, Some(2), 3, Good),
            record(3, Some(5), 6, Good),
            record(4, None, 4, QueueFull),
            record(5, None, 9, QueueTimeout),
            record(6, Some(6), 9, RequestTimeout),
            // Served when nobody asks any more.
            record(9, Some(9), 10, Good),
        ] {
            metrics.request(record);
        }
        let row = metrics.finish(&cell, DriverKind::Model, Theory::of(&cell).as_ref());
        assert_eq!((row.offered_requests, row.good_requests), (6, 3));
        assert_eq!(row.goodput_rps, 3.0 / 8.0);
        assert_eq!(row.rejected_ratio, 0.5);
        assert_eq!(row.waited_ratio, Some(0.25));
        let counts = [
            row.queue_full_requests,
            row.queue_timeout_requests,
            row.request_timeout_requests,
            row.failed_requests,
        ];
        assert_eq!(counts, [1, 1, 1, 0]);
        assert_eq!(row.queue_delay_mean_us, Some(5e5));
        assert_eq!(row.queue_delay_max_us, Some(2e6));
        assert_eq!(row.response_max_us, Some(3e6));
        assert_eq!(row.theory, "", "no formula is for constant gaps");
        assert_eq!(row.sender_late_max_us, None, "a model is never late");
    }

    #[test]
    fn the_peak_is_that_of_the_same_service_driver_and_repetition() {
        let row = |driver: &str, load, goodput_rps| RequestRow {
            driver: driver.into(),
            load,
            goodput_rps,
            ..RequestRow::default()
        };
        let mut rows = [
            row("model", 1.0, 8.0),
            row("model", 2.0, 10.0),
            row("proxy", 1.0, 4.0),
            row("proxy", 2.0, 2.0),
        ];
        against_peak(&mut rows);
        let shares: Vec<_> = rows.iter().filter_map(|row| row.goodput_of_peak).collect();
        assert_eq!(shares, [0.8, 1.0, 1.0, 0.5]);
    }
}
