//! The log itself: a journal of its own, the tree over it, and the only place where receipts are made.
//!
//! Order. The sequence number is given and the frames are handed to the journal inside one short critical
//! section, so both orders are the same; the journal shares one fdatasync among everybody who waits. The tree
//! grows on the journal's thread, in the order of the frames and only once they are durable.
//!
//! Crash stories. Before the fdatasync: the caller has no receipt, nothing was shown, the frames may or may not
//! be there after recovery; if they are, the log says a little more than was done. After it: the tree is
//! rebuilt from the journal on opening. A checkpoint covers durable events only, so recovery cannot contradict
//! one, unless the disk lost what it had confirmed (P27 says what happens then).

use super::error::AuditError;
use super::event::{Action, Actor, Decision, Event, EventDraft, Object, Stage, set_seq};
use super::merkle::{Hash, Tree, empty_root, leaf_hash};
use super::note::{Checkpoint, Note};
use super::tiles::{CHECKPOINT, Resource, encode_bundle, encode_tile, resources};
use crate::domain::ids::{AgencyId, NoticeId, RecordId};
#[cfg(test)]
use crate::domain::planted::{Planted, is_planted};
use crate::domain::time::Millis;
use crate::journal::{Host, Journal, JournalError, JournalOptions, Waiting, Written};
use crate::seal::SigningKey;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::oneshot;

/// Frames read from the journal at a time, and their bytes.
const PAGE_FRAMES: usize = 1_024;
const PAGE_BYTES: usize = 4 << 20;
/// Bytes of events that wait for the disk before more are turned away; what tells how an act ended is not.
const WAITING_BYTES: usize = 16 << 20;

/// Proof that an event is durable. Only [`AuditLog::record`] makes one; it can be neither copied nor forged.
#[derive(Debug)]
#[must_use = "a receipt is what an act of disclosure needs"]
pub struct AuditReceipt {
    seq: u64,
    disclosing: bool,
    indexing: bool,
    records: Vec<(RecordId, u32)>,
    notice: Option<NoticeId>,
}

impl AuditReceipt {
    /// The event's place in the log.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Whether the event is an allowed intent to show this version of this record to a person.
    pub fn covers(&self, record: RecordId, version: u32) -> bool {
        self.disclosing && self.records.contains(&(record, version))
    }

    /// Whether the event is an allowed intent to show this notice to a person.
    pub fn covers_notice(&self, notice: &NoticeId) -> bool {
        self.disclosing && self.notice.as_ref() == Some(notice)
    }

    /// Whether the event says that this version is decrypted for the search index, and for nobody to see.
    pub fn covers_indexing(&self, record: RecordId, version: u32) -> bool {
        self.indexing && self.records.contains(&(record, version))
    }
}

/// Answers when the events are durable.
type Settled = oneshot::Receiver<Result<(), AuditError>>;

/// Takes the files of an export: a path with `/`, and the whole content.
pub type Sink<'a> = &'a mut dyn FnMut(&str, &[u8]) -> Result<(), AuditError>;

/// What to look for. Conditions that are set must all hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Name of the person who acted.
    pub person: Option<String>,
    /// A record that the event names.
    pub record: Option<RecordId>,
    /// Agency of the actor.
    pub agency: Option<AgencyId>,
    /// Allowed or denied.
    pub decision: Option<Decision>,
    /// Not before.
    pub since: Option<Millis>,
    /// Only events before this place: the cursor for the page before.
    pub before: Option<u64>,
    /// At most so many events, the newest of those that fit. None: all.
    pub limit: Option<usize>,
}

impl Filter {
    /// Whether an event fits, the limit aside.
    pub fn matches(&self, event: &Event) -> bool {
        self.before.is_none_or(|b| event.seq < b)
            && self.person.as_deref().is_none_or(|p| event.actor.person() == Some(p))
            && self.agency.as_ref().is_none_or(|a| event.actor.agency() == a)
            && self.decision.is_none_or(|d| event.decision == d)
            && self.since.is_none_or(|t| event.time >= t)
            && self.record.is_none_or(|r| event.object.records().iter().any(|(id, _)| *id == r))
    }
}

/// The audit log of this node. Clones share it. Reading goes to the disk: call it where blocking is allowed.
#[derive(Clone)]
pub struct AuditLog {
    journal: Journal,
    waiting: Waiting,
    /// The next sequence number. Held while frames are handed to the journal, never across an await.
    next: Arc<Mutex<u64>>,
    shared: Arc<Shared>,
    cut_bytes: u64,
}

/// What the journal's thread reaches. It has no handle of the journal, which would keep that thread alive.
#[derive(Default)]
struct Shared {
    state: RwLock<State>,
    stopped: OnceLock<String>,
}

/// The durable part of the log.
#[derive(Default)]
struct State {
    tree: Tree,
    by_record: BTreeMap<RecordId, Vec<u64>>,
    accesses: BTreeMap<AgencyId, Vec<u64>>,
}

/// What the indexes need of an event.
struct Entry {
    leaf: Hash,
    records: Vec<RecordId>,
    accessed: Option<AgencyId>,
}

impl Entry {
    fn new(leaf: Hash, event: &Event) -> Entry {
        let accessed = event.origin.clone().filter(|_| is_access(event));
        let mut records: Vec<_> = event.object.records().into_iter().map(|(id, _)| id).collect();
        records.sort_unstable();
        records.dedup();
        Entry { leaf, records, accessed }
    }
}

/// Whether an originator is told: something of its record was shown, and this is the end of it.
fn is_access(event: &Event) -> bool {
    event.action.is_access() && event.stage != Stage::Intent && event.decision == Decision::Allow
}

impl State {
    fn append(&mut self, entry: Entry) {
        let seq = self.tree.size();
        self.tree.append(entry.leaf);
        for record in entry.records {
            self.by_record.entry(record).or_default().push(seq);
        }
        if let Some(origin) = entry.accessed {
            self.accesses.entry(origin).or_default().push(seq);
        }
    }
}

impl Shared {
    /// For reading. A panic of the writer breaks the lock and, in [`Shared::settle`], ends the log; what had
    /// been appended before it is still right.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self) -> Result<(), AuditError> {
        self.stopped.get().map_or(Ok(()), |why| Err(AuditError::Stopped(why.clone())))
    }

    /// Ends the log. The first reason stays.
    fn stop(&self, why: impl Into<String>) -> AuditError {
        AuditError::Stopped(self.stopped.get_or_init(|| why.into()).clone())
    }

    /// Runs on the journal's thread when a submission is durable or has failed.
    fn settle(&self, first: u64, entries: Vec<Entry>, written: Result<u64, JournalError>) -> Result<(), AuditError> {
        let at = written.map_err(|e| self.stop(e.to_string()))?;
        self.check()?;
        let Ok(mut state) = self.state.write() else { return Err(self.stop("its state is broken")) };
        if at != first || state.tree.size() != first {
            return Err(self.stop(format!("event {first} was stored as frame {at}")));
        }
        entries.into_iter().for_each(|e| state.append(e));
        Ok(())
    }
}

impl AuditLog {
    /// Opens the log in its directory, or begins one, and rebuilds the tree.
    ///
    /// # Errors
    /// [`AuditError::Journal`] when the journal cannot be opened, [`AuditError::Corrupt`] when its frames are
    /// not events in order from 0.
    pub fn open(host: &dyn Host, dir: &Path) -> Result<AuditLog, AuditError> {
        AuditLog::open_with(host, dir, JournalOptions::default())
    }

    /// Opens the log with options of the journal. Its frames must be allowed 65,535 bytes, else long events
    /// stop the log.
    ///
    /// # Errors
    /// As [`AuditLog::open`].
    pub fn open_with(host: &dyn Host, dir: &Path, options: JournalOptions) -> Result<AuditLog, AuditError> {
        let (journal, recovery) = Journal::open(host, dir, options)?;
        let corrupt = |seq, what: String| AuditError::Corrupt { seq, what };
        if recovery.first_seq != 0 {
            return Err(corrupt(0, "the beginning of the log is missing".to_owned()));
        }
        let mut state = State::default();
        while state.tree.size() < recovery.next_seq {
            let from = state.tree.size();
            let page = journal.read(from, PAGE_FRAMES, PAGE_BYTES)?;
            if page.is_empty() {
                return Err(corrupt(from, "it is missing".to_owned()));
            }
            for (seq, frame) in page {
                let event = Event::from_bytes(&frame).map_err(|e| corrupt(seq, e.to_string()))?;
                if seq != state.tree.size() || event.seq != seq {
                    return Err(corrupt(seq, format!("it is numbered {}", event.seq)));
                }
                state.append(Entry::new(leaf_hash(&frame), &event));
            }
        }
        let next = state.tree.size();
        let shared = Shared { state: RwLock::new(state), stopped: OnceLock::new() };
        Ok(AuditLog {
            journal,
            waiting: Waiting::new(WAITING_BYTES),
            next: Arc::new(Mutex::new(next)),
            shared: Arc::new(shared),
            cut_bytes: recovery.cut_bytes,
        })
    }

    /// Bytes of an unfinished write that recovery cut off. They belong to events that nobody had a receipt for.
    pub fn cut_bytes(&self) -> u64 {
        self.cut_bytes
    }

    /// Records events in their order and answers when they are durable, with one receipt for each.
    ///
    /// Dropping the future does not take the events back.
    ///
    /// # Errors
    /// [`AuditError::Field`] when an event does not fit the format, [`AuditError::Busy`] when the disk is far behind: nothing
    /// was recorded, the log goes on.
    /// [`AuditError::Stopped`] after a failed write, now or earlier: the caller must not act.
    pub async fn record(&self, drafts: Vec<EventDraft>) -> Result<Vec<AuditReceipt>, AuditError> {
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        #[cfg(test)]
        if is_planted(Planted::SkipAuditEntry) {
            let pretended: Vec<_> = drafts.iter().map(|d| receipt(self.size(), &d.clone().at(self.size()))).collect();
            if pretended.iter().any(|r| r.disclosing && r.notice.is_none()) {
                return Ok(pretended);
            }
        }
        let (receipts, durable) = self.enqueue(drafts)?;
        match durable.await {
            Ok(settled) => settled.map(|()| receipts),
            Err(_) => Err(self.shared.stop(JournalError::Closed.to_string())),
        }
    }

    /// Records how acts ended, in order behind what was recorded before, and does not wait for the disk: for what disclosed nothing.
    /// After a power loss their intents stand alone.
    ///
    /// # Errors
    /// As [`AuditLog::record`]; a write that fails later ends the log.
    pub fn note(&self, outcomes: Vec<EventDraft>) -> Result<(), AuditError> {
        if !outcomes.is_empty() {
            let (_receipts, _durable) = self.enqueue(outcomes)?;
        }
        Ok(())
    }

    /// Numbers the events and hands them to the journal.
    fn enqueue(&self, drafts: Vec<EventDraft>) -> Result<(Vec<AuditReceipt>, Settled), AuditError> {
        // Everything that can be refused is refused before a number is taken; the number has a fixed width.
        let mut events = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let event = draft.at(0);
            let bytes = event.to_bytes()?;
            events.push((event, bytes));
        }
        let size: usize = events.iter().map(|(_, bytes)| bytes.len()).sum();
        // An act that is over has its end told: acts are bounded by their beginnings.
        let place = match events.iter().all(|(event, _)| event.stage == Stage::Outcome) {
            true => self.waiting.take_anyway(size),
            false => self.waiting.take(size).ok_or(AuditError::Busy)?,
        };
        let mut receipts = Vec::with_capacity(events.len());
        let mut entries = Vec::with_capacity(events.len());
        let mut frames = Vec::with_capacity(events.len());
        let (answer, durable) = oneshot::channel();

        let Ok(mut next) = self.next.lock() else { return Err(self.shared.stop("its counter is broken")) };
        self.shared.check()?;
        let first = *next;
        for (seq, (event, mut bytes)) in (first..).zip(events) {
            set_seq(&mut bytes, seq);
            entries.push(Entry::new(leaf_hash(&bytes), &event));
            receipts.push(receipt(seq, &event));
            frames.push(bytes);
        }
        *next = first.saturating_add(frames.len() as u64);
        let shared = Arc::clone(&self.shared);
        self.journal.submit(
            frames,
            Box::new(move |written| {
                // A caller that went away is no failure: the events stand.
                let settled = shared.settle(first, entries, written);
                drop(place);
                let _ = answer.send(settled);
            }),
        );
        Ok((receipts, durable))
    }

    /// What its journal wrote since the start.
    pub fn written(&self) -> Written {
        self.journal.meter().read()
    }

    /// Why it takes nothing any more; none while all is well.
    pub fn stopped(&self) -> Option<&str> {
        self.shared.stopped.get().map(String::as_str)
    }

    /// Number of durable events.
    pub fn size(&self) -> u64 {
        self.shared.read().tree.size()
    }

    /// The root over all durable events.
    pub fn root(&self) -> Hash {
        self.head().1
    }

    /// Size and root of one moment.
    pub fn head(&self) -> (u64, Hash) {
        let state = self.shared.read();
        let size = state.tree.size();
        // A tree always has a root over all its leaves.
        (size, state.tree.root(size).unwrap_or_else(empty_root))
    }

    /// The root over the first `size` events; none if there are fewer.
    pub fn root_at(&self, size: u64) -> Option<Hash> {
        self.shared.read().tree.root(size)
    }

    /// Ends the log: it takes nothing more, so nothing more is done here.
    pub fn end(&self, why: &str) {
        self.shared.stop(why);
    }

    /// The signed head as a note. `origin` names the log and its key, e.g. `hufu/customs/00000000000000a1`.
    ///
    /// # Errors
    /// [`AuditError::Note`] when the origin cannot name a key.
    pub fn checkpoint(&self, key: &SigningKey, origin: &str) -> Result<String, AuditError> {
        let (size, root) = self.head();
        Ok(Checkpoint::new(origin, size, root).sign(key)?.to_string())
    }

    /// Proof that event `seq` is in the log of `size` events.
    ///
    /// # Errors
    /// [`AuditError::Beyond`] unless `seq < size` and the log has `size` events.
    pub fn inclusion(&self, seq: u64, size: u64) -> Result<Vec<Hash>, AuditError> {
        let state = self.shared.read();
        let beyond = || AuditError::Beyond { asked: seq.max(size), size: state.tree.size() };
        state.tree.inclusion_proof(seq, size).ok_or_else(beyond)
    }

    /// Proof that the log of `new` events begins with that of `old` events.
    ///
    /// # Errors
    /// [`AuditError::Beyond`] unless `old <= new` and the log has `new` events.
    pub fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, AuditError> {
        let state = self.shared.read();
        let beyond = || AuditError::Beyond { asked: old.max(new), size: state.tree.size() };
        state.tree.consistency_proof(old, new).ok_or_else(beyond)
    }

    /// At most `max` events from `from` on. Empty at the end.
    ///
    /// # Errors
    /// [`AuditError::Journal`] or [`AuditError::Corrupt`] when what is stored is not readable any more.
    pub fn read(&self, from: u64, max: usize) -> Result<Vec<Event>, AuditError> {
        let mut events = Vec::new();
        self.scan(from, max, |event, _| {
            events.push(event);
            true
        })?;
        Ok(events)
    }

    /// The bytes of one event, which are its leaf.
    ///
    /// # Errors
    /// As [`AuditLog::read`], and [`AuditError::Beyond`].
    pub fn leaf(&self, seq: u64) -> Result<Vec<u8>, AuditError> {
        let mut leaf = None;
        self.scan(seq, 1, |_, bytes| {
            leaf = Some(bytes);
            true
        })?;
        leaf.ok_or(AuditError::Beyond { asked: seq, size: self.size() })
    }

    /// Events that fit, in their order. A search for a record goes by index, any other reads the whole log.
    ///
    /// # Errors
    /// As [`AuditLog::read`].
    pub fn search(&self, filter: &Filter) -> Result<Vec<Event>, AuditError> {
        let limit = filter.limit.unwrap_or(usize::MAX);
        let end = filter.before.unwrap_or(u64::MAX);
        let mut found = VecDeque::new();
        if let Some(record) = filter.record {
            let seqs = self.shared.read().by_record.get(&record).cloned().unwrap_or_default();
            for seq in seqs.into_iter().rev().filter(|s| *s < end) {
                if found.len() >= limit {
                    break;
                }
                for event in self.read(seq, 1)?.into_iter().filter(|e| filter.matches(e)) {
                    found.push_front(event);
                }
            }
        } else if limit > 0 {
            self.scan(0, usize::try_from(end).unwrap_or(usize::MAX), |event, _| {
                if filter.matches(&event) {
                    if found.len() >= limit {
                        found.pop_front();
                    }
                    found.push_back(event);
                }
                true
            })?;
        }
        Ok(found.into())
    }

    /// Completed accesses to records of `origin`, at most `max` from `from_seq` on: what it must be told.
    ///
    /// # Errors
    /// As [`AuditLog::read`].
    pub fn events_about(&self, origin: &AgencyId, from_seq: u64, max: usize) -> Result<Vec<Event>, AuditError> {
        let seqs: Vec<u64> = {
            let state = self.shared.read();
            let all = state.accesses.get(origin).map(Vec::as_slice).unwrap_or_default();
            all.iter().copied().skip_while(|s| *s < from_seq).take(max).collect()
        };
        let mut events = Vec::with_capacity(seqs.len());
        for seq in seqs {
            events.extend(self.read(seq, 1)?);
        }
        Ok(events)
    }

    /// Writes the log in the tlog-tiles layout, exactly what `checkpoint` covers, the checkpoint last. `sink`
    /// gets a path with `/` and the whole content of each file.
    ///
    /// # Errors
    /// [`AuditError::Note`] when the checkpoint is not one of this log, what reading returns, and what `sink`
    /// returns.
    pub fn export(&self, checkpoint: &str, sink: Sink<'_>) -> Result<Checkpoint, AuditError> {
        let head = Checkpoint::parse(Note::parse(checkpoint)?.text())?;
        if self.shared.read().tree.root(head.size) != Some(head.root) {
            return Err(AuditError::Note("it is not a head of this log"));
        }
        for resource in resources(head.size) {
            let content = match resource {
                Resource::Entries { .. } => self.bundle(resource)?,
                Resource::Tile { .. } => {
                    let state = self.shared.read();
                    let beyond = AuditError::Beyond { asked: head.size, size: state.tree.size() };
                    encode_tile(resource.hashes(&state.tree).ok_or(beyond)?)
                }
            };
            sink(&resource.path(), &content)?;
        }
        sink(CHECKPOINT, checkpoint.as_bytes())?;
        Ok(head)
    }

    fn bundle(&self, resource: Resource) -> Result<Vec<u8>, AuditError> {
        let (first, width) = resource.span();
        let mut leaves: Vec<Vec<u8>> = Vec::new();
        self.scan(first, usize::try_from(width).unwrap_or(usize::MAX), |_, bytes| {
            leaves.push(bytes);
            true
        })?;
        encode_bundle(leaves.iter().map(Vec::as_slice))
    }

    /// Reads durable events in order until `max` of them, the end, or `false` from `each`. Every frame is held
    /// against the tree, so that a changed file is noticed and not shown.
    fn scan(&self, from: u64, max: usize, mut each: impl FnMut(Event, Vec<u8>) -> bool) -> Result<(), AuditError> {
        let end = self.size().min(from.saturating_add(u64::try_from(max).unwrap_or(u64::MAX)));
        let mut at = from;
        while at < end {
            let frames = usize::try_from(end - at).unwrap_or(PAGE_FRAMES).min(PAGE_FRAMES);
            let page = self.journal.read(at, frames, PAGE_BYTES)?;
            if page.is_empty() {
                return Err(AuditError::Corrupt { seq: at, what: "it is missing".to_owned() });
            }
            for (seq, frame) in page {
                if at == end {
                    return Ok(());
                }
                let known = self.shared.read().tree.subtrees(0, seq, 1).and_then(|l| l.first().copied());
                if seq != at || known != Some(leaf_hash(&frame)) {
                    return Err(AuditError::Corrupt { seq: at, what: "it was changed on disk".to_owned() });
                }
                let event = Event::from_bytes(&frame)?;
                at += 1;
                if !each(event, frame) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

fn receipt(seq: u64, event: &Event) -> AuditReceipt {
    let disclosing = event.stage == Stage::Intent && event.decision == Decision::Allow && event.action.discloses();
    let node = matches!(event.actor, Actor::Node { .. });
    let indexing = node && event.action == Action::Index && event.decision == Decision::Allow;
    let notice = match event.object {
        Object::Notice(id) => Some(id),
        _ => None,
    };
    AuditReceipt { seq, disclosing, indexing, records: event.object.records(), notice }
}
