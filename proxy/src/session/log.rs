//! One request that was understood: an entry in the list of open sessions, and
//! one event at its end.

use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use super::{Opened, Peer, SessionError, Wish};
use crate::metrics::{Protocol, Reason};
use crate::protocol::Dialect;
use crate::relay::Lanes;
use crate::server::Shared;
use crate::sessions::{About, Listed, Session};

/// What an event tells of its request, which is listed as long as this lives.
pub(super) struct Log<'a> {
    shared: &'a Shared,
    peer: &'a Peer,
    pub(super) opened: &'a Opened,
    since: Instant,
    listed: Listed,
}

impl<'a> Log<'a> {
    pub(super) fn new(shared: &'a Shared, peer: &'a Peer, opened: &'a Opened) -> Self {
        let protocol = match (opened.dialect, &opened.wish) {
            (Dialect::Socks5, Wish::Datagrams) => Protocol::Socks5Udp,
            (dialect, _) => dialect.into(),
        };
        let about = About {
            id: peer.id,
            protocol,
            source: peer.source,
            target: opened.target.to_string(),
            within: peer.span.id(),
        };
        Self {
            shared,
            peer,
            opened,
            since: Instant::now(),
            listed: shared.sessions.enter(&opened.user, about, &shared.cut),
        }
    }

    /// The entry in the list.
    pub(super) const fn session(&self) -> &Arc<Session> {
        self.listed.session()
    }

    /// Both directions of the user's traffic, which tell the list what they move.
    pub(super) fn lanes(&self) -> Lanes {
        Lanes::new(&self.opened.user, self.listed.session())
    }

    pub(super) fn refused(&self, error: &SessionError) {
        self.failed(error);
        self.listed.fails(error);
        let (Peer { id, source, .. }, opened) = (self.peer, self.opened);
        tracing::info!(
            id, request_id = opened.request.map(display), user = %opened.user.name().escape_debug(), protocol = %opened.dialect, %source,
            target = %opened.target.to_string().escape_debug(), reason = %error, "refused"
        );
    }

    /// Counts why it was refused, or cut.
    pub(super) fn failed(&self, error: &SessionError) {
        self.shared.sessions.tally().failed(Reason::from(error));
    }

    pub(super) fn closed(&self, lanes: &Lanes, reason: &impl fmt::Display) {
        self.listed.ends(reason);
        let (Peer { id, source, .. }, opened) = (self.peer, self.opened);
        tracing::info!(
            id, request_id = opened.request.map(display), user = %opened.user.name().escape_debug(), protocol = %opened.dialect, %source,
            target = %opened.target.to_string().escape_debug(),
            upload_bytes = lanes.up.moved(), download_bytes = lanes.down.moved(),
            seconds = self.since.elapsed().as_secs_f64(),
            throttled_seconds = (lanes.up.throttled() + lanes.down.throttled()).as_secs_f64(),
            %reason, "closed"
        );
    }
}
