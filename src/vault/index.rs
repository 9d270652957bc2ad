//! What the intake knows of the held objects, in memory: rebuilt from its journal at a start.

use super::frame::{write_audience, write_frame};
use super::intake::Entry;
use super::proposal::{Stand, WAITING};
use super::shared::Places;
use crate::domain::ids::{Handle, RecordId};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Versions whose frames are written again at a time.
const AGAIN: usize = 1024;
/// Fewest superseded bytes for which the journal is written again.
const SUPERSEDED_BYTES: u64 = 1 << 20;

/// Bytes of the journal's frames, and of those of them that a later one took the place of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Frames {
    pub(super) all: u64,
    pub(super) superseded: u64,
}

impl Frames {
    /// Counts what was written.
    pub(super) fn note(&mut self, frames: &[Vec<u8>]) {
        self.all = frames.iter().fold(self.all, |all, frame| all.saturating_add(frame.len() as u64));
    }

    /// Whether the greater part says nothing any more, and that is worth the writing.
    pub(super) fn are_mostly_superseded(&self) -> bool {
        self.superseded >= SUPERSEDED_BYTES && self.superseded.saturating_mul(2) > self.all
    }
}

/// Held objects, and how they are found.
#[derive(Default)]
pub(super) struct Index {
    /// (record, version) -> objects with different commitments; only the committed one is exposed (P17).
    pub(super) by_version: BTreeMap<(RecordId, u32), Vec<Entry>>,
    pub(super) by_request: BTreeMap<[u8; 32], (RecordId, u32)>,
    /// More than one when somebody copied a check into a grant of its own: none takes another's place.
    pub(super) by_check: BTreeMap<[u8; 32], Vec<(RecordId, u32)>>,
    /// In the order in which they were taken in, since the start; recovery counts as taking in.
    pub(super) arrivals: Vec<RecordId>,
    /// Records whose proposals nobody decided yet, with their authors.
    pub(super) waiting: BTreeMap<RecordId, Handle>,
    /// Where the audience objects lie that blobs name.
    pub(super) audiences: Places,
    /// How much of the journal still says something.
    pub(super) frames: Frames,
}

impl Index {
    /// Numbers of the files with ciphertexts that lie apart.
    pub(super) fn files(&self) -> BTreeSet<u32> {
        self.by_version.values().flatten().filter_map(|e| e.apart).map(|apart| apart.file).collect()
    }

    /// A later copy of the same object takes the place of an earlier one. Answers the file that no entry names any more.
    pub(super) fn add(&mut self, key: (RecordId, u32), mut entry: Entry) -> Option<u32> {
        self.arrivals.push(key.0);
        for check in &entry.pull_checks {
            let named = self.by_check.entry(*check).or_default();
            if !named.contains(&key) {
                named.push(key);
            }
        }
        if let Some(request) = entry.request {
            self.by_request.insert(request, key);
        }
        let known = self.by_version.entry(key).or_default();
        let left = match known.iter_mut().find(|e| e.commitment == entry.commitment && e.grant == entry.grant) {
            Some(earlier) => {
                let before = write_frame(&key, earlier).len() as u64;
                self.frames.superseded = self.frames.superseded.saturating_add(before);
                entry.request = entry.request.or(earlier.request);
                entry.content = entry.content.or(earlier.content);
                entry.proposal = entry.proposal.or(earlier.proposal.take());
                let before = std::mem::replace(earlier, entry).apart.map(|a| a.file);
                before.filter(|file| earlier.apart.is_none_or(|a| a.file != *file))
            }
            None => {
                known.push(entry);
                None
            }
        };
        match known.iter().filter_map(|e| e.proposal.as_ref()).find(|p| p.stand == Stand::Waiting) {
            Some(p) => self.waiting.insert(key.0, p.author),
            None => self.waiting.remove(&key.0),
        };
        left
    }
}

impl Index {
    /// The frames that say where audience objects lie.
    pub(super) fn frames_of_audiences(&self) -> Vec<Vec<u8>> {
        self.audiences.all().map(|(name, place)| write_audience(&name, &place)).collect()
    }

    /// The frames of the next versions behind a place in their order, each as everything that was said of it together; none at
    /// the end.
    pub(super) fn frames_behind(&self, place: &mut Bound<(RecordId, u32)>) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        for (key, entries) in self.by_version.range((*place, Bound::Unbounded)).take(AGAIN) {
            frames.extend(entries.iter().map(|entry| write_frame(key, entry)));
            *place = Bound::Excluded(*key);
        }
        frames
    }
}

/// Whether one more proposal of an author may wait.
pub(super) fn has_room(waiting: &BTreeMap<RecordId, Handle>, author: Handle) -> bool {
    let (all, own) = WAITING;
    waiting.len() < all && waiting.values().filter(|a| **a == author).count() < own
}
