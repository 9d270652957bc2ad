//! The commitments: bucketed, so that a digest over the state costs the buckets that moved and not the whole.

use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::domain::ids::{NodeId, RecordId};
use crate::domain::limits;
use crate::domain::time::Millis;
use crate::seal::digest;
use imbl::ordmap::DiffItem;
use imbl::{OrdMap, OrdSet, Vector};
use std::collections::{BTreeMap, BTreeSet};

use super::batch::Refusal;
use super::fold::Folded;

const BUCKETS: usize = 256;
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

#[derive(Clone, Default)]
struct Bucket {
    records: OrdMap<RecordId, RecordEntry>,
    digest: [u8; 32],
    /// How long what is digested was the last time.
    bytes: usize,
}

impl Bucket {
    fn redigest(&mut self) {
        let mut w = Writer::with_room(self.bytes.saturating_add(ROOM));
        for (id, entry) in &self.records {
            w.value(id);
            w.list(entry.iter(), |w, v| v.write(w));
        }
        let content = w.finish();
        self.bytes = content.len();
        self.digest = digest("hufu.ledger.bucket", &[&content]);
    }
}

/// The commitments of the federation, with the order in which they came.
#[derive(Clone)]
pub(super) struct Records {
    buckets: Vector<Bucket>,
    feed: Vector<(RecordId, u32)>,
    /// Hash chain over the feed.
    chain: [u8; 32],
    /// Versions that were superseded and have no leaf yet, the first one first. It follows from the feed.
    superseded: Vector<(RecordId, u32)>,
    /// What folded, by the mark of its origin.
    folded: OrdMap<[u8; 4], Folded>,
    /// What has its leaf and is kept, because all that came after it was lost by then. It follows from feed, count and buckets.
    kept: OrdSet<(RecordId, u32)>,
}

impl Default for Records {
    fn default() -> Self {
        let buckets = (0..BUCKETS).map(|_| Bucket::default()).collect();
        let (feed, superseded) = (Vector::new(), Vector::new());
        Records { buckets, feed, chain: [0; 32], superseded, folded: OrdMap::new(), kept: OrdSet::new() }
    }
}

impl Records {
    pub(super) fn of(&self, id: &RecordId) -> Option<&RecordEntry> {
        self.buckets.get(slot(id)).and_then(|b| b.records.get(id))
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
        let (mut gone, mut moved) = (Vec::new(), BTreeSet::new());
        for _ in 0..most {
            let Some(&(id, version)) = self.superseded.front() else { break };
            let since = self.superseded_since(&id, version);
            if since.is_none_or(|since| since.plus_ms(limits::FOLDED_AFTER_MS) > now) {
                break;
            }
            let versions = self.buckets.get_mut(slot(&id)).and_then(|b| b.records.get_mut(&id));
            let Some(versions) = versions else { break };
            let Some(due) = versions.iter().find(|v| v.version == version) else { break };
            self.folded.entry(id.origin_mark()).or_default().add(&id, due);
            self.superseded.pop_front();
            let mut later = versions.iter().filter(|v| v.version > version);
            if later.all(|v| is_lost(&(id, v.version))) {
                self.kept.insert((id, version));
                continue;
            }
            gone.extend(versions.iter().filter(|v| v.version <= version).map(|v| (id, v.version)));
            versions.retain(|v| v.version > version);
            moved.insert(slot(&id));
        }
        for name in &gone {
            self.kept.remove(name);
        }
        for slot in moved {
            if let Some(bucket) = self.buckets.get_mut(slot) {
                bucket.redigest();
            }
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
        let mut buckets: Vec<Bucket> = (0..BUCKETS).map(|_| Bucket::default()).collect();
        for (id, entry) in records {
            if let Some(bucket) = buckets.get_mut(slot(&id)) {
                bucket.records.insert(id, entry);
            }
        }
        let mut records = Records { folded: self.folded, ..Records::of_buckets(buckets, feed) };
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
        let pairs = before.buckets.iter().zip(self.buckets.iter()).filter(|(old, new)| old.digest != new.digest);
        pairs.flat_map(|(old, new)| old.records.diff(&new.records)).map(|item| {
            let none: &'a [VersionEntry] = &[];
            match item {
                DiffItem::Add(id, new) => (*id, none, new.as_slice()),
                DiffItem::Update { old: (_, old), new: (id, new) } => (*id, old.as_slice(), new.as_slice()),
                DiffItem::Remove(id, old) => (*id, old.as_slice(), none),
            }
        })
    }

    /// The records of these buckets in this order; none of them folded.
    fn of_buckets(buckets: Vec<Bucket>, feed: Vector<(RecordId, u32)>) -> Records {
        let chain = feed.iter().fold([0; 32], |chain, named| chained(&chain, named));
        let digested = buckets.into_iter().map(|mut bucket| {
            if !bucket.records.is_empty() {
                bucket.redigest();
            }
            bucket
        });
        let mut records = Records { buckets: digested.collect(), feed, chain, ..Records::default() };
        records.line_up();
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

    /// What waits for its leaf, and what is kept behind it: from feed, counts of leaves, and buckets.
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

    pub(super) fn digest(&self) -> [u8; 32] {
        let mut w = Writer::bare();
        w.u64(self.feed.len() as u64).array(&self.chain);
        for bucket in &self.buckets {
            w.array(&bucket.digest);
        }
        if self.has_folded() {
            self.write_folded(&mut w);
        }
        digest("hufu.ledger.records", &[&w.finish()])
    }

    fn change(&mut self, id: RecordId, f: impl FnOnce(&mut RecordEntry)) {
        if let Some(bucket) = self.buckets.get_mut(slot(&id)) {
            f(bucket.records.entry(id).or_default());
            bucket.redigest();
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

fn slot(id: &RecordId) -> usize {
    let [.., b, _, _, _, _] = *id.as_bytes();
    usize::from(b) % BUCKETS
}

impl Canon for Records {
    fn write(&self, w: &mut Writer) {
        w.list(self.feed.iter(), |w, (id, v)| {
            w.value(id).u32(*v);
        });
        for bucket in &self.buckets {
            w.list(bucket.records.iter(), |w, (id, e)| {
                w.value(id);
                w.list(e.iter(), |w, v| v.write(w));
            });
        }
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        let feed: Vector<_> = r.list(usize::MAX, |r| Ok((r.value()?, r.u32()?)))?.into_iter().collect();
        let mut buckets = Vec::with_capacity(BUCKETS);
        for _ in 0..BUCKETS {
            let entries =
                r.list(usize::MAX, |r| Ok((r.value::<RecordId>()?, r.list(VERSIONS, VersionEntry::read)?)))?;
            buckets.push(Bucket { records: entries.into_iter().collect(), ..Bucket::default() });
        }
        Ok(Records::of_buckets(buckets, feed))
    }
}
