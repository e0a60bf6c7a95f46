//! Posting warnings, one after the other.

use std::time::Duration;

use axum::body::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Warning;
use crate::config::Webhook;

/// Warnings that wait to be posted; one more is only logged.
const WAITING: usize = 256;
/// How long one attempt may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The pauses after failures; after the last the warning is given up.
const PAUSES: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(10),
    Duration::from_secs(60),
];

/// Posts what it is sent until told to stop.
pub(super) fn start(hook: Webhook, stop: CancellationToken) -> mpsc::Sender<Warning> {
    let (sender, mut receiver) = mpsc::channel::<Warning>(WAITING);
    tokio::spawn(async move {
        let posting = async {
            while let Some(warning) = receiver.recv().await {
                deliver(&hook, &warning).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = posting => {}
        }
    });
    sender
}

async fn deliver(hook: &Webhook, warning: &Warning) {
    let body = Bytes::from(serde_json::to_vec(warning).unwrap_or_default());
    let mut pauses = PAUSES.into_iter();
    loop {
        let posted = tokio::time::timeout(TIMEOUT, post(hook, body.clone())).await;
        let why = match posted {
            Ok(Ok(status)) if status.is_success() => return,
            Ok(Ok(status)) => format!("it answers {status}"),
            Ok(Err(why)) => why,
            Err(_) => "it does not answer in time".to_owned(),
        };
        let Some(pause) = pauses.next() else {
            tracing::error!(%hook, why, "a warning is given up: the webhook does not take it");
            return;
        };
        tracing::warn!(%hook, why, "the webhook does not take a warning");
        tokio::time::sleep(pause).await;
    }
}

async fn post(hook: &Webhook, body: Bytes) -> Result<StatusCode, String> {
    let stream = TcpStream::connect(&hook.authority).await;
    let stream = stream.map_err(|error| error.to_string())?;
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| error.to_string())?;
    // Its failure is that of the request.
    let connection = tokio::spawn(connection);
    let request = Request::post(&hook.path)
        .header(header::HOST, &hook.authority)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await;
    connection.abort();
    Ok(answer.map_err(|error| error.to_string())?.status())
}
