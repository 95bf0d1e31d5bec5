//! The command. Reads what was typed, calls the library, and says what came of it: data on
//! standard output, the rest on standard error.

mod args;
mod commands;
mod render;

use std::process::ExitCode;

use clap::Parser;

use args::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_max_level(cli.common.log)
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false)
        .init();
    match commands::run(cli) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            render::error(&error);
            ExitCode::from(2)
        }
    }
}
