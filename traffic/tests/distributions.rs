//! Each distribution of sizes and each arrival process against its definition,
//! at a level of 0.1 % with fixed seeds.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{
    Z, chi_square_fits, gaps, generator, kolmogorov_smirnov_fits, moments, open_loop, seed,
};
use weirgate_traffic::SizeDistribution;

const DRAWS: usize = 200_000;

fn sizes(text: &str) -> Vec<u64> {
    let distribution: SizeDistribution = text.parse().unwrap();
    let mut random = seed(7).random();
    let mut sampler = distribution.sampler();
    (0..DRAWS)
        .map(|_| sampler.draw(&mut random).get())
        .collect()
}

/// Holds draws to `share` of each size from `least` on, in cells wide enough.
fn fits_sizes(text: &str, least: u64, shares: &[f64]) -> bool {
    let mut counts = vec![0_u64; shares.len()];
    for size in sizes(text) {
        counts[usize::try_from(size - least).unwrap()] += 1;
    }
    let (mut cells, mut expected) = (vec![0], vec![0.0]);
    for (count, share) in counts.iter().zip(shares) {
        if *expected.last().unwrap() * DRAWS as f64 >= 500.0 {
            cells.push(0);
            expected.push(0.0);
        }
        *cells.last_mut().unwrap() += count;
        *expected.last_mut().unwrap() += share;
    }
    if *expected.last().unwrap() * (DRAWS as f64) < 5.0 {
        let (count, share) = (cells.pop().unwrap(), expected.pop().unwrap());
        *cells.last_mut().unwrap() += count;
        *expected.last_mut().unwrap() += share;
    }
    chi_square_fits(&cells, &expected)
}

/// Whether the mean of the draws is the mean that the distribution claims.
fn has_its_mean(text: &str) -> bool {
    let distribution: SizeDistribution = text.parse().unwrap();
    let sample: Vec<f64> = sizes(text).iter().map(|size| *size as f64).collect();
    let (mean, deviation) = moments(&sample);
    (mean - distribution.mean()).abs() <= Z * deviation / (DRAWS as f64).sqrt()
}

fn shares_of(sizes: &[(u64, f64)], least: u64) -> Vec<f64> {
    let greatest = sizes.iter().map(|(size, _)| *size).max().unwrap();
    let mut shares = vec![0.0; usize::try_from(greatest - least + 1).unwrap()];
    for (size, share) in sizes {
        shares[usize::try_from(size - least).unwrap()] += share;
    }
    shares
}

#[test]
fn fixed() {
    assert!(sizes("500B").iter().all(|size| *size == 500));
}

#[test]
fn uniform() {
    assert!(fits_sizes("64B..127B", 64, &[1.0 / 64.0; 64]));
    assert!(
        !fits_sizes("64B..126B", 64, &[1.0 / 64.0; 64]),
        "the test can fail"
    );
    assert!(has_its_mean("64B..127B"));
    assert!(sizes("1B..1B").iter().all(|size| *size == 1));
    let wide = sizes("1B..1GiB")
        .into_iter()
        .map(|size| size as f64)
        .collect();
    assert!(kolmogorov_smirnov_fits(wide, |size| size / f64::from(1 << 30)));
}

#[test]
fn imix_in_both_its_forms() {
    let twelfth = 1.0 / 12.0;
    let frames = shares_of(
        &[(64, 7.0 * twelfth), (594, 4.0 * twelfth), (1518, twelfth)],
        64,
    );
    assert!(fits_sizes("imix", 64, &frames));
    assert!(has_its_mean("imix"));
    let packets = shares_of(
        &[(40, 7.0 * twelfth), (576, 4.0 * twelfth), (1500, twelfth)],
        40,
    );
    assert!(fits_sizes("imix-ip", 40, &packets));
    assert!(has_its_mean("imix-ip"));
    let mean = |text: &str| text.parse::<SizeDistribution>().unwrap().mean();
    assert!((mean("imix") - 4342.0 / 12.0).abs() < 1e-9);
    assert!((mean("imix-ip") - 4084.0 / 12.0).abs() < 1e-9);
}

#[test]
fn weighted() {
    let shares = shares_of(&[(10, 0.2), (20, 0.5), (15, 0.3)], 10);
    assert!(fits_sizes("10B*2+20B*5+15B*3", 10, &shares));
    assert!(has_its_mean("10B*2+20B*5+15B*3"));
}

#[test]
fn the_mixture_of_the_bursty_sender() {
    let mut shares = vec![0.0; 1473 - 64];
    for (share, least, greatest) in [
        (0.4, 64, 512),
        (0.3, 512, 1024),
        (0.2, 1024, 1400),
        (0.1, 1400, 1472),
    ] {
        for size in least..=greatest {
            shares[size - 64] += share / (greatest - least + 1) as f64;
        }
    }
    assert!(fits_sizes("wirefisher", 64, &shares));
    assert!(has_its_mean("wirefisher"));
}

#[test]
fn truncated_exponential() {
    let below = |size: f64| 1.0 - (-(size - 40.0) / 500.0).exp();
    let shares: Vec<f64> = (40..=1500)
        .map(|size| (below(f64::from(size) + 1.0) - below(f64::from(size))) / below(1501.0))
        .collect();
    assert!(fits_sizes("exponential:500B:40B..1500B", 40, &shares));
    assert!(!fits_sizes("exponential:480B:40B..1500B", 40, &shares));
    for text in [
        "exponential:500B:40B..1500B",
        "exponential:1B:1B..9B",
        "exponential:1GiB:1B..3B",
        "exponential:100B:1000B..1GiB",
    ] {
        assert!(has_its_mean(text), "{text}");
    }
}

#[test]
fn bounded_pareto() {
    let tail = |size: f64| (40.0 / size).powf(1.2);
    let inside = 1.0 - tail(1501.0);
    let shares: Vec<f64> = (40..=1500)
        .map(|size| (tail(f64::from(size)) - tail(f64::from(size) + 1.0)) / inside)
        .collect();
    assert!(fits_sizes("pareto:1.2:40B..1500B", 40, &shares));
    assert!(!fits_sizes("pareto:1.15:40B..1500B", 40, &shares));
    for text in [
        "pareto:1.2:40B..1500B",
        "pareto:1:40B..100kB",
        "pareto:2.5:1B..1GiB",
        "pareto:100:1000B..2000B",
        "pareto:0.1:1B..20kB",
    ] {
        assert!(has_its_mean(text), "{text}");
    }
}

#[test]
fn the_mean_of_pareto_is_the_sum_over_its_sizes() {
    for (shape, least, greatest) in [(1.2, 40, 100_000), (0.5, 3, 20_000), (1.0, 1, 50_000)] {
        let text = format!("pareto:{shape}:{least}B..{greatest}B");
        let tail = |size: u32| (f64::from(least) / f64::from(size)).powf(shape);
        let inside = 1.0 - tail(greatest + 1);
        let exact: f64 = (least..=greatest)
            .map(|size| f64::from(size) * (tail(size) - tail(size + 1)) / inside)
            .sum();
        let mean = text.parse::<SizeDistribution>().unwrap().mean();
        assert!(
            (mean / exact - 1.0).abs() < 1e-5,
            "{text}: {mean} for {exact}"
        );
    }
}

fn gaps_of(pattern: &str, count: usize) -> Vec<f64> {
    let sends = open_loop(generator(pattern, 3)).take(count);
    gaps(sends).map(|gap| gap as f64).collect()
}

#[test]
fn poisson_gaps_are_exponential() {
    // 1 MB/s of 500 B: a mean gap of 500 us.
    let exponential = |gap: f64| 1.0 - (-gap / 500_000.0).exp();
    let sample = gaps_of("poisson:rate=1MB/s,size=500B", 100_000);
    assert!(kolmogorov_smirnov_fits(sample, exponential));
    let other = gaps_of("poisson:rate=1.02MB/s,size=500B", 100_000);
    assert!(!kolmogorov_smirnov_fits(other, exponential));
}

#[test]
fn poisson_gaps_do_not_depend_on_each_other() {
    let sample = gaps_of("poisson:rate=1MB/s,size=500B", 100_000);
    let (mean, deviation) = moments(&sample);
    let products = sample
        .windows(2)
        .map(|pair| (pair[0] - mean) * (pair[1] - mean));
    let correlation = products.sum::<f64>() / deviation.powi(2) / sample.len() as f64;
    assert!(
        correlation.abs() < Z / (sample.len() as f64).sqrt(),
        "{correlation}"
    );
}

#[test]
fn poisson_gaps_of_a_few_nanoseconds_keep_their_mean() {
    let sample = gaps_of("poisson:rate=10GB/s,size=64B", 200_000);
    let (mean, deviation) = moments(&sample);
    assert!(
        (mean - 6.4).abs() < Z * deviation / (sample.len() as f64).sqrt(),
        "{mean}"
    );
}

/// The lengths of the off periods: gaps beyond the packet's own time. On periods
/// are so much longer than a packet that hardly a gap holds two off periods.
fn off_periods(pattern: &str) -> Vec<f64> {
    let packet = 1_000.0;
    gaps_of(pattern, 2_000_000)
        .into_iter()
        .skip(1)
        .filter(|gap| *gap > packet + 1.0)
        .map(|gap| gap - packet)
        .collect()
}

#[test]
fn on_off_periods_are_exponential() {
    let offs = off_periods("on-off:peak_rate=1GB/s,mean_on=1ms,mean_off=5ms,size=1000B");
    assert!(offs.len() > 1_500, "{}", offs.len());
    assert!(kolmogorov_smirnov_fits(offs, |length| 1.0 - (-length / 5e6).exp()));
}

#[test]
fn on_off_periods_are_pareto() {
    let offs = off_periods(
        "on-off:peak_rate=1GB/s,mean_on=1ms,mean_off=5ms,periods=pareto,shape=1.4,size=1000B",
    );
    assert!(offs.len() > 1_500, "{}", offs.len());
    let least: f64 = 5e6 * 0.4 / 1.4;
    let pareto = |length: f64| 1.0 - (least / length.max(least)).powf(1.4);
    assert!(kolmogorov_smirnov_fits(offs, pareto));
}

#[test]
fn on_periods_are_exponential_too() {
    let mut lengths = Vec::new();
    let mut on = 0.0;
    for gap in gaps_of(
        "on-off:peak_rate=1GB/s,mean_on=1ms,mean_off=5ms,size=1000B",
        2_000_000,
    )
    .into_iter()
    .skip(1)
    {
        on += 1_000.0;
        if gap > 1_001.0 {
            lengths.push(on);
            on = 0.0;
        }
    }
    // Lengths are counted in packets of 1 us: the continuous law, within that.
    let near = |length: f64| 1.0 - (-(length - 500.0).max(0.0) / 1e6).exp();
    assert!(kolmogorov_smirnov_fits(lengths, near));
}

/// The variance-time plot: variances of bytes per bin, of the mean over ever
/// wider bins, fall like width^(2H - 2).
fn hurst_parameter(sources: &[String]) -> f64 {
    const BINS: usize = 1 << 15;
    let mut bytes = vec![0.0; BINS];
    for (number, pattern) in sources.iter().enumerate() {
        for send in open_loop(generator(pattern, number as u64)) {
            let bin = usize::try_from(send.at.as_nanos() / 10_000_000).unwrap();
            match bytes.get_mut(bin) {
                Some(bin) => *bin += send.size.get() as f64,
                None => break,
            }
        }
    }
    let deviation_of_mean = |width: usize| {
        let means: Vec<f64> = bytes
            .chunks_exact(width)
            .map(|chunk| chunk.iter().sum::<f64>() / width as f64)
            .collect();
        moments(&means).1
    };
    1.0 + (deviation_of_mean(256) / deviation_of_mean(16)).ln() / 16_f64.ln()
}

#[test]
fn many_pareto_senders_are_self_similar_and_exponential_ones_are_not() {
    let senders = |periods: &str| -> Vec<String> {
        let pattern =
            format!("on-off:peak_rate=20kB/s,mean_on=50ms,mean_off=50ms,{periods},size=100B");
        vec![pattern; 30]
    };
    let pareto = hurst_parameter(&senders("periods=pareto,shape=1.2"));
    let exponential = hurst_parameter(&senders("periods=exponential"));
    assert!(
        (0.75..1.0).contains(&pareto),
        "(3 - 1.2) / 2 = 0.9, not {pareto}"
    );
    assert!((0.4..0.62).contains(&exponential), "0.5, not {exponential}");
}

#[test]
fn mmpp_spends_its_time_and_its_packets_as_the_chain_says() {
    // Bytes of each 10 ms: 0 in the idle state, 10 kB in the other, mostly.
    let mut bins = vec![0_u64; 200_000];
    for send in open_loop(generator("mmpp:states=1MB/s@1s+idle@3s,size=100B", 9)) {
        match bins.get_mut(usize::try_from(send.at.as_nanos() / 10_000_000).unwrap()) {
            Some(bin) => *bin += send.size.get(),
            None => break,
        }
    }
    let busy: Vec<f64> = bins
        .iter()
        .filter(|bytes| **bytes > 0)
        .map(|b| *b as f64)
        .collect();
    let share = busy.len() as f64 / bins.len() as f64;
    assert!((share - 0.25).abs() < 0.02, "busy for {share}");
    let runs = bins.chunk_by(|a, b| (*a > 0) == (*b > 0));
    let (idle, sending): (Vec<_>, Vec<_>) = runs
        .map(|run| (run[0] > 0, run.len() as f64 / 100.0))
        .partition(|(sends, _)| !*sends);
    let lengths = |runs: Vec<(bool, f64)>| runs.into_iter().map(|(_, length)| length).collect();
    let within = |length: f64, mean: f64| 1.0 - (-(length - 0.005).max(0.0) / mean).exp();
    assert!(kolmogorov_smirnov_fits(lengths(idle), |length| within(
        length, 3.0
    )));
    assert!(kolmogorov_smirnov_fits(lengths(sending), |length| within(
        length, 1.0
    )));
}

#[test]
fn mmpp_of_one_state_is_poisson() {
    let sample = gaps_of("mmpp:states=1MB/s@10ms,size=500B", 100_000);
    let exponential = |gap: f64| 1.0 - (-gap / 500_000.0).exp();
    assert!(kolmogorov_smirnov_fits(sample, exponential));
}

/// The share of seeds whose first packet comes within the first `nanos`.
fn share_that_starts_within(nanos: u64, pattern: &str) -> f64 {
    let starts = |number: &u64| {
        let first = open_loop(generator(pattern, *number)).next().unwrap();
        first.at.as_nanos() <= nanos
    };
    (0..10_000).filter(starts).count() as f64 / 10_000.0
}

#[test]
fn a_sender_starts_in_each_state_by_its_share_of_time() {
    let error = Z * (0.2_f64 * 0.8 / 10_000.0).sqrt();
    let on = share_that_starts_within(0, "on-off:peak_rate=1MB/s,mean_on=1s,mean_off=4s,size=1B");
    assert!((on - 0.2).abs() < error, "{on}");
    // Packets of the busy state come every us: the first one within 100 us, or the state is idle.
    let busy = share_that_starts_within(100_000, "mmpp:states=idle@4s+1MB/s@1s,size=1B");
    assert!((busy - 0.2).abs() < error + 0.001, "{busy}");
}
