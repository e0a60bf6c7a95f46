//! What `login` remembers: a TOML file, and beside it, if asked for, the password.
//!
//! ```toml
//! server = "proxy.example:1080"
//! name = "ada"
//! dialect = "socks5"
//! tls = true
//! roots = "/etc/weirgate/roots.pem"
//! ```

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::secret;
use crate::speech::Speech;

/// Where an account is, and how to speak with it.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) server: Server,
    pub(crate) name: String,
    pub(crate) dialect: Speech,
    pub(crate) tls: bool,
    pub(crate) roots: Option<PathBuf>,
}

/// A remote proxy.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    server: String,
    name: String,
    dialect: String,
    tls: bool,
    roots: Option<PathBuf>,
}

impl Account {
    /// The file in the user's config directory.
    pub(crate) fn default_path() -> Result<PathBuf, Failure> {
        let variable = |name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        variable("XDG_CONFIG_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".config")))
            .map(|folder| folder.join("weirgate/local.toml"))
            .ok_or_else(|| Failure::Request("there is no home directory: give --account".into()))
    }

    /// Where the password is kept that belongs to the account at `path`.
    pub(crate) fn password_path(path: &Path) -> PathBuf {
        path.with_extension("password")
    }

    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        let fault = |why: &dyn fmt::Display| Failure::Request(format!("{}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => fault(&"there is no account: `login` first"),
            _ => fault(&error),
        })?;
        let file: File = toml::from_str(&text).map_err(|error| fault(&error))?;
        Ok(Self {
            server: file.server.parse().map_err(|error| fault(&error))?,
            name: file.name,
            dialect: file.dialect.parse().map_err(|error| fault(&error))?,
            tls: file.tls,
            roots: file.roots,
        })
    }

    /// Writes it, readable by its owner alone.
    pub(crate) fn save(&self, path: &Path) -> Result<(), Failure> {
        // It is read from another folder, perhaps.
        let roots = self.roots.as_ref().map(std::path::absolute).transpose()?;
        let file = File {
            server: self.server.to_string(),
            name: self.name.clone(),
            dialect: self.dialect.to_string(),
            tls: self.tls,
            roots,
        };
        let text = toml::to_string(&file).map_err(|error| Failure::Request(error.to_string()))?;
        secret::save(path, text.as_bytes())
    }
}

impl FromStr for Server {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "write host:port, as in proxy.example:1080 or [2001:db8::1]:1080";
        let (host, port) = text.rsplit_once(':').ok_or(FORM)?;
        let bracketed = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host = bracketed.unwrap_or(host);
        let port = port.parse().ok().filter(|&port| port != 0).ok_or(FORM)?;
        if host.is_empty() || (bracketed.is_none() && host.contains(':')) {
            return Err(FORM);
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        match host.contains(':') {
            true => write!(f, "[{host}]:{port}"),
            false => write!(f, "{host}:{port}"),
        }
    }
}
