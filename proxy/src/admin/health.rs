//! Whether the process lives, and whether it can serve.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering;

use super::desk::Desk;

/// Whether clients can be served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Readiness {
    /// All of the following are as they should be.
    pub ready: bool,
    /// The listeners accept.
    pub listeners: bool,
    /// The database answered when it was last asked.
    pub database: bool,
    /// The server is about to stop.
    pub draining: bool,
}

/// The process lives: it answers.
#[utoipa::path(get, path = "/livez", tag = "health", security(()),
    responses((status = 200, description = "It lives", body = String, content_type = "text/plain")))]
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// Clients can be served: it listens, the database answers, and it is not about to stop.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()),
    responses((status = 200, description = "Ready", body = Readiness),
              (status = 503, description = "Not ready", body = Readiness)))]
pub(super) async fn ready(State(desk): State<Desk>) -> Response {
    let shared = desk.handle().shared();
    let draining = desk.handle().is_draining();
    let database = !shared
        .sessions
        .tally()
        .database_fails
        .load(Ordering::Relaxed);
    let ready = database && !draining;
    let readiness = Readiness {
        ready,
        listeners: !draining,
        database,
        draining,
    };
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(readiness)).into_response()
}
