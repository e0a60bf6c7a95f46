//! The instances of one host: which are healthy, what they have to do, and who
//! is next.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Uri};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::MissedTickBehavior;

use super::balance::{self, Health, View};
use crate::config::https_service::Upstream;
use crate::protocol::{Host, Target};
use crate::tls::Connector;

/// The first line of an answer is not longer.
const STATUS_LINE: usize = 512;

/// One host with its instances.
#[derive(Debug)]
pub(super) struct Group {
    config: Upstream,
    instances: Vec<Instance>,
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Instance {
    target: Target,
    health: Mutex<Health>,
    load: AtomicUsize,
}

/// A request under way at one instance.
#[derive(Debug)]
pub(crate) struct Chosen {
    group: Arc<Group>,
    index: usize,
}

/// No instance of a host is healthy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no instance of {0} is healthy")]
pub(crate) struct NoInstance(pub(super) String);

impl Group {
    pub(super) fn new(config: Upstream) -> Self {
        let instances = config.instances.iter().map(|target| Instance {
            target: target.clone(),
            health: Mutex::new(Health::NEW),
            load: AtomicUsize::new(0),
        });
        Self {
            instances: instances.collect(),
            turn: AtomicUsize::new(0),
            config,
        }
    }

    /// Whether a request to `target` goes here; of a tunnel nobody knows whether it
    /// is one of TLS.
    pub(super) fn serves(&self, tls: Option<bool>, target: &Target) -> bool {
        tls.is_none_or(|tls| self.config.tls == tls) && self.config.host == *target
    }

    /// The instance for the next request from `source`.
    pub(super) fn choose(self: &Arc<Self>, source: IpAddr) -> Option<Chosen> {
        let view = |instance: &Instance| View {
            healthy: instance.health.lock().is_healthy(),
            load: instance.load.load(Ordering::Relaxed),
        };
        let views: Vec<_> = self.instances.iter().map(view).collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let index = balance::choose(self.config.balance, &views, turn, source)?;
        let instance = self.instances.get(index)?;
        instance.load.fetch_add(1, Ordering::Relaxed);
        Some(Chosen {
            group: Arc::clone(self),
            index,
        })
    }

    /// Watches every instance, for ever.
    pub(super) async fn watch(self: Arc<Self>, tls: Connector) {
        let each = (0..self.instances.len()).map(|index| {
            let (group, tls) = (Arc::clone(&self), tls.clone());
            async move { group.watch_one(index, &tls).await }
        });
        let mut tasks: tokio::task::JoinSet<()> = each.collect();
        // Aborted with this future.
        while tasks.join_next().await.is_some() {}
    }

    async fn watch_one(&self, index: usize, tls: &Connector) {
        let (Some(instance), check) = (self.instances.get(index), &self.config.check) else {
            return;
        };
        let mut ticks = tokio::time::interval(check.interval.max(Duration::from_millis(10)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let tried = tokio::time::timeout(check.interval, self.try_one(instance, tls)).await;
            let good = tried.unwrap_or(false);
            let mut health = instance.health.lock();
            let (fall, rise) = (check.fall, check.rise);
            if health.checked(good, fall, rise) {
                let instance = instance.target.to_string();
                tracing::warn!(upstream = %self.config.host, instance, healthy = good, "instance changed");
            }
        }
    }

    async fn try_one(&self, instance: &Instance, tls: &Connector) -> bool {
        let Target { host, port } = &instance.target;
        let connected = match host {
            Host::Address(address) => TcpStream::connect((*address, *port)).await,
            Host::Name(name) => TcpStream::connect((name.as_str(), *port)).await,
        };
        let (Ok(stream), path) = (connected, &self.config.check.path) else {
            return false;
        };
        match path {
            None => true,
            Some(path) if self.config.tls => {
                let spoken = match &self.config.host.host {
                    Host::Address(address) => tls.connect(&address.to_string(), stream).await,
                    Host::Name(name) => tls.connect(name, stream).await,
                };
                match spoken {
                    Ok(stream) => self.answers(stream, path).await,
                    Err(_) => false,
                }
            }
            Some(path) => self.answers(stream, path).await,
        }
    }

    /// Whether GET of `path` is answered with 2xx or 3xx.
    async fn answers(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> bool {
        let host = &self.config.host;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        if stream.write_all(request.as_bytes()).await.is_err() || stream.flush().await.is_err() {
            return false;
        }
        let mut line = Vec::new();
        while line.len() < STATUS_LINE && !line.contains(&b'\n') {
            match stream.read_buf(&mut line).await {
                Ok(1..) => {}
                _ => return false,
            }
        }
        matches!(
            line.get(..10),
            Some([
                b'H',
                b'T',
                b'T',
                b'P',
                b'/',
                b'1',
                b'.',
                _,
                b' ',
                b'2' | b'3'
            ])
        )
    }
}

impl Chosen {
    /// Where it is.
    pub(crate) fn target(&self) -> Option<Target> {
        let instance = self.group.instances.get(self.index);
        instance.map(|instance| instance.target.clone())
    }
}

impl Drop for Chosen {
    fn drop(&mut self) {
        if let Some(instance) = self.group.instances.get(self.index) {
            instance.load.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Whether a request's URL is one of TLS.
pub(super) fn is_tls<B>(request: &Request<B>) -> bool {
    let scheme = Uri::scheme_str(request.uri());
    scheme == Some("https")
}
