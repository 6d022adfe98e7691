//! `roundel call`: any JSON-RPC method, for what has no verb of its own.

use std::io::Write;

use serde_json::value::RawValue;

use super::args::ClientArgs;
use super::failure::Failure;
use super::out::Out;
use super::rpc::Route;
use super::target;

/// Arguments of `roundel call`.
#[derive(Debug, clap::Args)]
#[command(after_help = "For example:

  roundel call get_node_stats
  roundel call find_ring_successor '{\"key\": \"lamp\"}'
  roundel call echo '{\"a\": 1}' --dest '*'
  roundel call get_node_state --dest ID --forward")]
pub struct Args {
    /// The method's name.
    method: String,
    /// Its parameters, as a JSON object or array.
    #[arg(value_name = "PARAMS", default_value = "{}")]
    params: String,
    /// Send it on: `.` this board, `?` any, `*` every one, or an id.
    #[arg(long, value_name = "DEST")]
    dest: Option<String>,
    /// Let the board pass the call on to the one it is for.
    #[arg(long)]
    forward: bool,
    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// Calls the method and prints its result as it came.
///
/// # Errors
/// [`Failure`] of usage for parameters that are not JSON; of the target or the call.
pub async fn run(args: Args, out: &mut Out) -> Result<(), Failure> {
    let next = "write an object or an array, in single quotes for the shell: '{\"key\": \"lamp\"}'";
    let params: Box<RawValue> = serde_json::from_str(&args.params)
        .map_err(|error| Failure::usage(format!("the parameters are not JSON: {error}"), next))?;
    if !params.get().starts_with(['{', '[']) {
        let what = "the parameters are neither an object nor an array";
        return Err(Failure::usage(what, next));
    }
    let mut client = target::connect(&args.client).await?;
    let route = Route {
        dest: args.dest,
        forward: args.forward,
    };
    let result = client.call_routed(&args.method, &params, &route).await?;
    if args.client.json {
        writeln!(out, "{}", result.get().replace(['\n', '\r'], " "))?;
    } else {
        writeln!(out, "{}", result.get())?;
    }
    Ok(())
}
