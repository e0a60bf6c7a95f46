//! The client's side of shadowsocks: streams.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use proxy::protocol::Target;
use proxy::protocol::shadowsocks::stream::{Opener, Sealer};
use proxy::protocol::shadowsocks::{Keys, Method, Refused, handshake};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

pub(crate) mod datagrams;

/// What is read at once, at least, and sealed at once, at most.
const PIECE: usize = 32 * 1024;
/// How long the application may take to say something; then the request goes
/// without, for a target that speaks first.
const PATIENCE: Duration = Duration::from_millis(30);

/// What an account's password stands for.
#[derive(Clone, Debug)]
pub(crate) struct Secret {
    pub(crate) method: Method,
    pub(crate) keys: Keys,
}

/// A stream to a target, by way of `socket` to the server.
pub(crate) struct Encrypted<S> {
    socket: S,
    secret: Secret,
    outgoing: Outgoing,
    salt: Vec<u8>,
    opener: Option<Opener>,
    /// What was read and is not opened from `at` on.
    inbox: Vec<u8>,
    at: usize,
    /// What of the inbox is opened and not taken.
    plain: Range<usize>,
    /// What is sealed and not written from `sent` on.
    outbox: Vec<u8>,
    sent: usize,
}

enum Outgoing {
    /// Nothing was said yet.
    Silent {
        target: Target,
        patience: Pin<Box<Sleep>>,
    },
    Begun(Box<Sealer>),
}

impl<S> Encrypted<S> {
    /// Asks for `target` with the first payload, or soon without any.
    pub(crate) fn new(socket: S, secret: Secret, target: Target) -> io::Result<Self> {
        let salt = salt(secret.method)?;
        Ok(Self {
            socket,
            secret,
            outgoing: Outgoing::Silent {
                target,
                patience: Box::pin(tokio::time::sleep(PATIENCE)),
            },
            salt,
            opener: None,
            inbox: Vec::new(),
            at: 0,
            plain: 0..0,
            outbox: Vec::new(),
            sent: 0,
        })
    }

    fn seal(&mut self, payload: &[u8]) -> Result<(), Refused> {
        match &mut self.outgoing {
            Outgoing::Begun(sealer) => sealer.seal(payload, &mut self.outbox),
            Outgoing::Silent { target, .. } => {
                let (Secret { method, keys }, salt, now) = (&self.secret, &self.salt, unix_now());
                let out = &mut self.outbox;
                let sealer = handshake::ask(*method, keys, salt, target, payload, now, out)?;
                self.outgoing = Outgoing::Begun(Box::new(sealer));
            }
        }
        Ok(())
    }

    /// Opens what is next and all here; whether there was anything.
    fn open(&mut self) -> Result<bool, Refused> {
        let rest = self.inbox.get_mut(self.at..).unwrap_or_default();
        let Some(opener) = &mut self.opener else {
            let Secret { method, keys } = &self.secret;
            let len = handshake::answer_len(*method);
            let Some(first) = rest.get(..len) else {
                return Ok(false);
            };
            let (salt, now) = (&self.salt, unix_now());
            let opener = handshake::open_answer(*method, &keys.user, salt, first, now)?;
            self.opener = Some(opener);
            self.at += len;
            return Ok(true);
        };
        let Some((payload, used)) = opener.open(rest)? else {
            return Ok(false);
        };
        self.plain = self.at + payload.start..self.at + payload.end;
        self.at += used;
        Ok(true)
    }
}

impl<S: AsyncRead + Unpin> Encrypted<S> {
    /// Reads more; false at the end.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        self.inbox.drain(..self.at.min(self.inbox.len()));
        self.at = 0;
        let needed = self.opener.as_ref().map_or(0, Opener::needed);
        self.inbox.reserve(PIECE.max(needed));
        let socket = Pin::new(&mut self.socket);
        let filled = tokio_util::io::poll_read_buf(socket, context, &mut self.inbox);
        match ready!(filled)? {
            0 if self.inbox.is_empty() => Poll::Ready(Ok(false)),
            // Cut short on the way: not an end that the server has meant.
            0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            _ => Poll::Ready(Ok(true)),
        }
    }
}

impl<S: AsyncWrite + Unpin> Encrypted<S> {
    fn poll_empty(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.outbox.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let written = ready!(Pin::new(&mut self.socket).poll_write(context, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
        }
        self.outbox.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Asks without payload when there was none for long enough.
    fn poll_ask(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if let Outgoing::Silent { patience, .. } = &mut self.outgoing {
            if patience.as_mut().poll(context).is_pending() {
                return Ok(());
            }
            self.seal(&[]).map_err(broken)?;
        }
        match self.poll_empty(context) {
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.poll_ask(context)?;
        let before = room.filled().len();
        loop {
            let most = room.remaining().min(this.plain.len());
            let till = this.plain.start + most;
            room.put_slice(this.inbox.get(this.plain.start..till).unwrap_or_default());
            this.plain.start = till;
            if room.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if this.open().map_err(broken)? {
                continue;
            }
            if room.filled().len() > before || !ready!(this.poll_fill(context))? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_empty(context))?;
        let now = bytes.get(..PIECE).unwrap_or(bytes);
        this.seal(now).map_err(broken)?;
        // What is left is written before anything else is taken.
        if let Poll::Ready(Err(error)) = this.poll_empty(context) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(now.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_empty(context))?;
        Pin::new(&mut this.socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if matches!(this.outgoing, Outgoing::Silent { .. }) {
            this.seal(&[]).map_err(broken)?;
        }
        ready!(this.poll_empty(context))?;
        Pin::new(&mut this.socket).poll_shutdown(context)
    }
}

/// As many random bytes as a method's salt has.
fn salt(method: Method) -> io::Result<Vec<u8>> {
    let mut salt = vec![0; method.salt_len()];
    let filled = SystemRandom::new().fill(&mut salt);
    filled.map_err(|_| io::Error::other("the system has no randomness"))?;
    Ok(salt)
}

/// Seconds since 1970.
fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn broken(refused: Refused) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, refused)
}
