//! The bytes of `bpf/rules.h`: rules as the kernel reads them, counts as it writes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::rule::{Action, Budget, Direction, Hook, Matcher, Oversize, Ports, Rule};

/// Rules in one bank.
pub(super) const CAPACITY: u32 = 2048;
/// What a packet may be in debt for, in bytes: above any that the kernel hands us.
const MOST_PACKET: u64 = 1 << 20;
const BILLION: u64 = 1_000_000_000;

/// Sizes of the structures, as `bpf/rules.h` has them.
pub(super) const RULE_BYTES: usize = 160;
pub(super) const STATE_BYTES: usize = 88;
pub(super) const FLOW_KEY_BYTES: usize = 44;

const INGRESS: u8 = 1;
const EGRESS: u8 = 2;
const PER_FLOW: u8 = 1;
const TRACK_FLOWS: u8 = 2;
const PROTOCOL: u8 = 4;
const REMOTE_PORT: u8 = 8;
const LOCAL_PORT: u8 = 16;

/// What only the running system knows about a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) slot: u32,
    /// 0: it meets nothing.
    pub(super) hooks: u8,
    /// Of the control group; 0: any.
    pub(super) cgroup: u64,
    /// Cookie of the network namespace; 0: any.
    pub(super) netns: u64,
    /// Index of the interface; 0: any.
    pub(super) ifindex: u32,
    /// The process and when it started, in the kernel's ticks: numbers are used again.
    pub(super) process: Option<(u32, u64)>,
    /// What it names and is not there, in words.
    pub(super) absent: Option<String>,
}

/// The bit of a hook.
pub(super) const fn hook_bit(hook: Hook) -> u8 {
    match hook {
        Hook::Netfilter => 1,
        Hook::Cgroup => 2,
        Hook::Tc => 4,
        Hook::Socket => 8,
    }
}

/// `struct wg_rule`.
pub(super) fn rule(rule: &Rule, resolved: &Resolved) -> Vec<u8> {
    let mut out = Vec::with_capacity(RULE_BYTES);
    let (rate, depth, need) = bucket(rule);
    let cap = depth * BILLION;
    let horizon = (cap + MOST_PACKET * BILLION) / rate.max(1) + 1;
    for word in [rate, cap, horizon, need, resolved.cgroup, resolved.netns] {
        out.extend(word.to_ne_bytes());
    }
    for network in [rule.matcher.remote, rule.matcher.local] {
        let (address, mask) = mapped(network);
        out.extend(address);
        out.extend(mask);
    }
    let pid = resolved.process.map_or(0, |(pid, _)| pid);
    for word in [resolved.slot, pid, resolved.ifindex] {
        out.extend(word.to_ne_bytes());
    }
    for ports in [rule.matcher.remote_port, rule.matcher.local_port] {
        let Ports { first, last } = ports.unwrap_or(Ports { first: 0, last: 0 });
        out.extend(first.to_ne_bytes());
        out.extend(last.to_ne_bytes());
    }
    out.extend([
        resolved.hooks,
        directions(rule),
        mode(&rule.action),
        flags(rule),
        rule.matcher.protocol.unwrap_or(0),
        version(&rule.matcher),
    ]);
    out.extend([0; 2]);
    let mut name = [0; 16];
    if let Action::Switch { congestion } = &rule.action {
        for (to, from) in name.iter_mut().take(15).zip(congestion.bytes()) {
            *to = from;
        }
    }
    out.extend(name);
    out.resize(RULE_BYTES, 0);
    out
}

/// Rate, depth and what suffices for a larger packet, all in bytes.
fn bucket(rule: &Rule) -> (u64, u64, u64) {
    let Action::Police { limit, oversize } = &rule.action else {
        return (rule.rate().map_or(0, |rate| rate.get()), 0, 0);
    };
    let depth = limit.burst.get();
    let need = match oversize {
        Oversize::Borrow => 1,
        Oversize::Debt => depth,
        Oversize::Drop => u64::from(u32::MAX),
    };
    (limit.rate.get(), depth, need)
}

fn directions(rule: &Rule) -> u8 {
    match rule.direction {
        // Connections, rather than packets, are looked at from this side only.
        _ if matches!(rule.action, Action::Switch { .. }) => EGRESS,
        Direction::Ingress => INGRESS,
        Direction::Egress => EGRESS,
        Direction::Both => INGRESS | EGRESS,
    }
}

const fn mode(action: &Action) -> u8 {
    match action {
        Action::Watch => 0,
        Action::Police { .. } => 1,
        Action::Pace { .. } => 2,
        Action::Switch { .. } => 3,
    }
}

fn flags(rule: &Rule) -> u8 {
    let matcher = &rule.matcher;
    let flags = [
        (rule.budget == Budget::PerFlow, PER_FLOW),
        (rule.flows, TRACK_FLOWS),
        (matcher.protocol.is_some(), PROTOCOL),
        (matcher.remote_port.is_some(), REMOTE_PORT),
        (matcher.local_port.is_some(), LOCAL_PORT),
    ];
    flags
        .iter()
        .filter(|(set, _)| *set)
        .fold(0, |all, (_, bit)| all | bit)
}

/// The version of IP that is asked for by an address; 0 for either.
fn version(matcher: &Matcher) -> u8 {
    match matcher.remote.or(matcher.local) {
        None => 0,
        Some(IpNet::V4(_)) => 4,
        Some(IpNet::V6(_)) => 6,
    }
}

/// Address and mask as IPv6, IPv4 mapped into it; all zero for any.
fn mapped(network: Option<IpNet>) -> ([u8; 16], [u8; 16]) {
    match network {
        None => ([0; 16], [0; 16]),
        Some(IpNet::V6(network)) => (network.network().octets(), network.netmask().octets()),
        Some(IpNet::V4(network)) => {
            let mut mask = [0xff; 16];
            mask[12..].copy_from_slice(&network.netmask().octets());
            (network.network().to_ipv6_mapped().octets(), mask)
        }
    }
}

/// Bytes and packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Bytes, network header included (at an interface, also the link-layer header).
    pub bytes: u64,
    /// Packets as the kernel hands them over: several on the wire may be one here.
    pub packets: u64,
}

/// What became of packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Let through.
    pub passed: Count,
    /// Dropped by this rule.
    pub dropped: Count,
    /// Let through by this rule, and dropped by another one at the same hook.
    pub refused: Count,
    /// When the last one came: `CLOCK_MONOTONIC` in nanoseconds, 0 before the first.
    pub seen_at: u64,
}

impl Counts {
    /// All that met the rule.
    #[must_use]
    pub const fn offered(&self) -> Count {
        Count {
            bytes: self.passed.bytes + self.dropped.bytes + self.refused.bytes,
            packets: self.passed.packets + self.dropped.packets + self.refused.packets,
        }
    }

    /// What did not go on, whichever rule it was.
    #[must_use]
    pub const fn lost(&self) -> Count {
        Count {
            bytes: self.dropped.bytes + self.refused.bytes,
            packets: self.dropped.packets + self.refused.packets,
        }
    }
}

/// Reads whole numbers one after the other; zeros behind the end.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => [0; N],
        }
    }

    fn long(&mut self) -> u64 {
        u64::from_ne_bytes(self.bytes())
    }

    fn count(&mut self) -> Count {
        Count {
            bytes: self.long(),
            packets: self.long(),
        }
    }
}

/// `struct wg_state`.
pub(super) fn counts(bytes: &[u8]) -> Counts {
    let mut reader = Reader(bytes);
    let _lock: [u8; 8] = reader.bytes();
    let (_spent, _settled_at, _cap) = (reader.long(), reader.long(), reader.long());
    let seen_at = reader.long();
    Counts {
        passed: reader.count(),
        dropped: reader.count(),
        refused: reader.count(),
        seen_at,
    }
}

/// Protocol, addresses and ports; local is this host's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// Number of the protocol.
    pub protocol: u8,
    /// The other side.
    pub remote: IpAddr,
    /// Its port, 0 if the protocol has none.
    pub remote_port: u16,
    /// This side.
    pub local: IpAddr,
    /// Its port, 0 if the protocol has none.
    pub local_port: u16,
}

/// `struct wg_flow_key`: the slot of the rule, and the flow.
pub(super) fn flow_key(bytes: &[u8]) -> (u32, Flow) {
    let mut reader = Reader(bytes);
    let slot = u32::from_ne_bytes(reader.bytes());
    let remote_port = u16::from_ne_bytes(reader.bytes());
    let local_port = u16::from_ne_bytes(reader.bytes());
    let [protocol, ..]: [u8; 4] = reader.bytes();
    let (remote, local) = (address(reader.bytes()), address(reader.bytes()));
    let flow = Flow {
        protocol,
        remote,
        remote_port,
        local,
        local_port,
    };
    (slot, flow)
}

fn address(bytes: [u8; 16]) -> IpAddr {
    if bytes == [0; 16] {
        return Ipv4Addr::UNSPECIFIED.into();
    }
    Ipv6Addr::from(bytes).to_canonical()
}

/// `struct wg_control`.
pub(super) fn control(first: u32, count: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    let (left, right) = bytes.split_at_mut(4);
    left.copy_from_slice(&first.to_ne_bytes());
    right.copy_from_slice(&count.to_ne_bytes());
    bytes
}

/// `struct wg_pace`; all zero for a rule that does not pace.
pub(super) fn pace(rule: Option<&Rule>) -> [u8; 16] {
    let mut bytes = [0; 16];
    let pacing = rule.filter(|rule| matches!(rule.action, Action::Pace { .. }));
    if let Some((rule, rate)) = pacing.and_then(|rule| Some((rule, rule.rate()?))) {
        let (left, right) = bytes.split_at_mut(8);
        left.copy_from_slice(&rate.get().to_ne_bytes());
        right.copy_from_slice(&u64::from(rule.budget == Budget::PerFlow).to_ne_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bank_has_room_for_all_rules() {
        assert_eq!(CAPACITY as usize, crate::rule::MOST_RULES);
    }

    #[test]
    fn the_largest_bucket_does_not_wrap() {
        let largest = crate::rule::MOST_BURST.get();
        assert!(u128::from(largest + MOST_PACKET) * u128::from(BILLION) < 1 << 64);
    }

    #[test]
    fn sizes_are_as_the_kernel_has_them() {
        let text = "[[rule]]\ndirection = \"ingress\"\nrate = \"1 MB/s\"\n";
        let loaded = crate::config::parse(text, crate::config::Format::Toml).unwrap();
        let bytes = rule(&loaded.rules.rules[0], &Resolved::default());
        assert_eq!(bytes.len(), RULE_BYTES);
        assert_eq!(bytes[..8], 1_000_000_u64.to_ne_bytes());
        assert_eq!(bytes[8..16], 250_000_000_000_000_u64.to_ne_bytes());
    }
}
