use super::*;

const BASE: &str = r#"
duration = "1 s"
reference = { rate = "5 kB/s", burst = "5 kB" }
traffic = { pattern = "poisson", rate = "20 kB/s", size = "500 B" }
[[algorithm]]
kind = "token-bucket"
[[algorithm]]
kind = "gcra"
label = "deep"
"#;

fn sweep(table: &str) -> Result<Sweep, LoadError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one.toml");
    std::fs::write(&path, format!("{BASE}{table}")).unwrap();
    Sweep::load(&path, &Overrides::default())
}

fn refusal(table: &str) -> String {
    match sweep(table) {
        Err(LoadError::Mistakes(found)) => found.problems()[0].message.clone(),
        other => format!("{other:?}"),
    }
}

#[test]
fn every_combination_the_last_fastest() {
    let found = sweep(
            "[sweep.vary]\n\"reference.rate\" = [\"1 kB/s\", \"2 kB/s\"]\n\
             \"algorithm.deep.burst\" = { from = \"1 kB\", to = \"100 kB\", steps = 3, scale = \"log\" }\n",
        )
        .unwrap();
    let cells = found.cells();
    assert_eq!(cells.len(), 6);
    assert_eq!(
        found.named(&cells[1]),
        "reference.rate = 1 kB/s, algorithm.deep.burst = 10000 B"
    );
    let scenario = found.scenario(&cells[5]).unwrap();
    assert_eq!(scenario.reference.rate.get(), 2_000);
    assert_eq!(
        scenario.algorithms[1].policy.to_string(),
        "gcra:rate=2000B/s,burst=100000B"
    );
}

#[test]
fn a_hypercube_has_one_value_in_every_part() {
    let found = sweep(
            "[sweep]\nsamples = 10\nseed = 3\n[sweep.vary]\n\
             \"reference.burst\" = { from = \"1000 B\", to = \"2000 B\" }\n\"seed\" = { from = 0, to = 100 }\n",
        )
        .unwrap();
    let cells = found.cells();
    assert_eq!((cells.len(), &cells), (10, &found.cells()));
    let mut parts: Vec<String> = cells
        .iter()
        .map(|cell| (amount(&cell[0]).unwrap().0 / 100.0).floor().to_string())
        .collect();
    parts.sort_unstable();
    parts.dedup();
    assert!(
        parts.len() >= 9,
        "rounding may move one to its neighbour: {parts:?}"
    );
    assert_ne!(cells[0][1], cells[1][1]);
}

#[test]
fn mistakes_are_named() {
    assert!(refusal("").contains("no table `[sweep]`"));
    assert!(refusal("[sweep.vary]\n\"refernce.rate\" = [1]").contains("there is no `refernce`"));
    assert!(refusal("[sweep.vary]\n\"algorithm.x.burst\" = [1]").contains("no element `x`"));
    assert!(refusal("[sweep.vary]\nqueue = 3").contains("neither a list"));
    assert!(refusal("[sweep.vary]\nseed = { from = 3, to = 1, steps = 2 }").contains("no range"));
    assert!(refusal("[sweep.vary]\nseed = { from = 1, to = 3 }").contains("`steps` is missing"));
    assert!(refusal("[sweep.vary]\n").contains("`vary` is empty"));
    assert!(
        refusal("[sweep]\nsampels = 3\n[sweep.vary]\nseed = [1]").contains("unknown key `sampels`")
    );
    let small = sweep("[sweep.vary]\n\"reference.burst\" = [\"100 B\"]").unwrap();
    let why = small.scenario(&small.cells()[0]).unwrap_err();
    assert!(why.to_string().contains("reference.burst = 100 B"));
}
