//! Cells on disk: a file each, there whole or not at all.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use blake2::{Blake2s256, Digest as _};

use super::plan::hex;
use crate::output::{OutputError, OutputFile};
use crate::report;
use crate::results::Row;

/// The cells in a folder.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// Why a cell or a table could not be kept or read.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum KeepError {
    /// The disk, or somebody's permissions, refused.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Write(#[from] OutputError),
    /// A folder could not be made.
    #[error("cannot make the folder {}", path.display())]
    #[diagnostic(help("choose a folder that you may write to with --out"))]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is no plan of this version.
    #[error("{} is no plan of a sweep, or of another version", .0.display())]
    #[diagnostic(help("`weirgate sweep` writes it; name the folder of a sweep"))]
    NotOurs(PathBuf),
    /// A table could not be made of rows.
    #[error("cannot write a table")]
    Table(#[from] csv::Error),
    /// A table could not be made of rows, as Parquet.
    #[error("cannot write a Parquet table: {0}")]
    Parquet(String),
}

impl Store {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Whether the cell `hash` is there, whole.
    #[must_use]
    pub fn has(&self, hash: &str) -> bool {
        self.text(hash).is_some()
    }

    /// Keeps the runs of the cell `hash`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&self, hash: &str, rows: &[Row]) -> Result<(), KeepError> {
        let path = self.path(hash);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|source| KeepError::Folder {
                path: folder.to_owned(),
                source,
            })?;
        }
        let text = report::rows_as_csv(rows)?;
        let mut file = OutputFile::create(&path)?;
        writeln!(file, "{}", hex(&Blake2s256::digest(&text)))
            .and_then(|()| file.write_all(&text))
            .map_err(|source| OutputFile::failed(&path, source))?;
        Ok(file.finish()?)
    }

    /// The runs of the cell `hash` as CSV; `None` if it is not there, or damaged.
    #[must_use]
    pub fn text(&self, hash: &str) -> Option<String> {
        let text = fs::read_to_string(self.path(hash)).ok()?;
        let (digest, rows) = text.split_once('\n')?;
        (hex(&Blake2s256::digest(rows.as_bytes())) == digest).then(|| rows.to_owned())
    }

    fn path(&self, hash: &str) -> PathBuf {
        let part = hash.get(..2).unwrap_or("00");
        self.folder.join(part).join(format!("{hash}.csv"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        assert!(!store.has("abcd"));
        store.keep("abcd", &[Row::default()]).unwrap();
        assert!(store.has("abcd"));
        let path = store.path("abcd");
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert!(!store.has("abcd"), "the last byte is missing");
    }
}
