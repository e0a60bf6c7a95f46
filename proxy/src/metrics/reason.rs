//! Why something failed, as a closed set: the values of a label.

use crate::egress::EgressError;
use crate::session::SessionError;
use crate::users::{LoginError, Revocation, TooMany};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $label:literal),+ $(,)?) => {
        /// Why a client was not served, or not to the end.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Reason { $($(#[$doc])* $name),+ }

        impl Reason {
            /// All of them, by index.
            pub(crate) const ALL: [Self; [$($label),+].len()] = [$(Self::$name),+];

            /// The label's value.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$name => $label),+ }
            }
        }
    };
}

reasons! {
    /// The client broke its protocol.
    Protocol = "protocol",
    /// It offered no password.
    NoPassword = "no-password",
    /// Name or password is wrong, or too many were tried.
    Credentials = "credentials",
    /// The quota is used up.
    Quota = "quota",
    /// The account has ended.
    Expired = "expired",
    /// The user was disabled, deleted or given another password.
    Revoked = "revoked",
    /// An operator ended the session.
    Killed = "killed",
    /// The user has as many connections as one may have.
    UserConnections = "user-connections",
    /// The user is connected from as many addresses as one may be.
    UserAddresses = "user-addresses",
    /// As many connections come from one address as may.
    AddressConnections = "address-connections",
    /// The server has as many connections as it may.
    ServerFull = "server-full",
    /// No account was made.
    Registration = "registration",
    /// The target is forbidden.
    TargetDenied = "target-denied",
    /// The target's name has no address.
    TargetUnresolved = "target-unresolved",
    /// The target did not answer in time.
    TargetTimeout = "target-timeout",
    /// The target cannot be reached.
    TargetUnreachable = "target-unreachable",
    /// No TLS as it should be.
    Tls = "tls",
    /// No whole request in time.
    HandshakeTimeout = "handshake-timeout",
    /// Others needed the place of this handshake.
    Evicted = "evicted",
    /// The client went away.
    ClientGone = "client-gone",
    /// It took longer than a request may.
    Slow = "slow",
    /// No worker was free for it.
    NoWorker = "no-worker",
    /// No instance of its target is healthy.
    NoInstance = "no-instance",
    /// As much has been asked of the HTTPS service as may be in this window.
    RequestQuota = "request-quota",
    /// The server stops.
    Stopping = "stopping",
    /// Not the client's fault.
    Internal = "internal",
}

impl From<&SessionError> for Reason {
    fn from(error: &SessionError) -> Self {
        match error {
            SessionError::Wire(_) | SessionError::OtherUser => Self::Protocol,
            SessionError::NoPassword => Self::NoPassword,
            SessionError::Login(LoginError::Refused) => Self::Credentials,
            SessionError::Login(LoginError::Barred(why)) | SessionError::Revoked(why) => {
                (*why).into()
            }
            SessionError::Login(LoginError::Password(_)) => Self::Internal,
            SessionError::Registration(_) => Self::Registration,
            SessionError::TooMany(TooMany::Connections) => Self::UserConnections,
            SessionError::TooMany(TooMany::Addresses) => Self::UserAddresses,
            SessionError::Crowd => Self::AddressConnections,
            SessionError::NoRoom => Self::ServerFull,
            SessionError::Egress(error) => error.into(),
            SessionError::Tls(_) => Self::Tls,
            SessionError::Timeout => Self::HandshakeTimeout,
            SessionError::Evicted => Self::Evicted,
            SessionError::Client(_) => Self::ClientGone,
            SessionError::Killed => Self::Killed,
            SessionError::Slow => Self::Slow,
            #[cfg(feature = "https-service")]
            SessionError::NoWorker(_) => Self::NoWorker,
            #[cfg(feature = "https-service")]
            SessionError::Quota(_) => Self::RequestQuota,
            #[cfg(feature = "https-service")]
            SessionError::ClosedInQueue => Self::ClientGone,
            #[cfg(feature = "https-service")]
            SessionError::NoInstance(_) => Self::NoInstance,
            SessionError::Stopping => Self::Stopping,
        }
    }
}

impl From<Revocation> for Reason {
    fn from(why: Revocation) -> Self {
        match why {
            Revocation::Changed => Self::Revoked,
            Revocation::OverQuota => Self::Quota,
            Revocation::Expired => Self::Expired,
            Revocation::Unknown => Self::Internal,
        }
    }
}

impl From<&EgressError> for Reason {
    fn from(error: &EgressError) -> Self {
        match error {
            EgressError::Denied { .. } => Self::TargetDenied,
            EgressError::Resolve { .. } => Self::TargetUnresolved,
            EgressError::Timeout { .. } => Self::TargetTimeout,
            EgressError::Connect { .. } => Self::TargetUnreachable,
        }
    }
}
