//! Ciphertexts that lie apart from their envelope: a file for each object, written chunk by chunk.
//!
//! A file `n.large` holds the ciphertexts of one object, one portion behind the other, sealed in chunks under a shred key of
//! its own like a blob (P18). The key stands in a slot of `shred`, the intake's frame names file and slot, and nobody reads
//! the file before that frame is durable. Neither who writes nor who reads has more of it in memory than a piece.
//!
//! Crash story: bytes and name of a file are durable before its object is queued for a frame. A file that no frame names is
//! what a crash, a cut transfer or a lost race left; it is removed with its [`Spool`], by the next sweep, or at the next start.
//! One that nothing names any more goes once the frame that took its place is durable: that of a good copy after damage, and that
//! of a proposal that was turned down. Those of copies that the ledger superseded go when that is known.
//!
//! Whoever writes a file has a lane: a handle of its own on the folder, so that the sync of a file reports the errors of
//! its own writes. There are as many lanes as files may be written at a time; who gets none is asked to come later.

use super::error::VaultError;
use super::files::{shred_key, unreadable};
use crate::domain::canon::Writer;
use crate::domain::limits;
use crate::domain::time::Entropy;
use crate::journal::{Disk, Host, aside};
use crate::seal::{ChunkOpener, ChunkSealer, TAG_BYTES, digest};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// Files that may be written at a time for what is published here, and for what other nodes send.
const OWN: usize = 4;
const OTHERS: usize = 6;
/// Both.
pub(super) const LANES: usize = OWN + OTHERS;
const SUFFIX: &str = ".large";

/// Where ciphertexts lie that are not in their envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Apart {
    /// Number of the file.
    pub(super) file: u32,
    /// Bytes of all ciphertexts together.
    pub(super) bytes: u32,
    /// Slot of the shred key.
    pub(super) slot: u64,
}

/// For whom a file is written: each kind has lanes of its own, so that what others send keeps nobody from publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// What is published here.
    Own,
    /// What another node sends.
    Others,
}

type Lanes = Arc<Mutex<Vec<Arc<dyn Disk>>>>;
/// Numbers of files that a [`Spool`] has.
type Spooling = Arc<Mutex<BTreeSet<u32>>>;

/// The files of one node.
pub(super) struct LargeFiles {
    host: Arc<dyn Host>,
    own: Lanes,
    others: Lanes,
    spooling: Spooling,
    next: AtomicU32,
}

impl LargeFiles {
    /// Removes what no frame names. `lanes` are handles on the folder of `disk`; `host` syncs what was written.
    pub(super) fn open(
        host: Arc<dyn Host>,
        disk: &dyn Disk,
        mut lanes: Vec<Arc<dyn Disk>>,
        named: &BTreeSet<u32>,
    ) -> Result<LargeFiles, VaultError> {
        let mut next = named.last().map_or(0, |n| n.saturating_add(1));
        for number in numbers(disk)? {
            next = next.max(number.saturating_add(1));
            if !named.contains(&number) {
                disk.remove(&file_name(number)).map_err(VaultError::io("remove what no frame names"))?;
            }
        }
        let others = lanes.split_off(lanes.len().min(OWN));
        let shared = |lanes| Arc::new(Mutex::new(lanes));
        let (own, others, next) = (shared(lanes), shared(others), AtomicU32::new(next));
        Ok(LargeFiles { host, own, others, spooling: Spooling::default(), next })
    }

    /// Removes files that nothing names and nobody writes: those whose removal failed when their time came. The caller lets
    /// no file be named meanwhile.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub(super) fn sweep(&self, disk: &dyn Disk, named: &BTreeSet<u32>) -> Result<(), VaultError> {
        // In this order: what is begun after the look at the folder was not seen there.
        let there = numbers(disk)?;
        let spooling = self.spooling.lock().unwrap_or_else(PoisonError::into_inner).clone();
        there.into_iter().filter(|n| !named.contains(n) && !spooling.contains(n)).for_each(|n| remove(disk, n));
        Ok(())
    }

    /// Begins a file for ciphertexts of `bytes`.
    ///
    /// # Errors
    /// [`VaultError::NotYet`] when there is no lane left.
    pub(super) fn begin(&self, whose: Whose, bytes: usize, entropy: &mut dyn Entropy) -> Result<Spool, VaultError> {
        let file = self.next.fetch_add(1, Ordering::Relaxed);
        let mut key = Zeroizing::new([0u8; 32]);
        entropy.fill(key.as_mut_slice());
        let sealer = ChunkSealer::new(&key, &context(file), 0, bytes)?;
        let bytes = u32::try_from(bytes).map_err(|_| VaultError::TooLarge)?;
        let lanes = match whose {
            Whose::Own => &self.own,
            Whose::Others => &self.others,
        };
        let lane = lanes.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let lane = lane.ok_or(VaultError::NotYet("as many large objects are being written as may"))?;
        let (lanes, spooling) = (Arc::clone(lanes), Arc::clone(&self.spooling));
        spooling.lock().unwrap_or_else(PoisonError::into_inner).insert(file);
        let host = Arc::clone(&self.host);
        let spool = Spool { host, lane, lanes, spooling, file, bytes, key, sealer, pending: Vec::new(), named: false };
        spool.lane.create(&file_name(file)).map_err(VaultError::io("begin a large object"))?;
        Ok(spool)
    }
}

/// A file that is being written. Dropped before a frame names it, it is removed.
pub(super) struct Spool {
    host: Arc<dyn Host>,
    lane: Arc<dyn Disk>,
    lanes: Lanes,
    spooling: Spooling,
    file: u32,
    bytes: u32,
    key: Zeroizing<[u8; 32]>,
    sealer: ChunkSealer,
    /// Less than a chunk, between two pieces.
    pending: Vec<u8>,
    named: bool,
}

impl Spool {
    /// The next piece of the ciphertexts, cut wherever its sender likes.
    ///
    /// # Errors
    /// A failed disk, which ends this file and nothing else: nobody was told that it is held.
    pub(super) fn write(&mut self, piece: &[u8]) -> Result<(), VaultError> {
        self.pending.extend_from_slice(piece);
        while let Some(size) = self.sealer.wants() {
            if self.pending.len() < size {
                return Ok(());
            }
            let mut chunk = Vec::with_capacity(size + TAG_BYTES);
            chunk.extend(self.pending.drain(..size));
            self.sealer.seal(&mut chunk)?;
            self.lane.append(&file_name(self.file), &chunk).map_err(VaultError::io("write a large object"))?;
        }
        if self.pending.is_empty() { Ok(()) } else { Err(VaultError::TooLarge) }
    }

    /// Makes bytes and name durable, where that may take its time.
    ///
    /// # Errors
    /// When something is missing, or the disk failed.
    pub(super) async fn finish(self) -> Result<Spooled, VaultError> {
        let host = Arc::clone(&self.host);
        let synced = aside(host.as_ref(), move || self.sync()).await;
        synced.unwrap_or_else(|| Err(VaultError::Io { step: "sync a large object", why: "it panicked".to_owned() }))
    }

    fn sync(self) -> Result<Spooled, VaultError> {
        if self.sealer.wants().is_some() {
            return Err(VaultError::Cut);
        }
        self.lane.sync(&file_name(self.file)).map_err(VaultError::io("sync a large object"))?;
        self.lane.sync_dir().map_err(VaultError::io("sync the folder of large objects"))?;
        Ok(Spooled(self))
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if !self.named
            && let Err(error) = self.lane.remove(&file_name(self.file))
        {
            tracing::warn!(file = self.file, %error, "what a cut transfer left stays for now");
        }
        self.spooling.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.file);
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&self.lane));
    }
}

/// A whole file that is durable, and that no frame names yet.
pub struct Spooled(Spool);

impl Spooled {
    /// Its shred key, for the slot that is written with the frame.
    pub(super) fn key(&self) -> &[u8; 32] {
        &self.0.key
    }

    /// A frame is about to name it with its key in this slot: from now on it stays.
    pub(super) fn keep(&mut self, slot: u64) -> Apart {
        self.0.named = true;
        Apart { file: self.0.file, bytes: self.0.bytes, slot }
    }
}

/// The ciphertexts of a held object that lie apart from it, sealed as they were taken in.
#[derive(Clone)]
pub struct Content {
    disk: Arc<dyn Disk>,
    apart: Apart,
}

impl Content {
    pub(super) fn at(disk: Arc<dyn Disk>, apart: Apart) -> Content {
        Content { disk, apart }
    }

    pub(super) fn apart(&self) -> Apart {
        self.apart
    }

    /// Reads them from their beginning.
    ///
    /// # Errors
    /// When the shred key is gone or cannot be read.
    pub fn reader(&self) -> Result<ContentReader, VaultError> {
        let key = shred_key(self.disk.as_ref(), self.apart.slot)?;
        let opener = ChunkOpener::new(&key, &context(self.apart.file), 0, self.apart.bytes as usize)?;
        let file = file_name(self.apart.file);
        Ok(ContentReader { disk: Arc::clone(&self.disk), file, opener, offset: 0, ready: Vec::new() })
    }
}

/// Reads ciphertexts piece by piece; it blocks for each piece.
pub struct ContentReader {
    disk: Arc<dyn Disk>,
    file: String,
    opener: ChunkOpener,
    offset: u64,
    ready: Vec<u8>,
}

impl ContentReader {
    /// The next `most` bytes, fewer at the end only and none after it.
    ///
    /// # Errors
    /// When the file does not verify, or cannot be read.
    pub fn read(&mut self, most: usize) -> Result<Vec<u8>, VaultError> {
        while self.ready.len() < most {
            let Some(bytes) = self.opener.wants() else { break };
            let read = self.disk.read_at(&self.file, self.offset, bytes);
            let mut chunk = read.map_err(unreadable("read a large object"))?;
            self.offset = self.offset.saturating_add(bytes as u64);
            self.opener.open(&mut chunk)?;
            self.ready.extend_from_slice(&chunk);
        }
        let most = most.min(self.ready.len());
        Ok(self.ready.drain(..most).collect())
    }

    /// Passes over the next `bytes`.
    ///
    /// # Errors
    /// As [`ContentReader::read`], and when there are not as many.
    pub(super) fn skip(&mut self, bytes: usize) -> Result<(), VaultError> {
        let mut left = bytes;
        while left > 0 {
            let read = self.read(left.min(limits::PIECE_BYTES))?.len();
            if read == 0 {
                return Err(VaultError::Cut);
            }
            left -= read;
        }
        Ok(())
    }
}

/// Numbers of the files that are there.
fn numbers(disk: &dyn Disk) -> Result<Vec<u32>, VaultError> {
    let files = disk.list().map_err(VaultError::io("list large objects"))?;
    let number = |file: &String| file.strip_suffix(SUFFIX).and_then(|n| u32::from_str_radix(n, 16).ok());
    Ok(files.iter().filter_map(number).collect())
}

/// Removes a file that nothing names any more. One that a fault keeps is removed by the next sweep, or at the next start.
pub(super) fn remove(disk: &dyn Disk, file: u32) {
    match disk.remove(&file_name(file)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(file, %error, "a large object that nothing names stays for now");
        }
        _ => {}
    }
}

fn context(file: u32) -> [u8; 32] {
    digest("hufu.vault.large", &[&Writer::bare().u32(file).finish()])
}

pub(super) fn file_name(file: u32) -> String {
    format!("{file:08x}{SUFFIX}")
}
