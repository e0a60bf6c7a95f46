//! What every route needs, and the list of routes.

use std::sync::Arc;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;
use tokio::time::Instant;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::{self, Actor};
use super::feed::Frame;
use super::keys::Keys;
use super::metrics::{self, Metrics};
use super::problem::Problem;
use super::{audit, events, health, rules, server, sessions, users};
use crate::config::AdminConfig;
use crate::server::Handle;
use crate::users::{Audit, Users};

/// The operator's side as its routes see it: cheap to clone.
#[derive(Clone)]
pub(super) struct Desk(Arc<Inner>);

struct Inner {
    handle: Handle,
    config: AdminConfig,
    feed: watch::Receiver<Arc<Frame>>,
    since: Instant,
    metrics: Metrics,
}

impl Desk {
    pub(super) fn new(
        handle: Handle,
        config: AdminConfig,
        feed: watch::Receiver<Arc<Frame>>,
    ) -> Self {
        let metrics = Metrics::new(handle.clone(), feed.clone(), config.user_metrics);
        Self(Arc::new(Inner {
            metrics,
            handle,
            config,
            feed,
            since: Instant::now(),
        }))
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.0.handle
    }

    pub(super) fn users(&self) -> Users {
        self.0.handle.shared().users.clone()
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(super) fn hosts(&self) -> &[String] {
        &self.0.config.hosts
    }

    pub(super) fn serves_legacy(&self) -> bool {
        self.0.config.legacy_routes
    }

    /// What opens it by TCP.
    pub(super) fn keys(&self) -> &Keys {
        self.0.handle.keys()
    }

    /// How long the server has been up.
    pub(super) fn uptime(&self) -> std::time::Duration {
        self.0.since.elapsed()
    }

    /// The latest rates.
    pub(super) fn frame(&self) -> Arc<Frame> {
        Arc::clone(&self.0.feed.borrow())
    }

    /// All rates from now on.
    pub(super) fn feed(&self) -> watch::Receiver<Arc<Frame>> {
        self.0.feed.clone()
    }

    /// Notes what is no change of an account in the audit log.
    pub(super) async fn note(
        &self,
        actor: &Actor,
        action: &'static str,
        subject: &str,
    ) -> Result<(), Problem> {
        let audit = entry(actor, action, subject, "{}".to_owned());
        Ok(self.users().note(&audit).await?)
    }
}

/// An entry for the audit log.
pub(super) fn entry<'a>(
    actor: &'a Actor,
    action: &'static str,
    subject: &'a str,
    detail: String,
) -> Audit<'a> {
    tracing::info!(actor = actor.0, action, subject = %subject.escape_debug(), %detail, "audit");
    Audit {
        actor: &actor.0,
        action,
        subject,
        detail,
    }
}

/// What any route may answer besides what it is for.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "they are described, not made")]
pub(super) enum Refusals {
    /// The request cannot be read.
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// A token is required.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorised(Problem),
    /// Another site's page asks.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// There is no such thing.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// The name is taken, or the server cannot do that as it is run.
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(Problem),
    /// The request is too large.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The body is not JSON.
    #[response(status = 415, content_type = "application/problem+json")]
    MediaType(Problem),
    /// The server does not go by that name.
    #[response(status = 421, content_type = "application/problem+json")]
    Misdirected(Problem),
    /// The request can be read and means nothing.
    #[response(status = 422, content_type = "application/problem+json")]
    Meaningless(Problem),
    /// The database does not answer.
    #[response(status = 503, content_type = "application/problem+json")]
    Database(Problem),
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Weirgate proxy, admin API",
        description = "Users and their limits, sessions, rates, and the server itself. \
            Problems are documents of RFC 9457.",
        license(name = "MIT OR Apache-2.0")
    ),
    tags(
        (name = "users"), (name = "sessions"), (name = "live"), (name = "server"),
        (name = "health"), (name = "access")
    ),
    modifiers(&Schemes),
    security((), ("token" = []))
)]
struct Document;

struct Schemes;

impl utoipa::Modify for Schemes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(
            "token",
            SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
        );
    }
}

/// The routes that the document describes.
pub(super) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(users::list, users::create))
        .routes(routes!(users::show, users::change, users::remove))
        .routes(routes!(users::usage))
        .routes(routes!(users::kill_sessions))
        .routes(routes!(rules::show, rules::change))
        .routes(routes!(sessions::list))
        .routes(routes!(sessions::show, sessions::kill))
        .routes(routes!(events::rates))
        .routes(routes!(events::events))
        .routes(routes!(events::console))
        .routes(routes!(metrics::metrics))
        .routes(routes!(server::show))
        .routes(routes!(server::reload))
        .routes(routes!(server::drain))
        .routes(routes!(audit::list))
        .routes(routes!(access::login))
        .routes(routes!(access::logout))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
}

/// The document itself.
pub(super) async fn document(text: Arc<str>) -> Response {
    let json = (header::CONTENT_TYPE, "application/json");
    ([json], text.to_string()).into_response()
}
