//! The one writer of the intake: everything that waits, in one go.

use super::error::VaultError;
use super::files::{BodyWriter, Place};
use super::frame::{write_audience, write_frame};
use super::index::{Frames, Index, has_room};
use super::intake::{Entry, Source, Take};
use super::large::{LargeFiles, Spooled, remove};
use super::object::SealedObject;
use super::proposal::{Proposal, Stand};
use super::shared::SharedAudience;
use crate::domain::ids::RecordId;
use crate::domain::reserve::Work;
use crate::journal::{Disk, Journal, Place as Waits};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::oneshot;

/// An object on its way to the disk.
pub(super) struct Queued {
    pub(super) take: Take,
    pub(super) blob: Vec<u8>,
    pub(super) _place: Waits,
    pub(super) _under_way: Option<UnderWay>,
}

/// A request whose object waits to be written, whether anybody still waits for that or not. Over when this is dropped, which is
/// when it is known by its request or was not written.
pub(super) struct UnderWay {
    requests: Requests,
    request: [u8; 32],
}

/// Requests under way.
pub(super) type Requests = Arc<Mutex<BTreeSet<[u8; 32]>>>;

impl UnderWay {
    /// None if it is under way already.
    pub(super) fn begin(requests: &Requests, request: [u8; 32]) -> Option<UnderWay> {
        let is_new = requests.lock().unwrap_or_else(PoisonError::into_inner).insert(request);
        is_new.then(|| UnderWay { requests: Arc::clone(requests), request })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.request);
    }
}

impl Queued {
    /// What it needs beside its blob.
    fn audience(&self) -> &SharedAudience {
        &self.take.object.audience
    }
}

/// What the intake's worker is to do.
pub(super) enum Job {
    Take(Box<Queued>, Done),
    /// What was decided about a proposal, and the records that its approval lets go.
    Decide((RecordId, u32), Stand, Vec<RecordId>, Done),
    /// Files that nothing names go.
    Sweep(Done),
}

pub(super) type Done = oneshot::Sender<Result<(), VaultError>>;

/// The one writer of the intake.
pub(super) struct Clerk {
    pub(super) journal: Journal,
    pub(super) writer: BodyWriter,
    pub(super) bodies: Arc<dyn Disk>,
    pub(super) large: Arc<LargeFiles>,
    pub(super) entropy: Source,
    pub(super) index: Arc<RwLock<Index>>,
    /// Set after a failed write.
    pub(super) closed: Arc<AtomicBool>,
}

impl Clerk {
    pub(super) fn work(&mut self, jobs: Vec<Job>) {
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
        // Everybody has an answer. If it fails, the intake is closed and says so.
        if !self.closed.load(Ordering::Relaxed) {
            let _ = self.guarded(Clerk::shorten);
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

    /// Writes the journal again when the greater part of it says nothing any more, and the disk has room for both as it has for
    /// content: a write that fails would close the vault.
    fn shorten(&mut self) -> Result<(), VaultError> {
        let index = Arc::clone(&self.index);
        let known = || index.read().unwrap_or_else(PoisonError::into_inner);
        let before = known().frames;
        let has_room = |free| Work::Content.fits(before.all.saturating_sub(before.superseded), free);
        if !before.are_mostly_superseded() || !self.bodies.free_bytes().is_ok_and(has_room) {
            return Ok(());
        }
        let (mut place, mut written) = (Bound::Unbounded, Frames::default());
        // What is named before what names it.
        let mut audiences = Some(known().frames_of_audiences());
        let batches = std::iter::from_fn(|| {
            let first = audiences.take().filter(|frames| !frames.is_empty());
            let frames = first.unwrap_or_else(|| known().frames_behind(&mut place));
            written.note(&frames);
            (!frames.is_empty()).then_some(frames)
        });
        self.journal.replace_blocking(batches)?;
        tracing::info!(before = before.all, after = written.all, "the intake's journal was shortened");
        self.index.write().unwrap_or_else(PoisonError::into_inner).frames = written;
        Ok(())
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
        let frames: Vec<Vec<u8>> = decided.iter().map(|(k, e)| write_frame(k, e)).collect();
        let mut tally = Frames::default();
        tally.note(&frames);
        self.journal.append_blocking(frames)?;
        let left: Vec<u32> = {
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            index.frames.all = index.frames.all.saturating_add(tally.all);
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
        let segment = self.writer.turn()?;
        let audiences = self.wanted(&queued, segment);
        // What is named lies before what names it, here and in the journal.
        let named = audiences.iter().map(|audience| audience.bytes().as_ref());
        let blobs: Vec<&[u8]> = named.chain(queued.iter().map(|q| q.blob.as_slice())).collect();
        let keys: Vec<&[u8; 32]> = queued.iter().filter_map(|q| q.take.apart.as_ref()).map(Spooled::key).collect();
        let (mut named, slots) = self.writer.write(&blobs, &keys, &mut self.entropy)?;
        let places = named.split_off(audiences.len());
        let named: Vec<([u8; 32], Place)> = audiences.iter().map(|audience| *audience.name()).zip(named).collect();
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
        let frames = named.iter().map(|(digest, place)| write_audience(digest, place));
        let frames: Vec<Vec<u8>> = frames.chain(entries.iter().map(|(key, e)| write_frame(key, e))).collect();
        let mut tally = Frames::default();
        tally.note(&frames);
        self.journal.append_blocking(frames)?;
        let left: Vec<u32> = {
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            index.frames.all = index.frames.all.saturating_add(tally.all);
            named.into_iter().for_each(|(digest, place)| index.audiences.add(digest, place));
            entries.into_iter().filter_map(|(key, entry)| index.add(key, entry)).collect()
        };
        left.into_iter().for_each(|file| remove(self.bodies.as_ref(), file));
        Ok(())
    }

    /// The audience objects of what is to be written that are to be written with it.
    fn wanted(&self, queued: &[Queued], segment: u32) -> Vec<SharedAudience> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let all = queued.iter().map(Queued::audience);
        let wanted: BTreeMap<&[u8; 32], &SharedAudience> =
            all.filter(|a| index.audiences.wants(a.name(), segment)).map(|a| (a.name(), a)).collect();
        wanted.into_values().cloned().collect()
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
