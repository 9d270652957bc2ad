//! The journal without a thread: queue, frame, sync and roll as calls on a [`Disk`] (P28).

use super::catalog::{Catalog, Segment};
use super::disk::Disk;
use super::error::{JournalError, io_at};
use super::frame::{Link, SEGMENT_HEAD, encode, encode_segment, segment_name};
use super::recover::{Recovery, recover};
#[cfg(test)]
use crate::domain::planted::{Planted, is_planted};
use std::sync::Arc;

/// Sizes.
#[derive(Debug, Clone)]
pub struct JournalOptions {
    /// A new segment is begun above this size, in bytes.
    pub segment_bytes: u64,
    /// Largest frame, in bytes.
    pub max_frame_bytes: usize,
}

impl Default for JournalOptions {
    fn default() -> Self {
        JournalOptions { segment_bytes: 16 << 20, max_frame_bytes: 4 << 20 }
    }
}

/// The one writer of a journal.
pub struct Core {
    disk: Arc<dyn Disk>,
    options: JournalOptions,
    segments: Vec<Segment>,
    /// Behind what was queued.
    next: Link,
    queued: Vec<u8>,
    poisoned: bool,
    catalog: Catalog,
}

impl Core {
    /// Recovers and is ready to write.
    pub fn open(disk: Arc<dyn Disk>, options: JournalOptions) -> Result<(Core, Recovery), JournalError> {
        let (segments, next, recovery) = recover(disk.as_ref())?;
        let catalog = Catalog::default();
        let mut core = Core { disk, options, segments, next, queued: Vec::new(), poisoned: false, catalog };
        if core.segments.is_empty() {
            core.roll()?;
        }
        core.publish();
        Ok((core, recovery))
    }

    /// The durable part, for readers.
    pub(super) fn catalog(&self) -> Catalog {
        self.catalog.clone()
    }

    /// Frames the payloads, in order; nothing is written yet. Answers the number of the first. A frame over
    /// the limit refuses all of them and changes nothing.
    pub fn queue(&mut self, payloads: &[Vec<u8>]) -> Result<u64, JournalError> {
        self.check()?;
        let max = self.options.max_frame_bytes.min(u32::MAX as usize);
        if let Some(large) = payloads.iter().find(|p| p.len() > max) {
            return Err(JournalError::FrameTooLarge { bytes: large.len(), max });
        }
        let first = self.next.seq;
        for payload in payloads {
            self.next = encode(self.next, payload, &mut self.queued);
        }
        Ok(first)
    }

    /// Writes and syncs what was queued; only then it is readable. Any failure poisons.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.check()?;
        let outcome = self.flush();
        self.poisoned |= outcome.is_err();
        outcome
    }

    /// Writes and syncs what was queued and begins a segment, so that what is in this one can go without what comes. One
    /// without frames stays.
    pub fn begin_segment(&mut self) -> Result<(), JournalError> {
        self.sync()?;
        if self.segments.last().is_none_or(|s| s.first.seq == self.next.seq) {
            return Ok(());
        }
        let outcome = self.roll();
        self.poisoned |= outcome.is_err();
        self.publish();
        outcome
    }

    /// Removes whole segments below `keep_from`.
    pub fn trim_front(&mut self, keep_from: u64) -> Result<(), JournalError> {
        self.check()?;
        let outcome = self.trim(keep_from);
        self.poisoned |= outcome.is_err();
        outcome
    }

    fn flush(&mut self) -> Result<(), JournalError> {
        if self.queued.is_empty() {
            return Ok(());
        }
        let queued = std::mem::take(&mut self.queued);
        let bytes = queued.len() as u64;
        let last = self.segments.last_mut().ok_or(JournalError::Closed)?;
        self.disk.append(&last.name, &queued).map_err(io_at("append"))?;
        make_durable(self.disk.as_ref(), &last.name)?;
        last.len = last.len.saturating_add(bytes);
        let full = last.len >= self.options.segment_bytes;
        self.publish();
        if full {
            // The frames above are durable whatever becomes of the new segment; a failure poisons all the same.
            self.roll()?;
            self.publish();
        }
        Ok(())
    }

    /// Begins a segment: header durable under a name that is durable before anything is put into it.
    fn roll(&mut self) -> Result<(), JournalError> {
        let name = segment_name(self.next.seq);
        self.disk.create(&name).map_err(io_at("create segment"))?;
        self.disk.append(&name, &encode_segment(self.next)).map_err(io_at("write segment header"))?;
        self.disk.sync(&name).map_err(io_at("sync segment header"))?;
        self.disk.sync_dir().map_err(io_at("sync directory"))?;
        self.segments.push(Segment { first: self.next, name, len: SEGMENT_HEAD as u64 });
        Ok(())
    }

    fn trim(&mut self, keep_from: u64) -> Result<(), JournalError> {
        let keep_from = keep_from.min(self.next.seq);
        // A segment may go when the one after it starts at or below what is kept. Oldest first, so that a
        // crash in between leaves no hole.
        let mut removed = false;
        while self.segments.get(1).is_some_and(|next| next.first.seq <= keep_from) {
            let old = self.segments.remove(0);
            self.disk.remove(&old.name).map_err(io_at("remove segment"))?;
            self.disk.sync_dir().map_err(io_at("sync directory"))?;
            removed = true;
        }
        if removed {
            self.publish();
        }
        Ok(())
    }

    fn publish(&self) {
        self.catalog.set(self.segments.clone(), self.next.seq);
    }

    fn check(&self) -> Result<(), JournalError> {
        if self.poisoned { Err(JournalError::Poisoned) } else { Ok(()) }
    }
}

fn make_durable(disk: &dyn Disk, segment: &str) -> Result<(), JournalError> {
    #[cfg(test)]
    if is_planted(Planted::AcknowledgeBeforeSync) {
        return Ok(());
    }
    disk.sync(segment).map_err(io_at("sync segment"))
}
