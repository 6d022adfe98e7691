//! Power cuts under load: what was acknowledged was synced, so it is there; the board always boots.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::board::{self, Board, Kept};
use crate::card::Card;
use crate::distress::Fault;
use crate::namespace::alone;

/// Clients that write at the same time, so that groups form.
const CLIENTS: usize = 3;
/// Keys of each client, written over and over.
const KEYS: u64 = 400;
/// A board with 100 MB answers within this after a power cut.
pub const RECOVERY_TIME_MAX: Duration = Duration::from_secs(2);

/// Numbers that look random and are the same in each run.
pub struct Dice(pub u64);

impl Dice {
    /// The next number, less than this.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Where the power is.
#[derive(Default)]
struct Power {
    /// It is being cut. A sync that is under way then may return success though its transaction
    /// was dropped (jbd2 finds it neither running nor committing); no process outlives a true cut,
    /// so what is answered from here on counts as unanswered.
    going: AtomicBool,
    gone: AtomicBool,
}

/// Writes until the board no longer answers, or the power is gone.
fn write(kept: &mut Kept, board: &Board, client: usize, cut: u64, power: &Power) {
    let mut dice = Dice(cut * 100 + client as u64);
    let mut number = 0;
    while !power.gone.load(Ordering::SeqCst) {
        number += 1;
        let key = format!("client {client} key {}", dice.below(KEYS));
        let filler = "x".repeat(dice.below(4_000) as usize);
        let value = (dice.below(5) > 0).then(|| format!("cut {cut} {number} {filler}"));
        let is_void = || power.going.load(Ordering::SeqCst);
        if !kept.write_unless(board.at, &key, value, "quorum", is_void) {
            break;
        }
    }
}

/// Starts a board; how long it took until a read was answered.
pub fn boot(data: &Path) -> (Board, Duration) {
    let board = Board::start(data);
    let read = board.call("get", &json!({"key": "nothing"}));
    assert!(
        matches!(read, Some(Err(ref error)) if error["code"] == board::NOT_FOUND),
        "{read:?}"
    );
    let age = board.age();
    (board, age)
}

#[test]
fn power_cuts_lose_no_acknowledged_write() {
    let cuts = if board::is_long() { 1_000 } else { 50 };
    alone(|| {
        let card = Card::new(1_024);
        let mut kept: Vec<Kept> = (0..CLIENTS).map(|_| Kept::default()).collect();
        let mut dice = Dice(7);
        let mut boots = Vec::new();
        let (mut board, _) = boot(&card.data());
        let start = Instant::now();
        for cut in 0..cuts {
            let power = Power::default();
            thread::scope(|scope| {
                for (client, kept) in kept.iter_mut().enumerate() {
                    let (board, power) = (&board, &power);
                    scope.spawn(move || write(kept, board, client, cut, power));
                }
                thread::sleep(Duration::from_millis(20 + dice.below(400)));
                power.going.store(true, Ordering::SeqCst);
                card.cut();
                power.gone.store(true, Ordering::SeqCst);
            });
            board.kill();
            card.replug();
            let age;
            (board, age) = boot(&card.data());
            boots.push(age);
            for kept in &mut kept {
                kept.check(&board, &format!("cut {cut}"));
            }
        }
        boots.sort();
        let (median, slowest) = (boots[boots.len() / 2], boots[boots.len() - 1]);
        println!(
            "{cuts} power cuts in {:?}: {} writes acknowledged to {} keys, 0 lost; from the \
             start to the first answer {median:?} (median), {slowest:?} at most",
            start.elapsed(),
            kept.iter().map(|kept| kept.acknowledged).sum::<usize>(),
            kept.iter().map(Kept::len).sum::<usize>(),
        );
        assert!(
            median < RECOVERY_TIME_MAX,
            "half of the boots take {median:?}"
        );
        assert!(slowest < 5 * RECOVERY_TIME_MAX, "a boot took {slowest:?}");
    });
}

#[test]
fn writes_whose_sync_was_skipped_are_gone_after_such_a_cut() {
    alone(|| {
        let card = Card::new(512);
        let (board, _) = boot(&card.data());
        let lie = Fault::start(&board, "fdatasync:retval=0");
        let keys: Vec<_> = (0..20).map(|number| format!("key {number}")).collect();
        for key in &keys {
            let put = board.call("put", &json!({"key": key, "value": key}));
            assert!(matches!(put, Some(Ok(_))), "{put:?}");
        }
        card.cut();
        drop(lie);
        board.kill();
        card.replug();
        let (board, _) = boot(&card.data());
        let is_lost = |key: &&String| {
            let read = board.call("get", &json!({"key": key}));
            matches!(read, Some(Err(error)) if error["code"] == board::NOT_FOUND)
        };
        let lost = keys.iter().filter(is_lost).count();
        println!(
            "{lost} of {} writes are gone that were never synced",
            keys.len()
        );
        assert!(lost > 0, "a cut that loses nothing proves nothing");
    });
}

#[test]
fn board_with_100_mb_recovers_soon_from_a_power_cut() {
    alone(|| {
        let card = Card::new(2_048);
        let (board, _) = boot(&card.data());
        let mut kept = Kept::default();
        for number in 0..1_000 {
            let value = format!("{number} {}", "x".repeat(100_000));
            assert!(kept.write(board.at, &format!("key {number}"), Some(value)));
        }
        assert_eq!(kept.acknowledged, 1_000);
        card.cut();
        board.kill();
        card.replug();
        let (board, age) = boot(&card.data());
        println!("100 MB: the first answer {age:?} after the start that followed a power cut");
        kept.check(&board, "100 MB");
        assert!(age < RECOVERY_TIME_MAX, "it took {age:?}");
    });
}
