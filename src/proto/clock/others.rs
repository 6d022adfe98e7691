//! What the other boards' wall clocks say.
//!
//! Intuition: no board knows whether its own clock is right, so it judges stamps by its own and by
//! those it hears. It takes the lower median, so that of two clocks the one that ran ahead never
//! decides: a stamp that is refused wrongly is drawn anew lower, one that is accepted wrongly
//! stays on top for years.
//!
//! Start: nobody was heard, and a board's own clock judges alone. Steady state: each probe and
//! hello says a time. Distress: what a board said longer ago than
//! [`limit::CLOCK_HEARD_TIME_MAX`] counts nothing.

use std::collections::BTreeMap;

use super::hybrid::UNSET_BELOW_MS;
use crate::base::id::Id;
use crate::base::limit;
use crate::base::time::{Time, WallTime};

/// The clocks of the boards heard, by board.
#[derive(Clone, Debug, Default)]
pub struct Others {
    heard: BTreeMap<Id, (Time, WallTime)>,
}

impl Others {
    /// A board said this time. One that is not set says nothing.
    pub fn note(&mut self, now: Time, board: Id, wall: WallTime) {
        if !(UNSET_BELOW_MS..1 << 48).contains(&wall.0) {
            self.heard.remove(&board);
            return;
        }
        if self.heard.len() >= limit::ROSTER_MAX && !self.heard.contains_key(&board) {
            let oldest = self.heard.iter().min_by_key(|(_, (at, _))| *at);
            let oldest = oldest.map(|(id, _)| *id);
            oldest.and_then(|id| self.heard.remove(&id));
        }
        self.heard.insert(board, (now, wall));
    }

    /// The times of the boards heard lately, lowest first: milliseconds since 1970.
    pub fn told_ms(&self, now: Time) -> Vec<u64> {
        let fresh = |(at, _): &&(Time, WallTime)| now.since(*at) < limit::CLOCK_HEARD_TIME_MAX;
        let ago_ms = |at: Time| now.since(at).as_millis() as u64;
        let said = self.heard.values().filter(fresh);
        let mut told: Vec<u64> = said.map(|(at, wall)| wall.0 + ago_ms(*at)).collect();
        told.sort_unstable();
        told
    }

    /// The lower median of those and of this board's own time, where that is set.
    pub fn median_ms(&self, now: Time, own_ms: Option<u64>) -> Option<u64> {
        let mut told = self.told_ms(now);
        told.extend(own_ms);
        told.sort_unstable();
        let middle = told.len().checked_sub(1)? / 2;
        Some(told[middle])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: WallTime = WallTime(UNSET_BELOW_MS + 1_000_000);
    const AHEAD: WallTime = WallTime(UNSET_BELOW_MS * 2);

    fn at(seconds: u64) -> Time {
        Time(seconds * 1_000_000)
    }

    fn heard(walls: &[WallTime]) -> Others {
        let mut others = Others::default();
        for (n, wall) in walls.iter().enumerate() {
            others.note(at(0), Id::of(&[n as u8]), *wall);
        }
        others
    }

    #[test]
    fn one_clock_ahead_does_not_decide_against_another() {
        let median = |walls: &[WallTime], own| heard(walls).median_ms(at(0), own);
        assert_eq!(median(&[], None), None);
        assert_eq!(median(&[WallTime(5)], None), None, "not set");
        assert_eq!(median(&[AHEAD], None), Some(AHEAD.0));
        assert_eq!(median(&[AHEAD, SET], None), Some(SET.0));
        assert_eq!(median(&[SET], Some(AHEAD.0)), Some(SET.0));
        assert_eq!(median(&[AHEAD, AHEAD], Some(SET.0)), Some(AHEAD.0));
    }

    #[test]
    fn what_was_said_goes_on_and_grows_old() {
        let mut others = heard(&[SET]);
        assert_eq!(others.told_ms(at(7)), [SET.0 + 7_000]);
        assert!(
            others
                .told_ms(at(0) + limit::CLOCK_HEARD_TIME_MAX)
                .is_empty()
        );
        // A clock that is lost says nothing from then on.
        others.note(at(8), Id::of(&[0]), WallTime(0));
        assert!(others.told_ms(at(8)).is_empty());
    }
}
