//! A panel: one URL that is asked for the users and told of their traffic.
//!
//! ```text
//! POST {"data": [{"user_id", "ip_list", "tcp_conn_num", "upload_traffic", "download_traffic"}]}
//! GET  {"users": [...]}
//! ```
//!
//! A report is written down in the database before it is sent and sent, the same
//! under the same `Idempotency-Key`, until it is acknowledged, over restarts too;
//! then exactly what it held is told of. Acknowledged is a status of 200 to 299 with
//! a JSON object that speaks of no error. A panel that is slow or away holds up
//! nothing but its own news.

#[cfg(feature = "grpc")]
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::config::Panel;
use crate::shadowsocks::Front;
use crate::tls::{Connector, TlsError, Trust};
use crate::users::Report;

/// How long one request may take: as long as there is between two, within these.
const PATIENCE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30);
/// The longest answer.
const LONGEST: usize = 64 << 20;
/// How much of an answer that is no list is logged.
const SHOWN: usize = 200;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Reports and asks until the server stops.
pub(in crate::shadowsocks) async fn run(
    front: Arc<Front>,
    panel: Panel,
    every: Duration,
    stopping: CancellationToken,
) {
    let roots = front.settings.panel_roots.clone();
    let mut caller = Caller {
        front,
        panel,
        roots,
        patience: every.clamp(*PATIENCE.start(), *PATIENCE.end()),
        tls: None,
        works: true,
    };
    loop {
        tokio::select! {
            () = stopping.cancelled() => break,
            () = caller.round() => {}
        }
        tokio::select! {
            () = stopping.cancelled() => break,
            () = tokio::time::sleep(every) => {}
        }
    }
    // What the last sessions used is told by the next process, or now, if that is quick.
    let last = tokio::time::timeout(Duration::from_secs(2), caller.report()).await;
    if !matches!(last, Ok(Ok(()))) {
        tracing::info!("the last traffic is reported after the next start");
    }
}

struct Caller {
    front: Arc<Front>,
    panel: Panel,
    patience: Duration,
    /// Trusted besides those of the system.
    roots: Option<PathBuf>,
    tls: Option<Connector>,
    works: bool,
}

impl Caller {
    async fn round(&mut self) {
        // Neither waits for the other's luck.
        let reported = self.report().await;
        let asked = self.ask().await;
        match reported.and(asked) {
            Err(error) if self.works => {
                tracing::error!(%error, "the panel fails: users stay as they are, traffic is kept");
                self.works = false;
            }
            Ok(()) if !self.works => {
                tracing::info!("the panel works again");
                self.works = true;
            }
            _ => {}
        }
    }

    async fn ask(&mut self) -> Result<(), Failure> {
        let body = self.exchange(Method::GET, None, Bytes::new()).await?;
        let taken = self.front.take_over(&body).await;
        taken.map_err(|error| format!("{error} in {:?}", shown(&body)).into())
    }

    /// Sends what is under way, and then what has come since.
    async fn report(&mut self) -> Result<(), Failure> {
        for _ in 0..2 {
            let write = |reports: &[Report]| self.front.body(reports);
            let Some((id, body)) = self.front.users.report(write).await? else {
                break;
            };
            let answer = self.exchange(Method::POST, Some(&id), body.into()).await?;
            acknowledged(&answer)?;
            self.front.users.acknowledge(&id).await?;
            self.front.presence.forget_told();
        }
        Ok(())
    }

    /// One request and its answer, whose status must be a good one.
    async fn exchange(
        &mut self,
        method: Method,
        id: Option<&str>,
        body: Bytes,
    ) -> Result<Bytes, Failure> {
        let exchanged = tokio::time::timeout(self.patience, async {
            let (host, port) = (self.panel.host(), self.panel.port());
            let socket = TcpStream::connect((host, port)).await?;
            let request = self.request(method, id, body)?;
            if self.panel.is_https() {
                let tls = match &self.tls {
                    Some(tls) => tls,
                    None => self.tls.insert(connector(self.roots.clone())?),
                };
                send(tls.connect(host, socket).await?, request).await
            } else {
                send(socket, request).await
            }
        });
        exchanged.await.map_err(|_| "no answer in time")?
    }

    fn request(
        &self,
        method: Method,
        id: Option<&str>,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(self.panel.path())
            .header(header::HOST, self.panel.authority())
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, "weirgate-proxy");
        if let Some(id) = id {
            request = request
                .header("Idempotency-Key", id)
                .header(header::CONTENT_TYPE, "application/json");
        }
        Ok(request.body(Full::new(body))?)
    }
}

/// TLS that trusts the system's roots and those in the file `roots`.
fn connector(roots: Option<PathBuf>) -> Result<Connector, TlsError> {
    Connector::new(&Trust {
        roots,
        identity: None,
    })
}

/// Whether a panel could be spoken with so.
///
/// # Errors
/// [`TlsError`] if the roots cannot be used.
pub(in crate::shadowsocks) fn check(panel: &Panel, roots: Option<PathBuf>) -> Result<(), TlsError> {
    match panel.is_https() {
        true => connector(roots).map(drop),
        false => Ok(()),
    }
}

async fn send<S>(socket: S, request: Request<Full<Bytes>>) -> Result<Bytes, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    let driving = AbortOnDrop(tokio::spawn(connection));
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), LONGEST)
        .collect()
        .await?
        .to_bytes();
    drop(driving);
    if !status.is_success() {
        return Err(format!("the panel says {status}: {:?}", shown(&body)).into());
    }
    Ok(body)
}

/// What a web server at one of these judged addresses answers to HEAD; for https
/// that it accepts a connection is all that is asked.
#[cfg(feature = "grpc")]
pub(in crate::shadowsocks) async fn status(
    addresses: &[SocketAddr],
    url: &Panel,
) -> Result<String, Failure> {
    let asked = tokio::time::timeout(*PATIENCE.end(), async {
        let socket = TcpStream::connect(addresses).await?;
        if url.is_https() {
            return Ok("200".to_owned());
        }
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
        let _driving = AbortOnDrop(tokio::spawn(connection));
        let request = Request::builder()
            .method(Method::HEAD)
            .uri(url.path())
            .header(header::HOST, url.authority())
            .body(Full::new(Bytes::new()))?;
        let answer = sender.send_request(request).await?;
        Ok(answer.status().as_str().to_owned())
    });
    asked.await.map_err(|_| "no answer in time")?
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Whether an answer to a report says that it was taken.
fn acknowledged(answer: &[u8]) -> Result<(), Failure> {
    let refused = || -> Failure { format!("the report was not taken: {:?}", shown(answer)).into() };
    let Ok(Value::Object(answer)) = serde_json::from_slice(answer) else {
        return Err(refused());
    };
    let says_no = |(key, value): (&String, &Value)| match key.as_str() {
        "error" | "errors" | "detail" => !is_empty(value),
        "msg" | "message" => {
            let word = value.as_str().unwrap_or("?").trim().to_ascii_lowercase();
            !matches!(word.as_str(), "" | "ok" | "success")
        }
        "success" | "ok" => value == &Value::Bool(false),
        _ => false,
    };
    if answer.iter().any(says_no) {
        return Err(refused());
    }
    Ok(())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

fn shown(body: &[u8]) -> String {
    let body = body.get(..SHOWN).unwrap_or(body);
    String::from_utf8_lossy(body).into_owned()
}

impl Front {
    /// The body of a report.
    fn body(&self, reports: &[Report]) -> String {
        let whereabouts = self.whereabouts();
        let data: Vec<_> = reports
            .iter()
            .map(|report| {
                let there = whereabouts.get(&report.number).cloned().unwrap_or_default();
                json!({
                    "user_id": report.number,
                    "ip_list": there.lately,
                    "tcp_conn_num": there.tcp,
                    "upload_traffic": report.usage.upload_bytes,
                    "download_traffic": report.usage.download_bytes,
                })
            })
            .collect();
        json!({ "data": data }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_in_an_answer_is_no_acknowledgement() {
        for yes in ["{}", r#"{"msg":"ok"}"#, r#"{"errors":[]}"#, r#"{"data":1}"#] {
            assert!(acknowledged(yes.as_bytes()).is_ok(), "{yes}");
        }
        for no in [
            "",
            "[]",
            "<html>",
            r#"{"msg":"auth error"}"#,
            r#"{"error":"no"}"#,
            r#"{"success":false}"#,
            r#"{"detail":{"token":"bad"}}"#,
        ] {
            assert!(acknowledged(no.as_bytes()).is_err(), "{no}");
        }
    }
}
