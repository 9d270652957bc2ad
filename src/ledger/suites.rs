//! What each cryptographic suite may be used for in the whole federation (P2, P32): officers of t agencies say it, and no
//! agency is its subject.
//!
//! Which suites there are is a rule of a level ([`super::level`]): a program that knows another one and a program that does not
//! make the same of an act. Exactly one is preferred, or nothing could be sealed any more. With one suite known there is
//! one table alone, and every act that says another is refused; what it would mean is held here as data all the same.

use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::act::{Act, SignedAct};
use super::batch::{CommandReply, Refusal};
use super::state::State;

/// Most suites of one table.
const SUITES: usize = 16;
/// Suites of the levels that there are.
const KNOWN: &[u16] = &[1];

/// What a suite may be used for. The order is format, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SuiteState {
    /// Nothing: what was sealed with it opens no more.
    Forbidden = 0,
    /// To open what was sealed before.
    DecryptOnly = 1,
    /// To take what is sealed with it.
    Accepted = 2,
    /// To seal with.
    Preferred = 3,
}

impl SuiteState {
    /// All of them.
    pub const ALL: [SuiteState; 4] =
        [SuiteState::Forbidden, SuiteState::DecryptOnly, SuiteState::Accepted, SuiteState::Preferred];

    /// The word used in commands.
    pub fn as_str(self) -> &'static str {
        match self {
            SuiteState::Forbidden => "forbidden",
            SuiteState::DecryptOnly => "decrypt-only",
            SuiteState::Accepted => "accepted",
            SuiteState::Preferred => "preferred",
        }
    }

    /// How much it lets in. Which of those that are taken is sealed with opens and closes nothing.
    fn reach(self) -> SuiteState {
        self.min(SuiteState::Accepted)
    }
}

impl fmt::Display for SuiteState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Canon for SuiteState {
    fn write(&self, w: &mut Writer) {
        w.u8(*self as u8);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        let n = r.u8()?;
        SuiteState::ALL.into_iter().find(|s| *s as u8 == n).ok_or(CanonError::Invalid("state of a suite"))
    }
}

/// The table that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suites {
    version: u32,
    states: BTreeMap<u16, SuiteState>,
}

impl Suites {
    /// Suite 1, and no other.
    pub(super) fn founded() -> Suites {
        Suites { version: 1, states: [(1, SuiteState::Preferred)].into() }
    }

    /// Version of the table, which an act that changes it names.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Each suite of which something was said; any other is forbidden.
    pub fn states(&self) -> &BTreeMap<u16, SuiteState> {
        &self.states
    }

    /// The table that an act makes, and whether it widens; none when it is so already.
    fn moved(&self, states: &BTreeMap<u16, SuiteState>, known: &[u16]) -> Result<Option<(Suites, bool)>, Refusal> {
        let preferred = states.values().filter(|s| **s == SuiteState::Preferred).count();
        let names_all = self.states.keys().all(|id| states.contains_key(id));
        if preferred != 1 || !names_all || states.keys().any(|id| !known.contains(id)) {
            return Err(Refusal::Suites);
        }
        if *states == self.states {
            return Ok(None);
        }
        let before = |id: &u16| self.states.get(id).copied().unwrap_or(SuiteState::Forbidden).reach();
        let widens = states.iter().any(|(id, s)| s.reach() > before(id));
        if widens && states.iter().any(|(id, s)| s.reach() < before(id)) {
            return Err(Refusal::Mixed);
        }
        Ok(Some((Suites { version: self.version.saturating_add(1), states: states.clone() }, widens)))
    }

    /// Whether this may be a later table of the same federation.
    pub fn may_follow(&self, earlier: &Suites) -> bool {
        self == earlier || self.version > earlier.version
    }
}

impl State {
    /// What each suite may be used for.
    pub fn suites(&self) -> &Suites {
        &self.suites
    }

    /// Whether a suite is one of the ledger's level.
    pub fn is_suite_known(&self, id: u16) -> bool {
        KNOWN.contains(&id)
    }

    pub(super) fn are_suites(&self, states: &BTreeMap<u16, SuiteState>, expected: u32) -> bool {
        self.suites.version > expected && self.suites.states == *states
    }

    pub(super) fn widens_suites(&self, states: &BTreeMap<u16, SuiteState>) -> bool {
        matches!(self.suites.moved(states, KNOWN), Ok(Some((_, true))))
    }

    /// Says what suites may be used for; officers of t agencies.
    pub(super) fn change_suites(
        &mut self,
        signed: &SignedAct,
        act: &Act,
        states: &BTreeMap<u16, SuiteState>,
    ) -> Result<CommandReply, Refusal> {
        let Some((suites, widens)) = self.suites.moved(states, KNOWN)? else { return Ok(CommandReply::Done) };
        if signed.expected != self.suites.version {
            return Err(Refusal::VersionConflict);
        }
        if !self.enough_of_the_whole(signed, act, &BTreeSet::new())? {
            return Ok(CommandReply::Pending);
        }
        if widens && self.defers() {
            return Ok(CommandReply::Waiting);
        }
        self.suites = suites;
        Ok(CommandReply::Done)
    }

    /// What widens is certified: it takes force, unless something was changed since it was signed.
    pub(super) fn widen_suites(&mut self, states: &BTreeMap<u16, SuiteState>, expected: u32) {
        if let (true, Ok(Some((suites, _)))) = (self.suites.version == expected, self.suites.moved(states, KNOWN)) {
            self.suites = suites;
        }
    }
}

/// By rising number, so that one table has one form.
pub(super) fn write_states(w: &mut Writer, states: &BTreeMap<u16, SuiteState>) {
    w.list(states.iter(), |w, (id, state)| {
        w.u16(*id).value(state);
    });
}

/// What [`write_states`] wrote.
pub(super) fn read_states(r: &mut Reader<'_>) -> Result<BTreeMap<u16, SuiteState>, CanonError> {
    let states: Vec<(u16, SuiteState)> = r.list(SUITES, |r| Ok((r.u16()?, r.value()?)))?;
    if !states.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(CanonError::Invalid("order of suites"));
    }
    Ok(states.into_iter().collect())
}

impl Canon for Suites {
    fn write(&self, w: &mut Writer) {
        w.u32(self.version);
        write_states(w, &self.states);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        Ok(Suites { version: r.u32()?, states: read_states(r)? })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::SuiteState::{Accepted, DecryptOnly, Forbidden, Preferred};
    use super::*;
    use crate::seal::Suite;

    #[test]
    fn the_suites_of_the_ledger_are_those_of_this_program() {
        assert_eq!(Suite::ALL.map(Suite::id), KNOWN);
    }

    /// Held against two suites, as a later level will have them.
    #[test]
    fn l_a_table_of_suites_leaves_one_to_seal_with() {
        let both = [1, 2];
        let table = |states: &[(u16, SuiteState)]| states.iter().copied().collect::<BTreeMap<u16, SuiteState>>();
        let one = Suites::founded();
        let moved = |of: &Suites, states: &[(u16, SuiteState)]| {
            of.moved(&table(states), &both).map(|m| m.map(|(next, widens)| (next.version, widens)))
        };
        assert_eq!(moved(&one, &[(1, Preferred)]), Ok(None));
        for state in [Accepted, DecryptOnly, Forbidden] {
            assert_eq!(moved(&one, &[(1, state)]), Err(Refusal::Suites), "nothing to seal with: {state}");
        }
        assert_eq!(moved(&one, &[(1, Preferred), (2, Preferred)]), Err(Refusal::Suites), "one is preferred");
        assert_eq!(moved(&one, &[(1, Preferred), (9, Accepted)]), Err(Refusal::Suites), "nobody knows it");
        assert_eq!(moved(&one, &[(2, Preferred)]), Err(Refusal::Suites), "what is known is not passed over");
        assert_eq!(moved(&one, &[(1, Preferred), (2, Accepted)]), Ok(Some((2, true))));
        assert_eq!(moved(&one, &[(1, DecryptOnly), (2, Preferred)]), Err(Refusal::Mixed));

        let two = one.moved(&table(&[(1, Preferred), (2, Accepted)]), &both).unwrap().unwrap().0;
        assert_eq!(moved(&two, &[(1, Accepted), (2, Preferred)]), Ok(Some((3, false))), "another is sealed with");
        assert_eq!(moved(&two, &[(1, Forbidden), (2, Preferred)]), Ok(Some((3, false))));
        assert!(two.may_follow(&one) && two.may_follow(&two) && !one.may_follow(&two));
        assert_eq!(Suites::from_canon(&two.to_canon()), Ok(two));
    }
}
