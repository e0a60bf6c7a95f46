//! Configurations: what is read, and what is said about what cannot be.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use flow::{ByteRate, ByteSize};
use kernel::config::{Format, Mistake, parse};
use kernel::rule::{Action, Direction, Limit, Oversize, Ports, Rule};

fn rules(text: &str, format: Format) -> Vec<Rule> {
    parse(text, format).expect("it is right").rules.rules
}

fn mistakes(text: &str, format: Format) -> Vec<Mistake> {
    parse(text, format).expect_err("it is wrong")
}

fn police(rate: u64, burst: u64) -> Action {
    Action::Police {
        limit: Limit {
            rate: ByteRate::new(rate).unwrap(),
            burst: ByteSize::new(burst),
        },
        oversize: Oversize::Borrow,
    }
}

const NEW_SCHEMA: &str = "
kafka:
  brokers: \"172.26.210.113:9092\"
  topic: \"wirefisher.flow\"

process_module:
  process_rule:
    target_pid: 4261
    rate_bps: 1M
    gress: ingress
    time_scale: 1s

cgroup_module:
  cgroup_rule:
    target_cgroup: /sys/fs/cgroup/a
    rate_bps: 512K
    gress: egress
    time_scale: 500ms

eth_module:
  eth_rule: {target_if: eth0, rate_bps: 4G, gress: egress, time_scale: 1s}

ip_pro_port_module:
  ip_pro_port_rule:
    only_watch: disable
    src_ip: 10.1.2.3
    src_port: 443
    dst_ip: 0
    dst_port: 0
    protocol: TCP
    rate_bps: 100M
    time_scale: 60s
    gress: ingress
    src_ip_enable: enable
    src_port_enable: enabled
    dst_ip_enable: disable
    dst_port_enable: disable
    protocol_enable: true

tcp_switch_module:
  tcp_switch_rule:
    ip: 192.168.200.5
    port: 0
    remote: true
    congestion: bbr
";

#[test]
fn reads_all_modules_of_the_new_schema() {
    let loaded = parse(NEW_SCHEMA, Format::Yaml).unwrap();
    assert!(loaded.warnings.iter().any(|line| line.contains("kafka")));
    let rules = loaded.rules.rules;
    let names: Vec<&str> = rules.iter().map(|rule| &*rule.name).collect();
    let expected = ["process", "cgroup", "eth", "ip_pro_port", "tcp_switch"];
    assert_eq!(names, expected);
    assert_eq!(rules[0].matcher.pid, Some(4261));
    assert_eq!(rules[0].direction, Direction::Ingress);
    assert_eq!(rules[0].action, police(1 << 20, 1 << 18));
    // 500 ms are half a second, not none.
    assert_eq!(rules[1].action, police(512 << 10, 64 << 10));
    // 4G are 4 GiB/s, not none.
    assert_eq!(rules[2].action, police(4 << 30, 1 << 30));
    // 100M x 60 s are 6 GB, not what is left of them in 32 bits.
    assert_eq!(rules[3].action, police(100 << 20, 1_572_864_000));
    let matcher = &rules[3].matcher;
    assert_eq!(
        matcher.to_string(),
        "remote 10.1.2.3/32, tcp, remote port 443"
    );
    assert_eq!(rules[4].matcher.to_string(), "remote 192.168.200.5/32");
}

#[test]
fn reads_the_old_schema() {
    let text = "
ip_pro_port_module:
  ip_pro_port_rule:
    target_ip: 2001:db8::1
    target_port: 9090
    target_protocol: 17
    rate_bps: 3000
    time_scale: 1m
    gress: egress
    ip_enable: enable
    port_enable: enable
    protocol_enable: disable
";
    let rules = rules(text, Format::Yaml);
    assert_eq!(rules.len(), 1);
    assert_eq!(
        rules[0].matcher.to_string(),
        "remote 2001:db8::1/128, remote port 9090"
    );
    assert_eq!(rules[0].action, police(3_000, 45_000));
}

#[test]
fn source_and_target_follow_the_direction() {
    let text = |gress: &str| {
        format!(
            "ip_pro_port_module: {{ip_pro_port_rule: {{src_ip: 10.0.0.1, src_ip_enable: true, \
             dst_port: 80, dst_port_enable: true, gress: {gress}, rate_bps: 1K, time_scale: 1s}}}}"
        )
    };
    let seen = |gress| rules(&text(gress), Format::Yaml)[0].matcher.to_string();
    assert_eq!(seen("ingress"), "remote 10.0.0.1/32, local port 80");
    assert_eq!(seen("egress"), "local 10.0.0.1/32, remote port 80");
}

#[test]
fn a_rule_that_watches_needs_no_rate() {
    let text =
        "ip_pro_port_module:\n  ip_pro_port_rule:\n    only_watch: enable\n    gress: ingress\n";
    assert_eq!(rules(text, Format::Yaml)[0].action, Action::Watch);
}

/// S4: a rule that could not be read was loaded without a limit.
#[test]
fn a_bad_rule_is_refused_with_its_line_and_a_remedy() {
    let cases = [
        ("rate_bps: fast", 4, "is no rate", "like 1M"),
        ("rate_bps: 0", 4, "is no rate", "drop everything"),
        ("rate_bps: 99999999999G", 4, "is no rate", "like 1M"),
        ("rate_bps: 1M\n    time_scale: 5h", 5, "is no time", "500ms"),
        ("rate_bps: 1M\n    time_scale: 0s", 5, "is no time", "500ms"),
        (
            "rate_bps: 1M\n    gress: up",
            5,
            "is not known here",
            "ingress",
        ),
        (
            "rate_bps: 1M\n    rate_bqs: 1M",
            5,
            "unknown key",
            "`rate_bps`",
        ),
        (
            "rate_bps: 1M\n    rate_bps: 1M",
            5,
            "written twice",
            "keep one",
        ),
        ("rate_bps: [1M]", 4, "must be one value", "a text"),
    ];
    for (line, number, message, help) in cases {
        let text = format!("process_module:\n  process_rule:\n    target_pid: 7\n    {line}\n");
        let all = mistakes(&text, Format::Yaml);
        let found = all.iter().find(|mistake| mistake.message.contains(message));
        let found = found.unwrap_or_else(|| panic!("{line}: {all:?}"));
        assert_eq!(found.line, number, "{line}");
        assert!(found.help.contains(help), "{line}: {}", found.help);
    }
}

#[test]
fn yaml_that_is_none_is_refused() {
    for text in [
        "a: [",
        "a: *b",
        "- 1\n- 2",
        "a: 1\n---\nb: 2",
        "? {a: 1}\n: 2",
    ] {
        assert!(parse(text, Format::Yaml).is_err(), "{text:?}");
    }
    let deep = "a: ".to_owned() + &"[".repeat(100_000);
    assert!(parse(&deep, Format::Yaml).is_err());
    assert!(rules("", Format::Yaml).is_empty());
}

#[test]
fn reads_any_number_of_toml_rules() {
    let text = r#"
priority = -200

[[rule]]
name = "downloads"
direction = "ingress"
remote = "203.0.113.0/24"
protocol = "tcp"
remote_port = "8000-8999"
rate = "8 Mbit/s"
burst = "256 KiB"
oversize = "debt"

[[rule]]
direction = "egress"
mode = "pace"
remote_port = 443
rate = "1 MB/s"

[[rule]]
direction = "both"
mode = "watch"
interface = "eth0"
pid = 12

[[switch]]
remote = "2001:db8::/32"
congestion = "dctcp_experiment"
"#;
    let all = mistakes(text, Format::Toml);
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(
        all[0].message.contains("is no congestion control"),
        "16 letters"
    );
    let loaded = parse(&text.replace("_experiment", ""), Format::Toml).unwrap();
    assert_eq!(loaded.rules.priority, -200);
    let rules = loaded.rules.rules;
    assert_eq!(rules.len(), 4);
    let ports = Ports {
        first: 8_000,
        last: 8_999,
    };
    assert_eq!(rules[0].matcher.remote_port, Some(ports));
    assert!(matches!(
        rules[0].action,
        Action::Police { oversize: Oversize::Debt, limit } if limit.rate.get() == 1_000_000
    ));
    assert_eq!(rules[1].name, "rule-2");
    assert_eq!(
        rules[1].to_string(),
        "rule-2: egress remote port 443: pace 1000000 B/s"
    );
    assert_eq!(rules[2].action, Action::Watch);
    assert_eq!(rules[3].name, "switch-1");
}

#[test]
fn what_cannot_be_had_together_is_refused() {
    let cases = [
        (
            "direction = \"ingress\"\nmode = \"pace\"",
            "only what this host sends",
        ),
        (
            "direction = \"egress\"\nmode = \"pace\"\nprotocol = \"udp\"",
            "only TCP",
        ),
        ("direction = \"egress\"\nhook = \"tc\"", "at an interface"),
        (
            "direction = \"egress\"\npid = 1\nhook = \"netfilter\"",
            "not known at this hook",
        ),
        (
            "direction = \"egress\"\nremote = \"10.0.0.1/8\"",
            "behind its prefix",
        ),
        (
            "direction = \"egress\"\nremote = \"10.0.0.1\"\nlocal = \"::1\"",
            "both of these addresses",
        ),
        (
            "direction = \"egress\"\nremote_port = \"9-8\"",
            "is no port",
        ),
        ("direction = \"egress\"\nremote_port = 0", "is no port"),
        (
            "direction = \"egress\"\nprotocol = \"icmp\"\nlocal_port = 9",
            "has no ports",
        ),
        ("direction = \"egress\"\nmode = \"watch\"", "has no meaning"),
        ("direction = \"sideways\"", "is not known here"),
        ("direction = \"egress\"\nburst = \"0 B\"", "out of range"),
        (
            "direction = \"egress\"\ninterface = \"a b\"",
            "is no interface",
        ),
        (
            "direction = \"egress\"\ncgroup = \"a\"",
            "is no absolute path",
        ),
    ];
    for (lines, message) in cases {
        let text = format!("[[rule]]\nrate = \"1 MB/s\"\n{lines}\n");
        let all = mistakes(&text, Format::Toml);
        let found = all.iter().any(|mistake| mistake.message.contains(message));
        assert!(found, "{lines}: {all:?}");
    }
    let twice = "[[rule]]\nname = \"a\"\ndirection = \"egress\"\nrate = \"1 B/s\"\n".repeat(2);
    assert!(
        mistakes(&twice, Format::Toml)[0]
            .message
            .contains("two rules")
    );
}

/// S4: the bucket is a quarter where the text says an eighth. Here `check` says what there is.
#[test]
fn the_depth_is_said() {
    let rule = &rules(NEW_SCHEMA, Format::Yaml)[0];
    assert_eq!(
        rule.to_string(),
        "process: ingress pid 4261: police 1048576 B/s, bucket 262144 B"
    );
}

#[test]
fn a_bucket_that_tcp_cannot_use_is_warned_of() {
    let text = "[[rule]]\ndirection = \"ingress\"\nrate = \"10 MB/s\"\nburst = \"500 kB\"\n";
    let warnings = parse(text, Format::Toml).unwrap().warnings;
    assert!(warnings[0].contains("about 24 %"), "{warnings:?}");
    let udp = text.replace("rate", "protocol = \"udp\"\nrate");
    assert_eq!(parse(&udp, Format::Toml).unwrap().warnings, [""; 0]);
}

/// Places were found by reading the file from its start each time, and keys one by one against
/// all before: a file of the largest size took minutes.
#[test]
fn the_largest_files_are_read() {
    let rule = |i: u32| {
        format!("[[rule]] # ü\nname = \"n{i}\"\ndirection = \"egress\"\nrate = \"1 MB/s\"\n")
    };
    let text: String = (0..2_048).map(rule).collect();
    assert_eq!(rules(&text, Format::Toml).len(), 2_048);
    let all = mistakes(&(text.clone() + &rule(9_999)), Format::Toml);
    assert!(all[0].message.contains("more than 2048 rules"), "{all:?}");
    assert_eq!(all[0].line, 8_193);
    let all = mistakes(&(text + "[[rule]]\n\"räte\" = 1\n"), Format::Toml);
    let found = all.iter().find(|one| one.message.contains("unknown key"));
    assert_eq!(found.map(|one| (one.line, one.column)), Some((8_194, 1)));
    for (format, sign) in [(Format::Yaml, ": "), (Format::Toml, " = ")] {
        let wide: String = (0..20_000).map(|i| format!("a{i}{sign}1\n")).collect();
        assert_eq!(mistakes(&wide, format).len(), 20_000);
    }
    let line: String = (0..20_000).map(|i| format!("{{\"ä\" = {i}}}, ")).collect();
    let all = mistakes(&format!("rule = [{line}]"), Format::Toml);
    assert_eq!(all.last().map(|one| one.line), Some(1));
}
