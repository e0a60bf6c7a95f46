//! Who may ask for what: sockets are guarded by the file system, TCP by a token or
//! client certificates, and browsers are kept from being used by other pages.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use blake2::{Blake2b512, Digest};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::time::Instant;

use super::desk::Desk;
use super::extract::Json;
use super::problem::{Kind, Problem};
use crate::config::AdminError;

/// The fewest characters of a token.
const SHORTEST_TOKEN: usize = 16;
/// How long a browser stays logged in without asking for anything.
const LOGIN_KEPT: Duration = Duration::from_secs(12 * 3_600);
/// Browsers that may be logged in.
const MOST_LOGINS: usize = 1_000;
const COOKIE: &str = "weirgate_admin";

/// How a client has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    Socket { uid: Option<u32> },
    Tcp { source: SocketAddr },
    Tls { source: SocketAddr },
}

/// Who asks, as the audit log names them.
#[derive(Clone, Debug)]
pub(super) struct Actor(pub(super) String);

/// A token, as a hash: comparing hashes tells nobody how much of a guess is right.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token([u8; 64]);

/// The browsers that are logged in, by the hash of what they hold.
#[derive(Debug, Default)]
pub(super) struct Logins(Mutex<HashMap<[u8; 64], Instant>>);

impl Token {
    /// Reads a token from a file; white space round it is no part of it.
    ///
    /// # Errors
    /// [`AdminError::Token`]
    pub(super) fn read(path: &Path) -> Result<Self, AdminError> {
        let failed = |why: String| AdminError::Token {
            path: path.to_owned(),
            why,
        };
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let text = text.trim();
        if text.len() < SHORTEST_TOKEN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let why = format!("it must have at least {SHORTEST_TOKEN} characters, without spaces");
            return Err(failed(why));
        }
        Ok(Self(hash(text)))
    }

    fn is(&self, text: &str) -> bool {
        self.0 == hash(text)
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(***)")
    }
}

fn hash(text: &str) -> [u8; 64] {
    Blake2b512::digest(text).into()
}

impl Logins {
    /// Lets one more browser in; what it is to hold.
    fn enter(&self) -> Option<String> {
        let held = crate::users::random_password().ok()?;
        let mut logins = self.0.lock();
        logins.retain(|_, seen| seen.elapsed() < LOGIN_KEPT);
        if logins.len() >= MOST_LOGINS {
            let oldest = logins.iter().min_by_key(|(_, seen)| **seen);
            let oldest = oldest.map(|(held, _)| *held);
            oldest.and_then(|oldest| logins.remove(&oldest));
        }
        logins.insert(hash(&held), Instant::now());
        Some(held)
    }

    fn knows(&self, held: &str) -> bool {
        let mut logins = self.0.lock();
        match logins.get_mut(&hash(held)) {
            Some(seen) if seen.elapsed() < LOGIN_KEPT => {
                *seen = Instant::now();
                true
            }
            _ => false,
        }
    }

    fn leave(&self, held: &str) {
        self.0.lock().remove(&hash(held));
    }

    /// Nobody is logged in any more.
    pub(super) fn clear(&self) {
        self.0.lock().clear();
    }
}

/// Lets a request through, or says why not.
pub(super) async fn guard(State(desk): State<Desk>, mut request: Request, next: Next) -> Response {
    let Some(way) = request.extensions().get::<Way>().copied() else {
        return Kind::Forbidden
            .with("nobody knows how it came")
            .into_response();
    };
    if let Err(problem) = admit(&desk, way, &request) {
        return problem.into_response();
    }
    request.extensions_mut().insert(Actor(actor(way)));
    next.run(request).await
}

fn admit(desk: &Desk, way: Way, request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let (source, scheme) = match way {
        Way::Socket { .. } => return same_site(headers, None),
        Way::Tcp { source } => (source, "http"),
        Way::Tls { source } => (source, "https"),
    };
    let host = known_host(headers, desk.hosts())?;
    same_site(headers, Some((scheme, host)))?;
    if is_open(request.method(), request.uri().path()) {
        return Ok(());
    }
    let token = desk.keys().token();
    let Some(token) = &token else {
        return Ok(());
    };
    if bearer(headers).is_some_and(|text| token.is(text))
        || cookie(headers).is_some_and(|held| desk.keys().logins().knows(held))
    {
        return Ok(());
    }
    if headers.contains_key(header::AUTHORIZATION) {
        tracing::warn!(%source, "admin_auth_failed");
    }
    Err(Kind::Unauthorised.with("send Authorization: Bearer and the token"))
}

/// What may be had without a token: nothing that tells of users.
fn is_open(method: &Method, path: &str) -> bool {
    match path {
        "/livez" | "/readyz" | "/api/v1/openapi.json" => true,
        "/api/v1/login" => *method == Method::POST,
        path => {
            super::dashboard::is_part(path) && (*method == Method::GET || *method == Method::HEAD)
        }
    }
}

/// The host that a client of TCP thinks it speaks with. A name that is not ours may
/// lead here by anybody's DNS: with it, a page elsewhere could read what is ours.
fn known_host<'a>(headers: &'a HeaderMap, names: &[String]) -> Result<&'a str, Problem> {
    let misdirected =
        || Kind::Misdirected.with("Host is none of the server's names: see admin.hosts");
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let host = host.ok_or_else(misdirected)?;
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    let address = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    let is_address = address.unwrap_or(name).parse::<IpAddr>().is_ok();
    let listed = || names.iter().any(|known| known.eq_ignore_ascii_case(name));
    if is_address || name.eq_ignore_ascii_case("localhost") || listed() {
        Ok(host)
    } else {
        Err(misdirected())
    }
}

/// A browser says on whose behalf it asks: only our own pages may.
fn same_site(headers: &HeaderMap, own: Option<(&str, &str)>) -> Result<(), Problem> {
    let forbidden = || Kind::Forbidden.with("another site's page asks");
    if let Some(origin) = headers.get(header::ORIGIN) {
        let (scheme, host) = own.ok_or_else(forbidden)?;
        if *origin != *format!("{scheme}://{host}") {
            return Err(forbidden());
        }
    }
    match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        _ => Err(forbidden()),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let pairs = headers.get_all(header::COOKIE).iter();
    let mut pairs = pairs
        .filter_map(|field| field.to_str().ok())
        .flat_map(|text| text.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

fn actor(way: Way) -> String {
    match way {
        Way::Socket { uid: Some(uid) } => format!("socket uid={uid}"),
        Way::Socket { uid: None } => "socket".to_owned(),
        Way::Tcp { source } => format!("http {source}"),
        Way::Tls { source } => format!("https {source}"),
    }
}

/// Numbers of requests, in the log and in the field X-Request-Id.
static NEXT_REQUEST: AtomicU64 = AtomicU64::new(1);

/// The fields that every answer has.
pub(super) async fn finish(request: Request, next: Next) -> Response {
    let id = NEXT_REQUEST.fetch_add(1, Ordering::Relaxed);
    let method = request.method().clone();
    // Not the path itself: the routes of older proxies have passwords in it.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    let status = response.status().as_u16();
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    tracing::debug!(request_id = id, %method, route, status, "admin request");
    let headers = response.headers_mut();
    headers.insert("x-request-id", id.into());
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; frame-ancestors 'none'",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// A token, from a browser.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    /// The token.
    #[schema(max_length = 4096)]
    token: String,
}

/// Logs a browser in: it gets a cookie that stands for the token.
#[utoipa::path(post, path = "/api/v1/login", tag = "access", request_body = Login,
    responses((status = 204, description = "Logged in; or no token is needed"), super::desk::Refusals))]
pub(super) async fn login(
    State(desk): State<Desk>,
    Json(login): Json<Login>,
) -> Result<Response, Problem> {
    let Some(token) = desk.keys().token() else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    if !token.is(login.token.trim()) {
        tracing::warn!("admin_auth_failed: a wrong token at the login page");
        return Err(Kind::Unauthorised.with("that is not the token"));
    }
    let held = desk.keys().logins().enter();
    let held = held.ok_or_else(|| Kind::Database.with("there are no random numbers"))?;
    let secure = if desk.keys().certificates().is_some() {
        "; Secure"
    } else {
        ""
    };
    let cookie = format!("{COOKIE}={held}; Path=/; HttpOnly; SameSite=Strict{secure}");
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// Logs a browser out.
#[utoipa::path(post, path = "/api/v1/logout", tag = "access",
    responses((status = 204, description = "Logged out"), super::desk::Refusals))]
pub(super) async fn logout(State(desk): State<Desk>, headers: HeaderMap) -> Response {
    if let Some(held) = cookie(&headers) {
        desk.keys().logins().leave(held);
    }
    let cookie = format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn hosts_are_addresses_localhost_or_listed() {
        let names = ["proxy.example".to_owned()];
        let known = |host: &str| known_host(&headers(&[("host", host)]), &names).is_ok();
        for host in [
            "127.0.0.1:9180",
            "[::1]:9180",
            "[::1]",
            "localhost",
            "LOCALHOST:1",
            "Proxy.example:1",
        ] {
            assert!(known(host), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example:9180",
            "localhost.evil:1",
            "",
        ] {
            assert!(!known(host), "{host}");
        }
        assert!(known_host(&HeaderMap::new(), &names).is_err());
    }

    #[test]
    fn other_sites_are_refused() {
        let own = Some(("http", "localhost:1"));
        let from = |fields: &[(&'static str, &str)]| same_site(&headers(fields), own).is_ok();
        assert!(from(&[]));
        assert!(from(&[
            ("origin", "http://localhost:1"),
            ("sec-fetch-site", "same-origin")
        ]));
        for origin in [
            "null",
            "http://localhost:2",
            "https://localhost:1",
            "http://evil.example",
        ] {
            assert!(!from(&[("origin", origin)]), "{origin}");
        }
        assert!(!from(&[("sec-fetch-site", "cross-site")]));
        assert!(!from(&[("sec-fetch-site", "same-site")]));
        assert!(same_site(&headers(&[("origin", "http://x")]), None).is_err());
    }

    #[test]
    fn cookies_are_found_among_others() {
        let held = |text: &str| cookie(&headers(&[("cookie", text)])).map(str::to_owned);
        assert_eq!(held("a=b; weirgate_admin=x; c=d"), Some("x".to_owned()));
        assert_eq!(held("weirgate_admin2=x"), None);
    }
}
