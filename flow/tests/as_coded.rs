//! The seeds' own limiters against the series measured of the seeds' code.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

use proptest::prelude::*;
use weirgate_flow::as_coded::{
    HomeworkPolling, HomeworkSleep, ShadowsocksClose, ShadowsocksDebt, Wirefisher,
};
use weirgate_flow::stream::{Grant, Stream};
use weirgate_flow::{ByteRate, ByteSize, Limiter, Nanos, Policy, Timestamp};

const SECOND: u64 = 1_000_000_000;

fn rate(bytes_per_second: u64) -> ByteRate {
    ByteRate::new(bytes_per_second).expect("not zero")
}

fn at_millis(millis: u64) -> Timestamp {
    Timestamp::from_nanos(millis * 1_000_000)
}

/// Bytes in each of the first `seconds` seconds of a source that always has
/// more, read and written in no time.
fn saturated<L: Limiter>(mut stream: Stream<L>, seconds: usize) -> Vec<u64> {
    let mut per_second = vec![0; seconds];
    let mut now = Timestamp::ZERO;
    while let Some((at, size)) = stream.move_next(now, ByteSize::MAX) {
        let second = usize::try_from(at.as_nanos() / SECOND).expect("small");
        let Some(slot) = per_second.get_mut(second) else {
            break;
        };
        *slot += size.get();
        now = at;
    }
    per_second
}

fn polling(bytes_per_second: u64) -> Stream<HomeworkPolling> {
    let rate = rate(bytes_per_second);
    Stream::new(Policy::HomeworkPolling { rate }, HomeworkPolling::new(rate))
}

fn sleep(bytes_per_second: u64) -> Stream<HomeworkSleep> {
    let rate = rate(bytes_per_second);
    Stream::new(Policy::HomeworkSleep { rate }, HomeworkSleep::new(rate))
}

fn cumulative(per_second: &[u64], at_seconds: &[usize]) -> Vec<u64> {
    at_seconds
        .iter()
        .map(|seconds| per_second[..*seconds].iter().sum())
        .collect()
}

#[test]
fn homework_polling_is_a_window_of_whole_buffers_a_second() {
    for (bytes_per_second, steady) in [
        (1_000, 0),
        (2_047, 0),
        (2_048, 2_048),
        (3_000, 2_048),
        (4_095, 2_048),
        (5_000, 4_096),
        (20_000, 18_432),
        (1_000_000, 999_424),
    ] {
        let series = saturated(polling(bytes_per_second), 20);
        assert_eq!(series, [steady; 20], "rate {bytes_per_second}");
    }
}

#[test]
fn homework_polling_passes_twice_its_limit_across_a_tick() {
    let mut limiter = HomeworkPolling::new(rate(20_000));
    let buffer = HomeworkPolling::READ;
    let (before, after) = (
        Timestamp::from_nanos(SECOND - 1),
        Timestamp::from_nanos(SECOND),
    );
    let mut passed = 0;
    for now in [before, after] {
        while limiter.admit(now, buffer) {
            passed += buffer.get();
        }
    }
    assert_eq!(passed, 2 * 18_432);
}

#[test]
fn homework_polling_counts_what_it_read() {
    let mut limiter = HomeworkPolling::new(rate(2_500));
    for _ in 0..453 {
        assert!(limiter.admit(Timestamp::ZERO, ByteSize::new(1)));
    }
    // 2,047 tokens: not enough for a buffer, though a byte would do.
    assert!(!limiter.admit(Timestamp::ZERO, ByteSize::new(1)));
    limiter.refund(Timestamp::ZERO, ByteSize::new(1));
    assert!(limiter.admit(Timestamp::ZERO, ByteSize::new(1)));
}

#[test]
fn homework_polling_reads_a_long_packet_in_pieces() {
    let limiter = HomeworkPolling::new(rate(5_000));
    let long = ByteSize::new(3 * 2_048);
    assert_eq!(
        limiter.earliest(Timestamp::ZERO, long),
        Some(at_millis(1_000))
    );
    assert_eq!(
        limiter.earliest(Timestamp::ZERO, ByteSize::new(65_537)),
        None
    );
}

#[test]
fn homework_sleep_follows_its_series_at_3000() {
    let series = saturated(sleep(3_000), 60);
    assert_eq!(
        series[..8],
        [4_096, 3_072, 3_072, 3_072, 3_072, 3_072, 2_048, 3_072]
    );
    assert_eq!(
        cumulative(&series, &[1, 2, 5, 10, 60]),
        [4_096, 7_168, 16_384, 30_720, 181_248]
    );
}

#[test]
fn homework_sleep_follows_its_series_at_5000() {
    let series = saturated(sleep(5_000), 60);
    assert_eq!(series[..4], [7_168, 5_120, 5_120, 4_096]);
    assert_eq!(series[4..12], [5_120; 8]);
    assert_eq!(series[12], 4_096);
    assert_eq!(
        cumulative(&series, &[1, 2, 5, 10, 60]),
        [7_168, 12_288, 26_624, 52_224, 302_080]
    );
}

#[test]
fn homework_sleep_follows_its_series_at_1000() {
    let series = saturated(sleep(1_000), 60);
    assert_eq!(
        cumulative(&series, &[1, 2, 5, 10, 60]),
        [1_024, 2_048, 5_120, 10_240, 60_416]
    );
}

#[test]
fn homework_sleep_starves_at_ten_bytes_a_second() {
    for bytes_per_second in 1..=10 {
        let limiter = HomeworkSleep::new(rate(bytes_per_second));
        assert_eq!(limiter.earliest(Timestamp::ZERO, ByteSize::new(1)), None);
    }
    // At 11 the half-second looks earn 5 bytes each: (1,025 - 11) / 5 of them.
    let limiter = HomeworkSleep::new(rate(11));
    assert_eq!(
        limiter.earliest(Timestamp::ZERO, ByteSize::new(1)),
        Some(at_millis(101_500))
    );
}

/// Bytes in the second after an idle time from the start, one read pending.
fn after_idling(bytes_per_second: u64, idle_secs: u64) -> u64 {
    let mut stream = sleep(bytes_per_second);
    let start = Timestamp::from_nanos(idle_secs * SECOND);
    let end = start + Nanos::from_secs(1);
    let (mut now, mut passed) = (start, 0);
    while let Some((at, size)) = stream.move_next(now, ByteSize::MAX) {
        if at >= end {
            break;
        }
        now = at;
        passed += size.get();
    }
    passed
}

#[test]
fn homework_sleep_hoards_while_idle_and_forgets_after_100_s() {
    assert_eq!(after_idling(3_000, 20), 63_488);
    let nearly_all = after_idling(3_000, 99);
    assert!((297_000..=303_000).contains(&nearly_all), "{nearly_all}");
    let forgotten = after_idling(3_000, 102);
    assert!((3_000..=6_000).contains(&forgotten), "{forgotten}");
}

#[test]
fn homework_sleep_charges_a_whole_buffer_for_a_short_read() {
    let mut limiter = HomeworkSleep::new(rate(3_000));
    let short = ByteSize::new(256);
    let mut now = Timestamp::ZERO;
    let mut passed = 0;
    loop {
        now = limiter.earliest(now, short).expect("it grants in the end");
        if now.as_nanos() >= 60 * SECOND {
            break;
        }
        limiter.commit(now, short);
        limiter.refund(now, ByteSize::new(768));
        passed += short.get();
    }
    // The series at 3,000 B/s with a quarter of each buffer used.
    assert_eq!(passed, 181_248 / 4);
}

#[test]
fn homework_sleep_looks_again_at_half_seconds_after_a_new_rate() {
    let mut limiter = HomeworkSleep::new(rate(5));
    assert_eq!(limiter.earliest(Timestamp::ZERO, ByteSize::new(1)), None);
    limiter.set_rate(at_millis(60_200), rate(5_000));
    assert_eq!(
        limiter.earliest(at_millis(60_200), ByteSize::new(1)),
        Some(at_millis(60_500))
    );
}

#[test]
fn shadowsocks_close_closes_instead_of_waiting() {
    let rate = rate(384_000);
    let close = ShadowsocksClose::new(rate);
    let mut stream = Stream::new(Policy::ShadowsocksClose { rate }, close);
    let mut reads = 0;
    while let Some((at, size)) = stream.move_next(Timestamp::ZERO, ByteSize::MAX) {
        assert_eq!((at, size), (Timestamp::ZERO, ShadowsocksClose::READ));
        reads += 1;
    }
    assert_eq!(reads, 384_000 / 16_384);
    // Another connection finds credit again as time goes on.
    let now = at_millis(100);
    assert_eq!(
        stream.grant(now, ByteSize::MAX),
        Grant::Now(ShadowsocksClose::READ)
    );
}

#[test]
fn shadowsocks_close_credits_time_again_after_each_refusal() {
    let mut limiter = ShadowsocksClose::new(rate(1_000));
    assert!(limiter.admit(Timestamp::ZERO, ByteSize::new(1_000)));
    for millis in [100, 200, 300] {
        assert!(!limiter.admit(at_millis(millis), ByteSize::new(601)));
    }
    // 300 ms have earned 100 + 200 + 300 bytes.
    assert_eq!(limiter.available(at_millis(300)), ByteSize::new(900));
    assert!(limiter.admit(at_millis(300), ByteSize::new(900)));
    assert!(!limiter.admit(at_millis(300), ByteSize::new(1)));
}

#[test]
fn shadowsocks_debt_follows_its_series() {
    let rate = rate(384_000);
    let debt = ShadowsocksDebt::new(rate);
    let series = saturated(Stream::new(Policy::ShadowsocksDebt { rate }, debt), 30);
    assert_eq!(series[0], 770_048);
    for bytes in &series[1..] {
        assert!([376_832, 393_216].contains(bytes), "{bytes}");
    }
    assert!(series.contains(&376_832) && series.contains(&393_216));
}

#[test]
fn shadowsocks_debt_does_not_cap_what_ends_a_debt() {
    let mut limiter = ShadowsocksDebt::new(rate(1_000));
    limiter.commit(Timestamp::ZERO, ByteSize::new(2_000));
    let later = at_millis(100_000);
    limiter.commit(later, ByteSize::new(90_000));
    assert!(limiter.conforms(later, ByteSize::new(1)));
    // -1,000 + 100,000 - 90,000 = 9,000 left; the next read finds 1,000 of it.
    limiter.commit(later, ByteSize::new(1_001));
    assert!(!limiter.conforms(later, ByteSize::new(1)));
}

/// Bytes in each second that pass of `size`-byte packets sent at a fixed
/// interval, the whole nanoseconds that `offered_rate` asks for.
fn policed<L: Limiter>(mut limiter: L, size: u64, offered_rate: u64, seconds: usize) -> Vec<u64> {
    let mut per_second = vec![0; seconds];
    let interval = size * SECOND / offered_rate;
    for packet in 0.. {
        let now = Timestamp::from_nanos(packet * interval);
        let second = usize::try_from(now.as_nanos() / SECOND).expect("small");
        let Some(slot) = per_second.get_mut(second) else {
            break;
        };
        if limiter.admit(now, ByteSize::new(size)) {
            *slot += size;
        }
    }
    per_second
}

#[test]
fn wirefisher_follows_its_series_at_1_mib() {
    let limiter = Wirefisher::new(rate(1 << 20), Nanos::from_secs(1));
    let series = policed(limiter, 1_460, 10 << 20, 10);
    assert_eq!(series[0], 1_302_320);
    for bytes in &series[1..] {
        // 145 whole bytes of the 145.9996 that each packet's interval earns.
        assert!([1_040_980, 1_042_440].contains(bytes), "{bytes}");
    }
}

#[test]
fn wirefisher_starves_when_packets_come_faster_than_bytes() {
    let limiter = Wirefisher::new(rate(64 << 10), Nanos::from_secs(1));
    let depth = limiter.depth().get();
    let series = policed(limiter, 64, 64 * 100_000, 5);
    assert_eq!(series, [depth, 0, 0, 0, 0]);
}

#[test]
fn wirefisher_never_admits_more_than_its_depth() {
    let limiter = Wirefisher::new(rate(100 << 10), Nanos::from_secs(1));
    assert_eq!(policed(limiter, 65_536, 1 << 20, 5), [0; 5]);
}

#[test]
fn wirefisher_wraps_at_32_bits() {
    let mebibytes_100 = rate(100 << 20);
    let minute = Wirefisher::new(mebibytes_100, Nanos::from_secs(60));
    assert_eq!(minute.depth(), ByteSize::new(499_122_176));
    let gibibytes_4 = Wirefisher::new(rate(4 << 30), Nanos::from_secs(1));
    assert_eq!(gibibytes_4.depth(), ByteSize::ZERO);
    assert_eq!(
        gibibytes_4.earliest(Timestamp::ZERO, ByteSize::new(1)),
        None
    );
    let half_second = Wirefisher::new(mebibytes_100, Nanos::from_millis(500));
    assert_eq!(half_second.depth(), ByteSize::ZERO);
    assert_eq!(policed(half_second, 64, 1 << 20, 2), [0, 0]);
}

#[test]
fn wirefisher_earns_less_when_its_product_wraps() {
    let mut limiter = Wirefisher::new(rate(1 << 30), Nanos::from_secs(1));
    let depth = limiter.depth();
    assert!(limiter.admit(Timestamp::ZERO, depth));
    // 2^34 ns at 2^30 B/s is 2^64 billionths of a byte, and so nothing.
    let wrapped = Timestamp::from_nanos(1 << 34);
    assert!(!limiter.conforms(wrapped, ByteSize::new(1)));
    let next = limiter.earliest(wrapped, ByteSize::new(1));
    assert_eq!(next, Some(wrapped + Nanos::new(1)));
}

/// What can happen to a limiter, at any time and in any order.
#[derive(Clone, Copy, Debug)]
enum Act {
    Admit(u64),
    CommitUnasked(u64),
    Refund(u64),
    SetRate(u64),
}

fn acts() -> impl Strategy<Value = Vec<(u64, Act)>> {
    let size = || prop_oneof![0..3_000_u64, 0..100_000_u64, any::<u64>()];
    let act = prop_oneof![
        6 => size().prop_map(Act::Admit),
        1 => size().prop_map(Act::CommitUnasked),
        1 => size().prop_map(Act::Refund),
        1 => rates().prop_map(Act::SetRate),
    ];
    let at = prop_oneof![0..10 * SECOND, 0..1_000_000 * SECOND, any::<u64>()];
    proptest::collection::vec((at, act), 1..40)
}

fn rates() -> impl Strategy<Value = u64> {
    prop_oneof![1..20_u64, 1..100_000_u64, 1..=u64::MAX]
}

/// Faults are kept, but none may bring the program down, and what they answer
/// fits together until the next change.
fn survives<L: Limiter>(mut limiter: L, acts: &[(u64, Act)], probe: ByteSize) {
    for &(at, act) in acts {
        let now = Timestamp::from_nanos(at);
        match act {
            Act::Admit(size) => {
                let conforms = limiter.conforms(now, ByteSize::new(size));
                assert_eq!(limiter.admit(now, ByteSize::new(size)), conforms);
            }
            Act::CommitUnasked(size) => limiter.commit(now, ByteSize::new(size)),
            Act::Refund(size) => limiter.refund(now, ByteSize::new(size)),
            Act::SetRate(new) => limiter.set_rate(now, rate(new)),
        }
        let available = limiter.available(now);
        assert!(available == ByteSize::ZERO || limiter.conforms(now, available));
        if let Some(earliest) = limiter.earliest(now, probe) {
            assert!(earliest >= now && limiter.conforms(earliest, probe));
            assert_eq!(earliest == now, limiter.conforms(now, probe));
        }
    }
}

proptest! {
    #[test]
    fn no_input_brings_them_down(
        first in rates(),
        acts in acts(),
        probe in 1..3_000_u64,
        time_scale in any::<u64>(),
    ) {
        let (rate, probe) = (rate(first), ByteSize::new(probe));
        survives(HomeworkPolling::new(rate), &acts, probe);
        survives(HomeworkSleep::new(rate), &acts, probe);
        survives(ShadowsocksClose::new(rate), &acts, probe);
        survives(ShadowsocksDebt::new(rate), &acts, probe);
        survives(Wirefisher::new(rate, Nanos::new(time_scale)), &acts, probe);
        survives(Wirefisher::new(rate, Nanos::from_secs(1)), &acts, probe);
    }
}
