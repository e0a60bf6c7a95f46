//! One request that was understood: an entry in the list of open sessions, and
//! one event at its end.

use std::fmt;
use std::sync::{Arc, OnceLock};

use tokio::time::Instant;

use super::{Opened, Peer, SessionError, Wish, answer};
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
    /// In microseconds, which is all that a tunnel has room for.
    queued: OnceLock<u32>,
    listed: Listed,
}

/// What the audit wants of a request to the HTTPS service.
struct Audited {
    method: String,
    /// Without its query; a tunnel's target.
    url: String,
    /// Until it had a worker, or was refused one.
    queued_seconds: f64,
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
            queued: OnceLock::new(),
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

    /// It waits no longer.
    pub(super) fn has_worker(&self) {
        self.queued.get_or_init(|| self.waited());
    }

    fn waited(&self) -> u32 {
        u32::try_from(self.since.elapsed().as_micros()).unwrap_or(u32::MAX)
    }

    pub(super) fn refused(&self, error: &SessionError) {
        self.failed(error);
        self.listed.fails(error);
        let (Peer { id, source, .. }, opened) = (self.peer, self.opened);
        let audited = self.audited();
        let (method, url, queued) = parts(audited.as_ref());
        let status = audited.as_ref().map(|_| answer::status(error) as u16);
        tracing::info!(
            id, request_id = opened.request.map(display), user = %opened.user.name().escape_debug(), protocol = %opened.dialect, %source,
            target = %opened.target.to_string().escape_debug(), method, url, status, queued_seconds = queued, reason = %error, "refused"
        );
    }

    /// Counts why it was refused, or cut.
    pub(super) fn failed(&self, error: &SessionError) {
        self.shared.sessions.tally().failed(Reason::from(error));
    }

    /// `status` is what an HTTP client was told.
    pub(super) fn closed(&self, lanes: &Lanes, status: Option<u16>, reason: &impl fmt::Display) {
        self.listed.ends(reason);
        let (Peer { id, source, .. }, opened) = (self.peer, self.opened);
        let audited = self.audited();
        let (method, url, queued) = parts(audited.as_ref());
        let status = status.filter(|_| audited.is_some());
        tracing::info!(
            id, request_id = opened.request.map(display), user = %opened.user.name().escape_debug(), protocol = %opened.dialect, %source,
            target = %opened.target.to_string().escape_debug(), method, url, status,
            upload_bytes = lanes.up.moved(), download_bytes = lanes.down.moved(), queued_seconds = queued,
            seconds = self.since.elapsed().as_secs_f64(),
            throttled_seconds = (lanes.up.throttled() + lanes.down.throttled()).as_secs_f64(),
            %reason, "closed"
        );
    }

    /// `None` elsewhere: what is asked for there is nobody's business.
    fn audited(&self) -> Option<Audited> {
        if !self.peer.is_audited() || self.opened.request.is_none() {
            return None;
        }
        let target = &self.opened.target;
        let (method, url) = match &self.opened.wish {
            Wish::Answer(message) => {
                let method = String::from_utf8_lossy(message.forward.method());
                let path = String::from_utf8_lossy(message.forward.path());
                (method.into_owned(), format!("http://{target}{path}"))
            }
            Wish::Tunnel | Wish::Datagrams => ("CONNECT".to_owned(), target.to_string()),
        };
        let queued = self.queued.get().copied();
        let queued = queued.unwrap_or_else(|| self.waited());
        Some(Audited {
            method: method.escape_debug().to_string(),
            url: url.escape_debug().to_string(),
            queued_seconds: f64::from(queued) / 1e6,
        })
    }
}

fn parts(audited: Option<&Audited>) -> (Option<&str>, Option<&str>, Option<f64>) {
    let Some(audited) = audited else {
        return (None, None, None);
    };
    (
        Some(&audited.method),
        Some(&audited.url),
        Some(audited.queued_seconds),
    )
}
