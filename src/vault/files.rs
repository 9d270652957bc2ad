//! Body segments and shred keys: where sealed objects lie, each under its own local key (P18).
//!
//! A blob is `ciphertext` at (segment, offset, length); its 32-byte shred key stands in slot n of `shred`.
//! Erasing a blob is overwriting its slot: the segment's bytes then mean nothing and are dropped when the
//! segment is rewritten. The intake journal says which blob is where; without a frame there a blob does not
//! exist, so a crash between the files leaves garbage and never a half record.

use super::error::VaultError;
use crate::domain::canon::Writer;
use crate::domain::time::Entropy;
use crate::seal::{open_chunks, seal_chunks};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const KEY: u64 = 32;
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

/// The writing side; owned by the intake thread.
pub(super) struct BodyWriter {
    dir: PathBuf,
    segment: u32,
    file: File,
    end: u64,
    keys: File,
    slots: u64,
}

impl BodyWriter {
    /// Opens behind what the intake journal knows: bytes above `end` and slots from `slots` on are garbage.
    pub(super) fn open(dir: &Path, segment: u32, end: u64, slots: u64) -> Result<BodyWriter, VaultError> {
        let io = VaultError::io("open bodies");
        std::fs::create_dir_all(dir).map_err(io)?;
        let keys = open(&dir.join("shred"))?;
        let file = open(&segment_path(dir, segment))?;
        sync_dir(dir)?;
        Ok(BodyWriter { dir: dir.to_owned(), segment, file, end, keys, slots })
    }

    /// Writes blobs, not yet durable.
    pub(super) fn write(&mut self, blob: &[u8], entropy: &mut dyn Entropy) -> Result<Place, VaultError> {
        let io = VaultError::io("write a body");
        if self.end > SEGMENT_BYTES {
            self.file.sync_data().map_err(io)?;
            self.segment = self.segment.saturating_add(1);
            self.file = open(&segment_path(&self.dir, self.segment))?;
            sync_dir(&self.dir)?;
            self.end = 0;
        }
        let slot = self.slots;
        let mut key = Zeroizing::new([0u8; 32]);
        entropy.fill(key.as_mut_slice());
        let sealed = seal_chunks(&key, &context(slot), 0, blob)?;
        let io = VaultError::io("write a body");
        self.file.write_all_at(&sealed, self.end).map_err(io)?;
        self.keys
            .write_all_at(key.as_slice(), slot.saturating_mul(KEY))
            .map_err(VaultError::io("write a shred key"))?;
        let length = u32::try_from(sealed.len()).map_err(|_| VaultError::TooLarge)?;
        let place = Place { segment: self.segment, offset: self.end, length, slot };
        self.end = self.end.saturating_add(u64::from(length));
        self.slots = self.slots.saturating_add(1);
        Ok(place)
    }

    /// Makes everything written so far durable.
    pub(super) fn sync(&mut self) -> Result<(), VaultError> {
        self.file.sync_data().map_err(VaultError::io("sync bodies"))?;
        self.keys.sync_data().map_err(VaultError::io("sync shred keys"))
    }
}

/// Reads a blob back.
pub(super) fn read(dir: &Path, place: &Place) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let mut key = Zeroizing::new([0u8; 32]);
    let keys = File::open(dir.join("shred")).map_err(VaultError::io("open shred keys"))?;
    keys.read_exact_at(key.as_mut_slice(), place.slot.saturating_mul(KEY))
        .map_err(VaultError::io("read a shred key"))?;
    let mut sealed = vec![0u8; place.length as usize];
    let file = File::open(segment_path(dir, place.segment)).map_err(VaultError::io("open a body segment"))?;
    file.read_exact_at(&mut sealed, place.offset).map_err(VaultError::io("read a body"))?;
    Ok(open_chunks(&key, &context(place.slot), 0, &sealed)?)
}

fn context(slot: u64) -> [u8; 32] {
    crate::seal::digest("hufu.vault.body", &[&Writer::bare().u64(slot).finish()])
}

fn segment_path(dir: &Path, segment: u32) -> PathBuf {
    dir.join(format!("{segment:08x}.body"))
}

fn open(path: &Path) -> Result<File, VaultError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(VaultError::io("open a body file"))
}

fn sync_dir(dir: &Path) -> Result<(), VaultError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(VaultError::io("sync the body folder"))
}
