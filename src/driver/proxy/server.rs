//! The proxy under test, on a runtime of its own so that its CPU time can be told
//! from that of the load.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use proxy::config::https_service::Guest;
use proxy::{Config, Database, HttpsService, Limits, NewUser, PasswordCost};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::ProxyError;
use crate::driver::policy_of;
use crate::driver::real::plan::Run;
use crate::driver::real::{Batch, RealError, Used, io_error};
use crate::scenario::{Direction, RateChange, UserLimit};

/// The password of every throw-away user.
pub(crate) const PASSWORD: &str = "weirgate";

/// Whose account is used where nobody logs in.
const GUEST: &str = "guest";
const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const LOOPBACK: ipnet::Ipv4Net = ipnet::Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);

/// A proxy with users of its own.
pub(crate) struct Server {
    address: SocketAddr,
    users: proxy::Users,
    threads: Threads,
    shutdown: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), proxy::RunError>>,
    runtime: Runtime,
    /// Holds the database; removed at the end.
    _folder: TempDir,
}

/// The CPU accounts of the server's threads.
type Threads = Arc<Mutex<Vec<PathBuf>>>;

impl Server {
    /// Starts a proxy on a free port with the users `accounts`, and what `change` says beside.
    pub(crate) async fn with(
        accounts: Vec<NewUser>,
        change: impl FnOnce(&mut Config),
    ) -> Result<Self, ProxyError> {
        let mut config = config();
        config.listen = vec![ANY_PORT];
        change(&mut config);
        Self::start_with(config, accounts).await
    }

    /// Starts the HTTPS service alone, on a free port, for anybody on this host.
    pub(crate) async fn start_service(mut service: HttpsService) -> Result<Self, ProxyError> {
        service.listen = vec![ANY_PORT];
        service.guest = Some(Guest {
            name: GUEST.to_owned(),
            from: vec![LOOPBACK.into()],
        });
        let mut config = config();
        // Nothing but its queue is to refuse a request.
        config.caps.connections = service.max_connections;
        config.caps.handshakes = service.max_connections;
        config.https_service = Some(service);
        let guest = NewUser {
            name: GUEST.to_owned(),
            password: PASSWORD.as_bytes().to_vec(),
            rules: Limits::Unlimited.into(),
        };
        Self::start_with(config, vec![guest]).await
    }

    async fn start_with(mut config: Config, accounts: Vec<NewUser>) -> Result<Self, ProxyError> {
        let folder = tempfile::tempdir().map_err(io_error("make a temporary folder"))?;
        let threads = Threads::default();
        let runtime = runtime(&threads).map_err(io_error("start a runtime"))?;
        config.database = Database::file(folder.path().join("users.db"));
        let handle = runtime.handle().clone();
        let started = tokio::task::spawn_blocking(move || {
            handle.block_on(async {
                let server = proxy::Server::bind(config).await?;
                server.users().add_many(accounts).await?;
                Ok::<_, ProxyError>(server)
            })
        });
        let server = joined(started.await)??;
        let (shutdown, stopped) = oneshot::channel();
        let address = server.addrs().first().copied();
        let address = address.ok_or_else(|| nowhere("listen"))?;
        let users = server.users();
        let serving = runtime.spawn(server.run(async {
            // A sender that is gone means the end as well.
            let _ = stopped.await;
        }));
        Ok(Self {
            address,
            users,
            threads,
            shutdown,
            serving,
            runtime,
            _folder: folder,
        })
    }

    /// Where clients connect.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what limits a user.
    async fn set_limits(&self, name: &str, limits: Limits) -> Result<(), ProxyError> {
        let (users, name) = (self.users.clone(), name.to_owned());
        let changed = self
            .runtime
            .spawn(async move { users.set_limits(&name, limits).await });
        Ok(joined(changed.await)??)
    }

    /// Gives every user of `batch` who has the scenario's limit a new rate.
    pub(in crate::driver) async fn change_rate(
        &self,
        batch: Batch<'_>,
        change: &RateChange,
    ) -> Result<(), ProxyError> {
        let scenario = batch.scenario;
        for run in batch.runs {
            let users = scenario.users.iter().enumerate();
            for (index, user) in users.filter(|(_, user)| user.limit == UserLimit::Reference) {
                let policy = policy_of(user, run.algorithm).with_rate(change.rate);
                let limits = limits(policy, scenario.direction);
                self.set_limits(&run.user_name(index), limits).await?;
            }
        }
        Ok(())
    }

    /// What the server itself has used.
    pub(in crate::driver) fn used(&self) -> Used {
        Used {
            cpu_seconds: self.cpu(),
            memory_bytes: None,
        }
    }

    /// Gives a user an access by shadowsocks.
    #[cfg(feature = "shadowsocks")]
    pub(in crate::driver) async fn give_access(
        &self,
        name: &str,
        access: proxy::users::Access,
    ) -> Result<(), ProxyError> {
        let (users, name) = (self.users.clone(), name.to_owned());
        let given = self
            .runtime
            .spawn(async move { users.set_shadowsocks(&name, Some(access)).await });
        Ok(joined(given.await)??)
    }

    /// CPU seconds that the server's threads have used; `None` where the system
    /// does not tell.
    pub(crate) fn cpu(&self) -> Option<f64> {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.iter().map(cpu_of).sum()
    }

    /// Ends the proxy and waits for it.
    pub(crate) async fn stop(self) -> Result<(), ProxyError> {
        // It may have ended by itself, and says why below.
        let _ = self.shutdown.send(());
        let ended = joined(self.serving.await)?;
        self.runtime.shutdown_background();
        Ok(ended?)
    }
}

/// What `policy` limits when `direction` is driven.
pub(in crate::driver) fn limits(policy: flow::Policy, direction: Direction) -> Limits {
    match (policy, direction) {
        (flow::Policy::None, _) => Limits::Unlimited,
        (policy, Direction::Down) => Limits::down(policy),
        (policy, Direction::Up) => Limits::up(policy),
    }
}

/// A server of this host alone; where its database is comes later.
fn config() -> Config {
    let mut config = Config::new(Database::file("users.db"));
    config.listen.clear();
    config.allow_egress = vec![LOOPBACK.into()];
    config.password_cost = PasswordCost::LEAST;
    config.caps.connections_per_user = usize::MAX;
    config
}

/// The users of all runs of `batch`.
pub(in crate::driver) fn accounts(batch: Batch<'_>) -> Vec<NewUser> {
    let scenario = batch.scenario;
    let of_run = |run: &Run<'_>| {
        let run = *run;
        let account = move |(index, user)| NewUser {
            name: run.user_name(index),
            password: PASSWORD.as_bytes().to_vec(),
            rules: limits(policy_of(user, run.algorithm), scenario.direction).into(),
        };
        scenario
            .users
            .iter()
            .enumerate()
            .map(account)
            .collect::<Vec<_>>()
    };
    batch.runs.iter().flat_map(of_run).collect()
}

fn runtime(threads: &Threads) -> std::io::Result<Runtime> {
    let threads = Arc::clone(threads);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("proxy")
        .enable_all()
        .on_thread_start(move || {
            if let Ok(thread) = fs::read_link("/proc/thread-self") {
                let account = PathBuf::from("/proc").join(thread).join("schedstat");
                threads
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(account);
            }
        })
        .build()
}

/// Seconds on a CPU, the first figure of a thread's `schedstat`; none if the thread is gone.
fn cpu_of(account: &PathBuf) -> Option<f64> {
    let Ok(text) = fs::read_to_string(account) else {
        return Some(0.0);
    };
    let nanos: f64 = text.split_ascii_whitespace().next()?.parse().ok()?;
    Some(nanos / 1e9)
}

fn joined<T>(result: Result<T, tokio::task::JoinError>) -> Result<T, RealError> {
    result
        .map_err(std::io::Error::other)
        .map_err(io_error("go on: the proxy's task ended"))
}

fn nowhere(what: &'static str) -> RealError {
    io_error(what)(std::io::ErrorKind::AddrNotAvailable.into())
}
