//! `roundel key`: what has to do with the cluster's key.

use clap::Subcommand;

use super::failure::Failure;
use super::out::Out;

pub mod token;

/// Arguments of `roundel key`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a token: what a script shows in place of the key.
    Token(token::Args),
}

impl Args {
    /// Answers are asked for as JSON.
    pub fn json(&self) -> bool {
        match &self.verb {
            Verb::Token(args) => args.json,
        }
    }
}

/// Runs the verb below.
///
/// # Errors
/// Its [`Failure`].
pub fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    match &args.verb {
        Verb::Token(args) => token::run(args, out),
    }
}
