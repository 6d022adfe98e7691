//! Which numbers of a session have been seen: a sliding window, as IPsec has it.
//!
//! Source: RFC 4303 §3.4.3.

/// Numbers behind the highest that may still come, once each.
pub const WINDOW_WIDTH: u64 = 1_024;
const WORDS: usize = (WINDOW_WIDTH / 64) as usize;

/// The numbers seen so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The highest seen; 0: none.
    top: u64,
    /// Bit `n % 1,024`: the number n of the window was seen.
    seen: [u64; WORDS],
}

impl Default for Window {
    fn default() -> Self {
        Window {
            top: 0,
            seen: [0; WORDS],
        }
    }
}

impl Window {
    /// Takes a number once; false for one that was taken, is behind the window, or is 0.
    ///
    /// To be asked only of numbers that were authenticated.
    pub fn take(&mut self, number: u64) -> bool {
        if number == 0 || self.top.saturating_sub(number) >= WINDOW_WIDTH {
            return false;
        }
        if number > self.top {
            if number - self.top >= WINDOW_WIDTH {
                self.seen = [0; WORDS];
            } else {
                for passed in self.top + 1..number {
                    self.seen[word(passed)] &= !bit(passed);
                }
                self.seen[word(number)] &= !bit(number);
            }
            self.top = number;
        }
        let fresh = self.seen[word(number)] & bit(number) == 0;
        self.seen[word(number)] |= bit(number);
        fresh
    }
}

const fn word(number: u64) -> usize {
    (number % WINDOW_WIDTH / 64) as usize
}

const fn bit(number: u64) -> u64 {
    1 << (number % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_number_is_taken_once_and_late_ones_within_the_window() {
        let mut window = Window::default();
        assert!(!window.take(0));
        assert!(window.take(1) && !window.take(1));
        assert!(window.take(1_025), "one window on");
        assert!(!window.take(1), "behind it");
        assert!(window.take(2) && !window.take(2), "late, once");
        assert!(window.take(u64::MAX) && !window.take(u64::MAX) && !window.take(1_026));
    }

    proptest! {
        #[test]
        fn the_window_agrees_with_a_set(
            numbers in prop::collection::vec(
                prop_oneof![1..40_u64, 1..4_000_u64, 1_000..1_100_u64], 1..400),
        ) {
            let (mut window, mut set) = (Window::default(), BTreeSet::new());
            for number in numbers {
                let top = set.last().copied().unwrap_or_default();
                let expected = top < number + WINDOW_WIDTH && set.insert(number);
                prop_assert_eq!(window.take(number), expected, "{} after {}", number, top);
            }
        }
    }
}
