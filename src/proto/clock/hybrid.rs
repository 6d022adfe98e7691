//! The hybrid logical clock that stamps every write (Kulkarni et al. 2014, "Logical Physical
//! Clocks").
//!
//! Intuition: a stamp is the wall clock where that is ahead, and one more than the highest stamp
//! seen where it is not. Boards have no battery, so the wall clock may say 1970: a clock below
//! [`UNSET_BELOW_MS`] is *unset* and adds nothing. What is too far ahead is judged by the median of
//! this board's clock and the others' (`others.rs`). The high-water mark is stored
//! with each commit and restored at start, so that a stamp is never drawn twice.
//!
//! It does not judge other boards' stamps beyond [`Hybrid::is_future`]; who refuses what is
//! `proto/replication`.

use super::others::Others;
use crate::base::limit;
use crate::base::time::{Now, WallTime};
use crate::base::version::Stamp;

/// 2026-01-01: no board runs this software earlier, so a clock before it has not been set.
pub const UNSET_BELOW_MS: u64 = 1_767_225_600_000;

/// The clock of one board.
#[derive(Clone, Debug, Default)]
pub struct Hybrid {
    /// The highest stamp drawn.
    drawn: Stamp,
    /// The highest stamp of another board.
    observed: Stamp,
    /// The high-water mark before it last leapt further than clocks may drift.
    before: Stamp,
    /// The highest stamp another board has drawn or taken.
    proven: Stamp,
    /// Where the quorum's clocks showed ours to be too far ahead: milliseconds to take off.
    correction_ms: u64,
}

impl Hybrid {
    /// Restores the clock from the high-water mark kept on flash.
    pub fn restored(high_water: Stamp) -> Self {
        Hybrid {
            drawn: Stamp::default(),
            observed: high_water,
            before: Stamp::default(),
            proven: Stamp::default(),
            correction_ms: 0,
        }
    }

    /// The highest stamp drawn or seen.
    pub fn high_water(&self) -> Stamp {
        self.drawn.max(self.observed)
    }

    /// Draws a stamp above all drawn and seen.
    pub fn draw(&mut self, wall: WallTime) -> Stamp {
        let stamp = self.next(wall);
        self.note_leap(stamp);
        self.drawn = stamp;
        stamp
    }

    fn next(&self, wall: WallTime) -> Stamp {
        let physical = self.physical(wall).map(|wall_ms| Stamp::new(wall_ms, 0));
        self.high_water().next().max(physical.unwrap_or_default())
    }

    /// Takes notice of a stamp of another board.
    pub fn observe(&mut self, stamp: Stamp) {
        self.note_leap(stamp);
        self.observed = self.observed.max(stamp);
        self.prove(stamp);
    }

    /// Another board says how far stamps have come; that proves nothing about clocks.
    pub fn hear(&mut self, stamp: Stamp) {
        self.note_leap(stamp);
        self.observed = self.observed.max(stamp);
    }

    /// The wall clock has been set, so that what is drawn after a restart lies above what was drawn
    /// before it.
    pub fn is_set(&self, wall: WallTime) -> bool {
        self.physical(wall).is_some()
    }

    /// Another board has taken a stamp of this one.
    pub fn prove(&mut self, stamp: Stamp) {
        self.proven = self.proven.max(stamp);
    }

    /// No other board has come near this stamp: should this board's clock be wrong, they refuse it.
    pub fn is_untested(&self, stamp: Stamp) -> bool {
        stamp.wall_ms() > latest_ms(self.proven.wall_ms())
    }

    fn note_leap(&mut self, to: Stamp) {
        let mark = self.high_water();
        if to.wall_ms() > latest_ms(mark.wall_ms()) {
            self.before = mark;
        }
    }

    /// The stamp is further ahead than [`limit::CLOCK_DRIFT_MAX`] of the time that this board and
    /// the others tell together. When none of them is set the answer is no; so it is when other
    /// boards were seen as far ahead since the start. What was on flash proves nothing: this board
    /// may have drawn it itself.
    pub fn is_future(&self, stamp: Stamp, now: Now, others: &Others) -> bool {
        let is_later = |ms| stamp.wall_ms() > latest_ms(ms);
        self.is_untested(stamp) && self.told_ms(now, others).is_some_and(is_later)
    }

    /// The time that this board and the others tell together: milliseconds since 1970.
    pub fn told_ms(&self, now: Now, others: &Others) -> Option<u64> {
        others.median_ms(now.time, self.physical(now.wall))
    }

    /// Takes back what the clock of this board or its mark on flash is ahead of others, when at
    /// least so many of them say so, before anything is drawn from it. Returns whether it was.
    pub fn align(&mut self, now: Now, others: &Others, enough: usize) -> bool {
        let next = self.next(now.wall);
        if !self.is_untested(next) {
            return false;
        }
        let mut behind_ms = others.told_ms(now.time);
        behind_ms.retain(|ms| next.wall_ms() > latest_ms(*ms));
        if behind_ms.len() < enough.max(1) || !self.is_future(next, now, others) {
            return false;
        }
        self.correct(now.wall, behind_ms[behind_ms.len() / 2]);
        true
    }

    /// Copies refused our stamp as too far ahead: draws from their clock's median on, and above
    /// whatever was drawn before the leap ahead, so that no stamp is drawn twice.
    pub fn correct(&mut self, wall: WallTime, median_ms: u64) {
        self.correction_ms = wall.0.saturating_sub(median_ms);
        let latest_ms = latest_ms(median_ms);
        if self.high_water().wall_ms() <= latest_ms {
            // Another stamp that was refused has led to the same correction already.
            return;
        }
        // What was drawn too far ahead was refused by the others and is taken back here.
        let before = Some(self.before).filter(|before| before.wall_ms() <= latest_ms);
        self.drawn = Stamp::new(median_ms, 0).max(before.unwrap_or_default());
        self.observed = self.observed.min(self.drawn);
    }

    fn physical(&self, wall: WallTime) -> Option<u64> {
        let corrected_ms = wall.0.saturating_sub(self.correction_ms);
        // A clock that was set right since needs no correction.
        let wall_ms = match corrected_ms < UNSET_BELOW_MS {
            true => wall.0,
            false => corrected_ms,
        };
        (UNSET_BELOW_MS..1 << 48)
            .contains(&wall_ms)
            .then_some(wall_ms)
    }
}

/// The latest a clock may say when another says this.
fn latest_ms(wall_ms: u64) -> u64 {
    wall_ms + limit::CLOCK_DRIFT_MAX.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Id;
    use crate::base::time::Time;
    use proptest::prelude::*;

    const SET_MS: u64 = UNSET_BELOW_MS + 1_000_000;

    fn wall() -> impl Strategy<Value = u64> {
        prop_oneof![Just(0), Just(u64::MAX), SET_MS..SET_MS + 5]
    }

    proptest! {
        #[test]
        fn stamps_rise_whatever_the_wall_clock_does(
            walls in proptest::collection::vec(wall(), 1..50),
            seen in proptest::collection::vec(0u64..SET_MS << 16, 50),
        ) {
            let mut clock = Hybrid::default();
            let mut last = Stamp::default();
            for (wall, seen) in walls.into_iter().zip(seen) {
                clock.observe(Stamp(seen));
                let drawn = clock.draw(WallTime(wall));
                prop_assert!(drawn > last && drawn > Stamp(seen));
                last = drawn;
            }
            let restored = Hybrid::restored(clock.high_water()).draw(WallTime(0));
            prop_assert!(restored > last);
        }
    }

    fn at(wall_ms: u64) -> Now {
        Now {
            time: Time(0),
            wall: WallTime(wall_ms),
        }
    }

    /// What so many other boards' clocks say.
    fn told(walls_ms: &[u64]) -> Others {
        let mut others = Others::default();
        for (n, wall_ms) in walls_ms.iter().enumerate() {
            others.note(Time(0), Id::of(&[n as u8]), WallTime(*wall_ms));
        }
        others
    }

    #[test]
    fn clocks_judge_together_and_those_not_set_not_at_all() {
        let clock = Hybrid::default();
        let (far_ms, near) = (SET_MS * 2, Stamp::new(SET_MS + 1_000, 0));
        let far = Stamp::new(far_ms, 0);
        assert!(!clock.is_future(far, at(5), &told(&[])));
        assert!(clock.is_future(far, at(SET_MS), &told(&[])));
        assert!(clock.is_future(far, at(5), &told(&[SET_MS])));
        assert!(clock.is_future(far, at(far_ms), &told(&[SET_MS, SET_MS])));
        assert!(!clock.is_future(near, at(SET_MS), &told(&[])));
        assert!(!clock.is_future(near, at(5), &told(&[SET_MS])));
        // A clock that is behind alone refuses nobody.
        let behind = at(SET_MS - 86_400_000);
        assert!(!clock.is_future(near, behind, &told(&[SET_MS, SET_MS])));
    }

    #[test]
    fn clock_or_mark_ahead_of_the_others_is_taken_back_before_it_is_drawn_from() {
        let (ahead, right) = (at(SET_MS * 2), at(SET_MS));
        let mark = Stamp::new(SET_MS * 2, 7);
        for (mut clock, now) in [
            (Hybrid::default(), ahead),
            (Hybrid::restored(mark), right),
            (Hybrid::restored(mark), at(5)),
        ] {
            assert!(!clock.align(now, &told(&[SET_MS, SET_MS * 2]), 2));
            assert!(clock.align(now, &told(&[SET_MS, SET_MS]), 2));
            assert_eq!(clock.draw(now.wall).wall_ms(), SET_MS);
            assert!(!clock.align(now, &told(&[SET_MS, SET_MS]), 2), "once");
        }
        let mut clock = Hybrid::default();
        assert!(!clock.align(right, &told(&[SET_MS, SET_MS]), 2));
        assert!(
            !clock.align(right, &told(&[SET_MS - 900_000]), 2),
            "too few"
        );
    }

    #[test]
    fn clock_ahead_of_the_quorum_is_taken_back() {
        let mut clock = Hybrid::default();
        let wall = WallTime(SET_MS * 2);
        clock.correct(wall, SET_MS);
        assert_eq!(clock.draw(wall).wall_ms(), SET_MS);
    }

    #[test]
    fn correcting_twice_draws_no_stamp_twice() {
        let mut clock = Hybrid::default();
        let before = clock.draw(WallTime(SET_MS + 2_000));
        let wall = WallTime(SET_MS * 2);
        clock.draw(wall);
        clock.draw(wall);
        clock.correct(wall, SET_MS);
        let first = clock.draw(wall);
        clock.correct(wall, SET_MS);
        let second = clock.draw(wall);
        assert!(before < first && first < second);
        assert!(second.wall_ms() <= SET_MS + 2_000);
    }

    #[test]
    fn mark_that_was_ahead_when_it_was_stored_is_taken_back_as_well() {
        let mut clock = Hybrid::restored(Stamp::new(SET_MS * 2, 7));
        let wall = WallTime(SET_MS);
        assert!(clock.draw(wall).wall_ms() > SET_MS);
        clock.correct(wall, SET_MS);
        assert_eq!(clock.draw(wall).wall_ms(), SET_MS);
        assert!(clock.is_future(Stamp::new(SET_MS * 2, 7), at(SET_MS), &told(&[])));
    }

    #[test]
    fn clock_that_is_set_right_needs_no_correction() {
        let mut clock = Hybrid::default();
        clock.draw(WallTime(SET_MS * 2));
        clock.correct(WallTime(SET_MS * 2), SET_MS);
        let wall = WallTime(SET_MS + 5_000);
        assert_eq!(clock.draw(wall).wall_ms(), SET_MS + 5_000);
    }

    #[test]
    fn stamp_is_untested_until_another_board_has_come_near_it() {
        let mut clock = Hybrid::restored(Stamp::new(SET_MS, 0));
        let stamp = clock.draw(WallTime(SET_MS + 1_000));
        assert!(clock.is_untested(stamp));
        clock.prove(stamp);
        let next = clock.draw(WallTime(SET_MS + 2_000));
        assert!(!clock.is_untested(next));
        assert!(clock.is_untested(Stamp::new(SET_MS * 2, 0)));
    }
}
