//! The operator's side: an HTTP API, metrics, health and a live view.
//!
//! ```text
//! listener (socket, TCP, TLS) -> access (who may) -> routes -> users, sessions, server, audit
//! feed (rates, once a second) -> events (SSE), console (WebSocket), metrics
//! ```
//!
//! Everything that comes in is bounded: heads, bodies, pages, connections. What is
//! wrong with a request is said as a problem document (RFC 9457).

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::config::{AdminAddress, AdminConfig, AdminError};
use crate::server::Handle;

mod access;
mod audit;
mod client;
mod dashboard;
mod desk;
mod events;
mod extract;
mod feed;
mod health;
mod keys;
mod legacy;
mod listener;
mod metrics;
mod patience;
mod problem;
mod rules;
mod server;
mod sessions;
#[cfg(feature = "shadowsocks")]
mod ssm;
mod users;
mod warnings;

pub use client::{Ask, Client, ClientError, Event, Events};

/// What the API says, as values.
pub mod view {
    pub use super::audit::{AuditPage, AuditView};
    pub use super::events::RatesPage;
    pub use super::feed::{Rates, ServerRates, UserRates};
    pub use super::health::Readiness;
    pub use super::problem::Problem;
    pub use super::server::{ReloadedView, ServerView};
    pub use super::sessions::{Killed, SessionPage, SessionView};
    pub use super::users::UserPage;
    pub use crate::users::view::*;
}

use desk::Desk;
pub(crate) use keys::Keys;
use listener::Door;
use warnings::Webhook;

/// The operator's side of one server, listening.
#[derive(Debug)]
pub(crate) struct Admin {
    config: AdminConfig,
    doors: Vec<Door>,
    keys: Arc<Keys>,
    webhook: Option<Webhook>,
}

/// Whether it could be opened, as far as that can be known without doing so.
///
/// # Errors
/// [`AdminError`]
pub(crate) fn check(config: &AdminConfig) -> Result<(), AdminError> {
    config.check()?;
    Keys::read(config)?;
    Webhook::new(config)?;
    Ok(())
}

impl Admin {
    /// Listens wherever `config` says.
    ///
    /// # Errors
    /// [`AdminError`]
    pub(crate) async fn bind(config: &AdminConfig) -> Result<Self, AdminError> {
        config.check()?;
        let keys = Arc::new(Keys::read(config)?);
        let webhook = Webhook::new(config)?;
        let mut doors = Vec::new();
        for address in &config.listen {
            doors.extend(Door::open(address).await?);
        }
        Ok(Self {
            config: config.clone(),
            doors,
            keys,
            webhook,
        })
    }

    /// What opens it by TCP.
    pub(crate) fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys)
    }

    /// Where it listens: the real ports.
    pub(crate) fn addresses(&self) -> Vec<AdminAddress> {
        self.doors.iter().map(Door::address).collect()
    }

    /// Where it listens by TCP.
    pub(crate) fn tcp(&self) -> Vec<SocketAddr> {
        let addresses = self.addresses();
        addresses.iter().filter_map(AdminAddress::tcp).collect()
    }

    /// Serves for as long as what is returned lives.
    pub(crate) fn serve(self, handle: Handle) -> Option<DropGuard> {
        if self.doors.is_empty() {
            return None;
        }
        let stop = CancellationToken::new();
        let feed = feed::start(handle.clone(), stop.clone());
        let hook = self.webhook;
        warnings::start(
            handle.clone(),
            &self.config,
            hook,
            feed.clone(),
            stop.clone(),
        );
        let router = router(Desk::new(handle, self.config, feed));
        for door in self.doors {
            let certificates = self.keys.certificates().clone();
            tokio::spawn(door.serve(router.clone(), certificates, stop.clone()));
        }
        Some(stop.drop_guard())
    }
}

/// Every route, and what stands in front of them.
fn router(desk: Desk) -> Router {
    let (routes, document) = desk::routes().split_for_parts();
    let document = Arc::<str>::from(document.to_json().unwrap_or_default());
    let legacy = match desk.serves_legacy() {
        true => legacy::routes(),
        false => Router::new(),
    };
    routes
        .route(
            "/api/v1/openapi.json",
            axum::routing::get(move || desk::document(Arc::clone(&document))),
        )
        .merge(legacy)
        .merge(dashboard::routes())
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(axum::extract::DefaultBodyLimit::max(extract::MAX_BODY))
        .layer(axum::middleware::map_request(patience::limit))
        .layer(axum::middleware::from_fn_with_state(
            desk.clone(),
            access::guard,
        ))
        .layer(axum::middleware::from_fn(access::finish))
        .with_state(desk)
}
