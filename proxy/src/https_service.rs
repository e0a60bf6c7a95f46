//! The HTTPS service: a front end of the same server that fetches whole answers
//! for its clients, in the manner of seed 003.
//!
//! ```text
//! frame -> request (JSON) -> login -> quotas -> cache -> gate (queue, worker) -> upstream -> cache -> frame
//! ```
//!
//! Users, limits, rules about targets, accounting and the log are those of the
//! server. HTTP clients on the service's listeners (CONNECT and absolute URLs)
//! are served as everywhere, but through the gate, and from the same instances: a
//! plain request holds a worker until its answer is passed on, CONNECT until its
//! target is connected.
//!
//! | file | what it is |
//! |---|---|
//! | [`message`] | what frames say |
//! | `request` | from JSON to a request that can be sent |
//! | `gate` | queue and workers: [`flow::admission`] with a clock |
//! | `quota` | requests and bytes per window, by address and user |
//! | `cache` | answers for equal requests (RFC 9111) |
//! | `upstream` | HTTP/1.1 and HTTP/2 to targets, pooled, certificates verified |
//! | `group`, `balance` | instances of one host: health checks, choice |
//! | `memory` | bytes of requests and answers held at once |
//! | `fault` | why the service itself answers, with which status |
//! | `metrics` | the same for Prometheus |
//! | `statistics` | counts, and the line that tells them |

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use flow::Timestamp;
use http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::body::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, MissedTickBehavior};

use crate::config::HttpsService;
use crate::egress::Egress;
use crate::protocol::{Target, https_relay};
use crate::tls::{Connector, TlsError};
use crate::users::{Authenticated, Network, Users};

pub mod message;

mod balance;
mod cache;
mod fault;
mod gate;
mod group;
mod memory;
#[cfg(feature = "admin")]
mod metrics;
mod quota;
mod request;
mod statistics;
mod upstream;

pub(crate) use fault::Fault;
pub(crate) use gate::{Gate, NoWorker, Worker};
pub(crate) use group::{Chosen, NoInstance};
pub(crate) use memory::Held;
pub(crate) use statistics::{Busy, Outcome, Statistics};

use cache::{Cache, Known};
use group::Group;
use memory::Memory;
use message::{Encoding, ResponseText};
use quota::{Left, Quotas};
use request::Asked;
use upstream::Upstream;

/// How long a connection beyond the limit waits for a place, as in the seed.
const PLACE_WAIT: Duration = Duration::from_millis(100);
/// What statistics and health checks are told when nobody else is.
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// One server's service.
#[derive(Debug)]
pub(crate) struct Service {
    config: HttpsService,
    gate: Arc<Gate>,
    statistics: Arc<Statistics>,
    places: Arc<Semaphore>,
    memory: Memory,
    upstream: Upstream,
    /// Replaced when the rules change.
    egress: RwLock<Arc<Egress>>,
    cache: Option<Cache>,
    addresses: Option<Mutex<Quotas<Network>>>,
    users: Option<Mutex<Quotas<i64>>>,
    groups: Vec<Arc<Group>>,
    since: Instant,
    ids: Ids,
}

/// A connection of the service's, until this is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    _place: OwnedSemaphorePermit,
    _counted: statistics::Connected,
}

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

/// Numbers that no other request has.
#[derive(Debug)]
struct Ids {
    base: u64,
    next: std::sync::atomic::AtomicU64,
}

impl Service {
    /// A service that serves nobody yet.
    ///
    /// # Errors
    /// [`TlsError`] if the roots cannot be used.
    pub(crate) fn new(config: HttpsService, egress: Arc<Egress>) -> Result<Self, TlsError> {
        let permits = config.max_connections.min(Semaphore::MAX_PERMITS);
        let groups = config.upstreams.iter().cloned();
        let cache = config.cache.map(|size| usize::try_from(size.get()));
        Ok(Self {
            gate: Arc::new(Gate::new(config.admission())),
            statistics: Arc::new(Statistics::new()),
            places: Arc::new(Semaphore::new(permits)),
            memory: Memory::new(config.memory),
            upstream: Upstream::new(config.roots.as_deref())?,
            egress: RwLock::new(egress),
            cache: cache.map(|size| Cache::new(size.unwrap_or(usize::MAX))),
            addresses: Quotas::new(config.address_quota, "address").map(Mutex::new),
            users: Quotas::new(config.user_quota, "user").map(Mutex::new),
            groups: groups.map(|group| Arc::new(Group::new(group))).collect(),
            since: Instant::now(),
            ids: Ids::new(),
            config,
        })
    }

    /// Whether a service could start so.
    ///
    /// # Errors
    /// As [`Service::new`].
    pub(crate) fn check(config: &HttpsService) -> Result<(), TlsError> {
        Connector::new(&upstream::trust(config.roots.as_deref())).map(drop)
    }

    pub(crate) const fn config(&self) -> &HttpsService {
        &self.config
    }

    pub(crate) const fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    pub(crate) const fn statistics(&self) -> &Arc<Statistics> {
        &self.statistics
    }

    /// Other rules about targets: nothing goes on that was connected or kept
    /// under the old ones.
    pub(crate) fn set_egress(&self, egress: Arc<Egress>) {
        *self.egress.write() = egress;
        self.upstream.forget();
        if let Some(cache) = &self.cache {
            cache.clear();
        }
    }

    /// A place for one more connection; `None` if there is none within 0.1 s.
    pub(crate) async fn connect(&self) -> Option<Connection> {
        let place = Arc::clone(&self.places).acquire_owned();
        match tokio::time::timeout(PLACE_WAIT, place).await {
            Ok(Ok(place)) => Some(Connection {
                _place: place,
                _counted: self.statistics.connected(),
            }),
            _ => {
                self.statistics.connection_refused();
                None
            }
        }
    }

    /// The frame that says why one was not read.
    pub(crate) fn refusal(&self, fault: &Fault) -> Vec<u8> {
        let mut busy = self.statistics.busy();
        busy.ends(fault.outcome());
        self.frame(Limits::default().fault(fault)).0
    }

    /// Memory for one request or answer.
    pub(crate) fn hold(&self) -> Held {
        self.memory.hold()
    }

    /// What the service does by itself, for ever: statistics, health checks.
    pub(crate) async fn run(self: Arc<Self>) {
        let watching = self.watch();
        let mut ticks = tokio::time::interval(self.config.statistics_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let telling = async {
            loop {
                ticks.tick().await;
                self.report().log();
            }
        };
        tokio::join!(watching, telling);
    }

    /// The figures of this moment.
    pub(crate) fn report(&self) -> statistics::Report {
        self.statistics
            .report(self.gate.running(), self.gate.waiting())
    }

    /// The same without a new beginning for the rate.
    #[cfg(feature = "admin")]
    fn figures(&self) -> statistics::Report {
        self.statistics
            .figures(self.gate.running(), self.gate.waiting())
    }

    /// Its figures among those of the server.
    #[cfg(feature = "admin")]
    pub(crate) fn register(self: &Arc<Self>, registry: &mut prometheus_client::registry::Registry) {
        registry.register_collector(Box::new(metrics::Metrics(Arc::clone(self))));
    }

    async fn watch(&self) {
        if self.groups.is_empty() {
            return;
        }
        let tls = match Connector::new(&upstream::trust(self.config.roots.as_deref())) {
            Ok(tls) => tls,
            Err(error) => {
                tracing::error!(%error, "no health checks");
                return;
            }
        };
        let watched = self.groups.iter().map(|group| {
            let (group, tls) = (Arc::clone(group), tls.clone());
            group.watch(tls)
        });
        let mut tasks: tokio::task::JoinSet<()> = watched.collect();
        while tasks.join_next().await.is_some() {}
    }

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
        let key = (user.account().id(), parts.uri.clone());
        let (parts, stale) = match cache.look_up(&key, &parts) {
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
        let (answer, body) = heard.into_parts();
        let (answer, body) = cache.heard(key, &parts, stale.as_deref(), answer, body);
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

    /// The instance that the next request from `source` to `target` goes to; `None`:
    /// there is no choice. Of a tunnel nobody knows whether it is one of TLS.
    ///
    /// # Errors
    /// [`NoInstance`] if none is healthy.
    pub(crate) fn instance(
        &self,
        tls: Option<bool>,
        target: &Target,
        source: IpAddr,
    ) -> Result<Option<Chosen>, NoInstance> {
        let mut groups = self.groups.iter();
        let Some(group) = groups.find(|group| group.serves(tls, target)) else {
            return Ok(None);
        };
        let chosen = group.choose(source);
        let chosen = chosen.ok_or_else(|| NoInstance(target.to_string()))?;
        Ok(Some(chosen))
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
    fn frame(&self, text: ResponseText) -> (Vec<u8>, bool) {
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

/// What quotas have left to a request.
#[derive(Debug, Default)]
struct Limits {
    left: Vec<Left>,
}

impl Limits {
    /// The answer as its target has given it.
    fn text(&self, response: Response<Bytes>, asked: Option<Encoding>) -> ResponseText {
        let (mut parts, bytes) = response.into_parts();
        self.write(&self.left, &mut parts.headers);
        let (body, body_encoding) = Encoding::text(asked, &bytes);
        let mut text = ResponseText {
            status_code: parts.status.as_u16(),
            body,
            body_encoding,
            ..ResponseText::default()
        };
        let lines = parts.headers.iter();
        text.set_headers(lines.map(|(name, value)| (name.as_str(), value.as_bytes())));
        text
    }

    /// What the service itself says.
    fn fault(&self, fault: &Fault) -> ResponseText {
        let mut headers = HeaderMap::new();
        if let Fault::Quota(_, left) = fault {
            let known = self.left.iter().copied();
            let all: Vec<_> = known.chain([*left]).collect();
            self.write(&all, &mut headers);
            headers.insert(RETRY_AFTER, left.reset_seconds.into());
        }
        let mut text = ResponseText {
            status_code: fault.status(),
            error: Some(fault.to_string()),
            ..ResponseText::default()
        };
        let lines = headers.iter();
        text.set_headers(lines.map(|(name, value)| (name.as_str(), value.as_bytes())));
        text
    }

    fn write(&self, left: &[Left], headers: &mut HeaderMap) {
        if left.is_empty() {
            return;
        }
        let (policy, limit) = quota::fields(left);
        let fields = [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, limit)];
        for (name, value) in fields {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.append(name, value);
            }
        }
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

impl Ids {
    fn new() -> Self {
        // Without randomness a process has numbers of its own still.
        let base = match crate::users::random() {
            Ok([a, b, c, d, e, f, g, h, ..]) => u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            Err(_) => u64::from(std::process::id()),
        };
        Self {
            base,
            next: std::sync::atomic::AtomicU64::new(0),
        }
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }

    fn next(&self) -> String {
        format!("{:016x}{:08x}", self.base, self.number())
    }

    /// A key for one frame. It goes with the frame: nothing hangs on that it
    /// cannot be guessed.
    fn key(&self) -> [u8; https_relay::MIN_KEY + 7] {
        let mut state = self.base ^ self.number();
        let mut key = [0; https_relay::MIN_KEY + 7];
        for piece in key.chunks_mut(8) {
            // SplitMix64.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            piece.copy_from_slice(z.to_ne_bytes().get(..piece.len()).unwrap_or_default());
        }
        key
    }
}
