//! The config file: TOML, every key optional, unknown keys refused.
//!
//! ```toml
//! listen = ["127.0.0.1:1080", "[::1]:1080"]
//! database = "sqlite:///var/lib/weirgate/weirgate.db"
//! allow_egress = ["10.1.0.0/16"]
//! accounting_interval = "1s"
//! workers = 2 # threads that serve connections; as many as there are cores if left out
//!
//! [timeouts]
//! handshake = "10s"
//! connect = "10s"
//! idle = "86400s"
//! half_closed = "600s"
//! keep_alive = "60s"
//! drain = "30s"
//! database = "3600s"
//!
//! [caps]
//! connections = 9000
//! handshakes = 1024
//! connections_per_user = 1024
//! connections_per_address = 4096 # no cap if left out
//!
//! # What all users together may move; without this table as much as they can. What
//! # some do not use is lent to the others, up to limits of their own.
//! [bandwidth]
//! limit = "token-bucket:rate=1GB/s"
//! floor = "100kB/s" # for whoever wants it; may be left out
//!
//! # allow or deny, a network or *, and a port or a range. The first that is about a
//! # resolved address decides, a user's own before those for everybody; then
//! # allow_egress, and that special addresses are denied.
//! [egress]
//! rules = ["deny * 25", "allow 10.2.0.0/16 443"]
//! users.ada = ["allow 10.3.0.0/16", "deny * 6881-6889"]
//!
//! [log]
//! level = "info"  # error, warn, info, debug or trace
//! format = "text" # or json
//!
//! # Spans of connections and sessions, for a collector of OpenTelemetry (gRPC); in a
//! # program built with the cargo feature otlp.
//! [tracing]
//! otlp_endpoint = "http://127.0.0.1:4317"
//!
//! # The operator's side. Beyond sockets and loopback, a token or client certificates
//! # (tls with client_roots) are required.
//! [admin]
//! listen = ["/run/weirgate/admin.sock", "127.0.0.1:9180"] # [] is nowhere
//! token_file = "/etc/weirgate/admin.token"
//! hosts = ["proxy.example.org"] # names that browsers may know it by
//! legacy_routes = false # the routes of older proxies, too
//! user_metrics = 0      # of so many users there are metrics of their own
//! webhook = "https://hooks.example/weirgate" # where warnings are posted; or http
//! webhook_roots = "/etc/weirgate/roots.pem"  # trusted besides the system's
//! expiry_days = 7         # a warning so long before an account ends
//! throttled_percent = 80  # of the window waiting for the limit: the user is named
//! throttled_window = "600s"
//! tls = { certificate = "/etc/weirgate/server.pem", key = "/etc/weirgate/server.key" }
//!
//! # Nobody registers (in the dialect of seed 000) without this table.
//! [registration]
//! limit = "token-bucket:rate=1MB/s" # for both directions together; required
//! most_users = 10000                # of all users, when nobody registers any more
//!
//! # TLS; the files are PEM. Without client_roots nobody is asked for a certificate.
//! [tls]
//! certificate = "/etc/weirgate/server.pem" # and those that lead to its root
//! key = "/etc/weirgate/server.key"
//! client_roots = "/etc/weirgate/clients.pem"
//! client_certificate = "optional" # or required, the default
//!
//! # On `listen` every protocol is recognised; here it is one of these.
//! [[listener]]
//! address = "127.0.0.1:8080"
//! protocols = ["http"] # socks5, http, line, auth-target; all of them if left out
//! tls = true # true: TLS alone; false: none; left out: recognised, if there is a [tls]
//! # Load balancers whose PROXY protocol headers (version 2) are believed.
//! proxy_protocol_from = ["10.0.0.0/24"]
//!
//! # The HTTPS service: seed 003's frames and HTTP, behind a queue and workers.
//! # What is written here is the default, but for what is commented.
//! [https_service]
//! listen = ["127.0.0.1:8888"]
//! tls = true # as that of a listener
//! proxy_protocol_from = ["10.0.0.0/24"] # nobody; the clients they name go out as X-Forwarded-For
//! max_connections = 10000
//! queue = 50000
//! workers = 100
//! queue_timeout = "30s"
//! request_timeout = "30s"
//! keep_alive = "60s"
//! close_after_response = true
//! roots = "/etc/weirgate/roots.pem" # none but the system's
//! memory = "256 MiB" # of requests and answers at once
//! cache = "64 MiB" # none
//! statistics_interval = "60s"
//! guest = { name = "ada", from = ["10.0.0.0/24"] } # everybody logs in
//! per_address = { requests = 600, bytes = "1 GiB", window = "60s" } # no end
//! per_user = { requests = 6000, window = "60s" } # no end
//!
//! # Instances of one host, with how they are chosen and watched.
//! [[https_service.upstream]]
//! origin = "https://api.example"
//! instances = ["10.1.0.1:443", "10.1.0.2:443"]
//! balance = "round-robin" # least-connections, source
//! check_interval = "2s"
//! check_path = "/health" # that it accepts a connection
//! fall = 3
//! rise = 2
//!
//! # Shadowsocks servers, on the ports of the users who have one.
//! [shadowsocks]
//! listen = "0.0.0.0"
//! idle = "3600s"          # silence of a TCP session; as in [timeouts] if left out
//! udp_idle = "60s"        # silence of a UDP association
//! udp_associations = 4096 # of all users; one more ends the one that is silent longest
//! udp = "shape"           # beyond a limit datagrams wait; or police: they are dropped
//! allow_unencrypted = false # true: users with the methods none, aes-128-cfb, aes-192-cfb and aes-256-cfb are served
//! replay_file = "/var/lib/weirgate/shadowsocks.salts"
//! users = "/etc/weirgate/userconfigs.json" # or panel = "https://panel.example/api/users/1/?token=..."
//! panel_roots = "/etc/weirgate/roots.pem" # trusted besides the system's
//! sync = "60s"            # how often these are read again
//! metrics = "127.0.0.1:9888" # in the names of aioshadowsocks
//! # The port whose users panels manage at /users and /stats (legacy_routes in [admin]).
//! managed = { port = 8388, method = "2022-blake3-aes-128-gcm", key = "MTIzNDU2Nzg5MDEyMzQ1Ng==" }
//! [shadowsocks.grpc]      # the control interface of aioshadowsocks
//! listen = "127.0.0.1:5000"
//! token = "a long secret" # may be left out on loopback
//! tls = false             # true: by the certificate in [tls]
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use flow::ByteRate;
use ipnet::IpNet;
use serde::Deserialize;
use tracing::level_filters::LevelFilter;

use super::{Bandwidth, Config, Listener, ListenerTls, Registration};
use crate::acl::Rule;
use crate::egress::EgressRules;
use crate::protocol::Dialect;
use crate::protocol::opening::Opening;
use crate::tls::{ClientCertificate, TlsFiles};
use crate::users::Database;

mod admin;
mod https_service;
mod problem;
#[cfg(feature = "shadowsocks")]
mod shadowsocks;
mod text;

use admin::AdminTable;
use https_service::HttpsServiceTable;
use text::{Length, Limit, Text, Total, all, length, set};

pub use problem::{FileError, Place};

/// How many users there may be before nobody registers, if the file does not say.
const DEFAULT_MOST_USERS: usize = 10_000;

/// What a file says; what it leaves out stays as it was.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    listen: Option<Vec<Text<SocketAddr>>>,
    database: Option<Text<Database>>,
    allow_egress: Option<Vec<Text<IpNet>>>,
    accounting_interval: Option<Text<Length>>,
    workers: Option<NonZeroUsize>,
    timeouts: TimeoutsTable,
    caps: CapsTable,
    egress: Option<EgressTable>,
    log: LogText,
    tracing: TracingTable,
    registration: Option<RegistrationTable>,
    bandwidth: Option<BandwidthTable>,
    listener: Vec<ListenerTable>,
    tls: Option<TlsTable>,
    https_service: Option<HttpsServiceTable>,
    admin: AdminTable,
    #[cfg(feature = "shadowsocks")]
    shadowsocks: Option<shadowsocks::ShadowsocksTable>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsTable {
    certificate: PathBuf,
    key: PathBuf,
    client_roots: Option<PathBuf>,
    #[serde(default)]
    client_certificate: ClientCertificateWord,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ClientCertificateWord {
    #[default]
    Required,
    Optional,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BandwidthTable {
    limit: Text<Total>,
    floor: Option<Text<ByteRate>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegistrationTable {
    limit: Text<Limit>,
    most_users: Option<usize>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListenerTable {
    address: Text<SocketAddr>,
    protocols: Option<Vec<Text<Dialect>>>,
    tls: Option<bool>,
    #[serde(default)]
    proxy_protocol_from: Vec<Text<IpNet>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TimeoutsTable {
    handshake: Option<Text<Length>>,
    connect: Option<Text<Length>>,
    idle: Option<Text<Length>>,
    half_closed: Option<Text<Length>>,
    keep_alive: Option<Text<Length>>,
    drain: Option<Text<Length>>,
    database: Option<Text<Length>>,
}

/// What a file says about the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogTable {
    /// Which events are written.
    pub level: Option<LevelFilter>,
    /// How they are written.
    pub format: Option<LogFormat>,
}

/// How events are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line an event, for people.
    #[default]
    Text,
    /// A JSON object an event.
    Json,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LogText {
    level: Option<Text<LevelFilter>>,
    format: Option<LogFormat>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TracingTable {
    otlp_endpoint: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CapsTable {
    connections: Option<usize>,
    handshakes: Option<usize>,
    connections_per_user: Option<usize>,
    connections_per_address: Option<usize>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct EgressTable {
    rules: Vec<Text<Rule>>,
    users: BTreeMap<String, Vec<Text<Rule>>>,
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn read(path: &Path) -> Result<Self, FileError> {
        Self::parse(path, &Self::text(path)?)
    }

    /// The text of a file.
    ///
    /// # Errors
    /// [`FileError::Read`]
    pub fn text(path: &Path) -> Result<String, FileError> {
        std::fs::read_to_string(path).map_err(|source| FileError::Read {
            path: path.to_owned(),
            source,
        })
    }

    /// What `text`, which stands in the file `path`, says.
    ///
    /// # Errors
    /// [`FileError::Syntax`]
    pub fn parse(path: &Path, text: &str) -> Result<Self, FileError> {
        toml::from_str(text).map_err(|source| FileError::Syntax {
            path: path.to_owned(),
            text: text.to_owned(),
            source: Box::new(source),
        })
    }

    /// Whether the file says where to listen.
    #[must_use]
    pub fn says_listen(&self) -> bool {
        self.listen.is_some() || !self.listener.is_empty()
    }

    /// Whether the file says where the operator's side listens.
    #[must_use]
    pub fn says_admin(&self) -> bool {
        self.admin.listen.is_some()
    }

    /// The database, if the file names one.
    #[must_use]
    pub fn database(&self) -> Option<Database> {
        self.database.as_ref().map(|database| database.0.clone())
    }

    /// What the file says about the log, which no server needs to know.
    #[must_use]
    pub fn log(&self) -> LogTable {
        LogTable {
            level: self.log.level.as_ref().map(|level| level.0),
            format: self.log.format,
        }
    }

    /// Where spans go, if the file says so.
    #[must_use]
    pub fn otlp_endpoint(&self) -> Option<&str> {
        self.tracing.otlp_endpoint.as_deref()
    }

    /// Takes over everything the file says.
    pub fn apply(self, config: &mut Config) {
        let listens = self.listen.is_some();
        set(&mut config.listen, self.listen.map(all));
        set(
            &mut config.database,
            self.database.map(|database| database.0),
        );
        set(&mut config.allow_egress, self.allow_egress.map(all));
        set(
            &mut config.accounting_interval,
            self.accounting_interval.map(length),
        );
        set(&mut config.workers, self.workers.map(NonZeroUsize::get));
        set(
            &mut config.timeouts.handshake,
            self.timeouts.handshake.map(length),
        );
        set(
            &mut config.timeouts.connect,
            self.timeouts.connect.map(length),
        );
        set(&mut config.timeouts.idle, self.timeouts.idle.map(length));
        set(
            &mut config.timeouts.half_closed,
            self.timeouts.half_closed.map(length),
        );
        set(
            &mut config.timeouts.keep_alive,
            self.timeouts.keep_alive.map(length),
        );
        set(&mut config.timeouts.drain, self.timeouts.drain.map(length));
        set(
            &mut config.timeouts.database,
            self.timeouts.database.map(length),
        );
        set(&mut config.caps.connections, self.caps.connections);
        set(&mut config.caps.handshakes, self.caps.handshakes);
        set(
            &mut config.caps.connections_per_user,
            self.caps.connections_per_user,
        );
        set(
            &mut config.caps.connections_per_address,
            self.caps.connections_per_address.map(Some),
        );
        set(&mut config.egress, self.egress.map(EgressTable::resolve));
        self.admin.apply(&mut config.admin);
        if let Some(bandwidth) = self.bandwidth {
            config.bandwidth = Some(Bandwidth {
                limit: bandwidth.limit.0.0,
                floor: bandwidth.floor.map(|floor| floor.0),
            });
        }
        if let Some(registration) = self.registration {
            config.registration = Some(registration.resolve());
        }
        if let Some(tls) = self.tls {
            config.tls = Some(tls.resolve());
        }
        if let Some(table) = self.https_service {
            table.apply(config.https_service.get_or_insert_default());
        }
        #[cfg(feature = "shadowsocks")]
        if let Some(shadowsocks) = self.shadowsocks {
            config.shadowsocks = Some(shadowsocks.resolve());
        }
        if !self.listener.is_empty() && !listens {
            // Whoever describes listeners wants these, not the default one.
            config.listen.clear();
        }
        config
            .listeners
            .extend(self.listener.into_iter().map(ListenerTable::resolve));
    }
}

impl EgressTable {
    fn resolve(self) -> EgressRules {
        let users = self.users.into_iter();
        EgressRules {
            everybody: all(self.rules),
            users: users.map(|(name, rules)| (name, all(rules))).collect(),
        }
    }
}

impl RegistrationTable {
    fn resolve(self) -> Registration {
        Registration {
            limits: self.limit.0.0,
            most_users: self.most_users.unwrap_or(DEFAULT_MOST_USERS),
        }
    }
}

impl TlsTable {
    fn resolve(self) -> TlsFiles {
        TlsFiles {
            certificate: self.certificate,
            key: self.key,
            client_roots: self.client_roots,
            client_certificate: match self.client_certificate {
                ClientCertificateWord::Required => ClientCertificate::Required,
                ClientCertificateWord::Optional => ClientCertificate::Optional,
            },
        }
    }
}

impl ListenerTable {
    fn resolve(self) -> Listener {
        let mut listener = Listener::new(self.address.0);
        if let Some(protocols) = self.protocols {
            listener.dialects = all(protocols).into_iter().map(Opening::from).collect();
        }
        listener.tls = match self.tls {
            None => ListenerTls::Recognised,
            Some(true) => ListenerTls::Required,
            Some(false) => ListenerTls::Off,
        };
        listener.proxy_protocol_from = all(self.proxy_protocol_from);
        listener
    }
}

#[cfg(test)]
mod tests;
