//! Frames of seed 003's protocol, one after the other: the reading and the
//! writing. What they say is answered by the [service](crate::https_service).

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::inbox::Inbox;
use super::{Peer, SessionError, ended, linger, reject, silence};
use crate::https_service::{Answer, Client, Fault, Service};
use crate::metrics::{Protocol, Reason};
use crate::protocol::https_relay;
use crate::relay::{self, Ending, Lanes};
use crate::server::Shared;
use crate::sessions::About;

/// For the magic, and again for the length.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// For the blob.
const BLOB_TIMEOUT: Duration = Duration::from_secs(30);
/// How much is read at a time.
const CHUNK: usize = 16 * 1024;

/// Serves one frame after another.
pub(super) async fn serve(mut inbox: Inbox, shared: &Shared, peer: &Peer, service: &Arc<Service>) {
    loop {
        let deadline = Instant::now() + service.config().keep_alive;
        let mut held = service.hold();
        let read = tokio::time::timeout_at(deadline, blob(&mut inbox, &mut held));
        let read = tokio::select! {
            read = read => read.unwrap_or(Err(Unread::Session(SessionError::Timeout))),
            () = shared.stopping.cancelled() => Err(Unread::Session(SessionError::Stopping)),
        };
        let blob = match read {
            Ok(blob) => blob,
            Err(Unread::Session(error)) if inbox.is_empty() && is_quiet(&error) => return,
            Err(Unread::Session(error)) => return reject(inbox, peer, shared, error).await,
            Err(Unread::Fault(fault)) => {
                let words = service.refusal(&fault);
                if inbox.write(&words).await.is_ok() {
                    linger(inbox).await;
                }
                return;
            }
        };
        let size = blob.len() + https_relay::MAGIC_LEN + 4;
        let gone = CancellationToken::new();
        let client = Client {
            source: peer.source.ip(),
            named: peer.named,
            most: shared.caps.connections_per_user,
            gone: &gone,
        };
        let watching = async {
            inbox.closed().await;
            gone.cancel();
            std::future::pending().await
        };
        let answer = tokio::select! {
            answer = service.answer(&shared.users, client, blob) => Some(answer),
            () = shared.cut.cancelled() => None,
            never = watching => never,
        };
        let Some(answer) = answer else {
            return inbox.reset();
        };
        drop(held);
        if !tell(&mut inbox, shared, peer, answer, size).await {
            return inbox.reset();
        }
        if service.config().close_after_response || shared.stopping.is_cancelled() {
            return linger(inbox).await;
        }
    }
}

/// Why there is no blob.
enum Unread {
    Session(SessionError),
    Fault(Fault),
}

impl<T: Into<SessionError>> From<T> for Unread {
    fn from(error: T) -> Self {
        Self::Session(error.into())
    }
}

/// Reads one frame as far as its blob. What follows it stays in the inbox.
async fn blob(inbox: &mut Inbox, held: &mut crate::https_service::Held) -> Result<Vec<u8>, Unread> {
    // The first byte may come late: the deadline is that of the whole frame.
    inbox.fill().await?;
    head(inbox, https_relay::opening).await?;
    let len = head(inbox, https_relay::length).await?;
    let read = async {
        let (client, early) = inbox.parts()?;
        let rest = early.split_off(early.len().min(len));
        let mut blob = std::mem::replace(early, rest);
        held.grow(blob.len()).map_err(Unread::Fault)?;
        while blob.len() < len {
            let room = (len - blob.len()).min(CHUNK);
            blob.reserve(room);
            let mut limited = (&mut *client).take(u64::try_from(room).unwrap_or(u64::MAX));
            let read = limited.read_buf(&mut blob).await?;
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            held.grow(read).map_err(Unread::Fault)?;
        }
        Ok(blob)
    };
    match tokio::time::timeout(BLOB_TIMEOUT, read).await {
        Ok(read) => read,
        Err(_) => Err(SessionError::Timeout.into()),
    }
}

async fn head<T>(
    inbox: &mut Inbox,
    parser: impl Fn(&[u8]) -> Result<Option<(T, usize)>, crate::protocol::WireError>,
) -> Result<T, SessionError> {
    let parsed = tokio::time::timeout(HEAD_TIMEOUT, inbox.parse(parser)).await;
    parsed.unwrap_or(Err(SessionError::Timeout))
}

/// Writes an answer within its user's budget, which pays for the request too,
/// and a line to the log; `false` if the client has not got all of it.
async fn tell(
    inbox: &mut Inbox,
    shared: &Shared,
    peer: &Peer,
    answer: Answer,
    request: usize,
) -> bool {
    let Answer {
        frame,
        payer,
        record,
        busy: _busy,
        held: _held,
    } = answer;
    let Ok((client, _)) = inbox.parts() else {
        return false;
    };
    let (since, mut up, mut down) = (Instant::now(), 0, 0);
    let moved = AtomicU64::new(0);
    let sent = match &payer {
        Some(user) => {
            let about = About {
                id: peer.id,
                protocol: Protocol::Https,
                source: peer.source,
                target: record.url.clone(),
                within: peer.span.id(),
            };
            let listed = shared.sessions.enter(user, about, &shared.cut);
            let mut lanes = Lanes::new(user, listed.session());
            let paid = async {
                relay::charge(request, &mut lanes.up).await?;
                relay::send(client, &frame, &mut lanes.down, &moved).await
            };
            let sent = tokio::select! {
                sent = paid => sent.map_err(Some),
                () = silence(&moved, shared.timeouts.half_closed) => Err(None),
                error = ended(listed.session(), user) => {
                    shared.sessions.tally().failed(Reason::from(&error));
                    Err(None)
                }
            };
            (up, down) = (lanes.up.moved(), lanes.down.moved());
            listed.ends(&told(&sent, record.error.as_deref()));
            sent
        }
        None => {
            let own = inbox.write(&frame);
            let own = tokio::time::timeout(BLOB_TIMEOUT, own).await;
            own.map_or(Err(None), |sent| sent.map_err(|error| Some(error.into())))
        }
    };
    let reason = told(&sent, record.error.as_deref());
    let user = record.user.as_deref().unwrap_or_default();
    tracing::info!(
        id = peer.id, request_id = %record.request_id.escape_debug(), user = %user.escape_debug(),
        protocol = "https-relay", source = %peer.source, method = %record.method.escape_debug(),
        url = %record.url.escape_debug(), status = record.status, cached = record.cached,
        upload_bytes = up, download_bytes = down, queued_seconds = record.queued.as_secs_f64(),
        worked_seconds = record.worked.as_secs_f64(), told_seconds = since.elapsed().as_secs_f64(),
        %reason, "request"
    );
    sent.is_ok()
}

/// How an answer was told, in words.
fn told(sent: &Result<(), Option<Ending>>, error: Option<&str>) -> String {
    match sent {
        Ok(()) => error.unwrap_or("answered").to_owned(),
        Err(Some(Ending::Broken(error))) => format!("the client went away: {error}"),
        Err(_) => "cut".to_owned(),
    }
}

/// Whether a connection between two frames may end so.
const fn is_quiet(error: &SessionError) -> bool {
    matches!(
        error,
        SessionError::Timeout | SessionError::Stopping | SessionError::Client(_)
    )
}
