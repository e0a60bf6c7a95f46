//! A client of the admin API, for the command line.

use std::time::Duration;

use axum::body::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::problem::Problem;
use crate::config::{AdminEndpoint, HttpUrl};
use crate::tls::{Connector, TlsError, Trust};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer, in bytes.
const MAX_ANSWER: usize = 64 << 20;
/// The longest line of a stream of events, in bytes.
const MAX_EVENT: usize = 1 << 20;

/// Where an admin API is, and what opens it.
#[derive(Clone, Debug)]
pub struct Client {
    endpoint: AdminEndpoint,
    token: Option<String>,
    /// Where the endpoint says so.
    tls: Option<Connector>,
}

/// Why there is no answer, or not the one that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("there is no admin API at {endpoint}")]
    Absent {
        /// Where.
        endpoint: AdminEndpoint,
        /// Why not.
        source: std::io::Error,
    },
    /// It and we do not trust each other.
    #[error("no TLS with the admin API at {endpoint}")]
    Tls {
        /// Where.
        endpoint: AdminEndpoint,
        /// Why not.
        source: std::io::Error,
    },
    /// The server says no.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// What came is no answer of an admin API.
    #[error("the admin API does not answer as it should: {0}")]
    Broken(String),
    /// Nothing came in time.
    #[error("the admin API does not answer in time")]
    Timeout,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Ask<'a> {
    method: Method,
    path: &'a str,
    body: Option<&'a Value>,
}

impl<'a> Ask<'a> {
    /// Reads what is at `path`.
    #[must_use]
    pub const fn get(path: &'a str) -> Self {
        Self::new(Method::GET, path, None)
    }

    /// Sends `body` to `path`.
    #[must_use]
    pub const fn post(path: &'a str, body: &'a Value) -> Self {
        Self::new(Method::POST, path, Some(body))
    }

    /// Changes what is at `path`, whatever it is.
    #[must_use]
    pub const fn patch(path: &'a str, body: &'a Value) -> Self {
        Self::new(Method::PATCH, path, Some(body))
    }

    /// Deletes what is at `path`, whatever it is.
    #[must_use]
    pub const fn delete(path: &'a str) -> Self {
        Self::new(Method::DELETE, path, None)
    }

    const fn new(method: Method, path: &'a str, body: Option<&'a Value>) -> Self {
        Self { method, path, body }
    }
}

impl Client {
    /// A client of the API at `endpoint`, with a token where one is needed. Where it
    /// speaks TLS, `trust` says with whom.
    ///
    /// # Errors
    /// [`TlsError`]: what `trust` names cannot be used.
    pub fn new(
        endpoint: AdminEndpoint,
        token: Option<String>,
        trust: &Trust,
    ) -> Result<Self, TlsError> {
        let tls = match &endpoint {
            AdminEndpoint::Url(url) if url.is_https() => Some(Connector::new(trust)?),
            _ => None,
        };
        Ok(Self {
            endpoint,
            token,
            tls,
        })
    }

    /// Where the API is.
    #[must_use]
    pub const fn endpoint(&self) -> &AdminEndpoint {
        &self.endpoint
    }

    /// The path of a user.
    #[must_use]
    pub fn user(name: &str) -> String {
        format!("/api/v1/users/{}", super::extract::segment(name))
    }

    /// A text as part of a query.
    #[must_use]
    pub fn quoted(text: &str) -> String {
        super::extract::segment(text).into_owned()
    }

    /// Asks, and reads the answer; an empty one reads as null.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn ask<T: DeserializeOwned>(&self, ask: Ask<'_>) -> Result<T, ClientError> {
        let (status, bytes) = self.answer(ask).await?;
        if !status.is_success() {
            return Err(refused(status, &bytes));
        }
        let bytes = if bytes.is_empty() {
            &b"null"[..]
        } else {
            &bytes
        };
        serde_json::from_slice(bytes).map_err(|error| ClientError::Broken(error.to_string()))
    }

    /// The status and the bytes of an answer.
    ///
    /// # Errors
    /// [`ClientError`], but not [`ClientError::Refused`].
    pub async fn answer(&self, ask: Ask<'_>) -> Result<(StatusCode, Bytes), ClientError> {
        let answered = async {
            let response = self.send(ask).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER)
                .collect()
                .await;
            let bytes = body.map_err(|error| ClientError::Broken(error.to_string()))?;
            Ok((status, bytes.to_bytes()))
        };
        let answered = tokio::time::timeout(TIMEOUT, answered).await;
        answered.unwrap_or(Err(ClientError::Timeout))
    }

    /// The stream of events at `path`.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn events(&self, path: &str) -> Result<Events, ClientError> {
        let sent = tokio::time::timeout(TIMEOUT, self.send(Ask::get(path))).await;
        let response = sent.unwrap_or(Err(ClientError::Timeout))?;
        let status = response.status();
        if !status.is_success() {
            let body = Limited::new(response.into_body(), MAX_ANSWER)
                .collect()
                .await;
            let bytes = body.map(|body| body.to_bytes()).unwrap_or_default();
            return Err(refused(status, &bytes));
        }
        Ok(Events {
            body: response.into_body(),
            read: Vec::new(),
        })
    }

    async fn send(&self, ask: Ask<'_>) -> Result<Response<Incoming>, ClientError> {
        let absent = |source| ClientError::Absent {
            endpoint: self.endpoint.clone(),
            source,
        };
        match &self.endpoint {
            AdminEndpoint::Socket(path) => {
                let stream = UnixStream::connect(path).await.map_err(absent)?;
                self.send_on(stream, "localhost", ask).await
            }
            AdminEndpoint::Url(url) => {
                let stream = TcpStream::connect((url.host(), url.port())).await;
                self.send_by(url, stream.map_err(absent)?, ask).await
            }
        }
    }

    async fn send_by(
        &self,
        url: &HttpUrl,
        stream: TcpStream,
        ask: Ask<'_>,
    ) -> Result<Response<Incoming>, ClientError> {
        let Some(tls) = &self.tls else {
            return self.send_on(stream, url.authority(), ask).await;
        };
        let stream = tls.connect(url.host(), stream).await;
        let stream = stream.map_err(|source| ClientError::Tls {
            endpoint: self.endpoint.clone(),
            source,
        })?;
        self.send_on(stream, url.authority(), ask).await
    }

    async fn send_on<S>(
        &self,
        stream: S,
        host: &str,
        ask: Ask<'_>,
    ) -> Result<Response<Incoming>, ClientError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let broken = |error: hyper::Error| ClientError::Broken(error.to_string());
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        // Its failure is that of the request.
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(ask.method)
            .uri(ask.path)
            .header(header::HOST, host)
            .header(header::IF_MATCH, "*");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = ask.body.map(Value::to_string).unwrap_or_default();
        if ask.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| ClientError::Broken(error.to_string()))?;
        sender.send_request(request).await.map_err(broken)
    }
}

/// Server-sent events, one after the other.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    read: Vec<u8>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its kind.
    pub kind: String,
    /// What it says.
    pub data: String,
}

impl Events {
    /// The next one; `None` when the server has stopped.
    ///
    /// # Errors
    /// [`ClientError::Broken`]
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(end) = self.read.windows(2).position(|pair| pair == b"\n\n") {
                let rest = self.read.split_off(end + 2);
                let text = std::mem::replace(&mut self.read, rest);
                return Ok(Some(event(&String::from_utf8_lossy(&text))));
            }
            if self.read.len() > MAX_EVENT {
                return Err(ClientError::Broken("an event is too long".to_owned()));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(ClientError::Broken(error.to_string())),
                Some(Ok(frame)) => self.read.extend(frame.data_ref().into_iter().flatten()),
            }
        }
    }
}

fn event(text: &str) -> Event {
    let field = |name: &str| {
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.unwrap_or_default().to_owned()
    };
    Event {
        kind: field("event"),
        data: field("data"),
    }
}

fn refused(status: StatusCode, bytes: &[u8]) -> ClientError {
    match serde_json::from_slice(bytes) {
        Ok(problem) => ClientError::Refused(Box::new(problem)),
        Err(_) => ClientError::Broken(format!("status {status}")),
    }
}
