//! `roundel key owner-code`: the code with which the owner claims the page, or sets a password in
//! place of a forgotten one. A board tells it to its own machine alone.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use crate::cli::failure::{Failure, Kind};
use crate::cli::out::Out;
use crate::cli::rpc::Answer;
use crate::config::valid::PORT_DEFAULT;
use crate::runtime::client::{self, ClientError};
use crate::service::web::PRESENTATION_PATH;

/// A board on this machine answers within this.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// Arguments of `roundel key owner-code`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Enter the code at the board's page, over https or on this machine, with the password you choose. \
While nobody owns the board the code holds until it is used; afterwards a new one is drawn, which \
holds for ten minutes and sets a password in place of a forgotten one.")]
pub struct Args {
    /// The port of the board on this machine.
    #[arg(long, value_name = "PORT", default_value_t = PORT_DEFAULT)]
    port: u16,
    /// Print an object: code.
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Deserialize)]
struct Told {
    code: Option<String>,
    error: Option<Answer>,
}

/// Asks the board on this machine for the code and prints it.
///
/// # Errors
/// [`Failure`] when no board answers there, or it refuses.
pub async fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let board = ([127, 0, 0, 1], args.port).into();
    let path = format!("{PRESENTATION_PATH}/owner-code");
    let body = Bytes::from_static(b"{}");
    let asked = client::post(board, &path, "application/json", body, ANSWER_TIME_MAX);
    let next = "start one here with `roundel run`, or say on which port it is with --port";
    let (_, answer) = asked
        .await
        .map_err(|error: ClientError| Failure::new(Kind::Unavailable, error.to_string(), next))?;
    match serde_json::from_slice::<Told>(&answer) {
        Ok(Told {
            code: Some(code), ..
        }) => {
            match args.json {
                true => writeln!(out, "{}", json!({ "code": code }))?,
                false => writeln!(out, "{code}")?,
            }
            Ok(())
        }
        Ok(Told {
            error: Some(error), ..
        }) => Err(Failure::new(
            Kind::Failed,
            error.to_string(),
            "its log has the details",
        )),
        _ => Err(Failure::new(
            Kind::Failed,
            format!("what answers at {board} is no board that has an owner"),
            "another program may have that port, or the board be older",
        )),
    }
}
