//! `roundel key show`, `rotate`, `revoke`, `accept` and `confirm`: what a board is asked about the
//! cluster's key.

use std::io::Write;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::base::id::Id;
use crate::cli::args::ClientArgs;
use crate::cli::failure::Failure;
use crate::cli::out::{Out, shown, spoken_time};
use crate::cli::target;
use crate::runtime::tls::Pin;

const CONFIRM: &str = "confirm_cluster";
/// A rotation waits for the boards that are there.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(15);

/// Arguments of the verbs that name no board.
#[derive(Debug, clap::Args)]
pub struct PlainArgs {
    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// Arguments of the verbs that name a board.
#[derive(Debug, clap::Args)]
pub struct BoardArgs {
    /// The board's id, 64 hex digits, as `roundel nodes` and `roundel key show` print it.
    #[arg(value_name = "ID")]
    id: Id,
    #[command(flatten)]
    pub(super) client: ClientArgs,
}

#[derive(Deserialize)]
struct Named {
    kid: String,
    epoch: u32,
}

#[derive(Deserialize)]
struct Asking {
    id: String,
    name: String,
    addr: String,
    port: u16,
}

/// A join code that the board made.
#[derive(Deserialize)]
pub(in crate::cli) struct Code {
    left_s: u64,
    attempts: u8,
}

impl Code {
    /// How it stands, for its owner.
    pub(in crate::cli) fn spoken(&self) -> String {
        match self.attempts {
            0 => "used up by wrong attempts; `roundel key code` makes another".to_owned(),
            left => {
                let time = spoken_time(self.left_s * 1_000);
                format!("holds for {time}, attempts left: {left}")
            }
        }
    }
}

/// The result of most methods of keys.
#[derive(Deserialize)]
struct State {
    access: String,
    kid: String,
    epoch: u32,
    previous: Option<Named>,
    window_s: u64,
    members: usize,
    #[serde(default)]
    fingerprint: Option<String>,
    #[serde(default)]
    fingerprint_note: Option<String>,
    asking: Vec<Asking>,
    code: Option<Code>,
    revoked: Vec<String>,
    /// An older board tells none.
    #[serde(default)]
    tls_pin: String,
}

/// What is asked.
pub(super) enum Ask<'a> {
    Show(&'a PlainArgs),
    Rotate(&'a PlainArgs),
    Confirm(&'a PlainArgs),
    Accept(&'a BoardArgs),
    Revoke(&'a BoardArgs),
}

impl Ask<'_> {
    fn parts(&self) -> (&ClientArgs, &'static str, Value) {
        match self {
            Ask::Show(args) => (&args.client, "get_key_state", json!({})),
            Ask::Rotate(args) => (&args.client, "rotate_key", json!({})),
            Ask::Confirm(args) => (&args.client, CONFIRM, json!({})),
            Ask::Accept(args) => (&args.client, "accept_node", json!({"node": args.id})),
            Ask::Revoke(args) => (&args.client, "revoke_node", json!({"node": args.id})),
        }
    }
}

/// Asks a board and shows how it stands with its keys afterwards.
///
/// # Errors
/// [`Failure`] of the target or the call.
pub(super) async fn run(ask: Ask<'_>, out: &mut Out) -> Result<(), Failure> {
    let (client, method, mut params) = ask.parts();
    let mut board = target::connect(client)
        .await?
        .with_answer_time_max(ANSWER_TIME_MAX);
    let mut seen = None;
    if method == CONFIRM {
        let before = board.call("get_key_state", &json!({})).await?;
        seen = serde_json::from_str::<State>(before.get()).ok();
        // Should a board come in meanwhile, the owner has not counted it.
        if let Some(digits) = seen.as_ref().and_then(|state| state.fingerprint.as_deref()) {
            params = json!({"fingerprint": digits});
        }
    }
    let result = board.call(method, &params).await?;
    if let Some(seen) = seen.filter(|seen| seen.access == "provisional" && !client.json) {
        let digits = seen.fingerprint.as_deref().unwrap_or("not drawn");
        let boards = boards(seen.members);
        writeln!(out, "confirmed: fingerprint {}, {boards}", shown(digits))?;
    }
    show_result(&result, client.json, out)?;
    Ok(())
}

/// Shows what a method of keys answered, as JSON or in words.
pub(super) fn show_result(result: &RawValue, json: bool, out: &mut Out) -> std::io::Result<()> {
    match serde_json::from_str::<State>(result.get()) {
        Ok(state) if !json => show(&state, out),
        _ => writeln!(out, "{}", result.get()),
    }
}

fn boards(members: usize) -> String {
    match members {
        1 => "1 board".to_owned(),
        count => format!("{count} boards"),
    }
}

fn show(state: &State, out: &mut Out) -> std::io::Result<()> {
    let boards = boards(state.members);
    writeln!(
        out,
        "{}: key {}, epoch {}, {boards}",
        shown(&state.access),
        shown(&state.kid),
        state.epoch
    )?;
    if state.access == "provisional" {
        writeln!(
            out,
            "nobody has confirmed it: whoever is on the LAN reads and writes. Compare the \
             fingerprint and the number of boards on every board, then: roundel key confirm"
        )?;
    }
    match (&state.fingerprint, &state.fingerprint_note) {
        (Some(digits), _) => writeln!(out, "fingerprint: {}, {boards}", shown(digits))?,
        (None, Some(note)) => writeln!(out, "fingerprint: {}", shown(note))?,
        (None, None) => {}
    }
    if state.window_s > 0 {
        writeln!(
            out,
            "boards without a key come in for {} s more",
            state.window_s
        )?;
    }
    if let Some(previous) = &state.previous {
        let kid = shown(&previous.kid);
        writeln!(
            out,
            "replaced: key {kid}, epoch {}, accepted still",
            previous.epoch
        )?;
    }
    for asking in &state.asking {
        let (id, name) = (shown(&asking.id), shown(&asking.name));
        let at = format!("{}:{}", shown(&asking.addr), asking.port);
        writeln!(
            out,
            "asks to come in: {name} at {at}: roundel key accept {id}"
        )?;
    }
    if let Some(code) = &state.code {
        writeln!(out, "join code: {}", code.spoken())?;
    }
    for id in &state.revoked {
        writeln!(out, "revoked: {}", shown(id))?;
    }
    if let Ok(pin) = state.tls_pin.parse::<Pin>() {
        let curl = pin.to_curl();
        writeln!(out, "over TLS: --tls {}, curl --pinnedpubkey {curl}", pin.0)?;
    }
    Ok(())
}
