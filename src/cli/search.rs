//! `roundel search`: the boards that answer on the LAN.

use std::io::Write;

use super::failure::{Failure, Kind};
use super::out::{Out, shown, table};
use super::target;
use crate::base::endpoint::Name;

/// Arguments of `roundel search`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Search on this interface only; may be repeated.
    #[arg(long = "interface", value_name = "IF")]
    interfaces: Vec<String>,
    /// Only boards of this cluster.
    #[arg(long, value_name = "NAME")]
    cluster: Option<Name>,
    /// Print an object for each board, a line each.
    #[arg(long)]
    pub(super) json: bool,
}

/// Lists every board that answers, by cluster.
///
/// # Errors
/// [`Failure`] when the search cannot be sent; of kind unavailable when nobody answers.
pub async fn run(args: Args, out: &mut Out) -> Result<(), Failure> {
    let cluster = args.cluster.as_ref().map(Name::as_str);
    let mut found = target::discover(&args.interfaces, cluster).await?;
    found.sort_by(|a, b| (&a.cluster, a.id).cmp(&(&b.cluster, b.id)));
    if found.is_empty() {
        return Err(Failure::new(
            Kind::Unavailable,
            "no board answers on the LAN",
            "start one with `roundel run`, or ask `roundel doctor` why none is seen",
        ));
    }
    if args.json {
        for board in &found {
            let line = serde_json::to_string(board).expect("a board that answered is JSON");
            writeln!(out, "{line}")?;
        }
        return Ok(());
    }
    let head = ["CLUSTER", "ID", "ADDRESS"].map(str::to_owned).to_vec();
    let rows = found.iter().map(|board| {
        vec![
            shown(&board.cluster),
            board.id.short(),
            format!("http://{}", board.address),
        ]
    });
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    write!(out, "{}", table(&rows, out.paint))?;
    Ok(())
}
