//! A panel under TLS, whose certificate an authority of its owner's has signed.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proxy::config::Source;
use proxy::protocol::shadowsocks::Method;
use proxy::{BindError, Config, Database, Server};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::client::*;
use crate::support::{echo, in_time};

/// An authority, whose certificate goes to `roots`, and a server of `127.0.0.1`.
fn acceptor(roots: &Path) -> TlsAcceptor {
    let authority = KeyPair::generate().unwrap();
    let mut root = CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(roots, root.self_signed(&authority).unwrap().pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let issuer = Issuer::new(root, authority);
    let pem = server.signed_by(&key, &issuer).unwrap().pem();
    let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// A panel with one user; where it is, and how many clients did not believe it.
async fn panel(acceptor: TlsAcceptor, port: u16) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let doubts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&doubts);
    let user = json!({ "user_id": 7, "port": port, "method": "aes-128-gcm", "password": "seven" });
    let users = json!({ "users": [user] }).to_string();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(mut client) = acceptor.accept(client).await else {
                counted.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let mut head = Vec::new();
            while !head.windows(4).any(|end| end == b"\r\n\r\n")
                && client.read_buf(&mut head).await.unwrap_or(0) > 0
            {}
            let body = if head.starts_with(b"POST") {
                "{}"
            } else {
                &users
            };
            let len = body.len();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n{body}");
            let _ = client.write_all(answer.as_bytes()).await;
        }
    });
    (address, doubts)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panel_is_believed_where_its_authority_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    let port = free_port();
    let (address, doubts) = panel(acceptor(&roots), port).await;
    let mut settings = settings();
    let url = format!("https://{address}/api/users/1/");
    settings.source = Some(Source::Panel(url.parse().unwrap()));
    settings.sync = Duration::from_millis(100);
    let wary = start_with(settings.clone(), |_| ()).await;
    in_time(async {
        while doubts.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(wary.users.numbered(7), None);
    wary.stop().await;
    settings.panel_roots = Some(roots);
    let trusting = start_with(settings, |_| ()).await;
    open(port).await;
    let seven = access(port, Method::Aes128Gcm, "seven");
    echoes(&mut connect(&seven, echo().await).await, b"hello").await;
    trusting.stop().await;
}

#[tokio::test]
async fn roots_that_are_none_are_told_before_anything_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    for roots in [empty, folder.path().join("missing.pem")] {
        let mut config = Config::new(Database::file(folder.path().join("users.db")));
        config.listen = vec!["127.0.0.1:0".parse().unwrap()];
        let mut settings = settings();
        let url = "https://127.0.0.1:1/".parse().unwrap();
        settings.source = Some(Source::Panel(url));
        settings.panel_roots = Some(roots);
        config.shadowsocks = Some(settings);
        assert!(matches!(Server::check(&config), Err(BindError::Panel(_))));
        let bound = Server::bind(config).await;
        assert!(matches!(bound, Err(BindError::Panel(_))));
    }
}
