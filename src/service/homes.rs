//! Letters between nodes of one agency. A notice has a home, the node that took it in, and what is about it is decided there
//! alone: it has the people's words, and knows whether anybody saw it.
//!
//! A sender asks the home first ([`Core::nodes_for`]). A node that gets a letter whose home it is not hands it to the others
//! of its agency and answers with their receipts; one hop, since what one of them brings stays here. All are asked at once: one
//! that is silent hides no other.
//!
//! Invariants
//! - What takes a notice back goes to every node of this agency, since the notice may lie at two, and counts as delivered once
//!   all of them answered: each has taken it back, or has none, and keeps it back when it comes. One that keeps as many back as
//!   it may counts as one that has none where another has taken it back: else the thousandth recall of one sender in some days
//!   would be the last that is heard of.
//! - A copy of a notice that another node of this agency says it has stays there, however late it comes. That nobody saw one
//!   that came after its recall is said only when all others say that they do not have it.
//! - Of two letters of one notice a node refuses the second, also when another node of this agency has the first.
//! - What confirms a marking is handed to every node of this agency that has the notice and answers.
//! - A new notice goes to the first node of this agency, in the ledger's order, that answers. When the earlier ones do not, it
//!   is taken in here: that may leave it at two nodes, each with receipts of its own, and loses it nowhere.

use super::core::Core;
use super::letters::{Fate, PeerPost};
use crate::audit::{Action as AuditAction, Decision as Verdict, Object};
use crate::domain::canon::Canon;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{AgencyId, NodeId, NoticeId};
use crate::ledger::State;
use crate::notice::{
    Letter, LetterDigest, LetterHeader, LetterKind, NoticeError, RECALLS_FULL, SignedReceipt, is_of_addressee,
    passed_back,
};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use std::time::Duration;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

/// The other nodes of this agency answer within this, all of them: its sender waits for twice as long.
const ASK: Duration = Duration::from_secs(1);

/// Whether they have a new notice already they say within this: a flash is not kept waiting.
const HELD: Duration = Duration::from_millis(300);

/// What another node of this agency says of a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    /// The letter is for that node; its receipts.
    Home(Vec<SignedReceipt>),
    /// It has another letter of the same notice.
    Another,
    /// It does not have what the letter is about.
    NotHere,
    /// It does not have the notice that the letter takes back, and keeps no more back.
    Full,
    /// Nothing, or nothing that tells.
    Silent,
}

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
        let letter = Letter::from_canon(bytes).ok().filter(|_| *sender != self.agency);
        let Some(letter) = letter else { return self.take_letter(sender, bytes).await };
        let (h, state) = (&letter.header, self.state());
        let others: Vec<NodeId> = self.siblings().into_iter().map(|(id, _)| id).collect();
        let asking = Asking { letter: &letter, bytes, state: &state, post };
        // What is refused is refused and told here.
        if others.is_empty() || self.office.may_take(&state, &letter).is_err() {
            return self.take_letter(sender, bytes).await;
        }
        let here = self.office.read(|b| b.is_at_home(h, &letter.digest()));
        if takes_back(h.kind) {
            return self.taken_back(sender, &asking, others, here).await;
        }
        if here {
            let taken = self.take_letter(sender, bytes).await?;
            if h.kind == LetterKind::Confirm
                && let Some(notice) = self.office.read(|b| b.notice_of(h).map(|(of, _)| of))
            {
                asking.others_that_have(notice, others).await;
            }
            return Ok(taken);
        }
        // Another letter of a notice that is here is refused here: a node that has neither would take it in.
        if h.kind == LetterKind::Notice && self.office.read(|b| b.received_of(&h.notice).is_some()) {
            return self.take_letter(sender, bytes).await;
        }
        // One that is merely kept back here is offered to nobody. Whether somebody saw it its home alone knows.
        let kept_back = h.kind == LetterKind::Notice && self.office.read(|b| b.is_withheld(&h.from, &h.notice));
        let found = match h.kind {
            LetterKind::Notice => match asking.held_by(others.clone()).await {
                Answer::Silent | Answer::NotHere if !kept_back => {
                    let earlier = others.into_iter().filter(|id| *id < self.node);
                    asking.one_after_another(earlier.collect()).await
                }
                said => said,
            },
            LetterKind::Confirm => asking.every(others).await,
            _ => asking.all(others).await,
        };
        match found {
            Answer::Home(receipts) => {
                self.tell_handed_on(&letter).await?;
                Ok(receipts)
            }
            Answer::Another => {
                let why = NoticeError::Rule("another letter of this notice is at another node of this agency");
                self.refuse_letter(sender, h, letter.digest(), why).await
            }
            Answer::Silent if kept_back || h.kind != LetterKind::Notice => Err(unsure()),
            Answer::Silent | Answer::NotHere | Answer::Full => self.take_letter(sender, bytes).await,
        }
    }

    /// Nodes of a letter's addressee, in the order in which they are tried: its home before others.
    pub(super) fn nodes_for(&self, state: &State, h: &LetterHeader) -> Vec<NodeId> {
        let homes = self.office.read(|b| b.homes(h));
        let mut nodes: Vec<NodeId> = state.nodes().filter(|(_, n)| n.agency == h.to).map(|(id, _)| *id).collect();
        nodes.sort_by_key(|id| !homes.contains(id));
        nodes
    }

    /// The receipts of a letter that this node took in, or of another one of its notice; nothing that people said, which is for
    /// its sender.
    pub fn letter_held(&self, letter: &LetterDigest, notice: Option<&NoticeId>) -> Vec<SignedReceipt> {
        let mut receipts = self.office.read(|b| {
            let of_notice = || notice.and_then(|n| b.received_of(n)).map(|(_, i)| i);
            b.entry(letter).or_else(of_notice).map(|i| i.receipts.clone()).unwrap_or_default()
        });
        receipts.retain(|r| r.receipt.by.is_none());
        receipts
    }

    /// Takes a notice back at every node of this agency.
    async fn taken_back(
        &self,
        sender: &AgencyId,
        asking: &Asking<'_>,
        others: Vec<NodeId>,
        here: bool,
    ) -> Result<Vec<SignedReceipt>, Fault> {
        let take = || self.take_letter(sender, asking.bytes);
        let asked = join_all(others.into_iter().map(|node| asking.one(node, ASK)).collect::<Vec<_>>());
        // What lies here is taken back at once, whatever the others say.
        let at_once = async { if here { Some(take().await) } else { None } };
        let (own, answers) = tokio::join!(at_once, asked);
        if answers.contains(&Answer::Silent) {
            return Err(unsure());
        }
        let full = answers.contains(&Answer::Full);
        let homes = answers.into_iter().filter_map(|a| if let Answer::Home(r) = a { Some(r) } else { None });
        let mut receipts: Vec<SignedReceipt> = homes.flatten().collect();
        let elsewhere = !receipts.is_empty();
        if elsewhere {
            self.tell_handed_on(asking.letter).await?;
        }
        match own {
            Some(own) => receipts.extend(own?),
            // A late copy of the notice is kept back here, too. That the home took it back does not depend on it.
            None if elsewhere => {
                if let Err(fault) = take().await {
                    let notice = asking.letter.header.notice;
                    tracing::warn!(%notice, reason = fault.reason, "a late copy of a notice that was taken back would be shown");
                }
            }
            // Nobody has it, and it would be shown when it comes there; here it is kept back. Its sender tries on.
            None if full => {
                take().await?;
                return Err(NoticeError::KeptBackFull.into());
            }
            None => receipts = take().await?,
        }
        if full {
            let notice = asking.letter.header.notice;
            tracing::warn!(%notice, "a late copy of a notice that was taken back would be shown at another node");
        }
        Ok(receipts)
    }

    /// The audit log is told once of a letter that was for another node of this agency.
    async fn tell_handed_on(&self, letter: &Letter) -> Result<(), Fault> {
        let (h, digest) = (&letter.header, letter.digest());
        if h.kind != LetterKind::Receipt && self.logged.first(digest, Fate::HandedOn) {
            let (action, object) = (AuditAction::NoticeReceive, Object::Notice(h.notice));
            let logged = self.log_node(action, &h.from, object, Verdict::Allow, "handed-on").await;
            let _logged = logged.inspect_err(|_| self.logged.forget(digest, Fate::HandedOn))?;
        }
        Ok(())
    }
}

/// A letter that the other nodes of this agency are asked about.
struct Asking<'a> {
    letter: &'a Letter,
    bytes: &'a [u8],
    state: &'a State,
    post: &'a dyn PeerPost,
}

impl Asking<'_> {
    /// What one node that the letter is handed to says, within a time.
    async fn one(&self, node: NodeId, within: Duration) -> Answer {
        let posted = self.post.deliver(node, self.letter.header.precedence, self.bytes.to_vec());
        self.answer(node, timeout(within, posted).await)
    }

    /// The first that took the letter in before. Nobody takes it in because of this.
    async fn held_by(&self, nodes: Vec<NodeId>) -> Answer {
        let (precedence, letter) = (self.letter.header.precedence, (self.letter.header.notice, self.letter.digest()));
        let asked = nodes.into_iter().map(|node| async move {
            match timeout(HELD, self.post.held(node, precedence, letter)).await {
                Ok(Ok(receipts)) => self.said(node, receipts),
                // Whoever refuses, since it does not know this node yet, says nothing of what it has.
                Ok(Err(_)) | Err(_) => Answer::Silent,
            }
        });
        first_home(asked.collect()).await
    }

    fn answer(&self, node: NodeId, said: Result<Result<Vec<SignedReceipt>, Fault>, Elapsed>) -> Answer {
        match said {
            Ok(Ok(receipts)) => self.said(node, receipts),
            Ok(Err(fault)) if fault.reason == RECALLS_FULL => Answer::Full,
            Ok(Err(fault)) if is_an_answer(self.letter.header.kind, fault.kind) => Answer::NotHere,
            Ok(Err(_)) | Err(_) => Answer::Silent,
        }
    }

    fn said(&self, node: NodeId, receipts: Vec<SignedReceipt>) -> Answer {
        let h = &self.letter.header;
        let genuine = |r: &SignedReceipt| r.receipt.node == node && is_of_addressee(self.state, r);
        let receipts = passed_back(&h.notice, receipts, genuine);
        match is_home_of(h.kind, &self.letter.digest(), &receipts) {
            true => Answer::Home(receipts),
            // What it has receipted of this notice is not this letter.
            false if h.kind == LetterKind::Notice && !receipts.is_empty() => Answer::Another,
            false => Answer::NotHere,
        }
    }

    /// Hands the letter to those that have this letter's notice, too. Whoever does not answer is left out.
    async fn others_that_have(&self, notice: LetterDigest, nodes: Vec<NodeId>) {
        let h = &self.letter.header;
        let asked = nodes.into_iter().map(|node| async move {
            let held = timeout(HELD, self.post.held(node, h.precedence, (h.notice, notice))).await;
            if matches!(&held, Ok(Ok(receipts)) if !receipts.is_empty()) {
                let _said = self.one(node, ASK).await;
            }
        });
        join_all(asked.collect::<Vec<_>>()).await;
    }

    /// A home among all of them, once each was heard or had its time: whoever else has it too is not passed over.
    async fn every(&self, nodes: Vec<NodeId>) -> Answer {
        let said = join_all(nodes.into_iter().map(|node| self.one(node, ASK)).collect::<Vec<_>>()).await;
        first_home(said.into_iter().map(std::future::ready).collect()).await
    }

    /// The first home among all of them, asked at once; silent when one of them is, and none of them is the home.
    async fn all(&self, nodes: Vec<NodeId>) -> Answer {
        first_home(nodes.into_iter().map(|node| self.one(node, ASK)).collect()).await
    }

    /// The first that takes a new notice: two that are asked at once would both take it. One that is silent leaves the others
    /// their share of the time.
    async fn one_after_another(&self, nodes: Vec<NodeId>) -> Answer {
        let share = ASK / u32::try_from(nodes.len()).unwrap_or(u32::MAX).max(1);
        for node in nodes {
            match self.one(node, share).await {
                Answer::Home(receipts) => return Answer::Home(receipts),
                // One that was silent when it was asked what it has may refuse this letter because of another one, or have taken
                // it in while it still took it.
                Answer::NotHere => match self.held_by(vec![node]).await {
                    said @ (Answer::Home(_) | Answer::Another) => return said,
                    Answer::NotHere | Answer::Full | Answer::Silent => {}
                },
                Answer::Another | Answer::Full | Answer::Silent => {}
            }
        }
        Answer::NotHere
    }
}

async fn first_home(mut asked: FuturesUnordered<impl Future<Output = Answer>>) -> Answer {
    let mut found = Answer::NotHere;
    while let Some(answer) = asked.next().await {
        match answer {
            Answer::Home(receipts) => return Answer::Home(receipts),
            Answer::Another => found = Answer::Another,
            Answer::Silent if found != Answer::Another => found = Answer::Silent,
            Answer::NotHere | Answer::Full | Answer::Silent => {}
        }
    }
    found
}

fn unsure() -> Fault {
    Fault::unavailable("UNREACHABLE", "which node of this agency has the notice is not known: one of them does not say")
}

/// Whether a refusal says that a node does not have what a letter is about. What takes a notice back may be refused by a node
/// that has it, and knows its sender, or who hands it on, not yet; and by one that has none, and keeps no more back.
fn is_an_answer(letter: LetterKind, refusal: FaultKind) -> bool {
    matches!(refusal, FaultKind::NotFound | FaultKind::Refused) && !takes_back(letter)
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
    use super::super::letters::Posted;
    use super::*;
    use crate::domain::label::Grade;
    use crate::domain::notice::{Precedence, ReceiptState};
    use crate::domain::time::Millis;
    use crate::ledger::fixture::newest;
    use crate::ledger::node_id;
    use crate::notice::Receipt;
    use crate::seal::{Counter, KeyRing, SigningKey};

    fn receipt(letter: LetterDigest, state: ReceiptState) -> SignedReceipt {
        let addressee: AgencyId = "customs".parse().unwrap();
        let node = node_id(&addressee, "2");
        let notice = crate::domain::ids::NoticeId::from_bytes([1; 16]);
        let (federation, time) = ("test".parse().unwrap(), Millis(1));
        let (previous, by, answer) = (None, None, None);
        let receipt = Receipt { federation, notice, letter, addressee, node, state, time, previous, by, answer };
        receipt.sign(&SigningKey::from_seed(&[7; 32]).unwrap())
    }

    /// A node that refuses a receipt does not have its notice. One that refuses a recall may have it, or show it when it comes.
    #[test]
    fn a_refusal_is_an_answer_where_nothing_is_lost_by_it() {
        for kind in [LetterKind::Notice, LetterKind::Receipt, LetterKind::Confirm] {
            assert!(is_an_answer(kind, FaultKind::Refused) && is_an_answer(kind, FaultKind::NotFound), "{kind:?}");
        }
        for kind in [LetterKind::Cancel, LetterKind::Recall] {
            assert!(!is_an_answer(kind, FaultKind::Refused) && !is_an_answer(kind, FaultKind::NotFound), "{kind:?}");
            assert!(!is_an_answer(kind, FaultKind::Unavailable) && !is_an_answer(kind, FaultKind::Integrity));
        }
    }

    /// A node that refuses whatever it is asked.
    struct Refuses(Fault);

    impl PeerPost for Refuses {
        fn deliver(&self, _: NodeId, _: Precedence, _: Vec<u8>) -> Posted<'_> {
            self.says()
        }

        fn held(&self, _: NodeId, _: Precedence, _: (NoticeId, LetterDigest)) -> Posted<'_> {
            self.says()
        }

        fn relay(&self, _: NodeId, _: Precedence, _: Vec<u8>) -> Posted<'_> {
            self.says()
        }
    }

    impl Refuses {
        fn says(&self) -> Posted<'_> {
            Box::pin(async { Err(self.0.clone()) })
        }
    }

    fn letter() -> Letter {
        let ring = KeyRing::create(Grade::Secret, &mut Counter::at(1)).unwrap();
        let header = LetterHeader {
            federation: "test".parse().unwrap(),
            from: "police".parse().unwrap(),
            node: NodeId(1),
            to: "customs".parse().unwrap(),
            notice: crate::domain::ids::NoticeId::from_bytes([1; 16]),
            kind: LetterKind::Notice,
            precedence: Precedence::Flash,
            exercise: true,
            action: true,
            lead: false,
            grade: Grade::Secret,
            created: Millis(1),
            expires: Millis(2),
        };
        let (to, signer) = (ring.grade_public(Grade::Secret).unwrap(), ring.signing_key().unwrap());
        Letter::seal(header, b"words", &to, &signer, &mut Counter::at(3)).unwrap()
    }

    /// A node that has one letter of the notice, and refuses whatever it is handed now.
    struct HasOne(SignedReceipt);

    impl PeerPost for HasOne {
        fn deliver(&self, _: NodeId, _: Precedence, _: Vec<u8>) -> Posted<'_> {
            Box::pin(async { Err(Fault::refused("NOT_ALLOWED", "it is not taken in")) })
        }

        fn held(&self, _: NodeId, _: Precedence, _: (NoticeId, LetterDigest)) -> Posted<'_> {
            Box::pin(async { Ok(vec![self.0.clone()]) })
        }

        fn relay(&self, _: NodeId, _: Precedence, _: Vec<u8>) -> Posted<'_> {
            Box::pin(async { Err(Fault::not_found()) })
        }
    }

    /// It may have been silent before. Whoever refuses for another reason leaves the letter to this node.
    #[tokio::test]
    async fn a_refusal_by_who_has_a_letter_of_the_notice_is_told_from_any_other() {
        let (f, letter) = (newest(), letter());
        let state = State::genesis(&f.genesis).unwrap();
        let node = f.customs.node;
        let delivered = Receipt { node, ..receipt([9; 32], ReceiptState::Delivered).receipt };
        let this = Receipt { letter: letter.digest(), ..delivered.clone() }.sign(&f.customs.node_key);
        let another = HasOne(delivered.sign(&f.customs.node_key));
        let asking = Asking { letter: &letter, bytes: b"", state: &state, post: &another };
        assert_eq!(asking.one_after_another(vec![node]).await, Answer::Another);
        let home = HasOne(this.clone());
        let asking = Asking { post: &home, ..asking };
        assert_eq!(asking.one_after_another(vec![node]).await, Answer::Home(vec![this]));
        let refuses = Refuses(Fault::refused("NOT_ALLOWED", "the ledger knows no such node"));
        assert_eq!(Asking { post: &refuses, ..asking }.one_after_another(vec![node]).await, Answer::NotHere);
    }

    /// Else one that may have shown a recalled notice would let this one say that nobody saw it.
    #[tokio::test]
    async fn whoever_refuses_to_say_what_it_has_does_not_say_that_it_has_none() {
        let letter = letter();
        let state = State::genesis(&newest().genesis).unwrap();
        // It does not know this node yet.
        let refuses = Refuses(Fault::refused("NOT_ALLOWED", "the ledger knows no such node"));
        let asking = Asking { letter: &letter, bytes: b"", state: &state, post: &refuses };
        assert_eq!(asking.held_by(vec![NodeId(7)]).await, Answer::Silent);
        assert_eq!(asking.one(NodeId(7), ASK).await, Answer::NotHere, "it does not take it in");
        let full = Refuses(NoticeError::KeptBackFull.into());
        assert_eq!(Asking { post: &full, ..asking }.one(NodeId(7), ASK).await, Answer::Full);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_node_hides_no_home() {
        let first = |answers: Vec<Option<Answer>>| async move {
            let asked = answers.into_iter().map(|answer| async move {
                match answer {
                    Some(answer) => answer,
                    None => std::future::pending().await,
                }
            });
            timeout(ASK, first_home(asked.collect())).await.ok()
        };
        let home = Answer::Home(vec![receipt([1; 32], ReceiptState::Delivered)]);
        let answers = vec![None, Some(Answer::Silent), Some(Answer::NotHere), Some(home.clone())];
        assert_eq!(first(answers).await, Some(home));
        assert_eq!(first(vec![Some(Answer::Silent), Some(Answer::NotHere)]).await, Some(Answer::Silent));
        for (a, b) in [(Answer::Silent, Answer::Another), (Answer::Another, Answer::Silent)] {
            assert_eq!(first(vec![Some(a), Some(b)]).await, Some(Answer::Another), "one that has another says so");
        }
        assert_eq!(first(vec![Some(Answer::NotHere)]).await, Some(Answer::NotHere));
        assert_eq!(first(vec![None, Some(Answer::NotHere)]).await, None);
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
