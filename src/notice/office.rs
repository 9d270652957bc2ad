//! The notices of one node: the book over its journal, letters made and taken in. A thin shell around the pure
//! parts: it checks signatures, makes frames durable, and folds them.
//!
//! Crash stories: before a frame is durable nobody is told anything, and the sender asks again; after it, the book has
//! it. A receipt that was made and did not reach its sender goes out again with the next copy of the letter.

use super::book::{Book, Frame, In, Out};
use super::error::NoticeError;
use super::letter::{Content, Letter, LetterDigest, LetterHeader, LetterKind};
use super::receipt::{By, Receipt, SignedReceipt};
use super::schedule::{Schedule, Try};
use crate::audit::AuditReceipt;
use crate::domain::canon::Canon;
use crate::domain::ids::{AgencyId, FederationId, NodeId, NoticeId};
use crate::domain::notice::{Answer, Deadlines, Precedence, ReceiptState};
use crate::domain::time::{Entropy, Millis};
use crate::journal::{Journal, JournalOptions, Recovery};
use crate::ledger::{State, origin_mark};
use crate::seal::{KeyRing, SigningKey, digest};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::{Notify, watch};

/// Most letters that wait, of each precedence: a flash is still taken when routine is refused.
const WAITING: [usize; 4] = [20_000, 15_000, 10_000, 5_000];
/// A sender's clock may be off by this much.
const SLACK_MS: u64 = 3_600_000;
/// Locks that keep the steps of one letter in order.
const TURNS: usize = 64;

/// Who this node is.
pub struct Identity {
    /// Federation.
    pub federation: FederationId,
    /// Own agency.
    pub agency: AgencyId,
    /// Own node.
    pub node: NodeId,
}

/// A notice for one addressee.
pub struct Draft {
    /// The notice.
    pub notice: NoticeId,
    /// Addressee.
    pub to: AgencyId,
    /// Notice or cancel.
    pub kind: LetterKind,
    /// Urgency.
    pub precedence: Precedence,
    /// 演练.
    pub exercise: bool,
    /// Whether it must be acknowledged.
    pub action: bool,
    /// 线索, with its clock.
    pub lead: bool,
    /// Grade.
    pub grade: crate::domain::label::Grade,
    /// What it says; the canonical bytes are sealed.
    pub content: Content,
}

/// What became of a letter that came in.
pub struct Taken {
    /// This node's receipts for it, and for the notice that it is about.
    pub receipts: Vec<SignedReceipt>,
    /// Whether it is a notice that was not here before.
    pub new: bool,
}

/// A person's word on a notice.
pub struct Word {
    /// Acknowledged or answered; presented has no word.
    pub by: By,
    /// The answer.
    pub answer: Option<(Answer, String)>,
}

/// Every letter and receipt of this node in one digest: a hash chain over the journal's frames in their order.
#[derive(Default)]
struct Chain {
    next: u64,
    head: [u8; 32],
}

impl Chain {
    fn add(&mut self, seq: u64, frame: &[u8]) {
        self.head = digest("hufu.notice-chain", &[&self.head, frame]);
        self.next = seq.saturating_add(1);
    }
}

/// The notices of one node.
pub struct Office {
    identity: Identity,
    signer: SigningKey,
    ring: KeyRing,
    journal: Journal,
    book: RwLock<Book>,
    schedule: Mutex<Schedule>,
    deadlines: Deadlines,
    /// Of letters that came in or were decided on since the start.
    desks: Mutex<BTreeMap<LetterDigest, Arc<[String]>>>,
    chain: Mutex<Chain>,
    turns: [tokio::sync::Mutex<()>; TURNS],
    changed: watch::Sender<u64>,
    wake: Notify,
}

impl Office {
    /// Opens the book.
    ///
    /// # Errors
    /// [`NoticeError::Journal`] or [`NoticeError::Canon`] when the journal is damaged.
    pub fn open(dir: &Path, identity: Identity, ring: KeyRing, deadlines: Deadlines) -> Result<Office, NoticeError> {
        Office::over(Journal::open(dir, JournalOptions::default())?, identity, ring, deadlines)
    }

    pub(super) fn over(
        (journal, recovery): (Journal, Recovery),
        identity: Identity,
        ring: KeyRing,
        deadlines: Deadlines,
    ) -> Result<Office, NoticeError> {
        let mut book = Book::default();
        let mut chain = Chain::default();
        let mut next = recovery.first_seq;
        while next < recovery.next_seq {
            for (seq, frame) in journal.read(next, 1024, 4 << 20)? {
                book.fold(Frame::from_bytes(&frame)?);
                chain.add(seq, &frame);
                next = seq.saturating_add(1);
            }
        }
        let mut schedule = Schedule::default();
        book.open().for_each(|(letter, out)| schedule.add(&out.letter.header.to, letter));
        Ok(Office {
            identity,
            signer: ring.signing_key()?,
            ring,
            journal,
            book: RwLock::new(book),
            schedule: Mutex::new(schedule),
            deadlines,
            desks: Mutex::default(),
            chain: Mutex::new(chain),
            turns: std::array::from_fn(|_| tokio::sync::Mutex::default()),
            changed: watch::channel(0).0,
            wake: Notify::new(),
        })
    }

    /// Looks into the book.
    pub fn read<T>(&self, f: impl FnOnce(&Book) -> T) -> T {
        f(&self.book.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells of every change of the book.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Waits until something may be due to be sent.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Accepts a notice for all its addressees, or for none; durable when it answers.
    ///
    /// # Errors
    /// [`NoticeError::Full`], [`NoticeError::Rule`] for an addressee without a key of the grade, or a failed journal.
    pub async fn accept(
        &self,
        state: &State,
        drafts: Vec<Draft>,
        sender: &str,
        now: Millis,
        entropy: &mut (dyn Entropy + Send),
    ) -> Result<Vec<LetterDigest>, NoticeError> {
        let mut frames = Vec::with_capacity(drafts.len());
        let mut digests = Vec::with_capacity(drafts.len());
        for d in drafts {
            let most = WAITING.get(d.precedence as usize).copied().unwrap_or_default();
            if self.read(|b| b.waiting(d.precedence)) >= most {
                return Err(NoticeError::Full);
            }
            let header = LetterHeader {
                federation: self.identity.federation.clone(),
                from: self.identity.agency.clone(),
                node: self.identity.node,
                to: d.to,
                notice: d.notice,
                kind: d.kind,
                precedence: d.precedence,
                exercise: d.exercise,
                action: d.action,
                lead: d.lead,
                grade: d.grade,
                created: now,
                expires: now.plus_ms(d.precedence.lifetime_ms()),
            };
            let letter = self.seal(state, header, &d.content.to_bytes(), entropy)?;
            digests.push(letter.digest());
            frames.push(Frame::Sent { letter, sender: sender.to_owned(), at: now });
        }
        self.write(frames).await?;
        self.wake.notify_one();
        Ok(digests)
    }

    fn seal(
        &self,
        state: &State,
        header: LetterHeader,
        content: &[u8],
        entropy: &mut dyn Entropy,
    ) -> Result<Letter, NoticeError> {
        let key = state.grade_key(&header.to, header.grade);
        let key = key.ok_or(NoticeError::Rule("the addressee has no key for this grade"))?;
        Letter::seal(header, content, key, &self.signer, entropy)
    }

    /// Whether this node passes a letter on: its sender's own, genuine, and for somebody else. So it makes one hop.
    ///
    /// # Errors
    /// [`NoticeError::Rule`].
    pub fn may_relay(&self, state: &State, sender: &AgencyId, letter: &Letter) -> Result<(), NoticeError> {
        let h = &letter.header;
        if h.from != *sender || h.to == self.identity.agency || !self.is_genuine(state, letter) {
            return Err(NoticeError::Rule("a relay passes on what its caller's own agency signed for somebody else"));
        }
        Ok(())
    }

    /// Whether a letter was signed by a node of the agency that it says it is from.
    fn is_genuine(&self, state: &State, letter: &Letter) -> bool {
        let h = &letter.header;
        h.federation == self.identity.federation
            && state.node(h.node).is_some_and(|n| n.agency == h.from && letter.is_signed_by(&n.key))
    }

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
        let _turn = self.turn(&digest).lock().await;
        if let Some(receipts) = self.read(|b| b.entry(&digest).map(|i| i.receipts.clone())) {
            return Ok(Taken { receipts, new: false });
        }
        if letter.header.expires.plus_ms(SLACK_MS) <= now {
            return Err(NoticeError::Rule("its time is over"));
        }
        // Held means openable: what does not open is not receipted.
        let desks = Content::from_bytes(&self.content(&letter)?)?.desks;
        self.desks.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, desks.into());
        let receipt = self.receipt(letter.header.notice, digest, ReceiptState::Delivered, None, None, now);
        self.write(vec![Frame::Received { letter, receipt: receipt.clone(), at: now }]).await?;
        Ok(Taken { receipts: vec![receipt], new: true })
    }

    async fn take_cancel(&self, cancel: &Letter, digest: LetterDigest, now: Millis) -> Result<Taken, NoticeError> {
        let taken = self.receipt(cancel.header.notice, digest, ReceiptState::Delivered, None, None, now);
        let of = self.read(|b| b.cancelled_by(cancel).map(|(d, _)| d));
        // The notice itself may still be under way; its sender asks again.
        let of = of.ok_or(NoticeError::Rule("the notice that it withdraws is not here yet"))?;
        let _turn = self.turn(&of).lock().await;
        let (state, mut receipts) = self
            .read(|b| b.entry(&of).map(|i| (i.state(), i.receipts.clone())))
            .unwrap_or((ReceiptState::Delivered, vec![]));
        if state == ReceiptState::Delivered {
            let previous = receipts.last().map(SignedReceipt::digest);
            let receipt = self.receipt(cancel.header.notice, of, ReceiptState::Withdrawn, previous, None, now);
            self.write(vec![Frame::Own { receipt: receipt.clone(), carrier: None, at: now }]).await?;
            receipts.push(receipt);
        }
        receipts.push(taken);
        Ok(Taken { receipts, new: false })
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
        let _turn = self.turn(letter).lock().await;
        let entry = self.read(|b| b.entry(letter).cloned()).ok_or(NoticeError::Rule("there is no such notice"))?;
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
        self.write(vec![Frame::Own { receipt, carrier, at: now }]).await?;
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
        self.write(vec![Frame::Shown { letter: *letter, person: person.to_owned(), at: now }]).await
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
            self.write(frames).await?;
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
            (h.to == r.addressee && h.notice == r.notice && h.federation == r.federation)
                .then(|| out.receipts.contains(receipt) || h.kind != LetterKind::Notice && out.is_delivered())
        })?;
        receipt.verifies(&node.key).then_some(known)
    }

    fn receipt(
        &self,
        notice: NoticeId,
        letter: LetterDigest,
        state: ReceiptState,
        previous: Option<[u8; 32]>,
        word: Option<Word>,
        time: Millis,
    ) -> SignedReceipt {
        let (by, answer) = word.map_or((None, None), |w| (Some(w.by), w.answer));
        let Identity { federation, agency, node } = &self.identity;
        let (federation, addressee, node) = (federation.clone(), agency.clone(), *node);
        Receipt { federation, notice, letter, addressee, node, state, time, previous, by, answer }.sign(&self.signer)
    }

    /// What is due to be sent, most urgent first.
    pub fn tries(&self, now: Millis, entropy: &mut dyn Entropy) -> Vec<Try> {
        let mut schedule = self.schedule.lock().unwrap_or_else(PoisonError::into_inner);
        let jitter = |below: u64| {
            let mut random = [0; 8];
            entropy.fill(&mut random);
            u64::from_be_bytes(random).checked_rem(below).unwrap_or(0)
        };
        self.read(|b| schedule.due(b, now, jitter))
    }

    /// When something is to be tried next.
    pub fn next_try(&self) -> Option<Millis> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner).next()
    }

    /// A path to an agency works: what waits for it goes at once.
    pub fn reachable(&self, agency: &AgencyId) {
        if self.schedule.lock().unwrap_or_else(PoisonError::into_inner).reachable(agency) {
            self.wake.notify_one();
        }
    }

    /// Makes durable what is due by now: ends, alarms and escalations. Answers what was new.
    ///
    /// # Errors
    /// A failed journal.
    pub async fn step(&self, now: Millis) -> Result<Vec<Frame>, NoticeError> {
        let due = self.read(|b| b.due(now, &self.deadlines));
        if !due.is_empty() {
            self.write(due.clone()).await?;
        }
        Ok(due)
    }

    /// The content of a notice, for a person. `receipt` must be that of a durable, allowed intent.
    ///
    /// # Errors
    /// [`NoticeError::Rule`] for another receipt, [`NoticeError::Seal`] when it does not open.
    pub fn disclose(&self, entry: &In, receipt: &AuditReceipt) -> Result<Content, NoticeError> {
        if !receipt.covers_notice(&entry.letter.header.notice) {
            return Err(NoticeError::Rule("the audit receipt does not cover this notice"));
        }
        Content::from_bytes(&self.content(&entry.letter)?)
    }

    /// Units and persons whom a notice names; no content. Opened once: every decision on a notice asks for them.
    ///
    /// # Errors
    /// [`NoticeError::Seal`] when it does not open.
    pub fn desks(&self, entry: &In) -> Result<Arc<[String]>, NoticeError> {
        let digest = entry.letter.digest();
        if let Some(known) = self.desks.lock().unwrap_or_else(PoisonError::into_inner).get(&digest) {
            return Ok(Arc::clone(known));
        }
        let desks: Arc<[String]> = Content::from_bytes(&self.content(&entry.letter)?)?.desks.into();
        self.desks.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, Arc::clone(&desks));
        Ok(desks)
    }

    /// Within which times something must happen.
    pub fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    /// How many frames there are, and the digest over all of them: a pure function of the journal.
    ///
    /// # Errors
    /// A journal that cannot be read.
    pub fn digest(&self) -> Result<(u64, [u8; 32]), NoticeError> {
        let mut chain = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
        let end = self.journal.next_seq();
        while chain.next < end {
            for (seq, frame) in self.journal.read(chain.next, 1024, 4 << 20)? {
                chain.add(seq, &frame);
            }
        }
        Ok((chain.next, chain.head))
    }

    /// Letters of a notice that this node sent.
    pub fn sent_of(&self, notice: &NoticeId) -> Vec<(LetterDigest, Out)> {
        self.read(|b| b.sent_of(notice).into_iter().map(|(d, o)| (d, o.clone())).collect())
    }

    fn content(&self, letter: &Letter) -> Result<zeroize::Zeroizing<Vec<u8>>, NoticeError> {
        let secret = self.ring.grade_secret(letter.header.grade);
        letter.open(&secret.ok_or(NoticeError::Rule("the grade is above this node's ceiling"))?)
    }

    fn turn(&self, letter: &LetterDigest) -> &tokio::sync::Mutex<()> {
        let [first, ..] = letter;
        let [zero, ..] = &self.turns;
        self.turns.get(usize::from(*first) % TURNS).unwrap_or(zero)
    }

    async fn write(&self, frames: Vec<Frame>) -> Result<(), NoticeError> {
        self.journal.append(frames.iter().map(Frame::to_bytes).collect()).await?;
        let sent: Vec<(AgencyId, LetterDigest)> =
            frames.iter().filter_map(Frame::sends).map(|l| (l.header.to.clone(), l.digest())).collect();
        let mut book = self.book.write().unwrap_or_else(PoisonError::into_inner);
        frames.into_iter().for_each(|f| book.fold(f));
        drop(book);
        let mut schedule = self.schedule.lock().unwrap_or_else(PoisonError::into_inner);
        sent.iter().for_each(|(to, letter)| schedule.add(to, *letter));
        drop(schedule);
        self.changed.send_modify(|n| *n = n.wrapping_add(1));
        Ok(())
    }
}
