//! Body segments and shred keys: where sealed objects lie, each under its own local key (P18).
//!
//! A blob is `ciphertext` at (segment, offset, length); its 32-byte shred key stands in slot n of `shred`.
//! Erasing a blob is overwriting its slot: the segment's bytes then mean nothing and are dropped when the
//! segment is rewritten. The intake journal says which blob is where; without a frame there a blob does not
//! exist, so a crash between the files leaves garbage and never a half record. Ciphertexts that lie apart have files of their
//! own ([`super::large`]) and their shred keys here.

use super::error::VaultError;
use crate::domain::canon::Writer;
use crate::domain::time::Entropy;
use crate::journal::Disk;
use crate::seal::{open_chunks, seal_chunks};
use std::sync::Arc;
use zeroize::Zeroizing;

const KEY: u64 = 32;
const SHRED: &str = "shred";
/// A new segment is begun above this size, in bytes.
const SEGMENT_BYTES: u64 = 64 << 20;

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
}

impl BodyWriter {
    /// Opens behind what the intake journal knows and cuts the garbage off. A segment that is shorter than it was
    /// is left as it is, for its whole blobs, and a new one begun; lost keys become zeros, which open nothing.
    pub(super) fn open(disk: Arc<dyn Disk>, known: Known) -> Result<BodyWriter, VaultError> {
        let io = VaultError::io("open bodies");
        let mut writer = BodyWriter { disk, at: known };
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

    /// Writes blobs, each under a new key, and keys of large objects that are written already; durable when it answers with
    /// the places of the ones and the slots of the others. After an error the files are in doubt, and nothing more may be
    /// written by this writer.
    pub(super) fn write(
        &mut self,
        blobs: &[Vec<u8>],
        large: &[&[u8; 32]],
        entropy: &mut dyn Entropy,
    ) -> Result<(Vec<Place>, Vec<u64>), VaultError> {
        if self.at.end > SEGMENT_BYTES {
            self.begin(self.at.segment.saturating_add(1))?;
        }
        let name = segment_name(self.at.segment);
        let mut keys = Zeroizing::new(Vec::with_capacity((blobs.len() + large.len()) * KEY as usize));
        let mut places = Vec::with_capacity(blobs.len());
        for blob in blobs {
            let mut key = Zeroizing::new([0u8; KEY as usize]);
            entropy.fill(key.as_mut_slice());
            let sealed = seal_chunks(&key, &context(self.at.slots), 0, blob)?;
            let length = u32::try_from(sealed.len()).map_err(|_| VaultError::TooLarge)?;
            self.disk.append(&name, &sealed).map_err(VaultError::io("write a body"))?;
            keys.extend_from_slice(key.as_slice());
            let place = Place { segment: self.at.segment, offset: self.at.end, length, slot: self.at.slots };
            self.at.add(&place);
            places.push(place);
        }
        let mut slots = Vec::with_capacity(large.len());
        for key in large {
            keys.extend_from_slice(key.as_slice());
            slots.push(self.at.slots);
            self.at.add_key(self.at.slots);
        }
        self.disk.sync(&name).map_err(VaultError::io("sync bodies"))?;
        self.disk.append(SHRED, &keys).map_err(VaultError::io("write shred keys"))?;
        self.disk.sync(SHRED).map_err(VaultError::io("sync shred keys"))?;
        Ok((places, slots))
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
