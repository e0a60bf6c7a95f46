//! The routes of older proxies, for panels that know no others: seed 001's sibling
//! (rates are bytes per second, of downloads) and variant V5 of its cohort (bandwidths
//! are KiB per second, of both directions together). They are open to whoever the API is
//! open to, and no password is ever told; what the Shadowsocks Server Management API tells
//! is in [`super::ssm`].

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{delete, get, post, put};
use axum::{Extension, Json, Router};
use flow::ByteRate;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::Actor;
use super::desk::{Desk, entry};
use super::extract::{self, Path};
use super::problem::{Kind, Problem};
use crate::users::view::change_body;
use crate::users::{
    Limits, Rules, RulesChange, Secret, StoreError, User, UserChange, UserError, UserRecord,
};

/// Bytes of a KiB.
const KIB: u64 = 1_024;

pub(super) fn routes() -> Router<Desk> {
    let routes = Router::new();
    #[cfg(feature = "shadowsocks")]
    let routes = routes.merge(super::ssm::routes());
    routes
        .route("/user", get(users))
        .route("/user/{name}", get(user))
        .route("/add/{name}/{password}/{rate}", post(add))
        .route("/updaterate/{name}/{rate}", put(update_rate))
        .route("/updatepwd/{name}/{password}", put(update_password))
        .route("/delete/{name}", delete(remove))
        .route("/deleteall", delete(remove_all))
        .route("/userdb", get(userdb).post(userdb_add))
        .route(
            "/userdb/{name}",
            get(userdb_one).put(userdb_change).delete(remove),
        )
}

async fn users(State(desk): State<Desk>) -> Json<Value> {
    Json(desk.users().list().iter().map(sibling).collect())
}

async fn user(State(desk): State<Desk>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    Ok(Json(sibling(&known(&desk, &name)?)))
}

async fn add(
    State(desk): State<Desk>,
    Extension(actor): Extension<Actor>,
    Path((name, password, rate)): Path<(String, String, u64)>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    create(&desk, &actor, &name, password, Limits::down(policy(rate)?)).await?;
    Ok((StatusCode::CREATED, Json(sibling(&known(&desk, &name)?))))
}

async fn update_rate(
    State(desk): State<Desk>,
    Extension(actor): Extension<Actor>,
    Path((name, rate)): Path<(String, u64)>,
) -> Result<Json<Value>, Problem> {
    let limits = Limits::down(policy(rate)?);
    change(&desk, &actor, &name, None, Some(limits)).await?;
    Ok(Json(sibling(&known(&desk, &name)?)))
}

async fn update_password(
    State(desk): State<Desk>,
    Extension(actor): Extension<Actor>,
    Path((name, password)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    change(&desk, &actor, &name, Some(password), None).await?;
    Ok(Json(sibling(&known(&desk, &name)?)))
}

async fn remove(
    State(desk): State<Desk>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    delete_one(&desk, &actor, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove_all(
    State(desk): State<Desk>,
    Extension(actor): Extension<Actor>,
) -> Result<Json<Value>, Problem> {
    let names = desk.users().names(|_| true);
    for name in &names {
        match delete_one(&desk, &actor, name).await {
            // Somebody else was quicker.
            Err(problem) if problem.status == StatusCode::NOT_FOUND.as_u16() => {}
            done => done?,
        }
    }
    Ok(Json(json!({ "deleted": names.len() })))
}

/// A user of variant V5.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewEntry {
    name: String,
    password: String,
    bandwidth: u64,
}

/// What is changed of one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryChange {
    name: Option<String>,
    password: Option<String>,
    bandwidth: Option<u64>,
}

async fn userdb(State(desk): State<Desk>) -> Json<Value> {
    Json(desk.users().list().iter().map(variant).collect())
}

async fn userdb_one(
    State(desk): State<Desk>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(variant(&known(&desk, &name)?)))
}

async fn userdb_add(
    State(desk): State<Desk>,
    Extension(actor): Extension<Actor>,
    extract::Json(new): extract::Json<NewEntry>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let limits = Limits::Shared(policy(new.bandwidth.saturating_mul(KIB))?);
    create(&desk, &actor, &new.name, new.password, limits).await?;
    Ok((
        StatusCode::CREATED,
        Json(variant(&known(&desk, &new.name)?)),
    ))
}

async fn userdb_change(
    State(desk): State<Desk>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    extract::Json(wanted): extract::Json<EntryChange>,
) -> Result<Json<Value>, Problem> {
    if wanted.name.is_some_and(|other| other != name) {
        return Err(Kind::Meaningless.with("a user keeps their name"));
    }
    let bandwidth = wanted.bandwidth.map(|kib| policy(kib.saturating_mul(KIB)));
    let limits = bandwidth.transpose()?.map(Limits::Shared);
    change(&desk, &actor, &name, wanted.password, limits).await?;
    Ok(Json(variant(&known(&desk, &name)?)))
}

/// The rate in bytes per second; null is unlimited.
fn sibling(user: &User) -> Value {
    json!({ "username": user.name, "rate": rate(user) })
}

/// The bandwidth in KiB per second; null is unlimited.
fn variant(user: &User) -> Value {
    json!({ "name": user.name, "bandwidth": rate(user).map(|rate| rate / KIB) })
}

/// The limit of downloads.
fn rate(user: &User) -> Option<u64> {
    let [shared, _, down] = user.limits.policies();
    Some(shared.or(down)?.rate()?.get())
}

fn policy(rate: u64) -> Result<flow::Policy, Problem> {
    let rate =
        ByteRate::new(rate).ok_or_else(|| Kind::Meaningless.with("a rate must be above 0"))?;
    let policy = Limits::policy("token-bucket", Some(rate), None);
    policy.map_err(|error| Kind::Meaningless.with(error.to_string()))
}

fn known(desk: &Desk, name: &str) -> Result<User, Problem> {
    let unknown = || {
        UserError::from(StoreError::Unknown {
            name: name.to_owned(),
        })
    };
    Ok(desk.users().get(name).ok_or_else(unknown)?)
}

async fn create(
    desk: &Desk,
    actor: &Actor,
    name: &str,
    password: String,
    limits: Limits,
) -> Result<(), Problem> {
    let change = RulesChange {
        limits: Some(Some(limits)),
        ..RulesChange::default()
    };
    let audit = entry(actor, "user.create", name, change_body(&change).to_string());
    let secret = Secret::Password(password.into_bytes());
    let record = UserRecord::new(name.to_owned(), secret, Rules::from(limits));
    Ok(desk.users().create(record, &audit).await?)
}

async fn change(
    desk: &Desk,
    actor: &Actor,
    name: &str,
    password: Option<String>,
    limits: Option<Limits>,
) -> Result<(), Problem> {
    let rules = RulesChange {
        limits: limits.map(Some),
        ..RulesChange::default()
    };
    let detail = super::users::detail(None, password.is_some(), &rules);
    let audit = entry(actor, "user.change", name, detail.to_string());
    let change = UserChange {
        enabled: None,
        password: password.map(String::into_bytes),
        rules,
    };
    Ok(desk.users().edit(name, change, None, &audit).await?)
}

async fn delete_one(desk: &Desk, actor: &Actor, name: &str) -> Result<(), Problem> {
    let audit = entry(actor, "user.delete", name, "{}".to_owned());
    Ok(desk.users().delete(name, None, &audit).await?)
}
