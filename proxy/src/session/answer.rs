//! What each dialect says to a whole request.

use std::io;
use std::net::SocketAddr;

use super::SessionError;
use crate::egress::EgressError;
use crate::protocol::http::{Status, answer};
use crate::protocol::{Dialect, line, socks5};

/// "Connected"; `bound` is our address towards the target.
pub(super) fn connected(dialect: Dialect, bound: SocketAddr) -> Vec<u8> {
    match dialect {
        Dialect::Socks5 => socks5::reply(socks5::Code::Succeeded, bound),
        Dialect::Http => answer::ESTABLISHED.to_vec(),
        Dialect::Line => line::reply(bound),
        Dialect::AuthTarget => Vec::new(),
    }
}

/// "No"; empty where the dialect has no word for that.
pub(super) fn refused(dialect: Dialect, error: &SessionError) -> Vec<u8> {
    match dialect {
        Dialect::Socks5 => socks5::reply(code(error), socks5::UNBOUND),
        Dialect::Http => status(error).answer(false),
        Dialect::Line | Dialect::AuthTarget => Vec::new(),
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

fn status(error: &SessionError) -> Status {
    match error {
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
