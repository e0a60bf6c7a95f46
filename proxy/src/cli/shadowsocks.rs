//! The environment variables of aioshadowsocks, with its defaults.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use proxy::Config;
use proxy::config::{Grpc, Panel, Shadowsocks, Source};
use tracing::level_filters::LevelFilter;

use super::Failure;

/// Where users are if nobody says.
const USERS: &str = "userconfigs.json";
/// Seconds between two looks at the source, seconds of silence, and connections of a user.
const DEFAULT: u64 = 60;

/// What aioshadowsocks takes from its environment.
#[derive(Args, Clone)]
#[command(next_help_heading = "Shadowsocks")]
pub(crate) struct ShadowsocksArgs {
    /// Serve shadowsocks, as any of the following and `[shadowsocks]` in the config do too.
    #[arg(long)]
    shadowsocks: bool,
    /// The users: this file, read again when it changes [default: userconfigs.json].
    #[arg(long, value_name = "FILE", conflicts_with = "ss_api_endpoint")]
    ss_users: Option<PathBuf>,
    /// The users: asked of this URL of a panel, which is told of their traffic.
    #[arg(
        long,
        value_name = "URL",
        env = "SS_API_ENDPOINT",
        hide_env_values = true
    )]
    ss_api_endpoint: Option<Panel>,
    /// The panel's certificate may lead to one of these (PEM), besides those of the system.
    #[arg(long, value_name = "FILE", env = "SS_API_ROOTS")]
    ss_api_roots: Option<PathBuf>,
    /// Listen on this address on the ports of all users [default: 0.0.0.0].
    #[arg(long, value_name = "IP", env = "SS_LISTEN_HOST")]
    ss_listen_host: Option<IpAddr>,
    /// Ask for the users this often [default: 60].
    #[arg(long, value_name = "SECONDS", env = "SS_SYNC_TIME", value_parser = clap::value_parser!(u64).range(1..))]
    ss_sync_time: Option<u64>,
    /// End sessions that are silent so long [default: 60].
    #[arg(long, value_name = "SECONDS", env = "SS_TIME_OUT_LIMIT", value_parser = clap::value_parser!(u64).range(1..))]
    ss_time_out_limit: Option<u64>,
    /// TCP connections of one user at once [default: 60].
    #[arg(long, value_name = "NUMBER", env = "SS_TCP_CONN_LIMIT", value_parser = clap::value_parser!(u64).range(1..))]
    ss_tcp_conn_limit: Option<u64>,
    /// The control interface by gRPC listens here, if a port is given too.
    #[arg(long, value_name = "IP", env = "SS_GRPC_HOST")]
    ss_grpc_host: Option<IpAddr>,
    /// Its port, if an address is given too.
    #[arg(long, value_name = "PORT", env = "SS_GRPC_PORT")]
    ss_grpc_port: Option<u16>,
    /// What its clients must show; needed beyond loopback.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "SS_GRPC_TOKEN",
        hide_env_values = true
    )]
    ss_grpc_token: Option<String>,
    /// Metrics in the names of aioshadowsocks, on this port of the listen address.
    #[arg(long, value_name = "PORT", env = "SS_METRICS_PORT")]
    ss_metrics_port: Option<u16>,
    /// Errors and panics go to this project of Sentry's.
    #[arg(
        long,
        value_name = "DSN",
        env = "SS_SENTRY_DSN",
        hide_env_values = true
    )]
    ss_sentry_dsn: Option<String>,
    /// Events this severe, and more so, where --log-level and the config say nothing.
    #[arg(long, value_name = "LEVEL", env = "SS_LOG_LEVEL", hide = true)]
    ss_log_level: Option<LevelFilter>,
}

impl ShadowsocksArgs {
    /// The level of the log, if it is said.
    pub(super) const fn log_level(&self) -> Option<LevelFilter> {
        self.ss_log_level
    }

    /// Where errors are reported; empty is nowhere.
    pub(super) fn sentry_dsn(&self) -> Option<&str> {
        self.ss_sentry_dsn.as_deref().filter(|dsn| !dsn.is_empty())
    }

    /// By key of the config: what is said.
    pub(super) fn said(&self) -> [(&'static str, bool); 10] {
        let silence = self.ss_time_out_limit.is_some();
        let grpc = self.ss_grpc_host.is_some() && self.ss_grpc_port.is_some();
        [
            ("shadowsocks.listen", self.ss_listen_host.is_some()),
            ("shadowsocks.idle", silence),
            ("shadowsocks.udp_idle", silence),
            ("shadowsocks.users", self.ss_users.is_some()),
            ("shadowsocks.panel", self.ss_api_endpoint.is_some()),
            ("shadowsocks.panel_roots", self.ss_api_roots.is_some()),
            ("shadowsocks.sync", self.ss_sync_time.is_some()),
            ("shadowsocks.metrics", self.ss_metrics_port.is_some()),
            ("shadowsocks.grpc", grpc),
            (
                "caps.connections_per_user",
                self.ss_tcp_conn_limit.is_some(),
            ),
        ]
    }

    fn is_said(&self) -> bool {
        self.shadowsocks
            || self.ss_users.is_some()
            || self.ss_api_endpoint.is_some()
            || self.ss_listen_host.is_some()
            || self.ss_sync_time.is_some()
            || self.ss_time_out_limit.is_some()
            || self.ss_tcp_conn_limit.is_some()
            || self.ss_grpc_host.is_some()
            || self.ss_grpc_port.is_some()
            || self.ss_metrics_port.is_some()
    }

    /// Takes over what is said, after a config file. `salts` is where salts are
    /// kept if the file does not say.
    pub(super) fn apply(&self, config: &mut Config, salts: PathBuf) -> Result<(), Failure> {
        if config.shadowsocks.is_none() && self.is_said() {
            // Nothing but the environment: as aioshadowsocks is without any.
            config.caps.connections_per_user = to_usize(DEFAULT);
            config.shadowsocks = Some(Shadowsocks {
                idle: Some(Duration::from_secs(DEFAULT)),
                source: Some(Source::File(USERS.into())),
                sync: Duration::from_secs(DEFAULT),
                ..Shadowsocks::default()
            });
        }
        let Some(front) = &mut config.shadowsocks else {
            return Ok(());
        };
        front.replay_file.get_or_insert(salts);
        if let Some(listen) = self.ss_listen_host {
            front.listen = listen;
        }
        if let Some(path) = &self.ss_users {
            front.source = Some(Source::File(path.clone()));
        }
        if let Some(panel) = &self.ss_api_endpoint {
            front.source = Some(Source::Panel(panel.clone()));
        }
        if let Some(roots) = &self.ss_api_roots {
            front.panel_roots = Some(roots.clone());
        }
        if let Some(seconds) = self.ss_sync_time {
            front.sync = Duration::from_secs(seconds);
        }
        if let Some(seconds) = self.ss_time_out_limit {
            front.idle = Some(Duration::from_secs(seconds));
            front.udp_idle = Duration::from_secs(seconds);
        }
        if let Some(most) = self.ss_tcp_conn_limit {
            config.caps.connections_per_user = to_usize(most);
        }
        if let (Some(host), Some(port)) = (self.ss_grpc_host, self.ss_grpc_port) {
            front.grpc = Some(Grpc {
                listen: SocketAddr::new(host, port),
                token: self.ss_grpc_token.clone(),
                tls: front.grpc.as_ref().is_some_and(|grpc| grpc.tls),
            });
        }
        if let Some(port) = self.ss_metrics_port {
            front.metrics = Some(SocketAddr::new(front.listen, port));
        }
        match &front.grpc {
            Some(grpc) if grpc.token.is_none() && !grpc.listen.ip().is_loopback() => {
                Err(Failure::request(format!(
                    "gRPC on {} needs a token (SS_GRPC_TOKEN, or token in [shadowsocks.grpc]): who reaches it rules over all users",
                    grpc.listen
                )))
            }
            _ => Ok(()),
        }
    }
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
