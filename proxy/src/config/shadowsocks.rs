//! What the shadowsocks front end is told.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::HttpUrl;
use crate::protocol::shadowsocks::{Key, KeyError, Method};

/// Shadowsocks servers for those users who have an access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadowsocks {
    /// The address of every port.
    pub listen: IpAddr,
    /// Silence of a TCP session; `None`: as any other connection.
    pub idle: Option<Duration>,
    /// Silence of a UDP association.
    pub udp_idle: Duration,
    /// UDP associations of all users; one more takes the place of the one that is silent longest.
    pub udp_associations: usize,
    /// What happens to a datagram beyond its user's limit.
    pub udp: UdpLimit,
    /// Lets users in by methods that authenticate nobody: `none`, which does not encrypt
    /// either, and those in CFB mode.
    pub allow_unencrypted: bool,
    /// Where salts are kept over a restart, so that nothing recorded before it is
    /// served after it; `None`: in memory alone.
    pub replay_file: Option<PathBuf>,
    /// Where users with a number come from; `None`: the database alone.
    pub source: Option<Source>,
    /// Certificates (PEM) that a panel's may lead to, besides those of the system.
    pub panel_roots: Option<PathBuf>,
    /// How often the source is asked.
    pub sync: Duration,
    /// The control interface; `None`: none.
    pub grpc: Option<Grpc>,
    /// Where metrics are, in the names of aioshadowsocks; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
    /// The port whose users panels manage by the Server Management API; `None`: none.
    pub managed: Option<Managed>,
}

/// How a limit treats datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UdpLimit {
    /// They wait, up to a second, then they are dropped.
    #[default]
    Shape,
    /// They are dropped at once.
    Police,
}

impl Default for Shadowsocks {
    /// All addresses, idle as other connections, a minute for associations and
    /// 4,096 of them, shaped, encrypted, salts in memory, users from the database.
    fn default() -> Self {
        Self {
            listen: Ipv4Addr::UNSPECIFIED.into(),
            idle: None,
            udp_idle: Duration::from_secs(60),
            udp_associations: 4_096,
            udp: UdpLimit::Shape,
            allow_unencrypted: false,
            replay_file: None,
            source: None,
            panel_roots: None,
            sync: Duration::from_secs(60),
            grpc: None,
            metrics: None,
            managed: None,
        }
    }
}

/// Where users come from who have a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file like `userconfigs.json`.
    File(PathBuf),
    /// A panel.
    Panel(Panel),
}

/// The port whose users panels manage by the Shadowsocks Server Management API: each has
/// a key of their own beside that of the port (SIP023). `Debug` leaves the key out.
#[derive(Clone, PartialEq, Eq)]
pub struct Managed {
    /// The port, TCP and UDP.
    pub port: u16,
    /// A method of the 2022 edition with AES.
    pub method: Method,
    /// The key of the port, base64.
    pub key: String,
}

/// A managed port that cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoManaged {
    /// Its users cannot have keys of their own.
    #[error(
        "users have keys of their own with 2022-blake3-aes-128-gcm and 2022-blake3-aes-256-gcm alone"
    )]
    Method,
    /// The key is none.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Managed {
    /// A port with its key.
    ///
    /// # Errors
    /// [`NoManaged`]
    pub fn new(port: u16, method: Method, key: String) -> Result<Self, NoManaged> {
        if !method.is_2022() {
            return Err(NoManaged::Method);
        }
        // Two keys would be one too many.
        Key::from_base64(method, &key)?;
        Ok(Self { port, method, key })
    }

    /// The password of one of its users, whose own key is `key`.
    #[must_use]
    pub fn password(&self, key: &str) -> String {
        format!("{}:{key}", self.key)
    }
}

impl fmt::Debug for Managed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Managed")
            .field("port", &self.port)
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// The URL of a panel, which may hold a token; `Debug` shows its host alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Panel(HttpUrl);

/// A text that is no URL of a panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no URL of a panel: http://host[:port]/path or https://host[:port]/path")]
pub struct NoPanel;

impl Panel {
    /// Whether it is spoken to under TLS.
    #[must_use]
    pub const fn is_https(&self) -> bool {
        self.0.is_https()
    }

    /// The host, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host()
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.0.port()
    }

    /// Host and port, as in a `Host` field.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.0.authority()
    }

    /// Path and query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.path()
    }
}

impl FromStr for Panel {
    type Err = NoPanel;

    fn from_str(text: &str) -> Result<Self, NoPanel> {
        text.parse().map(Self).map_err(|_| NoPanel)
    }
}

impl fmt::Debug for Panel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panel")
            .field("authority", &self.authority())
            .finish_non_exhaustive()
    }
}

/// The control interface of aioshadowsocks.
#[derive(Clone, PartialEq, Eq)]
pub struct Grpc {
    /// Where to listen; beyond loopback only with a token.
    pub listen: SocketAddr,
    /// What clients must show, as `authorization: Bearer ...`.
    pub token: Option<String>,
    /// Whether it is spoken to under TLS, by the server's certificate.
    pub tls: bool,
}

impl fmt::Debug for Grpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grpc")
            .field("listen", &self.listen)
            .field("token", &self.token.is_some())
            .field("tls", &self.tls)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_panels() {
        let panel: Panel = "https://panel.example/api/users/1/?token=secret#x"
            .parse()
            .unwrap();
        assert!(panel.is_https());
        assert_eq!((panel.host(), panel.port()), ("panel.example", 443));
        assert_eq!(panel.path(), "/api/users/1/?token=secret");
        assert!(!format!("{panel:?}").contains("secret"));
        let panel: Panel = "http://[::1]:8000?token=1".parse().unwrap();
        assert_eq!(
            (panel.host(), panel.port(), panel.path()),
            ("::1", 8000, "/?token=1")
        );
        for wrong in [
            "panel.example",
            "ftp://x/",
            "http://",
            "http://a:b/",
            "http://a/ b",
            "http://u@a/",
        ] {
            assert!(wrong.parse::<Panel>().is_err(), "{wrong}");
        }
    }
}
