//! Ways to the origin as scripts of bytes: what to say, what to wait for.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::str::FromStr;
use std::time::Duration;

use bench_clients::dial::{Credentials, Endpoint, http, socks5};

/// A way to the origin.
#[derive(Clone, Debug)]
pub(crate) enum Via {
    /// What listens there is the origin, or passes everything on to it.
    Forward(SocketAddr),
    Socks5(SocketAddr, Credentials),
    Http(SocketAddr, Credentials),
}

/// One exchange of a handshake.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) say: Vec<u8>,
    pub(crate) hear: Hear,
}

/// A reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hear {
    /// These two bytes.
    Two([u8; 2]),
    /// SOCKS5's reply to a request.
    Socks5,
    /// The head of a response with the code 200.
    Head,
}

impl FromStr for Via {
    type Err = String;

    /// `tcp://HOST:PORT`, `socks5://USER:PASSWORD@HOST:PORT` or `http://USER:PASSWORD@HOST:PORT`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("no scheme")?;
        let (user, address) = rest.rsplit_once('@').unwrap_or(("", rest));
        let address: SocketAddr = address.parse().map_err(|_| "no IP address and port")?;
        let (user, password) = user.split_once(':').unwrap_or_default();
        let credentials = Credentials {
            user: user.to_owned(),
            password: password.to_owned(),
        };
        match scheme {
            "tcp" => Ok(Self::Forward(address)),
            "socks5" => Ok(Self::Socks5(address, credentials)),
            "http" => Ok(Self::Http(address, credentials)),
            _ => Err(format!("{scheme} is none of tcp, socks5 and http")),
        }
    }
}

impl Via {
    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Forward(address) | Self::Socks5(address, _) | Self::Http(address, _) => *address,
        }
    }

    /// The same for another user, `{}` in the name replaced by `number`.
    pub(crate) fn numbered(&self, number: usize) -> Self {
        let mut via = self.clone();
        if let Self::Socks5(_, credentials) | Self::Http(_, credentials) = &mut via {
            credentials.user = credentials.user.replace("{}", &number.to_string());
        }
        via
    }

    /// What is to be said and heard until `origin` is at the other end.
    pub(crate) fn script(&self, origin: SocketAddr) -> io::Result<Vec<Step>> {
        let step = |say: Vec<u8>, hear| Step { say, hear };
        Ok(match self {
            Self::Forward(_) => Vec::new(),
            Self::Socks5(_, credentials) => {
                let target = Endpoint::Address(origin);
                vec![
                    step(socks5::greeting(true).to_vec(), Hear::Two([5, 2])),
                    step(
                        socks5::authentication(credentials).map_err(io::Error::other)?,
                        Hear::Two([1, 0]),
                    ),
                    step(
                        socks5::connect_request(&target).map_err(io::Error::other)?,
                        Hear::Socks5,
                    ),
                ]
            }
            Self::Http(_, credentials) => {
                let head = http::request(&Endpoint::Address(origin), Some(credentials));
                let head = head.map_err(io::Error::other)?;
                vec![step(head, Hear::Head)]
            }
        })
    }

    /// A connection to `origin`, blocking.
    pub(crate) fn dial(&self, origin: SocketAddr) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(self.address())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        for step in self.script(origin)? {
            stream.write_all(&step.say)?;
            let mut heard = Vec::new();
            // One byte at a time: nothing behind the reply is taken.
            while !step.hear.whole(&heard)? {
                let mut byte = [0];
                stream.read_exact(&mut byte)?;
                heard.extend(byte);
            }
        }
        stream.set_read_timeout(None)?;
        Ok(stream)
    }
}

impl Hear {
    /// Whether `heard` is all of it.
    pub(crate) fn whole(self, heard: &[u8]) -> io::Result<bool> {
        let refused = || io::Error::other(format!("refused: {}", heard.escape_ascii()));
        match self {
            Self::Two(expected) if heard.len() >= 2 => {
                (heard == expected).then_some(true).ok_or_else(refused)
            }
            Self::Two(_) => Ok(false),
            Self::Socks5 => match *heard {
                [_, code, ..] if code != 0 => Err(refused()),
                [_, _, _, 1, ..] => Ok(heard.len() >= 10),
                [_, _, _, 4, ..] => Ok(heard.len() >= 22),
                [_, _, _, _, ..] => Err(refused()),
                _ => Ok(false),
            },
            Self::Head if heard.ends_with(b"\r\n\r\n") => {
                let ok = heard.get(9..12) == Some(b"200");
                ok.then_some(true).ok_or_else(refused)
            }
            Self::Head => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_whole_when_it_is() {
        let reply = [5, 0, 0, 1, 127, 0, 0, 1, 1, 2];
        for len in 0..10 {
            assert!(!Hear::Socks5.whole(&reply[..len]).unwrap());
        }
        assert!(Hear::Socks5.whole(&reply).unwrap());
        assert!(Hear::Socks5.whole(&[5, 2]).is_err());
        assert!(Hear::Head.whole(b"HTTP/1.1 200 OK\r\n\r\n").unwrap());
        assert!(Hear::Head.whole(b"HTTP/1.1 407 No\r\n\r\n").is_err());
        assert!(Hear::Two([5, 2]).whole(&[5, 255]).is_err());
    }
}
