//! What dm-log-writes records: every write to a disk, in the order in which a power cut may keep
//! them, and marks that people set. Reads it and puts the writes back, up to a point.
//!
//! The kernel logs a write once the flush that follows it has completed, or at once when it was
//! sent with FUA. So a prefix of the log is the least that a disk with a volatile cache holds at
//! that moment; of the writes up to the next flush it may hold any part.
//!
//! Source: Linux, `Documentation/admin-guide/device-mapper/log-writes.rst`; the layout is that of
//! `drivers/md/dm-log-writes.c`, version 1. All numbers are little-endian:
//!
//! ```text
//! sector 0   magic u64 | version u64 | entries u64 | bytes of a sector u32
//! then each  sector u64 | sectors u64 | flags u64 | bytes of the mark u64 | mark, to the
//!            sector's end; after it the sectors that were written (none for a discard)
//! ```

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;
/// Bytes of the numbers before a mark.
const HEAD_BYTES: usize = 32;
/// What a disk writes whole: a block of the file system.
const PIECE_BYTES: usize = 4_096;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Bytes were written, perhaps none.
    Write {
        /// Where on the disk, bytes.
        to: u64,
        /// Where in the log, bytes.
        from: u64,
        /// How many bytes.
        bytes: usize,
        /// What came before it, and it too when it has bytes, is on the medium once it is there.
        is_barrier: bool,
    },
    /// Somebody said something.
    Mark(String),
}

/// A log on a file.
pub struct WriteLog {
    file: File,
    /// What happened, in order.
    pub events: Vec<Event>,
}

impl WriteLog {
    /// Reads a log to its end.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let head = read(&file, 0, HEAD_BYTES)?;
        let (magic, version, count) = (number(&head, 0), number(&head, 1), number(&head, 2));
        if (magic, version) != (MAGIC, VERSION) {
            return Err(format!(
                "no log of version {VERSION}: it begins with {magic:#x}, version {version}"
            ));
        }
        let sector = number(&head, 3) & u64::from(u32::MAX);
        if sector < 512 || !sector.is_power_of_two() {
            return Err(format!("sectors of {sector} bytes"));
        }
        let mut at = sector;
        let mut events = Vec::new();
        for index in 0..count {
            let event = read_event(&file, &mut at, sector)
                .map_err(|error| format!("entry {index} of {count}: {error}"))?;
            events.push(event);
        }
        Ok(WriteLog { file, events })
    }

    /// Puts the writes of one event back on an image.
    ///
    /// # Panics
    /// When a file cannot be read or written.
    pub fn apply(&self, event: &Event, image: &File) {
        self.apply_some(event, image, || true);
    }

    /// The same, with those pieces alone for which `is_kept` holds.
    pub fn apply_some(&self, event: &Event, image: &File, mut is_kept: impl FnMut() -> bool) {
        let &Event::Write {
            to, from, bytes, ..
        } = event
        else {
            return;
        };
        let data = read(&self.file, from, bytes).expect("the log was read to its end");
        for (number, piece) in data.chunks(PIECE_BYTES).enumerate() {
            if is_kept() {
                let at = to + (number * PIECE_BYTES) as u64;
                image.write_all_at(piece, at).expect("room for the image");
            }
        }
    }
}

fn read_event(file: &File, at: &mut u64, sector: u64) -> Result<Event, String> {
    let head = read(file, *at, sector as usize)?;
    let (to, sectors, flags) = (number(&head, 0), number(&head, 1), number(&head, 2));
    if flags & !(FLUSH | FUA | DISCARD | MARK | 16) != 0 {
        return Err(format!("flags {flags:#x}"));
    }
    if flags & DISCARD != 0 {
        return Err("a discard: mount the disk without that option".to_owned());
    }
    let from = *at + sector;
    let bytes = sectors * sector;
    *at = from + bytes;
    if flags & MARK != 0 {
        let mark = head[HEAD_BYTES..].get(..number(&head, 3) as usize);
        let mark = mark.ok_or("a mark longer than its sector")?;
        let text = String::from_utf8_lossy(mark);
        return Ok(Event::Mark(text.trim_end_matches('\0').to_owned()));
    }
    if *at > file.metadata().map_err(|error| error.to_string())?.len() {
        return Err(format!("{bytes} bytes at {from}: the log ends before"));
    }
    Ok(Event::Write {
        to: to * sector,
        from,
        bytes: bytes as usize,
        is_barrier: flags & (FLUSH | FUA) != 0,
    })
}

fn read(file: &File, at: u64, bytes: usize) -> Result<Vec<u8>, String> {
    let mut data = vec![0; bytes];
    let read = file.read_exact_at(&mut data, at);
    read.map_err(|error| format!("{bytes} bytes at {at}: {error}"))?;
    Ok(data)
}

fn number(bytes: &[u8], index: usize) -> u64 {
    let part = bytes[index * 8..index * 8 + 8].try_into();
    u64::from_le_bytes(part.expect("eight bytes are eight bytes"))
}

/// A log of a write of two blocks, a mark and a flush.
fn sample() -> (tempfile::TempDir, std::path::PathBuf) {
    let sectors = |numbers: [u64; 4], after: &[u8]| {
        let mut bytes: Vec<u8> = numbers.iter().flat_map(|it| it.to_le_bytes()).collect();
        bytes.extend_from_slice(after);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    };
    let written = [[1; PIECE_BYTES], [2; PIECE_BYTES]].concat();
    let log = [
        sectors([MAGIC, VERSION, 3, 512], &[]),
        sectors([8, 16, 0, 0], &[]),
        written,
        sectors([0, 0, MARK, 4], b"said"),
        sectors([0, 0, FLUSH, 0], &[]),
    ];
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log");
    std::fs::write(&path, log.concat()).expect("our directory");
    (directory, path)
}

#[test]
fn write_log_is_read_and_put_back() {
    let (directory, path) = sample();
    let log = WriteLog::open(&path).expect("a log");
    let is_barrier =
        |event: &Event| matches!(event, Event::Write { is_barrier, .. } if *is_barrier);
    assert_eq!(log.events.len(), 3);
    assert_eq!(log.events[1], Event::Mark("said".to_owned()));
    assert!(!is_barrier(&log.events[0]) && is_barrier(&log.events[2]));
    let image = directory.path().join("image");
    let file = File::create(&image).expect("our directory");
    let mut is_second = true;
    log.apply_some(&log.events[0], &file, || {
        is_second = !is_second;
        is_second
    });
    let bytes = std::fs::read(&image).expect("it was written");
    assert_eq!(bytes.len(), 3 * PIECE_BYTES, "the second block alone");
    assert!(bytes[..2 * PIECE_BYTES].iter().all(|byte| *byte == 0));
    assert!(bytes[2 * PIECE_BYTES..].iter().all(|byte| *byte == 2));
    log.apply(&log.events[0], &file);
    let bytes = std::fs::read(&image).expect("it was written");
    assert_eq!(bytes[4_096..8_192], [1; PIECE_BYTES]);
}

#[test]
fn damaged_write_log_is_refused() {
    let (_directory, path) = sample();
    let whole = std::fs::read(&path).expect("it was written");
    let refusal = |bytes: &[u8]| {
        std::fs::write(&path, bytes).expect("our directory");
        WriteLog::open(&path).err().unwrap_or_default()
    };
    assert!(refusal(&whole[..whole.len() - 1]).starts_with("entry 2 of 3"));
    assert!(refusal(&vec![0; 512]).starts_with("no log"));
    let mut discard = whole.clone();
    discard[512 + 16] = DISCARD as u8;
    assert!(refusal(&discard).contains("discard"));
}
