//! URLs of what this program speaks HTTP with.

use std::fmt;
use std::str::FromStr;

/// An `http` or `https` URL without credentials. Path and query may hold a secret:
/// what is printed has neither.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl {
    https: bool,
    host: String,
    port: u16,
    authority: String,
    path: String,
}

/// A text that is no such URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no URL of the form http://host[:port]/path or https://host[:port]/path")]
pub struct NoHttpUrl;

impl HttpUrl {
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

    /// Path and query, at least `/`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl FromStr for HttpUrl {
    type Err = NoHttpUrl;

    fn from_str(text: &str) -> Result<Self, NoHttpUrl> {
        let (https, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err(NoHttpUrl),
        };
        let cut = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(cut);
        let path = match path.split('#').next().unwrap_or_default() {
            path if path.starts_with('/') => path.to_owned(),
            query => format!("/{query}"),
        };
        let bare = authority.strip_prefix('[');
        let (host, port) = match bare.and_then(|bare| bare.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or(NoHttpUrl)?)),
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = match port {
            Some(port) => port.parse().map_err(|_| NoHttpUrl)?,
            None if https => 443,
            None => 80,
        };
        let graphic = text.bytes().all(|byte| byte.is_ascii_graphic());
        if host.is_empty() || authority.contains('@') || !graphic {
            return Err(NoHttpUrl);
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

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        let rest = if self.path == "/" { "/" } else { "/..." };
        write!(f, "{scheme}://{}{rest}", self.authority)
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpUrl").field(&self.to_string()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let url: HttpUrl = "https://panel.example/api/users/1/?token=secret#x"
            .parse()
            .unwrap();
        assert!(url.is_https());
        assert_eq!((url.host(), url.port()), ("panel.example", 443));
        assert_eq!(url.path(), "/api/users/1/?token=secret");
        assert!(!format!("{url} {url:?}").contains("secret"));
        let url: HttpUrl = "http://[::1]:8000?token=1".parse().unwrap();
        assert_eq!(
            (url.host(), url.port(), url.path(), url.authority()),
            ("::1", 8000, "/?token=1", "[::1]:8000")
        );
        assert_eq!("http://h".parse::<HttpUrl>().unwrap().path(), "/");
        for wrong in [
            "",
            "panel.example",
            "ftp://x/",
            "http://",
            "http:///x",
            "http://:80/",
            "http://x:port/",
            "http://[::1]8000/",
            "http://u:p@x/",
            "http://h/a b",
            "http://h/\r\nX: y",
        ] {
            assert_eq!(wrong.parse::<HttpUrl>(), Err(NoHttpUrl), "{wrong}");
        }
    }
}
