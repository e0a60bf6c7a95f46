//! What must hold between the parameters of a pattern.

use super::{Pattern, mean_of_levels};
use crate::arrival::{Level, Periods};
use crate::distribution::{MAX_SEND, SizeDistribution};
use flow::spec::SpecError;
use flow::{ByteSize, Nanos};

/// The most steps or states.
const MAX_LEVELS: usize = 1000;

/// On average no more periods, or states, pass between two packets.
const MAX_PERIODS_PER_PACKET: f64 = 1_000.0;

impl Pattern {
    /// Whether its generators do what the pattern says, in bounded time a packet.
    ///
    /// # Errors
    /// [`SpecError`], naming the field at fault.
    pub fn check(&self) -> Result<(), SpecError> {
        if let Some((field, problem)) = self.size_problem() {
            return Err(out_of_range(field, problem));
        }
        match self {
            Self::OnOff {
                mean_on, mean_off, ..
            } => {
                positive("mean_on", *mean_on)?;
                positive("mean_off", *mean_off)?;
                self.check_periods()
            }
            Self::Mmpp { states, size } => {
                check_levels("states", states)?;
                check_states(states, size)
            }
            Self::Steps { levels, .. } => check_levels("levels", levels),
            Self::Ramp { over, .. } => positive("over", *over),
            Self::RequestResponse { think, .. } => positive("think", *think),
            Self::Trace { file, user } => {
                check_path(file)?;
                user.as_deref().map_or(Ok(()), check_user)
            }
            Self::Bursty { .. }
            | Self::Constant { .. }
            | Self::Poisson { .. }
            | Self::Bulk { .. }
            | Self::IdleThenFlood { .. } => Ok(()),
        }
    }

    /// The field that gives sizes out of range, and the range.
    fn size_problem(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Bursty { .. } | Self::Trace { .. } => None,
            Self::Bulk { chunk } => {
                let good = (ByteSize::new(1)..=MAX_SEND).contains(chunk);
                (!good).then_some(("chunk", "from 1 B to 1 GiB"))
            }
            Self::Constant { size, .. }
            | Self::Poisson { size, .. }
            | Self::OnOff { size, .. }
            | Self::Mmpp { size, .. }
            | Self::IdleThenFlood { size, .. }
            | Self::Ramp { size, .. }
            | Self::Steps { size, .. }
            | Self::RequestResponse { size, .. } => size.problem().map(|problem| ("size", problem)),
        }
    }

    /// A packet's time at the peak rate is not spread over too many on periods.
    #[expect(clippy::cast_precision_loss, reason = "an order of magnitude")]
    fn check_periods(&self) -> Result<(), SpecError> {
        let Self::OnOff {
            peak_rate,
            mean_on,
            periods,
            size,
            ..
        } = self
        else {
            return Ok(());
        };
        let typical = match periods {
            Periods::Exponential => 1.0,
            Periods::Pareto(shape) if shape.is_finite() && *shape > 1.0 => (shape - 1.0) / shape,
            Periods::Pareto(_) => return Err(out_of_range("shape", "a number above 1")),
        };
        let on = mean_on.get() as f64 * typical;
        let packet = size.largest().get() as f64 / peak_rate.get() as f64 * 1e9;
        if packet > on * MAX_PERIODS_PER_PACKET {
            let why = "one packet at peak_rate takes more than 1000 on periods";
            return Err(SpecError::conflict("mean_on", why));
        }
        Ok(())
    }
}

fn check_levels(field: &str, levels: &[Level]) -> Result<(), SpecError> {
    if levels.is_empty() || levels.len() > MAX_LEVELS {
        return Err(out_of_range(field, "from 1 to 1000 of RATE@TIME"));
    }
    if levels.iter().all(|level| level.rate.is_none()) {
        return Err(SpecError::conflict(field, "all are idle: give one a rate"));
    }
    let shortest = levels.iter().map(|level| level.lasts).min();
    shortest.map_or(Ok(()), |shortest| positive(field, shortest))
}

/// The chain does not change its state too often between two packets.
#[expect(clippy::cast_precision_loss, reason = "an order of magnitude")]
fn check_states(states: &[Level], size: &SizeDistribution) -> Result<(), SpecError> {
    let packet = size.mean() / mean_of_levels(states) * 1e9;
    let total: f64 = states.iter().map(|state| state.lasts.get() as f64).sum();
    if packet > total / states.len() as f64 * MAX_PERIODS_PER_PACKET {
        let why = "more than 1000 states pass between two packets";
        return Err(SpecError::conflict("states", why));
    }
    Ok(())
}

fn check_path(file: &str) -> Result<(), SpecError> {
    if file.is_empty() || file.contains(',') || file.contains(char::is_control) {
        return Err(out_of_range("file", "a path without commas"));
    }
    Ok(())
}

fn check_user(user: &str) -> Result<(), SpecError> {
    if user.is_empty() || user.contains(',') || user.contains(char::is_control) {
        return Err(out_of_range("user", "a user's name without commas"));
    }
    Ok(())
}

fn out_of_range(field: &str, range: &'static str) -> SpecError {
    SpecError::conflict(field, format_args!("it must be {range}"))
}

fn positive(field: &str, length: Nanos) -> Result<(), SpecError> {
    if length == Nanos::ZERO {
        return Err(out_of_range(field, "longer than 0s"));
    }
    Ok(())
}
