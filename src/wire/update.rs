//! The head of an update file: which board it is for, what it brings, and the signature over that.
//!
//! An update file is a head of [`HEAD_BYTES`] and the root's squashfs. The head is text, a line
//! each, in this order, and zeros to its end:
//!
//! ```text
//! roundel-update 1
//! board=rpi4
//! version=0.1.0
//! commit=40 hex digits
//! built=Unix seconds
//! kernel=6.1.0-40-arm64
//! store=OLDEST-NEWEST        formats of the store that its program writes
//! length=bytes of the root
//! sha256=64 hex digits, of the root
//! signature=hex digits       ECDSA P-256 with SHA-256 in DER, over all lines before it
//! ```
//!
//! The first line is in what is signed, so that a signature made for anything else is none here.
//! Whether the signature holds is found out with `security::identity::verify`; whether a board
//! takes the update, [`Update::admit`] says.

use std::fmt;
use std::str::FromStr;

use crate::base::id::Id;

/// Bytes of the head, zeros included: a block of every medium.
pub const HEAD_BYTES: usize = 4_096;
/// Bytes of a slot's partition, see image/readme.md.
pub const SLOT_BYTES: u64 = 32 * 1_024 * 1_024;
/// Bytes of a root: a slot less the head that is kept at its end.
pub const ROOT_BYTES_MAX: u64 = SLOT_BYTES - HEAD_BYTES as u64;
/// Bytes of an ECDSA P-256 signature in DER.
const SIGNATURE_BYTES_MAX: usize = 72;
/// What is signed begins with this.
const FORMAT: &str = "roundel-update 1";
/// Characters of a board's or a kernel's name.
const NAME_BYTES_MAX: usize = 64;

/// Why bytes are no head; whoever made the file is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// There is no text of that form at all.
    #[error("it does not begin with '{FORMAT}'")]
    NoUpdate,
    /// It is shorter than a head.
    #[error("it ends within its head of {HEAD_BYTES} bytes; got {0}")]
    Short(usize),
    /// A line is missing, out of its order or says something that cannot be.
    #[error("its line '{0}' is missing or malformed")]
    Line(&'static str),
    /// Something stands after the signature.
    #[error("bytes that belong to nothing follow its signature")]
    Trailing,
}

/// A version: three numbers, compared from the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(pub u32, pub u32, pub u32);

impl FromStr for Release {
    type Err = UpdateError;

    fn from_str(text: &str) -> Result<Self, UpdateError> {
        let mut parts = text.split('.').map(str::parse);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(a)), Some(Ok(b)), Some(Ok(c)), None) => Ok(Release(a, b, c)),
            _ => Err(UpdateError::Line("version")),
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// What an update brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The board's name, as `image/build.sh` takes it.
    pub board: String,
    /// The program's version.
    pub version: Release,
    /// The commit it was built from: 40 hex digits.
    pub commit: String,
    /// When that was made, Unix seconds.
    pub built: u64,
    /// The kernel whose modules it has.
    pub kernel: String,
    /// Formats of the store that its program can write, oldest and newest.
    pub store: (u32, u32),
    /// Bytes of the root.
    pub length: u64,
    /// SHA-256 of the root.
    pub sha256: Id,
}

/// An update with the signature over it, not checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// What it brings.
    pub update: Update,
    /// ASN.1 DER.
    pub signature: Vec<u8>,
}

/// What a board is, to which an update is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Its board.
    pub board: String,
    /// The version that runs.
    pub version: Release,
    /// When that was made, Unix seconds.
    pub built: u64,
    /// The kernel that runs.
    pub kernel: String,
    /// The store's format.
    pub store: u32,
}

/// Why a board does not take an update, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// For other hardware.
    #[error("this update is for the board {update}, this is a {own}; take the file for {own}")]
    Board {
        /// The update's.
        update: String,
        /// Its own.
        own: String,
    },
    /// The kernel is not in the slots.
    #[error(
        "this update is for the kernel {update}, the card has {own}; its card has to be written \
         anew"
    )]
    Kernel {
        /// The update's.
        update: String,
        /// Its own.
        own: String,
    },
    /// Falling back would lose what the new program has written.
    #[error(
        "this update writes the store's formats {} to {}, this board's is {own}; update to a \
         version in between first",
        .update.0, .update.1
    )]
    Store {
        /// The update's.
        update: (u32, u32),
        /// Its own.
        own: u32,
    },
    /// Older than what runs.
    #[error(
        "this update is older ({update}) than what runs ({own}); if that is meant: --downgrade"
    )]
    Older {
        /// The update's version and time.
        update: String,
        /// Its own.
        own: String,
    },
}

impl Update {
    /// Whether a board takes it. With `downgrade` it may be older.
    ///
    /// # Errors
    /// [`Unfit`], the first that applies.
    pub fn admit(&self, own: &Installed, downgrade: bool) -> Result<(), Unfit> {
        if self.board != own.board {
            let (update, own) = (self.board.clone(), own.board.clone());
            return Err(Unfit::Board { update, own });
        }
        if self.kernel != own.kernel {
            let (update, own) = (self.kernel.clone(), own.kernel.clone());
            return Err(Unfit::Kernel { update, own });
        }
        if !(self.store.0..=self.store.1).contains(&own.store) {
            let (update, own) = (self.store, own.store);
            return Err(Unfit::Store { update, own });
        }
        if !downgrade && (self.version, self.built) < (own.version, own.built) {
            let said = |version, built| format!("{version} of {built} s");
            return Err(Unfit::Older {
                update: said(self.version, self.built),
                own: said(own.version, own.built),
            });
        }
        Ok(())
    }

    /// The lines that are signed.
    pub fn emit(&self) -> String {
        format!(
            "{FORMAT}\nboard={}\nversion={}\ncommit={}\nbuilt={}\nkernel={}\nstore={}-{}\n\
             length={}\nsha256={}\n",
            self.board,
            self.version,
            self.commit,
            self.built,
            self.kernel,
            self.store.0,
            self.store.1,
            self.length,
            self.sha256
        )
    }
}

impl Signed {
    /// Reads a head; what follows its [`HEAD_BYTES`] is not looked at.
    ///
    /// # Errors
    /// [`UpdateError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, UpdateError> {
        if !bytes.starts_with(FORMAT.as_bytes()) {
            return Err(UpdateError::NoUpdate);
        }
        let head = bytes.get(..HEAD_BYTES);
        let head = head.ok_or(UpdateError::Short(bytes.len()))?;
        let end = head.iter().position(|byte| *byte == 0);
        let (text, rest) = head.split_at(end.unwrap_or(HEAD_BYTES));
        if rest.is_empty() || rest.iter().any(|byte| *byte != 0) {
            return Err(UpdateError::Trailing);
        }
        let text = std::str::from_utf8(text).map_err(|_| UpdateError::NoUpdate)?;
        let mut lines = text.split('\n');
        if lines.next() != Some(FORMAT) {
            return Err(UpdateError::NoUpdate);
        }
        let mut value = |name: &'static str| {
            let line = lines.next().and_then(|line| line.strip_prefix(name));
            let value = line.and_then(|line| line.strip_prefix('='));
            value.ok_or(UpdateError::Line(name))
        };
        let update = Update {
            board: named("board", value("board")?)?,
            version: value("version")?.parse()?,
            commit: commit(value("commit")?)?,
            built: number("built", value("built")?)?,
            kernel: named("kernel", value("kernel")?)?,
            store: formats(value("store")?)?,
            length: number("length", value("length")?)?,
            sha256: value("sha256")?
                .parse()
                .map_err(|_| UpdateError::Line("sha256"))?,
        };
        if !(1..=ROOT_BYTES_MAX).contains(&update.length) {
            return Err(UpdateError::Line("length"));
        }
        let signature = unhex(value("signature")?).ok_or(UpdateError::Line("signature"))?;
        if lines.next() != Some("") || lines.next().is_some() {
            return Err(UpdateError::Trailing);
        }
        let signed = Signed { update, signature };
        // Numbers and digits have one form.
        match signed.emit().starts_with(text.as_bytes()) {
            true => Ok(signed),
            false => Err(UpdateError::NoUpdate),
        }
    }

    /// The head, [`HEAD_BYTES`] of it.
    pub fn emit(&self) -> Vec<u8> {
        let mut text = self.update.emit().into_bytes();
        text.extend(b"signature=");
        let digits = self.signature.iter().map(|byte| format!("{byte:02x}"));
        text.extend(digits.collect::<String>().into_bytes());
        text.push(b'\n');
        text.resize(HEAD_BYTES, 0);
        text
    }
}

fn named(line: &'static str, text: &str) -> Result<String, UpdateError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-._+~".contains(c);
    match (1..=NAME_BYTES_MAX).contains(&text.len()) && text.chars().all(legal) {
        true => Ok(text.to_owned()),
        false => Err(UpdateError::Line(line)),
    }
}

fn commit(text: &str) -> Result<String, UpdateError> {
    let legal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    match text.len() == 40 && text.bytes().all(legal) {
        true => Ok(text.to_owned()),
        false => Err(UpdateError::Line("commit")),
    }
}

fn number(line: &'static str, text: &str) -> Result<u64, UpdateError> {
    text.parse().map_err(|_| UpdateError::Line(line))
}

fn formats(text: &str) -> Result<(u32, u32), UpdateError> {
    let read = |(oldest, newest): (&str, &str)| Some((oldest.parse().ok()?, newest.parse().ok()?));
    let pair: Option<(u32, u32)> = text.split_once('-').and_then(read);
    pair.filter(|(oldest, newest)| oldest <= newest)
        .ok_or(UpdateError::Line("store"))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() || !text.len().is_multiple_of(2) || text.len() > 2 * SIGNATURE_BYTES_MAX {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8);
    text.as_bytes().chunks_exact(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn update() -> Update {
        Update {
            board: "rpi4".into(),
            version: Release(0, 2, 0),
            commit: "ab".repeat(20),
            built: 1_000,
            kernel: "6.1.0-40-arm64".into(),
            store: (2, 2),
            length: 5,
            sha256: Id::of(b"hello"),
        }
    }

    fn installed() -> Installed {
        Installed {
            board: "rpi4".into(),
            version: Release(0, 1, 0),
            built: 900,
            kernel: "6.1.0-40-arm64".into(),
            store: 2,
        }
    }

    prop_compose! {
        fn any_update()(
            board in "[a-z0-9-]{1,64}", numbers: [u32; 3], commit in "[0-9a-f]{40}", built: u64,
            kernel in "[a-zA-Z0-9.+~_-]{1,64}", oldest in 0u32..9, more in 0u32..9,
            length in 1..=ROOT_BYTES_MAX, sha256: [u8; 32]
        ) -> Update {
            Update {
                board, commit, built, kernel, length,
                version: Release(numbers[0], numbers[1], numbers[2]),
                store: (oldest, oldest + more),
                sha256: Id::from_bytes(sha256),
            }
        }
    }

    proptest! {
        #[test]
        fn head_is_read_back_as_it_was_written(
            update in any_update(), signature in prop::collection::vec(any::<u8>(), 1..=72)
        ) {
            let signed = Signed { update, signature };
            let head = signed.emit();
            prop_assert_eq!(head.len(), HEAD_BYTES);
            prop_assert_eq!(Signed::parse(&head), Ok(signed));
        }

        #[test]
        fn changed_head_is_another_or_none(at in 0..400usize, byte: u8) {
            let signed = Signed { update: update(), signature: vec![7; 70] };
            let mut head = signed.emit();
            prop_assume!(head[at] != byte);
            head[at] = byte;
            if let Ok(read) = Signed::parse(&head) {
                prop_assert_ne!(&read, &signed);
                prop_assert_eq!(read.emit(), head);
            }
        }
    }

    #[test]
    fn every_line_that_is_wrong_is_named() {
        let good = Signed {
            update: update(),
            signature: vec![7; 70],
        };
        let text = String::from_utf8(good.emit()).unwrap();
        for (from, to, error) in [
            ("update 1", "update 2", UpdateError::NoUpdate),
            ("board=rpi4", "board=a b", UpdateError::Line("board")),
            (
                "version=0.2.0",
                "version=0.2-1",
                UpdateError::Line("version"),
            ),
            ("commit=ab", "commit=AB", UpdateError::Line("commit")),
            ("built=1000", "built=+100", UpdateError::NoUpdate),
            ("store=2-2", "store=3-2", UpdateError::Line("store")),
            ("length=5", "length=0", UpdateError::Line("length")),
            ("sha256=", "sha257=", UpdateError::Line("sha256")),
            (
                "signature=07",
                "signature=0x",
                UpdateError::Line("signature"),
            ),
        ] {
            let mut changed = text.replace(from, to).into_bytes();
            changed.resize(HEAD_BYTES, 0);
            assert_eq!(Signed::parse(&changed), Err(error), "{to}");
        }
        let long = text.replace("length=5", "length=33550337");
        let long = &long.as_bytes()[..HEAD_BYTES];
        assert_eq!(Signed::parse(long), Err(UpdateError::Line("length")));
        let short = &text.as_bytes()[..HEAD_BYTES - 1];
        assert_eq!(Signed::parse(short), Err(UpdateError::Short(4_095)));
        let mut more = text.into_bytes();
        more[HEAD_BYTES - 1] = b'x';
        assert_eq!(Signed::parse(&more), Err(UpdateError::Trailing));
    }

    #[test]
    fn an_update_for_another_board_or_kernel_is_refused() {
        let other = |change: fn(&mut Update)| {
            let mut update = update();
            change(&mut update);
            update
                .admit(&installed(), true)
                .map_err(|it| it.to_string())
        };
        let said = other(|it| it.board = "rpi5".into()).unwrap_err();
        assert!(said.contains("take the file for rpi4"), "{said}");
        let said = other(|it| it.kernel = "6.2".into()).unwrap_err();
        assert!(said.contains("written anew"), "{said}");
        assert_eq!(other(|_| {}), Ok(()));
    }

    #[test]
    fn an_update_that_cannot_write_the_stores_format_is_refused() {
        let with = |store| {
            let update = Update { store, ..update() };
            update.admit(&installed(), false)
        };
        let unfit = |update| Err(Unfit::Store { update, own: 2 });
        assert_eq!(with((3, 3)), unfit((3, 3)), "falling back would lose data");
        assert_eq!(with((1, 1)), unfit((1, 1)));
        assert_eq!(with((2, 3)), Ok(()));
    }

    #[test]
    fn an_older_update_is_refused_unless_a_downgrade_is_meant() {
        let older = Update {
            version: Release(0, 0, 9),
            ..update()
        };
        let said = older.admit(&installed(), false).unwrap_err().to_string();
        assert!(said.contains("--downgrade"), "{said}");
        assert_eq!(older.admit(&installed(), true), Ok(()));
        let earlier = Update {
            version: Release(0, 1, 0),
            built: 899,
            ..update()
        };
        assert!(earlier.admit(&installed(), false).is_err());
        let same = Update {
            built: 900,
            ..earlier
        };
        assert_eq!(same.admit(&installed(), false), Ok(()));
    }
}
