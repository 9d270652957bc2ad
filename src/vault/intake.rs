//! Taking sealed objects in: body and shred key durable, then the intake frame, then the answer.
//!
//! One worker writes; it takes everything queued, so concurrent publishes and pushes share two syncs.
//! Crash stories: before the frame, the object does not exist and its sender asks again; after the frame, it
//! is held. A failed write or sync closes the vault (fail closed), because nobody knows what the disk has. Ciphertexts that lie
//! apart are written and synced before their object is queued ([`super::large`]), so that no other waits for them.

use super::error::VaultError;
use super::files::{BodyWriter, Known, Place};
use super::frame::{read_frame, write_frame};
use super::large::{Apart, Content, LANES, LargeFiles, Spool, Spooled, Whose, remove};
use super::object::SealedObject;
use super::proposal::{Proposal, Stand, WAITING};
use crate::domain::ids::{Handle, RecordId};
use crate::domain::time::{Entropy, Millis};
use crate::journal::{Disk, Host, Journal, JournalOptions, Meter, Place as Waits, Recovery, Waiting, Worker, Written};
use std::collections::{BTreeMap, BTreeSet};
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

/// An object on its way to the disk.
struct Queued {
    take: Take,
    blob: Vec<u8>,
    _place: Waits,
}

enum Job {
    Take(Box<Queued>, Done),
    /// What was decided about a proposal, and the records that its approval lets go.
    Decide((RecordId, u32), Stand, Vec<RecordId>, Done),
    /// Files that nothing names go.
    Sweep(Done),
}

type Done = oneshot::Sender<Result<(), VaultError>>;

#[derive(Default)]
pub(super) struct Index {
    /// (record, version) -> objects with different commitments; only the committed one is exposed (P17).
    by_version: BTreeMap<(RecordId, u32), Vec<Entry>>,
    by_request: BTreeMap<[u8; 32], (RecordId, u32)>,
    /// More than one when somebody copied a check into a grant of its own: none takes another's place.
    by_check: BTreeMap<[u8; 32], Vec<(RecordId, u32)>>,
    /// In the order in which they were taken in, since the start; recovery counts as taking in.
    arrivals: Vec<RecordId>,
    /// Records whose proposals nobody decided yet, with their authors.
    waiting: BTreeMap<RecordId, Handle>,
}

impl Index {
    /// Numbers of the files with ciphertexts that lie apart.
    fn files(&self) -> BTreeSet<u32> {
        self.by_version.values().flatten().filter_map(|e| e.apart).map(|apart| apart.file).collect()
    }

    /// A later copy of the same object takes the place of an earlier one. Answers the file that no entry names any more.
    fn add(&mut self, key: (RecordId, u32), mut entry: Entry) -> Option<u32> {
        self.arrivals.push(key.0);
        for check in &entry.pull_checks {
            let named = self.by_check.entry(*check).or_default();
            if !named.contains(&key) {
                named.push(key);
            }
        }
        if let Some(request) = entry.request {
            self.by_request.insert(request, key);
        }
        let known = self.by_version.entry(key).or_default();
        let left = match known.iter_mut().find(|e| e.commitment == entry.commitment && e.grant == entry.grant) {
            Some(earlier) => {
                entry.request = entry.request.or(earlier.request);
                entry.content = entry.content.or(earlier.content);
                entry.proposal = entry.proposal.or(earlier.proposal.take());
                let before = std::mem::replace(earlier, entry).apart.map(|a| a.file);
                before.filter(|file| earlier.apart.is_none_or(|a| a.file != *file))
            }
            None => {
                known.push(entry);
                None
            }
        };
        match known.iter().filter_map(|e| e.proposal.as_ref()).find(|p| p.stand == Stand::Waiting) {
            Some(p) => self.waiting.insert(key.0, p.author),
            None => self.waiting.remove(&key.0),
        };
        left
    }
}

/// The source of shred keys; clones are the same one. It is held for as long as it takes to draw, and over no work of a disk.
#[derive(Clone)]
struct Source(Arc<Mutex<Box<dyn Entropy>>>);

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
    meter: Arc<Meter>,
    closed: Arc<AtomicBool>,
}

impl Intake {
    /// Recovers what is held and starts its writer.
    pub fn open(host: &dyn Host, dir: &Path, entropy: Box<dyn Entropy>) -> Result<Intake, VaultError> {
        let journal = Journal::open(host, &dir.join("intake"), JournalOptions::default())?;
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
        Intake::on(&crate::journal::System, journal, (bodies, lanes), entropy)
    }

    fn on(
        host: &dyn Host,
        (journal, recovery): (Journal, Recovery),
        (bodies, lanes): (Arc<dyn Disk>, Vec<Arc<dyn Disk>>),
        entropy: Box<dyn Entropy>,
    ) -> Result<Intake, VaultError> {
        let mut index = Index::default();
        let mut known = Known::default();
        let mut next = recovery.first_seq;
        while next < recovery.next_seq {
            for (seq, frame) in journal.read(next, 1024, 1 << 20)? {
                let (key, entry) = read_frame(&frame)?;
                known.add(&entry.place);
                if let Some(apart) = &entry.apart {
                    known.add_key(apart.slot);
                }
                index.add(key, entry);
                next = seq.saturating_add(1);
            }
        }
        let writer = BodyWriter::open(Arc::clone(&bodies), known)?;
        let large = Arc::new(LargeFiles::open(bodies.as_ref(), lanes, &index.files())?);
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
        let jobs = Worker::start(host, "vault-intake", BATCH, move |jobs| clerk.work(jobs))
            .map_err(VaultError::io("start the intake's worker"))?;
        let (jobs, waiting) = (Arc::new(jobs), Waiting::new(WAITING_BYTES));
        Ok(Intake { bodies, large, entropy, index, jobs, waiting, meter, closed })
    }

    /// Takes an object in; durable when it answers. [`VaultError::Busy`] when the disk is far behind: nothing was taken.
    pub async fn take(&self, take: Take) -> Result<(), VaultError> {
        let blob = take.object.to_blob();
        let place = self.waiting.take(blob.len()).ok_or(VaultError::Busy)?;
        self.run(|done| Job::Take(Box::new(Queued { take, blob, _place: place }), done)).await
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

    #[cfg(test)]
    pub(super) fn hold_at_most(&mut self, bytes: usize) {
        self.waiting = Waiting::new(bytes);
    }

    /// Held objects of a version.
    pub fn entries(&self, record: &RecordId, version: u32) -> Vec<Entry> {
        let of = |i: &Index| i.by_version.get(&(*record, version)).cloned().unwrap_or_default();
        self.read(of).into_iter().filter(|e| !e.damaged).collect()
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
        let object = SealedObject::from_blob(&super::files::read(self.bodies.as_ref(), &entry.place)?)?;
        if object.envelope.hash() == entry.header_hash {
            Ok(object)
        } else {
            Err(VaultError::Rule("another envelope lies in its place"))
        }
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

/// The one writer of the intake.
struct Clerk {
    journal: Journal,
    writer: BodyWriter,
    bodies: Arc<dyn Disk>,
    large: Arc<LargeFiles>,
    entropy: Source,
    index: Arc<RwLock<Index>>,
    /// Set after a failed write.
    closed: Arc<AtomicBool>,
}

impl Clerk {
    fn work(&mut self, jobs: Vec<Job>) {
        let (mut takes, mut decisions, mut sweeps) = (Vec::new(), Vec::new(), Vec::new());
        for job in jobs {
            match job {
                Job::Take(queued, done) => takes.push((*queued, done)),
                Job::Decide(key, stand, parts, done) => decisions.push((key, stand, parts, done)),
                Job::Sweep(done) => sweeps.push(done),
            }
        }
        let (queued, answers): (Vec<Queued>, Vec<Done>) = self.admitted(takes).into_iter().unzip();
        if !queued.is_empty() {
            // It ends there: whoever is answered finds the room free again.
            let outcome = self.guarded(|t| t.write(queued));
            for done in answers {
                let _ = done.send(outcome.clone());
            }
        }
        for (key, stand, parts, done) in decisions {
            let _ = done.send(self.guarded(|t| t.decide(key, stand, parts)));
        }
        for done in sweeps {
            let _ = done.send(self.sweep());
        }
    }

    /// After a failed write nobody knows which files a frame names, and none goes. One that cannot be removed closes nothing.
    fn sweep(&self) -> Result<(), VaultError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(VaultError::Poisoned);
        }
        let named = self.index.read().unwrap_or_else(PoisonError::into_inner).files();
        self.large.sweep(self.bodies.as_ref(), &named)
    }

    /// Tells proposals that there is no room for them, of those that wait and of this batch. Nobody but this worker lets one
    /// wait, so that the bound holds however many are made at once.
    fn admitted(&self, asked: Vec<(Queued, Done)>) -> Vec<(Queued, Done)> {
        let author = |q: &Queued| q.take.proposal.as_ref().filter(|p| p.stand == Stand::Waiting).map(|p| p.author);
        if asked.iter().all(|(q, _)| author(q).is_none()) {
            return asked;
        }
        let mut waiting = self.index.read().unwrap_or_else(PoisonError::into_inner).waiting.clone();
        let mut admitted = Vec::with_capacity(asked.len());
        for (queued, done) in asked {
            let record = queued.take.object.envelope.header().id;
            if let Some(author) = author(&queued) {
                if !waiting.contains_key(&record) && !has_room(&waiting, author) {
                    let _ = done.send(Err(VaultError::Crowded));
                    continue;
                }
                waiting.insert(record, author);
            }
            admitted.push((queued, done));
        }
        admitted
    }

    /// After a failed write nothing is written any more.
    fn guarded(&mut self, write: impl FnOnce(&mut Self) -> Result<(), VaultError>) -> Result<(), VaultError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(VaultError::Poisoned);
        }
        let outcome = write(self);
        // A refused decision wrote nothing.
        if let Err(e) = &outcome
            && !matches!(e, VaultError::Decided | VaultError::Rule(_))
        {
            tracing::error!(error = %e, "the vault's intake failed; it stays closed until the node is started again");
            self.closed.store(true, Ordering::Relaxed);
        }
        outcome
    }

    /// Compares with what was decided before, and writes a frame for the same stored bytes.
    fn decide(&mut self, key: (RecordId, u32), stand: Stand, parts: Vec<RecordId>) -> Result<(), VaultError> {
        let entry = {
            let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
            index.by_version.get(&key).into_iter().flatten().find(|e| e.proposal.is_some()).cloned()
        };
        let Some((entry, before)) = entry.and_then(|e| e.proposal.clone().map(|p| (e, p))) else {
            return Err(VaultError::Rule("it is no proposal"));
        };
        if before.stand == stand {
            return Ok(());
        }
        if before.stand != Stand::Waiting || matches!(stand, Stand::Waiting | Stand::PartOf(..)) {
            return Err(VaultError::Decided);
        }
        // What was turned down is read by nobody any more, its lower parts too: their frames name no file, which goes when that
        // is durable.
        let rejected = stand == Stand::Rejected;
        let apart = entry.apart.filter(|_| !rejected);
        let mut decided =
            vec![(key, Entry { proposal: Some(Proposal { author: before.author, stand }), apart, ..entry })];
        if rejected {
            let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
            let all = parts.iter().flat_map(|part| index.by_version.range((*part, 0)..=(*part, u32::MAX)));
            let of_it = |e: &&Entry| {
                let stand = e.proposal.as_ref().map(|p| &p.stand);
                e.apart.is_some() && matches!(stand, Some(Stand::PartOf(whole, of)) if (*whole, *of) == key)
            };
            let lower = all.flat_map(|(k, entries)| entries.iter().filter(of_it).map(|e| (*k, e.clone())));
            decided.extend(lower.map(|(k, e)| (k, Entry { apart: None, ..e })));
        }
        self.journal.append_blocking(decided.iter().map(|(k, e)| write_frame(k, e)).collect())?;
        let left: Vec<u32> = {
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            index.arrivals.extend(parts);
            decided.into_iter().flat_map(|(k, e)| index.add(k, e)).collect()
        };
        left.into_iter().for_each(|file| remove(self.bodies.as_ref(), file));
        Ok(())
    }

    fn write(&mut self, mut queued: Vec<Queued>) -> Result<(), VaultError> {
        // Two transfers of one object: the first that is whole counts, the other's file goes with its take.
        queued.retain(|q| q.take.apart.is_none() || !self.holds(&q.take.object));
        if queued.is_empty() {
            return Ok(());
        }
        let blobs: Vec<&[u8]> = queued.iter().map(|q| q.blob.as_slice()).collect();
        let keys: Vec<&[u8; 32]> = queued.iter().filter_map(|q| q.take.apart.as_ref()).map(Spooled::key).collect();
        let (places, slots) = self.writer.write(&blobs, &keys, &mut self.entropy)?;
        let mut slots = slots.into_iter();
        let mut entries = Vec::with_capacity(queued.len());
        for (t, place) in queued.iter_mut().map(|q| &mut q.take).zip(places) {
            let header = t.object.envelope.header();
            // From here on a frame may name the file, whether its writing is answered or not.
            let apart = match &mut t.apart {
                Some(spooled) => Some(spooled.keep(slots.next().ok_or(VaultError::Cut)?)),
                None => None,
            };
            let entry = Entry {
                header_hash: t.object.envelope.hash(),
                commitment: t.object.envelope.commitment(),
                grant: t.object.grant.commitment(),
                pull_checks: t.pull_checks.clone(),
                at: t.at,
                request: t.request,
                content: t.content,
                proposal: t.proposal.clone(),
                place,
                apart,
                damaged: false,
            };
            entries.push(((header.id, header.version), entry));
        }
        let frames = entries.iter().map(|(key, e)| write_frame(key, e)).collect();
        self.journal.append_blocking(frames)?;
        let left: Vec<u32> = {
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            entries.into_iter().filter_map(|(key, entry)| index.add(key, entry)).collect()
        };
        left.into_iter().for_each(|file| remove(self.bodies.as_ref(), file));
        Ok(())
    }

    /// Whether a good copy of an object is here.
    fn holds(&self, object: &SealedObject) -> bool {
        let (header, envelope, grant) =
            (object.envelope.header(), object.envelope.commitment(), object.grant.commitment());
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let mut known = index.by_version.get(&(header.id, header.version)).into_iter().flatten();
        known.any(|e| !e.damaged && e.commitment == envelope && e.grant == grant)
    }
}

fn has_room(waiting: &BTreeMap<RecordId, Handle>, author: Handle) -> bool {
    let (all, own) = WAITING;
    waiting.len() < all && waiting.values().filter(|a| **a == author).count() < own
}
