//! Whose key is taken, and when it is not any more.

use std::time::Duration;

use super::{Admission, Keys, Origin};
use crate::base::time::Time;
use crate::security::key::ClusterKey;

/// Keys of a board in its pairing window, drawn from this byte.
fn pairing(byte: u8) -> Keys {
    let origin = Origin {
        window: Duration::from_secs(600),
        ..Origin::default()
    };
    Keys::new(origin, Time::ZERO, [[byte; 32], [byte + 1; 32]])
}

fn stranger() -> Keys {
    let origin = Origin {
        given: Some(ClusterKey::new(7, [9; 32])),
        ..Origin::default()
    };
    Keys::new(origin, Time::ZERO, [[0; 32], [1; 32]])
}

#[test]
fn a_window_link_made_before_the_owner_confirmed_changes_nothing_after() {
    let offer = stranger().offer(true, false);
    let mut before = pairing(1);
    let taken = before.take(Time::ZERO, &offer, Admission::Window, false);
    assert!(
        taken.is_some_and(|taken| taken.is_news),
        "the LAN is trusted so far"
    );
    let mut keys = pairing(1);
    let own = keys.keyring().current.clone();
    assert!(keys.confirm());
    for settled in [false, true] {
        let taken = keys.take(Time::ZERO, &offer, Admission::Window, settled);
        assert!(taken.is_some_and(|taken| !taken.is_news));
    }
    assert_eq!(keys.keyring().current, own);
    // A member's word on a later key is taken, as in a rotation.
    let taken = keys.take(Time::ZERO, &offer, Admission::Member, false);
    assert!(taken.is_some_and(|taken| taken.is_news));
}

#[test]
fn a_withheld_key_lets_nobody_in_and_is_never_kept() {
    let origin = |given| Origin {
        given,
        withheld: true,
        ..Origin::default()
    };
    let drawn = [[3; 32], [4; 32]];
    let mut keys = Keys::new(origin(None), Time::ZERO, drawn);
    assert!(keys.is_confirmed() && !keys.is_open());
    assert_eq!(keys.door(Time::ZERO, true), crate::wire::peer::Door::Shut);
    assert!(!keys.is_unkept() && keys.poll_kept().is_none());
    keys.begin([5; 32], None);
    assert!(keys.advance(Time::ZERO));
    assert!(!keys.is_unkept() && keys.poll_kept().is_none());
    // Nor is one from a file, beside what cannot be read.
    let given = ClusterKey::new(7, [9; 32]);
    let mut keys = Keys::new(origin(Some(given.clone())), Time::ZERO, drawn);
    assert_eq!(keys.keyring().current, given);
    assert!(keys.poll_kept().is_none());
}
