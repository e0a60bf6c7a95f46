//! What the shadowsocks front end is told.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

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
    /// Lets users with the method `none` in: nothing is encrypted, nobody authenticated.
    pub allow_unencrypted: bool,
    /// Where salts are kept over a restart, so that nothing recorded before it is
    /// served after it; `None`: in memory alone.
    pub replay_file: Option<PathBuf>,
    /// Where users with a number come from; `None`: the database alone.
    pub source: Option<Source>,
    /// How often the source is asked.
    pub sync: Duration,
    /// The control interface; `None`: none.
    pub grpc: Option<Grpc>,
    /// Where metrics are, in the names of aioshadowsocks; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
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
            sync: Duration::from_secs(60),
            grpc: None,
            metrics: None,
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

/// The URL of a panel, which may hold a token; `Debug` shows its host alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Panel {
    https: bool,
    host: String,
    port: u16,
    authority: String,
    path: String,
}

/// A text that is no URL of a panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no URL of a panel: http://host[:port]/path or https://host[:port]/path")]
pub struct NoPanel;

impl Panel {
    /// Whether it is spoken to under TLS.
    #[must_use]
    pub const fn is_https(&self) -> bool {
        self.https
    }

    /// The host, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Host and port, as in a `Host` field.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Path and query.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl FromStr for Panel {
    type Err = NoPanel;

    fn from_str(text: &str) -> Result<Self, NoPanel> {
        let (https, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err(NoPanel),
        };
        let cut = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(cut);
        let path = match path.split('#').next().unwrap_or_default() {
            path if path.starts_with('/') => path.to_owned(),
            query => format!("/{query}"),
        };
        let bare = authority.strip_prefix('[');
        let (host, port) = match bare.and_then(|bare| bare.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = match port {
            Some(port) => port.parse().map_err(|_| NoPanel)?,
            None if https => 443,
            None => 80,
        };
        let odd = |c: char| c.is_whitespace() || c.is_control();
        if host.is_empty() || authority.contains('@') || text.contains(odd) || !text.is_ascii() {
            return Err(NoPanel);
        }
        Ok(Self {
            https,
            host: host.to_owned(),
            port,
            authority: authority.to_owned(),
            path,
        })
    }
}

impl fmt::Debug for Panel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panel")
            .field("authority", &self.authority)
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
