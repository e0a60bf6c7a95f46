//! What each dialect says to a whole request.

use std::io;
use std::net::SocketAddr;

use super::{Opened, RequestId, SessionError};
use crate::egress::EgressError;
use crate::protocol::http::{Status, answer};
use crate::protocol::{Dialect, line, socks5};

/// "Connected"; `bound` is our address towards the target.
pub(super) fn connected(opened: &Opened, bound: SocketAddr) -> Vec<u8> {
    match opened.dialect {
        Dialect::Socks5 => socks5::reply(socks5::Code::Succeeded, bound),
        Dialect::Http => known_as(answer::ESTABLISHED.to_vec(), opened.request),
        Dialect::Line => line::reply(bound),
        Dialect::AuthTarget => Vec::new(),
    }
}

/// "No"; empty where the dialect has no word for that.
pub(super) fn refused(opened: &Opened, error: &SessionError) -> Vec<u8> {
    match opened.dialect {
        Dialect::Socks5 => socks5::reply(code(error), socks5::UNBOUND),
        Dialect::Http => {
            let words = answer::with_fields(status(error).answer(false), fields(error));
            known_as(words, opened.request)
        }
        Dialect::Line | Dialect::AuthTarget => Vec::new(),
    }
}

/// An answer of the proxy's own with the number of its request, if it has one.
pub(super) fn known_as(words: Vec<u8>, request: Option<RequestId>) -> Vec<u8> {
    match request {
        Some(request) => answer::with_id(words, &request),
        None => words,
    }
}

fn code(error: &SessionError) -> socks5::Code {
    use socks5::Code;
    match error {
        SessionError::TooMany(_) | SessionError::Egress(EgressError::Denied { .. }) => {
            Code::NotAllowed
        }
        SessionError::Egress(EgressError::Resolve { .. } | EgressError::Timeout { .. }) => {
            Code::HostUnreachable
        }
        SessionError::Egress(EgressError::Connect { source, .. }) => match source.kind() {
            io::ErrorKind::ConnectionRefused => Code::ConnectionRefused,
            io::ErrorKind::NetworkUnreachable => Code::NetworkUnreachable,
            io::ErrorKind::HostUnreachable | io::ErrorKind::TimedOut => Code::HostUnreachable,
            _ => Code::GeneralFailure,
        },
        _ => Code::GeneralFailure,
    }
}

/// What the answer tells beside its status.
fn fields(error: &SessionError) -> &[(&'static str, String)] {
    match error {
        #[cfg(feature = "https-service")]
        SessionError::Quota(spent) => &spent.fields,
        _ => &[],
    }
}

/// What an HTTP client is told.
pub(super) fn status(error: &SessionError) -> Status {
    match error {
        #[cfg(feature = "https-service")]
        SessionError::Quota(_) => Status::TooManyRequests,
        SessionError::TooMany(_) => Status::TooManyRequests,
        SessionError::Egress(EgressError::Denied { .. }) => Status::Forbidden,
        SessionError::Slow | SessionError::Egress(EgressError::Timeout { .. }) => {
            Status::GatewayTimeout
        }
        SessionError::Egress(EgressError::Connect { source, .. })
            if source.kind() == io::ErrorKind::TimedOut =>
        {
            Status::GatewayTimeout
        }
        SessionError::Egress(_) => Status::BadGateway,
        _ => Status::ServiceUnavailable,
    }
}
