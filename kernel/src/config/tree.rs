//! TOML and YAML as one tree of tables, lists and texts, each with its place.

use saphyr_parser::{Event, Parser, Span, SpannedEventReceiver};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Mistake;

/// Tables and lists inside each other; more is no configuration.
const DEEPEST: usize = 16;

/// Where something is written, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Place,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    /// As it is written, without quotes.
    Text(String),
    Table(Vec<(Key, Node)>),
    List(Vec<Node>),
}

#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) at: Place,
    pub(super) text: String,
}

impl Place {
    pub(super) fn mistake(self, message: impl Into<String>, help: impl Into<String>) -> Mistake {
        Mistake {
            line: self.line,
            column: self.column,
            message: message.into(),
            help: help.into(),
        }
    }
}

pub(super) fn from_toml(text: &str) -> Result<Node, Mistake> {
    let lines = Lines::of(text);
    match DeTable::parse(text) {
        Ok(root) => Ok(lines.table(root.get_ref(), Place { line: 1, column: 1 })),
        Err(error) => {
            let at = lines.place(error.span().map_or(0, |span| span.start));
            let message = format!("not TOML: {}", error.message());
            Err(at.mistake(message, "see https://toml.io for the syntax"))
        }
    }
}

/// Finds lines and columns of bytes, in a time that does not grow with the file.
struct Lines {
    /// Where each line starts, in bytes.
    starts: Vec<usize>,
    /// How many characters begin before each byte.
    characters: Vec<usize>,
}

impl Lines {
    fn of(text: &str) -> Self {
        let newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        let mut begun = 0;
        let characters = (0..=text.len()).map(|at| {
            let before = begun;
            begun += usize::from(text.is_char_boundary(at));
            before
        });
        Self {
            starts: std::iter::once(0).chain(newlines).collect(),
            characters: characters.collect(),
        }
    }

    fn place(&self, byte: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= byte).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let before = |at: usize| self.characters.get(at).or(self.characters.last());
        let column = before(byte)
            .zip(before(start))
            .map(|(at, start)| at - start);
        Place {
            line,
            column: column.unwrap_or(0) + 1,
        }
    }

    fn table(&self, table: &DeTable<'_>, at: Place) -> Node {
        let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let text: &std::borrow::Cow<'_, str> = key.get_ref();
            let key = Key {
                at: self.place(key.span().start),
                text: text.clone().into_owned(),
            };
            (key, self.node(value))
        };
        Node {
            at,
            value: Value::Table(table.iter().map(entry).collect()),
        }
    }

    fn node(&self, value: &Spanned<DeValue<'_>>) -> Node {
        let at = self.place(value.span().start);
        let value = match value.get_ref() {
            DeValue::Table(table) => return self.table(table, at),
            DeValue::Array(items) => {
                Value::List(items.iter().map(|item| self.node(item)).collect())
            }
            DeValue::String(text) => Value::Text(text.clone().into_owned()),
            DeValue::Integer(number) => Value::Text(number.to_string()),
            DeValue::Float(number) => Value::Text(number.to_string()),
            DeValue::Boolean(truth) => Value::Text(truth.to_string()),
            DeValue::Datetime(moment) => Value::Text(moment.to_string()),
        };
        Node { at, value }
    }
}

pub(super) fn from_yaml(text: &str) -> Result<Node, Mistake> {
    let mut builder = Builder::default();
    let loaded = Parser::new_from_str(text).load(&mut builder, true);
    if let Some(mistake) = builder.mistake {
        return Err(mistake);
    }
    if let Err(error) = loaded {
        let at = place(*error.marker());
        let message = format!("not YAML: {}", error.info());
        return Err(at.mistake(message, "check indentation and quotes on this line"));
    }
    let empty = Node {
        at: Place { line: 1, column: 1 },
        value: Value::Table(Vec::new()),
    };
    Ok(builder.root.unwrap_or(empty))
}

fn place(marker: saphyr_parser::Marker) -> Place {
    Place {
        line: marker.line(),
        column: marker.col() + 1,
    }
}

/// Puts the events of a YAML file together.
#[derive(Default)]
struct Builder {
    /// What is open, outermost first; a table with the key that waits for its value.
    open: Vec<(Node, Option<Key>)>,
    root: Option<Node>,
    mistake: Option<Mistake>,
}

impl Builder {
    fn refuse(&mut self, at: Place, message: &str, help: &str) {
        self.mistake
            .get_or_insert_with(|| at.mistake(message, help));
    }

    fn begin(&mut self, at: Place, value: Value) {
        if self.open.len() >= DEEPEST {
            self.refuse(
                at,
                "nested too deeply",
                "no module has more than two levels",
            );
            return;
        }
        self.open.push((Node { at, value }, None));
    }

    fn end(&mut self) {
        if let Some((node, _)) = self.open.pop() {
            self.add(node);
        }
    }

    fn add(&mut self, node: Node) {
        let Some((parent, waiting)) = self.open.last_mut() else {
            self.root.get_or_insert(node);
            return;
        };
        match &mut parent.value {
            Value::List(items) => items.push(node),
            Value::Table(entries) => match (waiting.take(), node.value) {
                (Some(key), value) => entries.push((key, Node { value, ..node })),
                (None, Value::Text(text)) => *waiting = Some(Key { at: node.at, text }),
                (None, _) => {
                    let help = "write `key: value`";
                    self.refuse(node.at, "a key must be a plain text", help);
                }
            },
            Value::Text(_) => {}
        }
    }
}

impl<'i> SpannedEventReceiver<'i> for Builder {
    fn on_event(&mut self, event: Event<'i>, span: Span) {
        if self.mistake.is_some() {
            return;
        }
        let at = place(span.start);
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                self.refuse(at, "a second document", "keep one, without `---`");
            }
            Event::Alias(_) => self.refuse(at, "an alias", "write the value itself"),
            Event::Scalar(text, ..) => self.add(Node {
                at,
                value: Value::Text(text.into_owned()),
            }),
            Event::MappingStart(..) => self.begin(at, Value::Table(Vec::new())),
            Event::SequenceStart(..) => self.begin(at, Value::List(Vec::new())),
            Event::MappingEnd | Event::SequenceEnd => self.end(),
            _ => {}
        }
    }
}
