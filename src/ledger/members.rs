//! Who takes part: agencies that are admitted, nodes that come and go, the set that votes (P2).
//!
//! Invariants
//! - A number and a key are used by one node, once: what was removed is kept, and neither comes back.
//! - At most one voter for each agency, by the form of the act; nobody suspended gets a seat, and a majority stands.
//! - One change of the voters at a time, and of one agency's seat. The next is taken when the log holds the last one alone,
//!   or takes it back. While they change a majority of either set is heard ([`State::voter_sets`]): of sets that differ by one
//!   seat any two majorities have an agency in common, and of others a small next one could speak alone, before it votes.
//! - What the genesis founded and nobody changed is written as before there were changes.

use crate::domain::canon::{Canon, CanonError, Reader, Writer, read_set, write_set};
use crate::domain::ids::{AgencyId, Handle, NodeId};
use crate::domain::limits;
use crate::domain::person::Role;
use crate::seal::PublicKey;
use imbl::OrdMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::act::{Act, SignedAct};
use super::batch::{CommandReply, Refusal};
use super::bounds::Bounds;
use super::genesis::{Authority, Descriptor, NodeEntry, Place, node_id, origin_mark};
use super::level::ONE_SEAT;
use super::state::{AgencyState, NodeState, State};

use CommandReply::{Done, Pending, Waiting};

/// Fewest voters of a set: one alone would be the whole ledger.
const FEWEST: usize = 2;
/// Version of a node as an act that removes it names it: it has one.
const ADDED: u32 = 1;

/// A node that was removed. What it signed before stays signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retired {
    /// Its agency.
    pub agency: AgencyId,
    /// Local id.
    pub local: String,
    /// The key that it signed with.
    pub key: PublicKey,
    /// Index at which it was removed.
    pub index: u64,
    /// Its last anchored checkpoint: (index, hash).
    pub anchor: Option<(u64, [u8; 32])>,
}

/// The voters, and which nodes were there.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Members {
    /// Version of the approved set: 1 by the genesis, one more with each change.
    version: u32,
    /// Whom officers of t agencies approved to vote.
    approved: BTreeSet<NodeId>,
    /// Who votes by the log: one set, or the old and the new one while it changes.
    config: Vec<BTreeSet<NodeId>>,
    retired: OrdMap<NodeId, Retired>,
    places: OrdMap<NodeId, Place>,
}

impl Members {
    /// By the genesis: the first node of each voting agency.
    pub(super) fn founded<'a>(
        voting: &BTreeSet<AgencyId>,
        founders: impl IntoIterator<Item = &'a Descriptor>,
    ) -> Members {
        let mut approved: BTreeSet<NodeId> = BTreeSet::new();
        let mut places: OrdMap<NodeId, Place> = OrdMap::new();
        for d in founders {
            let first = d.nodes.first().filter(|_| voting.contains(&d.agency));
            approved.extend(first.map(|n| node_id(&d.agency, &n.local)));
            places.extend(placed(d));
        }
        Members { version: 1, config: vec![approved.clone()], approved, retired: OrdMap::new(), places }
    }

    /// Whether there is nothing to tell that the genesis does not.
    pub(super) fn is_as_founded(&self) -> bool {
        self.version == 1 && self.retired.is_empty() && self.places.is_empty() && self.is_settled()
    }

    /// Whether the log holds the approved set, and no other.
    fn is_settled(&self) -> bool {
        matches!(self.config.as_slice(), [only] if *only == self.approved)
    }
}

fn placed(d: &Descriptor) -> impl Iterator<Item = (NodeId, Place)> {
    d.nodes.iter().filter_map(|n| Some((node_id(&d.agency, &n.local), n.place?)))
}

impl State {
    /// The nodes that officers of t agencies approved to vote.
    pub fn voters(&self) -> BTreeSet<NodeId> {
        self.members.approved.clone()
    }

    /// Version of that set, which an act that changes it names.
    pub fn voters_version(&self) -> u32 {
        self.members.version
    }

    /// Whether the last change of the voters is done: until then there is no other.
    pub fn voters_are_settled(&self) -> bool {
        self.members.is_settled()
    }

    /// Every set whose majority may be asked: who votes by the log, the old and the new set while it changes, and those
    /// approved for next.
    pub fn voter_sets(&self) -> Vec<BTreeSet<NodeId>> {
        let mut sets = self.members.config.clone();
        if !sets.contains(&self.members.approved) {
            sets.push(self.members.approved.clone());
        }
        sets
    }

    /// Whether the next entry of the log may say that these sets vote (P6): those of before, or both while they become the
    /// approved ones, and these alone once both do.
    pub fn may_vote(&self, sets: &[BTreeSet<NodeId>]) -> bool {
        let Members { config, approved, .. } = &self.members;
        let before = config.first().unwrap_or(approved);
        match sets {
            [one] => config.contains(one) && (one == before || one == approved),
            [old, new] => sets == config.as_slice() || (config.len() == 1 && old == before && new == approved),
            _ => false,
        }
    }

    /// Who votes by the log: one set, or the old and the new one while it changes.
    pub fn voters_by_the_log(&self) -> &[BTreeSet<NodeId>] {
        &self.members.config
    }

    /// An entry of the log said who votes from now on.
    pub fn take_voters(&mut self, sets: Vec<BTreeSet<NodeId>>) {
        if self.members.config != sets {
            self.members.config = sets;
            self.settle();
        }
    }

    /// All nodes that were removed.
    pub fn all_retired(&self) -> impl Iterator<Item = (&NodeId, &Retired)> {
        self.members.retired.iter()
    }

    /// A node that was removed.
    pub fn retired(&self, id: NodeId) -> Option<&Retired> {
        self.members.retired.get(&id)
    }

    /// Where the ledger says that a node is.
    pub fn place(&self, id: NodeId) -> Option<Place> {
        self.members.places.get(&id).copied()
    }

    /// Agency and key of a node that is or was one: what it signed while it was stays good.
    pub fn signer(&self, id: NodeId) -> Option<(&AgencyId, &PublicKey)> {
        let now = self.nodes.get(&id).map(|n| (&n.agency, &n.key));
        now.or_else(|| self.members.retired.get(&id).map(|r| (&r.agency, &r.key)))
    }

    /// The agencies whose seats differ between the approved voters and these.
    pub fn seats_moved(&self, voters: &BTreeSet<NodeId>) -> BTreeSet<AgencyId> {
        self.members.approved.symmetric_difference(voters).filter_map(|n| self.node_agency(*n)).collect()
    }

    /// Agencies that vote.
    pub(super) fn voting(&self) -> BTreeSet<AgencyId> {
        self.members.approved.iter().filter_map(|n| self.node_agency(*n)).collect()
    }

    /// Whether this may be a later state of the same federation: what was removed stays so, no node has another key, and
    /// the voters are those of before or of a later version.
    pub fn members_may_follow(&self, earlier: &State) -> bool {
        let (now, before) = (&self.members, &earlier.members);
        let voters = now.version > before.version || (now.version == before.version && now.approved == before.approved);
        let same =
            |(id, n): (&NodeId, &NodeState)| self.signer(*id).is_some_and(|(a, k)| *a == n.agency && *k == n.key);
        voters
            && earlier.nodes.iter().all(same)
            && before.retired.iter().all(|(id, was)| now.retired.get(id) == Some(was) && !self.nodes.contains_key(id))
    }

    /// Takes an agency in; officers of t agencies, of which it is none yet.
    pub(super) fn admit(&mut self, signed: &SignedAct, act: &Act, d: &Descriptor) -> Result<CommandReply, Refusal> {
        if let Some(known) = self.agencies.get(&d.agency) {
            return if *known.descriptor == *d { Ok(Done) } else { Err(Refusal::Exists) };
        }
        if signed.expected != 0 {
            return Err(Refusal::VersionConflict);
        }
        if !self.has_room_for(d) {
            return Err(Refusal::Invalid);
        }
        if !self.enough_of_the_whole(signed, act, &[d.agency.clone()].into())? {
            return Ok(Pending);
        }
        if self.defers() {
            return Ok(Waiting);
        }
        self.take_in(d);
        Ok(Done)
    }

    /// An agency is one of the federation from now on.
    pub(super) fn take_in(&mut self, d: &Descriptor) {
        for n in &d.nodes {
            self.nodes.insert(node_id(&d.agency, &n.local), NodeState::new(&d.agency, n));
        }
        self.members.places.extend(placed(d));
        let authorities = d.authorities.iter().map(|a| (a.handle, (a.clone(), false))).collect();
        self.agencies.insert(d.agency.clone(), AgencyState::admitted(d.clone(), authorities));
    }

    /// Whether nothing of a descriptor is somebody else's.
    pub(super) fn has_room_for(&self, d: &Descriptor) -> bool {
        let mark = origin_mark(&self.federation, &d.agency);
        let ids: BTreeSet<NodeId> = d.nodes.iter().map(|n| node_id(&d.agency, &n.local)).collect();
        let mut keys = d.nodes.iter().map(|n| &n.key).chain(d.authorities.iter().map(|a| &a.key));
        d.check().is_ok()
            && d.federation == self.federation
            && self.agencies.len() < limits::AGENCIES
            && d.nodes.len() <= limits::AGENCY_NODES
            && d.nodes.iter().all(|n| is_local(&n.local))
            && ids.len() == d.nodes.len()
            && ids.iter().all(|id| !self.is_number_used(*id))
            && keys.all(|key| !self.is_key_used(key))
            && self.agencies.keys().all(|a| origin_mark(&self.federation, a) != mark)
    }

    fn is_number_used(&self, id: NodeId) -> bool {
        self.nodes.contains_key(&id) || self.members.retired.contains_key(&id)
    }

    /// Whether somebody signs with a key, or a removed node did: a key has one meaning for ever.
    pub(super) fn is_key_used(&self, key: &PublicKey) -> bool {
        self.agencies.values().any(|a| a.authorities.values().any(|(x, _)| x.key == *key))
            || self.nodes.values().any(|n| n.key == *key)
            || self.members.retired.values().any(|r| r.key == *key)
    }

    /// Gives an agency another node, which does not vote; two of its officers.
    pub(super) fn add_node(
        &mut self,
        signed: &SignedAct,
        agency: &AgencyId,
        (entry, place): (&NodeEntry, Option<Place>),
    ) -> Result<CommandReply, Refusal> {
        if !self.agencies.contains_key(agency) {
            return Err(Refusal::Unknown);
        }
        let id = node_id(agency, &entry.local);
        if let Some(known) = self.nodes.get(&id) {
            let same = known.agency == *agency && known.key == entry.key;
            return if same { Ok(Done) } else { Err(Refusal::Exists) };
        }
        if signed.expected != 0 {
            return Err(Refusal::VersionConflict);
        }
        if !self.may_add(agency, entry) || self.pending.len() >= limits::PENDING_ACTS {
            return Err(Refusal::Invalid);
        }
        if !self.two_officers(signed, agency, None)? {
            return Ok(Pending);
        }
        if self.defers() {
            return Ok(Waiting);
        }
        self.place_node(agency, entry, place);
        Ok(Done)
    }

    /// Whether an agency may have this node too.
    pub(super) fn may_add(&self, agency: &AgencyId, entry: &NodeEntry) -> bool {
        let standing = self.nodes.values().filter(|n| n.agency == *agency).count();
        let removed = self.members.retired.values().filter(|r| r.agency == *agency).count();
        let full = standing >= limits::AGENCY_NODES || standing.saturating_add(removed) >= limits::AGENCY_NUMBERS;
        let used = self.is_number_used(node_id(agency, &entry.local)) || self.is_key_used(&entry.key);
        !full && !used && is_local(&entry.local)
    }

    /// A node takes part from now on.
    pub(super) fn place_node(&mut self, agency: &AgencyId, entry: &NodeEntry, place: Option<Place>) {
        let id = node_id(agency, &entry.local);
        self.nodes.insert(id, NodeState::new(agency, entry));
        if let Some(place) = place {
            self.members.places.insert(id, place);
        }
    }

    /// Takes a node out for good: two officers of its agency, or officers of t others. One that votes is taken off the
    /// voters first.
    pub(super) fn remove_node(
        &mut self,
        index: u64,
        signed: &SignedAct,
        act: &Act,
        (agency, local): (&AgencyId, &str),
    ) -> Result<CommandReply, Refusal> {
        let id = node_id(agency, local);
        if self.members.retired.contains_key(&id) {
            return Ok(Done);
        }
        if self.nodes.get(&id).is_none_or(|n| n.agency != *agency) {
            return Err(Refusal::Unknown);
        }
        if signed.expected != ADDED {
            return Err(Refusal::VersionConflict);
        }
        let own = !self.signers(signed, agency, Role::SecurityOfficer).is_empty();
        // Acts that wait for their second officer keep nobody from being removed by the others.
        let crowded = own && self.pending.len() >= limits::PENDING_ACTS;
        if crowded || self.voter_sets().iter().any(|set| set.contains(&id)) {
            return Err(Refusal::Invalid);
        }
        let enough = match own {
            true => self.two_officers(signed, agency, None)?,
            false => self.enough_of_the_whole(signed, act, &[agency.clone()].into())?,
        };
        if !enough {
            return Ok(Pending);
        }
        self.retire(index, id);
        Ok(Done)
    }

    /// A node takes part no more.
    pub(super) fn retire(&mut self, index: u64, id: NodeId) {
        let Some(NodeState { agency, local, key, anchor, .. }) = self.nodes.remove(&id) else { return };
        self.members.places.remove(&id);
        self.members.retired.insert(id, Retired { agency, local, key, index, anchor });
    }

    /// Approves who votes; officers of t agencies whose own seat stays as it is.
    pub(super) fn change_voters(
        &mut self,
        signed: &SignedAct,
        act: &Act,
        seats: &BTreeMap<AgencyId, String>,
    ) -> Result<CommandReply, Refusal> {
        let voters: BTreeSet<NodeId> = seats.iter().map(|(agency, local)| node_id(agency, local)).collect();
        if voters == self.members.approved {
            return Ok(Done);
        }
        if signed.expected != self.members.version {
            return Err(Refusal::VersionConflict);
        }
        let takes_back = self.members.config.first() == Some(&voters);
        // Whoever was suspended may keep a seat while another's is taken; it gets none.
        let seated = |(agency, local): (&AgencyId, &String)| {
            let id = node_id(agency, local);
            let node = self.nodes.get(&id).is_some_and(|n| n.agency == *agency);
            node && (self.stands(agency) || self.members.approved.contains(&id))
        };
        let standing = seats.keys().filter(|a| self.stands(a)).count();
        // A genesis may have more voters than an act makes: from there it goes on one by one.
        let one_by_one = self.level() >= ONE_SEAT;
        let most = if one_by_one { limits::VOTERS.max(self.members.approved.len()) } else { limits::VOTERS };
        let size = (FEWEST..=most).contains(&voters.len()) || takes_back && one_by_one;
        let size = size && standing * 2 > voters.len();
        let valid = size && seats.iter().all(seated);
        if !valid || !(self.members.is_settled() || takes_back) {
            return Err(Refusal::Invalid);
        }
        let subjects = self.seats_moved(&voters);
        if subjects.len() > 1 && !takes_back && one_by_one {
            return Err(Refusal::Seats);
        }
        if !self.enough_of_the_whole(signed, act, &subjects)? {
            return Ok(Pending);
        }
        self.members.approved = voters;
        self.members.version = self.members.version.saturating_add(1);
        // Whoever has never reported holds the ledger's time where it is, and does not start it anew (P4).
        for agency in self.voting() {
            if !self.reports.contains_key(&agency) {
                self.reports.insert(agency, self.time);
            }
        }
        Ok(Done)
    }
}

/// What a certificate's name can hold as the id of a node.
fn is_local(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let length = (1..=32).contains(&text.len());
    length && !text.starts_with('-') && !text.ends_with('-') && text.chars().all(allowed)
}

impl NodeState {
    /// One that has signed nothing yet.
    pub(super) fn new(agency: &AgencyId, entry: &NodeEntry) -> NodeState {
        let NodeEntry { local, key, place: _ } = entry;
        let (agency, local) = (agency.clone(), local.clone());
        NodeState { agency, local, key: *key, last: (0, 0), reply: None, content: None, anchor: None }
    }
}

impl AgencyState {
    /// As it comes in.
    pub(super) fn admitted(descriptor: Descriptor, authorities: BTreeMap<Handle, (Authority, bool)>) -> AgencyState {
        AgencyState {
            bounds: Bounds::admitted(&descriptor),
            descriptor: Arc::new(descriptor),
            authorities,
            introductions: BTreeMap::new(),
            standing: 1,
            suspended: None,
            entries: OrdMap::new(),
            barred: BTreeSet::new(),
        }
    }
}

impl Canon for Members {
    fn write(&self, w: &mut Writer) {
        let Members { version, approved, config, retired, places } = self;
        w.u32(*version);
        write_set(w, approved);
        w.list(config.iter(), write_set);
        w.list(retired.iter(), |w, (id, r)| {
            w.value(id).value(&r.agency).str(&r.local).value(&r.key).u64(r.index);
            w.option(r.anchor.as_ref(), |w, (index, hash)| {
                w.u64(*index).array(hash);
            });
        });
        w.list(places.iter(), |w, (id, place)| {
            w.value(id).value(place);
        });
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        let retired = |r: &mut Reader<'_>| {
            let id: NodeId = r.value()?;
            let (agency, local) = (r.value()?, r.str(32)?.to_owned());
            let (key, index) = (r.value()?, r.u64()?);
            let anchor = r.option(|r| Ok((r.u64()?, r.array()?)))?;
            Ok((id, Retired { agency, local, key, index, anchor }))
        };
        Ok(Members {
            version: r.u32()?,
            approved: read_set(r, limits::AGENCIES)?,
            config: r.list(2, |r| read_set(r, limits::AGENCIES))?,
            retired: r.list(limits::RETIRED, retired)?.into_iter().collect(),
            places: r.list(1 << 16, |r| Ok((r.value()?, r.value()?)))?.into_iter().collect(),
        })
    }
}
