//! The hybrid logical clock that stamps every write (Kulkarni et al. 2014, "Logical Physical
//! Clocks").
//!
//! Intuition: a stamp is the wall clock where that is ahead, and one more than the highest stamp
//! seen where it is not. Boards have no battery, so the wall clock may say 1970: a clock below
//! [`UNSET_BELOW_MS`] is *unset*, adds nothing, and judges nobody. The high-water mark is stored
//! with each commit and restored at start, so that a stamp is never drawn twice.
//!
//! It does not judge other boards' stamps beyond [`Hybrid::is_future`]; who refuses what is
//! `proto/replication`.

use crate::base::limit;
use crate::base::time::WallTime;
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
        let physical = match self.physical(wall) {
            Some(wall_ms) => Stamp::new(wall_ms, 0),
            None => Stamp::default(),
        };
        let stamp = self.high_water().next().max(physical);
        self.note_leap(stamp);
        self.drawn = stamp;
        stamp
    }

    /// Takes notice of a stamp of another board.
    pub fn observe(&mut self, stamp: Stamp) {
        self.note_leap(stamp);
        self.observed = self.observed.max(stamp);
        self.prove(stamp);
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

    /// The stamp is further ahead of this board's clock than [`limit::CLOCK_DRIFT_MAX`]. An unset
    /// clock says no; so does one that has seen other boards as far ahead since it started. What
    /// was on flash proves nothing: this board may have drawn it itself.
    pub fn is_future(&self, stamp: Stamp, wall: WallTime) -> bool {
        match self.physical(wall) {
            Some(wall_ms) => stamp.wall_ms() > latest_ms(wall_ms.max(self.proven.wall_ms())),
            None => false,
        }
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

    #[test]
    fn unset_clock_judges_nobody() {
        let clock = Hybrid::default();
        let far = Stamp::new(SET_MS * 2, 0);
        assert!(!clock.is_future(far, WallTime(5)));
        assert!(clock.is_future(far, WallTime(SET_MS)));
        assert!(!clock.is_future(Stamp::new(SET_MS + 1_000, 0), WallTime(SET_MS)));
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
        assert!(clock.is_future(Stamp::new(SET_MS * 2, 7), wall));
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
