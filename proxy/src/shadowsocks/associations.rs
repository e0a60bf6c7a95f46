//! The associations of all ports: one for each client, a bounded number of them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::association::{Association, Heard};
use super::roster::Member;
use super::udp::Receiver;
use crate::protocol::shadowsocks::datagram::Opened;

/// Datagrams of one client that wait for the budget; one more is dropped.
const MOST_WAITING: usize = 256;

/// Who a datagram is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) port: u16,
    pub(super) member: i64,
    /// The address, where that is what makes a client.
    pub(super) client: Option<SocketAddr>,
    /// The session of the 2022 edition.
    pub(super) session: u64,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Associations {
    most: usize,
    open: Mutex<HashMap<Key, Entry>>,
}

#[derive(Debug)]
struct Entry {
    inbox: mpsc::Sender<Heard>,
    /// Ends the association.
    over: CancellationToken,
    /// When the client was last heard of.
    heard: Instant,
    /// Which one of those that had this key.
    number: u64,
}

impl Associations {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            open: Mutex::default(),
        }
    }

    /// How many there are.
    #[cfg(feature = "panel")]
    pub(super) fn count(&self) -> usize {
        self.open.lock().len()
    }

    /// Hands a datagram to its association, which is begun if there is none.
    pub(super) fn pass(
        &self,
        receiver: &Arc<Receiver>,
        key: Key,
        member: &Arc<Member>,
        opened: Opened,
        source: SocketAddr,
    ) {
        let heard = Heard {
            target: opened.target,
            data: opened.data,
            source,
        };
        let mut open = self.open.lock();
        if let Some(entry) = open.get_mut(&key).filter(|entry| !entry.inbox.is_closed()) {
            entry.heard = Instant::now();
            // No room: dropped.
            let _ = entry.inbox.try_send(heard);
            return;
        }
        let shared = Arc::clone(&receiver.venue.current.borrow());
        let Ok(user) = Arc::clone(&member.account).admit_by_key() else {
            return;
        };
        // A tunnel has as many descriptors.
        let Ok(place) = Arc::clone(&shared.places).try_acquire_owned() else {
            return;
        };
        make_room(&mut open, self.most);
        let (inbox, outbox) = mpsc::channel(MOST_WAITING);
        let _ = inbox.try_send(heard);
        let over = receiver.over.child_token();
        let number = shared.next_id();
        let entry = Entry {
            inbox,
            over: over.clone(),
            heard: Instant::now(),
            number,
        };
        open.insert(key, entry);
        drop(open);
        let association = Association {
            receiver: Arc::clone(receiver),
            member: Arc::clone(member),
            user,
            shared,
            session: key.session,
            client: Mutex::new(source),
            over,
        };
        let front = Arc::clone(&receiver.front);
        receiver.venue.sessions.spawn(async move {
            let _place = place;
            association.run(outbox).await;
            front.associations.forget(key, number);
        });
    }

    fn forget(&self, key: Key, number: u64) {
        let mut open = self.open.lock();
        if open.get(&key).is_some_and(|entry| entry.number == number) {
            open.remove(&key);
        }
    }
}

/// The one that has been silent longest gives way.
fn make_room(open: &mut HashMap<Key, Entry>, most: usize) {
    while open.len() >= most {
        let oldest = open.iter().min_by_key(|(_, entry)| entry.heard);
        let Some(oldest) = oldest.map(|(key, _)| *key) else {
            return;
        };
        if let Some(entry) = open.remove(&oldest) {
            entry.over.cancel();
        }
    }
}
