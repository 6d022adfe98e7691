//! `roundel key`: what has to do with the cluster's key.

use clap::Subcommand;

use super::failure::Failure;
use super::out::Out;

pub mod file;
pub mod join_code;
pub mod owner_code;
pub mod ring;
pub mod token;

use ring::Ask;

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
    /// Make a key, in a file for every board of a cluster.
    New(file::NewArgs),
    /// Show which key a board signs with, by name, and which boards ask to come in.
    Show(ring::PlainArgs),
    /// Replace the key, while everybody goes on.
    Rotate(ring::PlainArgs),
    /// Replace the key without a board, which is struck off and cannot come back.
    Revoke(ring::BoardArgs),
    /// Let a board in that holds no key of the cluster.
    Accept(ring::BoardArgs),
    /// Make a code with which one new board comes in, within ten minutes.
    Code(join_code::CodeArgs),
    /// Have a new board come in by the code that a board of the ring made.
    Enter(join_code::EnterArgs),
    /// End pairing, once every board shows the same fingerprint: the boards of the ring get a key
    /// that nobody else has seen, and strangers only read from then on.
    Confirm(ring::PlainArgs),
    /// Put a key where a board takes it at its next start.
    Import(file::ImportArgs),
    /// Write the current key of a board to a file.
    Export(file::ExportArgs),
    /// Make a token: what a script shows in place of the key.
    Token(token::Args),
}

impl Args {
    /// Answers are asked for as JSON.
    pub fn json(&self) -> bool {
        match &self.verb {
            Verb::OwnerCode(args) => args.json,
            Verb::Token(args) => args.json,
            Verb::Show(args) | Verb::Rotate(args) | Verb::Confirm(args) => args.client.json,
            Verb::Revoke(args) | Verb::Accept(args) => args.client.json,
            Verb::Code(args) => args.client.json,
            Verb::Enter(args) => args.client.json,
            Verb::New(_) | Verb::Import(_) | Verb::Export(_) => false,
        }
    }
}

/// Runs the verb below.
///
/// # Errors
/// Its [`Failure`].
pub async fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let ask = match &args.verb {
        Verb::New(args) => return file::new(args, out),
        Verb::Import(args) => return file::import(args, out),
        Verb::Export(args) => return file::export(args, out),
        Verb::OwnerCode(args) => return owner_code::run(args, out).await,
        Verb::Code(args) => return join_code::make(args, out).await,
        Verb::Enter(args) => return join_code::enter(args, out).await,
        Verb::Token(args) => return token::run(args, out),
        Verb::Show(args) => Ask::Show(args),
        Verb::Rotate(args) => Ask::Rotate(args),
        Verb::Confirm(args) => Ask::Confirm(args),
        Verb::Accept(args) => Ask::Accept(args),
        Verb::Revoke(args) => Ask::Revoke(args),
    };
    ring::run(ask, out).await
}
