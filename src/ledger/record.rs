//! The commitments: on shelves of drawers, so that a digest over the state costs the drawers that moved and not the whole.
//!
//! Before level 4 a shelf was digested whole: with every commitment as much as lay there, which grows with all there is.

use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::domain::ids::{NodeId, RecordId};
use crate::domain::limits;
use crate::domain::time::Millis;
use crate::seal::digest;
use imbl::ordmap::DiffItem;
use imbl::{OrdMap, OrdSet, Vector};
use std::collections::BTreeMap;

use super::batch::Refusal;
use super::fold::Folded;

const SHELVES: usize = 256;
/// More than one commitment adds, as long as its audience is not large.
const ROOM: usize = 512;
/// Most grants of one version, and most tags of them together: what a reader of a snapshot takes.
const GRANTS: usize = 4_096;
const ALL_TAGS: usize = 1 << 16;
/// Most versions of one record.
const VERSIONS: usize = 1 << 20;

/// One committed version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionEntry {
    /// 1, 2, …
    pub version: u32,
    /// Hiding commitment of the header (P12).
    pub commitment: [u8; 32],
    /// Hiding commitments of its grants, first one first.
    pub grants: Vec<[u8; 32]>,
    /// Blinded tags of all grants (P13).
    pub tags: Vec<[u8; 16]>,
    /// Committing node.
    pub node: NodeId,
    /// Ledger index.
    pub index: u64,
    /// Ledger time.
    pub time: Millis,
}

impl Canon for VersionEntry {
    fn write(&self, w: &mut Writer) {
        w.u32(self.version).array(&self.commitment);
        w.list(self.grants.iter(), |w, g| {
            w.array(g);
        });
        w.list(self.tags.iter(), |w, t| {
            w.array(t);
        });
        w.value(&self.node).u64(self.index).value(&self.time);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(VersionEntry {
            version: r.u32()?,
            commitment: r.array()?,
            grants: r.list(GRANTS, |r| r.array())?,
            tags: r.list(ALL_TAGS, |r| r.array())?,
            node: r.value()?,
            index: r.u64()?,
            time: r.value()?,
        })
    }
}

/// The versions of one record that are kept, lowest first; its newest always is.
pub type RecordEntry = Vec<VersionEntry>;

/// Some of the records, chosen by two bytes of their ids.
#[derive(Clone, Default)]
struct Drawer {
    records: OrdMap<RecordId, RecordEntry>,
    digest: [u8; 32],
}

/// Two of them are the same when their digests are.
impl PartialEq for Drawer {
    fn eq(&self, other: &Drawer) -> bool {
        self.digest == other.digest
    }
}

impl Drawer {
    fn redigest(&mut self) {
        let content = write_records(self.records.iter(), self.records.len().saturating_mul(ROOM));
        self.digest = digest("hufu.ledger.drawer", &[&content]);
    }
}

/// The drawers whose records share one of the two bytes.
#[derive(Clone, Default)]
struct Shelf {
    drawers: OrdMap<u8, Drawer>,
    digest: [u8; 32],
    /// The digest of all that lies here, as it was before level 4. None when it has to be made anew.
    whole: Option<[u8; 32]>,
}

impl Shelf {
    fn of(&self, id: &RecordId) -> Option<&RecordEntry> {
        self.drawers.get(&drawer_of(id))?.records.get(id)
    }

    fn change<T>(&mut self, id: RecordId, f: impl FnOnce(&mut RecordEntry) -> T) -> T {
        let of = self.drawers.entry(drawer_of(&id)).or_default();
        let changed = f(of.records.entry(id).or_default());
        of.redigest();
        self.redigest();
        changed
    }

    fn redigest(&mut self) {
        let mut w = Writer::with_room(self.drawers.len().saturating_mul(33));
        for (number, of) in &self.drawers {
            w.u8(*number).array(&of.digest);
        }
        self.digest = digest("hufu.ledger.shelf", &[&w.finish()]);
        self.whole = None;
    }

    /// In the order of their ids, which is that of all stored and digested bytes.
    fn records(&self) -> BTreeMap<&RecordId, &RecordEntry> {
        self.drawers.values().flat_map(|of| &of.records).collect()
    }

    fn digest_whole(&self) -> [u8; 32] {
        match (self.whole, self.drawers.is_empty()) {
            (Some(known), _) => known,
            (None, true) => [0; 32],
            (None, false) => digest("hufu.ledger.bucket", &[&write_records(self.records().into_iter(), ROOM)]),
        }
    }
}

fn write_records<'a>(records: impl Iterator<Item = (&'a RecordId, &'a RecordEntry)>, room: usize) -> Vec<u8> {
    let mut w = Writer::with_room(room);
    for (id, entry) in records {
        w.value(id);
        w.list(entry.iter(), |w, v| v.write(w));
    }
    w.finish()
}

/// The commitments of the federation, with the order in which they came.
#[derive(Clone)]
pub(super) struct Records {
    shelves: Vector<Shelf>,
    feed: Vector<(RecordId, u32)>,
    /// Hash chain over the feed.
    chain: [u8; 32],
    /// Versions that were superseded and have no leaf yet, the first one first. It follows from the feed.
    superseded: Vector<(RecordId, u32)>,
    /// What folded, by the mark of its origin.
    folded: OrdMap<[u8; 4], Folded>,
    /// What has its leaf and is kept, because all that came after it was lost by then. It follows from feed, count and shelves.
    kept: OrdSet<(RecordId, u32)>,
}

impl Default for Records {
    fn default() -> Self {
        let shelves = (0..SHELVES).map(|_| Shelf::default()).collect();
        let (feed, superseded) = (Vector::new(), Vector::new());
        Records { shelves, feed, chain: [0; 32], superseded, folded: OrdMap::new(), kept: OrdSet::new() }
    }
}

impl Records {
    pub(super) fn of(&self, id: &RecordId) -> Option<&RecordEntry> {
        self.shelves.get(shelf_of(id))?.of(id)
    }

    fn has(&self, id: &RecordId, version: u32) -> bool {
        self.of(id).is_some_and(|versions| versions.iter().any(|v| v.version == version))
    }

    pub(super) fn feed(&self) -> &Vector<(RecordId, u32)> {
        &self.feed
    }

    pub(super) fn superseded(&self) -> &Vector<(RecordId, u32)> {
        &self.superseded
    }

    pub(super) fn kept(&self) -> &OrdSet<(RecordId, u32)> {
        &self.kept
    }

    pub(super) fn folded_of(&self, origin_mark: [u8; 4]) -> Option<&Folded> {
        self.folded.get(&origin_mark)
    }

    pub(super) fn folded(&self) -> impl Iterator<Item = &Folded> {
        self.folded.values()
    }

    pub(super) fn has_folded(&self) -> bool {
        !self.folded.is_empty()
    }

    /// Adds a version whose number the caller checked. A record that is full takes no more.
    pub(super) fn push(&mut self, id: RecordId, entry: VersionEntry) -> Result<(), Refusal> {
        if self.of(&id).is_some_and(|e| e.len() >= VERSIONS) {
            return Err(Refusal::Invalid);
        }
        self.name((id, entry.version));
        if let Some(before) = entry.version.checked_sub(1).filter(|before| *before > 0) {
            self.superseded.push_back((id, before));
        }
        self.change(id, |versions| versions.push(entry));
        Ok(())
    }

    /// Adds a grant to a version; the feed names it again so that newcomers look. The same grant again changes nothing.
    pub(super) fn grant(
        &mut self,
        id: RecordId,
        version: u32,
        grant: [u8; 32],
        tags: &[[u8; 16]],
    ) -> Result<(), Refusal> {
        let known = self.of(&id).and_then(|e| e.iter().find(|v| v.version == version)).ok_or(Refusal::Unknown)?;
        if known.grants.contains(&grant) {
            return Ok(());
        }
        // Its leaf has the grants that it had.
        if self.kept.contains(&(id, version)) {
            return Err(Refusal::Unknown);
        }
        if known.grants.len() >= GRANTS || known.tags.len().saturating_add(tags.len()) > ALL_TAGS {
            return Err(Refusal::Invalid);
        }
        self.name((id, version));
        self.change(id, |versions| {
            if let Some(v) = versions.iter_mut().find(|v| v.version == version) {
                v.grants.push(grant);
                v.tags.extend_from_slice(tags);
            }
        });
        Ok(())
    }

    /// Makes the leaves of what is due at a time, at most so many; what left the state.
    pub(super) fn fold(
        &mut self,
        now: Millis,
        most: usize,
        is_lost: impl Fn(&(RecordId, u32)) -> bool,
    ) -> Vec<(RecordId, u32)> {
        let mut gone = Vec::new();
        for _ in 0..most {
            let Some(&(id, version)) = self.superseded.front() else { break };
            let since = self.superseded_since(&id, version);
            if since.is_none_or(|since| since.plus_ms(limits::FOLDED_AFTER_MS) > now) {
                break;
            }
            let Some(shelf) = self.shelves.get_mut(shelf_of(&id)) else { break };
            let Some(versions) = shelf.of(&id) else { break };
            let Some(due) = versions.iter().find(|v| v.version == version) else { break };
            self.folded.entry(id.origin_mark()).or_default().add(&id, due);
            self.superseded.pop_front();
            let mut later = versions.iter().filter(|v| v.version > version);
            if later.all(|v| is_lost(&(id, v.version))) {
                self.kept.insert((id, version));
                continue;
            }
            gone.extend(versions.iter().filter(|v| v.version <= version).map(|v| (id, v.version)));
            shelf.change(id, |versions| versions.retain(|v| v.version > version));
        }
        for name in &gone {
            self.kept.remove(name);
        }
        gone
    }

    /// Since when a kept version counts no more: the commitment of the next one. Were records purged, the time of that would
    /// be said here as well.
    fn superseded_since(&self, id: &RecordId, version: u32) -> Option<Millis> {
        let next = version.checked_add(1)?;
        self.of(id)?.iter().find(|v| v.version == next).map(|v| v.time)
    }

    /// Only what folded: what the rest leaves behind when it is written apart.
    pub(super) fn apart(&self) -> Records {
        Records { folded: self.folded.clone(), ..Records::default() }
    }

    /// Those of before, as [`Records::apart`] left them, with the rest. Versions come lowest first.
    pub(super) fn joined(
        self,
        feed: Vector<(RecordId, u32)>,
        versions: impl IntoIterator<Item = (RecordId, VersionEntry)>,
    ) -> Records {
        let mut records: BTreeMap<RecordId, RecordEntry> = BTreeMap::new();
        for (id, version) in versions {
            records.entry(id).or_default().push(version);
        }
        let mut records = Records { folded: self.folded, ..Records::of_entries(records, feed) };
        records.line_up();
        records
    }

    /// Whether the feed is an earlier one, as it was or grown: only such a one has its hash chain.
    pub(super) fn continues(&self, before: &Records) -> bool {
        let known = before.feed.len();
        let came = self.feed.skip(known);
        known <= self.feed.len() && came.iter().fold(before.chain, |chain, named| chained(&chain, named)) == self.chain
    }

    /// The records of which not the same versions are kept as before: those of then, and those of now.
    pub(super) fn moved_since<'a>(
        &'a self,
        before: &'a Records,
    ) -> impl Iterator<Item = (RecordId, &'a [VersionEntry], &'a [VersionEntry])> {
        let shelves = before.shelves.iter().zip(self.shelves.iter()).filter(|(old, new)| old.digest != new.digest);
        let drawers = shelves.flat_map(|(old, new)| old.drawers.diff(&new.drawers)).map(|item| match item {
            DiffItem::Add(_, new) => (None, Some(new)),
            DiffItem::Update { old: (_, old), new: (_, new) } => (Some(old), Some(new)),
            DiffItem::Remove(_, old) => (Some(old), None),
        });
        let mut moved: BTreeMap<RecordId, (&[VersionEntry], &[VersionEntry])> = BTreeMap::new();
        for (old, new) in drawers {
            for (id, versions) in old.into_iter().flat_map(|drawer| &drawer.records) {
                moved.entry(*id).or_default().0 = versions;
            }
            for (id, versions) in new.into_iter().flat_map(|drawer| &drawer.records) {
                moved.entry(*id).or_default().1 = versions;
            }
        }
        moved.into_iter().filter(|(_, (old, new))| old != new).map(|(id, (old, new))| (id, old, new))
    }

    /// Records of this feed, not lined up yet.
    fn of_entries(entries: BTreeMap<RecordId, RecordEntry>, feed: Vector<(RecordId, u32)>) -> Records {
        let chain = feed.iter().fold([0; 32], |chain, named| chained(&chain, named));
        let mut drawers: BTreeMap<(usize, u8), Drawer> = BTreeMap::new();
        for (id, entry) in entries {
            drawers.entry((shelf_of(&id), drawer_of(&id))).or_default().records.insert(id, entry);
        }
        let mut records = Records { feed, chain, ..Records::default() };
        for ((shelf, number), mut drawer) in drawers {
            drawer.redigest();
            if let Some(shelf) = records.shelves.get_mut(shelf) {
                shelf.drawers.insert(number, drawer);
            }
        }
        records.shelves.iter_mut().filter(|shelf| !shelf.drawers.is_empty()).for_each(Shelf::redigest);
        records
    }

    /// What folded, behind the rest: a state of which nothing did is written and digested as before there was folding.
    pub(super) fn write_folded(&self, w: &mut Writer) {
        w.list(self.folded.iter(), |w, (origin_mark, folded)| {
            w.array(origin_mark).value(folded);
        });
    }

    pub(super) fn read_folded(&mut self, r: &mut Reader<'_>) -> Result<(), CanonError> {
        self.folded = r.list(limits::AGENCIES, |r| Ok((r.array::<4>()?, r.value::<Folded>()?)))?.into_iter().collect();
        self.line_up();
        Ok(())
    }

    /// What waits for its leaf, and what is kept behind it: from feed, counts of leaves, and shelves.
    fn line_up(&mut self) {
        let mut leaves: BTreeMap<[u8; 4], u64> = self.folded.iter().map(|(mark, of)| (*mark, of.count())).collect();
        let line: Vec<(RecordId, u32)> = superseded_by(&self.feed).collect();
        (self.superseded, self.kept) = (Vector::new(), OrdSet::new());
        // Leaves were made in this order.
        for name in line {
            match leaves.get_mut(&name.0.origin_mark()).filter(|left| **left > 0) {
                None => self.superseded.push_back(name),
                Some(left) => {
                    *left = left.saturating_sub(1);
                    if self.has(&name.0, name.1) {
                        self.kept.insert(name);
                    }
                }
            }
        }
    }

    fn name(&mut self, named: (RecordId, u32)) {
        self.chain = chained(&self.chain, &named);
        self.feed.push_back(named);
    }

    /// Before level 4 (`whole`) over each shelf's records, from then on over the digests of its drawers.
    pub(super) fn digest(&self, whole: bool) -> [u8; 32] {
        let mut w = Writer::bare();
        w.u64(self.feed.len() as u64).array(&self.chain);
        for shelf in &self.shelves {
            w.array(&if whole { shelf.digest_whole() } else { shelf.digest });
        }
        if self.has_folded() {
            self.write_folded(&mut w);
        }
        digest("hufu.ledger.records", &[&w.finish()])
    }

    /// Keeps the digests of before level 4, which are made anew only where something moved.
    pub(super) fn keep_whole(&mut self) {
        let is_stale = |shelf: &Shelf| shelf.whole.is_none() && !shelf.drawers.is_empty();
        let stale: Vec<usize> = (0..).zip(&self.shelves).filter(|(_, s)| is_stale(s)).map(|(n, _)| n).collect();
        for n in stale {
            if let Some(shelf) = self.shelves.get_mut(n) {
                shelf.whole = Some(shelf.digest_whole());
            }
        }
    }

    fn change(&mut self, id: RecordId, f: impl FnOnce(&mut RecordEntry)) {
        if let Some(shelf) = self.shelves.get_mut(shelf_of(&id)) {
            shelf.change(id, f);
        }
    }
}

fn chained(chain: &[u8; 32], (id, version): &(RecordId, u32)) -> [u8; 32] {
    digest("hufu.ledger.feed", &[chain, id.as_bytes(), &version.to_be_bytes()])
}

/// What the commitments of a feed superseded, in their order. What it names again was granted to somebody else.
pub(super) fn superseded_by(feed: &Vector<(RecordId, u32)>) -> impl Iterator<Item = (RecordId, u32)> {
    let mut newest: BTreeMap<RecordId, u32> = BTreeMap::new();
    feed.iter().filter_map(move |(id, version)| {
        let before = version.checked_sub(1).filter(|before| *before > 0)?;
        let known = newest.entry(*id).or_default();
        let is_new = *known < *version;
        *known = (*known).max(*version);
        is_new.then_some((*id, before))
    })
}

/// Both bytes are random in an honest id.
fn shelf_of(id: &RecordId) -> usize {
    let [.., b, _, _, _, _] = *id.as_bytes();
    usize::from(b) % SHELVES
}

fn drawer_of(id: &RecordId) -> u8 {
    let [.., b, _, _, _, _, _] = *id.as_bytes();
    b
}

impl Canon for Records {
    fn write(&self, w: &mut Writer) {
        w.list(self.feed.iter(), |w, (id, v)| {
            w.value(id).u32(*v);
        });
        for shelf in &self.shelves {
            w.list(shelf.records().into_iter(), |w, (id, e)| {
                w.value(id);
                w.list(e.iter(), |w, v| v.write(w));
            });
        }
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        let feed: Vector<_> = r.list(usize::MAX, |r| Ok((r.value()?, r.u32()?)))?.into_iter().collect();
        let mut entries = BTreeMap::new();
        for shelf in 0..SHELVES {
            for (id, versions) in
                r.list(usize::MAX, |r| Ok((r.value::<RecordId>()?, r.list(VERSIONS, VersionEntry::read)?)))?
            {
                if shelf_of(&id) != shelf {
                    return Err(CanonError::Invalid("a record on another shelf"));
                }
                entries.insert(id, versions);
            }
        }
        let mut records = Records::of_entries(entries, feed);
        records.line_up();
        Ok(records)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    fn entry(version: u32) -> VersionEntry {
        let (commitment, grants, tags) = ([3; 32], vec![[4; 32]], vec![[5; 16]; 4]);
        VersionEntry { version, commitment, grants, tags, node: NodeId(6), index: 7, time: Millis(8) }
    }

    /// From level 4 on. Shelf and drawer are bytes 11 and 10 of an id.
    #[test]
    fn records_are_digested_by_drawers() {
        let (mut records, ids) = (Records::default(), [1, 2].map(|n| RecordId::from_bytes([n; 16])));
        for id in ids {
            records.push(id, entry(1)).unwrap();
        }
        let mut expected = Writer::bare();
        expected.u64(2).array(&records.chain);
        for shelf in 0..=255 {
            let content = Writer::bare().array(&[shelf; 16]).u32(1).value(&entry(1)).finish();
            let drawer = digest("hufu.ledger.drawer", &[&content]);
            let content = Writer::bare().u8(shelf).array(&drawer).finish();
            let lies = ids.iter().any(|id| shelf_of(id) == usize::from(shelf));
            expected.array(&if lies { digest("hufu.ledger.shelf", &[&content]) } else { [0; 32] });
        }
        assert_eq!(records.digest(false), digest("hufu.ledger.records", &[&expected.finish()]));
        let (before, whole) = (records.clone(), records.digest(true));
        records.push(ids[0], entry(2)).unwrap();
        assert!(records.digest(false) != before.digest(false) && records.digest(true) != whole);
        let moved: Vec<_> = records.moved_since(&before).map(|(id, old, new)| (id, old.len(), new.len())).collect();
        assert_eq!(moved, [(ids[0], 1, 2)]);
    }

    #[test]
    fn the_digest_of_before_is_the_same_kept_or_made_anew() {
        let mut records = Records::default();
        for n in 1..4 {
            records.push(RecordId::from_bytes([n; 16]), entry(1)).unwrap();
        }
        let made = records.digest(true);
        records.keep_whole();
        assert_eq!(records.digest(true), made);
        records.push(RecordId::from_bytes([1; 16]), entry(2)).unwrap();
        let stale = records.digest(true);
        records.keep_whole();
        assert!(stale != made && records.digest(true) == stale);
    }
}
