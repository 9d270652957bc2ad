//! Who votes, and with which key they sign.

use crate::domain::ids::FederationId;
use crate::ledger::State;
use crate::seal::{PublicKey, Signature};
use std::collections::BTreeMap;

/// The voters of the ledger, which the genesis fixes.
pub(super) struct Voters {
    pub(super) federation: FederationId,
    keys: BTreeMap<u64, PublicKey>,
    /// How many signatures were checked.
    #[cfg(test)]
    pub(super) checked: std::sync::atomic::AtomicUsize,
}

impl Voters {
    pub(super) fn of(state: &State) -> Voters {
        let keys = state.voters().into_iter().filter_map(|id| state.node(id).map(|n| (id.0, n.key))).collect();
        Voters {
            federation: state.federation().clone(),
            keys,
            #[cfg(test)]
            checked: Default::default(),
        }
    }

    pub(super) fn contains(&self, node: u64) -> bool {
        self.keys.contains_key(&node)
    }

    /// All but one.
    pub(super) fn others(&self, node: u64) -> impl Iterator<Item = u64> {
        self.keys.keys().copied().filter(move |v| *v != node)
    }

    /// Whether so many different ones are more than half.
    pub(super) fn is_majority(&self, count: usize) -> bool {
        count > self.keys.len() / 2
    }

    /// Whether `voter` is one and signed this.
    pub(super) fn signed(&self, voter: u64, domain: &str, words: &[u8], signature: &Signature) -> bool {
        #[cfg(test)]
        self.checked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.keys.get(&voter).is_some_and(|key| key.verify(domain, words, signature).is_ok())
    }
}
