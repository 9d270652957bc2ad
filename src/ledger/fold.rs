//! Versions that were superseded long ago leave the state for a root of their origin's (P8); from level 4 on.
//!
//! Ninety days of the ledger's time after the next version of its record was committed, a version folds: its commitments leave
//! the state, and their hash becomes the next leaf of its origin's tree (RFC 6962). Of that tree the state keeps the roots of
//! its complete subtrees, at most 64. All that stays of the version itself is its name in the feed.
//!
//! - Versions fold in the order in which they were superseded. The feed has that order, so whoever has the commitments of what
//!   an origin had folded makes its tree anew, and proves each of them against the root with the proofs of that RFC.
//! - A version of which every later one was given up is the one that stands. When it is due its leaf is made in its turn, so
//!   that nothing waits behind it, and it is kept; it goes with the next version of its record that folds.
//! - What folded of a record lies below what is kept. Its newest version is superseded by none and stays, and so does the
//!   number that the next one is held against.
//! - A batch whose clock counts folds what is due by then, at most [`limits::FOLDS_OF_COMMAND`] for each of its commands: more
//!   than it can bring, so that what is due never piles up, and work in proportion to its own.

use crate::audit::{Hash, empty_root, leaf_hash, node_hash};
use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::domain::ids::{AgencyId, RecordId};
use crate::domain::limits;
use imbl::{OrdSet, Vector};

use super::genesis::origin_mark;
use super::level::FOLDING;
use super::record::{VersionEntry, superseded_by};
use super::state::State;

/// The tree of what one origin had folded, as far as it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Folded {
    count: u64,
    /// The roots of its complete subtrees, largest first: one for each bit of the count.
    peaks: Vec<Hash>,
}

impl Folded {
    /// Adds a version as it was when it folded.
    pub(super) fn add(&mut self, id: &RecordId, entry: &VersionEntry) {
        let mut carried = leaf_hash(&folded_leaf(id, entry.version, &entry.commitment, &entry.grants));
        for _ in 0..self.count.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                carried = node_hash(&left, &carried);
            }
        }
        self.peaks.push(carried);
        self.count = self.count.saturating_add(1);
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let last = peaks.next().copied().unwrap_or_else(empty_root);
        peaks.fold(last, |right, left| node_hash(left, &right))
    }
}

impl Canon for Folded {
    fn write(&self, w: &mut Writer) {
        w.u64(self.count);
        for peak in &self.peaks {
            w.array(peak);
        }
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        let count = r.u64()?;
        let peaks = (0..count.count_ones()).map(|_| r.array::<32>()).collect::<Result<Vec<Hash>, CanonError>>()?;
        Ok(Folded { count, peaks })
    }
}

/// The leaf of a version that folded: what its holders have as well, so that they can prove it. Its tags and its place on the
/// ledger are not in it.
pub fn folded_leaf(id: &RecordId, version: u32, commitment: &[u8; 32], grants: &[[u8; 32]]) -> Vec<u8> {
    let mut w = Writer::new("hufu.ledger.folded", 1);
    w.value(id).u32(version).array(commitment);
    w.list(grants.iter(), |w, grant| {
        w.array(grant);
    });
    w.finish()
}

/// How far folding was at a look at the ledger, for who follows what folds.
#[derive(Debug, Clone, Default)]
pub struct Folds {
    /// Leaves that were made, of all origins together.
    leaves: u64,
    /// What was superseded and had none.
    line: Vector<(RecordId, u32)>,
    /// What had one and was kept.
    kept: OrdSet<(RecordId, u32)>,
}

impl Folds {
    /// What folded from then until a later state; none when some of it was not even superseded then, as at a first look.
    pub fn gone(&self, state: &State) -> Option<impl Iterator<Item = &(RecordId, u32)>> {
        let made = usize::try_from(state.folded_in_all().saturating_sub(self.leaves)).unwrap_or(usize::MAX);
        if made > self.line.len() {
            return None;
        }
        // They get their leaves in this order; what was kept before may have gone with one of them.
        let due = self.line.iter().take(made).chain(&self.kept);
        Some(due.filter(move |(id, version)| state.is_folded(id, *version)))
    }
}

impl State {
    /// How far folding is.
    pub fn folds(&self) -> Folds {
        let (line, kept) = (self.superseded().clone(), self.records.kept().clone());
        Folds { leaves: self.folded_in_all(), line, kept }
    }

    /// How many leaves the tree of an origin's records has, and the root over them.
    pub fn folded(&self, origin: &AgencyId) -> (u64, Hash) {
        match self.records.folded_of(origin_mark(&self.federation, origin)) {
            Some(folded) => (folded.count, folded.root()),
            None => (0, empty_root()),
        }
    }

    /// How many leaves were made, of all origins together.
    pub fn folded_in_all(&self) -> u64 {
        self.records.folded().map(|folded| folded.count).fold(0, u64::saturating_add)
    }

    /// The leaves of an origin's tree by name, in their order.
    pub fn folded_names(&self, origin: &AgencyId) -> Vec<(RecordId, u32)> {
        let (mark, (count, _)) = (origin_mark(&self.federation, origin), self.folded(origin));
        let of_origin = superseded_by(self.feed()).filter(|(id, _)| id.origin_mark() == mark);
        of_origin.take(usize::try_from(count).unwrap_or(usize::MAX)).collect()
    }

    /// Whether a version folded.
    pub fn is_folded(&self, id: &RecordId, version: u32) -> bool {
        let kept = self.record(id).and_then(|versions| versions.first());
        version > 0 && kept.is_some_and(|kept| version < kept.version)
    }

    /// Whether a version was committed; it may have folded since.
    pub fn was_committed(&self, id: &RecordId, version: u32) -> bool {
        self.is_folded(id, version) || self.record(id).is_some_and(|e| e.iter().any(|v| v.version == version))
    }

    /// What to look for in the place of a version: itself, or 0 when it folded, the newest that is here. The ledger's newest may
    /// be on its way, or for others.
    pub fn standing_for(&self, id: &RecordId, version: u32) -> u32 {
        if self.is_folded(id, version) { 0 } else { version }
    }

    /// Versions that were superseded and have no leaf yet, in the order in which they get it.
    pub fn superseded(&self) -> &Vector<(RecordId, u32)> {
        self.records.superseded()
    }

    /// Folds what is due, by a batch of so many commands.
    pub(super) fn fold(&mut self, commands: usize) {
        if self.level() < FOLDING {
            return;
        }
        let most = limits::FOLDS_OF_COMMAND.saturating_mul(commands);
        let folded = self.records.fold(self.time, most, |name| self.lost.contains_key(name));
        // Nobody is owed any more what was given up.
        let given_up = folded.iter().filter(|name| self.lost.remove(*name).is_some()).count();
        if given_up > 0 {
            self.settle();
        }
    }
}
