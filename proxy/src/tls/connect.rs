//! The client's side of TLS: whom we trust, and who we are.

#[cfg(feature = "tls")]
pub(crate) use with_tls::Connector;
#[cfg(feature = "https-service")]
pub(crate) use with_tls::client_config;
#[cfg(not(feature = "tls"))]
pub(crate) use without_tls::Connector;

#[cfg(feature = "tls")]
mod with_tls {
    use std::fmt;
    use std::io;
    use std::path::Path;
    use std::sync::Arc;

    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore};
    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;

    use crate::tls::{TlsError, Trust};

    /// What speaks TLS with servers: a handle, cheap to clone.
    #[derive(Clone)]
    pub(crate) struct Connector(TlsConnector);

    impl Connector {
        /// # Errors
        /// [`TlsError`] if a file cannot be used.
        pub(crate) fn new(trust: &Trust) -> Result<Self, TlsError> {
            let config = client_config(trust)?;
            Ok(Self(TlsConnector::from(Arc::new(config))))
        }

        /// Speaks TLS with `host`, whose certificate must be good for that name.
        pub(crate) async fn connect(
            &self,
            host: &str,
            stream: TcpStream,
        ) -> io::Result<TlsStream<TcpStream>> {
            let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
            self.0.connect(name, stream).await
        }
    }

    impl fmt::Debug for Connector {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Connector")
        }
    }

    /// TLS that trusts the system's roots and those of `trust`, and shows its certificate.
    ///
    /// # Errors
    /// [`TlsError`] if a file cannot be used.
    pub(crate) fn client_config(trust: &Trust) -> Result<ClientConfig, TlsError> {
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
}

#[cfg(not(feature = "tls"))]
mod without_tls {
    use std::io;

    use tokio::net::TcpStream;

    use crate::tls::{TlsError, Trust};

    /// There is none in a program without TLS.
    #[derive(Clone, Debug)]
    pub(crate) struct Connector(());

    impl Connector {
        /// # Errors
        /// [`TlsError::NotBuilt`]
        pub(crate) const fn new(_: &Trust) -> Result<Self, TlsError> {
            Err(TlsError::NotBuilt)
        }

        /// Does not.
        pub(crate) async fn connect(&self, _: &str, _: TcpStream) -> io::Result<TcpStream> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
}
