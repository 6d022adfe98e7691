//! `roundel join`: makes a board join the ring of another, where discovery does not reach.

use std::io::Write;
use std::time::Duration;

use serde_json::json;

use super::args::ClientArgs;
use super::failure::Failure;
use super::out::{Out, shown};
use super::progress::Progress;
use super::shape::Joined;
use super::target;

/// A join fetches its ranges before it answers.
const JOIN_TIME_MAX: Duration = Duration::from_secs(120);

/// Arguments of `roundel join`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Boards of one cluster on one LAN join by themselves; this is for a network that carries no \
multicast:

  roundel join 192.168.1.20:38400")]
pub struct Args {
    /// A board of the ring to join; the port may be left out (38400).
    #[arg(value_name = "HOST:PORT")]
    address: String,
    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// Makes the board join and says between whom it stands.
///
/// # Errors
/// [`Failure`] of an address, the target or the call.
pub async fn run(args: Args, out: &mut Out) -> Result<(), Failure> {
    let sponsor = target::resolve(&args.address).await?;
    let client = target::connect(&args.client).await?;
    let mut client = client.with_answer_time_max(JOIN_TIME_MAX);
    let params = json!({"sponsoring_node": sponsor.to_string()});
    let call = client.call("join_ring", &params);
    let result = Progress::new("joining", "", None).during(call).await?;
    if args.client.json {
        return Ok(writeln!(out, "{}", result.get())?);
    }
    match serde_json::from_str::<Joined>(result.get()) {
        Ok(joined) => {
            let next = joined.successors.first().map(|node| shown(&node.called()));
            writeln!(
                out,
                "joined, between {} and {}",
                shown(&joined.predecessor.called()),
                next.unwrap_or_else(|| "itself".to_owned())
            )?;
        }
        Err(_) => writeln!(out, "joined")?,
    }
    Ok(())
}
