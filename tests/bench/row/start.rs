//! Row 20: from exec to the first answer, and from three execs to the first durable put.

use crate::etcd::Etcd;
use crate::fault::Fault;
use crate::figure::{Figure, Figures};
use crate::goal::Goal;
use crate::ours::{self, Access, Ring, ask};
use crate::process::free_ports;
use crate::redis::Redis;
use crate::row::{Context, Row, in_turn};

const NUMBER: u32 = 20;
const ANSWER: (&str, &str) = ("first answer", "ms");
const PUT: (&str, &str) = ("first durable put", "ms");

/// The row.
pub const ROW: Row = Row {
    numbers: &[NUMBER],
    name: "exec to the first answer; three execs to the first durable put",
    run,
    goals: &[
        Goal::within(NUMBER, ANSWER.0, 50.0).when_quiet(),
        Goal::at_most(NUMBER, PUT.0, 0.5, "etcd").when_quiet(),
    ],
};

type Measure = fn(&Context, &mut Figures) -> Result<(), Fault>;

fn run(context: &Context) -> Result<Vec<Figure>, Fault> {
    let systems: [Measure; 4] = [alone, three, redis, etcd];
    let mut figures = Figures::default();
    for rep in context.repetitions() {
        for measure in in_turn(&systems, rep) {
            measure(context, &mut figures)?;
        }
    }
    Ok(figures.all())
}

fn alone(context: &Context, figures: &mut Figures) -> Result<(), Fault> {
    let mut ring = Ring::start(context, Access::Keyed, &free_ports::<1>()?)?;
    let (process, address) = (&mut ring.processes[0], ring.addresses[0]);
    process.until("it answers", |_| {
        ask(address, "get_node_state", &serde_json::json!({})).ok()
    })?;
    let ms = process.started.elapsed().as_secs_f64() * 1e3;
    figures.add(NUMBER, "roundel", ANSWER, ms);
    Ok(())
}

fn three(context: &Context, figures: &mut Figures) -> Result<(), Fault> {
    let ring = Ring::start(context, Access::Keyed, &free_ports::<3>()?)?;
    ours::until_durable(ring.addresses[0])?;
    let ms = ring.processes[0].started.elapsed().as_secs_f64() * 1e3;
    figures.add(NUMBER, "roundel", PUT, ms);
    Ok(())
}

fn redis(context: &Context, figures: &mut Figures) -> Result<(), Fault> {
    let mut redis = Redis::start(context)?;
    redis.until_answers()?;
    let ms = redis.process.started.elapsed().as_secs_f64() * 1e3;
    figures.add(NUMBER, "redis", ANSWER, ms);
    Ok(())
}

fn etcd(context: &Context, figures: &mut Figures) -> Result<(), Fault> {
    let mut etcd = Etcd::start(context)?;
    etcd.until_durable()?;
    let ms = etcd.processes[0].started.elapsed().as_secs_f64() * 1e3;
    figures.add(NUMBER, "etcd", PUT, ms);
    Ok(())
}
