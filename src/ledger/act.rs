//! Acts of authority: what persons sign with their own keys (P1).

use crate::domain::agency::Tier;
use crate::domain::agreement::{Guide, Terms};
use crate::domain::canon::{Canon, CanonError, Reader, Writer, read_set, write_set};
use crate::domain::ids::{AgencyId, AgreementId, FederationId, Handle, RecordId};
use crate::domain::label::{Compartment, Grade};
use crate::domain::limits;
use crate::domain::time::Millis;
use crate::seal::{PublicKey, Signature, SigningKey, digest};
use std::collections::{BTreeMap, BTreeSet};

use super::bounds::{read_roots, write_roots};
use super::genesis::{Authority, Descriptor, NodeEntry, Place};
use super::level::{BOUNDS, FIRST};
use super::suites::{SuiteState, read_states, write_states};

const SIGN_ACT: &str = "hufu.act";

/// One act. Variant order is format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Sign these terms; the first signature drafts them, the last party's puts them in force.
    Agreement(Terms),
    /// End an agreement at first sight; any party may.
    EndAgreement {
        /// Which.
        id: AgreementId,
        /// Reason in words, at most 400 characters.
        reason: String,
    },
    /// A classifier's standing approval.
    Guide(Guide),
    /// End a guide, named by its act hash.
    EndGuide {
        /// Agency of the guide.
        agency: AgencyId,
        /// Its id.
        guide: [u8; 16],
    },
    /// Register a person who signs; needs two officers of that agency.
    Register {
        /// Agency.
        agency: AgencyId,
        /// Whom.
        authority: Authority,
    },
    /// Take a person's authority away at first sight; one officer of that agency.
    Suspend {
        /// Agency.
        agency: AgencyId,
        /// Whom.
        handle: Handle,
    },
    /// Cut an agency off; officers of t other agencies (P2).
    SuspendAgency {
        /// Which.
        agency: AgencyId,
    },
    /// Let a suspended agency in again; officers of t other agencies (P2).
    ReinstateAgency {
        /// Which.
        agency: AgencyId,
    },
    /// Give a version up that nobody can serve any more: what is owed is lost (P17); one officer of its originator.
    Abandon {
        /// Originator.
        agency: AgencyId,
        /// Envelope id.
        record: RecordId,
        /// Its version.
        version: u32,
    },
    /// The salted hash of a version of a directory entry (P1); one officer of that agency.
    Entry {
        /// Agency.
        agency: AgencyId,
        /// Whose entry.
        handle: Handle,
        /// Version of the entry, above the one that the ledger has.
        version: u32,
        /// Its salted hash.
        hash: [u8; 32],
    },
    /// Take an agency in; officers of t agencies (P2).
    Admit(Box<Descriptor>),
    /// Give an agency another node, which does not vote; two of its officers.
    AddNode {
        /// Agency.
        agency: AgencyId,
        /// The node.
        node: NodeEntry,
        /// Where it is.
        place: Option<Place>,
    },
    /// Take a node out for good; two officers of its agency, or officers of t others.
    RemoveNode {
        /// Agency.
        agency: AgencyId,
        /// Local id.
        node: String,
    },
    /// Which node of which agency votes: all of them, and nobody else; officers of t agencies whose seat stays as it is (P2).
    Voters(BTreeMap<AgencyId, String>),
    /// What an agency's systems may hold; officers of t other agencies (P2), as with the two below.
    Ceiling {
        /// Agency.
        agency: AgencyId,
        /// Highest grade.
        grade: Grade,
        /// All compartments, and no others.
        compartments: BTreeSet<Compartment>,
    },
    /// An agency's tier, and so what it may mark.
    Tier {
        /// Agency.
        agency: AgencyId,
        /// Its tier.
        tier: Tier,
    },
    /// The authorities that vouch for an agency's certificates: one, or two while one takes the other's place.
    TrustRoot {
        /// Agency.
        agency: AgencyId,
        /// Their certificates, DER; these, and no others.
        roots: BTreeSet<Vec<u8>>,
    },
    /// What each cryptographic suite may be used for; officers of t agencies (P2).
    Suites(BTreeMap<u16, SuiteState>),
}

impl Act {
    /// The level of rules that has it first (P5). A program of before cannot read it.
    pub fn level(&self) -> u16 {
        match self {
            Act::Ceiling { .. } | Act::Tier { .. } | Act::TrustRoot { .. } | Act::Suites(_) => BOUNDS,
            _ => FIRST,
        }
    }
}

impl Canon for Act {
    fn write(&self, w: &mut Writer) {
        match self {
            Act::Agreement(t) => w.u8(0).value(t),
            Act::EndAgreement { id, reason } => w.u8(1).value(id).str(reason),
            Act::Guide(g) => w.u8(2).value(g),
            Act::EndGuide { agency, guide } => w.u8(3).value(agency).array(guide),
            Act::Register { agency, authority } => w.u8(4).value(agency).value(authority),
            Act::Suspend { agency, handle } => w.u8(5).value(agency).value(handle),
            Act::SuspendAgency { agency } => w.u8(6).value(agency),
            Act::ReinstateAgency { agency } => w.u8(7).value(agency),
            Act::Abandon { agency, record, version } => w.u8(8).value(agency).value(record).u32(*version),
            Act::Entry { agency, handle, version, hash } => {
                w.u8(9).value(agency).value(handle).u32(*version).array(hash)
            }
            Act::Admit(d) => w.u8(10).value(d.as_ref()),
            Act::AddNode { agency, node, place } => {
                w.u8(11).value(agency).value(node).option(place.as_ref(), |w, p| p.write(w))
            }
            Act::RemoveNode { agency, node } => w.u8(12).value(agency).str(node),
            Act::Voters(seats) => w.u8(13).list(seats.iter(), |w, (agency, node)| {
                w.value(agency).str(node);
            }),
            Act::Ceiling { agency, grade, compartments } => {
                write_set(w.u8(14).value(agency).value(grade), compartments);
                w
            }
            Act::Tier { agency, tier } => w.u8(15).value(agency).value(tier),
            Act::TrustRoot { agency, roots } => {
                write_roots(w.u8(16).value(agency), roots);
                w
            }
            Act::Suites(states) => {
                write_states(w.u8(17), states);
                w
            }
        };
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(match r.u8()? {
            0 => Act::Agreement(r.value()?),
            1 => Act::EndAgreement { id: r.value()?, reason: r.str(1600)?.to_owned() },
            2 => Act::Guide(r.value()?),
            3 => Act::EndGuide { agency: r.value()?, guide: r.array()? },
            4 => Act::Register { agency: r.value()?, authority: r.value()? },
            5 => Act::Suspend { agency: r.value()?, handle: r.value()? },
            6 => Act::SuspendAgency { agency: r.value()? },
            7 => Act::ReinstateAgency { agency: r.value()? },
            8 => Act::Abandon { agency: r.value()?, record: r.value()?, version: r.u32()? },
            9 => Act::Entry { agency: r.value()?, handle: r.value()?, version: r.u32()?, hash: r.array()? },
            10 => Act::Admit(Box::new(r.value()?)),
            11 => Act::AddNode { agency: r.value()?, node: r.value()?, place: r.option(Place::read)? },
            12 => Act::RemoveNode { agency: r.value()?, node: r.str(32)?.to_owned() },
            13 => Act::Voters(read_seats(r)?),
            14 => {
                let (agency, grade) = (r.value()?, r.value()?);
                Act::Ceiling { agency, grade, compartments: read_set(r, limits::COMPARTMENTS)? }
            }
            15 => Act::Tier { agency: r.value()?, tier: r.value()? },
            16 => Act::TrustRoot { agency: r.value()?, roots: read_roots(r)? },
            17 => Act::Suites(read_states(r)?),
            _ => return Err(CanonError::Invalid("act")),
        })
    }
}

/// Agencies in rising order, so that each has one seat and one set one form.
fn read_seats(r: &mut Reader<'_>) -> Result<BTreeMap<AgencyId, String>, CanonError> {
    let seats: Vec<(AgencyId, String)> = r.list(limits::AGENCIES, |r| Ok((r.value()?, r.str(32)?.to_owned())))?;
    if !seats.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(CanonError::Invalid("order of voters"));
    }
    Ok(seats.into_iter().collect())
}

/// An act with detached signatures over (federation, act, expected version, expiry).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedAct {
    /// The act's canonical bytes.
    pub act: Vec<u8>,
    /// The version of the object that the signers saw; 0 for a new one.
    pub expected: u32,
    /// Not valid from this ledger time on.
    pub expires: Millis,
    /// Signers.
    pub signatures: Vec<(Handle, Signature)>,
}

impl SignedAct {
    /// Signs an act.
    pub fn sign(
        federation: &FederationId,
        act: &Act,
        expected: u32,
        expires: Millis,
        handle: Handle,
        key: &SigningKey,
    ) -> SignedAct {
        let act = act.to_canon();
        let signature = key.sign(SIGN_ACT, &signed_bytes(federation, &act, expected, expires));
        SignedAct { act, expected, expires, signatures: vec![(handle, signature)] }
    }

    /// Whether `key` made `signature` over this act.
    pub fn verify(&self, federation: &FederationId, key: &PublicKey, signature: &Signature) -> bool {
        key.verify(SIGN_ACT, &signed_bytes(federation, &self.act, self.expected, self.expires), signature).is_ok()
    }
}

impl Canon for SignedAct {
    fn write(&self, w: &mut Writer) {
        w.bytes(&self.act).u32(self.expected).value(&self.expires);
        w.list(self.signatures.iter(), |w, (h, s)| {
            w.value(h).value(s);
        });
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(SignedAct {
            act: r.bytes(64 << 10)?.to_vec(),
            expected: r.u32()?,
            expires: r.value()?,
            signatures: r.list(16, |r| Ok((r.value()?, r.value()?)))?,
        })
    }
}

fn signed_bytes(federation: &FederationId, act: &[u8], expected: u32, expires: Millis) -> Vec<u8> {
    Writer::new(SIGN_ACT, 1).value(federation).bytes(act).u32(expected).value(&expires).finish()
}

/// The id of an act by content: signatures by several persons gather under it.
pub fn act_hash(federation: &FederationId, act: &[u8]) -> [u8; 32] {
    digest("hufu.act-hash", &[federation.as_str().as_bytes(), act])
}
