//! What widens takes force when it is certified, what narrows at first sight (P7); from level 2 on.
//!
//! An elected leader can tell one node alone of an act, and that act may be signed as it should: an agreement that the others
//! saw end, a person whom they saw suspended. So an act that opens something waits here once it is complete. A later entry
//! brings a certificate: a majority of the voters made the very state that this log made. At the index of that entry
//! the act is looked at once more, by what is in force then, and takes force; every log has the same index for it.
//!
//! The state keeps its own digest from before the entry that followed (`seen`), and no certificate of another one opens
//! anything: a true one that is handed out with false entries is of another state than they make.
//!
//! What narrows meanwhile is heeded: an agreement that was ended, a person who was suspended, a key that somebody else has
//! by now. Whoever approves who votes waits for nothing: a set that cannot certify can still be replaced.

use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::domain::ids::{AgencyId, FederationId, Handle, NodeId};
use crate::domain::limits;
use crate::domain::person::Role;
use crate::seal::Signature;
use imbl::Vector;
use std::collections::BTreeSet;

use super::act::{Act, SignedAct};
use super::apply::guide_id;
use super::batch::{CommandReply, Refusal};
use super::genesis::node_id;
use super::level::CERTIFIED;
use super::state::{AgencyState, GuideState, State};

/// Domain of a voter's signature under a state.
pub const ATTESTATION: &str = "hufu.attestation";

/// What a voter signs: this digest is of the state after this index.
pub fn attested(federation: &FederationId, index: u64, digest: &[u8; 32]) -> Vec<u8> {
    Writer::new(ATTESTATION, 1).value(federation).u64(index).array(digest).finish()
}

/// An act that is complete and waits for its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Index at which it was complete.
    pub index: u64,
    /// The act.
    pub act: Act,
    /// The version of its object that the signers saw.
    expected: u32,
    /// The classifier of a guide.
    pub(super) by: Option<Handle>,
    /// Whose node brought it.
    brought: AgencyId,
    /// An index from its own on with the digest there; none until another entry follows.
    seen: Option<(u64, [u8; 32])>,
}

impl Waiting {
    fn is_due(&self, index: u64) -> bool {
        self.seen.is_none() && self.index < index
    }
}

impl State {
    /// Acts that wait for a certificate, first one first.
    pub fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.iter()
    }

    /// Whether this act is complete and waits for a certificate. `expected` is the version that its signers saw: what changes bounds
    /// or suites and was outdated while it waits comes to nothing, and signed anew it is another act.
    pub fn is_waiting(&self, act: &Act, expected: u32) -> bool {
        let any_version =
            !matches!(act, Act::Ceiling { .. } | Act::Tier { .. } | Act::TrustRoot { .. } | Act::Suites(_));
        self.waiting.iter().any(|w| w.act == *act && (any_version || w.expected == expected))
    }

    /// Whether what this act opens is open. `expected` is the version that its signers saw.
    pub fn is_open(&self, act: &Act, expected: u32) -> bool {
        match act {
            Act::Agreement(t) => {
                let mut versions = self.agreements.get(&t.id).into_iter().flatten();
                versions.any(|v| v.terms == *t && v.in_force.is_some())
            }
            Act::Guide(_) => self.guides.contains_key(&guide_id(&self.federation, &act.to_canon())),
            Act::Register { agency, authority } => {
                let known = self.agencies.get(agency).and_then(|a| a.authorities.get(&authority.handle));
                known.is_some_and(|(known, _)| known == authority)
            }
            Act::ReinstateAgency { agency } => {
                self.agencies.get(agency).is_some_and(|a| a.suspended.is_none() && a.standing > expected)
            }
            Act::Admit(d) => self.agencies.get(&d.agency).is_some_and(|a| *a.descriptor == **d),
            Act::AddNode { agency, node, .. } => {
                self.nodes.get(&node_id(agency, &node.local)).is_some_and(|n| n.key == node.key)
            }
            Act::Ceiling { agency, .. } | Act::Tier { agency, .. } | Act::TrustRoot { agency, .. } => {
                self.is_bound(agency, act, expected)
            }
            Act::Suites(states) => self.are_suites(states, expected),
            _ => false,
        }
    }

    /// Whether the act opens something, as things are now.
    pub(super) fn widens(&self, act: &Act) -> bool {
        match act {
            Act::Agreement(_)
            | Act::Guide(_)
            | Act::Register { .. }
            | Act::ReinstateAgency { .. }
            | Act::Admit(_)
            | Act::AddNode { .. } => true,
            Act::Ceiling { agency, .. } | Act::Tier { agency, .. } | Act::TrustRoot { agency, .. } => {
                self.widens_bounds(agency, act)
            }
            Act::Suites(states) => self.widens_suites(states),
            Act::EndAgreement { .. }
            | Act::EndGuide { .. }
            | Act::Suspend { .. }
            | Act::SuspendAgency { .. }
            | Act::Abandon { .. }
            | Act::Entry { .. }
            | Act::RemoveNode { .. }
            | Act::Voters(_) => false,
        }
    }

    /// The index of which a certificate is wanted, where `applied` is applied; none while nothing waits. It is one that
    /// this log remembers, if there is one: entries may go on meanwhile.
    pub fn certificate_wanted(&self, applied: u64) -> Option<u64> {
        if self.waiting.is_empty() {
            return None;
        }
        let remembered = self.waiting.iter().rev().find_map(|w| w.seen);
        Some(remembered.map_or(applied, |(index, _)| index))
    }

    /// The digest at an index, where an act that waits remembers it.
    pub fn digest_seen(&self, index: u64) -> Option<[u8; 32]> {
        self.waiting.iter().filter_map(|w| w.seen).find(|(at, _)| *at == index).map(|(_, digest)| digest)
    }

    /// Whether widening acts wait.
    pub(super) fn defers(&self) -> bool {
        self.level() >= CERTIFIED
    }

    /// Whether one more act may wait that this agency's nodes bring.
    pub(super) fn has_room_for_waiting(&self, brought: &AgencyId) -> bool {
        self.waiting.iter().filter(|w| w.brought == *brought).count() < limits::WAITING_OF_AGENCY
    }

    /// Lets a complete act wait.
    pub(super) fn put_off(&mut self, index: u64, brought: &AgencyId, signed: &SignedAct, act: Act) {
        let by = match &act {
            Act::Guide(g) => self.signers(signed, &g.agency, Role::Classifier).first().copied(),
            _ => None,
        };
        let (expected, brought) = (signed.expected, brought.clone());
        self.waiting.push_back(Waiting { index, act, expected, by, brought, seen: None });
    }

    /// Takes what waits and is so out of the line.
    pub(super) fn take_waiting(&mut self, is_so: impl Fn(&Act) -> bool) -> Option<Waiting> {
        let at = self.waiting.iter().position(|w| is_so(&w.act))?;
        Some(self.waiting.remove(at))
    }

    /// Before the first batch of an entry: the digest of the one before it, for what waits since.
    pub(super) fn look_back(&mut self, index: u64) {
        if !self.waiting.iter().any(|w| w.is_due(index)) {
            return;
        }
        let seen = (index.saturating_sub(1), self.digest());
        for w in self.waiting.iter_mut() {
            if w.is_due(index) {
                w.seen = Some(seen);
            }
        }
        self.settle();
    }

    /// A certificate came in the entry `at`: what was complete at its index takes force, unless something is against it by
    /// now. One that is brought again finds nothing that waits for it.
    pub(super) fn certified(
        &mut self,
        at: u64,
        (index, digest): (u64, [u8; 32]),
        signatures: &[(NodeId, Signature)],
    ) -> Result<CommandReply, Refusal> {
        if self.digest_seen(index) != Some(digest) {
            return Err(Refusal::Unknown);
        }
        if !self.is_signed_by_a_majority(&attested(&self.federation, index, &digest), signatures) {
            return Err(Refusal::BadSignature);
        }
        let all = std::mem::take(&mut self.waiting);
        let (due, rest): (Vector<Waiting>, Vector<Waiting>) = all.into_iter().partition(|w| w.index <= index);
        self.waiting = rest;
        for waiting in due {
            self.take_force(at, waiting);
        }
        self.settle();
        Ok(CommandReply::Done)
    }

    /// Voters, each once and in the order of their numbers, and nobody else.
    fn is_signed_by_a_majority(&self, words: &[u8], signatures: &[(NodeId, Signature)]) -> bool {
        let (sets, signers) = (self.voter_sets(), signatures.iter().map(|(id, _)| *id).collect::<BTreeSet<NodeId>>());
        let most = |set: &BTreeSet<NodeId>| set.intersection(&signers).count() * 2 > set.len();
        let votes = |id: &NodeId| sets.iter().any(|set| set.contains(id));
        let key = |id: &NodeId| self.nodes.get(id).map(|n| n.key);
        let signed =
            |(id, s): &(NodeId, Signature)| key(id).is_some_and(|key| key.verify(ATTESTATION, words, s).is_ok());
        signatures.is_sorted_by(|(a, _), (b, _)| a < b)
            && signers.iter().all(votes)
            && sets.iter().any(most)
            && signatures.iter().all(signed)
    }

    fn take_force(&mut self, at: u64, waiting: Waiting) {
        let Waiting { act, expected, by, .. } = waiting;
        match act {
            Act::Agreement(ref terms) => self.agree(at, terms),
            Act::Guide(ref guide) => {
                let by = by.filter(|by| self.holds(&guide.agency, *by, Role::Classifier).is_some());
                let id = guide_id(&self.federation, &act.to_canon());
                if let (Some(by), false) = (by, self.guides.contains_key(&id)) {
                    self.guides.insert(id, GuideState { guide: guide.clone(), by, since: at, ended: None });
                }
            }
            Act::Register { agency, authority } if self.may_register(&agency, &authority) => {
                self.enter(&agency, authority);
            }
            Act::ReinstateAgency { agency } => {
                let waits = |a: &AgencyState| a.standing == expected && a.suspended.is_some();
                if self.agencies.get(&agency).is_some_and(waits) {
                    self.stand(&agency, None);
                }
            }
            Act::Admit(d) if !self.agencies.contains_key(&d.agency) && self.has_room_for(&d) => {
                self.take_in(&d);
            }
            Act::AddNode { agency, node, place }
                if self.agencies.contains_key(&agency) && self.may_add(&agency, &node) =>
            {
                self.place_node(&agency, &node, place);
            }
            Act::Ceiling { agency: ref of, .. }
            | Act::Tier { agency: ref of, .. }
            | Act::TrustRoot { agency: ref of, .. } => self.widen_bounds(at, &act, of, expected),
            Act::Suites(ref states) => self.widen_suites(states, expected),
            // What lost its ground meanwhile is nothing any more; what narrows, or only names, waits for nothing.
            _ => {}
        }
    }
}

impl Canon for Waiting {
    fn write(&self, w: &mut Writer) {
        let Waiting { index, act, expected, by, brought, seen } = self;
        w.u64(*index).bytes(&act.to_canon()).u32(*expected);
        w.option(by.as_ref(), |w, by| {
            w.value(by);
        });
        w.value(brought).option(seen.as_ref(), |w, (index, digest)| {
            w.u64(*index).array(digest);
        });
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(Waiting {
            index: r.u64()?,
            act: Act::from_canon(r.bytes(64 << 10)?)?,
            expected: r.u32()?,
            by: r.option(Handle::read)?,
            brought: r.value()?,
            seen: r.option(|r| Ok((r.u64()?, r.array()?)))?,
        })
    }
}
