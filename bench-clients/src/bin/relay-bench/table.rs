//! Lines into a Markdown table.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

pub(crate) fn print(lines: &Path) -> io::Result<()> {
    write!(io::stdout(), "{}", table(&fs::read_to_string(lines)?))
}

/// Rows and columns in the order in which they first appear; a figure that was
/// taken again counts as taken last.
fn table(lines: &str) -> String {
    let (mut rows, mut names, mut cells) = (Vec::new(), Vec::new(), HashMap::new());
    for line in lines.lines() {
        let mut parts = line.splitn(3, '\t');
        let (Some(name), Some(row), Some(value)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        if !rows.contains(&row) {
            rows.push(row);
        }
        if !names.contains(&name) {
            names.push(name);
        }
        cells.insert((row, name), value);
    }
    let mut out = format!(
        "| | {} |\n|---|{}\n",
        names.join(" | "),
        "---|".repeat(names.len())
    );
    for row in rows {
        let values = names
            .iter()
            .map(|&name| cells.get(&(row, name)).copied().unwrap_or(""));
        out += &format!("| {row} | {} |\n", values.collect::<Vec<_>>().join(" | "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn a_column_for_each_name() {
        let lines = "ours\ta\t1\ntheirs\ta\t2\ntheirs\tb\t3\nours\ta\t4\nnonsense\n";
        assert_eq!(
            table(lines),
            "| | ours | theirs |\n|---|---|---|\n| a | 4 | 2 |\n| b |  | 3 |\n"
        );
    }
}
