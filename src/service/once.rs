//! The same request again: at this node it gets its first answer, and at another node of the agency it is looked for before
//! anything is published (P22).

use super::amend::amend_request;
use super::core::Core;
use super::door::Caller;
use super::draft::part_request;
use super::publish::{Patience, PublishAsk, Published};
use crate::domain::fault::Fault;
use crate::domain::ids::{NodeId, RecordId};
use crate::domain::label::Grade;
use crate::domain::time::Millis;
use crate::vault::{PeerVault, Stand};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How long a node that did not say in time whether it has something is not asked for every further one, in ms.
const LEFT_ALONE_MS: u64 = 5_000;

/// Nodes of this agency that did not say in time whether they have something, by the clock that nobody sets: an import of many
/// sources does not wait for one of them at each.
#[derive(Default)]
pub struct Unheard(Mutex<BTreeMap<NodeId, Millis>>);

impl Unheard {
    /// Whether a node is asked now.
    pub fn is_asked(&self, node: NodeId, now: Millis) -> bool {
        let unheard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        unheard.get(&node).is_none_or(|since| since.plus_ms(LEFT_ALONE_MS) <= now)
    }

    /// What became of a question to a node.
    pub fn note(&self, node: NodeId, heard: bool, now: Millis) {
        let mut unheard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if heard {
            unheard.remove(&node)
        } else {
            unheard.insert(node, now)
        };
    }
}

/// Where a request was published.
pub enum Once<T> {
    /// At this node.
    Here(Published),
    /// At another one of the agency, with what that one says of it.
    Elsewhere(T),
}

impl Core {
    /// Publishes a record, unless it is `known` elsewhere. That is asked while the same request waits here, so that of two nodes
    /// that ask each other neither publishes.
    ///
    /// # Errors
    /// As [`Core::publish`], and what is said elsewhere.
    pub async fn publish_unless<T>(
        &self,
        caller: &Caller,
        ask: PublishAsk,
        peers: Arc<dyn PeerVault>,
        known: impl Future<Output = Result<Option<T>, Fault>>,
    ) -> Result<Once<T>, Fault> {
        self.publish_once(caller, ask, None, peers, known).await
    }

    /// Whether a request of somebody's was journaled here.
    ///
    /// # Errors
    /// A conflict while it is being worked on, and when only lower parts of it were: another node would publish those again.
    pub fn was_requested(&self, caller: &Caller, id: &[u8; 16]) -> Result<bool, Fault> {
        self.was_journaled(self.request_key(caller, id))
    }

    /// Whether an amendment of somebody's was journaled here.
    ///
    /// # Errors
    /// As [`Core::was_requested`].
    pub fn was_amended(&self, caller: &Caller, record: &RecordId, id: &[u8; 16]) -> Result<bool, Fault> {
        self.was_journaled(amend_request(caller, record, id))
    }

    fn was_journaled(&self, request: [u8; 32]) -> Result<bool, Fault> {
        let _turn = self.begin(request)?;
        if self.vault.by_request(&request).is_some() {
            return Ok(true);
        }
        let parts = Grade::ALL.map(|grade| part_request(&request, grade));
        if parts.iter().any(|part| self.vault.is_under_way(part) || self.vault.by_request(part).is_some()) {
            let why = "another node of the agency began with it and has a part of it";
            return Err(Fault::conflict("IN_PROGRESS", why).hint("ask again at the node that was asked first"));
        }
        Ok(false)
    }

    /// What became of a request that was journaled here.
    ///
    /// # Errors
    /// As [`Core::publish`]; not found when it was not.
    pub async fn publish_again(
        &self,
        caller: &Caller,
        id: &[u8; 16],
        patience: &Patience,
        peers: Arc<dyn PeerVault>,
    ) -> Result<Published, Fault> {
        let request = self.request_key(caller, id);
        let _turn = self.begin(request)?;
        self.answered_before(&request, patience, &peers).await?.ok_or_else(Fault::not_found)
    }

    /// What became of a request, if it was journaled here.
    pub(super) async fn answered_before(
        &self,
        request: &[u8; 32],
        patience: &Patience,
        peers: &Arc<dyn PeerVault>,
    ) -> Result<Option<Published>, Fault> {
        let Some((record, version)) = self.vault.by_request(request) else { return Ok(None) };
        match self.vault.proposal(&record, version).map(|p| p.stand) {
            Some(Stand::Waiting) => self.proposed_answer(record, version).map(Some),
            Some(Stand::Rejected) => Err(Fault::conflict("REJECTED", "it was proposed, and turned down or taken back")),
            Some(Stand::Approved(_) | Stand::PartOf(..)) | None => {
                self.answer_again(record, version, patience, peers).await.map(Some)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_says_nothing_is_left_alone_for_a_while() {
        let (unheard, node) = (Unheard::default(), NodeId(7));
        assert!(unheard.is_asked(node, Millis(0)));
        unheard.note(node, false, Millis(1));
        assert!(!unheard.is_asked(node, Millis(LEFT_ALONE_MS)) && unheard.is_asked(NodeId(8), Millis(1)));
        assert!(unheard.is_asked(node, Millis(1 + LEFT_ALONE_MS)));
        unheard.note(node, true, Millis(2));
        assert!(unheard.is_asked(node, Millis(2)));
    }
}
