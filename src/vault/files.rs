//! Body segments and shred keys: where sealed objects lie, each under its own local key (P18).
//!
//! A blob is `ciphertext` at (segment, offset, length); its 32-byte shred key stands in slot n of `shred`.
//! Erasing a blob is overwriting its slot: the segment's bytes then mean nothing and are dropped when the
//! segment is rewritten. Keys are made durable ahead of their use, so that a blob waits for the sync of its segment alone;
//! those at the end that nothing has used when the node stops are cut off at the next start. The intake journal says which
//! blob is where; without a frame there a blob does not exist, so a crash between the files leaves garbage and never a half
//! record. Ciphertexts that lie apart have files of their own ([`super::large`]) and their shred keys here, written beside
//! their frame.

use super::error::VaultError;
use crate::domain::canon::Writer;
use crate::domain::time::Entropy;
use crate::journal::Disk;
use crate::seal::{open_chunks, seal_chunks};
use std::collections::VecDeque;
use std::sync::Arc;
use zeroize::Zeroizing;

const KEY: u64 = 32;
const SHRED: &str = "shred";
/// A new segment is begun above this size, in bytes.
const SEGMENT_BYTES: u64 = 64 << 20;
/// Keys made at a time.
const AHEAD: usize = 1024;
/// Bytes gathered for one write.
const WRITE_BYTES: usize = 1 << 20;

/// Where a blob lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u32,
    pub(super) offset: u64,
    pub(super) length: u32,
    pub(super) slot: u64,
}

/// What the intake journal knows of the files: everything behind it is garbage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) segment: u32,
    /// End of the last blob in that segment, in bytes.
    pub(super) end: u64,
    /// Slots in use.
    pub(super) slots: u64,
}

impl Known {
    /// Counts a blob in.
    pub(super) fn add(&mut self, place: &Place) {
        let end = place.offset.saturating_add(u64::from(place.length));
        if place.segment > self.segment {
            (self.segment, self.end) = (place.segment, end);
        } else if place.segment == self.segment {
            self.end = self.end.max(end);
        }
        self.add_key(place.slot);
    }

    /// Counts a shred key in that belongs to no blob of a segment.
    pub(super) fn add_key(&mut self, slot: u64) {
        self.slots = self.slots.max(slot.saturating_add(1));
    }
}

/// The writing side; owned by the intake's worker.
pub(super) struct BodyWriter {
    disk: Arc<dyn Disk>,
    at: Known,
    /// Durable keys that nothing has used yet, with their slots.
    keys: VecDeque<(u64, Zeroizing<[u8; KEY as usize]>)>,
    /// Slots that have a key, used or not.
    made: u64,
}

impl BodyWriter {
    /// Opens behind what the intake journal knows and cuts the garbage off. A segment that is shorter than it was
    /// is left as it is, for its whole blobs, and a new one begun; lost keys become zeros, which open nothing.
    pub(super) fn open(disk: Arc<dyn Disk>, known: Known) -> Result<BodyWriter, VaultError> {
        let io = VaultError::io("open bodies");
        let mut writer = BodyWriter { disk, at: known, keys: VecDeque::new(), made: known.slots };
        let names = writer.disk.list().map_err(io)?;
        let size = |name: &str| names.iter().any(|n| n == name).then(|| writer.disk.size(name)).transpose();
        let keys = known.slots.saturating_mul(KEY);
        let (shred, segment) = (size(SHRED).map_err(io)?, size(&segment_name(known.segment)).map_err(io)?);
        match shred {
            None => writer.disk.create(SHRED).map_err(io)?,
            Some(size) if size > keys => writer.disk.truncate(SHRED, keys).map_err(io)?,
            Some(_) => {}
        }
        let lost = keys.saturating_sub(shred.unwrap_or(0));
        if lost > 0 {
            tracing::error!(bytes = lost, "shred keys are gone; the objects under them are fetched again");
            let zeros = vec![0; usize::try_from(lost).map_err(|_| VaultError::TooLarge)?];
            writer.disk.append(SHRED, &zeros).map_err(io)?;
        }
        match segment {
            Some(size) if size >= known.end => {
                writer.disk.truncate(&segment_name(known.segment), known.end).map_err(io)?;
                writer.disk.sync_dir().map_err(io)?;
            }
            None if known.end == 0 => writer.begin(known.segment)?,
            _ => {
                tracing::error!(segment = known.segment, "a body segment lost its end");
                writer.begin(known.segment.saturating_add(1))?;
            }
        }
        Ok(writer)
    }

    /// Begins a segment; a file of that name is garbage of a crash.
    fn begin(&mut self, segment: u32) -> Result<(), VaultError> {
        let io = VaultError::io("begin a body segment");
        let name = segment_name(segment);
        if self.disk.list().map_err(io)?.contains(&name) {
            self.disk.truncate(&name, 0).map_err(io)?;
        } else {
            self.disk.create(&name).map_err(io)?;
        }
        self.disk.sync_dir().map_err(io)?;
        (self.at.segment, self.at.end) = (segment, 0);
        Ok(())
    }

    /// The segment that the next write goes to; a new one if the last is full.
    pub(super) fn turn(&mut self) -> Result<u32, VaultError> {
        if self.at.end > SEGMENT_BYTES {
            self.begin(self.at.segment.saturating_add(1))?;
        }
        Ok(self.at.segment)
    }

    /// Writes blobs, each under a new key, and keys of large objects that are written already; durable when it answers with
    /// the places of the ones and the slots of the others. After an error the files are in doubt, and nothing more may be
    /// written by this writer.
    pub(super) fn write(
        &mut self,
        blobs: &[&[u8]],
        large: &[&[u8; KEY as usize]],
        entropy: &mut dyn Entropy,
    ) -> Result<(Vec<Place>, Vec<u64>), VaultError> {
        if self.keys.len() < blobs.len() {
            self.make_keys(blobs.len().max(AHEAD), entropy)?;
        }
        let name = segment_name(self.at.segment);
        let append = |bytes: &[u8]| self.disk.append(&name, bytes).map_err(VaultError::io("write a body"));
        let mut gathered = Vec::new();
        let mut places = Vec::with_capacity(blobs.len());
        for blob in blobs {
            let (slot, key) = self.keys.pop_front().ok_or(VaultError::Cut)?;
            let sealed = seal_chunks(&key, &context(slot), 0, blob)?;
            let length = u32::try_from(sealed.len()).map_err(|_| VaultError::TooLarge)?;
            gathered.extend_from_slice(&sealed);
            if gathered.len() >= WRITE_BYTES {
                append(&std::mem::take(&mut gathered))?;
            }
            let place = Place { segment: self.at.segment, offset: self.at.end, length, slot };
            self.at.add(&place);
            places.push(place);
        }
        if !gathered.is_empty() {
            append(&gathered)?;
        }
        self.disk.sync(&name).map_err(VaultError::io("sync bodies"))?;
        Ok((places, self.keep_keys(large)?))
    }

    /// Makes keys for the slots behind those that have one; durable when it answers.
    fn make_keys(&mut self, count: usize, entropy: &mut dyn Entropy) -> Result<(), VaultError> {
        let mut bytes = Zeroizing::new(vec![0u8; count.saturating_mul(KEY as usize)]);
        entropy.fill(bytes.as_mut_slice());
        let slots = self.append_keys(&bytes)?;
        let (keys, _) = bytes.as_chunks::<{ KEY as usize }>();
        self.keys.extend(slots.zip(keys.iter().map(|key| Zeroizing::new(*key))));
        Ok(())
    }

    /// Gives keys that are in use already slots behind all others. What is left of those before when the node stops stays
    /// there, and nothing will use it.
    fn keep_keys(&mut self, keys: &[&[u8; KEY as usize]]) -> Result<Vec<u64>, VaultError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(keys.len().saturating_mul(KEY as usize)));
        for key in keys {
            bytes.extend_from_slice(key.as_slice());
        }
        let slots: Vec<u64> = self.append_keys(&bytes)?.collect();
        for slot in &slots {
            self.at.add_key(*slot);
        }
        Ok(slots)
    }

    /// The slots of keys behind those that have one; durable when it answers.
    fn append_keys(&mut self, bytes: &[u8]) -> Result<std::ops::Range<u64>, VaultError> {
        self.disk.append(SHRED, bytes).map_err(VaultError::io("write shred keys"))?;
        self.disk.sync(SHRED).map_err(VaultError::io("sync shred keys"))?;
        let first = self.made;
        self.made = first.saturating_add(bytes.len() as u64 / KEY);
        Ok(first..self.made)
    }
}

/// Reads a blob back.
pub(super) fn read(disk: &dyn Disk, place: &Place) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let key = shred_key(disk, place.slot)?;
    let sealed = disk
        .read_at(&segment_name(place.segment), place.offset, place.length as usize)
        .map_err(unreadable("read a body"))?;
    Ok(open_chunks(&key, &context(place.slot), 0, &sealed)?)
}

/// The key in a slot.
pub(super) fn shred_key(disk: &dyn Disk, slot: u64) -> Result<Zeroizing<[u8; 32]>, VaultError> {
    let bytes = disk.read_at(SHRED, slot.saturating_mul(KEY), KEY as usize);
    let bytes = Zeroizing::new(bytes.map_err(unreadable("read a shred key"))?);
    let mut key = Zeroizing::new([0u8; KEY as usize]);
    if bytes.len() != key.len() {
        return Err(VaultError::Cut);
    }
    key.copy_from_slice(&bytes);
    Ok(key)
}

/// A file that is gone is the object's damage. Any other error may pass (too many open files) and says nothing of it.
pub(super) fn unreadable(step: &'static str) -> impl Fn(std::io::Error) -> VaultError {
    move |e| if e.kind() == std::io::ErrorKind::NotFound { VaultError::Cut } else { VaultError::io(step)(e) }
}

fn context(slot: u64) -> [u8; 32] {
    crate::seal::digest("hufu.vault.body", &[&Writer::bare().u64(slot).finish()])
}

fn segment_name(segment: u32) -> String {
    format!("{segment:08x}.body")
}
