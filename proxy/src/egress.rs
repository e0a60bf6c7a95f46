//! Which targets may be reached, and reaching them.
//!
//! A name is resolved once, every address it has is judged, and one of the
//! judged addresses is dialled: there is no second look-up to answer
//! differently. A name with one forbidden address is refused whole. An IPv6
//! address that carries an IPv4 one (mapped, compatible, NAT64, 6to4) is judged
//! by what it carries.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::acl::{self, Rule};
use crate::protocol::{Host, Target};
use crate::users::Authenticated;

mod dial;

/// The most addresses of one name that are looked at.
const MAX_ADDRESSES: usize = 64;
/// Look-ups under way at once: each holds a thread while the resolver is silent.
const MAX_LOOKUPS: usize = 64;

/// What an operator says about targets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressRules {
    /// For everybody.
    pub everybody: Vec<Rule>,
    /// For one user, by name: these come first, and before those of their account.
    pub users: BTreeMap<String, Vec<Rule>>,
}

/// The rules of the server.
#[derive(Debug)]
pub struct Egress {
    allowed: Vec<IpNet>,
    rules: EgressRules,
    own: Vec<SocketAddr>,
    connect_timeout: Duration,
    lookups: Semaphore,
}

/// Why a target was not reached.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The rules forbid an address of the target.
    #[error("{address} is not a permitted target: {range}")]
    Denied {
        /// The address that was judged.
        address: IpAddr,
        /// What it belongs to.
        range: &'static str,
    },
    /// The name has no address.
    #[error("cannot resolve {name}")]
    Resolve {
        /// The name.
        name: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// No address answered in time.
    #[error("no answer from {target} within {} s", after.as_secs())]
    Timeout {
        /// The target.
        target: Target,
        /// How long was waited.
        after: Duration,
    },
    /// No address could be connected to; the last failure is the source.
    #[error("cannot reach {address}")]
    Connect {
        /// The address tried last.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

impl Egress {
    /// Rules that deny every special range except what `allowed` covers, and
    /// always the proxy's `own` listeners.
    #[must_use]
    pub fn new(allowed: Vec<IpNet>, own: Vec<SocketAddr>, connect_timeout: Duration) -> Self {
        Self {
            allowed,
            rules: EgressRules::default(),
            own,
            connect_timeout,
            lookups: Semaphore::new(MAX_LOOKUPS),
        }
    }

    /// These with what an operator says, which comes before everything but that
    /// the proxy does not dial itself.
    #[must_use]
    pub fn with_rules(self, rules: EgressRules) -> Self {
        Self { rules, ..self }
    }

    /// Connects to `target` on behalf of a user who has proved who they are.
    ///
    /// # Errors
    /// [`EgressError`]; all of resolving and connecting has one deadline.
    pub async fn connect(
        &self,
        user: &Authenticated,
        target: &Target,
    ) -> Result<TcpStream, EgressError> {
        let after = self.connect_timeout;
        let attempt = async {
            let addresses = self.resolve(user, target).await?;
            self.dial(&addresses).await
        };
        match tokio::time::timeout(after, attempt).await {
            Ok(outcome) => outcome,
            Err(_) => Err(EgressError::Timeout {
                target: target.clone(),
                after,
            }),
        }
    }

    /// The addresses of `target`, all of them judged: where a datagram of a
    /// user's may go.
    ///
    /// # Errors
    /// [`EgressError`]; resolving has the deadline that connecting has.
    pub(crate) async fn addresses(
        &self,
        user: &Authenticated,
        target: &Target,
    ) -> Result<Vec<SocketAddr>, EgressError> {
        let after = self.connect_timeout;
        let resolved = tokio::time::timeout(after, self.resolve(user, target)).await;
        resolved.unwrap_or_else(|_| {
            Err(EgressError::Timeout {
                target: target.clone(),
                after,
            })
        })
    }

    /// Whether a user may reach `address`.
    ///
    /// # Errors
    /// [`EgressError::Denied`] names the range.
    pub(crate) fn judge(
        &self,
        user: &Authenticated,
        address: SocketAddr,
    ) -> Result<(), EgressError> {
        let rules = user.account().egress();
        self.judge_by(user.name(), rules.as_slice(), address)
    }

    /// Whether the user called `name` may reach `address`, whose account has these
    /// `rules` (or whose lack of them leaves it to those for every account).
    ///
    /// # Errors
    /// [`EgressError::Denied`] names the range.
    pub fn judge_by(
        &self,
        name: &str,
        rules: &[Rule],
        address: SocketAddr,
    ) -> Result<(), EgressError> {
        let ip = canonical(address.ip());
        let denied = |range| Err(EgressError::Denied { address: ip, range });
        if self
            .own
            .iter()
            .any(|own| own.port() == address.port() && canonical(own.ip()) == ip)
        {
            return denied("the proxy itself");
        }
        let own_rules = self.rules.users.get(name).map(Vec::as_slice);
        let rules = [own_rules.unwrap_or_default(), rules, &self.rules.everybody];
        let target = SocketAddr::new(ip, address.port());
        match rules.iter().find_map(|rules| acl::verdict(rules, target)) {
            Some(true) => return Ok(()),
            Some(false) => return denied("a rule of the operator's"),
            None => {}
        }
        if self.allowed.iter().any(|net| net.contains(&ip)) {
            return Ok(());
        }
        special_range(ip).map_or(Ok(()), denied)
    }

    async fn resolve(
        &self,
        user: &Authenticated,
        target: &Target,
    ) -> Result<Vec<SocketAddr>, EgressError> {
        let addresses = match &target.host {
            Host::Address(address) => vec![SocketAddr::new(*address, target.port)],
            Host::Name(name) => self.look_up(name, target.port).await?,
        };
        addresses
            .iter()
            .try_for_each(|&address| self.judge(user, address))?;
        Ok(addresses)
    }

    async fn look_up(&self, name: &str, port: u16) -> Result<Vec<SocketAddr>, EgressError> {
        let failed = |source| EgressError::Resolve {
            name: name.to_owned(),
            source,
        };
        let _permit = self
            .lookups
            .acquire()
            .await
            .map_err(|closed| failed(io::Error::other(closed)))?;
        let found = tokio::net::lookup_host((name, port))
            .await
            .map_err(failed)?;
        let addresses: Vec<_> = found.take(MAX_ADDRESSES).collect();
        if addresses.is_empty() {
            return Err(failed(io::ErrorKind::NotFound.into()));
        }
        Ok(addresses)
    }

    /// Dials judged addresses.
    async fn dial(&self, addresses: &[SocketAddr]) -> Result<TcpStream, EgressError> {
        match dial::any(addresses).await {
            Ok((stream, address)) => self.not_myself(stream, address),
            Err((address, source)) => Err(EgressError::Connect { address, source }),
        }
    }

    /// A listener on the unspecified address answers on every address of this
    /// host: then both ends of the connection have the same one.
    fn not_myself(&self, stream: TcpStream, address: SocketAddr) -> Result<TcpStream, EgressError> {
        let everywhere =
            |own: &SocketAddr| own.ip().is_unspecified() && own.port() == address.port();
        let here = || {
            stream
                .local_addr()
                .is_ok_and(|local| canonical(local.ip()) == canonical(address.ip()))
        };
        if self.own.iter().any(everywhere) && here() {
            return Err(EgressError::Denied {
                address: address.ip(),
                range: "the proxy itself",
            });
        }
        Ok(stream)
    }
}

/// `address` without the disguises in which IPv6 carries IPv4.
#[must_use]
pub fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let carried = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match v6.segments() {
        // ::ffff:a.b.c.d (mapped), ::ffff:0:a.b.c.d (translated, RFC 2765) and 64:ff9b::a.b.c.d (NAT64, RFC 6052).
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        // 2002:a.b.c.d:: (6to4, RFC 3056).
        | [0x2002, high, low, ..] => carried(high, low),
        // ::a.b.c.d (compatible, RFC 4291); :: and ::1 are themselves.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => carried(high, low),
        _ => address,
    }
}

/// The special range that a canonical address lies in: what the IANA registries
/// of special-purpose addresses (RFC 6890) do not call globally reachable, and
/// multicast.
fn special_range(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => special_v4(v4),
        IpAddr::V6(v6) => special_v6(v6),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    Some(match address.octets() {
        [0, ..] => "this network",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => "a private network",
        [100, 64..=127, ..] => "a carrier's private network",
        [127, ..] => "loopback",
        [169, 254, ..] => "link-local",
        // Answers only inside Azure, with the machine's own secrets.
        [168, 63, 129, 16] => "a metadata service",
        [192, 0, 0, _] | [192, 88, 99, _] => "reserved for protocols",
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => "documentation",
        [198, 18..=19, ..] => "benchmarking",
        [224..=239, ..] => "multicast",
        [240..=255, ..] => "reserved or broadcast",
        _ => return None,
    })
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    Some(match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => "loopback",
        [0, 0, 0, 0, 0, 0, 0, _] => "this network",
        [0x64, 0xff9b, ..] => "a local translation prefix",
        [0x100, 0, 0, 0 | 1, ..] => "discard-only",
        // 2001::/23 without the anycast and the ORCHIDv2 assignments: Teredo and benchmarking among it.
        [0x2001, 0..=0x1ff, ..] => "reserved for protocols",
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => "documentation",
        [0x5f00, ..] => "segment routing",
        [0xfc00..=0xfdff, ..] => "a private network",
        [0xfe80..=0xfebf, ..] => "link-local",
        [0xfec0..=0xfeff, ..] => "site-local",
        [0xff00..=0xffff, ..] => "multicast",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::RuleList;

    fn egress(allowed: &[&str]) -> Egress {
        let allowed = allowed.iter().map(|net| net.parse().unwrap()).collect();
        Egress::new(
            allowed,
            vec!["192.0.78.9:1080".parse().unwrap()],
            Duration::from_secs(1),
        )
    }

    fn judged(rules: &Egress, address: &str) -> bool {
        rules
            .judge_by("ada", &[], SocketAddr::new(address.parse().unwrap(), 80))
            .is_ok()
    }

    #[test]
    fn special_ranges_are_denied_and_their_neighbours_are_not() {
        let rules = egress(&[]);
        for (denied, neighbours) in [
            ("127.0.0.1", &["126.255.255.255", "128.0.0.1"][..]),
            ("10.255.255.255", &["9.255.255.255", "11.0.0.0"]),
            ("172.16.0.1", &["172.15.255.255", "172.32.0.0"]),
            ("192.168.1.1", &["192.167.255.255", "192.169.0.0"]),
            ("169.254.169.254", &["169.253.255.255", "169.255.0.0"]),
            ("100.100.100.200", &["100.63.255.255", "100.128.0.0"]),
            ("168.63.129.16", &["168.63.129.15"]),
            ("0.0.0.0", &["1.0.0.0"]),
            ("224.0.0.1", &["223.255.255.255"]),
            ("255.255.255.255", &[]),
            ("198.19.255.255", &["198.17.255.255", "198.20.0.0"]),
            ("::1", &["2606:4700::1111"]),
            ("::", &[]),
            ("fd00:ec2::254", &["fe00::"]),
            ("fe80::1", &[]),
            ("ff02::1", &[]),
            ("2001::1", &["2001:200::1"]),
            ("64:ff9b:1::1", &["65::1"]),
        ] {
            assert!(!judged(&rules, denied), "{denied}");
            for neighbour in neighbours {
                assert!(judged(&rules, neighbour), "{neighbour}");
            }
        }
    }

    #[test]
    fn disguises_are_seen_through() {
        let rules = egress(&[]);
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "169.254.169.254",
            "192.168.0.1",
            "100.64.0.1",
        ] {
            let v4: Ipv4Addr = private.parse().unwrap();
            let [a, b, c, d] = v4.octets();
            for disguise in [
                format!("::ffff:{private}"),
                format!("::ffff:0:{private}"),
                format!("::{private}"),
                format!("64:ff9b::{private}"),
                format!("2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1"),
            ] {
                assert!(!judged(&rules, &disguise), "{disguise}");
            }
            assert!(judged(&rules, "::ffff:1.1.1.1"));
            assert!(judged(&rules, "64:ff9b::1.1.1.1"));
        }
    }

    #[test]
    fn what_is_allowed_is_allowed_in_every_disguise_and_nothing_else() {
        let rules = egress(&["127.0.0.0/8", "fd00::/8"]);
        assert!(judged(&rules, "127.9.9.9"));
        assert!(judged(&rules, "::ffff:127.0.0.1"));
        assert!(judged(&rules, "fd00::1"));
        assert!(!judged(&rules, "::1"));
        assert!(!judged(&rules, "10.0.0.1"));
    }

    #[test]
    fn an_operators_rules_come_first_and_a_users_before_them() {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let users = [(
            "ada".to_owned(),
            parse(&["allow 10.1.0.0/16 443", "deny 1.1.1.1"]),
        )];
        let rules = egress(&["192.168.0.0/16"]).with_rules(EgressRules {
            everybody: parse(&["deny * 25", "deny 10.1.0.0/16", "allow 0.0.0.0/0 1080"]),
            users: users.into(),
        });
        let account: RuleList = "deny 1.1.1.3, allow 10.1.0.0/16 25, allow 1.1.1.1"
            .parse()
            .unwrap();
        let judged = |user: &str, target: &str| {
            let own = if user == "ada" {
                account.as_slice()
            } else {
                &[]
            };
            rules.judge_by(user, own, target.parse().unwrap()).is_ok()
        };
        for (target, ada, bob) in [
            ("10.1.2.3:443", true, false),
            ("[::ffff:10.1.2.3]:443", true, false),
            ("10.1.2.3:444", false, false),
            ("1.1.1.1:80", false, true),
            ("[::ffff:1.1.1.1]:80", false, true),
            ("1.1.1.2:25", false, false),
            // Those of the account, after the file's for one user and before the others.
            ("1.1.1.3:80", false, true),
            ("10.1.2.3:25", true, false),
            ("192.168.0.1:25", false, false),
            ("192.168.0.1:80", true, true),
            ("127.0.0.1:80", false, false),
            ("127.0.0.1:1080", true, true),
            // Whatever the rules say.
            ("192.0.78.9:1080", false, false),
        ] {
            assert_eq!(judged("ada", target), ada, "ada {target}");
            assert_eq!(judged("bob", target), bob, "bob {target}");
        }
    }

    #[test]
    fn the_proxy_never_dials_itself() {
        let rules = egress(&["0.0.0.0/0"]);
        let all: RuleList = "allow *".parse().unwrap();
        let own = |address: &str| rules.judge_by("ada", all.as_slice(), address.parse().unwrap());
        assert!(own("192.0.78.9:1080").is_err());
        assert!(own("[::ffff:192.0.78.9]:1080").is_err());
        assert!(own("192.0.78.9:1081").is_ok());
    }
}
