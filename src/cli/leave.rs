//! `roundel leave`: takes a board out of its ring.

use std::io::Write;
use std::time::Duration;

use serde_json::json;

use super::args::ClientArgs;
use super::failure::Failure;
use super::out::Out;
use super::progress::Progress;
use super::shape::Left;
use super::target;

/// A hand-over may take a board's leave timeout and then some.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(3_700);

/// Arguments of `roundel leave`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The board hands everything it holds to the others and then tells them; nothing is lost. With \
--immediate it stops taking part at once and tells nobody: to the others it is absent, and they \
make new copies of what it held only when it is struck off (`roundel nodes --forget`). A board \
that left comes back with `roundel join`, or when it is started again.")]
pub struct Args {
    /// Hand nothing over and tell nobody.
    #[arg(long)]
    immediate: bool,
    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// Makes the board leave and says what it handed over.
///
/// # Errors
/// [`Failure`] of the target or the call.
pub async fn run(args: Args, out: &mut Out) -> Result<(), Failure> {
    let client = target::connect(&args.client).await?;
    let mut client = client.with_answer_time_max(LEAVE_TIME_MAX);
    let mode = if args.immediate {
        "immediate"
    } else {
        "orderly"
    };
    let params = json!({"mode": mode});
    let call = client.call("leave_ring", &params);
    let result = Progress::new("handing over", "", None).during(call).await?;
    if args.client.json {
        return Ok(writeln!(out, "{}", result.get())?);
    }
    match serde_json::from_str::<Left>(result.get()) {
        Ok(left) if !left.to.is_empty() => {
            let boards = match left.to.len() {
                1 => "another board".to_owned(),
                boards => format!("{boards} other boards"),
            };
            writeln!(out, "left; {} items handed to {boards}", left.transferred)?;
        }
        _ => writeln!(out, "left")?,
    }
    Ok(())
}
