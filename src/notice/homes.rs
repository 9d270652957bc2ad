//! Which node of an agency a letter is for. Agencies are addressed as wholes, but a notice has one home there, the node that
//! took it in, and what is about it is decided by that node's book alone.

use super::book::Book;
use super::letter::{LetterDigest, LetterHeader, LetterKind};
use crate::domain::ids::NodeId;
use std::collections::BTreeSet;

impl Book {
    /// Nodes of its addressee that a letter is for before others: those that say that they have the notice which it is about,
    /// or the one that sent the notice whose receipt it carries.
    pub fn homes(&self, h: &LetterHeader) -> BTreeSet<NodeId> {
        match h.kind {
            LetterKind::Notice => BTreeSet::new(),
            LetterKind::Receipt => self
                .received_of(&h.notice)
                .filter(|(_, i)| i.header.from == h.to)
                .map(|(_, i)| i.header.node)
                .into_iter()
                .collect(),
            LetterKind::Cancel | LetterKind::Recall | LetterKind::Confirm => {
                let sent = self.sent_of(&h.notice).into_iter().filter(|(_, o)| o.letter.header.to == h.to);
                sent.flat_map(|(_, o)| o.receipts.iter().map(|r| r.receipt.node)).collect()
            }
        }
    }

    /// Whether a letter that came in is about what this node has: the notice itself, the notice that it takes back or
    /// confirms, or the notice that it brings a receipt for.
    pub fn is_at_home(&self, h: &LetterHeader, digest: &LetterDigest) -> bool {
        match h.kind {
            LetterKind::Notice => self.entry(digest).is_some(),
            LetterKind::Receipt => !self.sent_of(&h.notice).is_empty(),
            LetterKind::Cancel | LetterKind::Recall | LetterKind::Confirm => self.notice_of(h).is_some(),
        }
    }
}
