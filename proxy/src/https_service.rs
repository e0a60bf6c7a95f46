//! The HTTPS service: a front end of the same server that fetches whole answers
//! for its clients, in the manner of seed 003.
//!
//! ```text
//! frame -> request (JSON) -> login -> quotas -> cache -> gate (queue, worker) -> upstream -> cache -> frame
//! ```
//!
//! Users, limits, rules about targets, accounting and the log are those of the
//! server. HTTP clients on the service's listeners (CONNECT and absolute URLs)
//! are served as everywhere, but within the same quotas, through the gate, and from
//! the same instances: a plain request holds a worker until its answer is passed on,
//! CONNECT until its target is connected.
//!
//! | file | what it is |
//! |---|---|
//! | [`message`] | what frames say |
//! | `answer` | from a blob to the frame that answers it |
//! | `request` | from JSON to a request that can be sent |
//! | `gate` | queue and workers: [`flow::admission`] with a clock |
//! | `quota` | requests and bytes per window, by address and user |
//! | `cache` | answers for equal requests (RFC 9111) |
//! | `upstream` | HTTP/1.1 and HTTP/2 to targets, pooled, certificates verified |
//! | `group`, `balance` | instances of one host: health checks, choice |
//! | `memory` | bytes of requests and answers held at once |
//! | `fault` | why the service itself answers, with which status |
//! | `limits` | what quotas leave to a request, and the answers that say so |
//! | `ids` | numbers of requests, keys of frames |
//! | `metrics` | the same for Prometheus |
//! | `statistics` | counts, and the line that tells them |

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, MissedTickBehavior};

use crate::config::HttpsService;
use crate::egress::Egress;
use crate::protocol::Target;
use crate::tls::{Connector, TlsError};
use crate::users::Network;

pub mod message;

mod answer;
mod balance;
mod cache;
mod fault;
mod gate;
mod group;
mod ids;
mod limits;
mod memory;
#[cfg(feature = "admin")]
mod metrics;
mod quota;
mod request;
mod statistics;
mod upstream;

pub(crate) use answer::{Answer, Client};
pub(crate) use fault::Fault;
pub(crate) use gate::{Gate, NoWorker, Worker};
pub(crate) use group::{Chosen, NoInstance};
pub(crate) use limits::Limits;
pub(crate) use memory::Held;
pub(crate) use statistics::{Busy, Outcome, Statistics};

use cache::Cache;
use group::Group;
use ids::Ids;
use memory::Memory;
use quota::Quotas;
use upstream::Upstream;

/// How long a connection beyond the limit waits for a place, as in the seed.
const PLACE_WAIT: Duration = Duration::from_millis(100);

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
        let mut current = self.egress.write();
        *current = egress;
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
        self.frame(&Limits::default().fault(fault))
            .unwrap_or_default()
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
}
