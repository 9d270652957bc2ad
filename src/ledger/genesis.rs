//! Descriptors and the genesis that every founder signs over the same bytes (P2).

use crate::domain::agency::Tier;
use crate::domain::canon::{Canon, CanonError, Reader, Writer, read_set, write_set};
use crate::domain::ids::{AgencyId, FederationId, Handle, NodeId};
use crate::domain::label::{Compartment, Grade};
use crate::domain::limits;
use crate::domain::person::Role;
use crate::domain::time::Millis;
use crate::seal::{GradePublic, PublicKey, Signature, digest};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::level::{FIRST, check_level};
use super::state::LedgerError;

/// Signature domain of a genesis.
pub(super) const SIGN_GENESIS: &str = "hufu.genesis";

/// A person who signs acts of authority: an opaque handle, roles and key (P1). No name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// Opaque handle.
    pub handle: Handle,
    /// Roles.
    pub roles: BTreeSet<Role>,
    /// The person's own key.
    pub key: PublicKey,
}

impl Canon for Authority {
    fn write(&self, w: &mut Writer) {
        w.value(&self.handle);
        write_set(w, &self.roles);
        w.value(&self.key);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(Authority { handle: r.value()?, roles: read_set(r, 16)?, key: r.value()? })
    }
}

/// Where other nodes reach a node. What stands in a node's own configuration goes before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its node-to-node listener.
    pub nodes: SocketAddr,
    /// Its listener for notices.
    pub notices: SocketAddr,
}

impl Canon for Place {
    fn write(&self, w: &mut Writer) {
        w.str(&self.nodes.to_string()).str(&self.notices.to_string());
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(Place { nodes: read_address(r)?, notices: read_address(r)? })
    }
}

/// One address has one form.
fn read_address(r: &mut Reader<'_>) -> Result<SocketAddr, CanonError> {
    let text = r.str(64)?;
    let address: Option<SocketAddr> = text.parse().ok();
    address.filter(|a| a.to_string() == text).ok_or(CanonError::Invalid("address"))
}

/// One node as the ledger knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEntry {
    /// The local id in its certificate's name, e.g. `1`.
    pub local: String,
    /// Its signing key.
    pub key: PublicKey,
    /// Where it is, if that is told. Not among the bytes of the entry itself.
    pub place: Option<Place>,
}

impl Canon for NodeEntry {
    fn write(&self, w: &mut Writer) {
        w.str(&self.local).value(&self.key);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(NodeEntry { local: r.str(32)?.to_owned(), key: r.value()?, place: None })
    }
}

/// What an agency makes known about itself: `hufu agency init` writes it, the genesis holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// Agency.
    pub agency: AgencyId,
    /// Federation whose names its certificates carry.
    pub federation: FederationId,
    /// Display name.
    pub name: String,
    /// Tier.
    pub tier: Tier,
    /// Highest grade that its nodes may hold.
    pub ceiling: Grade,
    /// Compartments that its nodes may hold.
    pub compartments: BTreeSet<Compartment>,
    /// Its certificate authority, DER.
    pub root: Vec<u8>,
    /// Its nodes.
    pub nodes: Vec<NodeEntry>,
    /// One key for each grade up to the ceiling, lowest first.
    pub grade_keys: Vec<GradePublic>,
    /// The first two officers, and others who sign.
    pub authorities: Vec<Authority>,
}

/// Version 2 tells where the nodes are; one that does not is of version 1.
impl Canon for Descriptor {
    fn write(&self, w: &mut Writer) {
        let placed = self.nodes.iter().any(|n| n.place.is_some());
        w.array(&Writer::new("hufu.descriptor", if placed { 2 } else { 1 }).finish());
        w.value(&self.agency).value(&self.federation).str(&self.name).value(&self.tier).value(&self.ceiling);
        write_set(w, &self.compartments);
        w.bytes(&self.root);
        w.list(self.nodes.iter(), |w, n| n.write(w));
        if placed {
            w.list(self.nodes.iter(), |w, n| {
                w.option(n.place.as_ref(), |w, p| p.write(w));
            });
        }
        w.list(self.grade_keys.iter(), |w, k| k.write(w));
        w.list(self.authorities.iter(), |w, a| a.write(w));
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        let (name, version) = (r.str(32)?, r.u16()?);
        if name != "hufu.descriptor" || !(1..=2).contains(&version) {
            return Err(CanonError::Header);
        }
        Ok(Descriptor {
            agency: r.value()?,
            federation: r.value()?,
            name: r.str(400)?.to_owned(),
            tier: r.value()?,
            ceiling: r.value()?,
            compartments: read_set(r, limits::COMPARTMENTS)?,
            root: r.bytes(8192)?.to_vec(),
            nodes: read_nodes(r, version)?,
            grade_keys: r.list(4, GradePublic::read)?,
            authorities: r.list(64, Authority::read)?,
        })
    }
}

fn read_nodes(r: &mut Reader<'_>, version: u16) -> Result<Vec<NodeEntry>, CanonError> {
    let mut nodes = r.list(limits::AGENCY_NODES, NodeEntry::read)?;
    if version > 1 {
        let places = r.list(limits::AGENCY_NODES, |r| r.option(Place::read))?;
        if places.len() != nodes.len() || places.iter().all(Option::is_none) {
            return Err(CanonError::Invalid("places of nodes"));
        }
        for (node, place) in nodes.iter_mut().zip(places) {
            node.place = place;
        }
    }
    Ok(nodes)
}

impl Descriptor {
    /// Refuses a descriptor that no genesis may hold.
    pub fn check(&self) -> Result<(), LedgerError> {
        let bad = |why: &'static str| Err(LedgerError::Descriptor { agency: self.agency.clone(), why });
        if self.nodes.is_empty() {
            return bad("it names no node");
        }
        if self.grade_keys.len() != self.ceiling as usize + 1 {
            return bad("it does not hold exactly one key for each grade up to its ceiling");
        }
        let officers = self.authorities.iter().filter(|a| a.roles.contains(&Role::SecurityOfficer)).count();
        if officers < 2 {
            return bad("it names fewer than two security officers");
        }
        let handles: BTreeSet<_> = self.authorities.iter().map(|a| a.handle).collect();
        let keys: BTreeSet<_> =
            self.authorities.iter().map(|a| a.key).chain(self.nodes.iter().map(|n| n.key)).collect();
        if handles.len() != self.authorities.len() || keys.len() != self.authorities.len() + self.nodes.len() {
            return bad("it uses one handle or key twice");
        }
        Ok(())
    }
}

/// What the founders sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    /// Name of the federation.
    pub federation: FederationId,
    /// Agencies needed for acts of the whole (P2).
    pub threshold: u16,
    /// When it was drawn up; ledger time starts here.
    pub created: Millis,
    /// Founders, by agency.
    pub founders: Vec<Descriptor>,
    /// Agencies whose first node votes; the others' nodes are learners. At most one voter per agency.
    pub voters: BTreeSet<AgencyId>,
    /// The level of rules at which it begins (P5).
    pub level: u16,
}

impl Genesis {
    /// The bytes that are signed. Version 2 names its level; one that does not begins at the first.
    pub fn to_bytes(&self) -> Vec<u8> {
        let levelled = self.level != FIRST;
        let mut w = Writer::new("hufu.genesis", if levelled { 2 } else { 1 });
        w.value(&self.federation).u16(self.threshold).value(&self.created);
        w.list(self.founders.iter(), |w, d| d.write(w));
        write_set(&mut w, &self.voters);
        if levelled {
            w.u16(self.level);
        }
        w.finish()
    }

    /// Parses and checks the bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Genesis, LedgerError> {
        let read = || -> Result<Genesis, CanonError> {
            let open = |version| Reader::new(bytes, "hufu.genesis", version).map(|r| (r, version));
            let (mut r, version) = open(1).or_else(|_| open(2))?;
            let g = Genesis {
                federation: r.value()?,
                threshold: r.u16()?,
                created: r.value()?,
                founders: r.list(limits::AGENCIES, Descriptor::read)?,
                voters: read_set(&mut r, limits::AGENCIES)?,
                level: if version == 1 { FIRST } else { r.u16()? },
            };
            r.finish()?;
            if version > 1 && g.level <= FIRST {
                return Err(CanonError::Invalid("level"));
            }
            Ok(g)
        };
        let g = read()?;
        g.check()?;
        Ok(g)
    }

    /// Fingerprint to compare by voice.
    pub fn fingerprint(&self) -> [u8; 32] {
        digest("hufu.genesis.fingerprint", &[&self.to_bytes()])
    }

    /// Refuses a genesis that could not work or that breaks P2.
    pub fn check(&self) -> Result<(), LedgerError> {
        let bad = |why: &'static str| Err(LedgerError::Genesis { why });
        check_level(self.level)?;
        if self.level < FIRST {
            return bad("there is no such level of rules");
        }
        if self.founders.len() < 2 {
            return bad("a federation has at least two founders");
        }
        if !self.founders.is_sorted_by(|a, b| a.agency < b.agency) {
            return bad("founders are not in order, or one stands twice");
        }
        for d in &self.founders {
            d.check()?;
            if d.federation != self.federation {
                return bad("a founder's certificates name another federation");
            }
        }
        if usize::from(self.threshold) < 2 || usize::from(self.threshold) > self.founders.len() {
            return bad("the threshold is below two or above the number of founders");
        }
        if self.voters.is_empty() || !self.voters.iter().all(|v| self.founders.iter().any(|d| d.agency == *v)) {
            return bad("the voters are not founders");
        }
        let ids: BTreeSet<NodeId> =
            self.founders.iter().flat_map(|d| d.nodes.iter().map(|n| node_id(&d.agency, &n.local))).collect();
        if ids.len() != self.founders.iter().map(|d| d.nodes.len()).sum::<usize>() {
            return bad("two nodes have one number");
        }
        let marks: BTreeSet<[u8; 4]> = self.founders.iter().map(|d| origin_mark(&self.federation, &d.agency)).collect();
        if marks.len() != self.founders.len() {
            return bad("two agencies have one origin mark");
        }
        Ok(())
    }
}

/// A genesis with the founders' signatures, as it stands in `genesis.json` and on every node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedGenesis {
    /// The signed bytes.
    pub body: Vec<u8>,
    /// One officer's signature for each founder.
    pub signatures: BTreeMap<AgencyId, (Handle, Signature)>,
}

impl SignedGenesis {
    /// Checks and adds one signature.
    pub fn add(&mut self, agency: AgencyId, handle: Handle, signature: Signature) -> Result<(), LedgerError> {
        let genesis = Genesis::from_bytes(&self.body)?;
        verify_one(&genesis, &self.body, &agency, handle, &signature)?;
        self.signatures.insert(agency, (handle, signature));
        Ok(())
    }

    /// The genesis, if every founder signed it.
    pub fn verified(&self) -> Result<Genesis, LedgerError> {
        let genesis = Genesis::from_bytes(&self.body)?;
        for d in &genesis.founders {
            let (handle, signature) =
                self.signatures.get(&d.agency).ok_or_else(|| LedgerError::Unsigned { agency: d.agency.clone() })?;
            verify_one(&genesis, &self.body, &d.agency, *handle, signature)?;
        }
        Ok(genesis)
    }
}

impl Canon for SignedGenesis {
    fn write(&self, w: &mut Writer) {
        w.bytes(&self.body);
        w.list(self.signatures.iter(), |w, (a, (h, s))| {
            w.value(a).value(h).value(s);
        });
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        let body = r.bytes(16 << 20)?.to_vec();
        let list = r.list(limits::AGENCIES, |r| Ok((r.value()?, (r.value()?, r.value()?))))?;
        let n = list.len();
        let signatures: BTreeMap<_, _> = list.into_iter().collect();
        if signatures.len() != n {
            return Err(CanonError::Invalid("order of signatures"));
        }
        Ok(SignedGenesis { body, signatures })
    }
}

fn verify_one(
    genesis: &Genesis,
    body: &[u8],
    agency: &AgencyId,
    handle: Handle,
    signature: &Signature,
) -> Result<(), LedgerError> {
    let wrong = || LedgerError::BadGenesisSignature { agency: agency.clone() };
    let founder = genesis.founders.iter().find(|d| d.agency == *agency).ok_or_else(wrong)?;
    let officer = founder
        .authorities
        .iter()
        .find(|a| a.handle == handle && a.roles.contains(&Role::SecurityOfficer))
        .ok_or_else(wrong)?;
    officer.key.verify(SIGN_GENESIS, body, signature).map_err(|_| wrong())
}

/// A node's number: the first eight bytes of a digest over its agency and local id.
pub fn node_id(agency: &AgencyId, local: &str) -> NodeId {
    let d = digest("hufu.node-id", &[agency.as_str().as_bytes(), local.as_bytes()]);
    let [a, b, c, e, f, g, h, i, ..] = d;
    NodeId(u64::from_be_bytes([a, b, c, e, f, g, h, i]))
}

/// The four bytes by which a record id carries its origin (P17).
pub fn origin_mark(federation: &FederationId, agency: &AgencyId) -> [u8; 4] {
    let [a, b, c, d, ..] = digest("hufu.origin-mark", &[federation.as_str().as_bytes(), agency.as_str().as_bytes()]);
    [a, b, c, d]
}
