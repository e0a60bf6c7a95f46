//! `weirgate-proxy check-config`: what is wrong with a config, and what it comes to.

mod https_service;
#[cfg(feature = "shadowsocks")]
mod shadowsocks;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use flow::Nanos;
use proxy::config::file::{FileError, LogFormat};
use proxy::protocol::Dialect;
use proxy::protocol::opening::{Opening, Openings};
use proxy::tls::{ClientCertificate, TlsError, TlsFiles};
use proxy::{BindError, Config, Server, users};
use serde_json::{Map, Value, json};

use super::Failure;
use super::logging::LogArgs;
use super::settings::{ConfigArgs, Settings};

/// How long the database may take to say who has which floor.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Args)]
pub(crate) struct Check {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print every setting that would hold, and where it comes from. Passwords in URLs are masked.
    #[arg(long)]
    show_effective: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Table (or none), key and value.
type Shown = (&'static str, &'static str, Value);

/// One setting: table (or none), key, value, and who said so.
struct Setting {
    table: &'static str,
    key: &'static str,
    value: Value,
    source: &'static str,
}

impl Check {
    pub(super) async fn run(self, log: LogArgs) -> Result<(), Failure> {
        match self.judge() {
            Ok(settings) => {
                let warnings = warnings(&settings.config).await;
                self.accept(&settings, &warnings, log)
            }
            Err(failure) if self.json => {
                say(&problem(&failure).to_string())?;
                Err(failure)
            }
            Err(failure) => Err(failure),
        }
    }

    fn judge(&self) -> Result<Settings, Failure> {
        let settings = self.config.resolve()?;
        Server::check(&settings.config).map_err(|error| {
            let path = self.config.config.clone().unwrap_or_default();
            let (text, what) = (&settings.text, error.to_string());
            Failure::request(FileError::meaning(path, text, key(&error), what))
        })?;
        if settings.otlp_endpoint.is_some() && !cfg!(feature = "otlp") {
            let path = self.config.config.clone().unwrap_or_default();
            let what = "this program was built without OTLP (cargo feature otlp)".to_owned();
            return Err(Failure::request(FileError::meaning(
                path,
                &settings.text,
                "tracing",
                what,
            )));
        }
        Ok(settings)
    }

    fn accept(
        &self,
        settings: &Settings,
        warnings: &[String],
        log: LogArgs,
    ) -> Result<(), Failure> {
        let effective = effective(settings, log);
        if self.json {
            let mut value = json!({ "ok": true, "problems": [], "warnings": warnings });
            if self.show_effective {
                value["effective"] = nested(&effective, |setting| setting.value.clone());
                value["sources"] = nested(&effective, |setting| setting.source.into());
            }
            return say(&value.to_string());
        }
        for warning in warnings {
            let written = writeln!(io::stderr(), "warning: {warning}");
            written.map_err(Failure::environment)?;
        }
        if !self.show_effective {
            return say("ok");
        }
        let mut table = "";
        for setting in effective {
            let Setting { key, value, .. } = &setting;
            if value.is_null() {
                continue;
            }
            if setting.table != table {
                table = setting.table;
                say(&format!("\n[{table}]"))?;
            }
            let value = in_toml(value).map_err(Failure::environment)?;
            say(&format!("{key} = {value} # {}", setting.source))?;
        }
        Ok(())
    }
}

/// What is no mistake, and hardly what was meant.
async fn warnings(config: &Config) -> Vec<String> {
    let Some(bandwidth) = config.bandwidth else {
        return Vec::new();
    };
    let checking = users::check_floors(&config.database, bandwidth);
    let unknown = "whether the floors of users fit into bandwidth.limit is not known";
    match tokio::time::timeout(PATIENCE, checking).await {
        Ok(Ok(over)) => over.iter().map(ToString::to_string).collect(),
        Ok(Err(error)) => vec![format!("{unknown}: {}", Failure::environment(error))],
        Err(_) => vec![format!("{unknown}: the database does not answer")],
    }
}

/// On one line, without what is not there.
fn in_toml(value: &Value) -> io::Result<String> {
    let value = toml::Value::try_from(without_nulls(value)).map_err(io::Error::other)?;
    Ok(value.to_string())
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let there = fields.iter().filter(|(_, value)| !value.is_null());
            let there = there.map(|(key, value)| (key.clone(), without_nulls(value)));
            there.collect::<Map<_, _>>().into()
        }
        Value::Array(all) => all.iter().map(without_nulls).collect::<Vec<_>>().into(),
        other => other.clone(),
    }
}

/// What of a file an error is about.
fn key(error: &BindError) -> &'static str {
    match error {
        BindError::NoService => "https_service",
        BindError::Tls(TlsError::NoCertificate) => "listener",
        BindError::Tls(_) => "tls",
        BindError::Admin(_) => "admin",
        BindError::Panel(_) => "shadowsocks",
        _ => "listen",
    }
}

/// The same information that the text has.
fn problem(failure: &Failure) -> Value {
    let mut problem = json!({ "message": failure.to_string() });
    if let Some(error) = failure.file_error() {
        problem["message"] = error.what().into();
        if let Some(place) = error.place() {
            problem["line"] = place.line.into();
            problem["column"] = place.column.into();
            problem["start"] = place.span.start.into();
            problem["end"] = place.span.end.into();
        }
    }
    json!({ "ok": false, "problems": [problem] })
}

fn effective(settings: &Settings, log: LogArgs) -> Vec<Setting> {
    let file: toml::Table = settings.text.parse().unwrap_or_default();
    let in_file = |table: &str, key: &str| match table {
        "" => file.contains_key(key),
        table => file
            .get(table)
            .and_then(toml::Value::as_table)
            .is_some_and(|table| table.contains_key(key)),
    };
    let flag = |table: &str, key: &str| {
        let name = match table {
            "" => key.to_owned(),
            table => format!("{table}.{key}"),
        };
        let said = settings.said.iter().find(|(said, _)| *said == name);
        said.is_some_and(|(_, said)| *said)
    };
    let (log_level, log_format) = (log.level(settings.log), log.format(settings.log));
    let setting = |(table, key, value): Shown| {
        let source = if flag(table, key) || (table == "log" && log.says(key)) {
            "flag or environment"
        } else if in_file(table, key) {
            "file"
        } else {
            "default"
        };
        Setting {
            table,
            key,
            value,
            source,
        }
    };
    let format = match log_format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    let mut all = values(&settings.config);
    all.extend(https_service::values(&settings.config));
    #[cfg(feature = "shadowsocks")]
    all.extend(shadowsocks::values(&settings.config));
    all.push(("log", "level", log_level.to_string().into()));
    all.push(("log", "format", format.into()));
    let endpoint = settings.otlp_endpoint.clone();
    all.push(("tracing", "otlp_endpoint", endpoint.into()));
    all.into_iter().map(setting).collect()
}

/// Top-level keys first: that is the order of a TOML file.
fn values(config: &Config) -> Vec<Shown> {
    let time = length;
    let (timeouts, caps) = (config.timeouts, config.caps);
    let listeners = config.listeners.iter().map(|listener| {
        let tls = https_service::tls(listener.tls);
        json!({
            "address": listener.address.to_string(),
            "protocols": dialects(listener.dialects),
            "tls": tls,
            "proxy_protocol_from": words(&listener.proxy_protocol_from),
        })
    });
    let tls = config.tls.as_ref().map(tls_files);
    let of_tls = |key: &str| -> Value { tls.as_ref().map(|tls| tls[key].clone()).into() };
    let admin = &config.admin;
    let admin_listen: Vec<_> = admin.listen.iter().map(ToString::to_string).collect();
    vec![
        ("", "listen", words(&config.listen).into()),
        ("", "database", config.database.to_string().into()),
        ("", "allow_egress", words(&config.allow_egress).into()),
        ("", "accounting_interval", time(config.accounting_interval)),
        ("", "workers", config.workers.into()),
        ("", "listener", listeners.collect::<Vec<_>>().into()),
        ("timeouts", "handshake", time(timeouts.handshake)),
        ("timeouts", "connect", time(timeouts.connect)),
        ("timeouts", "idle", time(timeouts.idle)),
        ("timeouts", "half_closed", time(timeouts.half_closed)),
        ("timeouts", "keep_alive", time(timeouts.keep_alive)),
        ("timeouts", "drain", time(timeouts.drain)),
        ("timeouts", "database", time(timeouts.database)),
        ("caps", "connections", caps.connections.into()),
        ("caps", "handshakes", caps.handshakes.into()),
        (
            "caps",
            "connections_per_user",
            caps.connections_per_user.into(),
        ),
        (
            "caps",
            "connections_per_address",
            caps.connections_per_address.into(),
        ),
        ("egress", "rules", words(&config.egress.everybody).into()),
        ("egress", "users", rules_by_user(config)),
        (
            "bandwidth",
            "limit",
            config.bandwidth.map(|it| it.limit.to_string()).into(),
        ),
        (
            "bandwidth",
            "floor",
            config
                .bandwidth
                .and_then(|it| it.floor)
                .map(|it| it.to_string())
                .into(),
        ),
        (
            "registration",
            "limit",
            config.registration.map(|it| it.limits.to_string()).into(),
        ),
        (
            "registration",
            "most_users",
            config.registration.map(|it| it.most_users).into(),
        ),
        ("tls", "certificate", of_tls("certificate")),
        ("tls", "key", of_tls("key")),
        ("tls", "client_roots", of_tls("client_roots")),
        ("tls", "client_certificate", of_tls("client_certificate")),
        ("admin", "listen", admin_listen.into()),
        ("admin", "token_file", path(admin.token_file.as_ref())),
        ("admin", "tls", admin.tls.as_ref().map(tls_files).into()),
        ("admin", "hosts", admin.hosts.clone().into()),
        ("admin", "legacy_routes", admin.legacy_routes.into()),
        ("admin", "user_metrics", admin.user_metrics.into()),
        (
            "admin",
            "webhook",
            admin.webhook.as_ref().map(ToString::to_string).into(),
        ),
        ("admin", "expiry_days", admin.expiry_days.into()),
        ("admin", "webhook_roots", path(admin.webhook_roots.as_ref())),
        ("admin", "throttled_percent", admin.throttled_percent.into()),
        ("admin", "throttled_window", time(admin.throttled_window)),
    ]
}

fn path(path: Option<&PathBuf>) -> Value {
    path.map(|path| path.display().to_string()).into()
}

/// By the keys of a table `tls`.
fn tls_files(tls: &TlsFiles) -> Value {
    json!({
        "certificate": path(Some(&tls.certificate)),
        "key": path(Some(&tls.key)),
        "client_roots": path(tls.client_roots.as_ref()),
        "client_certificate": match tls.client_certificate {
            ClientCertificate::Required => "required",
            ClientCertificate::Optional => "optional",
        },
    })
}

/// As the config file has it.
fn length(length: std::time::Duration) -> Value {
    let nanos = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
    Nanos::new(nanos).to_string().into()
}

fn words<T: ToString>(all: &[T]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

/// As the config file has them.
fn rules_by_user(config: &Config) -> Value {
    let rules = config.egress.users.iter();
    let table: Map<_, _> = rules
        .map(|(name, rules)| (name.clone(), words(rules).into()))
        .collect();
    if table.is_empty() {
        Value::Null
    } else {
        table.into()
    }
}

/// By their names in a config file.
fn dialects(served: Openings) -> Vec<String> {
    let all = [
        Dialect::Socks5,
        Dialect::Http,
        Dialect::Line,
        Dialect::AuthTarget,
    ];
    all.into_iter()
        .filter(|&dialect| served.contains(Opening::from(dialect)))
        .map(|dialect| dialect.to_string())
        .collect()
}

fn nested(settings: &[Setting], of: impl Fn(&Setting) -> Value) -> Value {
    let mut root = Map::new();
    for setting in settings {
        if setting.table.is_empty() {
            root.insert(setting.key.to_owned(), of(setting));
            continue;
        }
        let table = root
            .entry(setting.table)
            .or_insert_with(|| Value::Object(Map::new()));
        table[setting.key] = of(setting);
    }
    Value::Object(root)
}

fn say(line: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{line}").map_err(Failure::environment)
}
