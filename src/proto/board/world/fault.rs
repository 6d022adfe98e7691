//! Further faults of the small world: links that are cut one way, media that write one batch after
//! the other, messages that are sent again.

use super::*;
use crate::base::store::META_DAMAGE;

/// What somebody on the LAN saw, and may send again.
#[derive(Clone)]
pub(in crate::proto::board) enum Captured {
    /// To this board.
    Datagram(usize, Bytes),
    /// To this end of a stream.
    Frame(usize, LinkId, Frame),
}

impl World {
    pub(in crate::proto::board) fn board(&self, index: usize) -> &Board {
        let running = self.nodes[index].running.as_ref();
        &running.expect("it runs").board
    }

    /// The board's card gets another identity, and keeps the keys it holds.
    pub(in crate::proto::board) fn change_identity(&mut self, index: usize, pkcs8: Vec<u8>) {
        let node = &mut self.nodes[index];
        node.id = Identity::from_pkcs8(&pkcs8).unwrap().id();
        node.pkcs8 = pkcs8;
        let keyring = node.medium.keyring.take();
        node.medium = Medium {
            keyring,
            ..Medium::default()
        };
    }

    /// Somebody sends once more what was captured.
    pub(in crate::proto::board) fn replay(&mut self, captured: Captured) {
        let (to, delivery) = match captured {
            Captured::Datagram(to, bytes) => (to, Delivery::Datagram(to, bytes)),
            Captured::Frame(to, link, frame) => {
                (to, Delivery::Link(to, link, LinkEvent::Frame(frame)))
            }
        };
        let life = self.nodes[to].life;
        self.hand_over(life, delivery);
    }

    /// Boards of different groups do not reach each other.
    pub(in crate::proto::board) fn partition(&mut self, groups: &[&[usize]]) {
        for (i, a) in groups.iter().enumerate() {
            for b in &groups[i + 1..] {
                for x in a.iter() {
                    for y in b.iter() {
                        self.cut.extend([(*x, *y), (*y, *x)]);
                    }
                }
            }
        }
    }

    pub(in crate::proto::board) fn heal(&mut self) {
        self.cut.clear();
    }

    /// Nothing the one sends reaches the others.
    pub(in crate::proto::board) fn cut_one_way(&mut self, from: usize, to: &[usize]) {
        self.cut.extend(to.iter().map(|to| (from, *to)));
    }

    /// The network loses the next datagram.
    pub(super) fn is_lost(&mut self) -> bool {
        let loss = self.loss.as_mut();
        loss.is_some_and(|(rng, percent)| rng.random_range(0..100) < *percent)
    }

    /// How long this batch takes to be on the medium.
    pub(super) fn commit_time(&mut self, index: usize, batch: &Batch) -> Duration {
        let node = &mut self.nodes[index];
        let Some(rate) = node.store_rate else {
            return node.store_delay;
        };
        let bytes: usize = batch
            .changes
            .iter()
            .map(|change| match change {
                Change::Merge(item) => item.bytes(),
                Change::Drop { .. } | Change::Meta { .. } => 0,
            })
            .sum();
        let writing = Duration::from_micros(bytes as u64 * 1_000_000 / rate);
        node.store_free = node.store_free.max(self.now) + writing;
        node.store_free.since(self.now) + node.store_delay
    }

    /// Copies of the key on media of boards that run.
    pub(in crate::proto::board) fn copies_of(&self, key: &str) -> usize {
        let key = Key::new(key).unwrap();
        let running = self.nodes.iter().filter(|node| node.running.is_some());
        running
            .filter(|node| {
                let record = node.medium.items.get(&key);
                record.is_some_and(|record| record.value.is_some())
            })
            .count()
    }

    /// The board has something due of this kind.
    pub(in crate::proto::board) fn has_timer(&self, index: usize, timer: Timer) -> bool {
        let running = self.nodes[index].running.as_ref();
        running.is_some_and(|running| running.board.is_armed(timer))
    }

    /// Every board that runs forgets its tombstones, as when each copy has confirmed them.
    pub(in crate::proto::board) fn collect_tombstones(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| node.running.is_some()) {
            node.medium.items.retain(|_, record| record.value.is_some());
        }
    }

    /// What follows the roster on the board's medium says that it was apart from others.
    pub(in crate::proto::board) fn is_apart(&self, index: usize) -> bool {
        let bytes = &self.nodes[index].medium.metas[META_ROSTER];
        let (_, note) = Roster::from_bytes(bytes).unwrap();
        note.first() == Some(&1)
    }

    /// What the board keeps at this moment.
    pub(in crate::proto::board) fn medium(&self, index: usize) -> Medium {
        self.nodes[index].medium.clone()
    }

    /// The log of a board that is down is damaged: its store opens with this.
    pub(in crate::proto::board) fn damage(&mut self, index: usize, past: Medium) {
        let medium = &mut self.nodes[index].medium;
        let boot = medium.boot;
        *medium = past;
        medium.boot = boot;
        let mark = Bytes::from_static(b"log");
        medium.metas.insert(META_DAMAGE, mark);
    }

    /// The store carries the mark of damage.
    pub(in crate::proto::board) fn is_marked(&self, index: usize) -> bool {
        self.nodes[index].medium.metas.contains_key(META_DAMAGE)
    }
}
