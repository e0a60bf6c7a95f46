//! From a quantity to a place, and the ticks between.

use crate::report::format::{Scale, Unit, quantity, significant};

/// One direction of a plot: which values lie at its ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    log: bool,
    /// Between whole numbers there is nothing.
    whole: bool,
    unit: Unit,
    scale: Scale,
}

/// A tick and what is written at it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    pub(super) value: f64,
    pub(super) label: String,
}

impl Axis {
    /// Even steps from `low` to `high`.
    pub(super) fn linear(unit: Unit, low: f64, high: f64) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self {
            low,
            high,
            log: false,
            whole: false,
            unit,
            scale: Scale::of(unit, high.abs().max(low.abs())),
        }
    }

    /// The same axis with ticks at whole numbers alone.
    pub(super) const fn of_whole_numbers(self) -> Self {
        Self {
            whole: true,
            ..self
        }
    }

    /// The same axis with the unit written as at `other`.
    pub(super) const fn in_scale_of(self, other: &Self) -> Self {
        Self {
            scale: other.scale,
            ..self
        }
    }

    /// Even factors: whole decades around `low` and `high`, which are positive.
    pub(super) fn log(unit: Unit, low: f64, high: f64) -> Self {
        let factor = unit.factor();
        let (low, high) = (low.max(1e-12) * factor, high.max(1e-12) * factor);
        let bottom = low.log10().floor();
        let top = high.log10().ceil().max(bottom + 1.0);
        let (low, high) = (10f64.powf(bottom) / factor, 10f64.powf(top) / factor);
        Self {
            low,
            high,
            log: true,
            whole: false,
            unit,
            scale: Scale::of(unit, high),
        }
    }

    /// Even factors from `low` to `high`, which are positive: for what covers a decade or two, where
    /// whole decades would leave most of the axis empty.
    pub(super) fn log_within(unit: Unit, low: f64, high: f64) -> Self {
        let low = low.max(1e-12);
        Self {
            low,
            high: high.max(low * 1.25),
            log: true,
            whole: false,
            unit,
            scale: Scale::of(unit, high),
        }
    }

    pub(super) const fn low(&self) -> f64 {
        self.low
    }

    pub(super) const fn high(&self) -> f64 {
        self.high
    }

    /// Where `value` lies: 0 at the low end, 1 at the high end, beyond them outside.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a place on a picture, not a figure"
    )]
    pub(super) fn place(&self, value: f64) -> f32 {
        let share = if self.log {
            (value.max(1e-300) / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        share as f32
    }

    /// "(kB/s)" for a linear axis; a logarithmic one writes the unit at each tick.
    pub(super) fn unit_note(&self) -> String {
        let symbol = self.scale.symbol();
        if self.log || symbol.is_empty() {
            String::new()
        } else {
            format!(" ({symbol})")
        }
    }

    /// About `wanted` ticks at round values.
    pub(super) fn ticks(&self, wanted: usize) -> Vec<Tick> {
        if self.log {
            self.decades(wanted)
        } else {
            self.steps(wanted)
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a handful of ticks"
    )]
    fn steps(&self, wanted: usize) -> Vec<Tick> {
        let scale = self.scale;
        let (low, high) = (scale.apply(self.low), scale.apply(self.high));
        let step = round_step((high - low) / wanted.max(1) as f64);
        let step = if self.whole { step.max(1.0) } else { step };
        let first = (low / step - 1e-9).ceil();
        let count = (high / step + 1e-9).floor() - first;
        let digits = (-step.log10() - 1e-9).ceil().clamp(0.0, 9.0) as usize;
        (0..=count.clamp(0.0, 1000.0) as u32)
            .map(|at| {
                let shown = (first + f64::from(at)) * step;
                Tick {
                    value: shown / scale.apply(1.0),
                    label: crate::report::format::fixed(shown, digits),
                }
            })
            .collect()
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the exponents of positive floats, at most some hundred"
    )]
    fn decades(&self, wanted: usize) -> Vec<Tick> {
        let factor = self.unit.factor();
        let (low, high) = ((self.low * factor).log10(), (self.high * factor).log10());
        let (bottom, top) = ((low - 1e-9).ceil() as i32, (high + 1e-9).floor() as i32);
        if high - low < 2.0 - 1e-9 && !self.is_of_decades() {
            return self.ones_twos_and_fives(wanted);
        }
        let each = (top.abs_diff(bottom) as usize)
            .div_ceil(wanted.max(1))
            .max(1);
        (bottom..=top)
            .step_by(each)
            .map(|power| {
                let value = 10f64.powi(power) / factor;
                Tick {
                    value,
                    label: self.decade_label(value, power),
                }
            })
            .collect()
    }

    /// Whether both ends are powers of ten.
    fn is_of_decades(&self) -> bool {
        let factor = self.unit.factor();
        [self.low, self.high].iter().all(|end| {
            let power = (end * factor).log10();
            (power - power.round()).abs() < 1e-9
        })
    }

    /// 1, 2 and 5 times each power of ten that lies inside; less where that is more than `wanted`.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the exponents of positive floats, at most some hundred"
    )]
    fn ones_twos_and_fives(&self, wanted: usize) -> Vec<Tick> {
        let factor = self.unit.factor();
        let (low, high) = (self.low * factor, self.high * factor);
        let (bottom, top) = (low.log10().floor() as i32, high.log10().floor() as i32);
        let inside = |digits: &[f64]| -> Vec<Tick> {
            let all = (bottom..=top).flat_map(|power| {
                let ten = 10f64.powi(power);
                digits.iter().map(move |digit| digit * ten)
            });
            all.filter(|shown| (low * (1.0 - 1e-9)..=high * (1.0 + 1e-9)).contains(shown))
                .map(|shown| Tick {
                    value: shown / factor,
                    label: quantity(self.unit, shown / factor, 1),
                })
                .collect()
        };
        let sets: [&[f64]; 3] = [&[1.0, 2.0, 5.0], &[1.0, 3.0], &[1.0]];
        let mut ticks = sets.into_iter().map(inside);
        ticks
            .find(|ticks| ticks.len() <= wanted)
            .unwrap_or_default()
    }

    fn decade_label(&self, value: f64, power: i32) -> String {
        match self.unit {
            Unit::Number | Unit::Share if (-4..=4).contains(&power) => {
                let label = significant(10f64.powi(power), 1);
                if self.unit == Unit::Share {
                    format!("{label}\u{a0}%")
                } else {
                    label
                }
            }
            _ => quantity(self.unit, value, 1),
        }
    }
}

/// 1, 2 or 5 times a power of ten, not below `raw`.
fn round_step(raw: f64) -> f64 {
    let power = 10f64.powf(raw.max(1e-300).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|digit| digit * power)
        .find(|&step| step >= raw * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: Axis, wanted: usize) -> Vec<String> {
        axis.ticks(wanted)
            .into_iter()
            .map(|tick| tick.label.replace('\u{a0}', " "))
            .collect()
    }

    #[test]
    fn linear_ticks_are_round_and_share_a_prefix() {
        let axis = Axis::linear(Unit::Rate, 0.0, 23_000.0);
        assert_eq!(labels(axis, 5), ["0", "5", "10", "15", "20"]);
        assert_eq!(axis.unit_note(), " (kB/s)");
        assert_eq!(
            labels(Axis::linear(Unit::Seconds, 0.0, 0.5), 5),
            ["0", "100", "200", "300", "400", "500"]
        );
        assert_eq!(
            labels(Axis::linear(Unit::Number, 1.0, 1.2), 4),
            ["1.00", "1.05", "1.10", "1.15", "1.20"]
        );
    }

    #[test]
    fn decades_carry_their_unit() {
        assert_eq!(
            labels(Axis::log(Unit::Micros, 20.0, 5e4), 9),
            ["10 µs", "100 µs", "1 ms", "10 ms", "100 ms"]
        );
        assert_eq!(
            labels(Axis::log(Unit::Share, 0.001, 1.0), 4),
            ["0.1 %", "1 %", "10 %", "100 %"]
        );
    }

    #[test]
    fn there_is_no_run_between_two() {
        let axis = Axis::linear(Unit::Number, 1.0, 4.0).of_whole_numbers();
        assert_eq!(labels(axis, 10), ["1", "2", "3", "4"]);
    }

    #[test]
    fn less_than_two_decades_have_ticks_between() {
        let axis = Axis::log_within(Unit::Rate, 1_250.0, 20_000.0);
        assert_eq!(labels(axis, 9), ["2 kB/s", "5 kB/s", "10 kB/s", "20 kB/s"]);
        assert_eq!(labels(axis, 3), ["3 kB/s", "10 kB/s"]);
        assert!((axis.place(5_000.0) - 0.5).abs() < 1e-6);
        assert_eq!(
            labels(Axis::log(Unit::Bytes, 20.0, 90.0), 9),
            ["10 B", "100 B"]
        );
    }

    #[test]
    fn places_run_from_zero_to_one() {
        let axis = Axis::log(Unit::Micros, 10.0, 1000.0);
        assert!((axis.place(100.0) - 0.5).abs() < 1e-6);
        assert!(axis.place(1.0) < 0.0);
        assert!((Axis::linear(Unit::Rate, 0.0, 10.0).place(2.5) - 0.25).abs() < 1e-6);
    }
}
