//! Reading tables key by key, so that one reading finds every mistake.

use std::collections::HashSet;
use std::str::FromStr;

use super::Mistake;
use super::tree::{Key, Node, Place, Value};

/// One table, of which every key must be asked for.
pub(super) struct Table<'a> {
    pub(super) at: Place,
    entries: &'a [(Key, Node)],
    known: Vec<&'static str>,
}

/// A text and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) at: Place,
    pub(super) text: &'a str,
}

impl<'a> Table<'a> {
    /// `node` as a table; reports it if it is none.
    pub(super) fn of(node: &'a Node, what: &str, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        let Value::Table(entries) = &node.value else {
            let help = format!("write keys and values for `{what}`");
            mistakes.push(node.at.mistake(format!("`{what}` must be a table"), help));
            return None;
        };
        let mut seen = HashSet::new();
        for (key, _) in entries {
            if !seen.insert(&*key.text) {
                let message = format!("`{}` is written twice", shown(&key.text));
                mistakes.push(key.at.mistake(message, "keep one of them"));
            }
        }
        Some(Self {
            at: node.at,
            entries,
            known: Vec::new(),
        })
    }

    /// The value of `key`, if it is written.
    pub(super) fn get(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        let found = self.entries.iter().find(|(written, _)| written.text == key);
        found.map(|(_, node)| node)
    }

    /// The text of `key`, if it is written; reports tables and lists.
    pub(super) fn text(
        &mut self,
        key: &'static str,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<Text<'a>> {
        let node = self.get(key)?;
        let Value::Text(text) = &node.value else {
            let message = format!("`{key}` must be one value");
            mistakes.push(node.at.mistake(message, "write a text or a number"));
            return None;
        };
        Some(Text { at: node.at, text })
    }

    /// The text of `key`; reports it if it is missing.
    pub(super) fn require(
        &mut self,
        key: &'static str,
        example: &str,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<Text<'a>> {
        if !self.entries.iter().any(|(written, _)| written.text == key) {
            self.known.push(key);
            let message = format!("`{key}` is missing");
            mistakes.push(self.at.mistake(message, format!("add `{example}`")));
            return None;
        }
        self.text(key, mistakes)
    }

    /// Whether `key` is written, without reading it.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(written, _)| written.text == key)
    }

    /// Reports every key that nobody asked for.
    pub(super) fn finish(self, mistakes: &mut Vec<Mistake>) {
        for (key, _) in self.entries {
            if !self.known.contains(&&*key.text) {
                let message = format!("unknown key `{}`", shown(&key.text));
                mistakes.push(key.at.mistake(message, remedy(&key.text, &self.known)));
            }
        }
    }
}

impl Text<'_> {
    /// Parses with `FromStr`; `help` is the remedy.
    pub(super) fn parse<T: FromStr>(self, help: &str, mistakes: &mut Vec<Mistake>) -> Option<T> {
        let parsed = self.text.trim().parse().ok();
        if parsed.is_none() {
            self.refuse("cannot be read", help, mistakes);
        }
        parsed
    }

    /// A quantity with its unit; its own error has the remedy.
    pub(super) fn quantity<T: FromStr<Err = flow::units::UnitError>>(
        self,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<T> {
        match self.text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                let text = error.to_string();
                let (message, help) = text.split_once("; ").unwrap_or((&text, ""));
                mistakes.push(self.at.mistake(message, help));
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(
        self,
        words: &[(&'static str, T)],
        mistakes: &mut Vec<Mistake>,
    ) -> Option<T> {
        let written = self.text.trim();
        let found = words
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(written));
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.refuse("is not known here", &remedy(written, &known), mistakes);
        }
        found.map(|(_, value)| *value)
    }

    /// Reports that the text `is` wrong.
    pub(super) fn refuse(self, is: &str, help: &str, mistakes: &mut Vec<Mistake>) {
        let message = format!("\"{}\" {is}", shown(self.text));
        mistakes.push(self.at.mistake(message, help));
    }
}

/// A text from a file, short and without what could steer a terminal.
fn shown(text: &str) -> String {
    const LONGEST: usize = 40;
    let short: String = text.chars().take(LONGEST).collect();
    let dots = if short.len() < text.len() { "..." } else { "" };
    short.escape_debug().to_string() + dots
}

/// "did you mean", or everything that is known.
fn remedy(given: &str, known: &[&str]) -> String {
    match flow::spec::suggestion(given, known) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("one of {}", known.join(", ")),
    }
}
