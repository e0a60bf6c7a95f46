//! What the commands about users print: text, or JSON of a documented shape.

use std::io::{self, Write};

use flow::Policy;
use proxy::users::{Beyond, Cap, Expiry, Quota, Standing, StoreError};
use proxy::{Limits, Rules, Usage, User, Users};
use serde_json::{Value, json};

use super::Failure;

/// Results to stdout, as text or as JSON.
pub(crate) struct Printer {
    json: bool,
}

impl Printer {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    pub(super) fn user(&self, users: &Users, name: &str) -> Result<(), Failure> {
        let user = known(users, name)?;
        self.print(&to_json(&user), || line(&user))
    }

    pub(super) fn everybody(&self, users: &[User]) -> Result<(), Failure> {
        if !self.json {
            let lines = users.iter().map(line).collect::<Vec<_>>().join("\n");
            return self.print(&Value::Null, || lines);
        }
        let all = users.iter().map(to_json).collect();
        self.print(&Value::Array(all), String::new)
    }

    pub(super) fn usage(&self, users: &Users, name: &str) -> Result<(), Failure> {
        let user = known(users, name)?;
        let mut value = json!({
            "name": user.name,
            "standing": standing(user.standing),
            "period": period(&user),
        });
        add_usage(&mut value, user.usage);
        let Usage {
            upload_bytes: up,
            download_bytes: down,
        } = user.period.usage;
        self.print(&value, || {
            format!(
                "{}\nsince {}: up {up} B  down {down} B{}",
                total(&user),
                user.period.start,
                quota(&user)
            )
        })
    }

    pub(super) fn rules(&self, rules: &Rules) -> Result<(), Failure> {
        self.print(&rules_json(rules), || {
            let text = described(rules);
            if text.is_empty() {
                "no rules for everybody".to_owned()
            } else {
                text
            }
        })
    }

    pub(super) fn gone(&self, name: &str) -> Result<(), Failure> {
        self.print(&json!({ "name": name, "deleted": true }), || {
            format!("{name}  deleted")
        })
    }

    /// One value: as it is, or as text.
    pub(crate) fn print(
        &self,
        value: &Value,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let line = if self.json { value.to_string() } else { text() };
        if line.is_empty() {
            return Ok(());
        }
        match writeln!(io::stdout(), "{line}") {
            // Whoever read has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(Failure::environment),
        }
    }
}

fn known(users: &Users, name: &str) -> Result<User, Failure> {
    users.get(name).ok_or_else(|| {
        Failure::request(StoreError::Unknown {
            name: name.to_owned(),
        })
    })
}

/// One user in one line; what is not set is left out.
fn line(user: &User) -> String {
    let state = match (user.enabled, user.standing) {
        (false, _) => "disabled",
        (true, Standing::Good) => "enabled",
        (true, standing) => self::standing(standing),
    };
    let limits = Rules {
        limits: None,
        ..user.rules
    };
    let rules = described(&limits);
    let rules = if rules.is_empty() {
        rules
    } else {
        format!("  {rules}")
    };
    format!(
        "{}  {state}  {}{rules}  {}",
        user.name,
        user.limits,
        moved(user.usage)
    )
}

fn total(user: &User) -> String {
    format!("{}  {}", user.name, moved(user.usage))
}

fn moved(usage: Usage) -> String {
    format!(
        "up {} B  down {} B",
        usage.upload_bytes, usage.download_bytes
    )
}

fn quota(user: &User) -> String {
    match user.rules.quota {
        Some(Quota::Of { bytes, .. }) => {
            let left = bytes.get().saturating_sub(user.period.usage.total());
            format!("  {left} B left of {} B", bytes.get())
        }
        _ => String::new(),
    }
}

/// The rules that say something, in one line.
fn described(rules: &Rules) -> String {
    let mut parts: Vec<String> = rules.limits.iter().map(Limits::to_string).collect();
    if let Some(Cap::AtMost(most)) = rules.max_connections {
        parts.push(format!("connections {most}"));
    }
    if let Some(Cap::AtMost(most)) = rules.max_addresses {
        parts.push(format!("addresses {most}"));
    }
    if let Some(quota @ Quota::Of { .. }) = rules.quota {
        parts.push(format!("quota {quota}"));
    }
    if let Some(Expiry::At(end)) = rules.expires {
        parts.push(format!("expires {end}"));
    }
    if let Some(Beyond::SlowTo(rate)) = rules.beyond {
        parts.push(format!("then {}B/s", rate.get()));
    }
    parts.join("  ")
}

fn to_json(user: &User) -> Value {
    let mut value = json!({
        "name": user.name,
        "enabled": user.enabled,
        "created": user.created_at.to_string(),
        "standing": standing(user.standing),
        "rules": rules_json(&user.rules),
        "period": period(user),
    });
    add_usage(&mut value, user.usage);
    if let (Value::Object(value), Value::Object(own)) = (&mut value, rules_json(&user.own)) {
        value.extend(own);
    }
    value
}

/// The rules by name; null where they say nothing.
pub(crate) fn rules_json(rules: &Rules) -> Value {
    let [shared, up, down] = match rules.limits {
        Some(limits) if limits.policies() == [None; 3] => [Some(Policy::None), None, None],
        Some(limits) => limits.policies(),
        None => [None; 3],
    };
    let text = |policy: Option<Policy>| policy.map(|policy| policy.to_string());
    json!({
        "limit_shared": text(shared),
        "limit_up": text(up),
        "limit_down": text(down),
        "max_connections": rules.max_connections.map(cap),
        "max_addresses": rules.max_addresses.map(cap),
        "quota": rules.quota.map(|quota| quota.to_string()),
        "expires": rules.expires.map(|expires| expires.to_string()),
        "beyond": rules.beyond.map(|beyond| beyond.to_string()),
    })
}

fn cap(cap: Cap) -> Value {
    match cap {
        Cap::None => "none".into(),
        Cap::AtMost(most) => most.into(),
    }
}

fn period(user: &User) -> Value {
    let quota = match user.rules.quota {
        Some(Quota::Of { bytes, .. }) => Some(bytes.get()),
        _ => None,
    };
    let used = user.period.usage;
    json!({
        "start": user.period.start.to_string(),
        "end": user.period_end.map(|end| end.to_string()),
        "upload_bytes": used.upload_bytes,
        "download_bytes": used.download_bytes,
        "quota_bytes": quota,
        "left_bytes": quota.map(|quota| quota.saturating_sub(used.total())),
    })
}

fn add_usage(value: &mut Value, usage: Usage) {
    value["upload_bytes"] = usage.upload_bytes.into();
    value["download_bytes"] = usage.download_bytes.into();
}

const fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Good => "good",
        Standing::OverQuota => "over-quota",
        Standing::Expired => "expired",
    }
}
