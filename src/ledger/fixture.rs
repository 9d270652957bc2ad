//! A small signed federation for tests: police and customs vote, cyberspace learns.

use super::act::{Act, SignedAct};
use super::batch::SignedBatch;
use super::command::Command;
use super::genesis::{Authority, Descriptor, Genesis, NodeEntry, SIGN_GENESIS, SignedGenesis, node_id};
use super::level::LEVEL;
use super::state::{AgreementState, State};
use super::widening::{ATTESTATION, attested};
use crate::domain::agency::Tier;
use crate::domain::agreement::Terms;
use crate::domain::canon::Canon;
use crate::domain::ids::{AgencyId, FederationId, Handle, NodeId, RecordId};
use crate::domain::label::Grade;
use crate::domain::person::Role;
use crate::domain::record::Kind;
use crate::domain::time::Millis;
use crate::seal::{GradeSecret, Signature, SigningKey};
use std::collections::{BTreeMap, BTreeSet};

/// One agency with its private keys.
pub(crate) struct Agency {
    pub(crate) id: AgencyId,
    pub(crate) node: NodeId,
    pub(crate) node_key: SigningKey,
    pub(crate) officers: [(Handle, SigningKey); 2],
}

/// The federation.
pub(crate) struct Federation {
    pub(crate) id: FederationId,
    pub(crate) police: Agency,
    pub(crate) customs: Agency,
    /// Cyberspace, which does not vote unless it is said.
    pub(crate) third: Agency,
    /// A `SignedGenesis`.
    pub(crate) genesis: Vec<u8>,
    pub(crate) signed: SignedGenesis,
}

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32]).unwrap()
}

fn agency(id: &str, seed: u8) -> (Agency, Descriptor) {
    let id: AgencyId = id.parse().unwrap();
    let officers = [1, 2].map(|n| (Handle::from_bytes([seed + n; 16]), key(seed + n)));
    let descriptor = Descriptor {
        agency: id.clone(),
        federation: "test".parse().unwrap(),
        name: id.to_string(),
        tier: Tier::Provincial,
        ceiling: Grade::Secret,
        compartments: Default::default(),
        root: vec![seed],
        nodes: vec![NodeEntry { local: "1".into(), key: key(seed).public(), place: None }],
        grade_keys: (0..3).map(|g| GradeSecret::from_seed(&[seed + 10 + g; 32]).public()).collect(),
        authorities: officers
            .iter()
            .map(|(handle, key)| Authority {
                handle: *handle,
                roles: [Role::SecurityOfficer].into(),
                key: key.public(),
            })
            .collect(),
    };
    (Agency { node: node_id(&id, "1"), id, node_key: key(seed), officers }, descriptor)
}

/// An agency that is not in the genesis.
pub(crate) fn newcomer() -> (Agency, Descriptor) {
    agency("finance", 140)
}

/// Its second node, or another agency's: id and key.
pub(crate) fn second_node(agency: &AgencyId, seed: u8) -> (NodeId, NodeEntry, SigningKey) {
    (node_id(agency, "2"), NodeEntry { local: "2".into(), key: key(seed).public(), place: None }, key(seed))
}

pub(crate) fn federation() -> Federation {
    voted_by(&["police", "customs"], 1)
}

/// The same with cyberspace as third voter: one may be gone.
pub(crate) fn three_voters() -> Federation {
    voted_by(&["police", "customs", "cyberspace"], 1)
}

/// The same as [`federation`] at the level at which what widens waits for a certificate.
pub(crate) fn certifying() -> Federation {
    voted_by(&["police", "customs"], 2)
}

/// The same as [`three_voters`] at the newest level.
pub(crate) fn newest() -> Federation {
    voted_by(&["police", "customs", "cyberspace"], LEVEL)
}

/// The command that brings what police and customs signed of a state.
pub(crate) fn certificate(f: &Federation, (index, digest): (u64, [u8; 32])) -> Command {
    let words = attested(&f.id, index, &digest);
    let mut signatures = [&f.police, &f.customs].map(|a| (a.node, a.node_key.sign(ATTESTATION, &words)));
    signatures.sort_by_key(|(voter, _)| *voter);
    Command::Certified { index, digest, signatures: signatures.into() }
}

fn voted_by(voters: &[&str], level: u16) -> Federation {
    let (customs, a) = agency("customs", 20);
    let (cyberspace, b) = agency("cyberspace", 60);
    let (police, c) = agency("police", 100);
    let genesis = Genesis {
        federation: "test".parse().unwrap(),
        threshold: 2,
        created: Millis(1_000_000),
        founders: vec![a, b, c],
        voters: voters.iter().map(|id| id.parse().unwrap()).collect(),
        level,
    };
    genesis.check().unwrap();
    let mut signed = SignedGenesis { body: genesis.to_bytes(), signatures: Default::default() };
    for x in [&customs, &cyberspace, &police] {
        let (handle, key) = &x.officers[0];
        let signature = sign_genesis(key, &signed.body);
        signed.add(x.id.clone(), *handle, signature).unwrap();
    }
    Federation { id: genesis.federation, police, customs, third: cyberspace, genesis: signed.to_canon(), signed }
}

/// An officer's signature of a genesis.
pub(crate) fn sign_genesis(key: &SigningKey, body: &[u8]) -> Signature {
    key.sign(SIGN_GENESIS, body)
}

/// Terms between these agencies, up to secret and without end; a test says what differs.
pub(crate) fn terms(id: &str, parties: &[&str]) -> Terms {
    Terms {
        id: id.parse().unwrap(),
        version: 1,
        parties: parties.iter().map(|a| a.parse().unwrap()).collect(),
        publishers: Default::default(),
        kinds: Kind::ALL.into(),
        grade: Grade::Secret,
        compartments: Default::default(),
        purpose: "演练".into(),
        default_period_years: 10,
        legal_basis: "演练方案".into(),
        retention_years: 5,
        start: Millis(0),
        end: Millis(u64::MAX),
    }
}

/// The last index at which a batch of [`batch`] counts.
pub(crate) const NOT_AFTER: u64 = 100_000;

/// The bytes of a batch that an agency's node signed.
pub(crate) fn batch(
    f: &Federation,
    by: &Agency,
    (incarnation, sequence): (u64, u64),
    commands: Vec<Command>,
) -> Vec<u8> {
    let (federation, node, time) = (f.id.clone(), by.node, Millis(2_000_000));
    let not_after = NOT_AFTER;
    SignedBatch { federation, node, incarnation, sequence, not_after, time, commands }.seal(&by.node_key)
}

/// The state in which an agency is suspended.
pub(crate) fn suspended(state: &State, agency: &AgencyId) -> State {
    let mut state = state.clone();
    let a = state.agencies.get_mut(agency).unwrap();
    (a.standing, a.suspended) = (a.standing + 1, Some(1));
    state.settle();
    state
}

/// The state when so much of the ledger's time went by.
pub(crate) fn later(state: &State, ms: u64) -> State {
    let mut state = state.clone();
    state.time = state.time.plus_ms(ms);
    state
}

/// The state in which a version was given up.
pub(crate) fn given_up(state: &State, record: RecordId, version: u32) -> State {
    let mut state = state.clone();
    state.lost.insert((record, version), 1);
    state.settle();
    state
}

/// The state in which a node is removed.
pub(crate) fn removed(state: &State, node: NodeId) -> State {
    let mut state = state.clone();
    state.retire(1, node);
    state.settle();
    state
}

/// The state in which these terms, and no others of their name, are in force.
pub(crate) fn agreed(state: &State, terms: Terms) -> State {
    let mut state = state.clone();
    let id = terms.id.clone();
    let version = AgreementState { terms, signatures: BTreeMap::new(), in_force: Some(1), ended: None };
    state.agreements.insert(id, vec![version]);
    state.settle();
    state
}

/// The state in which an agency's systems hold up to this grade.
pub(crate) fn with_ceiling(state: &State, agency: &AgencyId, ceiling: Grade) -> State {
    let mut state = state.clone();
    let a = state.agencies.get_mut(agency).unwrap();
    (a.bounds.ceiling, a.bounds.version) = (ceiling, a.bounds.version + 1);
    state.settle();
    state
}

/// The state in which an agency has this tier from an index on.
pub(crate) fn with_tier(state: &State, agency: &AgencyId, index: u64, tier: Tier) -> State {
    let mut state = state.clone();
    let a = state.agencies.get_mut(agency).unwrap();
    a.bounds.earlier.push((index, a.bounds.tier));
    (a.bounds.tier, a.bounds.version) = (tier, a.bounds.version + 1);
    state.settle();
    state
}

/// The state in which these authorities vouch for an agency's certificates.
pub(crate) fn with_roots(state: &State, agency: &AgencyId, roots: BTreeSet<Vec<u8>>) -> State {
    let mut state = state.clone();
    let a = state.agencies.get_mut(agency).unwrap();
    (a.bounds.roots, a.bounds.version) = (roots, a.bounds.version + 1);
    state.settle();
    state
}

/// The state in which these agencies' first nodes are approved to vote, and no others: as if officers of enough agencies
/// had signed.
pub(crate) fn approve(f: &Federation, state: &State, voters: &[&Agency]) -> State {
    let mut state = state.clone();
    let seats = Act::Voters(voters.iter().map(|a| (a.id.clone(), "1".to_owned())).collect());
    let version = state.voters_version();
    for (n, by) in (1..).zip([&f.police, &f.customs, &f.third]) {
        if state.voters_version() > version {
            break;
        }
        let (handle, key) = &by.officers[0];
        let signed = SignedAct::sign(&f.id, &seats, version, Millis(u64::MAX), *handle, key);
        let number = (u64::from(version) + 100, n);
        state.apply_batch(1, &batch(f, &f.police, number, vec![Command::Act(signed)]));
    }
    assert!(state.voters_version() > version, "approved");
    state
}

/// A genesis of these founders, each signed for by the officer given with it; police and customs vote.
pub(crate) fn signed_genesis(founders: &[(&Descriptor, Handle, &SigningKey)]) -> Vec<u8> {
    let genesis = Genesis {
        federation: "test".parse().unwrap(),
        threshold: 2,
        created: Millis(1_000_000),
        voters: ["police".parse().unwrap(), "customs".parse().unwrap()].into(),
        founders: founders.iter().map(|(d, _, _)| (*d).clone()).collect(),
        level: 1,
    };
    genesis.check().unwrap();
    let mut signed = SignedGenesis { body: genesis.to_bytes(), signatures: Default::default() };
    for (d, handle, key) in founders {
        let signature = sign_genesis(key, &signed.body);
        signed.add(d.agency.clone(), *handle, signature).unwrap();
    }
    signed.to_canon()
}
