//! TLS round every dialect, with certificates made for the occasion.

use std::path::Path;
use std::sync::Arc;

use proxy::tls::{ClientCertificate, TlsFiles};
use proxy::{BindError, Config, Database, Limits, Listener, ListenerTls, Server};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::auth_target::{ask, auth};
use crate::support::*;

/// An authority that signs what it is asked to.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let name = DnType::CommonName;
        params.distinguished_name.push(name, "an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    /// Certificate and key for localhost, PEM.
    pub(crate) fn sign(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// The files of a server in `folder`.
    pub(crate) fn files(&self, folder: &Path) -> TlsFiles {
        let (certificate, key) = self.sign();
        let files = TlsFiles {
            certificate: folder.join("server.pem"),
            key: folder.join("server.key"),
            client_roots: None,
            client_certificate: ClientCertificate::Required,
        };
        std::fs::write(&files.certificate, certificate).unwrap();
        std::fs::write(&files.key, key).unwrap();
        files
    }

    /// A client that trusts this authority, with a certificate by `signer`.
    fn connector(&self, signer: Option<&Self>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match signer {
            None => builder.with_no_client_auth(),
            Some(signer) => {
                let (certificate, key) = signer.sign();
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        TlsConnector::from(Arc::new(config))
    }

    async fn connect(
        &self,
        proxy: std::net::SocketAddr,
        signer: Option<&Self>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost").unwrap();
        let socket = TcpStream::connect(proxy).await.unwrap();
        self.connector(signer).connect(name, socket).await
    }
}

async fn start(authority: &Authority, folder: &Path, change: impl FnOnce(&mut TlsFiles)) -> Proxy {
    let mut files = authority.files(folder);
    change(&mut files);
    Proxy::start_with(Limits::Unlimited, |config| {
        config.tls = Some(files);
        let mut required = Listener::new("127.0.0.1:0".parse().unwrap());
        required.tls = ListenerTls::Required;
        required.proxy_protocol_from = vec!["127.0.0.0/8".parse().unwrap()];
        config.listeners.push(required);
    })
    .await
}

/// What comes before the payload.
enum Reply {
    Bytes(usize),
    UpTo(&'static [u8]),
}

#[tokio::test]
async fn every_dialect_is_spoken_under_tls_on_both_kinds_of_listener() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let proxy = start(&authority, folder.path(), |_| ()).await;
    let target = echo().await;
    let payload: Vec<u8> = (0..300_000u32).map(|n| n.to_le_bytes()[1]).collect();
    let line = format!("127.0.0.1 {} {NAME} {PASSWORD}\r\n", target.port());
    let connect = format!(
        "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\
         Proxy-Authorization: Basic YWRhOnNlY3JldA==\r\n\r\n"
    );
    let handshakes: [(Vec<u8>, Reply); 4] = [
        (
            [socks5_login(NAME, PASSWORD), socks5_connect(target)].concat(),
            Reply::Bytes(14),
        ),
        (connect.into_bytes(), Reply::UpTo(b"\r\n\r\n")),
        (line.into_bytes(), Reply::UpTo(b"\n")),
        (
            [auth(1, NAME, PASSWORD), ask(target, NAME)].concat(),
            Reply::Bytes(1),
        ),
    ];
    for &address in &proxy.addresses {
        for (handshake, reply) in &handshakes {
            let mut client = authority.connect(address, None).await.unwrap();
            client.write_all(handshake).await.unwrap();
            let (mut source, mut sink) = tokio::io::split(client);
            let send = async {
                sink.write_all(&payload).await.unwrap();
                sink.shutdown().await.unwrap();
            };
            let mut heard = Vec::new();
            let receive = async {
                in_time(source.read_to_end(&mut heard)).await.unwrap();
            };
            tokio::join!(send, receive);
            let reply = match *reply {
                Reply::Bytes(len) => len,
                Reply::UpTo(end) => {
                    let mut places = heard.windows(end.len());
                    places.position(|place| place == end).unwrap() + end.len()
                }
            };
            assert!(heard[reply..] == payload, "{:?}", &handshake[..1]);
        }
    }
}

#[tokio::test]
async fn nothing_is_said_in_the_clear_where_tls_is_required() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let proxy = start(&authority, folder.path(), |_| ()).await;
    let target = echo().await;
    let login = socks5_login(NAME, PASSWORD);
    for plain in [
        &login[..],
        b"GET / HTTP/1.1\r\n\r\n",
        &auth(1, NAME, PASSWORD),
    ] {
        let mut client = TcpStream::connect(proxy.addresses[1]).await.unwrap();
        client.write_all(plain).await.unwrap();
        assert_eq!(read_to_end(&mut client).await, b"");
    }
    // The other listener speaks both.
    drop(proxy.socks5(target).await);
    // What begins like TLS and is none ends, and leaves the server well.
    let mut client = proxy.connect().await;
    client
        .write_all(b"\x16\x03\x01\x00\x05hello")
        .await
        .unwrap();
    let _ = in_time(client.read_to_end(&mut Vec::new())).await;
    drop(proxy.socks5(target).await);
}

#[tokio::test]
async fn a_balancers_header_comes_before_tls() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let proxy = start(&authority, folder.path(), |_| ()).await;
    let target = echo().await;
    let mut socket = TcpStream::connect(proxy.addresses[1]).await.unwrap();
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend([192, 0, 2, 7, 192, 0, 2, 8, 0, 7, 0, 8]);
    socket.write_all(&header).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = authority
        .connector(None)
        .connect(name, socket)
        .await
        .unwrap();
    let line = format!("127.0.0.1 {} {NAME} {PASSWORD}\r\n", target.port());
    client.write_all(line.as_bytes()).await.unwrap();
    let mut reply = [0; 10];
    in_time(client.read_exact(&mut reply)).await.unwrap();
    assert_eq!(&reply, b"127.0.0.1 ");
    // Not inside it, and TLS not inside TLS.
    for inside in [&header[..], b"\x16\x03\x01\x00\x05hello"] {
        let mut client = authority.connect(proxy.addresses[1], None).await.unwrap();
        client.write_all(inside).await.unwrap();
        let mut heard = Vec::new();
        let _ = in_time(client.read_to_end(&mut heard)).await;
        assert_eq!(heard, b"");
    }
}

#[tokio::test]
async fn client_certificates_are_asked_for_where_there_are_roots() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let (clients, stranger) = (Authority::new(), Authority::new());
    let roots = folder.path().join("clients.pem");
    std::fs::write(&roots, &clients.pem).unwrap();
    for (kind, without) in [
        (ClientCertificate::Required, false),
        (ClientCertificate::Optional, true),
    ] {
        let proxy = start(&authority, folder.path(), |files| {
            files.client_roots = Some(roots.clone());
            files.client_certificate = kind;
        })
        .await;
        for (signer, let_in) in [
            (None, without),
            (Some(&clients), true),
            (Some(&stranger), false),
        ] {
            let Ok(mut client) = authority.connect(proxy.addresses[1], signer).await else {
                assert!(!let_in);
                continue;
            };
            // With TLS 1.3 a client hears of its refusal with the first bytes.
            let _ = client.write_all(&[5, 1, 2]).await;
            let mut heard = Vec::new();
            let mut reply = [0; 2];
            let answered = in_time(client.read_exact(&mut reply)).await.is_ok();
            heard.extend(reply);
            assert_eq!(answered, let_in, "{kind:?}: {heard:?}");
            if answered {
                // A certificate is no login.
                client.write_all(b"\x01\x03ada\x05wrong").await.unwrap();
                in_time(client.read_exact(&mut reply)).await.unwrap();
                assert_eq!(reply, [1, 1]);
            }
        }
    }
}

#[tokio::test]
async fn a_certificate_is_renewed_without_a_restart() {
    let (old, new, folder) = (
        Authority::new(),
        Authority::new(),
        tempfile::tempdir().unwrap(),
    );
    let proxy = start(&old, folder.path(), |_| ()).await;
    let target = echo().await;
    let mut open = old.connect(proxy.address, None).await.unwrap();
    let line = format!("127.0.0.1 {} {NAME} {PASSWORD}\r\n", target.port());
    open.write_all(line.as_bytes()).await.unwrap();
    // What cannot be used changes nothing.
    let files = new.files(folder.path());
    let key = std::fs::read(&files.key).unwrap();
    std::fs::write(&files.key, b"no key").unwrap();
    assert!(proxy.certificates.reload().is_err());
    drop(old.connect(proxy.address, None).await.unwrap());
    // Nor does a key of somebody else's.
    std::fs::write(&files.key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(proxy.certificates.reload().is_err());
    std::fs::write(&files.key, key).unwrap();
    proxy.certificates.reload().unwrap();
    drop(new.connect(proxy.address, None).await.unwrap());
    assert!(old.connect(proxy.address, None).await.is_err());
    // Who was there before goes on.
    open.write_all(b"still here").await.unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b"still here") {
        assert!(in_time(open.read_buf(&mut heard)).await.unwrap() > 0);
    }
}

#[tokio::test]
async fn a_config_without_usable_certificates_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let config = |change: &dyn Fn(&mut Config)| {
        let mut config = Config::new(Database::file(folder.path().join("users.db")));
        config.listen.clear();
        let mut required = Listener::new("127.0.0.1:0".parse().unwrap());
        required.tls = ListenerTls::Required;
        config.listeners.push(required);
        change(&mut config);
        config
    };
    let missing = Authority::new().files(folder.path());
    std::fs::remove_file(&missing.key).unwrap();
    for config in [
        config(&|_| ()),
        config(&|config| config.tls = Some(missing.clone())),
    ] {
        let error = Server::bind(config).await.unwrap_err();
        assert!(matches!(error, BindError::Tls(_)), "{error}");
    }
}
