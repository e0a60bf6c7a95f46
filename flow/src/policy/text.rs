//! The text form of policies.

use core::fmt;
use core::str::FromStr;

use super::{Defaults, Oversize, Policy};
use crate::spec::{self, SpecError, ValueError};
use crate::{Nanos, Timestamp};

impl FromStr for Policy {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let (kind, fields) = spec::parse(text)?;
        Self::from_fields(&kind, &fields, &Defaults::default())
    }
}

/// `token-bucket:rate=5000B/s,burst=5000B`: everything that matters, and no spaces.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        match *self {
            Self::None => Ok(()),
            Self::TokenBucket {
                rate,
                burst,
                initial,
                oversize,
            } => {
                write!(f, ":rate={rate:#},burst={burst:#}")?;
                if initial != burst {
                    write!(f, ",initial={initial:#}")?;
                }
                match oversize {
                    Oversize::Drop => Ok(()),
                    Oversize::Debt => write!(f, ",oversize={oversize}"),
                }
            }
            Self::DualTokenBucket {
                rate,
                burst,
                peak_rate,
                mtu,
            } => write!(
                f,
                ":rate={rate:#},burst={burst:#},peak_rate={peak_rate:#},mtu={mtu:#}"
            ),
            Self::LeakyBucket { rate, queue } => {
                write!(f, ":rate={rate:#}")?;
                queue.map_or(Ok(()), |queue| write!(f, ",queue={queue:#}"))
            }
            Self::LeakyBucketMeter { rate, burst } | Self::Gcra { rate, burst } => {
                write!(f, ":rate={rate:#},burst={burst:#}")
            }
            Self::FixedWindow {
                limit,
                window,
                origin,
            } => {
                write!(f, ":limit={limit:#},window={window}")?;
                match origin.since(Timestamp::ZERO) {
                    Nanos::ZERO => Ok(()),
                    origin => write!(f, ",origin={origin}"),
                }
            }
            Self::SlidingWindowLog { limit, window }
            | Self::SlidingWindowCounter { limit, window } => {
                write!(f, ":limit={limit:#},window={window}")
            }
            Self::Ewma {
                rate,
                interval,
                alpha,
            } => write!(f, ":rate={rate:#},interval={interval},alpha={alpha}"),
            Self::EwmaContinuous {
                rate,
                time_constant,
            } => write!(f, ":rate={rate:#},time_constant={time_constant}"),
            Self::SrTcm {
                rate,
                cbs,
                ebs,
                drop_yellow,
            } => {
                write!(f, ":rate={rate:#},cbs={cbs:#},ebs={ebs:#}")?;
                write_flag(f, "drop_yellow", drop_yellow)
            }
            Self::TrTcm {
                rate,
                cbs,
                peak_rate,
                pbs,
                drop_yellow,
            } => {
                write!(
                    f,
                    ":rate={rate:#},cbs={cbs:#},peak_rate={peak_rate:#},pbs={pbs:#}"
                )?;
                write_flag(f, "drop_yellow", drop_yellow)
            }
            Self::HomeworkPolling { rate }
            | Self::HomeworkSleep { rate }
            | Self::ShadowsocksClose { rate }
            | Self::ShadowsocksDebt { rate } => write!(f, ":rate={rate:#}"),
            Self::Wirefisher { rate, time_scale } => {
                write!(f, ":rate={rate:#},time_scale={time_scale}")
            }
        }
    }
}

fn write_flag(f: &mut fmt::Formatter<'_>, key: &str, set: bool) -> fmt::Result {
    if set {
        write!(f, ",{key}=true")
    } else {
        Ok(())
    }
}

impl fmt::Display for Oversize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drop => "drop",
            Self::Debt => "debt",
        })
    }
}

impl FromStr for Oversize {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "drop" => Ok(Self::Drop),
            "debt" => Ok(Self::Debt),
            _ => Err(ValueError::Word {
                given: text.into(),
                allowed: &["drop", "debt"],
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::{Defaults, Policy};
    use crate::spec::{Fields, SpecError};
    use crate::{ByteRate, ByteSize};

    fn defaults() -> Defaults {
        Defaults {
            rate: ByteRate::new(5_000),
            burst: Some(ByteSize::new(5_000)),
        }
    }

    fn refusal(text: &str) -> SpecError {
        text.parse::<Policy>().unwrap_err()
    }

    #[test]
    fn every_kind_stands_on_the_defaults_and_reads_back() {
        for kind in Policy::KINDS {
            let policy = Policy::from_fields(kind, &Fields::new(), &defaults()).unwrap();
            assert_eq!(policy.kind(), *kind);
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
    }

    #[test]
    fn optional_fields_read_back() {
        for text in [
            "token-bucket:rate=333333B/s,burst=1500B,initial=0B,oversize=debt",
            "leaky-bucket:rate=1B/s,queue=40000B",
            "fixed-window:limit=5000B,window=77ms,origin=3ms",
            "sr-tcm:rate=50000B/s,cbs=4000B,ebs=0B,drop_yellow=true",
            "tr-tcm:rate=50000B/s,cbs=4000B,peak_rate=150000B/s,pbs=6000B,drop_yellow=true",
            "ewma:rate=120000B/s,interval=100ms,alpha=1/4",
        ] {
            let policy: Policy = text.parse().unwrap();
            assert_eq!(policy.to_string(), text);
        }
    }

    #[test]
    fn a_window_follows_the_rate() {
        let policy: Policy = "fixed-window:rate=5000B/s,window=10s".parse().unwrap();
        assert_eq!(policy.to_string(), "fixed-window:limit=50000B,window=10s");
        assert_eq!(policy.rate(), ByteRate::new(5_000));
        let error = refusal("fixed-window:rate=3B/s,window=100ms");
        assert_eq!(error.field(), Some("limit"));
        let error = refusal("fixed-window:rate=3B/s,limit=3B");
        assert_eq!(error.field(), Some("limit"));
        assert_eq!(refusal("fixed-window").field(), Some("limit"));
    }

    #[test]
    fn refusals_name_the_field() {
        for (text, field) in [
            ("token-bucket:burst=1B", "rate"),
            ("token-bucket:rate=1B/s", "burst"),
            ("token-bucket:rate=1B/s,burst=0B", "burst"),
            ("token-bucket:rate=1,burst=1B", "rate"),
            ("token-bucket:rate=1B/s,burst=1B,initial=2B", "initial"),
            ("token-bucket:rate=1B/s,burst=1B,oversize=dept", "oversize"),
            ("gcra:rate=1B/s,burst=1B,peak=2B/s", "peak"),
            (
                "dual-token-bucket:rate=2B/s,burst=1B,peak_rate=1B/s",
                "peak_rate",
            ),
            ("fixed-window:limit=1B,window=0s", "window"),
            ("ewma:rate=1B/s,alpha=2", "alpha"),
            (
                "ewma-continuous:rate=1B/s,time_constant=4000d",
                "time_constant",
            ),
            ("sr-tcm:rate=1B/s,cbs=1B,drop_yellow=yes", "drop_yellow"),
        ] {
            assert_eq!(refusal(text).field(), Some(field), "{text}");
        }
        let error = refusal("tocken-bucket:rate=1B/s");
        assert!(error.to_string().contains("did you mean \"token-bucket\"?"));
    }
}
