//! What a load was answered with, for a person and for machines.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::load::{Measured, Tally};
use super::{Args, Mix};
use crate::cli::out::{Out, shown, table};
use crate::cli::rpc::RpcError;

/// Percentiles that are told, with the names of their members.
const PERCENTILES: [(f64, &str); 4] = [
    (50.0, "p50_ms"),
    (90.0, "p90_ms"),
    (99.0, "p99_ms"),
    (99.9, "p999_ms"),
];

/// Everything there is to tell.
pub(super) struct Report<'a> {
    pub(super) args: &'a Args,
    pub(super) address: SocketAddr,
    pub(super) measured: &'a Measured<RpcError>,
    /// Processor time of the loader.
    pub(super) cpu: Duration,
    pub(super) interrupted: bool,
    /// Keys that were not removed.
    pub(super) left: u64,
}

impl Report<'_> {
    /// Writes it as the arguments have it.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn write(&self, out: &mut Out) -> io::Result<()> {
        match self.args.client.json {
            true => writeln!(out, "{}", self.json()),
            false => self.text(out),
        }
    }

    fn tallies(&self) -> impl Iterator<Item = (&'static str, &Tally)> {
        let both = [
            ("put", &self.measured.writes),
            ("get", &self.measured.reads),
        ];
        let asked = |name: &str| match self.args.operation {
            Mix::Put => name == "put",
            Mix::Get => name == "get",
            Mix::Mixed => true,
        };
        both.into_iter().filter(move |(name, _)| asked(name))
    }

    fn cpu_ms_each(&self) -> f64 {
        match self.measured.all().count() {
            0 => 0.0,
            count => self.cpu.as_secs_f64() * 1e3 / count as f64,
        }
    }

    fn json(&self) -> Value {
        let args = self.args;
        let measured = self.measured;
        let mut report = json!({
            "address": self.address,
            "operation": args.operation,
            "clients": args.clients,
            "rate": args.rate,
            "keys": args.keys,
            "value_bytes": args.value_bytes,
            "consistency": args.consistency,
            "seconds": measured.elapsed.as_secs_f64(),
            "failed": measured.failed,
            "first_error": measured.first_error.as_ref().map(ToString::to_string),
            "unserved": measured.unserved,
            "loader_cpu_ms_each": self.cpu_ms_each(),
            "interrupted": self.interrupted,
            "left": self.left,
        });
        for (name, tally) in self.tallies() {
            let mut facts = json!({
                "count": tally.count(),
                "per_second": measured.per_second(tally),
                "max_ms": tally.longest_ms(),
            });
            for (percentile, member) in PERCENTILES {
                facts[member] = json!(tally.percentile_ms(percentile));
            }
            report[name] = facts;
        }
        report
    }

    fn text(&self, out: &mut Out) -> io::Result<()> {
        let (args, measured) = (self.args, self.measured);
        let pace = match args.rate {
            None => "one request after the other".to_owned(),
            Some(rate) => format!("{rate} requests a second"),
        };
        writeln!(
            out,
            "{} clients at {}, {pace}, {:.1} s{}; {} keys, values of {} bytes\n",
            args.clients,
            self.address,
            measured.elapsed.as_secs_f64(),
            match self.interrupted {
                true => " (interrupted)",
                false => "",
            },
            args.keys,
            args.value_bytes,
        )?;
        let head = ["", "COUNT", "/S", "P50", "P90", "P99", "P99.9", "MAX"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for (name, tally) in self.tallies() {
            let mut row = vec![name.to_owned(), tally.count().to_string()];
            row.push(format!("{:.0}", measured.per_second(tally)));
            let times = PERCENTILES.map(|(percentile, _)| tally.percentile_ms(percentile));
            let times = times.into_iter().chain([tally.longest_ms()]);
            row.extend(times.map(|ms| format!("{ms:.2} ms")));
            rows.push(row);
        }
        write!(out, "{}", table(&rows, out.paint))?;
        writeln!(
            out,
            "\nThis program took {:.3} ms of processor time for each.",
            self.cpu_ms_each()
        )?;
        if measured.unserved > 0 {
            let unserved = measured.unserved;
            writeln!(
                out,
                "{}",
                out.paint.warn(&format!(
                    "{unserved} requests were due and not sent: no client was free. The board is \
                     not that fast, or more --clients are needed."
                ))
            )?;
        }
        if measured.failed > 0 {
            let why = measured.first_error.as_ref().map(ToString::to_string);
            let words = format!(
                "{} requests failed, the first with: {}",
                measured.failed,
                shown(&why.unwrap_or_else(|| "no answer".to_owned()))
            );
            writeln!(out, "{}", out.paint.bad(&words))?;
        }
        Ok(())
    }
}
