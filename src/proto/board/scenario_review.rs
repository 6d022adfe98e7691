//! Scenarios that look for what a ring must not do: acknowledged writes that are lost or denied,
//! operations that never end, work that never stops; and a seeded campaign of random faults.
//!
//! The identities are fixed, so that every run lays keys out alike.

use std::collections::BTreeMap;
use std::time::Duration;

use super::world::World;
use crate::base::call::{
    Call, CallError, CallId, Consistency, Event, LeaveMode, Reply, Target, WriteOutcome,
};
use crate::base::item::{Key, Record, Value};
use crate::base::rng::{Rng, RngExt, seeded};
use crate::base::version::Version;

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// Identities of tests, worth nothing anywhere else.
const KEYS: [&str; 5] = [
    "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420542b75f8\
     1f52bad936d6ee718f3f35159804f7d60c71c281736f53179d83e256a14403420004e44060bbfa86\
     4114c884c4e17fc63f97e83eb1aad994e0e032f1c21cb985bd1abceca7745d4eb392563da560d2da\
     f761f98bcea1896b054792fa6f2363c13030",
    "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b020101042080b2ff53\
     0afb43bb2c88cf7c915652aabc7f946d68e10e865fdb55f2e3a8e920a144034200042a13331b925a\
     1b58f429b56bcf1bd0f3db56081f2f0e0b0cdcf7506ff809adff208467ffa2fb7e25950544a90cc1\
     6ea61711353cd3d791ae51a00baba7edccb4",
    "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420c2a060fc\
     eb8f84c38b955d2f1d884dcf5dc64e2c99d58501f92343827b653f94a14403420004299540d99196\
     66d57357d720c7c278f9a19cf667583ce254375ad216dd7966936b3eadb4269cab21a0723029ff18\
     d57a4837c50d9712ac721cffc87dc1f6221f",
    "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420d22974b8\
     098034e3f3ac436fe34f89669cbe68fbfc684ce19528710c06b58c41a14403420004c612b79d90be\
     e21b03ca78b624f9cf6d6e8d8e9e2dd0aa2d573b6911025f2c2b1856851a181875bfdabacc002b4c\
     b39be24b68d99e3a93983460ae63fa76b078",
    "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b020101042042f58362\
     bd5a58bf59b4721560cd31de13a2ba1f5cadb1de57229ba5ae6a4912a144034200041ff37707c709\
     79532bcf9416254ffa30f0e6afdc07ec00e2f2ed31845c22a7a1953d92627100dd53e95f8ff1dd75\
     854f836d6707f03a7c96fef7ce43f01173cf",
];

fn all(count: usize) -> Vec<usize> {
    (0..count).collect()
}

fn world(count: usize) -> World {
    let bytes = |text: &str| -> Vec<u8> {
        let digits = text.as_bytes().chunks(2);
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
        digits.map(|digits| pair(digits).unwrap()).collect()
    };
    let keys: Vec<Vec<u8>> = KEYS[..count].iter().map(|key| bytes(key)).collect();
    let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
    World::with_keys(&keys)
}

fn formed(count: usize) -> World {
    let mut world = world(count);
    world.start_all();
    world.converge(&all(count), SECOND * 4);
    world.run_for(SECOND);
    world
}

fn fill(world: &mut World, at: usize, prefix: &str, count: usize) {
    for i in 0..count {
        let (key, value) = (format!("{prefix}{i}"), format!("v{i}"));
        world.put(at, &key, &value).unwrap();
    }
}

/// The boards that hold the copies of a key, owner first, and those that do not.
fn copies(world: &mut World, key: &str) -> (Vec<usize>, Vec<usize>) {
    let target = Some(Target::Key(Key::new(key).unwrap()));
    let Ok(Reply::Lookup { copies, .. }) = world.ask(0, Call::FindSuccessor(target)) else {
        panic!("a lookup is answered")
    };
    let index = |id| world.nodes.iter().position(|node| node.id == id).unwrap();
    let holders: Vec<usize> = copies.into_iter().map(|copy| index(copy.id)).collect();
    let others = (0..world.nodes.len()).filter(|i| !holders.contains(i));
    let others = others.collect();
    (holders, others)
}

fn put_call(key: &str, value: &str) -> Call {
    Call::Put {
        key: Key::new(key).unwrap(),
        value: Value::Json(format!("{value:?}").into()),
        consistency: Consistency::Quorum,
    }
}

fn wait(world: &mut World, call: CallId) -> Option<Result<Reply, CallError>> {
    for _ in 0..8_000 {
        if let Some(reply) = world.reply(call) {
            return Some(reply);
        }
        world.run_for(MILLISECOND);
    }
    None
}

fn is_denied_or(result: &Result<String, CallError>, value: &str) -> bool {
    match result {
        Ok(found) => *found == format!("{value:?}"),
        Err(error) => matches!(error, CallError::Unavailable { .. }),
    }
}

#[test]
fn copies_that_return_do_not_deny_what_was_acknowledged_while_they_were_away() {
    let mut wrong = Vec::new();
    for i in 0..10 {
        let key = format!("k{i}");
        let mut world = formed(5);
        let (holders, others) = copies(&mut world, &key);
        world.put(others[0], &key, "old").unwrap();
        world.kill(holders[1]);
        world.kill(holders[2]);
        world.run_for(SECOND * 5);
        world.put(others[0], &key, "new").unwrap();
        world.start(holders[1]);
        world.start(holders[2]);
        for _ in 0..40 {
            for at in [holders[1], holders[2], others[0]] {
                let got = world.get(at, &key);
                if !is_denied_or(&got, "new") {
                    wrong.push((key.clone(), at, got));
                }
            }
            world.run_for(MILLISECOND);
        }
    }
    assert!(
        wrong.is_empty(),
        "{} stale reads, first {:?}",
        wrong.len(),
        wrong[0]
    );
}

#[test]
fn slow_media_do_not_hide_what_was_acknowledged() {
    let mut wrong = Vec::new();
    for i in 0..10 {
        let key = format!("k{i}");
        let mut world = formed(5);
        let (holders, others) = copies(&mut world, &key);
        for slow in [holders[0], holders[1]] {
            world.nodes[slow].store_delay = MILLISECOND * 800;
        }
        world.put(others[0], &key, "new").unwrap();
        for at in [holders[0], holders[1], others[0]] {
            let got = world.get(at, &key);
            if !is_denied_or(&got, "new") {
                wrong.push((key.clone(), at, got));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong reads, first {:?}",
        wrong.len(),
        wrong[0]
    );
}

#[test]
fn late_refusal_of_an_acknowledged_put_does_not_write_it_again() {
    // A leaving board and one copy cannot hear each other, so that copy's roster lags.
    let mut tried = 0;
    for i in 0..40 {
        let key = format!("k{i}");
        let mut world = formed(5);
        let (holders, others) = copies(&mut world, &key);
        let (lagging, writer, leaver) = (holders[2], others[0], others[1]);
        world.partition(&[&[leaver], &[lagging]]);
        for other in all(5) {
            world.lag.insert((lagging, other), MILLISECOND * 30);
        }
        world.call(leaver, Call::Leave(LeaveMode::Orderly));
        world.run_for(MILLISECOND * 8);
        let first = world.call(writer, put_call(&key, "first"));
        world.run_for(MILLISECOND * 6);
        let Some(Ok(Reply::Written { .. })) = world.reply(first) else {
            continue;
        };
        tried += 1;
        // The refusal is in by now, and the two have exchanged rosters.
        world.run_for(MILLISECOND * 28);
        world.put(writer, &key, "second").unwrap();
        world.run_for(SECOND * 2);
        assert_eq!(world.get(writer, &key).unwrap(), "\"second\"", "{key}");
    }
    assert!(tried > 0, "the case came up");
}

#[test]
fn forgotten_boards_copies_are_restored_and_nothing_is_denied() {
    let mut world = formed(4);
    fill(&mut world, 0, "k", 60);
    world.kill(1);
    world.run_for(SECOND * 5);
    let id = world.nodes[1].id;
    world.ask(0, Call::Forget { id }).unwrap();
    for i in 0..60 {
        let got = world.get([0, 2, 3][i % 3], &format!("k{i}"));
        assert!(is_denied_or(&got, &format!("v{i}")), "k{i}: {got:?}");
    }
    world.run_for(SECOND * 60);
    for other in [0, 2, 3] {
        assert_eq!(world.nodes[other].medium.items.len(), 60, "board {other}");
    }
}

#[test]
fn forgetting_a_board_with_one_of_two_confirmed_copies_denies_nothing() {
    let mut wrong = Vec::new();
    for i in 0..20 {
        let key = format!("k{i}");
        let mut world = formed(4);
        let (holders, others) = copies(&mut world, &key);
        // One copy misses the write and its coordinator stops: the write lies on two boards.
        world.put(others[0], &key, "v").unwrap();
        let key_ = Key::new(&key).unwrap();
        world.nodes[holders[2]].medium.items.remove(&key_);
        world.kill(holders[1]);
        world.run_for(SECOND * 5);
        let id = world.nodes[holders[1]].id;
        world.ask(others[0], Call::Forget { id }).unwrap();
        for at in [others[0], holders[2]] {
            let got = world.get(at, &key);
            if !is_denied_or(&got, "v") {
                wrong.push((key.clone(), at, got));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong reads, first {:?}",
        wrong.len(),
        wrong[0]
    );
}

#[test]
fn board_that_leaves_at_once_does_not_bring_down_the_others() {
    let mut world = formed(4);
    world.ask(3, Call::Leave(LeaveMode::Immediate)).unwrap();
    world.run_for(SECOND * 20);
    let gone = world.nodes[3].id;
    let false_deaths: Vec<_> = world
        .events
        .iter()
        .filter(|(at, e)| *at != 3 && matches!(e, Event::NodeDown(id) if *id != gone))
        .collect();
    assert!(false_deaths.is_empty(), "{false_deaths:?}");
}

#[test]
fn board_whose_clock_is_far_ahead_writes_and_stops_nobody_else() {
    let mut world = formed(4);
    world.nodes[3].wall_ahead_ms = 365 * 86_400_000;
    for i in 0..10 {
        let written = world.put(3, &format!("k{i}"), "ahead");
        assert!(written.is_ok(), "k{i} at the board ahead: {written:?}");
    }
    for i in 0..10 {
        let _ = world.get(0, &format!("k{i}"));
        let written = world.put(1, &format!("k{i}"), "right");
        assert!(written.is_ok(), "k{i}: {written:?}");
        let written = world.put(0, &format!("other{i}"), "right");
        assert!(written.is_ok(), "other{i}: {written:?}");
    }
}

#[test]
fn ring_with_one_full_medium_rests() {
    let mut world = formed(3);
    fill(&mut world, 0, "k", 50);
    world.nodes[2].full = true;
    world.put(0, "one more", "v").unwrap();
    world.run_for(SECOND * 10);
    let before: usize = world.nodes.iter().map(|node| node.loads).sum();
    world.run_for(SECOND * 60);
    let after: usize = world.nodes.iter().map(|node| node.loads).sum();
    assert!(
        after - before < 600,
        "{} loads in an idle minute",
        after - before
    );
}

#[test]
fn ring_with_one_absent_board_rests() {
    let mut world = formed(5);
    fill(&mut world, 0, "k", 50);
    world.kill(4);
    world.run_for(SECOND * 5);
    for i in 0..20 {
        world.put(0, &format!("k{i}"), "hinted").unwrap();
    }
    world.run_for(SECOND * 10);
    let before: usize = world.nodes.iter().map(|node| node.loads).sum();
    world.run_for(SECOND * 60);
    let after: usize = world.nodes.iter().map(|node| node.loads).sum();
    assert!(
        after - before < 50,
        "{} loads in an idle minute",
        after - before
    );
}

#[test]
fn partition_that_stalled_the_streams_heals_within_thirty_seconds() {
    let mut world = formed(5);
    world.streams_stall = true;
    world.partition(&[&[0, 1, 2], &[3, 4]]);
    world.run_for(SECOND * 60);
    for i in 0..20 {
        let _ = world.put(0, &format!("left{i}"), "l");
        let _ = world.put(3, &format!("right{i}"), "r");
    }
    world.heal();
    world.run_for(SECOND * 30);
    assert!(world.agree(&all(5)), "one ring");
    for i in 0..20 {
        let call = Call::Put {
            key: Key::new(&format!("all{i}")).unwrap(),
            value: Value::Json("1".into()),
            consistency: Consistency::All,
        };
        let written = world.ask(0, call);
        assert!(written.is_ok(), "all{i}: {written:?}");
    }
}

#[test]
fn removal_found_half_done_is_finished_before_it_is_confirmed() {
    for i in 0..10 {
        let mut world = formed(5);
        let key = format!("k{i}");
        let (holders, _) = copies(&mut world, &key);
        world.put(0, &key, "v").unwrap();
        world.run_for(SECOND);
        // What a remover that died after its first copy leaves behind.
        let name = Key::new(&key).unwrap();
        let held = world.nodes[holders[0]].medium.items[&name].clone();
        let stamp = held.version.stamp.next();
        let tombstone = Record {
            version: Version {
                stamp,
                ..held.version
            },
            value: None,
        };
        world.nodes[holders[0]]
            .medium
            .items
            .insert(name.clone(), tombstone);
        let removed = world.remove(holders[0], &key);
        assert!(removed.is_ok(), "{removed:?}");
        world.kill(holders[0]);
        world.run_for(SECOND * 5);
        for at in [holders[1], holders[2]] {
            let after = world.get(at, &key);
            assert!(
                matches!(
                    after,
                    Err(CallError::NotFound | CallError::Unavailable { .. })
                ),
                "{key}: removed, then {after:?} at {at}"
            );
        }
    }
}

#[test]
fn join_by_way_of_a_board_that_belongs_to_nothing_is_answered() {
    let mut world = formed(3);
    world.ask(1, Call::Leave(LeaveMode::Immediate)).unwrap();
    world.ask(2, Call::Leave(LeaveMode::Immediate)).unwrap();
    world.run_for(SECOND * 5);
    let before = world.opened;
    let sponsor = "10.0.0.3:38400".parse().unwrap();
    let call = world.call(1, Call::Join { sponsor });
    let reply = wait(&mut world, call);
    assert!(
        reply.is_some(),
        "never answered; {} streams opened",
        world.opened - before
    );
    assert!(
        world.opened - before < 100,
        "{} streams opened",
        world.opened - before
    );
}

#[test]
fn member_told_to_join_a_board_in_no_ring_is_answered() {
    let mut world = formed(3);
    world.ask(2, Call::Leave(LeaveMode::Immediate)).unwrap();
    world.run_for(SECOND * 5);
    let sponsor = "10.0.0.3:38400".parse().unwrap();
    let call = world.call(0, Call::Join { sponsor });
    assert!(wait(&mut world, call).is_some(), "never answered");
}

#[test]
fn board_that_left_joins_again_without_a_new_start() {
    let mut world = formed(3);
    fill(&mut world, 0, "k", 20);
    world
        .ask_within(2, Call::Leave(LeaveMode::Orderly), SECOND * 10)
        .unwrap();
    world.run_for(SECOND * 5);
    let sponsor = "10.0.0.1:38400".parse().unwrap();
    let call = world.call(2, Call::Join { sponsor });
    let joined = wait(&mut world, call);
    assert!(
        matches!(joined, Some(Ok(Reply::Joined { .. }))),
        "{joined:?}"
    );
    world.converge(&all(3), SECOND * 20);
}

#[test]
fn board_that_left_at_once_joins_again_without_a_new_start() {
    let mut world = formed(3);
    fill(&mut world, 0, "k", 20);
    world.ask(2, Call::Leave(LeaveMode::Immediate)).unwrap();
    world.run_for(SECOND * 5);
    let sponsor = "10.0.0.1:38400".parse().unwrap();
    let call = world.call(2, Call::Join { sponsor });
    let joined = wait(&mut world, call);
    assert!(
        matches!(joined, Some(Ok(Reply::Joined { .. }))),
        "{joined:?}"
    );
    world.converge(&all(3), SECOND * 20);
}

#[test]
fn founder_whose_first_store_fails_founds_later() {
    let mut world = world(1);
    world.nodes[0].full = true;
    world.start(0);
    world.run_for(SECOND * 3);
    world.nodes[0].full = false;
    world.converge(&[0], SECOND * 20);
}

#[test]
fn stop_during_an_orderly_leave_waits_for_it() {
    let mut world = formed(4);
    fill(&mut world, 0, "k", 100);
    world.call(1, Call::Leave(LeaveMode::Orderly));
    world.run_for(MILLISECOND * 5);
    world.stop(1, SECOND * 20);
    while !world.events.contains(&(1, Event::Departed)) {
        world.run_for(MILLISECOND);
    }
    world.kill(1);
    world.converge(&[0, 2, 3], SECOND * 10);
}

#[test]
fn copies_left_unequal_by_a_coordinator_that_died_become_equal() {
    let mut world = formed(5);
    fill(&mut world, 0, "k", 10);
    world.run_for(SECOND);
    let (holders, others) = copies(&mut world, "k3");
    let name = Key::new("k3").unwrap();
    // The coordinator reached one copy only, and died.
    let mut record = world.nodes[holders[0]].medium.items[&name].clone();
    record.version.stamp = record.version.stamp.next();
    world.nodes[holders[0]]
        .medium
        .items
        .insert(name.clone(), record.clone());
    world.kill(others[0]);
    world.run_for(SECOND * 10);
    world.start(others[0]);
    world.converge(&all(5), SECOND * 20);
    world.run_for(SECOND * 60);
    for at in holders {
        assert_eq!(
            world.nodes[at].medium.items.get(&name),
            Some(&record),
            "board {at}"
        );
    }
}

/// What may be under a key: the last acknowledged write, and writes since that may have happened.
#[derive(Clone, Debug, Default)]
struct Model {
    acknowledged: Option<String>,
    possible: Vec<Option<String>>,
}

impl Model {
    fn allows(&self, found: &Option<String>) -> bool {
        *found == self.acknowledged || self.possible.contains(found)
    }
}

struct Campaign {
    world: World,
    rng: Rng,
    models: BTreeMap<String, Model>,
    trace: Vec<String>,
    writes: usize,
}

impl Campaign {
    fn note(&mut self, text: String) {
        let at = self.world.now.0 / 1_000;
        self.trace.push(format!("{at} ms: {text}"));
    }

    fn running(&self) -> Vec<usize> {
        (0..5).filter(|i| self.world.is_running(*i)).collect()
    }

    fn fault(&mut self) {
        let board = self.rng.random_range(0..5usize);
        match self.rng.random_range(0..10u32) {
            0..=2 if self.world.is_running(board) && self.running().len() > 3 => {
                self.world.kill(board);
                self.note(format!("kill {board}"));
            }
            3..=5 if !self.world.is_running(board) => {
                self.world.start(board);
                self.note(format!("start {board}"));
            }
            6 => {
                let mask = self.rng.random_range(1..31u32);
                let side = |wanted| move |i: &usize| (mask >> i & 1 == 1) == wanted;
                let left: Vec<usize> = (0..5).filter(side(true)).collect();
                let right: Vec<usize> = (0..5).filter(side(false)).collect();
                self.world.heal();
                self.world.partition(&[&left, &right]);
                self.note(format!("partition {left:?} {right:?}"));
            }
            7 | 8 => {
                self.world.heal();
                self.note("heal".into());
            }
            _ => {}
        }
    }

    fn operation(&mut self) -> Result<(), String> {
        let running = self.running();
        let at = running[self.rng.random_range(0..running.len())];
        let key = format!("k{}", self.rng.random_range(0..6u32));
        let kind = self.rng.random_range(0..10u32);
        if kind >= 5 {
            return self.check(at, &key);
        }
        self.writes += 1;
        let value = (kind > 0).then(|| format!("w{}", self.writes));
        let result = match &value {
            Some(value) => self.world.put(at, &key, value).map(|_| true),
            None => self.world.remove(at, &key),
        };
        self.note(format!("write {key} = {value:?} at {at}: {result:?}"));
        let model = self.models.entry(key).or_default();
        match result {
            Ok(_) => {
                *model = Model {
                    acknowledged: value,
                    possible: Vec::new(),
                }
            }
            Err(CallError::Unavailable {
                outcome: Some(WriteOutcome::Unknown),
                ..
            }) => model.possible.push(value),
            Err(CallError::Unavailable { .. }) => {}
            Err(error) => return Err(format!("a write fails with {error:?}")),
        }
        Ok(())
    }

    fn check(&mut self, at: usize, key: &str) -> Result<(), String> {
        let call = Call::Get {
            key: Key::new(key).unwrap(),
            consistency: Consistency::Quorum,
        };
        let found = match self.world.ask(at, call) {
            // A side of a partition may answer what was, and says that it is degraded.
            Ok(Reply::Value { coverage, .. }) if coverage.degraded => return Ok(()),
            Ok(Reply::Value { value, .. }) => Some(
                String::from_utf8_lossy(value.bytes())
                    .trim_matches('"')
                    .to_owned(),
            ),
            Ok(other) => return Err(format!("a get is answered by {other:?}")),
            Err(CallError::NotFound) => None,
            Err(CallError::Unavailable { .. }) => return Ok(()),
            Err(error) => return Err(format!("a get fails with {error:?}")),
        };
        let model = self.models.entry(key.to_owned()).or_default();
        if model.allows(&found) {
            return Ok(());
        }
        let expected = model.clone();
        self.note(format!("get {key} at {at}: {found:?}"));
        Err(format!("{key} at {at} is {found:?}, expected {expected:?}"))
    }

    fn end(&mut self) -> Result<(), String> {
        self.world.heal();
        self.note("heal for good".into());
        for board in 0..5 {
            if !self.world.is_running(board) {
                self.world.start(board);
            }
        }
        let start = self.world.now;
        while !self.world.agree(&all(5)) {
            if self.world.now.since(start) > SECOND * 60 {
                return Err("no settled ring 60 s after healing".into());
            }
            self.world.run_for(MILLISECOND * 100);
        }
        self.world
            .run_for(SECOND * 60 - self.world.now.since(start).min(SECOND * 60));
        for key in self.models.keys().cloned().collect::<Vec<_>>() {
            let name = Key::new(&key).unwrap();
            let (holders, others) = copies(&mut self.world, &key);
            let held = |at: &usize| self.world.nodes[*at].medium.items.get(&name).cloned();
            let versions: Vec<_> = holders
                .iter()
                .map(|at| held(at).map(|r| r.version))
                .collect();
            let stray = others.iter().any(|at| held(at).is_some());
            if versions.iter().any(|v| *v != versions[0]) {
                return Err(format!(
                    "copies of {key} on {holders:?} differ: {versions:?}"
                ));
            }
            if stray {
                return Err(format!("{key} is still on a board that is no copy"));
            }
            for at in 0..5 {
                self.check(at, &key)?;
            }
        }
        Ok(())
    }
}

fn campaign(seed: u64) -> Result<(), String> {
    let mut campaign = Campaign {
        world: formed(5),
        rng: seeded([91; 32], seed),
        models: BTreeMap::new(),
        trace: Vec::new(),
        writes: 0,
    };
    let until = campaign.world.now + SECOND * 60;
    let mut result = Ok(());
    while campaign.world.now < until && result.is_ok() {
        if campaign.rng.random_range(0..25u32) == 0 {
            campaign.fault();
        }
        result = campaign.operation();
        let pause = campaign.rng.random_range(0..120u64);
        campaign.world.run_for(MILLISECOND * pause as u32);
    }
    let result = result.and_then(|()| campaign.end());
    result.map_err(|error| {
        let tail = campaign.trace.len().saturating_sub(24);
        format!(
            "seed {seed}: {error}\n  {}\n",
            campaign.trace[tail..].join("\n  ")
        )
    })
}

#[test]
fn random_faults_lose_no_acknowledged_put() {
    let failures: Vec<String> = (0..30).filter_map(|seed| campaign(seed).err()).collect();
    assert!(
        failures.is_empty(),
        "{} of 30 seeds fail\n{}",
        failures.len(),
        failures.join("\n")
    );
}
