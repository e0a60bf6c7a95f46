//! Which packets meet which rules, by the kernel's own test call: no traffic, no clock.
#![cfg(feature = "bpf")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::net::{Ipv4Addr, Ipv6Addr};

use common::{engine, permitted, rules};
use kernel::engine::{Engine, cgroup2_root};
use kernel::rule::{Hook, MOST_RULES};

const HERE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const THERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

/// A packet as it leaves this host, from the IP header on.
fn ipv4(protocol: u8, ports: [u16; 2], fragment: u16, length: usize) -> Vec<u8> {
    let mut packet = vec![0; length];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
    packet[6..8].copy_from_slice(&fragment.to_be_bytes());
    packet[8] = 64;
    packet[9] = protocol;
    packet[12..16].copy_from_slice(&HERE.octets());
    packet[16..20].copy_from_slice(&THERE.octets());
    packet[20..22].copy_from_slice(&ports[0].to_be_bytes());
    packet[22..24].copy_from_slice(&ports[1].to_be_bytes());
    packet
}

/// The same in IPv6, with `extensions` between the headers.
fn ipv6(extensions: &[u8], protocol: u8, ports: [u16; 2]) -> Vec<u8> {
    let mut packet = vec![0; 40];
    packet[0] = 0x60;
    packet[7] = 64;
    packet[8..24].copy_from_slice(&Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).octets());
    packet[24..40].copy_from_slice(&Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 7).octets());
    let mut at = 6;
    for kind in extensions {
        packet[at] = *kind;
        at = packet.len();
        packet.extend([0, 0, 0, 0, 0, 0, 0, 0]);
    }
    packet[at] = protocol;
    packet.extend(ports[0].to_be_bytes());
    packet.extend(ports[1].to_be_bytes());
    packet.resize(packet.len() + 60, 0);
    let length = u16::try_from(packet.len() - 40).unwrap();
    packet[4..6].copy_from_slice(&length.to_be_bytes());
    packet
}

/// Whether `packet` meets a rule with `lines`.
fn meets(engine: &mut Engine, lines: &str, packet: &[u8]) -> bool {
    let text = format!(
        "[[rule]]\nname = \"a\"\nmode = \"watch\"\nhook = \"netfilter\"\ndirection = \"egress\"\n{lines}\n"
    );
    engine.apply(&rules("")).unwrap();
    engine.apply(&rules(&text)).unwrap();
    let before = engine.counts().unwrap()[0].counts.offered().packets;
    assert!(engine.try_packet(Hook::Netfilter, true, packet).unwrap());
    engine.counts().unwrap()[0].counts.offered().packets > before
}

#[test]
fn every_matcher_must_hold() {
    if !permitted() {
        return;
    }
    let mut engine = engine("");
    let tcp = ipv4(6, [1_000, 443], 0, 100);
    let all = "remote = \"192.0.2.0/24\"\nlocal = \"10.0.0.1\"\nprotocol = \"tcp\"\nremote_port = 443\nlocal_port = \"900-1000\"";
    assert!(meets(&mut engine, all, &tcp));
    assert!(meets(&mut engine, "", &tcp));
    for (good, bad) in [
        ("192.0.2.0/24", "192.0.2.8/29"),
        ("10.0.0.1", "10.0.0.2"),
        ("\"tcp\"", "\"udp\""),
        ("443", "444"),
        ("900-1000", "1001-1002"),
    ] {
        assert!(!meets(&mut engine, &all.replace(good, bad), &tcp), "{bad}");
    }
}

#[test]
fn ports_are_found_behind_ipv6_extensions_and_not_in_later_fragments() {
    if !permitted() {
        return;
    }
    let mut engine = engine("");
    let port = "remote_port = 443";
    for extensions in [&[][..], &[0], &[0, 60, 43], &[44]] {
        let packet = ipv6(extensions, 17, [9, 443]);
        assert!(meets(&mut engine, port, &packet), "{extensions:?}");
        assert!(!meets(&mut engine, "remote_port = 442", &packet));
    }
    assert!(meets(
        &mut engine,
        "remote = \"2001:db8:1::/48\"",
        &ipv6(&[], 17, [9, 443])
    ));
    assert!(
        meets(&mut engine, port, &ipv4(17, [9, 443], 0x2000, 60)),
        "the first fragment"
    );
    assert!(
        !meets(&mut engine, port, &ipv4(17, [9, 443], 0x2005, 60)),
        "a later one"
    );
    assert!(
        !meets(&mut engine, port, &ipv4(1, [9, 443], 0, 60)),
        "no ports in ICMP"
    );
    // A chain of headers that never ends is a packet without ports, and no loop.
    assert!(!meets(&mut engine, port, &ipv6(&[0; 12], 17, [9, 443])));
}

#[test]
fn a_bucket_counts_whole_packets() {
    if !permitted() {
        return;
    }
    let text = "[[rule]]\nhook = \"netfilter\"\ndirection = \"egress\"\nrate = \"1 B/s\"\nburst = \"1000 B\"\noversize = \"drop\"\n";
    let engine = engine(text);
    let packet = ipv4(17, [1, 2], 0, 128);
    let pass = |_: &i32| engine.try_packet(Hook::Netfilter, true, &packet).unwrap();
    assert_eq!((0..50).filter(pass).count(), 7);
    let counts = engine.counts().unwrap()[0].counts;
    assert_eq!((counts.passed.bytes, counts.dropped.packets), (7 * 128, 43));
}

/// Several rules at once: each holds, and one that lets through what another drops is not charged.
#[test]
fn a_packet_that_another_rule_drops_costs_nothing() {
    if !permitted() {
        return;
    }
    let rule = |name: &str, burst: u32| {
        format!(
            "[[rule]]\nname = \"{name}\"\nhook = \"netfilter\"\ndirection = \"egress\"\nrate = \"1 B/s\"\n\
             burst = \"{burst} B\"\noversize = \"drop\"\n"
        )
    };
    let mut engine = engine(&(rule("wide", 5_000) + &rule("narrow", 1_000)));
    let packet = ipv4(6, [1, 2], 0, 100);
    let passed = |engine: &Engine| {
        let pass = |_: &i32| engine.try_packet(Hook::Netfilter, true, &packet).unwrap();
        (0..200).filter(pass).count()
    };
    assert_eq!(passed(&engine), 10);
    let wide = engine.counts().unwrap()[0].counts;
    assert_eq!((wide.passed.packets, wide.refused.packets), (10, 190));
    engine.apply(&rules(&rule("wide", 5_000))).unwrap();
    assert_eq!(passed(&engine), 40, "4,000 bytes were left");
}

/// S4: with 1,024 flows the table was full, and further flows were not limited.
#[test]
fn a_full_table_of_flows_limits_all_the_same() {
    if !permitted() {
        return;
    }
    let text = "[[rule]]\nhook = \"netfilter\"\ndirection = \"egress\"\nper = \"flow\"\nrate = \"1 B/s\"\nburst = \"100 B\"\noversize = \"drop\"\n";
    let engine = engine(text);
    let mut packet = ipv4(17, [0, 0], 0, 100);
    let mut pass = |address: u8, port: u16| {
        packet[19] = address;
        packet[20..22].copy_from_slice(&port.to_be_bytes());
        engine.try_packet(Hook::Netfilter, true, &packet).unwrap()
    };
    assert!(pass(1, 0) && !pass(1, 0), "a flow has one packet");
    let passed = (1..=u16::MAX).filter(|port| pass(1, *port)).count();
    assert_eq!(passed, 65_535, "and so has every other");
    let rest = (0..1_000).filter(|port| pass(2, *port)).count();
    assert_eq!(rest, 1, "those beyond the table share one budget");
    assert_eq!(engine.flows().unwrap().len(), 65_536);
    engine.forget_silent_flows(u64::MAX).unwrap();
    assert_eq!(engine.flows().unwrap().len(), 0);
    assert!(pass(3, 1));
}

/// A rule that was away begins anew, and its flows are gone with it.
#[test]
fn a_removed_rule_leaves_nothing() {
    if !permitted() {
        return;
    }
    let rule = |name: &str| {
        format!(
            "[[rule]]\nname = \"{name}\"\nmode = \"watch\"\nhook = \"netfilter\"\ndirection = \"egress\"\n"
        )
    };
    let (both, one) = (rule("a") + &rule("b"), rule("b"));
    let mut engine = engine(&both);
    let packet = ipv4(6, [1, 2], 0, 100);
    let send = |engine: &Engine| engine.try_packet(Hook::Netfilter, true, &packet).unwrap();
    assert!(send(&engine));
    engine.apply(&rules(&one)).unwrap();
    let flows = engine.flows().unwrap();
    assert!(flows.iter().all(|flow| flow.rule == "b"), "{flows:?}");
    engine.apply(&rules(&both)).unwrap();
    assert!(send(&engine));
    let counts = engine.counts().unwrap();
    let packets = |i: usize| counts[i].counts.passed.packets;
    assert_eq!((packets(0), packets(1)), (1, 2));
    assert_eq!(engine.flows().unwrap().len(), 2);
}

#[test]
fn as_many_rules_as_there_is_room_for() {
    if !permitted() {
        return;
    }
    let many = |count: usize| -> String {
        (0..count)
            .map(|i| {
                format!("[[rule]]\nname = \"n{i}\"\nhook = \"netfilter\"\ndirection = \"egress\"\nmode = \"watch\"\nflows = false\n")
            })
            .collect()
    };
    let mut engine = engine(&many(MOST_RULES));
    let packet = ipv4(6, [1, 2], 0, 100);
    assert!(engine.try_packet(Hook::Netfilter, true, &packet).unwrap());
    let counts = engine.counts().unwrap();
    assert_eq!(counts.len(), MOST_RULES);
    assert!(counts.iter().all(|rule| rule.counts.passed.packets == 1));
    let mut more = rules(&many(MOST_RULES));
    more.rules.push(kernel::rule::Rule {
        name: "one-more".to_owned(),
        ..more.rules[0].clone()
    });
    let error = engine.apply(&more).unwrap_err();
    assert!(error.to_string().contains("too many"), "{error}");
    assert_eq!(
        engine.rules().rules.len(),
        MOST_RULES,
        "those before still hold"
    );
}

#[test]
fn a_rule_that_names_what_is_not_there_is_refused() {
    if !permitted() {
        return;
    }
    let mut engine = engine("");
    for (lines, says) in [
        ("interface = \"nowhere9\"", "there are lo"),
        ("cgroup = \"/proc/self\"", "no control group"),
        ("cgroup = \"/nowhere\"", "control groups are folders below"),
        ("pid = 4194305", "there is no process"),
    ] {
        let text = format!("[[rule]]\ndirection = \"ingress\"\nrate = \"1 MB/s\"\n{lines}\n");
        let error = engine.apply(&rules(&text)).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

/// A network of one version of IP holds nothing of the other, wherever its addresses lie, and
/// what is not IP has none.
#[test]
fn addresses_belong_to_one_version_of_ip() {
    if !permitted() {
        return;
    }
    let mut engine = engine("");
    let (four, six) = (ipv4(17, [9, 443], 0, 60), ipv6(&[], 17, [9, 443]));
    for network in ["::/0", "::/64"] {
        let lines = format!("remote = \"{network}\"");
        assert!(!meets(&mut engine, &lines, &four), "{network}");
        assert_eq!(meets(&mut engine, &lines, &six), network == "::/0");
    }
    let everything = "remote = \"0.0.0.0/0\"";
    assert!(meets(&mut engine, everything, &four) && !meets(&mut engine, everything, &six));
    assert!(
        meets(&mut engine, "remote = \"::ffff:192.0.2.7\"", &four),
        "IPv4 as IPv6 writes it"
    );
}

/// At an interface there is more than IP: it meets rules that ask for nothing of it.
#[test]
fn what_is_not_ip_has_neither_addresses_nor_protocol() {
    if !permitted() {
        return;
    }
    let frame = |kind: u16, packet: &[u8]| {
        let mut frame = vec![2; 12];
        frame.extend(kind.to_be_bytes());
        frame.extend(packet);
        frame
    };
    let packet = ipv4(17, [9, 443], 0, 60);
    // The same bytes by another name, as labels of MPLS may happen to be.
    for (kind, meant) in [(0x0800, [1, 1, 1, 0]), (0x8847, [1, 0, 0, 0])] {
        let lines = [
            "",
            "remote = \"192.0.2.0/24\"",
            "protocol = \"udp\"",
            "remote = \"::/0\"",
        ];
        for (lines, meant) in lines.into_iter().zip(meant) {
            let text = format!(
                "[[rule]]\nname = \"a\"\nmode = \"watch\"\ninterface = \"lo\"\ndirection = \"egress\"\n{lines}\n"
            );
            // The interface of the kernel's test call.
            let engine = engine(&text);
            assert!(
                engine
                    .try_packet(Hook::Tc, true, &frame(kind, &packet))
                    .unwrap()
            );
            let met = engine.counts().unwrap()[0].counts.passed.packets;
            assert_eq!(met, meant, "{kind:#x} {lines}");
        }
    }
}

/// Packets are asked for so many levels of groups: a rule for one below would never be met.
#[test]
fn a_control_group_too_deep_to_be_seen_is_refused() {
    if !permitted() {
        return;
    }
    let root = cgroup2_root().unwrap();
    let first = root.join(format!("weirgate-deep-{}", std::process::id()));
    let mut groups = vec![first];
    while groups.len() < 10 {
        groups.push(groups.last().unwrap().join("x"));
    }
    std::fs::create_dir_all(groups.last().unwrap()).unwrap();
    let mut engine = engine("");
    let mut apply = |path: &std::path::Path| {
        let path = path.display();
        let text = format!(
            "[[rule]]\ndirection = \"ingress\"\nmode = \"watch\"\nlocal_port = 9198\ncgroup = \"{path}\"\n"
        );
        engine
            .apply(&rules(&text))
            .map_err(|error| error.to_string())
    };
    let (fits, too_deep) = (apply(&groups[8]), apply(&groups[9]));
    for group in groups.iter().rev() {
        std::fs::remove_dir(group).unwrap();
    }
    assert_eq!(fits, Ok(()));
    assert!(too_deep.unwrap_err().contains("9 levels below the root"));
}
