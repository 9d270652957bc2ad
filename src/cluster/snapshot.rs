//! The one snapshot file of a node.
//!
//! It is written aside, synced, renamed, and its folder synced, before anybody is told of it. A crash before the rename
//! leaves a part beside it, which the next writing removes; one between rename and sync of the folder leaves the old or
//! the new file, both whole. A builder runs beside the state machine, which may install a newer snapshot meanwhile; the log
//! is then purged up to the newer one, so an older one never takes its place.

use super::codec;
use super::types::{LogId, SnapshotMeta};
use crate::domain::canon::{CanonError, Reader, Writer};
use crate::journal::Disk;
use crate::seal::digest;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

const FILE: &str = "snapshot";
const ASIDE: &str = "snapshot.new";

/// The file, and how far its state is.
pub(super) struct SnapshotFile {
    disk: Arc<dyn Disk>,
    newest: Mutex<Option<LogId>>,
}

impl SnapshotFile {
    pub(super) fn on(disk: Arc<dyn Disk>) -> SnapshotFile {
        SnapshotFile { disk, newest: Mutex::default() }
    }

    /// Whether there is one.
    pub(super) fn is_there(&self) -> io::Result<bool> {
        Ok(self.disk.list()?.iter().any(|name| name == FILE))
    }

    /// The whole file, if there is one.
    pub(super) fn read(&self) -> io::Result<Option<Vec<u8>>> {
        if !self.is_there()? {
            return Ok(None);
        }
        let len = usize::try_from(self.disk.size(FILE)?).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.disk.read_at(FILE, 0, len).map(Some)
    }

    /// What was read at a start is the newest.
    pub(super) fn found(&self, id: Option<LogId>) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = id;
    }

    /// Durable when it answers. One that is older than the last is left.
    pub(super) fn put(&self, id: Option<LogId>, bytes: &[u8]) -> io::Result<()> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if *newest > id {
            return Ok(());
        }
        if self.disk.list()?.iter().any(|name| name == ASIDE) {
            self.disk.remove(ASIDE)?;
        }
        self.disk.create(ASIDE)?;
        self.disk.append(ASIDE, bytes)?;
        self.disk.sync(ASIDE)?;
        self.disk.rename(ASIDE, FILE)?;
        self.disk.sync_dir()?;
        *newest = id;
        Ok(())
    }
}

/// The bytes of a snapshot file.
pub(super) fn encode_snapshot(meta: &SnapshotMeta, state: &[u8]) -> Vec<u8> {
    let mut w = Writer::new("hufu.snapshot", 1);
    codec::write_meta(&mut w, meta);
    w.array(&digest("hufu.snapshot", &[state])).bytes(state);
    w.finish()
}

/// Position and state of a snapshot whose checksum is right.
pub(super) fn decode_snapshot(bytes: &[u8]) -> Result<(SnapshotMeta, Vec<u8>), CanonError> {
    let mut r = Reader::new(bytes, "hufu.snapshot", 1)?;
    let meta = codec::read_meta(&mut r)?;
    let sum: [u8; 32] = r.array()?;
    let state = r.bytes(usize::MAX)?;
    r.finish()?;
    if digest("hufu.snapshot", &[state]) != sum {
        return Err(CanonError::Invalid("checksum of the snapshot"));
    }
    Ok((meta, state.to_vec()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use crate::journal::{FaultDisk, Leaves};
    use openraft::CommittedLeaderId;

    fn id(index: u64) -> Option<LogId> {
        Some(LogId::new(CommittedLeaderId::new(1, 1), index))
    }

    fn on(disk: &FaultDisk) -> SnapshotFile {
        SnapshotFile::on(Arc::new(disk.clone()))
    }

    /// Every step fails in turn, with and without effect; afterwards power or process goes. The old or the new file is
    /// there, whole; once it was answered, the new one; and the next can be written.
    #[test]
    fn whatever_fails_a_whole_snapshot_is_there() {
        let (old, new) = (vec![1; 300], vec![2; 500]);
        let steps = {
            let disk = FaultDisk::default();
            on(&disk).put(id(1), &old).unwrap();
            disk.operations()
        };
        assert_eq!(steps, 5, "create, append, sync, rename, sync of the folder");
        for (n, leaves) in (0..=steps).flat_map(|n| [(n, Leaves::Nothing), (n, Leaves::Everything)]) {
            let disk = FaultDisk::default();
            let file = on(&disk);
            file.put(id(1), &old).unwrap();
            disk.fail_at(n, leaves);
            let outcome = file.put(id(2), &new);
            assert_eq!(outcome.is_ok(), n == steps, "step {n}");
            for after in [disk.after_power_cut(), disk.after_kill()] {
                let found = on(&after).read().unwrap().unwrap();
                assert!(found == new || (outcome.is_err() && found == old), "step {n} {leaves:?}");
                let again = on(&after);
                again.put(id(2), &new).unwrap();
                assert_eq!(on(&after.after_power_cut()).read().unwrap().unwrap(), new, "step {n} {leaves:?}");
            }
        }
    }

    #[test]
    fn an_older_one_is_left_and_none_is_none() {
        let disk = FaultDisk::default();
        let file = on(&disk);
        assert_eq!(file.read().unwrap(), None);
        file.put(id(5), b"five").unwrap();
        file.put(id(4), b"four").unwrap();
        assert_eq!(file.read().unwrap().unwrap(), b"five");
    }
}
