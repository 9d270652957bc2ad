//! The state machine under openraft: applies batches to the ledger, keeps digests, reads and writes snapshots.
//!
//! What it holds is rebuilt from the newest snapshot file and the log; a start is shorter by what the store kept.
//!
//! openraft cuts the log up to the snapshot that it was told of. A voter's builder tells it of one only when that is
//! certified, so the log is never cut up to one that nobody would take; without a certificate there is none, the snapshot
//! before stays with its certificate, and the next commitment tries again.

use super::certificate::{Certifier, Leave};
use super::evidence::Evidence;
use super::group::Materialise;
use super::log::LogStore;
use super::saver::{Incidents, Kept, Moment, Saver};
use super::snapshot::{SnapshotFile, decode_snapshot, encode_snapshot};
use super::types::{EntryReply, LogEntry, LogId, Membership, SnapshotMeta, StorageError, StoredMembership, TypeConfig};
use crate::domain::ids::NodeId;
use crate::journal::Host;
use crate::ledger::{Refusal, SignedBatch, State};
use openraft::storage::{RaftStateMachine, Snapshot};
use openraft::{AnyError, EntryPayload, ErrorSubject, ErrorVerb, OptionalSend, RaftSnapshotBuilder, StorageIOError};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::{OwnedMutexGuard, watch};

/// Digests kept for comparing nodes at one common index.
const DIGESTS: usize = 4096;

/// What others may look at while entries are applied.
pub(super) struct Published {
    /// The state, and the index up to which it is.
    state: RwLock<(Arc<State>, u64)>,
    digests: RwLock<BTreeMap<u64, [u8; 32]>>,
    applied: watch::Sender<u64>,
}

impl Published {
    pub(super) fn state(&self) -> Arc<State> {
        self.moment().0
    }

    /// The state with its index.
    pub(super) fn moment(&self) -> (Arc<State>, u64) {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn digest_at(&self, index: u64) -> Option<[u8; 32]> {
        self.digests.read().unwrap_or_else(PoisonError::into_inner).get(&index).copied()
    }

    pub(super) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    fn publish(&self, state: &State, index: u64, new: Vec<(u64, [u8; 32])>) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = (Arc::new(state.clone()), index);
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
    certifier: Option<Arc<Certifier>>,
    evidence: Option<Arc<Evidence>>,
    /// The log is cut and the snapshot is gone.
    lost: bool,
}

impl Machine {
    /// The newest of what the snapshot file and the store hold, else the state of the genesis. A saved
    /// state that the log does not know of is left aside.
    pub(super) fn open(
        host: &dyn Host,
        (dir, materialised): (&Path, Materialise),
        genesis: &[u8],
        log: &LogStore,
    ) -> Result<(Machine, Arc<Published>), StorageError> {
        let state = State::genesis(genesis).map_err(|e| failed(ErrorVerb::Read, e.to_string()))?;
        let read = |e: std::io::Error| failed(ErrorVerb::Read, e.to_string());
        let disk = host.disk(dir).map_err(|e| failed(ErrorVerb::Read, e.to_string()))?;
        let file = Arc::new(SnapshotFile::on(disk));
        let there = file.is_there().map_err(read)?;
        let begun = log.begun() || there;
        let (saver, saved) = match materialised {
            Materialise::InStore => Saver::open(&dir.join("state"), begun),
            Materialise::Never => Ok((Saver::of_nothing(), None)),
        }
        .map_err(|e| failed(ErrorVerb::Read, e.to_string()))?;
        let (applied, _) = watch::channel(0);
        let founded = RwLock::new((Arc::new(state.clone()), 0));
        let published = Arc::new(Published { state: founded, digests: RwLock::default(), applied });
        let mut machine = Machine {
            file,
            state,
            applied: None,
            membership: StoredMembership::default(),
            published: Arc::clone(&published),
            saver,
            certifier: None,
            evidence: None,
            lost: !there && log.purged().is_some(),
        };
        if let Some(bytes) = machine.file.read().map_err(read)? {
            let (meta, state) = decode_snapshot(&bytes).map_err(|e| failed(ErrorVerb::Read, e.to_string()))?;
            machine.take_over(&meta, &state)?;
            machine.file.found(meta.last_log_id, &machine.state).map_err(read)?;
        }
        let newer = |(m, _): &Kept| m.last_log_id > machine.applied && m.last_log_id.is_some_and(|l| log.agrees(&l));
        if let Some((meta, state)) = saved.filter(newer) {
            machine.become_state(&meta, state);
        }
        Ok((machine, published))
    }

    /// The file of its snapshots.
    pub(super) fn file(&self) -> Arc<SnapshotFile> {
        Arc::clone(&self.file)
    }

    /// From now on its snapshots are certified.
    pub(super) fn certify_with(&mut self, certifier: Arc<Certifier>) {
        self.certifier = Some(certifier);
    }

    /// From now on two batches of one number are kept as evidence.
    pub(super) fn keep_with(&mut self, evidence: Arc<Evidence>) {
        self.evidence = Some(evidence);
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
                    for (batch, answer) in e.batches.iter().zip(reply.replies.iter()) {
                        if answer.refused == Some(Refusal::Doubled) {
                            // Durable before the state is saved: a start applies the entry again, or finds it.
                            keep_doubled(self.evidence.clone(), batch).await?;
                        }
                    }
                }
                EntryPayload::Membership(m) => {
                    self.state.take_voters(sets(&m));
                    self.membership = StoredMembership::new(Some(entry.log_id), m);
                }
            }
            // What comes next has rules that this program does not know: it would make another state of it.
            self.state.check_level().map_err(|e| failed(ErrorVerb::Write, e.to_string()))?;
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
            certifier: self.certifier.clone(),
            lost: std::mem::take(&mut self.lost),
            turn: None,
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
        // Usually there already, with its certificate.
        let put = self.file.put(meta.last_log_id, read.digest(), &bytes, None);
        put.map_err(|e| failed(ErrorVerb::Write, e.to_string()))?;
        self.become_state(meta, read);
        self.save();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, StorageError> {
        let read = self.file.read().map_err(|e| failed(ErrorVerb::Read, e.to_string()))?;
        let Some(bytes) = read else { return Ok(None) };
        let (meta, _) = decode_snapshot(&bytes).map_err(|e| failed(ErrorVerb::Read, e.to_string()))?;
        Ok(Some(Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) }))
    }
}

/// Keeps a batch that its node signed under another one's number; its signature was verified.
async fn keep_doubled(evidence: Option<Arc<Evidence>>, batch: &[u8]) -> Result<(), StorageError> {
    let (Some(evidence), Some((node, (incarnation, sequence)))) = (evidence, SignedBatch::heading(batch)) else {
        return Ok(());
    };
    let why = format!("it signed two batches as its {incarnation}.{sequence}");
    evidence.keep_doubled(node, &why, batch).await.map_err(|e| failed(ErrorVerb::Write, e.to_string()))
}

/// Who votes by a membership: one set, or two while it changes.
pub(super) fn sets(m: &Membership) -> Vec<BTreeSet<NodeId>> {
    m.get_joint_config().iter().map(|set| set.iter().map(|n| NodeId(*n)).collect()).collect()
}

/// Builds a snapshot of the state at one moment; the state machine goes on meanwhile.
pub(super) struct Builder {
    file: Arc<SnapshotFile>,
    state: State,
    applied: Option<LogId>,
    membership: StoredMembership,
    certifier: Option<Arc<Certifier>>,
    lost: bool,
    /// Given back last, when the file is let go: whoever stops the node waits for it.
    turn: Option<OwnedMutexGuard<()>>,
}

impl Builder {
    async fn leave(&mut self, digest: [u8; 32]) -> Leave {
        let (Some(certifier), Some(id)) = (&self.certifier, self.applied) else { return Leave::Without };
        // openraft asks for one at a start when it finds none and the log is cut. The node could not start without it.
        if self.lost {
            return Leave::Without;
        }
        self.turn = Some(certifier.turn().await);
        certifier.leave(id.index, digest).await
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError> {
        let digest = self.state.digest();
        let certificate = match self.leave(digest).await {
            Leave::With(certificate) => Some(certificate),
            Leave::Without => None,
            // One that is not newer than the last is none for openraft: it cuts nothing, and asks again.
            Leave::NotYet => return Ok(Snapshot { meta: SnapshotMeta::default(), snapshot: Box::default() }),
        };
        let snapshot_id = self.applied.map_or_else(|| "0".to_owned(), |l| format!("{}-{}", l.leader_id.term, l.index));
        let meta = SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone(), snapshot_id };
        let bytes = encode_snapshot(&meta, &self.state.encode());
        let put = self.file.put(self.applied, digest, &bytes, certificate.as_ref());
        put.map_err(|e| failed(ErrorVerb::Write, e.to_string()))?;
        Ok(Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) })
    }
}

fn failed(verb: ErrorVerb, why: String) -> StorageError {
    StorageError::IO { source: StorageIOError::new(ErrorSubject::StateMachine, verb, AnyError::error(why)) }
}
