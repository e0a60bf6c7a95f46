//! Spans, as a collector of OpenTelemetry gets them: gRPC by hand, sharing no code
//! with what sends them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;

use crate::support::*;

#[derive(Clone, PartialEq, Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start: u64,
    #[prost(fixed64, tag = "8")]
    end: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 3, 4")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Whole(i64),
    #[prost(double, tag = "4")]
    Real(f64),
}

const SERVER: i32 = 2;
const ERROR: i32 = 2;

type Taken = Arc<Mutex<Vec<ResourceSpans>>>;

/// A collector, and what it has taken.
fn collector() -> (SocketAddr, Taken) {
    let taken = Taken::default();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let into = Arc::clone(&taken);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let into = Arc::clone(&into);
                let service = hyper::service::service_fn(move |request| {
                    let into = Arc::clone(&into);
                    async move { Ok::<_, Infallible>(take(&into, request).await) }
                });
                let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(client), service);
                tokio::spawn(connection);
            }
        });
    });
    (address, taken)
}

/// One call of Export, answered with an empty message.
async fn take(into: &Taken, request: Request<Incoming>) -> Response<Empty<Bytes>> {
    assert_eq!(
        request.uri().path(),
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
    );
    let body = request.into_body().collect().await.unwrap().to_bytes();
    // Not compressed, and its length.
    assert_eq!(body[0], 0);
    let export = Export::decode(&body[5..]).unwrap();
    into.lock().unwrap().extend(export.resources);
    Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", "0")
        .body(Empty::new())
        .unwrap()
}

fn fields(attributes: &[KeyValue]) -> BTreeMap<&str, Value> {
    let value = |pair: &KeyValue| pair.value.clone()?.value;
    let pairs = attributes.iter();
    pairs
        .filter_map(|pair| Some((pair.key.as_str(), value(pair)?)))
        .collect()
}

fn text(text: impl ToString) -> Option<Value> {
    Some(Value::Text(text.to_string()))
}

#[test]
fn a_collector_gets_a_span_of_each_connection_and_session() {
    let (address, taken) = collector();
    let place = Place::new();
    place.json("user add ada --password-file password --rate 1kB/s --burst 10B --json");
    let mut command = place.command(&format!("run {ON_LOOPBACK}"));
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"));
    let server = Place::serve_by(command);
    let target = echo();
    let mut tunnel = server.tunnel("ada", target);
    let source = tunnel.local_addr().unwrap();
    tunnel.write_all(b"hello, world").unwrap();
    tunnel.read_exact(&mut [0; 12]).unwrap();
    drop(tunnel);
    // Nobody is served, which is a span of a connection alone.
    let mut stranger = TcpStream::connect(server.address).unwrap();
    stranger.write_all(b"127.0.0.1 80 eve guess\r\n").unwrap();
    assert_eq!(stranger.read(&mut [0]).unwrap(), 0);
    server.signal("TERM");
    let (code, log) = server.ended();
    assert_eq!(code, Some(0), "{log}");
    let resources = taken.lock().unwrap().clone();
    let service = resources[0].resource.clone().unwrap();
    let service = fields(&service.attributes);
    assert_eq!(
        service.get("service.name").cloned(),
        text("weirgate-proxy"),
        "{service:?}"
    );
    let scopes = resources.iter().flat_map(|it| &it.scopes);
    let spans: Vec<_> = scopes.flat_map(|it| &it.spans).collect();
    let named = |name: &str| -> Vec<_> { spans.iter().filter(|it| it.name == name).collect() };
    let [session] = named("session")[..] else {
        panic!("{spans:#?}");
    };
    let of = fields(&session.attributes);
    let expected = [
        ("user", text("ada")),
        ("protocol", text("line")),
        ("target", text(target)),
        ("source", text(source)),
        ("upload_bytes", Some(Value::Whole(12))),
        ("download_bytes", Some(Value::Whole(12))),
    ];
    for (key, value) in expected {
        assert_eq!(of.get(key).cloned(), value, "{key}: {of:?}");
    }
    let Some(Value::Real(throttled)) = of.get("throttled_seconds") else {
        panic!("{of:?}");
    };
    // 24 bytes through a bucket of 10 at 1 kB/s.
    assert!(*throttled > 0.005, "{of:?}");
    assert!(matches!(of.get("reason"), Some(Value::Text(why)) if !why.is_empty()));
    assert_eq!(session.kind, SERVER);
    assert!(session.end > session.start);
    let connections = named("connection");
    assert_eq!(connections.len(), 2, "{spans:#?}");
    let (served, refused): (Vec<&&Span>, Vec<_>) = connections
        .into_iter()
        .partition(|it| it.id == session.parent);
    assert_eq!((served.len(), refused.len()), (1, 1), "{spans:#?}");
    assert_eq!(served[0].trace, session.trace);
    assert_eq!(fields(&served[0].attributes).get("id"), of.get("id"));
    let refused = refused[0];
    assert_eq!(refused.status.as_ref().map(|it| it.code), Some(ERROR));
    assert!(matches!(
        fields(&refused.attributes).get("reason"),
        Some(Value::Text(why)) if why.contains("wrong")
    ));
    for secret in [PASSWORD, "guess"] {
        assert!(!format!("{spans:?}").contains(secret), "{spans:#?}");
    }
    // The log has its events, and no spans.
    assert!(
        log.contains("closed") && !log.contains("weirgate::spans"),
        "{log}"
    );
}

/// Nobody is served worse for a collector that is not there.
#[test]
fn a_collector_that_is_away_is_no_harm() {
    let place = Place::new();
    place.json("user add ada --password-file password --json");
    let server = place.serve("--otlp-endpoint http://127.0.0.1:9");
    let mut tunnel = server.tunnel("ada", echo());
    tunnel.write_all(b"hello").unwrap();
    tunnel.read_exact(&mut [0; 5]).unwrap();
    drop(tunnel);
    server.signal("TERM");
    let (code, log) = server.ended();
    assert_eq!(code, Some(0), "{log}");
    let (code, error) = place.failure("run --otlp-endpoint not:a:url");
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("otlp_endpoint"), "{error}");
}
