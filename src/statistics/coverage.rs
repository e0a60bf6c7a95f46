//! Whether 95 % intervals hold the truth in 95 of 100 campaigns, by simulation.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};

use super::Summary;

const CAMPAIGNS: usize = 1_000;

/// Uniform in (0, 1).
#[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
fn uniform(random: &mut Xoshiro256PlusPlus) -> f64 {
    ((random.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// A sum of `terms` exponentials of mean 1: mean `terms`, skew 2 / sqrt(`terms`).
fn skewed(random: &mut Xoshiro256PlusPlus, terms: u32) -> f64 {
    (0..terms).map(|_| -uniform(random).ln()).sum()
}

/// In how many campaigns of `runs` runs t and BCa held `terms`.
fn held(runs: usize, terms: u32) -> (usize, Option<usize>) {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(7);
    let truth = f64::from(terms);
    let (mut t, mut bootstrap) = (0, None);
    for _ in 0..CAMPAIGNS {
        let values: Vec<f64> = (0..runs).map(|_| skewed(&mut random, terms)).collect();
        let summary = Summary::of(&values).unwrap();
        t += usize::from(summary.t.unwrap().contains(truth));
        if let Some(interval) = summary.bootstrap {
            *bootstrap.get_or_insert(0) += usize::from(interval.contains(truth));
        }
    }
    (t, bootstrap)
}

#[test]
fn intervals_hold_the_truth_in_93_to_97_of_100_campaigns() {
    let promised = CAMPAIGNS * 93 / 100..=CAMPAIGNS * 97 / 100;
    let (t, none) = held(10, 60);
    assert!(promised.contains(&t) && none.is_none(), "10 runs: {t}");
    for terms in [60, 8] {
        let (t, bootstrap) = held(30, terms);
        assert!(promised.contains(&t), "skew of {terms}: t {t}");
        let bootstrap = bootstrap.unwrap();
        assert!(
            promised.contains(&bootstrap),
            "skew of {terms}: BCa {bootstrap}"
        );
    }
}
