//! What is wrong with a file, told so that the author can mend it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};

/// One mistake: where it is, what it is, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub message: String,
    /// Bytes of the file that are at fault.
    pub at: Range<usize>,
    /// A few words beside the place.
    pub label: String,
    /// The remedy.
    pub help: Option<String>,
    /// A second place that plays a part, with its words.
    pub also: Option<(Range<usize>, String)>,
}

impl Problem {
    /// A mistake at `at`.
    pub fn new(at: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            at,
            label: "here".to_owned(),
            help: None,
            also: None,
        }
    }

    /// Words beside the place instead of "here".
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// The remedy.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// A second place that plays a part.
    #[must_use]
    pub fn also(mut self, at: Range<usize>, label: impl Into<String>) -> Self {
        self.also = Some((at, label.into()));
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help
            .as_ref()
            .map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let first = LabeledSpan::new_primary_with_span(Some(self.label.clone()), self.at.clone());
        let second = self
            .also
            .as_ref()
            .map(|(at, label)| LabeledSpan::new_with_span(Some(label.clone()), at.clone()));
        Some(Box::new(std::iter::once(first).chain(second)))
    }
}

/// No more mistakes than these are shown at once.
const SHOWN: usize = 50;

/// All mistakes found in one file, in the order of the file; never empty.
#[derive(Clone, Debug)]
pub struct FileProblems {
    source: Arc<NamedSource<String>>,
    problems: Vec<Problem>,
}

impl FileProblems {
    /// The mistakes `problems` (at least one) of the file `name` that reads `text`.
    #[must_use]
    pub fn new(name: &str, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| (problem.at.start, problem.at.end));
        let source = Arc::new(NamedSource::new(printable(name), text.to_owned()));
        Self { source, problems }
    }

    /// The mistakes, in the order of the file.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The only mistake, if there is one alone.
    fn single(&self) -> Option<&Problem> {
        match self.problems.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }
}

impl fmt::Display for FileProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.single() {
            Some(problem) => problem.fmt(f),
            None => {
                let (count, name) = (self.problems.len(), self.source.name());
                write!(f, "{count} problems in {name}")?;
                if count > SHOWN {
                    write!(f, "; the first {SHOWN} are")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for FileProblems {}

impl Diagnostic for FileProblems {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.single().and_then(Diagnostic::help)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.single().and_then(Diagnostic::labels)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&*self.source)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        if self.single().is_some() {
            return None;
        }
        Some(Box::new(
            self.problems
                .iter()
                .take(SHOWN)
                .map(|problem| problem as &dyn Diagnostic),
        ))
    }
}

/// `text` with everything that could steer a terminal written out.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control();
            let plain = (!escaped).then_some(c);
            let written = escaped.then(|| c.escape_default());
            plain.into_iter().chain(written.into_iter().flatten())
        })
        .collect()
}

/// "did you mean `x`?", or the list of all that is known.
#[must_use]
pub fn remedy(given: &str, known: &[&str], what: &str) -> String {
    match flow::spec::suggestion(given, known) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("{what}: {}", known.join(", ")),
    }
}

/// What a refused quantity or specification says, and the remedy behind its semicolon.
#[must_use]
pub fn split_remedy(why: &str) -> (&str, Option<&str>) {
    match why.split_once("; ") {
        Some((message, help)) => (message, Some(help)),
        None => (why, None),
    }
}

/// The message and those of its causes.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
