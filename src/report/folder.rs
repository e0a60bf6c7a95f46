//! A report's folder appears whole or not at all.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::ReportError;
use crate::scenario::Scenario;

/// Every file that a report may hold. Others in the same folder are left alone.
pub(super) const FILES: [&str; 27] = [
    SUMMARY_JSON,
    "summary.csv",
    "users.csv",
    "timeseries.csv",
    "arrival-curve.csv",
    "overshoot.csv",
    "delay.csv",
    "jitter.csv",
    "run.toml",
    HOST_JSON,
    "throughput.png",
    "arrival-curve.png",
    "overshoot.png",
    "delay.png",
    "jitter.png",
    "index.html",
    "burstiness.csv",
    "burstiness.png",
    "differences.csv",
    "differences.png",
    "pareto.csv",
    "pareto.png",
    "runs.csv",
    "runs.png",
    "bounds.csv",
    "bounds.png",
    "worst-burst.csv",
];

/// The same of a report of requests, beside those that both have.
pub(super) const REQUEST_FILES: [&str; 4] = [
    "goodput.png",
    "queue-delay.png",
    "rejections.png",
    "response.png",
];

/// What a folder must hold to be taken for a report.
pub(super) const SUMMARY_JSON: &str = "summary.json";
/// The one file that differs from run to run.
pub(super) const HOST_JSON: &str = "host.json";

/// A folder being written beside its final place; removed again unless it is finished.
pub(super) struct Draft {
    place: PathBuf,
    target: PathBuf,
    finished: bool,
}

impl Draft {
    /// Begins a report at `target`.
    ///
    /// # Errors
    /// When `target` is something else than a report or an empty folder, or its
    /// parent cannot be written.
    pub(super) fn begin(target: &Path) -> Result<Self, ReportError> {
        let target = resolved(target);
        check_replaceable(&target)?;
        let place = sibling(&target, "part")?;
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent).map_err(|source| unwritable(parent, source))?;
        }
        remove(&place)?;
        fs::create_dir(&place).map_err(|source| unwritable(&target, source))?;
        Ok(Self {
            place,
            target,
            finished: false,
        })
    }

    /// Writes one file of the report.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> Result<(), ReportError> {
        fs::write(self.place.join(name), content)
            .map_err(|source| unwritable(&self.target.join(name), source))
    }

    /// Copies the traces that `scenario` sends again, so that `run.toml` finds them.
    ///
    /// # Errors
    /// When one cannot be read any more, or the disk refuses.
    pub(super) fn traces(&self, scenario: &Scenario) -> Result<(), ReportError> {
        scenario
            .traces
            .copy_to(&self.place)
            .map_err(|source| unwritable(&self.target, source))
    }

    /// Puts the report in its place; an older one goes, other people's files in it stay.
    ///
    /// # Errors
    /// When the disk refuses; the older report is then still there.
    pub(super) fn finish(mut self) -> Result<(), ReportError> {
        let old = sibling(&self.target, "old")?;
        remove(&old)?;
        let replaced = self.target.exists();
        if replaced {
            rename(&self.target, &old)?;
        }
        if let Err(error) = rename(&self.place, &self.target) {
            if replaced {
                rename(&old, &self.target)?;
            }
            return Err(error);
        }
        self.finished = true;
        if replaced {
            keep_foreign(&old, &self.target)?;
            remove(&old)?;
        }
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.finished {
            // Nothing can be done about a folder that cannot be removed, and the error that led here matters more.
            let _ = fs::remove_dir_all(&self.place);
        }
    }
}

fn resolved(target: &Path) -> PathBuf {
    target
        .canonicalize()
        .or_else(|_| std::path::absolute(target))
        .unwrap_or_else(|_| target.to_owned())
}

fn check_replaceable(target: &Path) -> Result<(), ReportError> {
    let entries = match fs::read_dir(target) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(ReportError::NotOurs {
                path: target.to_owned(),
            });
        }
        Err(source) => return Err(unwritable(target, source)),
    };
    if is_report(target) || entries.count() == 0 {
        Ok(())
    } else {
        Err(ReportError::NotOurs {
            path: target.to_owned(),
        })
    }
}

/// Whether `dir` holds a report of this program, of any version.
fn is_report(dir: &Path) -> bool {
    json::<Head>(&dir.join(SUMMARY_JSON)).is_ok_and(|head| head.tool == super::TOOL)
}

/// The part of `summary.json` that says what it is.
#[derive(Deserialize)]
struct Head {
    tool: String,
    schema_version: u32,
}

/// Refuses a folder that this version cannot read as a report.
///
/// # Errors
/// When there is no `summary.json`, or it is of another program or schema.
pub(super) fn check_is_report(dir: &Path) -> Result<(), ReportError> {
    let path = dir.join(SUMMARY_JSON);
    let head: Head = json(&path)?;
    let broken = |what| ReportError::Broken {
        place: path.display().to_string(),
        what,
    };
    if head.tool != super::TOOL {
        return Err(broken(format!(
            "written by {:?}, not by {}",
            head.tool,
            super::TOOL
        )));
    }
    if head.schema_version != super::SCHEMA_VERSION {
        let (theirs, ours) = (head.schema_version, super::SCHEMA_VERSION);
        return Err(broken(format!(
            "has schema version {theirs}, this program reads {ours}"
        )));
    }
    Ok(())
}

/// What the JSON file `path` holds.
///
/// # Errors
/// When it cannot be read, and with line and reason when it holds something else.
pub(super) fn json<T: DeserializeOwned>(path: &Path) -> Result<T, ReportError> {
    let text = fs::read(path).map_err(|source| ReportError::Read {
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_slice(&text).map_err(|error| ReportError::Broken {
        place: format!("{}:{}", path.display(), error.line()),
        what: error.to_string(),
    })
}

fn sibling(target: &Path, purpose: &str) -> Result<PathBuf, ReportError> {
    let name = target.file_name().ok_or_else(|| ReportError::NotOurs {
        path: target.to_owned(),
    })?;
    Ok(target.with_file_name(format!(
        ".{}.{purpose}-{}",
        name.to_string_lossy(),
        std::process::id()
    )))
}

fn keep_foreign(old: &Path, new: &Path) -> Result<(), ReportError> {
    let entries = fs::read_dir(old).map_err(|source| unwritable(old, source))?;
    for entry in entries {
        let name = entry.map_err(|source| unwritable(old, source))?.file_name();
        let written_again = new.join(&name).exists();
        let ours = FILES.iter().chain(&REQUEST_FILES);
        if !written_again && !ours.into_iter().any(|file| name == *file) {
            rename(&old.join(&name), &new.join(&name))?;
        }
    }
    Ok(())
}

fn remove(dir: &Path) -> Result<(), ReportError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unwritable(dir, error)),
        _ => Ok(()),
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), ReportError> {
    fs::rename(from, to).map_err(|source| unwritable(to, source))
}

fn unwritable(path: &Path, source: io::Error) -> ReportError {
    ReportError::Write {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn report(target: &Path, files: &[&str]) {
        let draft = Draft::begin(target).unwrap();
        draft
            .write(SUMMARY_JSON, br#"{"tool":"weirgate","schema_version":1}"#)
            .unwrap();
        for file in files {
            draft.write(file, b"x").unwrap();
        }
        draft.finish().unwrap();
    }

    #[test]
    fn an_older_report_goes_and_other_files_stay() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("deep/er");
        report(&target, &["delay.png", "delay.csv"]);
        fs::write(target.join("notes.txt"), "mine").unwrap();
        report(&target, &["delay.csv"]);
        assert_eq!(names(&target), ["delay.csv", "notes.txt", "summary.json"]);
        assert_eq!(names(&root.path().join("deep")), ["er"]);
    }

    #[test]
    fn an_unfinished_report_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let draft = Draft::begin(&root.path().join("run")).unwrap();
        draft.write("delay.csv", b"x").unwrap();
        drop(draft);
        assert_eq!(names(root.path()), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_a_report_is_not_overwritten() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("thesis.tex"), "years").unwrap();
        assert!(matches!(
            Draft::begin(root.path()),
            Err(ReportError::NotOurs { .. })
        ));
        assert!(matches!(
            Draft::begin(&root.path().join("thesis.tex")),
            Err(ReportError::NotOurs { .. })
        ));
        assert_eq!(names(root.path()), ["thesis.tex"]);
        fs::create_dir(root.path().join("empty")).unwrap();
        report(&root.path().join("empty"), &[]);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        let error = Draft::begin(&root.path().join("file/run"))
            .map(|_| ())
            .unwrap_err();
        assert!(error.to_string().contains("file"), "{error}");
    }
}
