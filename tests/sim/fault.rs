//! Every fault there is, in one struct of options, and the faults that happen at a moment.

use std::time::Duration;

use roundel::base::member::RingMode;

use crate::dice::Dice;

/// How bad the world is. Chances are per million.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Boards in the world.
    pub nodes: usize,
    /// A datagram is lost.
    pub loss: u32,
    /// A datagram arrives twice.
    pub duplication: u32,
    /// The way of a datagram or frame.
    pub delay: (Duration, Duration),
    /// A datagram is held up by so much more with the chance above it: it is overtaken.
    pub reordering: u32,
    pub held_up: (Duration, Duration),
    /// A stream stalls for a moment: a segment was lost.
    pub stall: u32,
    /// A discovery hint is lost.
    pub hint_loss: u32,
    pub hint_delay: (Duration, Duration),
    /// A board searches again after this.
    pub search: (Duration, Duration),
    /// How late timers fire.
    pub timer_lag: (Duration, Duration),
    /// A flush takes this long.
    pub flush: (Duration, Duration),
    /// A flush fails (EIO).
    pub flush_error: u32,
    /// Boards start within this.
    pub start_spread: Duration,
    /// From one happening to the next; none happen without.
    pub interval: Option<(Duration, Duration)>,
    /// How often each kind of happening is drawn, against the others.
    pub weights: Weights,
    /// Where clocks jump: one of 2038 and one that is not set can outvote the others.
    pub clock_off_ms: i64,
    /// A client asks something after this.
    pub think: (Duration, Duration),
    /// Keys in use.
    pub keys: usize,
    /// The mode of the ring that is founded.
    pub ring_mode: RingMode,
}

/// Relative frequencies of what can happen.
#[derive(Clone, Debug, Default)]
pub struct Weights {
    pub kill: u32,
    pub power_cut: u32,
    pub pause: u32,
    pub partition: u32,
    pub one_way: u32,
    pub partial: u32,
    pub break_streams: u32,
    pub clock: u32,
    pub full: u32,
    pub slow: u32,
    pub leave: u32,
    pub everybody: u32,
    /// Loses one board's copies: at most one board in a run suffers these.
    pub damage: u32,
}

/// Something that happens to the world at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// kill -9: the system lives, the process does not.
    Kill(usize),
    PowerCut(usize),
    Start(usize),
    /// SIGSTOP for so long.
    Pause(usize, Duration),
    /// No path between boards of different groups.
    Partition(Vec<Vec<usize>>),
    /// Nothing gets from the first to the second.
    Cut(usize, usize),
    /// Every path works.
    Heal,
    /// Every stream between the two is reset.
    Break(usize, usize),
    /// The wall clock jumps by so many milliseconds off the true time.
    Clock(usize, i64),
    Full(usize, bool),
    /// A flush takes this much longer.
    Slow(usize, Duration),
    /// The medium says it has flushed and has not.
    Lie(usize, bool),
    Rot(usize),
    /// A new card: no identity, no data.
    LoseCard(usize),
    /// Another board starts with a copy of this one's card.
    CloneCard(usize),
    Leave(usize),
    /// Asked to join where the other is.
    Join(usize, usize),
    /// The network gives it another address.
    Move(usize),
}

/// Milliseconds from the world's true time to 1970 and to 2038.
pub const TO_1970_MS: i64 = -1_790_000_000_000;
pub const TO_2038_MS: i64 = 2_147_483_647_000 - 1_790_000_000_000;

fn us(low: u64, high: u64) -> (Duration, Duration) {
    (Duration::from_micros(low), Duration::from_micros(high))
}

fn ms(low: u64, high: u64) -> (Duration, Duration) {
    us(low * 1_000, high * 1_000)
}

impl Faults {
    /// A good LAN and good media.
    pub fn none(nodes: usize) -> Faults {
        Faults {
            nodes,
            loss: 0,
            duplication: 0,
            delay: us(150, 900),
            reordering: 0,
            held_up: ms(1, 30),
            stall: 0,
            hint_loss: 0,
            hint_delay: ms(1, 100),
            search: ms(20_000, 40_000),
            timer_lag: us(0, 1_000),
            flush: us(500, 6_000),
            flush_error: 0,
            start_spread: Duration::from_secs(2),
            interval: None,
            weights: Weights::default(),
            clock_off_ms: TO_1970_MS,
            think: ms(50, 500),
            keys: 16,
            ring_mode: RingMode::Full,
        }
    }

    /// A world drawn anew: each kind of fault is there or not by the toss of a coin, so that
    /// worlds differ in kind and not only in luck.
    pub fn draw(dice: &mut Dice) -> Faults {
        let mut faults = Faults::none(5);
        let mut some = |high: u64| match dice.coin() {
            true => dice.below(high as usize) as u32 + 1,
            false => 0,
        };
        faults.loss = some(40_000);
        faults.duplication = some(40_000);
        faults.reordering = some(100_000);
        faults.stall = some(10_000);
        faults.hint_loss = some(600_000);
        faults.flush_error = some(2_000);
        faults.weights = Weights {
            kill: some(10),
            power_cut: some(10),
            pause: some(10),
            partition: some(10),
            one_way: some(6),
            partial: some(6),
            break_streams: some(4),
            clock: some(4),
            full: some(4),
            slow: some(4),
            leave: some(3),
            everybody: some(2),
            damage: some(4),
        };
        if dice.coin() {
            faults.delay = us(150, dice.between(1_000, 20_000));
        }
        if dice.coin() {
            faults.flush = us(500, dice.between(6_000, 60_000));
        }
        if dice.coin() {
            faults.timer_lag = us(0, dice.between(1_000, 40_000));
        }
        faults.interval = Some(ms(500, dice.between(4_000, 40_000)));
        if dice.coin() {
            faults.clock_off_ms = TO_2038_MS;
        }
        faults.think = ms(20, dice.between(100, 1_000));
        faults.keys = dice.between(2, 32) as usize;
        faults
    }
}
