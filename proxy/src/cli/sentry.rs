//! Errors and panics to Sentry, if there is a DSN: what is logged as an error, and what
//! panics, each once, sent by a thread of its own. Nothing waits for it; what is more
//! than it can send is dropped.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use proxy::tls::Trust;
use rustls::pki_types::ServerName;
use sentry::integrations::tracing::ErrorLayer;
use sentry::types::{Dsn, Scheme};
use sentry::{
    ClientInitGuard, ClientOptions, Envelope, Transport, TransportFactory, TransportOptions,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::Failure;

const AGENT: &str = concat!("weirgate-proxy/", env!("CARGO_PKG_VERSION"));
/// Reports that wait to be sent.
const MOST_WAITING: usize = 64;
/// How long one may take, and how long the end of the program waits for the last.
const PATIENCE: Duration = Duration::from_secs(10);
const LAST: Duration = Duration::from_secs(2);
/// How long nothing is sent after Sentry has said that it is too much.
const PAUSE: Duration = Duration::from_secs(60);

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Reports until it is dropped, which waits a little for the last.
pub(super) fn start(dsn: &str) -> Result<ClientInitGuard, Failure> {
    // What was given is not repeated: it holds a key.
    let parsed: Dsn = dsn
        .parse()
        .map_err(|_| Failure::request("SS_SENTRY_DSN is no DSN: https://KEY@HOST/PROJECT"))?;
    let options = ClientOptions::new()
        .release(env!("CARGO_PKG_VERSION"))
        .shutdown_timeout(LAST)
        .max_breadcrumbs(0)
        .transport(Sender);
    Ok(sentry::init((parsed, options)))
}

/// What is logged as an error is reported.
pub(super) fn layer<S>() -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    ErrorLayer::new().with_filter(LevelFilter::ERROR)
}

/// Makes the thread that sends.
struct Sender;

impl TransportFactory for Sender {
    fn create_transport_with_options(&self, options: TransportOptions) -> Arc<dyn Transport> {
        let (tasks, waiting) = sync_channel(MOST_WAITING);
        let dsn = options.dsn.clone();
        let thread = std::thread::Builder::new().name("sentry".to_owned());
        if let Err(error) = thread.spawn(move || send_all(&dsn, &waiting)) {
            tracing::warn!(%error, "no errors are reported: there is no thread for it");
        }
        Arc::new(Queue(tasks))
    }
}

struct Queue(SyncSender<Task>);

enum Task {
    Send(Box<Envelope>),
    /// Everything before has been sent.
    Say(SyncSender<()>),
}

impl Transport for Queue {
    fn send_envelope(&self, envelope: Envelope) {
        // No room, or no thread: dropped.
        let _ = self.0.try_send(Task::Send(Box::new(envelope)));
    }

    fn flush(&self, timeout: Duration) -> bool {
        let (said, hear) = sync_channel(1);
        self.0.try_send(Task::Say(said)).is_ok() && hear.recv_timeout(timeout).is_ok()
    }
}

fn send_all(dsn: &Dsn, waiting: &Receiver<Task>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else { return };
    let mut silent_until = None;
    while let Ok(task) = waiting.recv() {
        let envelope = match task {
            Task::Send(envelope) => envelope,
            Task::Say(said) => {
                let _ = said.try_send(());
                continue;
            }
        };
        if silent_until.is_some_and(|until| Instant::now() < until) {
            continue;
        }
        let sent = async { tokio::time::timeout(PATIENCE, post(dsn, &envelope)).await };
        match runtime.block_on(sent) {
            Ok(Ok(StatusCode::TOO_MANY_REQUESTS)) => silent_until = Some(Instant::now() + PAUSE),
            Ok(Ok(status)) if status.is_success() => {}
            // Not as an error: that would be reported.
            Ok(Ok(status)) => tracing::warn!(%status, "an error could not be reported"),
            Ok(Err(error)) => tracing::warn!(%error, "an error could not be reported"),
            Err(_) => tracing::warn!("an error could not be reported in time"),
        }
    }
}

/// Sends one report, and what is said to it.
async fn post(dsn: &Dsn, envelope: &Envelope) -> Result<StatusCode, AnyError> {
    let mut body = Vec::new();
    envelope.to_writer(&mut body)?;
    let url = dsn.envelope_api_url();
    let request = Request::post(url.path())
        .header(header::HOST, format!("{}:{}", dsn.host(), dsn.port()))
        .header(header::USER_AGENT, AGENT)
        .header(header::CONTENT_TYPE, "application/x-sentry-envelope")
        .header("X-Sentry-Auth", dsn.to_auth(Some(AGENT)).to_string())
        .body(Full::new(Bytes::from(body)))?;
    let host = dsn.host().trim_matches(['[', ']']);
    let socket = TcpStream::connect((host, dsn.port())).await?;
    match dsn.scheme() {
        Scheme::Http => send(socket, request).await,
        Scheme::Https => {
            let name = ServerName::try_from(host.to_owned())?;
            send(connector()?.connect(name, socket).await?, request).await
        }
    }
}

async fn send<S>(socket: S, request: Request<Full<Bytes>>) -> Result<StatusCode, AnyError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    let driving = tokio::spawn(connection);
    let answer = sender.send_request(request).await;
    driving.abort();
    Ok(answer?.status())
}

/// TLS that trusts whom the system trusts.
fn connector() -> Result<TlsConnector, AnyError> {
    let tls = proxy::tls::client_config(&Trust::default())?;
    Ok(TlsConnector::from(Arc::new(tls)))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// Requests until one has `word`; each is answered as Sentry does.
    fn reported(listener: &TcpListener, word: &str) -> String {
        loop {
            let (mut client, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut bytes = [0; 4_096];
            let whole = |request: &[u8]| {
                let text = String::from_utf8_lossy(request).to_ascii_lowercase();
                let (head, body) = text.split_once("\r\n\r\n")?;
                let len = head.split("content-length: ").nth(1)?;
                let len: usize = len.lines().next()?.trim().parse().ok()?;
                (body.len() >= len).then_some(())
            };
            while whole(&request).is_none() {
                let len = client.read(&mut bytes).unwrap();
                assert!(len > 0, "cut short");
                request.extend(&bytes[..len]);
            }
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
            client.write_all(answer).unwrap();
            let text = String::from_utf8_lossy(&request).into_owned();
            if text.contains(word) {
                return text;
            }
        }
    }

    #[test]
    fn errors_and_panics_are_reported_and_nothing_else() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let dsn = format!("http://thekey@127.0.0.1:{port}/42");
        let guard = start(&dsn).unwrap_or_else(|failure| panic!("{failure}"));
        let subscriber = tracing_subscriber::registry().with(layer());
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!("only a warning");
            tracing::error!(path = "/some/where", "a file is gone");
        });
        let request = reported(&listener, "a file is gone");
        assert!(request.starts_with("POST /api/42/envelope/ "), "{request}");
        assert!(request.contains("thekey") && request.contains("/some/where"));
        assert!(!request.contains("only a warning"));
        let panicked = std::thread::spawn(|| panic!("a fault of ours")).join();
        assert!(panicked.is_err());
        let request = reported(&listener, "a fault of ours");
        assert!(request.contains("\"level\":\"fatal\""), "{request}");
        // Nobody there: nothing waits for longer than it may.
        drop(listener);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer()), || {
            for _ in 0..MOST_WAITING * 2 {
                tracing::error!("nobody hears");
            }
        });
        drop(guard);
    }

    #[test]
    fn what_is_no_dsn_is_refused_and_not_repeated() {
        for wrong in ["", "secret", "https://secret", "ftp://secret@h/1"] {
            match start(wrong) {
                Err(Failure::Request(error)) => assert!(!error.to_string().contains("secret")),
                _ => panic!("{wrong}"),
            }
        }
    }
}
