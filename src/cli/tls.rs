//! `--tls`: whether a verb speaks TLS, and to which board.
//!
//! There is no trust on first use: without an id the verb ends before it has sent anything, and
//! says which id it met and how to check it.

use std::str::FromStr;

use crate::base::id::Id;
use crate::runtime::tls::{Pin, PinError};

/// Stands for `--tls` without an id.
pub const UNPINNED: &str = "unpinned";

/// How a verb speaks to its board.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// In the clear.
    #[default]
    Off,
    /// With the board of that id alone.
    Pinned(Pin),
    /// Not at all: it ends by saying which id it met.
    Unpinned,
}

impl Tls {
    /// It is the board of that id that is meant.
    pub fn pins(self, id: &Id) -> bool {
        self == Tls::Pinned(Pin(*id))
    }
}

impl FromStr for Tls {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        match text {
            // An empty ROUNDEL_TLS is none.
            "" => Ok(Tls::Off),
            UNPINNED => Ok(Tls::Unpinned),
            pin => pin.parse().map(Tls::Pinned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Verb {
        #[command(flatten)]
        client: crate::cli::args::ClientArgs,
    }

    #[test]
    fn an_id_is_pinned_and_without_one_nothing_is_trusted() {
        let of = |args: &[&str]| {
            Verb::try_parse_from([&["verb"], args].concat()).map(|verb| verb.client.tls)
        };
        let id = "ab".repeat(32);
        let pinned = Tls::Pinned(id.parse().expect("an id"));
        assert!(matches!(of(&["--tls", &id]), Ok(tls) if tls == pinned));
        assert!(matches!(of(&["--tls"]), Ok(Tls::Unpinned)));
        assert!(matches!(of(&[]), Ok(Tls::Off)));
        let refused = of(&["--tls", "greeting"]).unwrap_err().to_string();
        assert!(refused.contains("'greeting' is no board's id"), "{refused}");
    }
}
