//! `roundel demo`: a ring of several boards on this machine, in plain words.
//!
//! The boards are child processes of this same program on `lo`, found over SSDP like any others,
//! each with a data directory of its own under one temporary directory. The demo knows nothing
//! that a client could not ask: every line it prints was observed from outside, and an
//! expectation that is not met ends it with exit code 1 and keeps the logs.

use std::time::Duration;

use super::failure::{Failure, Kind};
use super::out::Out;

mod board;
mod story;
mod tale;

use board::Site;
use tale::Tale;

/// Boards that stop when told have stopped within this; then they are killed.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);

/// Arguments of `roundel demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Everything happens on the loopback interface and in a temporary directory; nothing is left \
behind. Ends on Ctrl-C.")]
pub struct Args {
    /// How many boards, 3 to 30.
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u16).range(3..=30))]
    nodes: u16,
    /// End when the story has been told, with exit code 0 if all went as promised.
    #[arg(long)]
    once: bool,
    /// Tell the story as JSON lines.
    #[arg(long)]
    pub(super) json: bool,
}

/// Tells the story, then waits for Ctrl-C (or with `--once` ends).
///
/// # Errors
/// [`Failure`] when a board does not start or something promised does not happen.
pub async fn run(args: Args, out: &mut Out) -> Result<(), Failure> {
    let mut site = Site::new()?;
    let told = {
        let mut tale = Tale::new(out, args.json);
        let boards = usize::from(args.nodes);
        tokio::select! {
            told = story::tell(&mut site, boards, &mut tale, args.once) => told,
            interrupted = interrupt() => interrupted.and_then(|()| {
                tale.say("interrupted", "stopping the boards", serde_json::json!({}))
            }),
        }
    };
    site.stop(STOP_TIME_MAX).await;
    match told {
        // The reader of our output has gone: not a board's fault.
        Err(failure) if failure.kind() == Kind::Unread => {
            site.remove();
            Err(failure)
        }
        Err(failure) => Err(Failure::new(
            failure.kind(),
            failure.what(),
            format!("the boards' logs are kept in {}", site.dir().display()),
        )),
        Ok(()) => {
            site.remove();
            Ok(())
        }
    }
}

/// Ends when a person or the system asks this process to stop.
async fn interrupt() -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error| Failure::failed(format!("signals cannot be received: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed.map_err(failed),
        _ = terminate.recv() => Ok(()),
    }
}
