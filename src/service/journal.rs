//! The journal: what happened to the ring lately, with time and cause, as this board saw it.
//!
//! Kept in memory alone, bounded, and gone with the process: an event writes no flash. The node
//! notes each event of the board; `get_node_events` and the page's feed read it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::base::call::Event;
use crate::base::id::Id;
use crate::base::limit;
use crate::base::time::Now;
use crate::proto::clock::hybrid::UNSET_BELOW_MS;

/// Characters of a key that an entry shows.
const SHOWN_KEY_CHARS: usize = 48;

/// An event as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Counts from 1 since the start.
    pub number: u64,
    /// Milliseconds after the start.
    pub uptime_ms: u64,
    /// Milliseconds since 1970; none when the clock is not set.
    pub time_ms: Option<u64>,
    /// Its name, as triggers name it.
    pub event: &'static str,
    /// The board it is about.
    pub node: Option<Id>,
    /// What happened and why: a sentence, or what goes on from the board's name.
    pub text: String,
}

/// The last events.
#[derive(Debug, Default)]
pub struct Journal(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Entry>,
    noted: u64,
    /// Boards that were last heard of as absent.
    down: BTreeSet<Id>,
}

impl Journal {
    /// Remembers an event.
    pub fn note(&self, now: Now, event: &Event) {
        let mut kept = self.kept();
        let (event, node, text) = kept.words(event);
        kept.noted += 1;
        let entry = Entry {
            number: kept.noted,
            uptime_ms: now.time.0 / 1_000,
            time_ms: Some(now.wall.0).filter(|ms| *ms >= UNSET_BELOW_MS),
            event,
            node,
            text,
        };
        if kept.entries.len() >= limit::EVENTS_KEPT_MAX {
            kept.entries.pop_front();
        }
        kept.entries.push_back(entry);
    }

    /// The entries after that number, oldest first.
    pub fn after(&self, number: u64) -> Vec<Entry> {
        let kept = self.kept();
        let later = kept.entries.iter().filter(|entry| entry.number > number);
        later.cloned().collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn words(&mut self, event: &Event) -> (&'static str, Option<Id>, String) {
        match event {
            Event::NodeAdded(id) => {
                self.down.remove(id);
                let text = "asked to join and was taken in".to_owned();
                ("node_added", Some(*id), text)
            }
            Event::NodeRemoved(id) => {
                let text = match self.down.remove(id) {
                    true => "stayed away and was given up, or was struck off by hand",
                    false => "handed over what it held and left",
                };
                ("node_removed", Some(*id), text.to_owned())
            }
            Event::NodeSuspected(id) => {
                let text = "is suspected: it answered no probe, also not through others".to_owned();
                ("node_suspected", Some(*id), text)
            }
            Event::NodeDown(id) => {
                if self.down.len() >= limit::ROSTER_MAX {
                    self.down.pop_first();
                }
                self.down.insert(*id);
                let text = "is absent: enough boards agree that it does not answer".to_owned();
                ("node_down", Some(*id), text)
            }
            Event::NodeUp(id) => {
                let text = match self.down.remove(id) {
                    true => "is back: it answers again",
                    false => "is present: it answers",
                };
                ("node_up", Some(*id), text.to_owned())
            }
            _ => {
                let (name, text) = sentence(event);
                (name, None, text)
            }
        }
    }
}

/// The name of an event that is about this board, its ring or a key, and what it means.
fn sentence(event: &Event) -> (&'static str, String) {
    match event {
        Event::Founded(_) => (
            "founded",
            "This board heard no other board of its cluster and founded a ring.".to_owned(),
        ),
        Event::Joined(_) => (
            "joined",
            "This board joined the ring of its cluster.".to_owned(),
        ),
        Event::ModeAdopted(mode) => (
            "mode_adopted",
            format!(
                "The ring runs in mode {}; that holds, not this board's ring_mode.",
                mode.as_str()
            ),
        ),
        Event::Merged { survivor, ended } => (
            "merged",
            format!("Two rings of this cluster met and became one: {ended} is part of {survivor}."),
        ),
        Event::ClonedCard { endpoint, yields } => (
            "cloned_card",
            format!(
                "A board with this board's identity answers at {endpoint}: one card is a clone of \
                 the other. Stop one of the two{}.",
                if *yields { "; this one stops" } else { "" }
            ),
        ),
        Event::Conflict { key, .. } => {
            let shown: String = key.as_str().chars().take(SHOWN_KEY_CHARS).collect();
            let text =
                format!("{shown:?} was written on both sides of a split; the later write stands.");
            ("conflict", text)
        }
        Event::OwnerChanged(_) => (
            "owner_changed",
            "The owner's password is that of the ring.".to_owned(),
        ),
        Event::Fingerprint { digits, members } => (
            "fingerprint",
            format!(
                "The {members} boards of this ring show the fingerprint {digits}: compare it on \
                 each, then confirm the ring."
            ),
        ),
        Event::Departed => ("departed", "This board has left its ring.".to_owned()),
        Event::NodeAdded(_)
        | Event::NodeRemoved(_)
        | Event::NodeSuspected(_)
        | Event::NodeDown(_)
        | Event::NodeUp(_) => unreachable!("what is about a board has words of its own"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::{Time, WallTime};

    fn at(ms: u64) -> Now {
        Now {
            time: Time(ms * 1_000),
            wall: WallTime(UNSET_BELOW_MS + ms),
        }
    }

    #[test]
    fn entries_carry_time_and_cause_and_are_read_on_from_any() {
        let (journal, id) = (Journal::default(), Id::of(b"board"));
        journal.note(at(5), &Event::NodeUp(id));
        journal.note(at(7), &Event::NodeDown(id));
        journal.note(at(9), &Event::NodeUp(id));
        let all = journal.after(0);
        let texts: Vec<&str> = all.iter().map(|entry| entry.text.as_str()).collect();
        assert!(texts[0].contains("present") && texts[1].contains("absent"));
        assert!(texts[2].contains("back"), "{texts:?}");
        assert_eq!((all[1].uptime_ms, all[1].node), (7, Some(id)));
        assert_eq!(all[1].time_ms, Some(UNSET_BELOW_MS + 7));
        assert_eq!(journal.after(2), all[2..]);
    }

    #[test]
    fn a_board_that_was_absent_is_given_up_and_one_that_was_there_has_left() {
        let (journal, gone, left) = (Journal::default(), Id::of(b"gone"), Id::of(b"left"));
        for event in [
            Event::NodeDown(gone),
            Event::NodeRemoved(gone),
            Event::NodeRemoved(left),
        ] {
            journal.note(at(0), &event);
        }
        let all = journal.after(1);
        assert!(all[0].text.contains("given up"), "{all:?}");
        assert!(all[1].text.contains("handed over"), "{all:?}");
    }

    #[test]
    fn a_clock_that_is_not_set_gives_no_time() {
        let journal = Journal::default();
        journal.note(Now::default(), &Event::Departed);
        assert_eq!(journal.after(0)[0].time_ms, None);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let journal = Journal::default();
        for _ in 0..limit::EVENTS_KEPT_MAX + 10 {
            journal.note(at(0), &Event::Departed);
        }
        let all = journal.after(0);
        assert_eq!((all.len(), all[0].number), (limit::EVENTS_KEPT_MAX, 11));
    }
}
