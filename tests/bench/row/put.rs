//! Rows 1, 2, 8 and 12: durable quorum puts of 64 clients, what they cost, and what memory is held
//! after them. Rows 3 and 12: the same of one client.

use roundel::cli::bench::workload::{Mix, Task};

use crate::bare::{Bare, event_loop};
use crate::etcd::{Call, Etcd};
use crate::fault::Fault;
use crate::figure::{Figure, Figures};
use crate::goal::Goal;
use crate::measure::{Taken, clients, take};
use crate::ours::{Access, Ring};
use crate::process::Process;
use crate::row::{Context, Row, in_turn};

const PUTS: (&str, &str) = ("puts", "/s");
const P50: (&str, &str) = ("put p50", "ms");
const P99: (&str, &str) = ("put p99", "ms");
const CPU: (&str, &str) = ("CPU of 1,000 puts", "s");
const MEMORY: (&str, &str) = ("memory of all three", "MB");
const MEMORY_EACH: (&str, &str) = ("memory of a node", "MB");
const DISK: (&str, &str) = ("disk of a put", "B");
const DISK_ALONE: (&str, &str) = ("disk of a put, 1 client", "B");
const CPU_ALONE: (&str, &str) = ("CPU of 1,000 puts, 1 client", "s");

/// Clients of the first row.
const MANY: usize = 64;

/// Puts of many clients.
pub const MANY_CLIENTS: Row = Row {
    numbers: &[1, 2, 8, 12],
    name: "durable quorum puts, 64 clients",
    run: many_clients,
    goals: &[
        Goal::at_least(1, PUTS.0, 1.6, "etcd").when_quiet(),
        Goal::at_least(1, PUTS.0, 3.0, "etcd gateway").when_quiet(),
        Goal::at_least(1, PUTS.0, 0.6, "ceiling").when_quiet(),
        Goal::at_most(1, P99.0, 0.6, "etcd").when_quiet(),
        Goal::at_most(2, CPU.0, 0.5, "etcd"),
        Goal::at_most(8, MEMORY.0, 0.125, "etcd"),
        Goal::within(8, MEMORY_EACH.0, 16.0),
        Goal::at_most(12, DISK.0, 0.6, "etcd"),
    ],
};

/// Puts of one.
pub const ONE_CLIENT: Row = Row {
    numbers: &[3, 12],
    name: "durable quorum puts, 1 client",
    run: one_client,
    goals: &[
        Goal::at_most(3, P50.0, 0.7, "etcd").when_quiet(),
        Goal::within(12, DISK_ALONE.0, 12_600.0),
    ],
};

/// What takes puts.
#[derive(Clone, Copy, Debug)]
enum System {
    Roundel(Access),
    Etcd,
    EtcdGateway,
    Ceiling,
}

impl System {
    fn name(self) -> &'static str {
        match self {
            System::Roundel(Access::Keyed) => "roundel",
            System::Roundel(Access::Open) => "roundel, no key",
            System::Etcd => "etcd",
            System::EtcdGateway => "etcd gateway",
            System::Ceiling => "ceiling",
        }
    }

    /// Starts it anew and measures it.
    fn take(self, context: &Context, count: usize) -> Result<Taken, Fault> {
        let taken = match self {
            System::Roundel(access) => {
                let ring = Ring::of_three(context, access)?;
                json_rpc(context, &ring.addresses, count, &ring.processes)
            }
            System::Ceiling => {
                let bare = Bare::ceiling(context)?;
                json_rpc(context, &bare.addresses, count, &bare.processes)
            }
            System::Etcd => {
                let etcd = Etcd::ready(context)?;
                event_loop(async {
                    let clients = etcd.clients(count, Call::Put).await?;
                    Ok(take(context, clients, &etcd.processes).await?.1)
                })
            }
            System::EtcdGateway => {
                let etcd = Etcd::ready(context)?;
                event_loop(async {
                    let clients = etcd.gateway_clients(count).await?;
                    Ok(take(context, clients, &etcd.processes).await?.1)
                })
            }
        };
        taken.map_err(|fault| fault.of(self.name()))
    }
}

fn json_rpc(
    context: &Context,
    addresses: &[std::net::SocketAddr],
    count: usize,
    processes: &[Process],
) -> Result<Taken, Fault> {
    let clients = clients(addresses, count, Task::Random(Mix::Put), None);
    event_loop(async { Ok(take(context, clients, processes).await?.1) })
}

fn many_clients(context: &Context) -> Result<Vec<Figure>, Fault> {
    let systems = [
        System::Roundel(Access::Keyed),
        System::Roundel(Access::Open),
        System::Etcd,
        System::EtcdGateway,
        System::Ceiling,
    ];
    let mut figures = Figures::default();
    for rep in context.repetitions() {
        for system in in_turn(&systems, rep) {
            let taken = system.take(context, MANY)?;
            let mut add = |row, measure, sample| figures.add(row, system.name(), measure, sample);
            add(1, PUTS, taken.per_second);
            add(1, P50, taken.p50_ms);
            add(1, P99, taken.p99_ms);
            add(2, CPU, taken.cpu_s_per_1000);
            add(8, MEMORY, taken.rss_mb);
            add(8, MEMORY_EACH, taken.rss_mb / 3.0);
            add(12, DISK, taken.written_bytes_each);
        }
    }
    Ok(figures.all())
}

fn one_client(context: &Context) -> Result<Vec<Figure>, Fault> {
    let systems = [
        System::Roundel(Access::Keyed),
        System::Etcd,
        System::Ceiling,
    ];
    let mut figures = Figures::default();
    for rep in context.repetitions() {
        for system in in_turn(&systems, rep) {
            let taken = system.take(context, 1)?;
            let mut add = |row, measure, sample| figures.add(row, system.name(), measure, sample);
            add(3, P50, taken.p50_ms);
            add(3, P99, taken.p99_ms);
            add(3, CPU_ALONE, taken.cpu_s_per_1000);
            add(12, DISK_ALONE, taken.written_bytes_each);
        }
    }
    Ok(figures.all())
}
