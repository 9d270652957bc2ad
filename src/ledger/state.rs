//! The state that all nodes share, its canonical form and its digest.

use crate::domain::agreement::{Guide, Terms};
use crate::domain::canon::{Canon, CanonError, Reader, Writer, read_set, write_set};
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, AgreementId, FederationId, Handle, NodeId, RecordId};
use crate::domain::limits;
use crate::domain::person::Role;
use crate::domain::time::Millis;
use crate::seal::{GradePublic, PublicKey, digest};
use imbl::{OrdMap, Vector};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use thiserror::Error;

use super::batch::BatchReply;
use super::bounds::{Bounds, read_bounds, write_bounds};
use super::budget::Spent;
use super::form::{read_agency, write_agency};
use super::genesis::{Authority, Descriptor, SignedGenesis, node_id, origin_mark};
use super::level::{CONTENT, DRAWERS, FIRST, Levels};
use super::members::Members;
use super::record::{RecordEntry, Records};
use super::suites::Suites;
use super::whole::Proposal;
use super::widening::Waiting;

const STATE: &str = "hufu.state";
/// Of one in which something happened that only level 4 has: bounds or suites changed, or something folded.
const VERSION: u16 = 6;
/// Of a state at a level whose stored replies are of a batch's content.
const REPLIES: u16 = 5;
/// Of one with a level of rules above the first, or reports of what nodes know.
const LEVELLED: u16 = 4;
/// Of one whose members are no longer those of the genesis.
const CHANGED: u16 = 3;
/// Of one whose members still are: as it was written before they could change.
const FOUNDED: u16 = 2;

/// Why a genesis or a stored state was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LedgerError {
    /// Bytes do not parse.
    #[error("the bytes do not parse: {0}")]
    Canon(#[from] CanonError),
    /// A genesis breaks a rule.
    #[error("the genesis is not valid: {why}")]
    Genesis {
        /// Which.
        why: &'static str,
    },
    /// A descriptor breaks a rule.
    #[error("the descriptor of `{agency}` is not valid: {why}")]
    Descriptor {
        /// Whose.
        agency: AgencyId,
        /// Which rule.
        why: &'static str,
    },
    /// Written by, or for, a later version of this program.
    #[error("this program is too old for the ledger: {what} {found} is needed, and it knows {known}")]
    TooOld {
        /// Of what.
        what: &'static str,
        /// Which.
        found: u16,
        /// The highest that is known.
        known: u16,
    },
    /// A founder has not signed.
    #[error("founder `{agency}` has not signed the genesis")]
    Unsigned {
        /// Who.
        agency: AgencyId,
    },
    /// A founder's signature is wrong.
    #[error("the genesis signature of `{agency}` does not verify with an officer's key")]
    BadGenesisSignature {
        /// Whose.
        agency: AgencyId,
    },
}

impl From<LedgerError> for Fault {
    fn from(e: LedgerError) -> Fault {
        match e {
            LedgerError::BadGenesisSignature { .. } => Fault::integrity("BAD_SIGNATURE", e.to_string()),
            LedgerError::TooOld { .. } => {
                Fault::conflict("PROGRAM_TOO_OLD", e.to_string()).hint("install the version that the other nodes run")
            }
            LedgerError::Unsigned { .. } => Fault::conflict("UNSIGNED", e.to_string())
                .hint("an officer of every founder runs `hufu federation sign FILE`"),
            _ => Fault::usage("BAD_GENESIS", e.to_string()),
        }
    }
}

/// An agency on the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgencyState {
    /// As admitted. What officers of other agencies may change of it is told by [`AgencyState::ceiling`] and its like.
    pub descriptor: Arc<Descriptor>,
    pub(super) bounds: Bounds,
    /// Those who sign acts, with whether they are suspended.
    pub authorities: BTreeMap<Handle, (Authority, bool)>,
    /// Pair keys introduced by this agency: (recipient, month) -> sealed key.
    pub introductions: BTreeMap<(AgencyId, u32), Vec<u8>>,
    /// Version of its standing: 1 as admitted, one more with each suspension and reinstatement.
    pub standing: u32,
    /// Index at which it was suspended, while it is.
    pub suspended: Option<u64>,
    /// Salted hashes of its directory's entries with their versions (P1).
    pub entries: OrdMap<Handle, (u32, [u8; 32])>,
    /// Who was suspended before being registered, and so is never registered.
    pub barred: BTreeSet<Handle>,
}

/// A node on the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeState {
    /// Its agency.
    pub agency: AgencyId,
    /// Local id.
    pub local: String,
    /// Signing key.
    pub key: PublicKey,
    /// Last (incarnation, sequence).
    pub last: (u64, u64),
    /// Reply to that batch.
    pub reply: Option<BatchReply>,
    /// Its content's digest (P3); none of one that was applied at a lower level.
    pub content: Option<[u8; 32]>,
    /// Last anchored checkpoint: (index, hash).
    pub anchor: Option<(u64, [u8; 32])>,
}

/// One version of an agreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgreementState {
    /// What was signed.
    pub terms: Terms,
    /// One officer of each party that signed.
    pub signatures: BTreeMap<AgencyId, Handle>,
    /// Index at which it took force: the last party's signature, or the certificate of it.
    pub in_force: Option<u64>,
    /// Index at which a party ended it, and why.
    pub ended: Option<(u64, String)>,
}

impl AgreementState {
    /// Whether entries at `index` fall under it.
    pub fn in_force_at(&self, index: u64) -> bool {
        self.in_force.is_some_and(|i| i <= index) && self.ended.as_ref().is_none_or(|(i, _)| index < *i)
    }

    /// Whether it is in force now.
    pub fn in_force_now(&self, now: Millis) -> bool {
        self.in_force.is_some() && self.ended.is_none() && self.terms.start <= now && now < self.terms.end
    }
}

/// A marking guide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuideState {
    /// What was signed.
    pub guide: Guide,
    /// The classifier.
    pub by: Handle,
    /// Index since when.
    pub since: u64,
    /// Index at which it was ended.
    pub ended: Option<u64>,
}

/// An act that waits for more signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) signers: BTreeSet<Handle>,
    pub(super) expires: Millis,
    /// Who is to be registered; none in a state of the first format.
    pub(super) subject: Option<(AgencyId, Handle)>,
}

/// Everything agreed. Cloning is cheap: large maps share structure.
#[derive(Clone)]
pub struct State {
    pub(super) federation: FederationId,
    pub(super) threshold: u16,
    /// Agencies that voted by the genesis.
    voters: BTreeSet<AgencyId>,
    pub(super) members: Members,
    pub(super) levels: Levels,
    /// Acts that wait for a certificate, in the order of their indices (P7).
    pub(super) waiting: Vector<Waiting>,
    pub(super) agencies: OrdMap<AgencyId, AgencyState>,
    pub(super) nodes: OrdMap<NodeId, NodeState>,
    pub(super) agreements: OrdMap<AgreementId, Vec<AgreementState>>,
    pub(super) guides: OrdMap<[u8; 16], GuideState>,
    pub(super) pending: OrdMap<[u8; 32], Pending>,
    pub(super) proposals: OrdMap<[u8; 32], Proposal>,
    pub(super) suites: Suites,
    /// Versions that were given up, with the index (P17).
    pub(super) lost: OrdMap<(RecordId, u32), u64>,
    pub(super) records: Records,
    pub(super) reports: OrdMap<AgencyId, Millis>,
    pub(super) time: Millis,
    /// What agencies put on the ledger in a minute (P8).
    pub(super) spent: OrdMap<AgencyId, Spent>,
    /// Digest of the parts that change seldom; recomputed by whoever changes them.
    pub(super) settled: [u8; 32],
}

impl State {
    /// The state of a genesis that every founder signed. `bytes` are a [`SignedGenesis`].
    pub fn genesis(bytes: &[u8]) -> Result<State, LedgerError> {
        let genesis = SignedGenesis::from_canon(bytes)?.verified()?;
        let mut agencies = OrdMap::new();
        let mut nodes = OrdMap::new();
        let members = Members::founded(&genesis.voters, &genesis.founders);
        for d in genesis.founders {
            for n in &d.nodes {
                nodes.insert(node_id(&d.agency, &n.local), NodeState::new(&d.agency, n));
            }
            let authorities = d.authorities.iter().map(|a| (a.handle, (a.clone(), false))).collect();
            let id = d.agency.clone();
            agencies.insert(id, AgencyState::admitted(d, authorities));
        }
        let mut state = State {
            federation: genesis.federation,
            threshold: genesis.threshold,
            voters: genesis.voters,
            members,
            levels: Levels::founded(genesis.level),
            waiting: Vector::new(),
            agencies,
            nodes,
            agreements: OrdMap::new(),
            guides: OrdMap::new(),
            pending: OrdMap::new(),
            proposals: OrdMap::new(),
            suites: Suites::founded(),
            lost: OrdMap::new(),
            records: Records::default(),
            reports: OrdMap::new(),
            time: genesis.created,
            spent: OrdMap::new(),
            settled: [0; 32],
        };
        state.settle();
        Ok(state)
    }

    /// Name of the federation.
    pub fn federation(&self) -> &FederationId {
        &self.federation
    }

    /// Agencies needed for acts of the whole (P2).
    pub fn threshold(&self) -> u16 {
        self.threshold
    }

    /// Ledger time (P4).
    pub fn time(&self) -> Millis {
        self.time
    }

    /// All agencies.
    pub fn agencies(&self) -> impl Iterator<Item = (&AgencyId, &AgencyState)> {
        self.agencies.iter()
    }

    /// One agency.
    pub fn agency(&self, id: &AgencyId) -> Option<&AgencyState> {
        self.agencies.get(id)
    }

    /// The agency's public key for a grade, if its ceiling reaches it now.
    pub fn grade_key(&self, agency: &AgencyId, grade: crate::domain::label::Grade) -> Option<&GradePublic> {
        let known = self.agencies.get(agency).filter(|a| grade <= a.ceiling())?;
        known.descriptor.grade_keys.get(grade as usize)
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = (&NodeId, &NodeState)> {
        self.nodes.iter()
    }

    /// One node.
    pub fn node(&self, id: NodeId) -> Option<&NodeState> {
        self.nodes.get(&id)
    }

    /// A node's agency.
    pub fn node_agency(&self, id: NodeId) -> Option<AgencyId> {
        self.nodes.get(&id).map(|n| n.agency.clone())
    }

    /// The agency whose origin mark a record id carries (P17).
    pub fn origin_of(&self, id: &RecordId) -> Option<&AgencyId> {
        self.agencies.keys().find(|a| origin_mark(&self.federation, a) == id.origin_mark())
    }

    /// All versions of an agreement, lowest first.
    pub fn agreement(&self, id: &AgreementId) -> Option<&Vec<AgreementState>> {
        self.agreements.get(id)
    }

    /// All agreements.
    pub fn agreements(&self) -> impl Iterator<Item = (&AgreementId, &Vec<AgreementState>)> {
        self.agreements.iter()
    }

    /// The versions of an agreement that an entry at `index` and ledger time `time` may fall under, lowest first: the newest
    /// signed one that had begun, and those signed for later. Ledger time may lag behind the clocks of those who publish.
    pub fn agreements_at(&self, id: &AgreementId, index: u64, time: Millis) -> Vec<&AgreementState> {
        let versions = self.agreements.get(id).into_iter().flatten();
        let signed: Vec<_> = versions.filter(|a| a.in_force_at(index)).collect();
        let governs = signed.iter().rposition(|a| a.terms.start <= time).unwrap_or(0);
        signed.get(governs..).unwrap_or_default().to_vec()
    }

    /// The version that is in force now: the newest signed one that has begun, and no earlier one when that is over. `now` is
    /// a node's own clock; one that was set back brings nothing back that is over by the ledger's time (P4).
    pub fn agreement_now(&self, id: &AgreementId, now: Millis) -> Option<&AgreementState> {
        let now = now.max(self.time);
        let begun = |a: &&AgreementState| a.in_force.is_some() && a.terms.start <= now;
        self.agreements.get(id)?.iter().rev().find(begun).filter(|a| a.in_force_now(now))
    }

    /// All guides.
    pub fn guides(&self) -> impl Iterator<Item = (&[u8; 16], &GuideState)> {
        self.guides.iter()
    }

    /// The index at which a version was given up (P17).
    pub fn lost(&self, id: &RecordId, version: u32) -> Option<u64> {
        self.lost.get(&(*id, version)).copied()
    }

    /// A person who signs, unless suspended; whether the agency stands is not asked. An agency that is suspended keeps
    /// order among its own people.
    pub fn registered(&self, agency: &AgencyId, handle: Handle) -> Option<&Authority> {
        let known = self.agencies.get(agency)?.authorities.get(&handle);
        known.filter(|(_, suspended)| !suspended).map(|(a, _)| a)
    }

    /// A person who signs, unless the person or the agency is suspended.
    pub fn authority(&self, agency: &AgencyId, handle: Handle) -> Option<&Authority> {
        self.registered(agency, handle).filter(|_| self.stands(agency))
    }

    /// Committed versions of a record, but for those that folded.
    pub fn record(&self, id: &RecordId) -> Option<&RecordEntry> {
        self.records.of(id)
    }

    /// Commits and grants in the order they came; a position in it is a cursor.
    pub fn feed(&self) -> &Vector<(RecordId, u32)> {
        self.records.feed()
    }

    /// The digest that equal states share.
    pub fn digest(&self) -> [u8; 32] {
        let mut w = Writer::bare();
        w.array(&self.settled).array(&self.records.digest(self.level() < DRAWERS));
        self.write_moving(&mut w);
        digest("hufu.ledger.state", &[&w.finish()])
    }

    /// Canonical bytes of the whole state, for snapshots.
    pub fn encode(&self) -> Vec<u8> {
        let version = match (self.levels.is_first(), self.members.is_as_founded()) {
            _ if self.tells_more() || self.records.has_folded() => VERSION,
            _ if self.level() >= CONTENT => REPLIES,
            (false, _) => LEVELLED,
            (true, false) => CHANGED,
            (true, true) => FOUNDED,
        };
        let mut w = Writer::new(STATE, version);
        self.write_settled(&mut w, version >= VERSION);
        self.write_moving(&mut w);
        w.value(&self.records);
        if version >= VERSION {
            self.records.write_folded(&mut w);
        }
        w.finish()
    }

    /// As version 1 wrote it, for its test: nothing that only version 2 knows.
    #[cfg(test)]
    pub(super) fn encode_first(&self) -> Vec<u8> {
        let mut w = Writer::new(STATE, 1);
        w.value(&self.federation).u16(self.threshold);
        write_set(&mut w, &self.voters);
        w.list(self.agencies.iter(), |w, (_, a)| {
            w.value(a.descriptor.as_ref());
            w.list(a.authorities.values(), |w, (x, suspended)| {
                w.value(x).flag(*suspended);
            });
            w.list(std::iter::empty::<u8>(), |_, _| ());
        });
        for _ in ["agreements", "guides", "pending"] {
            w.list(std::iter::empty::<u8>(), |_, _| ());
        }
        self.write_moving(&mut w);
        w.value(&self.records).finish()
    }

    /// Reads what [`State::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<State, LedgerError> {
        // Version 1 knew no standing, no entries, no proposals and nothing given up.
        let open = |version| Reader::new(bytes, STATE, version).map(|r| (r, version));
        let known = open(VERSION).or_else(|_| open(REPLIES)).or_else(|_| open(LEVELLED)).or_else(|_| open(CHANGED));
        let known = known.or_else(|_| open(FOUNDED)).or_else(|_| open(1));
        let (mut r, version) = known.map_err(|e| later_form(bytes).unwrap_or(e.into()))?;
        let first = version == 1;
        let federation = r.value()?;
        let threshold = r.u16()?;
        let voters = read_set(&mut r, limits::AGENCIES)?;
        let mut agencies: OrdMap<AgencyId, AgencyState> =
            r.list(limits::AGENCIES, |r| read_agency(r, first))?.into_iter().collect();
        let versions = |r: &mut Reader<'_>| r.list(limits::AGREEMENT_VERSIONS, AgreementState::read);
        let agreements = r.list(limits::AGREEMENTS, |r| Ok((r.value()?, versions(r)?)))?.into_iter().collect();
        let guides = r.list(limits::GUIDES, |r| Ok((r.array()?, r.value()?)))?.into_iter().collect();
        let read_pending = |r: &mut Reader<'_>| Ok((r.array()?, Pending::read_as(r, first)?));
        let pending = r.list(limits::PENDING_ACTS, read_pending)?.into_iter().collect();
        let (mut proposals, mut lost) = (OrdMap::new(), OrdMap::new());
        if !first {
            proposals = r.list(limits::PENDING_ACTS, |r| Ok((r.array()?, r.value()?)))?.into_iter().collect();
            lost = r.list(limits::LOST, |r| Ok(((r.value()?, r.u32()?), r.u64()?)))?.into_iter().collect();
        }
        let members = if version >= CHANGED {
            r.value()?
        } else {
            Members::founded(&voters, agencies.values().map(|a| a.descriptor.as_ref()))
        };
        let levels: Levels = if version >= LEVELLED { r.value()? } else { Levels::founded(FIRST) };
        levels.check()?;
        let most = limits::WAITING_OF_AGENCY.saturating_mul(limits::AGENCIES);
        let waiting = if version >= LEVELLED { r.list(most, Waiting::read)? } else { Vec::new() };
        let mut suites = Suites::founded();
        if version >= VERSION {
            read_bounds(&mut r, &mut agencies)?;
            suites = r.value()?;
        }
        let mut nodes: OrdMap<NodeId, NodeState> =
            r.list(1 << 16, |r| Ok((r.value()?, r.value()?)))?.into_iter().collect();
        let reports = r.list(limits::AGENCIES, |r| Ok((r.value()?, r.value()?)))?.into_iter().collect();
        let time = r.value()?;
        let spent: Vec<(AgencyId, Spent)> =
            if version >= LEVELLED { r.list(limits::AGENCIES, |r| Ok((r.value()?, r.value()?)))? } else { Vec::new() };
        if version >= REPLIES {
            for (id, content) in r.list(1 << 16, |r| Ok((NodeId::read(r)?, r.option(|r| r.array())?)))? {
                nodes.get_mut(&id).ok_or(CanonError::Invalid("a batch of no node"))?.content = content;
            }
        }
        let mut records: Records = r.value()?;
        if version >= VERSION {
            records.read_folded(&mut r)?;
        }
        r.finish()?;
        let mut state = State {
            federation,
            threshold,
            voters,
            members,
            levels,
            waiting: waiting.into_iter().collect(),
            agencies,
            nodes,
            agreements,
            guides,
            pending,
            proposals,
            suites,
            lost,
            records,
            reports,
            time,
            spent: spent.into_iter().collect(),
            settled: [0; 32],
        };
        state.settle();
        Ok(state)
    }

    /// Recomputes the digest of what changes seldom.
    pub(super) fn settle(&mut self) {
        let mut w = Writer::bare();
        self.write_settled(&mut w, self.tells_more());
        self.settled = digest("hufu.ledger.settled", &[&w.finish()]);
    }

    /// `more`: with what only version 6 tells of it.
    fn write_settled(&self, w: &mut Writer, more: bool) {
        w.value(&self.federation).u16(self.threshold);
        write_set(w, &self.voters);
        w.list(self.agencies.iter(), |w, (_, a)| write_agency(w, a));
        w.list(self.agreements.iter(), |w, (id, versions)| {
            w.value(id);
            w.list(versions.iter(), |w, v| v.write(w));
        });
        w.list(self.guides.iter(), |w, (id, g)| {
            w.array(id).value(g);
        });
        w.list(self.pending.iter(), |w, (id, p)| {
            w.array(id);
            p.write(w);
        });
        w.list(self.proposals.iter(), |w, (name, p)| {
            w.array(name).value(p);
        });
        w.list(self.lost.iter(), |w, ((id, version), index)| {
            w.value(id).u32(*version).u64(*index);
        });
        let levelled = !self.levels.is_first();
        if levelled || !self.members.is_as_founded() {
            w.value(&self.members);
        }
        if levelled {
            w.value(&self.levels).list(self.waiting.iter(), |w, x| x.write(w));
        }
        if more {
            write_bounds(w, &self.agencies);
            w.value(&self.suites);
        }
    }

    /// Whether there is something settled that only version 6 tells. Without it that part has the digest of before.
    fn tells_more(&self) -> bool {
        self.suites != Suites::founded() || self.agencies.values().any(|a| !a.bounds.is_as_admitted())
    }

    fn write_moving(&self, w: &mut Writer) {
        w.list(self.nodes.iter(), |w, (id, n)| {
            w.value(id).value(n);
        });
        w.list(self.reports.iter(), |w, (a, t)| {
            w.value(a).value(t);
        });
        w.value(&self.time);
        if !self.levels.is_first() {
            w.list(self.spent.iter(), |w, (agency, spent)| {
                w.value(agency).value(spent);
            });
        }
        if self.level() >= CONTENT {
            w.list(self.nodes.iter(), |w, (id, n)| {
                w.value(id).option(n.content.as_ref(), |w, content| {
                    w.array(content);
                });
            });
        }
    }

    /// Officers' handles that count: registered, not suspended, holding the role.
    pub(super) fn holds(&self, agency: &AgencyId, handle: Handle, role: Role) -> Option<PublicKey> {
        self.authority(agency, handle).filter(|a| a.roles.contains(&role)).map(|a| a.key)
    }
}

/// Whether a later version of this program wrote these bytes.
fn later_form(bytes: &[u8]) -> Option<LedgerError> {
    let mut r = Reader::bare(bytes);
    let found = r.str(STATE.len()).ok().filter(|domain| *domain == STATE).and_then(|_| r.u16().ok())?;
    (found > VERSION).then_some(LedgerError::TooOld { what: "format", found, known: VERSION })
}
