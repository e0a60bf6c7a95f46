//! One event for each request that was understood.

use std::fmt;

use tokio::time::Instant;

use super::{Opened, Peer, SessionError};
use crate::relay::Lanes;

/// What an event tells of its request.
pub(super) struct Log<'a> {
    peer: &'a Peer,
    pub(super) opened: &'a Opened,
    since: Instant,
}

impl<'a> Log<'a> {
    pub(super) fn new(peer: &'a Peer, opened: &'a Opened) -> Self {
        Self {
            peer,
            opened,
            since: Instant::now(),
        }
    }

    pub(super) fn refused(&self, error: &SessionError) {
        let (Peer { id, source, .. }, opened) = (self.peer, self.opened);
        tracing::info!(
            id, user = %opened.user.name().escape_debug(), protocol = %opened.dialect, %source,
            target = %opened.target.to_string().escape_debug(), reason = %error, "refused"
        );
    }

    pub(super) fn closed(&self, lanes: &Lanes, reason: &impl fmt::Display) {
        let (Peer { id, source, .. }, opened) = (self.peer, self.opened);
        tracing::info!(
            id, user = %opened.user.name().escape_debug(), protocol = %opened.dialect, %source,
            target = %opened.target.to_string().escape_debug(),
            upload_bytes = lanes.up.moved(), download_bytes = lanes.down.moved(),
            seconds = self.since.elapsed().as_secs_f64(),
            throttled_seconds = (lanes.up.throttled() + lanes.down.throttled()).as_secs_f64(),
            %reason, "closed"
        );
    }
}
