//! What is wrong with a config file, and where.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

/// Why a file is no config.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read the config {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It says something we do not understand; the source shows where.
    #[error("{}: {}", path.display(), source.to_string().trim_end())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What stands in it.
        text: String,
        /// Line, column and what was expected. Boxed: it holds the whole file.
        source: Box<toml::de::Error>,
    },
    /// It says something that cannot be done.
    #[error("{}: {}", path.display(), Excerpt { place, what })]
    Meaning {
        /// The file.
        path: PathBuf,
        /// The table or key that says so, if the file does.
        place: Option<Place>,
        /// Why not.
        what: String,
    },
}

/// Where something stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// In bytes, from 0.
    pub span: Range<usize>,
    /// The whole line.
    pub text: String,
}

impl FileError {
    /// What cannot be done of what `text`, which stands in the file `path`,
    /// says under `key`.
    #[must_use]
    pub fn meaning(path: PathBuf, text: &str, key: &str, what: String) -> Self {
        Self::Meaning {
            path,
            place: span_of(text, key).map(|span| Place::of(text, span)),
            what,
        }
    }

    /// What is wrong, without where.
    #[must_use]
    pub fn what(&self) -> String {
        match self {
            Self::Read { source, .. } => format!("{self}: {source}"),
            Self::Syntax { source, .. } => source.message().to_owned(),
            Self::Meaning { what, .. } => what.clone(),
        }
    }

    /// Where it is wrong, if that is known.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::Read { .. } => None,
            Self::Syntax { source, text, .. } => source.span().map(|span| Place::of(text, span)),
            Self::Meaning { place, .. } => place.clone(),
        }
    }
}

impl Place {
    fn of(text: &str, span: Range<usize>) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line = before.matches('\n').count();
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: line + 1,
            column: before.get(start..).unwrap_or_default().chars().count() + 1,
            span,
            text: text.lines().nth(line).unwrap_or_default().to_owned(),
        }
    }
}

/// The key or table of this name at the top of a file.
fn span_of(text: &str, key: &str) -> Option<Range<usize>> {
    let table = toml::de::DeTable::parse(text).ok()?;
    let mut keys = table.get_ref().iter().map(|(key, _)| key);
    keys.find(|found| found.get_ref() == key)
        .map(|key| key.span())
}

/// In the form that syntax errors have.
struct Excerpt<'a> {
    place: &'a Option<Place>,
    what: &'a str,
}

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(place) = self.place else {
            return f.write_str(self.what);
        };
        let (line, column) = (place.line, place.column);
        let width = line.to_string().len();
        let carets = "^".repeat(place.span.len().max(1));
        writeln!(f, "at line {line}, column {column}")?;
        writeln!(f, "{:width$} |", "")?;
        writeln!(f, "{line} | {}", place.text)?;
        writeln!(
            f,
            "{:width$} | {:indent$}{carets}",
            "",
            "",
            indent = column - 1
        )?;
        f.write_str(self.what)
    }
}
