//! What a user may do: limits, quota, expiry. Each user has rules of their own;
//! where those say nothing, the rules for everybody hold.

use std::fmt;
use std::str::FromStr;

use flow::units::UnitError;
use flow::{ByteRate, ByteSize, Policy};

use super::calendar::{CalendarError, Moment, Period};
use super::limits::{LimitError, LimitText, Limits, token_bucket};
use super::stake::{FloorRule, Weight};
use crate::acl::{RuleList, RuleListError};
use crate::budget::{Stake, default_burst};

/// Rules, each of them optional. For a user, `None` is "as for everybody"; for
/// everybody, it is the default that each field names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The bandwidth. Default: unlimited.
    pub limits: Option<Limits>,
    /// Connections at once. Default: as many as the server's config allows one user.
    pub max_connections: Option<Cap>,
    /// Addresses that connections come from at once; an IPv6 network of 64 bits
    /// counts as one. Default: no cap.
    pub max_addresses: Option<Cap>,
    /// Payload of both directions in a period. Default: none.
    pub quota: Option<Quota>,
    /// When the account ends. Default: never.
    pub expires: Option<Expiry>,
    /// What holds beyond quota and expiry. Default: refuse.
    pub beyond: Option<Beyond>,
    /// Which targets may be reached: asked after the config's rules for one user and
    /// before its rules for everybody. Default: none.
    pub egress: Option<RuleList>,
    /// The share in what is left of the server's own limit. Default: 1.
    pub weight: Option<Weight>,
    /// What is assured of the server's own limit. Default: what the config says.
    pub floor: Option<FloorRule>,
}

/// How many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cap {
    /// Any number. Written `none`.
    None,
    /// This many, at least one.
    AtMost(u64),
}

/// How much may be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// Any amount. Written `none`.
    None,
    /// So much in each period: `10GB/monthly@15`; without a period, in the
    /// whole life of the account.
    Of {
        /// Payload of both directions.
        bytes: ByteSize,
        /// When it begins anew.
        period: Period,
    },
}

/// When an account ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Never. Written `never`.
    Never,
    /// From this instant on.
    At(Moment),
}

/// What holds beyond quota and expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// Open connections are closed and logins refused. Written `refuse`.
    Refuse,
    /// No budget of the user is faster than this.
    SlowTo(ByteRate),
}

/// Changes of rules: the outer `None` leaves a rule as it is, the inner one
/// makes it that for everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RulesChange {
    /// The bandwidth.
    pub limits: Option<Option<Limits>>,
    /// Connections at once.
    pub max_connections: Option<Option<Cap>>,
    /// Addresses at once.
    pub max_addresses: Option<Option<Cap>>,
    /// Payload in a period.
    pub quota: Option<Option<Quota>>,
    /// When the account ends.
    pub expires: Option<Option<Expiry>>,
    /// What holds beyond quota and expiry.
    pub beyond: Option<Option<Beyond>>,
    /// Which targets may be reached.
    pub egress: Option<Option<RuleList>>,
    /// The share in the server's own limit.
    pub weight: Option<Option<Weight>>,
    /// What is assured of it.
    pub floor: Option<Option<FloorRule>>,
}

/// Why a rule is none.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// Of the bandwidth.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// Of the number of connections or addresses.
    #[error("{given:?} is no number of connections or addresses: write none, or 1 or more")]
    Cap {
        /// What was written.
        given: String,
    },
    /// Of the weight.
    #[error("{given:?} is no weight: write a whole number from 1 to 1000")]
    Weight {
        /// What was written.
        given: String,
    },
    /// Of the targets.
    #[error(transparent)]
    Egress(#[from] RuleListError),
    /// Of a size or a rate.
    #[error(transparent)]
    Unit(#[from] UnitError),
    /// Of a date or a period.
    #[error(transparent)]
    Calendar(#[from] CalendarError),
}

/// The rules as the database has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RulesText {
    pub limits: LimitText,
    pub max_connections: Option<String>,
    pub max_addresses: Option<String>,
    pub quota: Option<String>,
    pub expires: Option<String>,
    pub beyond: Option<String>,
    pub egress: Option<String>,
    pub weight: Option<String>,
    pub floor: Option<String>,
}

impl RulesText {
    /// In the order of the columns of the tables.
    pub(crate) fn columns(&self) -> [&Option<String>; 11] {
        let LimitText { shared, up, down } = &self.limits;
        [
            shared,
            up,
            down,
            &self.max_connections,
            &self.max_addresses,
            &self.quota,
            &self.expires,
            &self.beyond,
            &self.egress,
            &self.weight,
            &self.floor,
        ]
    }
}

impl Rules {
    /// These, and where they say nothing, those of `everybody`.
    #[must_use]
    pub fn or(self, everybody: &Self) -> Self {
        Self {
            limits: self.limits.or(everybody.limits),
            max_connections: self.max_connections.or(everybody.max_connections),
            max_addresses: self.max_addresses.or(everybody.max_addresses),
            quota: self.quota.or(everybody.quota),
            expires: self.expires.or(everybody.expires),
            beyond: self.beyond.or(everybody.beyond),
            egress: self.egress.or_else(|| everybody.egress.clone()),
            weight: self.weight.or(everybody.weight),
            floor: self.floor.or(everybody.floor),
        }
    }

    /// These after a change.
    #[must_use]
    pub fn changed(self, change: &RulesChange) -> Self {
        Self {
            limits: change.limits.unwrap_or(self.limits),
            max_connections: change.max_connections.unwrap_or(self.max_connections),
            max_addresses: change.max_addresses.unwrap_or(self.max_addresses),
            quota: change.quota.unwrap_or(self.quota),
            expires: change.expires.unwrap_or(self.expires),
            beyond: change.beyond.unwrap_or(self.beyond),
            egress: change.egress.clone().unwrap_or(self.egress),
            weight: change.weight.unwrap_or(self.weight),
            floor: change.floor.unwrap_or(self.floor),
        }
    }

    /// The period that usage is counted by: the quota's, or the calendar month.
    pub(crate) fn period(&self) -> Period {
        match self.quota {
            Some(Quota::Of { period, .. }) => period,
            _ => Period::MONTH,
        }
    }

    /// The bytes of the quota, if there is one.
    pub(crate) fn quota_bytes(&self) -> Option<u64> {
        match self.quota {
            Some(Quota::Of { bytes, .. }) => Some(bytes.get()),
            _ => None,
        }
    }

    /// When the account ends, if it does.
    pub(crate) fn end(&self) -> Option<Moment> {
        match self.expires {
            Some(Expiry::At(end)) => Some(end),
            _ => None,
        }
    }

    /// What is had of the server's own limit.
    pub(crate) fn stake(&self) -> Stake {
        Stake::of(self.weight, self.floor)
    }

    pub(crate) fn to_text(&self) -> RulesText {
        RulesText {
            limits: self.limits.map(Limits::to_text).unwrap_or_default(),
            max_connections: self.max_connections.map(|cap| cap.to_string()),
            max_addresses: self.max_addresses.map(|cap| cap.to_string()),
            quota: self.quota.map(|quota| quota.to_string()),
            expires: self.expires.map(|expiry| expiry.to_string()),
            beyond: self.beyond.map(|beyond| beyond.to_string()),
            egress: self.egress.as_ref().map(RuleList::to_string),
            weight: self.weight.map(|weight| weight.to_string()),
            floor: self.floor.map(|floor| floor.to_string()),
        }
    }

    pub(crate) fn from_text(text: &RulesText) -> Result<Self, RuleError> {
        Ok(Self {
            limits: Limits::from_text(&text.limits)?,
            max_connections: read(&text.max_connections)?,
            max_addresses: read(&text.max_addresses)?,
            quota: read(&text.quota)?,
            expires: read(&text.expires)?,
            beyond: read(&text.beyond)?,
            egress: read(&text.egress)?,
            weight: read(&text.weight)?,
            floor: read(&text.floor)?,
        })
    }
}

fn read<T>(text: &Option<String>) -> Result<Option<T>, RuleError>
where
    T: FromStr,
    RuleError: From<T::Err>,
{
    let parse = |text: &str| text.parse::<T>().map_err(RuleError::from);
    text.as_deref().map(parse).transpose()
}

impl From<Limits> for Rules {
    fn from(limits: Limits) -> Self {
        Self {
            limits: Some(limits),
            ..Self::default()
        }
    }
}

impl Cap {
    /// The number, if there is one.
    pub(crate) const fn most(self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::AtMost(most) => Some(most),
        }
    }
}

impl Beyond {
    /// The limits of somebody who is slowed down: each of their budgets at this
    /// rate, unless it is slower already; one for both directions if they have none.
    pub(crate) fn slowed(limits: Limits, rate: ByteRate) -> Limits {
        let slow = token_bucket(rate, default_burst(rate));
        let slower = |policy: Option<Policy>| match policy {
            Some(policy) if policy.rate().is_some_and(|own| own <= rate) => policy,
            _ => slow,
        };
        match limits.policies() {
            [None, None, None] => Limits::Shared(slow),
            [Some(shared), ..] => Limits::Shared(slower(Some(shared))),
            [None, up, down] => Limits::PerDirection {
                up: Some(slower(up)),
                down: Some(slower(down)),
            },
        }
    }
}

impl FromStr for Cap {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        match text.trim() {
            "none" => Ok(Self::None),
            number => match number.parse() {
                Ok(most @ 1..) => Ok(Self::AtMost(most)),
                _ => Err(RuleError::Cap {
                    given: text.to_owned(),
                }),
            },
        }
    }
}

impl FromStr for Quota {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let (bytes, period) = match text.trim().split_once('/') {
            _ if text.trim() == "none" => return Ok(Self::None),
            Some((bytes, period)) => (bytes, period.parse()?),
            None => (text, Period::Never),
        };
        Ok(Self::Of {
            bytes: bytes.parse()?,
            period,
        })
    }
}

impl FromStr for Expiry {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        match text.trim() {
            "never" => Ok(Self::Never),
            date => Ok(Self::At(date.parse()?)),
        }
    }
}

impl FromStr for Beyond {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        match text.trim() {
            "refuse" => Ok(Self::Refuse),
            rate => Ok(Self::SlowTo(rate.parse()?)),
        }
    }
}

impl fmt::Display for Cap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::AtMost(most) => most.fmt(f),
        }
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Of { bytes, period } => write!(f, "{}B/{period}", bytes.get()),
        }
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::At(end) => end.fmt(f),
        }
    }
}

impl fmt::Display for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse => f.write_str("refuse"),
            Self::SlowTo(rate) => write!(f, "{}B/s", rate.get()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_survive_their_text() {
        let rules = Rules {
            limits: Some(Limits::Unlimited),
            max_connections: Some(Cap::AtMost(5)),
            max_addresses: Some(Cap::None),
            quota: Some("10 GB/monthly@15".parse().unwrap()),
            expires: Some("2027-01-31".parse().unwrap()),
            beyond: Some("8 kB/s".parse().unwrap()),
            egress: Some("deny * 25, allow 10.1.0.0/16 443".parse().unwrap()),
            weight: Some("3".parse().unwrap()),
            floor: Some("5 kB/s".parse().unwrap()),
        };
        assert_eq!(Rules::from_text(&rules.to_text()).unwrap(), rules);
        let silent = Rules::default();
        assert_eq!(silent.to_text(), RulesText::default());
        assert_eq!(Rules::from_text(&silent.to_text()).unwrap(), silent);
        let text = rules.to_text();
        assert_eq!(text.quota.as_deref(), Some("10000000000B/monthly@15"));
        assert_eq!(text.expires.as_deref(), Some("2027-01-31T00:00:00Z"));
        assert_eq!(text.floor.as_deref(), Some("5000B/s"));
    }

    #[test]
    fn a_users_rules_go_before_those_for_everybody() {
        let everybody = Rules {
            max_connections: Some(Cap::AtMost(5)),
            quota: Some("1GB".parse().unwrap()),
            ..Rules::default()
        };
        let own = Rules {
            quota: Some(Quota::None),
            ..Rules::default()
        };
        let both = own.clone().or(&everybody);
        assert_eq!(both.max_connections, Some(Cap::AtMost(5)));
        assert_eq!(both.quota_bytes(), None);
        let change = RulesChange {
            quota: Some(None),
            ..RulesChange::default()
        };
        let quota = own.changed(&change).or(&everybody).quota;
        assert_eq!(quota, everybody.quota);
    }

    #[test]
    fn mistakes_are_named() {
        assert!("0".parse::<Cap>().is_err());
        assert!("-1".parse::<Cap>().is_err());
        assert!("10".parse::<Quota>().is_err(), "no unit");
        assert!("10GB/yearly".parse::<Quota>().is_err());
        assert!("soon".parse::<Expiry>().is_err());
        assert!("8".parse::<Beyond>().is_err());
        assert!("0".parse::<Weight>().is_err());
        assert!("1001".parse::<Weight>().is_err());
        assert!("1.5".parse::<Weight>().is_err());
        assert!("5".parse::<FloorRule>().is_err());
    }

    #[test]
    fn slowing_down_makes_nobody_faster() {
        let rate = |bytes| ByteRate::new(bytes).unwrap();
        let bucket = |bytes| token_bucket(rate(bytes), ByteSize::new(1_500));
        let slowed = |limits| Beyond::slowed(limits, rate(1_000));
        assert_eq!(slowed(Limits::Unlimited), Limits::Shared(bucket(1_000)));
        assert_eq!(
            slowed(Limits::Shared(bucket(500))),
            Limits::Shared(bucket(500))
        );
        assert_eq!(
            slowed(Limits::PerDirection {
                up: Some(bucket(500)),
                down: None
            }),
            Limits::PerDirection {
                up: Some(bucket(500)),
                down: Some(bucket(1_000))
            }
        );
    }
}
