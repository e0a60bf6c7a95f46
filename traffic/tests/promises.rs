//! What every pattern promises, whatever its parameters.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{generator, open_loop, seed};
use flow::spec::SpecError;
use flow::{ByteSize, Nanos, Timestamp};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use weirgate_traffic::distribution::MAX_SEND;
use weirgate_traffic::{Generator, Mix, Packet, Pattern, Purpose, Source, StreamSeed};

fn a_rate() -> impl Strategy<Value = String> {
    (0_u32..11, 1_u64..=10).prop_map(|(power, times)| format!("{}B/s", times * 10_u64.pow(power)))
}

fn a_time() -> impl Strategy<Value = String> {
    (3_u32..12, 1_u64..=10).prop_map(|(power, times)| format!("{}ns", times * 10_u64.pow(power)))
}

fn a_size() -> impl Strategy<Value = String> {
    let range = (1_u64..5_000, 0_u64..100_000)
        .prop_map(|(least, more)| format!("{least}B..{}B", least + more));
    prop_oneof![
        (1..=MAX_SEND.get()).prop_map(|size| format!("{size}B")),
        select(vec!["imix", "imix-ip", "wirefisher"]).prop_map(String::from),
        proptest::collection::vec((1_u64..3000, 1_u32..9), 1..9).prop_map(|sizes| {
            let sizes: Vec<_> = sizes.iter().map(|(s, w)| format!("{s}B*{w}")).collect();
            sizes.join("+")
        }),
        range.clone(),
        (1_u64..1_000_000, range.clone())
            .prop_map(|(mean, range)| format!("exponential:{mean}B:{range}")),
        (0.1_f64..=100.0, range).prop_map(|(shape, range)| format!("pareto:{shape}:{range}")),
    ]
}

fn levels() -> impl Strategy<Value = String> {
    let rate = prop_oneof![3 => a_rate(), 1 => Just("idle".to_owned())];
    proptest::collection::vec((rate, a_time()), 1..6).prop_map(|levels| {
        let levels: Vec<_> = levels
            .iter()
            .map(|(rate, time)| format!("{rate}@{time}"))
            .collect();
        levels.join("+")
    })
}

/// Texts of patterns of every kind but `trace`; some are refused.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        select(vec![
            "bursty",
            "bursty:sleep=us,line=10MB/s",
            "bursty:sleep=ms",
            "bursty:sleep=ms,line=none",
            "bursty:sleep=tick,line=1GB/s",
            "bulk",
            "bulk:chunk=1B",
        ])
        .prop_map(String::from),
        (a_rate(), a_size(), select(vec!["zero", "random"])).prop_map(
            |(rate, size, phase)| format!("constant:rate={rate},size={size},phase={phase}")
        ),
        (a_rate(), a_size()).prop_map(|(rate, size)| format!("poisson:rate={rate},size={size}")),
        (
            a_rate(),
            a_time(),
            a_time(),
            select(vec![
                "exponential",
                "pareto",
                "pareto,shape=1.1",
                "pareto,shape=9"
            ]),
            a_size()
        )
            .prop_map(|(rate, on, off, periods, size)| format!(
                "on-off:peak_rate={rate},mean_on={on},mean_off={off},periods={periods},size={size}"
            )),
        (levels(), a_size()).prop_map(|(states, size)| format!("mmpp:states={states},size={size}")),
        (a_time(), a_rate(), a_size()).prop_map(|(idle, rate, size)| format!(
            "idle-then-flood:idle={idle},rate={rate},size={size}"
        )),
        (a_time(), a_size())
            .prop_map(|(idle, size)| format!("idle-then-flood:idle={idle},size={size}")),
        (a_rate(), a_rate(), a_time(), a_size()).prop_map(|(from, to, over, size)| format!(
            "ramp:from={from},to={to},over={over},size={size}"
        )),
        (levels(), any::<bool>(), a_size()).prop_map(|(levels, repeat, size)| format!(
            "steps:levels={levels},repeat={repeat},size={size}"
        )),
    ]
}

/// Patterns of every kind but `trace`.
fn patterns() -> impl Strategy<Value = Pattern> {
    texts().prop_filter_map("a pattern that is accepted", |text| text.parse().ok())
}

proptest! {
    /// Also of a sender that is blocked for any time, and every size is one that
    /// the pattern can have.
    #[test]
    fn nothing_is_due_before_now(
        pattern in patterns(),
        number in any::<u64>(),
        blocked in proptest::collection::vec(prop_oneof![Just(0), 0..u64::MAX / 300], 200),
    ) {
        let mut generator = pattern.generator(seed(number)).unwrap();
        let largest = pattern.largest_packet().unwrap();
        let mut now = Timestamp::ZERO;
        for blocked in blocked {
            let Some(send) = generator.next_send(now) else { break };
            prop_assert!(send.at >= now);
            prop_assert!(send.size > ByteSize::ZERO && send.size <= largest);
            now = send.at + Nanos::new(blocked);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_sends(pattern in patterns(), number in any::<u64>()) {
        let sends = |number| -> Vec<_> {
            open_loop(pattern.generator(seed(number)).unwrap()).take(200).collect()
        };
        prop_assert_eq!(sends(number), sends(number));
    }

    #[test]
    fn a_pattern_is_read_back_from_its_text(pattern in patterns()) {
        let text = pattern.to_string();
        prop_assert!(!text.contains(' '), "{}", text);
        prop_assert_eq!(text.parse(), Ok(pattern), "{}", text);
    }

    #[test]
    fn one_more_user_changes_nobody_elses_packets(
        users in proptest::collection::vec((open_loop_patterns(), 1_u32..4, 0_u64..1_000_000), 1..5),
        place in any::<Index>(),
    ) {
        let all = sources(&users);
        let left_out = u32::try_from(place.index(users.len())).unwrap();
        let others = all.clone().into_iter().filter(|source| source.user != left_out);
        let with: Vec<Packet> = Mix::new(all).take(300).collect();
        let without = Mix::new(others);
        let last = with.last().map_or(Timestamp::ZERO, |packet| packet.at);
        let kept: Vec<_> = with.into_iter().filter(|packet| packet.user != left_out).collect();
        // The last instant may have been cut.
        let before = |packet: &Packet| packet.at < last;
        let kept: Vec<_> = kept.into_iter().filter(before).collect();
        let alone: Vec<_> = without.take_while(before).take(300).collect();
        prop_assert_eq!(kept, alone);
    }

    #[test]
    fn a_mix_is_in_order_and_holds_every_packet(
        users in proptest::collection::vec((open_loop_patterns(), 1_u32..4, 0_u64..1_000_000), 1..5),
    ) {
        let mixed: Vec<Packet> = Mix::new(sources(&users)).take(300).collect();
        let key = |packet: &Packet| (packet.at, packet.user, packet.connection);
        prop_assert!(mixed.is_sorted_by_key(key));
        for source in sources(&users) {
            let who = |packet: &&Packet| {
                (packet.user, packet.connection) == (source.user, source.connection)
            };
            let of_source: Vec<_> = mixed.iter().filter(who).copied().collect();
            let alone: Vec<_> = Mix::new([source.clone()]).take(of_source.len()).collect();
            prop_assert_eq!(of_source, alone);
        }
    }

    #[test]
    fn no_text_panics(text in "[a-z-]{0,12}(:[a-z_]{0,9}=[0-9a-zA-Z/.@+*:-]{0,20}){0,3}") {
        let _ = text.parse::<Pattern>();
    }
}

fn open_loop_patterns() -> impl Strategy<Value = Pattern> {
    patterns().prop_filter("open loop", |pattern| !pattern.is_blocking_only())
}

fn sources(users: &[(Pattern, u32, u64)]) -> Vec<Source> {
    let mut sources = Vec::new();
    for (user, (pattern, connections, start)) in (0..).zip(users) {
        for connection in 0..*connections {
            let seed = StreamSeed::derive(1, 0, user, connection, Purpose::Traffic);
            sources.push(Source {
                user,
                connection,
                start: Timestamp::from_nanos(*start),
                generator: pattern.generator(seed).unwrap(),
            });
        }
    }
    sources
}

/// Bytes per second over the first `seconds`.
fn measured_rate(text: &str, number: u64, seconds: u64) -> f64 {
    let end = Timestamp::ZERO + Nanos::from_secs(seconds);
    let sends = open_loop(generator(text, number)).take_while(|send| send.at < end);
    sends.map(|send| send.size.get() as f64).sum::<f64>() / seconds as f64
}

#[test]
fn the_mean_rate_is_what_is_sent_in_the_long_run() {
    for (text, tolerance) in [
        ("constant:rate=5000B/s,size=500B", 0.001),
        ("constant:rate=333333B/s,size=imix,phase=random", 0.001),
        ("poisson:rate=1MB/s,size=exponential:500B:40B..1500B", 0.01),
        (
            "on-off:peak_rate=1MB/s,mean_on=10ms,mean_off=30ms,size=700B",
            0.02,
        ),
        (
            "on-off:peak_rate=100kB/s,mean_on=1ms,mean_off=3ms,size=700B",
            0.02,
        ),
        (
            "on-off:peak_rate=1MB/s,mean_on=10ms,mean_off=30ms,periods=pareto,shape=1.9,size=700B",
            0.05,
        ),
        (
            "mmpp:states=1MB/s@20ms+idle@30ms+100kB/s@50ms,size=imix",
            0.03,
        ),
        (
            "steps:levels=1MB/s@20ms+idle@30ms+100kB/s@50ms,repeat=true,size=imix",
            0.001,
        ),
        ("bursty:line=10MB/s", 0.03),
    ] {
        let mean = text.parse::<Pattern>().unwrap().mean_rate().unwrap();
        let measured = measured_rate(text, 1, 500);
        assert!(
            (measured / mean - 1.0).abs() < tolerance,
            "{text}: {measured} for {mean}"
        );
    }
}

#[test]
fn constant_is_exact_however_long() {
    // 3 B/s of 7 B: the n-th packet is due at n * 7/3 s, cut to nanoseconds.
    for (index, send) in (0_u64..)
        .zip(open_loop(generator("constant:rate=3B/s,size=7B", 1)))
        .take(100_000)
    {
        assert_eq!(send.at.as_nanos(), index * 7_000_000_000 / 3);
    }
}

#[test]
fn constant_senders_with_a_random_phase_are_spread_over_one_gap() {
    let first = |number| {
        let pattern = "constant:rate=1kB/s,size=500B,phase=random";
        let at = open_loop(generator(pattern, number))
            .next()
            .unwrap()
            .at
            .as_nanos();
        assert!(at < 500_000_000);
        at as f64
    };
    let firsts = (0..2_000).map(first).collect();
    assert!(common::kolmogorov_smirnov_fits(firsts, |at| at / 5e8));
}

#[test]
fn a_ramp_carries_its_trapezium() {
    let up = "ramp:from=1kB/s,to=9kB/s,over=100s,size=100B";
    let sent = |text, seconds| measured_rate(text, 1, seconds) * seconds as f64;
    assert!((sent(up, 50) - 150_000.0).abs() <= 200.0);
    assert!((sent(up, 100) - 500_000.0).abs() <= 200.0);
    assert!((sent(up, 200) - 1_400_000.0).abs() <= 300.0);
    let down = "ramp:from=9kB/s,to=1kB/s,over=100s,size=100B";
    assert!((sent(down, 50) - 350_000.0).abs() <= 200.0);
    assert!((sent(down, 200) - 600_000.0).abs() <= 300.0);
}

#[test]
fn steps_send_each_level_and_end() {
    let text = "steps:levels=5kB/s@10s+idle@5s+1kB/s@10s,size=100B";
    let sends: Vec<_> = open_loop(generator(text, 1)).collect();
    let within = |from: u64, to: u64| {
        let second = |at: Timestamp| at.as_nanos() / 1_000_000_000;
        sends
            .iter()
            .filter(|send| (from..to).contains(&second(send.at)))
            .count()
    };
    assert_eq!(
        (within(0, 10), within(10, 15), within(15, 25)),
        (500, 0, 100)
    );
    assert_eq!(sends.len(), 600);
}

#[test]
fn idle_then_flood_is_idle_first() {
    let flood = "idle-then-flood:idle=20s,rate=1MB/s,size=1000B";
    let sends: Vec<_> = open_loop(generator(flood, 1)).take(3).collect();
    let at: Vec<_> = sends.iter().map(|send| send.at.as_nanos()).collect();
    assert_eq!(at, [20_000_000_000, 20_001_000_000, 20_002_000_000]);
    let bulk: Pattern = "idle-then-flood:idle=20s,size=1000B".parse().unwrap();
    assert!(bulk.is_blocking_only());
    let mut bulk = bulk.generator(seed(1)).unwrap();
    let mut now = Timestamp::ZERO;
    for blocked in [0, 5, 0] {
        let send = bulk.next_send(now).unwrap();
        assert_eq!(send.at.as_nanos(), now.as_nanos().max(20_000_000_000));
        now = send.at + Nanos::new(blocked);
    }
}

#[test]
fn every_kind_has_fields_and_is_named_by_its_patterns() {
    let texts = [
        "bursty",
        "constant:rate=1B/s,size=1B",
        "poisson:rate=1B/s,size=1B",
        "on-off:peak_rate=1B/s,mean_on=1s,mean_off=1s,size=1B",
        "mmpp:states=1B/s@1s,size=1B",
        "bulk",
        "idle-then-flood:idle=1s,size=1B",
        "ramp:from=1B/s,to=2B/s,over=1s,size=1B",
        "steps:levels=1B/s@1s,size=1B",
        "request-response:think=1s,size=1B",
        "trace:file=a.csv",
    ];
    assert_eq!(texts.len(), Pattern::KINDS.len());
    for (text, kind) in texts.iter().zip(Pattern::KINDS) {
        let pattern: Pattern = text.parse().unwrap();
        assert_eq!(pattern.kind(), *kind);
        assert!(Pattern::fields(kind).is_some());
    }
    assert_eq!(Pattern::fields("brusty"), None);
}

/// The whole message, with its causes.
fn refusal(text: &str) -> (Option<String>, String) {
    let error = text.parse::<Pattern>().unwrap_err();
    let field = error.field().map(String::from);
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        message = format!("{message}: {error}");
        cause = error.source();
    }
    (field, message)
}

#[test]
fn refusals_name_the_field_and_the_remedy() {
    for (text, field, part) in [
        ("brusty", None, "did you mean \"bursty\"?"),
        ("constant:rate=5000,size=1B", Some("rate"), "has no unit"),
        ("constant:rate=5000B/s", Some("size"), "missing"),
        ("constant:rate=1B/s,size=0B", Some("size"), "1 GiB"),
        ("constant:rate=1B/s,size=2GiB", Some("size"), "1 GiB"),
        ("constant:rate=1B/s,size=9B..5B", Some("size"), "a range"),
        ("constant:rate=1B/s,size=imax", Some("size"), "imix"),
        ("constant:rate=1B/s,size=5B*0", Some("size"), "weights"),
        (
            "constant:rate=1B/s,size=pareto:nan:1B..2B",
            Some("size"),
            "shape",
        ),
        (
            "constant:rate=1B/s,size=1B,fase=zero",
            Some("fase"),
            "phase",
        ),
        (
            "constant:rate=1B/s,size=1B,phase=one",
            Some("phase"),
            "zero, random",
        ),
        ("bursty:sleep=s", Some("sleep"), "us, ms, tick"),
        ("bulk:chunk=0B", Some("chunk"), "from 1 B"),
        (
            "ramp:from=1B/s,to=2B/s,over=0s,size=1B",
            Some("over"),
            "longer than 0s",
        ),
        ("steps:levels=1B/s,size=1B", Some("levels"), "RATE@TIME"),
        ("steps:levels=idle@1s,size=1B", Some("levels"), "idle"),
        (
            "steps:levels=1B/s@0s,size=1B",
            Some("levels"),
            "longer than 0s",
        ),
        ("mmpp:states=1B/s@1ns,size=1MB", Some("states"), "1000"),
        (
            "on-off:peak_rate=1B/s,mean_on=1ms,mean_off=1s,size=1kB",
            Some("mean_on"),
            "1000",
        ),
        (
            "on-off:peak_rate=1B/s,mean_on=1s,mean_off=1s,shape=2,size=1B",
            Some("shape"),
            "pareto",
        ),
        (
            "on-off:peak_rate=1B/s,mean_on=1s,mean_off=1s,periods=pareto,shape=1,size=1B",
            Some("shape"),
            "above 1",
        ),
        ("trace:file=", Some("file"), "path"),
    ] {
        let (at, message) = refusal(text);
        assert_eq!(at.as_deref(), field, "{text}: {message}");
        assert!(message.contains(part), "{text}: {message}");
    }
}

#[test]
fn a_trace_keeps_its_file_and_user() {
    let pattern: Pattern = "trace:file=dir/a b.csv,user=alice".parse().unwrap();
    assert_eq!(pattern.to_string(), "trace:file=dir/a b.csv,user=alice");
    assert!(pattern.generator(seed(1)).is_none());
    let comma = Pattern::Trace {
        file: "a,b.csv".into(),
        user: None,
    };
    assert!(matches!(comma.check(), Err(SpecError::Conflict { field, .. }) if field == "file"));
}
