//! The page: everything of a report in one file that needs no network, in
//! light and dark, from a telephone's width to a large screen's.

mod explore;
mod style;

use super::claims::{Outcome, Verdict};
use super::figures;
use super::format::{Unit, chosen};
use super::metric::{self, Metric};
use super::plot::{NARROW, Picture, WIDE};
use super::scene::Scene;
use super::subject::Subject;
use super::table::{Cell, Head, Mark, Table};
use super::{TOOL, VERSION};
use crate::results::Results;

/// The page about `results`.
pub(super) fn page(subject: &Subject, results: &Results, verdicts: &[Verdict]) -> String {
    let mut page = Page::default();
    page.head(&subject.name);
    page.answer(
        (&subject.name, &subject.question),
        &figures::verdict(subject, results, verdicts),
        verdicts,
        &origin(subject, results),
    );
    page.section("results", "Results", "Results", |page| {
        page.table(&figures::main(subject, results));
        page.table(&figures::winners(subject, results));
    });
    if !verdicts.is_empty() {
        page.section("claims", "Claims", "Claims", |page| {
            page.table(&figures::claims(verdicts))
        });
    }
    if let Some(drawing) = explore::section(subject, results) {
        page.section("closer", "Look closer", "Look closer", |page| {
            page.push(drawing);
        });
    }
    for picture in Picture::ALL {
        page.section(picture.stem(), picture.name(), picture.title(), |page| {
            page.picture(picture, subject, results)
        });
    }
    if let Some(table) = figures::theory(subject, results) {
        page.section("theory", "Theory", "Theory beside measurement", |page| {
            page.table(&table);
        });
    }
    if let Some(table) = figures::closed_loops(subject, results) {
        page.section(
            "loops",
            "Loss or delay",
            "Policing against shaping",
            |page| {
                page.table(&table);
            },
        );
    }
    if let Some(table) = figures::agreement(subject, results) {
        page.section(
            "agreement",
            "Agreement",
            "Agreement of model and reality",
            |page| page.table(&table),
        );
    }
    let shared: Vec<Table> = figures::fairness(subject, results)
        .into_iter()
        .chain(figures::users(subject, results))
        .collect();
    if !shared.is_empty() {
        page.section("users", "Users", "Users and connections", |page| {
            shared.iter().for_each(|table| page.folded_when_long(table));
        });
    }
    page.section("run", "What was run", "What was run", |page| {
        page.run(subject, results)
    });
    page.finish(&subject.name, subject.seed)
}

/// `text` with nothing left in it that means something to a browser.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(letter),
        }
    }
    out
}

/// A page under construction.
#[derive(Default)]
pub(super) struct Page {
    head: String,
    body: String,
    contents: Vec<(String, String)>,
    /// Of the section that is being written.
    title: String,
}

impl Page {
    pub(super) fn push(&mut self, html: impl AsRef<str>) {
        self.body.push_str(html.as_ref());
        self.body.push('\n');
    }

    /// What a browser must know of the report `name`.
    pub(super) fn head(&mut self, name: &str) {
        self.head = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta name=\"generator\" content=\"{TOOL} {VERSION}\">\n\
             <title>{} – {TOOL}</title>\n<style>\n{}{}</style>\n</head>\n<body>\n",
            escape(name),
            super::scene::svg_style(),
            style::PAGE
        );
    }

    /// Question and verdict, before anything else.
    pub(super) fn answer(
        &mut self,
        (name, question): (&str, &str),
        sentences: &[String],
        verdicts: &[Verdict],
        origin: &str,
    ) {
        let broken = verdicts
            .iter()
            .any(|verdict| verdict.outcome == Outcome::Broken);
        let sentences: Vec<String> = sentences
            .iter()
            .map(|sentence| format!("<p>{}</p>", escape(sentence)))
            .collect();
        self.push(format!("<header>\n<h1>{}</h1>", escape(name)));
        if !question.is_empty() {
            self.push(format!("<p class=\"question\">{}</p>", escape(question)));
        }
        self.push(format!(
            "<div class=\"verdict{}\">\n{}\n</div>",
            if broken { " broken" } else { "" },
            sentences.join("\n")
        ));
        self.push(format!(
            "<p class=\"origin\">{}</p>\n</header>",
            escape(origin)
        ));
    }

    /// A part with a line in the contents.
    pub(super) fn section(
        &mut self,
        id: &str,
        name: &str,
        title: &str,
        content: impl FnOnce(&mut Self),
    ) {
        self.contents.push((id.to_owned(), name.to_owned()));
        title.clone_into(&mut self.title);
        self.push(format!(
            "<section id=\"{id}\" aria-labelledby=\"{id}-title\">\n<h2 id=\"{id}-title\">{}</h2>",
            escape(title)
        ));
        content(self);
        self.push("</section>");
    }

    fn picture(&mut self, picture: Picture, subject: &Subject, results: &Results) {
        self.figure(
            picture.title(),
            &picture.explanation(subject, results),
            |width| picture.bare(subject, results, width),
        );
        if let Some(metrics) = behind(picture) {
            let table = figures::detail(picture.title(), subject, results, metrics);
            self.folded(&table, "The figures behind it");
        }
        self.push(format!(
            "<p class=\"source\">Drawn from <a href=\"{0}.csv\">{0}.csv</a>.</p>",
            if picture == Picture::Throughput {
                "timeseries"
            } else {
                picture.stem()
            }
        ));
    }

    /// A drawing for wide and for narrow pages, and how to read it.
    pub(super) fn figure(&mut self, title: &str, explanation: &str, draw: impl Fn(f32) -> Scene) {
        let label = format!("{title}. The file below has the figures.");
        self.push("<figure>");
        for (width, class) in [(WIDE, "wide"), (NARROW, "narrow")] {
            self.push(draw(width).svg(&label, class));
        }
        self.push(format!(
            "<figcaption>{}</figcaption>\n</figure>",
            escape(explanation)
        ));
    }

    fn folded(&mut self, table: &Table, summary: &str) {
        self.push(format!("<details>\n<summary>{}</summary>", escape(summary)));
        self.table(table);
        self.push("</details>");
    }

    fn folded_when_long(&mut self, table: &Table) {
        const LONG: usize = 40;
        if table.rows.len() > LONG {
            self.folded(
                table,
                &format!("{}: {} lines", table.title, table.rows.len()),
            );
        } else {
            self.table(table);
        }
    }

    /// A table that scrolls by itself.
    pub(super) fn table(&mut self, table: &Table) {
        // A wide table scrolls in its own box, which the keyboard can reach.
        self.push(format!(
            "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"{0}\">\n\
             <table>\n<caption{1}>{0}</caption>\n<thead><tr>",
            escape(&table.title),
            if table.title == self.title {
                " class=\"unseen\""
            } else {
                ""
            }
        ));
        for head in &table.head {
            self.push(column_head(head));
        }
        self.push("</tr></thead>\n<tbody>");
        for row in &table.rows {
            let cells: Vec<String> = row
                .iter()
                .zip(&table.head)
                .enumerate()
                .map(|(at, (cell, head))| data(at, cell, head))
                .collect();
            self.push(format!("<tr>{}</tr>", cells.concat()));
        }
        self.push("</tbody>\n</table>\n</div>");
        if !table.note.is_empty() {
            let note = table.note.replace('*', "★").replace(". !", ". ▲");
            self.push(format!(
                "<p class=\"note\">{}</p>",
                escape(&note).replace('\n', "<br>")
            ));
        }
    }

    fn run(&mut self, subject: &Subject, results: &Results) {
        self.facts(&facts(subject, results));
        self.table(&algorithms(subject));
        self.table(&senders(subject));
        self.push(
            "<p class=\"source\">All rows: <a href=\"summary.csv\">summary.csv</a>, \
             <a href=\"users.csv\">users.csv</a>, <a href=\"summary.json\">summary.json</a>. \
             Run it again: <a href=\"run.toml\">run.toml</a>. \
             Where and when: <a href=\"host.json\">host.json</a>.</p>",
        );
    }

    /// Terms and their words.
    pub(super) fn facts(&mut self, facts: &[(&'static str, String)]) {
        self.push("<dl>");
        for (term, words) in facts {
            self.push(format!(
                "<dt>{}</dt><dd>{}</dd>",
                escape(term),
                escape(words)
            ));
        }
        self.push("</dl>");
    }

    /// The whole page.
    pub(super) fn finish(self, name: &str, seed: u64) -> String {
        let links: Vec<String> = self
            .contents
            .iter()
            .map(|(id, title)| format!("<li><a href=\"#{id}\">{}</a></li>", escape(title)))
            .collect();
        let split = self
            .body
            .find("</header>\n")
            .map_or(0, |at| at + "</header>\n".len());
        let (header, rest) = self.body.split_at(split);
        format!(
            "{}{header}<nav aria-label=\"Contents\"><ul>{}</ul></nav>\n<main>\n{rest}</main>\n\
             <footer><p>{} · seed {} · {TOOL} {VERSION}</p></footer>\n</body>\n</html>\n",
            self.head,
            links.concat(),
            escape(name),
            seed
        )
    }
}

/// The metrics behind a picture that has a table of its own.
const fn behind(picture: Picture) -> Option<&'static [Metric]> {
    Some(match picture {
        Picture::Throughput => &metric::THROUGHPUTS,
        Picture::Arrival => &metric::ARRIVALS,
        Picture::Overshoot => &metric::OVERSHOOTS,
        Picture::Delay => &metric::DELAYS,
        Picture::Jitter => &metric::JITTERS,
        Picture::Runs
        | Picture::Burstiness
        | Picture::Pareto
        | Picture::Differences
        | Picture::Bounds => return None,
    })
}

fn column_head(head: &Head) -> String {
    let class = if head.words { " class=\"words\"" } else { "" };
    let unit = if head.unit.is_empty() {
        String::new()
    } else {
        format!("<span>{}</span>", escape(&head.unit))
    };
    format!("<th scope=\"col\"{class}>{}{unit}</th>", escape(&head.name))
}

fn data(at: usize, cell: &Cell, head: &Head) -> String {
    let text = escape(&cell.text);
    let text = match cell.mark {
        Mark::None => text,
        Mark::Best => format!("<strong>{text} <span title=\"best\">★</span></strong>"),
        Mark::Bad => format!("<strong class=\"bad\">▲ {text}</strong>"),
    };
    match (at, head.words) {
        (0, _) => format!("<th scope=\"row\">{text}</th>"),
        (_, true) => format!("<td class=\"words\">{text}</td>"),
        (_, false) => format!("<td>{text}</td>"),
    }
}

fn origin(subject: &Subject, results: &Results) -> String {
    let runs: Vec<String> = subject
        .drivers
        .iter()
        .map(|driver| format!("{driver} n = {}", super::plot::runs(results, driver)))
        .collect();
    format!(
        "{} of {} at {} with a burst of {} · {} · seed {}",
        match subject.algorithms.len() {
            1 => "1 algorithm".into(),
            many => format!("{many} algorithms"),
        },
        chosen(Unit::Seconds, subject.duration_s),
        chosen(Unit::Rate, subject.rate_Bps),
        chosen(Unit::Bytes, subject.burst_bytes),
        runs.join(", "),
        subject.seed
    )
}

fn facts(subject: &Subject, results: &Results) -> Vec<(&'static str, String)> {
    let runs: Vec<String> = subject
        .drivers
        .iter()
        .map(|driver| format!("{driver}: {}", super::plot::runs(results, driver)))
        .collect();
    let mut facts = vec![
        ("Scenario", subject.name.clone()),
        ("Question", subject.question.clone()),
        ("Length of a run", chosen(Unit::Seconds, subject.duration_s)),
        (
            "Judged against",
            format!(
                "{}, burst {}",
                chosen(Unit::Rate, subject.rate_Bps),
                chosen(Unit::Bytes, subject.burst_bytes)
            ),
        ),
        ("Runs of each algorithm", runs.join(", ")),
        ("Seed", subject.seed.to_string()),
        (
            "Bins of the time series",
            chosen(Unit::Seconds, subject.bin_s),
        ),
    ];
    if subject.has_rate_changes() {
        let steps = subject.limit.iter().skip(1);
        let steps: Vec<String> = steps
            .map(|&(at, rate)| {
                format!(
                    "{} from {} on",
                    chosen(Unit::Rate, rate),
                    chosen(Unit::Seconds, at)
                )
            })
            .collect();
        facts.push(("Changes of the limit", steps.join(", ")));
    }
    facts
}

fn algorithms(subject: &Subject) -> Table {
    Table {
        title: "Algorithms".into(),
        head: vec![
            Head::words("Algorithm"),
            Head::words("Applied as"),
            Head::words("Parameters"),
        ],
        rows: subject
            .algorithms
            .iter()
            .map(|tested| {
                vec![
                    Cell::new(&tested.label),
                    Cell::new(&tested.mode),
                    Cell::new(&tested.limiter),
                ]
            })
            .collect(),
        note: String::new(),
    }
}

fn senders(subject: &Subject) -> Table {
    Table {
        title: "Who sent".into(),
        head: vec![
            Head::words("User"),
            Head::words("Traffic"),
            Head::numbers("Connections", String::new()),
            Head::words("Limited by"),
        ],
        rows: subject
            .users
            .iter()
            .map(|user| {
                let words = |text: &str| Cell::new(text);
                vec![
                    words(&user.name),
                    words(&user.sends),
                    words(&user.connections.to_string()),
                    words(&user.limit),
                ]
            })
            .collect(),
        note: String::new(),
    }
}
