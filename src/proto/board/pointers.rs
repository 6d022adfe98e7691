//! Lookups and the ring's pointers, as Chord's messages ask for them.
//!
//! In mode `full` every board knows the roster, so a lookup takes one hop: the path is this board
//! and the answer. A lookup by id asks the ring of the boards' own ids, among the live ones; a
//! lookup by key asks who holds its copies, by the roster, whether alive or not. In mode
//! `partial` the pointers are learned and a lookup is a walk (`routing.rs`).

use std::sync::Arc;

use super::{Board, Phase};
use crate::base::call::{CallError, Finger, NodeRef, Reply, Target};
use crate::base::endpoint::SocketAddr;
use crate::base::id::Id;
use crate::base::limit;
use crate::base::time::Now;
use crate::proto::ring::Pointers;
use crate::proto::ring::structure::Row;

impl Board {
    /// The live boards around this one that keep copies.
    pub(super) fn pointers(&mut self) -> Arc<Pointers> {
        match &self.pointers {
            Some(pointers) => pointers.clone(),
            None => {
                let alive = match self.phase {
                    Phase::Joined => self.present_holders(),
                    _ => Vec::new(),
                };
                let pointers = Arc::new(match self.is_diskless() {
                    true => Pointers::beside(self.me, alive),
                    false => Pointers::new(self.me, alive),
                });
                self.pointers = Some(pointers.clone());
                pointers
            }
        }
    }

    pub(super) fn node_ref(&self, id: &Id) -> NodeRef {
        let contact = self.roster.as_ref().and_then(|roster| roster.contact(id));
        let mine = *id == self.me;
        NodeRef {
            id: *id,
            name: match mine {
                true => Some(self.settings.name.clone()),
                false => contact.map(|contact| contact.name.clone()),
            },
            endpoint: match mine {
                true => Some(self.settings.endpoint),
                false => contact.map(|contact| contact.endpoint),
            },
            alive: mine || self.is_present(id),
        }
    }

    pub(super) fn node_refs(&self, ids: &[Id]) -> Vec<NodeRef> {
        ids.iter().map(|id| self.node_ref(id)).collect()
    }

    /// A board as the ring's pointers name it: one the detector does not watch is believed.
    pub(super) fn pointer_ref(&self, id: &Id) -> NodeRef {
        let node = self.node_ref(id);
        match (self.is_neighbour(id), self.routing.contact(id)) {
            (false, Some(contact)) if *id != self.me => NodeRef {
                name: Some(contact.name.clone()),
                endpoint: Some(contact.endpoint),
                alive: true,
                ..node
            },
            _ => node,
        }
    }

    /// A board's name with the start of its id, for messages to people.
    pub(super) fn name_of(&self, id: &Id) -> String {
        match self.node_ref(id).name {
            Some(name) => format!("{name} ({})", id.short()),
            None => id.short(),
        }
    }

    pub(super) fn find(
        &mut self,
        target: Option<Target>,
        successor: bool,
    ) -> Result<Reply, CallError> {
        self.check_ring()?;
        let pointers = self.pointers();
        let me = self.me;
        let (predecessor, successors) = self.own_pointers();
        let (node, copies) = match target {
            None if successor => (successors[0], Vec::new()),
            None => (predecessor, Vec::new()),
            Some(Target::Id(id)) if successor => (pointers.successor_of(&id), Vec::new()),
            Some(Target::Id(id)) => (pointers.predecessor_of(&id), Vec::new()),
            Some(Target::Key(key)) => {
                let view = self
                    .view()
                    .ok_or_else(|| CallError::unavailable("no ring yet"))?;
                let copies = view.copy_sets(&key.point()).target().to_vec();
                let owner = copies[0];
                let node = if successor {
                    owner
                } else {
                    pointers.predecessor_of(&owner)
                };
                (node, copies)
            }
        };
        let path = self.settings.structure.path(&me, &node);
        let hops = path.len() - 1;
        let copies = self.node_refs(&copies);
        Ok(Reply::Lookup {
            node: self.pointer_ref(&node),
            path,
            hops,
            copies,
        })
    }

    fn rows(&mut self) -> Vec<Row> {
        if self.is_partial() {
            return self.rows_partial();
        }
        let pointers = self.pointers();
        self.settings.structure.rows(&self.me, &pointers)
    }

    /// Chord's fingers as far as they are known: within the successors, or learned.
    fn rows_partial(&self) -> Vec<Row> {
        let ring = &self.routing.ring;
        let fingers = ring.fingers();
        let node_of = |index: u32, start: &Id| {
            let mut near = ring.successors().iter();
            let within = near.find(|id| start.is_in_half_open(&self.me, id));
            within.or_else(|| fingers.get(&index)).copied()
        };
        let rows = (0..Id::BITS).filter_map(|index| {
            let start = self.me.plus_power_of_two(index);
            let node = match ring.successors().is_empty() {
                true => Some(self.me),
                false => node_of(index, &start),
            };
            node.map(|node| Row { index, start, node })
        });
        rows.collect()
    }

    fn finger(&self, row: &Row) -> Finger {
        Finger {
            index: row.index,
            start: row.start,
            node: self.pointer_ref(&row.node),
        }
    }

    pub(super) fn fingers(&mut self) -> Result<Reply, CallError> {
        self.check_ring()?;
        let (predecessor, successors) = self.own_pointers();
        let rows = self.rows();
        Ok(Reply::Fingers {
            predecessor: self.pointer_ref(&predecessor),
            successors: successors.iter().map(|id| self.pointer_ref(id)).collect(),
            fingers: rows.iter().map(|row| self.finger(row)).collect(),
        })
    }

    /// In mode `full` stabilising is computing the pointers anew and comparing rosters with the
    /// successor.
    pub(super) fn stabilize(&mut self, now: Now) -> Result<Reply, CallError> {
        self.check_ring()?;
        let before = self.pointers();
        self.pointers = None;
        let after = self.pointers();
        let successor = after.clockwise(1);
        if successor != self.me {
            self.exchange(now, &successor);
        }
        Ok(Reply::Stabilized {
            successors: self.node_refs(&after.successors(limit::SUCCESSORS_MAX)),
            changed: before != after,
        })
    }

    pub(super) fn init_fingers(&mut self) -> Result<Reply, CallError> {
        self.check_ring()?;
        self.pointers = None;
        self.finger_next = 0;
        if self.is_partial() {
            self.routing.ring.fix_every_finger();
        }
        Ok(Reply::FingersInitialized {
            count: self.rows().len(),
        })
    }

    pub(super) fn fix_fingers(&mut self) -> Result<Reply, CallError> {
        self.check_ring()?;
        let rows = self.rows();
        if rows.is_empty() {
            return Err(CallError::unavailable(
                "this board is alone and has no fingers",
            ));
        }
        let row = rows[self.finger_next as usize % rows.len()];
        self.finger_next = self.finger_next.wrapping_add(1);
        Ok(Reply::FingerFixed(self.finger(&row)))
    }

    pub(super) fn notified_by(&mut self, node: SocketAddr) -> Result<Reply, CallError> {
        self.check_ring()?;
        let contacts = self
            .roster
            .iter()
            .flat_map(|roster| roster.state().contacts);
        let learnt = self.routing.at(&node).cloned();
        let known = contacts
            .into_iter()
            .chain(learnt)
            .find(|contact| contact.endpoint == node);
        let Some(known) = known else {
            return Err(CallError::Invalid(format!(
                "no board of this ring is at {node}; list the boards with `roundel nodes`"
            )));
        };
        if self.is_partial() && known.id != self.me {
            let notify = crate::base::pointer::Request::Notify;
            self.routing.ring.handle_request(known.id, notify);
        }
        let (predecessor, _) = self.own_pointers();
        Ok(Reply::Notified {
            accepted: predecessor == known.id,
            predecessor: self.pointer_ref(&predecessor),
        })
    }
}
