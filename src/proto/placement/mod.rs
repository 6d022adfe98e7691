//! Placement: which boards hold the copies of a key, computed from the roster and nothing else.
//!
//! Each board has a number of points on the ring (a cluster parameter; 128 in mode `full`). The
//! copies of a key are the first N distinct boards met walking clockwise from the key's point;
//! the first is its owner. A key lies at the start of its cell (`base/cell.rs`), so all keys of a
//! cell have the same copies. Liveness has no say: a live view would shrink with every absence, and
//! two sides of a partition would each believe they hold everything.
//!
//! While boards join or leave there are two placements, old and new, and an operation needs its
//! quorum in **both** ([`View`]). A joiner becomes a member only after it holds what it should
//! (`proto/board/handover.rs`), so that any two operations meet on some copy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::base::cell::{Cell, CellSet};
use crate::base::id::Id;
use crate::base::member::{Entry, RingMode, Standing};
use crate::proto::roster::Roster;

/// The points of a set of boards, sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circle {
    points: Vec<(Id, u16)>,
    boards: Vec<Id>,
}

impl Circle {
    /// Lays out `boards` with `points` points each.
    pub fn new(boards: BTreeSet<Id>, points: u32) -> Self {
        let boards: Vec<Id> = boards.into_iter().collect();
        let mut circle: Vec<(Id, u16)> = boards
            .iter()
            .enumerate()
            .flat_map(|(board, id)| (0..points).map(move |i| (id.point(i), board as u16)))
            .collect();
        circle.sort_unstable();
        Circle {
            points: circle,
            boards,
        }
    }

    /// Lays out `boards` with their ids as their one point each (mode `partial`).
    pub fn of_ids(boards: BTreeSet<Id>) -> Self {
        let boards: Vec<Id> = boards.into_iter().collect();
        let points = boards.iter().enumerate();
        Circle {
            points: points.map(|(board, id)| (*id, board as u16)).collect(),
            boards,
        }
    }

    /// The boards, in id order.
    pub fn boards(&self) -> &[Id] {
        &self.boards
    }

    /// Every board in the order met walking clockwise from `point`.
    pub fn walk(&self, point: &Id) -> impl Iterator<Item = Id> + '_ {
        let start = self.points.partition_point(|(at, _)| at < point);
        let mut seen = vec![false; self.boards.len()];
        let mut left = self.boards.len();
        let mut ahead = self.points[start..].iter().chain(&self.points[..start]);
        std::iter::from_fn(move || {
            while left > 0 {
                let board = usize::from(ahead.next()?.1);
                if !std::mem::replace(&mut seen[board], true) {
                    left -= 1;
                    return Some(self.boards[board]);
                }
            }
            None
        })
    }

    /// The boards that hold the copies of a key at `point`: at most `copies`, owner first.
    pub fn copies(&self, point: &Id, copies: usize) -> Vec<Id> {
        self.walk(point)
            .take(copies.min(self.boards.len()))
            .collect()
    }
}

/// The placement by one state of the roster.
#[derive(Clone, Debug)]
pub struct View {
    digest: u64,
    copies: usize,
    old: Arc<Circle>,
    new: Option<Arc<Circle>>,
    /// Mode `partial`: how each board stands, for digests of single keys.
    ranks: Option<BTreeMap<Id, (u32, Standing)>>,
    /// Mode `partial`: the outermost boards known, before and after this one.
    ends: Option<(Id, Id)>,
}

/// Where one key's copies are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopySets {
    /// One set when the roster is settled (or this key's copies do not change), else old and new.
    pub sets: Vec<Vec<Id>>,
}

impl CopySets {
    /// Every board of any set, each once, in order.
    pub fn all(&self) -> Vec<Id> {
        let mut all: Vec<Id> = Vec::new();
        for id in self.sets.iter().flatten() {
            if !all.contains(id) {
                all.push(*id);
            }
        }
        all
    }

    /// The owner: the first copy of the newest set.
    pub fn owner(&self) -> Id {
        let newest = self.sets.last().expect("a view has at least one set");
        newest[0]
    }

    /// The copies once the roster is settled.
    pub fn target(&self) -> &[Id] {
        self.sets.last().expect("a view has at least one set")
    }
}

impl View {
    /// Lays out the roster. None when no board is counted on (nobody belongs).
    pub fn of(roster: &Roster) -> Option<Self> {
        let pick = |wanted: &[Standing]| -> BTreeSet<Id> {
            roster
                .holders()
                .filter(|e| wanted.contains(&e.standing))
                .map(|e| e.id)
                .collect()
        };
        let old = pick(&[Standing::Member, Standing::Leaving]);
        let new = pick(&[Standing::Member, Standing::Joining]);
        let cluster = roster.cluster();
        if old.is_empty() {
            return None;
        }
        let circle = |boards: BTreeSet<Id>| {
            Arc::new(match cluster.mode {
                RingMode::Full => Circle::new(boards, cluster.points),
                RingMode::Partial => Circle::of_ids(boards),
            })
        };
        let rank = |entry: &Entry| (entry.id, (entry.generation, entry.standing));
        let changes = !new.is_empty() && new != old;
        Some(View {
            digest: roster.digest(),
            copies: usize::from(cluster.copies),
            new: changes.then(|| circle(new)),
            old: circle(old),
            ranks: (cluster.mode == RingMode::Partial)
                .then(|| roster.holders().map(rank).collect()),
            ends: roster.ends(),
        })
    }

    /// The digest of the roster it was laid out from.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Copies can be brought up to date by what comparing finds alone: nobody is joining or
    /// leaving, and the boards lay all cells out over one roster, which in mode `partial` they do
    /// not.
    pub fn is_comparable(&self) -> bool {
        self.is_settled() && self.ranks.is_none()
    }

    /// Boards that may hold copies together with `board`: in mode `full` all others.
    pub fn partners(&self, board: &Id) -> BTreeSet<Id> {
        let circles = [&self.old].into_iter().chain(&self.new);
        let mut partners = BTreeSet::new();
        for circle in circles {
            let boards = circle.boards();
            let reach = match self.ranks {
                None => boards.len(),
                Some(_) => self.copies.min(boards.len()),
            };
            let at = boards.partition_point(|id| id < board);
            for k in 0..reach {
                partners.insert(boards[(at + k) % boards.len()]);
                partners.insert(boards[(at + boards.len() - k) % boards.len()]);
            }
        }
        partners.remove(board);
        partners
    }

    /// What two boards must agree on before they operate on the keys at `points` together. Mode
    /// `full`: the roster. Mode `partial`, where neighbours' rosters differ at the far ends: each
    /// key's copies, how they stand, and since which generation.
    pub fn agreement<'a>(&self, points: impl IntoIterator<Item = &'a Id>) -> u64 {
        let Some(ranks) = &self.ranks else {
            return self.digest;
        };
        let mut digest = 0u64;
        let mut bytes = Vec::new();
        for point in points {
            bytes.clear();
            bytes.extend_from_slice(&digest.to_be_bytes());
            for set in self.copy_sets(point).sets {
                bytes.push(set.len() as u8);
                for id in set {
                    let (generation, standing) = ranks[&id];
                    bytes.extend_from_slice(id.as_bytes());
                    bytes.extend_from_slice(&generation.to_be_bytes());
                    bytes.push(standing as u8);
                }
            }
            let hash = Id::of(&bytes);
            let first = hash.as_bytes().first_chunk().expect("an id has 32 bytes");
            digest = u64::from_be_bytes(*first);
        }
        digest
    }

    /// This view may say who holds the key: always in mode `full`; in mode `partial` only when
    /// `board`, whose neighbourhood it is, holds a copy itself.
    pub fn is_known_to(&self, board: &Id, point: &Id) -> bool {
        self.ranks.is_none() || self.copy_sets(point).all().contains(board)
    }

    /// The key's copies lie within the boards known here; always in mode `full`.
    pub fn reaches(&self, point: &Id) -> bool {
        let Some((first, last)) = self.ends else {
            return true;
        };
        let within = |id: &Id| id.is_in_half_open(&first, &last);
        let sets = self.copy_sets(point).sets;
        // Walking on past the last board would come round to the first.
        within(point) && sets.iter().flatten().all(within)
    }

    /// With only `answered` of the old boards heard, every range `joiner` is to hold has had its
    /// read quorum.
    pub fn is_covered_for(&self, joiner: &Id, answered: &BTreeSet<Id>) -> bool {
        if self.ranks.is_none() {
            return self.is_covered_by(answered);
        }
        let new = self.new.as_ref().unwrap_or(&self.old);
        let mut ends = self.old.points.iter().chain(&new.points);
        ends.all(|(point, _)| {
            let copies = self.old.copies(point, self.copies);
            let heard = copies.iter().filter(|id| answered.contains(id)).count();
            heard > copies.len() / 2 || !new.copies(point, self.copies).contains(joiner)
        })
    }

    /// Nobody is joining or leaving.
    pub fn is_settled(&self) -> bool {
        self.new.is_none()
    }

    /// Boards counted on until the change is complete.
    pub fn old_boards(&self) -> &[Id] {
        self.old.boards()
    }

    /// Boards counted on once it is complete.
    pub fn new_boards(&self) -> &[Id] {
        self.new.as_ref().unwrap_or(&self.old).boards()
    }

    /// The copies of a key.
    pub fn copy_sets(&self, point: &Id) -> CopySets {
        let old = self.old.copies(point, self.copies);
        match &self.new {
            None => CopySets { sets: vec![old] },
            Some(circle) => {
                let new = circle.copies(point, self.copies);
                let sets = if new == old {
                    vec![old]
                } else {
                    vec![old, new]
                };
                CopySets { sets }
            }
        }
    }

    /// The copies of a key once the change is complete.
    pub fn target(&self, point: &Id) -> Vec<Id> {
        self.new
            .as_ref()
            .unwrap_or(&self.old)
            .copies(point, self.copies)
    }

    /// Cells of which both boards are to hold copies once the change is complete, and what two
    /// boards must agree on to find the same ones ([`View::agreement`]).
    pub fn shared_cells(&self, a: &Id, b: &Id) -> (CellSet, u64) {
        let circle = self.new.as_ref().unwrap_or(&self.old);
        let both = |copies: &[Id]| copies.contains(a) && copies.contains(b);
        if circle.boards().len() <= self.copies {
            let shared = match both(circle.boards()) {
                true => CellSet::full(),
                false => CellSet::empty(),
            };
            return (shared, self.agreement([&Id::ZERO]));
        }
        let mut shared = CellSet::empty();
        let mut runs = Vec::new();
        let mut points = circle.points.iter().map(|(point, _)| point).peekable();
        let mut is_shared = None;
        for cell in (0..=u16::MAX).map(Cell) {
            // A point is below the start of every cell above its own; between two nothing changes.
            while points.next_if(|point| Cell::of(point) < cell).is_some() {
                is_shared = None;
            }
            let is_shared = is_shared.get_or_insert_with(|| {
                let start = cell.start();
                let shared = self.reaches(&start) && both(&circle.copies(&start, self.copies));
                runs.extend(shared.then_some(start));
                shared
            });
            if *is_shared {
                shared.insert(cell);
            }
        }
        (shared, self.agreement(&runs))
    }

    /// Boards that may keep a hint for the key: all but its copies, walking on clockwise.
    pub fn substitutes<'a>(&'a self, point: &Id, sets: &CopySets) -> Vec<Id> {
        let taken = sets.all();
        let circle: &'a Circle = self.new.as_ref().unwrap_or(&self.old);
        circle
            .walk(point)
            .filter(|id| !taken.contains(id))
            .collect()
    }

    /// With only `answered` of the old boards heard, every range has had its read quorum.
    pub fn is_covered_by(&self, answered: &BTreeSet<Id>) -> bool {
        let absent = self
            .old
            .boards()
            .iter()
            .filter(|id| !answered.contains(id))
            .count();
        let quorum = |n: usize| n / 2 + 1;
        let n = self.copies.min(self.old.boards().len());
        if absent <= n - quorum(n) {
            return true;
        }
        self.old.points.iter().all(|(point, _)| {
            let copies = self.old.copies(point, self.copies);
            copies.iter().filter(|id| answered.contains(id)).count() >= quorum(copies.len())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boards(n: u8) -> BTreeSet<Id> {
        (0..n).map(|i| Id::of(&[i])).collect()
    }

    #[test]
    fn copies_are_distinct_and_start_at_the_successor_point() {
        let circle = Circle::new(boards(5), 128);
        for key in 0..200u32 {
            let point = Id::of(&key.to_be_bytes());
            let copies = circle.copies(&point, 3);
            let distinct: BTreeSet<&Id> = copies.iter().collect();
            assert_eq!(distinct.len(), 3);
            let owner = circle
                .boards()
                .iter()
                .flat_map(|id| (0..128).map(move |i| (id.point(i), *id)))
                .filter(|(at, _)| *at >= point)
                .min()
                .or_else(|| {
                    circle
                        .boards()
                        .iter()
                        .flat_map(|id| (0..128).map(move |i| (id.point(i), *id)))
                        .min()
                })
                .unwrap()
                .1;
            assert_eq!(copies[0], owner);
        }
    }

    #[test]
    fn shared_cells_are_those_of_which_both_are_copies() {
        let cluster = crate::base::member::Cluster {
            id: crate::base::member::ClusterId([7; 16]),
            name: "test".parse().unwrap(),
            copies: 3,
            points: 128,
            mode: crate::base::member::RingMode::Full,
        };
        let member = |id| crate::base::member::Entry {
            id,
            generation: 1,
            standing: Standing::Member,
        };
        let roster = Roster::from_state(crate::wire::peer::RosterState {
            cluster,
            entries: boards(7).into_iter().map(member).collect(),
            contacts: vec![],
        });
        let view = View::of(&roster).unwrap();
        let (a, b) = (view.old_boards()[1], view.old_boards()[4]);
        let (shared, agreement) = view.shared_cells(&a, &b);
        assert_eq!((shared.clone(), agreement), view.shared_cells(&b, &a));
        for cell in (0..=u16::MAX).step_by(97).map(Cell) {
            let copies = view.target(&cell.start());
            let both = copies.contains(&a) && copies.contains(&b);
            assert_eq!(shared.contains(cell), both, "{cell:?}");
        }
    }

    #[test]
    fn diskless_boards_are_left_out_of_both_sets() {
        let standing = |index| match index {
            0 => Standing::Diskless,
            1 => Standing::Joining,
            2 => Standing::Leaving,
            _ => Standing::Member,
        };
        let state = crate::wire::peer::RosterState {
            cluster: crate::base::member::Cluster {
                id: crate::base::member::ClusterId([7; 16]),
                name: "test".parse().unwrap(),
                copies: 3,
                points: 128,
                mode: RingMode::Full,
            },
            entries: (0..6u8)
                .map(|index| Entry {
                    id: Id::of(&[index]),
                    generation: 1,
                    standing: standing(index),
                })
                .collect(),
            contacts: vec![],
        };
        let diskless = Id::of(&[0]);
        let view = View::of(&Roster::from_state(state.clone())).unwrap();
        assert_eq!((view.old_boards().len(), view.new_boards().len()), (4, 4));
        for key in 0..200u32 {
            let point = Id::of(&key.to_be_bytes());
            let sets = view.copy_sets(&point);
            let kept = view.substitutes(&point, &sets);
            assert!(!sets.all().contains(&diskless) && !kept.contains(&diskless));
        }
        let mut alone = state;
        alone.entries.truncate(1);
        assert!(View::of(&Roster::from_state(alone)).is_none());
    }

    #[test]
    fn walk_meets_every_board_once() {
        let circle = Circle::new(boards(7), 16);
        let met: Vec<Id> = circle.walk(&Id::of(b"key")).collect();
        assert_eq!(met.len(), 7);
        assert_eq!(met.iter().collect::<BTreeSet<_>>().len(), 7);
    }

    #[test]
    fn one_more_board_moves_only_ranges_it_takes_over() {
        let before = Circle::new(boards(5), 128);
        let after = Circle::new(boards(6), 128);
        let joined = *boards(6).difference(&boards(5)).next().unwrap();
        for key in 0..500u32 {
            let point = Id::of(&key.to_be_bytes());
            let (old, new) = (before.copies(&point, 3), after.copies(&point, 3));
            if old != new {
                assert!(new.contains(&joined));
                assert!(new.iter().all(|id| *id == joined || old.contains(id)));
            }
        }
    }

    #[test]
    fn most_loaded_of_ten_boards_has_at_most_a_third_more_than_the_mean() {
        let circle = Circle::new(boards(10), 128);
        let mut load = std::collections::BTreeMap::<Id, u32>::new();
        for key in 0..20_000u32 {
            for id in circle.copies(&Id::of(&key.to_be_bytes()), 3) {
                *load.entry(id).or_default() += 1;
            }
        }
        let most = *load.values().max().unwrap() as f64;
        assert!(
            most / 6_000.0 <= 1.3,
            "most loaded / mean is {}",
            most / 6_000.0
        );
    }

    /// The view `board` has of a ring of these boards in mode `partial`, `odd` standing so.
    fn neighbourhood(ring: &[Id], board: &Id, odd: Option<(Id, Standing)>) -> View {
        let entry = |id: &Id| Entry {
            id: *id,
            generation: 1,
            standing: match odd {
                Some((other, standing)) if other == *id => standing,
                _ => Standing::Member,
            },
        };
        let state = crate::wire::peer::RosterState {
            cluster: crate::base::member::Cluster {
                id: crate::base::member::ClusterId([1; 16]),
                name: "test".parse().unwrap(),
                copies: 3,
                points: 1,
                mode: RingMode::Partial,
            },
            entries: ring.iter().map(entry).collect(),
            contacts: vec![],
        };
        View::of(&Roster::from_state(state).around(*board)).unwrap()
    }

    #[test]
    fn copies_of_a_key_agree_about_it_though_their_rosters_differ() {
        let ring: Vec<Id> = boards(40).into_iter().collect();
        for key in 0..200u32 {
            let point = Id::of(&key.to_be_bytes());
            let owner = ring.partition_point(|id| *id < point);
            let copies: Vec<Id> = (0..3).map(|k| ring[(owner + k) % 40]).collect();
            let views: Vec<View> = copies
                .iter()
                .map(|id| neighbourhood(&ring, id, None))
                .collect();
            for (view, board) in views.iter().zip(&copies) {
                assert_eq!(view.copy_sets(&point).all(), copies);
                assert_eq!(view.agreement([&point]), views[0].agreement([&point]));
                assert!(view.is_known_to(board, &point) && view.reaches(&point));
            }
            assert_ne!(views[0].digest(), views[1].digest());
            // A copy that leaves is another matter, and so is a board far away.
            let odd = Some((copies[1], Standing::Leaving));
            let other = neighbourhood(&ring, &copies[0], odd);
            assert_ne!(other.agreement([&point]), views[0].agreement([&point]));
            let far = ring[(owner + 20) % 40];
            let view = neighbourhood(&ring, &far, None);
            assert!(!view.is_known_to(&far, &point) && !view.reaches(&point));
        }
    }

    #[test]
    fn joiner_is_covered_by_a_read_quorum_of_each_of_its_own_ranges() {
        let ring: Vec<Id> = boards(40).into_iter().collect();
        let joiner = ring[20];
        let odd = Some((joiner, Standing::Joining));
        let view = neighbourhood(&ring, &joiner, odd);
        // Its ranges are its own and those of the two before it: copies on 18 to 23.
        let heard = |indexes: &[usize]| indexes.iter().map(|i| ring[*i]).collect();
        assert!(view.is_covered_for(&joiner, &heard(&[18, 19, 21, 22])));
        assert!(
            !view.is_covered_for(&joiner, &heard(&[19, 21])),
            "one of 21, 22, 23"
        );
        assert!(!view.is_covered_for(&joiner, &BTreeSet::from([joiner])));
    }
}
