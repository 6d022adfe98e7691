//! `roundel key code` on a board of the ring and `roundel key enter` on a new one: a code of eight
//! digits that a person carries from the one to the other.
//!
//! Neither goes in the clear to another machine: whoever reads along could be faster.

use std::io::Write;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::ring;
use crate::base::code::JoinCode;
use crate::base::limit;
use crate::cli::args::ClientArgs;
use crate::cli::failure::{Failure, Kind};
use crate::cli::out::{Out, note, shown, spoken_time};
use crate::cli::rpc::Client;
use crate::cli::target;
use crate::cli::tls::Tls;

/// A board says what became of a code within this.
const ANSWER_TIME_MAX: Duration = limit::JOIN_CODE_TRIED_MAX.saturating_add(Duration::from_secs(5));

/// Arguments of `roundel key code`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The code holds for ten minutes, for five attempts and for one board; another replaces it, and so \
does a restart. `roundel key show` says how many attempts are left. Run it on a board of the ring, \
then `roundel key enter CODE` on the new board.")]
pub struct CodeArgs {
    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// Arguments of `roundel key enter`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Run it on the new board, which runs already (`roundel run`) and is alone. It answers once the \
board is in, or after half a minute with what was wrong.")]
pub struct EnterArgs {
    /// The code, as `roundel key code` printed it.
    #[arg(value_name = "CODE")]
    code: JoinCode,
    #[command(flatten)]
    pub(super) client: ClientArgs,
}

#[derive(Deserialize)]
struct Made {
    code: String,
    left_s: u64,
    attempts: u8,
}

/// Has a board make a code and prints it.
///
/// # Errors
/// [`Failure`] of the target or the call.
pub async fn make(args: &CodeArgs, out: &mut Out) -> Result<(), Failure> {
    let mut board = connect(&args.client).await?;
    let result = board.call("make_join_code", &json!({})).await?;
    match serde_json::from_str::<Made>(result.get()) {
        Ok(made) if !args.client.json => {
            writeln!(out, "{}", shown(&made.code))?;
            note(&format!(
                "it holds for {}, {} attempts, one board; on the new board: roundel key enter {}",
                spoken_time(made.left_s * 1_000),
                made.attempts,
                shown(&made.code)
            ));
        }
        _ => writeln!(out, "{}", result.get())?,
    }
    Ok(())
}

/// Has a board come in by a code, and shows how it stands with its keys afterwards.
///
/// # Errors
/// [`Failure`] of the target or the call, which says what was wrong with the code.
pub async fn enter(args: &EnterArgs, out: &mut Out) -> Result<(), Failure> {
    let mut board = connect(&args.client).await?;
    let params = json!({"code": args.code.text()});
    let result = board.call("enter_join_code", &params).await?;
    ring::show_result(&result, args.client.json, out)?;
    Ok(())
}

async fn connect(args: &ClientArgs) -> Result<Client, Failure> {
    let board = target::connect(args).await?;
    let address = board.address();
    if args.tls == Tls::Off && !address.ip().to_canonical().is_loopback() {
        return Err(Failure::new(
            Kind::Usage,
            format!("a code is not sent in the clear, and {address} is another machine"),
            "run this on the board itself (--node 127.0.0.1), or add --tls ID (`roundel nodes` \
             shows ids)",
        ));
    }
    Ok(board.with_answer_time_max(ANSWER_TIME_MAX))
}
