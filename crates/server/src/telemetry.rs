//! The server's own log: lines for people or JSON objects, on stderr.

use std::io::Write;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::settings::{LogFormat, Settings};

/// One event of the log is at most this long: what is logged may hold what a client sent.
const EVENT_BYTES_MAX: usize = 8 << 10;

/// Why the log cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("the log cannot be set up: {0}")]
pub struct TelemetryError(Box<dyn std::error::Error + Send + Sync>);

/// Sets the log of this process up. Once: a second call fails.
pub fn init(settings: &Settings) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(&settings.log_level).map_err(|error| TelemetryError(error.into()))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(CappedStderr);
    match settings.log_format {
        LogFormat::Text => {
            let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder.with_ansi(ansi).try_init().map_err(TelemetryError)
        }
        LogFormat::Json => builder.json().try_init().map_err(TelemetryError),
    }
}

/// Writes to stderr, each event cut at [`EVENT_BYTES_MAX`].
#[derive(Debug, Clone, Copy)]
struct CappedStderr;

impl<'a> MakeWriter<'a> for CappedStderr {
    type Writer = Capped<std::io::Stderr>;

    fn make_writer(&'a self) -> Self::Writer {
        Capped(std::io::stderr())
    }
}

/// A writer that gets each event in one call, as `tracing-subscriber` does it.
#[derive(Debug)]
struct Capped<W>(W);

impl<W: Write> Write for Capped<W> {
    fn write(&mut self, event: &[u8]) -> std::io::Result<usize> {
        match event.get(..EVENT_BYTES_MAX) {
            None => self.0.write_all(event)?,
            Some(head) => {
                let text = String::from_utf8_lossy(head);
                self.0.write_all(format!("{}…\n", text.trim_end_matches('\u{fffd}')).as_bytes())?;
            }
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_event_is_cut_and_still_a_line() {
        let mut out = Capped(Vec::new());
        let long = "é".repeat(EVENT_BYTES_MAX) + "\n";
        assert_eq!(out.write(long.as_bytes()).expect("in memory"), long.len());
        assert!(out.0.len() <= EVENT_BYTES_MAX + "…\n".len() && out.0.ends_with("…\n".as_bytes()));
        let mut out = Capped(Vec::new());
        out.write_all(b"short\n").expect("in memory");
        assert_eq!(out.0, b"short\n");
    }
}
