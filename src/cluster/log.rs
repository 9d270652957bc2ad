//! The Raft log and vote on the journal.
//!
//! Frames are only ever appended: a vote, an entry, a truncation, a purge, a committed position. One journal,
//! one order, so a vote can never become durable after entries of its term that were written later (the
//! ordering that openraft's storage contract asks for). Memory holds the live entries; opening replays.
//!
//! A failed journal fails every later call, which stops openraft and with it the node.

use super::codec;
use super::types::{LogEntry, LogId, StorageError, TypeConfig, Vote};
use crate::domain::canon::{CanonError, Reader, Writer};
use crate::journal::{Host, Journal, JournalError, JournalOptions, Written};
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{
    AnyError, EntryPayload, ErrorSubject, ErrorVerb, LogState, OptionalSend, RaftLogReader, StorageIOError,
};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Most bytes of entries read for one message to a follower: far under the limit between nodes, and sendable within
/// one heartbeat, which is all the time that openraft gives it.
const SEND_BYTES: usize = 512 << 10;

/// Most entries that lie here before a leader takes nothing new: five times what comes between two snapshots. Only without
/// a certificate for its snapshots a log is not cut, and who withholds those could as well acknowledge no entries.
const MOST: usize = 100_000;
/// The same of their bytes, which are in memory as well.
const MOST_BYTES: u64 = 5 * CUT_BYTES;
const CUT_BYTES: u64 = 64 << 20;

/// A committed position waits so long for entries to ride with.
const COMMITTED_WITHIN: Duration = Duration::from_millis(50);

/// When the log is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cuts {
    /// Entries after a snapshot at which the next one is made.
    pub every: u64,
    /// Bytes of applied entries after a snapshot at which the next one is made, if that is sooner. Those before it that stay
    /// have at most a quarter of that.
    pub bytes: u64,
    /// Entries before a snapshot that stay for who lags a little.
    pub kept: u64,
    /// Most bytes of one piece of a snapshot on its way to another node.
    pub piece_bytes: u64,
}

impl Default for Cuts {
    fn default() -> Cuts {
        Cuts { every: 20_000, bytes: CUT_BYTES, kept: 2_000, piece_bytes: 1 << 20 }
    }
}

/// A frame of the log's journal. Numbers are format.
enum Frame {
    Vote(Vote),
    Entry(LogEntry),
    /// From this index on, inclusive.
    Truncate(u64),
    /// Up to this id, inclusive.
    Purge(LogId),
    Committed(Option<LogId>),
}

impl Frame {
    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::bare();
        match self {
            Frame::Vote(v) => {
                w.u8(0);
                codec::write_vote(&mut w, v);
            }
            Frame::Entry(e) => {
                w.u8(1);
                codec::write_entry(&mut w, e);
            }
            Frame::Truncate(index) => {
                w.u8(2).u64(*index);
            }
            Frame::Purge(id) => {
                w.u8(3);
                codec::write_log_id(&mut w, id);
            }
            Frame::Committed(id) => {
                w.u8(4);
                codec::write_option_log_id(&mut w, id.as_ref());
            }
        }
        w.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Frame, CanonError> {
        let mut r = Reader::bare(bytes);
        let frame = match r.u8()? {
            0 => Frame::Vote(codec::read_vote(&mut r)?),
            1 => Frame::Entry(codec::read_entry(&mut r)?),
            2 => Frame::Truncate(r.u64()?),
            3 => Frame::Purge(codec::read_log_id(&mut r)?),
            4 => Frame::Committed(codec::read_option_log_id(&mut r)?),
            _ => return Err(CanonError::Invalid("frame of the raft log")),
        };
        r.finish()?;
        Ok(frame)
    }
}

/// A live entry.
struct Held {
    entry: LogEntry,
    /// The frame that holds it, once it is durable.
    seq: Option<u64>,
    /// Bytes of all entries up to this one, since the log was opened.
    end: u64,
}

#[derive(Default)]
struct Live {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    /// By index.
    entries: BTreeMap<u64, Held>,
    /// Where the bytes of those that were purged end.
    gone: u64,
    /// How many of them are too many.
    most: usize,
    /// A committed position that no frame has yet.
    unwritten: Option<Frame>,
}

impl Live {
    fn replay(&mut self, seq: u64, frame: Frame) {
        match frame {
            Frame::Vote(v) => self.vote = Some(v),
            Frame::Entry(e) => {
                self.put(e, Some(seq));
            }
            Frame::Truncate(index) => {
                self.entries.split_off(&index);
            }
            Frame::Purge(id) => self.purge(id),
            Frame::Committed(id) => self.committed = id,
        }
    }

    fn last(&self) -> Option<LogId> {
        self.entries.last_key_value().map(|(_, held)| held.entry.log_id).or(self.purged)
    }

    fn put(&mut self, entry: LogEntry, seq: Option<u64>) {
        let index = entry.log_id.index;
        let before = index.checked_sub(1).map_or(self.gone, |before| self.end_at(before));
        let end = before.saturating_add(size(&entry) as u64);
        self.entries.insert(index, Held { entry, seq, end });
    }

    /// Where the bytes up to an index end.
    fn end_at(&self, index: u64) -> u64 {
        self.entries.range(..=index).next_back().map_or(self.gone, |(_, held)| held.end)
    }

    /// Bytes of the entries behind one, or of all, up to another.
    fn bytes(&self, behind: Option<u64>, upto: u64) -> u64 {
        self.end_at(upto).saturating_sub(behind.map_or(self.gone, |index| self.end_at(index)))
    }

    /// Up to where entries may go, so that those that stay up to `upto` have at most `most` bytes; none if they do.
    fn surplus(&self, upto: u64, most: u64) -> Option<u64> {
        let end = self.end_at(upto);
        let stays = |from: u64| end.saturating_sub(from) <= most;
        let first = self.entries.range(..=upto).find(|(_, held)| stays(held.end));
        first.map(|(index, _)| *index).filter(|_| !stays(self.gone))
    }

    fn purge(&mut self, id: LogId) {
        self.gone = self.end_at(id.index);
        self.entries = self.entries.split_off(&id.index.saturating_add(1));
        self.purged = Some(id);
    }
}

/// How full the log is, and how far it goes.
pub(super) struct Gauge(Arc<Mutex<Live>>);

impl Gauge {
    /// Its last index; 0 for none.
    pub(super) fn last(&self) -> u64 {
        let live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        live.last().map_or(0, |id| id.index)
    }

    /// Whether nothing new should be put there before it is cut.
    pub(super) fn is_full(&self) -> bool {
        let live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        live.entries.len() >= live.most || live.bytes(None, u64::MAX) >= MOST_BYTES
    }

    /// Bytes of the entries behind an index, or of all, up to another.
    pub(super) fn bytes(&self, behind: Option<u64>, upto: u64) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).bytes(behind, upto)
    }

    /// Up to where entries may go, so that those that stay up to `upto` have at most `most` bytes; none if they do.
    pub(super) fn surplus(&self, upto: u64, most: u64) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).surplus(upto, most)
    }
}

/// The log; clones share it.
#[derive(Clone)]
pub(super) struct LogStore {
    journal: Journal,
    live: Arc<Mutex<Live>>,
    /// Rung when a committed position waits.
    moved: Arc<Notify>,
}

impl LogStore {
    /// Opens and replays.
    pub(super) fn open(host: &dyn Host, dir: &Path) -> Result<LogStore, JournalError> {
        let (journal, recovery) = Journal::open(host, dir, JournalOptions::default())?;
        let mut live = Live { most: MOST, ..Live::default() };
        let mut next = recovery.first_seq;
        while next < recovery.next_seq {
            for (seq, bytes) in journal.read(next, 1024, 4 << 20)? {
                let frame = Frame::decode(&bytes).map_err(|_| JournalError::Corrupt {
                    segment: "raft log".into(),
                    offset: seq,
                    reason: "a frame does not parse",
                })?;
                live.replay(seq, frame);
                next = seq.saturating_add(1);
            }
        }
        // A position beyond the log would be looked for, and not found, at every start.
        let last = live.last();
        live.committed = live.committed.filter(|c| Some(c.index) <= last.map(|l| l.index));
        Ok(LogStore { journal, live: Arc::new(Mutex::new(live)), moved: Arc::default() })
    }

    /// The last vote that is durable here; none before the first.
    pub(super) fn vote(&self) -> Option<Vote> {
        self.live().vote
    }

    /// The last id that was purged.
    pub(super) fn purged(&self) -> Option<LogId> {
        self.live().purged
    }

    /// Id of the entry at an index, if it is live.
    pub(super) fn id_at(&self, index: u64) -> Option<LogId> {
        self.live().entries.get(&index).map(|held| held.entry.log_id)
    }

    /// The live entries from `first` to `last`; none when one of them is missing.
    pub(super) fn run(&self, first: u64, last: u64) -> Option<Vec<LogEntry>> {
        let live = self.live();
        (first..=last).map(|index| live.entries.get(&index).map(|held| held.entry.clone())).collect()
    }

    /// Whether anything was ever written here.
    pub(super) fn begun(&self) -> bool {
        let live = self.live();
        live.purged.is_some() || !live.entries.is_empty()
    }

    /// How full it is, for who must not keep the folder.
    pub(super) fn gauge(&self) -> Gauge {
        Gauge(Arc::clone(&self.live))
    }

    #[cfg(test)]
    pub(super) fn hold_at_most(&self, most: usize) {
        self.live().most = most;
    }

    /// Whether this log agrees that it holds, or held, this entry.
    pub(super) fn agrees(&self, id: &LogId) -> bool {
        let live = self.live();
        live.entries
            .get(&id.index)
            .map(|held| held.entry.log_id)
            .or(live.purged.filter(|p| p.index >= id.index))
            .is_some_and(|known| known.index > id.index || known == *id)
    }

    /// What the journal wrote since the start.
    pub(super) fn written(&self) -> Written {
        self.journal.meter().read()
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the committed position when no entry came that it could ride with: after a power loss this node should know what
    /// it applied before, since it refuses who would undo that (P6).
    pub(super) async fn keep_committed(self) {
        loop {
            self.moved.notified().await;
            tokio::time::sleep(COMMITTED_WITHIN).await;
            // Submitted before the lock is let go: behind it may be no later position, since the last one counts.
            let mut live = self.live();
            if let Some(frame) = live.unwritten.take() {
                self.journal.submit(vec![frame.encode()], Box::new(|_| {}));
            }
        }
    }

    async fn write(&self, frames: &[Frame], verb: ErrorVerb) -> Result<u64, StorageError> {
        let frames = frames.iter().map(Frame::encode).collect();
        self.journal.append(frames).await.map_err(|e| failed(verb, &e))
    }
}

/// About the size of an entry on the wire; never 0.
fn size(e: &LogEntry) -> usize {
    let own = 64usize;
    match &e.payload {
        EntryPayload::Normal(entry) => entry.batches.iter().map(Vec::len).fold(own, usize::saturating_add),
        EntryPayload::Blank | EntryPayload::Membership(_) => own,
    }
}

fn failed(verb: ErrorVerb, e: &JournalError) -> StorageError {
    let text = AnyError::error(e.to_string());
    StorageError::IO { source: StorageIOError::new(ErrorSubject::Logs, verb, text) }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<LogEntry>, StorageError> {
        Ok(self.live().entries.range(range).map(|(_, held)| held.entry.clone()).collect())
    }

    /// Bounded in bytes; at least one entry, as the contract asks.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<LogEntry>, StorageError> {
        if start >= end {
            return Ok(Vec::new());
        }
        let live = self.live();
        let mut bytes = 0usize;
        let mut taken = Vec::new();
        for e in live.entries.range(start..end).map(|(_, held)| &held.entry) {
            bytes = bytes.saturating_add(size(e));
            if bytes > SEND_BYTES && !taken.is_empty() {
                break;
            }
            taken.push(e.clone());
        }
        Ok(taken)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let live = self.live();
        Ok(LogState { last_purged_log_id: live.purged, last_log_id: live.last() })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        self.write(&[Frame::Vote(*vote)], ErrorVerb::Write).await?;
        self.live().vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.live().vote)
    }

    /// Rides on the sync of the next entries, or on its own soon: a lost committed position only means that more is
    /// applied again.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        let mut live = self.live();
        live.committed = committed;
        live.unwritten = Some(Frame::Committed(committed));
        self.moved.notify_one();
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        Ok(self.live().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut frames = Vec::new();
        let mut indices = Vec::new();
        {
            let mut live = self.live();
            for e in entries {
                indices.push(e.log_id.index);
                frames.push(Frame::Entry(e.clone()).encode());
                live.put(e, None);
            }
            // Behind the entries, whose frames are counted from the first.
            frames.extend(live.unwritten.take().map(|frame| frame.encode()));
        }
        let live = Arc::clone(&self.live);
        self.journal.submit(
            frames,
            Box::new(move |outcome| match outcome {
                Ok(first) => {
                    {
                        let mut live = live.lock().unwrap_or_else(PoisonError::into_inner);
                        for (seq, index) in (first..).zip(&indices) {
                            if let Some(held) = live.entries.get_mut(index) {
                                held.seq = Some(seq);
                            }
                        }
                    }
                    callback.log_io_completed(Ok(()));
                }
                Err(e) => callback.log_io_completed(Err(io::Error::other(e.to_string()))),
            }),
        );
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.write(&[Frame::Truncate(log_id.index)], ErrorVerb::Delete).await?;
        self.live().entries.split_off(&log_id.index);
        Ok(())
    }

    /// The purge mark is durable before anything is dropped; vote and committed position are written again
    /// behind it, since their own frames may lie in what is dropped.
    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let (vote, committed) = {
            let live = self.live();
            (live.vote, live.committed)
        };
        let mut frames = vec![Frame::Purge(log_id), Frame::Committed(committed)];
        frames.extend(vote.map(Frame::Vote));
        let first = self.write(&frames, ErrorVerb::Delete).await?;
        let keep = {
            let mut live = self.live();
            live.purge(log_id);
            let oldest = live.entries.values().filter_map(|held| held.seq).min();
            oldest.unwrap_or(first).min(first)
        };
        self.journal.trim_front(keep).map_err(|e| failed(ErrorVerb::Delete, &e))
    }
}
