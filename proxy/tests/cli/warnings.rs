//! Warnings from a real server to the log and to a webhook under TLS, once each.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio_rustls::TlsAcceptor;

use super::admin::ask;
use super::tls::Authority;
use crate::support::*;

type Posted = Arc<Mutex<Vec<Value>>>;

/// Takes what is posted to `/hook` under TLS; the first time it says it cannot.
fn hook(folder: &Path) -> (SocketAddr, Posted) {
    let posted = Posted::default();
    let chain = CertificateDer::pem_file_iter(folder.join("hook.pem")).unwrap();
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("hook.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let into = Arc::clone(&posted);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let mut attempts = 0;
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let Ok(client) = acceptor.accept(client).await else {
                    continue;
                };
                attempts += 1;
                let (into, fails) = (Arc::clone(&into), attempts == 1);
                let service = hyper::service::service_fn(move |request| {
                    let into = Arc::clone(&into);
                    async move { Ok::<_, Infallible>(take(&into, fails, request).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(client), service);
                tokio::spawn(connection);
            }
        });
    });
    (address, posted)
}

async fn take(into: &Posted, fails: bool, request: Request<Incoming>) -> Response<Empty<Bytes>> {
    assert_eq!(request.uri().path(), "/hook");
    assert_eq!(request.headers()["content-type"], "application/json");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut answer = Response::new(Empty::new());
    if fails {
        *answer.status_mut() = hyper::StatusCode::SERVICE_UNAVAILABLE;
    } else {
        let warning = serde_json::from_slice(&body).unwrap();
        into.lock().unwrap().push(warning);
    }
    answer
}

/// Returns when `posted` holds a warning of this kind about this user, of `percent` if
/// there is one.
fn wait_for(posted: &Posted, kind: &str, user: &str, least: Option<u64>) {
    let since = Instant::now();
    loop {
        let all = posted.lock().unwrap().clone();
        let fits = |it: &Value| {
            let enough = least.is_none_or(|least| it["percent"].as_u64() >= Some(least));
            it["kind"] == kind && it["user"] == user && enough
        };
        if all.iter().any(fits) {
            return;
        }
        assert!(
            since.elapsed() < Duration::from_secs(60),
            "{kind} {user}: {all:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn sequence(place: &Place) -> u64 {
    let page = ask(place, "GET", "/api/v1/rates").1;
    page["server"]["sequence"].as_u64().unwrap()
}

#[test]
fn each_warning_is_in_the_log_and_at_the_webhook_once() {
    let place = Place::new();
    let authority = Authority::new("ours");
    authority.write(place.path(), "roots");
    authority.sign(place.path(), "hook");
    let (address, posted) = hook(place.path());
    let config = format!(
        "[admin]\nwebhook = \"https://localhost:{}/hook\"\nwebhook_roots = \"roots.pem\"\n\
         throttled_window = \"2s\"\nexpiry_days = 7\n",
        address.port()
    );
    std::fs::write(place.path().join("config.toml"), config).unwrap();
    place.json("user add ada --password-file password --quota 1000B --json");
    place.json("user add bob --password-file password --rate 1kB/s --burst 10B --json");
    let soon = time::OffsetDateTime::now_utc() + Duration::from_secs(3 * 86_400);
    let soon = soon.replace_nanosecond(0).unwrap();
    let soon = soon
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap();
    place.json(&format!(
        "user add eve --password-file password --expires {soon} --json"
    ));
    // Not so soon.
    place.json("user add zoe --password-file password --expires 2100-01-01 --json");
    let server = place.serve("--config config.toml --log-format json --log-level info");
    // The first attempt was refused, the second is a second later.
    wait_for(&posted, "expiry", "eve", None);
    let target = echo();
    let mut tunnel = server.tunnel("ada", target);
    let mut exchange = |bytes: usize| {
        tunnel.write_all(&vec![7; bytes]).unwrap();
        tunnel.read_exact(&mut vec![0; bytes]).unwrap();
    };
    exchange(400);
    wait_for(&posted, "quota", "ada", Some(80));
    exchange(80);
    wait_for(&posted, "quota", "ada", Some(95));
    let throttled = server.tunnel("bob", target);
    let writer = throttled.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        // Ends when the server does.
        while (&writer).write_all(&[7; 500]).is_ok() {}
    });
    let reading = std::thread::spawn(
        move || {
            while matches!((&throttled).read(&mut [0; 500]), Ok(1..)) {}
        },
    );
    wait_for(&posted, "throttled", "bob", Some(80));
    // All of it stays so for some more seconds, and for one more window.
    let then = sequence(&place);
    while sequence(&place) < then + 5 {
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(tunnel);
    server.signal("KILL");
    let (_, log) = server.ended();
    sending.join().unwrap();
    reading.join().unwrap();
    let posted = posted.lock().unwrap().clone();
    let told = |all: &[Value]| {
        let mut told: Vec<_> = all
            .iter()
            .map(|it| {
                let text = |key: &str| it[key].as_str().unwrap().to_owned();
                (text("kind"), text("user"), text("text"))
            })
            .collect();
        told.sort();
        told
    };
    let at_the_hook = told(&posted);
    let kinds: Vec<_> = at_the_hook
        .iter()
        .map(|(kind, user, _)| (kind.as_str(), user.as_str()))
        .collect();
    let expected = [
        ("expiry", "eve"),
        ("quota", "ada"),
        ("quota", "ada"),
        ("throttled", "bob"),
    ];
    assert_eq!(kinds, expected, "{posted:?}");
    assert!(at_the_hook[1].2.starts_with("80 %") && at_the_hook[2].2.starts_with("95 %"));
    let events = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let logged: Vec<Value> = events
        .filter(|event: &Value| event["message"] == "warning")
        .collect();
    assert_eq!(told(&logged), at_the_hook, "{log}");
    assert!(log.contains("the webhook does not take a warning"), "{log}");
}
