//! Users and their rules.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::access::Actor;
use super::desk::{Desk, Refusals, entry};
use super::extract::{self, IfMatch, Path, Query, Short, etag};
use super::problem::Problem;
use super::sessions::{Killed, limit};
use crate::users::view::{RulesView, UsageView, UserView, change_body};
use crate::users::{
    Rules, RulesChange, Secret, StoreError, Tag, User, UserChange, UserError, UserRecord,
};

pub(super) mod body;

use body::{UserCreate, UserPatch};

/// Which users.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Those whose names hold this.
    #[param(value_type = Option<String>, max_length = 255)]
    search: Option<Short>,
    /// Those behind this name: the `next` of the page before.
    #[param(value_type = Option<String>, max_length = 255)]
    after: Option<Short>,
    /// At most so many.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// A page of users.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct UserPage {
    /// In order of their names.
    pub users: Vec<UserView>,
    /// Where the next page begins; null is: there is none.
    pub next: Option<String>,
    /// How many users there are, on whichever page.
    pub total: usize,
}

/// Lists users.
#[utoipa::path(get, path = "/api/v1/users", operation_id = "listUsers", tag = "users", params(Which),
    responses((status = 200, description = "A page of them", body = UserPage), Refusals))]
pub(super) async fn list(
    State(desk): State<Desk>,
    Query(which): Query<Which>,
) -> Result<Json<UserPage>, Problem> {
    let most = limit(which.limit)?;
    let users = desk.users();
    let behind = |name: &str| {
        which
            .after
            .as_ref()
            .map(Short::as_str)
            .is_none_or(|after| name > after)
    };
    let holds = |name: &str| {
        which
            .search
            .as_ref()
            .map(Short::as_str)
            .is_none_or(|search| name.contains(search))
    };
    let names = users.names(|name| behind(name) && holds(name));
    let page: Vec<_> = names
        .iter()
        .take(most)
        .filter_map(|name| users.get(name))
        .collect();
    let next = (names.len() > most)
        .then(|| names.get(most - 1).cloned())
        .flatten();
    Ok(Json(UserPage {
        users: page.iter().map(UserView::from).collect(),
        next,
        total: users.count(),
    }))
}

/// Adds a user.
#[utoipa::path(post, path = "/api/v1/users", operation_id = "createUser", tag = "users", request_body = UserCreate,
    responses((status = 201, description = "Added", body = UserView,
               headers(("Location" = String, description = "Where the user is"),
                       ("ETag" = String, description = "What If-Match wants"))), Refusals))]
pub(super) async fn create(
    State(desk): State<Desk>,
    Extension(actor): Extension<Actor>,
    extract::Json(body): extract::Json<UserCreate>,
) -> Result<Response, Problem> {
    let change = body.rules()?;
    let rules = Rules::default().changed(&change);
    let secret = Secret::Password(body.password.into_bytes());
    let mut record = UserRecord::new(body.name.clone(), secret, rules.clone());
    record.enabled = body.enabled.unwrap_or(true);
    let detail = json!({ "enabled": record.enabled, "rules": RulesView::from(&rules) });
    let audit = entry(&actor, "user.create", &body.name, detail.to_string());
    desk.users().create(record, &audit).await?;
    let (user, tag) = known(&desk, &body.name)?;
    let place = format!("/api/v1/users/{}", extract::segment(&body.name));
    let place = [(header::LOCATION, place)];
    Ok((StatusCode::CREATED, place, answer(&user, &tag)).into_response())
}

/// Shows a user.
#[utoipa::path(get, path = "/api/v1/users/{name}", operation_id = "showUser", tag = "users",
    params(("name" = String, Path, description = "The name", min_length = 1, max_length = 255)),
    responses((status = 200, description = "The user", body = UserView,
               headers(("ETag" = String, description = "What If-Match wants"))), Refusals))]
pub(super) async fn show(
    State(desk): State<Desk>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let (user, tag) = known(&desk, &name)?;
    Ok(answer(&user, &tag))
}

/// Changes a user; open connections feel a limit, a quota and an expiry at once.
#[utoipa::path(patch, path = "/api/v1/users/{name}", operation_id = "changeUser", tag = "users", request_body = UserPatch,
    params(("name" = String, Path, description = "The name", min_length = 1, max_length = 255),
           ("If-Match" = String, Header, description = "The ETag of what is changed, or *; required", pattern = r#"^([*]|"[0-9a-f]{32}")$"#)),
    responses((status = 200, description = "As it is then", body = UserView,
               headers(("ETag" = String, description = "What If-Match wants"))),
              (status = 412, description = "It has been changed meanwhile", body = Problem, content_type = "application/problem+json"),
              (status = 428, description = "If-Match is missing", body = Problem, content_type = "application/problem+json"),
              Refusals))]
pub(super) async fn change(
    State(desk): State<Desk>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    if_match: IfMatch,
    extract::Json(body): extract::Json<UserPatch>,
) -> Result<Response, Problem> {
    let (_, tag) = known(&desk, &name)?;
    let expected = if_match.expected(&tag)?;
    let rules = body.rules()?;
    let detail = detail(body.enabled, body.password.is_some(), &rules);
    let change = UserChange {
        enabled: body.enabled,
        password: body.password.map(String::into_bytes),
        rules,
    };
    let audit = entry(&actor, "user.change", &name, detail.to_string());
    desk.users()
        .edit(&name, change, expected.as_ref(), &audit)
        .await?;
    let (user, tag) = known(&desk, &name)?;
    Ok(answer(&user, &tag))
}

/// Forgets a user, usage and all; their connections are closed.
#[utoipa::path(delete, path = "/api/v1/users/{name}", operation_id = "deleteUser", tag = "users",
    params(("name" = String, Path, description = "The name", min_length = 1, max_length = 255),
           ("If-Match" = String, Header, description = "The ETag of what is deleted, or *; required", pattern = r#"^([*]|"[0-9a-f]{32}")$"#)),
    responses((status = 204, description = "Forgotten"),
              (status = 412, description = "It has been changed meanwhile", body = Problem, content_type = "application/problem+json"),
              (status = 428, description = "If-Match is missing", body = Problem, content_type = "application/problem+json"),
              Refusals))]
pub(super) async fn remove(
    State(desk): State<Desk>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let (_, tag) = known(&desk, &name)?;
    let expected = if_match.expected(&tag)?;
    let audit = entry(&actor, "user.delete", &name, "{}".to_owned());
    desk.users()
        .delete(&name, expected.as_ref(), &audit)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Shows what a user has moved, ever and in the current period.
#[utoipa::path(get, path = "/api/v1/users/{name}/usage", operation_id = "showUsage", tag = "users",
    params(("name" = String, Path, description = "The name", min_length = 1, max_length = 255)),
    responses((status = 200, description = "The usage", body = UsageView), Refusals))]
pub(super) async fn usage(
    State(desk): State<Desk>,
    Path(name): Path<String>,
) -> Result<Json<UsageView>, Problem> {
    Ok(Json((&known(&desk, &name)?.0).into()))
}

/// Ends all sessions of a user.
#[utoipa::path(delete, path = "/api/v1/users/{name}/sessions", operation_id = "killUserSessions", tag = "sessions",
    params(("name" = String, Path, description = "The name", min_length = 1, max_length = 255)),
    responses((status = 200, description = "They end", body = Killed), Refusals))]
pub(super) async fn kill_sessions(
    State(desk): State<Desk>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> Result<Json<Killed>, Problem> {
    known(&desk, &name)?;
    desk.note(&actor, "user.kill-sessions", &name).await?;
    let sessions = desk.handle().shared().sessions.all();
    let own: Vec<_> = sessions
        .iter()
        .filter(|session| session.user() == name)
        .collect();
    own.iter().for_each(|session| session.kill());
    Ok(Json(Killed { killed: own.len() }))
}

fn known(desk: &Desk, name: &str) -> Result<(User, Tag), Problem> {
    let unknown = || {
        UserError::from(StoreError::Unknown {
            name: name.to_owned(),
        })
    };
    Ok(desk.users().tagged(name).ok_or_else(unknown)?)
}

fn answer(user: &User, tag: &Tag) -> Response {
    (etag(tag), Json(UserView::from(user))).into_response()
}

/// A change for the audit log, without its secrets.
pub(super) fn detail(enabled: Option<bool>, password: bool, rules: &RulesChange) -> Value {
    let mut detail = change_body(rules);
    if let Some(enabled) = enabled {
        detail["enabled"] = enabled.into();
    }
    if password {
        detail["password"] = "***".into();
    }
    detail
}
