//! From the blob of a frame to the frame that answers it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::body::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::cache::{Key, Known};
use super::group::{self, Chosen};
use super::limits::Limits;
use super::memory::Held;
use super::message::{Encoding, ResponseText};
use super::request::{self, Asked};
use super::statistics::{Busy, Outcome};
use super::{Fault, Service};
use crate::protocol::https_relay;
use crate::users::{Authenticated, Users};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Who sends frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client<'c> {
    pub(crate) source: IpAddr,
    /// Whether a load balancer has named the address.
    pub(crate) named: bool,
    /// The most connections that one user may have.
    pub(crate) most: usize,
    /// Cancelled when the client has closed.
    pub(crate) gone: &'c CancellationToken,
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
}

impl Service {
    /// Answers a blob.
    pub(crate) async fn answer(&self, users: &Users, client: Client<'_>, blob: Vec<u8>) -> Answer {
        let mut busy = self.statistics.busy();
        let size = blob.len();
        let mut exchange = Exchange {
            service: self,
            client,
            record: Record {
                request_id: self.ids.next(),
                ..Record::default()
            },
            limits: Limits::default(),
            held: self.hold(),
        };
        let answered = exchange.serve(users, blob).await;
        let Exchange {
            mut record,
            limits,
            mut held,
            ..
        } = exchange;
        let named = |text| ResponseText {
            request_id: Some(record.request_id.clone()),
            ..text
        };
        let told = answered.and_then(|(response, user, encoding)| {
            let status = response.status().as_u16();
            let frame = self.frame(&named(limits.text(response, encoding)))?;
            held.grow_to(frame.len())?;
            Ok((frame, user, status))
        });
        let (frame, payer) = match told {
            Ok((frame, user, status)) => {
                busy.ends(Outcome::Success);
                record.status = status;
                let bytes = u64::try_from(size + frame.len()).unwrap_or(u64::MAX);
                self.moved(client.source, user.account().id(), bytes);
                (frame, Some(user))
            }
            Err(fault) => {
                busy.ends(fault.outcome());
                record.status = fault.status();
                let frame = self.frame(&named(limits.fault(&fault)));
                record.error = Some(fault.to_string());
                (frame.unwrap_or_default(), None)
            }
        };
        Answer {
            frame,
            payer,
            record,
            busy,
            held,
        }
    }

    /// The frame of an answer.
    ///
    /// # Errors
    /// [`Fault::TooLarge`]
    pub(super) fn frame(&self, text: &ResponseText) -> Result<Vec<u8>, Fault> {
        let data = serde_json::to_vec(text).unwrap_or_default();
        https_relay::response(&self.ids.key(), &data).map_err(|_| Fault::TooLarge)
    }
}

/// One request of a client's while it is answered.
struct Exchange<'e> {
    service: &'e Service,
    client: Client<'e>,
    record: Record,
    limits: Limits,
    held: Held,
}

impl Exchange<'_> {
    /// From a blob to an answer of its target's.
    async fn serve(
        &mut self,
        users: &Users,
        blob: Vec<u8>,
    ) -> Result<(Response<Bytes>, Authenticated, Option<Encoding>), Fault> {
        let mut asked = request::read(&https_relay::reveal(blob)?)?;
        self.record.describe(&asked);
        let Client { source, most, .. } = self.client;
        self.service.ask_for_address(source, &mut self.limits)?;
        let user = self.log_in(users, &asked).await?;
        self.record.user = Some(user.name().to_owned());
        let account = user.account().id();
        self.service.ask_for_user(account, &mut self.limits)?;
        let _connection = user.connection(most, source)?;
        self.complete(&mut asked);
        let since = Instant::now();
        let fetched = tokio::select! {
            fetched = self.fetch(&asked, &user) => fetched,
            why = user.revoked() => Err(why.into()),
        };
        self.record.worked = since.elapsed().saturating_sub(self.record.queued);
        let mut response = fetched?;
        keep_end_to_end(response.headers_mut());
        Ok((response, user, asked.body_encoding))
    }

    async fn log_in(&self, users: &Users, asked: &Asked) -> Result<Authenticated, Fault> {
        let source = self.client.source;
        if let Some(credentials) = &asked.credentials {
            return Ok(users.authenticate(credentials, source).await?);
        }
        let guest = self.service.config.guest.as_ref();
        let guest = guest.filter(|guest| guest.from.iter().any(|net| net.contains(&source)));
        let guest = guest.ok_or(Fault::NoLogin)?;
        Ok(users.guest(&guest.name)?)
    }

    /// What the target is told beside what the client says.
    fn complete(&self, asked: &mut Asked) {
        let headers = asked.request.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&self.record.request_id) {
            headers.insert(REQUEST_ID, id);
        }
        if self.client.named
            && let Ok(address) = HeaderValue::from_str(&self.client.source.to_string())
        {
            headers.insert(FORWARDED_FOR, address);
        }
    }

    /// From the cache or from the target.
    async fn fetch(
        &mut self,
        asked: &Asked,
        user: &Authenticated,
    ) -> Result<Response<Bytes>, Fault> {
        let service = self.service;
        let Some(cache) = &service.cache else {
            return self.work(asked, asked.request.clone(), user).await;
        };
        let (parts, body) = asked.request.clone().into_parts();
        let key = Key {
            user: user.account().id(),
            rules: user.account().egress(),
            uri: parts.uri.clone(),
        };
        let (egress, known) = {
            // Other rules wait until this is looked up, and then clear the cache.
            let egress = service.egress.read();
            (Arc::clone(&egress), cache.look_up(&key, &parts))
        };
        let (parts, stale) = match known {
            Known::Fresh(parts, body) => {
                self.held.grow(body.len())?;
                self.record.cached = true;
                return Ok(Response::from_parts(parts, body));
            }
            Known::No => (parts, None),
            Known::Stale(asking, entry) => (*asking, Some(entry)),
        };
        let request = Request::from_parts(parts.clone(), body);
        let heard = self.work(asked, request, user).await?;
        let now = service.egress.read();
        let keeps = Arc::ptr_eq(&now, &egress) && user.account().egress() == key.rules;
        let heard = heard.into_parts();
        let (answer, body) = cache.heard(key, &parts, stale.as_deref(), heard, keeps);
        Ok(Response::from_parts(answer, body))
    }

    /// Queues for a worker, and has it fetch the answer.
    async fn work(
        &mut self,
        asked: &Asked,
        request: Request<Full<Bytes>>,
        user: &Authenticated,
    ) -> Result<Response<Bytes>, Fault> {
        let (service, client) = (self.service, self.client);
        let since = Instant::now();
        let entered = tokio::select! {
            // Where a worker is free it does not matter who has closed.
            biased;
            entered = service.gate.enter() => entered.map_err(Fault::from),
            () = client.gone.cancelled() => Err(Fault::ClientGone),
        };
        self.record.queued = since.elapsed();
        let worker = entered?;
        let tls = group::is_tls(&request);
        let chosen = service.instance(Some(tls), &asked.target, client.source)?;
        let instance = chosen.as_ref().and_then(Chosen::target);
        let egress = Arc::clone(&service.egress.read());
        let upstream = &service.upstream;
        let fetching = upstream.fetch(request, user, instance, &egress, &mut self.held);
        worker.run(fetching).await.ok_or(Fault::RequestTimeout)?
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
