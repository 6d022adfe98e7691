//! Clients: each asks a board that runs, one thing after the other, and believes what it is told.

use std::time::Duration;

use roundel::base::call::Consistency;

use crate::model::{Fate, Kind, Operation};
use crate::world::{Happening, World};

/// Bytes of a value, most of the time and at times.
const SMALL_BYTES: u64 = 40;
const LARGE_BYTES: u64 = 3_000;

impl World {
    /// A client asks something of some board.
    pub fn client(&mut self) {
        if !self.clients {
            return;
        }
        let wait = self.dice.duration(self.faults.think);
        self.schedule(wait, Happening::Client);
        let up = self.up();
        let Some(node) = self.dice.pick(&up) else {
            return;
        };
        let kind = match self.dice.below(100) {
            0..45 => Kind::Put,
            45..60 => Kind::Remove,
            _ => Kind::Get,
        };
        let consistency = match kind {
            Kind::Get if self.dice.below(10) == 0 => Consistency::One,
            _ if self.dice.below(20) == 0 => Consistency::All,
            _ => Consistency::Quorum,
        };
        let key = self.dice.below(self.model.keys());
        self.operate(node, key, kind, consistency);
    }

    /// One operation, of which the model knows.
    pub fn operate(&mut self, node: usize, key: usize, kind: Kind, consistency: Consistency) {
        let length = match self.dice.below(8) {
            0 => self.dice.between(0, LARGE_BYTES),
            _ => self.dice.between(0, SMALL_BYTES),
        };
        let running = self.nodes[node].running.as_ref();
        let operation = Operation {
            key,
            kind,
            consistency,
            cluster: running.and_then(|running| running.cluster),
            asked: self.now,
            answered: None,
            fate: Fate::Pending,
            strict: false,
        };
        let (id, call) = self.model.ask(operation, length as usize);
        self.tell(|| format!("{node} is asked {id}: {kind:?} key{key} {consistency:?}"));
        self.repeat(node, &call);
        self.call(node, call, Some(id));
    }

    /// Clients begin.
    pub fn begin_clients(&mut self) {
        self.clients = true;
        self.schedule(Duration::ZERO, Happening::Client);
    }
}
