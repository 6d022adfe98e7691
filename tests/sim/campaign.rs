//! A run of one seed from start to rest, and runs of many seeds on two threads.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, Once};
use std::time::Duration;

use roundel::base::call::{Call, CallError};
use roundel::base::time::Time;

use crate::checker;
use crate::dice::Dice;
use crate::fault::{Fault, Faults};
use crate::key::{self, Deeds};
use crate::mutant::Mutant;
use crate::script;
use crate::world::{Happening, World};

/// When faults begin and end, and when a run ends, in virtual seconds.
const MISCHIEF_FROM: u64 = 10;
const MISCHIEF_UNTIL: u64 = 200;
const END: u64 = 300;
/// From the end of all faults to one ring, and to equal copies.
const ONE_RING_WITHIN: Duration = Duration::from_secs(30);
/// Boards that can come by one key themselves do within this, before the owner gives it to others.
const PAIRED_WITHIN: Duration = Duration::from_secs(15);
const EQUAL_WITHIN: Duration = Duration::from_secs(60);
/// An operation at rest is answered within this.
const ASK_TIME_MAX: Duration = Duration::from_secs(10);
/// What follows from the last reads takes at most this long.
const SETTLE_TIME: Duration = Duration::from_secs(3);
/// Worlds that run at once.
const THREADS: usize = 2;

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    pub trace: u64,
    pub steps: u64,
    pub operations: usize,
    pub deeds: Deeds,
    /// What was broken.
    pub broken: Option<String>,
}

/// What many runs came to.
#[derive(Debug, Default)]
pub struct Tally {
    pub runs: usize,
    pub steps: u64,
    pub operations: usize,
    pub deeds: Deeds,
    pub failures: Vec<(u64, String)>,
}

/// Runs one seed with everything that is drawn from it.
pub fn run(seed: u64, mutant: Mutant, verbose: bool) -> Outcome {
    run_as(seed, mutant, verbose, World::draw_keys)
}

/// Runs one seed with the key of every card's image, and nothing that befalls keys.
pub fn run_keyed(seed: u64, verbose: bool) -> Outcome {
    run_as(seed, Mutant::None, verbose, |_| ())
}

fn run_as(seed: u64, mutant: Mutant, verbose: bool, draw: impl Fn(&mut World)) -> Outcome {
    let faults = Faults::draw(&mut Dice::new(seed.rotate_left(32)));
    let mut world = World::new(seed, faults, mutant);
    world.verbose = verbose;
    draw(&mut world);
    let broken = catch(|| live(&mut world));
    let broken = broken.map(|what| format!("at {:.6} s: {what}", world.now.0 as f64 / 1e6));
    Outcome {
        trace: world.trace,
        steps: world.steps,
        operations: world.model.operations.len(),
        deeds: std::mem::take(&mut world.keying.deeds),
        broken,
    }
}

fn seconds(seconds: u64) -> Time {
    Time(seconds * 1_000_000)
}

fn live(world: &mut World) {
    world.tell(|| format!("{:?}", world.faults));
    world.start_all();
    world.run_until(seconds(MISCHIEF_FROM / 2));
    world.begin_clients();
    world.run_until(seconds(MISCHIEF_FROM));
    world.mischief = true;
    world.schedule(Duration::ZERO, Happening::Mischief);
    world.run_until(seconds(MISCHIEF_UNTIL));
    calm(world);
    rest(world);
    world.run_until(seconds(END));
    check(checker::check_placed(world));
    check(checker::check_equal(world));
    check(key::check_keys(world));
}

fn check(result: Result<(), String>) {
    if let Err(broken) = result {
        panic!("{broken}");
    }
}

/// Every fault ends and everybody is back.
fn calm(world: &mut World) {
    world.mischief = false;
    let quiet = Faults::none(world.faults.nodes);
    world.faults = Faults {
        keys: world.faults.keys,
        think: world.faults.think,
        ring_mode: world.faults.ring_mode,
        ..quiet
    };
    world.apply(Fault::Heal);
    for node in 0..world.nodes.len() {
        if world.nodes[node].thief {
            continue;
        }
        world.nodes[node].clock_off_ms = 0;
        if world.mutant != Mutant::SyncSkipped {
            world.apply(Fault::Lie(node, false));
        }
        world.apply(Fault::Full(node, false));
        world.apply(Fault::Slow(node, Duration::ZERO));
        world.resume(node);
        if world.nodes[node].store.is_err() && !world.nodes[node].retired {
            // A card whose roster cannot be read: the owner puts in another.
            world.apply(Fault::LoseCard(node));
        }
        world.apply(Fault::Start(node));
    }
}

/// One ring, equal copies, everything acknowledged there and nothing removed back.
fn rest(world: &mut World) {
    world.run_for(Duration::from_secs(5));
    world.clients = false;
    // What was asked before is answered first: a read beside a write may miss it.
    wait(
        world,
        Time(world.now.0 + ASK_TIME_MAX.as_micros() as u64),
        |world| {
            let nodes = world.nodes.iter().filter_map(|node| node.running.as_ref());
            let waiting: usize = nodes.map(|running| running.waiting.len()).sum();
            (waiting == 0)
                .then_some(())
                .ok_or(format!("{waiting} calls wait"))
        },
    );
    let mut calm = Time(world.now.0 - 5_000_000);
    if world.keying.plan.is_some() {
        world.run_until(calm + PAIRED_WITHIN);
        world.owner_gives_keys();
        calm = world.now;
    }
    wait(world, calm + ONE_RING_WITHIN, |world| {
        let ring = checker::check_one_ring(world).and_then(|()| key::check_keys(world));
        if world.now.0.is_multiple_of(1_000_000) {
            world.rejoin();
        }
        ring
    });
    // Lost cards are struck by hand, as their owner would.
    for id in std::mem::take(&mut world.lost) {
        let up = world.up();
        if let Some(node) = world.dice.pick(&up) {
            world.ask(node, Call::Forget { id }, ASK_TIME_MAX);
        }
    }
    world.steal_late();
    let forgotten = world.now;
    wait(world, forgotten + EQUAL_WITHIN, |world| {
        checker::check_placed(world)?;
        checker::check_claimed(world)
    });
    // Nobody writes any more, so the first answer must be right.
    for key in 0..world.model.keys() {
        let answered = Cell::new(None);
        let until = world.now + ASK_TIME_MAX;
        wait(world, until, |world| {
            match script::read_all(world, key)? {
                // A copy that has just started may still be catching up.
                Err(error @ CallError::Unavailable { .. }) => Err(format!("{error:?}")),
                answer => {
                    answered.set(Some(answer));
                    Ok(())
                }
            }
        });
        let answer = answered.take().expect("it waited for one");
        check(world.model.check_at_rest(key, &answer));
    }
    // What a medium had lost has been read and written anew.
    let read = world.now;
    wait(world, read + EQUAL_WITHIN, |world| {
        checker::check_equal(world)
    });
    world.run_for(SETTLE_TIME);
}

/// Runs until a condition holds, at most until a time.
pub fn wait(world: &mut World, until: Time, condition: impl Fn(&mut World) -> Result<(), String>) {
    loop {
        match condition(world) {
            Ok(()) => return,
            Err(broken) if world.now >= until => panic!("not in time: {broken}"),
            Err(_) => world.run_for(Duration::from_millis(100)),
        }
    }
}

/// Runs seeds on two threads until all have run or `enough` failed.
pub fn run_many(seeds: &[u64], mutant: Mutant, enough: usize) -> Tally {
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&seed) = seeds.get(index) else {
                        return;
                    };
                    let outcome = run(seed, mutant, false);
                    let mut tally = tally.lock().unwrap();
                    tally.runs += 1;
                    tally.steps += outcome.steps;
                    tally.operations += outcome.operations;
                    tally.deeds.add(&outcome.deeds);
                    if let Some(broken) = outcome.broken {
                        if mutant == Mutant::None {
                            println!("{}", failure(seed, &broken));
                        }
                        tally.failures.push((seed, broken));
                    }
                    if tally.failures.len() >= enough {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    tally.into_inner().unwrap()
}

/// What a failing seed prints.
pub fn failure(seed: u64, broken: &str) -> String {
    format!(
        "seed {seed} {broken}\n  replay: ROUNDEL_SEED={seed} cargo test --release --test sim \
         replay -- --nocapture"
    )
}

thread_local! {
    /// What the panic on this thread said, while one is caught.
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs something whose panics are findings; returns what the panic said.
fn catch(run: impl FnOnce()) -> Option<String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let caught = CAUGHT.with_borrow_mut(|caught| match caught {
                Some(text) => {
                    *text = info.to_string();
                    true
                }
                None => false,
            });
            if !caught {
                usual(info);
            }
        }));
    });
    CAUGHT.set(Some(String::new()));
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    let said = CAUGHT.take().unwrap_or_default();
    result.is_err().then_some(said)
}
