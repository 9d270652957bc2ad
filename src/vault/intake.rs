//! Taking sealed objects in: body and shred key durable, then the intake frame, then the answer.
//!
//! One worker writes; it takes everything queued, so concurrent publishes and pushes share two syncs.
//! Crash stories: before the frame, the object does not exist and its sender asks again; after the frame, it
//! is held. A failed write or sync closes the vault (fail closed), because nobody knows what the disk has. Ciphertexts that lie
//! apart are written and synced before their object is queued ([`super::large`]), so that no other waits for them.
//!
//! A later frame of an object takes the place of an earlier one: a decision, a copy that was fetched again. When the greater
//! part of the journal is of such earlier frames, the worker writes one frame for each object, with all that was said of it,
//! into new segments, and then lets the old ones go. A crash in between leaves the old frames and some of the new behind them,
//! which say the same; nothing is taken in meanwhile.

use super::clerk::{Clerk, Done, Job, Queued, Requests, UnderWay};
use super::error::VaultError;
use super::files::{BodyWriter, Known, Place};
use super::frame::{read_audience, read_frame};
use super::index::{Index, has_room};
#[cfg(test)]
use super::large::file_name;
use super::large::{Apart, Content, LANES, LargeFiles, Spool, Spooled, Whose, remove};
use super::object::SealedObject;
use super::proposal::{Proposal, Stand};
use super::shared::{Kept, SharedAudience, read_from};
use crate::domain::ids::{Handle, RecordId};
use crate::domain::time::{Entropy, Millis};
use crate::journal::{Disk, Host, Journal, JournalOptions, Meter, Recovery, Waiting, Worker, Written};
#[cfg(test)]
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::oneshot;

/// Most jobs that share the syncs.
const BATCH: usize = 256;
/// Bytes of objects that wait for the disk before more are turned away: as many of the largest as people may publish at
/// once. In memory each takes about three times its bytes.
const WAITING_BYTES: usize = 128 << 20;

/// What the index says of one held version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Header hash: the identity of the envelope.
    pub header_hash: [u8; 32],
    /// Hiding commitment of the header, as the ledger carries it.
    pub commitment: [u8; 32],
    /// Hiding commitment of the grant.
    pub grant: [u8; 32],
    /// Pull checks of every agency named in the grant: by these a puller is recognised (P13).
    pub pull_checks: Vec<[u8; 32]>,
    /// When it was taken in.
    pub at: Millis,
    /// For imports and idempotent publishes at the origin: (request id or source digest).
    pub request: Option<[u8; 32]>,
    /// For imports: keyed digest of what was imported, so that the same again is recognised.
    pub content: Option<[u8; 32]>,
    /// Set while no marking guide stood behind it: who asked, and what a classifier said (SSL §16).
    pub proposal: Option<Proposal>,
    pub(super) place: Place,
    /// Where its ciphertexts lie, if they lie apart.
    pub(super) apart: Option<Apart>,
    /// Its bytes did not verify; in memory only, found out anew after a start.
    pub(super) damaged: bool,
}

/// One object to take in.
pub struct Take {
    /// The object, checked by the caller.
    pub object: SealedObject,
    /// Pull checks of the agencies named in the grant.
    pub pull_checks: Vec<[u8; 32]>,
    /// Idempotency key at the origin.
    pub request: Option<[u8; 32]>,
    /// Keyed digest of an import.
    pub content: Option<[u8; 32]>,
    /// For a proposal: who asks, and what was said.
    pub proposal: Option<Proposal>,
    /// Its ciphertexts, if they lie apart: written, and durable.
    pub apart: Option<Spooled>,
    /// Now.
    pub at: Millis,
}

/// The source of shred keys; clones are the same one. It is held for as long as it takes to draw, and over no work of a disk.
#[derive(Clone)]
pub(super) struct Source(Arc<Mutex<Box<dyn Entropy>>>);

impl Entropy for Source {
    fn fill(&mut self, out: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill(out);
    }
}

/// The held objects of this node.
#[derive(Clone)]
pub struct Intake {
    bodies: Arc<dyn Disk>,
    large: Arc<LargeFiles>,
    entropy: Source,
    index: Arc<RwLock<Index>>,
    jobs: Arc<Worker<Job>>,
    waiting: Waiting,
    kept: Kept,
    meter: Arc<Meter>,
    closed: Arc<AtomicBool>,
    under_way: Requests,
}

impl Intake {
    /// Recovers what is held and starts its writer.
    pub fn open(host: &Arc<dyn Host>, dir: &Path, entropy: Box<dyn Entropy>) -> Result<Intake, VaultError> {
        let journal = Journal::open(host.as_ref(), &dir.join("intake"), JournalOptions::default())?;
        let bodies = dir.join("bodies");
        let disk = host.disk(&bodies)?;
        let lanes = (0..LANES).map(|_| host.files(&bodies)).collect::<Result<Vec<_>, _>>()?;
        Intake::on(host, journal, (disk, lanes), entropy)
    }

    /// The same over any journal and disk, with a thread.
    #[cfg(test)]
    pub(super) fn over(
        journal: (Journal, Recovery),
        bodies: Arc<dyn Disk>,
        entropy: Box<dyn Entropy>,
    ) -> Result<Intake, VaultError> {
        let lanes = vec![Arc::clone(&bodies); LANES];
        let system: Arc<dyn Host> = Arc::new(crate::journal::System);
        Intake::on(&system, journal, (bodies, lanes), entropy)
    }

    fn on(
        host: &Arc<dyn Host>,
        (journal, recovery): (Journal, Recovery),
        (bodies, lanes): (Arc<dyn Disk>, Vec<Arc<dyn Disk>>),
        entropy: Box<dyn Entropy>,
    ) -> Result<Intake, VaultError> {
        let mut index = Index::default();
        let mut known = Known::default();
        let mut next = recovery.first_seq;
        while next < recovery.next_seq {
            for (seq, frame) in journal.read(next, 1024, 1 << 20)? {
                index.frames.note(std::slice::from_ref(&frame));
                if let Some((name, place)) = read_audience(&frame)? {
                    known.add(&place);
                    index.audiences.add(name, place);
                } else {
                    let (key, entry) = read_frame(&frame)?;
                    known.add(&entry.place);
                    if let Some(apart) = &entry.apart {
                        known.add_key(apart.slot);
                    }
                    index.add(key, entry);
                }
                next = seq.saturating_add(1);
            }
        }
        let writer = BodyWriter::open(Arc::clone(&bodies), known)?;
        let large = Arc::new(LargeFiles::open(Arc::clone(host), bodies.as_ref(), lanes, &index.files())?);
        let index = Arc::new(RwLock::new(index));
        let (meter, closed) = (journal.meter(), Arc::<AtomicBool>::default());
        let entropy = Source(Arc::new(Mutex::new(entropy)));
        let mut clerk = Clerk {
            journal,
            writer,
            bodies: Arc::clone(&bodies),
            large: Arc::clone(&large),
            entropy: entropy.clone(),
            index: Arc::clone(&index),
            closed: Arc::clone(&closed),
        };
        let jobs = Worker::start(host.as_ref(), "vault-intake", BATCH, move |jobs| clerk.work(jobs))
            .map_err(VaultError::io("start the intake's worker"))?;
        let (jobs, waiting) = (Arc::new(jobs), Waiting::new(WAITING_BYTES));
        Ok(Intake {
            bodies,
            large,
            entropy,
            index,
            jobs,
            waiting,
            kept: Kept::default(),
            meter,
            closed,
            under_way: Requests::default(),
        })
    }

    /// Takes an object in; durable when it answers. [`VaultError::Busy`] when the disk is far behind: nothing was taken.
    pub async fn take(&self, take: Take) -> Result<(), VaultError> {
        let audience = take.object.audience.clone();
        let blob = take.object.to_stored();
        let place = self.waiting.take(blob.len().saturating_add(audience.bytes().len())).ok_or(VaultError::Busy)?;
        let under_way = take.request.and_then(|request| UnderWay::begin(&self.under_way, request));
        let queued = Queued { take, blob, _place: place, _under_way: under_way };
        self.run(|done| Job::Take(Box::new(queued), done)).await?;
        // The index reads the object next, and the next object may name it.
        self.kept.keep(&audience);
        Ok(())
    }

    /// Decides on a proposal, if nobody has; durable when it answers. `parts` are looked at again when it is approved.
    pub(super) async fn decide(
        &self,
        key: (RecordId, u32),
        stand: Stand,
        parts: Vec<RecordId>,
    ) -> Result<(), VaultError> {
        self.run(|done| Job::Decide(key, stand, parts, done)).await
    }

    /// Removes files that nothing names; the worker does it, so that no frame names one meanwhile.
    pub(super) async fn sweep(&self) -> Result<(), VaultError> {
        self.run(Job::Sweep).await
    }

    async fn run(&self, job: impl FnOnce(Done) -> Job) -> Result<(), VaultError> {
        let (done, answer) = oneshot::channel();
        self.jobs.send(job(done)).map_err(|_| VaultError::Poisoned)?;
        answer.await.map_err(|_| VaultError::Poisoned)?
    }

    /// Where audience objects lie.
    #[cfg(test)]
    pub(super) fn audience_places(&self) -> Vec<Place> {
        self.read(|i| i.audiences.all().map(|(_, place)| place).collect())
    }

    /// The files of content that copies name, each with its version and the commitment of its copy.
    #[cfg(test)]
    pub(super) fn content_files(&self) -> BTreeMap<String, (RecordId, u32, [u8; 32])> {
        let of = |i: &Index| {
            let all = i
                .by_version
                .iter()
                .flat_map(|((record, version), all)| all.iter().map(move |e| (*record, *version, e)));
            let named = |(record, version, e): (RecordId, u32, &Entry)| {
                Some((file_name(e.apart?.file), (record, version, e.commitment)))
            };
            all.filter_map(named).collect::<BTreeMap<_, _>>()
        };
        self.read(of)
    }

    #[cfg(test)]
    pub(super) fn hold_at_most(&mut self, bytes: usize) {
        self.waiting = Waiting::new(bytes);
    }

    /// Held objects of a version.
    pub fn entries(&self, record: &RecordId, version: u32) -> Vec<Entry> {
        let of = |i: &Index| i.by_version.get(&(*record, version)).cloned().unwrap_or_default();
        self.read(of).into_iter().filter(|e| !e.damaged).collect()
    }

    /// The first held object of a version.
    pub(super) fn first(&self, record: &RecordId, version: u32) -> Option<Entry> {
        self.find(record, version, |_| true)
    }

    /// The first held object of a version of which this is so.
    pub(super) fn find(&self, record: &RecordId, version: u32, is: impl Fn(&Entry) -> bool) -> Option<Entry> {
        self.read(|i| i.by_version.get(&(*record, version))?.iter().find(|e| !e.damaged && is(e)).cloned())
    }

    /// How many held objects of a version there are of which this is so.
    pub(super) fn count(&self, record: &RecordId, version: u32, is: impl Fn(&Entry) -> bool) -> usize {
        let all = |i: &Index| {
            i.by_version.get(&(*record, version)).into_iter().flatten().filter(|e| !e.damaged && is(e)).count()
        };
        self.read(all)
    }

    /// Takes a copy out of use whose bytes do not verify. It counts as not held until it is taken in again. True
    /// if it was in use.
    pub(super) fn set_aside(&self, key: (RecordId, u32), entry: &Entry) -> bool {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let mut known = index.by_version.get_mut(&key).into_iter().flatten();
        let Some(found) = known.find(|e| e.place == entry.place && !e.damaged) else { return false };
        found.damaged = true;
        true
    }

    /// The highest version of a record that was taken in, damaged or not.
    pub(super) fn newest_version(&self, record: &RecordId) -> Option<u32> {
        let of = (*record, 0)..=(*record, u32::MAX);
        self.read(|i| i.by_version.range(of).next_back().map(|((_, version), _)| *version))
    }

    /// The versions of a record of which a copy is in use, lowest first.
    pub(super) fn versions(&self, record: &RecordId) -> Vec<u32> {
        let of = (*record, 0)..=(*record, u32::MAX);
        let usable = |e: &Vec<Entry>| e.iter().any(|e| !e.damaged);
        self.read(|i| i.by_version.range(of).filter(|(_, e)| usable(e)).map(|((_, v), _)| *v).collect())
    }

    /// Records whose proposals nobody decided yet, in the order of their ids, with their authors.
    pub(super) fn waiting(&self) -> Vec<(RecordId, Handle)> {
        self.read(|i| i.waiting.iter().map(|(record, author)| (*record, *author)).collect())
    }

    /// Whether one more proposal of an author may wait.
    pub(super) fn may_wait(&self, author: Handle) -> bool {
        self.read(|i| has_room(&i.waiting, author))
    }

    /// Whether what an idempotency key names waits to be written: whoever asked for it may be gone.
    pub fn is_under_way(&self, request: &[u8; 32]) -> bool {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).contains(request)
    }

    /// The version that an idempotency key named before.
    pub fn by_request(&self, request: &[u8; 32]) -> Option<(RecordId, u32)> {
        self.read(|i| i.by_request.get(request).copied())
    }

    /// The versions that a pull check names: one, unless somebody copied it.
    pub fn by_check(&self, check: &[u8; 32]) -> Vec<(RecordId, u32)> {
        self.read(|i| i.by_check.get(check).cloned().unwrap_or_default())
    }

    /// What was taken in since a cursor of this start, and the next cursor.
    pub fn arrived_since(&self, cursor: usize) -> (Vec<RecordId>, usize) {
        self.read(|i| (i.arrivals.get(cursor..).unwrap_or_default().to_vec(), i.arrivals.len()))
    }

    /// Every held (record, version), in order.
    pub fn all(&self) -> Vec<(RecordId, u32)> {
        let usable = |e: &Vec<Entry>| e.iter().any(|e| !e.damaged);
        self.read(|i| i.by_version.iter().filter(|(_, e)| usable(e)).map(|(k, _)| *k).collect())
    }

    /// Versions of which a copy has content that lies apart.
    pub(super) fn apart(&self) -> Vec<(RecordId, u32)> {
        let apart = |e: &Entry| e.apart.is_some();
        self.read(|i| i.by_version.iter().filter(|(_, all)| all.iter().any(apart)).map(|(key, _)| *key).collect())
    }

    /// Bytes of all copies of each version that is here.
    pub(super) fn sizes(&self) -> Vec<((RecordId, u32), u64)> {
        let bytes = |e: &Entry| u64::from(e.apart.map_or(e.place.length, |apart| apart.bytes));
        self.read(|i| i.by_version.iter().map(|(key, all)| (*key, all.iter().map(bytes).sum::<u64>())).collect())
    }

    /// Reads and parses one object. Blocking: the caller is off the async threads or accepts it.
    pub fn load(&self, entry: &Entry) -> Result<SealedObject, VaultError> {
        let blob = super::files::read(self.bodies.as_ref(), &entry.place)?;
        let object = SealedObject::from_stored(&blob, |name| self.audience(name))?;
        if object.envelope.hash() == entry.header_hash {
            Ok(object)
        } else {
            Err(VaultError::Rule("another envelope lies in its place"))
        }
    }

    /// The audience object of these bytes; one that is kept is not parsed again.
    pub(super) fn audience_of(&self, bytes: &[u8]) -> Result<SharedAudience, VaultError> {
        SharedAudience::from_bytes_unless(bytes, |name| self.kept.find(name))
    }

    /// An audience object that is named, by a blob or a sender, from the newest place where it verifies.
    pub(super) fn audience(&self, name: &[u8; 32]) -> Result<SharedAudience, VaultError> {
        if let Some(kept) = self.kept.find(name) {
            return Ok(kept);
        }
        let places = self.read(|i| i.audiences.of(name).to_vec());
        let mut outcome = Err(VaultError::Cut);
        for place in places.iter().rev() {
            match read_from(self.bodies.as_ref(), name, place) {
                Ok(object) => {
                    self.kept.keep(&object);
                    return Ok(object);
                }
                Err(error) if error.is_damage() => {
                    tracing::error!(%error, "a copy of an audience key is damaged; another one is looked for");
                    let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
                    index.audiences.forget(name, place);
                    outcome = Err(error);
                }
                // It may be read the next time.
                Err(error) => return Err(error),
            }
        }
        outcome
    }

    /// A file for ciphertexts of `bytes` that lie apart.
    ///
    /// # Errors
    /// [`VaultError::NotYet`] when as many are being written as may.
    pub(super) fn spool(&self, whose: Whose, bytes: usize) -> Result<Spool, VaultError> {
        self.large.begin(whose, bytes, &mut self.entropy.clone())
    }

    /// Removes the ciphertexts of copies of a version that lie apart and are not of what the ledger committed: nobody will read
    /// them. Their frames stay, and name files that are not there.
    pub(super) fn let_go_of_others(&self, record: &RecordId, version: u32, commitment: &[u8; 32]) {
        let key = (*record, version);
        let is_other = |e: &Entry| e.apart.is_some() && e.commitment != *commitment;
        if !self.read(|i| i.by_version.get(&key).into_iter().flatten().any(is_other)) {
            return;
        }
        let left: Vec<Apart> = {
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            let others = index.by_version.get_mut(&key).into_iter().flatten().filter(|e| e.commitment != *commitment);
            others.filter_map(|e| e.apart.take()).collect()
        };
        left.into_iter().for_each(|apart| remove(self.bodies.as_ref(), apart.file));
    }

    /// The ciphertexts of an object, if they lie apart.
    pub(super) fn content(&self, entry: &Entry) -> Option<Content> {
        entry.apart.map(|apart| Content::at(Arc::clone(&self.bodies), apart))
    }

    /// What the journal wrote since the start.
    pub(super) fn written(&self) -> Written {
        self.meter.read()
    }

    /// Whether a write failed, so that nothing is taken any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn read<T>(&self, f: impl FnOnce(&Index) -> T) -> T {
        f(&self.index.read().unwrap_or_else(PoisonError::into_inner))
    }
}
