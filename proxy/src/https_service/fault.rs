//! Why the service itself answers a request.

use std::error::Error;

use super::gate::NoWorker;
use super::group::NoInstance;
use super::statistics::{CLIENT_GONE, Outcome};
use crate::causes::chain;
use crate::egress::EgressError;
use crate::protocol::WireError;
use crate::users::{LoginError, Revocation, TooMany};

/// Why there is no answer of the target's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The frame holds no request.
    #[error("{0}")]
    BadRequest(String),
    /// The blob has no key.
    #[error(transparent)]
    Frame(#[from] WireError),
    /// Nobody has said who asks, or nobody believes it.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// Guests come from elsewhere, or there are none.
    #[error("say who you are: user and password, or Proxy-Authorization")]
    NoLogin,
    /// The user has as many connections as one may have.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// As much has been asked for as may be.
    #[error("the quota of this {0} is used up")]
    Quota(&'static str),
    /// Nobody is there to be answered.
    #[error("the client has closed while its request waited")]
    ClientGone,
    /// See [`NoWorker`].
    #[error(transparent)]
    NoWorker(#[from] NoWorker),
    /// The target was too slow.
    #[error("no answer from the target within the request time-out")]
    RequestTimeout,
    /// As many bytes are in memory as may be.
    #[error("no memory is left for this request")]
    NoMemory,
    /// The answer does not fit into a frame.
    #[error("the answer is too long for a frame")]
    TooLarge,
    /// See [`NoInstance`].
    #[error(transparent)]
    NoInstance(#[from] NoInstance),
    /// The target was not reached.
    #[error("{0}")]
    Egress(String, EgressKind),
    /// The target was reached and has not answered as it should.
    #[error("{0}")]
    Upstream(String),
    /// The user must not go on.
    #[error(transparent)]
    Revoked(#[from] Revocation),
}

/// What kept a target from being reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EgressKind {
    Denied,
    Timeout,
    Unreachable,
}

impl Fault {
    /// What a client has failed with.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut cause = Some(error);
        let mut egress = None;
        while let (Some(error), None) = (cause, egress) {
            egress = error.downcast_ref::<EgressError>();
            cause = error.source();
        }
        let text = chain(egress.map_or(error, |egress| egress));
        match egress {
            None => Self::Upstream(text),
            Some(EgressError::Denied { .. }) => Self::Egress(text, EgressKind::Denied),
            Some(EgressError::Timeout { .. }) => Self::Egress(text, EgressKind::Timeout),
            Some(_) => Self::Egress(text, EgressKind::Unreachable),
        }
    }

    /// The status: the seed's where it has one.
    pub(crate) const fn status(&self) -> u16 {
        match self {
            Self::BadRequest(_) => 400,
            Self::Login(LoginError::Barred(Revocation::Unknown)) => 503,
            Self::Login(LoginError::Barred(_)) | Self::Egress(_, EgressKind::Denied) => 403,
            Self::Login(LoginError::Refused) | Self::NoLogin => 407,
            Self::TooMany(_) | Self::Quota(_) => 429,
            Self::TooLarge => 502,
            Self::NoWorker(_)
            | Self::ClientGone
            | Self::NoMemory
            | Self::NoInstance(_)
            | Self::Revoked(_) => 503,
            Self::RequestTimeout | Self::Egress(_, EgressKind::Timeout) => 504,
            // Whatever else goes wrong is 500 there, a target that is not reached too.
            Self::Frame(_) | Self::Login(_) | Self::Egress(..) | Self::Upstream(_) => 500,
        }
    }

    /// What the statistics know it by.
    pub(crate) const fn outcome(&self) -> Outcome {
        match self {
            Self::BadRequest(_) | Self::Frame(_) => Outcome::Error("bad_request"),
            Self::Login(_) | Self::NoLogin => Outcome::Error("login"),
            Self::TooMany(_) => Outcome::Rejected("user_connections"),
            Self::Quota(_) => Outcome::Rejected("quota"),
            Self::NoWorker(NoWorker::QueueFull) => Outcome::Rejected("queue_full"),
            Self::NoWorker(NoWorker::QueueTimeout) => Outcome::Timeout("queue_timeout"),
            Self::ClientGone => Outcome::Error(CLIENT_GONE),
            Self::RequestTimeout => Outcome::Timeout("request_timeout"),
            Self::Egress(_, EgressKind::Timeout) => Outcome::Timeout("connect_timeout"),
            Self::NoMemory => Outcome::Rejected("memory"),
            Self::TooLarge => Outcome::Error("too_large"),
            Self::NoInstance(_) => Outcome::Error("no_instance"),
            Self::Egress(_, EgressKind::Denied) => Outcome::Error("denied"),
            Self::Egress(_, EgressKind::Unreachable) => Outcome::Error("unreachable"),
            Self::Upstream(_) => Outcome::Error("upstream"),
            Self::Revoked(_) => Outcome::Error("revoked"),
        }
    }
}
