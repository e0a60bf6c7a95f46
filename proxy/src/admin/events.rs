//! The live view: rates as one page, as a stream of events, and as the two numbers
//! of seed 001's sibling.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::extract::rejection::QueryRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::desk::{Desk, Refusals};
use super::extract::{Query, Short};
use super::feed::{Frame, Rates, ServerRates, UserRates};
use super::problem::{Kind, Problem};

/// The largest page.
const MOST: usize = 1_000;

/// Of whom.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Whose {
    /// One user alone; left out, everybody.
    #[param(value_type = Option<String>, max_length = 255)]
    user: Option<Short>,
}

/// Rates of now.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RatesPage {
    /// The whole server.
    pub server: ServerRates,
    /// At most a thousand users who are connected or have moved anything since the
    /// server started, those first who move most now.
    pub users: Vec<UserRates>,
}

/// The rates of now.
#[utoipa::path(get, path = "/api/v1/rates", tag = "live", params(Whose),
    responses((status = 200, description = "As of the last second", body = RatesPage), Refusals))]
pub(super) async fn rates(
    State(desk): State<Desk>,
    Query(whose): Query<Whose>,
) -> Result<axum::Json<RatesPage>, Problem> {
    let frame = desk.frame();
    let mut users: Vec<UserRates> = match &whose.user {
        None => frame.users.clone(),
        Some(name) => frame
            .user(name.as_str())
            .map(|index| frame.users[index].clone())
            .into_iter()
            .collect(),
    };
    let now = |rates: &Rates| rates.instantaneous.unwrap_or(0);
    users.sort_by_key(|user| std::cmp::Reverse(now(&user.up).saturating_add(now(&user.down))));
    users.truncate(MOST);
    Ok(axum::Json(RatesPage {
        server: frame.server.clone(),
        users,
    }))
}

/// A stream of server-sent events, each second: `server` with a `ServerRates`, then
/// `user` with a `UserRates` for each user who is connected or has moved anything
/// since the server started.
#[utoipa::path(get, path = "/api/v1/events", tag = "live", params(Whose),
    responses((status = 200, description = "Events without end", body = String, content_type = "text/event-stream"), Refusals))]
pub(super) async fn events(
    State(desk): State<Desk>,
    Query(whose): Query<Whose>,
) -> Result<Response, Problem> {
    let feed = desk.feed();
    let stream = Stream {
        feed,
        user: whose.user.map(Short::into_string),
        first: true,
    };
    let fields = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((fields, axum::body::Body::new(stream.into_body())).into_response())
}

/// Frames as events.
struct Stream {
    feed: watch::Receiver<Arc<Frame>>,
    user: Option<String>,
    first: bool,
}

impl Stream {
    /// The next events; `None` when the server has stopped.
    async fn next(&mut self) -> Option<String> {
        // The first at once: a page need not stay empty for a second.
        if !std::mem::take(&mut self.first) {
            self.feed.changed().await.ok()?;
        }
        let frame = Arc::clone(&self.feed.borrow_and_update());
        Some(events_of(&frame, self.user.as_deref()))
    }

    fn into_body(
        self,
    ) -> impl hyper::body::Body<Data = axum::body::Bytes, Error = std::convert::Infallible>
    + Send
    + 'static {
        Body {
            next: Box::pin(step(self)),
        }
    }
}

type Step = std::pin::Pin<Box<dyn Future<Output = Option<(Stream, String)>> + Send>>;

async fn step(mut stream: Stream) -> Option<(Stream, String)> {
    let text = stream.next().await?;
    Some((stream, text))
}

/// A body that is made as it is read: a slow reader gets fewer frames, not more memory.
struct Body {
    next: Step,
}

impl hyper::body::Body for Body {
    type Data = axum::body::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        let next = std::task::ready!(self.next.as_mut().poll(context));
        std::task::Poll::Ready(next.map(|(stream, text)| {
            self.next = Box::pin(step(stream));
            Ok(hyper::body::Frame::data(text.into()))
        }))
    }
}

fn events_of(frame: &Frame, user: Option<&str>) -> String {
    let server = serde_json::to_string(&frame.server).unwrap_or_default();
    let mut text = format!(
        "event: server\nid: {}\ndata: {server}\n\n",
        frame.server.sequence
    );
    let all = frame.text();
    let chosen = match user {
        None => all,
        Some(name) => frame
            .user(name)
            .map_or(&[][..], |index| &all[index..=index]),
    };
    for user in chosen {
        // Writing to a String cannot fail.
        let _ = write!(text, "event: user\ndata: {user}\n\n");
    }
    text
}

/// A WebSocket that sends `<send_Bps> <recv_Bps>` each second: what went from clients
/// to targets and back in the last one, with two decimals.
#[utoipa::path(get, path = "/api/v1/console", tag = "live", params(Whose),
    responses((status = 101, description = "The WebSocket"), 
              (status = 426, description = "The request is not for a WebSocket", body = Problem, content_type = "application/problem+json"),
              Refusals))]
pub(super) async fn console(
    State(desk): State<Desk>,
    whose: Result<axum::extract::Query<Whose>, QueryRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let whose = whose.map_err(|error| Kind::Malformed.with(error.body_text()))?;
    let upgrade = upgrade.map_err(|error| Kind::Upgrade.with(error.body_text()))?;
    let (feed, user) = (desk.feed(), whose.0.user.map(Short::into_string));
    let upgrade = upgrade.max_message_size(1_024);
    Ok(upgrade.on_upgrade(move |socket| send(socket, feed, user)))
}

async fn send(mut socket: WebSocket, mut feed: watch::Receiver<Arc<Frame>>, user: Option<String>) {
    loop {
        tokio::select! {
            changed = feed.changed() => if changed.is_err() {
                return;
            },
            received = socket.recv() => match received {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => continue,
            },
        }
        let frame = Arc::clone(&feed.borrow_and_update());
        let line = line(&frame, user.as_deref());
        if socket.send(Message::text(line)).await.is_err() {
            return;
        }
    }
}

fn line(frame: &Frame, user: Option<&str>) -> String {
    let (up, down) = match user {
        None => (frame.server.up, frame.server.down),
        Some(name) => frame.user(name).map_or_else(Default::default, |index| {
            (frame.users[index].up, frame.users[index].down)
        }),
    };
    let now = |rates: Rates| rates.instantaneous.unwrap_or(0);
    format!("{}.00 {}.00", now(up), now(down))
}
