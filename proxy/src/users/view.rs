//! Users and rules as JSON: what the command line prints and the admin API speaks.
//! Keys may be added; none will change its meaning.

use flow::Policy;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::limits::LimitText;
use super::rules::RulesText;
use super::{Cap, RuleError, Rules, RulesChange, Standing, Usage, User, Weight};

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "admin", derive(utoipa::ToSchema))]
pub struct UserView {
    /// The name.
    pub name: String,
    /// Whether they may log in.
    pub enabled: bool,
    /// When the account was made, as in `2027-01-31T12:00:00Z`.
    pub created: String,
    /// Whether they are within quota and expiry.
    pub standing: StandingView,
    /// The user's own rules; null is as for everybody.
    #[serde(flatten)]
    pub own: RulesView,
    /// The rules that hold.
    pub rules: RulesView,
    /// The current period.
    pub period: PeriodView,
    /// Payload bytes ever, from clients to targets.
    pub upload_bytes: u64,
    /// Payload bytes ever, from targets to clients.
    pub download_bytes: u64,
}

/// What a user has moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "admin", derive(utoipa::ToSchema))]
pub struct UsageView {
    /// The name.
    pub name: String,
    /// Whether they are within quota and expiry.
    pub standing: StandingView,
    /// The current period.
    pub period: PeriodView,
    /// Payload bytes ever, from clients to targets.
    pub upload_bytes: u64,
    /// Payload bytes ever, from targets to clients.
    pub download_bytes: u64,
}

/// As [`Standing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "admin", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum StandingView {
    /// Within quota and expiry.
    Good,
    /// The quota of the period is used up.
    OverQuota,
    /// The account has ended.
    Expired,
}

/// What was moved in a period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "admin", derive(utoipa::ToSchema))]
pub struct PeriodView {
    /// Its first instant.
    pub start: String,
    /// When it ends; null is never.
    pub end: Option<String>,
    /// Payload bytes from clients to targets.
    pub upload_bytes: u64,
    /// Payload bytes from targets to clients.
    pub download_bytes: u64,
    /// Payload bytes of both directions that may be moved in it; null is any number.
    pub quota_bytes: Option<u64>,
    /// What is left of them.
    pub left_bytes: Option<u64>,
}

/// Rules; null where they say nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "admin", derive(utoipa::ToSchema))]
pub struct RulesView {
    /// One budget for both directions, as in `token-bucket:rate=5000B/s,burst=5000B`;
    /// `none` is unlimited.
    pub limit_shared: Option<String>,
    /// A budget from clients to targets.
    pub limit_up: Option<String>,
    /// A budget from targets to clients.
    pub limit_down: Option<String>,
    /// Connections at once.
    pub max_connections: Option<CapView>,
    /// Addresses at once.
    pub max_addresses: Option<CapView>,
    /// Payload in a period, as in `10000000000B/monthly@15`, or `none`.
    pub quota: Option<String>,
    /// The end of the account, or `never`.
    pub expires: Option<String>,
    /// `refuse`, or a rate.
    pub beyond: Option<String>,
    /// Rules about targets, as in `deny * 25, allow 10.1.0.0/16 443-444`, or `none`.
    pub egress: Option<String>,
    /// The share in what is left of the server's own limit, 1 to 1000.
    pub weight: Option<u32>,
    /// What is assured of the server's own limit: a rate, or `none`.
    pub floor: Option<String>,
}

/// A number, or the word `none`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "admin", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum CapView {
    /// So many.
    Number(u64),
    /// `none`: any number.
    Word(String),
}

impl From<&User> for UserView {
    fn from(user: &User) -> Self {
        Self {
            name: user.name.clone(),
            enabled: user.enabled,
            created: user.created_at.to_string(),
            standing: user.standing.into(),
            own: (&user.own).into(),
            rules: (&user.rules).into(),
            period: user.into(),
            upload_bytes: user.usage.upload_bytes,
            download_bytes: user.usage.download_bytes,
        }
    }
}

impl From<&User> for UsageView {
    fn from(user: &User) -> Self {
        Self {
            name: user.name.clone(),
            standing: user.standing.into(),
            period: user.into(),
            upload_bytes: user.usage.upload_bytes,
            download_bytes: user.usage.download_bytes,
        }
    }
}

impl From<&User> for PeriodView {
    fn from(user: &User) -> Self {
        let used = user.period.usage;
        let quota = user.rules.quota_bytes();
        Self {
            start: user.period.start.to_string(),
            end: user.period_end.map(|end| end.to_string()),
            upload_bytes: used.upload_bytes,
            download_bytes: used.download_bytes,
            quota_bytes: quota,
            left_bytes: quota.map(|quota| quota.saturating_sub(used.total())),
        }
    }
}

impl PeriodView {
    /// What was moved.
    #[must_use]
    pub const fn usage(&self) -> Usage {
        Usage {
            upload_bytes: self.upload_bytes,
            download_bytes: self.download_bytes,
        }
    }
}

impl From<Standing> for StandingView {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Good => Self::Good,
            Standing::OverQuota => Self::OverQuota,
            Standing::Expired => Self::Expired,
        }
    }
}

impl StandingView {
    /// As it is written in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::OverQuota => "over-quota",
            Self::Expired => "expired",
        }
    }
}

impl From<&Rules> for RulesView {
    fn from(rules: &Rules) -> Self {
        let [shared, up, down] = match rules.limits {
            Some(limits) if limits.policies() == [None; 3] => [Some(Policy::None), None, None],
            Some(limits) => limits.policies(),
            None => [None; 3],
        };
        let text = |policy: Option<Policy>| policy.map(|policy| policy.to_string());
        Self {
            limit_shared: text(shared),
            limit_up: text(up),
            limit_down: text(down),
            max_connections: rules.max_connections.map(CapView::from),
            max_addresses: rules.max_addresses.map(CapView::from),
            quota: rules.quota.map(|quota| quota.to_string()),
            expires: rules.expires.map(|expires| expires.to_string()),
            beyond: rules.beyond.map(|beyond| beyond.to_string()),
            egress: rules.egress.as_ref().map(ToString::to_string),
            weight: rules.weight.map(Weight::get),
            floor: rules.floor.map(|floor| floor.to_string()),
        }
    }
}

impl RulesView {
    /// The rules that these words mean.
    ///
    /// # Errors
    /// [`RuleError`]
    pub fn rules(&self) -> Result<Rules, RuleError> {
        let cap = |cap: &Option<CapView>| cap.as_ref().map(CapView::text);
        Rules::from_text(&RulesText {
            limits: LimitText {
                shared: self.limit_shared.clone(),
                up: self.limit_up.clone(),
                down: self.limit_down.clone(),
            },
            max_connections: cap(&self.max_connections),
            max_addresses: cap(&self.max_addresses),
            quota: self.quota.clone(),
            expires: self.expires.clone(),
            beyond: self.beyond.clone(),
            egress: self.egress.clone(),
            weight: self.weight.map(|weight| weight.to_string()),
            floor: self.floor.clone(),
        })
    }
}

/// A change of rules as JSON: the keys that it has, null for those that become
/// everybody's.
#[must_use]
pub fn change_body(change: &RulesChange) -> Value {
    let view = RulesView::from(&Rules::default().changed(change));
    let Ok(Value::Object(mut keys)) = serde_json::to_value(view) else {
        return Value::Object(Map::new());
    };
    keys.retain(|key, _| match key.as_str() {
        "max_connections" => change.max_connections.is_some(),
        "max_addresses" => change.max_addresses.is_some(),
        "quota" => change.quota.is_some(),
        "expires" => change.expires.is_some(),
        "beyond" => change.beyond.is_some(),
        "egress" => change.egress.is_some(),
        "weight" => change.weight.is_some(),
        "floor" => change.floor.is_some(),
        _ => change.limits.is_some(),
    });
    Value::Object(keys)
}

impl From<Cap> for CapView {
    fn from(cap: Cap) -> Self {
        match cap {
            Cap::None => Self::Word("none".to_owned()),
            Cap::AtMost(most) => Self::Number(most),
        }
    }
}

impl CapView {
    /// As the command line takes it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Word(word) => word.clone(),
        }
    }
}
