//! The users of one port, and finding out which of them a client is.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio_util::sync::CancellationToken;

use super::turnstile::{Place, Turnstile};
use crate::protocol::shadowsocks::{Key, Keys, Method, Refused};
use crate::users::{Access, Account, Network};

/// Users who came last from one place.
const REMEMBERED_USERS: usize = 8;
/// Places that are remembered.
const REMEMBERED_PLACES: usize = 4_096;
/// Users who came last from anywhere.
const HOT: usize = 64;
/// Keys that are tried before it is asked whether somebody still waits.
const BREATH: usize = 64;

/// A user of a port.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) account: Arc<Account>,
    pub(super) access: Arc<Access>,
    pub(super) keys: Keys,
    /// Ends when the access is no longer this one.
    pub(super) over: CancellationToken,
}

/// The users of a port at one time.
#[derive(Debug)]
pub(super) struct Roster {
    pub(super) method: Method,
    /// What identities are under, where there are any.
    pub(super) port_key: Option<Key>,
    members: HashMap<i64, Arc<Member>>,
    by_identity: HashMap<[u8; 16], i64>,
}

/// The users of a port as they come and go.
#[derive(Debug)]
pub(super) struct Members {
    roster: RwLock<Arc<Roster>>,
    recent: Mutex<Recent>,
}

/// Who came last: they are tried first.
#[derive(Debug, Default)]
struct Recent {
    hot: VecDeque<i64>,
    by_place: HashMap<Network, VecDeque<i64>>,
}

impl Member {
    /// Warns of the method.
    pub(super) fn warn(&self, why: &'static str) {
        let (user, port) = (self.account.name().escape_debug(), self.access.port);
        tracing::warn!(%user, port, method = %self.access.method, why, "an old shadowsocks method");
    }
}

impl Roster {
    /// Those of `members` who can share a port with the first one.
    pub(super) fn new(members: Vec<Arc<Member>>) -> Option<Self> {
        let first = Arc::clone(members.first()?);
        let (method, port_key) = (first.access.method, first.keys.port.clone());
        let alone = members.len() == 1;
        let mut roster = Self {
            method,
            port_key,
            members: HashMap::with_capacity(members.len()),
            by_identity: HashMap::new(),
        };
        for member in members {
            let fits = member.access.method == method && member.keys.port == roster.port_key;
            if !fits || (!method.authenticates() && !alone) {
                let user = member.account.name().escape_debug();
                let port = member.access.port;
                tracing::error!(%user, port, "cannot share the port: users of one port need one method and one key of the port, and none and the methods in CFB mode are for one user alone");
                continue;
            }
            let id = member.account.id();
            if roster.port_key.is_some() {
                roster
                    .by_identity
                    .insert(member.keys.user.fingerprint(), id);
            }
            roster.members.insert(id, member);
        }
        Some(roster)
    }

    pub(super) fn member(&self, id: i64) -> Option<&Arc<Member>> {
        self.members.get(&id)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.members.values()
    }

    /// Whom an identity names.
    pub(super) fn named(&self, identity: [u8; 16]) -> Option<&Arc<Member>> {
        self.member(*self.by_identity.get(&identity)?)
    }
}

impl Members {
    pub(super) fn new(roster: Roster) -> Self {
        Self {
            roster: RwLock::new(Arc::new(roster)),
            recent: Mutex::default(),
        }
    }

    pub(super) fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster.read())
    }

    pub(super) fn replace(&self, roster: Roster) {
        *self.roster.write() = Arc::new(roster);
    }

    /// Finds the user whose key opens something from `source`: those who came
    /// last from there at once, then, when the turnstile lets it, everybody.
    /// `is_proven` says that whoever sends from there also hears there.
    ///
    /// # Errors
    /// [`Refused::Authentication`] if there is none; what `open` says of a user's
    /// that is no good.
    pub(super) async fn find<T: Send + 'static>(
        &self,
        source: IpAddr,
        is_proven: bool,
        turnstile: &Turnstile,
        open: impl Fn(&Member) -> Result<T, Refused> + Send + 'static,
    ) -> Result<(Arc<Member>, T), Refused> {
        let roster = self.roster();
        let network = Network::of(source);
        let mut found = self.quick(&roster, network, &open)?;
        if found.is_none() {
            let place = Place {
                network,
                is_known: self.knows(network),
                is_proven,
            };
            let hot = self.recent.lock().hot.clone();
            let search = move |is_wanted: &dyn Fn() -> bool| scan(&roster, &hot, &open, is_wanted);
            found = turnstile.search(place, search).await??;
            turnstile.found(place, found.is_some());
        }
        let (member, opened) = found.ok_or(Refused::Authentication)?;
        self.came(network, member.account.id());
        Ok((member, opened))
    }

    /// Whether somebody came from `network` lately.
    pub(super) fn knows(&self, network: Network) -> bool {
        self.recent.lock().by_place.contains_key(&network)
    }

    /// Tries those who came last from `place`.
    fn quick<T>(
        &self,
        roster: &Roster,
        place: Network,
        open: &impl Fn(&Member) -> Result<T, Refused>,
    ) -> Result<Option<(Arc<Member>, T)>, Refused> {
        let known = self.recent.lock().by_place.get(&place).cloned();
        let known = known.unwrap_or_default();
        let mut members = known.iter().filter_map(|&id| roster.member(id));
        members
            .find_map(|member| tried(member, open).transpose())
            .transpose()
    }

    /// The user came from `place`.
    pub(super) fn came(&self, place: Network, id: i64) {
        let mut recent = self.recent.lock();
        to_front(&mut recent.hot, id, HOT);
        if recent.by_place.len() >= REMEMBERED_PLACES && !recent.by_place.contains_key(&place) {
            // Whoever comes again costs one search.
            recent.by_place.clear();
        }
        let here = recent.by_place.entry(place).or_default();
        to_front(here, id, REMEMBERED_USERS);
    }
}

/// Tries those who came last from anywhere, then everybody.
fn scan<T>(
    roster: &Roster,
    hot: &VecDeque<i64>,
    open: &impl Fn(&Member) -> Result<T, Refused>,
    is_wanted: &dyn Fn() -> bool,
) -> Result<Option<(Arc<Member>, T)>, Refused> {
    let hot = hot.iter().filter_map(|&id| roster.member(id));
    for (tries, member) in hot.chain(roster.members()).enumerate() {
        if tries % BREATH == 0 && !is_wanted() {
            return Ok(None);
        }
        if let Some(found) = tried(member, open)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn tried<T>(
    member: &Arc<Member>,
    open: &impl Fn(&Member) -> Result<T, Refused>,
) -> Result<Option<(Arc<Member>, T)>, Refused> {
    match open(member) {
        Ok(opened) => Ok(Some((Arc::clone(member), opened))),
        Err(Refused::Authentication) => Ok(None),
        Err(refused) => Err(refused),
    }
}

fn to_front(list: &mut VecDeque<i64>, id: i64, most: usize) {
    if list.front() == Some(&id) {
        return;
    }
    list.retain(|&other| other != id);
    list.push_front(id);
    list.truncate(most);
}
