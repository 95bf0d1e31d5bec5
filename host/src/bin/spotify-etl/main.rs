//! The command. Reads what was typed, calls the library, and says what came of it: data on
//! standard output, the rest on standard error.

mod args;
mod commands;
mod progress;
mod render;

use std::process::ExitCode;

use clap::Parser;

use args::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_max_level(cli.common.log)
        .with_writer(|| progress::Log)
        .without_time()
        .with_target(false)
        .init();
    let json = cli.common.json;
    match commands::run(cli) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            if json {
                let error = serde_json::json!({ "exit_status": 2, "error": format!("{error:#}") });
                let _ = render::json(&error.to_string());
            }
            render::error(&error);
            ExitCode::from(2)
        }
    }
}
