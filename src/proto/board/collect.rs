//! Collecting tombstones: a removed key leaves one on each copy, and one day these go too.
//!
//! A tombstone may go when nothing older can come back from anywhere: every board of the roster
//! that keeps copies, absent ones included, holds this tombstone or nothing under the key, all
//! copies of the key among them; and again so after the collection age, so that nothing older was
//! on its way. The owner of the key asks ([`RangePage::Tombstones`]), waits, asks again and tells
//! all ([`RangePage::Collect`]). Any change of those boards' roster and any of them that goes down
//! meanwhile begins it anew, so with one absent nothing is collected.
//!
//! In mode `partial`, where no board knows the whole roster, nothing is collected: tombstones stay.
//!
//! A copy that misses the last message keeps its tombstone, offers it to the others when they are
//! next compared, and it is collected again: untidy, never wrong. A board that was given up and
//! returns must not offer what it held (`membership/`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Board, LoadPurpose, Phase, StorePurpose};
use crate::base::id::Id;
use crate::base::item::{Item, Key};
use crate::base::limit;
use crate::base::store::{Batch, Change, Load, Loaded, StoreError, Which};
use crate::base::time::{Now, Time};
use crate::base::version::Version;
use crate::wire::peer::{Message, RangePage};

/// Tombstones of one question: their list fits a frame.
const PAGE_ITEMS: usize = 512;
/// Tombstones are looked at no more often than this.
const LOOK_INTERVAL: Duration = Duration::from_secs(8);
/// A question that nobody has answered for so long is given up.
const ANSWER_TIME: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Question {
    items: Vec<(Key, Version)>,
    /// Boards that have not answered.
    waiting: BTreeSet<Id>,
    /// Positions that some board holds something else under.
    held: BTreeSet<u32>,
    asked: Time,
}

/// Collection on one board.
#[derive(Debug, Default)]
pub(super) struct Collect {
    /// The roster all that is below was asked over.
    view: u64,
    /// Tombstones that every board confirmed, and when first.
    confirmed: BTreeMap<Key, (Version, Time)>,
    question: Option<(u64, Question)>,
    /// Where the next page of tombstones begins.
    after: Option<Key>,
    loading: bool,
    looked: Option<Time>,
}

impl Board {
    /// A board went down or the roster changed: what was confirmed is not any longer.
    pub(super) fn collect_anew(&mut self) {
        self.collect = Collect::default();
    }

    /// Asks about the next tombstones, when the roster is settled and everybody is there.
    pub(super) fn collect_round(&mut self, now: Now) {
        let digest = self.roster_digest();
        if self.collect.view != digest || !self.absent_holders().is_empty() {
            self.collect_anew();
            self.collect.view = digest;
        }
        let late = |(_, question): &(u64, Question)| now.time.since(question.asked) >= ANSWER_TIME;
        self.collect.question.take_if(|question| late(question));
        let early = self
            .collect
            .looked
            .is_some_and(|at| now.time.since(at) < LOOK_INTERVAL);
        let busy = self.collect.question.is_some() || self.collect.loading || early;
        if busy || !self.absent_holders().is_empty() || !self.is_settled_member() {
            return;
        }
        self.collect.looked = Some(now.time);
        let load = self.out.load(Load::Tree);
        self.loads.insert(load, LoadPurpose::TombstoneCount);
        self.collect.loading = true;
    }

    fn is_settled_member(&self) -> bool {
        self.phase == Phase::Joined && !self.is_behind() && !self.handover.is_busy()
    }

    /// How many tombstones there are: with none there is nothing to read.
    pub(super) fn tombstones_counted(&mut self, result: Result<Loaded, StoreError>) {
        self.collect.loading = false;
        if let Ok(Loaded::Tree { tombstones, .. }) = result
            && tombstones > 0
        {
            let load = self.out.load(Load::Page {
                after: self.collect.after.take(),
                prefix: String::new(),
                which: Which::Tombstones,
                items_max: PAGE_ITEMS,
                bytes_max: limit::PAGE_BYTES_MAX,
            });
            self.loads.insert(load, LoadPurpose::TombstonePage);
            self.collect.loading = true;
        }
    }

    /// A page of tombstones: those this board owns are asked about.
    pub(super) fn tombstones_loaded(&mut self, now: Now, result: Result<Loaded, StoreError>) {
        self.collect.loading = false;
        let Ok(Loaded::Page { items, next }) = result else {
            return;
        };
        self.collect.after = next;
        let Some(view) = self
            .view()
            .filter(|view| view.digest() == self.collect.view)
        else {
            return;
        };
        let age = self.settings.tombstone_age;
        let due = |key: &Key, version: &Version| match self.collect.confirmed.get(key) {
            Some((held, since)) => held != version || now.time.since(*since) >= age,
            None => self.collect.confirmed.len() < limit::COLLECTED_MAX,
        };
        let mine = |item: &Item| {
            let owner = view.target(&item.key.point()).first().copied();
            item.record.value.is_none() && owner == Some(self.me)
        };
        let items: Vec<(Key, Version)> = items
            .into_iter()
            .filter(mine)
            .map(|item| (item.key, item.record.version))
            .filter(|(key, version)| due(key, version))
            .collect();
        if items.is_empty() {
            return;
        }
        let operation = self.out.draw();
        let others = self.present_holders();
        let question = Question {
            items: items.clone(),
            waiting: others.iter().copied().collect(),
            held: BTreeSet::new(),
            asked: now.time,
        };
        self.collect.question = Some((operation, question));
        let message = Message::RangePage(RangePage::Tombstones {
            operation,
            view: view.digest(),
            items,
        });
        for other in others {
            self.send(now, &other, &message);
        }
        self.settle_question(now);
    }

    /// Another board holds something else at these positions. False: no question of this kind.
    pub(super) fn tombstones_answered(
        &mut self,
        now: Now,
        from: Id,
        operation: u64,
        held: Option<&[u32]>,
    ) -> bool {
        let Some((asked, question)) = self.collect.question.as_mut() else {
            return false;
        };
        if *asked != operation {
            return false;
        }
        match held {
            Some(held) if question.waiting.remove(&from) => question.held.extend(held),
            Some(_) => {}
            None => self.collect.question = None,
        }
        self.settle_question(now);
        true
    }

    /// Everybody has answered: what is old enough goes, the rest waits.
    fn settle_question(&mut self, now: Now) {
        let answered = |(_, question): &mut (u64, Question)| question.waiting.is_empty();
        let Some((_, question)) = self.collect.question.take_if(|q| answered(q)) else {
            return;
        };
        if self.collect.view != self.roster_digest() {
            return;
        }
        let age = self.settings.tombstone_age;
        let mut ripe = Vec::new();
        for (position, (key, version)) in question.items.into_iter().enumerate() {
            if question.held.contains(&(position as u32)) {
                self.collect.confirmed.remove(&key);
                continue;
            }
            match self.collect.confirmed.get(&key) {
                Some((held, since)) if *held == version => {
                    if now.time.since(*since) >= age {
                        self.collect.confirmed.remove(&key);
                        ripe.push((key, version));
                    }
                }
                _ => {
                    self.collect.confirmed.insert(key, (version, now.time));
                }
            }
        }
        if ripe.is_empty() {
            return;
        }
        let message = Message::RangePage(RangePage::Collect {
            view: self.collect.view,
            items: ripe.clone(),
        });
        for other in self.present_holders() {
            self.send(now, &other, &message);
        }
        self.drop_tombstones(ripe);
    }

    /// The owner of these keys says that their tombstones may go.
    pub(super) fn collect_told(&mut self, from: &Id, view: u64, items: Vec<(Key, Version)>) {
        let Some(mine) = self.view().filter(|mine| mine.digest() == view) else {
            return;
        };
        let owned = |key: &Key| mine.target(&key.point()).first() == Some(from);
        let items = items.into_iter().filter(|(key, _)| owned(key)).collect();
        self.drop_tombstones(items);
    }

    fn drop_tombstones(&mut self, items: Vec<(Key, Version)>) {
        if items.is_empty() {
            return;
        }
        self.watch
            .count_many("tombstones_collected", items.len() as u64);
        let changes = items
            .into_iter()
            .map(|(key, version)| Change::Drop { key, version })
            .collect();
        let store = self.out.store(Batch {
            changes,
            high_water: None,
        });
        self.stores.insert(store, StorePurpose::Collected);
    }
}
