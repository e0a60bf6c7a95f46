//! The Weirgate harness.

use std::process::ExitCode;

use clap::Parser as _;
use weirgate::cli::Cli;
use weirgate::command;

fn main() -> ExitCode {
    command::setup_messages();
    match command::run(Cli::parse()) {
        Ok(outcome) => outcome.into(),
        Err(failure) => {
            failure.print();
            failure.into()
        }
    }
}
