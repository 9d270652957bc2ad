//! The one snapshot file of a node, and the certificates beside it.
//!
//! It is written aside, synced, renamed, and its folder synced, before anybody is told of it. A crash before the rename
//! leaves a part beside it, which the next writing removes; one between rename and sync of the folder leaves the old or
//! the new file, both whole. A builder runs beside the state machine, which may install a newer snapshot meanwhile; the log
//! is then purged up to the newer one, so an older one never takes its place.
//!
//! Nobody takes a snapshot without its certificate (P7), and the voters who could certify it again may be gone, so that is
//! durable first: the file of certificates has the coming one and that of the snapshot which is still there, and whichever
//! snapshot a crash leaves finds its own. One counts if it is of the very index and digest and verifies; what is of another
//! snapshot, or does not parse, is passed over, and a new one is asked for.

use super::certificate::Certificate;
use super::codec;
use super::types::{LogId, SnapshotMeta};
use super::voters::Voters;
use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::journal::{Disk, read_whole, write_whole};
use crate::ledger::State;
use crate::seal::digest;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const FILE: &str = "snapshot";
const CERTIFICATES: &str = "snapshot.certificates";
/// That of the snapshot and that of the one before or to come.
const HELD: usize = 2;

/// What the file is of.
#[derive(Default)]
struct Held {
    at: Option<LogId>,
    digest: [u8; 32],
    /// Its own, and that of the one before, which may be on its way to somebody.
    certificates: Vec<Certificate>,
}

impl Held {
    fn is_of(&self, c: &Certificate) -> bool {
        self.at.is_some_and(|id| id.index == c.index) && self.digest == c.digest
    }

    /// A new certificate before that of the snapshot which is here.
    fn with(&self, new: Option<&Certificate>) -> Vec<Certificate> {
        new.into_iter().chain(self.certificates.first()).take(HELD).cloned().collect()
    }
}

/// The file, and how far its state is.
pub(super) struct SnapshotFile {
    disk: Arc<dyn Disk>,
    held: Mutex<Held>,
}

impl SnapshotFile {
    pub(super) fn on(disk: Arc<dyn Disk>) -> SnapshotFile {
        SnapshotFile { disk, held: Mutex::default() }
    }

    /// Whether there is one.
    pub(super) fn is_there(&self) -> io::Result<bool> {
        Ok(self.disk.list()?.iter().any(|name| name == FILE))
    }

    /// The whole file, if there is one.
    pub(super) fn read(&self) -> io::Result<Option<Vec<u8>>> {
        read_whole(self.disk.as_ref(), FILE)
    }

    /// What was read at a start is the newest; its certificate is looked for.
    pub(super) fn found(&self, id: Option<LogId>, state: &State) -> io::Result<()> {
        let mut held = Held { at: id, digest: state.digest(), certificates: Vec::new() };
        let all =
            read_whole(self.disk.as_ref(), CERTIFICATES)?.map_or(Ok(Vec::new()), |bytes| decode_certificates(&bytes));
        let all = all.unwrap_or_else(|error| {
            tracing::warn!(%error, "the certificates of the snapshot do not parse; a new one is asked for");
            Vec::new()
        });
        let voters = Voters::of(state);
        let own = all.into_iter().find(|c| held.is_of(c) && c.verifies(&voters));
        held.certificates.extend(own);
        *self.held() = held;
        Ok(())
    }

    /// Puts a snapshot of a state with this digest in the place of the last one, with its certificate if it has one.
    /// Durable when it answers. One that is older than the last is left.
    pub(super) fn put(
        &self,
        id: Option<LogId>,
        digest: [u8; 32],
        bytes: &[u8],
        certificate: Option<&Certificate>,
    ) -> io::Result<()> {
        let mut held = self.held();
        if held.at > id {
            return Ok(());
        }
        // The same state again: only a certificate can be new.
        if id.is_some() && held.at == id && held.digest == digest {
            return certificate.map_or(Ok(()), |c| self.add(&mut held, c));
        }
        let certificates = held.with(certificate);
        if certificate.is_some() {
            write_whole(self.disk.as_ref(), CERTIFICATES, &encode_certificates(&certificates))?;
        }
        write_whole(self.disk.as_ref(), FILE, bytes)?;
        *held = Held { at: id, digest, certificates };
        Ok(())
    }

    /// Keeps a certificate of the snapshot that is here; false when it is of another. Durable when it answers.
    pub(super) fn certify(&self, c: &Certificate) -> io::Result<bool> {
        let mut held = self.held();
        if !held.is_of(c) {
            return Ok(false);
        }
        self.add(&mut held, c)?;
        Ok(true)
    }

    /// The certificate of the snapshot up to an index, as far as it is kept.
    pub(super) fn certificate(&self, index: u64) -> Option<Certificate> {
        self.held().certificates.iter().find(|c| c.index == index).cloned()
    }

    fn add(&self, held: &mut Held, c: &Certificate) -> io::Result<()> {
        if held.certificates.iter().any(|kept| held.is_of(kept)) {
            return Ok(());
        }
        let certificates = held.with(Some(c));
        write_whole(self.disk.as_ref(), CERTIFICATES, &encode_certificates(&certificates))?;
        held.certificates = certificates;
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of the file of certificates.
fn encode_certificates(certificates: &[Certificate]) -> Vec<u8> {
    let mut w = Writer::new("hufu.snapshot.certificates", 1);
    w.list(certificates.iter(), |w, c| c.write(w));
    w.finish()
}

fn decode_certificates(bytes: &[u8]) -> Result<Vec<Certificate>, CanonError> {
    let mut r = Reader::new(bytes, "hufu.snapshot.certificates", 1)?;
    let certificates = r.list(HELD, Certificate::read)?;
    r.finish()?;
    Ok(certificates)
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
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::super::certificate::attest;
    use super::*;
    use crate::journal::{FaultDisk, Leaves};
    use crate::ledger::fixture::{Federation, federation, suspended};
    use crate::seal::Signature;
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
            on(&disk).put(id(1), [1; 32], &old, None).unwrap();
            disk.operations()
        };
        assert_eq!(steps, 5, "create, append, sync, rename, sync of the folder");
        for (n, leaves) in (0..=steps).flat_map(|n| [(n, Leaves::Nothing), (n, Leaves::Everything)]) {
            let disk = FaultDisk::default();
            let file = on(&disk);
            file.put(id(1), [1; 32], &old, None).unwrap();
            disk.fail_at(n, leaves);
            let outcome = file.put(id(2), [2; 32], &new, None);
            assert_eq!(outcome.is_ok(), n == steps, "step {n}");
            for after in [disk.after_power_cut(), disk.after_kill()] {
                let found = on(&after).read().unwrap().unwrap();
                assert!(found == new || (outcome.is_err() && found == old), "step {n} {leaves:?}");
                let again = on(&after);
                again.put(id(2), [2; 32], &new, None).unwrap();
                assert_eq!(on(&after.after_power_cut()).read().unwrap().unwrap(), new, "step {n} {leaves:?}");
            }
        }
    }

    #[test]
    fn an_older_one_is_left_and_none_is_none() {
        let disk = FaultDisk::default();
        let file = on(&disk);
        assert_eq!(file.read().unwrap(), None);
        file.put(id(5), [5; 32], b"five", None).unwrap();
        file.put(id(4), [4; 32], b"four", None).unwrap();
        assert_eq!(file.read().unwrap().unwrap(), b"five");
    }

    /// A state at an index, its snapshot and its certificate.
    fn snapshot(f: &Federation, state: &State, index: u64) -> (Vec<u8>, Certificate) {
        let meta = SnapshotMeta { last_log_id: id(index), snapshot_id: index.to_string(), ..SnapshotMeta::default() };
        let words = [&f.police, &f.customs].map(|a| attest(&f.id, a.node.0, &a.node_key, (index, state.digest())));
        let certificate = Certificate::of(&words, &Voters::of(state)).unwrap();
        (encode_snapshot(&meta, &state.encode()), certificate)
    }

    /// As at a start: the index of the snapshot that is there, and its certificate.
    fn started(disk: &FaultDisk) -> (u64, Option<Certificate>) {
        let file = on(disk);
        let (meta, state) = decode_snapshot(&file.read().unwrap().unwrap()).unwrap();
        file.found(meta.last_log_id, &State::decode(&state).unwrap()).unwrap();
        let index = meta.last_log_id.unwrap().index;
        (index, file.certificate(index))
    }

    /// Wherever the writing of a certified snapshot ends, also between its certificate and itself, the one that is found
    /// has its certificate.
    #[test]
    fn whatever_fails_the_snapshot_has_its_certificate() {
        let f = federation();
        let first = State::genesis(&f.genesis).unwrap();
        let second = suspended(&first, &f.third.id);
        let (old, of_old) = snapshot(&f, &first, 1);
        let (new, of_new) = snapshot(&f, &second, 2);
        for (n, leaves) in (0..=10).flat_map(|n| [(n, Leaves::Nothing), (n, Leaves::Everything)]) {
            let disk = FaultDisk::default();
            let file = on(&disk);
            file.put(id(1), first.digest(), &old, Some(&of_old)).unwrap();
            assert_eq!(disk.operations(), 10);
            disk.fail_at(n, leaves);
            let outcome = file.put(id(2), second.digest(), &new, Some(&of_new));
            assert_eq!(outcome.is_ok(), n == 10, "step {n}");
            for after in [disk.after_power_cut(), disk.after_kill()] {
                let expected = [(1, Some(of_old.clone())), (2, Some(of_new.clone()))];
                let found = started(&after);
                assert!(expected.contains(&found), "step {n} {leaves:?}: {found:?}");
                assert!(outcome.is_err() || found.0 == 2);
            }
        }
        // What is on its way to somebody when the next one comes keeps its own.
        let file = on(&FaultDisk::default());
        file.put(id(1), first.digest(), &old, Some(&of_old)).unwrap();
        file.put(id(2), second.digest(), &new, Some(&of_new)).unwrap();
        assert_eq!((file.certificate(1), file.certificate(2)), (Some(of_old), Some(of_new)));
    }

    /// A certificate counts for the snapshot that it is of, if it is one; a missing one can be added.
    #[test]
    fn a_certificate_of_another_snapshot_is_passed_over() {
        let f = federation();
        let first = State::genesis(&f.genesis).unwrap();
        let (bytes, right) = snapshot(&f, &first, 1);
        let (_, later) = snapshot(&f, &first, 2);
        let (_, other) = snapshot(&f, &suspended(&first, &f.third.id), 1);
        let forged = Certificate { signatures: later.signatures.clone(), ..right.clone() };
        let disk = || {
            let disk = FaultDisk::default();
            on(&disk).put(id(1), first.digest(), &bytes, None).unwrap();
            disk
        };
        for wrong in [vec![later.clone()], vec![other.clone()], vec![forged]] {
            let disk = disk();
            write_whole(&disk, CERTIFICATES, &encode_certificates(&wrong)).unwrap();
            assert_eq!(started(&disk), (1, None));
        }
        let whole = encode_certificates(std::slice::from_ref(&right));
        for cut in 0..whole.len() {
            let disk = disk();
            write_whole(&disk, CERTIFICATES, &whole[..cut]).unwrap();
            assert_eq!(started(&disk), (1, None), "cut at {cut}");
        }
        let disk = disk();
        let file = on(&disk);
        file.found(id(1), &first).unwrap();
        assert!(!file.certify(&later).unwrap() && !file.certify(&other).unwrap());
        assert!(file.certify(&right).unwrap());
        assert_eq!(started(&disk.after_power_cut()), (1, Some(right)));
    }

    /// Format 1 of the certificates beside a snapshot, byte for byte.
    #[test]
    fn the_file_of_certificates_is_frozen() {
        let signatures = vec![(0x0102, Signature::from_bytes([7; 64]))];
        let certificate = Certificate { index: 0x0304, digest: [9; 32], signatures };
        let mut frozen: Vec<u8> = vec![0, 0, 0, 26];
        frozen.extend(b"hufu.snapshot.certificates");
        frozen.extend([0, 1]);
        frozen.extend([0, 0, 0, 1]);
        frozen.extend([0, 0, 0, 0, 0, 0, 3, 4]);
        frozen.extend([9; 32]);
        frozen.extend([0, 0, 0, 1]);
        frozen.extend([0, 0, 0, 0, 0, 0, 1, 2]);
        frozen.extend([7; 64]);
        assert_eq!(encode_certificates(std::slice::from_ref(&certificate)), frozen);
        assert_eq!(decode_certificates(&frozen).unwrap(), [certificate]);
    }
}
