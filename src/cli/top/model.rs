//! The state of `roundel top`: polls and lost connections go in, a [`View`] comes out.
//!
//! Pure: it is told the time, as a duration since the program's start.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::time::Duration;

use super::change;
use super::poll::Poll;
use super::rate::Rates;
use super::view::{Column, Row, Said, Tone, View};
use crate::cli::nodes::{mark, standing};
use crate::cli::out::{shown, spoken_time};
use crate::cli::ring::places;
use crate::cli::shape::{Node, NodeStats};

/// Changes kept.
const LOG_MAX: usize = 200;

/// The order of the boards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By id, as on the circle.
    #[default]
    Ring,
    /// By name.
    Name,
    /// The absent and the suspected first.
    State,
    /// Most keys first.
    Keys,
    /// The latest change first.
    Since,
}

#[derive(Debug)]
enum Link {
    Waiting,
    Up,
    Lost { since: Duration, why: String },
}

/// See the module.
#[derive(Debug)]
pub struct Model {
    address: String,
    link: Link,
    poll: Option<Poll>,
    rates: Rates,
    log: VecDeque<(Duration, Said)>,
    sort: Sort,
}

impl Model {
    /// Nothing is known yet of the board at `address`.
    pub fn new(address: impl Into<String>) -> Self {
        Model {
            address: address.into(),
            link: Link::Waiting,
            poll: None,
            rates: Rates::default(),
            log: VecDeque::new(),
            sort: Sort::default(),
        }
    }

    /// Takes what the board answered at `now`.
    pub fn answered(&mut self, now: Duration, poll: Poll) {
        match std::mem::replace(&mut self.link, Link::Up) {
            Link::Lost { .. } => {
                self.note(now, Said::new(Tone::Good, "the board answers again"));
            }
            Link::Waiting => {
                self.note(now, Said::new(Tone::Plain, "began to watch"));
            }
            Link::Up => {}
        }
        let known = self.poll.as_ref().map(|before| &before.node.hash);
        if known.is_some_and(|known| *known != poll.node.hash) {
            let name = shown(poll.node.name.as_deref().unwrap_or("another board"));
            let text = format!("{name} answers at this address");
            self.note(now, Said::new(Tone::Warn, text));
        }
        self.take(now, poll);
    }

    fn take(&mut self, now: Duration, poll: Poll) {
        if let Some(before) = &self.poll {
            for said in change::between(before, &poll) {
                self.note(now, said);
            }
        }
        self.rates.push(now, &poll.boards);
        self.poll = Some(poll);
    }

    /// Takes what another board of the ring answered, which is asked from now on at `address`.
    pub fn moved(&mut self, now: Duration, address: String, poll: Poll) {
        let name = poll.node.name.clone().unwrap_or_else(|| address.clone());
        let text = format!("asking {} from now on", shown(&name));
        self.note(now, Said::new(Tone::Warn, text));
        self.address = address;
        self.link = Link::Up;
        self.take(now, poll);
    }

    /// Takes that it did not answer.
    pub fn lost(&mut self, now: Duration, why: &str) {
        let why = shown(why);
        if let Link::Lost { why: known, .. } = &mut self.link {
            *known = why;
            return;
        }
        self.note(now, Said::new(Tone::Bad, format!("no answer: {why}")));
        self.link = Link::Lost { since: now, why };
    }

    /// Sorts by the next thing.
    pub fn sort_next(&mut self) {
        self.sort = match self.sort {
            Sort::Ring => Sort::Name,
            Sort::Name => Sort::State,
            Sort::State => Sort::Keys,
            Sort::Keys => Sort::Since,
            Sort::Since => Sort::Ring,
        };
    }

    fn note(&mut self, now: Duration, said: Said) {
        self.log.push_front((now, said));
        self.log.truncate(LOG_MAX);
    }

    /// What is to be shown at `now`.
    pub fn view(&self, now: Duration) -> View {
        let mut view = View {
            title: self.title(now),
            health: Vec::new(),
            figures: Vec::new(),
            ring: Vec::new(),
            centre: Vec::new(),
            columns: Vec::new(),
            rows: Vec::new(),
            sorted: self.sort.word(),
            log: self.log_at(now),
        };
        if let Some(poll) = &self.poll {
            view.health = health(poll);
            view.figures = self.figures(poll);
            let (ring, centre) = places(&poll.cluster, &poll.node.hash);
            (view.ring, view.centre) = (ring, centre.to_vec());
            (view.columns, view.rows) = self.table(poll);
        }
        view
    }

    fn title(&self, now: Duration) -> Vec<Said> {
        let mut title = vec![Said::new(Tone::Strong, "roundel")];
        match &self.poll {
            Some(poll) => {
                let node = &poll.node;
                let name = node.name.clone().unwrap_or_else(|| self.address.clone());
                let cluster = format!("cluster {}", shown(&node.cluster));
                title.push(Said::new(Tone::Strong, cluster));
                let seen = format!("seen from {} at {}", shown(&name), self.address);
                title.push(Said::new(Tone::Plain, seen));
            }
            None => title.push(Said::new(Tone::Plain, format!("at {}", self.address))),
        }
        match &self.link {
            Link::Up => {}
            Link::Waiting => title.push(Said::new(Tone::Warn, "waiting for the first answer")),
            Link::Lost { since, why } => {
                let ms = millis(now.saturating_sub(*since));
                let text = format!("NO ANSWER for {}, trying again: {why}", spoken_time(ms));
                // It must be seen on the smallest screen.
                title.insert(0, Said::new(Tone::Bad, text));
            }
        }
        title
    }

    fn figures(&self, poll: &Poll) -> Vec<String> {
        let mut figures = Vec::new();
        if let Some(ring) = self.rates.ring() {
            let all = ring.put + ring.get + ring.remove + ring.failed;
            figures.push(format!("{all:.1} operations/s"));
            for (word, rate) in [
                ("put", ring.put),
                ("get", ring.get),
                ("remove", ring.remove),
                ("failed", ring.failed),
            ] {
                if rate > 0.0 {
                    figures.push(format!("{word} {rate:.1}"));
                }
            }
            for (word, us) in [("p50", ring.p50_us), ("p99", ring.p99_us)] {
                figures.extend(us.map(|us| format!("{word} ≤ {}", spoken_us(us))));
            }
        }
        let stats = &poll.stats;
        figures.push(format!("{} keys here", stats.items));
        if stats.under_replicated > 0 {
            figures.push(format!("{} lack a copy", stats.under_replicated));
        }
        if stats.handover_pending > 0 {
            figures.push(format!("{} to hand over", stats.handover_pending));
        }
        let written = stats.written_bytes.map(spoken_bytes);
        figures.extend(written.map(|bytes| format!("{bytes} written")));
        figures
    }

    fn table(&self, poll: &Poll) -> (Vec<Column>, Vec<Row>) {
        let all = [
            Column::Name,
            Column::State,
            Column::Keys,
            Column::Since,
            Column::Address,
            Column::Up,
            Column::Rate,
            Column::Memory,
            Column::Version,
        ];
        let mut nodes: Vec<&Node> = poll.cluster.nodes.iter().collect();
        let items = |node: &Node| poll.boards.get(&node.hash).map(|stats| stats.items);
        match self.sort {
            Sort::Ring => {}
            Sort::Name => nodes.sort_by_key(|node| node.called()),
            Sort::State => nodes.sort_by_key(|node| (node.alive, !node.suspect, standing(node))),
            Sort::Keys => nodes.sort_by_key(|node| Reverse(items(node))),
            Sort::Since => nodes.sort_by_key(|node| node.for_ms),
        }
        let cells: Vec<Vec<String>> = nodes
            .iter()
            .map(|node| {
                all.iter()
                    .map(|column| self.cell(poll, node, *column))
                    .collect()
            })
            .collect();
        let anything = |index: &usize| cells.iter().any(|row| !row[*index].is_empty());
        let kept: Vec<usize> = (0..all.len()).filter(anything).collect();
        let rows = nodes.iter().zip(&cells).map(|(node, cells)| Row {
            mark: mark(node, &poll.node.hash),
            cells: kept.iter().map(|index| cells[*index].clone()).collect(),
        });
        (
            kept.iter().map(|index| all[*index]).collect(),
            rows.collect(),
        )
    }

    fn cell(&self, poll: &Poll, node: &Node, column: Column) -> String {
        // What a board said before it went is no longer so.
        let stats = poll.boards.get(&node.hash).filter(|_| node.alive);
        let of = |text: fn(&NodeStats) -> Option<String>| stats.and_then(text);
        let cell = match column {
            Column::Name => Some(shown(&node.called())),
            Column::State => Some(standing(node)),
            Column::Keys => of(|stats| Some(stats.items.to_string())),
            Column::Since => Some(spoken_time(node.for_ms)),
            Column::Address => node.address().map(|address| shown(&address)),
            Column::Up => of(|stats| Some(spoken_time(stats.uptime_ms))),
            Column::Rate => stats
                .and(self.rates.of(&node.hash))
                .map(|rate| format!("{rate:.1}")),
            Column::Memory => of(|stats| stats.memory_bytes.map(spoken_bytes)),
            Column::Version => node.version.as_deref().map(shown),
        };
        cell.unwrap_or_default()
    }

    fn log_at(&self, now: Duration) -> Vec<(String, Said)> {
        let ago = |at: &Duration| match now.saturating_sub(*at).as_secs() {
            0 => "now".to_owned(),
            seconds => spoken_time(seconds * 1_000),
        };
        self.log
            .iter()
            .map(|(at, said)| (ago(at), said.clone()))
            .collect()
    }
}

impl Sort {
    fn word(self) -> &'static str {
        match self {
            Sort::Ring => "place in the ring",
            Sort::Name => "name",
            Sort::State => "state",
            Sort::Keys => "keys",
            Sort::Since => "latest change",
        }
    }
}

fn health(poll: &Poll) -> Vec<Said> {
    let nodes = &poll.cluster.nodes;
    let present = nodes.iter().filter(|node| node.alive).count();
    let suspect = nodes
        .iter()
        .filter(|node| node.alive && node.suspect)
        .count();
    let mut text = format!("{present} of {} boards present", nodes.len());
    if suspect > 0 {
        text.push_str(&format!(", {suspect} suspected"));
    }
    if !poll.cluster.settled {
        text.push_str(", joining or leaving goes on");
    }
    let tone = match present == nodes.len() && suspect == 0 {
        true => Tone::Good,
        false => Tone::Warn,
    };
    let mut lines = vec![Said::new(tone, text)];
    let stats = &poll.stats;
    lines.push(match (stats.safe_to_unplug, stats.unplug_reason.as_str()) {
        (true, _) => Said::new(Tone::Good, "safe to unplug: yes"),
        (false, "") => Said::new(Tone::Bad, "safe to unplug: NO"),
        (false, reason) => Said::new(Tone::Bad, format!("safe to unplug: NO, {}", shown(reason))),
    });
    for problem in &stats.problems {
        lines.push(Said::new(Tone::Bad, format!("wrong: {}", shown(problem))));
    }
    if stats.problems.is_empty() {
        lines.push(Said::new(Tone::Good, "wrong: nothing"));
    }
    lines.extend(
        poll.cluster
            .caveat()
            .map(|text| Said::new(Tone::Warn, text)),
    );
    lines
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn spoken_us(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

fn spoken_bytes(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1_024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}
