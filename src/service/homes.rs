//! Letters between nodes of one agency. A notice has a home, the node that took it in, and what is about it is decided there
//! alone: it has the people's words, and knows whether anybody saw it.
//!
//! A sender asks the home first ([`Core::nodes_for`]). A node that gets a letter whose home it is not hands it to the others
//! of its agency and answers with their receipts; one hop, since what one of them brings stays here.
//!
//! Invariants
//! - What takes a notice back counts as delivered only if the notice's home says so, or if every node of this agency answered
//!   that it has no such notice, and keeps it back when it comes.
//! - A new notice goes to the first node of this agency, in the ledger's order, that answers. When the earlier ones do not, it
//!   is taken in here: that may leave it at two nodes, each with receipts of its own, and loses it nowhere.

use super::core::Core;
use super::letters::{Fate, PeerPost};
use crate::audit::{Action as AuditAction, Decision as Verdict, Object};
use crate::domain::canon::Canon;
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, NodeId};
use crate::ledger::State;
use crate::notice::{Letter, LetterDigest, LetterHeader, LetterKind, SignedReceipt, is_of_addressee, passed_back};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The other nodes of this agency answer within this, all of them: its sender waits for twice as long.
const ASK: Duration = Duration::from_secs(1);

impl Core {
    /// Takes a letter in as [`Core::take_letter`] does, or hands it to the node of this agency that it is for.
    ///
    /// # Errors
    /// As [`Core::take_letter`], and while it is not known which node has the notice that it is about.
    pub async fn receive_letter(
        &self,
        sender: &AgencyId,
        bytes: &[u8],
        post: &dyn PeerPost,
    ) -> Result<Vec<SignedReceipt>, Fault> {
        if *sender != self.agency
            && let Ok(letter) = Letter::from_canon(bytes)
            && let Some(receipts) = self.handed_on(&letter, bytes, post).await?
        {
            return Ok(receipts);
        }
        self.take_letter(sender, bytes).await
    }

    /// Nodes of a letter's addressee, in the order in which they are tried: its home before others.
    pub(super) fn nodes_for(&self, state: &State, h: &LetterHeader) -> Vec<NodeId> {
        let homes = self.office.read(|b| b.homes(h));
        let mut nodes: Vec<NodeId> = state.nodes().filter(|(_, n)| n.agency == h.to).map(|(id, _)| *id).collect();
        nodes.sort_by_key(|id| !homes.contains(id));
        nodes
    }

    /// The receipts of the other node of this agency that a letter was handed to; none when it is this node's.
    async fn handed_on(
        &self,
        letter: &Letter,
        bytes: &[u8],
        post: &dyn PeerPost,
    ) -> Result<Option<Vec<SignedReceipt>>, Fault> {
        let (h, digest, state) = (&letter.header, letter.digest(), self.state());
        let before = |id: NodeId| h.kind != LetterKind::Notice || id < self.node;
        let others = state.nodes().filter(|(id, n)| n.agency == self.agency && **id != self.node && before(**id));
        let others: Vec<NodeId> = others.map(|(id, _)| *id).collect();
        let here = others.is_empty() || self.office.read(|b| b.is_at_home(h, &digest));
        // What is refused is refused and told here.
        if here || self.office.may_take(&state, letter).is_err() {
            return Ok(None);
        }
        let (until, mut unsure) = (Instant::now() + ASK, false);
        for node in others {
            let answered = timeout_at(until, post.deliver(node, h.precedence, bytes.to_vec())).await;
            let Ok(Ok(receipts)) = answered else {
                unsure = true;
                continue;
            };
            let genuine = |r: &SignedReceipt| r.receipt.node == node && is_of_addressee(&state, r);
            let receipts = passed_back(&h.notice, receipts, genuine);
            if !is_home_of(h.kind, &digest, &receipts) {
                continue;
            }
            if h.kind != LetterKind::Receipt && self.logged.first(digest, Fate::HandedOn) {
                let (action, object) = (AuditAction::NoticeReceive, Object::Notice(h.notice));
                let logged = self.log_node(action, &h.from, object, Verdict::Allow, "handed-on").await;
                let _logged = logged.inspect_err(|_| self.logged.forget(digest, Fate::HandedOn))?;
            }
            return Ok(Some(receipts));
        }
        if unsure && h.kind != LetterKind::Notice {
            let why = "which node of this agency has the notice is not known: one of them does not say";
            return Err(Fault::unavailable("UNREACHABLE", why));
        }
        Ok(None)
    }
}

fn takes_back(kind: LetterKind) -> bool {
    matches!(kind, LetterKind::Cancel | LetterKind::Recall)
}

/// Whether the node that answered with these receipts is the home of a letter. What takes a notice back is receipted by every
/// node; the receipts of the notice itself come with that from its home alone. Any other letter is refused elsewhere.
fn is_home_of(kind: LetterKind, letter: &LetterDigest, receipts: &[SignedReceipt]) -> bool {
    receipts.iter().any(|r| (r.receipt.letter == *letter) != takes_back(kind))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use crate::domain::notice::ReceiptState;
    use crate::domain::time::Millis;
    use crate::ledger::node_id;
    use crate::notice::Receipt;
    use crate::seal::SigningKey;

    fn receipt(letter: LetterDigest, state: ReceiptState) -> SignedReceipt {
        let addressee: AgencyId = "customs".parse().unwrap();
        let node = node_id(&addressee, "2");
        let notice = crate::domain::ids::NoticeId::from_bytes([1; 16]);
        let (federation, time) = ("test".parse().unwrap(), Millis(1));
        let (previous, by, answer) = (None, None, None);
        let receipt = Receipt { federation, notice, letter, addressee, node, state, time, previous, by, answer };
        receipt.sign(&SigningKey::from_seed(&[7; 32]).unwrap())
    }

    /// A node that has no such notice answers a withdrawal too, with a receipt for that letter alone.
    #[test]
    fn only_the_notices_own_receipts_show_its_home() {
        let (notice, cancel) = ([1; 32], [2; 32]);
        let arrived = receipt(cancel, ReceiptState::Delivered);
        let withdrawn = receipt(notice, ReceiptState::Withdrawn);
        for kind in [LetterKind::Cancel, LetterKind::Recall] {
            assert!(!is_home_of(kind, &cancel, std::slice::from_ref(&arrived)), "{kind:?}");
            assert!(is_home_of(kind, &cancel, &[withdrawn.clone(), arrived.clone()]), "{kind:?}");
        }
        for kind in [LetterKind::Notice, LetterKind::Receipt, LetterKind::Confirm] {
            assert!(is_home_of(kind, &cancel, std::slice::from_ref(&arrived)), "{kind:?}");
            assert!(!is_home_of(kind, &cancel, &[]), "{kind:?}");
        }
    }
}
