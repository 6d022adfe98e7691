//! Scenarios one can read: a line a step, played in a world without other faults.
//!
//! ```text
//! nodes 5                       how many boards; first
//! mode partial                  the ring's mode; full without
//! set loss 30%                  or hint-loss, duplication, reordering
//! spread 50ms                   boards start within this
//! start all | start 0 2         run 10s
//! put 0 key1 [OUTCOME]          remove and get likewise; OUTCOME: ok (default), nothing,
//!                               degraded, refused
//! kill 1, cut-power 1, pause 1 5s, partition 0 1 | 2 3 4, cut 0 1, heal, break 0 1,
//! clock 1 1970|2038|true, full 1, free 1, slow 1 500ms, lie 1, honest 1, rot 1,
//! lose-card 1, clone-card 1, leave 1, join 1 0, move 1, forget-lost
//! expect ring within 30s        one ring of exactly the boards that run
//! expect ideal ring within 60s  mode `partial`: everybody knows its neighbours
//! watch ring                    mode `partial`: Zave's invariants hold from here on
//! expect equal within 60s       and every copy equal
//! expect down 1                 it does not run (it yielded to a clone)
//! ```

use std::time::Duration;

use roundel::base::call::{Call, CallError, Consistency, Reply};
use roundel::base::member::RingMode;

use crate::campaign;
use crate::checker;
use crate::fault::{Fault, Faults, TO_1970_MS, TO_2038_MS};
use crate::model::{Fate, Kind};
use crate::mutant::Mutant;
use crate::world::World;
use crate::zave;

/// Keys a script may use.
const KEYS: usize = 32;
/// A call is answered within this, or the board is not there.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(8);

/// Plays a script under one seed.
///
/// # Panics
/// With the line at fault, when the world does not come out as the script says.
pub fn play(text: &str, seed: u64, verbose: bool) -> World {
    let mut faults = Faults::none(0);
    faults.keys = KEYS;
    let mut world: Option<World> = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some((verb, rest)) = words.split_first() else {
            continue;
        };
        let played = match (*verb, &mut world) {
            ("nodes", None) => number_of(rest, 0).map(|count| faults.nodes = count),
            ("mode", None) => {
                let mode = rest.first().and_then(|word| RingMode::from_word(word));
                mode.map(|mode| faults.ring_mode = mode)
                    .ok_or_else(|| "full or partial?".into())
            }
            ("set", None) => set(&mut faults, rest),
            ("spread", None) => time_of(rest, 0).map(|time| faults.start_spread = time),
            (_, None) => {
                let mut fresh = World::new(seed, faults.clone(), Mutant::None);
                fresh.verbose = verbose;
                step(world.insert(fresh), verb, rest)
            }
            (_, Some(world)) => step(world, verb, rest),
        };
        if let Err(why) = played {
            panic!("line {}: {}: {why}", number + 1, line.trim());
        }
    }
    world.expect("a script has steps")
}

fn step(world: &mut World, verb: &str, rest: &[&str]) -> Result<(), String> {
    match verb {
        "start" if rest == ["all"] => {
            world.start_all();
            world.run_for(world.faults.start_spread);
        }
        "start" => {
            for at in 0..rest.len() {
                let node = number_of(rest, at)?;
                world.apply(Fault::Start(node));
            }
        }
        "watch" if rest == ["ring"] => world.watches_ring = true,
        "run" => world.run_for(time_of(rest, 0)?),
        "put" => return operate(world, Kind::Put, rest),
        "remove" => return operate(world, Kind::Remove, rest),
        "get" => return operate(world, Kind::Get, rest),
        "expect" => return expect(world, rest),
        "forget-lost" => {
            for id in std::mem::take(&mut world.lost) {
                let node = world.up().first().copied().ok_or("nobody runs")?;
                world.ask(node, Call::Forget { id }, ANSWER_TIME_MAX);
            }
        }
        _ => {
            let fault = fault(verb, rest)?;
            world.apply(fault);
        }
    }
    Ok(())
}

fn fault(verb: &str, rest: &[&str]) -> Result<Fault, String> {
    let node = |at| number_of(rest, at);
    Ok(match verb {
        "kill" => Fault::Kill(node(0)?),
        "cut-power" => Fault::PowerCut(node(0)?),
        "pause" => Fault::Pause(node(0)?, time_of(rest, 1)?),
        "partition" => {
            let groups = rest.split(|word| *word == "|");
            let numbers = groups.map(|group| (0..group.len()).map(|at| number_of(group, at)));
            let groups: Result<Vec<Vec<usize>>, String> = numbers.map(Iterator::collect).collect();
            Fault::Partition(groups?)
        }
        "cut" => Fault::Cut(node(0)?, node(1)?),
        "heal" => Fault::Heal,
        "break" => Fault::Break(node(0)?, node(1)?),
        "clock" => match rest.get(1) {
            Some(&"1970") => Fault::Clock(node(0)?, TO_1970_MS),
            Some(&"2038") => Fault::Clock(node(0)?, TO_2038_MS),
            _ => Fault::Clock(node(0)?, 0),
        },
        "full" => Fault::Full(node(0)?, true),
        "free" => Fault::Full(node(0)?, false),
        "slow" => Fault::Slow(node(0)?, time_of(rest, 1)?),
        "lie" => Fault::Lie(node(0)?, true),
        "honest" => Fault::Lie(node(0)?, false),
        "rot" => Fault::Rot(node(0)?),
        "lose-card" => Fault::LoseCard(node(0)?),
        "clone-card" => Fault::CloneCard(node(0)?),
        "leave" => Fault::Leave(node(0)?),
        "join" => Fault::Join(node(0)?, node(1)?),
        "move" => Fault::Move(node(0)?),
        _ => return Err("no such step".into()),
    })
}

fn operate(world: &mut World, kind: Kind, rest: &[&str]) -> Result<(), String> {
    let node = number_of(rest, 0)?;
    let key = rest
        .get(1)
        .and_then(|word| word.strip_prefix("key")?.parse().ok());
    let key: usize = key.filter(|key| *key < KEYS).ok_or("which key?")?;
    let id = world.model.operations.len();
    if !world.nodes[node].is_up() {
        return Err("that board does not run".into());
    }
    world.operate(node, key, kind, Consistency::Quorum);
    let until = world.now + ANSWER_TIME_MAX;
    while world.model.operations[id].fate == Fate::Pending && world.now < until {
        world.run_for(Duration::from_millis(1));
    }
    let operation = &world.model.operations[id];
    let came = match (&operation.fate, operation.strict) {
        (Fate::Done(_), true) => "ok",
        (Fate::Done(_), false) => "degraded",
        (Fate::Nothing, _) => "nothing",
        (Fate::NotWritten | Fate::Unknown, _) => "refused",
        (Fate::Pending, _) => "unanswered",
    };
    let wanted = rest.get(2).copied().unwrap_or("ok");
    match came == wanted || (wanted == "ok" && came == "degraded") {
        true => Ok(()),
        false => Err(format!("it was {came}: {operation:?}")),
    }
}

fn expect(world: &mut World, rest: &[&str]) -> Result<(), String> {
    match rest {
        ["ring", "within", _] => {
            let from = world.now;
            campaign::wait(world, from + time_of(rest, 2)?, checker::check_one_ring);
            world.tell(|| format!("one ring after {:?}", world.now.since(from)));
        }
        ["ideal", "ring", "within", _] => {
            let from = world.now;
            campaign::wait(world, from + time_of(rest, 3)?, zave::check_ideal);
            world.tell(|| format!("an ideal ring after {:?}", world.now.since(from)));
        }
        ["equal", "within", _] => {
            let until = world.now + time_of(rest, 2)?;
            campaign::wait(world, until, checker::check_placed);
            for key in 0..world.model.keys() {
                let answer = read_all(world, key)?;
                world.model.check_at_rest(key, &answer)?;
            }
            checker::check_equal(world)?;
        }
        ["down", _] if world.nodes[number_of(rest, 1)?].is_up() => return Err("it runs".into()),
        ["down", _] => {}
        _ => return Err("expect what?".into()),
    }
    Ok(())
}

/// What all copies of a key say.
pub fn read_all(world: &mut World, key: usize) -> Result<Result<Reply, CallError>, String> {
    let up = world.up();
    let node = world.dice.pick(&up).ok_or("nobody runs")?;
    let call = Call::Get {
        key: crate::model::Model::key(key),
        consistency: Consistency::All,
    };
    let answer = world.ask(node, call, ANSWER_TIME_MAX);
    answer.ok_or_else(|| "a get at rest is not answered".into())
}

fn set(faults: &mut Faults, rest: &[&str]) -> Result<(), String> {
    let percent = rest
        .get(1)
        .and_then(|word| word.strip_suffix('%')?.parse::<f64>().ok());
    let chance = (percent.ok_or("how many per cent?")? * 10_000.0) as u32;
    match rest.first() {
        Some(&"loss") => faults.loss = chance,
        Some(&"hint-loss") => faults.hint_loss = chance,
        Some(&"duplication") => faults.duplication = chance,
        Some(&"reordering") => faults.reordering = chance,
        _ => return Err("set what?".into()),
    }
    Ok(())
}

fn number_of(words: &[&str], at: usize) -> Result<usize, String> {
    let number = words.get(at).and_then(|word| word.parse().ok());
    number.ok_or_else(|| format!("word {} is a number", at + 1))
}

fn time_of(words: &[&str], at: usize) -> Result<Duration, String> {
    let word = words.get(at).copied().unwrap_or_default();
    let (digits, unit_ms) = match (word.strip_suffix("ms"), word.strip_suffix('s')) {
        (Some(digits), _) => (digits, 1),
        (None, Some(digits)) => (digits, 1_000),
        _ => return Err(format!("word {} is a time in ms or s", at + 1)),
    };
    let count: u64 = digits.parse().map_err(|_| "a whole number".to_owned())?;
    Ok(Duration::from_millis(count * unit_ms))
}
