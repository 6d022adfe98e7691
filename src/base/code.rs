//! A one-time code for joining: eight digits that a person carries from a member to a new board.
//!
//! Wiped when dropped and printed by [`JoinCode::text`] alone. How it is used up is
//! `proto/keyring/code`; how it is proved without being told, `security/spake2`.

use std::fmt;
use std::str::FromStr;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::rng::{Rng, RngExt};

/// Digits of a code.
const DIGITS: usize = 8;

/// A code.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct JoinCode([u8; DIGITS]);

/// Why text is no code; whoever wrote it is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinCodeError {
    /// Something else than digits, blanks and hyphens.
    #[error("a join code has nothing but digits, like 1234-5678; `roundel key code` makes one")]
    Character,
    /// Too few or too many digits.
    #[error("a join code has {DIGITS} digits, like 1234-5678, and this has {got}")]
    Length {
        /// Digits read.
        got: usize,
    },
}

impl JoinCode {
    /// Draws a code; each is as likely as any other.
    pub fn draw(rng: &mut Rng) -> Self {
        JoinCode(std::array::from_fn(|_| b'0' + rng.random_range(0..10)))
    }

    /// The eight digits in ASCII.
    pub fn digits(&self) -> &[u8; DIGITS] {
        &self.0
    }

    /// As it is shown: `1234-5678`.
    pub fn text(&self) -> String {
        let (first, second) = self.0.split_at(DIGITS / 2);
        let written =
            |digits: &[u8]| -> String { digits.iter().copied().map(char::from).collect() };
        format!("{}-{}", written(first), written(second))
    }
}

impl FromStr for JoinCode {
    type Err = JoinCodeError;

    /// Reads a code as people write it, in whatever grouping.
    fn from_str(text: &str) -> Result<Self, JoinCodeError> {
        let mut code = JoinCode([0; DIGITS]);
        let mut got = 0;
        for letter in text.chars() {
            match letter {
                '0'..='9' => {
                    if let Some(digit) = code.0.get_mut(got) {
                        *digit = letter as u8;
                    }
                    got += 1;
                }
                '-' | ' ' => {}
                _ => return Err(JoinCodeError::Character),
            }
        }
        match got == DIGITS {
            true => Ok(code),
            false => Err(JoinCodeError::Length { got }),
        }
    }
}

impl fmt::Debug for JoinCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinCode(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_read_as_people_write_it_and_never_printed() {
        for written in ["12345678", "1234-5678", " 12 34 56 78 ", "1234 - 5678"] {
            let code: JoinCode = written.parse().unwrap();
            assert_eq!(code.text(), "1234-5678");
            assert_eq!(format!("{code:?}"), "JoinCode(…)");
        }
    }

    #[test]
    fn what_is_no_code_is_refused_with_the_reason() {
        let refused = |text: &str| text.parse::<JoinCode>().unwrap_err();
        assert_eq!(refused(""), JoinCodeError::Length { got: 0 });
        assert_eq!(refused("1234567"), JoinCodeError::Length { got: 7 });
        assert_eq!(refused("1234-56789"), JoinCodeError::Length { got: 9 });
        assert_eq!(refused("1234_5678"), JoinCodeError::Character);
        assert_eq!(refused("١٢٣٤٥٦٧٨"), JoinCodeError::Character);
    }

    #[test]
    fn codes_are_drawn_over_the_whole_range() {
        let mut rng = super::super::rng::seeded([1; 32], 0);
        let mut seen = [[false; 10]; DIGITS];
        for _ in 0..500 {
            let code = JoinCode::draw(&mut rng);
            let digits = code.digits().iter().zip(&mut seen);
            digits.for_each(|(digit, seen)| seen[usize::from(digit - b'0')] = true);
        }
        assert_eq!(seen, [[true; 10]; DIGITS]);
    }
}
