//! Output as seed 004's programs write it.

use std::{
    error::Error,
    io::{self, Write},
};

use super::ProgramError;

/// Which of the two programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The sender, the seed's server.
    Server,
    /// The receiver, the seed's client.
    Client,
}

/// Standard output and standard error, line by line.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    role: Role,
}

impl Console {
    /// For one of the programs.
    #[must_use]
    pub const fn new(role: Role) -> Self {
        Self { role }
    }

    /// `[SERVER] message` on standard output.
    ///
    /// # Errors
    /// Nobody reads it.
    pub fn log(&self, message: &str) -> Result<(), ProgramError> {
        self.line(&format!("[{}] {message}", self.role.tag()))
    }

    /// `line` as it is on standard output, at once.
    ///
    /// # Errors
    /// Nobody reads it.
    pub fn line(&self, line: &str) -> Result<(), ProgramError> {
        let mut out = io::stdout().lock();
        writeln!(out, "{line}")
            .and_then(|()| out.flush())
            .map_err(ProgramError::Output)
    }

    /// `[SERVER][ERROR] message: cause: cause` on standard error.
    pub fn error(&self, error: &dyn Error) {
        let mut message = format!("[{}][ERROR] {error}", self.role.tag());
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        // Where should one complain that nobody hears complaints?
        let _ = writeln!(io::stderr().lock(), "{message}");
    }
}

impl Role {
    const fn tag(self) -> &'static str {
        match self {
            Self::Server => "SERVER",
            Self::Client => "CLIENT",
        }
    }
}
