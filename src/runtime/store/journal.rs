//! The database's journals, looked at and mended before the database opens them.
//!
//! Every group commit is one batch of the newest journal: start (tag, count, sequence), items, end
//! (tag, sum, magic). The database reads up to the first entry that makes no sense and cuts the
//! rest off, and does not open at all when a sum is wrong. Both hide a difference that matters:
//!
//! - the last batch is *torn*: power failed before its sync had returned, nobody was told that it
//!   is stored, and it is cut off;
//! - a batch does not check and whole ones lie behind it: the log is *damaged*. What was promised
//!   is gone, a removed key may be back. Batches whose sum alone is wrong are cut out, at any other
//!   nonsense the log ends, and [`Mended::damage`] says so.
//!
//! The sums leave the sequence numbers out: one that does not rise, or leaps, is wrong as well.
//!
//! A value may contain bytes that look like a batch: they can make a torn log count as damaged,
//! and are never taken for a batch. Nothing is written when all is well.
//!
//! Source: fjall 3.1, `src/journal/{entry,batch_reader,writer}.rs`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use xxhash_rust::xxh3::Xxh3;

/// Entries begin with one of these.
const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
/// The last bytes of a batch.
const MAGIC: [u8; 4] = *b"FJL\x03";
/// Tag, count and sequence of a batch's start.
const START_BYTES: usize = 13;
/// Bytes of a value are summed in pieces of this.
const PIECE_BYTES: usize = 16 * 1_024;
/// A batch follows the one before it by no more sequence numbers.
const SEQUENCE_GAP_MAX: u64 = 1 << 32;

/// What [`mend`] found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mended {
    /// Where valid batches lay behind others that do not check; none: the log is whole or torn.
    pub damage: Option<String>,
    /// Bytes of a torn batch that were cut off.
    pub torn_bytes: u64,
}

/// How one journal reads.
#[derive(Debug, Default)]
struct Reading {
    /// Batches that check, joined where they touch.
    whole: Vec<Range<u64>>,
    /// Batches of which the sum or the number alone is wrong.
    bad: Vec<Range<u64>>,
    /// Where it stops to make sense.
    broken: Option<u64>,
    /// A whole batch lies behind that.
    more_behind: bool,
}

/// Looks through the journals of a database that is closed; before it changes one that is damaged
/// it calls `note` with the reason, which makes that durable.
///
/// # Errors
/// What the system says; nothing that is whole was changed then.
pub(super) fn mend(
    database: &Path,
    mut note: impl FnMut(&str) -> io::Result<()>,
) -> io::Result<Mended> {
    let mut mended = Mended::default();
    let journals = journals(database)?;
    for (index, path) in journals.iter().enumerate() {
        let is_last = index + 1 == journals.len();
        let reading = read_journal(path)?;
        let Some(first) = reading.first_wrong() else {
            continue;
        };
        if is_last && reading.is_torn() {
            let file = OpenOptions::new().write(true).open(path)?;
            mended.torn_bytes += file.metadata()?.len().saturating_sub(first);
            file.set_len(first)?;
            file.sync_all()?;
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let reason = format!("{name} does not check at byte {first}, and valid writes follow");
        note(&reason)?;
        rewrite(path, &reading.whole)?;
        mended.damage.get_or_insert(reason);
    }
    Ok(mended)
}

impl Reading {
    fn take(&mut self, range: Range<u64>) {
        match self.whole.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.whole.push(range),
        }
    }

    /// The last batch taken is a bad one.
    fn strike(&mut self, range: Range<u64>) {
        if let Some(last) = self.whole.last_mut() {
            last.end = range.start;
        }
        self.whole.retain(|range| !range.is_empty());
        self.bad.push(range);
    }

    fn first_wrong(&self) -> Option<u64> {
        let bad = self.bad.first().map(|range| range.start);
        bad.into_iter().chain(self.broken).min()
    }

    /// Nothing valid comes after what is wrong.
    fn is_torn(&self) -> bool {
        let first = self.first_wrong();
        let follows = self.whole.iter().any(|range| Some(range.start) > first);
        !follows && !self.more_behind
    }
}

/// Oldest first.
fn journals(database: &Path) -> io::Result<Vec<PathBuf>> {
    let mut journals = Vec::new();
    for entry in fs::read_dir(database)? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let number = stem.and_then(|stem| stem.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|e| e == "jnl")) {
            journals.push((number, path));
        }
    }
    journals.sort();
    Ok(journals.into_iter().map(|(_, path)| path).collect())
}

/// Makes the journal consist of these parts alone; a power cut leaves the old one or the new one.
fn rewrite(path: &Path, parts: &[Range<u64>]) -> io::Result<()> {
    let new = path.with_extension("jnl.new");
    let mut source = File::open(path)?;
    let mut target = File::create(&new)?;
    for part in parts {
        source.seek(SeekFrom::Start(part.start))?;
        let mut part = (&mut source).take(part.end - part.start);
        io::copy(&mut part, &mut target)?;
    }
    target.flush()?;
    target.sync_all()?;
    fs::rename(&new, path)?;
    File::open(path.parent().unwrap_or(path))?.sync_all()
}

fn read_journal(path: &Path) -> io::Result<Reading> {
    let mut reading = Reading::default();
    let mut reader = BufReader::new(File::open(path)?);
    let (mut at, mut sequence) = (0, None);
    // The last whole batch, and the number before it.
    let mut last: Option<(Range<u64>, Option<u64>)> = None;
    loop {
        let batch = read_batch(&mut reader)?;
        let end = reader.stream_position()?;
        match batch {
            Batch::Whole(number) if !follows(number, sequence) => {
                match last.take().filter(|(_, before)| follows(number, *before)) {
                    // Not this one's number is wrong but that of the one before.
                    Some((range, before)) => {
                        reading.strike(range);
                        reading.take(at..end);
                        last = Some((at..end, before));
                        sequence = Some(number);
                    }
                    None => reading.bad.push(at..end),
                }
            }
            Batch::Whole(number) => {
                last = Some((at..end, sequence));
                sequence = Some(number);
                reading.take(at..end);
            }
            Batch::Bad => reading.bad.push(at..end),
            Batch::Nonsense => break,
        }
        at = end;
    }
    let rest = data_from(reader.get_ref(), at)?;
    if rest.iter().all(|byte| *byte == 0) {
        // The file is longer than what was written to it.
        return Ok(reading);
    }
    reading.broken = Some(at);
    let behind = 1..rest.len().saturating_sub(START_BYTES);
    reading.more_behind = behind.into_iter().any(|from| {
        let bytes = &rest[from..];
        let number = u64::from_le_bytes(*bytes[5..].first_chunk().expect("a start fits"));
        bytes[0] == START
            && follows(number, sequence)
            && matches!(read_batch(&mut io::Cursor::new(bytes)), Ok(Batch::Whole(_)))
    });
    Ok(reading)
}

/// The number can be that of the batch after one with the other number.
fn follows(number: u64, before: Option<u64>) -> bool {
    let rise = before.map_or(Some(1), |before| number.checked_sub(before));
    rise.is_some_and(|rise| (1..=SEQUENCE_GAP_MAX).contains(&rise))
}

/// What is in the file from there on, its holes at the end left out.
fn data_from(file: &File, from: u64) -> io::Result<Vec<u8>> {
    let mut end = from;
    loop {
        let at = i64::try_from(end).map_err(io::Error::other)?;
        let data = match lseek(file, at, Whence::SeekData) {
            Ok(data) => data,
            // Nothing but holes.
            Err(Errno::ENXIO) => break,
            Err(error) => return Err(error.into()),
        };
        end = lseek(file, data, Whence::SeekHole)?.unsigned_abs();
    }
    let mut bytes = Vec::new();
    let mut file = file;
    file.seek(SeekFrom::Start(from))?;
    file.take(end - from).read_to_end(&mut bytes)?;
    Ok(bytes)
}

enum Batch {
    /// It checks; its sequence number.
    Whole(u64),
    /// Its entries make sense, its sum does not.
    Bad,
    /// No batch.
    Nonsense,
}

fn read_batch(reader: &mut impl Read) -> io::Result<Batch> {
    match entries(reader) {
        Ok(batch) => Ok(batch),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Batch::Nonsense),
        Err(error) => Err(error),
    }
}

fn entries(reader: &mut impl Read) -> io::Result<Batch> {
    let start: [u8; START_BYTES] = take(reader)?;
    let (&count, rest) = start[1..].split_first_chunk().expect("four bytes");
    let sequence = u64::from_le_bytes(*rest.first_chunk().expect("eight bytes"));
    if start[0] != START {
        return Ok(Batch::Nonsense);
    }
    let mut sum = Xxh3::new();
    for _ in 0..u32::from_le_bytes(count) {
        if !read_entry(reader, &mut sum)? {
            return Ok(Batch::Nonsense);
        }
    }
    let end: [u8; 13] = take(reader)?;
    let expected = u64::from_le_bytes(*end[1..].first_chunk().expect("eight bytes"));
    if end[0] != END || end[9..] != MAGIC {
        return Ok(Batch::Nonsense);
    }
    Ok(match sum.digest() == expected {
        true => Batch::Whole(sequence),
        false => Batch::Bad,
    })
}

/// Adds an item or the clearing of a keyspace to the sum; false when it is neither.
fn read_entry(reader: &mut impl Read, sum: &mut Xxh3) -> io::Result<bool> {
    let [tag]: [u8; 1] = take(reader)?;
    sum.update(&[tag]);
    if tag == CLEAR {
        sum.update(&take::<8>(reader)?);
        return Ok(true);
    }
    if tag != ITEM {
        return Ok(false);
    }
    // Value type, compression, keyspace, then the lengths of key, value and value as stored.
    let head: [u8; 20] = take(reader)?;
    sum.update(&head);
    let key = u16::from_le_bytes(*head[10..].first_chunk().expect("two bytes"));
    let stored = u32::from_le_bytes(*head[16..].first_chunk().expect("four bytes"));
    let mut left = usize::from(key) + stored as usize;
    let mut piece = [0; PIECE_BYTES];
    while left > 0 {
        let length = left.min(PIECE_BYTES);
        reader.read_exact(&mut piece[..length])?;
        sum.update(&piece[..length]);
        left -= length;
    }
    Ok(true)
}

fn take<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}
