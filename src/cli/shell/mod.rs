//! `roundel shell`: look around and call methods, at a prompt or from a script.
//!
//! Text becomes commands ([`scan`], [`parse`]); a [`session`] carries them out. A script (`-c`, or
//! what comes through a pipe) ends at its first error, with that error's exit code; at a prompt
//! ([`prompt`]) errors are said and the person goes on.
//!
//! Source: Round's shell (search, list, use, `method(obj, params)`).

use std::io::{BufRead, IsTerminal, Read, Write};

use super::args::ClientArgs;
use super::failure::{Failure, Kind};
use super::out::Out;
use super::terminal::{Ending, Settings};
use crate::base::limit;

mod known;
mod parse;
mod print;
mod prompt;
mod scan;
mod session;

use prompt::{Person, Prompt, Typed};
use scan::{Piece, Place, Splitter};
use session::{After, Session};

/// Bytes of a command: a value of full size in base64, with room.
const COMMAND_BYTES_MAX: usize = 2 * limit::VALUE_BYTES_MAX;

/// Arguments of `roundel shell`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
`help` in the shell lists its commands. For example:

  roundel shell -c 'put lamp {\"on\": true}; get lamp'
  roundel shell -c 'get_node_stats(*)'
  roundel shell --node attic.local < commands

A script ends at its first error, with the exit code of the verb that failed.")]
pub struct Args {
    /// Run these commands and end; `;` or a line end separates them.
    #[arg(short = 'c', value_name = "COMMANDS")]
    commands: Option<String>,
    /// In a script go on after an error; end with the first one's exit code.
    #[arg(long)]
    keep_going: bool,
    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// Runs commands until they end.
///
/// # Errors
/// [`Failure`] of a script's command; of the terminal.
pub async fn run(args: Args, out: &mut Out) -> Result<(), Failure> {
    let json = args.client.json;
    let session = Session::new(args.client);
    let script = Script {
        session,
        keep_going: args.keep_going,
        json,
        ran: 0,
        failed: 0,
        exit_code: 0,
    };
    if let Some(commands) = &args.commands {
        return script.run(commands.as_bytes(), out).await;
    }
    let stdin = std::io::stdin();
    if stdin.is_terminal() && out.is_terminal {
        return interact(script.session, json, out).await;
    }
    script.run(stdin.lock(), out).await
}

/// Commands without a person.
struct Script {
    session: Session,
    keep_going: bool,
    json: bool,
    ran: usize,
    failed: usize,
    /// Of the first failure.
    exit_code: u8,
}

impl Script {
    async fn run(mut self, mut from: impl BufRead, out: &mut Out) -> Result<(), Failure> {
        let mut splitter = Splitter::default();
        loop {
            let mut line = Vec::new();
            let room = COMMAND_BYTES_MAX.saturating_sub(splitter.bytes()) as u64;
            let read = from.by_ref().take(room).read_until(b'\n', &mut line);
            let read = read.map_err(|error| unreadable(&error.to_string()))?;
            if read == 0 && room == 0 {
                let what = format!("a command has more than {COMMAND_BYTES_MAX} bytes");
                return Err(Failure::usage(
                    what,
                    "close its brackets and quotes, or shorten it",
                ));
            }
            let Ok(text) = String::from_utf8(line) else {
                return Err(unreadable("they are not UTF-8"));
            };
            let pieces = splitter.push(&text);
            if self.run_all(pieces, out).await? == After::End {
                break;
            }
            if read == 0 {
                let last = splitter.finish().map_err(unclosed)?;
                self.run_all(last.into_iter().collect(), out).await?;
                break;
            }
        }
        if self.failed == 0 {
            return Ok(());
        }
        out.flush()?;
        let what = format!("{} of {} commands failed", self.failed, self.ran);
        Err(Failure::new(
            Kind::Node(self.exit_code),
            what,
            "their errors are above",
        ))
    }

    async fn run_all(&mut self, pieces: Vec<Piece>, out: &mut Out) -> Result<After, Failure> {
        for piece in pieces {
            self.ran += 1;
            let done = run_piece(&mut self.session, &piece, out).await;
            // A reader that drives the shell waits for the answer to what it wrote.
            out.flush()?;
            match done {
                Ok(After::End) => return Ok(After::End),
                Ok(After::GoOn) => {}
                Err(failure) if self.keep_going && failure.kind() != Kind::Unread => {
                    failure.report(self.json);
                    self.failed += 1;
                    if self.failed == 1 {
                        self.exit_code = failure.exit_code();
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(After::GoOn)
    }
}

async fn run_piece(session: &mut Session, piece: &Piece, out: &mut Out) -> Result<After, Failure> {
    let command = parse::parse(&piece.text).map_err(|error| {
        let Place { line, column } = piece.place(error.column);
        let what = format!("line {line}, column {column}: {}", error.what);
        Failure::usage(what, "correct it; `help` shows how methods are called")
    })?;
    let Some(command) = command else {
        return Ok(After::GoOn);
    };
    session.run(command, out).await.map_err(Failure::coded)
}

fn unreadable(why: &str) -> Failure {
    Failure::usage(
        format!("the commands cannot be read: {why}"),
        "give them with -c, or as UTF-8 text on standard input",
    )
}

fn unclosed(Place { line, column }: Place) -> Failure {
    let what = format!("line {line}, column {column}: what is opened here is not closed");
    Failure::usage(what, "close the bracket or the quote")
}

async fn interact(mut session: Session, json: bool, out: &mut Out) -> Result<(), Failure> {
    let mut ending = Ending::new()?;
    let _settings = Settings::keep()?;
    let mut person = Person::new(Prompt::new(session.methods())?)?;
    if let Err(failure) = session.look_around().await {
        failure.coded().report(json);
    }
    writeln!(out, "`help` lists the commands; Ctrl-D ends.")?;
    loop {
        out.flush()?;
        let shown = match session.here() {
            Some(name) => format!("{name}> "),
            None => "roundel> ".to_owned(),
        };
        let typed = tokio::select! {
            typed = person.read(shown, session.names()) => typed?,
            () = ending.came() => return Ok(()),
        };
        let text = match typed {
            Typed::Text(text) => text,
            Typed::Nothing => continue,
            Typed::End => return Ok(()),
        };
        let mut splitter = Splitter::default();
        let mut pieces = splitter.push(&text);
        pieces.extend(splitter.finish().map_err(unclosed)?);
        for piece in pieces {
            let done = tokio::select! {
                done = run_piece(&mut session, &piece, out) => done,
                _ = tokio::signal::ctrl_c() => Err(interrupted()),
                () = ending.came() => return Ok(()),
            };
            out.flush()?;
            match done {
                Ok(After::End) => return Ok(()),
                Ok(After::GoOn) => {}
                Err(failure) if failure.kind() == Kind::Unread => return Err(failure),
                Err(failure) => {
                    failure.report(json);
                    break;
                }
            }
        }
    }
}

fn interrupted() -> Failure {
    Failure::new(
        Kind::Failed,
        "interrupted",
        "a write may or may not have been done; doing it twice is harmless",
    )
}
