//! Who may do what: scopes, callers, the access state of a cluster, and the one function that
//! decides.
//!
//! Values only: who a caller is, the service finds out (`service/caller.rs`); which scope a call
//! needs, its table says.
//!
//! | caller | keyed | provisional | open |
//! |---|---|---|---|
//! | a process on the board itself | as configured, else admin | the same | the same |
//! | member: whoever proves the cluster's key | admin | admin | admin |
//! | the owner, at the page | admin | admin | admin |
//! | a token | its scope | its scope | its scope |
//! | passed on by a member | the scope the member found | the same | the same |
//! | a stranger on a link of the board | read | write | write |
//! | a stranger from elsewhere | read | read | write |

use std::fmt;

/// What a call needs, and what a caller is granted; each contains the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Look.
    Read,
    /// Change items.
    Write,
    /// Change the ring.
    Admin,
}

impl Scope {
    /// Every scope, the smallest first.
    pub const ALL: [Scope; 3] = [Scope::Read, Scope::Write, Scope::Admin];

    /// The word of the configuration, the command line and relayed requests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Write => "write",
            Scope::Admin => "admin",
        }
    }

    /// The scope that word means.
    pub fn from_word(word: &str) -> Option<Self> {
        Scope::ALL.into_iter().find(|scope| scope.as_str() == word)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a cluster keeps strangers out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It has a key that came from a file or that its owner confirmed.
    Keyed,
    /// Its boards paired by themselves and nobody has confirmed it: it trusts the LAN.
    Provisional,
    /// Its configuration says `open = true`: there is no key.
    Open,
}

impl Access {
    /// The word in states and figures.
    pub const fn as_str(self) -> &'static str {
        match self {
            Access::Keyed => "keyed",
            Access::Provisional => "provisional",
            Access::Open => "open",
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A process on this board, with what the configuration grants it.
    Loopback(Scope),
    /// It proved the cluster's key.
    Member,
    /// It came with a token of that scope.
    Token(Scope),
    /// The owner, logged in at the page.
    Owner,
    /// A member passes the call on, of a caller with that scope.
    Relayed(Scope),
    /// It proved nothing.
    Stranger {
        /// Its address is on one of this board's links.
        on_link: bool,
    },
}

/// Why a call is refused, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A stranger in a keyed cluster.
    #[error("this needs the cluster's key; use --key FILE or a token, or ask on the board itself")]
    Stranger,
    /// A stranger in a cluster that trusts its LAN, which it may not do with this call.
    #[error("this needs more than the LAN's trust; ask on the board itself, or use --key FILE")]
    Trust,
    /// A stranger beyond this board's links, in a cluster that trusts its LAN.
    #[error("only this board's LAN is trusted; ask from there, or use --key FILE")]
    Distant,
    /// Known, but granted less.
    #[error(
        "this needs the scope '{needed}', the caller has '{granted}'; use another token or key"
    )]
    Scope {
        /// What the call needs.
        needed: Scope,
        /// What the caller has.
        granted: Scope,
    },
    /// A process on this board, which the configuration limits.
    #[error("`loopback = \"{granted}\"` allows no more on this board; use --key FILE or a token")]
    Loopback {
        /// What the configuration grants.
        granted: Scope,
    },
}

/// What a caller is granted at most.
pub const fn granted(caller: Caller, access: Access) -> Scope {
    match (caller, access) {
        (Caller::Member | Caller::Owner, _) => Scope::Admin,
        (Caller::Loopback(scope) | Caller::Token(scope) | Caller::Relayed(scope), _) => scope,
        (Caller::Stranger { on_link: true }, Access::Provisional)
        | (Caller::Stranger { .. }, Access::Open) => Scope::Write,
        (Caller::Stranger { .. }, Access::Keyed | Access::Provisional) => Scope::Read,
    }
}

/// Decides whether a caller may make a call of that scope.
///
/// # Errors
/// [`Refusal`], with the next step.
pub fn may(caller: Caller, needed: Scope, access: Access) -> Result<(), Refusal> {
    let granted = granted(caller, access);
    if needed <= granted {
        return Ok(());
    }
    Err(match (caller, access) {
        (Caller::Stranger { .. }, Access::Keyed) => Refusal::Stranger,
        (Caller::Stranger { on_link: false }, Access::Provisional) => Refusal::Distant,
        (Caller::Stranger { .. }, _) => Refusal::Trust,
        (Caller::Loopback(granted), _) => Refusal::Loopback { granted },
        _ => Refusal::Scope { needed, granted },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each caller with what it may in each of the three states.
    #[test]
    fn every_caller_may_what_the_table_says() {
        use Scope::{Admin, Read, Write};
        let table = [
            (Caller::Loopback(Admin), [Admin, Admin, Admin]),
            (Caller::Loopback(Write), [Write, Write, Write]),
            (Caller::Loopback(Read), [Read, Read, Read]),
            (Caller::Member, [Admin, Admin, Admin]),
            (Caller::Owner, [Admin, Admin, Admin]),
            (Caller::Token(Read), [Read, Read, Read]),
            (Caller::Token(Write), [Write, Write, Write]),
            (Caller::Token(Admin), [Admin, Admin, Admin]),
            (Caller::Relayed(Read), [Read, Read, Read]),
            (Caller::Relayed(Write), [Write, Write, Write]),
            (Caller::Stranger { on_link: true }, [Read, Write, Write]),
            (Caller::Stranger { on_link: false }, [Read, Read, Write]),
        ];
        let states = [Access::Keyed, Access::Provisional, Access::Open];
        for (caller, grants) in table {
            for (access, most) in states.into_iter().zip(grants) {
                assert_eq!(granted(caller, access), most, "{caller:?} {access:?}");
                for needed in Scope::ALL {
                    let decided = may(caller, needed, access);
                    assert_eq!(decided.is_ok(), needed <= most, "{caller:?} {access:?}");
                }
            }
        }
    }

    #[test]
    fn every_refusal_says_what_to_do_in_one_short_sentence() {
        let strangers = [true, false].map(|on_link| Caller::Stranger { on_link });
        let others = [Caller::Loopback(Scope::Read), Caller::Token(Scope::Read)];
        for caller in strangers.into_iter().chain(others) {
            for access in [Access::Keyed, Access::Provisional, Access::Open] {
                let said = may(caller, Scope::Admin, access).unwrap_err().to_string();
                assert!(said.contains("; ") && said.len() <= 100, "{said}");
            }
        }
    }

    #[test]
    fn words_of_scopes_are_read_back() {
        for scope in Scope::ALL {
            assert_eq!(Scope::from_word(scope.as_str()), Some(scope));
        }
        assert_eq!(Scope::from_word("Read"), None);
    }
}
