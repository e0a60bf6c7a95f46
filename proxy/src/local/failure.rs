//! What ends the program, as its exit code tells.

use std::io;

/// What went wrong and whose fault it is.
pub(crate) enum Failure {
    /// Exit code 1.
    Environment(String),
    /// Exit code 2.
    Request(String),
    /// Exit code 4 or 5.
    #[cfg(feature = "https-service")]
    Status {
        status: u16,
        /// Why, if it is the service that says so.
        error: Option<String>,
    },
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Environment(error.to_string())
    }
}
