//! `roundel put`: stores a value under a key.

use std::io::Write;

use serde::Serialize;

use super::args::{ClientArgs, Consistency};
use super::failure::Failure;
use super::out::{Out, shown};
use super::shape::{Written, short};
use super::target;
use super::value::{self, Reading, Sent};

/// Arguments of `roundel put`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
VALUE is sent as JSON if it reads as JSON ({\"on\": true}, 42, \"text\"), and as a JSON text \
otherwise (hello). @FILE and - (standard input) are stored as bytes, exactly as they are; with \
--json-value their content is stored as JSON.

  roundel put lamp '{\"on\": true}'
  roundel put greeting 'good morning'
  roundel put photo @photo.jpg
  date | roundel put now -")]
pub struct Args {
    /// 1 to 1,024 bytes of UTF-8.
    key: String,
    /// JSON, a text, @FILE or - (at most 512 KiB).
    #[arg(allow_negative_numbers = true)]
    value: String,
    /// Store VALUE as a text whatever it looks like: 42, @home, -.
    #[arg(long, conflicts_with = "json_value")]
    string: bool,
    /// Store VALUE, or the content of @FILE or -, as JSON; refuse it if it is not.
    #[arg(long)]
    json_value: bool,
    /// How many copies must have it on stable storage [default: quorum].
    #[arg(long, value_name = "LEVEL")]
    consistency: Option<Consistency>,
    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// Parameters of the method `put`.
#[derive(Serialize)]
pub(super) struct Params<'a> {
    pub(super) key: &'a str,
    #[serde(flatten)]
    pub(super) value: PutValue<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) consistency: Option<Consistency>,
}

/// Exactly one of the two members that carry a value.
#[derive(Serialize)]
pub(super) struct PutValue<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<&'a serde_json::value::RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value_base64: Option<&'a str>,
}

impl<'a> From<&'a Sent> for PutValue<'a> {
    fn from(sent: &'a Sent) -> Self {
        match sent {
            Sent::Json(raw) => PutValue {
                value: Some(raw),
                value_base64: None,
            },
            Sent::Base64(text) => PutValue {
                value: None,
                value_base64: Some(text),
            },
        }
    }
}

/// Stores the value and says how well it is covered.
///
/// # Errors
/// [`Failure`] of the value, the target or the call.
pub async fn run(args: Args, out: &mut Out) -> Result<(), Failure> {
    let reading = Reading {
        string: args.string,
        json: args.json_value,
    };
    let sent = value::read(&args.value, reading)?;
    let mut client = target::connect(&args.client).await?;
    let params = Params {
        key: &args.key,
        value: PutValue::from(&sent),
        consistency: args.consistency,
    };
    if args.client.json {
        let result = client.call("put", &params).await?;
        return Ok(writeln!(out, "{}", result.get())?);
    }
    let written: Written = client.call_as("put", &params).await?;
    let boards = match written.acks {
        1 => "1 board".to_owned(),
        acks => format!("{acks} boards"),
    };
    writeln!(
        out,
        "stored {} on {boards} (owner {})",
        shown(&args.key),
        short(&written.node)
    )?;
    if written.degraded {
        let hinted = match written.hinted {
            0 => String::new(),
            n => format!("; {n} more kept for it elsewhere until it is back"),
        };
        writeln!(
            out,
            "{}",
            out.paint
                .warn(&format!("a board that should hold it is absent{hinted}"))
        )?;
    }
    Ok(())
}
