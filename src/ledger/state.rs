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
use super::genesis::{Authority, Descriptor, SignedGenesis, node_id, origin_mark};
use super::members::Members;
use super::record::{RecordEntry, Records};
use super::whole::Proposal;

const STATE: &str = "hufu.state";
/// Of a state whose members are no longer those of the genesis.
const VERSION: u16 = 3;
/// Of one whose members are: as it was written before they could change.
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
            LedgerError::Unsigned { .. } => Fault::conflict("UNSIGNED", e.to_string())
                .hint("an officer of every founder runs `hufu federation sign FILE`"),
            _ => Fault::usage("BAD_GENESIS", e.to_string()),
        }
    }
}

/// An agency on the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgencyState {
    /// As admitted.
    pub descriptor: Arc<Descriptor>,
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
    /// Index at which the last party signed.
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
    pub(super) agencies: OrdMap<AgencyId, AgencyState>,
    pub(super) nodes: OrdMap<NodeId, NodeState>,
    pub(super) agreements: OrdMap<AgreementId, Vec<AgreementState>>,
    pub(super) guides: OrdMap<[u8; 16], GuideState>,
    pub(super) pending: OrdMap<[u8; 32], Pending>,
    pub(super) proposals: OrdMap<[u8; 32], Proposal>,
    /// Versions that were given up, with the index (P17).
    pub(super) lost: OrdMap<(RecordId, u32), u64>,
    pub(super) records: Records,
    pub(super) reports: OrdMap<AgencyId, Millis>,
    pub(super) time: Millis,
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
            agencies,
            nodes,
            agreements: OrdMap::new(),
            guides: OrdMap::new(),
            pending: OrdMap::new(),
            proposals: OrdMap::new(),
            lost: OrdMap::new(),
            records: Records::default(),
            reports: OrdMap::new(),
            time: genesis.created,
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

    /// The agency's public key for a grade, if its ceiling reaches it.
    pub fn grade_key(&self, agency: &AgencyId, grade: crate::domain::label::Grade) -> Option<&GradePublic> {
        self.agencies.get(agency)?.descriptor.grade_keys.get(grade as usize)
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

    /// Committed versions of a record.
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
        w.array(&self.settled).array(&self.records.digest());
        self.write_moving(&mut w);
        digest("hufu.ledger.state", &[&w.finish()])
    }

    /// Canonical bytes of the whole state, for snapshots.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new(STATE, if self.members.is_as_founded() { FOUNDED } else { VERSION });
        self.write_settled(&mut w);
        self.write_moving(&mut w);
        w.value(&self.records);
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
        let (mut r, version) = open(VERSION).or_else(|_| open(FOUNDED)).or_else(|_| open(1))?;
        let first = version == 1;
        let federation = r.value()?;
        let threshold = r.u16()?;
        let voters = read_set(&mut r, limits::AGENCIES)?;
        let agencies: OrdMap<AgencyId, AgencyState> =
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
        let members = match version {
            VERSION => r.value()?,
            _ => Members::founded(&voters, agencies.values().map(|a| a.descriptor.as_ref())),
        };
        let nodes = r.list(1 << 16, |r| Ok((r.value()?, r.value()?)))?.into_iter().collect();
        let reports = r.list(limits::AGENCIES, |r| Ok((r.value()?, r.value()?)))?.into_iter().collect();
        let time = r.value()?;
        let records = r.value()?;
        r.finish()?;
        let mut state = State {
            federation,
            threshold,
            voters,
            members,
            agencies,
            nodes,
            agreements,
            guides,
            pending,
            proposals,
            lost,
            records,
            reports,
            time,
            settled: [0; 32],
        };
        state.settle();
        Ok(state)
    }

    /// Recomputes the digest of what changes seldom.
    pub(super) fn settle(&mut self) {
        let mut w = Writer::bare();
        self.write_settled(&mut w);
        self.settled = digest("hufu.ledger.settled", &[&w.finish()]);
    }

    fn write_settled(&self, w: &mut Writer) {
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
        if !self.members.is_as_founded() {
            w.value(&self.members);
        }
    }

    fn write_moving(&self, w: &mut Writer) {
        w.list(self.nodes.iter(), |w, (id, n)| {
            w.value(id).value(n);
        });
        w.list(self.reports.iter(), |w, (a, t)| {
            w.value(a).value(t);
        });
        w.value(&self.time);
    }

    /// Officers' handles that count: registered, not suspended, holding the role.
    pub(super) fn holds(&self, agency: &AgencyId, handle: Handle, role: Role) -> Option<PublicKey> {
        self.authority(agency, handle).filter(|a| a.roles.contains(&role)).map(|a| a.key)
    }
}

fn write_agency(w: &mut Writer, a: &AgencyState) {
    w.value(a.descriptor.as_ref());
    w.list(a.authorities.values(), |w, (x, suspended)| {
        w.value(x).flag(*suspended);
    });
    w.list(a.introductions.iter(), |w, ((to, month), sealed)| {
        w.value(to).u32(*month).bytes(sealed);
    });
    w.u32(a.standing).option(a.suspended, |w, i| {
        w.u64(i);
    });
    w.list(a.entries.iter(), |w, (handle, (version, hash))| {
        w.value(handle).u32(*version).array(hash);
    });
    write_set(w, &a.barred);
}

fn read_agency(r: &mut Reader<'_>, first: bool) -> Result<(AgencyId, AgencyState), CanonError> {
    let descriptor: Descriptor = r.value()?;
    let authorities = r.list(limits::AUTHORITIES, |r| {
        let a: Authority = r.value()?;
        Ok((a.handle, (a, r.flag()?)))
    })?;
    let mut agency = AgencyState::admitted(descriptor, authorities.into_iter().collect());
    let introductions = r.list(limits::INTRODUCTIONS, |r| Ok(((r.value()?, r.u32()?), r.bytes(8192)?.to_vec())))?;
    agency.introductions = introductions.into_iter().collect();
    if !first {
        agency.standing = r.u32()?;
        agency.suspended = r.option(|r| r.u64())?;
        let entries = r.list(limits::ENTRIES, |r| Ok((r.value()?, (r.u32()?, r.array()?))))?;
        agency.entries = entries.into_iter().collect();
        agency.barred = read_set(r, limits::AUTHORITIES)?;
    }
    Ok((agency.descriptor.agency.clone(), agency))
}

impl Canon for NodeState {
    fn write(&self, w: &mut Writer) {
        w.value(&self.agency).str(&self.local).value(&self.key).u64(self.last.0).u64(self.last.1);
        w.option(self.reply.as_ref(), |w, r| r.write(w));
        w.option(self.anchor.as_ref(), |w, (i, h)| {
            w.u64(*i).array(h);
        });
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(NodeState {
            agency: r.value()?,
            local: r.str(32)?.to_owned(),
            key: r.value()?,
            last: (r.u64()?, r.u64()?),
            reply: r.option(BatchReply::read)?,
            anchor: r.option(|r| Ok((r.u64()?, r.array()?)))?,
        })
    }
}

impl Canon for AgreementState {
    fn write(&self, w: &mut Writer) {
        w.value(&self.terms);
        w.list(self.signatures.iter(), |w, (a, h)| {
            w.value(a).value(h);
        });
        w.option(self.in_force, |w, i| {
            w.u64(i);
        });
        w.option(self.ended.as_ref(), |w, (i, why)| {
            w.u64(*i).str(why);
        });
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(AgreementState {
            terms: r.value()?,
            signatures: r.list(limits::AGENCIES, |r| Ok((r.value()?, r.value()?)))?.into_iter().collect(),
            in_force: r.option(|r| r.u64())?,
            ended: r.option(|r| Ok((r.u64()?, r.str(1600)?.to_owned())))?,
        })
    }
}

impl Canon for GuideState {
    fn write(&self, w: &mut Writer) {
        w.value(&self.guide).value(&self.by).u64(self.since);
        w.option(self.ended, |w, i| {
            w.u64(i);
        });
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(GuideState { guide: r.value()?, by: r.value()?, since: r.u64()?, ended: r.option(|r| r.u64())? })
    }
}

impl Pending {
    fn write(&self, w: &mut Writer) {
        write_set(w, &self.signers);
        w.value(&self.expires).option(self.subject.as_ref(), |w, (agency, handle)| {
            w.value(agency).value(handle);
        });
    }
    fn read_as(r: &mut Reader<'_>, first: bool) -> Result<Self, CanonError> {
        let (signers, expires) = (read_set(r, limits::AUTHORITIES)?, r.value()?);
        let subject = if first { None } else { r.option(|r| Ok((r.value()?, r.value()?)))? };
        Ok(Pending { signers, expires, subject })
    }
}
