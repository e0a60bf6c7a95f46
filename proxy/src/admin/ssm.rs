//! The Shadowsocks Server Management API, version 1 (Shadowsocks-NET,
//! shadowsocks-specs 2023-1), for panels that know no other: users of one port, each
//! with a key of their own, and their traffic.
//!
//! ```text
//! GET /server/v1              GET /users, POST /users           GET /stats[?clear=true]
//! GET, PATCH (or PUT), DELETE /users/NAME                       also under /server/v1
//! ```
//!
//! The users are accounts like all others, with an access by shadowsocks on the port
//! that the config names as managed. The specification has their keys told, and they
//! are. What is wrong is a problem document that has the member `error`, too.

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::access::Actor;
use super::desk::{Desk, entry};
use super::extract::{Path, Query};
use super::problem::{Kind, Problem};
use crate::config::Managed;
use crate::sessions::Traffic;
use crate::users::{Access, Rules, Secret, StoreError, UserError, UserRecord, random_password};

/// Where sing-box, whose panels ask there, has it.
const BASE: &str = "/server/v1";

pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .merge(resources())
        .nest(BASE, resources())
        .route(BASE, get(info))
        .route(&format!("{BASE}/"), get(info))
}

fn resources() -> Router<Desk> {
    Router::new()
        .route("/users", get(list).post(add))
        .route(
            "/users/{name}",
            get(show).patch(update).put(update).delete(remove),
        )
        .route("/stats", get(stats))
}

/// A problem document, with `error`.
struct Refused(Problem);

impl<E: Into<Problem>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut body = serde_json::to_value(&self.0).unwrap_or_default();
        body["error"] = self.0.detail.clone().into();
        let mut response = self.0.into_response();
        *response.body_mut() = axum::body::Body::from(body.to_string());
        // The length of another body.
        response.headers_mut().remove(header::CONTENT_LENGTH);
        response
    }
}

type Answered<T> = Result<T, Refused>;

/// A user on the way in.
#[derive(Deserialize)]
struct New {
    username: String,
    #[serde(rename = "uPSK")]
    key: String,
}

/// Another key.
#[derive(Deserialize)]
struct Change {
    #[serde(rename = "uPSK")]
    key: String,
}

/// What is done beside telling.
#[derive(Deserialize)]
struct Clear {
    clear: Option<String>,
}

/// One of its users.
struct Member {
    id: i64,
    name: String,
    key: String,
}

async fn info() -> Json<Value> {
    let server = format!("weirgate-proxy {}", env!("CARGO_PKG_VERSION"));
    Json(json!({ "server": server, "apiVersion": "v1" }))
}

async fn list(State(desk): State<Desk>) -> Answered<Json<Value>> {
    let members = members(&desk, &managed(&desk)?);
    let users: Vec<_> = members
        .iter()
        .map(|member| json!({ "username": member.name, "uPSK": member.key }))
        .collect();
    Ok(Json(json!({ "users": users })))
}

async fn add(
    State(desk): State<Desk>,
    Extension(actor): Extension<Actor>,
    body: Result<Bytes, BytesRejection>,
) -> Answered<(StatusCode, Json<Value>)> {
    let managed = managed(&desk)?;
    let New { username, key } = read(body)?;
    let access = access(&desk, &managed, &key, None)?;
    // Nobody logs in with it.
    let password = random_password().map_err(|_| Kind::Database.with("no random numbers"))?;
    let secret = Secret::Password(password.into_bytes());
    let record = UserRecord::new(username.clone(), secret, Rules::default());
    let detail = json!({ "shadowsocks": { "port": managed.port } }).to_string();
    let audit = entry(&actor, "user.create", &username, detail);
    desk.users().create(record, &audit).await.map_err(taken)?;
    let given = desk.users().set_shadowsocks(&username, Some(access)).await;
    if let Err(error) = given {
        // All of it or nothing.
        let audit = entry(&actor, "user.delete", &username, "{}".to_owned());
        desk.users().delete(&username, None, &audit).await?;
        return Err(error.into());
    }
    let body = json!({ "username": username, "uPSK": key });
    Ok((StatusCode::CREATED, Json(body)))
}

async fn show(
    State(desk): State<Desk>,
    path: Result<Path<String>, Problem>,
) -> Answered<Json<Value>> {
    let Path(name) = path?;
    let member = member(&desk, &managed(&desk)?, &name)?;
    let all = desk.handle().shared().sessions.shadowsocks(false);
    let mut body = figures(all.get(&member.id).copied().unwrap_or_default());
    body["username"] = member.name.into();
    body["uPSK"] = member.key.into();
    Ok(Json(body))
}

async fn update(
    State(desk): State<Desk>,
    Extension(actor): Extension<Actor>,
    path: Result<Path<String>, Problem>,
    body: Result<Bytes, BytesRejection>,
) -> Answered<StatusCode> {
    let Path(name) = path?;
    let managed = managed(&desk)?;
    let member = member(&desk, &managed, &name)?;
    let Change { key } = read(body)?;
    if key == member.key {
        return Err(Kind::Malformed
            .with("the uPSK is the user's already")
            .into());
    }
    let access = access(&desk, &managed, &key, Some(&member))?;
    desk.note(&actor, "user.shadowsocks", &name).await?;
    desk.users().set_shadowsocks(&name, Some(access)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove(
    State(desk): State<Desk>,
    Extension(actor): Extension<Actor>,
    path: Result<Path<String>, Problem>,
) -> Answered<StatusCode> {
    let Path(name) = path?;
    member(&desk, &managed(&desk)?, &name)?;
    let audit = entry(&actor, "user.delete", &name, "{}".to_owned());
    desk.users().delete(&name, None, &audit).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn stats(
    State(desk): State<Desk>,
    query: Result<Query<Clear>, Problem>,
) -> Answered<Json<Value>> {
    let Query(Clear { clear }) = query?;
    let clears = clear.is_some_and(|word| word.is_empty() || word == "true");
    let managed = managed(&desk)?;
    let all = desk.handle().shared().sessions.shadowsocks(clears);
    let of = |id: i64| all.get(&id).copied().unwrap_or_default();
    let users: Vec<_> = members(&desk, &managed)
        .into_iter()
        .map(|member| {
            let mut body = figures(of(member.id));
            body["username"] = member.name.into();
            body
        })
        .collect();
    let sum = all.values().fold(Traffic::default(), |sum, of| sum + *of);
    let mut body = figures(sum);
    body["users"] = users.into();
    Ok(Json(body))
}

fn figures(traffic: Traffic) -> Value {
    json!({
        "downlinkPackets": traffic.download_packets,
        "downlinkBytes": traffic.usage.download_bytes,
        "uplinkPackets": traffic.upload_packets,
        "uplinkBytes": traffic.usage.upload_bytes,
        "tcpSessions": traffic.tcp_sessions,
        "udpSessions": traffic.udp_sessions,
    })
}

fn managed(desk: &Desk) -> Result<Managed, Problem> {
    desk.handle()
        .managed()
        .ok_or_else(|| Kind::NotFound.with("no port is managed here: set managed in [shadowsocks]"))
}

/// Its users, by name.
fn members(desk: &Desk, managed: &Managed) -> Vec<Member> {
    let everybody = desk.users().subscribed().into_iter();
    let mut members: Vec<_> = everybody
        .filter(|(_, access)| access.port == managed.port && access.method == managed.method)
        .filter_map(|(account, access)| {
            let (_, key) = access.password.split_once(':')?;
            Some(Member {
                id: account.id(),
                name: account.name().to_owned(),
                key: key.to_owned(),
            })
        })
        .collect();
    members.sort_by(|a, b| a.name.cmp(&b.name));
    members
}

fn member(desk: &Desk, managed: &Managed, name: &str) -> Result<Member, Problem> {
    let mut members = members(desk, managed).into_iter();
    let unknown = || {
        Problem::from(UserError::from(StoreError::Unknown {
            name: name.to_owned(),
        }))
    };
    members
        .find(|member| member.name == name)
        .ok_or_else(unknown)
}

/// The access of a user whose own key is `key`, which must be nobody else's.
fn access(
    desk: &Desk,
    managed: &Managed,
    key: &str,
    whose: Option<&Member>,
) -> Result<Access, Problem> {
    let access = Access {
        number: whose.and_then(|member| desk.users().shadowsocks(&member.name)?.number),
        port: managed.port,
        method: managed.method,
        password: managed.password(key),
    };
    let malformed = |error: String| Kind::Malformed.with(format!("uPSK: {error}"));
    let keys = access
        .keys()
        .map_err(|error| malformed(error.to_string()))?;
    let is_others = |member: &Member| {
        let other = managed.password(&member.key);
        let same = crate::protocol::shadowsocks::Keys::parse(managed.method, &other);
        whose.is_none_or(|whose| whose.id != member.id)
            && same.is_ok_and(|other| other.user == keys.user)
    };
    if members(desk, managed).iter().any(is_others) {
        return Err(malformed("it is another user's".to_owned()));
    }
    Ok(access)
}

/// A body of JSON, whatever type it says it is of.
fn read<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, Problem> {
    let body = body.map_err(|error| {
        let kind = match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Kind::TooLarge,
            _ => Kind::Malformed,
        };
        kind.with(error.body_text())
    })?;
    serde_json::from_slice(&body).map_err(|error| Kind::Malformed.with(error.to_string()))
}

/// The specification has 400 where the name is taken, or none.
fn taken(error: UserError) -> Problem {
    let problem = Problem::from(error);
    match problem.status {
        status if status < 500 => Kind::Malformed.with(problem.detail),
        _ => problem,
    }
}
