//! The driver `shadowsocks`: the real proxy under encryption beside the model, or left out
//! with the reason.

use weirgate::driver::leave_out_what_cannot_run;
use weirgate::scenario::{DriverKind, Origin, Overrides, Scenario, parse};

const TEXT: &str = r#"
duration = "2 s"
drivers = ["model", "shadowsocks"]
mode = "police"
direction = "DIRECTION"
reference = { rate = "300 kB/s", burst = "10 kB" }
traffic = { pattern = "poisson", rate = "600 kB/s", size = "500B..1000B" }
repetitions = { model = 1, shadowsocks = 1 }

[[algorithm]]
kind = "token-bucket"

[[algorithm]]
kind = "token-bucket"
label = "stream"
mode = "stream"

[[algorithm]]
kind = "token-bucket"
label = "shaped"
mode = "shape"

[[expect]]
metric = "throughput_Bps"
driver = "shadowsocks"
at_least = "1 B/s"

[[expect]]
metric = "throughput_Bps"
at_least = "1 B/s"
"#;

fn scenario(direction: &str) -> Result<Scenario, String> {
    let origin = Origin {
        shown: "test.toml",
        stem: "test",
        folder: None,
    };
    let text = TEXT.replace("DIRECTION", direction);
    let read = parse(&text, origin, &Overrides::default());
    read.map_err(|mistakes| mistakes.to_string())
}

#[test]
#[cfg(not(feature = "shadowsocks"))]
fn it_is_left_out_with_its_claims_where_it_is_not_built_in() {
    let mut scenario = scenario("up").unwrap();
    let notes = leave_out_what_cannot_run(&mut scenario);
    assert!(notes[0].contains("feature `shadowsocks`"), "{notes:?}");
    assert_eq!(scenario.drivers, [DriverKind::Model]);
    assert_eq!(scenario.algorithms.len(), 3, "the model runs all of them");
    assert_eq!(scenario.claims.len(), 1);
}

#[test]
#[cfg(feature = "shadowsocks")]
fn datagrams_are_dropped_as_the_model_says_and_streams_are_not() {
    use weirgate::driver::Stop;
    use weirgate::progress::Progress;

    for direction in ["up", "down"] {
        let mut scenario = scenario(direction).unwrap();
        assert!(leave_out_what_cannot_run(&mut scenario).is_empty());
        let run = scenario.algorithms_for(DriverKind::Shadowsocks);
        let labels: Vec<&str> = run.map(|algorithm| algorithm.label.as_str()).collect();
        assert_eq!(labels, ["token-bucket", "stream"]);
        let finished = weirgate::run::run(&scenario, Progress::Silent, &Stop::default()).unwrap();
        let loss = |driver: &str, algorithm: &str| {
            let mut rows = finished.results.summary.iter();
            let row = rows.find(|row| row.driver == driver && row.algorithm == algorithm);
            row.unwrap_or_else(|| panic!("{driver} {algorithm}"))
                .loss_ratio
        };
        let (model, real) = (
            loss("model", "token-bucket").unwrap(),
            loss("shadowsocks", "token-bucket").unwrap(),
        );
        assert!((0.4..0.6).contains(&model), "{model}");
        // The very same datagrams; a busy machine sends some of them late.
        assert!((model - real).abs() < 0.05, "{direction}: {model} {real}");
        assert_eq!(loss("shadowsocks", "stream").unwrap_or(0.0), 0.0);
        assert!(finished.notes.iter().any(|note| note.contains("shaped")));
    }
}
