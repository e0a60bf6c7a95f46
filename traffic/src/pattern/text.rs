//! The text form of a pattern, and the fields of each kind.

use super::Pattern;
use crate::arrival::{Levels, Periods, Phase};
use crate::bursty::{GIGABIT_LINE, SleepGrain};
use flow::spec::{self, Fields, SpecError};
use flow::{ByteRate, ByteSize};
use std::fmt;
use std::str::FromStr;

/// Unless the pattern says otherwise.
const BULK_CHUNK: ByteSize = ByteSize::new(16 * 1024);

impl Pattern {
    /// All kinds.
    pub const KINDS: &'static [&'static str] = &[
        "bursty",
        "constant",
        "poisson",
        "on-off",
        "mmpp",
        "bulk",
        "idle-then-flood",
        "ramp",
        "steps",
        "request-response",
        "trace",
    ];

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Bursty { .. } => "bursty",
            Self::Constant { .. } => "constant",
            Self::Poisson { .. } => "poisson",
            Self::OnOff { .. } => "on-off",
            Self::Mmpp { .. } => "mmpp",
            Self::Bulk { .. } => "bulk",
            Self::IdleThenFlood { .. } => "idle-then-flood",
            Self::Ramp { .. } => "ramp",
            Self::Steps { .. } => "steps",
            Self::RequestResponse { .. } => "request-response",
            Self::Trace { .. } => "trace",
        }
    }

    /// The fields that `kind` has; `None` if there is no such kind.
    #[must_use]
    pub fn fields(kind: &str) -> Option<&'static [&'static str]> {
        Some(match kind {
            "bursty" => &["sleep", "line"],
            "constant" => &["rate", "size", "phase"],
            "poisson" => &["rate", "size"],
            "on-off" => &[
                "peak_rate",
                "mean_on",
                "mean_off",
                "periods",
                "shape",
                "size",
            ],
            "mmpp" => &["states", "size"],
            "bulk" => &["chunk"],
            "idle-then-flood" => &["idle", "rate", "size"],
            "ramp" => &["from", "to", "over", "size"],
            "steps" => &["levels", "repeat", "size"],
            "request-response" => &["think", "size"],
            "trace" => &["file", "user"],
            _ => return None,
        })
    }

    /// The pattern of `kind` with `fields`, checked.
    ///
    /// # Errors
    /// [`SpecError`], naming the field at fault where there is one.
    pub fn from_fields(kind: &str, fields: &Fields) -> Result<Self, SpecError> {
        let allowed =
            Self::fields(kind).ok_or_else(|| SpecError::unknown_kind(kind, Self::KINDS))?;
        fields.only(kind, allowed)?;
        let pattern = read(kind, fields)?;
        pattern.check()?;
        Ok(pattern)
    }
}

fn read(kind: &str, fields: &Fields) -> Result<Pattern, SpecError> {
    Ok(match kind {
        "bursty" => {
            let sleep = fields.read("sleep")?.unwrap_or_default();
            let line = read_line(fields, sleep)?;
            Pattern::Bursty { sleep, line }
        }
        "constant" => Pattern::Constant {
            rate: fields.require("rate")?,
            size: fields.require("size")?,
            phase: fields.read("phase")?.unwrap_or_default(),
        },
        "poisson" => Pattern::Poisson {
            rate: fields.require("rate")?,
            size: fields.require("size")?,
        },
        "on-off" => Pattern::OnOff {
            peak_rate: fields.require("peak_rate")?,
            mean_on: fields.require("mean_on")?,
            mean_off: fields.require("mean_off")?,
            periods: read_periods(fields)?,
            size: fields.require("size")?,
        },
        "mmpp" => Pattern::Mmpp {
            states: fields.require::<Levels>("states")?.0,
            size: fields.require("size")?,
        },
        "bulk" => Pattern::Bulk {
            chunk: fields.read("chunk")?.unwrap_or(BULK_CHUNK),
        },
        "idle-then-flood" => Pattern::IdleThenFlood {
            idle: fields.require("idle")?,
            rate: fields.read("rate")?,
            size: fields.require("size")?,
        },
        "ramp" => Pattern::Ramp {
            from: fields.require("from")?,
            to: fields.require("to")?,
            over: fields.require("over")?,
            size: fields.require("size")?,
        },
        "steps" => Pattern::Steps {
            levels: fields.require::<Levels>("levels")?.0,
            repeat: fields.read("repeat")?.unwrap_or(false),
            size: fields.require("size")?,
        },
        "request-response" => Pattern::RequestResponse {
            think: fields.require("think")?,
            size: fields.require("size")?,
        },
        _ => Pattern::Trace {
            file: required_text(fields, "file")?,
            user: fields.get("user").map(Into::into),
        },
    })
}

fn read_line(fields: &Fields, sleep: SleepGrain) -> Result<Option<ByteRate>, SpecError> {
    match fields.get("line") {
        None => Ok(default_line(sleep)),
        Some("none") => Ok(None),
        Some(_) => fields.read("line"),
    }
}

const fn default_line(sleep: SleepGrain) -> Option<ByteRate> {
    match sleep {
        SleepGrain::Micros => None,
        SleepGrain::Millis | SleepGrain::Tick => ByteRate::new(GIGABIT_LINE),
    }
}

fn read_periods(fields: &Fields) -> Result<Periods, SpecError> {
    match (
        fields.read("periods")?.unwrap_or_default(),
        fields.read("shape")?,
    ) {
        (Periods::Pareto(usual), shape) => Ok(Periods::Pareto(shape.unwrap_or(usual))),
        (Periods::Exponential, None) => Ok(Periods::Exponential),
        (Periods::Exponential, Some(_)) => Err(SpecError::conflict(
            "shape",
            "only periods=pareto has a shape",
        )),
    }
}

fn required_text(fields: &Fields, key: &str) -> Result<String, SpecError> {
    let text = fields.get(key).ok_or_else(|| SpecError::missing(key))?;
    Ok(text.to_owned())
}

impl FromStr for Pattern {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let (kind, fields) = spec::parse(text)?;
        Self::from_fields(&kind, &fields)
    }
}

/// `constant:rate=5000B/s,size=500B`; what has its default is left out.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = Writer { f, separator: ":" };
        fields.f.write_str(self.kind())?;
        match self {
            Self::Bursty { sleep, line } => fields.bursty(*sleep, *line),
            Self::Constant { rate, size, phase } => {
                fields.field("rate", rate)?.field("size", size)?;
                fields.unless_default("phase", phase).map(drop)
            }
            Self::Poisson { rate, size } => {
                fields.field("rate", rate)?.field("size", size).map(drop)
            }
            Self::OnOff {
                peak_rate,
                mean_on,
                mean_off,
                periods,
                size,
            } => {
                fields.field("peak_rate", peak_rate)?;
                fields
                    .field("mean_on", mean_on)?
                    .field("mean_off", mean_off)?;
                fields.periods(*periods)?.field("size", size).map(drop)
            }
            Self::Mmpp { states, size } => fields
                .field("states", &Levels(states.clone()))?
                .field("size", size)
                .map(drop),
            Self::Bulk { chunk } => fields.field("chunk", chunk).map(drop),
            Self::IdleThenFlood { idle, rate, size } => {
                fields
                    .field("idle", idle)?
                    .optional("rate", rate.as_ref())?;
                fields.field("size", size).map(drop)
            }
            Self::Ramp {
                from,
                to,
                over,
                size,
            } => {
                fields.field("from", from)?.field("to", to)?;
                fields.field("over", over)?.field("size", size).map(drop)
            }
            Self::Steps {
                levels,
                repeat,
                size,
            } => {
                fields.field("levels", &Levels(levels.clone()))?;
                fields
                    .unless_default("repeat", repeat)?
                    .field("size", size)
                    .map(drop)
            }
            Self::RequestResponse { think, size } => {
                fields.field("think", think)?.field("size", size).map(drop)
            }
            Self::Trace { file, user } => fields
                .field("file", file)?
                .optional("user", user.as_ref())
                .map(drop),
        }
    }
}

/// Writes fields after a kind.
struct Writer<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    separator: &'static str,
}

impl Writer<'_, '_> {
    fn field(&mut self, key: &str, value: &impl fmt::Display) -> Result<&mut Self, fmt::Error> {
        write!(self.f, "{}{key}={value:#}", self.separator)?;
        self.separator = ",";
        Ok(self)
    }

    fn optional(
        &mut self,
        key: &str,
        value: Option<&impl fmt::Display>,
    ) -> Result<&mut Self, fmt::Error> {
        match value {
            Some(value) => self.field(key, value),
            None => Ok(self),
        }
    }

    fn unless_default<T>(&mut self, key: &str, value: &T) -> Result<&mut Self, fmt::Error>
    where
        T: Default + PartialEq + fmt::Display,
    {
        let written = (*value != T::default()).then_some(value);
        self.optional(key, written)
    }

    fn bursty(&mut self, sleep: SleepGrain, line: Option<ByteRate>) -> fmt::Result {
        self.unless_default("sleep", &sleep)?;
        match line {
            line if line == default_line(sleep) => Ok(()),
            Some(rate) => self.field("line", &rate).map(drop),
            None => self.field("line", &"none").map(drop),
        }
    }

    fn periods(&mut self, periods: Periods) -> Result<&mut Self, fmt::Error> {
        match periods {
            Periods::Exponential => Ok(self),
            Periods::Pareto(shape) => self.field("periods", &"pareto")?.field("shape", &shape),
        }
    }
}

/// Texts that are one of a few words.
macro_rules! words {
    ($($type:ty { $($word:literal => $value:expr),* })*) => {$(
        impl FromStr for $type {
            type Err = flow::spec::ValueError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok($value),)*
                    _ => Err(Self::Err::Word {
                        given: text.to_owned(),
                        allowed: &[$($word),*],
                    }),
                }
            }
        }
    )*};
}

words! {
    SleepGrain { "us" => Self::Micros, "ms" => Self::Millis, "tick" => Self::Tick }
    Phase { "zero" => Self::Zero, "random" => Self::Random }
    Periods { "exponential" => Self::Exponential, "pareto" => Self::Pareto(1.5) }
}

impl fmt::Display for SleepGrain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Micros => "us",
            Self::Millis => "ms",
            Self::Tick => "tick",
        })
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zero => "zero",
            Self::Random => "random",
        })
    }
}
