//! Quantities and tables in the look of the reports, for commands that have
//! figures of their own.

use super::format::{Unit, quantity};
use super::table::{Cell, Head, Look, Table};

/// Bytes to four digits, "1.500 kB".
#[must_use]
pub fn bytes(value: f64) -> String {
    spaced(&quantity(Unit::Bytes, value, 4))
}

/// Bytes a second to four digits, "5.000 kB/s".
#[must_use]
pub fn rate(value: f64) -> String {
    spaced(&quantity(Unit::Rate, value, 4))
}

/// Seconds to four digits, "12.34 ms".
#[must_use]
pub fn seconds(value: f64) -> String {
    spaced(&quantity(Unit::Seconds, value, 4))
}

/// A share in percent to three digits, "1.25 %".
#[must_use]
pub fn percent(value: f64) -> String {
    spaced(&quantity(Unit::Share, value, 3))
}

fn spaced(text: &str) -> String {
    text.replace('\u{a0}', " ")
}

/// A table as text. Columns whose name begins with `<` hold words and stand to
/// the left, the others numbers.
#[must_use]
pub fn table(title: &str, head: &[&str], rows: &[Vec<String>], note: &str, look: Look) -> String {
    let head = head.iter().map(|name| match name.strip_prefix('<') {
        Some(name) => Head::words(name),
        None => Head::numbers(name, String::new()),
    });
    let rows = rows.iter().map(|row| row.iter().map(Cell::new).collect());
    let table = Table {
        title: title.to_owned(),
        head: head.collect(),
        rows: rows.collect(),
        note: note.to_owned(),
    };
    table.text(look)
}
