//! `/healthz` (does it live, is it ready) and `/metrics` (Prometheus text).
//!
//! Both answer within a second whatever the board is doing, so that a supervisor can tell a slow
//! store from a dead process.

use std::fmt::Write;

use serde::Serialize;

use crate::base::call::{NodeState, Overview};
use crate::base::limit;
use crate::telemetry;

use super::destination::race;
use super::exchange::Answer;
use super::{Board, Service};

#[derive(Serialize)]
struct Health<'a> {
    live: bool,
    ready: bool,
    state: &'a str,
    /// How many things were wrong at the start.
    problems: usize,
    store: &'a str,
    /// Boards of its ring that are there, this one counted.
    boards: usize,
}

impl<B: Board> Service<B> {
    /// 200 when the board is in the ring and its store answers, 503 until then.
    pub(super) async fn health(&self) -> Answer {
        let overview = self.overview_soon().await;
        let state = overview
            .as_ref()
            .map_or(NodeState::Activating, |overview| overview.state);
        let store = overview
            .as_ref()
            .map_or("starting", |overview| overview.health.store.as_str());
        let boards = overview.as_ref().map_or(0, |overview| {
            overview.members.iter().filter(|it| it.alive).count()
        });
        let ready =
            state == NodeState::Active && matches!(store, "open" | "read-only" | "diskless");
        let health = Health {
            live: true,
            ready,
            state: state.as_str(),
            problems: self.facts().problems.len(),
            store,
            boards: boards.max(1),
        };
        let text = serde_json::to_string(&health).expect("plain fields can be written as JSON");
        Answer::json(if ready { 200 } else { 503 }, text)
    }

    /// What was counted, and the board's own figures while it answers.
    pub(super) async fn metrics(&self) -> Answer {
        let mut page = telemetry::render();
        page += &telemetry::operation::read().render();
        if let Some(bytes) = (self.facts().written_bytes)() {
            figure(&mut page, "counter", "storage_written_bytes_total", bytes);
        }
        if let Some(bytes) = (self.facts().memory_bytes)() {
            figure(&mut page, "gauge", "resident_memory_bytes", bytes);
        }
        if let Some(overview) = self.overview_soon().await {
            figures(&mut page, &overview, self.facts().problems.len());
        }
        Answer::new(200, "text/plain; version=0.0.4; charset=utf-8", page)
    }

    /// The overview, unless the board takes too long.
    pub(super) async fn overview_soon(&self) -> Option<Box<Overview>> {
        let bound = self.sleep(limit::PROBE_TIME_MAX);
        race(self.overview(), bound).await?.ok()
    }
}

fn figures(page: &mut String, overview: &Overview, problems_of_start: usize) {
    let health = &overview.health;
    let alive = overview
        .members
        .iter()
        .filter(|member| member.alive)
        .count();
    let gauges = [
        ("uptime_seconds", overview.uptime.as_secs()),
        ("boot", overview.boot),
        ("members", overview.members.len() as u64),
        ("members_alive", alive as u64),
        ("settled", overview.settled.into()),
        ("items", health.items),
        ("tombstones", health.tombstones),
        ("handover_pending", health.handover_pending),
        ("under_replicated", health.under_replicated),
        ("diskless", (health.store == "diskless").into()),
        ("safe_to_unplug", health.safe_to_unplug.into()),
        (
            "problems",
            (problems_of_start + health.problems.len()) as u64,
        ),
    ];
    for (name, value) in gauges {
        figure(page, "gauge", name, value);
    }
    for (name, value) in &overview.counters {
        figure(
            page,
            "counter",
            &format!("{}_total", metric_name(name)),
            *value,
        );
    }
}

fn figure(page: &mut String, kind: &str, name: &str, value: u64) {
    write!(
        page,
        "# TYPE roundel_{name} {kind}\nroundel_{name} {value}\n"
    )
    .expect("a String takes all that is written");
}

/// Prometheus names have letters, digits and underscores.
fn metric_name(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}
