//! The bucket in the kernel, at instants that the test brings, against the models' own.
#![cfg(feature = "bpf")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::cell::RefCell;

use common::{engine, permitted, rules};
use flow::token_bucket::{Oversize, TokenBucket};
use flow::{ByteRate, ByteSize, Limiter as _, Timestamp};
use kernel::engine::Engine;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Rules with one policer that no packet meets.
fn policer(rate: u64, burst: u64, oversize: &str) -> String {
    format!(
        "[[rule]]\nname = \"x\"\ndirection = \"ingress\"\nhook = \"netfilter\"\nremote = \"192.0.2.1\"\n\
         rate = \"{rate} B/s\"\nburst = \"{burst} B\"\noversize = \"{oversize}\"\n"
    )
}

/// How many of `packets` of `len` bytes pass at `at`.
fn passed(engine: &Engine, at: u64, len: u64, packets: u32) -> u32 {
    let pass = |_: &u32| engine.try_bucket(0, at, len).unwrap();
    u32::try_from((0..packets).filter(pass).count()).unwrap()
}

#[test]
fn decides_as_the_model_does() {
    if !permitted() {
        return;
    }
    let state = RefCell::new((engine(&policer(1, 1, "drop")), 0));
    let mut runner = TestRunner::new(Config::with_cases(40));
    let rates = prop_oneof![1..2_000_u64, 1_000..2_000_000_000_u64, Just(50_000_000_000)];
    let bursts = prop_oneof![1..5_000_u64, 1_000..100_000_000_u64, Just(12_500_000_000)];
    let gaps = prop_oneof![
        Just(0),
        1..2_000_u64,
        1..5_000_000_000_u64,
        Just(u64::MAX >> 8)
    ];
    let packets = proptest::collection::vec((gaps, 1..70_000_u64), 1..120);
    let debts = proptest::bool::ANY;
    let result = runner.run(
        &(rates, bursts, packets, debts),
        |(rate, burst, packets, debt)| {
            // Another name, another bucket.
            let (engine, number) = &mut *state.borrow_mut();
            *number += 1;
            let word = if debt { "debt" } else { "drop" };
            let text = policer(rate, burst, word).replace("\"x\"", &format!("\"x{number}\""));
            engine.apply(&rules(&text)).unwrap();
            let oversize = if debt { Oversize::Debt } else { Oversize::Drop };
            let (rate, burst) = (ByteRate::new(rate).unwrap(), ByteSize::new(burst));
            let mut model = TokenBucket::with(rate, burst, burst, oversize);
            let mut now = 1_u64;
            for (gap, len) in packets {
                now = now.saturating_add(gap);
                let expected = model.admit(Timestamp::from_nanos(now), ByteSize::new(len));
                prop_assert_eq!(engine.try_bucket(0, now, len).unwrap(), expected);
            }
            Ok(())
        },
    );
    result.unwrap();
}

/// S4: refills cut to whole tokens, so that nothing ever passes at high packet rates.
#[test]
fn asking_often_starves_nobody() {
    if !permitted() {
        return;
    }
    let engine = engine(&policer(65_536, 16_384, "borrow"));
    assert_eq!(passed(&engine, 1, 16_384, 1), 1, "empties the bucket");
    // 100,000 asks a second: each earns 0.65536 of a byte.
    let sent = (1..=50_000_u64)
        .filter(|i| engine.try_bucket(0, 1 + i * 10_000, 1_024).unwrap())
        .count();
    // Half a second is 32,768 bytes; one packet may be borrowed.
    assert!((32..=33).contains(&sent), "{sent} of 32 packets");
}

/// S4: rate x time_scale in 32 bits.
#[test]
fn large_rates_do_not_wrap() {
    if !permitted() {
        return;
    }
    for rate in [1_u64 << 32, 4 << 30, 6_291_456_000, 50_000_000_000] {
        let engine = engine(&policer(rate, rate / 4, "drop"));
        let quarter = u32::try_from(rate / 4 / 65_536).unwrap();
        assert_eq!(passed(&engine, 1, 65_536, quarter + 10), quarter, "{rate}");
        // A second later it is full, and no fuller.
        assert_eq!(
            passed(&engine, 1_000_000_001, 65_536, quarter + 10),
            quarter
        );
    }
}

/// S4: packets of 64 KiB never fit the bucket of a rate below 256 KiB/s.
#[test]
fn packets_larger_than_the_bucket_pass_at_the_rate() {
    if !permitted() {
        return;
    }
    let engine = engine(&policer(100_000, 25_000, "borrow"));
    let step = 10_000_000;
    let sent = (0..1_000_u64)
        .filter(|i| engine.try_bucket(0, 1 + i * step, 65_212).unwrap())
        .count();
    let bytes = u64::try_from(sent).unwrap() * 65_212;
    // Ten seconds at 100,000 B/s, the bucket, and one packet in debt.
    assert!(
        (1_000_000..=1_000_000 + 25_000 + 65_212).contains(&bytes),
        "{bytes}"
    );
}

#[test]
fn ten_years_of_idling_are_one_bucket() {
    if !permitted() {
        return;
    }
    let engine = engine(&policer(1_000_000, 10_000, "drop"));
    assert_eq!(passed(&engine, 1, 1_000, 20), 10);
    let years = 10 * 365 * 86_400 * 1_000_000_000_u64;
    assert_eq!(passed(&engine, years, 1_000, 20), 10);
    // Time that runs backwards stands still.
    assert_eq!(passed(&engine, 1, 1_000, 20), 0);
}

/// A changed rule keeps its tokens and its counts.
#[test]
fn a_changed_depth_keeps_the_tokens() {
    if !permitted() {
        return;
    }
    let mut engine = engine(&policer(1_000, 10_000, "drop"));
    assert_eq!(passed(&engine, 1, 1_000, 6), 6);
    engine
        .apply(&rules(&policer(1_000, 20_000, "drop")))
        .unwrap();
    assert_eq!(passed(&engine, 1, 1_000, 10), 4, "4,000 were left");
    engine
        .apply(&rules(&policer(1_000, 2_000, "drop")))
        .unwrap();
    assert_eq!(
        passed(&engine, 1_000_000_001, 1_000, 10),
        1,
        "a second earns 1,000"
    );
    assert_eq!(
        passed(&engine, 10_000_000_001, 1_000, 10),
        2,
        "no more than the depth"
    );
}
