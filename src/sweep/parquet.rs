//! The table of runs as Parquet, which DuckDB, Polars and pandas read.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, ConvertedType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

use super::KeepError;
use crate::output::OutputFile;

/// Rows of a group: what is in memory at once.
const GROUP: usize = 50_000;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Whole,
    Real,
    Text,
}

/// Writes the table `from` (CSV) as the file `to`.
pub(super) fn write(from: &Path, to: &Path) -> Result<(), KeepError> {
    let (names, kinds) = columns(from)?;
    let failed = |error: ParquetError| KeepError::Parquet(error.to_string());
    let file = OutputFile::create(to)?;
    let schema = schema(&names, &kinds).map_err(failed)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_created_by("weirgate".to_owned())
        .build();
    let mut writer =
        SerializedFileWriter::new(file, schema, Arc::new(properties)).map_err(failed)?;
    let mut reader = csv::Reader::from_reader(open(from)?);
    let mut group: Vec<csv::StringRecord> = Vec::new();
    for record in reader.records() {
        group.push(record?);
        if group.len() == GROUP {
            write_group(&mut writer, &kinds, &group).map_err(failed)?;
            group.clear();
        }
    }
    if !group.is_empty() {
        write_group(&mut writer, &kinds, &group).map_err(failed)?;
    }
    Ok(writer.into_inner().map_err(failed)?.finish()?)
}

fn open(path: &Path) -> Result<File, KeepError> {
    File::open(path).map_err(|source| KeepError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Names and kinds of the columns: whole numbers if all cells are, numbers if all cells
/// that hold anything are, text otherwise.
fn columns(from: &Path) -> Result<(Vec<String>, Vec<Kind>), KeepError> {
    let mut reader = csv::Reader::from_reader(open(from)?);
    let names: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
    let mut kinds: Vec<Option<Kind>> = vec![None; names.len()];
    for record in reader.records() {
        for (kind, cell) in kinds.iter_mut().zip(&record?) {
            *kind = match (*kind, cell) {
                (Some(Kind::Text), _) => Some(Kind::Text),
                (before, "") => before,
                (None | Some(Kind::Whole), cell) if cell.parse::<i64>().is_ok() => {
                    Some(Kind::Whole)
                }
                (_, cell) if cell.parse::<f64>().is_ok() => Some(Kind::Real),
                _ => Some(Kind::Text),
            };
        }
    }
    // A column of which nobody knows anything is one of figures, but for `user`.
    let kind = |(kind, name): (Option<Kind>, &String)| {
        kind.unwrap_or(if name == "user" {
            Kind::Text
        } else {
            Kind::Real
        })
    };
    let kinds = kinds.into_iter().zip(&names).map(kind).collect();
    Ok((names, kinds))
}

fn schema(names: &[String], kinds: &[Kind]) -> Result<Arc<Type>, ParquetError> {
    let field = |(name, kind): (&String, &Kind)| {
        let (physical, converted) = match kind {
            Kind::Whole => (Physical::INT64, ConvertedType::NONE),
            Kind::Real => (Physical::DOUBLE, ConvertedType::NONE),
            Kind::Text => (Physical::BYTE_ARRAY, ConvertedType::UTF8),
        };
        Type::primitive_type_builder(name, physical)
            .with_converted_type(converted)
            .with_repetition(Repetition::OPTIONAL)
            .build()
            .map(Arc::new)
    };
    let fields = names
        .iter()
        .zip(kinds)
        .map(field)
        .collect::<Result<_, _>>()?;
    Ok(Arc::new(
        Type::group_type_builder("runs")
            .with_fields(fields)
            .build()?,
    ))
}

fn write_group(
    writer: &mut SerializedFileWriter<OutputFile>,
    kinds: &[Kind],
    rows: &[csv::StringRecord],
) -> Result<(), ParquetError> {
    let mut group = writer.next_row_group()?;
    for (at, kind) in kinds.iter().enumerate() {
        let Some(mut column) = group.next_column()? else {
            break;
        };
        let cells = || rows.iter().map(move |row| row.get(at).unwrap_or_default());
        let levels: Vec<i16> = cells().map(|cell| i16::from(!cell.is_empty())).collect();
        let known = || cells().filter(|cell| !cell.is_empty());
        match kind {
            Kind::Whole => {
                let values: Vec<i64> = known().filter_map(|cell| cell.parse().ok()).collect();
                column
                    .typed::<Int64Type>()
                    .write_batch(&values, Some(&levels), None)?;
            }
            Kind::Real => {
                let values: Vec<f64> = known().filter_map(|cell| cell.parse().ok()).collect();
                column
                    .typed::<DoubleType>()
                    .write_batch(&values, Some(&levels), None)?;
            }
            Kind::Text => {
                let values: Vec<ByteArray> = known().map(ByteArray::from).collect();
                column
                    .typed::<ByteArrayType>()
                    .write_batch(&values, Some(&levels), None)?;
            }
        }
        column.close()?;
    }
    group.close()?;
    Ok(())
}
