//! How a window grows with acknowledgements and falls with losses; windows in segments.

use flow::{Nanos, Timestamp};

use crate::scenario::Congestion;

/// RFC 6928.
const INITIAL: f64 = 10.0;
/// RFC 5681, section 3.1.
const LEAST_THRESHOLD: f64 = 2.0;
/// RFC 9438, sections 4.1 and 4.6.
const CUBIC_C: f64 = 0.4;
const CUBIC_BETA: f64 = 0.7;
const RENO_BETA: f64 = 0.5;

/// Window, threshold and what CUBIC remembers.
#[derive(Clone, Debug)]
pub(super) struct Window {
    kind: Congestion,
    size: f64,
    threshold: f64,
    /// Where CUBIC lost last; 0 before the first loss.
    w_max: f64,
    epoch: Option<Epoch>,
}

/// CUBIC's congestion avoidance since a loss.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    start: Timestamp,
    /// Seconds from the start to `w_max`.
    k: f64,
    /// The window that Reno would have.
    reno: f64,
    /// Window before the loss, from which on Reno's grows as fast as Reno does.
    prior: f64,
}

impl Window {
    pub(super) const fn new(kind: Congestion) -> Self {
        Self {
            kind,
            size: INITIAL,
            threshold: f64::INFINITY,
            w_max: 0.0,
            epoch: None,
        }
    }

    /// Segments that may be under way.
    pub(super) const fn size(&self) -> f64 {
        self.size
    }

    /// One segment was acknowledged outside of recovery.
    pub(super) fn acknowledged(&mut self, now: Timestamp, rtt: Nanos) {
        if self.size < self.threshold {
            self.size += 1.0;
            return;
        }
        match self.kind {
            Congestion::Reno => self.size += 1.0 / self.size,
            Congestion::Cubic => self.grow_cubic(now, rtt),
        }
    }

    /// RFC 9438, sections 4.2 to 4.5.
    fn grow_cubic(&mut self, now: Timestamp, rtt: Nanos) {
        let size = self.size;
        if self.w_max < size {
            self.w_max = size;
        }
        let w_max = self.w_max;
        let epoch = self.epoch.get_or_insert_with(|| Epoch {
            start: now,
            k: cube_root((w_max - size) / CUBIC_C),
            reno: size,
            prior: w_max,
        });
        let time = now.since(epoch.start).as_secs_f64() + rtt.as_secs_f64();
        let from_k = time - epoch.k;
        let target = CUBIC_C * from_k * from_k * from_k + w_max;
        let alpha = if epoch.reno >= epoch.prior {
            1.0
        } else {
            3.0 * (1.0 - CUBIC_BETA) / (1.0 + CUBIC_BETA)
        };
        epoch.reno += alpha / size;
        let target = target.clamp(size, 1.5 * size);
        self.size = (size + (target - size) / size).max(epoch.reno);
    }

    /// A loss was found and will be repaired.
    pub(super) fn lost(&mut self) {
        self.reduce();
        self.size = self.threshold;
    }

    /// The time-out has passed.
    pub(super) fn timed_out(&mut self) {
        self.reduce();
        self.size = 1.0;
    }

    fn reduce(&mut self) {
        let beta = match self.kind {
            Congestion::Reno => RENO_BETA,
            Congestion::Cubic => CUBIC_BETA,
        };
        // Fast convergence (RFC 9438, section 4.7).
        self.w_max = if self.size < self.w_max {
            self.size * (1.0 + CUBIC_BETA) / 2.0
        } else {
            self.size
        };
        self.threshold = (self.size * beta).max(LEAST_THRESHOLD);
        self.epoch = None;
    }
}

/// By Newton's method: the same bits on every machine, which a library does not promise.
fn cube_root(value: f64) -> f64 {
    if value <= 0.0 {
        return 0.0;
    }
    let mut root = value.max(1.0);
    for _ in 0..64 {
        root = (2.0 * root + value / (root * root)) / 3.0;
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Nanos = Nanos::from_millis(100);

    #[test]
    fn cube_roots() {
        for (value, root) in [(27.0, 3.0), (0.001, 0.1), (1e9, 1e3), (0.0, 0.0)] {
            assert!((cube_root(value) - root).abs() < 1e-9, "{value}");
        }
    }

    #[test]
    fn reno_halves_and_adds_one_a_round() {
        let mut window = Window::new(Congestion::Reno);
        for _ in 0..90 {
            window.acknowledged(Timestamp::ZERO, RTT);
        }
        assert_eq!(window.size(), 100.0, "slow start adds one for each");
        window.lost();
        assert_eq!(window.size(), 50.0);
        for _ in 0..50 {
            window.acknowledged(Timestamp::ZERO, RTT);
        }
        assert!((50.98..51.0).contains(&window.size()), "{}", window.size());
        window.timed_out();
        assert_eq!(window.size(), 1.0);
    }

    /// RFC 9438: back at `w_max` after K = cbrt(w_max (1 - beta) / C) seconds, flat there.
    #[test]
    fn cubic_is_back_where_it_lost_after_k() {
        let mut window = Window::new(Congestion::Cubic);
        for _ in 0..990 {
            window.acknowledged(Timestamp::ZERO, RTT);
        }
        window.lost();
        assert_eq!(window.size(), 700.0);
        let k = cube_root(1_000.0 * 0.3 / 0.4);
        let mut at_k = None;
        for round in 0_u64..100 {
            let now = Timestamp::from_nanos(round * RTT.get());
            if at_k.is_none() && now.as_secs_f64() >= k {
                at_k = Some(window.size());
            }
            let before = window.size();
            let mut acknowledged = 0.0;
            while acknowledged < before {
                window.acknowledged(now, RTT);
                acknowledged += 1.0;
            }
        }
        let at_k = at_k.unwrap();
        assert!((980.0..1_010.0).contains(&at_k), "{at_k}");
    }
}
