//! Zave's operations: Join, StabilizeFromSuccessor, StabilizeFromPredecessor, Rectify; and the
//! orderly leave, which tells the neighbours what they would find out by asking.

use super::lookup::Found;
use super::{Event, Partial, Purpose};
use crate::base::id::Id;
use crate::base::pointer::{Reply, Request};

/// `ids` as a successor list of `me`: as long as each lies strictly clockwise of the one before
/// and the ring has not come round. What a peer says can so never put a list out of order.
pub(super) fn in_order(me: Id, ids: impl IntoIterator<Item = Id>, length: usize) -> Vec<Id> {
    let mut before = me;
    let ordered = ids.into_iter().take_while(|id| {
        let follows = id.is_in_open(&before, &me);
        before = *id;
        follows
    });
    ordered.take(length).collect()
}

impl Partial {
    /// Join: the lookup of this board's own id ended.
    pub(super) fn join_beside(&mut self, found: Option<Found>) {
        let at = found.map(|found| found.predecessor.unwrap_or(found.owner));
        match at.filter(|at| *at != self.me) {
            Some(at) => self.ask(at, Request::State, Purpose::JoinAt(at)),
            None => self.events.push_back(Event::JoinFailed),
        }
    }

    /// Join: between m and its first successor, or not at all.
    pub(super) fn handle_join_state(&mut self, at: Id, reply: Option<Reply>) {
        let Some(Reply::State { successors, .. }) = reply else {
            return self.events.push_back(Event::JoinFailed);
        };
        let first = successors.first().copied().unwrap_or(at);
        if !self.me.is_in_open(&at, &first) {
            return self.events.push_back(Event::JoinFailed);
        }
        // A list shorter than r shows the whole ring but m itself.
        let list = in_order(self.me, successors.into_iter().chain([at]), self.length);
        self.joining = Some(list);
        self.predecessor = Some(at);
        self.ask(first, Request::Ping, Purpose::JoinBefore);
    }

    /// Join: m's first successor answers, or the board does not join this time.
    pub(super) fn handle_join_answer(&mut self, answered: bool) {
        match self.joining.take().filter(|_| answered) {
            Some(list) => {
                self.successors = list;
                self.member = true;
                self.events.push_back(Event::Joined);
                self.stabilise();
            }
            None => {
                self.predecessor = None;
                self.events.push_back(Event::JoinFailed);
            }
        }
    }

    /// Begins a round, unless one is under way.
    pub(super) fn stabilise(&mut self) {
        if self.stabilising {
            return;
        }
        // The founder of a ring learns of its second board by being notified.
        let Some(first) = self.successor().or(self.predecessor) else {
            return;
        };
        if self.successors.is_empty() {
            self.successors.push(first);
        }
        self.stabilising = true;
        self.ask(first, Request::State, Purpose::Successor(first));
    }

    /// StabilizeFromSuccessor.
    pub(super) fn handle_successor(&mut self, asked: Id, reply: Option<Reply>) {
        self.stabilising = false;
        if !self.member || self.successor() != Some(asked) {
            return;
        }
        let Some(Reply::State {
            predecessor,
            successors,
        }) = reply
        else {
            self.successors.remove(0);
            if self.predecessor == Some(asked) {
                self.predecessor = None;
            }
            if self.successors.is_empty() {
                return self.events.push_back(Event::Isolated);
            }
            return self.stabilise();
        };
        self.successors = in_order(self.me, [asked].into_iter().chain(successors), self.length);
        match predecessor.filter(|between| between.is_in_open(&self.me, &asked)) {
            Some(between) => {
                self.stabilising = true;
                self.ask(between, Request::State, Purpose::Between(between));
            }
            None => self.ask(asked, Request::Notify, Purpose::Told),
        }
    }

    /// StabilizeFromPredecessor: the successor's predecessor lies between, and answers or not.
    pub(super) fn handle_between(&mut self, asked: Id, reply: Option<Reply>) {
        self.stabilising = false;
        let Some(first) = self.successor().filter(|_| self.member) else {
            return;
        };
        if let Some(Reply::State { successors, .. }) = reply
            && asked.is_in_open(&self.me, &first)
        {
            self.successors = in_order(self.me, [asked].into_iter().chain(successors), self.length);
            // Where many joined at once there is another before it: a round walks past all.
            return self.stabilise();
        }
        self.ask(first, Request::Notify, Purpose::Told);
    }

    /// Rectify: a strictly closer predecessor at once, another when the old one is silent.
    pub(super) fn rectify(&mut self, from: Id) {
        match self.predecessor {
            _ if from == self.me => {}
            Some(old) if old == from => {}
            Some(old) if !from.is_in_open(&old, &self.me) => {
                if !self.rectifying {
                    self.rectifying = true;
                    self.ask(old, Request::Ping, Purpose::Rectify { old, new: from });
                }
            }
            _ => self.predecessor = Some(from),
        }
    }

    /// Rectify: the old predecessor answered or did not.
    pub(super) fn handle_rectify(&mut self, old: Id, new: Id, answered: bool) {
        self.rectifying = false;
        if self.member && !answered && self.predecessor == Some(old) {
            self.predecessor = Some(new);
        }
    }

    /// A neighbour leaves in an orderly manner.
    pub(super) fn handle_leaving(&mut self, from: Id, predecessor: Option<Id>, list: &[Id]) {
        if self.predecessor == Some(from) {
            self.predecessor = predecessor.filter(|id| *id != self.me);
        }
        if self.successor() == Some(from) && self.successors.len() > 1 {
            let rest = self.successors[1..].to_vec();
            let beyond = list.iter().filter(|id| !rest.contains(id)).copied();
            self.successors = in_order(self.me, rest.iter().copied().chain(beyond), self.length);
        } else if self.successors == [from] {
            self.successors = in_order(self.me, list.iter().copied(), self.length);
        }
        self.fingers.retain(|_, id| *id != from);
    }
}
