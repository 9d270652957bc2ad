//! What comes in: letters from other nodes, and what this node's people say of them. A shell around the decisions of
//! [`Book::decide`](super::Book): it checks signatures, opens and seals, and makes durable what was decided.

use super::decide::{Decision, Event};
use super::error::NoticeError;
use super::frame::Warned;
use super::letter::{Content, Letter, LetterDigest, LetterHeader, LetterKind};
use super::office::{Office, Taken, Turn, Word};
use super::receipt::SignedReceipt;
use crate::domain::canon::Canon;
use crate::domain::ids::AgencyId;
use crate::domain::label::Grade;
use crate::domain::notice::ReceiptState;
use crate::domain::time::{Entropy, Millis};
use crate::ledger::{State, origin_mark};
use crate::seal::GradePublic;
use std::sync::PoisonError;

impl Office {
    /// Takes a letter in that is addressed to this agency. Durable when it answers; the same again gets the same receipts.
    ///
    /// # Errors
    /// [`NoticeError::Rule`] when it is forged, expired or not for this agency, [`NoticeError::Seal`] when it does not
    /// open, [`NoticeError::Journal`].
    pub async fn take(&self, state: &State, letter: Letter, now: Millis) -> Result<Taken, NoticeError> {
        self.may_take(state, &letter)?;
        if letter.header.kind == LetterKind::Receipt {
            let receipt = SignedReceipt::from_canon(&self.content(&letter)?)?;
            self.told(state, vec![receipt], now).await?;
        }
        let digest = letter.digest();
        let turn = self.turn(&letter.header.notice).await;
        let names = match letter.header.kind {
            LetterKind::Recall => self.recalled_desks(&letter)?,
            LetterKind::Confirm => vec![Content::from_bytes(&self.content(&letter)?)?.sender],
            LetterKind::Notice | LetterKind::Receipt | LetterKind::Cancel => Vec::new(),
        };
        let recalls = letter.header.kind == LetterKind::Recall;
        let warning = if recalls { self.recalled_warning(&letter) } else { None };
        let event = Event::Came { letter: &letter, digest, names: &names, warning };
        let decision = self.read(|b| b.decide(event, now))?;
        if decision.takes_in() {
            // Held means openable: what does not open is not receipted.
            let desks = Content::from_bytes(&self.content(&letter)?)?.desks;
            self.desks.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, desks.into());
        }
        let (frames, taken) =
            decision.fulfil(now, |sign, previous| Ok((self.receipt(sign, previous, None, now), None)))?;
        if !frames.is_empty() {
            self.write(frames, Some(turn)).await?;
        }
        if recalls {
            let recalled = self.read(|b| b.notice_of(&letter.header).map(|(of, _)| of));
            if let Some(of) = recalled {
                self.desks.lock().unwrap_or_else(PoisonError::into_inner).remove(&of);
            }
        }
        Ok(taken)
    }

    /// Units and persons whom the notice names that a recall is for. Its reason must open, or it is not receipted; of a
    /// notice that does not open, nobody but its duty officers may know.
    fn recalled_desks(&self, recall: &Letter) -> Result<Vec<String>, NoticeError> {
        Content::from_bytes(&self.content(recall)?)?;
        let entry = self.read(|b| b.notice_of(&recall.header).map(|(_, i)| i.clone()));
        let desks = entry.map(|i| self.desks(&i).unwrap_or_else(|_| vec![String::new()].into()));
        Ok(desks.map(|d| d.to_vec()).unwrap_or_default())
    }

    /// What warning the notice is that a recall is for, if it is one and still opens.
    fn recalled_warning(&self, recall: &Letter) -> Option<Warned> {
        let letter = self.read(|b| b.notice_of(&recall.header).and_then(|(_, i)| i.letter.clone()))?;
        let content = Content::from_bytes(&self.content(&letter).ok()?).ok()?;
        content.warning.map(|w| Warned { level: w.level, kind: w.kind, about: content.about })
    }

    /// Whether a letter is for this agency, from whom it says, and of a grade and an id that its sender may use.
    ///
    /// # Errors
    /// [`NoticeError::Rule`].
    pub fn may_take(&self, state: &State, letter: &Letter) -> Result<(), NoticeError> {
        let h = &letter.header;
        if h.to != self.identity.agency {
            return Err(NoticeError::Rule("it is addressed to another agency"));
        }
        if !self.is_genuine(state, letter) {
            return Err(NoticeError::Rule("no node of its sender signed it"));
        }
        let holds = |agency: &AgencyId| key_of(state, h.kind, agency, h.grade).is_some();
        if !holds(&h.from) {
            return Err(NoticeError::Rule("its grade is above what its sender may hold"));
        }
        if !holds(&h.to) {
            return Err(NoticeError::Rule("its grade is above what this agency may hold"));
        }
        let sender = origin_mark(&self.identity.federation, &h.from);
        if h.kind != LetterKind::Receipt && h.notice.origin_mark() != sender {
            return Err(NoticeError::Rule("its id names another sender"));
        }
        Ok(())
    }

    /// A notice's content is about to be opened for a person: durable when it answers. From then on it cannot be withdrawn,
    /// and they are told when it is recalled. False when it was taken back already.
    ///
    /// # Errors
    /// A failed journal.
    pub async fn opening(&self, letter: &LetterDigest, person: &str, now: Millis) -> Result<bool, NoticeError> {
        let Ok((_, turn)) = self.turn_of(letter).await else { return Ok(false) };
        let Ok(decision) = self.read(|b| b.decide(Event::Opening { letter, person }, now)) else { return Ok(false) };
        if !decision.frames.is_empty() {
            self.write(decision.frames, Some(turn)).await?;
        }
        Ok(true)
    }

    /// Makes a later receipt for a notice that came in and sends it back; durable when it answers. What was said already is
    /// not said again, except by another person or with another answer.
    ///
    /// # Errors
    /// [`NoticeError::Rule`] when the notice is not here, or the person's signature does not fit;
    /// [`NoticeError::Recalled`] and [`NoticeError::Withdrawn`].
    pub async fn say(
        &self,
        state: &State,
        letter: &LetterDigest,
        step: ReceiptState,
        word: Option<Word>,
        now: Millis,
        entropy: &mut (dyn Entropy + Send),
    ) -> Result<(), NoticeError> {
        let of = self.turn_of(letter).await?;
        let decision = self.read(|b| b.decide(Event::Said { letter, step, word: word.as_ref() }, now))?;
        self.carry_out(state, decision, of, word, now, entropy).await
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
        let of = self.turn_of(letter).await?;
        let decision = self.read(|b| b.decide(Event::Shown { letter, person }, now))?;
        self.carry_out(state, decision, of, None, now, entropy).await
    }

    /// A person's terminal confirmed that it displays that a notice was recalled: durable when it answers.
    ///
    /// # Errors
    /// [`NoticeError::Rule`] when it was not recalled, or a failed journal.
    pub async fn recall_shown(&self, letter: &LetterDigest, person: &str, now: Millis) -> Result<(), NoticeError> {
        let (_, turn) = self.turn_of(letter).await?;
        let decision = self.read(|b| b.decide(Event::RecallShown { letter, person }, now))?;
        if !decision.frames.is_empty() {
            self.write(decision.frames, Some(turn)).await?;
        }
        Ok(())
    }

    /// The header of a notice that came in, and its turn.
    async fn turn_of(&self, letter: &LetterDigest) -> Result<(LetterHeader, Turn), NoticeError> {
        let header = self.read(|b| b.entry(letter).map(|i| i.header.clone()));
        let header = header.ok_or(NoticeError::Rule("there is no such notice"))?;
        let turn = self.turn(&header.notice).await;
        Ok((header, turn))
    }

    /// Signs what was decided with a person's word, seals what carries it back, and makes both durable.
    async fn carry_out(
        &self,
        state: &State,
        decision: Decision,
        (header, turn): (LetterHeader, Turn),
        mut word: Option<Word>,
        now: Millis,
        entropy: &mut (dyn Entropy + Send),
    ) -> Result<(), NoticeError> {
        let (frames, _) = decision.fulfil(now, |sign, previous| {
            let receipt = self.receipt(sign, previous, word.take(), now);
            if !receipt.receipt.person_signed() {
                return Err(NoticeError::Rule("the person's signature does not fit"));
            }
            let carrier = self.seal(state, header.back(self.identity.node, now), &receipt.to_canon(), &mut *entropy)?;
            Ok((receipt, Some(carrier)))
        })?;
        if !frames.is_empty() {
            self.write(frames, Some(turn)).await?;
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Takes receipts of addressees in. Those that do not verify are left out and told in the log.
    ///
    /// # Errors
    /// A failed journal, or [`NoticeError::Rule`] when none of them verifies.
    pub async fn told(&self, state: &State, mut receipts: Vec<SignedReceipt>, now: Millis) -> Result<(), NoticeError> {
        if receipts.is_empty() {
            return Ok(());
        }
        receipts.retain(|r| {
            let ours = self.read(|b| b.knows(&r.receipt).is_some()) && is_of_addressee(state, r);
            if !ours {
                tracing::error!(addressee = %r.receipt.addressee, "a receipt does not verify");
            }
            ours
        });
        if receipts.is_empty() {
            return Err(NoticeError::Rule("no receipt verifies"));
        }
        let decision = self.read(|b| b.decide(Event::Told(&receipts), now))?;
        if !decision.frames.is_empty() {
            self.write(decision.frames, None).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
impl Office {
    /// What a notice says opens no more, as after damage or with another key ring.
    pub(crate) fn spoil(&self, letter: &LetterDigest) {
        self.change(|book| {
            if let Some(kept) = book.received.get_mut(letter).and_then(|i| i.letter.as_mut()) {
                kept.header.created = kept.header.created.plus_ms(1);
            }
        });
    }

    /// As many notices of a sender are kept back as may.
    pub(crate) fn keep_no_more_back(&self, from: &AgencyId, at: Millis) {
        let mut entropy = crate::seal::Counter::at(0);
        self.change(|book| {
            for _ in 0..super::decide::WITHHELD {
                let notice = crate::domain::ids::NoticeId::new(at, [0; 4], &mut entropy);
                book.fold(super::frame::Frame::Withheld { notice, from: from.clone(), at });
            }
        });
    }
}

/// Whether a node of its addressee signed a receipt, and the person named in it too. One that was removed since may have
/// said so before, and its receipt have been under way: what it took in, it took in.
pub fn is_of_addressee(state: &State, receipt: &SignedReceipt) -> bool {
    let signer = state.signer(receipt.receipt.node).filter(|(agency, _)| **agency == receipt.receipt.addressee);
    signer.is_some_and(|(_, key)| receipt.verifies(key))
}

/// Whether a letter that was accepted may still go to its addressee: a notice waits where a ceiling was lowered since.
pub fn may_go(state: &State, header: &LetterHeader) -> bool {
    key_of(state, header.kind, &header.to, header.grade).is_some()
}

/// The agency's key for a letter of this kind and grade. A notice goes to nobody, and comes from nobody, whose ceiling does not
/// reach it now; what is said of a notice from before a ceiling was lowered still goes and comes, or nobody could take it back
/// or say that it was read.
pub(super) fn key_of<'a>(
    state: &'a State,
    kind: LetterKind,
    agency: &AgencyId,
    grade: Grade,
) -> Option<&'a GradePublic> {
    match kind {
        LetterKind::Notice => state.grade_key(agency, grade),
        LetterKind::Receipt | LetterKind::Cancel | LetterKind::Recall | LetterKind::Confirm => {
            state.agency(agency)?.descriptor.grade_keys.get(grade as usize)
        }
    }
}
