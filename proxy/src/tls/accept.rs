//! The server's side of TLS.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::rewound::Rewound;
use super::{ClientCertificate, TlsError, TlsFiles};

/// A client under TLS.
pub(crate) type Stream = TlsStream<Rewound>;

/// The certificates that new connections are met with: a handle, cheap to clone.
#[derive(Clone)]
pub struct Certificates(Option<Arc<Inner>>);

struct Inner {
    files: TlsFiles,
    current: RwLock<Arc<ServerConfig>>,
}

impl Certificates {
    pub(crate) fn load(files: Option<TlsFiles>) -> Result<Self, TlsError> {
        let inner = files.map(|files| {
            let current = RwLock::new(read(&files)?);
            Ok(Arc::new(Inner { files, current }))
        });
        Ok(Self(inner.transpose()?))
    }

    pub(crate) const fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// Reads the files again: connections from now on are met with what they
    /// hold. If they cannot be used, everything stays as it was.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn reload(&self) -> Result<(), TlsError> {
        if let Some(inner) = &self.0 {
            let new = read(&inner.files)?;
            *inner.current.write() = new;
        }
        Ok(())
    }

    /// Speaks TLS with a client of whom `early` has been read already.
    pub(crate) async fn accept(&self, client: TcpStream, early: Vec<u8>) -> io::Result<Stream> {
        let Some(inner) = &self.0 else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let acceptor = TlsAcceptor::from(Arc::clone(&inner.current.read()));
        acceptor.accept(Rewound::new(early, client)).await
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.0.as_ref().map(|inner| &inner.files);
        f.debug_tuple("Certificates").field(&files).finish()
    }
}

fn read(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| file(&files.key, &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match &files.client_roots {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let verifier = verifier(roots, files.client_certificate)?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder.with_single_cert(chain, key).map_err(unusable)?;
    Ok(Arc::new(config))
}

fn verifier(
    path: &Path,
    certificate: ClientCertificate,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for root in certificates(path)? {
        roots.add(root).map_err(unusable)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match certificate {
        ClientCertificate::Required => builder,
        ClientCertificate::Optional => builder.allow_unauthenticated(),
    };
    let verifier = builder.build().map_err(unusable)?;
    Ok(verifier)
}

/// The certificates of a file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    let found = read().map_err(|error| file(path, &error))?;
    if found.is_empty() {
        return Err(file(path, &pem::Error::NoItemsFound));
    }
    Ok(found)
}

fn file(path: &Path, error: &pem::Error) -> TlsError {
    TlsError::File {
        path: path.to_owned(),
        why: error.to_string(),
    }
}

fn unusable(error: impl fmt::Display) -> TlsError {
    TlsError::Unusable {
        why: error.to_string(),
    }
}
