//! The scenario files of the repository, as scenarios.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "what cannot be read fails the test"
)]

use std::fs;
use std::path::{Path, PathBuf};

use weirgate::scenario::{Loaded, Origin, Overrides, Scenario, parse};

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

fn load(path: &Path) -> Loaded {
    Loaded::load(path, &Overrides::default()).unwrap_or_else(|why| panic!("{why:?}"))
}

/// Those of bytes.
fn scenarios() -> impl Iterator<Item = (PathBuf, Scenario)> {
    files().into_iter().filter_map(|path| match load(&path) {
        Loaded::Bytes(scenario) => Some((path, *scenario)),
        Loaded::Requests(_) => None,
    })
}

#[test]
fn every_file_says_which_question_it_answers() {
    for path in files() {
        let (question, claims) = match load(&path) {
            Loaded::Bytes(scenario) => (scenario.question, scenario.claims.len()),
            Loaded::Requests(scenario) => (scenario.question, scenario.claims.len()),
        };
        assert!(question.ends_with('?'), "{}", path.display());
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# "), "{}", path.display());
        assert!(claims > 0, "{}", path.display());
    }
}

#[test]
fn a_resolved_scenario_reads_back_as_it_was() {
    for (path, scenario) in scenarios() {
        let again = parse(&scenario.to_toml(), origin(), &Overrides::default())
            .unwrap_or_else(|why| panic!("{}: {:?}", path.display(), why.problems()));
        assert_eq!(again.to_toml(), scenario.to_toml());
        // Servers of others lose their passwords and the folder they are started in.
        if scenario.algorithms.iter().all(|it| it.external.is_none()) {
            assert_eq!(again, scenario);
        }
    }
}

#[test]
fn a_resolved_scenario_of_requests_reads_back_as_it_was() {
    let mut seen = 0;
    for path in files() {
        let Loaded::Requests(scenario) = load(&path) else {
            continue;
        };
        let again = Loaded::parse(&scenario.to_toml(), origin(), &Overrides::default());
        assert_eq!(again.unwrap(), Loaded::Requests(scenario));
        seen += 1;
    }
    assert!(seen > 0);
}

fn origin<'a>() -> Origin<'a> {
    Origin {
        shown: "edited.toml",
        stem: "edited",
        folder: None,
    }
}

/// Whatever a file holds, it is a scenario or mistakes that can be shown.
fn read_and_show(text: &str) {
    if let Err(mistakes) = Loaded::parse(text, origin(), &Overrides::default()) {
        assert!(!mistakes.problems().is_empty());
        for problem in mistakes.problems() {
            assert!(text.get(problem.at.clone()).is_some(), "{problem:?}");
        }
        assert!(!format!("{:?}", miette::Report::new(mistakes)).is_empty());
    }
}

#[test]
fn hostile_files_are_refused_and_nothing_else() {
    let deep = "x = ".to_owned() + &"[".repeat(100_000);
    let nested = "a.".repeat(50_000) + "b = 1";
    let wide = "algorithms = [\"gcra\"".to_owned() + &", \"gcra\"".repeat(100_000) + "]";
    for text in ["\u{0}", "\u{feff}", "é = 1", &deep, &nested, &wide] {
        assert!(parse(text, origin(), &Overrides::default()).is_err());
        read_and_show(text);
    }
}

#[test]
fn the_examples_in_the_reference_are_scenarios() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/README.md");
    let text = fs::read_to_string(path).unwrap();
    let examples: Vec<_> = text.split("```toml\n").skip(1).collect();
    assert_eq!(examples.len(), 6);
    for example in examples {
        let (example, _) = example.split_once("```").unwrap();
        let read = Loaded::parse(example, origin(), &Overrides::default());
        assert!(read.is_ok(), "{:?}", miette::Report::new(read.unwrap_err()));
    }
}

mod edits {
    use proptest::prelude::*;

    use super::{files, fs, read_and_show};

    proptest! {
        #[test]
        fn edited_files_are_read_without_panic(
            file in 0usize..13,
            edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..30, "\\PC{0,6}"), 1..6),
        ) {
            let mut text: Vec<char> = fs::read_to_string(&files()[file]).unwrap().chars().collect();
            for (place, cut, insert) in edits {
                let start = place.index(text.len() + 1);
                let end = (start + cut).min(text.len());
                text.splice(start..end, insert.chars());
            }
            read_and_show(&text.into_iter().collect::<String>());
        }

        #[test]
        fn any_values_are_read_without_panic(
            key in "duration|seed|drivers|mode|queue|bin|reference|traffic|user|algorithm|expect|rate_change|repetitions|requests|service",
            value in "-?[0-9]{1,25}|\"[0-9a-zA-Z./ ]{0,12}\"|\\[\\]|\\{\\}|\\[\\{\\}\\]|true|1e400|nan|1979-05-27",
        ) {
            read_and_show(&format!("{key} = {value}\n"));
        }
    }
}
