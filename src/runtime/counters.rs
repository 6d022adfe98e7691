//! The durable counts of a board's starts: `boot`, and SSDP's BOOTID (UDA 2.0 §1.2.2).
//!
//! They are needed before the store is open, so they have a file of their own, written once a
//! start and at each change of an interface or address (not in between: flash wears).
//!
//! A file that is lost or damaged says nothing of earlier starts, and a board that reused a boot
//! would not be believed. What else is known is the wall clock: both counts then go on from the
//! seconds since 1970 when the clock is set (a board that has started more often than once a
//! second does not exist), and from 2^30 when it is not. `boot` has 64 bits, so that even this can
//! happen again and again: each loss without a clock that a later hello shows to be too low is
//! raised above the highest boot the others have seen ([`raise_boot`]).

use std::fs;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use super::datadir::{DataDir, write_atomically};

/// BOOTID.UPNP.ORG has 31 bits.
pub const BOOTID_MAX: u32 = i32::MAX as u32;
/// First word of the file.
const MARK: &str = "roundel-counters-1";
/// Any later moment means that the wall clock is set: 2025-01-01, seconds since 1970.
const CLOCK_SET_SECONDS_MIN: u64 = 1_735_689_600;
/// Where counts go on when neither file nor clock says more.
const UNKNOWN_START: u64 = 1 << 30;

/// The counts of one start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// This start's number, from 1.
    pub boot: u64,
    /// BOOTID.UPNP.ORG, 1 to 2^31 - 1; wraps to 1.
    pub bootid: u32,
}

/// A start's counts, and whether earlier ones were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// As they are on flash.
    pub counters: Counters,
    /// The file could not be understood, or an older board's file was missing: to be reported.
    pub lost: bool,
}

/// Counts this start, durably. `first` says that the board's identity was made just now, so that
/// a missing file is no loss.
///
/// # Errors
/// The system's, when the file cannot be read or written: the start is not counted.
pub fn next_start(directory: &DataDir, first: bool) -> io::Result<Start> {
    let (previous, lost) = match read(directory)? {
        Some(counters) => (counters, false),
        None if first => (Counters { boot: 0, bootid: 0 }, false),
        None => (unknown(SystemTime::now()), true),
    };
    let counters = Counters {
        boot: previous.boot.saturating_add(1),
        bootid: after(previous.bootid),
    };
    write(directory, counters)?;
    Ok(Start { counters, lost })
}

/// Counts a change of an interface or address, durably.
///
/// # Errors
/// The system's; the count on flash is the old one.
pub fn next_bootid(directory: &DataDir, current: Counters) -> io::Result<Counters> {
    let counters = Counters {
        bootid: after(current.bootid),
        ..current
    };
    write(directory, counters)?;
    Ok(counters)
}

/// Raises `boot` above one that others remember of this board, durably.
///
/// # Errors
/// The system's; the count on flash is the old one.
pub fn raise_boot(directory: &DataDir, current: Counters, seen: u64) -> io::Result<Counters> {
    if seen < current.boot {
        return Ok(current);
    }
    let counters = Counters {
        boot: seen.saturating_add(1),
        ..current
    };
    write(directory, counters)?;
    Ok(counters)
}

fn after(bootid: u32) -> u32 {
    if bootid >= BOOTID_MAX { 1 } else { bootid + 1 }
}

/// None: missing, or not understood.
fn read(directory: &DataDir) -> io::Result<Option<Counters>> {
    match fs::read(directory.path().join("counters")) {
        Ok(bytes) => Ok(parse(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write(directory: &DataDir, counters: Counters) -> io::Result<()> {
    write_atomically(
        &directory.path().join("counters"),
        emit(counters).as_bytes(),
    )
}

/// `roundel-counters-1 BOOT BOOTID CHECK`, CHECK being the first four bytes of SHA-256 of what
/// comes before it, in hex.
fn emit(Counters { boot, bootid }: Counters) -> String {
    let text = format!("{MARK} {boot} {bootid} ");
    let check = crate::base::id::Id::of(text.as_bytes()).short();
    format!("{text}{check}\n")
}

fn parse(bytes: &[u8]) -> Option<Counters> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut words = text.split_ascii_whitespace().skip(1);
    let counters = Counters {
        boot: words.next()?.parse().ok()?,
        bootid: words.next()?.parse().ok()?,
    };
    (emit(counters) == text && counters.bootid <= BOOTID_MAX).then_some(counters)
}

/// Counts no start before can have reached.
fn unknown(wall: SystemTime) -> Counters {
    let seconds = wall
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let seconds = Some(seconds).filter(|seconds| *seconds >= CLOCK_SET_SECONDS_MIN);
    let start = seconds.unwrap_or(UNKNOWN_START);
    Counters {
        boot: start,
        bootid: u32::try_from(start).map_or(1, |start| start.min(BOOTID_MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    proptest! {
        #[test]
        fn counters_are_read_back(boot: u64, bootid in 0..=BOOTID_MAX) {
            let counters = Counters { boot, bootid };
            prop_assert_eq!(parse(emit(counters).as_bytes()), Some(counters));
        }

        #[test]
        fn any_changed_byte_is_noticed(boot: u64, bootid in 0..=BOOTID_MAX, at: usize, with: u8) {
            let mut bytes = emit(Counters { boot, bootid }).into_bytes();
            let at = at % bytes.len();
            prop_assume!(bytes[at] != with);
            bytes[at] = with;
            prop_assert_eq!(parse(&bytes), None);
        }
    }

    #[test]
    fn each_start_and_each_change_of_address_counts() {
        let temp = tempfile::tempdir().unwrap();
        let directory = DataDir::lock(temp.path()).unwrap();
        let first = next_start(&directory, true).unwrap();
        assert_eq!(first.counters, Counters { boot: 1, bootid: 1 });
        let moved = next_bootid(&directory, first.counters).unwrap();
        assert_eq!(moved, Counters { boot: 1, bootid: 2 });
        let second = next_start(&directory, false).unwrap();
        assert_eq!(second.counters, Counters { boot: 2, bootid: 3 });
        assert!(!first.lost && !second.lost);
    }

    #[test]
    fn lost_counters_go_on_above_all_that_went_before_and_are_reported() {
        let temp = tempfile::tempdir().unwrap();
        let directory = DataDir::lock(temp.path()).unwrap();
        for _ in 0..3 {
            next_start(&directory, true).unwrap();
        }
        fs::write(temp.path().join("counters"), b"rubbish").unwrap();
        let after = next_start(&directory, false).unwrap();
        assert!(after.lost);
        assert!(after.counters.boot > 3 && after.counters.bootid > 3);
        fs::remove_file(temp.path().join("counters")).unwrap();
        assert!(next_start(&directory, false).unwrap().lost);
        assert!(!next_start(&directory, false).unwrap().lost);
    }

    #[test]
    fn lost_counters_do_not_depend_on_a_set_clock() {
        assert_eq!(unknown(UNIX_EPOCH).boot, UNKNOWN_START);
        let set = UNIX_EPOCH + Duration::from_secs(CLOCK_SET_SECONDS_MIN + 5);
        assert_eq!(unknown(set).boot, CLOCK_SET_SECONDS_MIN + 5);
        let far = UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert!(unknown(far).bootid <= BOOTID_MAX);
    }

    #[test]
    fn boot_is_raised_above_what_others_remember_and_never_lowered() {
        let temp = tempfile::tempdir().unwrap();
        let directory = DataDir::lock(temp.path()).unwrap();
        let start = next_start(&directory, true).unwrap().counters;
        let raised = raise_boot(&directory, start, 41).unwrap();
        assert_eq!(raised.boot, 42);
        assert_eq!(raise_boot(&directory, raised, 7).unwrap(), raised);
        assert_eq!(next_start(&directory, false).unwrap().counters.boot, 43);
    }

    #[test]
    fn bootid_wraps_to_one() {
        assert_eq!(after(BOOTID_MAX), 1);
        assert_eq!(after(BOOTID_MAX - 1), BOOTID_MAX);
    }
}
