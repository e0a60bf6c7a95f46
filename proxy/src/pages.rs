//! What a package ships beside a program, made from its command line: manual
//! pages and shell completions.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use clap_complete::Shell;

/// The commands that write them; to be flattened into a program's own.
#[derive(Debug, Subcommand)]
pub enum Pages {
    /// Print the completions of a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual pages, one for each command.
    Man {
        /// Into this directory, which is made if need be.
        directory: PathBuf,
    },
}

impl Pages {
    /// Writes what is asked for of the program `command`.
    ///
    /// # Errors
    /// Standard output or the directory cannot be written.
    pub fn write(&self, mut command: clap::Command) -> io::Result<()> {
        match self {
            Self::Completions { shell } => {
                let name = command.get_name().to_owned();
                let mut script = Vec::new();
                clap_complete::generate(*shell, &mut command, name, &mut script);
                let mut out = io::stdout();
                out.write_all(&script)?;
                out.flush()
            }
            Self::Man { directory } => manual(command, directory),
        }
    }
}

fn manual(command: clap::Command, directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    // A page for each `help` subcommand would say nothing.
    clap_mangen::generate_to(command.disable_help_subcommand(true), directory)
}
