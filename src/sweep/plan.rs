//! What a sweep consists of: a file that every share writes alike.

use std::fs;
use std::path::Path;

use blake2::{Blake2s256, Digest as _};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use toml::Value;

use super::{KeepError, SweepError};
use crate::scenario::Scenario;
use crate::scenario::sweep::{Quantity, Sweep, amount};

/// Of the form of cells and plans: other forms do not mix.
const FORM: u32 = 1;
/// Its file in the folder.
const FILE: &str = "plan.json";

/// All cells of a sweep, in the order of its tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    form: u32,
    version: String,
    /// Name of the scenario.
    pub scenario: String,
    /// What varies.
    pub columns: Vec<Column>,
    /// The cells.
    pub cells: Vec<Cell>,
}

/// A column for a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Path of the parameter, with the unit of its numbers.
    pub name: String,
    /// Whether its cells are numbers.
    pub number: bool,
}

/// One cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Of the resolved scenario and everything that decides about its figures.
    pub hash: String,
    /// Its values, in the order of the columns.
    pub values: Vec<Value>,
}

impl Plan {
    /// The plan of `sweep`: every cell is resolved once, so that none fails later.
    ///
    /// # Errors
    /// If values do not go together, or a trace cannot be read.
    pub fn of(sweep: &Sweep) -> Result<Self, SweepError> {
        let values = sweep.cells();
        let columns = columns(sweep, &values);
        let cells = values
            .into_par_iter()
            .map(|values| {
                let scenario = sweep.scenario(&values)?;
                let hash = hash(&scenario)?;
                Ok(Cell { hash, values })
            })
            .collect::<Result<Vec<Cell>, SweepError>>()?;
        Ok(Self {
            form: FORM,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            scenario: sweep.base.name.clone(),
            columns,
            cells,
        })
    }

    /// Its text.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The plan in the folder `dir`.
    ///
    /// # Errors
    /// If there is none that this version can read.
    pub fn read(dir: &Path) -> Result<Self, KeepError> {
        let path = dir.join(FILE);
        let text = fs::read_to_string(&path).map_err(|source| KeepError::Read {
            path: path.clone(),
            source,
        })?;
        let plan: Self =
            serde_json::from_str(&text).map_err(|_| KeepError::NotOurs(path.clone()))?;
        if plan.form == FORM {
            Ok(plan)
        } else {
            Err(KeepError::NotOurs(path))
        }
    }

    /// Its place in the folder `dir`.
    #[must_use]
    pub fn path(dir: &Path) -> std::path::PathBuf {
        dir.join(FILE)
    }

    /// The text that `value` has in `column`.
    #[must_use]
    pub fn text(column: &Column, value: &Value) -> String {
        match (column.number, amount(value), value.as_str()) {
            (true, Some((number, Quantity::Time)), _) => format!("{}", number / 1e9),
            (true, Some((number, _)), _) => format!("{number}"),
            (_, _, Some(text)) => text.to_owned(),
            _ => value.to_string(),
        }
    }
}

fn columns(sweep: &Sweep, cells: &[Vec<Value>]) -> Vec<Column> {
    let column = |(at, parameter): (usize, &crate::scenario::sweep::Parameter)| {
        let mut units = cells
            .iter()
            .map(|cell| amount(&cell[at]).map(|(_, unit)| unit));
        let first = units.next().flatten();
        let alike = first.filter(|first| units.all(|unit| unit == Some(*first)));
        let unit = match alike {
            Some(Quantity::Rate) => "_Bps",
            Some(Quantity::Size) => "_bytes",
            Some(Quantity::Time) => "_s",
            _ => "",
        };
        Column {
            name: format!("{}{unit}", parameter.path),
            number: alike.is_some(),
        }
    };
    sweep.parameters.iter().enumerate().map(column).collect()
}

/// Of everything that decides about the figures of `scenario`.
fn hash(scenario: &Scenario) -> Result<String, KeepError> {
    let mut hash = Blake2s256::new();
    hash.update(format!("{FORM} {}\n", env!("CARGO_PKG_VERSION")));
    hash.update(scenario.to_toml());
    for (name, path) in scenario.traces.files() {
        let trace = fs::read(path).map_err(|source| KeepError::Read {
            path: path.to_owned(),
            source,
        })?;
        hash.update(format!("{name} {}\n", trace.len()));
        hash.update(&trace);
    }
    Ok(hex(&hash.finalize()))
}

/// The first sixteen bytes, which is enough for names.
pub(super) fn hex(digest: &[u8]) -> String {
    digest
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
