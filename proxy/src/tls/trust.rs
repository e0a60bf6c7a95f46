//! TLS as a client: whom we trust, and who we are.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::{TlsError, Trust};

/// TLS that trusts the system's roots and those of `trust`, and shows its certificate.
///
/// # Errors
/// [`TlsError`] if a file cannot be used.
pub fn client_config(trust: &Trust) -> Result<ClientConfig, TlsError> {
    let mut store = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    store.add_parsable_certificates(system.certs);
    if let Some(path) = &trust.roots
        && store.add_parsable_certificates(certificates(path)?).0 == 0
    {
        return Err(file(path, "there is no certificate in it"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(store);
    match &trust.identity {
        None => Ok(config.with_no_client_auth()),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| file(key, error))?;
            config.with_client_auth_cert(chain, key).map_err(unusable)
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    read().map_err(|error| file(path, error))
}

fn file(path: &Path, why: impl fmt::Display) -> TlsError {
    TlsError::File {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

fn unusable(error: impl fmt::Display) -> TlsError {
    TlsError::Unusable {
        why: error.to_string(),
    }
}
