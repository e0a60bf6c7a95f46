//! `[sweep]`: which parameters of a scenario vary, over which values.

use std::path::{Path, PathBuf};

use flow::{ByteRate, ByteSize, Nanos};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::file::{Origin, Overrides, parse};
use super::load::text_of;
use super::problem::{FileProblems, Problem};
use super::section::{Entry, Section};
use super::{DriverKind, LoadError, Scenario, limits};

/// Cells of a sweep at most.
const CELLS: u64 = 1_000_000;

/// Parameters of a sweep at most.
const PARAMETERS: usize = 64;

/// A scenario of which some parameters vary.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The scenario as it is written.
    pub base: Scenario,
    /// What varies, in the order of the file.
    pub parameters: Vec<Parameter>,
    table: Table,
    shown: String,
    folder: PathBuf,
    /// Points and seed of a Latin hypercube; `None`: every combination.
    sampled: Option<(u64, u64)>,
    overrides: Overrides,
}

/// One parameter that varies.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its place: keys, and names or numbers of list elements, between dots.
    pub path: String,
    values: Values,
}

#[derive(Clone, Debug, PartialEq)]
enum Values {
    List(Vec<Value>),
    Range {
        from: f64,
        to: f64,
        log: bool,
        unit: Quantity,
    },
}

/// What the ends of a range measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Bytes a second.
    Rate,
    /// Bytes.
    Size,
    /// Nanoseconds.
    Time,
    /// A whole number.
    Whole,
    /// Any number.
    Real,
}

/// Values of a scenario that do not go together.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("no valid scenario with {cell}: {why}")]
#[diagnostic(help("leave these values out, or change what does not fit them"))]
pub struct CellError {
    cell: String,
    why: String,
}

impl Sweep {
    /// Reads the scenario file `path`, which has a table `[sweep]`. Its cells are run
    /// by the model.
    ///
    /// # Errors
    /// [`LoadError`], with every mistake of the file.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, LoadError> {
        let overrides = Overrides {
            drivers: Some(vec![DriverKind::Model]),
            ..overrides.clone()
        };
        let base = Scenario::load(path, &overrides)?;
        let text = text_of(path)?;
        let shown = path.display().to_string();
        let mut problems = Vec::new();
        let (root, _) = DeTable::parse_recoverable(&text);
        let Some(read) = read(&text, root.get_ref(), &mut problems) else {
            if problems.is_empty() {
                problems.push(
                    Problem::new(0..0, "the scenario has no table `[sweep]`")
                        .label("nothing varies")
                        .help("add for example `[sweep.vary]` with `\"reference.burst\" = [\"5 kB\", \"10 kB\"]`"),
                );
            }
            return Err(LoadError::Mistakes(FileProblems::new(
                &shown, &text, problems,
            )));
        };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        Ok(Self {
            base,
            parameters: read.parameters,
            table: read.table,
            shown,
            folder: folder.to_owned(),
            sampled: read.sampled,
            overrides,
        })
    }

    /// The values of every cell, in order.
    #[must_use]
    pub fn cells(&self) -> Vec<Vec<Value>> {
        match self.sampled {
            Some((points, seed)) => hypercube(&self.parameters, points, seed),
            None => grid(&self.parameters),
        }
    }

    /// The scenario with `values` for its parameters.
    ///
    /// # Errors
    /// If they do not go together.
    pub fn scenario(&self, values: &[Value]) -> Result<Scenario, CellError> {
        let mut table = self.table.clone();
        for (parameter, value) in self.parameters.iter().zip(values) {
            // That the path leads somewhere was seen when the file was read.
            let _ = set(&mut table, &parameter.path, value.clone());
        }
        let origin = Origin {
            shown: &self.shown,
            stem: &self.base.name,
            folder: Some(&self.folder),
        };
        parse(&table.to_string(), origin, &self.overrides).map_err(|found| CellError {
            cell: self.named(values),
            // The places are of a text that nobody has written.
            why: found
                .problems()
                .first()
                .map(ToString::to_string)
                .unwrap_or_default(),
        })
    }

    /// "reference.burst = 5 kB, queue = 64 KiB".
    #[must_use]
    pub fn named(&self, values: &[Value]) -> String {
        let one = |(parameter, value): (&Parameter, &Value)| {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            format!("{} = {text}", parameter.path)
        };
        let all: Vec<String> = self.parameters.iter().zip(values).map(one).collect();
        all.join(", ")
    }
}

/// What stands in the table.
struct Read {
    parameters: Vec<Parameter>,
    table: Table,
    sampled: Option<(u64, u64)>,
}

/// Reports every mistake of the table `[sweep]`, if there is one.
pub(super) fn check(text: &str, root: &DeTable<'_>, problems: &mut Vec<Problem>) {
    read(text, root, problems);
}

fn read(text: &str, root: &DeTable<'_>, problems: &mut Vec<Problem>) -> Option<Read> {
    let mut top = Section::new(root, 0..0, "at the top of the file");
    let entry = top.get("sweep")?;
    let mut table: Table = text.parse().ok()?;
    table.remove("sweep");
    let mut section = Section::of(entry.value, "in `sweep`", problems)?;
    let samples = section.get("samples");
    let points = match samples {
        Some(entry) => Some(entry.integer(1..=CELLS, problems)?),
        None => None,
    };
    let seed = match section.get("seed") {
        Some(entry) => entry.integer(0..=limits::SEED, problems)?,
        None => limits::DEFAULT_SEED,
    };
    let vary = section.require("vary", "{ \"reference.burst\" = [\"5 kB\", \"10 kB\"] }");
    section.finish(problems);
    let entries = Section::of(vary?.value, "in `sweep.vary`", problems)?.into_rest(problems);
    let known = problems.len();
    if entries.len() > PARAMETERS {
        let why = format!("more than {PARAMETERS} parameters");
        problems.push(Problem::new(vary?.at(), why).label("too many"));
        return None;
    }
    let mut parameters = Vec::new();
    let mut cells = 1_u64;
    for entry in &entries {
        let path = entry.key.get_ref().to_string();
        if let Err(why) = set(&mut table.clone(), &path, Value::Boolean(true)) {
            problems.push(
                Problem::new(entry.key.span(), why)
                    .label("leads nowhere")
                    .help("write keys between dots, such as \"reference.burst\", \"traffic.rate\" or, by label, \"algorithm.deep.burst\""),
            );
            continue;
        }
        if let Some((values, steps)) = values(*entry, points.is_some(), problems) {
            cells = cells.saturating_mul(steps);
            parameters.push(Parameter { path, values });
        }
    }
    let sampled = points.map(|points| (points, seed));
    if sampled.is_none() && cells > CELLS {
        problems.push(
            Problem::new(entry.at(), format!("{cells} combinations are too many"))
                .label("too many")
                .help(format!(
                    "at most {CELLS}; `samples = 1000` takes a Latin hypercube of them"
                )),
        );
    }
    if parameters.is_empty() && problems.len() == known {
        problems.push(
            Problem::new(vary?.at(), "`vary` is empty")
                .label("nothing varies")
                .help("add for example `\"reference.burst\" = [\"5 kB\", \"10 kB\"]`"),
        );
    }
    (problems.len() == known).then_some(Read {
        parameters,
        table,
        sampled,
    })
}

/// The values of one parameter, and how many there are (of a range to sample: any number).
fn values(entry: Entry<'_>, sampled: bool, problems: &mut Vec<Problem>) -> Option<(Values, u64)> {
    match entry.value.get_ref() {
        DeValue::Array(all) if !all.is_empty() => {
            let all: Vec<Value> = all.iter().map(|one| plain(one.get_ref())).collect();
            let count = all.len() as u64;
            Some((Values::List(all), count))
        }
        DeValue::Table(_) => range(entry, sampled, problems),
        _ => {
            problems.push(
                Problem::new(entry.at(), "neither a list of values nor a range")
                    .label("here")
                    .help("write `[\"5 kB\", \"10 kB\"]`, or `{ from = \"1 kB\", to = \"64 kB\", steps = 7, scale = \"log\" }`"),
            );
            None
        }
    }
}

fn range(entry: Entry<'_>, sampled: bool, problems: &mut Vec<Problem>) -> Option<(Values, u64)> {
    let mut section = Section::of(entry.value, "in this range", problems)?;
    let (from, to) = (
        section.require("from", "\"1 kB\""),
        section.require("to", "\"64 kB\""),
    );
    let steps = section.get("steps");
    let scale = section.get("scale");
    section.finish(problems);
    let log = match scale {
        Some(entry) => entry.word(&[("linear", false), ("log", true)], problems)?,
        None => false,
    };
    let (from, to) = (from?, to?);
    let wrong = |at, why: &str| {
        Problem::new(at, why.to_owned())
            .label("here")
            .help("two rates, two sizes, two times or two numbers, the smaller first; above zero for `scale = \"log\"`")
    };
    let ends = amount(&plain(from.value.get_ref())).zip(amount(&plain(to.value.get_ref())));
    let Some(((low, one), (high, other))) = ends else {
        problems.push(wrong(from.at(), "the ends of a range are no quantities"));
        return None;
    };
    let unit = if one == other {
        Some(one)
    } else {
        real(one, other)
    };
    let Some(unit) = unit.filter(|_| low < high && !(log && low <= 0.0)) else {
        problems.push(wrong(to.at(), "these ends make no range"));
        return None;
    };
    let values = Values::Range {
        from: low,
        to: high,
        log,
        unit,
    };
    if sampled {
        return Some((values, 1));
    }
    let Some(steps) = steps else {
        problems.push(
            Problem::new(entry.at(), "`steps` is missing in this range")
                .label("how many values?")
                .help("add `steps = 8`, or `samples = 1000` to `[sweep]` for a Latin hypercube"),
        );
        return None;
    };
    let steps = steps.integer(2..=100_000, problems)?;
    let all: Vec<Value> = (0..steps)
        .map(|step| values.at(as_float(step) / as_float(steps - 1)))
        .collect();
    let mut distinct: Vec<Value> = Vec::new();
    for value in all {
        if !distinct.contains(&value) {
            distinct.push(value);
        }
    }
    let count = distinct.len() as u64;
    Some((Values::List(distinct), count))
}

fn real(one: Quantity, other: Quantity) -> Option<Quantity> {
    let number = |unit| matches!(unit, Quantity::Whole | Quantity::Real);
    (number(one) && number(other)).then_some(Quantity::Real)
}

/// A value as a number in its unit.
#[expect(clippy::cast_precision_loss, reason = "a place on a scale")]
#[must_use]
pub fn amount(value: &Value) -> Option<(f64, Quantity)> {
    Some(match value {
        Value::Integer(number) => (*number as f64, Quantity::Whole),
        Value::Float(number) => (*number, Quantity::Real),
        Value::String(text) => {
            if let Ok(rate) = text.parse::<ByteRate>() {
                (rate.get() as f64, Quantity::Rate)
            } else if let Ok(size) = text.parse::<ByteSize>() {
                (size.get() as f64, Quantity::Size)
            } else {
                (text.parse::<Nanos>().ok()?.get() as f64, Quantity::Time)
            }
        }
        _ => return None,
    })
}

impl Values {
    /// The value at `share` of the way, 0 to 1.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "an index below the length, and whole units between two ends that fit"
    )]
    fn at(&self, share: f64) -> Value {
        match self {
            Self::List(all) => {
                let index = (share * all.len() as f64) as usize;
                all[index.min(all.len() - 1)].clone()
            }
            Self::Range {
                from,
                to,
                log,
                unit,
            } => {
                let value = if *log {
                    (from.ln() + share * (to.ln() - from.ln())).exp()
                } else {
                    from + share * (to - from)
                };
                let whole = value.round() as u64;
                match unit {
                    Quantity::Rate => Value::String(format!("{whole} B/s")),
                    Quantity::Size => Value::String(format!("{whole} B")),
                    Quantity::Time => Value::String(format!("{}", Nanos::new(whole))),
                    Quantity::Whole => Value::Integer(value.round() as i64),
                    Quantity::Real => Value::Float(value),
                }
            }
        }
    }
}

/// Every combination, the last parameter fastest.
fn grid(parameters: &[Parameter]) -> Vec<Vec<Value>> {
    let mut cells = vec![Vec::new()];
    for parameter in parameters {
        let Values::List(all) = &parameter.values else {
            continue;
        };
        cells = cells
            .iter()
            .flat_map(|cell: &Vec<Value>| {
                all.iter()
                    .map(move |value| [cell.as_slice(), std::slice::from_ref(value)].concat())
            })
            .collect();
    }
    cells
}

/// A Latin hypercube (McKay, Beckman and Conover 1979): of every parameter one value in
/// each of `points` equal parts of its range, in an order of its own.
fn hypercube(parameters: &[Parameter], points: u64, seed: u64) -> Vec<Vec<Value>> {
    let columns: Vec<Vec<Value>> = (0_u64..)
        .zip(parameters)
        .map(|(number, parameter)| {
            let mut random = Xoshiro256PlusPlus::seed_from_u64(
                seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15),
            );
            let mut order: Vec<u64> = (0..points).collect();
            for last in (1..order.len()).rev() {
                let other = u128::from(random.next_u64()) * (last as u128 + 1);
                order.swap(last, usize::try_from(other >> 64).unwrap_or(0));
            }
            let place = |part: u64| (as_float(part) + uniform(&mut random)) / as_float(points);
            order
                .into_iter()
                .map(place)
                .map(|share| parameter.values.at(share))
                .collect()
        })
        .collect();
    let points = usize::try_from(points).unwrap_or(0);
    (0..points)
        .map(|point| columns.iter().map(|column| column[point].clone()).collect())
        .collect()
}

fn uniform(random: &mut Xoshiro256PlusPlus) -> f64 {
    as_float(random.next_u64() >> 11) / as_float(1 << 53)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts far below 2^53, and 53 random bits"
)]
fn as_float(count: u64) -> f64 {
    count as f64
}

/// Puts `value` at `path`; says why if it leads nowhere.
pub(super) fn set(table: &mut Table, path: &str, value: Value) -> Result<(), String> {
    match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value);
            Ok(())
        }
        Some((key, rest)) => match table.get_mut(key) {
            Some(Value::Table(inner)) => set(inner, rest, value),
            Some(Value::Array(all)) => set_in_list(all, key, rest, value),
            Some(_) => Err(format!("`{key}` is no table")),
            None => Err(format!("there is no `{key}` here")),
        },
    }
}

fn set_in_list(all: &mut [Value], key: &str, path: &str, value: Value) -> Result<(), String> {
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    let called = |element: &Value| {
        ["label", "name", "kind"]
            .iter()
            .filter_map(|key| element.get(key))
            .any(|text| text.as_str() == Some(name))
    };
    let index = all
        .iter()
        .position(called)
        .or_else(|| name.parse().ok().filter(|index| *index < all.len()));
    match index.map(|index| &mut all[index]) {
        Some(element) if rest.is_empty() => {
            *element = value;
            Ok(())
        }
        Some(Value::Table(inner)) => set(inner, rest, value),
        Some(_) => Err(format!("`{name}` of `{key}` is no table")),
        None => Err(format!("`{key}` has no element `{name}`")),
    }
}

/// The value without its place.
fn plain(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(
                |_| Value::String(number.as_str().to_owned()),
                Value::Integer,
            ),
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .map_or_else(|_| Value::String(number.as_str().to_owned()), Value::Float),
        DeValue::Boolean(truth) => Value::Boolean(*truth),
        DeValue::Datetime(when) => Value::Datetime(*when),
        DeValue::Array(all) => Value::Array(all.iter().map(|one| plain(one.get_ref())).collect()),
        DeValue::Table(table) => Value::Table(
            table
                .iter()
                .map(|(key, value)| (key.get_ref().to_string(), plain(value.get_ref())))
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests;
