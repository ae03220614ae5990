//! `tracelake serve`: the server, with the exit code that says why it ended.

use tracelake_server::{ExitReason, Settings, SettingsArgs, telemetry};

use crate::outcome::{Failure, Outcome};

/// Runs the server until it is told to stop.
pub(crate) async fn run(args: &SettingsArgs) -> Result<Outcome, Failure> {
    let settings = Settings::load(args).map_err(|error| Failure::Usage(error.to_string()))?;
    telemetry::init(&settings).map_err(|error| Failure::Failed(error.to_string()))?;
    match tracelake_server::serve(settings).await {
        Ok(ExitReason::Stopped) => Ok(Outcome::Done),
        Ok(ExitReason::StoppedUnflushed(reason)) => {
            // No failure: what was acknowledged is in the WAL.
            eprintln!(
                "warning: stopped before everything was flushed ({reason}); the next start replays the WAL"
            );
            Ok(Outcome::Done)
        }
        Ok(ExitReason::StoppedAtOnce) => Err(Failure::Interrupted),
        Ok(ExitReason::Failed(reason)) => Err(Failure::Stopped(format!(
            "the server had to stop: {reason}; mend that, then start it again: what was acknowledged is kept, \
             and the WAL is replayed"
        ))),
        Err(error) => Err(Failure::Failed(error.to_string())),
    }
}
