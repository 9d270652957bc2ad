//! The transition: one signed batch at one index.

use crate::domain::agreement::{Guide, Terms};
use crate::domain::canon::Canon;
use crate::domain::ids::{AgencyId, AgreementId, FederationId, Handle, NodeId, RecordId};
use crate::domain::label::Grade;
use crate::domain::limits;
use crate::domain::person::Role;
use crate::domain::time::Millis;

use super::act::{Act, SignedAct, act_hash};
use super::batch::{BatchReply, CommandReply, Refusal, SignedBatch, content_of};
use super::command::Command;
use super::genesis::{Authority, origin_mark};
use super::level::{CONTENT, DRAWERS};
use super::record::VersionEntry;
use super::state::{AgreementState, GuideState, Pending, State};
use super::whole::Standing;
use super::widening::Waiting;

use CommandReply::{Done, Refused};

/// Most acts of one agency that wait for its second officer.
const BEGUN: usize = 64;

impl State {
    /// Applies one signed batch. Pure: the same state, index and bytes give the same state and reply.
    pub fn apply_batch(&mut self, index: u64, bytes: &[u8]) -> BatchReply {
        self.look_back(index);
        let refuse = |why| BatchReply { index, refused: Some(why), replies: Vec::new() };
        let Ok((batch, body, signature)) = SignedBatch::open(bytes, self.level()) else {
            return refuse(Refusal::Malformed);
        };
        let Some(node) = self.nodes.get(&batch.node) else { return refuse(Refusal::UnknownNode) };
        if batch.federation != self.federation || !SignedBatch::signed_by(&node.key, body, &signature) {
            return refuse(Refusal::BadSignature);
        }
        let at = (batch.incarnation, batch.sequence);
        let content = content_of(body);
        if at == node.last {
            // The reply to another batch would tell that this one is written.
            if node.content.is_some_and(|known| known != content) {
                return refuse(Refusal::Doubled);
            }
            return node.reply.clone().unwrap_or_else(|| refuse(Refusal::Replayed));
        }
        if at < node.last {
            return refuse(Refusal::Replayed);
        }
        let agency = node.agency.clone();
        // Kept like any other reply: a batch that was refused while the agency was suspended is not taken after it. What was in it
        // may come in another one.
        let reply = if !self.stands(&agency) {
            refuse(Refusal::UnknownNode)
        } else if index > batch.not_after {
            refuse(Refusal::Expired)
        } else {
            self.report_time(&agency, batch.time);
            // A batch without commands takes an entry's place and a signature's time all the same.
            let commands = batch.commands.len().max(usize::from(self.level() >= CONTENT));
            self.fold(commands);
            match self.spend(&agency, commands, bytes.len()) {
                Err(why) => refuse(why),
                Ok(()) => {
                    let replies = batch.commands.iter().map(|c| self.command(index, batch.node, &agency, c)).collect();
                    BatchReply { index, refused: None, replies }
                }
            }
        };
        let is_kept = self.level() >= CONTENT;
        if let Some(node) = self.nodes.get_mut(&batch.node) {
            node.last = at;
            node.reply = Some(reply.clone());
            node.content = is_kept.then_some(content);
        }
        if self.level() < DRAWERS {
            self.records.keep_whole();
        }
        reply
    }

    /// P4: an entry moves only its own agency's report, at most 10 min past the median; the ledger's time is
    /// the lower median over the voters' agencies and never goes back.
    fn report_time(&mut self, agency: &AgencyId, time: Millis) {
        let bounded = time.min(self.time.plus_ms(limits::CLOCK_AHEAD_MS));
        // Whoever is suspended reports no more, and holds the median back no more.
        let voters: Vec<AgencyId> = self.voting().into_iter().filter(|v| self.stands(v)).collect();
        // Before every voter has reported, the first reports carry the clock from genesis to today.
        let started = voters.iter().all(|v| self.reports.contains_key(v));
        let report = if started { bounded } else { time };
        let last = self.reports.get(agency).copied().unwrap_or_default();
        self.reports.insert(agency.clone(), last.max(report));
        let mut seen: Vec<Millis> = voters.iter().map(|v| self.reports.get(v).copied().unwrap_or(self.time)).collect();
        seen.sort_unstable();
        if let Some(median) = seen.get(seen.len().saturating_sub(1) / 2) {
            self.time = self.time.max(*median);
        }
    }

    fn command(&mut self, index: u64, node: NodeId, agency: &AgencyId, command: &Command) -> CommandReply {
        let result = match command {
            Command::Act(act) => self.act(index, agency, act),
            Command::Introduce { to, month, sealed } => self.introduce(agency, to, *month, sealed),
            Command::Commit { record, version, commitment, grant, tags } => {
                let entry = VersionEntry {
                    version: *version,
                    commitment: *commitment,
                    grants: vec![*grant],
                    tags: tags.clone(),
                    node,
                    index,
                    time: self.time,
                };
                self.commit(agency, *record, entry)
            }
            Command::Grant { record, version, grant, tags } => self.grant(agency, *record, *version, *grant, tags),
            Command::Anchor { checkpoint } => self.anchor(index, node, *checkpoint),
            Command::Supports { level } => self.supports(node, *level),
            Command::Certified { index: of, digest, signatures } => self.certified(index, (*of, *digest), signatures),
            Command::Later(_) => Err(Refusal::Level),
        };
        result.unwrap_or_else(Refused)
    }

    fn commit(&mut self, agency: &AgencyId, id: RecordId, entry: VersionEntry) -> Result<CommandReply, Refusal> {
        if origin_mark(&self.federation, agency) != id.origin_mark() {
            return Err(Refusal::ForeignRecord);
        }
        let versions = self.records.of(&id);
        let last = versions.and_then(|v| v.last());
        match last {
            // A crash between journal and ledger makes the origin propose the same commitment again.
            Some(v) if v.version == entry.version && v.commitment == entry.commitment => return Ok(Done),
            Some(v) if v.version.checked_add(1) != Some(entry.version) => return Err(Refusal::VersionConflict),
            None if entry.version != 1 => return Err(Refusal::VersionConflict),
            _ => {}
        }
        self.records.push(id, entry)?;
        Ok(Done)
    }

    fn grant(
        &mut self,
        agency: &AgencyId,
        id: RecordId,
        version: u32,
        grant: [u8; 32],
        tags: &[[u8; 16]],
    ) -> Result<CommandReply, Refusal> {
        if origin_mark(&self.federation, agency) != id.origin_mark() {
            return Err(Refusal::ForeignRecord);
        }
        self.records.grant(id, version, grant, tags)?;
        Ok(Done)
    }

    fn anchor(&mut self, index: u64, node: NodeId, checkpoint: [u8; 32]) -> Result<CommandReply, Refusal> {
        let node = self.nodes.get_mut(&node).ok_or(Refusal::UnknownNode)?;
        node.anchor = Some((index, checkpoint));
        Ok(Done)
    }

    fn introduce(
        &mut self,
        agency: &AgencyId,
        to: &AgencyId,
        month: u32,
        sealed: &[u8],
    ) -> Result<CommandReply, Refusal> {
        if !self.agencies.contains_key(to) || to == agency {
            return Err(Refusal::Unknown);
        }
        let own = self.agencies.get_mut(agency).ok_or(Refusal::UnknownNode)?;
        match own.introductions.get(&(to.clone(), month)) {
            Some(known) if known == sealed => return Ok(Done),
            // A second key for one month would make tags ambiguous.
            Some(_) => return Err(Refusal::Exists),
            None if own.introductions.len() >= limits::INTRODUCTIONS => return Err(Refusal::Invalid),
            None => own.introductions.insert((to.clone(), month), sealed.to_vec()),
        };
        self.settle();
        Ok(Done)
    }

    fn act(&mut self, index: u64, brought: &AgencyId, signed: &SignedAct) -> Result<CommandReply, Refusal> {
        if self.time >= signed.expires {
            return Err(Refusal::Expired);
        }
        // One of a later level is as unreadable as it was to programs that did not know it.
        let act = Act::from_canon(&signed.act).ok().filter(|act| act.level() <= self.level());
        let act = act.ok_or(Refusal::Malformed)?;
        if self.forget_expired() {
            self.settle();
        }
        let deferred = (self.defers() && self.widens(&act)).then(|| act.clone());
        if deferred.as_ref().is_some_and(|act| self.is_waiting(act, signed.expected)) {
            return Ok(CommandReply::Waiting);
        }
        if deferred.is_some() && !self.has_room_for_waiting(brought) {
            return Err(Refusal::Invalid);
        }
        let expected = |version| if signed.expected == version { Ok(()) } else { Err(Refusal::VersionConflict) };
        let reply = match act {
            Act::Agreement(terms) => self.agreement_signed(index, signed, terms),
            Act::EndAgreement { id, reason } => self.end_agreement(index, signed, &id, reason),
            Act::Guide(guide) => expected(0).and_then(|()| self.guide_signed(index, signed, guide)),
            Act::EndGuide { agency, guide } => self.end_guide(index, signed, &agency, guide),
            Act::Register { agency, authority } => expected(0).and_then(|()| self.register(signed, &agency, authority)),
            Act::Suspend { agency, handle } => self.suspend(signed, &agency, handle),
            Act::SuspendAgency { agency: ref of } => {
                self.change_standing(index, signed, &act, of, &Standing::Suspended)
            }
            Act::ReinstateAgency { agency: ref of } => {
                self.change_standing(index, signed, &act, of, &Standing::InForce)
            }
            Act::Abandon { agency, record, version } => {
                expected(version).and_then(|()| self.abandon(index, signed, &agency, record, version))
            }
            Act::Entry { agency, handle, version, hash } => self.entry(signed, &agency, handle, (version, hash)),
            Act::Admit(ref descriptor) => self.admit(signed, &act, descriptor),
            Act::AddNode { agency, node, place } => self.add_node(signed, &agency, (&node, place)),
            Act::RemoveNode { ref agency, ref node } => self.remove_node(index, signed, &act, (agency, node.as_str())),
            Act::Voters(ref seats) => self.change_voters(signed, &act, seats),
            Act::Ceiling { agency: ref of, .. }
            | Act::Tier { agency: ref of, .. }
            | Act::TrustRoot { agency: ref of, .. } => self.change_bounds(index, signed, &act, of),
            Act::Suites(ref states) => self.change_suites(signed, &act, states),
        }?;
        if let (CommandReply::Waiting, Some(act)) = (reply, deferred) {
            self.put_off(index, brought, signed, act);
        }
        // Whoever is gone, or is let in again, changes what all know.
        self.raise_level();
        self.settle();
        Ok(reply)
    }

    /// Acts that were not signed in time wait no longer. Whether there was one.
    fn forget_expired(&mut self) -> bool {
        let late: Vec<[u8; 32]> =
            self.pending.iter().filter(|(_, p)| self.time >= p.expires).map(|(hash, _)| *hash).collect();
        for hash in &late {
            self.pending.remove(hash);
        }
        self.forget_voices() || !late.is_empty()
    }

    /// Handles whose signatures verify and who hold `role` at `agency`.
    pub(super) fn signers(&self, signed: &SignedAct, agency: &AgencyId, role: Role) -> Vec<Handle> {
        let mut found: Vec<Handle> = signed
            .signatures
            .iter()
            .filter(|(h, s)| self.holds(agency, *h, role).is_some_and(|key| signed.verify(&self.federation, &key, s)))
            .map(|(h, _)| *h)
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    fn agreement_signed(&mut self, index: u64, signed: &SignedAct, terms: Terms) -> Result<CommandReply, Refusal> {
        if terms.check().is_err() || !terms.parties.iter().all(|p| self.agencies.contains_key(p)) {
            return Err(Refusal::Invalid);
        }
        let signers: Vec<(AgencyId, Handle)> = terms
            .parties
            .iter()
            .filter_map(|p| self.signers(signed, p, Role::SecurityOfficer).first().map(|h| (p.clone(), *h)))
            .collect();
        if signers.is_empty() {
            return Err(Refusal::NoAuthority);
        }
        if !self.agreements.contains_key(&terms.id) && self.agreements.len() >= limits::AGREEMENTS {
            return Err(Refusal::Invalid);
        }
        let mut versions = self.agreements.get(&terms.id).cloned().unwrap_or_default();
        let known = u32::try_from(versions.len()).map_err(|_| Refusal::Invalid)?;
        if terms.version == known.saturating_add(1) && signed.expected == known {
            if versions.len() >= limits::AGREEMENT_VERSIONS {
                return Err(Refusal::Invalid);
            }
            versions.push(AgreementState {
                terms: terms.clone(),
                signatures: Default::default(),
                in_force: None,
                ended: None,
            });
        }
        let latest = versions.last_mut().ok_or(Refusal::VersionConflict)?;
        if latest.terms.version != terms.version {
            return Err(Refusal::VersionConflict);
        }
        if latest.terms != terms {
            return Err(Refusal::Exists);
        }
        if latest.ended.is_some() {
            return Err(Refusal::Expired);
        }
        latest.signatures.extend(signers);
        // Whoever was suspended meanwhile has signed nothing that comes into force.
        if latest.in_force.is_none() {
            latest.signatures.retain(|a, h| self.holds(a, *h, Role::SecurityOfficer).is_some());
        }
        let complete = terms.parties.iter().all(|p| latest.signatures.contains_key(p));
        if complete && latest.in_force.is_none() && !self.defers() {
            latest.in_force = Some(index);
        }
        let reply = match (complete, latest.in_force) {
            (false, _) => CommandReply::Pending,
            (true, None) => CommandReply::Waiting,
            (true, Some(_)) => Done,
        };
        self.agreements.insert(terms.id, versions);
        Ok(reply)
    }

    /// Terms that every party signed are in force from now on, if none ended them and those who signed still may. Where one
    /// may not any more, they are a draft again.
    pub(super) fn agree(&mut self, index: u64, terms: &Terms) {
        let mut versions = self.agreements.get(&terms.id).cloned().unwrap_or_default();
        let Some(signed) = versions.iter_mut().find(|v| v.terms == *terms) else { return };
        if signed.ended.is_some() || signed.in_force.is_some() {
            return;
        }
        signed.signatures.retain(|a, h| self.holds(a, *h, Role::SecurityOfficer).is_some());
        if terms.parties.iter().all(|p| signed.signatures.contains_key(p)) {
            signed.in_force = Some(index);
        }
        self.agreements.insert(terms.id.clone(), versions);
    }

    fn end_agreement(
        &mut self,
        index: u64,
        signed: &SignedAct,
        id: &AgreementId,
        reason: String,
    ) -> Result<CommandReply, Refusal> {
        let mut versions = self.agreements.get(id).cloned().ok_or(Refusal::Unknown)?;
        let latest = versions.last_mut().ok_or(Refusal::Unknown)?;
        if latest.terms.version != signed.expected {
            return Err(Refusal::VersionConflict);
        }
        if !latest.terms.parties.iter().any(|p| !self.signers(signed, p, Role::SecurityOfficer).is_empty()) {
            return Err(Refusal::NoAuthority);
        }
        for v in &mut versions {
            v.ended.get_or_insert((index, reason.clone()));
        }
        self.agreements.insert(id.clone(), versions);
        Ok(Done)
    }

    fn guide_signed(&mut self, index: u64, signed: &SignedAct, guide: Guide) -> Result<CommandReply, Refusal> {
        let agency = self.agencies.get(&guide.agency).ok_or(Refusal::Unknown)?;
        if guide.grade > agency.tier().marking_authority() || guide.kinds.is_empty() || guide.grade == Grade::Internal {
            return Err(Refusal::Invalid);
        }
        let by = *self.signers(signed, &guide.agency, Role::Classifier).first().ok_or(Refusal::NoAuthority)?;
        let id = guide_id(&self.federation, &signed.act);
        if self.guides.contains_key(&id) {
            return Ok(Done);
        }
        let waiting = self.waiting.iter().filter(|w| matches!(w.act, Act::Guide(_))).count();
        if self.guides.len().saturating_add(waiting) >= limits::GUIDES {
            return Err(Refusal::Invalid);
        }
        if self.defers() {
            return Ok(CommandReply::Waiting);
        }
        self.guides.insert(id, GuideState { guide, by, since: index, ended: None });
        Ok(Done)
    }

    fn end_guide(
        &mut self,
        index: u64,
        signed: &SignedAct,
        agency: &AgencyId,
        id: [u8; 16],
    ) -> Result<CommandReply, Refusal> {
        let may = !self.signers(signed, agency, Role::Classifier).is_empty()
            || !self.signers(signed, agency, Role::SecurityOfficer).is_empty();
        if !may {
            return Err(Refusal::NoAuthority);
        }
        if signed.expected <= 1 {
            self.end_waiting_guide(index, agency, id);
        }
        let guide = self.guides.get_mut(&id).filter(|g| g.guide.agency == *agency).ok_or(Refusal::Unknown)?;
        if signed.expected > 1 {
            return Err(Refusal::VersionConflict);
        }
        // Nothing follows the end: the same again is done already.
        guide.ended.get_or_insert(index);
        Ok(Done)
    }

    /// A guide that waits for its certificate is over before it took force, and stays so.
    fn end_waiting_guide(&mut self, index: u64, agency: &AgencyId, id: [u8; 16]) {
        let federation = self.federation.clone();
        let named = |act: &Act| {
            matches!(act, Act::Guide(g) if g.agency == *agency) && guide_id(&federation, &act.to_canon()) == id
        };
        let Some(Waiting { act: Act::Guide(guide), by: Some(by), .. }) = self.take_waiting(named) else { return };
        self.guides.insert(id, GuideState { guide, by, since: index, ended: Some(index) });
    }

    /// Two officers of the agency, neither of them the subject (P1). Signatures may come one by one.
    fn register(
        &mut self,
        signed: &SignedAct,
        agency: &AgencyId,
        authority: Authority,
    ) -> Result<CommandReply, Refusal> {
        let state = self.agencies.get(agency).ok_or(Refusal::Unknown)?;
        if let Some((known, _)) = state.authorities.get(&authority.handle) {
            return if *known == authority { Ok(Done) } else { Err(Refusal::Exists) };
        }
        if !self.may_register(agency, &authority) || self.pending.len() >= limits::PENDING_ACTS {
            return Err(Refusal::Invalid);
        }
        if !self.two_officers(signed, agency, Some(authority.handle))? {
            return Ok(CommandReply::Pending);
        }
        if self.defers() {
            return Ok(CommandReply::Waiting);
        }
        self.enter(agency, authority);
        Ok(Done)
    }

    /// Whether nothing is against a registration.
    pub(super) fn may_register(&self, agency: &AgencyId, authority: &Authority) -> bool {
        let Some(state) = self.agencies.get(agency) else { return false };
        let known = state.authorities.contains_key(&authority.handle) || state.barred.contains(&authority.handle);
        let full = state.authorities.len() >= limits::AUTHORITIES;
        !self.is_key_used(&authority.key) && !known && !full && !authority.roles.is_empty()
    }

    /// Enters a person among those who sign acts.
    pub(super) fn enter(&mut self, agency: &AgencyId, authority: Authority) {
        if let Some(state) = self.agencies.get_mut(agency) {
            state.authorities.insert(authority.handle, (authority, false));
        }
    }

    /// Adds the signatures to those that came before; whether two officers of the agency have signed.
    pub(super) fn two_officers(
        &mut self,
        signed: &SignedAct,
        agency: &AgencyId,
        subject: Option<Handle>,
    ) -> Result<bool, Refusal> {
        let signers = self.signers(signed, agency, Role::SecurityOfficer);
        if signers.is_empty() {
            return Err(Refusal::NoAuthority);
        }
        let hash = act_hash(&self.federation, &signed.act);
        let now = self.time;
        // The places are everybody's: one officer who begins acts without end fills those of the own agency, and what is over
        // makes room.
        let own = |p: &Pending| p.signers.iter().any(|h| self.is_authority(agency, *h));
        let begun: Vec<([u8; 32], bool)> =
            self.pending.iter().filter(|(_, p)| own(p)).map(|(hash, p)| (*hash, now < p.expires)).collect();
        if !self.pending.contains_key(&hash) && begun.iter().filter(|(_, waits)| *waits).count() >= BEGUN {
            return Err(Refusal::Invalid);
        }
        begun.iter().filter(|(_, waits)| !waits).for_each(|(hash, _)| drop(self.pending.remove(hash)));
        let mut pending = self.pending.get(&hash).cloned().filter(|p| now < p.expires).unwrap_or(Pending {
            signers: Default::default(),
            expires: signed.expires,
            subject: None,
        });
        pending.subject = subject.map(|handle| (agency.clone(), handle));
        pending.signers.extend(signers);
        // A signer who was suspended meanwhile does not count.
        pending.signers.retain(|h| self.holds(agency, *h, Role::SecurityOfficer).is_some());
        let enough = pending.signers.len() >= 2;
        if enough {
            self.pending.remove(&hash);
        } else {
            self.pending.insert(hash, pending);
        }
        Ok(enough)
    }

    fn is_authority(&self, agency: &AgencyId, handle: Handle) -> bool {
        self.agency(agency).is_some_and(|a| a.authorities.contains_key(&handle))
    }

    fn suspend(&mut self, signed: &SignedAct, agency: &AgencyId, handle: Handle) -> Result<CommandReply, Refusal> {
        if self.signers(signed, agency, Role::SecurityOfficer).iter().all(|h| *h == handle) {
            return Err(Refusal::NoAuthority);
        }
        if signed.expected > 1 {
            return Err(Refusal::VersionConflict);
        }
        // A registration that waits for its second officer comes to nothing.
        let waiting = |p: &Pending| p.subject.as_ref().is_some_and(|(a, h)| a == agency && *h == handle);
        let dropped: Vec<[u8; 32]> = self.pending.iter().filter(|(_, p)| waiting(p)).map(|(hash, _)| *hash).collect();
        for hash in dropped {
            self.pending.remove(&hash);
        }
        let registers = |act: &Act| match act {
            Act::Register { agency: of, authority } => of == agency && authority.handle == handle,
            _ => false,
        };
        let _comes_to_nothing = self.take_waiting(registers);
        // Nothing follows a suspension: the same again is done already.
        let state = self.agencies.get_mut(agency).ok_or(Refusal::Unknown)?;
        match state.authorities.get_mut(&handle) {
            Some((_, suspended)) => *suspended = true,
            // Signatures of both officers may be on their way, or be brought again.
            None if state.barred.len() < limits::AUTHORITIES => _ = state.barred.insert(handle),
            None => {
                // What was dropped above is dropped all the same.
                self.settle();
                return Err(Refusal::Invalid);
            }
        }
        Ok(Done)
    }

    /// P17: what is owed of this version is lost, for everybody to see.
    fn abandon(
        &mut self,
        index: u64,
        signed: &SignedAct,
        agency: &AgencyId,
        record: RecordId,
        version: u32,
    ) -> Result<CommandReply, Refusal> {
        if self.signers(signed, agency, Role::SecurityOfficer).is_empty() {
            return Err(Refusal::NoAuthority);
        }
        if origin_mark(&self.federation, agency) != record.origin_mark() {
            return Err(Refusal::ForeignRecord);
        }
        self.records.of(&record).and_then(|e| e.iter().find(|v| v.version == version)).ok_or(Refusal::Unknown)?;
        if !self.lost.contains_key(&(record, version)) {
            if self.lost.len() >= limits::LOST {
                return Err(Refusal::Invalid);
            }
            self.lost.insert((record, version), index);
        }
        Ok(Done)
    }

    /// P1: the ledger has only a salted hash of an entry, and never of an earlier version than it had.
    fn entry(
        &mut self,
        signed: &SignedAct,
        agency: &AgencyId,
        handle: Handle,
        (version, hash): (u32, [u8; 32]),
    ) -> Result<CommandReply, Refusal> {
        if self.signers(signed, agency, Role::SecurityOfficer).is_empty() {
            return Err(Refusal::NoAuthority);
        }
        let entries = &mut self.agencies.get_mut(agency).ok_or(Refusal::Unknown)?.entries;
        // 0 for one that the ledger does not have yet.
        let seen = entries.get(&handle).map_or(0, |(known, _)| *known);
        if seen != signed.expected && entries.get(&handle) != Some(&(version, hash)) {
            return Err(Refusal::VersionConflict);
        }
        match entries.get(&handle) {
            Some(known) if *known == (version, hash) => return Ok(Done),
            Some((known, _)) if *known >= version => return Err(Refusal::VersionConflict),
            None if version == 0 || entries.len() >= limits::ENTRIES => return Err(Refusal::Invalid),
            _ => {}
        }
        entries.insert(handle, (version, hash));
        Ok(Done)
    }
}

/// A guide's id: the first 16 bytes of the hash of the act that signed it.
pub fn guide_id(federation: &FederationId, act: &[u8]) -> [u8; 16] {
    act_hash(federation, act).first_chunk().copied().unwrap_or_default()
}
