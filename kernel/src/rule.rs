//! Rules, valid by construction: what to look for, and what to do with it.

use std::fmt;
use std::path::PathBuf;

use flow::{ByteRate, ByteSize};
use ipnet::IpNet;

/// Everything that one configuration asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// In the order of the file; names are unique.
    pub rules: Vec<Rule>,
    /// Priority of our netfilter hooks, from -399 to 2147483646; smaller comes first. Two
    /// programs cannot share one.
    pub priority: i32,
}

/// One rule: a packet meets it if everything that the matcher names holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name in every output.
    pub name: String,
    /// Which packets.
    pub matcher: Matcher,
    /// Which way they go, as this host sees it.
    pub direction: Direction,
    /// What happens to them.
    pub action: Action,
    /// Whether each flow has a budget of its own.
    pub budget: Budget,
    /// Whether flows are listed one by one.
    pub flows: bool,
    /// Where packets are met; `None`: [`Rule::best_hook`].
    pub hook: Option<Hook>,
}

/// What a packet must have; `None` is anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matcher {
    /// Address of the other side.
    pub remote: Option<IpNet>,
    /// Address of this side.
    pub local: Option<IpNet>,
    /// Protocol number.
    pub protocol: Option<u8>,
    /// Port of the other side.
    pub remote_port: Option<Ports>,
    /// Port of this side.
    pub local_port: Option<Ports>,
    /// Process that uses the socket.
    pub pid: Option<u32>,
    /// Control group (version 2) of the socket, or one above it.
    pub cgroup: Option<PathBuf>,
    /// Network interface.
    pub interface: Option<String>,
}

/// Ports from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// The last, not below the first.
    pub last: u16,
}

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To this host.
    Ingress,
    /// From this host.
    Egress,
    /// Either, on one budget.
    Both,
}

/// What happens to packets that meet a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// They are counted.
    Watch,
    /// What exceeds the rate is dropped.
    Police {
        /// Rate and depth.
        limit: Limit,
        /// What a packet needs that is larger than the bucket.
        oversize: Oversize,
    },
    /// TCP is told to send no faster, shared equally by its open connections.
    Pace {
        /// Together, below 4 GiB/s.
        rate: ByteRate,
    },
    /// TCP connections use this congestion control.
    Switch {
        /// Up to 15 characters.
        congestion: String,
    },
}

/// A token bucket's rate and depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Long-run rate.
    pub rate: ByteRate,
    /// Depth of the bucket, from 1 B to 18 GB.
    pub burst: ByteSize,
}

/// Most rules at once.
pub const MOST_RULES: usize = 2_048;

/// The largest depth: what 64 bits hold in billionths of a byte, and room for a packet in debt.
pub const MOST_BURST: ByteSize = ByteSize::new(18_000_000_000);

/// The least depth in seconds of the rate with which TCP holds its rate: once the
/// bucket is empty, it tries again after its least retransmission time-out, 200 ms.
pub const TCP_DEPTH_SECONDS: f64 = 0.205;

/// What a packet needs that is larger than the tokens there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Oversize {
    /// One byte of credit suffices for any packet, and the bucket goes into debt: the
    /// kernel hands us up to 64 KiB (and more) at once that will be many packets on the wire.
    #[default]
    Borrow,
    /// What is larger than the bucket needs a full one (`token-bucket` with `debt`).
    Debt,
    /// What is larger than the bucket never passes (`token-bucket`).
    Drop,
}

/// Who shares a budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Budget {
    /// Everything that meets the rule.
    #[default]
    PerRule,
    /// Each flow (protocol, addresses and ports) has the whole of it.
    PerFlow,
}

/// Where packets are met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// Netfilter's `LOCAL_IN` and `LOCAL_OUT` of one network namespace.
    Netfilter,
    /// At the root of the control groups: knows the socket, its process and its group.
    Cgroup,
    /// At an interface; sizes include the link-layer header.
    Tc,
    /// No packet: connections, as they open.
    Socket,
}

impl Rule {
    /// Where this rule belongs unless it says otherwise.
    ///
    /// Sockets are known at control groups only, and what leaves is dropped there
    /// without an error to the sender; `cgroup_knows_netns` says whether that can be kept
    /// to one network namespace (Linux 6.13).
    #[must_use]
    pub fn best_hook(&self, cgroup_knows_netns: bool) -> Hook {
        let matcher = &self.matcher;
        if let Some(hook) = self.hook {
            return hook;
        }
        match self.action {
            Action::Pace { .. } | Action::Switch { .. } => Hook::Socket,
            _ if matcher.needs_socket() => Hook::Cgroup,
            _ if matcher.interface.is_some() => Hook::Tc,
            _ if self.direction == Direction::Ingress || !cgroup_knows_netns => Hook::Netfilter,
            _ => Hook::Cgroup,
        }
    }

    /// The rate that is held, if one is.
    #[must_use]
    pub const fn rate(&self) -> Option<ByteRate> {
        match &self.action {
            Action::Police { limit, .. } => Some(limit.rate),
            Action::Pace { rate } => Some(*rate),
            Action::Watch | Action::Switch { .. } => None,
        }
    }
}

impl Matcher {
    /// Whether it asks for what only sockets know.
    #[must_use]
    pub const fn needs_socket(&self) -> bool {
        self.pid.is_some() || self.cgroup.is_some()
    }
}

impl Direction {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
            Self::Both => "both",
        }
    }
}

impl Hook {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Netfilter => "netfilter",
            Self::Cgroup => "cgroup",
            Self::Tc => "tc",
            Self::Socket => "socket",
        }
    }
}

/// The name of a protocol that people write by name, or its number.
#[must_use]
pub fn protocol_name(number: u8) -> String {
    match number {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "icmpv6".to_owned(),
        132 => "sctp".to_owned(),
        other => other.to_string(),
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// What it asks for in a few words; `everything` if that is nothing.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.remote.map(|net| format!("remote {net}")),
            self.local.map(|net| format!("local {net}")),
            self.protocol.map(protocol_name),
            self.remote_port.map(|port| format!("remote port {port}")),
            self.local_port.map(|port| format!("local port {port}")),
            self.pid.map(|pid| format!("pid {pid}")),
            self.cgroup
                .as_ref()
                .map(|path| format!("cgroup {}", path.display())),
            self.interface
                .as_ref()
                .map(|name| format!("interface {name}")),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() {
            return f.write_str("everything");
        }
        f.write_str(&parts.join(", "))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Watch => f.write_str("watch"),
            Self::Police { limit, oversize } => {
                write!(f, "police {}, bucket {}", limit.rate, limit.burst)?;
                match oversize {
                    Oversize::Borrow => Ok(()),
                    Oversize::Debt => f.write_str(", debt when full"),
                    Oversize::Drop => f.write_str(", larger packets never pass"),
                }
            }
            Self::Pace { rate } => write!(f, "pace {rate}"),
            Self::Switch { congestion } => write!(f, "congestion control {congestion}"),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} {}: {}",
            self.name,
            self.direction.name(),
            self.matcher,
            self.action
        )?;
        if self.budget == Budget::PerFlow {
            f.write_str(" for each flow")?;
        }
        Ok(())
    }
}
