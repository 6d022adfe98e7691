//! Rows 5 and 6: gets of 64 clients, answered by the copy at hand or agreed on by a quorum.

use std::net::SocketAddr;

use roundel::cli::args::Consistency;
use roundel::cli::bench::workload::{Mix, Task};

use crate::bare::{Bare, event_loop};
use crate::etcd::{Call, Etcd};
use crate::fault::Fault;
use crate::figure::{Figure, Figures};
use crate::goal::Goal;
use crate::measure::{Taken, clients, fill, take};
use crate::ours::{Access, Ring};
use crate::process::Process;
use crate::row::{Context, Row, in_turn};

const GETS: (&str, &str) = ("gets", "/s");
const P50: (&str, &str) = ("get p50", "ms");
const P99: (&str, &str) = ("get p99", "ms");
const CPU: (&str, &str) = ("CPU of 1,000 gets", "s");

const CLIENTS: usize = 64;

/// The row.
pub const ROW: Row = Row {
    numbers: &[5, 6],
    name: "gets at the copy and by quorum, 64 clients",
    run,
    goals: &[
        Goal::at_least(5, GETS.0, 0.7, "hello").when_quiet(),
        Goal::at_least(6, GETS.0, 2.0, "etcd").when_quiet(),
    ],
};

type Measure = fn(&Context, &mut Figures) -> Result<(), Fault>;

fn run(context: &Context) -> Result<Vec<Figure>, Fault> {
    let systems: [Measure; 4] = [ours, hello, ceiling, etcd];
    let mut figures = Figures::default();
    for rep in context.repetitions() {
        for measure in in_turn(&systems, rep) {
            measure(context, &mut figures)?;
        }
    }
    Ok(figures.all())
}

fn add(figures: &mut Figures, row: u32, system: &str, taken: &Taken) {
    figures.add(row, system, GETS, taken.per_second);
    figures.add(row, system, P50, taken.p50_ms);
    figures.add(row, system, P99, taken.p99_ms);
    figures.add(row, system, CPU, taken.cpu_s_per_1000);
}

fn store(addresses: &[SocketAddr]) -> Result<(), Fault> {
    let clients = clients(addresses, CLIENTS, Task::Fill, None);
    event_loop(async { fill(clients).await.map(drop) })
}

fn gets(
    context: &Context,
    addresses: &[SocketAddr],
    processes: &[Process],
    consistency: Option<Consistency>,
) -> Result<Taken, Fault> {
    let clients = clients(addresses, CLIENTS, Task::Random(Mix::Get), consistency);
    event_loop(async { Ok(take(context, clients, processes).await?.1) })
}

fn ours(context: &Context, figures: &mut Figures) -> Result<(), Fault> {
    let ring = Ring::of_three(context, Access::Keyed)?;
    let measured = |fault: Fault| fault.of("roundel");
    store(&ring.addresses).map_err(measured)?;
    for (row, consistency) in [(5, Consistency::One), (6, Consistency::Quorum)] {
        let consistency = Some(consistency);
        let taken = gets(context, &ring.addresses, &ring.processes, consistency);
        add(figures, row, "roundel", &taken.map_err(measured)?);
    }
    Ok(())
}

fn hello(context: &Context, figures: &mut Figures) -> Result<(), Fault> {
    let bare = Bare::hello(context)?;
    let taken = gets(context, &bare.addresses, &bare.processes, None);
    add(figures, 5, "hello", &taken.map_err(|it| it.of("hello"))?);
    Ok(())
}

fn ceiling(context: &Context, figures: &mut Figures) -> Result<(), Fault> {
    let bare = Bare::ceiling(context)?;
    let named = |fault: Fault| fault.of("ceiling");
    store(&bare.addresses).map_err(named)?;
    let taken = gets(context, &bare.addresses, &bare.processes, None);
    add(figures, 5, "ceiling", &taken.map_err(named)?);
    Ok(())
}

fn etcd(context: &Context, figures: &mut Figures) -> Result<(), Fault> {
    let etcd = Etcd::ready(context)?;
    let taken = event_loop(async {
        let clients = fill(etcd.clients(CLIENTS, Call::Fill).await?).await?;
        let clients = clients
            .into_iter()
            .map(|client| client.for_call(Call::Get))
            .collect();
        Ok(take(context, clients, &etcd.processes).await?.1)
    });
    add(figures, 6, "etcd", &taken.map_err(|it| it.of("etcd"))?);
    Ok(())
}
