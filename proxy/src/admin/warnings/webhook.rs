//! Posting warnings, one after the other.

use std::time::Duration;

use axum::body::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Warning;
use crate::config::{AdminConfig, AdminError, HttpUrl};
use crate::tls::{Connector, Trust};

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

/// Where warnings are posted, and how.
#[derive(Clone, Debug)]
pub(in crate::admin) struct Webhook {
    url: HttpUrl,
    tls: Option<Connector>,
}

impl Webhook {
    /// The one that `config` names, if it names one.
    ///
    /// # Errors
    /// [`AdminError::Webhook`]
    pub(in crate::admin) fn new(config: &AdminConfig) -> Result<Option<Self>, AdminError> {
        let Some(url) = config.webhook.clone() else {
            return Ok(None);
        };
        let trust = Trust {
            roots: config.webhook_roots.clone(),
            identity: None,
        };
        let tls = url.is_https().then(|| Connector::new(&trust));
        let tls = tls.transpose().map_err(AdminError::Webhook)?;
        Ok(Some(Self { url, tls }))
    }

    async fn post(&self, body: Bytes) -> Result<StatusCode, String> {
        let said = |error: std::io::Error| error.to_string();
        let (host, port) = (self.url.host(), self.url.port());
        let stream = TcpStream::connect((host, port)).await.map_err(said)?;
        match &self.tls {
            None => self.post_on(stream, body).await,
            Some(tls) => {
                let stream = tls.connect(host, stream).await.map_err(said)?;
                self.post_on(stream, body).await
            }
        }
    }

    async fn post_on<S>(&self, stream: S, body: Bytes) -> Result<StatusCode, String>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(|error| error.to_string())?;
        // Its failure is that of the request.
        let connection = tokio::spawn(connection);
        let request = Request::post(self.url.path())
            .header(header::HOST, self.url.authority())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, "weirgate-proxy")
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await;
        connection.abort();
        Ok(answer.map_err(|error| error.to_string())?.status())
    }
}

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
        let posted = tokio::time::timeout(TIMEOUT, hook.post(body.clone())).await;
        let why = match posted {
            Ok(Ok(status)) if status.is_success() => return,
            Ok(Ok(status)) => format!("it answers {status}"),
            Ok(Err(why)) => why,
            Err(_) => "it does not answer in time".to_owned(),
        };
        let Some(pause) = pauses.next() else {
            tracing::error!(hook = %hook.url, why, "a warning is given up: the webhook does not take it");
            return;
        };
        tracing::warn!(hook = %hook.url, why, "the webhook does not take a warning");
        tokio::time::sleep(pause).await;
    }
}
