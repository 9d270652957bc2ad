//! Who holds what a publish made: the answers of holders, part by part (P17).
//!
//! A record of several classes is several parts, each owed to its own agencies. An agency holds the record when
//! it holds every part that it is owed.

use super::publish::Wait;
use crate::domain::ids::AgencyId;
use std::collections::BTreeSet;

/// Parts with the agencies that are owed each, and those known to hold it.
#[derive(Debug, Default)]
pub(super) struct Holders {
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    owed: BTreeSet<AgencyId>,
    held: BTreeSet<AgencyId>,
}

impl Holders {
    /// Adds a part that `own` holds; returns its number.
    pub(super) fn part(&mut self, owed: BTreeSet<AgencyId>, own: &AgencyId) -> usize {
        self.parts.push(Part { owed, held: [own.clone()].into() });
        self.parts.len() - 1
    }

    /// Notes that an agency holds a part, durable and openable.
    pub(super) fn note(&mut self, part: usize, agency: AgencyId) {
        if let Some(p) = self.parts.get_mut(part) {
            p.held.insert(agency);
        }
    }

    /// Whether every part is held by as many as were asked for.
    pub(super) fn enough(&self, wait: Wait) -> bool {
        self.parts.iter().all(|p| {
            let wanted = match wait {
                Wait::None => 1,
                Wait::One => p.owed.len().min(2),
                Wait::All => p.owed.len(),
            };
            p.held.len() >= wanted
        })
    }

    /// Agencies that are owed any part.
    pub(super) fn owed(&self) -> BTreeSet<AgencyId> {
        self.parts.iter().flat_map(|p| p.owed.iter().cloned()).collect()
    }

    /// Agencies that hold every part they are owed.
    pub(super) fn held_by(&self) -> BTreeSet<AgencyId> {
        let holds_all = |a: &AgencyId| self.parts.iter().all(|p| !p.owed.contains(a) || p.held.contains(a));
        self.owed().into_iter().filter(holds_all).collect()
    }

    /// What the author should know of what was committed at `index`.
    pub(super) fn warning(&self, wait: Wait, index: u64) -> Option<String> {
        let alone = self.parts.iter().any(|p| p.owed.len() > 1 && p.held.len() == 1);
        if alone {
            return Some(format!("committed at {index}; the originator still holds the only copy"));
        }
        let (held, owed) = (self.held_by().len(), self.owed().len());
        (!self.enough(wait)).then(|| format!("committed at {index}; held by {held} of {owed}"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    fn agencies(names: &[&str]) -> BTreeSet<AgencyId> {
        names.iter().map(|n| n.parse().unwrap()).collect()
    }

    fn holders() -> (Holders, AgencyId) {
        let own = "police".parse().unwrap();
        let mut h = Holders::default();
        assert_eq!(h.part(agencies(&["police", "customs"]), &own), 0);
        assert_eq!(h.part(agencies(&["police", "customs", "cyberspace"]), &own), 1);
        (h, own)
    }

    #[test]
    fn an_agency_holds_a_record_when_it_holds_every_part_it_is_owed() {
        let (mut h, own) = holders();
        assert_eq!(h.held_by(), agencies(&["police"]));
        h.note(1, "customs".parse().unwrap());
        assert_eq!(h.held_by(), agencies(&["police"]), "customs lacks part 0");
        h.note(1, "cyberspace".parse().unwrap());
        assert_eq!(h.held_by(), agencies(&["police", "cyberspace"]), "owed part 1 alone");
        h.note(0, "customs".parse().unwrap());
        assert_eq!(h.held_by(), h.owed());
        h.note(7, own);
    }

    #[test]
    fn each_part_must_be_held_by_as_many_as_asked() {
        let (mut h, _) = holders();
        assert!(h.enough(Wait::None) && !h.enough(Wait::One));
        assert!(h.warning(Wait::None, 9).unwrap().contains("only copy"));
        h.note(1, "cyberspace".parse().unwrap());
        assert!(!h.enough(Wait::One), "part 0 is at the originator alone");
        h.note(0, "customs".parse().unwrap());
        assert!(h.enough(Wait::One) && !h.enough(Wait::All));
        assert_eq!(h.warning(Wait::One, 9), None);
        assert!(h.warning(Wait::All, 9).unwrap().contains("held by 2 of 3"));
        h.note(1, "customs".parse().unwrap());
        assert!(h.enough(Wait::All));
    }

    #[test]
    fn a_record_of_the_own_agency_needs_nobody() {
        let own: AgencyId = "police".parse().unwrap();
        let mut h = Holders::default();
        h.part(agencies(&["police"]), &own);
        assert!(h.enough(Wait::All));
        assert_eq!(h.warning(Wait::All, 3), None);
    }
}
