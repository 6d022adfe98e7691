//! Boards that draw a fingerprint over a network that loses, repeats and reorders, and somebody in
//! between who wants two of them to show the same.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::base::rng::seeded;

const SECOND: Duration = Duration::from_secs(1);
const KID: Kid = Kid([7; 8]);

fn board(number: u8, life: u64) -> Fingerprint {
    Fingerprint::new(Id::from_bytes([number; 32]), seeded([number; 32], life))
}

fn group(numbers: impl IntoIterator<Item = u8>) -> Group {
    Group {
        members: numbers
            .into_iter()
            .map(|n| Id::from_bytes([n; 32]))
            .collect(),
        kid: KID,
    }
}

fn digits(board: &Fingerprint) -> Option<Digits> {
    match board.progress() {
        Progress::Complete(digits) => Some(digits),
        _ => None,
    }
}

/// Boards with one view of the ring, and what is on its way between them.
struct Net {
    now: Time,
    boards: Vec<Fingerprint>,
    lives: u64,
    group: Group,
    queue: Vec<(usize, usize, Note)>,
    sent: usize,
    /// Whose commitments each board was handed, by round; a new life has none.
    handed: Vec<BTreeMap<u32, BTreeSet<usize>>>,
}

impl Net {
    fn new(count: u8) -> Net {
        let group = group(0..count);
        let mut net = Net {
            now: Time::ZERO,
            boards: (0..count).map(|n| board(n, 1)).collect(),
            lives: 1,
            group: group.clone(),
            queue: Vec::new(),
            sent: 0,
            handed: vec![BTreeMap::new(); usize::from(count)],
        };
        for index in 0..net.boards.len() {
            net.boards[index].handle_group(net.now, Some(group.clone()));
        }
        net
    }

    /// Takes what a board wants sent; no mark is among it before every commitment was handed over.
    fn collect(&mut self, from: usize) {
        while let Some((to, note)) = self.boards[from].poll_transmit() {
            let to = self.group.members.iter().position(|id| *id == to).unwrap();
            if note.mark.is_some() {
                let heard = self.handed[from].get(&note.round).map_or(0, BTreeSet::len);
                assert_eq!(heard, self.boards.len() - 1, "revealed too early");
            }
            self.sent += 1;
            self.queue.push((from, to, note));
        }
    }

    fn deliver(&mut self, at: usize) {
        let (from, to, note) = self.queue.remove(at);
        let heard = self.handed[to].entry(note.round).or_default();
        heard.insert(from);
        let id = self.group.members[from];
        self.boards[to].handle_note(self.now, &id, &note);
        self.collect(to);
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        for index in 0..self.boards.len() {
            self.boards[index].handle_timeout(self.now);
            self.collect(index);
        }
    }

    /// What was sent to or by its former life verifies no more.
    fn restart(&mut self, index: usize) {
        self.lives += 1;
        self.boards[index] = board(index as u8, self.lives);
        self.boards[index].handle_group(self.now, Some(self.group.clone()));
        self.handed[index].clear();
        self.queue
            .retain(|(from, to, _)| *from != index && *to != index);
    }

    /// Nothing is lost until nothing is due.
    fn settle(&mut self) {
        loop {
            while !self.queue.is_empty() {
                self.deliver(0);
            }
            let due = self
                .boards
                .iter()
                .filter_map(Fingerprint::poll_timeout)
                .min();
            let Some(due) = due else { return };
            assert!(self.now < Time::ZERO + SECOND * 100_000, "it never ends");
            self.pass(due.since(self.now));
        }
    }

    /// The digits that all show.
    fn shown(&self) -> Digits {
        let all: Vec<_> = self.boards.iter().map(digits).collect();
        assert!(
            all.iter().all(|it| it.is_some() && *it == all[0]),
            "{all:?}"
        );
        all[0].unwrap()
    }
}

#[test]
fn every_board_shows_the_same_digits_and_falls_silent() {
    for count in [2, 3, 30] {
        let mut net = Net::new(count);
        net.settle();
        net.shown();
        assert!(
            net.now < Time::ZERO + SECOND * 2,
            "nothing was asked for twice"
        );
        let pairs = usize::from(count) * usize::from(count - 1);
        assert!(net.sent <= 4 * pairs, "{} of {pairs}", net.sent);
        for board in &mut net.boards {
            assert!(board.poll_complete().is_some());
            assert_eq!(board.poll_complete(), None);
            assert_eq!((board.poll_timeout(), board.refused()), (None, 0));
        }
    }
}

#[test]
fn hashes_are_those_of_the_header() {
    // Computed by Python's hashlib from the formulas.
    let (a, b) = (Id::from_bytes([1; 32]), Id::from_bytes([2; 32]));
    let set = set_digest(&[a, b]);
    let hex = crate::security::hex::encode;
    assert_eq!(
        hex(&set),
        "7d6b3e38259b5ab55390d93c9ccc16d66c6ec82495a8207d6b05fb0438c29a31"
    );
    let context = Context {
        set: &set,
        kid: &Kid([0, 1, 2, 3, 4, 5, 6, 7]),
        round: 3,
    };
    assert_eq!(
        hex(&context.commitment(&a, &[0x11; 16])),
        "96e933f9c77fdb7a513034528f58b755e9c3d5837fc7dee39b305bb48ba7bd61"
    );
    let marks = BTreeMap::from([(a, [0x11; 16]), (b, [0x22; 16])]);
    let shown = Digits::of(&context.outcome(&marks));
    assert_eq!(
        (shown.to_string(), shown.plain()),
        ("467 499".into(), "467499".into())
    );
}

#[test]
fn a_restart_a_member_and_a_key_each_make_new_digits() {
    let mut net = Net::new(3);
    net.settle();
    let mut seen = vec![net.shown()];
    net.restart(1);
    net.settle();
    seen.push(net.shown());
    for changed in [
        Group {
            kid: Kid([8; 8]),
            ..net.group.clone()
        },
        net.group.clone(),
    ] {
        for board in &mut net.boards {
            board.handle_group(net.now, Some(changed.clone()));
            assert_eq!(board.progress(), Progress::Waiting(vec![]));
        }
        net.handed.iter_mut().for_each(BTreeMap::clear);
        net.settle();
        seen.push(net.shown());
    }
    let distinct: BTreeSet<_> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len(), "{seen:?}");
    net.boards[0].handle_group(net.now, Some(group([0])));
    assert_eq!(net.boards[0].progress(), Progress::Idle);
    net.boards[1].handle_group(net.now, None);
    assert_eq!(net.boards[1].progress(), Progress::Idle);
}

#[test]
fn an_absent_member_is_waited_for_and_asked_once_a_second() {
    let mut net = Net::new(3);
    // Nothing reaches board 2.
    let mut asked = 0;
    for _ in 0..600 {
        net.pass(SECOND / 10);
        while let Some(at) = net
            .queue
            .iter()
            .position(|(from, to, _)| *from != 2 && *to != 2)
        {
            net.deliver(at);
        }
        asked += net.queue.iter().filter(|(from, ..)| *from == 0).count();
        net.queue.clear();
    }
    let absent = Id::from_bytes([2; 32]);
    assert_eq!(net.boards[0].progress(), Progress::Waiting(vec![absent]));
    assert!((58..=61).contains(&asked), "{asked} in a minute");
    net.settle();
    net.shown();
}

#[test]
fn a_board_that_starts_anew_unheard_shows_nothing_until_all_agree() {
    let mut net = Net::new(2);
    net.settle();
    let before = net.shown();
    net.restart(1);
    // It hears the other, which has all it needs from its former life, and is not heard.
    for _ in 0..100 {
        net.pass(SECOND / 10);
        let note = net.boards[0].note(false);
        net.queue.retain(|(from, ..)| *from == 0);
        net.queue.push((0, 1, note));
        net.deliver(net.queue.len() - 1);
        assert_eq!(digits(&net.boards[1]), None);
    }
    assert_eq!(digits(&net.boards[0]), Some(before));
    net.settle();
    assert_ne!(net.shown(), before);
}

#[test]
fn what_is_not_of_this_ring_changes_nothing() {
    let mut net = Net::new(2);
    net.settle();
    let shown = net.shown();
    let mut good = net.boards[1].note(true);
    good.commitment = [9; 32];
    let other_set = Note {
        set: [1; 32],
        ..good.clone()
    };
    let other_key = Note {
        kid: [1; 8],
        ..good.clone()
    };
    let too_high = Note {
        round: limit::FINGERPRINT_ROUND_MAX + 1,
        ..good.clone()
    };
    let (peer, me) = (net.group.members[1], net.group.members[0]);
    for (from, note) in [
        (peer, &other_set),
        (peer, &other_key),
        (peer, &too_high),
        (me, &good),
        (Id::from_bytes([9; 32]), &good),
    ] {
        net.boards[0].handle_note(net.now, &from, note);
        assert_eq!(net.boards[0].poll_transmit(), None);
    }
    assert_eq!(net.shown(), shown);
    assert_eq!(net.boards[0].refused(), 1);
}

/// An honest board whose only neighbour is somebody in between.
struct Victim {
    board: Fingerprint,
    group: Group,
    other: Id,
    now: Time,
}

impl Victim {
    fn new(number: u8, other: u8, seed: u64) -> Victim {
        let mut members = [number, other];
        members.sort_unstable();
        let group = group(members);
        let mut board = board(number, seed);
        board.handle_group(Time::ZERO, Some(group.clone()));
        let mut victim = Victim {
            board,
            group,
            other: Id::from_bytes([other; 32]),
            now: Time::ZERO,
        };
        victim.pass(SETTLE_TIME);
        victim
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.board.handle_timeout(self.now);
    }

    /// What the other member sends, and the last that the board says then.
    fn tell(&mut self, round: u32, commitment: [u8; 32], mark: Option<Mark>) -> Option<Note> {
        let note = Note {
            set: set_digest(&self.group.members),
            kid: KID.0,
            round,
            commitment,
            mark,
            outcome: mark.and_then(|mark| Some(self.outcome(round, self.revealed()?, mark))),
            want: true,
        };
        self.board.handle_note(self.now, &self.other, &note);
        std::iter::from_fn(|| self.board.poll_transmit())
            .last()
            .map(|(_, note)| note)
    }

    /// The board's own mark, once it is out.
    fn revealed(&self) -> Option<Mark> {
        self.board
            .round
            .as_ref()?
            .marks
            .get(&self.board.me)
            .copied()
    }

    fn commitment(&self, round: u32, mark: &Mark) -> [u8; 32] {
        let set = set_digest(&self.group.members);
        let context = Context {
            set: &set,
            kid: &KID,
            round,
        };
        context.commitment(&self.other, mark)
    }

    /// What the board would show.
    fn would_show(&self, round: u32, own: Mark, mark: Mark) -> Digits {
        Digits::of(&self.outcome(round, own, mark))
    }

    fn outcome(&self, round: u32, own: Mark, mark: Mark) -> [u8; 32] {
        let set = set_digest(&self.group.members);
        let context = Context {
            set: &set,
            kid: &KID,
            round,
        };
        context.outcome(&BTreeMap::from([(self.board.me, own), (self.other, mark)]))
    }

    /// The whole exchange with this mark of the other's.
    fn complete(&mut self, mark: Mark) -> Digits {
        let commitment = self.commitment(0, &mark);
        assert!(self.tell(0, commitment, None).unwrap().mark.is_some());
        self.tell(0, commitment, Some(mark));
        digits(&self.board).unwrap()
    }
}

#[test]
fn a_mark_that_was_ground_after_the_reveal_is_refused() {
    let (mut a, mut b) = (Victim::new(1, 2, 1), Victim::new(3, 4, 1));
    let shown = a.complete([1; 16]);
    let committed = [2; 16];
    let commitment = b.commitment(0, &committed);
    let own = b.tell(0, commitment, None).unwrap().mark.unwrap();
    // With B's mark in hand there is one soon that makes both show the same.
    let marks = (0u128..).map(u128::to_be_bytes);
    let ground = marks
        .into_iter()
        .find(|mark| b.would_show(0, own, *mark) == shown)
        .unwrap();
    b.tell(0, commitment, Some(ground));
    assert_eq!(digits(&b.board), None, "it opens no commitment");
    b.tell(0, commitment, Some(committed));
    let honest = digits(&b.board).unwrap();
    assert_eq!(honest, b.would_show(0, own, committed));
    assert_ne!(honest, shown);
    // Another commitment is a new round, with a new mark of B's.
    let fresh = b.commitment(0, &ground);
    let answer = b.tell(0, fresh, Some(ground)).unwrap();
    assert_eq!((answer.round, answer.mark), (1, None));
    assert_eq!(digits(&b.board), None);
    let own_now = b
        .tell(1, b.commitment(1, &ground), None)
        .unwrap()
        .mark
        .unwrap();
    b.tell(1, b.commitment(1, &ground), Some(ground));
    assert_ne!(own_now, own);
    assert_ne!(digits(&b.board), Some(shown));
    assert_eq!(b.board.refused(), 2);
}

#[test]
fn nothing_is_revealed_to_whoever_has_not_committed() {
    let mut a = Victim::new(1, 2, 1);
    let sent: Vec<_> = std::iter::from_fn(|| a.board.poll_transmit()).collect();
    assert_eq!(sent.len(), 1);
    for _ in 0..100 {
        a.pass(SECOND);
        while let Some((_, note)) = a.board.poll_transmit() {
            assert_eq!(note.mark, None);
        }
    }
}

#[test]
fn two_views_agree_by_chance_only() {
    // Whatever somebody in between picks: it knows what A shows before it commits to B. Counted
    // by the last two digits, to be seen at all.
    let short = |digits: Digits| digits.plain()[4..].to_owned();
    let mut equal = 0;
    for seed in 0..5_000 {
        let (mut a, mut b) = (Victim::new(1, 2, seed), Victim::new(3, 4, seed));
        let shown = a.complete([1; 16]);
        let mut mark = [0; 16];
        mark[..6].copy_from_slice(shown.plain().as_bytes());
        equal += usize::from(short(b.complete(mark)) == short(shown));
    }
    assert!((20..=90).contains(&equal), "{equal} of 5000, 50 expected");
}

/// Marks that the board reveals to somebody that wants another round each time.
fn tries(within: Duration, force: impl Fn(&mut Victim, u32) -> Option<Note>) -> usize {
    let mut a = Victim::new(1, 2, 1);
    let mut seen = BTreeSet::new();
    let mut round = 0;
    while a.now < Time::ZERO + within {
        if let Some(note) = force(&mut a, round) {
            round = note.round;
            seen.extend(note.mark);
        }
        a.pass(SECOND / 2);
    }
    seen.len()
}

#[test]
fn somebody_who_forces_rounds_gets_few_tries() {
    // By a commitment that contradicts the one before.
    let contradict = |a: &mut Victim, round| {
        let mark = a.now.0.to_be_bytes().repeat(2).try_into().unwrap();
        a.tell(round, a.commitment(round, &mark), None)
    };
    // By ever higher rounds.
    let climb = |a: &mut Victim, round: u32| {
        let mark = [3; 16];
        a.tell(round + 1, a.commitment(round + 1, &mark), None)
    };
    // By members that come and go.
    let change = |a: &mut Victim, round: u32| {
        let mark = [3; 16];
        let note = a.tell(0, a.commitment(0, &mark), None);
        a.board.handle_group(a.now, Some(group([1, 2, 5])));
        a.board.handle_group(a.now, Some(a.group.clone()));
        a.pass(SETTLE_TIME);
        note.map(|note| Note { round, ..note })
    };
    let window = limit::PAIRING_TIME;
    let day = SECOND * 24 * 3_600;
    for (within, most) in [(window, 33), (day, 176)] {
        let counts = [
            tries(within, contradict),
            tries(within, climb),
            tries(within, change),
        ];
        for count in counts {
            assert!((most / 2..=most).contains(&count), "{counts:?} of {most}");
        }
    }
}

#[test]
fn draws_come_back_one_by_one_and_never_more_than_there_were() {
    let mut draws = Draws {
        left: limit::FINGERPRINT_DRAWS_MAX,
        next: Time::ZERO,
    };
    let day = Time::ZERO + SECOND * 24 * 3_600;
    for _ in 0..limit::FINGERPRINT_DRAWS_MAX {
        assert!(draws.take(day));
    }
    assert!(!draws.take(day));
    assert_eq!(draws.due(), day + limit::FINGERPRINT_DRAW_TIME);
    assert!(draws.take(draws.due()));
    let later = day + SECOND * 10 * 24 * 3_600;
    let taken = (0..100).filter(|_| draws.take(later)).count();
    assert_eq!(taken as u32, limit::FINGERPRINT_DRAWS_MAX);
}

#[derive(Clone, Debug)]
enum Step {
    Deliver(usize),
    Lose(usize),
    Repeat(usize),
    Pass(u64),
    Restart(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => any::<usize>().prop_map(Step::Deliver),
        3 => any::<usize>().prop_map(Step::Lose),
        3 => any::<usize>().prop_map(Step::Repeat),
        4 => (1u64..1_500).prop_map(Step::Pass),
        1 => any::<usize>().prop_map(Step::Restart),
    ]
}

proptest! {
    #[test]
    fn digits_are_equal_in_the_end_whatever_the_network_does(
        count in 2u8..6,
        steps in proptest::collection::vec(step(), 0..200),
    ) {
        let mut net = Net::new(count);
        for step in steps {
            let waiting = net.queue.len();
            match step {
                Step::Pass(ms) => net.pass(Duration::from_millis(ms)),
                Step::Restart(index) => net.restart(index % usize::from(count)),
                _ if waiting == 0 => {}
                Step::Deliver(at) => net.deliver(at % waiting),
                Step::Lose(at) => drop(net.queue.remove(at % waiting)),
                Step::Repeat(at) => {
                    let again = net.queue[at % waiting].clone();
                    net.queue.push(again);
                }
            }
        }
        net.settle();
        net.shown();
    }
}
