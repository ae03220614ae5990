//! The binary `tracelake`: the server, and the commands around it.
//!
//! This file owns the command line's shape, the process's exit code and its error line. What a
//! command does is in `commands`; the store is reached through the library's façade or a server's
//! ports, never around them.

mod client;
mod commands;
mod draw;
mod r#gen;
mod otlp_file;
mod outcome;
mod time;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use outcome::{Failure, Outcome};

/// Requests are built, sorted and compressed in pieces of very different size; an allocator that
/// gives memory back keeps the process as small as its limits say.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EXIT_CODES: &str = "Exit codes:
  0   done
  1   failed, or not found
  2   the command line or a setting is wrong
  3   partly done: something was skipped, rejected, missing or damaged, and is named
  70  the server had to stop: its disk failed, or another process took the store over
  130 told twice to stop, and stopped at once";

/// Tracelake, a trace store for OpenTelemetry: takes spans over OTLP, acknowledges them when they are
/// durable, keeps them as open Parquet files, and finds a trace by its ID
#[derive(Debug, Parser)]
#[command(name = "tracelake", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server: spans in over OTLP, traces out over HTTP
    #[command(after_help = EXIT_CODES)]
    Serve(tracelake_server::SettingsArgs),
    /// Draw a trace as a tree
    Trace(commands::trace::TraceArgs),
    /// Find traces by what is in them
    Search(commands::search::SearchArgs),
    /// Read OTLP files into a server or a store
    Import(commands::import::ImportArgs),
    /// Write spans to an OTLP file
    Export(commands::export::ExportArgs),
    /// Make spans of a realistic shop, for a file or an OTLP endpoint
    Gen(r#gen::GenArgs),
    /// Check every checksum, index and manifest entry of a store that no server has open
    Verify(commands::verify::VerifyArgs),
    /// Merge segments until few remain
    Compact(commands::compact::CompactArgs),
    /// Remove what has expired, or tell what that would be
    Retention(commands::retention::RetentionArgs),
    /// List the live segments, or the partitions that a lookup goes through
    Segments(commands::segments::SegmentsArgs),
    /// Copy a store, also beside the server that has it open
    Backup(commands::backup::BackupArgs),
    /// Make a store of a backup
    Restore(commands::restore::RestoreArgs),
    /// Print every setting, its value and where the value comes from
    Config(commands::config::ConfigArgs),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version are no errors; where they cannot be printed, nobody reads an error either.
        Err(error) => {
            return match error.print() {
                Ok(()) => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)),
                Err(_) => ExitCode::SUCCESS,
            };
        }
    };
    // As many workers as cores: more only compete, as what blocks has threads of its own.
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&Failure::Failed(format!("no threads can be started: {error}"))),
    };
    let result = runtime.block_on(run(cli.command));
    // Tasks that still wait for an answer nobody reads any more must not hold the process.
    runtime.shutdown_background();
    match result.and_then(|outcome| io::stdout().flush().map(|()| outcome).map_err(Failure::Output)) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Partly) => ExitCode::from(outcome::EXIT_PARTLY),
        Err(failure) => report(&failure),
    }
}

async fn run(command: Command) -> Result<Outcome, Failure> {
    match command {
        Command::Serve(args) => commands::serve::run(&args).await,
        Command::Trace(args) => commands::trace::run(args).await,
        Command::Search(args) => commands::search::run(args).await,
        Command::Import(args) => commands::import::run(args).await,
        Command::Export(args) => commands::export::run(args).await,
        Command::Gen(args) => r#gen::run(args).await,
        Command::Verify(args) => commands::verify::run(args).await,
        Command::Compact(args) => commands::compact::run(args).await,
        Command::Retention(args) => commands::retention::run(args).await,
        Command::Segments(args) => commands::segments::run(args).await,
        Command::Backup(args) => commands::backup::run(args).await,
        Command::Restore(args) => commands::restore::run(args).await,
        Command::Config(args) => commands::config::run(&args),
    }
}

/// One line on stderr. A reader that went away (`tracelake trace … | head`) is no error.
fn report(failure: &Failure) -> ExitCode {
    if failure.is_broken_pipe() {
        return ExitCode::SUCCESS;
    }
    // If stderr is gone too there is nobody left to tell.
    writeln!(io::stderr(), "error: {failure}").ok();
    ExitCode::from(failure.exit_code())
}
