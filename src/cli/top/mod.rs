//! `roundel top`: the ring live in a terminal.
//!
//! One batch of JSON-RPC each interval ([`poll`]), never two at a time, to another board of the
//! ring when the one that is asked goes away ([`watched`]); what is shown ([`model`], [`view`]) is
//! apart from how it is drawn ([`draw`]). Without a terminal there is only `--json`.
//! The terminal is given back however the program ends, short of SIGKILL.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::args::ClientArgs;
use super::failure::Failure;
use super::out::{Out, colours_wanted};
use super::rpc::Client;
use super::target;
use super::terminal::{Ending, Settings};

mod change;
mod draw;
mod model;
mod poll;
mod rate;
#[cfg(test)]
mod tests;
mod view;
mod watched;

use draw::Screen;
use model::Model;
use watched::{Look, Watched};

/// An answer comes within this: the slowest board's part of it, and the way.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(8);
/// A board that did not answer is asked again after this, or sooner.
const RETRY: Duration = Duration::from_secs(1);
/// Times on the screen move this often.
const REDRAW: Duration = Duration::from_secs(1);
/// How often the thread that reads keys looks whether anybody still wants them.
const KEY_WAIT: Duration = Duration::from_millis(100);

/// Arguments of `roundel top`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Keys: q, Esc or Ctrl-C quits, arrows and PgUp/PgDn scroll, s sorts, h or ? helps. Marks as in \
`roundel ring`. Figures of the other boards are shown in rings of up to 32. With --json one \
overview is printed and the program ends.")]
pub struct Args {
    /// Seconds between two looks.
    #[arg(long, value_name = "S", default_value_t = 1,
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// Shows the ring until a key or a signal ends it, or prints one overview.
///
/// # Errors
/// [`Failure`] of usage without a terminal and without `--json`; of the target; with `--json` of
/// the calls. A board that does not answer is shown on the screen and asked again, then another.
pub async fn run(args: Args, out: &mut Out) -> Result<(), Failure> {
    let terminal = out.is_terminal && std::io::stdin().is_terminal();
    if !terminal && !args.client.json {
        return Err(Failure::usage(
            "`roundel top` draws on a terminal, and this is none",
            "add --json for one overview as JSON, or use `roundel status` and `roundel nodes`",
        ));
    }
    let client = target::connect(&args.client).await?;
    let mut client = client.with_answer_time_max(ANSWER_TIME_MAX);
    if args.client.json {
        let answers = overview(&mut client).await?;
        return Ok(writeln!(out, "{answers}")?);
    }
    watch(client, Duration::from_secs(args.interval)).await
}

/// One overview as JSON: a look at the ring's size, then at every board.
async fn overview(client: &mut Client) -> Result<String, Failure> {
    let answers = poll::ask(client, false).await?;
    let every = answers.read().is_ok_and(|poll| poll.asks_every());
    let answers = match every {
        true => poll::ask(client, true).await?,
        false => answers,
    };
    Ok(answers.to_json())
}

/// The terminal, given back when this goes out of scope; ratatui's panic hook does so earlier.
struct Terminal(DefaultTerminal);

impl Drop for Terminal {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

async fn watch(client: Client, interval: Duration) -> Result<(), Failure> {
    let mut ending = Ending::new()?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let _settings = Settings::keep()?;
    let mut model = Model::new(client.address().to_string());
    let mut screen = Screen {
        colours: colours_wanted(),
        ..Screen::default()
    };
    let started = Instant::now();
    let mut terminal = Terminal(ratatui::try_init()?);
    let mut keys = keys()?;
    let mut looks = looks(Watched::new(client, ANSWER_TIME_MAX), interval);
    let mut redraw = tokio::time::interval(REDRAW);
    loop {
        let now = started.elapsed();
        terminal
            .0
            .draw(|frame| draw::draw(frame, &model.view(now), &mut screen))?;
        tokio::select! {
            event = keys.recv() => match event {
                Some(event) => if !handle(event?, &mut model, &mut screen) {
                    return Ok(());
                },
                None => return Ok(()),
            },
            look = looks.recv() => match look {
                Some(Look::Answered(poll)) => model.answered(started.elapsed(), *poll),
                Some(Look::Moved(to, poll)) => {
                    model.moved(started.elapsed(), to.to_string(), *poll);
                }
                Some(Look::Lost(why)) => model.lost(started.elapsed(), &why),
                None => return Err(Failure::failed("the board is no longer asked")),
            },
            _ = redraw.tick() => {}
            () = ending.came() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    }
}

/// What the person types, from a thread: reading a terminal blocks.
fn keys() -> std::io::Result<mpsc::Receiver<std::io::Result<Event>>> {
    let (sender, receiver) = mpsc::channel(16);
    let reader = std::thread::Builder::new();
    reader.spawn(move || {
        while !sender.is_closed() {
            let event = match event::poll(KEY_WAIT) {
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(error) => Err(error),
            };
            let over = event.is_err();
            if sender.blocking_send(event).is_err() || over {
                return;
            }
        }
    })?;
    Ok(receiver)
}

/// Looks each interval, counted from one answer to the next question, and sooner when there was
/// no answer.
fn looks(mut watched: Watched, interval: Duration) -> mpsc::Receiver<Look> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let look = watched.look().await;
            let wait = match look {
                Look::Lost(_) => interval.min(RETRY),
                Look::Answered(_) | Look::Moved(..) => interval,
            };
            if sender.send(look).await.is_err() {
                return;
            }
            tokio::time::sleep(wait).await;
        }
    });
    receiver
}

/// Does what a key says; false ends the program.
fn handle(event: Event, model: &mut Model, screen: &mut Screen) -> bool {
    let Event::Key(KeyEvent {
        code,
        modifiers,
        kind: KeyEventKind::Press | KeyEventKind::Repeat,
        ..
    }) = event
    else {
        return true;
    };
    let page = screen.page.max(1);
    match code {
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => return false,
        KeyCode::Esc if screen.help => screen.help = false,
        KeyCode::Char('q') | KeyCode::Esc => return false,
        KeyCode::Char('h' | '?') => screen.help = !screen.help,
        KeyCode::Char('s') => model.sort_next(),
        KeyCode::Up => screen.scroll = screen.scroll.saturating_sub(1),
        KeyCode::Down => screen.scroll = screen.scroll.saturating_add(1),
        KeyCode::PageUp => screen.scroll = screen.scroll.saturating_sub(page),
        KeyCode::PageDown => screen.scroll = screen.scroll.saturating_add(page),
        KeyCode::Home => screen.scroll = 0,
        // Drawing brings it back to the last page.
        KeyCode::End => screen.scroll = usize::MAX,
        _ => {}
    }
    true
}
