//! `[https_service]` as `check-config --show-effective` shows it.

use std::time::Duration;

use proxy::config::https_service::{Balance, Guest, HttpsService, Quota, Upstream};
use proxy::{Config, ListenerTls};
use serde_json::{Value, json};

use super::{Shown, length, words};

const TABLE: &str = "https_service";

/// Every key of the table, by its name in a config file; none without the service.
pub(super) fn values(config: &Config) -> Vec<Shown> {
    let Some(service) = &config.https_service else {
        return Vec::new();
    };
    let path = |path: &std::path::PathBuf| path.display().to_string();
    let all: [(&'static str, Value); 18] = [
        ("listen", words(&service.listen).into()),
        ("tls", tls(service.tls)),
        (
            "proxy_protocol_from",
            words(&service.proxy_protocol_from).into(),
        ),
        ("max_connections", service.max_connections.into()),
        ("queue", service.queue.into()),
        ("workers", service.workers.get().into()),
        ("queue_timeout", length(service.queue_timeout)),
        ("request_timeout", length(service.request_timeout)),
        ("keep_alive", length(service.keep_alive)),
        ("close_after_response", service.close_after_response.into()),
        ("guest", service.guest.as_ref().map(guest).into()),
        ("roots", service.roots.as_ref().map(path).into()),
        ("memory", service.memory.to_string().into()),
        ("cache", service.cache.map(|size| size.to_string()).into()),
        ("per_address", quota(service.address_quota)),
        ("per_user", quota(service.user_quota)),
        ("upstream", upstreams(service)),
        ("statistics_interval", length(service.statistics_interval)),
    ];
    all.map(|(key, value)| (TABLE, key, value)).into()
}

/// Nothing where it is recognised.
pub(super) fn tls(tls: ListenerTls) -> Value {
    match tls {
        ListenerTls::Off => false.into(),
        ListenerTls::Required => true.into(),
        ListenerTls::Recognised => Value::Null,
    }
}

fn guest(guest: &Guest) -> Value {
    json!({ "name": guest.name, "from": words(&guest.from) })
}

/// Nothing where there is no end.
fn quota(quota: Quota) -> Value {
    if quota.requests.is_none() && quota.bytes.is_none() {
        return Value::Null;
    }
    json!({
        "requests": quota.requests,
        "bytes": quota.bytes.map(|size| size.to_string()),
        "window": length(quota.window),
    })
}

fn upstreams(service: &HttpsService) -> Value {
    let upstreams: Vec<Value> = service.upstreams.iter().map(upstream).collect();
    if upstreams.is_empty() {
        return Value::Null;
    }
    upstreams.into()
}

fn upstream(upstream: &Upstream) -> Value {
    let scheme = if upstream.tls { "https" } else { "http" };
    let interval: Duration = upstream.check.interval;
    json!({
        "origin": format!("{scheme}://{}", upstream.host),
        "instances": words(&upstream.instances),
        "balance": match upstream.balance {
            Balance::RoundRobin => "round-robin",
            Balance::LeastConnections => "least-connections",
            Balance::Source => "source",
        },
        "check_interval": length(interval),
        "check_path": upstream.check.path,
        "fall": upstream.check.fall,
        "rise": upstream.check.rise,
    })
}
