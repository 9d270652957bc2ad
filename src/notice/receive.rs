//! What comes in: letters from other nodes, and what this node's people say of them.

use super::book::In;
use super::error::NoticeError;
use super::frame::Frame;
use super::letter::{Content, Letter, LetterDigest, LetterHeader, LetterKind};
use super::office::{Office, RECEIPTS, Taken, Word};
use super::receipt::{Receipt, SignedReceipt};
use crate::domain::canon::Canon;
use crate::domain::notice::ReceiptState;
use crate::domain::time::{Entropy, Millis};
use crate::ledger::{State, origin_mark};
use std::sync::PoisonError;

/// A sender's clock may be off by this much.
const SLACK_MS: u64 = 3_600_000;
/// Most withdrawals of one sender that wait for notices that never came.
const WITHHELD: usize = 1_000;

impl Office {
    /// Takes a letter in that is addressed to this agency. Durable when it answers; the same again gets the same receipts.
    ///
    /// # Errors
    /// [`NoticeError::Rule`] when it is forged, expired or not for this agency, [`NoticeError::Seal`] when it does not
    /// open, [`NoticeError::Journal`].
    pub async fn take(&self, state: &State, letter: Letter, now: Millis) -> Result<Taken, NoticeError> {
        if letter.header.to != self.identity.agency {
            return Err(NoticeError::Rule("it is addressed to another agency"));
        }
        if !self.is_genuine(state, &letter) {
            return Err(NoticeError::Rule("no node of its sender signed it"));
        }
        let digest = letter.digest();
        if state.grade_key(&letter.header.from, letter.header.grade).is_none() {
            return Err(NoticeError::Rule("its grade is above what its sender may hold"));
        }
        let sender = origin_mark(&self.identity.federation, &letter.header.from);
        if letter.header.kind != LetterKind::Receipt && letter.header.notice.origin_mark() != sender {
            return Err(NoticeError::Rule("its id names another sender"));
        }
        match letter.header.kind {
            LetterKind::Notice => self.take_notice(letter, digest, now).await,
            LetterKind::Receipt => {
                let receipt = SignedReceipt::from_canon(&self.content(&letter)?)?;
                self.told(state, vec![receipt], now).await?;
                let taken = self.receipt(letter.header.notice, digest, ReceiptState::Delivered, None, None, now);
                Ok(Taken { receipts: vec![taken], new: false })
            }
            LetterKind::Cancel => self.take_cancel(&letter, digest, now).await,
        }
    }

    async fn take_notice(&self, letter: Letter, digest: LetterDigest, now: Millis) -> Result<Taken, NoticeError> {
        let (notice, from) = (letter.header.notice, letter.header.from.clone());
        let turn = self.turn(&notice).await;
        let known = self.read(|b| b.entry(&digest).map(|i| i.receipts.clone()));
        let (new, mut receipts, mut frames) = (known.is_none(), known.unwrap_or_default(), Vec::new());
        if new {
            if self.read(|b| b.received_of(&notice).is_some()) {
                return Err(NoticeError::Rule("another letter of this notice is here"));
            }
            // Else it could say of itself that it is old, and be gone from here as soon as it was read.
            let h = &letter.header;
            if h.expires > h.created.plus_ms(h.precedence.lifetime_ms()) {
                return Err(NoticeError::Rule("it lives longer than its precedence"));
            }
            if letter.header.expires.plus_ms(SLACK_MS) <= now {
                return Err(NoticeError::Rule("its time is over"));
            }
            // Held means openable: what does not open is not receipted.
            let desks = Content::from_bytes(&self.content(&letter)?)?.desks;
            self.desks.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, desks.into());
            let receipt = self.receipt(notice, digest, ReceiptState::Delivered, None, None, now);
            frames.push(Frame::Received { letter, receipt: receipt.clone(), at: now });
            receipts.push(receipt);
        }
        // Its withdrawal was here first: nobody ever sees it. A power cut may have taken the receipt that says so.
        let withheld = self.read(|b| b.is_withheld(&from, &notice));
        if withheld && receipts.iter().all(|r| r.receipt.state != ReceiptState::Withdrawn) {
            let previous = receipts.last().map(SignedReceipt::digest);
            let withdrawn = self.receipt(notice, digest, ReceiptState::Withdrawn, previous, None, now);
            frames.push(Frame::Own { receipt: withdrawn.clone(), carrier: None, at: now });
            receipts.push(withdrawn);
        }
        if !frames.is_empty() {
            self.write(frames, Some(turn)).await?;
        }
        Ok(Taken { receipts, new: new && !withheld })
    }

    async fn take_cancel(&self, cancel: &Letter, digest: LetterDigest, now: Millis) -> Result<Taken, NoticeError> {
        let (notice, from) = (cancel.header.notice, cancel.header.from.clone());
        let taken = self.receipt(notice, digest, ReceiptState::Delivered, None, None, now);
        let turn = self.turn(&notice).await;
        let Some((of, entry)) = self.read(|b| b.cancelled_by(cancel).map(|(d, i)| (d, i.clone()))) else {
            // It came first. The notice is not shown when it comes.
            if !self.read(|b| b.is_withheld(&from, &notice)) {
                if self.read(|b| b.withheld_of(&from)) >= WITHHELD {
                    return Err(NoticeError::Rule("the notice that it withdraws is not here"));
                }
                self.write(vec![Frame::Withheld { notice, from, at: now }], Some(turn)).await?;
            }
            return Ok(Taken { receipts: vec![taken], new: false });
        };
        let mut receipts = entry.receipts.clone();
        if entry.state() == ReceiptState::Delivered && !entry.opened {
            let previous = receipts.last().map(SignedReceipt::digest);
            let receipt = self.receipt(notice, of, ReceiptState::Withdrawn, previous, None, now);
            self.write(vec![Frame::Own { receipt: receipt.clone(), carrier: None, at: now }], Some(turn)).await?;
            receipts.push(receipt);
        }
        receipts.push(taken);
        Ok(Taken { receipts, new: false })
    }

    /// A notice's content is about to be opened for a person: durable when it answers, and from then on it cannot be
    /// withdrawn. False when it was withdrawn already.
    ///
    /// # Errors
    /// A failed journal.
    pub async fn opening(&self, entry: &In, now: Millis) -> Result<bool, NoticeError> {
        let letter = entry.letter.digest();
        let turn = self.turn(&entry.letter.header.notice).await;
        let seen = self.read(|b| b.entry(&letter).map(|i| (i.state() == ReceiptState::Withdrawn, i.opened)));
        match seen {
            None | Some((true, _)) => Ok(false),
            Some((false, true)) => Ok(true),
            Some((false, false)) => {
                self.write(vec![Frame::Opened { letter, at: now }], Some(turn)).await.map(|()| true)
            }
        }
    }

    /// Makes a later receipt for a notice that came in and sends it back; durable when it answers. What was said already is
    /// not said again, except by another person or with another answer.
    ///
    /// # Errors
    /// [`NoticeError::Rule`] when the notice is not here, was withdrawn, or the person's signature does not fit.
    pub async fn say(
        &self,
        state: &State,
        letter: &LetterDigest,
        step: ReceiptState,
        word: Option<Word>,
        now: Millis,
        entropy: &mut (dyn Entropy + Send),
    ) -> Result<(), NoticeError> {
        let absent = NoticeError::Rule("there is no such notice");
        let notice = self.read(|b| b.entry(letter).map(|i| i.letter.header.notice)).ok_or(absent.clone())?;
        let turn = self.turn(&notice).await;
        let entry = self.read(|b| b.entry(letter).cloned()).ok_or(absent)?;
        if entry.state() == ReceiptState::Withdrawn {
            return Err(NoticeError::Rule("its sender has withdrawn it"));
        }
        let said = |r: &SignedReceipt| {
            let same =
                |w: &Word| r.receipt.by.as_ref().is_some_and(|b| b.name == w.by.name) && r.receipt.answer == w.answer;
            r.receipt.state == step && word.as_ref().is_none_or(same)
        };
        if entry.receipts.iter().any(said) {
            return Ok(());
        }
        // The sender keeps no more either: whoever comes later must know that it is not heard.
        if entry.receipts.len() >= RECEIPTS {
            return Err(NoticeError::Rule("as much as is kept was answered to this notice already"));
        }
        let previous = entry.receipts.last().map(SignedReceipt::digest);
        let h = &entry.letter.header;
        let receipt = self.receipt(h.notice, *letter, step, previous, word, now);
        if !receipt.receipt.person_signed() {
            return Err(NoticeError::Rule("the person's signature does not fit"));
        }
        let header = LetterHeader {
            from: self.identity.agency.clone(),
            node: self.identity.node,
            to: h.from.clone(),
            kind: LetterKind::Receipt,
            action: false,
            lead: false,
            created: now,
            expires: now.plus_ms(h.precedence.lifetime_ms()),
            ..h.clone()
        };
        let carrier = Some(self.seal(state, header, &receipt.to_canon(), entropy)?);
        self.write(vec![Frame::Own { receipt, carrier, at: now }], Some(turn)).await?;
        self.wake.notify_one();
        Ok(())
    }

    /// A person's terminal confirmed that it displays a notice: durable when it answers, and told to the sender the first
    /// time.
    ///
    /// # Errors
    /// As [`Office::say`].
    pub async fn shown(
        &self,
        state: &State,
        letter: &LetterDigest,
        person: &str,
        now: Millis,
        entropy: &mut (dyn Entropy + Send),
    ) -> Result<(), NoticeError> {
        if self.read(|b| b.entry(letter).is_some_and(|i| i.shown_to.contains(person))) {
            return Ok(());
        }
        self.say(state, letter, ReceiptState::Presented, None, now, entropy).await?;
        self.write(vec![Frame::Shown { letter: *letter, person: person.to_owned(), at: now }], None).await
    }

    /// Takes receipts of addressees in. Those that do not verify are left out and told in the log.
    ///
    /// # Errors
    /// A failed journal, or [`NoticeError::Rule`] when none of them verifies.
    pub async fn told(&self, state: &State, receipts: Vec<SignedReceipt>, now: Millis) -> Result<(), NoticeError> {
        let all = receipts.len();
        let mut frames = Vec::new();
        let mut known = 0;
        for receipt in receipts {
            match self.is_about_ours(state, &receipt) {
                Some(false) => frames.push(Frame::Told { receipt, at: now }),
                Some(true) => known += 1,
                None => tracing::error!(addressee = %receipt.receipt.addressee, "a receipt does not verify"),
            }
        }
        if frames.is_empty() && known == 0 && all > 0 {
            return Err(NoticeError::Rule("no receipt verifies"));
        }
        if !frames.is_empty() {
            self.write(frames, None).await?;
        }
        Ok(())
    }

    /// Some(known) when it is a genuine receipt for a letter of this node.
    fn is_about_ours(&self, state: &State, receipt: &SignedReceipt) -> Option<bool> {
        let r = &receipt.receipt;
        let node = state.node(r.node).filter(|n| n.agency == r.addressee)?;
        let known = self.read(|b| {
            let out = b.out(&r.letter)?;
            let h = &out.letter.header;
            // Nobody withdraws but the sender.
            let asked = r.state != ReceiptState::Withdrawn || b.is_cancelled(&h.notice, &h.to);
            let same = |s: &SignedReceipt| {
                let (s, name) = (&s.receipt, |r: &Receipt| r.by.as_ref().map(|b| b.name.clone()));
                s.state == r.state && s.answer == r.answer && name(s) == name(r)
            };
            let full = out.receipts.len() >= RECEIPTS || h.kind != LetterKind::Notice && out.is_delivered();
            (asked && h.to == r.addressee && h.notice == r.notice && h.federation == r.federation)
                .then(|| full || out.receipts.iter().any(same))
        })?;
        receipt.verifies(&node.key).then_some(known)
    }
}
