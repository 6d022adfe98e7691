//! `roundel key`: what has to do with the cluster's key.

use clap::Subcommand;

use super::failure::Failure;
use super::out::Out;

pub mod owner_code;
pub mod token;

/// Arguments of `roundel key`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print the code with which the owner claims the page of the board on this machine.
    OwnerCode(owner_code::Args),
    /// Make a token: what a script shows in place of the key.
    Token(token::Args),
}

impl Args {
    /// Answers are asked for as JSON.
    pub fn json(&self) -> bool {
        match &self.verb {
            Verb::OwnerCode(args) => args.json,
            Verb::Token(args) => args.json,
        }
    }
}

/// Runs the verb below.
///
/// # Errors
/// Its [`Failure`].
pub async fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    match &args.verb {
        Verb::OwnerCode(args) => owner_code::run(args, out).await,
        Verb::Token(args) => token::run(args, out),
    }
}
