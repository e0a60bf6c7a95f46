//! Sessions: who is served now.

use axum::Extension;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::access::Actor;
use super::desk::{Desk, Refusals};
use super::extract::{Path, Query, Short};
use super::problem::{Kind, Problem};
use crate::sessions::Session;

/// A page, if nobody says how large, and the largest.
const USUAL: usize = 100;
const MOST: usize = 1_000;

/// Which sessions.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Of this user alone.
    #[param(value_type = Option<String>, max_length = 255)]
    user: Option<Short>,
    /// Those with larger numbers than this: the `next` of the page before.
    after: Option<u64>,
    /// At most so many.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// One session.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SessionView {
    /// The number that the log knows it by.
    pub id: u64,
    /// Whose it is.
    pub user: String,
    /// What is spoken.
    pub protocol: String,
    /// Where the client is.
    pub source: String,
    /// What it asked for.
    pub target: String,
    /// When it began.
    pub started: String,
    /// How long ago that is.
    pub seconds: f64,
    /// Payload bytes from the client to the target.
    pub upload_bytes: u64,
    /// Payload bytes from the target to the client.
    pub download_bytes: u64,
    /// How long it has waited for the limit, both directions added up.
    pub throttled_seconds: f64,
}

/// A page of sessions.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SessionPage {
    /// In order of their numbers.
    pub sessions: Vec<SessionView>,
    /// Where the next page begins; null is: there is none.
    pub next: Option<u64>,
    /// How many sessions are open, whosever they are.
    pub open: usize,
}

/// How many were ended.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Killed {
    /// So many.
    pub killed: usize,
}

/// Lists open sessions.
#[utoipa::path(get, path = "/api/v1/sessions", operation_id = "listSessions", tag = "sessions", params(Which),
    responses((status = 200, description = "A page of them", body = SessionPage), Refusals))]
pub(super) async fn list(
    State(desk): State<Desk>,
    Query(which): Query<Which>,
) -> Result<Json<SessionPage>, Problem> {
    let most = limit(which.limit)?;
    if which
        .after
        .is_some_and(|after| i64::try_from(after).is_err())
    {
        return Err(Kind::Malformed.with("after is larger than any number of a session"));
    }
    let sessions = desk.handle().shared().sessions.clone();
    let (mut page, mut after, mut more) = (Vec::new(), which.after, true);
    while more && page.len() < most {
        let found = sessions.page(after, MOST);
        more = found.len() == MOST;
        for session in found {
            if page.len() == most {
                more = true;
                break;
            }
            after = Some(session.id);
            if which
                .user
                .as_ref()
                .map(Short::as_str)
                .is_none_or(|user| user == session.user())
            {
                page.push(view(&session));
            }
        }
    }
    Ok(Json(SessionPage {
        sessions: page,
        next: after.filter(|_| more),
        open: sessions.count(),
    }))
}

/// Shows one session.
#[utoipa::path(get, path = "/api/v1/sessions/{id}", operation_id = "showSession", tag = "sessions",
    params(("id" = u64, Path, description = "Its number")),
    responses((status = 200, description = "The session", body = SessionView), Refusals))]
pub(super) async fn show(
    State(desk): State<Desk>,
    Path(id): Path<u64>,
) -> Result<Json<SessionView>, Problem> {
    let session = desk
        .handle()
        .shared()
        .sessions
        .get(id)
        .ok_or_else(unknown)?;
    Ok(Json(view(&session)))
}

/// Ends one session: both sides get a reset.
#[utoipa::path(delete, path = "/api/v1/sessions/{id}", operation_id = "killSession", tag = "sessions",
    params(("id" = u64, Path, description = "Its number")),
    responses((status = 204, description = "It ends"), Refusals))]
pub(super) async fn kill(
    State(desk): State<Desk>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<u64>,
) -> Result<StatusCode, Problem> {
    let session = desk
        .handle()
        .shared()
        .sessions
        .get(id)
        .ok_or_else(unknown)?;
    desk.note(
        &actor,
        "session.kill",
        &format!("{id} of {}", session.user()),
    )
    .await?;
    session.kill();
    Ok(StatusCode::NO_CONTENT)
}

/// The size of a page.
pub(super) fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    match asked {
        None => Ok(USUAL),
        Some(limit) if (1..=MOST).contains(&limit) => Ok(limit),
        Some(_) => Err(Kind::Malformed.with(format!("limit must be 1 to {MOST}"))),
    }
}

fn unknown() -> Problem {
    Kind::NotFound.with("no such session is open")
}

fn view(session: &Session) -> SessionView {
    let moved = session.moved();
    SessionView {
        id: session.id,
        user: session.user().to_owned(),
        protocol: session.protocol.to_string(),
        source: session.source.to_string(),
        target: session.target.clone(),
        started: session.started_at.to_string(),
        seconds: session.age().as_secs_f64(),
        upload_bytes: moved.upload_bytes,
        download_bytes: moved.download_bytes,
        throttled_seconds: session.waited().as_secs_f64(),
    }
}
