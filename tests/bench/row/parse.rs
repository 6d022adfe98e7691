//! Row 21: reading a JSON-RPC request of 210 bytes: by us, into a tree that owns all of it, and
//! into a struct of slices, which is the least that can be done. In one process, in turn.

use std::borrow::Cow;
use std::hint::black_box;
use std::time::Instant;

use roundel::wire::jsonrpc::Message;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::fault::Fault;
use crate::figure::{Figure, Figures};
use crate::goal::Goal;
use crate::row::{Context, Row, in_turn};

const NUMBER: u32 = 21;
const TIME: (&str, &str) = ("parse of 210 B", "ns");
/// Parses timed at once.
const BATCH: u32 = 20_000;
/// Batches of a repetition; the fastest counts: what others do to a batch only makes it slower.
const BATCHES: usize = 10;
const BYTES: usize = 210;

/// The row.
pub const ROW: Row = Row {
    numbers: &[NUMBER],
    name: "JSON-RPC parse of 210 bytes, in one process",
    run,
    goals: &[Goal::at_most(NUMBER, TIME.0, 1.3, "borrowed struct")],
};

/// The least a reader can make of a request.
#[derive(Deserialize)]
struct Borrowed<'a> {
    jsonrpc: &'a str,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    params: &'a RawValue,
    #[serde(borrow)]
    id: &'a RawValue,
}

fn document() -> String {
    let head = r#"{"jsonrpc":"2.0","method":"put","params":{"key":"0123456789abcdef","value":""#;
    let tail = r#"","consistency":"quorum"},"id":123456}"#;
    let value = "v".repeat(BYTES - head.len() - tail.len());
    [head, &value, tail].concat()
}

fn ours(bytes: &[u8]) -> bool {
    matches!(black_box(Message::parse(bytes)), Ok(Message::Single(Ok(_))))
}

fn tree(bytes: &[u8]) -> bool {
    black_box(serde_json::from_slice::<serde_json::Value>(bytes)).is_ok()
}

fn borrowed(bytes: &[u8]) -> bool {
    let read = black_box(serde_json::from_slice::<Borrowed>(bytes));
    read.is_ok_and(|it| {
        let method = !it.method.is_empty();
        method && it.jsonrpc == "2.0" && !it.params.get().is_empty() && !it.id.get().is_empty()
    })
}

type Reader = (&'static str, fn(&[u8]) -> bool);

fn run(context: &Context) -> Result<Vec<Figure>, Fault> {
    let systems: [Reader; 3] = [
        ("roundel", ours),
        ("serde_json Value", tree),
        ("borrowed struct", borrowed),
    ];
    let document = document();
    let mut figures = Figures::default();
    for rep in context.repetitions() {
        let mut fastest = [f64::INFINITY; 3];
        for batch in 0..BATCHES {
            for (at, (name, read)) in in_turn(&[0, 1, 2], rep + batch).map(|at| (*at, systems[*at]))
            {
                let ns = time(document.as_bytes(), read).ok_or_else(|| {
                    Fault::new(format!("{name} does not read the request of this row"))
                })?;
                fastest[at] = fastest[at].min(ns);
            }
        }
        for ((name, _), ns) in systems.iter().zip(fastest) {
            figures.add(NUMBER, name, TIME, ns);
        }
    }
    Ok(figures.all())
}

/// Nanoseconds of a parse; none: it failed.
fn time(document: &[u8], read: fn(&[u8]) -> bool) -> Option<f64> {
    let start = Instant::now();
    let good = (0..BATCH).all(|_| read(black_box(document)));
    good.then(|| start.elapsed().as_nanos() as f64 / f64::from(BATCH))
}
