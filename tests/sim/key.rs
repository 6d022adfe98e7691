//! What keys do in a world: boards that pair, an owner who confirms, rotates, lets boards in and
//! gives a key to those that cannot come by one themselves, and the keyring's file on each card.
//!
//! All of it is drawn from dice of its own: a seed without such a plan is the world it was before
//! there were any. A keyring is written as the daemon writes it, the last of those that wait; a
//! write that is broken off leaves the old file or the new one, and on a medium that lies a power
//! cut may bring the old one back.

use std::collections::BTreeSet;
use std::time::Duration;

use roundel::base::access::Access;
use roundel::base::call::{Call, CallError, CallId, Reply};
use roundel::base::id::Id;
use roundel::base::limit;
use roundel::base::time::Time;
use roundel::proto::board::Transmit;
use roundel::proto::keyring::{Kept, Keys};
use roundel::security::key::{ClusterKey, Kid};
use roundel::wire::frame::Frame;
use roundel::wire::peer::Message;

use crate::dice::Dice;
use crate::fault::Fault;
use crate::mutant::Mutant;
use crate::node::Power;
use crate::replay::Recorded;
use crate::thief::{self, Theft, Thief};
use crate::world::{Happening, World};

/// The key that every card has from its image, unless boards pair.
pub const IMAGE_KEY: [u8; 32] = [0x5e; 32];
/// The owner looks at who asks to come in every so often.
const OWNER_LOOKS: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(9));
/// Boards in a ring that is worth to be confirmed.
const CONFIRMED_BOARDS_MIN: usize = 3;
/// A board that died in a handshake is back after this.
const DOWN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(20));

/// What is to happen to the keys of a world.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Boards start without a key.
    pub pairing: bool,
    /// What is left of their windows when they start.
    window: Duration,
    /// They start in two groups that do not hear each other for so long.
    apart: Option<Duration>,
    confirm_at: Option<Duration>,
    rotate_at: Vec<Duration>,
    pub theft: Option<Theft>,
    /// A board dies as a frame of a hello arrives; per million.
    hello_death: u32,
    /// Something recorded is sent again every so often.
    pub replay: Option<(Duration, Duration)>,
    /// A keyring's write takes this long.
    write: (Duration, Duration),
    write_error: u32,
}

/// A moment of a plan.
#[derive(Clone, Debug)]
pub enum Step {
    Confirm,
    Rotate,
    Owner,
    Thief,
    Replay,
}

/// What was done, for those who wonder whether anything was.
#[derive(Clone, Debug, Default)]
pub struct Deeds {
    pub pairings: usize,
    pub confirmed: usize,
    pub rotated: usize,
    pub accepted: usize,
    pub given: usize,
    pub writes_broken_off: usize,
    pub hello_deaths: usize,
    pub revoked: usize,
    pub thieves: usize,
    pub replayed: usize,
}

impl Deeds {
    pub fn add(&mut self, other: &Deeds) {
        self.pairings += other.pairings;
        self.confirmed += other.confirmed;
        self.rotated += other.rotated;
        self.accepted += other.accepted;
        self.given += other.given;
        self.writes_broken_off += other.writes_broken_off;
        self.hello_deaths += other.hello_deaths;
        self.revoked += other.revoked;
        self.thieves += other.thieves;
        self.replayed += other.replayed;
    }
}

/// The keys of a world as it goes.
pub struct Keying {
    pub plan: Option<Plan>,
    pub dice: Dice,
    pub thief: Thief,
    pub recorded: Recorded,
    pub deeds: Deeds,
    /// Calls that change keys and were not answered; true: the owner confirms.
    asked: Vec<(CallId, bool)>,
    /// The owner was told that the key is confirmed.
    confirmed: bool,
}

/// The keyring's file on a card.
#[derive(Clone, Debug, Default)]
pub struct KeyFile {
    /// What a start reads, and how many were written before it.
    pub kept: Option<Kept>,
    number: u64,
    /// What a power cut leaves: older where the medium lied.
    durable: Option<Kept>,
    durable_number: u64,
    /// Somebody was told what this one holds.
    promised: u64,
}

impl KeyFile {
    pub fn write(&mut self, kept: Kept, lies: bool) {
        self.kept = Some(kept);
        self.number += 1;
        if !lies {
            self.durable.clone_from(&self.kept);
            self.durable_number = self.number;
        }
    }

    fn cut_power(&mut self, dice: &mut Dice) {
        if self.number > self.durable_number && dice.coin() {
            self.kept.clone_from(&self.durable);
            self.number = self.durable_number;
        }
    }

    /// A copy of the card lives on elsewhere: what was promised here binds nobody there.
    pub fn unbound(mut self) -> KeyFile {
        self.promised = 0;
        self
    }

    fn has(&self, kid: &Kid) -> bool {
        let kept = self.kept.as_ref();
        kept.is_some_and(|kept| kept.keyring.find(kid).is_some())
    }

    /// Both hold the same current key.
    pub fn signs_as(&self, other: &KeyFile) -> bool {
        let current = |file: &KeyFile| file.kept.as_ref().map(|it| it.keyring.current.kid());
        current(self) == current(other)
    }

    pub fn has_revoked(&self, id: &Id) -> bool {
        let kept = self.kept.as_ref();
        kept.is_some_and(|kept| kept.revoked.contains(id))
    }
}

fn seconds(dice: &mut Dice, low: u64, high: u64) -> Duration {
    Duration::from_millis(dice.between(low * 1_000, high * 1_000))
}

impl Plan {
    /// Half of all worlds have none.
    pub fn draw(dice: &mut Dice) -> Option<Plan> {
        if dice.coin() {
            return None;
        }
        let pairing = dice.coin();
        let confirm_at = dice.coin().then(|| seconds(dice, 4, 150));
        let rotations = dice.below(4);
        let theft = match dice.below(3) {
            0 => Some(Theft::Early),
            1 => Some(Theft::Late),
            _ => None,
        };
        Some(Plan {
            pairing,
            window: match dice.coin() {
                true => limit::PAIRING_TIME,
                false => seconds(dice, 1, 10),
            },
            apart: dice.coin().then(|| seconds(dice, 1, 30)),
            confirm_at: confirm_at.filter(|_| pairing),
            rotate_at: (0..rotations).map(|_| seconds(dice, 6, 198)).collect(),
            theft,
            hello_death: if dice.coin() {
                dice.below(8_000) as u32
            } else {
                0
            },
            replay: dice.coin().then(|| {
                let most = dice.between(1_000, 8_000);
                (Duration::from_millis(200), Duration::from_millis(most))
            }),
            write: {
                let most = 5 << dice.below(10);
                (Duration::from_millis(1), Duration::from_millis(most))
            },
            write_error: if dice.coin() {
                dice.below(20_000) as u32
            } else {
                0
            },
        })
    }
}

impl Keying {
    /// Dice that share nothing with those of the world.
    pub fn new(seed: u64) -> Keying {
        Keying {
            plan: None,
            dice: Dice::new(seed.rotate_left(17) ^ 0x6b65_7973),
            thief: Thief::default(),
            recorded: Recorded::default(),
            deeds: Deeds::default(),
            asked: Vec::new(),
            confirmed: false,
        }
    }
}

impl World {
    /// Draws what keys do from here on; before anybody starts.
    pub fn draw_keys(&mut self) {
        let Some(plan) = Plan::draw(&mut self.keying.dice) else {
            return;
        };
        self.tell(|| format!("{plan:?}"));
        if plan.pairing {
            for node in &mut self.nodes {
                node.card.given = None;
                node.card.window_until = Some(Time::ZERO + plan.window);
            }
            self.keying.deeds.pairings += 1;
            if let Some(time) = plan.apart {
                let mut order: Vec<usize> = (0..self.nodes.len()).collect();
                self.keying.dice.shuffle(&mut order);
                let other = order.split_off(order.len() / 2);
                self.apply(Fault::Partition(vec![order, other]));
                self.schedule(time, Happening::Fault(Fault::Heal));
            }
        }
        let at = |step| Happening::Key(step);
        if let Some(when) = plan.confirm_at {
            self.schedule(when, at(Step::Confirm));
        }
        for when in &plan.rotate_at {
            self.schedule(*when, at(Step::Rotate));
        }
        if plan.theft == Some(Theft::Early) {
            let when = seconds(&mut self.keying.dice, 4, 9);
            self.schedule(when, at(Step::Thief));
        }
        if plan.replay.is_some() {
            self.schedule(Duration::from_secs(3), at(Step::Replay));
        }
        self.schedule(Duration::from_secs(2), at(Step::Owner));
        self.keying.plan = Some(plan);
    }

    pub fn key_step(&mut self, step: &Step) {
        match step {
            Step::Confirm => self.ask_confirm(),
            Step::Rotate => {
                if let Some(node) = self.any_up() {
                    self.ask_keys(node, Call::Rotate { without: None });
                }
            }
            Step::Owner => self.owner_looks(),
            Step::Thief => self.thief_step(),
            Step::Replay => self.replay(),
        }
    }

    /// The boards of this world begin without a key.
    pub fn pairs(&self) -> bool {
        self.keying.plan.as_ref().is_some_and(|plan| plan.pairing)
    }

    /// Some board that runs, by the dice of keys.
    pub fn any_up(&mut self) -> Option<usize> {
        let up = self.up();
        self.keying.dice.pick(&up)
    }

    pub fn keys_of(&self, node: usize) -> Option<&Keys> {
        let running = self.nodes[node].running.as_ref();
        running.map(|running| running.board.keys())
    }

    /// Asks for something that changes keys.
    pub fn ask_keys(&mut self, node: usize, call: Call) {
        self.tell(|| format!("{node} is asked: {call:?}"));
        let confirms = matches!(call, Call::Confirm { .. });
        // The answer may come at once.
        let id = self.coming_call();
        self.keying.asked.push((id, confirms));
        self.call(node, call, None);
    }

    fn ask_confirm(&mut self) {
        let size = |world: &World, node: usize| {
            let roster = world.nodes[node].roster();
            roster.map_or(0, |roster| roster.members().count())
        };
        match self
            .any_up()
            .filter(|node| size(self, *node) >= CONFIRMED_BOARDS_MIN)
        {
            Some(node) => self.ask_keys(node, Call::Confirm { seen: None }),
            None => self.schedule(Duration::from_secs(2), Happening::Key(Step::Confirm)),
        }
    }

    /// Lets in who asks and is the owner's.
    fn owner_looks(&mut self) {
        let wait = self.keying.dice.duration(OWNER_LOOKS);
        self.schedule(wait, Happening::Key(Step::Owner));
        let Some(node) = self.any_up() else {
            return;
        };
        let asking = self.keys_of(node).map(|keys| keys.asking());
        let asking: Vec<Id> = asking.into_iter().flatten().map(|(id, _)| *id).collect();
        let own: Vec<Id> = self
            .up()
            .iter()
            .map(|up| self.nodes[*up].card.id())
            .collect();
        for id in asking.into_iter().filter(|id| own.contains(id)) {
            self.keying.deeds.accepted += 1;
            self.call(node, Call::Accept { id }, None);
        }
    }

    /// A call was answered that is not a client's.
    ///
    /// # Panics
    /// When its answer says what the board's own file does not.
    pub fn keys_answered(&mut self, node: usize, id: CallId, result: &Result<Reply, CallError>) {
        let Some(at) = self.keying.asked.iter().position(|(asked, _)| *asked == id) else {
            return;
        };
        let (_, confirms) = self.keying.asked.swap_remove(at);
        self.tell(|| format!("{node} answers of its keys: {result:?}"));
        let Ok(Reply::Keys(view)) = result else {
            return;
        };
        match confirms {
            true => self.keying.deeds.confirmed += 1,
            false => self.keying.deeds.rotated += 1,
        }
        self.keying.confirmed |= confirms;
        let file = &mut self.nodes[node].card.keyring;
        let kept = file.kept.as_ref();
        let holds = kept.is_some_and(|kept| {
            kept.keyring.current.kid().to_string() == view.current.kid
                && kept.confirmed == (view.access == Access::Keyed)
        });
        assert!(
            holds,
            "board {node} answers {view:?}, which its keyring's file does not hold"
        );
        file.promised = file.number;
    }

    /// What a board says that it holds, it holds in its file.
    ///
    /// # Panics
    /// When it does not.
    pub fn check_held(&self, node: usize, transmit: &Transmit) {
        let bytes = &transmit.bytes;
        if self.keying.plan.is_none() || bytes[1] != REKEYED {
            return;
        }
        let frame = Frame {
            kind: bytes[1],
            payload: bytes.slice(FRAME_HEADER_BYTES..),
        };
        if let Ok(Message::Rekeyed { kid }) = Message::from_frame(&frame) {
            let has = self.nodes[node].card.keyring.has(&Kid(kid));
            assert!(
                has,
                "board {node} says that it holds a key its file does not"
            );
        }
    }

    /// The machine has a keyring to be kept.
    pub fn keep_keyring(&mut self, index: usize, kept: Kept) {
        let now = self.clock_of(index);
        let node = &mut self.nodes[index];
        let running = node.running.as_mut().expect("it runs");
        if self.keying.plan.is_none() {
            node.card.keyring.write(kept, false);
            running.board.handle_keyring(now, Ok(()));
            return;
        }
        running.keyrings.push(kept);
        self.write_keyring(index);
    }

    fn write_keyring(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let Some(running) = &mut node.running else {
            return;
        };
        if running.keyring_under_way.is_some() {
            return;
        }
        let waiting = std::mem::take(&mut running.keyrings);
        let count = waiting.len();
        let Some(last) = waiting.into_iter().next_back() else {
            return;
        };
        running.keyring_under_way = Some((last, count));
        let write = self.keying.plan.as_ref().expect("there is one").write;
        let wait = self.keying.dice.duration(write) + node.card.disk.slowness;
        let life = node.life;
        self.schedule(wait, Happening::KeyringWritten(index, life));
    }

    /// The write under way is over.
    pub fn keyring_written(&mut self, index: usize, life: u64) {
        let now = self.clock_of(index);
        let error = self.keying.plan.as_ref().map_or(0, |plan| plan.write_error);
        let node = &mut self.nodes[index];
        let (true, Some(running)) = (node.life == life, &mut node.running) else {
            return;
        };
        let Some((kept, count)) = running.keyring_under_way.take() else {
            return;
        };
        let fails = self.mischief && self.keying.dice.chance(error);
        // Of a write that failed nobody knows how far it came.
        if self.mutant != Mutant::KeyringSkipped && (!fails || self.keying.dice.coin()) {
            node.card.keyring.write(kept, node.card.disk.lies);
        }
        for _ in 0..count {
            let result = match fails {
                true => Err("EIO".to_owned()),
                false => Ok(()),
            };
            running.board.handle_keyring(now, result);
        }
        self.note(index as u64 ^ 0x6b00 ^ u64::from(fails));
        self.write_keyring(index);
        self.touched(index);
    }

    /// The process ends, and with it what it was writing.
    pub fn break_off_keyring(&mut self, index: usize, power: Power) {
        if self.keying.plan.is_none() {
            return;
        }
        let node = &mut self.nodes[index];
        let running = node.running.as_mut();
        let under_way = running.and_then(|running| running.keyring_under_way.take());
        if let Some((kept, _)) = under_way {
            self.keying.deeds.writes_broken_off += 1;
            if self.keying.dice.coin() && self.mutant != Mutant::KeyringSkipped {
                node.card.keyring.write(kept, node.card.disk.lies);
            }
        }
        if power == Power::Off {
            node.card.keyring.cut_power(&mut self.keying.dice);
            // After another boot the window is over.
            node.card.window_until = None;
        }
    }

    /// A board is about to start: what it was heard to promise is in its file.
    ///
    /// # Panics
    /// When it is not, unless this board's medium was drawn to lose things.
    pub fn check_promised(&mut self, index: usize) {
        let damaged = self.damaged.is_some_and(|(node, _)| node == index);
        let file = &self.nodes[index].card.keyring;
        assert!(
            damaged || file.number >= file.promised,
            "board {index} has promised keyring {}, its file holds {}",
            file.promised,
            file.number
        );
        let is_new = file.kept.is_none() && self.nodes[index].card.may_lack_key;
        if self.keying.plan.is_some() && is_new {
            // The owner puts the key into the card's image.
            let key = self.key_of_most();
            self.nodes[index].card.given = key;
        }
    }

    /// The key that most boards hold; of two the newer.
    fn key_of_most(&self) -> Option<ClusterKey> {
        let held = |node: &&crate::node::Node| !node.retired && !node.thief;
        let kept = self.nodes.iter().filter(held);
        let kept: Vec<&Kept> = kept
            .filter_map(|node| node.card.keyring.kept.as_ref())
            .collect();
        let count = |key: &ClusterKey| kept.iter().filter(|it| it.keyring.current == *key).count();
        let keys = kept.iter().map(|kept| &kept.keyring.current);
        keys.max_by_key(|key| (count(key), key.epoch(), key.kid().0))
            .cloned()
    }

    /// A frame of a hello arrives: the board may die of it, with the other side half through.
    pub fn may_die_in_hello(&mut self, index: usize) {
        let chance = self.keying.plan.as_ref().map_or(0, |plan| plan.hello_death);
        if self.mischief && !self.nodes[index].thief && self.keying.dice.chance(chance) {
            self.keying.deeds.hello_deaths += 1;
            let fault = match self.keying.dice.coin() {
                true => Fault::Kill(index),
                false => Fault::PowerCut(index),
            };
            self.apply(fault);
            let wait = self.keying.dice.duration(DOWN);
            self.schedule(wait, Happening::Consequence(Fault::Start(index)));
        }
    }

    /// Boards of which each can come in where the next is, by what both hold.
    fn circles(&self) -> Vec<Vec<usize>> {
        let mut circles: Vec<Vec<usize>> = Vec::new();
        for node in self.up() {
            let (near, far): (Vec<_>, Vec<_>) = circles
                .into_iter()
                .partition(|circle| circle.iter().any(|other| self.come_together(node, *other)));
            circles = far;
            circles.push(near.into_iter().flatten().chain([node]).collect());
        }
        circles
    }

    fn come_together(&self, a: usize, b: usize) -> bool {
        let (Some(mine), Some(theirs)) = (self.keys_of(a), self.keys_of(b)) else {
            return false;
        };
        let knows = |keys: &Keys, other: &Keys| {
            let current = other.keyring().current.kid();
            keys.keyring().find(&current).is_some() && {
                let previous = keys.keyring().previous.as_ref();
                previous.is_none_or(|key| key.kid() != current)
            }
        };
        let has = |a: usize, b: usize| {
            let roster = self.nodes[a].roster();
            roster.is_some_and(|roster| roster.has(&self.nodes[b].card.id()))
        };
        knows(mine, theirs) || knows(theirs, mine) || (has(a, b) && has(b, a))
    }

    /// The owner gives the ring's key to boards that cannot come by it: they paired apart, or came
    /// with a card whose key was replaced meanwhile.
    ///
    /// # Panics
    /// When a board is among them that had the ring's key once.
    pub fn owner_gives_keys(&mut self) {
        if self.keying.plan.is_none() {
            return;
        }
        let epoch = |world: &World, node: usize| {
            let keys = world.keys_of(node);
            keys.map_or(0, |keys| keys.keyring().current.epoch())
        };
        let circles = self.circles();
        let main = circles.iter().max_by_key(|circle| {
            let epochs = circle.iter().map(|node| epoch(self, *node));
            (epochs.max(), circle.len())
        });
        let Some(main) = main.cloned() else {
            return;
        };
        let first = main.iter().max_by_key(|node| epoch(self, **node));
        let key = first.and_then(|node| self.keys_of(*node));
        let key = key.map(|keys| keys.keyring().current.clone());
        let pairing = self.pairs();
        for node in self.up().into_iter().filter(|node| !main.contains(node)) {
            let card = &self.nodes[node].card;
            assert!(
                pairing || card.may_lack_key,
                "board {node} had the ring's key and cannot come in"
            );
            self.tell(|| format!("{node} is given the key by hand"));
            self.keying.deeds.given += 1;
            self.model.were_apart |= pairing;
            self.nodes[node].card.given.clone_from(&key);
            self.apply(Fault::Kill(node));
            self.apply(Fault::Start(node));
        }
    }
}

/// The type of frame that says which keys are held, and the bytes before a frame's payload.
const REKEYED: u8 = 0x1b;
const FRAME_HEADER_BYTES: usize = 8;

/// Everybody signs with one key, keeps it, and agrees on whose word it has.
pub fn check_keys(world: &World) -> Result<(), String> {
    if world.keying.plan.is_none() {
        return Ok(());
    }
    thief::check_outside(world)?;
    let mut seen = BTreeSet::new();
    for node in world.up() {
        let Some(keys) = world.keys_of(node) else {
            continue;
        };
        let current = &keys.keyring().current;
        let file = &world.nodes[node].card.keyring;
        let kept = file.kept.as_ref();
        if kept.map(|kept| (&kept.keyring.current, kept.confirmed))
            != Some((current, keys.is_confirmed()))
        {
            return Err(format!("board {node} does not hold its key in its file"));
        }
        if world.keying.confirmed && !keys.is_confirmed() {
            return Err(format!("board {node} has not heard of the owner's word"));
        }
        seen.insert((current.kid().0, keys.is_confirmed()));
    }
    match seen.len() {
        0 | 1 => Ok(()),
        count => Err(format!("{count} keys: {seen:?}")),
    }
}
