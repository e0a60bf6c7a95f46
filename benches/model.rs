//! The whole path of the model: bursty generator, token bucket, every metric on.
//!
//! The figure is packets a second and core. The peer in the same run is a loop
//! written by hand that does the same work with nothing to choose from.

#![expect(
    clippy::expect_used,
    reason = "a bench that cannot run shall say so and end"
)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use weirgate::driver::{Stop, model};
use weirgate::metrics::{RunMetrics, RunSpec};
use weirgate::scenario::{DriverKind, Origin, Overrides, Scenario, parse};

/// 20 virtual seconds of seed 004's sender: about a million packets.
fn scenario(mode: &str) -> Scenario {
    let text = format!(
        r#"
question = "How fast is the model?"
duration = "20 s"
seed = 1
drivers = ["model"]
mode = "{mode}"
sender = "open-loop"
queue = "1 MB"
[reference]
rate = "20 MB/s"
burst = "200 kB"
[traffic]
pattern = "bursty"
[[algorithm]]
kind = "token-bucket"
"#
    );
    let origin = Origin {
        stem: "bench",
        shown: "bench.toml",
        folder: None,
    };
    parse(&text, origin, &Overrides::default()).expect("a valid scenario")
}

fn whole_path(c: &mut Criterion) {
    let mut group = c.benchmark_group("model");
    group.measurement_time(Duration::from_secs(8));
    for mode in ["police", "shape"] {
        let scenario = scenario(mode);
        let packets = scenario.offered(0).count() as u64;
        group.throughput(Throughput::Elements(packets));
        group.bench_function(mode, |b| {
            b.iter(|| {
                let algorithm = &scenario.algorithms[0];
                let mut metrics =
                    RunMetrics::new(&RunSpec::new(&scenario, algorithm, DriverKind::Model));
                model::run(&scenario, algorithm, 0, &mut metrics, &Stop::default()).expect("a run");
                black_box(metrics)
            });
        });
    }
    let scenario = scenario("police");
    group.bench_function("generator alone", |b| {
        b.iter(|| black_box(scenario.offered(0).count()));
    });
    group.finish();
}

criterion_group!(benches, whole_path);
criterion_main!(benches);
