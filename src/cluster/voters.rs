//! Who votes, and with which key they sign.
//!
//! While the set changes there are two, and one more that is approved for next: the word of a majority of any of them is
//! a majority's. Officers of t agencies approved each, and who is to vote next signs for nobody before its own log says
//! that it votes ([`super::group`]).

use super::machine::Published;
use crate::domain::ids::{FederationId, NodeId};
use crate::ledger::State;
use crate::seal::{PublicKey, Signature};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The voters, as the ledger has them when somebody asks.
pub(super) struct Voters {
    pub(super) federation: FederationId,
    ledger: Ledger,
}

enum Ledger {
    /// As it is applied here.
    Here(Arc<Published>),
    #[cfg(test)]
    Fixed(Arc<State>),
}

impl Voters {
    /// The ledger's as it is applied.
    pub(super) fn following(published: Arc<Published>) -> Voters {
        Voters { federation: published.state().federation().clone(), ledger: Ledger::Here(published) }
    }

    /// Those of one state.
    #[cfg(test)]
    pub(super) fn of(state: &State) -> Voters {
        Voters { federation: state.federation().clone(), ledger: Ledger::Fixed(Arc::new(state.clone())) }
    }

    fn state(&self) -> Arc<State> {
        match &self.ledger {
            Ledger::Here(published) => published.state(),
            #[cfg(test)]
            Ledger::Fixed(state) => Arc::clone(state),
        }
    }

    fn all(&self) -> BTreeSet<NodeId> {
        self.state().voter_sets().into_iter().flatten().collect()
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
        self.state().voter_sets().iter().any(most)
    }

    /// Whether `voter` is one and signed this.
    pub(super) fn signed(&self, voter: u64, domain: &str, words: &[u8], signature: &Signature) -> bool {
        self.contains(voter) && self.key(voter).is_some_and(|key| key.verify(domain, words, signature).is_ok())
    }

    fn key(&self, voter: u64) -> Option<PublicKey> {
        self.state().node(NodeId(voter)).map(|n| n.key)
    }
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
