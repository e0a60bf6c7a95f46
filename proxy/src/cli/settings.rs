//! What a server is to be told: flag over environment over file over default.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use ipnet::IpNet;
use proxy::config::file::{File, LogTable};
use proxy::{Config, Database};

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
    /// Let users reach this network although it is loopback, private, link-local or otherwise special.
    #[arg(
        long,
        value_name = "CIDR",
        env = "WEIRGATE_ALLOW_EGRESS",
        value_delimiter = ','
    )]
    allow_egress: Vec<IpNet>,
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
    /// The text of the file, and what of it was read.
    pub(crate) text: String,
    /// Nobody has said anything: neither a file nor a database.
    pub(crate) is_bare: bool,
    /// Somebody has said where to listen.
    pub(crate) listens: bool,
    /// By key: what a flag or the environment has said.
    pub(crate) said: [(&'static str, bool); 3],
}

impl ConfigArgs {
    /// Everything that is known, as one config.
    pub(crate) fn resolve(&self) -> Result<Settings, Failure> {
        let text = match &self.config {
            Some(path) => File::text(path).map_err(Failure::request)?,
            None => String::new(),
        };
        let file = File::parse(self.config.as_deref().unwrap_or(Path::new("")), &text);
        let file = file.map_err(Failure::request)?;
        let (log, says_listen) = (file.log(), file.says_listen());
        let database = self.database.resolve(file.database());
        let mut config = Config::new(database.clone());
        file.apply(&mut config);
        config.database = database;
        if !self.listen.is_empty() {
            config.listen.clone_from(&self.listen);
        }
        config.allow_egress.extend(&self.allow_egress);
        Ok(Settings {
            config,
            log,
            text,
            is_bare: self.config.is_none() && self.database.database.is_none(),
            listens: says_listen || !self.listen.is_empty(),
            said: [
                ("listen", !self.listen.is_empty()),
                ("database", self.database.database.is_some()),
                ("allow_egress", !self.allow_egress.is_empty()),
            ],
        })
    }
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
        .or_else(|| variable("HOME").map(|home| home.join(".local/state/weirgate")))
        .unwrap_or_else(|| PathBuf::from("/var/lib/weirgate"))
}
