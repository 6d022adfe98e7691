//! Faults as they happen: what each does to the world, and how the next one is drawn.
//!
//! What is drawn stays within promise 1: whatever loses copies for good (a lost card, a
//! lying flush, rot) befalls one board of a run only.

use std::time::Duration;

use roundel::base::call::{Call, LeaveMode};
use roundel::proto::board::LinkEvent;

use crate::fault::{Fault, TO_1970_MS, TO_2038_MS};
use crate::node::Power;
use crate::world::{Happening, World};

/// Boards of a ring that outlives the loss of one: two of them hold what was acknowledged.
const DAMAGED_BOARDS_MIN: usize = 3;

impl World {
    /// Makes a fault happen.
    pub fn apply(&mut self, fault: Fault) {
        self.tell(|| format!("{fault:?}"));
        match fault {
            Fault::Kill(node) => self.stop(node, Power::On),
            Fault::PowerCut(node) => self.stop(node, Power::Off),
            Fault::Start(node) => self.start(node),
            Fault::Pause(node, time) => {
                self.nodes[node].paused_until = self.now + time;
                self.nodes[node].backlog = 0;
            }
            Fault::Partition(groups) => {
                for (a, b) in pairs(self.nodes.len()) {
                    let group = |node| groups.iter().position(|group| group.contains(&node));
                    if group(a) != group(b) {
                        self.network.cut(a, b);
                    }
                }
            }
            Fault::Cut(from, to) => self.network.cut(from, to),
            Fault::Heal => {
                for arrival in self.network.heal(&mut self.dice, self.now) {
                    self.schedule_at(arrival.at, Happening::Stream(arrival));
                }
            }
            Fault::Break(a, b) => self.break_streams(a, b),
            Fault::Clock(node, off_ms) => self.nodes[node].clock_off_ms = off_ms,
            Fault::Full(node, full) => self.nodes[node].card.disk.full = full,
            Fault::Slow(node, more) => self.nodes[node].card.disk.slowness = more,
            Fault::Lie(node, lies) => self.nodes[node].card.disk.lies = lies,
            Fault::Rot(node) => self.nodes[node].card.disk.rot(&mut self.dice),
            Fault::LoseCard(node) => self.lose_card(node),
            Fault::CloneCard(node) => self.clone_card(node),
            Fault::Leave(node) => {
                if self.nodes[node].is_up() {
                    self.call(node, Call::Leave(LeaveMode::Orderly), None);
                }
            }
            Fault::Join(node, sponsor) => self.join(node, sponsor),
            Fault::Move(node) => self.move_address(node),
        }
    }

    /// A board that has left is asked to join again where another is.
    fn join(&mut self, node: usize, sponsor: usize) {
        let departed = |place: usize| {
            let running = self.nodes[place].running.as_ref();
            running.is_some_and(|running| running.departed)
        };
        if departed(node) && !departed(sponsor) {
            let sponsor = self.nodes[sponsor].endpoint;
            self.call(node, Call::Join { sponsor }, None);
        }
    }

    /// Every board that has left is asked to join again.
    pub fn rejoin(&mut self) {
        for node in self.up() {
            for sponsor in self.up() {
                self.join(node, sponsor);
            }
        }
    }

    fn break_streams(&mut self, a: usize, b: usize) {
        for (stream, side) in self.network.streams_of(a, self.life_of(a)) {
            let (here, there) = (
                self.network.end(stream, side),
                self.network.end(stream, 1 - side),
            );
            if there.node != b {
                continue;
            }
            for end in [here, there] {
                let wait = self.dice.duration(self.faults.delay);
                self.schedule(wait, Happening::Link(end, LinkEvent::Closed));
            }
        }
    }

    fn lose_card(&mut self, node: usize) {
        self.stop(node, Power::Off);
        self.lost.push(self.nodes[node].card.id());
        let mut card = self.fresh_card();
        card.may_lack_key = true;
        self.nodes[node].insert(card, self.mutant);
    }

    fn clone_card(&mut self, node: usize) {
        let spare = self.nodes.len() - 1;
        if self.nodes[spare].is_up() {
            return;
        }
        let mut card = self.nodes[node].card.clone();
        // What a copy of a running board's card holds is what was durable.
        card.disk.cut_power(&mut self.dice);
        self.nodes[spare].insert(card, self.mutant);
        self.nodes[spare].retired = false;
        self.start(spare);
    }

    fn move_address(&mut self, node: usize) {
        let moves = match self.nodes[node].endpoint.ip() {
            std::net::IpAddr::V4(ip) => ip.octets()[1] + 1,
            std::net::IpAddr::V6(_) => 0,
        };
        let endpoint = World::address(node, moves);
        self.nodes[node].endpoint = endpoint;
        let now = self.clock_of(node);
        if let Some(running) = &mut self.nodes[node].running {
            running.board.handle_endpoint(now, endpoint);
            self.touched(node);
        }
    }

    /// Draws the next fault, and when the one after it comes.
    pub fn mischief(&mut self) {
        let Some(interval) = self.faults.interval.filter(|_| self.mischief) else {
            return;
        };
        let wait = self.dice.duration(interval);
        self.schedule(wait, Happening::Mischief);
        let weights = &self.faults.weights;
        let kinds = [
            (weights.kill, World::draw_kill as fn(&mut World, usize)),
            (weights.power_cut, World::draw_power_cut),
            (weights.pause, World::draw_pause),
            (weights.partition, World::draw_partition),
            (weights.one_way, World::draw_one_way),
            (weights.partial, World::draw_partial),
            (weights.break_streams, World::draw_break),
            (weights.clock, World::draw_clock),
            (weights.full, World::draw_full),
            (weights.slow, World::draw_slow),
            (weights.leave, World::draw_leave),
            (weights.everybody, World::draw_everybody),
            (weights.damage, World::draw_damage),
        ];
        let total: u32 = kinds.iter().map(|(weight, _)| weight).sum();
        let up = self.up();
        let Some(node) = self.dice.pick(&up).filter(|_| total > 0) else {
            return;
        };
        let mut at = self.dice.below(total as usize) as u32;
        for (weight, draw) in kinds {
            if at < weight {
                draw(self, node);
                return;
            }
            at -= weight;
        }
    }

    fn after_ms(&mut self, low: u64, high: u64) -> Duration {
        // Small and large alike: each doubling is as likely as the next.
        let doublings = (high / low).ilog2();
        let most = (low << self.dice.between(0, u64::from(doublings) + 1)).min(high);
        Duration::from_millis(self.dice.between(low, most))
    }

    fn then(&mut self, (low_ms, high_ms): (u64, u64), fault: Fault) {
        let wait = self.after_ms(low_ms, high_ms);
        self.schedule(wait, Happening::Consequence(fault));
    }

    fn draw_kill(&mut self, node: usize) {
        self.apply(Fault::Kill(node));
        self.then((50, 40_000), Fault::Start(node));
    }

    fn draw_power_cut(&mut self, node: usize) {
        self.apply(Fault::PowerCut(node));
        self.then((200, 40_000), Fault::Start(node));
    }

    fn draw_pause(&mut self, node: usize) {
        let time = self.after_ms(100, 40_000);
        self.apply(Fault::Pause(node, time));
    }

    fn draw_partition(&mut self, _node: usize) {
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        self.dice.shuffle(&mut order);
        let at = 1 + self.dice.below(order.len() - 1);
        let other = order.split_off(at);
        self.apply(Fault::Partition(vec![order, other]));
        self.then((200, 40_000), Fault::Heal);
    }

    fn draw_one_way(&mut self, node: usize) {
        let deaf = self.dice.coin();
        for other in 0..self.nodes.len() {
            match deaf {
                true => self.apply(Fault::Cut(other, node)),
                false => self.apply(Fault::Cut(node, other)),
            }
        }
        self.then((200, 20_000), Fault::Heal);
    }

    fn draw_partial(&mut self, node: usize) {
        let other = self.dice.below(self.nodes.len());
        self.apply(Fault::Cut(other, node));
        if self.dice.coin() {
            self.apply(Fault::Cut(node, other));
        }
        self.then((200, 40_000), Fault::Heal);
    }

    fn draw_break(&mut self, node: usize) {
        let other = self.dice.below(self.nodes.len());
        self.apply(Fault::Break(node, other));
    }

    fn draw_clock(&mut self, node: usize) {
        // One clock at a time is in 2038: the others outvote it. Meanwhile others lose theirs.
        let ahead = |node: &crate::node::Node| node.clock_off_ms == TO_2038_MS;
        let to = match self.faults.clock_off_ms {
            TO_2038_MS if self.nodes.iter().any(ahead) => TO_1970_MS,
            to => to,
        };
        self.apply(Fault::Clock(node, to));
        self.then((500, 60_000), Fault::Clock(node, 0));
    }

    fn draw_full(&mut self, node: usize) {
        self.apply(Fault::Full(node, true));
        self.then((1_000, 30_000), Fault::Full(node, false));
    }

    fn draw_slow(&mut self, node: usize) {
        let more = self.after_ms(20, 2_000);
        self.apply(Fault::Slow(node, more));
        self.then((1_000, 30_000), Fault::Slow(node, Duration::ZERO));
    }

    fn draw_leave(&mut self, node: usize) {
        let up = self.up();
        let sponsor = self.dice.pick(&up).unwrap_or(node);
        if up.len() < 4 || sponsor == node {
            return;
        }
        self.apply(Fault::Leave(node));
        self.then((3_000, 40_000), Fault::Join(node, sponsor));
    }

    fn draw_everybody(&mut self, _node: usize) {
        for node in self.up() {
            match self.dice.coin() {
                true => self.apply(Fault::PowerCut(node)),
                false => self.apply(Fault::Kill(node)),
            }
            self.then((200, 10_000), Fault::Start(node));
        }
    }

    /// Boards that pair may be in rings of one or two for a while, where a put is acknowledged by
    /// too few boards to outlive one of them: promise 1 says nothing then.
    fn may_be_damaged(&mut self, node: usize) -> bool {
        if !self.pairs() {
            return true;
        }
        let overview = self.overview(node);
        overview.is_some_and(|it| it.settled && it.members.len() >= DAMAGED_BOARDS_MIN)
    }

    fn draw_damage(&mut self, node: usize) {
        let (node, gone) = self.damaged.unwrap_or((node, false));
        if gone || !self.nodes[node].is_up() || !self.may_be_damaged(node) {
            return;
        }
        // A cloned card is played by its scenario: here it would also meet a lying medium.
        let kind = self.dice.below(3);
        self.damaged = Some((node, kind >= 2));
        match kind {
            0 => {
                self.apply(Fault::Lie(node, true));
                self.then((500, 10_000), Fault::PowerCut(node));
                self.then((12_000, 20_000), Fault::Start(node));
                self.then((21_000, 22_000), Fault::Lie(node, false));
            }
            1 => (0..4).for_each(|_| self.apply(Fault::Rot(node))),
            _ => {
                self.apply(Fault::LoseCard(node));
                self.then((200, 20_000), Fault::Start(node));
            }
        }
    }
}

/// Every ordered pair of two different numbers below `count`.
fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |a| (0..count).map(move |b| (a, b)))
}
