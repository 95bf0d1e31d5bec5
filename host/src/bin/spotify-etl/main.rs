//! The command. Reads what was typed, calls the library, and says what came of it: data on
//! standard output, the rest on standard error.

mod args;
mod commands;
mod progress;
mod render;

use std::process::ExitCode;

use clap::Parser;
use spotify_etl::aws::SDK_TARGETS;
use tracing::Level;
use tracing_subscriber::{
    Layer, filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

use args::Cli;

/// Quicker than the system's where several threads take and give back much.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // What libraries warn of comes again in errors, in words; what they trace has secrets in it.
    let others = match cli.common.log {
        Level::DEBUG | Level::TRACE => Level::DEBUG,
        _ => Level::ERROR,
    };
    let shown = Targets::new().with_target("spotify_etl", cli.common.log).with_default(others);
    let shown = shown.with_target(SDK_TARGETS, Level::ERROR);
    let log = fmt::layer().with_writer(|| progress::Log).without_time().with_target(false);
    tracing_subscriber::registry().with(log.with_filter(shown)).init();
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
