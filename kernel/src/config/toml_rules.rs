//! Our own form: any number of `[[rule]]` and `[[switch]]` tables.
//!
//! ```toml
//! [[rule]]
//! name = "downloads"
//! direction = "ingress"
//! remote = "203.0.113.0/24"
//! protocol = "tcp"
//! remote_port = "443"
//! rate = "1 MiB/s"
//! burst = "256 KiB"
//!
//! [[switch]]
//! name = "far"
//! remote = "198.51.100.0/24"
//! congestion = "bbr"
//! ```

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::PathBuf;

use flow::{ByteRate, ByteSize};
use ipnet::{IpNet, Ipv4Net};

use super::Mistake;
use super::read::{Table, Text};
use super::tree::{Node, Value};
use crate::rule::{
    Action, Budget, Direction, Hook, Limit, MOST_BURST, MOST_RULES, Matcher, Oversize, Ports, Rule,
    Rules,
};

const DIRECTIONS: [(&str, Direction); 3] = [
    ("ingress", Direction::Ingress),
    ("egress", Direction::Egress),
    ("both", Direction::Both),
];
const OVERSIZES: [(&str, Oversize); 3] = [
    ("borrow", Oversize::Borrow),
    ("debt", Oversize::Debt),
    ("drop", Oversize::Drop),
];
const BUDGETS: [(&str, Budget); 2] = [("rule", Budget::PerRule), ("flow", Budget::PerFlow)];
const TRUTHS: [(&str, bool); 2] = [("true", true), ("false", false)];
const HOOKS: [(&str, Option<Hook>); 4] = [
    ("auto", None),
    ("netfilter", Some(Hook::Netfilter)),
    ("cgroup", Some(Hook::Cgroup)),
    ("tc", Some(Hook::Tc)),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Police,
    Pace,
    Watch,
}

const MODES: [(&str, Mode); 3] = [
    ("police", Mode::Police),
    ("pace", Mode::Pace),
    ("watch", Mode::Watch),
];

/// Before connection tracking, as the program that wrote the other form of file has it.
pub(super) const DEFAULT_PRIORITY: i32 = -128;
const PRIORITIES: std::ops::RangeInclusive<i32> = -399..=i32::MAX - 1;

/// Reads the whole file.
pub(super) fn read(root: &Node, mistakes: &mut Vec<Mistake>) -> Rules {
    let mut rules = Rules {
        rules: Vec::new(),
        priority: DEFAULT_PRIORITY,
    };
    let Some(mut top) = Table::of(root, "the file", mistakes) else {
        return rules;
    };
    if let Some(text) = top.text("priority", mistakes) {
        let help = "write a whole number from -399 to 2147483646, smaller comes first";
        match text.text.parse() {
            Ok(priority) if PRIORITIES.contains(&priority) => rules.priority = priority,
            _ => text.refuse("is no priority", help, mistakes),
        }
    }
    let mut names = HashSet::new();
    for (key, reader) in [
        ("rule", rule as fn(&Node, usize, &mut Vec<Mistake>) -> _),
        ("switch", switch),
    ] {
        let Some(node) = top.get(key) else { continue };
        let Value::List(items) = &node.value else {
            let message = format!("`{key}` must be a list of tables");
            mistakes.push(node.at.mistake(message, format!("write `[[{key}]]`")));
            continue;
        };
        for (i, item) in items.iter().enumerate() {
            let Some(read) = reader(item, i + 1, mistakes) else {
                continue;
            };
            if !names.insert(read.name.clone()) {
                let message = format!("two rules are named \"{}\"", read.name);
                let help = "give each a `name` of its own: a changed rule is found by it";
                mistakes.push(item.at.mistake(message, help));
            }
            if rules.rules.len() == MOST_RULES {
                let message = format!("more than {MOST_RULES} rules");
                let help = "a packet is asked of each: let one rule name a network or a range";
                mistakes.push(item.at.mistake(message, help));
            }
            rules.rules.push(read);
        }
    }
    top.finish(mistakes);
    rules
}

fn rule(node: &Node, number: usize, mistakes: &mut Vec<Mistake>) -> Option<Rule> {
    let mut table = Table::of(node, "rule", mistakes)?;
    let name = name(&mut table, "rule", number, mistakes);
    let mode = word(&mut table, "mode", &MODES, Mode::Police, mistakes);
    let direction = match table.require("direction", "direction = \"ingress\"", mistakes) {
        Some(text) => text.word(&DIRECTIONS, mistakes),
        None => None,
    };
    let matcher = matcher(&mut table, mistakes);
    let rate = rate(&mut table, mode, mistakes);
    let burst = burst(&mut table, rate, mistakes);
    let oversize = word(
        &mut table,
        "oversize",
        &OVERSIZES,
        Oversize::default(),
        mistakes,
    );
    let budget = word(&mut table, "per", &BUDGETS, Budget::PerRule, mistakes);
    let flows = word(&mut table, "flows", &TRUTHS, true, mistakes);
    let hook_text = table.text("hook", mistakes);
    let hook = hook_text.and_then(|text| text.word(&HOOKS, mistakes).flatten());
    let action = match mode {
        Mode::Watch => Some(Action::Watch),
        Mode::Pace => rate.map(|rate| Action::Pace { rate }),
        Mode::Police => rate.zip(burst).map(|(rate, burst)| Action::Police {
            limit: Limit { rate, burst },
            oversize,
        }),
    };
    let at = table.at;
    table.finish(mistakes);
    let rule = Rule {
        name,
        matcher: matcher?,
        direction: direction?,
        action: action?,
        budget,
        flows,
        hook,
    };
    let found = conflicts(&rule);
    let fits = found.is_empty();
    mistakes.extend(
        found
            .into_iter()
            .map(|(message, help)| at.mistake(message, help)),
    );
    fits.then_some(rule)
}

/// What cannot be had together, with the remedy.
fn conflicts(rule: &Rule) -> Vec<(&'static str, &'static str)> {
    let matcher = &rule.matcher;
    let mut found = Vec::new();
    let elsewhere = matches!(rule.hook, Some(Hook::Netfilter | Hook::Tc));
    if matcher.needs_socket() && elsewhere {
        found.push((
            "`pid` and `cgroup` are not known at this hook",
            "remove `hook`, or write `hook = \"cgroup\"`",
        ));
    }
    if rule.hook == Some(Hook::Tc) && matcher.interface.is_none() {
        found.push((
            "`hook = \"tc\"` is at an interface",
            "add `interface = \"eth0\"`",
        ));
    }
    if let Action::Pace { rate } = rule.action {
        if rule.direction != Direction::Egress {
            found.push((
                "only what this host sends can be paced",
                "write `direction = \"egress\"`, or `mode = \"police\"`",
            ));
        }
        if matcher.protocol.is_some_and(|protocol| protocol != 6) {
            found.push((
                "only TCP can be paced",
                "write `protocol = \"tcp\"`, or `mode = \"police\"`",
            ));
        }
        if matcher.cgroup.is_some() || matcher.interface.is_some() || rule.hook.is_some() {
            found.push((
                "a paced connection is known by its addresses, ports and process only",
                "remove `cgroup`, `interface` and `hook`, or write `mode = \"police\"`",
            ));
        }
        if rate.get() >= u64::from(u32::MAX) {
            found.push((
                "the kernel paces below 4 GiB/s",
                "write a lower rate, or `mode = \"police\"`",
            ));
        }
    }
    found
}

fn switch(node: &Node, number: usize, mistakes: &mut Vec<Mistake>) -> Option<Rule> {
    let mut table = Table::of(node, "switch", mistakes)?;
    let name = name(&mut table, "switch", number, mistakes);
    let matcher = matcher(&mut table, mistakes);
    let congestion = table.require("congestion", "congestion = \"cubic\"", mistakes);
    let congestion = congestion.and_then(|text| self::congestion(text, mistakes));
    let at = table.at;
    table.finish(mistakes);
    let matcher = matcher?;
    if matcher.needs_socket() && matcher.cgroup.is_some()
        || matcher.interface.is_some()
        || matcher.protocol.is_some_and(|protocol| protocol != 6)
    {
        mistakes.push(at.mistake(
            "a connection is known by its addresses, ports and process only",
            "remove `cgroup`, `interface` and `protocol`",
        ));
        return None;
    }
    Some(switch_rule(name, matcher, congestion?))
}

/// The rule that switches what `matcher` finds.
pub(super) fn switch_rule(name: String, matcher: Matcher, congestion: String) -> Rule {
    Rule {
        name,
        matcher,
        direction: Direction::Both,
        action: Action::Switch { congestion },
        budget: Budget::PerRule,
        flows: false,
        hook: None,
    }
}

/// A name as the kernel has them: up to 15 letters.
pub(super) fn congestion(text: Text<'_>, mistakes: &mut Vec<Mistake>) -> Option<String> {
    let name = text.text.trim();
    let letter = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    if name.is_empty() || name.len() > 15 || !name.chars().all(letter) {
        let help = "1 to 15 letters, as in /proc/sys/net/ipv4/tcp_available_congestion_control";
        text.refuse("is no congestion control", help, mistakes);
        return None;
    }
    Some(name.to_owned())
}

fn name(table: &mut Table<'_>, kind: &str, number: usize, mistakes: &mut Vec<Mistake>) -> String {
    let given = table.text("name", mistakes);
    if let Some(text) = given {
        let letter = |c: char| c.is_ascii_alphanumeric() || "._-+/:".contains(c);
        if text.text.is_empty() || text.text.len() > 64 || !text.text.chars().all(letter) {
            let help = "1 to 64 of the letters A-Z a-z 0-9 . _ - + / :";
            text.refuse("cannot be a name", help, mistakes);
        }
    }
    given.map_or_else(|| format!("{kind}-{number}"), |text| text.text.to_owned())
}

fn word<T: Copy>(
    table: &mut Table<'_>,
    key: &'static str,
    words: &[(&'static str, T)],
    default: T,
    mistakes: &mut Vec<Mistake>,
) -> T {
    let text = table.text(key, mistakes);
    text.and_then(|text| text.word(words, mistakes))
        .unwrap_or(default)
}

fn rate(table: &mut Table<'_>, mode: Mode, mistakes: &mut Vec<Mistake>) -> Option<ByteRate> {
    let text = match mode {
        Mode::Watch if table.has("rate") => {
            let text = table.text("rate", mistakes)?;
            text.refuse(
                "has no meaning in a rule that watches",
                "remove it, or write `mode = \"police\"`",
                mistakes,
            );
            return None;
        }
        Mode::Watch => {
            table.get("rate");
            return None;
        }
        Mode::Police | Mode::Pace => table.require("rate", "rate = \"1 MiB/s\"", mistakes)?,
    };
    text.quantity(mistakes)
}

/// A quarter of a second of the rate unless it is written.
fn burst(
    table: &mut Table<'_>,
    rate: Option<ByteRate>,
    mistakes: &mut Vec<Mistake>,
) -> Option<ByteSize> {
    let Some(text) = table.text("burst", mistakes) else {
        return rate.map(quarter);
    };
    let burst: ByteSize = text.quantity(mistakes)?;
    if burst == ByteSize::ZERO || burst > MOST_BURST {
        text.refuse("is out of range", "from 1 B to 18 GB", mistakes);
        return None;
    }
    Some(burst)
}

/// Enough for TCP, and at least a byte.
pub(super) fn quarter(rate: ByteRate) -> ByteSize {
    ByteSize::new((rate.get() / 4).clamp(1, MOST_BURST.get()))
}

fn matcher(table: &mut Table<'_>, mistakes: &mut Vec<Mistake>) -> Option<Matcher> {
    let before = mistakes.len();
    let mut network = |key| {
        let text = table.text(key, mistakes);
        text.and_then(|text| self::network(text, mistakes))
    };
    let (remote, local) = (network("remote"), network("local"));
    let protocol = table
        .text("protocol", mistakes)
        .and_then(|text| self::protocol(text, mistakes));
    let mut ports = |key| {
        let text = table.text(key, mistakes);
        text.and_then(|text| self::ports(text, mistakes))
    };
    let (remote_port, local_port) = (ports("remote_port"), ports("local_port"));
    let pid = table
        .text("pid", mistakes)
        .and_then(|text| self::pid(text, mistakes));
    let cgroup = table
        .text("cgroup", mistakes)
        .and_then(|text| self::cgroup(text, mistakes));
    let interface = table
        .text("interface", mistakes)
        .and_then(|text| self::interface(text, mistakes));
    let matcher = Matcher {
        remote,
        local,
        protocol,
        remote_port,
        local_port,
        pid,
        cgroup,
        interface,
    };
    if matcher.remote_port.or(matcher.local_port).is_some()
        && matcher
            .protocol
            .is_some_and(|p| ![6, 17, 132, 136].contains(&p))
    {
        let help = "write `protocol = \"tcp\"` or \"udp\", or remove the port";
        mistakes.push(table.at.mistake("this protocol has no ports", help));
    }
    let versions = (matcher.remote, matcher.local);
    if let (Some(IpNet::V4(_)), Some(IpNet::V6(_))) | (Some(IpNet::V6(_)), Some(IpNet::V4(_))) =
        versions
    {
        let help = "write both in the same version of IP, or one of them";
        mistakes.push(
            table
                .at
                .mistake("no packet has both of these addresses", help),
        );
    }
    (mistakes.len() == before).then_some(matcher)
}

/// An address, or a network with its prefix.
pub(super) fn network(text: Text<'_>, mistakes: &mut Vec<Mistake>) -> Option<IpNet> {
    let written = text.text.trim();
    let address = written.parse::<IpAddr>().map(IpNet::from).ok();
    let network = address.or_else(|| written.parse::<IpNet>().ok());
    let Some(network) = network else {
        let help = "write an address like 192.0.2.1 or 2001:db8::1, or a network like 192.0.2.0/24";
        text.refuse("is no address", help, mistakes);
        return None;
    };
    if network.trunc() != network {
        let help = format!("write {}, or the address alone", network.trunc());
        text.refuse("has bits behind its prefix", &help, mistakes);
        return None;
    }
    Some(unmapped(network))
}

/// IPv4 that is written as IPv6 does (`::ffff:192.0.2.1`) is IPv4.
fn unmapped(network: IpNet) -> IpNet {
    let ipv4 = match network {
        IpNet::V6(ipv6) => ipv6
            .addr()
            .to_ipv4_mapped()
            .zip(ipv6.prefix_len().checked_sub(96)),
        IpNet::V4(_) => None,
    };
    let ipv4 = ipv4.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok());
    ipv4.map_or(network, IpNet::V4)
}

/// A name or a number.
pub(super) fn protocol(text: Text<'_>, mistakes: &mut Vec<Mistake>) -> Option<u8> {
    let known = match text.text.trim().to_ascii_lowercase().as_str() {
        "tcp" => Some(6),
        "udp" => Some(17),
        "icmp" => Some(1),
        "icmpv6" => Some(58),
        "sctp" => Some(132),
        other => other.parse().ok(),
    };
    if known.is_none() {
        let help =
            "write \"tcp\", \"udp\", \"icmp\", \"icmpv6\", \"sctp\", or a number from 0 to 255";
        text.refuse("is no protocol", help, mistakes);
    }
    known
}

/// `443` or `8000-8999`.
fn ports(text: Text<'_>, mistakes: &mut Vec<Mistake>) -> Option<Ports> {
    let written = text.text.trim();
    let (first, last) = written.split_once('-').unwrap_or((written, written));
    let ports = first.trim().parse().ok().zip(last.trim().parse().ok());
    match ports {
        Some((first, last)) if 1 <= first && first <= last => Some(Ports { first, last }),
        _ => {
            let help = "write a port from 1 to 65535, or a range like \"8000-8999\"";
            text.refuse("is no port", help, mistakes);
            None
        }
    }
}

/// A process number, which is never zero.
pub(super) fn pid(text: Text<'_>, mistakes: &mut Vec<Mistake>) -> Option<u32> {
    match text.text.trim().parse() {
        Ok(pid) if pid > 0 => Some(pid),
        _ => {
            let help = "write the number of a process, as `ps` shows it";
            text.refuse("is no process", help, mistakes);
            None
        }
    }
}

/// An absolute path.
pub(super) fn cgroup(text: Text<'_>, mistakes: &mut Vec<Mistake>) -> Option<PathBuf> {
    let path = PathBuf::from(text.text);
    if !path.is_absolute() {
        let help = "write the whole path, as /sys/fs/cgroup/system.slice";
        text.refuse("is no absolute path", help, mistakes);
        return None;
    }
    Some(path)
}

/// A name of up to 15 bytes, as the kernel has them.
pub(super) fn interface(text: Text<'_>, mistakes: &mut Vec<Mistake>) -> Option<String> {
    let name = text.text.trim();
    let bad = |c: char| c == '/' || c.is_whitespace() || c.is_control();
    if name.is_empty() || name.len() > 15 || name.contains(bad) {
        let help = "write the name of an interface, as `ip link` shows it";
        text.refuse("is no interface", help, mistakes);
        return None;
    }
    Some(name.to_owned())
}
