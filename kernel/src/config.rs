//! Configuration files: our TOML, and the `config.yaml` of wirefisher in both of its schemas.

mod read;
mod toml_rules;
mod tree;
mod wirefisher;

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::rule::{Action, Rule, Rules, TCP_DEPTH_SECONDS};

/// Largest file in bytes.
const MOST_BYTES: u64 = 1 << 20;

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is nothing to read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It has mistakes.
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
}

/// One mistake: where it is, what it is, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// The remedy.
    pub help: String,
}

/// All mistakes of one file, in its order; never empty.
#[derive(Clone, Debug)]
pub struct Mistakes {
    /// The file as it was given.
    pub file: String,
    /// At least one.
    pub all: Vec<Mistake>,
}

/// A configuration, and what its author should know about it.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The rules.
    pub rules: Rules,
    /// A line each.
    pub warnings: Vec<String>,
}

/// Which language a file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Ours.
    Toml,
    /// Wirefisher's.
    Yaml,
}

impl Format {
    /// By the ending of the file's name: `.yaml` and `.yml` are YAML.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("yaml" | "yml") => Self::Yaml,
            _ => Self::Toml,
        }
    }
}

/// Reads the file `path`.
///
/// # Errors
/// [`ConfigError`], with every mistake of the file.
pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
    let failed = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MOST_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > MOST_BYTES {
        let long = io::Error::new(io::ErrorKind::FileTooLarge, "more than 1 MiB");
        return Err(failed(long));
    }
    let parsed = parse(&text, Format::of(path));
    parsed.map_err(|all| {
        let file = path.display().to_string();
        Mistakes { file, all }.into()
    })
}

/// Reads a configuration.
///
/// # Errors
/// Every mistake that can be seen, in the order of the file.
pub fn parse(text: &str, format: Format) -> Result<Loaded, Vec<Mistake>> {
    let tree = match format {
        Format::Toml => tree::from_toml(text),
        Format::Yaml => tree::from_yaml(text),
    };
    let root = tree.map_err(|mistake| vec![mistake])?;
    let mut mistakes = Vec::new();
    let mut warnings = Vec::new();
    let rules = match format {
        Format::Toml => toml_rules::read(&root, &mut mistakes),
        Format::Yaml => wirefisher::read(&root, &mut mistakes, &mut warnings),
    };
    if !mistakes.is_empty() {
        mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
        return Err(mistakes);
    }
    warnings.extend(rules.rules.iter().filter_map(shallow));
    Ok(Loaded { rules, warnings })
}

/// A bucket so shallow that TCP cannot use the rate.
fn shallow(rule: &Rule) -> Option<String> {
    let Action::Police { limit, .. } = &rule.action else {
        return None;
    };
    #[expect(clippy::cast_precision_loss, reason = "for a warning")]
    let seconds = limit.burst.get() as f64 / limit.rate.get() as f64;
    (seconds < TCP_DEPTH_SECONDS && rule.matcher.protocol.is_none_or(|p| p == 6)).then(|| {
        format!(
            "{}: a bucket of {} is {:.3} s of the rate; TCP, which waits 0.2 s when it is empty, \
             will get about {:.0} % of the rate: 0.21 s or more holds it",
            rule.name,
            limit.burst,
            seconds,
            100.0 * seconds / TCP_DEPTH_SECONDS
        )
    })
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, mistake) in self.all.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            let Mistake {
                line,
                column,
                message,
                help,
            } = mistake;
            write!(f, "{}:{line}:{column}: {message}", self.file)?;
            if !help.is_empty() {
                write!(f, "\n    help: {help}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
