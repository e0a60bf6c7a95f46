//! The numbers of HTTP requests: the client reads them in `X-Request-Id` where the
//! proxy answers itself, the operator in the log.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Peer, SessionError};

/// Which request of which connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestId {
    connection: u64,
    /// From 1.
    request: u32,
}

/// How many requests a connection has had.
#[derive(Debug, Default)]
pub(super) struct Requests(AtomicU32);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.connection, self.request)
    }
}

impl Peer {
    /// The number of a request that has just been read.
    pub(super) fn next_request(&self) -> RequestId {
        RequestId {
            connection: self.id,
            request: self.requests.0.fetch_add(1, Ordering::Relaxed) + 1,
        }
    }

    /// The request that `error`, of a handshake, is the answer to, if it is one to any.
    pub(super) fn refused_request(&self, error: &SessionError) -> Option<RequestId> {
        let is_answered = matches!(
            error,
            SessionError::Wire(_) | SessionError::NoPassword | SessionError::Login(_)
        );
        let request = self.requests.0.load(Ordering::Relaxed);
        (is_answered && request > 0).then_some(RequestId {
            connection: self.id,
            request,
        })
    }
}
