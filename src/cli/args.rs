//! Arguments that several verbs share.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::tls::{Tls, UNPINNED};
use crate::base::endpoint::Name;

/// Which board a client verb asks, and how it answers.
#[derive(Clone, Debug, Default, Args)]
pub struct ClientArgs {
    /// Ask this board; the port may be left out (38400).
    #[arg(long, value_name = "HOST:PORT", env = "ROUNDEL_NODE")]
    pub node: Option<String>,
    /// Look for boards on this interface only; may be repeated.
    #[arg(long = "interface", value_name = "IF")]
    pub interfaces: Vec<String>,
    /// When boards are looked for, take only those of this cluster.
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<Name>,
    /// Speak TLS, with the board of this id alone (64 hex digits, or sha256//BASE64); without an id
    /// say which one is met, and ask nothing.
    #[arg(long, value_name = "ID", env = "ROUNDEL_TLS", num_args = 0..=1, default_value = "",
        default_missing_value = UNPINNED, hide_default_value = true)]
    pub tls: Tls,
    /// Prove yourself with the cluster's key in this file; answers are checked as well.
    #[arg(long = "key", value_name = "FILE", env = "ROUNDEL_KEY_FILE")]
    pub key_file: Option<PathBuf>,
    /// Prove yourself with a token of `roundel key token`.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "ROUNDEL_TOKEN",
        hide_env_values = true
    )]
    pub token: Option<String>,
    /// Print what the board answered, as JSON, a line each; errors too, on standard error.
    #[arg(long)]
    pub json: bool,
}

/// How many copies must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Consistency {
    /// One copy: works even alone, may miss a newer write.
    One,
    /// More than half of the copies.
    Quorum,
    /// Every copy.
    All,
}
