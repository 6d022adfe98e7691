//! L6: the command line, a file per verb.
//!
//! A verb parses its arguments (clap), asks a board over JSON-RPC ([`rpc`]) and says the answer
//! in words, or with `--json` as the board gave it. Results go to standard output ([`out`]),
//! everything else to standard error; a failure says what was wrong and what to do
//! ([`failure`]). No verb holds state of the ring: what it shows is what a board answered.
//!
//! `run` hands over to [`crate::node`]; `demo` starts this same program several times.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

pub mod args;
pub mod bench;
pub mod call;
pub mod completions;
pub mod credential;
pub mod demo;
pub mod doctor;
pub mod export;
pub mod failure;
pub mod get;
pub mod import;
pub mod join;
pub mod key;
pub mod leave;
pub mod list;
pub mod log;
pub mod man;
pub mod nodes;
pub mod out;
pub mod pages;
pub mod picture;
pub mod progress;
pub mod put;
pub mod remove;
pub mod ring;
pub mod rpc;
pub mod run;
pub mod search;
pub mod shape;
pub mod shell;
pub mod status;
pub mod target;
pub mod terminal;
pub mod tls;
mod tolerant;
pub mod top;
pub mod update;
pub mod value;

use failure::Failure;
use out::Out;

const AFTER_HELP: &str = "\
Client verbs ask the board named by --node, else by ROUNDEL_NODE, else the one on this machine \
(127.0.0.1:38400), else one found over SSDP.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 unavailable (retry later), \
5 unauthorised.";

/// Boards on a LAN find each other, form one ring and keep what they are given.
#[derive(Debug, Parser)]
#[command(name = "roundel", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a board: find the others, join their ring, serve.
    Run(run::Args),
    /// Watch a ring of several boards form, lose one and heal, all on this machine.
    Demo(demo::Args),
    /// Store a value under a key.
    Put(put::Args),
    /// Print the value of a key.
    Get(get::Args),
    /// Remove a key.
    Remove(remove::Args),
    /// List what the board itself holds.
    List(list::Args),
    /// List what the whole ring holds, in key order.
    Scan(list::Args),
    /// Say in words how the board and its data are, and whether it is safe to unplug.
    Status(status::Args),
    /// Draw the ring.
    Ring(ring::Args),
    /// List the boards of the cluster, or strike one off for good.
    Nodes(nodes::Args),
    /// Show the ring live in the terminal.
    Top(top::Args),
    /// Call any JSON-RPC method.
    Call(call::Args),
    /// Look around and call methods at a prompt, or from a script.
    Shell(shell::Args),
    /// List the boards that answer on the LAN, of every cluster.
    Search(search::Args),
    /// Make a board join the ring of another.
    Join(join::Args),
    /// Make a board leave its ring.
    Leave(leave::Args),
    /// Update the image of a board, or of all, one after the other.
    Update(update::Args),
    /// Put a load on a board and measure it.
    Bench(bench::Args),
    /// Find out why a board sees no neighbours.
    Doctor(doctor::Args),
    /// Write everything the ring holds as JSON lines.
    Export(export::Args),
    /// Store what an export wrote.
    Import(import::Args),
    /// Make tokens from the cluster's key.
    Key(key::Args),
    /// Print the completions of a shell.
    Completions(completions::Args),
    /// Print the manual page, or write one for each verb.
    Man(man::Args),
}

/// Runs the verb the arguments name (the first is the program's own name) and says how it went.
///
/// Called by `main` and by nobody else; blocks until the verb has ended.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // A closed pipe is no reason to complain: there is nobody to read the complaint.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let json = cli.verb.json();
    let mut out = Out::stdout();
    let result = cli.verb.run(&mut out).and_then(|()| Ok(out.flush()?));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let flushed = out.flush();
            failure.report(json);
            drop(flushed);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// The whole command, for completions and manual pages.
pub fn command() -> clap::Command {
    Cli::command()
}

impl Verb {
    fn json(&self) -> bool {
        match self {
            Verb::Put(args) => args.client.json,
            Verb::Get(args) => args.client.json,
            Verb::Remove(args) => args.client.json,
            Verb::List(args) | Verb::Scan(args) => args.client.json,
            Verb::Status(args) => args.client.json,
            Verb::Ring(args) => args.client.json,
            Verb::Nodes(args) => args.client.json,
            Verb::Top(args) => args.client.json,
            Verb::Call(args) => args.client.json,
            Verb::Shell(args) => args.client.json,
            Verb::Search(args) => args.json,
            Verb::Join(args) => args.client.json,
            Verb::Leave(args) => args.client.json,
            Verb::Update(args) => args.client.json,
            Verb::Bench(args) => args.client.json,
            Verb::Doctor(args) => args.client.json,
            Verb::Export(args) => args.client.json,
            Verb::Import(args) => args.client.json,
            Verb::Demo(args) => args.json,
            Verb::Key(args) => args.json(),
            Verb::Run(_) | Verb::Completions(_) | Verb::Man(_) => false,
        }
    }

    fn run(self, out: &mut Out) -> Result<(), Failure> {
        match self {
            Verb::Run(args) => return run::run(args),
            Verb::Completions(args) => return completions::run(&args, out),
            Verb::Man(args) => return man::run(&args, out),
            _ => {}
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::failed(format!("the event loop cannot start: {error}")))?;
        runtime.block_on(async {
            match self {
                Verb::Put(args) => put::run(args, out).await,
                Verb::Get(args) => get::run(args, out).await,
                Verb::Remove(args) => remove::run(args, out).await,
                Verb::List(args) => list::run(args, pages::Method::List, out).await,
                Verb::Scan(args) => list::run(args, pages::Method::Scan, out).await,
                Verb::Status(args) => status::run(args, out).await,
                Verb::Ring(args) => ring::run(args, out).await,
                Verb::Nodes(args) => nodes::run(args, out).await,
                Verb::Top(args) => top::run(args, out).await,
                Verb::Call(args) => call::run(args, out).await,
                Verb::Shell(args) => shell::run(args, out).await,
                Verb::Search(args) => search::run(args, out).await,
                Verb::Join(args) => join::run(args, out).await,
                Verb::Leave(args) => leave::run(args, out).await,
                Verb::Update(args) => update::run(args, out).await,
                Verb::Bench(args) => bench::run(args, out).await,
                Verb::Doctor(args) => doctor::run(args, out).await,
                Verb::Export(args) => export::run(args, out).await,
                Verb::Import(args) => import::run(args, out).await,
                Verb::Demo(args) => demo::run(args, out).await,
                Verb::Key(args) => key::run(&args, out).await,
                Verb::Run(_) | Verb::Completions(_) | Verb::Man(_) => {
                    unreachable!("these verbs need no event loop and have returned")
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }
}
