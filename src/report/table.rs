//! Tables as data, and as text for a terminal; the page writes the same ones.

use std::borrow::Cow;

use comfy_table::{
    Attribute, Cell as TextCell, CellAlignment, Color, ContentArrangement, LineStyle,
    Table as Text, TableStyle,
};

/// A table with named columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Table {
    pub(super) title: String,
    pub(super) head: Vec<Head>,
    pub(super) rows: Vec<Vec<Cell>>,
    /// What one has to know to read it.
    pub(super) note: String,
}

/// A column's name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Head {
    pub(super) name: String,
    /// The unit of the whole column; empty if it has none.
    pub(super) unit: String,
    /// Words: aligned left. Numbers are aligned right.
    pub(super) words: bool,
    /// Whether a narrow terminal can do without, and the higher the sooner; 0 stays.
    pub(super) spare: u8,
}

impl Head {
    /// A column of words, which stays.
    pub(super) fn words(name: &str) -> Self {
        Self {
            name: name.into(),
            words: true,
            ..Self::default()
        }
    }

    /// A column of numbers.
    pub(super) fn numbers(name: &str, unit: String) -> Self {
        Self {
            name: name.into(),
            unit,
            ..Self::default()
        }
    }

    /// Name and unit, a word a line over numbers: names are longer than figures.
    fn lines(&self) -> String {
        let name = if self.words {
            self.name.clone()
        } else {
            self.name.replace(' ', "\n")
        };
        if self.unit.is_empty() {
            name
        } else {
            format!("{name}\n{}", self.unit)
        }
    }

    /// The same column, left out sooner the higher `spare`.
    pub(super) fn spare(self, spare: u8) -> Self {
        Self { spare, ..self }
    }
}

/// One figure or word.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) mark: Mark,
}

/// What a cell says beyond its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mark {
    #[default]
    None,
    /// The best of its column among the same driver's.
    Best,
    /// A bound or claim is broken.
    Bad,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            mark: Mark::None,
        }
    }

    pub(super) fn marked(text: impl Into<String>, mark: Mark) -> Self {
        Self {
            text: text.into(),
            mark,
        }
    }

    /// A figure that nobody knows.
    pub(super) fn unknown() -> Self {
        Self::new("–")
    }

    /// The text with its mark, for where there is no bold and no colour.
    fn plain(&self) -> Cow<'_, str> {
        match self.mark {
            Mark::None => Cow::Borrowed(&self.text),
            Mark::Best => Cow::Owned(format!("{}*", self.text)),
            Mark::Bad => Cow::Owned(format!("{} !", self.text)),
        }
    }
}

/// How a terminal wants its tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Columns of letters.
    pub width: usize,
    /// Whether bold and colours are wanted.
    pub color: bool,
}

impl Look {
    /// What tables in files and pipes get.
    pub const PLAIN: Self = Self {
        width: 120,
        color: false,
    };

    /// What standard output is good for: its own width and colours on a
    /// terminal unless `NO_COLOR` is set, 120 columns without colour elsewhere.
    #[must_use]
    pub fn of_stdout() -> Self {
        use std::io::IsTerminal as _;
        if !std::io::stdout().is_terminal() {
            return Self::PLAIN;
        }
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            width: Text::new().width().map_or(Self::PLAIN.width, usize::from),
            color: !no_color,
        }
    }
}

impl Table {
    /// The table as text that ends in a line feed. Columns that do not fit and
    /// that one can do without are left out, and the last line says so.
    pub(super) fn text(&self, look: Look) -> String {
        let mut left_out = Vec::new();
        let mut shown: Vec<usize> = (0..self.head.len()).collect();
        let mut body = self.body(&shown, look);
        while widest_line(&body) > look.width {
            let Some(worst) = shown
                .iter()
                .copied()
                .filter(|&at| self.head[at].spare > 0)
                .max_by_key(|&at| self.head[at].spare)
            else {
                break;
            };
            shown.retain(|&at| at != worst);
            left_out.push(self.head[worst].name.as_str());
            body = self.body(&shown, look);
        }
        let mut text = format!("{}\n{body}\n", bold(&self.title, look));
        if !self.note.is_empty() {
            text.push_str(&wrapped(&self.note, look.width));
        }
        if !left_out.is_empty() {
            let words = format!("Left out for want of room: {}.", left_out.join(", "));
            text.push_str(&wrapped(&words, look.width));
        }
        text
    }

    fn body(&self, shown: &[usize], look: Look) -> String {
        let mut table = Text::new();
        let rule = LineStyle::new('─', '─', '─', '─');
        table
            .load_style(TableStyle::new().header_separator(rule))
            .set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(shown.iter().map(|&at| {
            let head = &self.head[at];
            let cell = TextCell::new(head.lines()).set_alignment(alignment(head));
            if look.color {
                cell.add_attribute(Attribute::Bold)
            } else {
                cell
            }
        }));
        for row in &self.rows {
            table.add_row(shown.iter().filter_map(|&at| {
                let cell = row.get(at)?;
                Some(styled(cell, look).set_alignment(alignment(&self.head[at])))
            }));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 1));
        }
        if look.color {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        trimmed(&table.to_string())
    }
}

fn alignment(head: &Head) -> CellAlignment {
    if head.words {
        CellAlignment::Left
    } else {
        CellAlignment::Right
    }
}

fn styled(cell: &Cell, look: Look) -> TextCell {
    let text = TextCell::new(cell.plain());
    match cell.mark {
        Mark::Best if look.color => text.add_attribute(Attribute::Bold),
        Mark::Bad if look.color => text.add_attribute(Attribute::Bold).fg(Color::Red),
        _ => text,
    }
}

/// Lines of at most `width` letters, broken at spaces; every one ends in a line feed.
pub(super) fn wrapped(text: &str, width: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && columns(&line) + 1 + columns(word) > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines.join("\n") + "\n"
}

/// A title as a terminal shows it.
pub(super) fn bold(text: &str, look: Look) -> String {
    if look.color {
        format!("\u{1b}[1m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}

fn trimmed(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// The columns that the widest line takes, without what only colours.
fn widest_line(text: &str) -> usize {
    text.lines().map(columns).max().unwrap_or(0)
}

fn columns(line: &str) -> usize {
    let mut columns = 0;
    let mut escape = false;
    for letter in line.chars() {
        match (escape, letter) {
            (false, '\u{1b}') => escape = true,
            (true, 'm') => escape = false,
            (true, _) => {}
            (false, _) => columns += 1,
        }
    }
    columns
}
