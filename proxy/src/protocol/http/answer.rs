//! What the proxy itself says.

use std::fmt;

use super::Malformed;
use super::fields::write_field;
use crate::protocol::WireError;

/// The answer to CONNECT that opens the tunnel, without fields or a body.
pub const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// How to ask for a name and a password.
const CHALLENGE: &str = "Proxy-Authenticate: Basic realm=\"weirgate\"\r\n";

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Status {
    /// The request is malformed.
    BadRequest = 400,
    /// The rules forbid the target.
    Forbidden = 403,
    /// There are no credentials, or wrong ones.
    ProxyAuthenticationRequired = 407,
    /// The user has too many connections, or tries too many passwords.
    TooManyRequests = 429,
    /// The head is too long.
    HeadTooLarge = 431,
    /// A method or a transfer coding that is not served.
    NotImplemented = 501,
    /// The target was not reached, or what it says is malformed.
    BadGateway = 502,
    /// The proxy has no room.
    ServiceUnavailable = 503,
    /// The target did not answer in time.
    GatewayTimeout = 504,
    /// Neither HTTP/1.1 nor HTTP/1.0.
    VersionNotSupported = 505,
}

/// `answer`, one of these, with the field `X-Request-Id`.
#[must_use]
pub fn with_id(answer: Vec<u8>, id: &impl fmt::Display) -> Vec<u8> {
    with_fields(answer, &[("X-Request-Id", id.to_string())])
}

/// `answer`, one of these, with further fields.
#[must_use]
pub fn with_fields(mut answer: Vec<u8>, fields: &[(&str, String)]) -> Vec<u8> {
    // The empty line that ends the head.
    if answer.ends_with(b"\r\n") {
        answer.truncate(answer.len() - 2);
    }
    for (name, value) in fields {
        write_field(&mut answer, name, value.as_bytes());
    }
    answer.extend(b"\r\n");
    answer
}

impl Status {
    /// What to answer to a request that does not parse.
    #[must_use]
    pub const fn of(error: WireError) -> Self {
        match error {
            WireError::Http(Malformed::TooLong | Malformed::TooManyFields) => Self::HeadTooLarge,
            WireError::Http(Malformed::Coding | Malformed::MaxForwards) => Self::NotImplemented,
            WireError::Http(Malformed::Version) => Self::VersionNotSupported,
            _ => Self::BadRequest,
        }
    }

    /// The whole answer. Unless `keep_alive`, the client is told that the
    /// connection closes. There is no body, so it answers HEAD as well.
    ///
    /// A connection may stay open where all of the request has been read.
    #[must_use]
    pub fn answer(self, keep_alive: bool) -> Vec<u8> {
        let challenge = match self {
            Self::ProxyAuthenticationRequired => CHALLENGE,
            _ => "",
        };
        let connection = if keep_alive {
            ""
        } else {
            "Connection: close\r\n"
        };
        let (code, reason) = (self as u16, self.reason());
        let head =
            format!("HTTP/1.1 {code} {reason}\r\n{challenge}Content-Length: 0\r\n{connection}\r\n");
        head.into_bytes()
    }

    const fn reason(self) -> &'static str {
        match self {
            Self::BadRequest => "Bad Request",
            Self::Forbidden => "Forbidden",
            Self::ProxyAuthenticationRequired => "Proxy Authentication Required",
            Self::TooManyRequests => "Too Many Requests",
            Self::HeadTooLarge => "Request Header Fields Too Large",
            Self::NotImplemented => "Not Implemented",
            Self::BadGateway => "Bad Gateway",
            Self::ServiceUnavailable => "Service Unavailable",
            Self::GatewayTimeout => "Gateway Timeout",
            Self::VersionNotSupported => "HTTP Version Not Supported",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_byte_for_byte() {
        assert_eq!(
            Status::ProxyAuthenticationRequired.answer(false),
            b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"weirgate\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(
            Status::BadRequest.answer(false),
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(
            Status::GatewayTimeout.answer(true),
            b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n"
        );
        assert_eq!(
            with_id(ESTABLISHED.to_vec(), &"7-1"),
            b"HTTP/1.1 200 Connection established\r\nX-Request-Id: 7-1\r\n\r\n"
        );
    }

    #[test]
    fn every_error_has_its_answer() {
        let of = |malformed: Malformed| Status::of(malformed.into()) as u16;
        assert_eq!(of(Malformed::TooLong), 431);
        assert_eq!(of(Malformed::Coding), 501);
        assert_eq!(of(Malformed::Version), 505);
        assert_eq!(of(Malformed::TwoFramings), 400);
        assert_eq!(Status::of(WireError::Host) as u16, 400);
    }
}
