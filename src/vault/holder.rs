//! The vault of one node: sealing what is published here, and finding what is held.

use super::card::Cards;
use super::error::VaultError;
use super::intake::{Entry, Intake, Take};
use super::keys::Keys;
use super::large::{Content, Spool, Whose};
use super::object::SealedObject;
use super::proposal::Proposal;
use super::receive::{Pieces, Turns};
use super::rules;
use super::shared::SharedAudience;
use super::signing::Signing;
use super::sync::{Parts, SyncState};
use crate::domain::canon::Canon;
use crate::domain::ids::{AgencyId, AgreementId, RecordId};
use crate::domain::label::Label;
use crate::domain::limits;
use crate::domain::record::{Kind, Meta};
use crate::domain::time::{Entropy, Millis};
use crate::journal::Written;
use crate::ledger::{Command, State, VersionEntry};
use crate::seal::{
    DataKey, EnvelopeDraft, EnvelopeIds, EnvelopeSealer, GrantBody, GrantDraft, PortionPlain, TaggedVersion, month_of,
    padded_tags, pull_check,
};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// Media type of a text.
const TEXT_TYPE: &str = "text/plain; charset=utf-8";

type Tags = Vec<[u8; 16]>;
type PullChecks = Vec<[u8; 32]>;

/// Large transfers at a time, all and of one agency: those that come, and those that are asked for. Of the lanes for what
/// comes ([`super::large`]) this leaves some for what is pulled.
const RECEIVING: (usize, usize) = (4, 2);
const SERVING: (usize, usize) = (8, 2);

/// What is to be sealed.
pub struct Draft {
    /// Record id.
    pub record: RecordId,
    /// Version.
    pub version: u32,
    /// Label, with its release list.
    pub label: Label,
    /// Agreement and its version.
    pub agreement: Option<(AgreementId, u32)>,
    /// Portion 0.
    pub meta: Meta,
    /// Portions 1 and up: texts, all under this label.
    pub texts: Vec<Vec<u8>>,
    /// Envelopes of the record's lower classes, taken in before this one; highest first.
    pub lower: Vec<(RecordId, u32)>,
    /// Idempotency key.
    pub request: Option<[u8; 32]>,
    /// Keyed digest of an import.
    pub content: Option<[u8; 32]>,
    /// Set when a classifier is to decide.
    pub proposal: Option<Proposal>,
}

/// A sealed object that is durable here, and what the ledger is told.
pub struct Prepared {
    /// The object.
    pub object: SealedObject,
    /// Commit with first grant.
    pub command: Command,
}

/// A committed version that is held and opens.
pub struct Held {
    /// As the ledger has it.
    pub committed: VersionEntry,
    /// Its label.
    pub label: Label,
    /// Whether an agreement in force covers this agency now.
    pub covered: bool,
    /// The kinds that its agreement covers; none when it needs no agreement here.
    pub(super) kinds: Option<BTreeSet<Kind>>,
    pub(super) object: SealedObject,
    /// Its ciphertexts, if they lie apart.
    pub(super) content: Option<Content>,
    pub(super) opened: rules::Opened,
}

impl Held {
    /// Its id.
    pub fn record(&self) -> RecordId {
        self.object.envelope.header().id
    }

    /// Its version.
    pub fn version(&self) -> u32 {
        self.committed.version
    }

    /// Bytes of its ciphertexts.
    pub fn sealed_bytes(&self) -> usize {
        self.object.envelope.ciphertext_bytes()
    }

    /// About what it takes in memory, in bytes, without the audience object, which records share: its parts, what its grant says,
    /// and what the ledger has of it.
    pub fn bytes_in_memory(&self) -> usize {
        let envelope = if self.object.envelope.is_apart() { 0 } else { self.sealed_bytes() };
        // Sealed and open.
        let grant = self.object.grant.to_bytes().len().saturating_mul(2);
        let VersionEntry { tags, grants, .. } = &self.committed;
        let on_ledger = size_of_val(tags.as_slice()).saturating_add(size_of_val(grants.as_slice()));
        envelope.saturating_add(grant).saturating_add(on_ledger)
    }

    /// The agreement under which it was released.
    pub fn agreement(&self) -> Option<&AgreementId> {
        self.opened.body.agreement.as_ref().map(|(id, _)| id)
    }

    /// The parts as they are held; [`Vault::copy`] has content in them that lies apart.
    pub fn parts(&self) -> Parts {
        self.object.parts()
    }
}

/// Held records of this node, with the keys to open them.
pub struct Vault {
    pub(super) keys: Keys,
    pub(super) intake: Intake,
    pub(super) sync: Mutex<SyncState>,
    pub(super) cards: Cards,
    pub(super) receiving: Turns,
    pub(super) serving: Turns,
    signing: Signing,
    unsettled: Mutex<Unsettled>,
}

/// Own records that may have something which the ledger lacks: those that arrived since the last look, and those that had
/// something then. What the ledger has it keeps, so nothing else needs to be looked at.
#[derive(Default)]
struct Unsettled {
    cursor: usize,
    records: BTreeSet<RecordId>,
}

/// A text that is sealed while it comes.
pub struct Coming<'a> {
    /// How long it is.
    pub bytes: usize,
    /// Its pieces.
    pub pieces: &'a mut dyn Pieces,
}

/// A sealed envelope that nobody was granted yet.
struct Sealed {
    envelope: EnvelopeDraft,
    keys: Vec<DataKey>,
    /// Its ciphertexts, if they lie apart.
    spool: Option<Spool>,
}

/// What is sealed and waits for its signature.
struct Unsigned {
    envelope: EnvelopeDraft,
    grant: GrantDraft,
    audience: SharedAudience,
    command: Command,
    pull_checks: PullChecks,
    /// Its ciphertexts, if they lie apart.
    spool: Option<Spool>,
}

impl Vault {
    /// Puts the rooms together; nothing is read yet.
    pub fn new(keys: Keys, intake: Intake) -> Vault {
        Vault {
            keys,
            intake,
            sync: Mutex::default(),
            cards: Cards::default(),
            receiving: Turns::new(RECEIVING.0, RECEIVING.1),
            serving: Turns::new(SERVING.0, SERVING.1),
            signing: Signing::default(),
            unsettled: Mutex::default(),
        }
    }

    /// The node's keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// What the intake's journal wrote since the start.
    pub fn written(&self) -> Written {
        self.intake.written()
    }

    /// Whether a write of the intake failed, so that nothing is taken in any more.
    pub fn is_closed(&self) -> bool {
        self.intake.is_closed()
    }

    /// Whether what an idempotency key names waits for the disk, and is not known by it yet.
    pub fn is_under_way(&self, request: &[u8; 32]) -> bool {
        self.intake.is_under_way(request)
    }

    /// What an idempotency key named before.
    pub fn by_request(&self, request: &[u8; 32]) -> Option<(RecordId, u32)> {
        self.intake.by_request(request)
    }

    /// The highest version of a record that was taken in here, on the ledger or not.
    pub fn newest_version(&self, record: &RecordId) -> Option<u32> {
        self.intake.newest_version(record)
    }

    /// The digest of what was imported as this version.
    pub fn content(&self, record: &RecordId, version: u32) -> Option<[u8; 32]> {
        self.intake.entries(record, version).iter().find_map(|e| e.content)
    }

    /// Seals a record and takes it in; durable when it answers (flow step 3). What is large is written chunk by chunk while it is
    /// sealed; a stop before the intake's frame leaves a file that the next start removes.
    pub async fn prepare(
        &self,
        state: &State,
        draft: Draft,
        now: Millis,
        entropy: &mut dyn Entropy,
    ) -> Result<Prepared, VaultError> {
        let sealed = self.seal_texts(&draft, now, entropy)?;
        self.take_sealed(state, draft, sealed, now, entropy).await
    }

    /// The same of a draft without texts, whose one text comes in pieces and is sealed as it comes. That takes a while: for whom
    /// it is sealed is asked of the ledger after the last piece.
    ///
    /// # Errors
    /// [`VaultError::Transfer`] when it does not come whole, [`VaultError::Rule`] when its label fits no more; then nothing is
    /// left of it.
    pub async fn prepare_coming(
        &self,
        state: impl Fn() -> Arc<State> + Send,
        draft: Draft,
        coming: Coming<'_>,
        now: Millis,
        entropy: &mut dyn Entropy,
    ) -> Result<Prepared, VaultError> {
        let sealed = self.seal_coming(&draft, coming, now, entropy).await?;
        let state = state();
        rules::check_label(&state, &draft.label, draft.agreement.as_ref())?;
        self.take_sealed(&state, draft, sealed, now, entropy).await
    }

    async fn take_sealed(
        &self,
        state: &State,
        draft: Draft,
        sealed: Sealed,
        now: Millis,
        entropy: &mut dyn Entropy,
    ) -> Result<Prepared, VaultError> {
        let (request, content, proposal) = (draft.request, draft.content, draft.proposal.clone());
        let Unsigned { envelope, grant, audience, command, pull_checks, spool } =
            self.grant(state, draft, sealed, now, entropy)?;
        let [first, second] = self.signing.sign(self.keys.signer(), [envelope.hash(), grant.hash()]).await?;
        let object = SealedObject { envelope: envelope.attach(first), grant: grant.attach(second), audience };
        let apart = match spool {
            Some(spool) => Some(spool.finish().await?),
            None => None,
        };
        self.intake
            .take(Take { object: object.clone(), pull_checks, request, content, proposal, apart, at: now })
            .await?;
        Ok(Prepared { object, command })
    }

    fn ids(&self, d: &Draft, now: Millis) -> EnvelopeIds {
        EnvelopeIds {
            id: d.record,
            version: d.version,
            originator: self.keys.agency().clone(),
            node: self.keys.node(),
            created: now,
        }
    }

    fn seal_texts(&self, d: &Draft, now: Millis, entropy: &mut dyn Entropy) -> Result<Sealed, VaultError> {
        let (ids, meta) = (self.ids(d, now), d.meta.to_canon());
        let mut portions = vec![PortionPlain { media_type: rules::META_TYPE, text: &meta }];
        portions.extend(d.texts.iter().map(|text| PortionPlain { media_type: TEXT_TYPE, text }));
        let bytes = EnvelopeDraft::sealed_bytes(&portions)?;
        if bytes <= limits::INLINE_BYTES {
            let (envelope, keys) = EnvelopeDraft::seal(&portions, &ids, entropy)?;
            return Ok(Sealed { envelope, keys, spool: None });
        }
        let mut spool = self.intake.spool(Whose::Own, bytes)?;
        let mut put = |chunk: &[u8]| spool.write(chunk);
        let (envelope, keys) = EnvelopeDraft::seal_apart::<VaultError>(&portions, &ids, entropy, &mut put)?;
        Ok(Sealed { envelope, keys, spool: Some(spool) })
    }

    async fn seal_coming(
        &self,
        d: &Draft,
        coming: Coming<'_>,
        now: Millis,
        entropy: &mut dyn Entropy,
    ) -> Result<Sealed, VaultError> {
        let Coming { bytes, pieces } = coming;
        let meta = d.meta.to_canon();
        let portions = [(rules::META_TYPE, meta.len()), (TEXT_TYPE, bytes)];
        let mut sealer = EnvelopeSealer::new(&portions, &self.ids(d, now), entropy)?;
        let mut spool = self.intake.spool(Whose::Own, sealer.sealed_bytes())?;
        sealer.text::<VaultError>(&meta, &mut |chunk| spool.write(chunk))?;
        while let Some(piece) = pieces.next().await.map_err(VaultError::Transfer)? {
            let piece = Zeroizing::new(piece);
            if piece.is_empty() {
                return Err(VaultError::Transfer("a piece has nothing in it".to_owned()));
            }
            sealer.text::<VaultError>(&piece, &mut |chunk| spool.write(chunk))?;
        }
        let (envelope, keys) = sealer.finish::<VaultError>(entropy, &mut |chunk| spool.write(chunk))?;
        Ok(Sealed { envelope, keys, spool: Some(spool) })
    }

    fn grant(
        &self,
        state: &State,
        d: Draft,
        sealed: Sealed,
        now: Millis,
        entropy: &mut dyn Entropy,
    ) -> Result<Unsigned, VaultError> {
        let (keys, Sealed { envelope, keys: data_keys, spool }) = (&self.keys, sealed);
        let agencies = d.label.audience();
        let audience = keys.audience(state, d.label.grade, &d.label.compartments, &agencies, now, entropy)?;
        let (audience, audience_key) = audience.as_ref();
        let wrapped = data_keys
            .iter()
            .zip(0u16..)
            .map(|(key, n)| audience_key.wrap_key(&envelope.hash(), n, key, entropy))
            .collect::<Result<Vec<_>, _>>()?;
        let of = TaggedVersion { record: d.record, version: d.version, commitment: envelope.commitment() };
        let (tags, pull_checks) = self.tags(state, &agencies, &of, now)?;
        let body = GrantBody {
            envelope: d.record,
            version: d.version,
            header_hash: envelope.hash(),
            label: d.label,
            agencies,
            agreement: d.agreement,
            keys: wrapped,
            pull_checks: pull_checks.clone(),
            no_notification: false,
            posts: Vec::new(),
            lower: d.lower,
        };
        let grant = GrantDraft::create(&body, audience_key, keys.agency().clone(), keys.node(), entropy)?;
        self.cards.note(grant.commitment(), &body);
        let command = Command::Commit {
            record: d.record,
            version: d.version,
            commitment: of.commitment,
            grant: grant.commitment(),
            tags: padded_tags(&tags, entropy),
        };
        Ok(Unsigned { envelope, grant, audience: audience.clone(), command, pull_checks, spool })
    }

    /// A tag and a pull check for each agency but the own.
    fn tags(
        &self,
        state: &State,
        agencies: &BTreeSet<AgencyId>,
        of: &TaggedVersion,
        now: Millis,
    ) -> Result<(Tags, PullChecks), VaultError> {
        let (mut tags, mut checks) = (Vec::new(), Vec::new());
        for agency in agencies.iter().filter(|a| *a != self.keys.agency()) {
            let key = self
                .keys
                .tagging_key(state, agency, month_of(now))
                .ok_or(VaultError::Rule("no tag key has been introduced to an agency yet"))?;
            tags.push(key.tag(self.keys.federation(), of));
            checks.push(pull_check(&key.pull_token(self.keys.federation(), of)));
        }
        Ok((tags, checks))
    }

    /// The held object of a committed version: the one whose commitments the ledger carries.
    pub fn held(
        &self,
        state: &State,
        record: &RecordId,
        version: u32,
        now: Millis,
    ) -> Result<Option<Held>, VaultError> {
        let Some((committed, entry)) = self.newest(state, record, version) else { return Ok(None) };
        let object = self.load(state, &committed, record, &entry)?;
        let opened = rules::open(&self.keys, state, &object)?;
        let facts = self.cards.note(entry.grant, &opened.body);
        facts.check_agreement(state, self.keys.agency(), &committed)?;
        let foreign = facts.label.originator != *self.keys.agency();
        let kinds = facts.agreement.as_ref().filter(|_| foreign).map(|agreement| {
            let at = rules::At { index: committed.index, time: committed.time };
            let terms = rules::covering(state, &facts.label, Some(agreement), at);
            terms.map(|t| t.kinds.clone()).unwrap_or_default()
        });
        let covered = facts.covered(state, self.keys.agency(), now);
        let content = self.intake.content(&entry);
        Ok(Some(Held { committed, label: opened.body.label.clone(), covered, kinds, object, content, opened }))
    }

    /// The wanted version with its entry; without a number the newest that is here. A version that is still on its
    /// way hides no earlier one.
    pub(super) fn newest(&self, state: &State, record: &RecordId, version: u32) -> Option<(VersionEntry, Entry)> {
        let versions = state.record(record)?;
        let mut wanted = versions.iter().rev().filter(|v| version == 0 || v.version == version);
        wanted.find_map(|v| self.entry(v, record).map(|e| (v.clone(), e)))
    }

    /// The index entry that matches the ledger's commitments.
    pub(super) fn entry(&self, committed: &VersionEntry, record: &RecordId) -> Option<Entry> {
        let is = |e: &Entry| e.commitment == committed.commitment && committed.grants.contains(&e.grant);
        self.intake.find(record, committed.version, is)
    }

    /// Objects journaled here whose commitments may not have reached the ledger. What a classifier has not approved
    /// does not go there.
    pub fn uncommitted(&self, state: &State) -> Vec<(RecordId, u32)> {
        let own = |r: &RecordId| state.origin_of(r) == Some(self.keys.agency());
        let mut unsettled = self.unsettled.lock().unwrap_or_else(PoisonError::into_inner);
        let (arrived, cursor) = self.intake.arrived_since(unsettled.cursor);
        unsettled.cursor = cursor;
        unsettled.records.extend(arrived.into_iter().filter(own));
        let mut waits = Vec::new();
        unsettled.records.retain(|record| {
            let mut versions = self.intake.versions(record);
            versions.retain(|v| !state.was_committed(record, *v));
            waits.extend(versions.iter().filter(|v| self.may_go(record, **v)).map(|v| (*record, *v)));
            !versions.is_empty()
        });
        waits
    }

    /// Opens an own object that is to go to the ledger: nobody would take what no agreement covers any more.
    pub(super) fn publishable(&self, state: &State, object: &SealedObject) -> Result<rules::Opened, VaultError> {
        let opened = rules::open(&self.keys, state, object)?;
        rules::check_ceiling(&self.keys, state, &opened.body.label)?;
        let at = rules::At { index: u64::MAX, time: state.time() };
        rules::check_agreement(state, &opened.body.label, opened.body.agreement.as_ref(), at)?;
        Ok(opened)
    }

    /// Proposes an uncommitted object again after a crash: the same commitments, tags made anew.
    pub fn recommit(
        &self,
        state: &State,
        record: &RecordId,
        version: u32,
        now: Millis,
        entropy: &mut dyn Entropy,
    ) -> Result<Option<Command>, VaultError> {
        let Some(entry) = self.intake.first(record, version) else { return Ok(None) };
        if !self.may_go(record, version) {
            return Err(VaultError::Rule("no classifier has approved it"));
        }
        let object = self.intake.load(&entry)?;
        let opened = self.publishable(state, &object)?;
        let of = TaggedVersion { record: *record, version, commitment: entry.commitment };
        // The pull checks in the grant are of the month of sealing; tags of the same month match them.
        let month = object.envelope.header().created.min(now);
        let (tags, _) = self.tags(state, &opened.body.agencies, &of, month)?;
        Ok(Some(Command::Commit {
            record: *record,
            version,
            commitment: entry.commitment,
            grant: entry.grant,
            tags: padded_tags(&tags, entropy),
        }))
    }
}
