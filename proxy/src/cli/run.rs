//! `weirgate-proxy run`: serve until a signal says stop.

use std::io::{self, Write};
use std::net::TcpListener;

use clap::Args;
use proxy::users::{NewUser, Rules, random_password};
use proxy::{Handle, Server};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failure;
use super::https_service::ServiceArgs;
use super::logging::{Log, LogArgs};
use super::settings::{ConfigArgs, Settings};
use super::systemd;

/// The user of a server that nobody has told anything.
const FIRST_USER: &str = "weirgate";

#[derive(Args)]
pub(crate) struct Run {
    #[command(flatten)]
    config: ConfigArgs,
}

impl Run {
    /// Serves, on `inherited` sockets too.
    pub(super) async fn run(
        self,
        log: LogArgs,
        inherited: Vec<TcpListener>,
    ) -> Result<(), Failure> {
        self.run_with(log, inherited, None).await
    }

    /// The same, with the HTTPS service.
    pub(super) async fn run_with(
        self,
        log: LogArgs,
        inherited: Vec<TcpListener>,
        service: Option<ServiceArgs>,
    ) -> Result<(), Failure> {
        let inherits = !inherited.is_empty();
        let Settings {
            config,
            log: log_table,
            otlp_endpoint,
            is_bare,
            ..
        } = resolve(&self.config, service.as_ref(), inherits)?;
        #[cfg(feature = "sentry")]
        let _reports = self
            .config
            .sentry_dsn()
            .map(super::sentry::start)
            .transpose()?;
        let log = log.start(log_table, otlp_endpoint.as_deref())?;
        #[cfg(feature = "otlp")]
        let spans = log.spans();
        #[cfg(not(feature = "sentry"))]
        if self.config.sentry_dsn().is_some() {
            tracing::warn!("errors are not reported: this program is built without Sentry");
        }
        let server = Server::bind_with(config, inherited)
            .await
            .map_err(Failure::environment)?;
        let signals = Signals::new().map_err(Failure::environment)?;
        let login = if is_bare {
            first_login(&server).await?
        } else {
            None
        };
        let mut out = io::stdout();
        for address in server.addrs() {
            writeln!(out, "listening {address}").map_err(Failure::environment)?;
        }
        if let Some(password) = login {
            writeln!(out, "login {FIRST_USER} {password}").map_err(Failure::environment)?;
        }
        #[cfg(feature = "admin")]
        for address in server.admin_addrs() {
            writeln!(out, "admin {address}").map_err(Failure::environment)?;
        }
        out.flush().map_err(Failure::environment)?;
        let handle = server.handle();
        let drain = server.handle();
        let (stop, reloads) = signals.split();
        let resolve = move || {
            self.config.can_be_read_again()?;
            resolve(&self.config, service.as_ref(), inherits)
        };
        tokio::spawn(follow(reloads, resolve, handle, log));
        systemd::ready();
        let users = server.users();
        let done = server.run(stop.asked(drain)).await;
        users.close().await;
        #[cfg(feature = "otlp")]
        if let Some(spans) = spans {
            spans.finish().await;
        }
        done.map_err(Failure::environment)
    }
}

/// The settings; whoever was handed a socket does not listen on the default
/// address beside it.
fn resolve(
    config: &ConfigArgs,
    service: Option<&ServiceArgs>,
    inherits: bool,
) -> Result<Settings, Failure> {
    let mut settings = config.resolve()?;
    if let Some(service) = service {
        service.apply(&mut settings.config);
        // Whoever asks for the service does not get the proxy's own port too.
        if !settings.listens {
            settings.config.listen.clear();
        }
    }
    if inherits && !settings.listens {
        settings.config.listen.clear();
    }
    Ok(settings)
}

/// The first user of a database that has none, and their password.
async fn first_login(server: &Server) -> Result<Option<String>, Failure> {
    let users = server.users();
    if !users.list().is_empty() {
        return Ok(None);
    }
    let password = random_password().map_err(Failure::environment)?;
    let user = NewUser {
        name: FIRST_USER.to_owned(),
        password: password.clone().into_bytes(),
        rules: Rules::default(),
    };
    users.add(user).await.map_err(Failure::environment)?;
    Ok(Some(password))
}

/// Reads the config again whenever a signal says so: the new one is taken
/// whole, or the old one stays.
async fn follow(
    mut reloads: Reloads,
    resolve: impl Fn() -> Result<Settings, Failure>,
    handle: Handle,
    log: Log,
) {
    let mut requests = handle.reload_requests();
    loop {
        let request = tokio::select! {
            asked = reloads.asked() => match asked {
                true => None,
                false => return,
            },
            Some(request) = requests.recv() => Some(request),
        };
        systemd::reloading();
        let taken = resolve()
            .map_err(|failure| {
                handle.reload_refused();
                failure.to_string()
            })
            .and_then(|settings| {
                let done = handle.reload(settings.config);
                let mut done = done.map_err(|error| error.to_string())?;
                done.needs_restart.extend(log.reload(settings.log));
                Ok(done)
            });
        match &taken {
            Ok(done) => {
                tracing::info!(changed = ?done.changed, needs_restart = ?done.needs_restart, "config reloaded");
            }
            Err(error) => {
                tracing::error!(error, "the new config is refused, the old one stays");
            }
        }
        systemd::ready();
        if let Some(request) = request {
            // Whoever asked may have gone away.
            let _ = request.send(taken);
        }
    }
}

/// Signals, caught from the moment this exists.
struct Signals {
    stop: Stop,
    reloads: Reloads,
}

/// SIGINT and SIGTERM.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

/// SIGHUP and SIGUSR1.
struct Reloads {
    hang_up: Signal,
    user: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            stop: Stop {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            },
            reloads: Reloads {
                hang_up: signal(SignalKind::hangup())?,
                user: signal(SignalKind::user_defined1())?,
            },
        })
    }

    fn split(self) -> (Stop, Reloads) {
        (self.stop, self.reloads)
    }
}

impl Reloads {
    async fn asked(&mut self) -> bool {
        tokio::select! {
            caught = self.hang_up.recv() => caught.is_some(),
            caught = self.user.recv() => caught.is_some(),
        }
    }
}

impl Stop {
    /// Returns when a signal, or somebody by `drain`, says so.
    async fn asked(mut self, drain: Handle) {
        tokio::select! {
            () = self.one() => {}
            () = drain.drain_asked() => {}
        }
        systemd::stopping();
        // A second signal does not wait for open connections.
        tokio::spawn(async move {
            self.one().await;
            std::process::exit(1);
        });
    }

    async fn one(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
