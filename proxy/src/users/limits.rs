//! What a user may use: nothing, one budget for both directions, or one for each.

use std::fmt;

use flow::policy::{Defaults, Oversize};
use flow::spec::SpecError;
use flow::{ByteRate, ByteSize, Policy};

use crate::budget::default_burst;

/// The limits of one user, over all of their connections and protocols.
///
/// A policy of the kind `none` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Limits {
    /// None.
    #[default]
    Unlimited,
    /// Both directions draw from one budget.
    Shared(Policy),
    /// Each direction has a budget, or none.
    PerDirection {
        /// From the client to the target.
        up: Option<Policy>,
        /// From the target to the client.
        down: Option<Policy>,
    },
}

/// What all users together may move, both directions in one.
///
/// What some do not use is lent to those who can, by their weights, up to limits of
/// their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bandwidth {
    /// The limit.
    pub limit: Policy,
    /// What each budget of a user (one, or one for each direction) gets whenever it
    /// wants it, as long as these add up to the limit at most; unless the user's rules
    /// name another.
    pub floor: Option<ByteRate>,
}

/// The limits as the database has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LimitText {
    /// One policy for both directions.
    pub shared: Option<String>,
    /// From the client.
    pub up: Option<String>,
    /// To the client.
    pub down: Option<String>,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the target.
    Up,
    /// From the target to the client.
    Down,
}

impl Limits {
    /// Limits downloads alone.
    #[must_use]
    pub const fn down(policy: Policy) -> Self {
        Self::PerDirection {
            up: None,
            down: Some(policy),
        }
    }

    /// Limits uploads alone.
    #[must_use]
    pub const fn up(policy: Policy) -> Self {
        Self::PerDirection {
            up: Some(policy),
            down: None,
        }
    }

    /// Reads a policy: a kind alone or with fields, `sliding-window-log:window=10s`.
    /// `rate` and `burst` fill in what the fields leave open; without a burst
    /// anywhere it is the default one.
    ///
    /// # Errors
    /// [`LimitError`] if it is no policy, cannot limit a stream, or has no use
    /// for the burst.
    pub fn policy(
        spec: &str,
        rate: Option<ByteRate>,
        burst: Option<ByteSize>,
    ) -> Result<Policy, LimitError> {
        let (kind, fields) = flow::spec::parse(spec)?;
        let written = fields.read::<ByteRate>("rate").ok().flatten();
        let by_rate = written.or(rate).map(default_burst);
        let policy = Policy::from_fields(
            &kind,
            &fields,
            &Defaults {
                rate,
                burst: burst.or(by_rate),
            },
        )?;
        if !policy.modes().stream {
            return Err(LimitError::PolicesOnly {
                kind: policy.kind(),
            });
        }
        if burst.is_some() && policy.burst().is_none() {
            return Err(LimitError::NoBurst {
                kind: policy.kind(),
            });
        }
        Ok(policy)
    }

    /// The policies by direction: (shared, up, down), `none` left out.
    pub fn policies(&self) -> [Option<Policy>; 3] {
        let limiting = |policy: Option<Policy>| policy.filter(|policy| *policy != Policy::None);
        match *self {
            Self::Unlimited => [None; 3],
            Self::Shared(policy) => [limiting(Some(policy)), None, None],
            Self::PerDirection { up, down } => [None, limiting(up), limiting(down)],
        }
    }

    /// No limit is the policy `none` for both directions.
    pub(crate) fn to_text(self) -> LimitText {
        let [shared, up, down] = match self.policies() {
            [None, None, None] => [Some(Policy::None), None, None],
            policies => policies,
        };
        let text = |policy: Option<Policy>| policy.map(|policy| policy.to_string());
        LimitText {
            shared: text(shared),
            up: text(up),
            down: text(down),
        }
    }

    /// `None` if the text says nothing.
    pub(crate) fn from_text(text: &LimitText) -> Result<Option<Self>, LimitError> {
        let read = |text: &Option<String>| {
            text.as_deref()
                .map(|text| Self::policy(text, None, None))
                .transpose()
        };
        Ok(
            match (read(&text.shared)?, read(&text.up)?, read(&text.down)?) {
                (None, None, None) => None,
                (Some(Policy::None), ..) => Some(Self::Unlimited),
                (Some(policy), ..) => Some(Self::Shared(policy)),
                (None, up, down) => Some(Self::PerDirection { up, down }),
            },
        )
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [shared, up, down] = self.policies();
        if let Some(policy) = shared {
            return write!(f, "{policy}");
        }
        match (up, down) {
            (None, None) => f.write_str("unlimited"),
            (Some(up), None) => write!(f, "up {up}"),
            (None, Some(down)) => write!(f, "down {down}"),
            (Some(up), Some(down)) => write!(f, "up {up}, down {down}"),
        }
    }
}

/// Why a limit is none.
#[derive(Debug, thiserror::Error)]
pub enum LimitError {
    /// It is not in the grammar of policies.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A marker of colours drops and cannot wait.
    #[error("{kind} drops packets and cannot hold back a stream; use token-bucket")]
    PolicesOnly {
        /// The kind.
        kind: &'static str,
    },
    /// A burst for a kind that has none.
    #[error("{kind} has no burst; leave it out")]
    NoBurst {
        /// The kind.
        kind: &'static str,
    },
}

/// A token bucket that starts full.
#[must_use]
pub const fn token_bucket(rate: ByteRate, burst: ByteSize) -> Policy {
    Policy::TokenBucket {
        rate,
        burst,
        initial: burst,
        oversize: Oversize::Drop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(bytes: u64) -> Option<ByteRate> {
        ByteRate::new(bytes)
    }

    #[test]
    fn the_default_burst_is_10_ms_and_at_least_a_packet() {
        let burst = |bytes| {
            Limits::policy("token-bucket", rate(bytes), None)
                .unwrap()
                .burst()
                .unwrap()
                .get()
        };
        assert_eq!(burst(1), 1_500);
        assert_eq!(burst(150_000), 1_500);
        assert_eq!(burst(1_000_000), 10_000);
        let written = Limits::policy("gcra:rate=1000000B/s", None, None).unwrap();
        assert_eq!(written.burst(), Some(ByteSize::new(10_000)));
    }

    #[test]
    fn what_cannot_limit_a_stream_is_refused() {
        let error = |spec: &str, burst| {
            Limits::policy(spec, rate(5_000), burst)
                .unwrap_err()
                .to_string()
        };
        assert!(error("sr-tcm:cbs=5000B,ebs=5000B", None).contains("token-bucket"));
        assert!(error("leaky-bucket", Some(ByteSize::new(1))).contains("no burst"));
        assert!(error("tokenbucket", None).contains("token-bucket"));
        assert!(Limits::policy("token-bucket", None, None).is_err());
    }

    #[test]
    fn limits_survive_the_database() {
        let policy = token_bucket(rate(5_000).unwrap(), ByteSize::new(5_000));
        for limits in [
            Limits::Unlimited,
            Limits::Shared(policy),
            Limits::up(policy),
            Limits::down(policy),
        ] {
            let read = Limits::from_text(&limits.to_text()).unwrap();
            assert_eq!(read, Some(limits));
        }
        let none = Limits::Shared(Policy::None);
        assert_eq!(
            Limits::from_text(&none.to_text()).unwrap(),
            Some(Limits::Unlimited)
        );
        assert_eq!(Limits::from_text(&LimitText::default()).unwrap(), None);
    }
}
