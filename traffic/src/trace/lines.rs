//! Lines of bounded length, split into columns.

use super::{COLUMNS, HEADER, MAX_LINE, TraceError};
use csv_core::ReadRecordResult;
use std::fmt;
use std::io::{BufRead, BufReader, Read};

/// The texts of a line.
pub(super) type Columns<'a> = [&'a [u8]; COLUMNS];

/// Reads line by line, so that an error knows its line and no line, however
/// long, fills the memory.
pub(super) struct Lines<R> {
    input: BufReader<R>,
    csv: csv_core::Reader,
    /// The line without its end.
    line: Vec<u8>,
    /// The columns' text, one after the other.
    columns: Box<[u8; MAX_LINE]>,
    number: u64,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input: BufReader::with_capacity(1 << 16, input),
            csv: csv_core::Reader::new(),
            line: Vec::with_capacity(MAX_LINE),
            columns: Box::new([0; MAX_LINE]),
            number: 0,
        }
    }

    pub(super) fn header(&mut self) -> Result<(), TraceError> {
        self.next_line()?;
        let line = self
            .line
            .strip_prefix(b"\xef\xbb\xbf")
            .unwrap_or(&self.line);
        if line == HEADER.as_bytes() {
            return Ok(());
        }
        Err(TraceError::Header {
            found: String::from_utf8_lossy(line).into_owned(),
        })
    }

    /// The next line that is not empty, its number and columns; `None` at the end.
    pub(super) fn record(&mut self) -> Result<Option<(u64, Columns<'_>)>, TraceError> {
        while self.next_line()? {
            if !self.line.is_empty() {
                let number = self.number;
                return self.split().map(|columns| Some((number, columns)));
            }
        }
        Ok(None)
    }

    /// False at the end.
    fn next_line(&mut self) -> Result<bool, TraceError> {
        let line = self.number + 1;
        self.line.clear();
        let mut input = (&mut self.input).take(MAX_LINE as u64);
        let read = input
            .read_until(b'\n', &mut self.line)
            .map_err(|source| TraceError::Read { line, source })?;
        if read == 0 {
            return Ok(false);
        }
        self.number = line;
        if self.line.pop_if(|last| *last == b'\n').is_some() {
            self.line.pop_if(|last| *last == b'\r');
        } else if read == MAX_LINE {
            return Err(TraceError::LongLine { line });
        }
        Ok(true)
    }

    fn split(&mut self) -> Result<Columns<'_>, TraceError> {
        let mut ends = [0; COLUMNS + 1];
        self.csv.reset();
        let output = &mut self.columns[..];
        let (result, read, written, mut found) =
            self.csv.read_record(&self.line, output, &mut ends);
        if matches!(result, ReadRecordResult::InputEmpty) {
            let (_, _, _, last) =
                self.csv
                    .read_record(&[], &mut output[written..], &mut ends[found..]);
            found += last;
        }
        if found != COLUMNS || read != self.line.len() {
            let line = self.number;
            return Err(TraceError::Columns { line, found });
        }
        let [a, b, c, d, _] = ends;
        let text = &self.columns;
        Ok([&text[..a], &text[a..b], &text[b..c], &text[c..d]])
    }
}

impl<R> Lines<R> {
    /// Of the line that was read last, from 1; 0 before the first.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }
}

impl<R> fmt::Debug for Lines<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = f.debug_struct("Lines");
        lines.field("number", &self.number).finish_non_exhaustive()
    }
}
