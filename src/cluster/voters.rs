//! Who votes, and with which key they sign.
//!
//! While the set changes there are two, and one more that is approved for next: the word of a majority of any of them is
//! a majority's. Officers of t agencies approved each, and who is to vote next signs for nobody before its own log says
//! that it votes ([`super::group`]).

use super::machine::Published;
use crate::domain::ids::{AgencyId, FederationId, NodeId};
#[cfg(test)]
use crate::domain::planted::{Planted, is_planted};
use crate::ledger::{Charter, State};
use crate::seal::{PublicKey, Signature};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The voters, as the ledger has them when somebody asks.
pub(super) struct Voters {
    pub(super) federation: FederationId,
    ledger: Ledger,
    /// How many signatures were checked.
    #[cfg(test)]
    pub(super) checked: std::sync::atomic::AtomicUsize,
}

enum Ledger {
    /// As it is applied here, and as a charter tells it that is ahead.
    Here(Arc<Published>, Option<Charter>),
    /// Those of one state, whatever comes after it.
    Fixed(Arc<State>),
}

impl Voters {
    /// The ledger's as it is applied, and those of a charter until it is.
    pub(super) fn following(published: Arc<Published>, charter: Option<Charter>) -> Voters {
        Voters {
            federation: published.state().federation().clone(),
            ledger: Ledger::Here(published, charter),
            #[cfg(test)]
            checked: Default::default(),
        }
    }

    /// Those of one state.
    pub(super) fn of(state: &State) -> Voters {
        Voters {
            federation: state.federation().clone(),
            ledger: Ledger::Fixed(Arc::new(state.clone())),
            #[cfg(test)]
            checked: Default::default(),
        }
    }

    /// The state, and the charter while it is ahead of it.
    fn ledger(&self) -> (Arc<State>, Option<&Charter>) {
        match &self.ledger {
            Ledger::Here(published, charter) => {
                let (state, at) = published.moment();
                (state, charter.as_ref().filter(|c| c.index > at))
            }
            Ledger::Fixed(state) => (Arc::clone(state), None),
        }
    }

    fn sets(&self) -> Vec<BTreeSet<NodeId>> {
        let (state, charter) = self.ledger();
        let told = charter.into_iter().flat_map(|c| c.voters.iter().cloned());
        state.voter_sets().into_iter().chain(told).collect()
    }

    /// Agency and key of a node that takes part, unless its agency is suspended.
    pub(super) fn member(&self, node: NodeId) -> Option<(AgencyId, PublicKey)> {
        let (state, charter) = self.ledger();
        if state.retired(node).is_some() {
            return None;
        }
        if let Some(n) = state.node(node) {
            return stands(&state, &n.agency).then(|| (n.agency.clone(), n.key));
        }
        // What is applied here goes before: an agency that is suspended here is let in by no charter.
        let (agency, key) = charter?.node(node)?;
        let lets_in = state.agency(agency).is_none() || state.stands(agency);
        lets_in.then(|| (agency.clone(), *key))
    }

    fn all(&self) -> BTreeSet<NodeId> {
        self.sets().into_iter().flatten().collect()
    }

    pub(super) fn contains(&self, node: u64) -> bool {
        self.all().contains(&NodeId(node))
    }

    /// All but one.
    pub(super) fn others(&self, node: u64) -> Vec<u64> {
        self.all().into_iter().map(|n| n.0).filter(|n| *n != node).collect()
    }

    /// Whether these are more than half of a set.
    pub(super) fn is_majority(&self, nodes: &BTreeSet<u64>) -> bool {
        let most = |set: &BTreeSet<NodeId>| set.iter().filter(|n| nodes.contains(&n.0)).count() * 2 > set.len();
        self.sets().iter().any(most)
    }

    /// Whether `voter` is one and signed this.
    pub(super) fn signed(&self, voter: u64, domain: &str, words: &[u8], signature: &Signature) -> bool {
        #[cfg(test)]
        self.checked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.contains(voter) && self.key(voter).is_some_and(|key| key.verify(domain, words, signature).is_ok())
    }

    /// Of a suspended agency's voter too: it counts in the size of a majority, and what it signed before is good.
    fn key(&self, voter: u64) -> Option<PublicKey> {
        let (state, charter) = self.ledger();
        let here = state.node(NodeId(voter)).map(|n| n.key);
        here.or_else(|| charter?.node(NodeId(voter)).map(|(_, key)| *key))
    }
}

/// Whether an agency's nodes are listened to.
fn stands(state: &State, agency: &AgencyId) -> bool {
    #[cfg(test)]
    if is_planted(Planted::ServeSuspendedAgency) {
        return true;
    }
    state.stands(agency)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use crate::ledger::fixture::{approve, federation};

    #[test]
    fn while_a_set_changes_a_majority_of_either_counts() {
        let f = federation();
        let founded = State::genesis(&f.genesis).unwrap();
        let pair = |a: NodeId, b: NodeId| BTreeSet::from([a.0, b.0]);
        let (police, customs, third) = (f.police.node, f.customs.node, f.third.node);
        let before = Voters::of(&founded);
        assert!(before.is_majority(&pair(police, customs)) && !before.is_majority(&pair(police, third)));
        assert!(!before.contains(third.0) && before.others(police.0) == [customs.0]);
        let mut changing = approve(&f, &founded, &[&f.police, &f.customs, &f.third]);
        let both = Voters::of(&changing);
        assert!(both.is_majority(&pair(police, customs)) && both.is_majority(&pair(police, third)));
        assert!(!both.is_majority(&BTreeSet::from([police.0])) && both.contains(third.0));
        changing.take_voters(vec![changing.voters()]);
        let after = approve(&f, &changing, &[&f.police, &f.third]);
        let mut done = after.clone();
        done.take_voters(vec![after.voters()]);
        let last = Voters::of(&done);
        assert!(!last.contains(customs.0) && !last.is_majority(&pair(police, customs)));
    }
}
