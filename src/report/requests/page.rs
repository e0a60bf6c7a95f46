//! The page of a report of requests.

use super::{answer, tables};
use crate::report::claims::Verdict;
use crate::report::figures;
use crate::report::format::{Unit, chosen};
use crate::report::html::Page;
use crate::report::plot::requests::Picture;
use crate::results::RequestRow;
use crate::scenario::requests::{Arrivals, RequestScenario};

/// The page about `rows`.
pub(super) fn page(
    scenario: &RequestScenario,
    rows: &[RequestRow],
    verdicts: &[Verdict],
) -> String {
    let mut page = Page::default();
    page.head(&scenario.name);
    page.answer(
        (&scenario.name, &scenario.question),
        &answer(scenario, rows, verdicts),
        verdicts,
        &origin(scenario, rows),
    );
    page.section("results", "Results", "Results", |page| {
        for table in tables::all(scenario, rows) {
            page.table(&table);
        }
    });
    if !verdicts.is_empty() {
        page.section("claims", "Claims", "Claims", |page| {
            page.table(&figures::claims(verdicts));
        });
    }
    for picture in &Picture::ALL {
        page.section(picture.stem, picture.name, picture.title, |page| {
            page.figure(picture.title, picture.explanation, |width| {
                picture.bare(scenario, rows, width)
            });
            page.push(
                "<p class=\"source\">Drawn from <a href=\"summary.csv\">summary.csv</a>.</p>",
            );
        });
    }
    page.section("run", "What was run", "What was run", |page| {
        page.facts(&facts(scenario, rows));
        page.push(
            "<p class=\"source\">All rows: <a href=\"summary.csv\">summary.csv</a>, \
             <a href=\"summary.json\">summary.json</a>. Run it again: <a href=\"run.toml\">run.toml</a>. \
             Where and when: <a href=\"host.json\">host.json</a>.</p>",
        );
    });
    page.finish(&scenario.name, scenario.seed)
}

fn origin(scenario: &RequestScenario, rows: &[RequestRow]) -> String {
    format!(
        "{} of requests · {} · {} · seed {}",
        chosen(Unit::Seconds, scenario.duration.as_secs_f64()),
        scenario.service_time,
        runs(scenario, rows),
        scenario.seed
    )
}

fn runs(scenario: &RequestScenario, rows: &[RequestRow]) -> String {
    let drivers = scenario.drivers.iter();
    let runs: Vec<String> = drivers
        .map(|driver| format!("{} n = {}", driver.name(), super::runs(rows, driver.name())))
        .collect();
    runs.join(", ")
}

fn facts(scenario: &RequestScenario, rows: &[RequestRow]) -> Vec<(&'static str, String)> {
    let seconds = |nanos: flow::Nanos| chosen(Unit::Seconds, nanos.as_secs_f64());
    let loads: Vec<String> = scenario.loads.iter().map(f64::to_string).collect();
    vec![
        ("Scenario", scenario.name.clone()),
        ("Question", scenario.question.clone()),
        ("Arrivals", arrivals(&scenario.arrivals)),
        ("Service times", scenario.service_time.to_string()),
        (
            "Loads",
            format!("{} times what the workers can do", loads.join(", ")),
        ),
        ("Length of a run", seconds(scenario.duration)),
        ("Of it warm-up", seconds(scenario.warm_up)),
        ("Runs of each load", runs(scenario, rows)),
        ("Seed", scenario.seed.to_string()),
    ]
}

fn arrivals(arrivals: &Arrivals) -> String {
    match arrivals {
        Arrivals::Constant => "at equal distances".to_owned(),
        Arrivals::Poisson => "Poisson".to_owned(),
        Arrivals::OnOff {
            mean_on, mean_off, ..
        } => format!("on for {mean_on}, off for {mean_off} on average"),
    }
}
