//! Files that are there whole or not at all.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A file under construction: written beside its place and renamed when it is finished.
///
/// What exists and is no regular file (a pipe, a device) is written directly.
#[derive(Debug)]
pub struct OutputFile {
    shown: PathBuf,
    to: Destination,
}

#[derive(Debug)]
enum Destination {
    Beside(BufWriter<NamedTempFile>, PathBuf),
    Directly(BufWriter<File>),
}

/// A file could not be written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot write {}", path.display())]
#[diagnostic(help("name a file in a folder that exists and that you may write to"))]
pub struct OutputError {
    path: PathBuf,
    source: io::Error,
}

impl OutputFile {
    /// Begins the file `path`; nothing is there until [`Self::finish`].
    ///
    /// # Errors
    /// If its folder cannot be written to.
    pub fn create(path: &Path) -> Result<Self, OutputError> {
        match destination(path) {
            Ok(to) => Ok(Self {
                shown: path.to_owned(),
                to,
            }),
            Err(source) => Err(OutputError {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// If not all of it could be written; then what stood there before still does.
    pub fn finish(self) -> Result<(), OutputError> {
        let Self { shown, to } = self;
        let finished = match to {
            Destination::Directly(mut file) => file.flush(),
            Destination::Beside(file, path) => file
                .into_inner()
                .map_err(io::IntoInnerError::into_error)
                .and_then(|file| file.persist(path).map_err(|e| e.error))
                .map(drop),
        };
        finished.map_err(|source| OutputError {
            path: shown,
            source,
        })
    }

    /// `source` as what happened while the file `path` was written.
    #[must_use]
    pub fn failed(path: &Path, source: io::Error) -> OutputError {
        OutputError {
            path: path.to_owned(),
            source,
        }
    }
}

fn destination(path: &Path) -> io::Result<Destination> {
    // A link is followed, so that the file it names is replaced and not the link.
    let path = match fs::metadata(path) {
        Ok(found) if !found.is_file() && !found.is_dir() => {
            let file = File::options().write(true).open(path)?;
            return Ok(Destination::Directly(BufWriter::new(file)));
        }
        Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(_) => fs::canonicalize(path)?,
        Err(_) => path.to_owned(),
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::metadata(folder)?;
    let file = tempfile::Builder::new()
        .prefix(".weirgate-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        // Without the temporary name, which would only puzzle.
        .map_err(|error| io::Error::from(error.kind()))?;
    Ok(Destination::Beside(BufWriter::new(file), path))
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.to {
            Destination::Beside(file, _) => file.write(bytes),
            Destination::Directly(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            Destination::Beside(file, _) => file.flush(),
            Destination::Directly(file) => file.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_finished_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let mut file = OutputFile::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_finished_file_replaces_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        fs::write(&path, "before").unwrap();
        let mut file = OutputFile::create(&path).unwrap();
        file.write_all(b"after").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"before");
        file.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"after");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = OutputFile::create(Path::new("/nowhere/at/all.csv")).unwrap_err();
        assert_eq!(error.to_string(), "cannot write /nowhere/at/all.csv");
    }
}
