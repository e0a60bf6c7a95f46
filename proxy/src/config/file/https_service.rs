//! The table `[https_service]`.

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;

use flow::ByteSize;
use ipnet::IpNet;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::{Length, Text, all, length, set};
use crate::config::ListenerTls;
use crate::config::https_service::{Balance, Check, Guest, HttpsService, Quota, Upstream};
use crate::protocol::{Host, Target};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HttpsServiceTable {
    listen: Option<Several<Text<SocketAddr>>>,
    tls: Option<bool>,
    proxy_protocol_from: Option<Vec<Text<IpNet>>>,
    max_connections: Option<NonZeroUsize>,
    queue: Option<usize>,
    workers: Option<NonZeroUsize>,
    queue_timeout: Option<Text<Length>>,
    request_timeout: Option<Text<Length>>,
    keep_alive: Option<Text<Length>>,
    close_after_response: Option<bool>,
    guest: Option<GuestTable>,
    roots: Option<PathBuf>,
    memory: Option<Text<ByteSize>>,
    cache: Option<Text<ByteSize>>,
    per_address: Option<QuotaTable>,
    per_user: Option<QuotaTable>,
    upstream: Upstreams,
    statistics_interval: Option<Text<Length>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GuestTable {
    name: String,
    from: Vec<Text<IpNet>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct QuotaTable {
    requests: Option<NonZeroU64>,
    bytes: Option<Text<ByteSize>>,
    window: Option<Text<Length>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UpstreamTable {
    origin: Text<Origin>,
    instances: Several<Text<Address>>,
    #[serde(default)]
    balance: BalanceWord,
    check_interval: Option<Text<Length>>,
    check_path: Option<Text<Path>>,
    fall: Option<u32>,
    rise: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum BalanceWord {
    #[default]
    RoundRobin,
    LeastConnections,
    Source,
}

impl HttpsServiceTable {
    /// Takes over everything the table says.
    pub(super) fn apply(self, service: &mut HttpsService) {
        set(&mut service.listen, self.listen.map(|listen| all(listen.0)));
        if let Some(tls) = self.tls {
            service.tls = match tls {
                true => ListenerTls::Required,
                false => ListenerTls::Off,
            };
        }
        set(
            &mut service.proxy_protocol_from,
            self.proxy_protocol_from.map(all),
        );
        set(
            &mut service.max_connections,
            self.max_connections.map(NonZeroUsize::get),
        );
        set(&mut service.queue, self.queue);
        set(&mut service.workers, self.workers);
        set(&mut service.queue_timeout, self.queue_timeout.map(length));
        set(
            &mut service.request_timeout,
            self.request_timeout.map(length),
        );
        set(&mut service.keep_alive, self.keep_alive.map(length));
        set(&mut service.close_after_response, self.close_after_response);
        set(
            &mut service.guest,
            self.guest.map(|guest| Some(guest.resolve())),
        );
        set(&mut service.roots, self.roots.map(Some));
        set(&mut service.memory, self.memory.map(|size| size.0));
        set(&mut service.cache, self.cache.map(|size| Some(size.0)));
        set(
            &mut service.address_quota,
            self.per_address.map(QuotaTable::resolve),
        );
        set(
            &mut service.user_quota,
            self.per_user.map(QuotaTable::resolve),
        );
        service
            .upstreams
            .extend(self.upstream.0.into_iter().map(UpstreamTable::resolve));
        set(
            &mut service.statistics_interval,
            self.statistics_interval.map(length),
        );
    }
}

impl GuestTable {
    fn resolve(self) -> Guest {
        Guest {
            name: self.name,
            from: all(self.from),
        }
    }
}

impl QuotaTable {
    fn resolve(self) -> Quota {
        let plain = Quota::default();
        Quota {
            requests: self.requests.map(NonZeroU64::get),
            bytes: self.bytes.map(|size| size.0),
            window: self.window.map_or(plain.window, length),
        }
    }
}

impl UpstreamTable {
    fn resolve(self) -> Upstream {
        let plain = Check::default();
        let instances = self.instances.0.into_iter();
        Upstream {
            tls: self.origin.0.tls,
            host: self.origin.0.host,
            instances: instances.map(|address| address.0.0).collect(),
            balance: match self.balance {
                BalanceWord::RoundRobin => Balance::RoundRobin,
                BalanceWord::LeastConnections => Balance::LeastConnections,
                BalanceWord::Source => Balance::Source,
            },
            check: Check {
                interval: self.check_interval.map_or(plain.interval, length),
                path: self.check_path.map(|path| path.0.0),
                fall: self.fall.unwrap_or(plain.fall).max(1),
                rise: self.rise.unwrap_or(plain.rise).max(1),
            },
        }
    }
}

/// A list with something in it.
#[derive(Clone, Debug)]
struct Several<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Several<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = Vec::deserialize(deserializer)?;
        match all.is_empty() {
            true => Err(D::Error::custom("the list is empty: name one at least")),
            false => Ok(Self(all)),
        }
    }
}

/// Hosts, each of which is there once.
#[derive(Clone, Debug, Default)]
struct Upstreams(Vec<UpstreamTable>);

impl<'de> Deserialize<'de> for Upstreams {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = Vec::<UpstreamTable>::deserialize(deserializer)?;
        for (nth, table) in all.iter().enumerate() {
            let origin = &table.origin.0;
            if all
                .iter()
                .take(nth)
                .any(|before| before.origin.0 == *origin)
            {
                let scheme = if origin.tls { "https" } else { "http" };
                return Err(D::Error::custom(format_args!(
                    "{scheme}://{} has two tables: list all its instances in one",
                    origin.host
                )));
            }
        }
        Ok(Self(all))
    }
}

/// `host:port`.
#[derive(Clone, Debug)]
struct Address(Target);

/// What URLs begin with: a scheme, a host, and a port where it is not the scheme's own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    tls: bool,
    host: Target,
}

/// A path of a URL, from its slash on.
#[derive(Clone, Debug)]
struct Path(String);

/// What a text is not.
#[derive(Clone, Copy, Debug)]
struct Not(&'static str);

impl fmt::Display for Not {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "is not {}", self.0)
    }
}

impl FromStr for Address {
    type Err = Not;

    fn from_str(text: &str) -> Result<Self, Not> {
        let no = Not("host:port, as in api.example:443 or [2001:db8::1]:443");
        let (host, port) = text.rsplit_once(':').ok_or(no)?;
        let port = port.parse().ok().filter(|&port| port != 0).ok_or(no)?;
        let host = Host::parse(host.as_bytes()).map_err(|_| no)?;
        match &host {
            Host::Name(name) if name.contains(':') => Err(no),
            _ => Ok(Self(Target { host, port })),
        }
    }
}

impl FromStr for Origin {
    type Err = Not;

    fn from_str(text: &str) -> Result<Self, Not> {
        let no = Not("the origin of a URL, as in https://api.example or http://api.example:8080");
        let (tls, authority, port) = match text.strip_prefix("https://") {
            Some(authority) => (true, authority, 443),
            None => (false, text.strip_prefix("http://").ok_or(no)?, 80),
        };
        let address = format!("{authority}:{port}");
        let found = authority.parse().or_else(|_| address.parse());
        let Address(host) = found.map_err(|_: Not| no)?;
        let sound = matches!(&host.host, Host::Name(name) if !name.contains(['/', '@', '?']));
        match sound || matches!(host.host, Host::Address(_)) {
            true => Ok(Self { tls, host }),
            false => Err(no),
        }
    }
}

impl FromStr for Path {
    type Err = Not;

    fn from_str(text: &str) -> Result<Self, Not> {
        let sound = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
        let path = sound.then(|| Self(text.to_owned()));
        path.ok_or(Not("a path, as in /health"))
    }
}
