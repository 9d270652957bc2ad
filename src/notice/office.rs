//! The notices of one node: the book over its journal, letters made and taken in. A thin shell around the pure
//! parts: it checks signatures, makes frames durable, and folds them.
//!
//! Crash stories: before a frame is durable nobody is told anything, and the sender asks again; after it, the book has
//! it, whether or not whoever asked still waits for the answer. A receipt that was made and did not reach its sender goes
//! out again with the next copy of the letter.

use super::at_rest::AtRest;
use super::book::{Book, In, Out};
use super::decide::{Sign, disk_work};
use super::error::NoticeError;
use super::frame::{Frame, Step};
use super::letter::{Content, Letter, LetterDigest, LetterHeader, LetterKind};
use super::receipt::{By, Receipt, SignedReceipt};
use super::receive::key_of;
use super::retain::Days;
use super::schedule::{Schedule, Try};
use crate::audit::AuditReceipt;
use crate::domain::ids::{AgencyId, FederationId, NodeId, NoticeId};
use crate::domain::label::Grade;
use crate::domain::notice::{Answer, Deadlines, Precedence};
use crate::domain::time::{Entropy, Millis};
use crate::journal::{Host, Journal, JournalError, JournalOptions, Recovery, Waiting, Written};
use crate::ledger::State;
use crate::seal::{KeyRing, SigningKey, digest};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::{Notify, OwnedMutexGuard, oneshot, watch};

/// A peer that calls makes what waits for it due at most this often.
const REACHABLE_MS: u64 = 1_000;
/// Bytes of frames that wait for the disk before new letters are turned away.
const WAITING_BYTES: usize = 32 << 20;
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
    /// Notice, cancel, recall or confirm.
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
    pub grade: Grade,
    /// What it says; the canonical bytes are sealed.
    pub content: Content,
}

/// What became of letters that were to go out.
#[derive(Debug)]
pub struct Accepted {
    /// Those that are durable here, in the order of their drafts.
    pub letters: Vec<LetterDigest>,
    /// Addressees for whom there was no room: nothing goes to them, and nothing was kept.
    pub refused: Vec<AgencyId>,
}

/// What became of a letter that came in.
pub struct Taken {
    /// This node's receipts for it, and for the notice that it is about.
    pub receipts: Vec<SignedReceipt>,
    /// Whether it is a notice that was not here before.
    pub new: bool,
}

/// A person's word on a notice.
#[derive(Debug, Clone)]
pub struct Word {
    /// Acknowledged or answered; presented has no word.
    pub by: By,
    /// The answer.
    pub answer: Option<(Answer, String)>,
}

/// Every letter and receipt of this node in one digest: a hash chain over the journal's frames in their order.
#[derive(Default)]
struct Chain {
    /// The first frame in it: earlier ones are deleted.
    first: u64,
    next: u64,
    head: [u8; 32],
}

impl Chain {
    fn add(&mut self, seq: u64, frame: &[u8]) {
        self.head = digest("hufu.notice-chain", &[&self.head, frame]);
        self.next = seq.saturating_add(1);
    }
}

/// What durable frames change; the journal's thread folds them, so that no caller who went away leaves one out.
#[derive(Default)]
struct Shared {
    book: RwLock<Book>,
    schedule: Mutex<Schedule>,
    changed: watch::Sender<u64>,
    /// Set when the journal failed: the node must end.
    failed: watch::Sender<bool>,
}

/// Keeps the steps of one notice in order; held until its frames are durable or refused.
pub(super) type Turn = OwnedMutexGuard<()>;

/// The notices of one node.
pub struct Office {
    pub(super) identity: Identity,
    signer: SigningKey,
    ring: KeyRing,
    at_rest: AtRest,
    pub(super) journal: Journal,
    waiting: Waiting,
    pub(super) days: Mutex<Days>,
    shared: Arc<Shared>,
    deadlines: Deadlines,
    /// Of letters that came in or were decided on since the start.
    pub(super) desks: Mutex<BTreeMap<LetterDigest, Arc<[String]>>>,
    chain: Mutex<Chain>,
    turns: [Arc<tokio::sync::Mutex<()>>; TURNS],
    /// When each peer last called, by the steady clock.
    called: Mutex<BTreeMap<AgencyId, Millis>>,
    pub(super) wake: Notify,
}

impl Office {
    /// Opens the book.
    ///
    /// # Errors
    /// [`NoticeError::Journal`], [`NoticeError::Seal`] or [`NoticeError::Canon`] when the journal is damaged.
    pub fn open(
        host: &dyn Host,
        dir: &Path,
        identity: Identity,
        ring: KeyRing,
        deadlines: Deadlines,
    ) -> Result<Office, NoticeError> {
        Office::over(Journal::open(host, dir, JournalOptions::default())?, identity, ring, deadlines)
    }

    pub(super) fn over(
        (journal, recovery): (Journal, Recovery),
        identity: Identity,
        ring: KeyRing,
        deadlines: Deadlines,
    ) -> Result<Office, NoticeError> {
        let at_rest = AtRest::new(&ring);
        let mut book = Book::default();
        let mut chain = Chain { first: recovery.first_seq, next: recovery.first_seq, ..Chain::default() };
        let mut days = Days::default();
        let mut next = recovery.first_seq;
        while next < recovery.next_seq {
            for (seq, frame) in journal.read(next, 1024, 4 << 20)? {
                let read = at_rest.open_frame(&frame)?;
                days.frame(&read, seq);
                book.fold(read);
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
            at_rest,
            journal,
            waiting: Waiting::new(WAITING_BYTES),
            days: Mutex::new(days),
            shared: Arc::new(Shared { book: RwLock::new(book), schedule: Mutex::new(schedule), ..Shared::default() }),
            deadlines,
            desks: Mutex::default(),
            chain: Mutex::new(chain),
            turns: std::array::from_fn(|_| Arc::default()),
            called: Mutex::default(),
            wake: Notify::new(),
        })
    }

    /// Ends when the journal failed: nothing is accepted, delivered or called for any more, so the node must not go on.
    pub async fn failed(&self) {
        let mut failed = self.shared.failed.subscribe();
        let _ = failed.wait_for(|f| *f).await;
    }

    /// Changes the book by what needs no frame.
    pub(super) fn change<T>(&self, f: impl FnOnce(&mut Book) -> T) -> T {
        f(&mut self.shared.book.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is deleted is in the chain no more.
    pub(super) fn restart_chain(&self) {
        let first = self.journal.first_seq();
        *self.chain.lock().unwrap_or_else(PoisonError::into_inner) = Chain { first, next: first, head: [0; 32] };
    }

    /// Looks into the book.
    pub fn read<T>(&self, f: impl FnOnce(&Book) -> T) -> T {
        f(&self.shared.book.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the journal wrote since the start.
    pub fn written(&self) -> Written {
        self.journal.meter().read()
    }

    /// Tells of every change of the book.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// Waits until something may be due to be sent.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Accepts a notice for those of its addressees for whom there is room; durable when it answers. After a power cut before
    /// the answer some of its letters may be there and go out. `free` is the room on the disk, in bytes: the less there is,
    /// the more urgent a notice must be.
    ///
    /// # Errors
    /// [`NoticeError::Full`] or [`NoticeError::Disk`] when there is room for none, [`NoticeError::TooLarge`],
    /// [`NoticeError::Rule`] for an addressee without a key of the grade, [`NoticeError::Busy`], or a failed journal. Nothing
    /// is accepted then.
    pub async fn accept(
        &self,
        state: &State,
        drafts: Vec<Draft>,
        (sender, free): (&str, u64),
        now: Millis,
        entropy: &mut (dyn Entropy + Send),
    ) -> Result<Accepted, NoticeError> {
        // First that its marking is provisional: a power cut may leave only the first of several frames.
        let provisional = drafts.iter().find(|d| d.content.provisional).map(|d| d.notice);
        let first = provisional.map(|notice| Frame::Provisional { notice, at: now });
        self.accept_after(first, state, drafts, (sender, free), now, entropy).await
    }

    /// Accepts letters with a frame before them.
    async fn accept_after(
        &self,
        first: Option<Frame>,
        state: &State,
        drafts: Vec<Draft>,
        (sender, free): (&str, u64),
        now: Millis,
        entropy: &mut (dyn Entropy + Send),
    ) -> Result<Accepted, NoticeError> {
        let mut frames: Vec<Frame> = first.into_iter().collect();
        let short = |d: &Draft| Some(disk_work(d.kind, d.precedence)).filter(|work| !work.fits(0, free));
        let (fitting, left): (Vec<Draft>, Vec<Draft>) =
            self.read(|b| drafts.into_iter().partition(|d| b.has_room(d) && short(d).is_none()));
        if fitting.is_empty() && !left.is_empty() {
            return Err(left.iter().find_map(short).map_or(NoticeError::Full, NoticeError::Disk));
        }
        let refused = left.into_iter().map(|d| d.to).collect();
        let mut letters = Vec::with_capacity(fitting.len());
        for d in fitting {
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
            // What this node or the addressee could not read again must not become durable.
            let content = d.content.to_bytes();
            Content::from_bytes(&content).map_err(|_| NoticeError::TooLarge)?;
            let letter = self.seal(state, header, &content, entropy)?;
            letters.push(letter.digest());
            let frame = Frame::Sent { letter, sender: sender.to_owned(), at: now };
            Frame::from_bytes(&frame.to_bytes())?;
            frames.push(frame);
        }
        self.write(frames, None).await?;
        self.wake.notify_one();
        Ok(Accepted { letters, refused })
    }

    pub(super) fn seal(
        &self,
        state: &State,
        header: LetterHeader,
        content: &[u8],
        entropy: &mut dyn Entropy,
    ) -> Result<Letter, NoticeError> {
        let key = key_of(state, header.kind, &header.to, header.grade);
        let key = key.ok_or(NoticeError::Rule("the addressee has no key for this grade"))?;
        Letter::seal(header, content, key, &self.signer, entropy)
    }

    /// Whether this node passes a letter on: its sender's own, genuine, and for somebody else. So it makes one hop.
    ///
    /// # Errors
    /// [`NoticeError::Rule`].
    pub fn may_relay(&self, state: &State, sender: &AgencyId, letter: &Letter) -> Result<(), NoticeError> {
        let h = &letter.header;
        let elsewhere = h.to != *sender && h.to != self.identity.agency && state.stands(&h.to);
        if h.from != *sender || !elsewhere || !self.is_genuine(state, letter) {
            return Err(NoticeError::Rule("a relay passes on what its caller's own agency signed for somebody else"));
        }
        Ok(())
    }

    /// Whether a letter was signed by a node of the agency that it says it is from, and that agency stands: a relay that
    /// has not heard of a suspension yet brings nothing of it in. Within an agency its standing does not count. A node that
    /// was removed sends nothing any more; what it said before of what others sent it may still be under way.
    pub(super) fn is_genuine(&self, state: &State, letter: &Letter) -> bool {
        let h = &letter.header;
        let stands = h.from == self.identity.agency || state.stands(&h.from);
        stands
            && h.federation == self.identity.federation
            && (h.kind == LetterKind::Receipt || state.node(h.node).is_some())
            && state.signer(h.node).is_some_and(|(agency, key)| *agency == h.from && letter.is_signed_by(key))
    }

    /// Signs a receipt as this node.
    pub(super) fn receipt(
        &self,
        sign: &Sign,
        previous: Option<[u8; 32]>,
        word: Option<Word>,
        time: Millis,
    ) -> SignedReceipt {
        let (by, answer) = word.map_or((None, None), |w| (Some(w.by), w.answer));
        let Sign { notice, letter, state, previous: _, keep: _ } = sign;
        let (notice, letter, state) = (*notice, *letter, *state);
        let Identity { federation, agency, node } = &self.identity;
        let (federation, addressee, node) = (federation.clone(), agency.clone(), *node);
        Receipt { federation, notice, letter, addressee, node, state, time, previous, by, answer }.sign(&self.signer)
    }

    /// What is due to be sent, most urgent first. `steady` is the clock that nobody sets.
    pub fn tries(&self, now: Millis, steady: Millis, entropy: &mut dyn Entropy) -> Vec<Try> {
        let mut schedule = self.shared.schedule.lock().unwrap_or_else(PoisonError::into_inner);
        let jitter = |below: u64| {
            let mut random = [0; 8];
            entropy.fill(&mut random);
            u64::from_be_bytes(random).checked_rem(below).unwrap_or(0)
        };
        self.read(|b| schedule.due(b, now, steady, jitter))
    }

    /// When something is to be tried next.
    pub fn next_try(&self) -> Option<Millis> {
        self.shared.schedule.lock().unwrap_or_else(PoisonError::into_inner).next()
    }

    /// A letter that was due found no path with room.
    pub fn untried(&self, letter: &LetterDigest, steady: Millis) {
        let Some(to) = self.read(|b| b.out(letter).map(|o| o.letter.header.to.clone())) else { return };
        self.shared.schedule.lock().unwrap_or_else(PoisonError::into_inner).untried(&to, letter, steady);
    }

    /// An agency called, so it can be called: what waits for it goes at once, but not at each of many calls.
    pub fn called_by(&self, agency: &AgencyId, steady: Millis) {
        let mut called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
        let last = called.insert(agency.clone(), steady);
        if last.is_some_and(|last| steady < last.plus_ms(REACHABLE_MS)) {
            called.extend(last.map(|last| (agency.clone(), last)));
            return;
        }
        drop(called);
        self.reachable(agency);
    }

    fn reachable(&self, agency: &AgencyId) {
        if self.shared.schedule.lock().unwrap_or_else(PoisonError::into_inner).reachable(agency) {
            self.wake.notify_one();
        }
    }

    /// A path to a node works again, to itself or by it to others: what waits goes at once.
    pub fn path_is_back(&self) {
        self.shared.schedule.lock().unwrap_or_else(PoisonError::into_inner).all_due();
        self.wake.notify_one();
    }

    /// Makes durable what is due by now: ends, alarms and escalations. Answers what was new.
    ///
    /// # Errors
    /// A failed journal.
    pub async fn step(&self, now: Millis) -> Result<Vec<Frame>, NoticeError> {
        let due = self.read(|b| b.due(now, &self.deadlines));
        if !due.is_empty() {
            self.write(due.clone(), None).await?;
        }
        Ok(due)
    }

    /// A classifier confirms a provisional marking; durable when it answers, with the letters that say so. Whoever there was
    /// no room for is told when it is confirmed once more.
    ///
    /// # Errors
    /// As [`Office::accept`].
    pub async fn confirm(
        &self,
        state: &State,
        notice: NoticeId,
        drafts: Vec<Draft>,
        (by, free): (&str, u64),
        now: Millis,
        entropy: &mut (dyn Entropy + Send),
    ) -> Result<Accepted, NoticeError> {
        let first = Some(Frame::Confirmed { notice, by: by.to_owned(), at: now });
        self.accept_after(first, state, drafts, (by, free), now, entropy).await
    }

    /// People were called for a step of a letter (none for its arrival); durable when it answers.
    ///
    /// # Errors
    /// A failed journal.
    pub async fn called(&self, letter: LetterDigest, step: Option<Step>, now: Millis) -> Result<(), NoticeError> {
        self.write(vec![Frame::Called { letter, step, at: now }], None).await
    }

    /// The content of a notice, for a person. `receipt` must be that of a durable, allowed intent.
    ///
    /// # Errors
    /// [`NoticeError::Rule`] for another receipt, [`NoticeError::Seal`] when it does not open.
    pub fn disclose(&self, entry: &In, receipt: &AuditReceipt) -> Result<Content, NoticeError> {
        if !receipt.covers_notice(&entry.header.notice) {
            return Err(NoticeError::Rule("the audit receipt does not cover this notice"));
        }
        Content::from_bytes(&self.content(kept(entry)?)?)
    }

    /// Why a notice was recalled, and by whom, for a person. `receipt` must be that of a durable, allowed intent.
    ///
    /// # Errors
    /// As [`Office::disclose`], and when it was not recalled.
    pub fn why_recalled(&self, entry: &In, receipt: &AuditReceipt) -> Result<(String, String), NoticeError> {
        if !receipt.covers_notice(&entry.header.notice) {
            return Err(NoticeError::Rule("the audit receipt does not cover this notice"));
        }
        let recall = entry.recall.as_ref().ok_or(NoticeError::Rule("it is not recalled"))?;
        let Content { subject, sender, .. } = Content::from_bytes(&self.content(&recall.letter)?)?;
        Ok((subject, sender))
    }

    /// Whether what a notice says, or why it was recalled, opens here.
    ///
    /// # Errors
    /// As [`Office::disclose`].
    pub fn opens(&self, entry: &In) -> Result<(), NoticeError> {
        let letter = entry.recall.as_ref().map_or_else(|| kept(entry), |recall| Ok(&recall.letter))?;
        Content::from_bytes(&self.content(letter)?).map(drop)
    }

    /// Units and persons whom a notice names; no content. Opened once: every decision on a notice asks for them.
    ///
    /// # Errors
    /// [`NoticeError::Seal`] when it does not open.
    pub fn desks(&self, entry: &In) -> Result<Arc<[String]>, NoticeError> {
        if let Some(recall) = &entry.recall {
            return Ok(recall.desks.clone().into());
        }
        let letter = kept(entry)?;
        let digest = letter.digest();
        if let Some(known) = self.desks.lock().unwrap_or_else(PoisonError::into_inner).get(&digest) {
            return Ok(Arc::clone(known));
        }
        let desks: Arc<[String]> = Content::from_bytes(&self.content(letter)?)?.desks.into();
        self.desks.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, Arc::clone(&desks));
        Ok(desks)
    }

    /// Within which times something must happen.
    pub fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    /// The numbers of the frames that are there, and the digest over all of them: a pure function of the journal.
    ///
    /// # Errors
    /// A journal that cannot be read.
    pub fn digest(&self) -> Result<(Range<u64>, [u8; 32]), NoticeError> {
        let mut chain = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
        let end = self.journal.next_seq();
        while chain.next < end {
            for (seq, frame) in self.journal.read(chain.next, 1024, 4 << 20)? {
                chain.add(seq, &frame);
            }
        }
        Ok((chain.first..chain.next, chain.head))
    }

    /// Letters of a notice that this node sent.
    pub fn sent_of(&self, notice: &NoticeId) -> Vec<(LetterDigest, Out)> {
        self.read(|b| b.sent_of(notice).into_iter().map(|(d, o)| (d, o.clone())).collect())
    }

    pub(super) fn content(&self, letter: &Letter) -> Result<zeroize::Zeroizing<Vec<u8>>, NoticeError> {
        let secret = self.ring.grade_secret(letter.header.grade);
        letter.open(&secret.ok_or(NoticeError::Rule("the grade is above this node's ceiling"))?)
    }

    pub(super) async fn turn(&self, notice: &NoticeId) -> Turn {
        let [.., last, _, _, _, _] = *notice.as_bytes();
        let [zero, ..] = &self.turns;
        Arc::clone(self.turns.get(usize::from(last) % TURNS).unwrap_or(zero)).lock_owned().await
    }

    /// Makes frames durable and folds them. Both happen whether or not the caller still waits; `turn` is let go after.
    pub(super) async fn write(&self, frames: Vec<Frame>, turn: Option<Turn>) -> Result<(), NoticeError> {
        let (done, written) = oneshot::channel();
        let bytes: Vec<Vec<u8>> = frames.iter().map(|f| self.at_rest.seal_frame(f)).collect::<Result<_, _>>()?;
        let size: usize = bytes.iter().map(Vec::len).sum();
        // Only what nobody counts on yet is turned away: a step that was taken, or a word that was said, is kept.
        let brings = frames.iter().any(|f| matches!(f, Frame::Sent { .. } | Frame::Received { .. }));
        let place = match brings {
            true => self.waiting.take(size).ok_or(NoticeError::Busy)?,
            false => self.waiting.take_anyway(size),
        };
        {
            let mut days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
            frames.iter().for_each(|f| days.written(f));
        }
        let shared = Arc::clone(&self.shared);
        self.journal.submit(
            bytes,
            Box::new(move |outcome| {
                match &outcome {
                    Ok(_) => shared.fold(frames),
                    Err(error) => {
                        tracing::error!(%error, "the journal of notices failed; the node ends");
                        shared.failed.send_replace(true);
                    }
                }
                drop((turn, place));
                let _ = done.send(outcome);
            }),
        );
        written.await.map_err(|_| JournalError::Closed)??;
        Ok(())
    }
}

/// The letter of a notice, unless it was recalled.
fn kept(entry: &In) -> Result<&Letter, NoticeError> {
    entry.letter.as_ref().ok_or(NoticeError::Recalled)
}

impl Shared {
    fn fold(&self, frames: Vec<Frame>) {
        let sent: Vec<(AgencyId, LetterDigest)> =
            frames.iter().filter_map(Frame::sends).map(|l| (l.header.to.clone(), l.digest())).collect();
        let mut book = self.book.write().unwrap_or_else(PoisonError::into_inner);
        frames.into_iter().for_each(|f| book.fold(f));
        drop(book);
        let mut schedule = self.schedule.lock().unwrap_or_else(PoisonError::into_inner);
        sent.iter().for_each(|(to, letter)| schedule.add(to, *letter));
        drop(schedule);
        self.changed.send_modify(|n| *n = n.wrapping_add(1));
    }
}
