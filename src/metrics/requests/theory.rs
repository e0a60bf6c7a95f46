//! What queueing theory says of a service, where it says anything.
//!
//! Poisson arrivals at rate l, exponential service times of mean s, c workers and a
//! queue of q (M/M/c/c+q): with a = l s, r = a / c and B the blocking of c workers
//! without a queue (Erlang B), the state "all busy, j wait" has the probability
//! B r^j / T, T = 1 + B (r + r^2 + .. + r^q). Who finds j waiting waits for j + 1
//! ends, which come at rate c / s. Without end of the queue that is Erlang C;
//! without a queue Erlang B, which holds for service times of any distribution.
//! (Kleinrock, Queueing Systems, volume 1, sections 3.5 to 3.8.)
//!
//! Time-outs are not in it: it is left out where more than one request in a
//! thousand would meet one.

use traffic::ServiceTime;

use crate::results::RequestRow;
use crate::scenario::requests::{Arrivals, Cell};

/// Of requests, how many may meet a time-out.
const MEET_A_TIMEOUT: f64 = 1e-3;
/// A queue that refuses no more is without end.
const ENDLESS: f64 = 1e-9;

/// What theory says of a service at a load.
#[derive(Clone, Debug, PartialEq)]
pub struct Theory {
    name: &'static str,
    /// Requests a second that are served.
    goodput: f64,
    rejected: f64,
    waited: Option<f64>,
    /// Seconds, of those who are not refused.
    mean: Option<f64>,
    p50: Option<f64>,
    p99: Option<f64>,
}

impl Theory {
    /// That of `cell`, whichever repetition; `None` where no formula applies.
    #[must_use]
    pub fn of(cell: &Cell<'_>) -> Option<Self> {
        let scenario = cell.scenario;
        let rules = &cell.service.rules;
        let mean = scenario.service_time.mean() / 1e9;
        let (workers, rate) = (rules.workers.get(), cell.rate());
        let exponential = matches!(scenario.service_time, ServiceTime::Exponential(_));
        let too_slow = if exponential {
            (-rules.request_timeout.as_secs_f64() / mean).exp()
        } else {
            0.0
        };
        if scenario.arrivals != Arrivals::Poisson || too_slow > MEET_A_TIMEOUT {
            return None;
        }
        let bound = matches!(scenario.service_time, ServiceTime::Constant(time) if time <= rules.request_timeout);
        if rules.queue == 0 && (exponential || bound) {
            let blocked = erlang_b(workers, rate * mean);
            return Some(Self {
                name: "Erlang B",
                goodput: rate * (1.0 - blocked),
                rejected: blocked,
                waited: None,
                mean: None,
                p50: None,
                p99: None,
            });
        }
        if !exponential {
            return None;
        }
        let queue = Queue::new(workers, rules.queue, rate, mean);
        let impatient = queue.waits_longer(rules.queue_timeout.as_secs_f64());
        (impatient <= MEET_A_TIMEOUT).then(|| queue.theory(rate))
    }

    pub(super) fn write(&self, row: &mut RequestRow) {
        let micros = |seconds: Option<f64>| seconds.map(|seconds| seconds * 1e6);
        self.name.clone_into(&mut row.theory);
        row.theory_goodput_rps = Some(self.goodput);
        row.theory_rejected_ratio = Some(self.rejected);
        row.theory_waited_ratio = self.waited;
        row.theory_queue_delay_mean_us = micros(self.mean);
        row.theory_queue_delay_p50_us = micros(self.p50);
        row.theory_queue_delay_p99_us = micros(self.p99);
    }
}

/// M/M/c/c+q in its steady state.
struct Queue {
    /// Ends a second while all workers are busy.
    ends: f64,
    blocked: f64,
    /// Of those who are not refused, who find j waiting: from j = 0 on.
    finds: Vec<f64>,
}

impl Queue {
    fn new(workers: usize, queue: usize, rate: f64, mean: f64) -> Self {
        let offered = rate * mean;
        let busy = offered / float(workers);
        let nobody_waits = erlang_b(workers, offered);
        // By powers of what is below one: the others leave the numbers that there are.
        let step = busy.min(1.0 / busy);
        let powers: Vec<f64> = std::iter::successors(Some(1.0), |power| Some(power * step))
            .take(queue + 1)
            .collect();
        let mut finds: Vec<f64> = if busy > 1.0 {
            powers.into_iter().rev().collect()
        } else {
            powers
        };
        // The states in which all are busy, beside those in which some are idle.
        let first = finds.first().copied().unwrap_or(1.0);
        let idle = first * (1.0 - nobody_waits) / nobody_waits;
        let total = idle + finds.iter().sum::<f64>();
        let blocked = finds.pop().unwrap_or(0.0) / total;
        for share in &mut finds {
            *share /= total * (1.0 - blocked);
        }
        Self {
            ends: float(workers) / mean,
            blocked,
            finds,
        }
    }

    fn theory(&self, rate: f64) -> Theory {
        let ends = (1_u32..).map(f64::from);
        let waits = self.finds.iter().zip(ends);
        let mean: f64 = waits.map(|(share, ends)| share * ends / self.ends).sum();
        Theory {
            name: if self.blocked < ENDLESS {
                "Erlang C"
            } else {
                "M/M/c/K"
            },
            goodput: rate * (1.0 - self.blocked),
            rejected: self.blocked,
            waited: Some(self.finds.iter().sum()),
            mean: Some(mean),
            p50: Some(self.quantile(0.5)),
            p99: Some(self.quantile(0.99)),
        }
    }

    /// The chance of a request that is not refused to wait for longer than
    /// `seconds`: that fewer ends come in them than it waits for.
    fn waits_longer(&self, seconds: f64) -> f64 {
        let expected = self.ends * seconds;
        // ln of the chance of exactly j ends, and the chance of at most j.
        let (mut exactly, mut at_most) = (-expected, 0.0);
        let mut chance = 0.0;
        for (share, j) in self.finds.iter().zip(0_u32..) {
            if j > 0 {
                exactly += expected.ln() - f64::from(j).ln();
            }
            at_most += exactly.exp();
            chance += share * f64::min(at_most, 1.0);
        }
        chance
    }

    /// What a share of `quantile` waits for at most, in seconds.
    fn quantile(&self, quantile: f64) -> f64 {
        let beyond = 1.0 - quantile;
        if self.finds.iter().sum::<f64>() <= beyond {
            return 0.0;
        }
        let (mut low, mut high) = (0.0, 1.0 / self.ends);
        while self.waits_longer(high) > beyond {
            (low, high) = (high, high * 2.0);
        }
        for _ in 0..40 {
            let middle = f64::midpoint(low, high);
            if self.waits_longer(middle) > beyond {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }
}

/// The blocking of `servers` without a queue, with `offered` Erlang.
fn erlang_b(servers: usize, offered: f64) -> f64 {
    (1..=servers).fold(1.0, |blocked, servers| {
        offered * blocked / (float(servers) + offered * blocked)
    })
}

#[expect(clippy::cast_precision_loss, reason = "at most 100,000 workers")]
const fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(one: f64, other: f64) {
        assert!((one / other - 1.0).abs() < 1e-3, "{one} {other}");
    }

    #[test]
    fn the_tables_of_textbooks() {
        // Erlang B: 10 servers, 5 Erlang; C: 8 Erlang at 10 servers make 40.92 % wait.
        close(erlang_b(10, 5.0), 0.018_385);
        let queue = Queue::new(10, 1_000_000, 8.0, 1.0).theory(8.0);
        assert_eq!(queue.name, "Erlang C");
        close(queue.waited.unwrap(), 0.409_18);
        close(queue.mean.unwrap(), 0.409_18 / 2.0);
        // P(W > t) = C exp(-(c mu - l) t).
        close(queue.p99.unwrap(), (0.409_18_f64 / 0.01).ln() / 2.0);
        assert_eq!(queue.p50, Some(0.0));
    }

    #[test]
    fn one_server_with_room_for_few() {
        // M/M/1/K: p_n = (1 - r) r^n / (1 - r^(K + 1)), K = 3, r = 2.
        let queue = Queue::new(1, 2, 2.0, 1.0).theory(2.0);
        assert_eq!(queue.name, "M/M/c/K");
        close(queue.rejected, 8.0 / 15.0);
        close(queue.goodput, 14.0 / 15.0);
        // Not refused: 1, 2 and 4 of 7 find 0, 1 and 2 before them.
        close(queue.waited.unwrap(), 6.0 / 7.0);
        close(queue.mean.unwrap(), (2.0 + 4.0 * 2.0) / 7.0);
    }

    #[test]
    fn equal_rates_are_no_special_case() {
        let queue = Queue::new(1, 9, 1.0, 1.0).theory(1.0);
        close(queue.rejected, 1.0 / 11.0);
        close(queue.goodput, 10.0 / 11.0);
    }

    #[test]
    fn a_long_queue_far_beyond_capacity_is_full() {
        let queue = Queue::new(100, 50_000, 300.0, 1.0);
        close(queue.blocked, 2.0 / 3.0);
        // Every request waits for 50,000 ends, 100 a second.
        close(queue.quantile(0.5), 500.0);
        assert!(queue.waits_longer(30.0) > 0.999);
    }
}
