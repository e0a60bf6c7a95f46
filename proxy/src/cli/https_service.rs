//! `weirgate-proxy https-service`: `run` with the HTTPS service, whose settings
//! may be given in the order that seed 003's server takes them.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Args;
use ipnet::IpNet;
use proxy::Config;
use proxy::config::https_service::{DEFAULT_SERVICE_PORT, Guest};

use super::Failure;
use super::run::Run;

/// The default address, as the seed has it: everybody logs in, whatever it is.
const EVERYWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

#[derive(Args)]
pub(crate) struct HttpsService {
    #[command(flatten)]
    pub(super) run: Run,
    #[command(flatten)]
    pub(super) settings: ServiceArgs,
}

/// What goes before the table `[https_service]` of a config file.
#[derive(Args, Clone)]
pub(crate) struct ServiceArgs {
    /// The port, 0 for any free one [default: 8888].
    port: Option<u16>,
    /// The address to listen on [default: 0.0.0.0].
    host: Option<IpAddr>,
    /// Connections at once [default: 10000].
    max_conn: Option<usize>,
    /// Requests that wait for a worker at once [default: 50000].
    queue: Option<usize>,
    /// Requests under way at once [default: 100].
    workers: Option<NonZeroUsize>,
    /// Seconds that a request may wait for a worker [default: 30].
    #[arg(value_parser = seconds)]
    queue_timeout: Option<Duration>,
    /// Seconds that a worker may take [default: 30].
    #[arg(value_parser = seconds)]
    request_timeout: Option<Duration>,
    /// Seconds from one answer to the next whole request [default: 60].
    #[arg(value_parser = seconds)]
    keepalive: Option<Duration>,
    /// Whether a connection closes after one frame: true, 1, yes and on are true [default: true].
    #[arg(value_parser = truth)]
    close_after_response: Option<bool>,
    /// Clients that do not log in use this user's account; they must come from --guest-from.
    #[arg(long, value_name = "USER", requires = "guest_from")]
    guest: Option<String>,
    /// Where clients that do not log in must come from.
    #[arg(long, value_name = "CIDR", value_delimiter = ',', requires = "guest")]
    guest_from: Vec<IpNet>,
}

impl HttpsService {
    /// Serves.
    pub(super) async fn run(
        self,
        log: super::logging::LogArgs,
        inherited: Vec<std::net::TcpListener>,
    ) -> Result<(), Failure> {
        let Self { run, settings } = self;
        run.run_with(log, inherited, Some(settings)).await
    }
}

impl ServiceArgs {
    /// Takes over what was given. Without a table in the file, the service
    /// listens on every address, as the seed's does.
    pub(super) fn apply(&self, config: &mut Config) {
        let is_new = config.https_service.is_none();
        let service = config.https_service.get_or_insert_default();
        if is_new || self.port.is_some() {
            let address = self.host.unwrap_or(EVERYWHERE);
            let port = self.port.unwrap_or(DEFAULT_SERVICE_PORT);
            service.listen = vec![SocketAddr::new(address, port)];
        }
        set(&mut service.max_connections, self.max_conn);
        set(&mut service.queue, self.queue);
        set(&mut service.workers, self.workers);
        set(&mut service.queue_timeout, self.queue_timeout);
        set(&mut service.request_timeout, self.request_timeout);
        set(&mut service.keep_alive, self.keepalive);
        set(&mut service.close_after_response, self.close_after_response);
        if let Some(name) = &self.guest {
            service.guest = Some(Guest {
                name: name.clone(),
                from: self.guest_from.clone(),
            });
        }
    }
}

fn set<T: Copy>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// Seconds above zero, with a fraction if need be.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok();
    let length = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let length = length.filter(|length| !length.is_zero());
    length.ok_or_else(|| "is no number of seconds above zero".to_owned())
}

/// The seed's words.
fn truth(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("is neither true (1, yes, on) nor false (0, no, off)".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        service: ServiceArgs,
    }

    fn parsed(arguments: &str) -> Result<Config, clap::Error> {
        let arguments = ["x"].into_iter().chain(arguments.split_whitespace());
        let program = Program::try_parse_from(arguments)?;
        let mut config = Config::new(proxy::Database::file("x.db"));
        program.service.apply(&mut config);
        Ok(config)
    }

    #[test]
    fn the_order_of_the_seed() {
        let config = parsed("9999 127.0.0.1 7 8 9 1.5 2 3 no").unwrap();
        let service = config.https_service.unwrap();
        assert_eq!(service.listen, ["127.0.0.1:9999".parse().unwrap()]);
        assert_eq!((service.max_connections, service.queue), (7, 8));
        assert_eq!(service.workers.get(), 9);
        assert_eq!(service.queue_timeout, Duration::from_millis(1_500));
        assert_eq!(service.request_timeout, Duration::from_secs(2));
        assert_eq!(service.keep_alive, Duration::from_secs(3));
        assert!(!service.close_after_response);
    }

    #[test]
    fn the_defaults_of_the_seed() {
        let service = parsed("").unwrap().https_service.unwrap();
        assert_eq!(service.listen, ["0.0.0.0:8888".parse().unwrap()]);
        assert_eq!((service.max_connections, service.queue), (10_000, 50_000));
        assert_eq!(service.workers.get(), 100);
        assert!(service.close_after_response && service.guest.is_none());
    }

    #[test]
    fn what_is_no_number_of_seconds_is_refused() {
        for wrong in ["nan", "-1", "0", "1e300", "x"] {
            assert!(
                parsed(&format!("1 ::1 1 1 1 -- {wrong}")).is_err(),
                "{wrong}"
            );
        }
        assert!(parsed("1 ::1 1 1 0").is_err(), "no workers");
        assert!(parsed("--guest ada").is_err(), "from where");
    }
}
