//! Lookups and the ring's pointers, as Chord's messages ask for them.
//!
//! In mode `full` every board knows the roster, so a lookup takes one hop: the path is this board
//! and the answer. A lookup by id asks the ring of the boards' own ids, among the live ones; a
//! lookup by key asks who holds its copies, by the roster, whether alive or not.

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
    /// The live boards around this one.
    pub(super) fn pointers(&mut self) -> Arc<Pointers> {
        match &self.pointers {
            Some(pointers) => pointers.clone(),
            None => {
                let alive = match self.phase {
                    Phase::Joined => self.present_others(),
                    _ => Vec::new(),
                };
                let pointers = Arc::new(Pointers::new(self.me, alive));
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
        let (node, copies) = match target {
            None if successor => (pointers.clockwise(1), Vec::new()),
            None => (pointers.predecessor(), Vec::new()),
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
            node: self.node_ref(&node),
            path,
            hops,
            copies,
        })
    }

    fn rows(&mut self) -> Vec<Row> {
        let pointers = self.pointers();
        self.settings.structure.rows(&self.me, &pointers)
    }

    fn finger(&self, row: &Row) -> Finger {
        Finger {
            index: row.index,
            start: row.start,
            node: self.node_ref(&row.node),
        }
    }

    pub(super) fn fingers(&mut self) -> Result<Reply, CallError> {
        self.check_ring()?;
        let pointers = self.pointers();
        let rows = self.rows();
        Ok(Reply::Fingers {
            predecessor: self.node_ref(&pointers.predecessor()),
            successors: self.node_refs(&pointers.successors(limit::SUCCESSORS_MAX)),
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
        let known = contacts
            .into_iter()
            .find(|contact| contact.endpoint == node);
        let Some(known) = known else {
            return Err(CallError::Invalid(format!(
                "no board of this ring is at {node}; list the boards with `roundel nodes`"
            )));
        };
        let predecessor = self.pointers().predecessor();
        Ok(Reply::Notified {
            accepted: predecessor == known.id,
            predecessor: self.node_ref(&predecessor),
        })
    }

    /// The member at this address, if any.
    pub(super) fn member_at(&self, at: &SocketAddr) -> Option<Id> {
        let roster = self.roster.as_ref()?;
        let mut ids = roster.members().map(|entry| entry.id);
        ids.find(|id| {
            let contact = roster.contact(id);
            contact.is_some_and(|contact| contact.endpoint == *at)
                || self.membership.hinted(id) == Some(*at)
        })
    }
}
