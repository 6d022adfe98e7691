//! `roundel search`: the boards that answer on the LAN, or with `--all` every UPnP device.
//!
//! A device's description is fetched from whoever answered the search and from nowhere else, is
//! small and comes soon, or the device is listed without a name and with the reason.

use std::io::Write;
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;

use super::failure::{Failure, Kind};
use super::out::{Out, note, shown, table};
use super::target;
use crate::base::endpoint::Name;
use crate::base::limit;
use crate::runtime::client::Connection;
use crate::runtime::discovery::{FoundDevice, search_devices};
use crate::wire::description::Summary;

/// Answers are collected for this: MX 2 and a slow network.
const SEARCH_TIME: Duration = Duration::from_secs(3);

/// Arguments of `roundel search`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Search on this interface only; may be repeated.
    #[arg(long = "interface", value_name = "IF")]
    interfaces: Vec<String>,
    /// List every UPnP device, whatever it is.
    #[arg(long, conflicts_with = "cluster")]
    all: bool,
    /// Only boards of this cluster.
    #[arg(long, value_name = "NAME")]
    cluster: Option<Name>,
    /// Print an object for each board or device, a line each.
    #[arg(long)]
    pub(super) json: bool,
}

/// Lists every board that answers, by cluster.
///
/// # Errors
/// [`Failure`] when the search cannot be sent; of kind unavailable when nobody answers.
pub async fn run(args: Args, out: &mut Out) -> Result<(), Failure> {
    if args.all {
        return run_all(&args, out).await;
    }
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

/// A device as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Device {
    #[serde(rename = "type")]
    kind: Option<String>,
    name: Option<String>,
    udn: String,
    location: String,
    server: Option<String>,
    /// Why there is no type and no name.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

async fn run_all(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let found = search_devices(&args.interfaces, SEARCH_TIME).await;
    let found = found.map_err(|error| {
        Failure::new(
            Kind::Failed,
            format!("the LAN cannot be searched: {error}"),
            "name an interface with --interface, or ask `roundel doctor` about the network",
        )
    })?;
    if found.is_empty() {
        return Err(Failure::new(
            Kind::Unavailable,
            "no UPnP device answers on the LAN",
            "name an interface with --interface, or ask `roundel doctor` about the network",
        ));
    }
    let mut devices = describe_all(found).await;
    devices.sort();
    if args.json {
        for device in &devices {
            let line = serde_json::to_string(device).expect("a device is plain fields");
            writeln!(out, "{line}")?;
        }
        return Ok(());
    }
    let head = ["TYPE", "NAME", "LOCATION", "SERVER"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for device in &devices {
        let text = |text: &Option<String>| shown(text.as_deref().unwrap_or("-"));
        rows.push(vec![
            text(&device.kind),
            text(&device.name),
            shown(&device.location),
            text(&device.server),
        ]);
    }
    write!(out, "{}", table(&rows, out.paint))?;
    for device in &devices {
        if let Some(problem) = &device.problem {
            note(&shown(&format!("{}: {problem}", device.location)));
        }
    }
    Ok(())
}

/// Fetches the descriptions, a few at a time.
async fn describe_all(found: Vec<FoundDevice>) -> Vec<Device> {
    let mut waiting = found.into_iter();
    let mut running: JoinSet<Device> = waiting
        .by_ref()
        .take(limit::DESCRIPTION_FETCHES_MAX)
        .map(describe)
        .collect();
    let mut devices = Vec::new();
    while let Some(done) = running.join_next().await {
        devices.extend(done);
        if let Some(next) = waiting.next() {
            running.spawn(describe(next));
        }
    }
    devices
}

async fn describe(found: FoundDevice) -> Device {
    let (summary, problem) = match summary(&found).await {
        Ok(summary) => (Some(summary), None),
        Err(problem) => (None, Some(problem)),
    };
    let (kind, name) = summary.map(|it| (it.device_type, it.friendly_name)).unzip();
    Device {
        kind,
        name,
        udn: found.udn,
        location: found.location.to_string(),
        server: found.server,
        problem,
    }
}

async fn summary(found: &FoundDevice) -> Result<Summary, String> {
    let from = found.fetch_from.ok_or(
        "its description was not fetched: it is not at the address that answered the search",
    )?;
    let mut connection = Connection::bounded(from, limit::XML_BYTES_MAX);
    let path = found.location.path();
    let path = path.split('#').next().unwrap_or(path);
    let answer = connection.get(path, limit::DESCRIPTION_TIME_MAX).await;
    match answer.map_err(|error| error.to_string())? {
        (200, body) => Summary::parse(&body)
            .map_err(|error| format!("its description cannot be read: {error}")),
        (status, _) => Err(format!("its description was answered with status {status}")),
    }
}
