//! Sync: recognising what this agency is owed, pulling what is missing, serving who is entitled.

use super::complaint::{Refusal, Refusals};
use super::error::VaultError;
use super::holder::{Held, Vault};
use super::intake::{Entry, Take};
use super::object::SealedObject;
use super::outgoing::Outgoing;
use super::receive::Pieces;
use super::rules;
use crate::domain::ids::{AgencyId, NodeId, RecordId};
use crate::domain::label::Label;
use crate::domain::time::Millis;
use crate::ledger::{Folds, State, VersionEntry};
use crate::seal::{TaggedVersion, month_of};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};

/// A push usually arrives with the commitment: only what is still missing after this long is pulled ([`super::pull`]).
const GRACE_MS: u64 = 1_000;
/// Objects of one origin that wait here for their commitment; more are told to come later.
const ASIDE: usize = 4_096;
/// And the bytes of their content.
const ASIDE_BYTES: u64 = 1 << 30;
/// Copies of one version with different commitments, before it is known which one counts.
const COPIES: usize = 8;

/// The three parts of a sealed object as they travel.
pub type Parts = (Vec<u8>, Vec<u8>, Vec<u8>);

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// The ledger's state at the moment that it is asked for: what goes on for minutes is held against none of before.
pub type States<'a> = &'a (dyn Fn() -> Arc<State> + Send + Sync);

/// What a receiver says of a pushed object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushState {
    /// Durable there, and it opens.
    Held,
    /// Durable or not, it does not open there (P15).
    Unopenable(String),
    /// Not taken.
    Refused(String),
}

/// Calls to other nodes' vaults; `node` plugs the network in. Errors are in words.
pub trait PeerVault: Send + Sync {
    /// Hands an object to a node, with content that lies apart behind it in pieces.
    fn push<'a>(&'a self, node: NodeId, object: &'a Outgoing) -> Answer<'a, PushState>;
    /// Asks a node for the object that a pull token names; None when it has none for us. The number of the attempt
    /// tells apart what somebody made share the token.
    fn pull(&self, node: NodeId, token: [u8; 32], attempt: u32) -> Answer<'_, Option<Parts>>;
    /// Asks a node for the content of an object that it answered a pull with, when that lies apart.
    fn content(&self, node: NodeId, token: [u8; 32], header_hash: [u8; 32]) -> Answer<'_, Box<dyn Pieces>>;
}

/// A missing object, with the reason of the last attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Record.
    pub record: RecordId,
    /// Version.
    pub version: u32,
    /// Why it is not here.
    pub reason: String,
    /// Since when it is owed.
    pub since: Millis,
}

/// What one origin owes this node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owed {
    /// Versions that the ledger says are for this agency.
    pub owed: u64,
    /// Of those, held and openable.
    pub held: u64,
    /// Of those, not here.
    pub missing: Vec<Missing>,
    /// Of those, here once and not taken, because they do not open or break a rule (P15).
    pub unopenable: Vec<Missing>,
    /// Of those, given up by their originator: nobody can serve them any more (P17).
    pub lost: Vec<Missing>,
}

#[derive(Default)]
pub(super) struct SyncState {
    cursor: usize,
    /// How far folding was at the last scan.
    pub(super) folded: Folds,
    /// (origin -> number held).
    held: BTreeMap<AgencyId, u64>,
    pub(super) wanted: BTreeMap<(RecordId, u32), Wanted>,
    damaged: Vec<(RecordId, u32)>,
    /// Taken out of use because of their content since the last scan, which wants them again.
    pub(super) spoilt: Vec<(RecordId, u32)>,
    pub(super) refused: Refusals,
    /// How far what arrives was looked at for copies of what the ledger has another one of; none before the first scan, which
    /// looks at all that is here.
    looked: Option<usize>,
    /// Here and not on the ledger yet, by origin.
    aside: BTreeMap<AgencyId, BTreeMap<(RecordId, u32), u64>>,
    /// Copies without a commitment that are being written at this moment.
    taking: BTreeMap<(RecordId, u32), usize>,
    /// Origins whose missing objects are being pulled.
    pub(super) pulling: BTreeSet<AgencyId>,
}

#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) origin: AgencyId,
    pub(super) token: [u8; 32],
    pub(super) since: Millis,
    /// When it is asked for next, by the steady clock.
    pub(super) next: Millis,
    pub(super) attempts: u32,
    pub(super) reason: String,
    /// Whether its originator was not asked the last time, because another object's question was not answered.
    pub(super) passed_over: bool,
    /// Whether its originator gave it up; it is asked for no more, and taken if it comes all the same.
    pub(super) lost: bool,
}

impl Vault {
    /// Looks at what the ledger gained since the last scan, and at what has arrived meanwhile. Pauses go by the steady clock:
    /// one that was set back must not put anything off.
    pub fn scan(&self, state: &State, now: Millis, steady: Millis) {
        let spoilt = std::mem::take(&mut self.sync.lock().unwrap_or_else(PoisonError::into_inner).spoilt);
        for (record, version) in spoilt {
            if let Some(committed) = committed(state, &record, version) {
                self.want_again(state, record, committed);
            }
        }
        let mut sync = self.sync.lock().unwrap_or_else(PoisonError::into_inner);
        self.let_go_of_folded(state, &mut sync);
        let late = self.arrived_late(state, &mut sync);
        let feed = state.feed();
        // A part of the vector: passing over what was seen would cost more with every record.
        let new: BTreeSet<(RecordId, u32)> = feed.skip(sync.cursor).into_iter().collect();
        sync.cursor = feed.len();
        let mut settled = late;
        for (record, version) in new {
            let Some(origin) = state.origin_of(&record) else { continue };
            let Some(committed) = committed(state, &record, version) else { continue };
            let token = if origin == self.keys.agency() {
                self.other_nodes_token(state, &record, committed)
            } else {
                settled.push((record, version, committed.commitment));
                self.recognise(state, origin, &record, committed)
            };
            let Some(token) = token else { continue };
            let next = steady.plus_ms(GRACE_MS);
            let reason = "not arrived yet".to_owned();
            let wanted = new_wanted(origin.clone(), token, now, next, reason);
            sync.wanted.entry((record, version)).or_insert(wanted);
        }
        for ((record, version), wanted) in &mut sync.wanted {
            wanted.lost = state.lost(record, *version).is_some();
        }
        let arrived: Vec<_> = sync
            .wanted
            .iter()
            .filter(|((r, v), _)| committed(state, r, *v).is_some_and(|c| self.entry(c, r).is_some()))
            .map(|(k, w)| (*k, w.origin.clone()))
            .collect();
        for waiting in sync.aside.values_mut() {
            waiting.retain(|(r, v), _| !state.was_committed(r, *v));
        }
        for (key, origin) in arrived {
            sync.wanted.remove(&key);
            sync.refused.settle(&key);
            if origin != *self.keys.agency() {
                *sync.held.entry(origin).or_default() += 1;
            }
        }
        drop(sync);
        for (record, version, commitment) in settled {
            self.intake.let_go_of_others(&record, version, &commitment);
        }
    }

    /// Committed versions of others' records of which something arrived since the last scan: a copy may have come when the ledger
    /// had another one already. The first scan counts what a start found aside instead; it looks at all versions by itself.
    fn arrived_late(&self, state: &State, sync: &mut SyncState) -> Vec<(RecordId, u32, [u8; 32])> {
        let Some(looked) = sync.looked else {
            // What arrives from here on is late.
            sync.looked = Some(self.intake.arrived_since(usize::MAX).1);
            for ((record, version), bytes) in self.intake.sizes() {
                let origin = state.origin_of(&record).filter(|o| *o != self.keys.agency());
                let Some(origin) = origin.filter(|_| !state.was_committed(&record, version)) else { continue };
                let waiting = sync.aside.entry(origin.clone()).or_default();
                waiting.entry((record, version)).or_insert(bytes);
            }
            return Vec::new();
        };
        let (arrived, looked) = self.intake.arrived_since(looked);
        sync.looked = Some(looked);
        let others = |r: &RecordId| state.origin_of(r) != Some(self.keys.agency());
        let records: BTreeSet<RecordId> = arrived.into_iter().filter(others).collect();
        let versions = |r: RecordId| state.record(&r).into_iter().flatten().map(move |v| (r, v.version, v.commitment));
        records.into_iter().flat_map(versions).collect()
    }

    /// Removes what nobody will read: the content of copies whose version the ledger has with another content, as a majority
    /// certified, own ones too; and files that nothing names any more. An own copy was acknowledged and is nowhere else (P17), so
    /// for it this node's word alone is not enough.
    ///
    /// # Errors
    /// When the folder cannot be listed, or the vault is closed.
    pub async fn sweep(&self, state: &State, certified: u64) -> Result<(), VaultError> {
        for (record, version) in self.intake.apart() {
            if let Some(c) = committed(state, &record, version).filter(|c| c.index <= certified) {
                self.intake.let_go_of_others(&record, version, &c.commitment);
            }
        }
        self.intake.sweep().await
    }

    /// What folded since the last scan is owed no more, whether it is here or not. It stays on the disk, and is shown to nobody.
    fn let_go_of_folded(&self, state: &State, sync: &mut SyncState) {
        let before = std::mem::replace(&mut sync.folded, state.folds());
        let Some(gone) = before.gone(state) else {
            // Some were superseded since the last scan as well: all is counted anew, as after a start.
            let SyncState { cursor, held, wanted, refused, .. } = sync;
            *cursor = 0;
            held.clear();
            wanted.retain(|key, _| {
                let is_folded = state.is_folded(&key.0, key.1);
                if is_folded {
                    refused.settle(key);
                }
                !is_folded
            });
            return;
        };
        for key in gone {
            let was_held = sync.wanted.remove(key).is_none() && self.intake.count(&key.0, key.1, |_| true) > 0;
            sync.refused.settle(key);
            let origin = state.origin_of(&key.0).filter(|origin| was_held && *origin != self.keys.agency());
            if let Some(held) = origin.and_then(|origin| sync.held.get_mut(origin)) {
                *held = held.saturating_sub(1);
            }
        }
    }

    /// Reads a committed object. One whose bytes do not verify, or are gone, is taken out of use, told, and wanted again from
    /// whoever else holds it.
    pub(super) fn load(
        &self,
        state: &State,
        committed: &VersionEntry,
        record: &RecordId,
        entry: &Entry,
    ) -> Result<SealedObject, VaultError> {
        let key = (*record, committed.version);
        self.intake.load(entry).inspect_err(|error| {
            if error.is_damage() && self.intake.set_aside(key, entry) {
                tracing::error!(%record, version = key.1, %error, "a held object is damaged; it is fetched again");
                self.want_again(state, key.0, committed);
            }
        })
    }

    fn want_again(&self, state: &State, record: RecordId, committed: &VersionEntry) {
        let damaged = (record, committed.version);
        self.sync.lock().unwrap_or_else(PoisonError::into_inner).damaged.push(damaged);
        self.want(state, record, committed, "damaged on disk here".to_owned());
    }

    /// Puts a version that was held back among what is missing.
    fn want(&self, state: &State, record: RecordId, committed: &VersionEntry, reason: String) {
        let mut sync = self.sync.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(origin) = state.origin_of(&record) else { return };
        let own = origin == self.keys.agency();
        let token = if own {
            let within = || self.has_siblings(state).then(|| self.token_within(&record, committed));
            self.any_token(state, &record, committed).or_else(within)
        } else {
            self.recognise(state, origin, &record, committed)
        };
        let Some(token) = token else { return };
        let since = committed.time;
        let wanted = new_wanted(origin.clone(), token, since, Millis(0), reason);
        if sync.wanted.insert((record, committed.version), wanted).is_none() && !own {
            let held = sync.held.entry(origin.clone()).or_default();
            *held = held.saturating_sub(1);
        }
    }

    /// What was found damaged since the last call.
    pub fn take_damaged(&self) -> Vec<(RecordId, u32)> {
        std::mem::take(&mut self.sync.lock().unwrap_or_else(PoisonError::into_inner).damaged)
    }

    /// A pull token of what another node of this agency published, if it is not here.
    fn other_nodes_token(&self, state: &State, record: &RecordId, committed: &VersionEntry) -> Option<[u8; 32]> {
        if committed.node == self.keys.node() || self.entry(committed, record).is_some() {
            return None;
        }
        Some(self.any_token(state, record, committed).unwrap_or_else(|| self.token_within(record, committed)))
    }

    /// A pull token of a record of this agency: that of any agency it was released to names it at every holder.
    fn any_token(&self, state: &State, record: &RecordId, committed: &VersionEntry) -> Option<[u8; 32]> {
        let of = TaggedVersion { record: *record, version: committed.version, commitment: committed.commitment };
        let agencies = state.agencies().filter(|(a, _)| *a != self.keys.agency());
        agencies.flat_map(|(a, _)| months(record, committed).into_iter().map(move |m| (a, m))).find_map(|(a, m)| {
            let key = self.keys.tagging_key(state, a, m)?;
            let tag = key.tag(self.keys.federation(), &of);
            committed.tags.contains(&tag).then(|| key.pull_token(self.keys.federation(), &of))
        })
    }

    pub(super) fn refuse(&self, key: (RecordId, u32), refusal: Refusal) {
        self.sync.lock().unwrap_or_else(PoisonError::into_inner).refused.note(key, refusal);
    }

    /// What this node could not take, and has no good copy of.
    pub fn refusals(&self) -> Vec<((RecordId, u32), Refusal)> {
        self.sync.lock().unwrap_or_else(PoisonError::into_inner).refused.all()
    }

    /// Takes a held version out of use because its content breaks a rule that only an opened object shows.
    pub fn refuse_held(&self, state: &State, held: &Held, error: &VaultError) {
        if let Some(entry) = self.entry(&held.committed, &held.record()) {
            self.refuse_entry(state, &held.record(), &held.committed, &entry, error);
        }
    }

    /// The same for one that a rule refuses before it is opened. Own records stay: nobody has a better copy.
    pub(super) fn refuse_entry(
        &self,
        state: &State,
        record: &RecordId,
        committed: &VersionEntry,
        entry: &Entry,
        error: &VaultError,
    ) {
        let key = (*record, committed.version);
        let Some(origin) = state.origin_of(record).filter(|o| *o != self.keys.agency()) else { return };
        if !error.blames_object() || !self.intake.set_aside(key, entry) {
            return;
        }
        let (header_hash, reason) = (Some(entry.header_hash), error.to_string());
        tracing::error!(%record, version = key.1, %origin, %reason, "a held object is refused; its originator is told");
        let since = committed.time;
        self.refuse(key, Refusal { origin: origin.clone(), header_hash, reason: reason.clone(), since, content: true });
        self.want(state, key.0, committed, reason);
    }

    /// Checks an object that its originator pushes by the R rules and takes it in. It is exposed only once the ledger
    /// committed it. One that cannot be taken is complained of.
    pub async fn accept(&self, state: &State, object: SealedObject, now: Millis) -> Result<(), VaultError> {
        self.accept_from(state, object, None, now).await
    }

    /// The same with content that comes in pieces behind it. None is read before the object has passed its checks.
    pub async fn accept_large(
        &self,
        states: States<'_>,
        object: SealedObject,
        content: &mut dyn Pieces,
        now: Millis,
    ) -> Result<(), VaultError> {
        self.accept_from(&states(), object, Some((content, states)), now).await
    }

    async fn accept_from(
        &self,
        state: &State,
        object: SealedObject,
        content: Option<(&mut dyn Pieces, States<'_>)>,
        now: Millis,
    ) -> Result<(), VaultError> {
        let header = object.envelope.header();
        let (key, origin, hash) = ((header.id, header.version), header.originator.clone(), object.envelope.hash());
        self.take(state, object, content, now).await.inspect_err(|error| {
            // Under another's id it says nothing of the other's object.
            if error.blames_object() && state.origin_of(&key.0) == Some(&origin) {
                let (header_hash, reason) = (Some(hash), error.to_string());
                self.refuse(key, Refusal { origin, header_hash, reason, since: now, content: false });
            }
        })
    }

    /// Takes an object in that passes its checks, and then its content, if that lies apart. That may come for minutes: once it is
    /// there the object is checked again.
    pub(super) async fn take(
        &self,
        state: &State,
        object: SealedObject,
        content: Option<(&mut dyn Pieces, States<'_>)>,
        now: Millis,
    ) -> Result<(), VaultError> {
        let Some(mut admitted) = self.admit(state, &object)? else { return Ok(()) };
        let apart = match (object.envelope.is_apart(), content) {
            (false, _) => None,
            (true, Some((pieces, states))) => {
                let spooled = self.intake.receive(&object.envelope, pieces).await?;
                match self.admit(&states(), &object)? {
                    Some(again) => admitted = again,
                    // Another copy of it was faster.
                    None => return Ok(()),
                }
                Some(spooled)
            }
            (true, None) => return Err(VaultError::Rule("its content did not come with it")),
        };
        let Admitted { opened, waits } = admitted;
        let header = object.envelope.header();
        let bytes = object.envelope.ciphertext_bytes() as u64;
        let aside = || self.put_aside(&header.originator, (header.id, header.version), bytes);
        let _aside = waits.then(aside).transpose()?;
        self.cards.note(object.grant.commitment(), &opened.body);
        let pull_checks = opened.body.pull_checks.clone();
        let take = Take { object, pull_checks, request: None, content: None, proposal: None, apart, at: now };
        self.intake.take(take).await
    }

    /// Whether this very object is here.
    pub fn has(&self, object: &SealedObject) -> bool {
        let header = object.envelope.header();
        let (envelope, grant) = (object.envelope.commitment(), object.grant.commitment());
        self.intake.count(&header.id, header.version, |e| e.commitment == envelope && e.grant == grant) > 0
    }

    /// What needs no content to be checked; None when the object is here already.
    fn admit(&self, state: &State, object: &SealedObject) -> Result<Option<Admitted>, VaultError> {
        let header = object.envelope.header();
        let key = (header.id, header.version);
        let refused_before = {
            let sync = self.sync.lock().unwrap_or_else(PoisonError::into_inner);
            sync.refused.get(&key).is_some_and(|r| r.content && r.header_hash == Some(object.envelope.hash()))
        };
        if refused_before {
            return Err(VaultError::Rule("its content was refused before"));
        }
        if self.has(object) {
            return Ok(None);
        }
        let opened = rules::open(&self.keys, state, object)?;
        rules::check_ceiling(&self.keys, state, &opened.body.label)?;
        let (label, agreement) = (&opened.body.label, opened.body.agreement.as_ref());
        let waits = match committed(state, &header.id, header.version) {
            Some(c) => {
                if c.commitment != object.envelope.commitment() || !c.grants.contains(&object.grant.commitment()) {
                    return Err(VaultError::Rule("the ledger committed something else"));
                }
                rules::check_agreement(state, label, agreement, rules::At { index: c.index, time: c.time })?;
                false
            }
            None if state.is_folded(&header.id, header.version) => return Err(VaultError::Folded),
            // Its commitment may be on its way, and its agreement too: nothing is held that none covers here already.
            None => {
                let at = rules::At { index: u64::MAX, time: state.time() };
                rules::check_agreement(state, label, agreement, at)
                    .map_err(|_| VaultError::NotYet("no agreement in force here covers it"))?;
                true
            }
        };
        Ok(Some(Admitted { opened, waits }))
    }

    /// Counts an object that waits for its commitment. What no commitment comes for stays on the disk, so it is bounded,
    /// however many come at once.
    pub(super) fn put_aside(
        &self,
        origin: &AgencyId,
        key: (RecordId, u32),
        bytes: u64,
    ) -> Result<Aside<'_>, VaultError> {
        let mut sync = self.sync.lock().unwrap_or_else(PoisonError::into_inner);
        let sync = &mut *sync;
        let waiting = sync.aside.entry(origin.clone()).or_default();
        // One that is written meanwhile counts as both rather than as none.
        let taking = sync.taking.get(&key).copied().unwrap_or(0);
        let copies = self.intake.count(&key.0, key.1, |_| true);
        let copies = copies.saturating_add(taking);
        // What was not taken in the end counts no more as soon as another copy comes.
        let own = bytes.saturating_mul(copies as u64 + 1);
        let others = waiting.iter().filter(|(k, _)| **k != key).map(|(_, bytes)| *bytes);
        let full = waiting.len() >= ASIDE && !waiting.contains_key(&key);
        if full || copies >= COPIES || others.fold(own, u64::saturating_add) > ASIDE_BYTES {
            return Err(VaultError::NotYet("too much of its originator waits for a commitment"));
        }
        waiting.insert(key, own);
        sync.taking.insert(key, taking + 1);
        Ok(Aside { vault: self, key })
    }

    /// The object that a token names, if it is committed, names the puller's agency and `leaves` this node; None is all
    /// that anybody else learns. A token that several objects share names one after the other. Content that lies apart is asked
    /// for by itself ([`Vault::serve_content`]).
    pub fn serve(
        &self,
        state: &State,
        puller: &AgencyId,
        (token, attempt): (&[u8; 32], u32),
        leaves: impl Fn(&Label) -> bool,
    ) -> Result<Option<(RecordId, u32, Parts)>, VaultError> {
        let named = self.named(state, puller, token, leaves);
        let turn = (attempt as usize).checked_rem(named.len()).unwrap_or(0);
        let Some(&(record, version)) = named.get(turn) else { return Ok(None) };
        let Some(committed) = committed(state, &record, version) else { return Ok(None) };
        let Some(entry) = self.entry(committed, &record) else { return Ok(None) };
        let object = self.load(state, committed, &record, &entry)?;
        rules::open(&self.keys, state, &object)?;
        Ok(Some((record, version, object.parts())))
    }

    /// Owed, held, and missing with reasons, by origin.
    pub fn owed(&self) -> BTreeMap<AgencyId, Owed> {
        let sync = self.sync.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: BTreeMap<AgencyId, Owed> = BTreeMap::new();
        for (origin, held) in &sync.held {
            let o = all.entry(origin.clone()).or_default();
            o.held = *held;
            o.owed = *held;
        }
        for ((record, version), w) in &sync.wanted {
            let o = all.entry(w.origin.clone()).or_default();
            o.owed += 1;
            let missing =
                |reason: &str, since| Missing { record: *record, version: *version, reason: reason.into(), since };
            match sync.refused.get(&(*record, *version)) {
                Some(r) => o.unopenable.push(missing(&r.reason, r.since)),
                None if w.lost => o.lost.push(missing(&w.reason, w.since)),
                None => o.missing.push(missing(&w.reason, w.since)),
            }
        }
        all
    }

    /// The pull token, if one of the tags is ours.
    pub(super) fn recognise(
        &self,
        state: &State,
        origin: &AgencyId,
        record: &RecordId,
        committed: &VersionEntry,
    ) -> Option<[u8; 32]> {
        let of = TaggedVersion { record: *record, version: committed.version, commitment: committed.commitment };
        months(record, committed).into_iter().find_map(|m| {
            let key = self.keys.recognising_key(state, origin, m)?;
            let tag = key.tag(self.keys.federation(), &of);
            committed.tags.contains(&tag).then(|| key.pull_token(self.keys.federation(), &of))
        })
    }
}

/// An object that may be taken in.
struct Admitted {
    opened: rules::Opened,
    /// Whether it waits for its commitment.
    waits: bool,
}

/// A copy without a commitment that is being written; counted until it is dropped.
pub(super) struct Aside<'a> {
    vault: &'a Vault,
    key: (RecordId, u32),
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        let mut sync = self.vault.sync.lock().unwrap_or_else(PoisonError::into_inner);
        let left = sync.taking.get(&self.key).map_or(0, |taking| taking.saturating_sub(1));
        if left > 0 {
            sync.taking.insert(self.key, left);
        } else {
            sync.taking.remove(&self.key);
        }
    }
}

fn new_wanted(origin: AgencyId, token: [u8; 32], since: Millis, next: Millis, reason: String) -> Wanted {
    Wanted { origin, token, since, next, attempts: 0, reason, passed_over: false, lost: false }
}

/// The months whose keys may have tagged a version. That of its commitment and its neighbours, since the origin's clock may
/// differ; and for a first version that of its id, since it may have waited for a classifier or a leader from then on.
fn months(record: &RecordId, committed: &VersionEntry) -> Vec<u32> {
    let month = month_of(committed.time);
    let begun = Some(month_of(record.created())).filter(|begun| committed.version == 1 && *begun < month);
    let waited = begun.into_iter().flat_map(|begun| [begun, begun.saturating_add(1)]);
    [month, month.saturating_sub(1), month.saturating_add(1)].into_iter().chain(waited).collect()
}

pub(super) fn committed<'a>(state: &'a State, record: &RecordId, version: u32) -> Option<&'a VersionEntry> {
    state.record(record)?.iter().find(|v| v.version == version)
}
