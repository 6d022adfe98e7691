//! `roundel remove`: removes a key.

use std::io::Write;

use serde::Serialize;

use super::args::{ClientArgs, Consistency};
use super::failure::{Failure, Kind};
use super::out::{Out, shown};
use super::shape::Removed;
use super::target;

/// Arguments of `roundel remove`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Ends with exit code 3 when nothing was stored under the key.")]
pub struct Args {
    /// The key.
    key: String,
    /// How many copies must have taken note [default: quorum].
    #[arg(long, value_name = "LEVEL")]
    consistency: Option<Consistency>,
    #[command(flatten)]
    pub(super) client: ClientArgs,
}

#[derive(Serialize)]
struct Params<'a> {
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    consistency: Option<Consistency>,
}

/// Removes the key.
///
/// # Errors
/// [`Failure`] of the target or the call; of kind not found when there was no value.
pub async fn run(args: Args, out: &mut Out) -> Result<(), Failure> {
    let mut client = target::connect(&args.client).await?;
    let params = Params {
        key: &args.key,
        consistency: args.consistency,
    };
    let result = client.call("remove", &params).await?;
    let removed = serde_json::from_str::<Removed>(result.get()).is_ok_and(|r| r.removed);
    if args.client.json {
        writeln!(out, "{}", result.get())?;
    } else if removed {
        writeln!(out, "removed {}", shown(&args.key))?;
    }
    if removed {
        return Ok(());
    }
    Err(Failure::new(
        Kind::NotFound,
        format!("nothing was stored under '{}'", shown(&args.key)),
        "`roundel scan` lists the keys",
    ))
}
