//! The config file: TOML, every key optional, unknown keys refused.
//!
//! ```toml
//! listen = ["127.0.0.1:1080", "[::1]:1080"]
//! database = "sqlite:///var/lib/weirgate/weirgate.db"
//! allow_egress = ["10.1.0.0/16"]
//! accounting_interval = "1s"
//!
//! [timeouts]
//! handshake = "10s"
//! connect = "10s"
//! idle = "86400s"
//! half_closed = "600s"
//! drain = "30s"
//!
//! [caps]
//! connections = 9000
//! handshakes = 1024
//! connections_per_user = 1024
//! ```

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use flow::Nanos;
use ipnet::IpNet;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::Config;
use crate::users::Database;

/// What a file says; what it leaves out stays as it was.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    listen: Option<Vec<Text<SocketAddr>>>,
    database: Option<Text<Database>>,
    allow_egress: Option<Vec<Text<IpNet>>>,
    accounting_interval: Option<Text<Length>>,
    timeouts: TimeoutsTable,
    caps: CapsTable,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TimeoutsTable {
    handshake: Option<Text<Length>>,
    connect: Option<Text<Length>>,
    idle: Option<Text<Length>>,
    half_closed: Option<Text<Length>>,
    drain: Option<Text<Length>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CapsTable {
    connections: Option<usize>,
    handshakes: Option<usize>,
    connections_per_user: Option<usize>,
}

/// Why a file is no config.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read the config {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It says something we do not understand; the source shows where.
    #[error("{}: {}", path.display(), source.to_string().trim_end())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, column and what was expected. Boxed: it holds the whole file.
        source: Box<toml::de::Error>,
    },
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    /// [`FileError`]
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let text = std::fs::read_to_string(path).map_err(|source| FileError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|source| FileError::Syntax {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }

    fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// The database, if the file names one.
    #[must_use]
    pub fn database(&self) -> Option<Database> {
        self.database.as_ref().map(|database| database.0.clone())
    }

    /// Takes over everything the file says.
    pub fn apply(self, config: &mut Config) {
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
        set(&mut config.timeouts.drain, self.timeouts.drain.map(length));
        set(&mut config.caps.connections, self.caps.connections);
        set(&mut config.caps.handshakes, self.caps.handshakes);
        set(
            &mut config.caps.connections_per_user,
            self.caps.connections_per_user,
        );
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn all<T>(texts: Vec<Text<T>>) -> Vec<T> {
    texts.into_iter().map(|text| text.0).collect()
}

fn length(text: Text<Length>) -> Duration {
    text.0.0
}

/// A value written as text.
#[derive(Clone, Debug)]
struct Text<T>(T);

impl<'de, T> Deserialize<'de> for Text<T>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse()
            .map(Self)
            .map_err(|error| D::Error::custom(format_args!("{text:?}: {error}")))
    }
}

/// A length of time above zero, with its unit.
#[derive(Clone, Debug)]
struct Length(Duration);

impl FromStr for Length {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let nanos: Nanos = text
            .parse()
            .map_err(|error: flow::units::UnitError| error.to_string())?;
        if nanos == Nanos::ZERO {
            return Err("must be above zero".to_owned());
        }
        Ok(Self(Duration::from_nanos(nanos.get())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<Config, String> {
        let mut config = Config::new(Database::file("x.db"));
        File::parse(text)
            .map_err(|error| error.to_string())?
            .apply(&mut config);
        Ok(config)
    }

    #[test]
    fn what_is_left_out_stays() {
        let plain = Config::new(Database::file("x.db"));
        let config = config("[timeouts]\nconnect = \"250ms\"\n").unwrap();
        assert_eq!(config.timeouts.connect, Duration::from_millis(250));
        assert_eq!(config.timeouts.handshake, plain.timeouts.handshake);
        assert_eq!(config.listen, plain.listen);
    }

    #[test]
    fn the_documented_file_is_one() {
        let documented = include_str!("file.rs")
            .lines()
            .skip_while(|line| *line != "//! ```toml")
            .skip(1);
        let text: Vec<_> = documented
            .take_while(|line| *line != "//! ```")
            .map(|line| line.trim_start_matches("//!"))
            .collect();
        assert!(text.len() > 10);
        let config = config(&text.join("\n")).unwrap();
        assert_eq!(config.listen.len(), 2);
        assert_eq!(config.caps.connections, 9_000);
    }

    #[test]
    fn mistakes_are_shown_where_they_are() {
        for (text, said) in [
            ("lisen = []", "unknown field"),
            ("listen = [\"127.0.0.1\"]", "invalid socket address"),
            ("allow_egress = [\"10.0.0.0/33\"]", "10.0.0.0/33"),
            ("\n[timeouts]\nhandshake = 10", "line 3"),
            ("accounting_interval = \"0s\"", "above zero"),
        ] {
            let error = config(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
