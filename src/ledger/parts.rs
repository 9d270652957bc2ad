//! The state in parts, each under a key, for whoever saves only what changed (format version 1).
//!
//! - `d`: the digest of the state that all parts together are.
//! - `f` and a number: so many entries of the feed, which only grows.
//! - `h` and a number: a piece of everything else, which is the encoded state without records.
//! - `v`, a record, a version, and a number: a piece of that version. It has no part any more once it folded.
//!
//! No value is over 4,000 bytes. What is superseded is not written: it follows from the feed.

use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::domain::ids::RecordId;
use imbl::Vector;
use std::collections::BTreeMap;

use super::record::{Records, VersionEntry};
use super::state::{LedgerError, State};

const FORMAT: &str = "hufu.state.parts";
const VERSION: u16 = 1;
const DIGEST: u8 = b'd';
const FEED: u8 = b'f';
const HEAD: u8 = b'h';
const KEPT: u8 = b'v';
/// Most bytes of a value; as many entries of the feed as fit.
const PART_BYTES: usize = ENTRY_BYTES * FEED_ENTRIES;
const FEED_ENTRIES: usize = 200;
/// Of an entry of the feed: a record and a version.
const ENTRY_BYTES: usize = 20;

/// A key and its value.
pub type Part = (Vec<u8>, Vec<u8>);

/// What makes the parts of one state those of another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Parts that are new, or in the place of those with their keys.
    pub put: Vec<Part>,
    /// Keys whose parts go.
    pub removed: Vec<Vec<u8>>,
}

impl Changes {
    /// What differs between two values that are cut from the part `first` on.
    fn compare(&mut self, name: &[u8], first: u32, old: &[u8], new: &[u8]) {
        let (mut old, mut new) = (old.chunks(PART_BYTES), new.chunks(PART_BYTES));
        for n in first.. {
            let key = || Writer::bare().array(name).u32(n).finish();
            match (old.next(), new.next()) {
                (None, None) => return,
                (Some(_), None) => self.removed.push(key()),
                (was, Some(is)) if was == Some(is) => {}
                (_, Some(is)) => self.put.push((key(), is.to_vec())),
            }
        }
    }

    fn compare_feeds(&mut self, before: &Records, now: &Records) {
        // What is there already of an earlier feed stays, but for the part that was not full.
        let full = if now.continues(before) { before.feed().len() / FEED_ENTRIES } else { 0 };
        let rest = |feed: &Vector<(RecordId, u32)>| feed_bytes(&feed.skip(full.saturating_mul(FEED_ENTRIES)));
        let first = u32::try_from(full).unwrap_or(u32::MAX);
        self.compare(&[FEED], first, &rest(before.feed()), &rest(now.feed()));
    }

    fn compare_versions(&mut self, before: &Records, now: &Records) {
        for (record, old, new) in now.moved_since(before) {
            let mut pairs: BTreeMap<u32, (Option<&VersionEntry>, Option<&VersionEntry>)> = BTreeMap::new();
            for v in old {
                pairs.entry(v.version).or_default().0 = Some(v);
            }
            for v in new {
                pairs.entry(v.version).or_default().1 = Some(v);
            }
            for (version, (old, new)) in pairs.into_iter().filter(|(_, (old, new))| old != new) {
                let name = Writer::bare().u8(KEPT).value(&record).u32(version).finish();
                let bytes = |v: Option<&VersionEntry>| v.map(Canon::to_canon).unwrap_or_default();
                self.compare(&name, 0, &bytes(old), &bytes(new));
            }
        }
    }
}

impl State {
    /// What makes the parts of an earlier state those of this one: work in proportion to what changed. Without one, all parts.
    pub fn changes(&self, before: Option<&State>) -> Changes {
        let none = Records::default();
        let records = before.map_or(&none, |b| &b.records);
        let mut changes = Changes::default();
        let digest = Writer::new(FORMAT, VERSION).array(&self.digest()).finish();
        changes.put.push((vec![DIGEST], digest));
        changes.compare(&[HEAD], 0, &before.map(State::head).unwrap_or_default(), &self.head());
        changes.compare_feeds(records, &self.records);
        changes.compare_versions(records, &self.records);
        changes
    }

    /// The state that these parts are, in the order of their keys.
    ///
    /// # Errors
    /// They do not parse, or are together not the state whose digest is among them; or a later version wrote them.
    pub fn from_parts(parts: impl IntoIterator<Item = Part>) -> Result<State, LedgerError> {
        let (mut digest, mut head, mut feed) = (None, Vec::new(), Vector::new());
        let mut versions: BTreeMap<(RecordId, u32), Vec<u8>> = BTreeMap::new();
        for (key, value) in parts {
            let mut r = Reader::bare(&key);
            match r.u8()? {
                DIGEST => digest = Some(read_digest(&value)?),
                FEED => read_feed(&value, &mut feed)?,
                HEAD => head.extend_from_slice(&value),
                KEPT => versions.entry((r.value()?, r.u32()?)).or_default().extend_from_slice(&value),
                _ => return Err(CanonError::Invalid("part of a state").into()),
            }
        }
        let mut kept = Vec::with_capacity(versions.len());
        for ((record, _), bytes) in versions {
            kept.push((record, VersionEntry::from_canon(&bytes)?));
        }
        let mut state = State::decode(&head)?;
        state.records = std::mem::take(&mut state.records).joined(feed, kept);
        if digest != Some(state.digest()) {
            return Err(CanonError::Invalid("digest of a state in parts").into());
        }
        Ok(state)
    }

    /// Everything but feed and versions, as a state that has none.
    fn head(&self) -> Vec<u8> {
        let mut head = self.clone();
        head.records = self.records.apart();
        head.encode()
    }
}

fn feed_bytes(feed: &Vector<(RecordId, u32)>) -> Vec<u8> {
    let mut w = Writer::with_room(feed.len().saturating_mul(ENTRY_BYTES));
    for (record, version) in feed {
        w.value(record).u32(*version);
    }
    w.finish()
}

fn read_feed(bytes: &[u8], feed: &mut Vector<(RecordId, u32)>) -> Result<(), CanonError> {
    let mut r = Reader::bare(bytes);
    while r.remaining() > 0 {
        feed.push_back((r.value()?, r.u32()?));
    }
    Ok(())
}

fn read_digest(bytes: &[u8]) -> Result<[u8; 32], CanonError> {
    let mut r = Reader::new(bytes, FORMAT, VERSION)?;
    let digest = r.array()?;
    r.finish()?;
    Ok(digest)
}
