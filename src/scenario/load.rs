//! From a path to a scenario.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use miette::Diagnostic;

use super::problem::FileProblems;
use super::{Origin, Overrides, Scenario, limits, parse};

/// A scenario file that cannot be run.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum LoadError {
    /// There is nothing to read.
    #[error("cannot read the scenario {}", path.display())]
    #[diagnostic(help("the scenarios of this repository are in scenarios/"))]
    Read {
        /// As it was given.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No scenario is that long.
    #[error("the scenario {} is larger than {} bytes", path.display(), limits::FILE)]
    #[diagnostic(help("a recorded trace is a file of its own: `pattern = \"trace\"`"))]
    TooLarge {
        /// As it was given.
        path: PathBuf,
    },
    /// It is no text.
    #[error("the scenario {} is not UTF-8", path.display())]
    #[diagnostic(help("save it as UTF-8 text"))]
    Encoding {
        /// As it was given.
        path: PathBuf,
        /// Where.
        source: std::str::Utf8Error,
    },
    /// It has mistakes.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Mistakes(FileProblems),
}

impl Scenario {
    /// Reads the scenario file `path`; traces are looked for in its folder.
    ///
    /// # Errors
    /// [`LoadError`], with every mistake of the file.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, LoadError> {
        with_text_of(path, |text, origin| parse(text, origin, overrides))
    }
}

/// Reads the file `path` and has `parse` make something of it.
pub(super) fn with_text_of<T>(
    path: &Path,
    parse: impl FnOnce(&str, Origin<'_>) -> Result<T, FileProblems>,
) -> Result<T, LoadError> {
    let text = text_of(path)?;
    let shown = path.display().to_string();
    let stem = path.file_stem().map(|stem| stem.to_string_lossy());
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let origin = Origin {
        shown: &shown,
        stem: stem.as_deref().unwrap_or_default(),
        folder: Some(folder),
    };
    parse(&text, origin).map_err(LoadError::Mistakes)
}

/// The text of the file `path`.
pub(super) fn text_of(path: &Path) -> Result<String, LoadError> {
    String::from_utf8(read(path)?).map_err(|error| LoadError::Encoding {
        path: path.to_owned(),
        source: error.utf8_error(),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    let failed = |source| LoadError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(limits::FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > limits::FILE {
        return Err(LoadError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(bytes: &[u8]) -> LoadError {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scenario.toml");
        std::fs::write(&path, bytes).unwrap();
        Scenario::load(&path, &Overrides::default()).unwrap_err()
    }

    #[test]
    fn what_is_no_text_is_refused() {
        assert!(matches!(refusal(b"\xff"), LoadError::Encoding { .. }));
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_is_read() {
        let large = vec![b'#'; 1 + (1 << 20)];
        assert!(matches!(refusal(&large), LoadError::TooLarge { .. }));
        assert!(matches!(refusal(&large[1..]), LoadError::Mistakes(_)));
    }

    #[test]
    fn a_folder_is_no_scenario() {
        let error = Scenario::load(Path::new("/"), &Overrides::default()).unwrap_err();
        assert!(matches!(error, LoadError::Read { .. }));
    }

    #[test]
    fn the_file_names_the_scenario_unless_it_does_so_itself() {
        let folder = tempfile::tempdir().unwrap();
        let text = "duration = \"1 s\"\nalgorithms = [\"none\"]\n\
                    reference = { rate = \"1 kB/s\", burst = \"1 kB\" }\n\
                    traffic = { pattern = \"bursty\" }\n";
        let path = folder.path().join("my first.toml");
        std::fs::write(&path, text).unwrap();
        let mistakes = Scenario::load(&path, &Overrides::default()).unwrap_err();
        assert!(mistakes.to_string().contains("write another as `name`"));
        std::fs::write(&path, format!("name = \"first\"\n{text}")).unwrap();
        let scenario = Scenario::load(&path, &Overrides::default()).unwrap();
        assert_eq!(scenario.name, "first");
    }
}
