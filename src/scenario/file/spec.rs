//! Between tables of the file and the `kind:key=value` specifications of
//! `flow` and `traffic`: fields out, the place of a mistake back.

use std::ops::Range;

use flow::spec::{Fields, SpecError};

use super::super::problem::{Problem, chain, split_remedy};
use super::super::section::Entry;

/// The entries as fields, in the order of the file.
pub(super) fn fields(entries: &[Entry<'_>], problems: &mut Vec<Problem>) -> Option<Fields> {
    let mut fields = Fields::new();
    let mut whole = true;
    for entry in entries {
        match entry.scalar(problems) {
            Some(text) => fields
                .insert(entry.key.get_ref(), &text)
                .map_err(|why| problems.push(problem(&why, entry.key.span(), entries)))
                .ok()?,
            None => whole = false,
        }
    }
    whole.then_some(fields)
}

/// The mistake `why` in a table whose kind is at `kind` and whose fields are `entries`.
pub(super) fn problem(why: &SpecError, kind: Range<usize>, entries: &[Entry<'_>]) -> Problem {
    let at_fault = why.field().and_then(|field| {
        entries
            .iter()
            .find(|entry| entry.key.get_ref().as_ref() == field)
    });
    let (at, label) = match (why, at_fault) {
        (SpecError::UnknownField { .. }, Some(entry)) => (entry.key.span(), "unknown key"),
        (_, Some(entry)) => (entry.at(), "at fault"),
        (SpecError::UnknownKind { .. }, None) => (kind, "unknown kind"),
        (_, None) => (kind, "here"),
    };
    let text = chain(why);
    let (message, help) = split_remedy(&text);
    let problem = Problem::new(at, message).label(label);
    match (why, help) {
        (SpecError::Missing { field }, _) => {
            problem.help(format!("add `{field} = \"...\"` to this table"))
        }
        (_, Some(help)) => problem.help(help),
        (_, None) => problem,
    }
}
