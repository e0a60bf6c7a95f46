//! One table of the file, read key by key: what is asked for is known, what is
//! left over at the end is a mistake.

use std::borrow::Cow;
use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, printable, remedy, split_remedy};

/// A value with its place.
pub(super) type Node<'a> = &'a Spanned<DeValue<'a>>;

/// A table that is being read.
pub(super) struct Section<'a> {
    table: &'a DeTable<'a>,
    /// Bytes of its header, for "something is missing here".
    at: Range<usize>,
    /// How the author knows it: "in `reference`", "at the top of the file".
    name: &'static str,
    known: Vec<&'static str>,
    /// Keys that are needed and not there, reported at the end: a misspelt key
    /// is one mistake and not two.
    missing: Vec<(&'static str, Problem)>,
}

/// One key and its value.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    /// As written.
    pub(super) key: &'a Spanned<Cow<'a, str>>,
    /// What stands behind the `=`.
    pub(super) value: Node<'a>,
}

impl<'a> Section<'a> {
    /// The table `table`, whose header is at `at`.
    pub(super) fn new(table: &'a DeTable<'a>, at: Range<usize>, name: &'static str) -> Self {
        Self {
            table,
            at,
            name,
            known: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// The table that `node` should be.
    pub(super) fn of(
        node: Node<'a>,
        name: &'static str,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        match node.get_ref() {
            DeValue::Table(table) => Some(Self::new(table, node.span(), name)),
            other => {
                problems.push(wrong_type(node, "a table", other));
                None
            }
        }
    }

    /// Where the table is.
    pub(super) fn at(&self) -> Range<usize> {
        self.at.clone()
    }

    /// The value of `key`, which is known from now on.
    pub(super) fn get(&mut self, key: &'static str) -> Option<Entry<'a>> {
        self.known.push(key);
        self.table
            .get_key_value(key)
            .map(|(key, value)| Entry { key, value })
    }

    /// Like [`Self::get`]; its absence is a mistake with the remedy `example`.
    pub(super) fn require(&mut self, key: &'static str, example: &str) -> Option<Entry<'a>> {
        let entry = self.get(key);
        if entry.is_none() {
            let problem = Problem::new(self.at(), format!("`{key}` is missing {}", self.name))
                .label(format!("needs `{key}`"))
                .help(format!("add for example `{key} = {example}`"));
            self.missing.push((key, problem));
        }
        entry
    }

    /// All entries that nobody has asked for: somebody else knows them.
    pub(super) fn into_rest(self, problems: &mut Vec<Problem>) -> Vec<Entry<'a>> {
        let rest = self.rest();
        problems.extend(self.missing.into_iter().map(|(_, problem)| problem));
        rest
    }

    /// All entries that nobody has asked for, in the order of the file.
    fn rest(&self) -> Vec<Entry<'a>> {
        let mut rest: Vec<_> = self
            .table
            .iter()
            .filter(|(key, _)| !self.known.contains(&&**key.get_ref()))
            .map(|(key, value)| Entry { key, value })
            .collect();
        rest.sort_by_key(|entry| entry.key.span().start);
        rest
    }

    /// Reports every entry that nobody has asked for, and every one that is missing.
    pub(super) fn finish(self, problems: &mut Vec<Problem>) {
        let mut meant = Vec::new();
        for entry in self.rest() {
            let given = entry.key.get_ref();
            meant.extend(flow::spec::suggestion(given, &self.known));
            problems.push(
                Problem::new(
                    entry.key.span(),
                    format!("unknown key `{}` {}", printable(given), self.name),
                )
                .label("unknown key")
                .help(remedy(given, &self.known, "known keys")),
            );
        }
        let missing = self.missing.into_iter();
        problems.extend(
            missing
                .filter(|(key, _)| !meant.contains(key))
                .map(|(_, problem)| problem),
        );
    }
}

impl<'a> Entry<'a> {
    /// Bytes of the value.
    pub(super) fn at(&self) -> Range<usize> {
        self.value.span()
    }

    /// A string.
    pub(super) fn string(self, problems: &mut Vec<Problem>) -> Option<&'a str> {
        string(self.value, problems)
    }

    /// A quantity with its unit, such as `"5000 B/s"`.
    pub(super) fn quantity<T>(self, example: &str, problems: &mut Vec<Problem>) -> Option<T>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        self.quantity_by(str::parse, example, problems)
    }

    /// A quantity that `read` understands.
    pub(super) fn quantity_by<T, E: std::fmt::Display>(
        self,
        read: impl FnOnce(&str) -> Result<T, E>,
        example: &str,
        problems: &mut Vec<Problem>,
    ) -> Option<T> {
        let key = self.key.get_ref();
        let (text, label) = match self.value.get_ref() {
            DeValue::String(text) => (&**text, "not such a quantity"),
            DeValue::Integer(number) => (number.as_str(), "a bare number"),
            DeValue::Float(number) => (number.as_str(), "a bare number"),
            other => {
                problems.push(wrong_type(self.value, "a quantity in quotes", other));
                return None;
            }
        };
        read(text)
            .map_err(|why| {
                let why = why.to_string();
                let (message, _) = split_remedy(&why);
                problems.push(
                    Problem::new(self.at(), format!("`{key}`: {message}"))
                        .label(label)
                        .help(format!("write for example `{key} = \"{example}\"`")),
                );
            })
            .ok()
    }

    /// A whole number in `range`.
    pub(super) fn integer(
        self,
        range: std::ops::RangeInclusive<u64>,
        problems: &mut Vec<Problem>,
    ) -> Option<u64> {
        let key = self.key.get_ref();
        let DeValue::Integer(written) = self.value.get_ref() else {
            problems.push(wrong_type(
                self.value,
                "a whole number",
                self.value.get_ref(),
            ));
            return None;
        };
        match u64::from_str_radix(written.as_str(), written.radix()) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                let (least, most) = range.into_inner();
                problems.push(
                    Problem::new(self.at(), format!("`{key}` is out of range"))
                        .label("out of range")
                        .help(format!("a whole number from {least} to {most}")),
                );
                None
            }
        }
    }

    /// One word of a closed set.
    pub(super) fn word<T: Copy>(
        self,
        words: &[(&'static str, T)],
        problems: &mut Vec<Problem>,
    ) -> Option<T> {
        word(self.value, words, problems)
    }

    /// The elements of an array.
    pub(super) fn elements(self, problems: &mut Vec<Problem>) -> Option<Vec<Node<'a>>> {
        match self.value.get_ref() {
            DeValue::Array(array) => Some(array.iter().collect()),
            other => {
                problems.push(wrong_type(self.value, "an array", other));
                None
            }
        }
    }

    /// A string, number or truth value as the text that a one-line SPEC would have.
    pub(super) fn scalar(self, problems: &mut Vec<Problem>) -> Option<Cow<'a, str>> {
        match self.value.get_ref() {
            DeValue::String(text) => Some(Cow::Borrowed(text)),
            DeValue::Integer(number) if number.radix() == 10 => {
                Some(Cow::Borrowed(number.as_str()))
            }
            DeValue::Float(number) => Some(Cow::Borrowed(number.as_str())),
            DeValue::Boolean(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
            other => {
                problems.push(wrong_type(
                    self.value,
                    "a string, number or truth value",
                    other,
                ));
                None
            }
        }
    }
}

/// A string.
pub(super) fn string<'a>(node: Node<'a>, problems: &mut Vec<Problem>) -> Option<&'a str> {
    match node.get_ref() {
        DeValue::String(text) => Some(text),
        other => {
            problems.push(wrong_type(node, "a string", other));
            None
        }
    }
}

/// One word of a closed set.
pub(super) fn word<T: Copy>(
    node: Node<'_>,
    words: &[(&'static str, T)],
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let given = string(node, problems)?;
    let found = words.iter().find(|(word, _)| *word == given);
    if found.is_none() {
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        problems.push(
            Problem::new(
                node.span(),
                format!("unknown value \"{}\"", printable(given)),
            )
            .label("unknown value")
            .help(remedy(given, &known, "one of")),
        );
    }
    found.map(|(_, value)| *value)
}

fn wrong_type(node: Node<'_>, wanted: &str, found: &DeValue<'_>) -> Problem {
    let found = match found {
        DeValue::Array(_) => "an array",
        DeValue::Integer(_) => "an integer",
        DeValue::Table(_) => "a table",
        DeValue::String(_) => "a string",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a date",
    };
    Problem::new(node.span(), format!("expected {wanted}, found {found}"))
        .label(format!("expected {wanted}"))
}
