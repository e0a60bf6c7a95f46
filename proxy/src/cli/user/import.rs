//! `weirgate-proxy user import`: all or none, and a report of each.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use proxy::Users;
use proxy::users::{Audit, UserRecord, read_legacy};
use serde_json::json;

use super::args::Common;
use super::{Failure, books, failure, lines};

/// What every SQLite file begins with.
const SQLITE: &[u8] = b"SQLite format 3\0";

#[derive(Args)]
pub(crate) struct Import {
    /// JSON lines (`-` is standard input), or a user.db; which one is recognised.
    file: PathBuf,
    /// Take the others where some cannot be taken: names that exist, rows that make no user.
    #[arg(long)]
    skip: bool,
    #[command(flatten)]
    common: Common,
}

/// What a file says of one user.
struct Candidate {
    /// Where: a line or a row, from 1.
    place: String,
    name: String,
    record: Result<UserRecord, String>,
}

struct Candidates {
    users: Vec<Candidate>,
    notes: Vec<String>,
}

impl Import {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut candidates = read(&self.file).await?;
        let (users, printer) = self.common.open_database().await?;
        refuse_twice(&mut candidates.users, &users);
        let mut taken = Vec::new();
        let mut left = Vec::new();
        for candidate in candidates.users {
            match candidate.record {
                Ok(record) => taken.push(record),
                Err(why) => left.push((candidate.place, candidate.name, why)),
            }
        }
        let refused = !left.is_empty() && !self.skip;
        let names: Vec<_> = taken.iter().map(|record| record.name.clone()).collect();
        if !refused {
            let actor = books::actor();
            let detail = json!({ "file": self.file.display().to_string() }).to_string();
            let audits = names.iter().map(|name| Audit {
                detail: detail.clone(),
                ..books::audit(&actor, "user.import", name)
            });
            let audits: Vec<_> = audits.collect();
            users.take_in(taken, &audits).await.map_err(failure)?;
        }
        let names = if refused { Vec::new() } else { names };
        let not_taken: Vec<_> = left
            .iter()
            .map(|(place, name, why)| json!({ "place": place, "name": name, "reason": why }))
            .collect();
        let value = json!({ "taken": names, "not_taken": not_taken, "notes": candidates.notes });
        printer.print(&value, || report(&names, &left, &candidates.notes))?;
        if refused {
            return Err(Failure::request(
                "nothing was imported: mend the file, or take the others with --skip",
            ));
        }
        Ok(())
    }
}

async fn read(path: &Path) -> Result<Candidates, Failure> {
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    let named = |error: String| Failure::request(format!("{}: {error}", path.display()));
    let bytes = bytes.map_err(|error| named(error.to_string()))?;
    if bytes.starts_with(SQLITE) {
        return legacy(path).await;
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| named("it is neither JSON lines nor a SQLite database".to_owned()))?;
    let lines = text.lines().zip(1_usize..);
    let users = lines
        .filter(|(line, _)| !line.trim().is_empty())
        .map(|(line, number)| {
            let (name, record) = lines::read(line);
            Candidate {
                place: format!("line {number}"),
                name,
                record,
            }
        });
    Ok(Candidates {
        users: users.collect(),
        notes: Vec::new(),
    })
}

async fn legacy(path: &Path) -> Result<Candidates, Failure> {
    let found = read_legacy(path).await.map_err(Failure::request)?;
    let users = found.users.into_iter().zip(1_usize..);
    let users = users.map(|(user, number)| Candidate {
        place: format!("row {number}"),
        name: user.name,
        record: user.record,
    });
    Ok(Candidates {
        users: users.collect(),
        notes: found.notes,
    })
}

/// A name can be taken once, and not where it exists already.
fn refuse_twice(candidates: &mut [Candidate], users: &Users) {
    let mut seen = HashSet::new();
    #[cfg(feature = "shadowsocks")]
    let mut numbers = HashSet::new();
    for candidate in candidates {
        let Ok(record) = &candidate.record else {
            continue;
        };
        if users.get(&record.name).is_some() {
            candidate.record = Err("there is such a user already".to_owned());
        } else if !seen.insert(record.name.clone()) {
            candidate.record = Err("the name stands there twice".to_owned());
        }
        #[cfg(feature = "shadowsocks")]
        if let Ok(record) = &candidate.record
            && let Some(number) = record.shadowsocks.as_ref().and_then(|access| access.number)
            && (users.numbered(number).is_some() || !numbers.insert(number))
        {
            candidate.record = Err(format!("another user has the number {number}"));
        }
    }
}

fn report(taken: &[String], left: &[(String, String, String)], notes: &[String]) -> String {
    let mut text = Vec::new();
    // Writing to a vector does not fail.
    let _ = writeln!(text, "{} taken, {} not taken", taken.len(), left.len());
    for (place, name, why) in left {
        let _ = writeln!(text, "not taken: {place} {name:?}: {why}");
    }
    for note in notes {
        let _ = writeln!(text, "note: {note}");
    }
    String::from_utf8_lossy(&text).trim_end().to_owned()
}
