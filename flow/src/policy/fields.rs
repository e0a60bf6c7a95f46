//! Policies from the fields of a text or a table.

use super::Policy;
use crate::spec::{Fields, SpecError, ValueError};
use crate::time::NANOS_PER_SEC;
use crate::units::Weight;
use crate::{ByteRate, ByteSize, Nanos, Timestamp};

/// What a policy takes for the rate and burst that it does not name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// For `rate`, and for a window's `limit` (rate x window).
    pub rate: Option<ByteRate>,
    /// For `burst` and `cbs`.
    pub burst: Option<ByteSize>,
}

impl Policy {
    /// The policy of `kind` with the given fields.
    ///
    /// Fields that may be left out: `rate`, `burst` and `cbs` where `defaults`
    /// has them; `initial` (the burst), `oversize` (`drop`), `peak_rate` (twice
    /// the rate), `mtu` (1500 B), `ebs` and `pbs` (the committed burst),
    /// `drop_yellow` (`false`), `queue` (as the shaper says), `window`,
    /// `interval`, `time_constant` and `time_scale` (1 s), `limit` (`rate` x
    /// window, if that is whole), `origin` (0), `alpha` (1/8).
    ///
    /// # Errors
    /// [`SpecError`], naming the field at fault where there is one.
    pub fn from_fields(
        kind: &str,
        fields: &Fields,
        defaults: &Defaults,
    ) -> Result<Self, SpecError> {
        let allowed =
            Self::fields(kind).ok_or_else(|| SpecError::unknown_kind(kind, Self::KINDS))?;
        fields.only(kind, allowed)?;
        let reader = Reader { fields, defaults };
        match kind {
            "token-bucket" => reader.token_bucket(),
            "dual-token-bucket" => reader.dual_token_bucket(),
            "leaky-bucket" => reader.leaky_bucket(),
            "leaky-bucket-meter" | "gcra" => reader.meter(kind),
            "fixed-window" | "sliding-window-log" | "sliding-window-counter" => reader.window(kind),
            "ewma" => reader.ewma(),
            "ewma-continuous" => reader.ewma_continuous(),
            "sr-tcm" => reader.sr_tcm(),
            "tr-tcm" => reader.tr_tcm(),
            "none" => Ok(Self::None),
            _ => reader.as_coded(kind),
        }
    }

    /// The fields that `kind` has; `None` if there is no such kind.
    #[must_use]
    pub fn fields(kind: &str) -> Option<&'static [&'static str]> {
        Some(match kind {
            "token-bucket" => &["rate", "burst", "initial", "oversize"],
            "dual-token-bucket" => &["rate", "burst", "peak_rate", "mtu"],
            "leaky-bucket" => &["rate", "queue"],
            "leaky-bucket-meter" | "gcra" => &["rate", "burst"],
            "fixed-window" => &["limit", "rate", "window", "origin"],
            "sliding-window-log" | "sliding-window-counter" => &["limit", "rate", "window"],
            "ewma" => &["rate", "interval", "alpha"],
            "ewma-continuous" => &["rate", "time_constant"],
            "sr-tcm" => &["rate", "cbs", "ebs", "drop_yellow"],
            "tr-tcm" => &["rate", "cbs", "peak_rate", "pbs", "drop_yellow"],
            "wirefisher" => &["rate", "time_scale"],
            "homework-polling" | "homework-sleep" | "shadowsocks-close" | "shadowsocks-debt" => {
                &["rate"]
            }
            "none" => &[],
            _ => return None,
        })
    }
}

/// The fields of one policy on their way into its parameters.
struct Reader<'a> {
    fields: &'a Fields,
    defaults: &'a Defaults,
}

impl Reader<'_> {
    fn rate(&self) -> Result<ByteRate, SpecError> {
        match self.fields.read("rate")? {
            Some(rate) => Ok(rate),
            None => self.defaults.rate.ok_or_else(|| SpecError::missing("rate")),
        }
    }

    fn burst(&self, key: &'static str) -> Result<ByteSize, SpecError> {
        let burst = match self.size(key)? {
            Some(burst) => Some(burst),
            None => self.defaults.burst.filter(|burst| *burst > ByteSize::ZERO),
        };
        burst.ok_or_else(|| SpecError::missing(key))
    }

    /// A size that must not be zero.
    fn size(&self, key: &str) -> Result<Option<ByteSize>, SpecError> {
        let size = self.fields.read(key)?;
        if size == Some(ByteSize::ZERO) {
            return Err(self.range(key, "above zero: nothing would ever pass"));
        }
        Ok(size)
    }

    /// A length of time above zero and at most [`Policy::LONGEST_SPAN`]; 1 s by default.
    fn span(&self, key: &str) -> Result<Nanos, SpecError> {
        let span = self.fields.read(key)?.unwrap_or(Nanos::from_secs(1));
        if span == Nanos::ZERO || span > Policy::LONGEST_SPAN {
            return Err(self.range(key, "above zero and at most 3660 days"));
        }
        Ok(span)
    }

    fn flag(&self, key: &str) -> Result<bool, SpecError> {
        Ok(self.fields.read(key)?.unwrap_or(false))
    }

    /// The peak rate, at least `rate` and by default twice that.
    fn peak_rate(&self, rate: ByteRate) -> Result<ByteRate, SpecError> {
        let twice = ByteRate::new(rate.get().saturating_mul(2)).unwrap_or(rate);
        let peak_rate = self.fields.read("peak_rate")?.unwrap_or(twice);
        if peak_rate < rate {
            let why = format_args!("{peak_rate} is below the rate, {rate}");
            return Err(SpecError::conflict("peak_rate", why));
        }
        Ok(peak_rate)
    }

    fn range(&self, key: &str, range: &'static str) -> SpecError {
        let given = self.fields.get(key).unwrap_or_default().into();
        SpecError::value(key, ValueError::Range { given, range })
    }

    fn token_bucket(&self) -> Result<Policy, SpecError> {
        let burst = self.burst("burst")?;
        let initial = self.fields.read("initial")?.unwrap_or(burst);
        if initial > burst {
            let why = format_args!("{initial} is above the burst, {burst}");
            return Err(SpecError::conflict("initial", why));
        }
        Ok(Policy::TokenBucket {
            rate: self.rate()?,
            burst,
            initial,
            oversize: self.fields.read("oversize")?.unwrap_or_default(),
        })
    }

    fn dual_token_bucket(&self) -> Result<Policy, SpecError> {
        let rate = self.rate()?;
        Ok(Policy::DualTokenBucket {
            rate,
            burst: self.burst("burst")?,
            peak_rate: self.peak_rate(rate)?,
            mtu: self.size("mtu")?.unwrap_or(ByteSize::new(1_500)),
        })
    }

    fn leaky_bucket(&self) -> Result<Policy, SpecError> {
        Ok(Policy::LeakyBucket {
            rate: self.rate()?,
            queue: self.fields.read("queue")?,
        })
    }

    fn meter(&self, kind: &str) -> Result<Policy, SpecError> {
        let (rate, burst) = (self.rate()?, self.burst("burst")?);
        Ok(match kind {
            "gcra" => Policy::Gcra { rate, burst },
            _ => Policy::LeakyBucketMeter { rate, burst },
        })
    }

    fn window(&self, kind: &str) -> Result<Policy, SpecError> {
        let window = self.span("window")?;
        let limit = match self.size("limit")? {
            Some(_) if self.fields.get("rate").is_some() => {
                let why = "write it or the rate it follows from, not both";
                return Err(SpecError::conflict("limit", why));
            }
            Some(limit) => limit,
            None => self.limit_of(window)?,
        };
        let origin = self.fields.read("origin")?.unwrap_or(Nanos::ZERO);
        Ok(match kind {
            "sliding-window-log" => Policy::SlidingWindowLog { limit, window },
            "sliding-window-counter" => Policy::SlidingWindowCounter { limit, window },
            _ => Policy::FixedWindow {
                limit,
                window,
                origin: Timestamp::ZERO + origin,
            },
        })
    }

    /// rate x window, if that is a whole number of bytes.
    fn limit_of(&self, window: Nanos) -> Result<ByteSize, SpecError> {
        let missing = |_| SpecError::missing("limit");
        let rate = match self.fields.get("rate") {
            Some(_) => self.rate()?,
            None => self.rate().map_err(missing)?,
        };
        let product = u128::from(rate.get()) * u128::from(window.get());
        let whole = product.is_multiple_of(u128::from(NANOS_PER_SEC));
        match u64::try_from(product / u128::from(NANOS_PER_SEC)) {
            Ok(limit) if whole => Ok(ByteSize::new(limit)),
            _ => {
                let why = format_args!(
                    "{rate} in {window} is not a whole number of bytes; write the limit itself"
                );
                Err(SpecError::conflict("limit", why))
            }
        }
    }

    fn ewma(&self) -> Result<Policy, SpecError> {
        let alpha = self.fields.read("alpha")?.or_else(|| Weight::new(1, 8));
        Ok(Policy::Ewma {
            rate: self.rate()?,
            interval: self.span("interval")?,
            alpha: alpha.ok_or_else(|| SpecError::missing("alpha"))?,
        })
    }

    fn ewma_continuous(&self) -> Result<Policy, SpecError> {
        Ok(Policy::EwmaContinuous {
            rate: self.rate()?,
            time_constant: self.span("time_constant")?,
        })
    }

    fn sr_tcm(&self) -> Result<Policy, SpecError> {
        let cbs = self.burst("cbs")?;
        Ok(Policy::SrTcm {
            rate: self.rate()?,
            cbs,
            ebs: self.fields.read("ebs")?.unwrap_or(cbs),
            drop_yellow: self.flag("drop_yellow")?,
        })
    }

    fn tr_tcm(&self) -> Result<Policy, SpecError> {
        let (rate, cbs) = (self.rate()?, self.burst("cbs")?);
        Ok(Policy::TrTcm {
            rate,
            cbs,
            peak_rate: self.peak_rate(rate)?,
            pbs: self.size("pbs")?.unwrap_or(cbs),
            drop_yellow: self.flag("drop_yellow")?,
        })
    }

    fn as_coded(&self, kind: &str) -> Result<Policy, SpecError> {
        let rate = self.rate()?;
        Ok(match kind {
            "homework-polling" => Policy::HomeworkPolling { rate },
            "homework-sleep" => Policy::HomeworkSleep { rate },
            "shadowsocks-close" => Policy::ShadowsocksClose { rate },
            "shadowsocks-debt" => Policy::ShadowsocksDebt { rate },
            _ => Policy::Wirefisher {
                rate,
                time_scale: self.span("time_scale")?,
            },
        })
    }
}
