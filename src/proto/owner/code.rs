//! The code with which the owner claims the page: eight letters and digits that a person reads off
//! a console, in Crockford's alphabet (no I, L, O, U). 40 bits; attempts are counted elsewhere.

use crate::security::hmac::equal;

/// Random bytes of a code.
pub const CODE_BYTES: usize = 5;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A code. It is not printed but by [`Code::text`].
#[derive(Clone, PartialEq, Eq)]
pub struct Code([u8; 8]);

impl Code {
    /// The code of these random bytes.
    pub fn new(random: [u8; CODE_BYTES]) -> Self {
        let bits = random
            .iter()
            .fold(0, |bits, byte| bits << 8 | u64::from(*byte));
        Code(std::array::from_fn(|at| {
            ALPHABET[(bits >> (35 - 5 * at) & 31) as usize]
        }))
    }

    /// As it is shown: two groups of four.
    pub fn text(&self) -> String {
        let text = std::str::from_utf8(&self.0).expect("the alphabet is ASCII");
        format!("{}-{}", &text[..4], &text[4..])
    }

    /// A person wrote this code, in whatever case and grouping, and mistook what looks alike.
    pub fn is(&self, written: &str) -> bool {
        let plain: Vec<u8> = written
            .bytes()
            .filter(|byte| !matches!(byte, b'-' | b' '))
            .map(|byte| match byte.to_ascii_uppercase() {
                b'O' => b'0',
                b'I' | b'L' => b'1',
                other => other,
            })
            .collect();
        equal(&plain, &self.0)
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Code(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_read_as_people_write_it() {
        let code = Code::new([0x00, 0x44, 0x32, 0x14, 0xc7]);
        assert_eq!(code.text(), "0123-4567");
        for written in [
            "0123-4567",
            "01234567",
            "o123 4567",
            "0i23-4567",
            "oL23-4567",
        ] {
            assert!(code.is(written), "{written}");
        }
        for written in ["", "0123-4568", "0123-456", "0123-45677"] {
            assert!(!code.is(written), "{written}");
        }
        assert_eq!(Code::new([0xff; 5]).text(), "ZZZZ-ZZZZ");
    }
}
