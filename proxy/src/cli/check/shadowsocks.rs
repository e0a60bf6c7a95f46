//! `[shadowsocks]` as `check-config --show-effective` shows it. Keys, tokens and the
//! paths of URLs are masked.

use proxy::Config;
use proxy::config::{Grpc, Managed, Panel, Shadowsocks, Source, UdpLimit};
use serde_json::{Value, json};

use super::{Shown, length, path};

const TABLE: &str = "shadowsocks";
const MASKED: &str = "***";

/// Every key of the table, by its name in a config file; none without the front end.
pub(super) fn values(config: &Config) -> Vec<Shown> {
    let Some(front) = &config.shadowsocks else {
        return Vec::new();
    };
    let Shadowsocks {
        listen,
        idle,
        udp_idle,
        udp_associations,
        udp,
        allow_unencrypted,
        replay_file,
        source,
        panel_roots,
        sync,
        grpc,
        metrics,
        managed,
    } = front;
    let (users, panel) = match source {
        None => (None, None),
        Some(Source::File(users)) => (Some(users), None),
        Some(Source::Panel(url)) => (None, Some(url)),
    };
    let udp = match udp {
        UdpLimit::Shape => "shape",
        UdpLimit::Police => "police",
    };
    let all: [(&'static str, Value); 14] = [
        ("listen", listen.to_string().into()),
        ("idle", idle.map(length).into()),
        ("udp_idle", length(*udp_idle)),
        ("udp_associations", (*udp_associations).into()),
        ("udp", udp.into()),
        ("allow_unencrypted", (*allow_unencrypted).into()),
        ("replay_file", path(replay_file.as_ref())),
        ("users", path(users)),
        ("panel", panel.map(masked).into()),
        ("panel_roots", path(panel_roots.as_ref())),
        ("sync", length(*sync)),
        ("metrics", metrics.map(|it| it.to_string()).into()),
        ("managed", managed.as_ref().map(port).into()),
        ("grpc", grpc.as_ref().map(interface).into()),
    ];
    all.map(|(key, value)| (TABLE, key, value)).into()
}

/// Its token is somewhere in the path.
fn masked(panel: &Panel) -> String {
    let scheme = if panel.is_https() { "https" } else { "http" };
    format!("{scheme}://{}/...", panel.authority())
}

fn port(managed: &Managed) -> Value {
    json!({ "port": managed.port, "method": managed.method.name(), "key": MASKED })
}

fn interface(grpc: &Grpc) -> Value {
    json!({
        "listen": grpc.listen.to_string(),
        "token": grpc.token.as_ref().map(|_| MASKED),
        "tls": grpc.tls,
    })
}
