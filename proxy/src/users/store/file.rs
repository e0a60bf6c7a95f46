//! The file of a SQLite database, before it is opened.

use std::io;
use std::path::Path;

use super::Kind;
use super::database::{Database, StoreError};

/// Makes the file, if it is one and not there yet.
pub(super) fn prepare(database: &Database) -> Result<Kind, StoreError> {
    let Some(path) = database.path() else {
        return Ok(Kind::Postgres);
    };
    make_private(path).map_err(|source| StoreError::Create {
        path: path.to_owned(),
        source,
    })?;
    Ok(Kind::Sqlite)
}

/// SQLite would make a file that everybody on the host may read.
fn make_private(path: &Path) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        std::fs::create_dir_all(folder)?;
    }
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}
