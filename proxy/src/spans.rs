//! Spans of connections and of the sessions on them, for whoever traces.
//!
//! They are spans of `tracing` under a target of their own, [`TARGET`]: where no
//! subscriber wants that target, nothing is recorded and nothing held. Their fields
//! are those of the log's events, with the names that the log has for them.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use tracing::field::{Empty, display};
use tracing::{Id, Span};

use crate::metrics::Protocol;
use crate::users::Usage;

/// The target of all spans.
pub const TARGET: &str = "weirgate::spans";

/// A span, if anybody wants it; it ends with this.
#[derive(Debug)]
pub(crate) struct Mark(Option<Box<Span>>);

impl Mark {
    fn new(span: Span) -> Self {
        Self((!span.is_disabled()).then(|| Box::new(span)))
    }

    /// A connection of a client's, from its first byte to its last.
    pub(crate) fn connection(id: u64) -> Self {
        Self::new(tracing::info_span!(
            target: TARGET, parent: None::<Id>, "connection",
            otel.kind = "server", otel.status_code = Empty, id = whole(id), source = Empty,
            reason = Empty,
        ))
    }

    /// What a user does on one: a tunnel, an association, a request.
    pub(crate) fn session(
        within: Option<Id>,
        id: u64,
        user: &str,
        protocol: Protocol,
        source: SocketAddr,
        target: &str,
    ) -> Self {
        Self::new(tracing::info_span!(
            target: TARGET, parent: within, "session",
            otel.kind = "server", otel.status_code = Empty, id = whole(id), user,
            protocol = protocol.name(), %source, target, upload_bytes = Empty,
            download_bytes = Empty, throttled_seconds = Empty, reason = Empty,
        ))
    }

    /// What the spans within it name it by.
    pub(crate) fn id(&self) -> Option<Id> {
        self.0.as_ref()?.id()
    }

    /// Where the client is, as far as anybody we believe can tell.
    pub(crate) fn comes_from(&self, source: SocketAddr) {
        self.record(|span| span.record("source", display(source)));
    }

    /// Why it ended.
    pub(crate) fn ends(&self, reason: &dyn fmt::Display) {
        self.record(|span| span.record("reason", display(reason)));
    }

    /// Why it was not served.
    pub(crate) fn fails(&self, reason: &dyn fmt::Display) {
        self.record(|span| span.record("otel.status_code", "error"));
        self.ends(reason);
    }

    /// What it has moved, and how long it has waited for its limit.
    pub(crate) fn moved(&self, moved: Usage, waited: Duration) {
        self.record(|span| {
            span.record("upload_bytes", whole(moved.upload_bytes))
                .record("download_bytes", whole(moved.download_bytes))
                .record("throttled_seconds", waited.as_secs_f64())
        });
    }

    fn record(&self, does: impl FnOnce(&Span) -> &Span) {
        if let Some(span) = &self.0 {
            does(span);
        }
    }
}

/// OpenTelemetry's integers have a sign.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
