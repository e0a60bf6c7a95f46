//! The server itself.

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

use super::access::Actor;
use super::desk::{Desk, Refusals};
use super::problem::{Kind, Problem};

/// The server.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ServerView {
    /// Its version.
    pub version: String,
    /// The number of its process.
    pub pid: u32,
    /// How long it has been up.
    pub uptime_seconds: f64,
    /// Where clients connect.
    pub listeners: Vec<String>,
    /// Where the accounts are; passwords are masked.
    pub database: String,
    /// How many users there are.
    pub users: usize,
    /// How many sessions are open.
    pub sessions: usize,
    /// It is about to stop.
    pub draining: bool,
}

/// What came of reading the config again.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReloadedView {
    /// These have changed and hold for connections from now on.
    pub changed: Vec<String>,
    /// These differ and wait for the next start.
    pub needs_restart: Vec<String>,
}

/// Shows the server.
#[utoipa::path(get, path = "/api/v1/server", operation_id = "showServer", tag = "server",
    responses((status = 200, description = "The server", body = ServerView), Refusals))]
pub(super) async fn show(State(desk): State<Desk>) -> Json<ServerView> {
    let (handle, shared) = (desk.handle(), desk.handle().shared());
    Json(ServerView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_seconds: desk.uptime().as_secs_f64(),
        listeners: handle.addresses().iter().map(ToString::to_string).collect(),
        database: handle.database().to_string(),
        users: shared.users.count(),
        sessions: shared.sessions.count(),
        draining: handle.is_draining(),
    })
}

/// Reads the config, the certificates and the token again: the new config is taken
/// whole, or the old one stays.
#[utoipa::path(post, path = "/api/v1/reload", tag = "server",
    responses((status = 200, description = "Taken over", body = ReloadedView), Refusals))]
pub(super) async fn reload(
    State(desk): State<Desk>,
    Extension(actor): Extension<Actor>,
) -> Result<Json<ReloadedView>, Problem> {
    desk.note(&actor, "server.reload", "").await?;
    let answered = desk.handle().ask_reload().await;
    let answered =
        answered.ok_or_else(|| Kind::Unavailable.with("it was not started from a config"))?;
    let done = answered.map_err(|error| Kind::Meaningless.with(error))?;
    let text = |keys: Vec<&str>| keys.into_iter().map(str::to_owned).collect();
    Ok(Json(ReloadedView {
        changed: text(done.changed),
        needs_restart: text(done.needs_restart),
    }))
}

/// Has the server accept nobody, let open sessions end for the drain time-out, and stop.
#[utoipa::path(post, path = "/api/v1/drain", tag = "server",
    responses((status = 202, description = "It drains"), Refusals))]
pub(super) async fn drain(
    State(desk): State<Desk>,
    Extension(actor): Extension<Actor>,
) -> Result<StatusCode, Problem> {
    desk.note(&actor, "server.drain", "").await?;
    desk.handle().drain();
    Ok(StatusCode::ACCEPTED)
}
