//! Targets under TLS, with HTTP/2, cached, limited.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proxy::config::https_service::Quota;
use proxy::users::RulesChange;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::client::{ask, get, http, http_request, login, ok, origin, read_request, service};
use crate::support::{NAME, in_time};

/// An authority, and a server that it vouches for as `localhost`.
struct Secure {
    folder: tempfile::TempDir,
    config: ServerConfig,
}

impl Secure {
    fn new(alpn: &[&str]) -> Self {
        let authority = KeyPair::generate().unwrap();
        let mut root = CertificateParams::new(Vec::new()).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = root.self_signed(&authority).unwrap().pem();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("roots.pem"), pem).unwrap();
        let key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let issuer = Issuer::new(root, authority);
        let certificate = server.signed_by(&key, &issuer).unwrap().pem();
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self { folder, config }
    }

    fn roots(&self) -> std::path::PathBuf {
        self.folder.path().join("roots.pem")
    }

    /// Serves HTTP/1.1; the port, and how often it was connected to.
    async fn http1(&self) -> (u16, Arc<AtomicUsize>) {
        let (listener, acceptor, port) = self.listen().await;
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, counted) = (acceptor.clone(), Arc::clone(&counted));
                tokio::spawn(async move {
                    let Ok(mut client) = acceptor.accept(client).await else {
                        return;
                    };
                    counted.fetch_add(1, Ordering::Relaxed);
                    loop {
                        let mut head = Vec::new();
                        while !head.ends_with(b"\r\n\r\n") {
                            match client.read_u8().await {
                                Ok(byte) => head.push(byte),
                                Err(_) => return,
                            }
                        }
                        client.write_all(&ok("", b"secure")).await.unwrap();
                    }
                });
            }
        });
        (port, connections)
    }

    /// Serves HTTP/2 and nothing else.
    async fn http2(&self) -> u16 {
        let (listener, acceptor, port) = self.listen().await;
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(client) = acceptor.accept(client).await else {
                    continue;
                };
                let answer = service_fn(|request: hyper::Request<Incoming>| async move {
                    let text = format!("{:?} {}", request.version(), request.uri());
                    let body = http_body_util::Full::new(Bytes::from(text));
                    Ok::<_, std::convert::Infallible>(hyper::Response::new(body))
                });
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(server.serve_connection(TokioIo::new(client), answer));
            }
        });
        port
    }

    async fn listen(&self) -> (TcpListener, TlsAcceptor, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(Arc::new(self.config.clone()));
        (listener, acceptor, port)
    }
}

#[tokio::test]
async fn certificates_are_verified_and_connections_kept() {
    let secure = Secure::new(&[]);
    let (port, connections) = secure.http1().await;
    let trusting = service(|service| service.roots = Some(secure.roots())).await;
    let url = format!("https://localhost:{port}/");
    for _ in 0..3 {
        let answer = ask(trusting.address, &get(&url)).await;
        assert_eq!(answer["body"], "secure", "{answer}");
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1, "one for all three");
    // Another name than the certificate's, and an authority that nobody knows.
    let answer = ask(
        trusting.address,
        &get(&format!("https://127.0.0.1:{port}/")),
    )
    .await;
    assert_eq!(answer["status_code"], 500);
    assert!(
        answer["error"].as_str().unwrap().contains("certificate"),
        "{answer}"
    );
    let wary = service(|_| ()).await;
    let answer = ask(wary.address, &get(&url)).await;
    assert_eq!(answer["status_code"], 500);
    assert!(
        answer["error"].as_str().unwrap().contains("certificate"),
        "{answer}"
    );
}

#[tokio::test]
async fn http2_is_spoken_where_it_is_offered() {
    let secure = Secure::new(&["h2"]);
    let port = secure.http2().await;
    let proxy = service(|service| service.roots = Some(secure.roots())).await;
    let url = format!("https://localhost:{port}/x");
    let answer = ask(proxy.address, &get(&url)).await;
    assert_eq!(answer["body"], format!("HTTP/2.0 {url}"), "{answer}");
}

#[tokio::test]
async fn connections_are_not_shared_between_users() {
    let ports = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&ports);
    let target = crate::support::target(move |mut client| {
        let seen = Arc::clone(&seen);
        async move {
            let peer = client.peer_addr().unwrap();
            while read_request(&mut client).await.is_some() {
                seen.lock().unwrap().push(peer);
                client.write_all(&ok("", b"")).await.unwrap();
            }
        }
    })
    .await;
    let proxy = service(|_| ()).await;
    let bob = crate::support::user("bob", proxy::Limits::default());
    proxy.users.add(bob).await.unwrap();
    let url = format!("http://{target}/");
    let mut as_bob = login(get(&url));
    as_bob["user"] = "bob".into();
    for request in [login(get(&url)), as_bob, login(get(&url))] {
        assert_eq!(ask(proxy.address, &request).await["status_code"], 200);
    }
    let ports = ports.lock().unwrap();
    assert_eq!(ports[0], ports[2], "ada's is kept");
    assert_ne!(ports[0], ports[1], "bob has his own");
}

#[tokio::test]
async fn equal_requests_are_answered_from_the_cache_as_rfc_9111_has_it() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let target = origin(move |head, _| {
        let number = counted.fetch_add(1, Ordering::Relaxed);
        async move {
            let head = head.to_ascii_lowercase();
            if head.contains("if-none-match: \"v1\"") {
                return b"HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n\r\n".to_vec();
            }
            let fields = match head.split(' ').nth(1) {
                Some("/fresh") => "Cache-Control: max-age=60\r\n",
                Some("/validated") => "Cache-Control: no-cache\r\nETag: \"v1\"\r\n",
                _ => "Cache-Control: no-store\r\n",
            };
            ok(fields, format!("answer {number}").as_bytes())
        }
    })
    .await;
    let proxy = service(|service| service.cache = Some(flow::ByteSize::new(1 << 20))).await;
    let fetch = async |path: &str| {
        let answer = ask(proxy.address, &get(&format!("http://{target}{path}"))).await;
        assert_eq!(answer["status_code"], 200, "{answer}");
        answer["body"].as_str().unwrap().to_owned()
    };
    let first = fetch("/fresh").await;
    assert_eq!(fetch("/fresh").await, first);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let first = fetch("/validated").await;
    assert_eq!(
        fetch("/validated").await,
        first,
        "asked, and still the same"
    );
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    assert_ne!(fetch("/other").await, fetch("/other").await);
    assert_eq!(asked.load(Ordering::Relaxed), 5);
}

/// What is kept is fetched again under other rules, and not served where they forbid it.
#[tokio::test]
async fn the_cache_serves_nothing_that_the_rules_forbid_now() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let target = origin(move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { ok("Cache-Control: max-age=60\r\n", b"kept") }
    })
    .await;
    let proxy = service(|service| service.cache = Some(flow::ByteSize::new(1 << 20))).await;
    let request = get(&format!("http://{target}/"));
    let status = async || ask(proxy.address, &request).await["status_code"].clone();
    let rules = |rules: &str| RulesChange {
        egress: Some(Some(rules.parse().unwrap())),
        ..RulesChange::default()
    };
    let deny = rules(&format!("deny * {}", target.port()));
    assert_eq!((status().await, status().await), (json!(200), json!(200)));
    assert_eq!(asked.load(Ordering::Relaxed), 1, "from the cache");
    proxy.users.set_rules(NAME, deny.clone()).await.unwrap();
    assert_eq!(status().await, 403, "the account's rules");
    proxy.users.set_rules(NAME, rules("none")).await.unwrap();
    assert_eq!(status().await, 200);
    let own = RulesChange {
        egress: Some(None),
        ..RulesChange::default()
    };
    proxy.users.set_rules(NAME, own).await.unwrap();
    proxy.users.set_everybodys_rules(deny).await.unwrap();
    assert_eq!(status().await, 403, "those for everybody");
    assert_eq!(asked.load(Ordering::Relaxed), 1, "not asked meanwhile");
}

#[tokio::test]
async fn who_asks_too_much_is_told_until_when() {
    let target = origin(|_, _| async { ok("", b"") }).await;
    let quota = |requests| Quota {
        requests: Some(requests),
        window: Duration::from_secs(3_600),
        ..Quota::default()
    };
    let proxy = service(|service| {
        service.address_quota = quota(9);
        service.user_quota = quota(2);
    })
    .await;
    let request = get(&format!("http://{target}/"));
    let first = ask(proxy.address, &request).await;
    assert_eq!(first["status_code"], 200);
    let policy = "\"address\";q=9;w=3600, \"user\";q=2;w=3600";
    assert_eq!(first["headers"]["ratelimit-policy"], policy);
    let left = first["headers"]["ratelimit"].as_str().unwrap();
    assert!(
        left.starts_with("\"address\";r=8;t=3600, \"user\";r=1;t="),
        "{left}"
    );
    assert_eq!(ask(proxy.address, &request).await["status_code"], 200);
    let refused = ask(proxy.address, &request).await;
    assert_eq!(refused["status_code"], 429, "{refused}");
    let after = refused["headers"]["retry-after"].as_str().unwrap();
    assert!((3_500..=3_600).contains(&after.parse::<u32>().unwrap()));
    assert_eq!(refused["error"], "the quota of this user is used up");
    assert_eq!(ask(proxy.address, &json!({})).await["status_code"], 400);
}

#[tokio::test]
async fn clients_of_http_have_the_same_quotas() {
    let target = origin(|_, _| async { ok("", &[b'x'; 600]) }).await;
    let proxy = service(|service| {
        service.address_quota.requests = Some(9);
        service.user_quota = Quota {
            bytes: Some(flow::ByteSize::new(2_000)),
            window: Duration::from_secs(3_600),
            ..Quota::default()
        };
    })
    .await;
    let get = format!("GET http://{target}/");
    let first = http(proxy.address, &get).await;
    assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
    let policy = "\r\nRateLimit-Policy: \"address\";q=9;w=60, \"user-bytes\";q=2000;qu=\"content-bytes\";w=3600\r\n";
    assert!(first.contains(policy), "{first}");
    let left = "\r\nRateLimit: \"address\";r=8;t=60, \"user-bytes\";r=2000;t=3600\r\n";
    assert!(first.contains(left), "{first}");
    // A tunnel is paid for when it has ended.
    let mut tunnel = proxy.connect().await;
    let opening = http_request(&format!("CONNECT {target}"));
    tunnel.write_all(&opening).await.unwrap();
    let inner = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    in_time(async {
        let mut heard = Vec::new();
        while !heard.ends_with(b"\r\n\r\n") {
            heard.push(tunnel.read_u8().await.unwrap());
        }
        for _ in 0..2 {
            tunnel.write_all(inner).await.unwrap();
            assert!(read_request(&mut tunnel).await.is_some());
        }
    })
    .await;
    drop(tunnel);
    for _ in 0..6 {
        let answer = http(proxy.address, &get).await;
        if answer.starts_with("HTTP/1.1 429 ") {
            assert!(answer.contains("\r\nRetry-After: 3"), "{answer}");
            assert!(answer.contains("\"user-bytes\";r=0;t=3"), "{answer}");
            let frame = ask(
                proxy.address,
                &crate::client::get(&format!("http://{target}/")),
            )
            .await;
            assert_eq!(frame["status_code"], 429, "the same account: {frame}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no quota holds");
}

/// A frame of HTTP/2.
fn http2_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&len[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [head, payload.to_vec()].concat()
}

/// Serves HTTP/2 frame by frame: of four requests it refuses the first, and at the third
/// it closes before it has looked at that. How many have come?
async fn http2_that_refuses(secure: &Secure) -> (u16, Arc<AtomicUsize>) {
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const GOAWAY: u8 = 7;
    let (listener, acceptor, port) = secure.listen().await;
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let mut client = acceptor.accept(client).await.unwrap();
            let mut preface = [0; 24];
            client.read_exact(&mut preface).await.unwrap();
            let ours = http2_frame(SETTINGS, 0, 0, &[]);
            client.write_all(&ours).await.unwrap();
            let mut last = 0;
            loop {
                let mut head = [0; 9];
                if client.read_exact(&mut head).await.is_err() {
                    break;
                }
                let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                let mut payload = vec![0; usize::try_from(len).unwrap()];
                client.read_exact(&mut payload).await.unwrap();
                let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                let words = match (head[3], head[4]) {
                    (SETTINGS, 0) => http2_frame(SETTINGS, 1, 0, &[]),
                    (HEADERS, _) => match counted.fetch_add(1, Ordering::Relaxed) {
                        0 => http2_frame(RST_STREAM, 0, stream, &7_u32.to_be_bytes()),
                        2 => {
                            let last_and_no_error = [u32::to_be_bytes(last), [0; 4]].concat();
                            let words = http2_frame(GOAWAY, 0, 0, &last_and_no_error);
                            client.write_all(&words).await.unwrap();
                            break;
                        }
                        // The static table has 200 in its eighth place.
                        _ => http2_frame(HEADERS, 5, stream, &[0x88]),
                    },
                    _ => Vec::new(),
                };
                last = stream;
                client.write_all(&words).await.unwrap();
            }
        }
    });
    (port, requests)
}

#[tokio::test]
async fn what_an_http2_target_has_not_looked_at_is_sent_again() {
    let secure = Secure::new(&["h2"]);
    let (port, requests) = http2_that_refuses(&secure).await;
    let proxy = service(|service| service.roots = Some(secure.roots())).await;
    let mut request = get(&format!("https://localhost:{port}/"));
    request["post_data"] = "once".into();
    for come in [2, 4] {
        let answer = ask(proxy.address, &request).await;
        assert_eq!(answer["status_code"], 200, "{answer}");
        assert_eq!(requests.load(Ordering::Relaxed), come);
    }
}
