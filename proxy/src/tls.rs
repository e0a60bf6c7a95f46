//! TLS on listeners: which certificate, whose client certificates, and how both
//! are changed while clients are served.
//!
//! Without the crate feature `tls` a config that asks for it is refused.

use std::path::PathBuf;

#[cfg(feature = "tls")]
mod accept;
#[cfg(any(feature = "admin", feature = "https-service", feature = "panel"))]
mod connect;
#[cfg(feature = "tls")]
mod rewound;
#[cfg(feature = "tls")]
mod trust;

#[cfg(feature = "tls")]
pub use accept::Certificates;
#[cfg(feature = "tls")]
pub(crate) use accept::Stream;
#[cfg(any(feature = "admin", feature = "https-service", feature = "panel"))]
pub(crate) use connect::Connector;
#[cfg(feature = "tls")]
pub use trust::client_config;

/// The files behind TLS, PEM each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, followed by those that lead to its root.
    pub certificate: PathBuf,
    /// The private key of the first of these.
    pub key: PathBuf,
    /// The roots of client certificates; `None`: nobody is asked for one.
    pub client_roots: Option<PathBuf>,
    /// What a client without a certificate gets, where there are roots. A
    /// certificate never replaces a login.
    pub client_certificate: ClientCertificate,
}

/// What makes us trust a server, and a server trust us: PEM each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Certificates that are trusted besides those of the system.
    pub roots: Option<PathBuf>,
    /// Our certificate (followed by those that lead to its root) and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Whether a client needs a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificate {
    /// Nobody gets in without.
    #[default]
    Required,
    /// It must be good where there is one.
    Optional,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// This program was built without it.
    #[error("this program was built without TLS")]
    NotBuilt,
    /// A listener wants TLS and there is no certificate.
    #[error("a listener has tls = true, and there is no [tls] with a certificate")]
    NoCertificate,
    /// A file cannot be read or holds something else.
    #[error("cannot use {}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The files are none that go together.
    #[error("the certificate and its key cannot be used: {why}")]
    Unusable {
        /// Why not.
        why: String,
    },
}

/// Where the certificates would be.
#[cfg(not(feature = "tls"))]
#[derive(Clone, Debug)]
pub struct Certificates(());

#[cfg(not(feature = "tls"))]
impl Certificates {
    pub(crate) fn load(files: Option<TlsFiles>) -> Result<Self, TlsError> {
        match files {
            None => Ok(Self(())),
            Some(_) => Err(TlsError::NotBuilt),
        }
    }

    pub(crate) const fn is_some(&self) -> bool {
        false
    }

    /// Nobody is spoken TLS with.
    #[cfg(feature = "admin")]
    pub(crate) async fn accept(
        &self,
        _: tokio::net::TcpStream,
        _: Vec<u8>,
    ) -> std::io::Result<tokio::net::TcpStream> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    /// Does nothing.
    ///
    /// # Errors
    /// None.
    pub const fn reload(&self) -> Result<(), TlsError> {
        Ok(())
    }
}
