//! `roundel update`: sends a signed update to a board that was started from an image, and waits
//! until it is found good or has fallen back; with `--rolling` to every board, one after the other.

use std::fs::File;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use tokio::time::Instant;

use super::args::ClientArgs;
use super::failure::{Failure, Kind};
use super::out::{Out, note, shown};
use super::progress::Progress;
use super::rpc::{Client, RpcError};
use super::shape::{ClusterState, ImageState, LastUpdate, Node, NodeState};
use super::target;
use super::tls::Tls;
use crate::base::limit;
use crate::runtime::tls::Pin;
use crate::runtime::update;
use crate::wire::update::{HEAD_BYTES, ROOT_BYTES_MAX, Signed};

/// A card takes its time over what is to be on it for good.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(120);
/// A board copies, restarts, is tried for ten minutes, restarts and is back within this.
const OUTCOME_TIME_MAX: Duration = Duration::from_secs(20 * 60);
/// An answer in between comes within this, or it is away.
const STATE_TIME_MAX: Duration = Duration::from_secs(5);
/// How often it is asked meanwhile.
const ASK_INTERVAL: Duration = Duration::from_secs(3);

/// Arguments of `roundel update`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The file is the one that `image/build.sh --sign` makes beside an image. The board checks its \
signature, writes it beside what runs, restarts from it and keeps it once it has been in its ring \
for a minute; else it falls back by itself. Nothing it stores is lost by either. Run it on \
another machine than the board, which restarts.")]
pub struct Args {
    /// The update: roundel-BOARD-VERSION.update.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Update every board of the ring, one after the other; stop at the first that falls back.
    #[arg(long, conflicts_with = "check")]
    rolling: bool,
    /// Take the update although it is older than what runs.
    #[arg(long)]
    downgrade: bool,
    /// Send nothing: check the file, or the slot of this board, with the key of this board's image.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// Updates a board or all.
///
/// # Errors
/// [`Failure`] of the file, the target or a call; of failure when a board fell back or was left
/// out.
pub async fn run(args: Args, out: &mut Out) -> Result<(), Failure> {
    if args.check {
        let update = update::check(Path::new("/"), &args.file);
        let update = update.map_err(|error| {
            let next = "do not start it; copy the file anew";
            Failure::new(Kind::Failed, error.to_string(), next)
        })?;
        return Ok(writeln!(out, "{}", update.version)?);
    }
    let file = UpdateFile::read(&args.file)?;
    let mut client = target::connect(&args.client).await?;
    if !args.rolling {
        let image = image(&mut client).await?.ok_or_else(no_image)?;
        let board = (&args.client, client.address());
        return update_board(&file, board, &image, &args, out).await;
    }
    let this: NodeState = client.call_as("get_node_state", &json!({})).await?;
    let state: ClusterState = client.call_as("get_cluster_state", &json!({})).await?;
    if let Some(caveat) = state.cluster.caveat() {
        note(caveat);
    }
    let mut left_out = 0;
    for node in in_order(state.cluster.nodes, &this.hash) {
        if let Err(why) = roll_to(&file, &node, &args, out).await? {
            left_out += 1;
            note(&format!("{} is left out: {why}", shown(&node.called())));
        }
    }
    match left_out {
        0 => Ok(()),
        count => Err(Failure::new(
            Kind::Failed,
            format!("{count} boards were left out"),
            "see the notes above; update those by themselves",
        )),
    }
}

/// The order of their ids; the board that was asked comes last.
fn in_order(mut nodes: Vec<Node>, asked: &str) -> Vec<Node> {
    nodes.sort_by(|a, b| (a.hash == asked, &a.hash).cmp(&(b.hash == asked, &b.hash)));
    nodes
}

/// Updates one board of several; the inner error is why it is left out, the outer one ends all.
async fn roll_to(
    file: &UpdateFile,
    node: &Node,
    args: &Args,
    out: &mut Out,
) -> Result<Result<(), String>, Failure> {
    let address = node.address().filter(|_| node.alive);
    let Some(address) = address else {
        return Ok(Err("it is absent".to_owned()));
    };
    let mut of_node = args.client.clone();
    if let (Tls::Pinned(_), Ok(id)) = (of_node.tls, node.hash.parse()) {
        of_node.tls = Tls::Pinned(Pin(id));
    }
    let address = target::resolve(&address).await?;
    let mut client = target::client(&of_node, address)?;
    let Some(image) = image(&mut client).await? else {
        return Ok(Err(
            "it was not started from an image; update its package".to_owned()
        ));
    };
    let board = &file.head.update.board;
    if image.board != *board {
        let own = shown(&image.board);
        return Ok(Err(format!("it is a {own}, the update is for {board}")));
    }
    if image.commit == file.head.update.commit && !image.trial {
        let commit = &image.commit;
        writeln!(
            out,
            "{} has {} already",
            shown(&node.called()),
            shown(commit)
        )?;
        return Ok(Ok(()));
    }
    let updated = update_board(file, (&of_node, address), &image, args, out).await;
    updated.map(Ok)
}

/// Sends the update to one board and waits for its outcome.
async fn update_board(
    file: &UpdateFile,
    (of_board, address): (&ClientArgs, SocketAddr),
    before: &ImageState,
    args: &Args,
    out: &mut Out,
) -> Result<(), Failure> {
    let mut client = target::client(of_board, address)?.with_answer_time_max(ANSWER_TIME_MAX);
    send(file, &mut client, args.downgrade).await?;
    if !args.client.json {
        let slot = if before.slot == "a" { "b" } else { "a" };
        writeln!(
            out,
            "{address} has the update; it restarts from slot {slot}"
        )?;
        out.flush()?;
    }
    let what = Progress::new("waiting until it is in its ring again", "", None);
    let mut client = target::client(of_board, address)?.with_answer_time_max(STATE_TIME_MAX);
    let last = what.during(outcome(&mut client)).await?;
    let text = |it: &Option<String>| it.as_deref().map(shown).unwrap_or_default();
    if last.outcome == "good" {
        let version = shown(&last.version);
        match args.client.json {
            true => writeln!(out, "{}", json!({"board": address, "last_update": last}))?,
            false => writeln!(out, "{address} runs {version}, which was found good")?,
        }
        return Ok(());
    }
    let what = match last.outcome.as_str() {
        "back" => "fell back to what it ran before",
        _ => "has not tried the update",
    };
    Err(Failure::new(
        Kind::Failed,
        format!("{address} {what}: {}", text(&last.reason)),
        "it runs as before, and nothing is lost; `roundel status` there and the end of its log \
         (/data/crash on its card) tell more. No other board was touched after it",
    ))
}

/// Sends all of it.
async fn send(file: &UpdateFile, client: &mut Client, downgrade: bool) -> Result<(), Failure> {
    let head = BASE64_STANDARD.encode(&file.bytes[..HEAD_BYTES]);
    let params = json!({"head_base64": head, "downgrade": downgrade});
    call(client, "begin_update", &params).await?;
    let root = &file.bytes[HEAD_BYTES..];
    let mut progress = Progress::new("sending the update", "bytes", Some(root.len() as u64));
    let mut offset = 0;
    for part in root.chunks(limit::UPDATE_PART_BYTES_MAX) {
        let bytes = BASE64_STANDARD.encode(part);
        let params = json!({"offset": offset, "bytes_base64": bytes});
        call(client, "write_update", &params).await?;
        offset += part.len();
        progress.advance(part.len() as u64);
    }
    call(client, "finish_update", &json!({})).await
}

/// The board's own words say what to do.
async fn call(
    client: &mut Client,
    method: &str,
    params: &serde_json::Value,
) -> Result<(), Failure> {
    match client.call(method, params).await.map_err(Failure::from) {
        Ok(_) => Ok(()),
        Err(refused) if refused.kind() == Kind::Failed => {
            Err(refused.with_next("nothing has changed: the board runs as before"))
        }
        Err(failed) => Err(failed),
    }
}

/// Asks until the update was found good, or the board runs what it ran before.
async fn outcome(client: &mut Client) -> Result<LastUpdate, Failure> {
    let start = Instant::now();
    while start.elapsed() < OUTCOME_TIME_MAX {
        tokio::time::sleep(ASK_INTERVAL).await;
        let asked: Result<NodeState, RpcError> = client.call_as("get_node_state", &json!({})).await;
        // It restarts: nobody answers for a while.
        let Ok(NodeState {
            image: Some(image), ..
        }) = asked
        else {
            continue;
        };
        match image.last_update {
            Some(last) if ["good", "back", "refused"].contains(&last.outcome.as_str()) => {
                return Ok(last);
            }
            _ => {}
        }
    }
    Err(Failure::new(
        Kind::Unavailable,
        format!("{} has not come back", client.address()),
        "look at it: its console and its LED tell more; switching it off and on makes it run \
         what it ran before",
    ))
}

async fn image(client: &mut Client) -> Result<Option<ImageState>, Failure> {
    let state: NodeState = client.call_as("get_node_state", &json!({})).await?;
    Ok(state.image)
}

fn no_image() -> Failure {
    Failure::new(
        Kind::Failed,
        "this board was not started from an image",
        "update its package; `image/build.sh` makes images for cards",
    )
}

/// A file with a head, and as long as that says.
struct UpdateFile {
    head: Signed,
    bytes: Vec<u8>,
}

impl UpdateFile {
    fn read(path: &Path) -> Result<Self, Failure> {
        let mut bytes = Vec::new();
        let shown = path.display();
        let max = ROOT_BYTES_MAX + HEAD_BYTES as u64 + 1;
        File::open(path)
            .and_then(|file| file.take(max).read_to_end(&mut bytes))
            .map_err(|error| {
                let next = "check the name; `image/build.sh --sign` writes such a file";
                Failure::usage(format!("{shown} cannot be read: {error}"), next)
            })?;
        UpdateFile::of(bytes).map_err(|why| {
            let next = "take a whole file of `image/build.sh --sign`; nothing was sent";
            Failure::usage(format!("{shown} is no update: {why}"), next)
        })
    }

    fn of(bytes: Vec<u8>) -> Result<Self, String> {
        let head = Signed::parse(&bytes).map_err(|error| error.to_string())?;
        let (length, got) = (head.update.length, (bytes.len() - HEAD_BYTES) as u64);
        match length == got {
            true => Ok(UpdateFile { head, bytes }),
            false => Err(format!("its root has {length} bytes; got {got}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Id;
    use crate::wire::update::{Release, Update};

    #[test]
    fn a_file_that_is_cut_short_is_refused_before_anything_is_sent() {
        let head = Signed {
            update: Update {
                board: "rpi4".into(),
                version: Release(0, 2, 0),
                commit: "ab".repeat(20),
                built: 1,
                kernel: "6.1".into(),
                store: (2, 2),
                length: 4,
                sha256: Id::of(b"root"),
            },
            signature: vec![1],
        };
        let whole = [head.emit(), b"root".to_vec()].concat();
        assert!(UpdateFile::of(whole.clone()).is_ok());
        let said = UpdateFile::of(whole[..whole.len() - 1].to_vec()).err();
        assert_eq!(said.as_deref(), Some("its root has 4 bytes; got 3"));
        assert!(UpdateFile::of(b"PK".to_vec()).is_err());
    }

    #[test]
    fn the_board_that_is_asked_is_updated_last() {
        let node = |id: &str| -> Node {
            serde_json::from_value(json!({"name": null, "hash": id, "addr": null, "port": null,
                "state": "active", "alive": true}))
            .unwrap()
        };
        let order = in_order(vec![node("b"), node("a"), node("c")], "a");
        let ids: Vec<_> = order.iter().map(|node| node.hash.as_str()).collect();
        assert_eq!(ids, ["b", "c", "a"]);
    }
}
