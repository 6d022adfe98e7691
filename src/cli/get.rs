//! `roundel get`: prints the value of a key.

use std::io::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;

use super::args::{ClientArgs, Consistency};
use super::failure::{Failure, Kind};
use super::out::Out;
use super::rpc::RpcError;
use super::shape::Got;
use super::target;

/// Arguments of `roundel get`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
JSON is printed as it was stored, with a line end. With --raw, a JSON text prints its content and \
bytes are printed exactly as they are, with nothing added:

  roundel get lamp
  roundel get --raw photo > photo.jpg")]
pub struct Args {
    /// The key.
    key: String,
    /// Print the bare content: a text without quotes, bytes as they are, no line end.
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    /// How many copies must answer [default: quorum].
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

/// Prints the value.
///
/// # Errors
/// [`Failure`] of the target or the call; of kind not found for a key without a value.
pub async fn run(args: Args, out: &mut Out) -> Result<(), Failure> {
    let mut client = target::connect(&args.client).await?;
    let params = Params {
        key: &args.key,
        consistency: args.consistency,
    };
    if args.client.json {
        let result = client.call("get", &params).await?;
        return Ok(writeln!(out, "{}", one_line(result.get()))?);
    }
    let got: Got = client.call_as("get", &params).await?;
    if got.degraded {
        super::out::note("a copy was absent: this value may not be the newest");
    }
    let bytes = match (&got.value, &got.value_base64) {
        (Some(json), None) => {
            let json = json.get();
            if !args.raw {
                return Ok(writeln!(out, "{json}")?);
            }
            match serde_json::from_str::<String>(json) {
                Ok(text) => text.into_bytes(),
                Err(_) => json.as_bytes().to_vec(),
            }
        }
        (None, Some(text)) => decode(text, client.address())?,
        _ => return Err(odd_answer(client.address()).into()),
    };
    if !args.raw && out.is_terminal && !is_text(&bytes) {
        return Err(Failure::new(
            Kind::Failed,
            format!("the value is {} bytes that are no text", bytes.len()),
            "send them to a file: roundel get --raw KEY > FILE",
        ));
    }
    Ok(out.write_all(&bytes)?)
}

fn decode(text: &str, from: std::net::SocketAddr) -> Result<Vec<u8>, Failure> {
    BASE64_STANDARD
        .decode(text)
        .map_err(|_| odd_answer(from).into())
}

fn odd_answer(address: std::net::SocketAddr) -> RpcError {
    RpcError::Foreign {
        address,
        status: 200,
        excerpt: "a value that is neither JSON nor base64".to_owned(),
    }
}

/// JSON on one line: its line ends are all between tokens.
fn one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

/// It can be shown on a terminal without harm.
fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| {
        text.chars()
            .all(|c| !c.is_control() || matches!(c, '\n' | '\t' | '\r'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_odd_bytes_are_no_text() {
        assert!(is_text("Zeile 1\n\tZeile 2 ä\r\n".as_bytes()));
        assert!(!is_text(b"\x1b[2J"));
        assert!(!is_text(b"\xff\xd8"));
    }
}
