//! What officers of t other agencies say of an agency that is in (P2): its ceiling, its tier, and the roots of its certificates.
//!
//! Invariants
//! - One version for all three: it rises by one with each change, and an act names the one that its signers saw.
//! - An act widens or narrows, and none does both. What narrows is in force at first sight, what widens once it is certified
//!   (P7); one that was outdated meanwhile comes to nothing. So a root is exchanged by two acts, the new one beside the old and
//!   then the new one alone, and nobody is cut off between them.
//! - A ceiling is never above the keys that the agency came in with: nothing could be sealed to it.
//! - What was committed under a tier stays marked as it was: which one counted at an index is kept. A changed one counts from the
//!   next entry on.
//! - Of whom nobody changed anything is written as before there were such acts.

use crate::domain::agency::Tier;
use crate::domain::canon::{Canon, CanonError, Reader, Writer, read_set, write_set};
use crate::domain::ids::AgencyId;
use crate::domain::label::{Compartment, Grade};
use crate::domain::limits;
use imbl::OrdMap;
use std::collections::BTreeSet;

use super::act::{Act, SignedAct};
use super::batch::{CommandReply, Refusal};
use super::genesis::Descriptor;
use super::state::{AgencyState, State};

/// Most roots of one agency: the one that goes, and the one that comes.
const ROOTS: usize = 2;
/// Longest root, as in a descriptor.
const ROOT_BYTES: usize = 8192;
/// Most changes of one agency's tier. Each is kept, since none may be left out: a record that was committed under a tier is judged by
/// it as long as anybody reads it. Each takes officers of t agencies, so that nobody alone comes near; all of them are 9 KB.
const TIERS: usize = 1_024;

/// As they are now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bounds {
    /// 1 as admitted.
    pub(super) version: u32,
    pub(super) ceiling: Grade,
    pub(super) compartments: BTreeSet<Compartment>,
    pub(super) tier: Tier,
    /// Tiers of before, oldest first, each with the index of the entry that changed it: what that one commits was marked before.
    pub(super) earlier: Vec<(u64, Tier)>,
    pub(super) roots: BTreeSet<Vec<u8>>,
}

/// The bounds that an act would make.
struct Moved {
    bounds: Bounds,
    widens: bool,
}

impl Bounds {
    pub(super) fn admitted(d: &Descriptor) -> Bounds {
        let (compartments, roots) = (d.compartments.clone(), [d.root.clone()].into());
        Bounds { version: 1, ceiling: d.ceiling, compartments, tier: d.tier, earlier: Vec::new(), roots }
    }

    pub(super) fn is_as_admitted(&self) -> bool {
        self.version == 1
    }

    /// What an act at `index` makes of them; none when they are so already.
    fn moved(&self, index: u64, act: &Act) -> Result<Option<Moved>, Refusal> {
        let mut bounds = self.clone();
        bounds.version = self.version.saturating_add(1);
        let (widens, narrows) = match act {
            Act::Ceiling { grade, compartments, .. } => {
                (bounds.ceiling, bounds.compartments) = (*grade, compartments.clone());
                (
                    *grade > self.ceiling || !compartments.is_subset(&self.compartments),
                    *grade < self.ceiling || !self.compartments.is_subset(compartments),
                )
            }
            Act::Tier { tier, .. } => {
                bounds.tier = *tier;
                bounds.earlier.push((index, self.tier));
                // The highest comes first.
                (*tier < self.tier, *tier > self.tier)
            }
            Act::TrustRoot { roots, .. } => {
                bounds.roots.clone_from(roots);
                (!roots.is_subset(&self.roots), !self.roots.is_subset(roots))
            }
            _ => return Err(Refusal::Invalid),
        };
        match (widens, narrows) {
            (false, false) => Ok(None),
            (true, true) => Err(Refusal::Mixed),
            _ if bounds.earlier.len() > TIERS => Err(Refusal::Invalid),
            (widens, _) => Ok(Some(Moved { bounds, widens })),
        }
    }
}

impl AgencyState {
    /// The highest grade that its nodes may hold now.
    pub fn ceiling(&self) -> Grade {
        self.bounds.ceiling
    }

    /// The compartments that its nodes may hold now.
    pub fn compartments(&self) -> &BTreeSet<Compartment> {
        &self.bounds.compartments
    }

    /// Whether its systems may hold a label of this grade and these compartments now.
    pub fn may_hold(&self, grade: Grade, compartments: &BTreeSet<Compartment>) -> bool {
        grade <= self.bounds.ceiling && compartments.is_subset(&self.bounds.compartments)
    }

    /// Its tier now.
    pub fn tier(&self) -> Tier {
        self.bounds.tier
    }

    /// The tier by which it marked what was committed at an index.
    pub fn tier_at(&self, index: u64) -> Tier {
        self.bounds.earlier.iter().find(|(until, _)| index <= *until).map_or(self.bounds.tier, |(_, tier)| *tier)
    }

    /// The certificates, DER, of the authorities that vouch for its nodes and people now: one, or two while one takes the other's
    /// place.
    pub fn roots(&self) -> &BTreeSet<Vec<u8>> {
        &self.bounds.roots
    }

    /// Version of ceiling, tier and roots, which an act that changes them names.
    pub fn bounds_version(&self) -> u32 {
        self.bounds.version
    }
}

impl State {
    /// Whether what such an act says of its agency is so.
    pub(super) fn is_bound(&self, agency: &AgencyId, act: &Act, expected: u32) -> bool {
        self.agencies
            .get(agency)
            .is_some_and(|a| a.bounds.version > expected && matches!(a.bounds.moved(0, act), Ok(None)))
    }

    /// Whether such an act opens something, as things are now.
    pub(super) fn widens_bounds(&self, agency: &AgencyId, act: &Act) -> bool {
        let moved = self.agencies.get(agency).and_then(|a| a.bounds.moved(0, act).ok().flatten());
        moved.is_some_and(|m| m.widens)
    }

    /// Changes the ceiling, the tier or the roots of an agency.
    pub(super) fn change_bounds(
        &mut self,
        index: u64,
        signed: &SignedAct,
        act: &Act,
        subject: &AgencyId,
    ) -> Result<CommandReply, Refusal> {
        let agency = self.agencies.get(subject).ok_or(Refusal::Unknown)?;
        let keys = agency.descriptor.grade_keys.len();
        if matches!(act, Act::Ceiling { grade, .. } if *grade as usize >= keys) {
            return Err(Refusal::NoKey);
        }
        let Some(moved) = agency.bounds.moved(index, act)? else { return Ok(CommandReply::Done) };
        if signed.expected != agency.bounds.version {
            return Err(Refusal::VersionConflict);
        }
        if !self.enough_of_the_whole(signed, act, &[subject.clone()].into())? {
            return Ok(CommandReply::Pending);
        }
        if moved.widens && self.defers() {
            return Ok(CommandReply::Waiting);
        }
        self.bind(subject, moved);
        Ok(CommandReply::Done)
    }

    /// What widens is certified: it takes force, unless something was changed since it was signed.
    pub(super) fn widen_bounds(&mut self, index: u64, act: &Act, subject: &AgencyId, expected: u32) {
        let Some(agency) = self.agencies.get(subject).filter(|a| a.bounds.version == expected) else { return };
        if let Ok(Some(moved)) = agency.bounds.moved(index, act) {
            self.bind(subject, moved);
        }
    }

    fn bind(&mut self, subject: &AgencyId, moved: Moved) {
        if let Some(agency) = self.agencies.get_mut(subject) {
            agency.bounds = moved.bounds;
        }
    }
}

/// Those of agencies of which officers changed something.
pub(super) fn write_bounds(w: &mut Writer, agencies: &OrdMap<AgencyId, AgencyState>) {
    let changed: Vec<_> = agencies.iter().filter(|(_, a)| !a.bounds.is_as_admitted()).collect();
    w.list(changed.into_iter(), |w, (agency, a)| {
        w.value(agency).value(&a.bounds);
    });
}

/// What [`write_bounds`] wrote.
pub(super) fn read_bounds(r: &mut Reader<'_>, agencies: &mut OrdMap<AgencyId, AgencyState>) -> Result<(), CanonError> {
    for (id, bounds) in r.list(limits::AGENCIES, |r| Ok((AgencyId::read(r)?, Bounds::read(r)?)))? {
        agencies.get_mut(&id).ok_or(CanonError::Invalid("bounds of no agency"))?.bounds = bounds;
    }
    Ok(())
}

/// Roots in rising order, one or two of them, so that one set has one form.
pub(super) fn write_roots(w: &mut Writer, roots: &BTreeSet<Vec<u8>>) {
    w.list(roots.iter(), |w, root| {
        w.bytes(root);
    });
}

/// What [`write_roots`] wrote.
pub(super) fn read_roots(r: &mut Reader<'_>) -> Result<BTreeSet<Vec<u8>>, CanonError> {
    let roots: Vec<Vec<u8>> = r.list(ROOTS, |r| Ok(r.bytes(ROOT_BYTES)?.to_vec()))?;
    if roots.is_empty() || roots.iter().any(Vec::is_empty) || !roots.is_sorted_by(|a, b| a < b) {
        return Err(CanonError::Invalid("roots"));
    }
    Ok(roots.into_iter().collect())
}

impl Canon for Bounds {
    fn write(&self, w: &mut Writer) {
        let Bounds { version, ceiling, compartments, tier, earlier, roots } = self;
        w.u32(*version).value(ceiling);
        write_set(w, compartments);
        w.value(tier).list(earlier.iter(), |w, (until, tier)| {
            w.u64(*until).value(tier);
        });
        write_roots(w, roots);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(Bounds {
            version: r.u32()?,
            ceiling: r.value()?,
            compartments: read_set(r, limits::COMPARTMENTS)?,
            tier: r.value()?,
            earlier: r.list(TIERS, |r| Ok((r.u64()?, r.value()?)))?,
            roots: read_roots(r)?,
        })
    }
}
