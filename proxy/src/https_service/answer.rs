//! From the blob of a frame to the frame that answers it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use flow::Timestamp;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::body::Bytes;
use tokio::time::Instant;

use super::cache::{Key, Known};
use super::group::{self, Chosen};
use super::limits::Limits;
use super::memory::Held;
use super::message::{Encoding, ResponseText};
use super::quota::Left;
use super::request::{self, Asked};
use super::statistics::{Busy, Outcome};
use super::{Fault, Service};
use crate::protocol::https_relay;
use crate::users::{Authenticated, Network, Users};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Who sends frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(crate) source: IpAddr,
    /// Whether a load balancer has named the address.
    pub(crate) named: bool,
    /// The most connections that one user may have.
    pub(crate) most: usize,
}

/// What a frame comes to.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Length and blob.
    pub(crate) frame: Vec<u8>,
    /// Whose budget pays for request and answer; `None`: the service itself has
    /// answered.
    pub(crate) payer: Option<Authenticated>,
    /// What the log says of it.
    pub(crate) record: Record,
    pub(crate) busy: Busy,
    /// Of the answer; that of the request is its reader's.
    pub(crate) held: Held,
}

/// One line of the audit log.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) request_id: String,
    pub(crate) user: Option<String>,
    pub(crate) method: String,
    /// The URL without its query.
    pub(crate) url: String,
    pub(crate) status: u16,
    pub(crate) cached: bool,
    /// From the whole request to a worker, and from there to the whole answer.
    pub(crate) queued: Duration,
    pub(crate) worked: Duration,
    pub(crate) error: Option<String>,
    account: Option<i64>,
}

impl Service {
    /// Answers a blob.
    pub(crate) async fn answer(&self, users: &Users, client: Client, blob: Vec<u8>) -> Answer {
        let mut busy = self.statistics.busy();
        let mut held = self.hold();
        let mut record = Record {
            request_id: self.ids.next(),
            ..Record::default()
        };
        let size = blob.len();
        let mut limits = Limits::default();
        let answered = self
            .answered(users, client, blob, &mut record, &mut limits, &mut held)
            .await;
        let (outcome, mut text, payer) = match answered {
            Ok((text, user)) => (Outcome::Success, text, Some(user)),
            Err(fault) => {
                record.error = Some(fault.to_string());
                (fault.outcome(), limits.fault(&fault), None)
            }
        };
        text.request_id = Some(record.request_id.clone());
        let (frame, fits) = self.frame(text);
        record.status = if fits { record.status } else { 502 };
        let payer = payer.filter(|_| fits);
        busy.ends(if fits {
            outcome
        } else {
            Fault::TooLarge.outcome()
        });
        if payer.is_some() {
            self.moved(client, record.account, size + frame.len());
        }
        Answer {
            frame,
            payer,
            record,
            busy,
            held,
        }
    }

    async fn answered(
        &self,
        users: &Users,
        client: Client,
        blob: Vec<u8>,
        record: &mut Record,
        limits: &mut Limits,
        held: &mut Held,
    ) -> Result<(ResponseText, Authenticated), Fault> {
        let done = self.serve(users, client, blob, record, limits, held).await;
        record.status = match &done {
            Ok((response, ..)) => response.status().as_u16(),
            Err(fault) => fault.status(),
        };
        let (response, user, encoding) = done?;
        Ok((limits.text(response, encoding), user))
    }

    /// From a blob to an answer of its target's.
    async fn serve(
        &self,
        users: &Users,
        client: Client,
        blob: Vec<u8>,
        record: &mut Record,
        limits: &mut Limits,
        held: &mut Held,
    ) -> Result<(Response<Bytes>, Authenticated, Option<Encoding>), Fault> {
        let mut asked = request::read(&https_relay::reveal(blob)?)?;
        record.describe(&asked);
        limits.left.extend(self.ask_for_address(client.source)?);
        let user = self.log_in(users, &asked, client.source).await?;
        record.user = Some(user.name().to_owned());
        record.account = Some(user.account().id());
        let asking = self.ask_for_user(&user);
        limits.left.extend(asking?);
        let _connection = user.connection(client.most, client.source)?;
        self.complete(&mut asked, client, record);
        let since = Instant::now();
        let fetched = tokio::select! {
            fetched = self.fetch(&asked, &user, client.source, record, held) => fetched,
            why = user.revoked() => Err(why.into()),
        };
        record.worked = since.elapsed().saturating_sub(record.queued);
        let mut response = fetched?;
        keep_end_to_end(response.headers_mut());
        Ok((response, user, asked.body_encoding))
    }

    async fn log_in(
        &self,
        users: &Users,
        asked: &Asked,
        source: IpAddr,
    ) -> Result<Authenticated, Fault> {
        if let Some(credentials) = &asked.credentials {
            return Ok(users.authenticate(credentials, source).await?);
        }
        let guest = self.config.guest.as_ref();
        let guest = guest.filter(|guest| guest.from.iter().any(|net| net.contains(&source)));
        let guest = guest.ok_or(Fault::NoLogin)?;
        Ok(users.guest(&guest.name)?)
    }

    /// What the target is told beside what the client says.
    fn complete(&self, asked: &mut Asked, client: Client, record: &Record) {
        let headers = asked.request.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&record.request_id) {
            headers.insert(REQUEST_ID, id);
        }
        if client.named
            && let Ok(address) = HeaderValue::from_str(&client.source.to_string())
        {
            headers.insert(FORWARDED_FOR, address);
        }
    }

    /// From the cache or from the target.
    async fn fetch(
        &self,
        asked: &Asked,
        user: &Authenticated,
        source: IpAddr,
        record: &mut Record,
        held: &mut Held,
    ) -> Result<Response<Bytes>, Fault> {
        let Some(cache) = &self.cache else {
            let request = asked.request.clone();
            return self.work(asked, request, user, source, record, held).await;
        };
        let (parts, body) = asked.request.clone().into_parts();
        let key = Key {
            user: user.account().id(),
            rules: user.account().egress(),
            uri: parts.uri.clone(),
        };
        let (egress, known) = {
            // Other rules wait until this is looked up, and then clear the cache.
            let egress = self.egress.read();
            (Arc::clone(&egress), cache.look_up(&key, &parts))
        };
        let (parts, stale) = match known {
            Known::Fresh(parts, body) => {
                held.grow(body.len())?;
                record.cached = true;
                return Ok(Response::from_parts(parts, body));
            }
            Known::No => (parts, None),
            Known::Stale(asking, entry) => (*asking, Some(entry)),
        };
        let request = Request::from_parts(parts.clone(), body);
        let heard = self
            .work(asked, request, user, source, record, held)
            .await?;
        let now = self.egress.read();
        let keeps = Arc::ptr_eq(&now, &egress) && user.account().egress() == key.rules;
        let heard = heard.into_parts();
        let (answer, body) = cache.heard(key, &parts, stale.as_deref(), heard, keeps);
        Ok(Response::from_parts(answer, body))
    }

    /// Queues for a worker, and has it fetch the answer.
    async fn work(
        &self,
        asked: &Asked,
        request: Request<Full<Bytes>>,
        user: &Authenticated,
        source: IpAddr,
        record: &mut Record,
        held: &mut Held,
    ) -> Result<Response<Bytes>, Fault> {
        let since = Instant::now();
        let entered = self.gate.enter().await;
        record.queued = since.elapsed();
        let worker = entered?;
        let tls = group::is_tls(&request);
        let chosen = self.instance(Some(tls), &asked.target, source)?;
        let instance = chosen.as_ref().and_then(Chosen::target);
        let egress = Arc::clone(&self.egress.read());
        let fetching = self.upstream.fetch(request, user, instance, &egress, held);
        worker.run(fetching).await.ok_or(Fault::RequestTimeout)?
    }

    fn ask_for_address(&self, source: IpAddr) -> Result<Option<Left>, Fault> {
        let Some(quotas) = &self.addresses else {
            return Ok(None);
        };
        let (may, left) = quotas.lock().ask(Network::of(source), self.now());
        self.asked(may, left, "address")
    }

    fn ask_for_user(&self, user: &Authenticated) -> Result<Option<Left>, Fault> {
        let Some(quotas) = &self.users else {
            return Ok(None);
        };
        let (may, left) = quotas.lock().ask(user.account().id(), self.now());
        self.asked(may, left, "user")
    }

    fn asked(&self, may: bool, left: Left, whose: &'static str) -> Result<Option<Left>, Fault> {
        match may {
            true => Ok(Some(left)),
            false => Err(Fault::Quota(whose, left)),
        }
    }

    fn moved(&self, client: Client, account: Option<i64>, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if let Some(quotas) = &self.addresses {
            quotas.lock().moved(&Network::of(client.source), bytes);
        }
        if let (Some(quotas), Some(account)) = (&self.users, account) {
            quotas.lock().moved(&account, bytes);
        }
    }

    fn now(&self) -> Timestamp {
        let nanos = self.since.elapsed().as_nanos();
        Timestamp::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The frame of an answer, or that it does not fit into one.
    pub(super) fn frame(&self, text: ResponseText) -> (Vec<u8>, bool) {
        let key = self.ids.key();
        let data = serde_json::to_vec(&text).unwrap_or_default();
        if let Ok(frame) = https_relay::response(&key, &data) {
            return (frame, true);
        }
        let fault = Fault::TooLarge;
        let short = ResponseText {
            request_id: text.request_id,
            ..Limits::default().fault(&fault)
        };
        let data = serde_json::to_vec(&short).unwrap_or_default();
        (
            https_relay::response(&key, &data).unwrap_or_default(),
            false,
        )
    }
}

/// Removes what was for the connection to the target; the length stays, as the
/// body is whole.
fn keep_end_to_end(headers: &mut HeaderMap) {
    let length = headers.get(http::header::CONTENT_LENGTH).cloned();
    request::drop_hop_by_hop(headers);
    if let Some(length) = length {
        headers.insert(http::header::CONTENT_LENGTH, length);
    }
}

impl Record {
    fn describe(&mut self, asked: &Asked) {
        let (method, uri) = (asked.request.method(), asked.request.uri());
        method.as_str().clone_into(&mut self.method);
        let scheme = uri.scheme_str().unwrap_or_default();
        self.url = format!("{scheme}://{}{}", asked.target, uri.path());
        if let Some(id) = &asked.request_id {
            self.request_id.clone_from(id);
        }
    }
}
