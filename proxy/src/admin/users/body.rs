//! What may be said of a user: the words of the command line, by the keys that the
//! answers have.

use flow::{ByteRate, ByteSize};
use serde::{Deserialize, Deserializer};

use super::super::problem::{Kind, Problem};
use crate::acl::RuleList;
use crate::users::view::CapView;
use crate::users::{Beyond, Cap, Expiry, FloorRule, Limits, Quota, RulesChange, Weight};

/// A value, null, or nothing.
type Maybe<T> = Option<Option<T>>;

macro_rules! bodies {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty),* $(,)? })+) => {$(
        $(#[$meta])*
        #[derive(Clone, Deserialize, utoipa::ToSchema)]
        #[serde(deny_unknown_fields)]
        pub(in crate::admin) struct $name {
            $($(#[$field_meta])* pub(super) $field: $type,)*
            /// One budget for both directions, as in `5000 B/s` or `40 kbit/s`.
            #[serde(default, deserialize_with = "present")]
            #[schema(value_type = Option<String>, max_length = 64, pattern = r"^[1-9][0-9]{0,8} ?(k|M|G|Ki|Mi|Gi)?B/s$")]
            rate: Maybe<String>,
            /// A budget from clients to targets.
            #[serde(default, deserialize_with = "present")]
            #[schema(value_type = Option<String>, max_length = 64, pattern = r"^[1-9][0-9]{0,8} ?(k|M|G|Ki|Mi|Gi)?B/s$")]
            rate_up: Maybe<String>,
            /// A budget from targets to clients.
            #[serde(default, deserialize_with = "present")]
            #[schema(value_type = Option<String>, max_length = 64, pattern = r"^[1-9][0-9]{0,8} ?(k|M|G|Ki|Mi|Gi)?B/s$")]
            rate_down: Maybe<String>,
            /// What may pass at once after a pause, for these rates; left out, the larger
            /// of 1500 B and 10 ms of the rate.
            #[schema(max_length = 64, pattern = r"^[1-9][0-9]{3,8} ?(k|M|Ki|Mi)?B$")]
            burst: Option<String>,
            /// A policy for both directions, as in `token-bucket:rate=5000B/s,burst=5000B`, or
            /// `none`. The three limits are changed together, and not beside rates.
            #[serde(default, deserialize_with = "present")]
            #[schema(value_type = Option<String>, max_length = 256, pattern = r"^(none|token-bucket:rate=[1-9][0-9]{0,8}B/s)$")]
            limit_shared: Maybe<String>,
            /// A policy from clients to targets.
            #[serde(default, deserialize_with = "present")]
            #[schema(value_type = Option<String>, max_length = 256, pattern = r"^(none|token-bucket:rate=[1-9][0-9]{0,8}B/s)$")]
            limit_up: Maybe<String>,
            /// A policy from targets to clients.
            #[serde(default, deserialize_with = "present")]
            #[schema(value_type = Option<String>, max_length = 256, pattern = r"^(none|token-bucket:rate=[1-9][0-9]{0,8}B/s)$")]
            limit_down: Maybe<String>,
            /// Connections at once, or `none`.
            #[serde(default, deserialize_with = "present")]
            #[schema(value_type = Option<CapView>)]
            max_connections: Maybe<CapView>,
            /// Addresses at once (an IPv6 /64 is one), or `none`.
            #[serde(default, deserialize_with = "present")]
            #[schema(value_type = Option<CapView>)]
            max_addresses: Maybe<CapView>,
            /// Payload in a period, as in `10GB/monthly@15`, or `none`.
            #[serde(default, deserialize_with = "present")]
            #[schema(value_type = Option<String>, max_length = 64, pattern = r"^(none|[1-9][0-9]{0,5}[kMG]B/(daily|weekly|monthly))$")]
            quota: Maybe<String>,
            /// The end of the account, as in `2027-01-31` or `2027-01-31T12:00:00Z`, or `never`.
            #[serde(default, deserialize_with = "present")]
            #[schema(value_type = Option<String>, max_length = 64, pattern = r"^(never|20[3-9][0-9]-0[1-9]-[012][1-8])$")]
            expires: Maybe<String>,
            /// What holds beyond quota and expiry: `refuse`, or a rate.
            #[serde(default, deserialize_with = "present")]
            #[schema(value_type = Option<String>, max_length = 64, pattern = r"^(refuse|[1-9][0-9]{0,8} ?(k|M|G)?B/s)$")]
            beyond: Maybe<String>,
            /// Which targets may be reached, as in `deny * 25, allow 10.1.0.0/16 443-444`,
            /// or `none`; the first rule about a resolved address decides.
            #[serde(default, deserialize_with = "present")]
            #[schema(value_type = Option<String>, max_length = 4096, pattern = r"^(none|(allow|deny) ([*]|10[.][0-9][.]0[.]0/16)( [1-9][0-9]{0,3})?)$")]
            egress: Maybe<String>,
            /// The share in what is left of the limit of the whole server.
            #[serde(default, deserialize_with = "present")]
            #[schema(value_type = Option<u32>, minimum = 1, maximum = 1000)]
            weight: Maybe<u32>,
            /// What is assured of the limit of the whole server: a rate, or `none`.
            #[serde(default, deserialize_with = "present")]
            #[schema(value_type = Option<String>, max_length = 64, pattern = r"^(none|[1-9][0-9]{0,8} ?(k|M|G)?B/s)$")]
            floor: Maybe<String>,
        }

        impl $name {
            /// What of the rules is changed.
            pub(in crate::admin) fn rules(&self) -> Result<RulesChange, Problem> {
                Ok(RulesChange {
                    limits: limits(
                        [&self.rate, &self.rate_up, &self.rate_down],
                        self.burst.as_deref(),
                        [&self.limit_shared, &self.limit_up, &self.limit_down],
                    )?,
                    max_connections: cap("max_connections", &self.max_connections)?,
                    max_addresses: cap("max_addresses", &self.max_addresses)?,
                    quota: read::<Quota>("quota", &self.quota)?,
                    expires: read::<Expiry>("expires", &self.expires)?,
                    beyond: read::<Beyond>("beyond", &self.beyond)?,
                    egress: read::<RuleList>("egress", &self.egress)?,
                    weight: read::<Weight>(
                        "weight",
                        &self.weight.map(|weight| weight.map(|weight| weight.to_string())),
                    )?,
                    floor: read::<FloorRule>("floor", &self.floor)?,
                })
            }
        }
    )+};
}

bodies! {
    /// A new user.
    UserCreate {
        /// 1 to 255 bytes without white space and control characters.
        #[schema(min_length = 1, max_length = 255, pattern = r"^[^\s\x00-\x20\x7f-\x9f]+$")]
        name: String,
        /// 1 to 255 bytes.
        #[schema(min_length = 1, max_length = 255)]
        password: String,
        /// Whether they may log in; yes if left out.
        enabled: Option<bool>,
    }
    /// Changes of a user, as a merge patch (RFC 7396): what is left out stays, null
    /// makes a rule that for everybody.
    UserPatch {
        /// Whether they may log in; if not, their connections are closed.
        enabled: Option<bool>,
        /// Another password closes their connections.
        #[schema(min_length = 1, max_length = 255)]
        password: Option<String>,
    }
    /// Changes of the rules for everybody.
    RulesPatch {}
}

/// Null is a value, too.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Maybe<T>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn meaningless(key: &str, error: impl std::fmt::Display) -> Problem {
    Kind::Meaningless.with(format!("{key}: {error}"))
}

fn read<T>(key: &str, text: &Maybe<String>) -> Result<Maybe<T>, Problem>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let parse = |text: &String| text.parse().map_err(|error| meaningless(key, error));
    text.as_ref()
        .map(|text| text.as_ref().map(parse).transpose())
        .transpose()
}

fn cap(key: &str, cap: &Maybe<CapView>) -> Result<Maybe<Cap>, Problem> {
    let text = cap.as_ref().map(|cap| cap.as_ref().map(CapView::text));
    read(key, &text)
}

/// The limits that rates, or policies, come to.
fn limits(
    rates: [&Maybe<String>; 3],
    burst: Option<&str>,
    policies: [&Maybe<String>; 3],
) -> Result<Maybe<Limits>, Problem> {
    let by_rate = rates.iter().any(|rate| rate.is_some());
    let by_policy = policies.iter().any(|policy| policy.is_some());
    match (by_rate, by_policy) {
        (true, true) => Err(Kind::Meaningless.with("give either rates or limits")),
        (true, false) => by_rates(rates, burst).map(Some),
        (false, _) if burst.is_some() => Err(meaningless("burst", "it needs a rate beside it")),
        (false, true) => by_policies(policies).map(Some),
        (false, false) => Ok(None),
    }
}

fn by_rates(rates: [&Maybe<String>; 3], burst: Option<&str>) -> Result<Option<Limits>, Problem> {
    let burst = burst.map(|burst| burst.parse::<ByteSize>());
    let burst = burst
        .transpose()
        .map_err(|error| meaningless("burst", error))?;
    let policy = |key, rate: &Maybe<String>| {
        let Some(Some(rate)) = rate else {
            return Ok(None);
        };
        let rate: ByteRate = rate.parse().map_err(|error| meaningless(key, error))?;
        let policy = Limits::policy("token-bucket", Some(rate), burst);
        policy.map(Some).map_err(|error| meaningless(key, error))
    };
    let [shared, up, down] = rates;
    together(
        policy("rate", shared)?,
        policy("rate_up", up)?,
        policy("rate_down", down)?,
    )
}

fn by_policies(policies: [&Maybe<String>; 3]) -> Result<Option<Limits>, Problem> {
    let policy = |key, text: &Maybe<String>| {
        let Some(Some(text)) = text else {
            return Ok(None);
        };
        let policy = Limits::policy(text, None, None);
        policy.map(Some).map_err(|error| meaningless(key, error))
    };
    let [shared, up, down] = policies;
    together(
        policy("limit_shared", shared)?,
        policy("limit_up", up)?,
        policy("limit_down", down)?,
    )
}

fn together(
    shared: Option<flow::Policy>,
    up: Option<flow::Policy>,
    down: Option<flow::Policy>,
) -> Result<Option<Limits>, Problem> {
    match (shared, up, down) {
        (None, None, None) => Ok(None),
        (Some(flow::Policy::None), None, None) => Ok(Some(Limits::Unlimited)),
        (Some(shared), None, None) => Ok(Some(Limits::Shared(shared))),
        (None, up, down) => Ok(Some(Limits::PerDirection { up, down })),
        _ => Err(Kind::Meaningless.with("give one limit for both directions, or one for each")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(text: &str) -> Result<RulesChange, String> {
        let patch: RulesPatch = serde_json::from_str(text).map_err(|error| error.to_string())?;
        patch.rules().map_err(|problem| problem.detail)
    }

    #[test]
    fn nothing_null_and_something_are_three_things() {
        assert_eq!(change("{}").unwrap(), RulesChange::default());
        assert_eq!(change(r#"{"quota": null}"#).unwrap().quota, Some(None));
        let quota = change(r#"{"quota": "none"}"#).unwrap().quota;
        assert_eq!(quota, Some(Some(Quota::None)));
        assert_eq!(change(r#"{"rate": null}"#).unwrap().limits, Some(None));
        let cap = change(r#"{"max_connections": 5}"#).unwrap().max_connections;
        assert_eq!(cap, Some(Some(Cap::AtMost(5))));
        let cap = change(r#"{"max_connections": "none"}"#)
            .unwrap()
            .max_connections;
        assert_eq!(cap, Some(Some(Cap::None)));
    }

    #[test]
    fn rates_and_policies_come_to_the_same() {
        let rate = change(r#"{"rate_down": "5 kB/s", "burst": "5000 B"}"#).unwrap();
        let policy = change(r#"{"limit_down": "token-bucket:rate=5000B/s,burst=5000B"}"#).unwrap();
        assert_eq!(rate, policy);
        let unlimited = change(r#"{"limit_shared": "none"}"#).unwrap().limits;
        assert_eq!(unlimited, Some(Some(Limits::Unlimited)));
    }

    #[test]
    fn what_means_nothing_is_named() {
        for (text, said) in [
            (r#"{"rate": "5000"}"#, "rate: "),
            (r#"{"rate": "5kB/s", "rate_up": "5kB/s"}"#, "one for each"),
            (r#"{"rate": "5kB/s", "limit_up": null}"#, "either"),
            (r#"{"burst": "5kB"}"#, "burst: "),
            (r#"{"limit_up": "sr-tcm"}"#, "limit_up: "),
            (r#"{"max_addresses": 0}"#, "max_addresses: "),
            (r#"{"expires": "soon"}"#, "expires: "),
            (r#"{"egress": "deny example.com"}"#, "egress: "),
            (r#"{"weight": 0}"#, "weight: "),
            (r#"{"floor": "5"}"#, "floor: "),
            (r#"{"quotas": "none"}"#, "unknown field"),
            (r#"{"quota": 5}"#, "string"),
        ] {
            let error = change(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
