//! Wirefisher's `config.yaml`: a module is loaded if its key is there, and has one rule.
//!
//! The address module has two schemas: source and target apart, and the older one with
//! `target_ip` and `target_port`, which name the other side. `kafka` is read past: nothing here
//! needs it.

use flow::{ByteRate, ByteSize, Nanos};
use ipnet::IpNet;

use super::Mistake;
use super::read::{Table, Text};
use super::toml_rules::{self, DEFAULT_PRIORITY};
use super::tree::Node;
use crate::rule::{
    Action, Budget, Direction, Limit, MOST_BURST, Matcher, Oversize, Ports, Rule, Rules,
};

const GRESS: [(&str, Direction); 2] = [
    ("ingress", Direction::Ingress),
    ("egress", Direction::Egress),
];
const SWITCHES: [(&str, bool); 6] = [
    ("enable", true),
    ("enabled", true),
    ("true", true),
    ("disable", false),
    ("disabled", false),
    ("false", false),
];

/// Reads the whole file.
pub(super) fn read(root: &Node, mistakes: &mut Vec<Mistake>, warnings: &mut Vec<String>) -> Rules {
    let mut rules = Rules {
        rules: Vec::new(),
        priority: DEFAULT_PRIORITY,
    };
    let Some(mut top) = Table::of(root, "the file", mistakes) else {
        return rules;
    };
    if top.get("kafka").is_some() {
        warnings.push("kafka is not needed and not used: `watch --json` writes the records".into());
    }
    let modules: [(&'static str, &'static str, Module); 5] = [
        ("process_module", "process_rule", process),
        ("cgroup_module", "cgroup_rule", cgroup),
        ("eth_module", "eth_rule", eth),
        ("ip_pro_port_module", "ip_pro_port_rule", ip_pro_port),
        ("tcp_switch_module", "tcp_switch_rule", tcp_switch),
    ];
    for (module, rule, reader) in modules {
        let Some(node) = top.get(module) else {
            continue;
        };
        let Some(mut outer) = Table::of(node, module, mistakes) else {
            continue;
        };
        match outer.get(rule) {
            Some(node) => {
                if let Some(mut table) = Table::of(node, rule, mistakes) {
                    let read = reader(&mut table, mistakes);
                    table.finish(mistakes);
                    rules.rules.extend(read);
                }
            }
            None => {
                let message = format!("`{module}` has no `{rule}`");
                let help = format!("add `{rule}:`, or remove the module");
                mistakes.push(node.at.mistake(message, help));
            }
        }
        outer.finish(mistakes);
    }
    top.finish(mistakes);
    rules
}

type Module = fn(&mut Table<'_>, &mut Vec<Mistake>) -> Option<Rule>;

fn process(table: &mut Table<'_>, mistakes: &mut Vec<Mistake>) -> Option<Rule> {
    let pid = table.require("target_pid", "target_pid: 4261", mistakes);
    let pid = pid.and_then(|text| toml_rules::pid(text, mistakes));
    let matcher = Matcher {
        pid,
        ..Matcher::default()
    };
    let rule = limited("process", matcher, table, mistakes);
    pid.and(rule)
}

fn cgroup(table: &mut Table<'_>, mistakes: &mut Vec<Mistake>) -> Option<Rule> {
    let path = table.require("target_cgroup", "target_cgroup: /sys/fs/cgroup/a", mistakes);
    let cgroup = path.and_then(|text| toml_rules::cgroup(text, mistakes));
    let found = cgroup.is_some();
    let matcher = Matcher {
        cgroup,
        ..Matcher::default()
    };
    limited("cgroup", matcher, table, mistakes).filter(|_| found)
}

fn eth(table: &mut Table<'_>, mistakes: &mut Vec<Mistake>) -> Option<Rule> {
    let name = table.require("target_if", "target_if: eth0", mistakes);
    let interface = name.and_then(|text| toml_rules::interface(text, mistakes));
    let found = interface.is_some();
    let matcher = Matcher {
        interface,
        ..Matcher::default()
    };
    limited("eth", matcher, table, mistakes).filter(|_| found)
}

fn ip_pro_port(table: &mut Table<'_>, mistakes: &mut Vec<Mistake>) -> Option<Rule> {
    let before = mistakes.len();
    let only_watch = enabled(table, "only_watch", mistakes);
    let gress = gress(table, mistakes);
    let old = [
        "target_ip",
        "target_port",
        "target_protocol",
        "ip_enable",
        "port_enable",
    ]
    .iter()
    .any(|key| table.has(key));
    let matcher = if old {
        old_schema(table, mistakes)
    } else {
        new_schema(table, gress, mistakes)
    };
    let action = if only_watch {
        // Written beside it more often than not, and without a meaning.
        for key in ["rate_bps", "time_scale"] {
            table.get(key);
        }
        Some(Action::Watch)
    } else {
        action(table, mistakes)
    };
    if mistakes.len() > before {
        return None;
    }
    Some(rule("ip_pro_port", matcher, gress?, action?))
}

/// Source and target apart.
fn new_schema(
    table: &mut Table<'_>,
    gress: Option<Direction>,
    mistakes: &mut Vec<Mistake>,
) -> Matcher {
    let source = address(table, "src_ip", "src_ip_enable", mistakes);
    let target = address(table, "dst_ip", "dst_ip_enable", mistakes);
    let source_port = port(table, "src_port", "src_port_enable", mistakes);
    let target_port = port(table, "dst_port", "dst_port_enable", mistakes);
    let protocol = protocol(table, "protocol", mistakes);
    let ((remote, local), (remote_port, local_port)) = if gress == Some(Direction::Ingress) {
        ((source, target), (source_port, target_port))
    } else {
        ((target, source), (target_port, source_port))
    };
    Matcher {
        remote,
        local,
        protocol,
        remote_port,
        local_port,
        ..Matcher::default()
    }
}

/// Before 2025-12: the other side alone.
fn old_schema(table: &mut Table<'_>, mistakes: &mut Vec<Mistake>) -> Matcher {
    Matcher {
        remote: address(table, "target_ip", "ip_enable", mistakes),
        remote_port: port(table, "target_port", "port_enable", mistakes),
        protocol: protocol(table, "target_protocol", mistakes),
        ..Matcher::default()
    }
}

fn tcp_switch(table: &mut Table<'_>, mistakes: &mut Vec<Mistake>) -> Option<Rule> {
    let before = mistakes.len();
    let address = table
        .text("ip", mistakes)
        .and_then(|text| (text.text.trim() != "0").then(|| toml_rules::network(text, mistakes))?);
    let port = table
        .text("port", mistakes)
        .and_then(|text| number(text, mistakes))
        .filter(|port| *port != 0)
        .map(|port| Ports {
            first: port,
            last: port,
        });
    let remote = enabled(table, "remote", mistakes);
    let congestion = table.require("congestion", "congestion: bbr", mistakes);
    let congestion = congestion.and_then(|text| toml_rules::congestion(text, mistakes));
    if mistakes.len() > before {
        return None;
    }
    let mut matcher = Matcher::default();
    if remote {
        (matcher.remote, matcher.remote_port) = (address, port);
    } else {
        (matcher.local, matcher.local_port) = (address, port);
    }
    Some(toml_rules::switch_rule(
        "tcp_switch".into(),
        matcher,
        congestion?,
    ))
}

/// Direction, rate and depth of a module that always limits.
fn limited(
    name: &str,
    matcher: Matcher,
    table: &mut Table<'_>,
    mistakes: &mut Vec<Mistake>,
) -> Option<Rule> {
    let gress = gress(table, mistakes);
    let action = action(table, mistakes);
    Some(rule(name, matcher, gress?, action?))
}

fn rule(name: &str, matcher: Matcher, direction: Direction, action: Action) -> Rule {
    Rule {
        name: name.to_owned(),
        matcher,
        direction,
        action,
        budget: Budget::PerRule,
        flows: true,
        hook: None,
    }
}

fn gress(table: &mut Table<'_>, mistakes: &mut Vec<Mistake>) -> Option<Direction> {
    let text = table.require("gress", "gress: ingress", mistakes)?;
    text.word(&GRESS, mistakes)
}

/// A bucket of a quarter of what the rate makes in `time_scale`, as the program has it (its text
/// says an eighth).
fn action(table: &mut Table<'_>, mistakes: &mut Vec<Mistake>) -> Option<Action> {
    let rate_text = table.require("rate_bps", "rate_bps: 1M", mistakes);
    let rate = rate_text.and_then(|text| rate(text, mistakes));
    let scale_text = table.require("time_scale", "time_scale: 1s", mistakes);
    let scale = scale_text.and_then(|text| time_scale(text, mistakes));
    let (rate, scale) = rate.zip(scale)?;
    let burst = u128::from(rate.get()) * u128::from(scale.get()) / 4_000_000_000;
    let burst = u64::try_from(burst).unwrap_or(u64::MAX).max(1);
    if burst > MOST_BURST.get() {
        let text = scale_text?;
        let help = "a quarter of rate_bps x time_scale is the bucket, at most 18 GB";
        text.refuse("makes too deep a bucket", help, mistakes);
        return None;
    }
    Some(Action::Police {
        limit: Limit {
            rate,
            burst: ByteSize::new(burst),
        },
        oversize: Oversize::Borrow,
    })
}

/// Bytes per second: digits, and K, M or G for powers of 1024.
fn rate(text: Text<'_>, mistakes: &mut Vec<Mistake>) -> Option<ByteRate> {
    let help = "bytes per second: digits, and K, M or G (powers of 1024), like 1M";
    let (digits, factor) = suffixed(text.text, &[("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30)]);
    let rate = digits.and_then(|digits| digits.checked_mul(factor));
    match rate {
        None => {
            text.refuse("is no rate", help, mistakes);
            None
        }
        Some(rate) => {
            let rate = ByteRate::new(rate);
            if rate.is_none() {
                let help = "zero would drop everything; remove the module to limit nothing";
                text.refuse("is no rate", help, mistakes);
            }
            rate
        }
    }
}

fn time_scale(text: Text<'_>, mistakes: &mut Vec<Mistake>) -> Option<Nanos> {
    let units = [
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
    ];
    let (digits, factor) = suffixed(text.text, &units);
    let scale = digits.and_then(|digits| digits.checked_mul(factor));
    match scale {
        Some(scale) if scale > 0 && factor > 1 => Some(Nanos::new(scale)),
        _ => {
            text.refuse("is no time", "write 500ms, 1s or 1m (minutes)", mistakes);
            None
        }
    }
}

/// Digits and the factor of the unit behind them, 1 without one.
fn suffixed(text: &str, units: &[(&str, u64)]) -> (Option<u64>, u64) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (digits, unit) = text.split_at(end.unwrap_or(text.len()));
    let factor = match unit.trim() {
        "" => Some(1),
        unit => units
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit))
            .map(|(_, factor)| *factor),
    };
    match factor {
        Some(factor) => (digits.parse().ok(), factor),
        None => (None, 1),
    }
}

/// Whether a switch is on; off if it is not written.
fn enabled(table: &mut Table<'_>, key: &'static str, mistakes: &mut Vec<Mistake>) -> bool {
    let text = table.text(key, mistakes);
    text.and_then(|text| text.word(&SWITCHES, mistakes))
        .unwrap_or(false)
}

/// The address under `key` if `switch` is on; `0` is any.
fn address(
    table: &mut Table<'_>,
    key: &'static str,
    switch: &'static str,
    mistakes: &mut Vec<Mistake>,
) -> Option<IpNet> {
    let text = switched(table, key, switch, mistakes)?;
    (text.text.trim() != "0").then(|| toml_rules::network(text, mistakes))?
}

fn port(
    table: &mut Table<'_>,
    key: &'static str,
    switch: &'static str,
    mistakes: &mut Vec<Mistake>,
) -> Option<Ports> {
    let text = switched(table, key, switch, mistakes)?;
    let port = number(text, mistakes)?;
    if port == 0 {
        let help = format!("no packet has port 0: write a port, or `{switch}: disable`");
        text.refuse("is no port", &help, mistakes);
        return None;
    }
    Some(Ports {
        first: port,
        last: port,
    })
}

fn protocol(table: &mut Table<'_>, key: &'static str, mistakes: &mut Vec<Mistake>) -> Option<u8> {
    let text = switched(table, key, "protocol_enable", mistakes)?;
    toml_rules::protocol(text, mistakes)
}

fn number(text: Text<'_>, mistakes: &mut Vec<Mistake>) -> Option<u16> {
    text.parse("write a port from 0 to 65535", mistakes)
}

/// The text under `key` if `switch` is on; reports a switch without a value.
fn switched<'a>(
    table: &mut Table<'a>,
    key: &'static str,
    switch: &'static str,
    mistakes: &mut Vec<Mistake>,
) -> Option<Text<'a>> {
    let on = enabled(table, switch, mistakes);
    if !on {
        table.get(key);
        return None;
    }
    let example = format!("{key}: ..., or `{switch}: disable");
    table.require(key, &example, mistakes)
}
