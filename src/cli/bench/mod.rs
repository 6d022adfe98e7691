//! `roundel bench`: puts a load on a board of one's own ring, and says how much was done and how
//! long it took.
//!
//! Everything is written under a prefix that no other run has, and removed at the end, also after
//! Ctrl-C. The loader ([`load`]) is the one that the project's own bench measures with. It runs on
//! one thread: on a board it shares the processor with what it measures, so its own processor time
//! is part of the report.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use super::args::{ClientArgs, Consistency};
use super::credential::Credential;
use super::failure::{Failure, Kind};
use super::out::Out;
use super::progress::Progress;
use super::rpc::RpcError;
use super::target;

pub mod connection;
pub mod exchange;
pub mod load;
mod report;
pub mod workload;

use connection::Way;
use load::{Load, Measured, Pace, Stop};
use report::Report;
use workload::{Client, Mix, Plan, Task};

/// Digits of a key's number.
const KEY_DIGITS: usize = 6;
/// Filling and removing may take so long.
const SWEEP_TIME_MAX: Duration = Duration::from_secs(120);

/// Arguments of `roundel bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --rate each client sends its next request once the last is answered: how much can be \
done. With --rate requests are due at that rate, and latencies count from when they were due: how \
long it takes while others work.

Keys are written under bench/, in a place of this run alone, and removed at the end; removals \
leave marks on the storage for a while, as they always do. Ctrl-C ends the load early, with a \
report of what was measured; a second one leaves the keys.

  roundel bench
  roundel bench --operation put --clients 64 --seconds 30
  roundel bench --rate 100 --node 192.168.1.20 --key cluster.key")]
pub struct Args {
    /// Requests under way at once, at most, each on a connection of its own.
    #[arg(long, value_name = "N", default_value_t = 16,
          value_parser = clap::value_parser!(u16).range(1..=512))]
    clients: u16,
    /// How long the load lasts.
    #[arg(long, value_name = "S", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Requests a second; without it as many as can be.
    #[arg(long, value_name = "R",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// What the requests are.
    #[arg(long, value_enum, default_value = "mixed")]
    operation: Mix,
    /// Bytes of a value, a text.
    #[arg(long, value_name = "N", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=500_000))]
    value_bytes: u32,
    /// Different keys.
    #[arg(long, value_name = "N", default_value_t = 1_000,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    keys: u32,
    /// How many copies must answer [default: quorum].
    #[arg(long, value_name = "LEVEL")]
    consistency: Option<Consistency>,
    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// Puts the load on and reports.
///
/// # Errors
/// [`Failure`] of the target; of the first request that failed, after the report; of failure when
/// keys were left.
pub async fn run(args: Args, out: &mut Out) -> Result<(), Failure> {
    let mut asked = target::connect(&args.client).await?;
    // Says early, and once, what every client would.
    asked
        .call("get_node_state", &serde_json::Map::new())
        .await?;
    let way = Way {
        address: asked.address(),
        tls: args.client.tls,
        credential: Credential::of(&args.client)?,
    };
    let plan = plan(&args)?;
    let seed = u64::from_be_bytes(random()?);
    let client = |index: u16| {
        let seed = seed.wrapping_add(index.into());
        Client::new(way.clone(), plan.clone(), Task::Fill, seed)
    };
    let clients: Vec<Client> = (0..args.clients).map(client).collect();
    let (stop, give_up) = (Stop::default(), Stop::default());
    tokio::spawn(listen(stop.clone(), give_up.clone()));
    let (clients, filled) = match args.operation {
        Mix::Put => (clients, Ok(())),
        Mix::Get | Mix::Mixed => sweep("storing", clients, &plan, Task::Fill, &stop).await,
    };
    let used = cpu()?;
    let time = match filled {
        Ok(()) => Duration::from_secs(args.seconds),
        Err(_) => Duration::ZERO,
    };
    let (clients, measured) = measure(clients, &args, time, &stop).await;
    let used = cpu()?.saturating_sub(used);
    let interrupted = stop.is_now();
    let (_, removed) = sweep("removing", clients, &plan, Task::Remove, &give_up).await;
    let report = Report {
        args: &args,
        address: way.address,
        measured: &measured,
        cpu: used,
        interrupted,
        left: plan.left(),
    };
    if filled.is_ok() {
        report.write(out)?;
        out.flush()?;
    }
    outcome(filled, measured, removed, &plan)
}

fn plan(args: &Args) -> Result<Arc<Plan>, Failure> {
    let prefix = format!("bench/{:08x}/", u32::from_be_bytes(random()?));
    let number = |number: u32| usize::try_from(number).expect("a usize has 32 bits or more");
    let plan = Plan::new(
        prefix,
        KEY_DIGITS,
        number(args.keys),
        number(args.value_bytes),
    );
    Ok(Arc::new(plan.with_consistency(args.consistency)))
}

async fn measure(
    clients: Vec<Client>,
    args: &Args,
    time: Duration,
    stop: &Stop,
) -> (Vec<Client>, Measured<RpcError>) {
    let clients = clients
        .into_iter()
        .map(|client| client.for_task(Task::Random(args.operation)))
        .collect();
    let load = Load {
        pace: args
            .rate
            .map_or(Pace::Closed, |rate| Pace::Open(rate.into())),
        time,
        count_max: u64::MAX,
    };
    Progress::new("measuring", "", None)
        .during(load::run(clients, load, stop))
        .await
}

/// Does the same with every key once.
async fn sweep(
    what: &'static str,
    clients: Vec<Client>,
    plan: &Plan,
    task: Task,
    stop: &Stop,
) -> (Vec<Client>, Result<(), RpcError>) {
    let clients = clients
        .into_iter()
        .map(|client| client.for_task(task))
        .collect();
    let load = Load {
        pace: Pace::Closed,
        time: SWEEP_TIME_MAX,
        count_max: plan.keys(),
    };
    let (clients, measured) = Progress::new(what, "", None)
        .during(load::run(clients, load, stop))
        .await;
    (clients, measured.first_error.map_or(Ok(()), Err))
}

/// What the verb ends with: what went wrong first is told first.
fn outcome(
    filled: Result<(), RpcError>,
    measured: Measured<RpcError>,
    removed: Result<(), RpcError>,
    plan: &Plan,
) -> Result<(), Failure> {
    filled?;
    if let Some(error) = measured.first_error {
        return Err(error.into());
    }
    if measured.failed > 0 {
        return Err(Failure::new(
            Kind::Unavailable,
            format!("{} requests had no answer", measured.failed),
            "`roundel status` says how the board is and what to do",
        ));
    }
    removed?;
    match plan.left() {
        0 => Ok(()),
        left => Err(Failure::new(
            Kind::Failed,
            format!("{left} keys were not removed"),
            format!("`roundel scan --prefix {}` lists them", plan.prefix()),
        )),
    }
}

/// The first Ctrl-C, or SIGTERM, ends the load, a second one the removal.
async fn listen(stop: Stop, give_up: Stop) {
    use tokio::signal::unix::{SignalKind, signal};
    // Who cannot listen ends the usual way.
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return;
    };
    for stop in [stop, give_up] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        stop.now();
    }
}

/// Processor time of this process.
fn cpu() -> Result<Duration, Failure> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)
        .map_err(|error| Failure::failed(format!("the processor time cannot be read: {error}")))?;
    let us = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(u64::try_from(us).unwrap_or(0)))
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::failed(format!("the system has no random numbers: {error}")))?;
    Ok(bytes)
}
