//! A load on servers, and what it cost them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use roundel::cli::args::Consistency;
use roundel::cli::bench::connection::Way;
use roundel::cli::bench::load::{self, Load, Measured, Operation, Pace, Stop};
use roundel::cli::bench::workload::{Client, Plan, Task};
use roundel::cli::credential::Credential;
use roundel::cli::tls::Tls;

use crate::fault::Fault;
use crate::process::{Process, Usage, usage_of_all};
use crate::row::Context;

/// Different keys of a load.
pub const KEYS: usize = 10_240;
/// Bytes of a value.
pub const VALUE_BYTES: usize = 100;
/// What keys begin with.
const PREFIX: &str = "bench/";
/// Digits that make a key of 16 bytes.
const KEY_DIGITS: usize = 10;
/// What is done before anything is measured: connections open, caches fill, heaps grow.
const WARM_UP: Duration = Duration::from_secs(1);
/// Filling ends within this.
const FILL_TIME_MAX: Duration = Duration::from_secs(120);

/// A load and what it cost.
pub struct Taken {
    /// Operations a second.
    pub per_second: f64,
    /// Half are faster, ms.
    pub p50_ms: f64,
    /// Of a hundred, 99 are faster, ms.
    pub p99_ms: f64,
    /// Processor time of all servers, seconds for 1,000 operations.
    pub cpu_s_per_1000: f64,
    /// Bytes all servers gave to storage, for each operation.
    pub written_bytes_each: f64,
    /// Resident memory of all servers afterwards, MB.
    pub rss_mb: f64,
}

/// The key of that number.
pub fn key(number: usize) -> String {
    format!("{PREFIX}{number:0KEY_DIGITS$}")
}

/// A value of the usual length that differs from others.
pub fn value(salt: u64) -> String {
    format!("{salt:0>VALUE_BYTES$}")
}

/// Puts a closed loop of these clients on the servers: first to warm them up, then measured.
///
/// # Errors
/// Any operation that failed.
pub async fn take<O>(
    context: &Context,
    clients: Vec<O>,
    processes: &[Process],
) -> Result<(Vec<O>, Taken), Fault>
where
    O: Operation,
    O::Error: std::error::Error,
{
    let stop = Stop::default();
    let load = |time| Load {
        pace: Pace::Closed,
        time,
        count_max: u64::MAX,
    };
    let (clients, warm) = load::run(clients, load(WARM_UP), &stop).await;
    succeeded(warm)?;
    let before = usage_of_all(processes)?;
    let (clients, measured) = load::run(clients, load(context.time), &stop).await;
    let after = usage_of_all(processes)?;
    Ok((clients, taken(succeeded(measured)?, before, after)?))
}

fn taken<E>(measured: Measured<E>, before: Usage, after: Usage) -> Result<Taken, Fault> {
    let all = measured.all();
    if all.count() == 0 {
        return Err(Fault::new("not one operation was done"));
    }
    let count = all.count() as f64;
    Ok(Taken {
        per_second: measured.per_second(&all),
        p50_ms: all.percentile_ms(50.0),
        p99_ms: all.percentile_ms(99.0),
        cpu_s_per_1000: (after.cpu_s - before.cpu_s) / count * 1e3,
        written_bytes_each: (after.written_bytes - before.written_bytes) / count,
        rss_mb: after.rss_bytes / 1e6,
    })
}

fn succeeded<E: std::error::Error>(measured: Measured<E>) -> Result<Measured<E>, Fault> {
    match (measured.failed, measured.first_error) {
        (0, first_error) => Ok(Measured {
            first_error,
            ..measured
        }),
        (failed, Some(error)) => {
            Err(Fault::from(error).of(format!("{failed} operations failed, the first")))
        }
        (failed, None) => Err(Fault::new(format!("{failed} operations had no answer"))),
    }
}

/// Does every key's operation once, in order.
///
/// # Errors
/// Any operation that failed.
pub async fn fill<O>(clients: Vec<O>) -> Result<Vec<O>, Fault>
where
    O: Operation,
    O::Error: std::error::Error,
{
    let load = Load {
        pace: Pace::Closed,
        time: FILL_TIME_MAX,
        count_max: KEYS as u64,
    };
    let (clients, measured) = load::run(clients, load, &Stop::default()).await;
    match succeeded(measured)?.writes.count() {
        count if count == KEYS as u64 => Ok(clients),
        count => Err(Fault::new(format!("only {count} keys were stored"))),
    }
}

/// Clients that speak JSON-RPC over HTTP, spread over the servers.
pub fn clients(
    addresses: &[SocketAddr],
    count: usize,
    task: Task,
    consistency: Option<Consistency>,
) -> Vec<Client> {
    let plan = Plan::new(PREFIX.to_owned(), KEY_DIGITS, KEYS, VALUE_BYTES);
    let plan = Arc::new(plan.with_consistency(consistency));
    let way = |index: usize| Way {
        address: addresses[index % addresses.len()],
        tls: Tls::Off,
        credential: Credential::None,
    };
    let client = |index| Client::new(way(index), plan.clone(), task, index as u64);
    (0..count).map(client).collect()
}
