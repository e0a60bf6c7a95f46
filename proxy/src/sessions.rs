//! Who is served now: from where, to where, and how much so far.
//!
//! A session tells its own figures here by plain stores, which cost the relay
//! nothing; whoever wants sums reads them all.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Id;

use crate::metrics::{Protocol, Tally};
use crate::spans::Mark;
use crate::users::{Account, Authenticated, Direction, Moment, Usage};

#[cfg(all(feature = "admin", feature = "shadowsocks"))]
mod traffic;

#[cfg(all(feature = "admin", feature = "shadowsocks"))]
pub(crate) use traffic::Traffic;

/// The open sessions of a server: a handle, cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    open: Mutex<BTreeMap<u64, Arc<Session>>>,
    tally: Tally,
    #[cfg(all(feature = "admin", feature = "shadowsocks"))]
    books: traffic::Books,
}

/// One open session.
#[derive(Debug)]
pub(crate) struct Session {
    /// The number that the log knows it by.
    pub(crate) id: u64,
    account: Arc<Account>,
    pub(crate) protocol: Protocol,
    /// Where the client is.
    pub(crate) source: SocketAddr,
    /// What it asked for.
    pub(crate) target: String,
    pub(crate) started_at: Moment,
    since: Instant,
    up: Way,
    down: Way,
    killed: AtomicBool,
    /// Ends what is under way.
    cut: CancellationToken,
}

/// One direction's figures, written by its relay alone.
#[derive(Debug, Default)]
struct Way {
    moved: AtomicU64,
    /// Nanoseconds of waiting for the limit that are over.
    waited: AtomicU64,
    dropped: AtomicU64,
    packets: AtomicU64,
}

/// What a session is about.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) id: u64,
    pub(crate) protocol: Protocol,
    pub(crate) source: SocketAddr,
    pub(crate) target: String,
    /// The span of the connection that it is on.
    pub(crate) within: Option<Id>,
}

/// A session in the list; it leaves the list with this.
#[derive(Debug)]
pub(crate) struct Listed {
    sessions: Sessions,
    session: Arc<Session>,
    span: Mark,
}

impl Sessions {
    /// Lists a session of `user`'s; it ends with `cut` or when somebody kills it.
    pub(crate) fn enter(
        &self,
        user: &Authenticated,
        about: About,
        cut: &CancellationToken,
    ) -> Listed {
        self.0.tally.opened(about.protocol);
        let (name, protocol, source) = (user.name(), about.protocol, about.source);
        let span = Mark::session(
            about.within,
            about.id,
            name,
            protocol,
            source,
            &about.target,
        );
        let session = Arc::new(Session {
            id: about.id,
            account: Arc::clone(user.account()),
            protocol: about.protocol,
            source: about.source,
            target: about.target,
            started_at: Moment::now(),
            since: Instant::now(),
            up: Way::default(),
            down: Way::default(),
            killed: AtomicBool::new(false),
            cut: cut.child_token(),
        });
        self.0.open.lock().insert(about.id, Arc::clone(&session));
        Listed {
            sessions: self.clone(),
            session,
            span,
        }
    }

    /// The server's counters.
    pub(crate) fn tally(&self) -> &Tally {
        &self.0.tally
    }
}

impl Sessions {
    /// At most `most` open sessions with numbers above `after`, in their order.
    pub(crate) fn page(&self, after: Option<u64>, most: usize) -> Vec<Arc<Session>> {
        let first = after.map_or(0, |after| after.saturating_add(1));
        let open = self.0.open.lock();
        open.range(first..)
            .take(most)
            .map(|(_, session)| Arc::clone(session))
            .collect()
    }

    /// One session, if it is open.
    pub(crate) fn get(&self, id: u64) -> Option<Arc<Session>> {
        self.0.open.lock().get(&id).map(Arc::clone)
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.0.open.lock().values().map(Arc::clone).collect()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.open.lock().len()
    }
}

impl Session {
    /// The name of the user whose it is.
    pub(crate) fn user(&self) -> &str {
        self.account.name()
    }

    /// What it has moved so far.
    pub(crate) fn moved(&self) -> Usage {
        Usage {
            upload_bytes: self.up.moved.load(Ordering::Relaxed),
            download_bytes: self.down.moved.load(Ordering::Relaxed),
        }
    }

    /// How long its two directions have waited for the limit, waits under way left out.
    pub(crate) fn waited(&self) -> Duration {
        let nanos = |way: &Way| way.waited.load(Ordering::Relaxed);
        Duration::from_nanos(nanos(&self.up).saturating_add(nanos(&self.down)))
    }

    /// Datagrams that were dropped for want of budget.
    pub(crate) fn dropped(&self) -> u64 {
        let dropped = |way: &Way| way.dropped.load(Ordering::Relaxed);
        dropped(&self.up).saturating_add(dropped(&self.down))
    }

    /// How long it has been open.
    pub(crate) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Ends it.
    pub(crate) fn kill(&self) {
        self.killed.store(true, Ordering::Relaxed);
        self.cut.cancel();
    }

    /// Returns when it must end; whether because somebody killed it.
    pub(crate) async fn cut(&self) -> bool {
        self.cut.cancelled().await;
        self.killed.load(Ordering::Relaxed)
    }

    /// So much has been moved in all.
    pub(crate) fn set_moved(&self, direction: Direction, bytes: u64) {
        self.way(direction).moved.store(bytes, Ordering::Relaxed);
    }

    /// So long has been waited in all.
    pub(crate) fn set_waited(&self, direction: Direction, waited: Duration) {
        let nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        self.way(direction).waited.store(nanos, Ordering::Relaxed);
    }

    /// One more datagram was dropped.
    pub(crate) fn drop_one(&self, direction: Direction) {
        self.way(direction).dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// One more datagram has passed.
    pub(crate) fn pass_one(&self, direction: Direction) {
        self.way(direction).packets.fetch_add(1, Ordering::Relaxed);
    }

    /// Datagrams that have passed.
    #[cfg(all(feature = "admin", feature = "shadowsocks"))]
    pub(crate) fn packets(&self, direction: Direction) -> u64 {
        self.way(direction).packets.load(Ordering::Relaxed)
    }

    const fn way(&self, direction: Direction) -> &Way {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }
}

impl Listed {
    pub(crate) const fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Why it ends: for its span.
    pub(crate) fn ends(&self, reason: &dyn std::fmt::Display) {
        self.span.ends(reason);
    }

    /// Why it was not served: for its span.
    pub(crate) fn fails(&self, reason: &dyn std::fmt::Display) {
        self.span.fails(reason);
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let (session, inner) = (&self.session, &self.sessions.0);
        self.span.moved(session.moved(), session.waited());
        // Under the lock, so that a sum over the open ones and those that have ended
        // (`Sessions::sums`) has each of them once.
        let mut open = inner.open.lock();
        open.remove(&session.id);
        #[cfg(all(feature = "admin", feature = "shadowsocks"))]
        inner.books.ended(session);
        inner.tally.closed(
            session.protocol,
            session.moved(),
            session.dropped(),
            session.waited(),
        );
    }
}

/// The sums over all sessions of one protocol, open and ended.
#[cfg(feature = "admin")]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    pub(crate) open: u64,
    pub(crate) moved: Usage,
    pub(crate) dropped: u64,
}

#[cfg(feature = "admin")]
impl Sessions {
    /// The sums by protocol, in the order of [`Protocol::ALL`].
    pub(crate) fn sums(&self) -> [Sums; Protocol::ALL.len()] {
        let open = self.0.open.lock();
        let mut sums = Protocol::ALL.map(|protocol| Sums {
            open: 0,
            moved: self.0.tally.moved(protocol),
            dropped: self.0.tally.dropped(protocol),
        });
        for session in open.values() {
            let sum = &mut sums[session.protocol as usize];
            sum.open += 1;
            sum.moved = sum.moved + session.moved();
            sum.dropped += session.dropped();
        }
        sums
    }
}
