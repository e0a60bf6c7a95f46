//! What a server is to be told: flag over environment over file over default.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;
use ipnet::IpNet;
use proxy::config::AdminEndpoint;
use proxy::config::file::{File, LogTable};
use proxy::tls::Trust;
use proxy::{AdminAddress, Config, Database};

use super::Failure;

/// Where the settings are.
#[derive(Args, Clone)]
pub(crate) struct ConfigArgs {
    /// Read this TOML file; flags and the environment go before it.
    #[arg(long, value_name = "FILE", env = "WEIRGATE_CONFIG")]
    pub(super) config: Option<PathBuf>,
    /// Listen here, port 0 for any free port [default: 127.0.0.1:1080].
    #[arg(
        long,
        value_name = "ADDR",
        env = "WEIRGATE_LISTEN",
        value_delimiter = ','
    )]
    listen: Vec<SocketAddr>,
    #[command(flatten)]
    database: DatabaseArg,
    #[command(flatten)]
    admin: AdminArg,
    /// Let users reach this network although it is loopback, private, link-local or otherwise special.
    #[arg(
        long,
        value_name = "CIDR",
        env = "WEIRGATE_ALLOW_EGRESS",
        value_delimiter = ','
    )]
    allow_egress: Vec<IpNet>,
    /// Send spans of connections and sessions to this collector of OpenTelemetry, by gRPC.
    #[cfg(feature = "otlp")]
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
    #[cfg(feature = "shadowsocks")]
    #[command(flatten)]
    shadowsocks: super::shadowsocks::ShadowsocksArgs,
}

/// Where the admin API is.
#[derive(Args, Clone)]
pub(crate) struct AdminArg {
    /// The admin API: the path of a socket, or an address and a port [default: a socket
    /// beside the SQLite file, or admin.sock in the state directory].
    #[arg(
        long,
        value_name = "ADDR",
        env = "WEIRGATE_ADMIN",
        value_delimiter = ','
    )]
    admin: Vec<AdminAddress>,
    /// The file with the token that opens it by TCP.
    #[arg(long, value_name = "FILE", env = "WEIRGATE_ADMIN_TOKEN_FILE")]
    admin_token_file: Option<PathBuf>,
}

/// Where a server's admin API is found, and what opens it.
#[derive(Args, Clone)]
pub(crate) struct AdminClientArg {
    /// The server's admin API: the path of a socket, an address and a port, or a URL as in
    /// `https://proxy.example:9180` [default: a socket beside the SQLite file, or admin.sock in the state directory].
    #[arg(
        long,
        value_name = "ADDR|URL",
        env = "WEIRGATE_ADMIN",
        value_delimiter = ','
    )]
    admin: Vec<AdminEndpoint>,
    /// The file with the token that opens it by TCP.
    #[arg(long, value_name = "FILE", env = "WEIRGATE_ADMIN_TOKEN_FILE")]
    admin_token_file: Option<PathBuf>,
    /// Trust these certificates (PEM) besides the system's, where it speaks TLS.
    #[arg(long, value_name = "FILE", env = "WEIRGATE_ADMIN_ROOTS")]
    admin_roots: Option<PathBuf>,
    /// Show it this client certificate (PEM).
    #[arg(
        long,
        value_name = "FILE",
        env = "WEIRGATE_ADMIN_CERTIFICATE",
        requires = "admin_key"
    )]
    admin_certificate: Option<PathBuf>,
    /// The key of that certificate (PEM).
    #[arg(
        long,
        value_name = "FILE",
        env = "WEIRGATE_ADMIN_KEY",
        requires = "admin_certificate"
    )]
    admin_key: Option<PathBuf>,
}

/// Where the accounts are.
#[derive(Args, Clone)]
pub(crate) struct DatabaseArg {
    /// Where the users are: a SQLite file, sqlite:///absolute/path or
    /// postgres://user:password@host/database [default: weirgate.db in the state directory].
    #[arg(
        long,
        value_name = "URL",
        env = "WEIRGATE_DATABASE",
        hide_env_values = true,
        global = true
    )]
    database: Option<Database>,
}

/// What came of it.
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) log: LogTable,
    /// Where spans go.
    pub(crate) otlp_endpoint: Option<String>,
    /// The text of the file, and what of it was read.
    pub(crate) text: String,
    /// Nobody has said anything: neither a file nor a database.
    pub(crate) is_bare: bool,
    /// Somebody has said where to listen.
    pub(crate) listens: bool,
    /// By key: what a flag or the environment has said.
    pub(crate) said: Vec<(&'static str, bool)>,
}

impl ConfigArgs {
    /// Where errors are reported, if anywhere.
    pub(super) fn sentry_dsn(&self) -> Option<&str> {
        #[cfg(feature = "shadowsocks")]
        return self.shadowsocks.sentry_dsn();
        #[cfg(not(feature = "shadowsocks"))]
        None
    }

    /// A pipe, as a shell's `<(...)` is one, has been read to its end, or would be waited for.
    pub(super) fn can_be_read_again(&self) -> Result<(), Failure> {
        let Some(path) = &self.config else {
            return Ok(());
        };
        // What else is wrong with it is found when it is read.
        match std::fs::metadata(path) {
            Ok(found) if !found.is_file() && !found.is_dir() => Err(Failure::request(format!(
                "{} is no file that can be read again",
                path.display()
            ))),
            _ => Ok(()),
        }
    }

    /// Everything that is known, as one config.
    pub(crate) fn resolve(&self) -> Result<Settings, Failure> {
        let text = match &self.config {
            Some(path) => File::text(path).map_err(Failure::request)?,
            None => String::new(),
        };
        let file = File::parse(self.config.as_deref().unwrap_or(Path::new("")), &text);
        let file = file.map_err(Failure::request)?;
        let says_listen = file.says_listen();
        let says_admin = file.says_admin();
        #[cfg_attr(
            not(feature = "shadowsocks"),
            expect(unused_mut, reason = "nobody else says anything")
        )]
        let mut log = file.log();
        #[cfg(feature = "shadowsocks")]
        if log.level.is_none() {
            log.level = self.shadowsocks.log_level();
        }
        let otlp_endpoint = self.otlp_endpoint();
        let says_otlp = otlp_endpoint.is_some();
        let otlp_endpoint = otlp_endpoint.or_else(|| file.otlp_endpoint().map(str::to_owned));
        let database = self.database.resolve(file.database());
        let mut config = Config::new(database.clone());
        config.workers = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        file.apply(&mut config);
        config.database = database;
        config.journal.get_or_insert_with(state_directory);
        if !self.listen.is_empty() {
            config.listen.clone_from(&self.listen);
        }
        config.allow_egress.extend(&self.allow_egress);
        self.admin.apply(says_admin, &mut config);
        #[cfg(feature = "shadowsocks")]
        self.shadowsocks
            .apply(&mut config, state_directory().join("shadowsocks.salts"))?;
        #[cfg_attr(
            not(feature = "shadowsocks"),
            expect(unused_mut, reason = "nobody else says anything")
        )]
        let mut said = vec![
            ("listen", !self.listen.is_empty()),
            ("database", self.database.database.is_some()),
            ("allow_egress", !self.allow_egress.is_empty()),
            ("admin.listen", !self.admin.admin.is_empty()),
            ("admin.token_file", self.admin.admin_token_file.is_some()),
            ("tracing.otlp_endpoint", says_otlp),
        ];
        #[cfg(feature = "shadowsocks")]
        said.extend(self.shadowsocks.said());
        Ok(Settings {
            config,
            log,
            otlp_endpoint,
            text,
            is_bare: self.config.is_none() && self.database.database.is_none(),
            listens: says_listen || !self.listen.is_empty(),
            said,
        })
    }

    /// What a flag or the environment says; an empty variable says nothing.
    #[cfg(feature = "otlp")]
    fn otlp_endpoint(&self) -> Option<String> {
        self.otlp_endpoint.clone().filter(|url| !url.is_empty())
    }

    #[cfg(not(feature = "otlp"))]
    #[expect(clippy::unused_self, reason = "with the feature there is a flag")]
    const fn otlp_endpoint(&self) -> Option<String> {
        None
    }
}

#[cfg(feature = "admin")]
impl AdminClientArg {
    /// A client of the API, and whether somebody has said where that is.
    pub(crate) fn client(
        &self,
        database: &Database,
    ) -> Result<(proxy::admin::Client, bool), Failure> {
        let said = self.admin.first().cloned();
        let is_said = said.is_some();
        let token = self.admin_token_file.as_ref().map(|path| {
            let read = std::fs::read_to_string(path);
            read.map(|text| text.trim().to_owned())
                .map_err(|error| Failure::request(format!("{}: {error}", path.display())))
        });
        let endpoint = said.unwrap_or_else(|| AdminEndpoint::Socket(default_socket(database)));
        let identity = self.admin_certificate.clone().zip(self.admin_key.clone());
        let trust = Trust {
            roots: self.admin_roots.clone(),
            identity,
        };
        let client = proxy::admin::Client::new(endpoint, token.transpose()?, &trust);
        Ok((client.map_err(Failure::request)?, is_said))
    }
}

impl AdminArg {
    /// Flag or environment over file over default.
    fn apply(&self, says_admin: bool, config: &mut Config) {
        if !self.admin.is_empty() {
            config.admin.listen.clone_from(&self.admin);
        } else if !says_admin && cfg!(feature = "admin") {
            config.admin.listen = vec![AdminAddress::Socket {
                path: default_socket(&config.database),
                optional: true,
            }];
        }
        if let Some(path) = &self.admin_token_file {
            config.admin.token_file = Some(path.clone());
        }
    }
}

/// The socket of the server of a database: beside it, so that whoever finds the one
/// finds the other.
fn default_socket(database: &Database) -> PathBuf {
    let path = match database.path() {
        Some(path) => path.with_extension("sock"),
        None => state_directory().join("admin.sock"),
    };
    // What has no folder is in this one.
    Path::new(".").join(path)
}

impl DatabaseArg {
    /// Flag or environment over file over default.
    pub(crate) fn resolve(&self, file: Option<Database>) -> Database {
        let said = self.database.clone().or(file);
        said.unwrap_or_else(|| Database::file(state_directory().join("weirgate.db")))
    }
}

/// Where a program keeps what it must not lose: as systemd says, as the user's
/// environment says, or in their home.
fn state_directory() -> PathBuf {
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    variable("STATE_DIRECTORY")
        .or_else(|| variable("XDG_STATE_HOME").map(|state| state.join("weirgate")))
        .or_else(the_services)
        .or_else(|| variable("HOME").map(|home| home.join(".local/state/weirgate")))
        .unwrap_or_else(|| PathBuf::from("/var/lib/weirgate"))
}

/// The folder of the service that a package has installed, for those who may use it.
fn the_services() -> Option<PathBuf> {
    let folder = PathBuf::from("/var/lib/weirgate");
    std::fs::read_dir(&folder).is_ok().then_some(folder)
}
