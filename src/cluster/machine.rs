//! The state machine under openraft: applies batches to the ledger, keeps digests, reads and writes snapshots.
//!
//! What it holds is rebuilt from the newest snapshot file and the log; a start is shorter by what the store kept. A snapshot file is written aside,
//! fsynced, renamed, and its folder fsynced, before openraft is told of it; it carries a checksum.

use super::codec;
use super::log::LogStore;
use super::saver::{Incidents, Moment, Saver};
use super::types::{EntryReply, LogEntry, LogId, SnapshotMeta, StorageError, StoredMembership, TypeConfig};
use crate::domain::canon::{CanonError, Reader, Writer};
use crate::ledger::State;
use crate::seal::digest;
use openraft::storage::{RaftStateMachine, Snapshot};
use openraft::{AnyError, EntryPayload, ErrorSubject, ErrorVerb, OptionalSend, RaftSnapshotBuilder, StorageIOError};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::watch;

/// Digests kept for comparing nodes at one common index.
const DIGESTS: usize = 4096;

/// What others may look at while entries are applied.
pub(super) struct Published {
    state: RwLock<Arc<State>>,
    digests: RwLock<BTreeMap<u64, [u8; 32]>>,
    applied: watch::Sender<u64>,
}

impl Published {
    pub(super) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn digest_at(&self, index: u64) -> Option<[u8; 32]> {
        self.digests.read().unwrap_or_else(PoisonError::into_inner).get(&index).copied()
    }

    pub(super) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    fn publish(&self, state: &State, index: u64, new: Vec<(u64, [u8; 32])>) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state.clone());
        let mut digests = self.digests.write().unwrap_or_else(PoisonError::into_inner);
        digests.extend(new);
        while digests.len() > DIGESTS {
            digests.pop_first();
        }
        drop(digests);
        self.applied.send_replace(index);
    }
}

/// The state machine of one node.
pub(super) struct Machine {
    file: Arc<SnapshotFile>,
    state: State,
    applied: Option<LogId>,
    membership: StoredMembership,
    published: Arc<Published>,
    saver: Saver,
}

impl Machine {
    /// The newest of what the snapshot file and the store hold, else the state of the genesis. A saved
    /// state that the log does not know of is left aside.
    pub(super) fn open(dir: &Path, genesis: &[u8], log: &LogStore) -> Result<(Machine, Arc<Published>), StorageError> {
        let state = State::genesis(genesis).map_err(|e| failed(ErrorVerb::Read, e.to_string()))?;
        let begun = log.begun() || dir.join("snapshot").exists();
        let (saver, saved) =
            Saver::open(&dir.join("state"), begun).map_err(|e| failed(ErrorVerb::Read, e.to_string()))?;
        let (applied, _) = watch::channel(0);
        let published =
            Arc::new(Published { state: RwLock::new(Arc::new(state.clone())), digests: RwLock::default(), applied });
        let mut machine = Machine {
            file: Arc::new(SnapshotFile { path: dir.join("snapshot"), newest: Mutex::default() }),
            state,
            applied: None,
            membership: StoredMembership::default(),
            published: Arc::clone(&published),
            saver,
        };
        if let Some(bytes) = read_file(&machine.file.path)? {
            let (meta, state) = decode_snapshot(&bytes).map_err(|e| failed(ErrorVerb::Read, e.to_string()))?;
            *machine.file.newest.lock().unwrap_or_else(PoisonError::into_inner) = meta.last_log_id;
            machine.take_over(&meta, &state)?;
        }
        if let Some((meta, state)) =
            saved.filter(|(m, _)| m.last_log_id > machine.applied && m.last_log_id.is_some_and(|l| log.agrees(&l)))
        {
            // The store is a cache: what does not decode is told and left.
            if let Err(e) = machine.take_over(&meta, &state) {
                machine.saver.refuse(e.to_string());
            }
        }
        Ok((machine, published))
    }

    /// What was rebuilt, to be told in the audit log.
    pub(super) fn incidents(&self) -> Incidents {
        self.saver.incidents()
    }

    fn save(&self) {
        let (applied, membership) = (self.applied, self.membership.clone());
        self.saver.offer(Moment { applied, membership, state: self.state.clone() });
    }

    fn take_over(&mut self, meta: &SnapshotMeta, state: &[u8]) -> Result<(), StorageError> {
        let state = State::decode(state).map_err(|e| failed(ErrorVerb::Read, e.to_string()))?;
        self.become_state(meta, state);
        Ok(())
    }

    fn become_state(&mut self, meta: &SnapshotMeta, state: State) {
        self.state = state;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        let index = meta.last_log_id.map_or(0, |l| l.index);
        self.published.publish(&self.state, index, vec![(index, self.state.digest())]);
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<EntryReply>, StorageError>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut replies = Vec::new();
        let mut digests = Vec::new();
        for entry in entries {
            let index = entry.log_id.index;
            let mut reply = EntryReply { index, replies: Vec::new() };
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(e) => {
                    reply.replies = e.batches.iter().map(|b| self.state.apply_batch(index, b)).collect();
                }
                EntryPayload::Membership(m) => self.membership = StoredMembership::new(Some(entry.log_id), m),
            }
            self.applied = Some(entry.log_id);
            digests.push((index, self.state.digest()));
            replies.push(reply);
        }
        if let Some(applied) = self.applied {
            self.published.publish(&self.state, applied.index, digests);
            self.save();
        }
        Ok(replies)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            file: Arc::clone(&self.file),
            state: self.state.clone(),
            applied: self.applied,
            membership: self.membership.clone(),
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let bytes = snapshot.into_inner();
        let (inner, state) = decode_snapshot(&bytes).map_err(|e| failed(ErrorVerb::Read, e.to_string()))?;
        // What the sender says of it and what it says of itself must agree.
        if inner != *meta {
            return Err(failed(ErrorVerb::Read, "a snapshot of another position or membership".into()));
        }
        // Read before it is made durable: what does not parse must not be found again at the next start.
        let read = State::decode(&state).map_err(|e| failed(ErrorVerb::Read, e.to_string()))?;
        self.file.put(meta.last_log_id, &bytes)?;
        self.become_state(meta, read);
        self.save();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, StorageError> {
        let Some(bytes) = read_file(&self.file.path)? else { return Ok(None) };
        let (meta, _) = decode_snapshot(&bytes).map_err(|e| failed(ErrorVerb::Read, e.to_string()))?;
        Ok(Some(Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) }))
    }
}

/// Builds a snapshot of the state at one moment; the state machine goes on meanwhile.
pub(super) struct Builder {
    file: Arc<SnapshotFile>,
    state: State,
    applied: Option<LogId>,
    membership: StoredMembership,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError> {
        let snapshot_id = self.applied.map_or_else(|| "0".to_owned(), |l| format!("{}-{}", l.leader_id.term, l.index));
        let meta = SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone(), snapshot_id };
        let bytes = encode_snapshot(&meta, &self.state.encode());
        self.file.put(self.applied, &bytes)?;
        Ok(Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) })
    }
}

/// The one snapshot file. A builder runs beside the state machine, which may install a newer snapshot meanwhile; the
/// log is then purged up to the newer one, so an older one must never take its place.
struct SnapshotFile {
    path: PathBuf,
    newest: Mutex<Option<LogId>>,
}

impl SnapshotFile {
    fn put(&self, id: Option<LogId>, bytes: &[u8]) -> Result<(), StorageError> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if *newest > id {
            return Ok(());
        }
        write_file(&self.path, bytes)?;
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

fn read_file(file: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    match std::fs::read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(ErrorVerb::Read, e.to_string())),
    }
}

fn write_file(file: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    let write = || -> std::io::Result<()> {
        let aside = file.with_extension("new");
        let mut f = File::create(&aside)?;
        f.write_all(bytes)?;
        f.sync_all()?;
        std::fs::rename(&aside, file)?;
        match file.parent() {
            Some(dir) => File::open(dir)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(|e| failed(ErrorVerb::Write, e.to_string()))
}

fn failed(verb: ErrorVerb, why: String) -> StorageError {
    StorageError::IO { source: StorageIOError::new(ErrorSubject::StateMachine, verb, AnyError::error(why)) }
}
