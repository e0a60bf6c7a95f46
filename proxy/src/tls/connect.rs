//! The client's side of TLS: speaking with servers that we trust.

#[cfg(feature = "tls")]
pub(crate) use with_tls::Connector;
#[cfg(not(feature = "tls"))]
pub(crate) use without_tls::Connector;

#[cfg(feature = "tls")]
mod with_tls {
    use std::fmt;
    use std::io;
    use std::sync::Arc;

    use rustls::pki_types::ServerName;
    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;

    use crate::tls::{TlsError, Trust, client_config};

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
