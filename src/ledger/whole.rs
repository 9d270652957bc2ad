//! Acts of the whole (P2): they need officers of t agencies, of which the subject is none. [`super::members`] has those
//! that say who takes part, [`super::bounds`] and [`super::suites`] those that say what agencies and suites may.
//!
//! Signatures may come one by one; until enough are there the act waits as a [`Proposal`] for everybody to see. One
//! agency is one voice, whatever number of its officers sign; whoever was suspended meanwhile has none, and a voice that
//! is over takes no other along.

use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::domain::ids::{AgencyId, Handle, NodeId};
use crate::domain::limits;
use crate::domain::person::Role;
use crate::domain::time::Millis;
use crate::seal::digest;
use std::collections::{BTreeMap, BTreeSet};

use super::act::{Act, SignedAct};
use super::batch::{CommandReply, Refusal};
use super::genesis::node_id;
use super::state::{AgencyState, State};

/// A voice counts at most this long after it was brought; its signer may have written less.
const VOICE_MS: u64 = 7 * 24 * 3_600_000;
/// Most acts that one agency begins and nobody finishes, so that it leaves room for others.
const BEGUN: usize = 8;

/// An act of the whole that waits for more agencies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The act.
    pub act: Act,
    /// The version of its object that the signers saw.
    pub expected: u32,
    /// The agency whose officer came first.
    pub begun: AgencyId,
    /// One officer of each agency that signed, and until when that voice counts.
    pub signers: BTreeMap<AgencyId, (Handle, Millis)>,
}

/// What becomes of an agency.
pub(super) enum Standing {
    Suspended,
    InForce,
}

impl AgencyState {
    /// Whether this may be a later state of the same agency, of whatever source: a standing only rises, what is suspended at
    /// one number stays so, nobody who was shut out has a voice again, and
    /// bounds of one version are the same.
    pub fn may_follow(&self, earlier: &AgencyState) -> bool {
        let same = (self.standing, self.suspended.is_some()) == (earlier.standing, earlier.suspended.is_some());
        let shut_out = |(handle, (_, suspended)): (&Handle, &(_, bool))| {
            !suspended || self.authorities.get(handle).is_some_and(|(_, suspended)| *suspended)
        };
        self.descriptor == earlier.descriptor
            && (same || self.standing > earlier.standing)
            && earlier.authorities.iter().all(shut_out)
            && earlier.barred.is_subset(&self.barred)
            && (self.bounds == earlier.bounds || self.bounds.version > earlier.bounds.version)
    }
}

impl State {
    /// Acts of the whole that wait for more signatures.
    pub fn proposals(&self) -> impl Iterator<Item = &Proposal> {
        self.proposals.values()
    }

    /// Whether what an act is about is of another version than its signers saw: no signature counts for it any more, and it
    /// goes when its voices are over.
    pub fn is_overtaken(&self, proposal: &Proposal) -> bool {
        let Proposal { act, expected, .. } = proposal;
        let now = match act {
            Act::SuspendAgency { agency } | Act::ReinstateAgency { agency } => {
                self.agencies.get(agency).map(|a| a.standing)
            }
            Act::Ceiling { agency, .. } | Act::Tier { agency, .. } | Act::TrustRoot { agency, .. } => {
                self.agencies.get(agency).map(AgencyState::bounds_version)
            }
            Act::Suites(_) => Some(self.suites().version()),
            Act::Voters(_) => Some(self.voters_version()),
            // They have one version: to come in, and to be there.
            Act::Admit(d) => (!self.agencies.contains_key(&d.agency)).then_some(*expected),
            Act::RemoveNode { agency, node } => self.nodes.contains_key(&node_id(agency, node)).then_some(*expected),
            _ => Some(*expected),
        };
        now != Some(*expected)
    }

    /// Whether an agency is one of the federation and not suspended.
    pub fn stands(&self, agency: &AgencyId) -> bool {
        self.agencies.get(agency).is_some_and(|a| a.suspended.is_none())
    }

    /// Whether a majority of the voters would stand if this agency did not. Without one nothing could be put on the ledger
    /// any more, not even that somebody stands again; and one clock alone would be the ledger's time.
    pub fn is_led_without(&self, agency: &AgencyId) -> bool {
        let stands = |id: &NodeId| self.nodes.get(id).is_some_and(|n| n.agency != *agency && self.stands(&n.agency));
        self.voter_sets().iter().all(|set| set.iter().filter(|id| stands(id)).count() * 2 > set.len())
    }

    /// Drops voices that are over. Whether there was one.
    pub(super) fn forget_voices(&mut self) -> bool {
        let now = self.time;
        self.drop_voices(|_, until| until <= now)
    }

    /// Drops voices, and with the last one its act. Whether there was one.
    fn drop_voices(&mut self, is_over: impl Fn(&AgencyId, Millis) -> bool) -> bool {
        let over = |p: &Proposal| p.signers.iter().any(|(agency, (_, until))| is_over(agency, *until));
        let named: Vec<[u8; 32]> = self.proposals.iter().filter(|(_, p)| over(p)).map(|(name, _)| *name).collect();
        for name in &named {
            let Some(mut proposal) = self.proposals.remove(name) else { continue };
            proposal.signers.retain(|agency, (_, until)| !is_over(agency, *until));
            if !proposal.signers.is_empty() {
                self.proposals.insert(*name, proposal);
            }
        }
        !named.is_empty()
    }

    /// Suspends an agency or lets it in again.
    pub(super) fn change_standing(
        &mut self,
        index: u64,
        signed: &SignedAct,
        act: &Act,
        subject: &AgencyId,
        to: &Standing,
    ) -> Result<CommandReply, Refusal> {
        let agency = self.agencies.get(subject).ok_or(Refusal::Unknown)?;
        let already = agency.suspended.is_some() == matches!(to, Standing::Suspended);
        if signed.expected != agency.standing || already {
            return Err(Refusal::VersionConflict);
        }
        if matches!(to, Standing::Suspended) && !self.is_led_without(subject) {
            return Err(Refusal::Invalid);
        }
        if !self.enough_of_the_whole(signed, act, &[subject.clone()].into())? {
            return Ok(CommandReply::Pending);
        }
        match to {
            Standing::InForce if self.defers() => return Ok(CommandReply::Waiting),
            Standing::InForce => self.stand(subject, None),
            Standing::Suspended => self.stand(subject, Some(index)),
        }
        Ok(CommandReply::Done)
    }

    /// An agency is suspended from an index on, or stands again.
    pub(super) fn stand(&mut self, subject: &AgencyId, suspended: Option<u64>) {
        if let Some(agency) = self.agencies.get_mut(subject) {
            agency.standing = agency.standing.saturating_add(1);
            agency.suspended = suspended;
        }
        // Whoever was suspended speaks for nothing that waits; reinstated, it speaks anew.
        self.drop_voices(|agency, _| agency == subject);
    }

    /// Adds the signatures to those that came before; whether officers of t agencies but the subjects have signed.
    pub(super) fn enough_of_the_whole(
        &mut self,
        signed: &SignedAct,
        act: &Act,
        subjects: &BTreeSet<AgencyId>,
    ) -> Result<bool, Refusal> {
        let officer = |a: &AgencyId| self.signers(signed, a, Role::SecurityOfficer).first().copied();
        let others = self.agencies.keys().filter(|a| !subjects.contains(*a));
        let until = signed.expires.min(self.time.plus_ms(VOICE_MS));
        let voice = |a: &AgencyId| Some((a.clone(), (officer(a)?, until)));
        let signers: BTreeMap<AgencyId, (Handle, Millis)> = others.filter_map(voice).collect();
        let begun = signers.keys().next().cloned().ok_or(Refusal::NoAuthority)?;
        let name = digest("hufu.ledger.proposal", &[&signed.act, &signed.expected.to_be_bytes()]);
        let known = self.proposals.get(&name).cloned();
        let crowded = self.proposals.values().filter(|p| p.begun == begun).count() >= BEGUN;
        if known.is_none() && (crowded || self.proposals.len() >= limits::PENDING_ACTS) {
            return Err(Refusal::Invalid);
        }
        let mut proposal =
            known.unwrap_or(Proposal { act: act.clone(), expected: signed.expected, begun, signers: BTreeMap::new() });
        for (agency, (handle, until)) in signers {
            // A voice that comes again is not shortened by its earlier form.
            let kept = proposal.signers.get(&agency).map_or(until, |(_, known)| until.max(*known));
            proposal.signers.insert(agency, (handle, kept));
        }
        proposal.signers.retain(|a, (h, _)| self.holds(a, *h, Role::SecurityOfficer).is_some());
        let enough = proposal.signers.len() >= usize::from(self.threshold);
        if enough {
            self.proposals.remove(&name);
        } else {
            self.proposals.insert(name, proposal);
        }
        Ok(enough)
    }
}

impl Canon for Proposal {
    fn write(&self, w: &mut Writer) {
        let Proposal { act, expected, begun, signers } = self;
        w.bytes(&act.to_canon()).u32(*expected).value(begun);
        w.list(signers.iter(), |w, (a, (h, until))| {
            w.value(a).value(h).value(until);
        });
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(Proposal {
            act: Act::from_canon(r.bytes(64 << 10)?)?,
            expected: r.u32()?,
            begun: r.value()?,
            signers: r.list(limits::AGENCIES, |r| Ok((r.value()?, (r.value()?, r.value()?))))?.into_iter().collect(),
        })
    }
}
