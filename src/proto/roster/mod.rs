//! The roster: who belongs to the ring, as a CRDT every board keeps on flash.
//!
//! Start: the founder's roster has itself as a member. Steady state: each change is one entry
//! that moves up in (generation, standing), never down; two rosters are joined entry by entry, so
//! gossip may arrive late, twice or out of order. Distress: an absent board keeps its entry;
//! liveness never changes the roster. End: `Left` and `Forgotten` entries stay, so that an old
//! rumour cannot bring a board back; it returns with a higher generation.
//!
//! ```text
//! Joining ──▶ Member ──▶ Leaving ──▶ Left          one generation
//!    ╰──────────┴───────────┴──────▶ Forgotten
//! Diskless ─────────────────────────▶ Left         a board that cannot keep copies
//! Leaving, Left, Forgotten ──▶ Member or Joining   generation + 1
//! Left ─────────────────────▶ Diskless             generation + 1
//! ```
//!
//! Members are all that belong; *holders* are those that hold copies, or are about to. Placement,
//! quorums and majorities are about holders alone.
//!
//! In mode `partial` a board's roster holds its neighbourhood only ([`Roster::around`]): the
//! nearest boards on each side that belong, and those between them that have gone.
//!
//! Contacts (where a board is) travel along; the newest (boot, renewal) wins. What the roster
//! means for copies is `proto/placement`.

pub mod absence;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::endpoint::{Name, SocketAddr};
use crate::base::id::Id;
use crate::base::limit;
use crate::base::member::{Cluster, Contact, Entry, Life, RingMode, Standing};
use crate::wire::peer::RosterState;

/// The roster of one cluster as one board knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    cluster: Cluster,
    entries: BTreeMap<Id, Entry>,
    contacts: BTreeMap<Id, Contact>,
    /// Mode `partial`: only the neighbourhood of this board is kept.
    centre: Option<Id>,
    digest: u64,
    knowledge: u64,
}

/// What a merge changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Entries that moved up.
    pub entries: Vec<Entry>,
    /// Contacts that are newer.
    pub contacts: Vec<Contact>,
}

impl Changes {
    /// Nothing changed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.contacts.is_empty()
    }
}

/// The roster as it lies on flash: layout version, then the state (postcard).
#[derive(Serialize, Deserialize)]
struct Stored {
    layout: u8,
    state: RosterState,
}

const LAYOUT: u8 = 2;
/// Contacts had no life.
const LAYOUT_WITHOUT_LIVES: u8 = 1;

/// A contact of [`LAYOUT_WITHOUT_LIVES`].
#[derive(Serialize, Deserialize)]
struct Lifeless {
    id: Id,
    name: Name,
    boot: u64,
    renewal: u32,
    endpoint: SocketAddr,
    version: String,
}

impl From<Lifeless> for Contact {
    fn from(contact: Lifeless) -> Self {
        Contact {
            id: contact.id,
            name: contact.name,
            boot: contact.boot,
            // No board has it: its next hello tells the real one.
            life: Life([0; 16]),
            renewal: contact.renewal,
            endpoint: contact.endpoint,
            version: contact.version,
        }
    }
}

/// A roster of [`LAYOUT_WITHOUT_LIVES`].
#[derive(Serialize, Deserialize)]
struct StoredWithoutLives {
    layout: u8,
    cluster: Cluster,
    entries: Vec<Entry>,
    contacts: Vec<Lifeless>,
}

/// Why a stored roster cannot be used; the medium is to blame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// The bytes do not have the layout of a roster.
    #[error("the roster on flash is damaged")]
    Damaged,
    /// It was written by a newer release.
    #[error("the roster on flash has layout {got}, this release reads up to {LAYOUT}")]
    Newer {
        /// Its layout.
        got: u8,
    },
}

impl Roster {
    /// A new cluster with its founder as the one member.
    pub fn found(cluster: Cluster, founder: Contact) -> Self {
        let mut roster = Roster::empty(cluster);
        roster.set(Entry {
            id: founder.id,
            generation: 1,
            standing: Standing::Member,
        });
        roster.note_contact(founder);
        roster
    }

    /// The roster a message or the flash store holds.
    pub fn from_state(state: RosterState) -> Self {
        let mut roster = Roster::empty(state.cluster.clone());
        roster.merge(&state);
        roster
    }

    fn empty(cluster: Cluster) -> Self {
        let mut roster = Roster {
            cluster,
            entries: BTreeMap::new(),
            contacts: BTreeMap::new(),
            centre: None,
            digest: 0,
            knowledge: 0,
        };
        roster.renew_digests();
        roster
    }

    /// In mode `partial`, keeps only the neighbourhood of `centre` from here on.
    pub fn around(mut self, centre: Id) -> Self {
        if self.cluster.mode == RingMode::Partial {
            self.centre = Some(centre);
            self.prune();
        }
        self
    }

    /// Forgets what lies outside the neighbourhood: beyond the nearest boards on each side that
    /// belong. That is no change of anybody's standing and is told to nobody.
    pub fn prune(&mut self) {
        let Some((first, last)) = self.ends() else {
            return;
        };
        let outside = |id: &Id| id.is_in_open(&last, &first);
        let before = self.entries.len();
        self.entries.retain(|id, _| !outside(id));
        if self.entries.len() == before {
            return;
        }
        self.contacts.retain(|id, _| !outside(id));
        self.renew_digests();
    }

    /// The outermost neighbours kept, before and after the centre; none when the roster may well
    /// hold every board there is.
    pub fn ends(&self) -> Option<(Id, Id)> {
        let centre = self.centre?;
        let others = |entry: &&Entry| entry.standing.belongs() && entry.id != centre;
        let ids: Vec<Id> = self.entries.values().filter(others).map(|e| e.id).collect();
        let side = limit::NEIGHBOURS_PER_SIDE;
        let after = ids.partition_point(|id| *id < centre);
        let first = (after + ids.len()).checked_sub(side)?;
        (ids.len() >= 2 * side)
            .then(|| (ids[first % ids.len()], ids[(after + side - 1) % ids.len()]))
    }

    /// The board whose state this is lacks something known here that is its concern.
    pub fn has_news_for(&self, board: &Id, state: &RosterState) -> bool {
        let theirs = Roster::from_state(state.clone()).around(*board);
        !{ theirs }.merge(&self.state()).is_empty()
    }

    /// Reads what [`Roster::to_bytes`] wrote, and returns what follows it.
    ///
    /// # Errors
    /// [`RosterError`]; the bytes are to be left as they are.
    pub fn from_bytes(bytes: &[u8]) -> Result<(Self, &[u8]), RosterError> {
        match bytes.first() {
            Some(&LAYOUT) => {}
            Some(&LAYOUT_WITHOUT_LIVES) => return Self::from_lifeless_bytes(bytes),
            Some(&got) if got > LAYOUT => return Err(RosterError::Newer { got }),
            _ => return Err(RosterError::Damaged),
        }
        let (stored, rest) =
            postcard::take_from_bytes::<Stored>(bytes).map_err(|_| RosterError::Damaged)?;
        Ok((Roster::from_state(stored.state), rest))
    }

    fn from_lifeless_bytes(bytes: &[u8]) -> Result<(Self, &[u8]), RosterError> {
        let (stored, rest) = postcard::take_from_bytes::<StoredWithoutLives>(bytes)
            .map_err(|_| RosterError::Damaged)?;
        let state = RosterState {
            cluster: stored.cluster,
            entries: stored.entries,
            contacts: stored.contacts.into_iter().map(Contact::from).collect(),
        };
        Ok((Roster::from_state(state), rest))
    }

    /// The bytes to keep on flash.
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_allocvec(&Stored {
            layout: LAYOUT,
            state: self.state(),
        })
        .expect("a roster's lengths are known")
    }

    /// Everything, for a message.
    pub fn state(&self) -> RosterState {
        RosterState {
            cluster: self.cluster.clone(),
            entries: self.entries.values().cloned().collect(),
            contacts: self.contacts.values().cloned().collect(),
        }
    }

    /// Only these changes, for a message.
    pub fn delta(&self, changes: &Changes) -> RosterState {
        RosterState {
            cluster: self.cluster.clone(),
            entries: changes.entries.clone(),
            contacts: changes.contacts.clone(),
        }
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// A digest of who belongs and how: equal digests mean equal placement. Boards that are
    /// diskless have no part in it, so their coming disturbs nobody.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// A digest of all that boards tell each other: who belongs, and where they were last known to
    /// be. Boards of equal knowledge have nothing to exchange.
    pub fn knowledge(&self) -> u64 {
        self.knowledge
    }

    /// A board's entry.
    pub fn entry(&self, id: &Id) -> Option<&Entry> {
        self.entries.get(id)
    }

    /// Where a board was last known to be.
    pub fn contact(&self, id: &Id) -> Option<&Contact> {
        self.contacts.get(id)
    }

    /// Boards that belong, in id order.
    pub fn members(&self) -> impl Iterator<Item = &Entry> {
        self.entries
            .values()
            .filter(|entry| entry.standing.belongs())
    }

    /// Boards that hold copies, or are about to, in id order.
    pub fn holders(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(|entry| entry.standing.holds())
    }

    /// The board holds copies, or is about to.
    pub fn is_holder(&self, id: &Id) -> bool {
        self.entry(id).is_some_and(|entry| entry.standing.holds())
    }

    /// The board belongs.
    pub fn has(&self, id: &Id) -> bool {
        self.entry(id).is_some_and(|entry| entry.standing.belongs())
    }

    /// Nobody that holds copies is joining or leaving.
    pub fn is_settled(&self) -> bool {
        self.holders()
            .all(|entry| entry.standing == Standing::Member)
    }

    /// Moves an entry up; an entry that is not higher changes nothing. Returns whether it moved.
    pub fn set(&mut self, entry: Entry) -> bool {
        let moved = self.move_up(entry);
        if moved {
            self.renew_digests();
        }
        moved
    }

    fn move_up(&mut self, entry: Entry) -> bool {
        let rank = |entry: &Entry| (entry.generation, entry.standing);
        let higher = self
            .entries
            .get(&entry.id)
            .is_none_or(|old| rank(old) < rank(&entry));
        if higher
            && (self.entries.len() < limit::ROSTER_MAX * 2 || self.entries.contains_key(&entry.id))
        {
            self.entries.insert(entry.id, entry);
            return true;
        }
        false
    }

    /// Takes a newer contact. Returns whether it was newer.
    pub fn note_contact(&mut self, contact: Contact) -> bool {
        let newer = self.take_contact(contact);
        if newer {
            self.renew_digests();
        }
        newer
    }

    fn take_contact(&mut self, contact: Contact) -> bool {
        let newer = self
            .contacts
            .get(&contact.id)
            .is_none_or(|old| (old.boot, old.renewal) < (contact.boot, contact.renewal));
        if newer {
            self.contacts.insert(contact.id, contact);
        }
        newer
    }

    /// Joins another board's knowledge into this one. The cluster is the caller's to compare.
    pub fn merge(&mut self, other: &RosterState) -> Changes {
        let mut changes = Changes::default();
        for entry in &other.entries {
            if self.move_up(entry.clone()) {
                changes.entries.push(entry.clone());
            }
        }
        for contact in &other.contacts {
            if self.entries.contains_key(&contact.id) && self.take_contact(contact.clone()) {
                changes.contacts.push(contact.clone());
            }
        }
        if !changes.is_empty() {
            self.prune();
            changes
                .entries
                .retain(|entry| self.entries.contains_key(&entry.id));
            changes
                .contacts
                .retain(|contact| self.contacts.contains_key(&contact.id));
            self.renew_digests();
        }
        changes
    }

    fn renew_digests(&mut self) {
        let mut bytes = Vec::with_capacity(16 + self.entries.len() * 37);
        bytes.extend_from_slice(&self.cluster.id.0);
        let (diskless, placed): (Vec<&Entry>, Vec<&Entry>) =
            (self.entries.values()).partition(|entry| entry.standing == Standing::Diskless);
        for entry in placed {
            push_entry(&mut bytes, entry);
        }
        self.digest = first_bytes(&bytes);
        for entry in diskless {
            push_entry(&mut bytes, entry);
        }
        let known = self.contacts.values();
        // A contact without an entry does not travel.
        for contact in known.filter(|contact| self.entries.contains_key(&contact.id)) {
            bytes.extend_from_slice(contact.id.as_bytes());
            bytes.extend_from_slice(&contact.boot.to_be_bytes());
            bytes.extend_from_slice(&contact.renewal.to_be_bytes());
        }
        self.knowledge = first_bytes(&bytes);
    }
}

fn push_entry(bytes: &mut Vec<u8>, entry: &Entry) {
    bytes.extend_from_slice(entry.id.as_bytes());
    bytes.extend_from_slice(&entry.generation.to_be_bytes());
    bytes.push(entry.standing as u8);
}

fn first_bytes(bytes: &[u8]) -> u64 {
    let hash = Id::of(bytes);
    let first = hash.as_bytes().first_chunk();
    u64::from_be_bytes(*first.expect("an id has eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::member::ClusterId;
    use proptest::prelude::*;

    fn cluster() -> Cluster {
        Cluster {
            id: ClusterId([7; 16]),
            name: "test".parse().unwrap(),
            copies: 3,
            points: 128,
            mode: RingMode::Full,
        }
    }

    #[test]
    fn roster_without_lives_is_read() {
        let contact = Lifeless {
            id: Id::of(b"a"),
            name: "a".parse().unwrap(),
            boot: 3,
            renewal: 1,
            endpoint: "192.0.2.1:38400".parse().unwrap(),
            version: "0".into(),
        };
        let entry = Entry {
            id: contact.id,
            generation: 2,
            standing: Standing::Member,
        };
        let mut bytes = postcard::to_allocvec(&StoredWithoutLives {
            layout: LAYOUT_WITHOUT_LIVES,
            cluster: cluster(),
            entries: vec![entry.clone()],
            contacts: vec![contact],
        })
        .unwrap();
        bytes.extend(b"note");
        let (roster, rest) = Roster::from_bytes(&bytes).unwrap();
        assert_eq!(rest, b"note");
        assert_eq!(roster.entry(&entry.id), Some(&entry));
        let contact = roster.contact(&entry.id).unwrap();
        assert_eq!((contact.boot, contact.life), (3, Life([0; 16])));
        assert_eq!(Roster::from_bytes(&roster.to_bytes()).unwrap().0, roster);
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let standings = vec![
            Standing::Joining,
            Standing::Member,
            Standing::Leaving,
            Standing::Left,
            Standing::Forgotten,
            Standing::Diskless,
        ];
        (0u8..4, 1u32..4, prop::sample::select(standings)).prop_map(|(id, generation, standing)| {
            Entry {
                id: Id::of(&[id]),
                generation,
                standing,
            }
        })
    }

    fn state() -> impl Strategy<Value = RosterState> {
        proptest::collection::vec(entry(), 0..8).prop_map(|entries| {
            Roster::from_state(RosterState {
                cluster: cluster(),
                entries,
                contacts: vec![],
            })
            .state()
        })
    }

    proptest! {
        #[test]
        fn merge_is_commutative_associative_and_idempotent(
            a in state(),
            b in state(),
            c in state(),
        ) {
            let merged = |states: &[&RosterState]| {
                let mut roster = Roster::empty(cluster());
                for state in states {
                    roster.merge(state);
                }
                roster
            };
            prop_assert_eq!(merged(&[&a, &b]), merged(&[&b, &a]));
            let (left, right) = (merged(&[&a, &b]).state(), merged(&[&b, &c]).state());
            prop_assert_eq!(merged(&[&left, &c]), merged(&[&a, &right]));
            prop_assert_eq!(merged(&[&a, &a]), merged(&[&a]));
        }

        #[test]
        fn bytes_on_flash_are_read_back(a in state()) {
            let roster = Roster::from_state(a);
            let mut bytes = roster.to_bytes();
            bytes.extend_from_slice(b"note");
            let (read, rest) = Roster::from_bytes(&bytes).unwrap();
            prop_assert_eq!(read, roster);
            prop_assert_eq!(rest, b"note");
        }
    }

    #[test]
    fn old_rumour_does_not_bring_a_board_back() {
        let id = Id::of(b"board");
        let mut roster = Roster::empty(cluster());
        assert!(roster.set(Entry {
            id,
            generation: 1,
            standing: Standing::Left
        }));
        assert!(!roster.set(Entry {
            id,
            generation: 1,
            standing: Standing::Member
        }));
        assert!(!roster.has(&id));
        assert!(roster.set(Entry {
            id,
            generation: 2,
            standing: Standing::Joining
        }));
        assert!(roster.has(&id));
    }

    #[test]
    fn diskless_board_is_a_member_that_holds_nothing_and_changes_no_placement() {
        let mut roster = Roster::empty(cluster());
        roster.set(member(0, 3));
        roster.set(member(1, 3));
        let (digest, knowledge) = (roster.digest(), roster.knowledge());
        let board = Entry {
            standing: Standing::Diskless,
            ..member(2, 3)
        };
        assert!(roster.set(board.clone()));
        assert_eq!(roster.digest(), digest);
        assert_ne!(roster.knowledge(), knowledge);
        assert!(roster.has(&board.id) && !roster.is_holder(&board.id));
        assert_eq!((roster.members().count(), roster.holders().count()), (3, 2));
        assert!(roster.is_settled());
        // Nobody takes it for a holder on an older word, and it ends without one.
        assert!(!roster.set(member(2, 3)));
        assert!(roster.set(Entry {
            standing: Standing::Left,
            ..board.clone()
        }));
        assert!(!roster.has(&board.id));
        assert_ne!(roster.digest(), digest);
    }

    #[test]
    fn newer_layout_and_damage_are_told_apart() {
        assert_eq!(
            Roster::from_bytes(&[9, 0]),
            Err(RosterError::Newer { got: 9 })
        );
        assert_eq!(Roster::from_bytes(&[1, 0]), Err(RosterError::Damaged));
    }

    /// Boards 0 to `count`, evenly round the ring.
    fn member(index: u8, count: u8) -> Entry {
        let mut bytes = [0; 32];
        bytes[0] = (u16::from(index) * 256 / u16::from(count)) as u8;
        Entry {
            id: Id::from_bytes(bytes),
            generation: 1,
            standing: Standing::Member,
        }
    }

    #[test]
    fn roster_of_a_neighbourhood_keeps_the_nearest_on_each_side() {
        let cluster = Cluster {
            points: 1,
            mode: RingMode::Partial,
            ..cluster()
        };
        let count = 40;
        let side = limit::NEIGHBOURS_PER_SIDE as u8;
        let state = RosterState {
            cluster,
            entries: (0..count).map(|i| member(i, count)).collect(),
            contacts: vec![],
        };
        let centre = member(3, count).id;
        let mut roster = Roster::from_state(state.clone()).around(centre);
        let near = (0..=2 * side).map(|k| member((3 + count - side + k) % count, count).id);
        let near: std::collections::BTreeSet<Id> = near.collect();
        let kept = |roster: &Roster| roster.members().map(|entry| entry.id).collect();
        assert_eq!(near, kept(&roster));
        // What lies beyond is heard again and changes nothing, whatever is said of it.
        let digest = roster.digest();
        assert!(roster.merge(&state).is_empty());
        let far = Entry {
            standing: Standing::Left,
            ..member(25, count)
        };
        let rumour = |entry: Entry| RosterState {
            entries: vec![entry],
            ..state.clone()
        };
        assert!(roster.merge(&rumour(far)).is_empty());
        assert_eq!(roster.digest(), digest);
        // A neighbour that leaves is remembered as gone, and makes room for the next.
        let left = Entry {
            standing: Standing::Left,
            ..member(4, count)
        };
        let changes = roster.merge(&rumour(left.clone()));
        assert_eq!(changes.entries, std::slice::from_ref(&left));
        assert!(roster.has_news_for(&member(12, count).id, &state));
        assert!(!roster.has_news_for(&member(25, count).id, &state));
        let next = member(3 + side + 1, count);
        assert_eq!(roster.merge(&state).entries, [next]);
        assert_eq!(roster.entry(&left.id), Some(&left));
    }
}
