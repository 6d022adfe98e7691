//! L1: the configuration, as written ([`mod@file`]) and as checked ([`valid`]).
//!
//! Nothing here reads a file, the environment or a clock: the CLI hands in the text, the flags
//! and the default data directory, and gets a [`Config`] that cannot be wrong, or a
//! [`ConfigError`] that says what to write.

use std::fmt;

pub mod file;
pub mod salvage;
pub mod spoken;
pub mod valid;

pub use file::File;
pub use salvage::Salvage;
pub use spoken::spoken_name;
pub use valid::{Config, LogConfig, LogFormat, OnTerminate, Overrides, SsdpConfig, Structure};

/// Why a configuration is refused; whoever wrote the file is to blame, and nothing was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The text is not TOML.
    Syntax {
        /// Counted from 1; 0 when unknown.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// A key nobody knows.
    UnknownKey {
        /// Counted from 1.
        line: usize,
        /// As written, with its section: `ssdp.lissen`.
        key: String,
        /// The nearest known key of the same section, when one is near.
        nearest: Option<&'static str>,
    },
    /// A key and its other name are both given.
    Twice {
        /// Counted from 1.
        line: usize,
        /// The one.
        key: &'static str,
        /// The other.
        alias: &'static str,
    },
    /// A value the key cannot take.
    Value {
        /// Counted from 1; 0 when it did not come from the file.
        line: usize,
        /// The key, with its section.
        key: &'static str,
        /// The value as written, shortened.
        got: String,
        /// What it takes, with an example.
        expected: &'static str,
    },
}

impl ConfigError {
    /// The line of the file, counted from 1; 0: it came from elsewhere, or is unknown.
    pub fn line(&self) -> usize {
        match self {
            ConfigError::Syntax { line, .. }
            | ConfigError::UnknownKey { line, .. }
            | ConfigError::Twice { line, .. }
            | ConfigError::Value { line, .. } => *line,
        }
    }

    /// What is wrong, without the line.
    pub fn reason(&self) -> String {
        match self {
            ConfigError::Syntax { message, .. } => {
                format!("this is not TOML: {}", message.trim_end())
            }
            ConfigError::UnknownKey { key, nearest, .. } => match nearest {
                Some(nearest) => format!("'{key}' is not a setting; did you mean '{nearest}'?"),
                None => {
                    format!("'{key}' is not a setting; remove it (the README lists them all)")
                }
            },
            ConfigError::Twice { key, alias, .. } => {
                format!("'{key}' and '{alias}' are one setting; keep one of them")
            }
            ConfigError::Value {
                key, got, expected, ..
            } => format!("{key} = {got} is not possible; {key} takes {expected}"),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line() > 0 {
            write!(f, "line {}: ", self.line())?;
        }
        f.write_str(&self.reason())
    }
}

impl std::error::Error for ConfigError {}
