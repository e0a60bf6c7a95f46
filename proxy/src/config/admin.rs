//! What an operator's side is told: where it listens, whom it lets in.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::HttpUrl;
use crate::tls::{ClientCertificate, TlsFiles};

/// The operator's side of a server; without an address to listen on there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// Where to listen.
    pub listen: Vec<AdminAddress>,
    /// A file with the token that whoever comes by TCP must show; on loopback there
    /// need not be one.
    pub token_file: Option<PathBuf>,
    /// TLS for those who come by TCP; with roots for client certificates, these are
    /// required.
    pub tls: Option<TlsFiles>,
    /// Names, beside addresses and `localhost`, that browsers may know it by.
    pub hosts: Vec<String>,
    /// Whether the routes of older proxies are served, too.
    pub legacy_routes: bool,
    /// Of how many users there are metrics of their own; the others share one series.
    pub user_metrics: usize,
    /// Where warnings are posted.
    pub webhook: Option<HttpUrl>,
    /// Certificates, PEM, that it is trusted by besides those of the system.
    pub webhook_roots: Option<PathBuf>,
    /// So many days before an account ends, there is a warning.
    pub expiry_days: u32,
    /// A user is named who waits for their limit this share of a window, in percent.
    pub throttled_percent: u8,
    /// That window, at least a second.
    pub throttled_window: Duration,
}

/// Where the operator's side listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// A Unix socket, which only the server's own user and root can open.
    Socket {
        /// The path.
        path: PathBuf,
        /// Whether the server starts without it where it cannot be had.
        optional: bool,
    },
    /// TCP; other than loopback only with a token or client certificates.
    Tcp(SocketAddr),
}

impl AdminAddress {
    /// The address of one by TCP.
    #[must_use]
    pub const fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Socket { .. } => None,
        }
    }
}

/// Where a client of an operator's side finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminEndpoint {
    /// A Unix socket.
    Socket(PathBuf),
    /// By TCP: under TLS where it says `https`.
    Url(HttpUrl),
}

/// Why there is no operator's side.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// This program was built without it.
    #[error("this program was built without the admin API")]
    NotBuilt,
    /// Anybody could change anything.
    #[error(
        "the admin API does not listen on {address} for anybody: set admin.token_file, or admin.tls with client_roots"
    )]
    Open {
        /// The address.
        address: SocketAddr,
    },
    /// It cannot be listened there.
    #[error("the admin API cannot listen on {address}")]
    Listen {
        /// Where.
        address: AdminAddress,
        /// Why not.
        source: std::io::Error,
    },
    /// The token cannot be had.
    #[error("cannot use the token in {}: {why}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The certificates cannot be used.
    #[error("admin.tls: {0}")]
    Tls(#[from] crate::tls::TlsError),
    /// The webhook cannot be spoken with under TLS.
    #[error("admin.webhook: {0}")]
    Webhook(#[source] crate::tls::TlsError),
}

/// A text that is no address of an operator's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is neither the path of a socket, as in /run/weirgate/admin.sock, nor an address and a port, as in 127.0.0.1:9180"
)]
pub struct NoAdminAddress;

/// A text that is no endpoint of an operator's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is neither the path of a socket, nor an address and a port, nor a URL as in https://proxy.example:9180"
)]
pub struct NoAdminEndpoint;

impl Default for AdminConfig {
    /// Listens nowhere.
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            token_file: None,
            tls: None,
            hosts: Vec::new(),
            legacy_routes: false,
            user_metrics: 0,
            webhook: None,
            webhook_roots: None,
            expiry_days: 7,
            throttled_percent: 80,
            throttled_window: Duration::from_secs(600),
        }
    }
}

impl AdminConfig {
    /// Whether nobody is let in who should not be.
    ///
    /// # Errors
    /// [`AdminError::Open`], [`AdminError::NotBuilt`]
    pub fn check(&self) -> Result<(), AdminError> {
        if !self.listen.is_empty() && !cfg!(feature = "admin") {
            return Err(AdminError::NotBuilt);
        }
        let by_certificate = self.tls.as_ref().is_some_and(|tls| {
            tls.client_roots.is_some() && tls.client_certificate == ClientCertificate::Required
        });
        let guarded = self.token_file.is_some() || by_certificate;
        self.listen.iter().try_for_each(|address| match *address {
            AdminAddress::Tcp(address) if !guarded && !address.ip().is_loopback() => {
                Err(AdminError::Open { address })
            }
            _ => Ok(()),
        })
    }

    /// Where it listens by TCP.
    pub fn tcp(&self) -> impl Iterator<Item = SocketAddr> {
        self.listen.iter().filter_map(|address| match address {
            AdminAddress::Tcp(address) => Some(*address),
            AdminAddress::Socket { .. } => None,
        })
    }
}

impl FromStr for AdminAddress {
    type Err = NoAdminAddress;

    fn from_str(text: &str) -> Result<Self, NoAdminAddress> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Tcp(address));
        }
        let path = text.strip_prefix("unix:").unwrap_or(text);
        if !path.contains('/') {
            return Err(NoAdminAddress);
        }
        Ok(Self::Socket {
            path: path.into(),
            optional: false,
        })
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket { path, .. } => path.display().fmt(f),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

impl FromStr for AdminEndpoint {
    type Err = NoAdminEndpoint;

    fn from_str(text: &str) -> Result<Self, NoAdminEndpoint> {
        if text.contains("://") {
            let url: HttpUrl = text.parse().map_err(|_| NoAdminEndpoint)?;
            return match url.path() {
                "/" => Ok(Self::Url(url)),
                _ => Err(NoAdminEndpoint),
            };
        }
        let address: AdminAddress = text.parse().map_err(|_| NoAdminEndpoint)?;
        address.try_into()
    }
}

impl TryFrom<AdminAddress> for AdminEndpoint {
    type Error = NoAdminEndpoint;

    fn try_from(address: AdminAddress) -> Result<Self, NoAdminEndpoint> {
        match address {
            AdminAddress::Socket { path, .. } => Ok(Self::Socket(path)),
            AdminAddress::Tcp(address) => {
                let url = format!("http://{address}").parse();
                url.map(Self::Url).map_err(|_| NoAdminEndpoint)
            }
        }
    }
}

impl fmt::Display for AdminEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Url(url) => url.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_paths_or_sockets() {
        let parse = |text: &str| text.parse::<AdminAddress>();
        assert!(matches!(parse("127.0.0.1:0"), Ok(AdminAddress::Tcp(_))));
        assert!(matches!(parse("[::1]:9180"), Ok(AdminAddress::Tcp(_))));
        for path in ["/run/w.sock", "unix:/run/w.sock", "./w.sock"] {
            assert!(
                matches!(parse(path), Ok(AdminAddress::Socket { .. })),
                "{path}"
            );
        }
        for none in ["", "9180", "localhost:9180", "w.sock"] {
            assert_eq!(parse(none), Err(NoAdminAddress), "{none}");
        }
    }

    #[test]
    fn endpoints_are_what_a_client_can_reach() {
        let written = |text: &str| text.parse::<AdminEndpoint>().map(|it| it.to_string());
        for (text, expected) in [
            ("127.0.0.1:9180", "http://127.0.0.1:9180/"),
            ("https://proxy.example:9180", "https://proxy.example:9180/"),
            ("/run/w.sock", "/run/w.sock"),
            ("unix:./w.sock", "./w.sock"),
        ] {
            assert_eq!(written(text).as_deref(), Ok(expected));
        }
        for none in ["", "9180", "https://h/x", "ftp://h", "https://u@h"] {
            assert_eq!(written(none), Err(NoAdminEndpoint), "{none}");
        }
    }

    #[cfg(feature = "admin")]
    #[test]
    fn nobody_unknown_is_let_in_from_afar() {
        let listening = |address: &str| AdminConfig {
            listen: vec![address.parse().unwrap()],
            ..AdminConfig::default()
        };
        for kept in ["/x/y", "127.0.0.1:1", "[::1]:1"] {
            assert!(listening(kept).check().is_ok());
        }
        for open in ["0.0.0.0:1", "192.0.2.1:1", "[::]:1"] {
            assert!(matches!(
                listening(open).check(),
                Err(AdminError::Open { .. })
            ));
            let mut guarded = listening(open);
            guarded.token_file = Some("t".into());
            assert!(guarded.check().is_ok());
        }
    }
}
