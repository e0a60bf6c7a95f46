//! Users as JSON lines: an object a line, hashes included.
//!
//! Only `name` and one of `password_hash` and `password` must be there when
//! they are read; what is null or left out is as for everybody.

use std::fmt::Display;
use std::io::{self, Write};
use std::str::FromStr;

use proxy::users::view::RulesView;
use proxy::users::{Cap, Moment, PeriodUsage, Secret, UserRecord};
use proxy::{Limits, Rules, Usage};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Failure;

/// Writes everybody to stdout.
pub(super) fn write(records: &[UserRecord]) -> Result<(), Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for record in records {
        writeln!(out, "{}", line(record)).map_err(Failure::environment)?;
    }
    out.flush().map_err(Failure::environment)
}

fn line(record: &UserRecord) -> Value {
    let (key, secret) = match &record.secret {
        Secret::Hash(hash) => ("password_hash", hash.clone()),
        Secret::Password(password) => ("password", String::from_utf8_lossy(password).into_owned()),
    };
    let mut line = json!({
        "name": record.name,
        key: secret,
        "enabled": record.enabled,
        "created": record.created_at.to_string(),
        "upload_bytes": record.usage.upload_bytes,
        "download_bytes": record.usage.download_bytes,
        "period": {
            "start": record.period.start.to_string(),
            "upload_bytes": record.period.usage.upload_bytes,
            "download_bytes": record.period.usage.download_bytes,
        },
    });
    let rules = serde_json::to_value(RulesView::from(&record.rules));
    if let (Value::Object(line), Ok(Value::Object(rules))) = (&mut line, rules) {
        line.extend(rules);
        #[cfg(feature = "shadowsocks")]
        if let Some(access) = &record.shadowsocks {
            let access = json!({
                "port": access.port,
                "method": access.method.name(),
                "password": access.password,
                "number": access.number,
            });
            line.insert("shadowsocks".to_owned(), access);
        }
    }
    line
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: String,
    password: Option<String>,
    password_hash: Option<String>,
    enabled: Option<bool>,
    created: Option<String>,
    limit_shared: Option<String>,
    limit_up: Option<String>,
    limit_down: Option<String>,
    max_connections: Option<Value>,
    max_addresses: Option<Value>,
    quota: Option<String>,
    expires: Option<String>,
    beyond: Option<String>,
    egress: Option<String>,
    weight: Option<u32>,
    floor: Option<String>,
    #[serde(default)]
    upload_bytes: u64,
    #[serde(default)]
    download_bytes: u64,
    period: Option<PeriodLine>,
    #[cfg(feature = "shadowsocks")]
    shadowsocks: Option<AccessLine>,
}

#[cfg(feature = "shadowsocks")]
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccessLine {
    port: std::num::NonZeroU16,
    method: String,
    password: String,
    number: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PeriodLine {
    start: String,
    upload_bytes: u64,
    download_bytes: u64,
}

/// Reads one line: the name, as far as there is one, and the user or what is
/// wrong with the line.
pub(super) fn read(text: &str) -> (String, Result<UserRecord, String>) {
    match serde_json::from_str::<Line>(text) {
        Err(error) => (String::new(), Err(error.to_string())),
        Ok(line) => (line.name.clone(), record(line)),
    }
}

fn record(line: Line) -> Result<UserRecord, String> {
    let secret = match (line.password, line.password_hash) {
        (Some(password), None) => Secret::Password(password.into_bytes()),
        (None, Some(hash)) => Secret::Hash(hash),
        _ => return Err("give password_hash or password, one of them".to_owned()),
    };
    let rules = Rules {
        limits: limits(line.limit_shared, line.limit_up, line.limit_down)?,
        max_connections: cap(line.max_connections)?,
        max_addresses: cap(line.max_addresses)?,
        quota: parse(line.quota)?,
        expires: parse(line.expires)?,
        beyond: parse(line.beyond)?,
        egress: parse(line.egress)?,
        weight: parse(line.weight.map(|weight| weight.to_string()))?,
        floor: parse(line.floor)?,
    };
    let mut record = UserRecord::new(line.name, secret, rules);
    record.enabled = line.enabled.unwrap_or(true);
    record.created_at = parse::<Moment>(line.created)?.unwrap_or(record.created_at);
    record.usage = Usage {
        upload_bytes: line.upload_bytes,
        download_bytes: line.download_bytes,
    };
    if let Some(period) = line.period {
        record.period = PeriodUsage {
            start: period.start.parse().map_err(said)?,
            usage: Usage {
                upload_bytes: period.upload_bytes,
                download_bytes: period.download_bytes,
            },
        };
    }
    #[cfg(feature = "shadowsocks")]
    if let Some(access) = line.shadowsocks {
        record.shadowsocks = Some(proxy::users::Access {
            number: access.number,
            port: access.port.get(),
            method: access.method.parse().map_err(said)?,
            password: access.password,
        });
    }
    record.check().map_err(said)?;
    Ok(record)
}

fn limits(
    shared: Option<String>,
    up: Option<String>,
    down: Option<String>,
) -> Result<Option<Limits>, String> {
    let policy = |text: Option<String>| {
        text.map(|text| Limits::policy(&text, None, None).map_err(said))
            .transpose()
    };
    match (policy(shared)?, policy(up)?, policy(down)?) {
        (None, None, None) => Ok(None),
        (Some(flow::Policy::None), None, None) => Ok(Some(Limits::Unlimited)),
        (Some(shared), None, None) => Ok(Some(Limits::Shared(shared))),
        (None, up, down) => Ok(Some(Limits::PerDirection { up, down })),
        _ => Err("limit_shared excludes limit_up and limit_down".to_owned()),
    }
}

/// A number, or `none`.
fn cap(value: Option<Value>) -> Result<Option<Cap>, String> {
    parse(value.map(|value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    }))
}

fn parse<T>(text: Option<String>) -> Result<Option<T>, String>
where
    T: FromStr,
    T::Err: Display,
{
    text.map(|text| text.parse().map_err(said)).transpose()
}

fn said(error: impl Display) -> String {
    error.to_string()
}
