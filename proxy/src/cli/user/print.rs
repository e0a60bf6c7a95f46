//! What the commands about users print: text, or JSON of a documented shape.

use std::io::{self, Write};

use proxy::users::view::{RulesView, StandingView, UsageView, UserView};
use proxy::users::{Beyond, Cap, Expiry, FloorRule, Quota};
use proxy::{Limits, Rules};
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

    pub(super) fn user(&self, user: &UserView) -> Result<(), Failure> {
        self.print(&value(user)?, || line(user))
    }

    pub(super) fn everybody(&self, users: &[UserView]) -> Result<(), Failure> {
        if !self.json {
            let lines = users.iter().map(line).collect::<Vec<_>>().join("\n");
            return self.print(&Value::Null, || lines);
        }
        self.print(&value(&users)?, String::new)
    }

    pub(super) fn usage(&self, user: &UsageView) -> Result<(), Failure> {
        let period = &user.period;
        self.print(&value(user)?, || {
            let quota = match (period.quota_bytes, period.left_bytes) {
                (Some(quota), Some(left)) => format!("  {left} B left of {quota} B"),
                _ => String::new(),
            };
            format!(
                "{}  {}\nsince {}: {}{quota}",
                user.name,
                moved(user.upload_bytes, user.download_bytes),
                period.start,
                moved(period.upload_bytes, period.download_bytes),
            )
        })
    }

    pub(super) fn rules(&self, rules: &RulesView) -> Result<(), Failure> {
        self.print(&value(rules)?, || {
            let text = described(&read(rules));
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

fn value(view: &impl serde::Serialize) -> Result<Value, Failure> {
    serde_json::to_value(view).map_err(Failure::environment)
}

/// The rules of a view; a server that is newer than we are may have others, which say
/// nothing to us.
fn read(rules: &RulesView) -> Rules {
    rules.rules().unwrap_or_default()
}

/// One user in one line; what is not set is left out.
fn line(user: &UserView) -> String {
    let state = match (user.enabled, user.standing) {
        (false, _) => "disabled",
        (true, StandingView::Good) => "enabled",
        (true, standing) => standing.name(),
    };
    let all = read(&user.rules);
    let limits = all.limits.unwrap_or_default();
    let rules = described(&Rules {
        limits: None,
        ..all
    });
    let rules = if rules.is_empty() {
        rules
    } else {
        format!("  {rules}")
    };
    let moved = moved(user.upload_bytes, user.download_bytes);
    format!("{}  {state}  {limits}{rules}  {moved}", user.name)
}

fn moved(up: u64, down: u64) -> String {
    format!("up {up} B  down {down} B")
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
    if let Some(egress) = rules.egress.as_ref().filter(|it| !it.as_slice().is_empty()) {
        parts.push(format!("targets {egress}"));
    }
    if let Some(weight) = rules.weight {
        parts.push(format!("weight {weight}"));
    }
    if let Some(FloorRule::AtLeast(rate)) = rules.floor {
        parts.push(format!("floor {}B/s", rate.get()));
    }
    parts.join("  ")
}
