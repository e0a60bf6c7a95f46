//! A trace written packet by packet.

use super::{HEADER, WriteError, name_fault};
use crate::source::Packet;
use std::io::{self, BufWriter, Write};

/// Writes packets as lines of a trace.
#[derive(Debug)]
pub struct TraceWriter<W: Write> {
    output: BufWriter<W>,
    /// By number, quoted where a line needs it.
    names: Vec<String>,
}

impl<W: Write> TraceWriter<W> {
    /// Writes the header to `output`, which need not be buffered. Packets of user
    /// n carry the n-th of `users`, from 0.
    ///
    /// # Errors
    /// If a name is empty, too long or has a control character, or if `output` fails.
    pub fn new<S: AsRef<str>>(
        output: W,
        users: impl IntoIterator<Item = S>,
    ) -> Result<Self, WriteError> {
        let names = users.into_iter().map(|name| quoted(name.as_ref()));
        let names = names.collect::<Result<_, _>>()?;
        let mut output = BufWriter::with_capacity(1 << 16, output);
        writeln!(output, "{HEADER}")?;
        Ok(Self { output, names })
    }

    /// Writes one packet. A trace can be read again if instants never decrease and
    /// sizes are from 1 byte to [`crate::distribution::MAX_SEND`].
    ///
    /// # Errors
    /// If its user has no name, or if the output fails.
    pub fn write(&mut self, packet: &Packet) -> Result<(), WriteError> {
        let name = usize::try_from(packet.user).ok();
        let name = name.and_then(|index| self.names.get(index));
        let name = name.ok_or(WriteError::UnknownUser {
            user: packet.user,
            names: self.names.len(),
        })?;
        let (at, size) = (packet.at.as_nanos(), packet.size.get());
        writeln!(self.output, "{at},{size},{name},{}", packet.connection)?;
        Ok(())
    }

    /// Writes what is buffered and gives the output back.
    ///
    /// # Errors
    /// If the output fails.
    pub fn finish(self) -> io::Result<W> {
        let output = self.output.into_inner();
        output.map_err(io::IntoInnerError::into_error)
    }
}

fn quoted(name: &str) -> Result<String, WriteError> {
    if let Some(fault) = name_fault(name) {
        let given = name.to_owned();
        return Err(WriteError::UserName { given, fault });
    }
    if name.contains([',', '"']) {
        return Ok(format!("\"{}\"", name.replace('"', "\"\"")));
    }
    Ok(name.to_owned())
}
