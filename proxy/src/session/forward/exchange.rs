//! One request to the origin and its response back, both under way at once:
//! an origin may answer before it has heard everything.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;

use super::Outcome;
use crate::protocol::WireError;
use crate::protocol::http::{
    Asked, Body, MAX_INTERIM, Malformed, Response, Status, Step, response,
};
use crate::relay::{self, Ending, Lane, Lanes};
use crate::session::client::Client;
use crate::session::{Message, SessionError, silence};

/// How much is read at a time.
const CHUNK: usize = 16 * 1024;

/// A whole answer.
pub(super) struct Answered {
    pub(super) status: u16,
    /// Whether the client may send another request.
    pub(super) next: bool,
    /// Whether the origin takes another one.
    pub(super) stays: bool,
}

/// Why there is no whole answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::session) enum Failure {
    #[error("the client went away: {0}")]
    ClientGone(io::Error),
    #[error("the client: {0}")]
    ClientWire(WireError),
    #[error("the origin went away: {0}")]
    OriginGone(io::Error),
    #[error("the origin: {0}")]
    OriginWire(WireError),
    #[error("silent for too long")]
    Idle,
    #[error("no answer from the target within the request time-out")]
    Slow,
    #[error("ended by the limit")]
    Limit,
    #[error(transparent)]
    Ended(SessionError),
}

impl Failure {
    /// What to tell a client that has heard nothing yet, if it can hear.
    const fn status(&self) -> Option<Status> {
        match self {
            Self::ClientWire(error) => Some(Status::of(*error)),
            Self::OriginGone(_) | Self::OriginWire(_) => Some(Status::BadGateway),
            Self::Idle | Self::Slow => Some(Status::GatewayTimeout),
            Self::Limit => Some(Status::ServiceUnavailable),
            Self::ClientGone(_) | Self::Ended(_) => None,
        }
    }
}

/// What the two directions know of each other.
#[derive(Default)]
pub(super) struct Progress {
    /// Grows with each write.
    moved: AtomicU64,
    /// The origin has got the whole request.
    uploaded: AtomicBool,
    /// The client has got the beginning of a final answer.
    answering: AtomicBool,
    /// The origin has said something.
    heard: AtomicBool,
}

impl Progress {
    /// What the client is to be told of a failure, if it can be told anything.
    pub(super) fn failed(&self, failure: Failure) -> Outcome {
        match failure.status() {
            Some(status) if !self.answering.load(Ordering::Relaxed) => {
                Outcome::Unanswered(status, failure)
            }
            _ => Outcome::Cut(failure),
        }
    }

    /// Whether the origin has not said a word.
    pub(super) fn is_silent(&self) -> bool {
        !self.heard.load(Ordering::Relaxed)
    }

    /// Returns when nothing has moved for `idle` (or up to a quarter longer).
    async fn silence(&self, idle: Duration) {
        silence(&self.moved, idle).await;
    }
}

/// Sends `message` to `origin` (and that it closes, unless the client may go on), its body beginning with `early`, and the answer
/// with `fields` of ours to `client`. What follows the body is left in `early`.
#[expect(
    clippy::too_many_arguments,
    reason = "both sides, and what is between them"
)]
pub(super) async fn run(
    client: &mut Client,
    early: &mut Vec<u8>,
    origin: &mut TcpStream,
    message: &Message,
    fields: &[(&'static str, String)],
    lanes: &mut Lanes,
    idle: Duration,
    progress: &Progress,
) -> Outcome {
    let (client_source, client_sink) = tokio::io::split(client);
    let (origin_source, origin_sink) = origin.split();
    let mut up = pin!(upload(
        client_source,
        early,
        origin_sink,
        message,
        &mut lanes.up,
        progress
    ));
    let mut down = pin!(download(
        origin_source,
        client_sink,
        message,
        fields,
        &mut lanes.down,
        progress
    ));
    let mut uploading = true;
    let failure = loop {
        tokio::select! {
            uploaded = &mut up, if uploading => match uploaded {
                Ok(()) => uploading = false,
                Err(failure) => break failure,
            },
            answered = &mut down => match answered {
                Ok(answered) => return Outcome::Answered(answered),
                Err(failure) => break failure,
            },
            () = progress.silence(idle) => break Failure::Idle,
        }
    };
    progress.failed(failure)
}

/// The request. An origin that does not want to hear all of it may still answer.
async fn upload(
    mut source: impl AsyncRead + Unpin,
    bytes: &mut Vec<u8>,
    mut sink: impl AsyncWrite + Unpin,
    message: &Message,
    lane: &mut Lane,
    progress: &Progress,
) -> Result<(), Failure> {
    let head = message.forward.head(true, message.keep_alive);
    let sent = async {
        send(&mut sink, &head, lane, progress).await?;
        let body = message.forward.body();
        pass_body(&mut source, bytes, &mut sink, body, lane, progress).await
    };
    match sent.await {
        Ok(()) => {
            progress.uploaded.store(true, Ordering::Relaxed);
            Ok(())
        }
        Err(Fault::Sink(_)) => Ok(()),
        Err(Fault::Source(error)) => Err(Failure::ClientGone(error)),
        Err(Fault::Wire(error)) => Err(Failure::ClientWire(error)),
        Err(Fault::Limit) => Err(Failure::Limit),
    }
}

async fn download(
    mut source: impl AsyncRead + Unpin,
    mut sink: impl AsyncWrite + Unpin,
    message: &Message,
    fields: &[(&'static str, String)],
    lane: &mut Lane,
    progress: &Progress,
) -> Result<Answered, Failure> {
    let answer = pass_answer(&mut source, &mut sink, message, fields, lane, progress);
    answer.await.map_err(|fault| match fault {
        Fault::Source(error) => Failure::OriginGone(error),
        Fault::Sink(error) => Failure::ClientGone(error),
        Fault::Wire(error) => Failure::OriginWire(error),
        Fault::Limit => Failure::Limit,
    })
}

/// What goes wrong in one direction.
enum Fault {
    Source(io::Error),
    Sink(io::Error),
    Wire(WireError),
    Limit,
}

impl From<WireError> for Fault {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

/// The answer, interim ones before it included.
async fn pass_answer(
    source: &mut (impl AsyncRead + Unpin),
    sink: &mut (impl AsyncWrite + Unpin),
    message: &Message,
    fields: &[(&'static str, String)],
    lane: &mut Lane,
    progress: &Progress,
) -> Result<Answered, Fault> {
    let mut bytes = Vec::new();
    for _ in 0..=MAX_INTERIM {
        let mut response = head(source, &mut bytes, message.forward.asked(), progress).await?;
        if response.is_interim() {
            send(sink, &response.head(true, true), lane, progress).await?;
            continue;
        }
        progress.answering.store(true, Ordering::Relaxed);
        for (name, value) in fields {
            response.add_field(name, value);
        }
        // An answer that comes too early leaves a request that nobody reads to its end.
        let stays = message.keep_alive && progress.uploaded.load(Ordering::Relaxed);
        send(sink, &response.head(true, stays), lane, progress).await?;
        pass_body(source, &mut bytes, sink, response.body(), lane, progress).await?;
        return Ok(Answered {
            status: response.status,
            next: stays && response.is_delimited(),
            // What it has said beyond its answer is an answer to nothing.
            stays: stays && response.keep_alive && bytes.is_empty(),
        });
    }
    Err(WireError::from(Malformed::Interim).into())
}

/// The next head of the origin's.
async fn head(
    source: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
    asked: Asked,
    progress: &Progress,
) -> Result<Response, Fault> {
    loop {
        if let Some((response, used)) = response(bytes, asked)? {
            bytes.drain(..used);
            return Ok(response);
        }
        if read(source, bytes).await? == 0 {
            return Err(Fault::Source(io::ErrorKind::UnexpectedEof.into()));
        }
        progress.heard.store(true, Ordering::Relaxed);
    }
}

/// Moves one body from `source`, of which `bytes` is what was read already.
async fn pass_body(
    source: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
    sink: &mut (impl AsyncWrite + Unpin),
    mut body: Body,
    lane: &mut Lane,
    progress: &Progress,
) -> Result<(), Fault> {
    loop {
        match body.step(bytes)? {
            Some(Step::End) => return Ok(()),
            Some(Step::Forward(len)) => {
                let piece = bytes.get(..len).unwrap_or_default();
                send(sink, piece, lane, progress).await?;
                bytes.drain(..len);
            }
            Some(Step::Skip(len)) => drop(bytes.drain(..len)),
            None => {
                if read(source, bytes).await? == 0 {
                    return match body.may_end() {
                        true => Ok(()),
                        false => Err(Fault::Source(io::ErrorKind::UnexpectedEof.into())),
                    };
                }
            }
        }
    }
}

async fn read(source: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> Result<usize, Fault> {
    bytes.reserve(CHUNK);
    source.read_buf(bytes).await.map_err(Fault::Source)
}

async fn send(
    sink: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    lane: &mut Lane,
    progress: &Progress,
) -> Result<(), Fault> {
    let sent = relay::send(sink, bytes, lane, &progress.moved).await;
    sent.map_err(|ending| match ending {
        Ending::Broken(error) => Fault::Sink(error),
        _ => Fault::Limit,
    })
}
