//! Sets up the log of a running board: standard error or a file, for people or for machines.
//!
//! `RUST_LOG` (`debug`, or `roundel::proto=trace,info`) overrides the configured level.

use std::io::IsTerminal;
use std::sync::Mutex;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::failure::{Failure, Kind};
use super::out::colours_wanted;
use crate::config::{LogConfig, LogFormat};

/// Starts the log; once a process.
///
/// # Errors
/// [`Failure`] of usage for a RUST_LOG that cannot be read, of failure for a file that cannot
/// be opened.
pub fn start(config: &LogConfig) -> Result<(), Failure> {
    let filter = filter(std::env::var("RUST_LOG").ok().as_deref(), &config.level)?;
    let (writer, colours) = match &config.file {
        None => {
            let colours = std::io::stderr().is_terminal() && colours_wanted();
            (BoxMakeWriter::new(std::io::stderr), colours)
        }
        Some(path) => {
            let file = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .map_err(|error| {
                    Failure::new(
                        Kind::Failed,
                        format!("the log file {} cannot be opened: {error}", path.display()),
                        "set log.file to a path this user may write, or leave it out",
                    )
                })?;
            (BoxMakeWriter::new(Mutex::new(file)), false)
        }
    };
    // A log that cannot be written must not end the board.
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(colours)
        .log_internal_errors(false);
    let registry = tracing_subscriber::registry().with(filter);
    let started = match config.format {
        LogFormat::Text => registry.with(lines).try_init(),
        LogFormat::Json => registry.with(lines.json()).try_init(),
    };
    started.map_err(|error| Failure::failed(format!("the log cannot start: {error}")))
}

fn filter(rust_log: Option<&str>, level: &str) -> Result<Targets, Failure> {
    let text = rust_log.filter(|text| !text.is_empty()).unwrap_or(level);
    text.parse().map_err(|error| {
        Failure::usage(
            format!("RUST_LOG={text} cannot be read: {error}"),
            "write a level (error, warn, info, debug, trace, off) or target=level, with commas",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn the_environment_overrides_the_configured_level() {
        let target = "roundel::proto::ring";
        let quiet = filter(Some(""), "warn").unwrap();
        assert!(!quiet.would_enable(target, &Level::INFO));
        let loud = filter(Some("roundel::proto=trace,warn"), "off").unwrap();
        assert!(loud.would_enable(target, &Level::TRACE));
        assert!(!loud.would_enable("hyper", &Level::INFO));
    }

    #[test]
    fn a_filter_that_makes_no_sense_is_a_usage_error() {
        assert_eq!(filter(Some("a=loud"), "info").unwrap_err().exit_code(), 2);
    }
}
