//! Limits and watches traffic in the kernel: parses, calls, prints one error, picks the exit code.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
