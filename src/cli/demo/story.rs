//! What happens in the demo, in order, and what must be seen at each point.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::board::{Board, Site};
use super::tale::Tale;
use crate::cli::failure::{Failure, Kind};
use crate::cli::shape::{ClusterState, NodeStats};

/// Keys put at first.
const KEYS: usize = 12;
/// Keys put while a board is away.
const KEYS_MEANWHILE: usize = 6;
/// How often boards are asked what they see.
const POLL: Duration = Duration::from_millis(20);
/// The ring forms within this.
const FORM_TIME_MAX: Duration = Duration::from_secs(30);
/// A dead board is noticed within this.
const NOTICE_TIME_MAX: Duration = Duration::from_secs(20);
/// Everything has its copies again within this.
const REPAIR_TIME_MAX: Duration = Duration::from_secs(60);

/// Tells the whole story; with `once` it ends, else it waits to be interrupted.
///
/// # Errors
/// [`Failure`] when a board does not start or something promised does not happen.
pub async fn tell(
    site: &mut Site,
    boards: usize,
    tale: &mut Tale<'_>,
    once: bool,
) -> Result<(), Failure> {
    form(site, boards, tale).await?;
    tale.chapter("What is put at one board can be got at every other")?;
    put(site, 0, "key", KEYS, tale).await?;
    get(site, boards - 1, &[("key", KEYS)], tale).await?;
    lose(site, boards, tale).await?;
    come_back(site, boards, tale).await?;
    tale.chapter("All went as promised")?;
    for board in site.running() {
        let words = format!("{}: {}", board.name, board.url);
        let facts = json!({"name": board.name, "id": board.id, "url": board.url});
        tale.say("url", &words, facts)?;
    }
    let node = site.board(0).client.address();
    if once {
        return tale.say("done", "the end", json!({}));
    }
    let words = format!(
        "try it yourself: `roundel ring --node {node}`, or put, get, status, nodes; Ctrl-C ends"
    );
    tale.say("waiting", &words, json!({"node": node.to_string()}))?;
    std::future::pending().await
}

async fn form(site: &mut Site, boards: usize, tale: &mut Tale<'_>) -> Result<(), Failure> {
    tale.chapter("Boards find each other and form a ring")?;
    let words = format!(
        "starting {boards} boards of the cluster {} on the loopback interface",
        site.cluster()
    );
    let facts = json!({"boards": boards, "cluster": site.cluster()});
    tale.say("start", &words, facts)?;
    let started = Instant::now();
    for index in 0..boards {
        site.start(index)?;
    }
    for _ in 0..boards {
        serving(site.ready().await?, tale)?;
    }
    for index in 0..boards {
        let left = FORM_TIME_MAX.saturating_sub(started.elapsed());
        sees(site, index, boards, left).await?;
        let board = site.board(index);
        let words = format!("{} sees all {boards} boards in one ring", board.name);
        let facts = json!({"name": board.name, "sees": boards});
        tale.say("sees", &words, facts)?;
    }
    let ms = millis(started.elapsed());
    let words = format!("the ring has formed: {ms} ms after the boards were started");
    tale.say("formed", &words, json!({"ms": ms}))
}

fn serving(board: &Board, tale: &mut Tale<'_>) -> Result<(), Failure> {
    let words = format!("{} serves at {}", board.name, board.url);
    let facts = json!({"name": board.name, "id": board.id, "url": board.url});
    tale.say("serves", &words, facts)
}

/// Puts `count` keys at a board; each must be acknowledged.
async fn put(
    site: &mut Site,
    index: usize,
    prefix: &str,
    count: usize,
    tale: &mut Tale<'_>,
) -> Result<(), Failure> {
    let board = site.board(index);
    let mut times: Vec<Duration> = Vec::with_capacity(count);
    for number in 0..count {
        let params = json!({"key": format!("{prefix}-{number}"), "value": value(prefix, number)});
        let started = Instant::now();
        board.client.call("put", &params).await?;
        times.push(started.elapsed());
    }
    times.sort();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    let words = format!(
        "put {count} keys at {}: each is on the storage of most of its boards \
         (median {:.1} ms, longest {:.1} ms)",
        board.name,
        median.as_secs_f64() * 1e3,
        worst.as_secs_f64() * 1e3,
    );
    let facts = json!({"name": board.name, "count": count,
        "median_us": median.as_micros() as u64, "longest_us": worst.as_micros() as u64});
    tale.say("put", &words, facts)
}

/// Gets every key at a board; each must have the value it was given.
async fn get(
    site: &mut Site,
    index: usize,
    sets: &[(&str, usize)],
    tale: &mut Tale<'_>,
) -> Result<(), Failure> {
    let board = site.board(index);
    let mut count = 0;
    for (prefix, keys) in sets {
        for number in 0..*keys {
            let key = format!("{prefix}-{number}");
            let got: Value = board.client.call_as("get", &json!({"key": key})).await?;
            if got["value"] != value(prefix, number) {
                return Err(unmet(format!(
                    "{} has {} under {key}, not what was put",
                    board.name, got["value"]
                )));
            }
            count += 1;
        }
    }
    let words = format!(
        "got all {count} keys at {}: every value is right",
        board.name
    );
    let facts = json!({"name": board.name, "count": count});
    tale.say("get", &words, facts)
}

/// Kills a board; the others must go on and notice.
async fn lose(site: &mut Site, boards: usize, tale: &mut Tale<'_>) -> Result<(), Failure> {
    tale.chapter("A board is lost, and nothing with it")?;
    let lost = site.boards[1].take().expect("the second board runs");
    let name = lost.name.clone();
    lost.kill().await?;
    let killed = Instant::now();
    let words = format!("killed {name} without warning (SIGKILL), as a power cut would");
    tale.say("kill", &words, json!({"name": name}))?;
    put(site, 0, "meanwhile", KEYS_MEANWHILE, tale).await?;
    get(
        site,
        boards - 1,
        &[("key", KEYS), ("meanwhile", KEYS_MEANWHILE)],
        tale,
    )
    .await?;
    for index in (0..boards).filter(|index| *index != 1) {
        let left = NOTICE_TIME_MAX.saturating_sub(killed.elapsed());
        sees(site, index, boards - 1, left).await?;
    }
    let ms = millis(killed.elapsed());
    let words = format!("every other board knows that {name} is gone, {ms} ms after its end");
    tale.say("noticed", &words, json!({"name": name, "ms": ms}))?;
    get(
        site,
        0,
        &[("key", KEYS), ("meanwhile", KEYS_MEANWHILE)],
        tale,
    )
    .await
}

/// Starts the board again; it must get back what it missed.
async fn come_back(site: &mut Site, boards: usize, tale: &mut Tale<'_>) -> Result<(), Failure> {
    tale.chapter("The board comes back")?;
    let started = Instant::now();
    site.start(1)?;
    serving(site.ready().await?, tale)?;
    for index in 0..boards {
        let left = FORM_TIME_MAX.saturating_sub(started.elapsed());
        sees(site, index, boards, left).await?;
    }
    let ms = millis(started.elapsed());
    let words = format!("all {boards} boards are in the ring again, {ms} ms after its start");
    tale.say("back", &words, json!({"ms": ms}))?;
    get(
        site,
        1,
        &[("key", KEYS), ("meanwhile", KEYS_MEANWHILE)],
        tale,
    )
    .await?;
    for index in 0..boards {
        let left = REPAIR_TIME_MAX.saturating_sub(started.elapsed());
        replicated(site.board(index), left).await?;
    }
    let ms = millis(started.elapsed());
    let words = format!("every key has all its copies again, {ms} ms after its start");
    tale.say("replicated", &words, json!({"ms": ms}))
}

/// Waits until a board sees `count` boards alive and nobody joining or leaving.
async fn sees(
    site: &mut Site,
    index: usize,
    count: usize,
    time_max: Duration,
) -> Result<(), Failure> {
    let board = site.board(index);
    let ends = Instant::now() + time_max;
    loop {
        let state: ClusterState = board
            .client
            .call_as("get_cluster_state", &json!({}))
            .await?;
        let alive = state.cluster.nodes.iter().filter(|node| node.alive).count();
        if alive == count && state.cluster.settled {
            return Ok(());
        }
        if Instant::now() >= ends {
            return Err(unmet(format!(
                "{} sees {alive} boards, not {count}{}",
                board.name,
                if state.cluster.settled {
                    ""
                } else {
                    ", and the ring has not settled"
                },
            )));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Waits until nothing on a board lacks a copy or waits to be handed over.
async fn replicated(board: &mut Board, time_max: Duration) -> Result<(), Failure> {
    let ends = Instant::now() + time_max;
    loop {
        let stats: NodeStats = board.client.call_as("get_node_stats", &json!({})).await?;
        if stats.under_replicated == 0 && stats.handover_pending == 0 {
            return Ok(());
        }
        if Instant::now() >= ends {
            return Err(unmet(format!(
                "{} still has {} keys that lack a copy and {} to hand over",
                board.name, stats.under_replicated, stats.handover_pending
            )));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The value a key is given: of every JSON type by turns.
fn value(prefix: &str, number: usize) -> Value {
    match number % 4 {
        0 => json!({"from": prefix, "number": number}),
        1 => json!(format!("the value of {prefix}-{number}")),
        2 => json!([number, null, true]),
        _ => json!(number),
    }
}

fn unmet(what: String) -> Failure {
    Failure::new(Kind::Failed, what, "")
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
