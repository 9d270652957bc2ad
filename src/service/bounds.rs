//! Ceiling, tier and roots of an agency, and what suites may be used for: what the ledger would refuse, in words that help.

use super::core::Core;
use super::federation::unknown_agency;
use crate::domain::fault::Fault;
use crate::domain::ids::AgencyId;
use crate::domain::label::Grade;
use crate::identity::{authority_of, is_dev};
use crate::ledger::{Act, State, SuiteState};
use crate::seal::{Suite, sha256};
use data_encoding::HEXLOWER;
use std::collections::{BTreeMap, BTreeSet};

/// Fingerprint of an authority, to compare by voice.
pub fn root_fingerprint(der: &[u8]) -> String {
    HEXLOWER.encode(&sha256(&[der]))
}

/// A number that stands for no suite is wrong input, whoever signs under it.
pub fn unknown_suite(id: u16) -> Fault {
    let known: Vec<String> = Suite::ALL.iter().map(|s| s.id().to_string()).collect();
    Fault::usage("UNKNOWN_SUITE", format!("no node has suite {id}"))
        .hint(format!("there is suite {}", known.join(", ")))
}

/// The name of such an act, and what it says of whom; none of any other act. A fingerprint is short here.
pub fn bounds_words(act: &Act) -> Option<(&'static str, String)> {
    match act {
        Act::Ceiling { agency, grade, compartments } => {
            let all = compartments.iter().map(|c| c.as_str());
            let words: Vec<&str> = [agency.as_str(), grade.as_str()].into_iter().chain(all).collect();
            Some(("ceiling", words.join(" ")))
        }
        Act::Tier { agency, tier } => Some(("tier", format!("{agency} {tier}"))),
        Act::TrustRoot { agency, roots } => {
            let short = |root: &Vec<u8>| root_fingerprint(root).chars().take(16).collect::<String>();
            let words: Vec<String> = std::iter::once(agency.to_string()).chain(roots.iter().map(short)).collect();
            Some(("trust-root", words.join(" ")))
        }
        Act::Suites(states) => {
            let words: Vec<String> = states.iter().map(|(id, state)| format!("{id}={state}")).collect();
            Some(("suites", words.join(" ")))
        }
        _ => None,
    }
}

impl Core {
    pub(super) fn check_bounds(&self, state: &State, act: &Act) -> Result<(), Fault> {
        if act.level() > state.level() {
            let why = format!("the ledger's rules are of level {}, and this needs {}", state.level(), act.level());
            return Err(Fault::refused("NOT_SUPPORTED", why)
                .hint("the level rises by itself when every node runs a version that knows it"));
        }
        match act {
            Act::Ceiling { agency, grade, .. } => {
                self.check_subject(state, agency)?;
                check_keys(state, agency, *grade)
            }
            Act::Tier { agency, .. } => self.check_subject(state, agency),
            Act::TrustRoot { agency, roots } => {
                self.check_subject(state, agency)?;
                self.check_roots(state, agency, roots)
            }
            Act::Suites(states) => check_suites(state, states),
            _ => Ok(()),
        }
    }

    fn check_subject(&self, state: &State, agency: &AgencyId) -> Result<(), Fault> {
        if state.agency(agency).is_none() {
            return Err(unknown_agency(agency));
        }
        if *agency == self.agency {
            let why = "an agency has no voice in its own ceiling, tier and authority";
            return Err(Fault::refused("NOT_ALLOWED", why).hint("officers of the other agencies run this"));
        }
        Ok(())
    }

    /// The ledger takes roots as they are: what nobody could read, or is another's, would cut the agency off.
    fn check_roots(&self, state: &State, agency: &AgencyId, roots: &BTreeSet<Vec<u8>>) -> Result<(), Fault> {
        let bad = |why: String| Err(Fault::usage("BAD_ROOT", why));
        let exercise = state.agency(&self.agency).is_some_and(|a| a.roots().iter().all(|root| is_dev(root)));
        for root in roots {
            match authority_of(root) {
                Ok((of, federation)) if of == *agency && federation == self.federation => {}
                Ok((of, federation)) => {
                    return bad(format!("it is an authority of `{of}` in `{federation}`, and not of `{agency}`"));
                }
                Err(e) => return bad(format!("an authority cannot be read: {e}")),
            }
            if is_dev(root) && !exercise {
                return bad("an authority is for exercise only, and this federation is not".into());
            }
        }
        Ok(())
    }
}

fn check_keys(state: &State, agency: &AgencyId, grade: Grade) -> Result<(), Fault> {
    let keys = state.agency(agency).map_or(0, |a| a.descriptor.grade_keys.len());
    if (grade as usize) < keys {
        return Ok(());
    }
    let why = format!("`{agency}` came in without a key for {grade}: nothing could be sealed to it");
    Err(Fault::refused("NO_GRADE_KEY", why).hint("a ceiling is raised up to that of its descriptor"))
}

fn check_suites(state: &State, states: &BTreeMap<u16, SuiteState>) -> Result<(), Fault> {
    if let Some(id) = states.keys().find(|id| !state.is_suite_known(**id)) {
        return Err(unknown_suite(*id));
    }
    if states.values().filter(|s| **s == SuiteState::Preferred).count() != 1 {
        return Err(Fault::refused("NO_SUITE", "exactly one suite is preferred, or nothing could be sealed")
            .hint("name it with --preferred"));
    }
    match state.suites().states().keys().find(|id| !states.contains_key(*id)) {
        None => Ok(()),
        Some(id) => Err(Fault::refused("NO_SUITE", format!("it says nothing of suite {id}"))
            .hint("name every suite, also one that is forbidden")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use crate::ledger::fixture::newest;

    #[test]
    fn what_would_leave_nothing_to_seal_with_is_refused_by_name() {
        let state = State::genesis(&newest().genesis).unwrap();
        let check =
            |of: &[(u16, SuiteState)]| check_suites(&state, &of.iter().copied().collect()).map_err(|f| f.reason);
        assert_eq!(check(&[(1, SuiteState::Preferred)]), Ok(()));
        assert_eq!(check(&[(1, SuiteState::Preferred), (2, SuiteState::Accepted)]), Err("UNKNOWN_SUITE"));
        assert_eq!(check(&[(1, SuiteState::Accepted)]), Err("NO_SUITE"));
        assert_eq!(check(&[]), Err("NO_SUITE"));
    }

    #[test]
    fn a_ceiling_goes_no_higher_than_the_keys() {
        let f = newest();
        let state = State::genesis(&f.genesis).unwrap();
        let check = |grade| check_keys(&state, &f.third.id, grade).map_err(|f| f.reason);
        assert_eq!((check(Grade::Secret), check(Grade::TopSecret)), (Ok(()), Err("NO_GRADE_KEY")));
    }

    #[test]
    fn what_waits_says_what_it_would_change() {
        let agency: AgencyId = "customs".parse().unwrap();
        let compartments = ["border-ops".parse().unwrap()].into();
        let words = |act: &Act| bounds_words(act).map(|(name, about)| format!("{name}: {about}"));
        let act = Act::Ceiling { agency: agency.clone(), grade: Grade::Secret, compartments };
        assert_eq!(words(&act).as_deref(), Some("ceiling: customs secret border-ops"));
        let act = Act::TrustRoot { agency: agency.clone(), roots: [b"root".to_vec()].into() };
        assert_eq!(words(&act), Some(format!("trust-root: customs {}", &root_fingerprint(b"root")[..16])));
        assert_eq!(words(&Act::SuspendAgency { agency }), None);
    }
}
