//! The scenario files of the repository, as scenarios.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what cannot be read fails the test"
)]

use std::fs;
use std::path::{Path, PathBuf};

use weirgate::scenario::{Origin, Overrides, Scenario, parse};

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    assert!(files.len() >= 10, "only {} scenario files", files.len());
    files
}

fn load(path: &Path) -> Scenario {
    Scenario::load(path, &Overrides::default()).unwrap_or_else(|why| panic!("{why:?}"))
}

#[test]
fn every_file_says_which_question_it_answers() {
    for path in files() {
        let scenario = load(&path);
        assert!(scenario.question.ends_with('?'), "{}", path.display());
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# "), "{}", path.display());
        assert!(!scenario.claims.is_empty(), "{}", path.display());
    }
}

#[test]
fn a_resolved_scenario_reads_back_as_it_was() {
    for path in files() {
        let scenario = load(&path);
        let origin = Origin {
            shown: "run.toml",
            stem: "run",
            folder: None,
        };
        let again = parse(&scenario.to_toml(), origin, &Overrides::default())
            .unwrap_or_else(|why| panic!("{}: {:?}", path.display(), why.problems()));
        assert_eq!(again, scenario);
    }
}
