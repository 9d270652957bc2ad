//! Notices for people who get them: read, acknowledge, answer.

use super::bell::Ring;
use super::core::Core;
use super::door::{Act, Caller};
use super::notices::notice_label;
use super::publish::RandomOf;
use super::track::Lead;
use crate::audit::{Action as AuditAction, Object, Stage};
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, NoticeId};
use crate::domain::label::{Grade, Label};
use crate::domain::notice::{ANSWER_CHARS, Answer, Precedence, ReceiptState, Warning};
use crate::domain::time::Millis;
use crate::notice::{By, Content, In, LetterDigest, LetterHeader, Recall, Warned, Word, person_bytes};
use crate::policy::{Action, Decision, DenyKind, Resource};
use crate::seal::{PublicKey, Signature};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// A notice as a person sees it.
pub struct NoticeLine {
    /// Its letter, for acknowledging.
    pub letter: LetterDigest,
    /// What everybody on the way may know.
    pub header: LetterHeader,
    /// What it says.
    pub content: Content,
    /// The furthest state here.
    pub state: ReceiptState,
    /// When it came in.
    pub at: Millis,
    /// Who acknowledged first.
    pub ack_by: Option<String>,
    /// Who was called because nobody acknowledged: deputy, chain, out-of-band.
    pub escalated: Vec<&'static str>,
    /// The clock of a lead.
    pub lead: Option<Lead>,
    /// Why its sender recalled it: the content says nothing then but who did, and what warning it was.
    pub reason: Option<String>,
    /// Why what it says does not open here: the content is empty then.
    pub unopenable: Option<String>,
}

/// The reason of a fault by which a notice that is here is not shown.
pub const UNOPENABLE: &str = "UNOPENABLE";

/// Streams of one person at a time: terminals, and what a lost connection left.
const WATCHES: usize = 8;

/// Notices of other nodes of which it is remembered that people here were called for them.
const RUNG: usize = 10_000;

/// Who watches for notices; each stream costs an event for each notice.
#[derive(Default)]
pub struct Watching {
    streams: Mutex<BTreeMap<String, usize>>,
    /// Notices of the agency's other nodes that were rung for here. Lost at a stop: their home rings for them by itself.
    rung: Mutex<BTreeSet<NoticeId>>,
}

/// A stream of somebody; ends when dropped.
pub struct Watch<'a>(&'a Watching, String);

impl Watching {
    /// Begins a stream.
    ///
    /// # Errors
    /// When the person has too many.
    pub fn begin(&self, caller: &Caller) -> Result<Watch<'_>, Fault> {
        let name = caller.person().name.clone();
        let mut all = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let watches = all.entry(name.clone()).or_default();
        if *watches >= WATCHES {
            return Err(Fault::unavailable("OVERLOADED", format!("you watch {WATCHES} times already"))
                .hint("end a watch that you do not look at"));
        }
        *watches += 1;
        Ok(Watch(self, name))
    }

    /// Whether a notice of another node is rung for here for the first time.
    fn first_ring(&self, notice: NoticeId) -> bool {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        if rung.len() >= RUNG {
            rung.pop_first();
        }
        rung.insert(notice)
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let mut all = self.0.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watches) = all.get_mut(&self.1) {
            *watches = watches.saturating_sub(1);
            if *watches == 0 {
                all.remove(&self.1);
            }
        }
    }
}

/// Letters looked at for one inbox, and bytes of what the notices shown in it say: the rest is older.
const INBOX_SCAN: usize = 5_000;
const INBOX_BYTES: usize = 4 << 20;

/// What a notice takes in a list, whatever its sender put its words into: another node's list comes in one message.
fn listed_bytes(content: &Content) -> usize {
    content.to_bytes().len()
}

impl Core {
    /// Whether somebody may look at notices at all; a refusal is an event.
    pub async fn notice_gate(&self, caller: &Caller) -> Result<(), Fault> {
        let decision = self.decide(caller, Action::NoticeTrack, Resource::None, "", true);
        let Some(fault) = decision.fault() else { return Ok(()) };
        let (action, audit, object) = (Action::NoticeTrack, AuditAction::NoticeOpen, Object::None);
        let act = Act { action, audit, object, label: None, purpose: "", origin: None, request: self.random() };
        let _logged = self.log(caller, &act, Stage::Single, &decision).await?;
        Err(fault)
    }

    /// Notices that a person may see, newest first. Each one shown is an event.
    pub async fn notice_inbox(&self, caller: &Caller, limit: usize) -> Result<Vec<NoticeLine>, Fault> {
        self.notice_gate(caller).await?;
        let (letters, _) = self.office.read(|b| b.arrived_since(0));
        let (mut lines, mut bytes) = (Vec::new(), 0usize);
        for letter in letters.into_iter().rev().take(INBOX_SCAN) {
            if lines.len() >= limit || bytes > INBOX_BYTES {
                break;
            }
            if let Some(line) = self.notice_shown(caller, letter).await? {
                bytes = bytes.saturating_add(listed_bytes(&line.content));
                lines.push(line);
            }
        }
        Ok(lines)
    }

    /// One notice by its id.
    pub async fn notice_show(&self, caller: &Caller, notice: &NoticeId) -> Result<NoticeLine, Fault> {
        let letter = self.office.read(|b| b.received_of(notice).map(|(d, _)| d));
        let line = match letter {
            Some(letter) => self.notice_shown(caller, letter).await?,
            None => None,
        };
        match line {
            Some(NoticeLine { unopenable: Some(why), .. }) => Err(Fault::integrity(UNOPENABLE, why)),
            Some(line) => Ok(line),
            None => Err(self.notice_denied(caller, notice, Action::NoticeRead).await?),
        }
    }

    /// Whether a notice is here for this person to see. To whoever may not see it, nothing that follows from this may tell
    /// that it is here and not at another node of the agency.
    pub fn shows(&self, caller: &Caller, notice: &NoticeId) -> bool {
        let entry = self.office.read(|b| b.received_of(notice).map(|(_, i)| i.clone()));
        let entry = entry.filter(|i| i.state() != ReceiptState::Withdrawn);
        entry.is_some_and(|i| self.notice_may(caller, Action::NoticeRead, &i).is_allow())
    }

    /// Denied and absent look alike to whoever is denied; the log knows which it was. Answers the fault.
    async fn notice_denied(&self, caller: &Caller, notice: &NoticeId, action: Action) -> Result<Fault, Fault> {
        let entry = self.office.read(|b| b.received_of(notice).map(|(_, i)| i.clone()));
        let decision = entry.map(|i| self.notice_may(caller, action, &i)).filter(|d| !d.is_allow());
        let absent = || Decision::Deny { rule: "absent".into(), kind: DenyKind::Hidden };
        let label = notice_label(&self.agency, Grade::Internal, BTreeSet::new());
        let act = self.notice_act(action, AuditAction::NoticeOpen, *notice, &label);
        let _logged = self.log(caller, &act, Stage::Intent, &decision.unwrap_or_else(absent)).await?;
        Ok(Fault::not_found())
    }

    /// A notice as this person may see it: none when they may not, or when it was withdrawn. Of one that was recalled they see
    /// that, and why; of one that does not open, that it is there.
    pub async fn notice_shown(&self, caller: &Caller, letter: LetterDigest) -> Result<Option<NoticeLine>, Fault> {
        let Some(entry) = self.office.read(|b| b.entry(&letter).cloned()) else { return Ok(None) };
        let decision = self.notice_may(caller, Action::NoticeRead, &entry);
        if entry.state() == ReceiptState::Withdrawn || !decision.is_allow() {
            return Ok(None);
        }
        let label = notice_of(&entry);
        let act = self.notice_act(Action::NoticeRead, AuditAction::NoticeOpen, entry.header.notice, &label);
        // Both are durable before anything is opened: the entry in the log, and for whom, so that it can be withdrawn no more
        // and they hear of a recall.
        let intent = self.log(caller, &act, Stage::Intent, &decision);
        let (receipt, opening) =
            tokio::join!(intent, self.office.opening(&letter, &caller.person().name, self.clock.now()));
        let (receipt, opened) = (receipt?, opening?);
        // As it is now: it may have been taken back meanwhile.
        let Some(entry) = self.office.read(|b| b.entry(&letter).cloned()) else { return Ok(None) };
        let said = match &entry.recall {
            Some(recall) => self.office.why_recalled(&entry, &receipt).map(|(reason, sender)| {
                let (warning, about) = (bare(recall), recall.warning.and_then(|w| w.about));
                (Content { sender, warning, about, ..Content::default() }, Some(reason))
            }),
            None if opened => self.office.disclose(&entry, &receipt).map(|content| {
                let provisional = content.provisional && entry.confirmed.is_none();
                (Content { provisional, ..content }, None)
            }),
            None => return Ok(None),
        };
        // It stands in front of no other.
        let ((content, reason), unopenable) = match said {
            Ok(said) => (said, None),
            Err(error) => {
                tracing::error!(notice = %entry.header.notice, %error, "a notice that was taken in does not open");
                ((Content::default(), None), Some(error.to_string()))
            }
        };
        let h = &entry.header;
        let (state, ack_by) = (entry.state(), entry.acknowledged_by().map(str::to_owned));
        let escalated = entry.steps.keys().map(|s| s.as_str()).collect();
        let at_once = |due| entry.receipts.iter().any(|r| r.receipt.state.is_of_a_person() && r.receipt.time <= due);
        let lead = h.lead.then(|| Lead::of(h.created, &entry.receipts, at_once));
        let (header, at) = (h.clone(), entry.at);
        Ok(Some(NoticeLine { letter, header, content, state, at, ack_by, escalated, lead, reason, unopenable }))
    }

    /// The lattice on the notice's label, with its desks as the need-to-know scope: a desk or person that is named,
    /// and the duty officers who watch for all.
    fn notice_may(&self, caller: &Caller, action: Action, entry: &In) -> Decision {
        let h = &entry.header;
        let desks = self.office.desks(entry).unwrap_or_else(|_| vec![String::new()].into());
        let person = caller.person();
        let named = |d: &String| *d == person.name || (!person.unit.is_empty() && *d == person.unit);
        let on_duty = person.roles.contains(&crate::domain::person::Role::DutyOfficer);
        let label = notice_label(&h.from, h.grade, [h.to.clone()].into());
        let resource = Resource::Record { label, own: h.from == self.agency };
        let mut question = self.question(caller, action, resource, "", true);
        question.in_scope = desks.is_empty() || on_duty || desks.iter().any(named);
        self.policy.decide(&question)
    }

    /// Letters that a person's terminal has not displayed yet and nobody acknowledged, and those of which it has not
    /// displayed the recall; then where arrivals and recalls go on.
    pub fn notices_unseen(&self, caller: &Caller) -> (Vec<LetterDigest>, (usize, usize)) {
        let name = &caller.person().name;
        self.office.read(|b| {
            let ((letters, next), (_, next_recall)) = (b.arrived_since(0), b.recalled_since(0));
            let unseen = |d: &LetterDigest| b.entry(d).is_some_and(|i| i.is_news_to(name));
            (letters.into_iter().filter(unseen).collect(), (next, next_recall))
        })
    }

    /// Letters that came in since, and those that were recalled since and that this person may have seen, in whatever way;
    /// then where both go on.
    pub fn notices_since(
        &self,
        caller: &Caller,
        (arrived, recalled): (usize, usize),
    ) -> (Vec<LetterDigest>, (usize, usize)) {
        let name = &caller.person().name;
        self.office.read(|b| {
            let ((mut letters, next), (recalls, next_recall)) = (b.arrived_since(arrived), b.recalled_since(recalled));
            letters.retain(|d| b.entry(d).is_some_and(|i| i.recall.is_none()));
            letters.extend(recalls.into_iter().filter(|d| b.entry(d).is_some_and(|i| i.was_seen_by(name))));
            (letters, (next, next_recall))
        })
    }

    /// Which notice a letter is, if this person may see it, and whether it was recalled; nothing of what it says.
    pub fn notice_news(&self, caller: &Caller, letter: &LetterDigest) -> Option<(NoticeId, bool)> {
        let entry = self.office.read(|b| b.entry(letter).cloned())?;
        let shown = entry.state() != ReceiptState::Withdrawn;
        let seen = shown && self.notice_may(caller, Action::NoticeRead, &entry).is_allow();
        seen.then(|| (entry.header.notice, entry.recall.is_some()))
    }

    /// Calls people here for a notice that another node of the agency took in while somebody watched at this one; once,
    /// however many watch. Who is called when nobody acknowledges is its home's matter.
    pub fn ring_elsewhere(
        &self,
        notice: NoticeId,
        agency: AgencyId,
        (precedence, grade, exercise): (Precedence, Grade, bool),
    ) {
        if self.watching.first_ring(notice) {
            let (event, call, of) = ("received", Vec::new(), None);
            self.bell.ring(Ring { event, notice, agency, precedence, grade, exercise, call, of });
        }
    }

    /// A person's terminal displays a notice, or that it was recalled.
    pub async fn notice_presented(&self, caller: &Caller, notice: &NoticeId, recall: bool) -> Result<(), Fault> {
        let (letter, entry) = self.notice_for(caller, notice, Action::NoticeRead).await?;
        let name = &caller.person().name;
        let shown_to = match &entry.recall {
            Some(r) if recall => &r.shown_to,
            _ => &entry.shown_to,
        };
        if shown_to.contains(name) {
            return Ok(());
        }
        let label = notice_of(&entry);
        let act = self.notice_act(Action::NoticeRead, AuditAction::NoticeReceive, *notice, &label);
        let resource = Resource::Record { label: label.clone(), own: entry.header.from == self.agency };
        let (state, now) = (self.state(), self.clock.now());
        let shown = async {
            // What does not open was displayed to nobody, whatever the terminal says.
            self.office.opens(&entry)?;
            let shown = match recall {
                true => self.office.recall_shown(&letter, name, now).await,
                false => self.office.shown(&state, &letter, name, now, &mut RandomOf(self)).await,
            };
            shown.map_err(Fault::from)
        };
        self.through(caller, act, resource, shown).await
    }

    /// What a person signs to acknowledge (no answer) or to answer a notice, and the letter that it is about.
    pub async fn notice_words(
        &self,
        caller: &Caller,
        notice: &NoticeId,
        answer: Option<&(Answer, String)>,
    ) -> Result<(Vec<u8>, LetterDigest), Fault> {
        let (letter, _) = self.notice_for(caller, notice, Action::NoticeAck).await?;
        let state = if answer.is_some() { ReceiptState::Answered } else { ReceiptState::Acknowledged };
        Ok((person_bytes(&self.federation, &letter, state, answer, &caller.person().name), letter))
    }

    /// Acknowledges or answers with the person's signature; durable when it answers.
    pub async fn notice_say(
        &self,
        caller: &Caller,
        notice: &NoticeId,
        answer: Option<(Answer, String)>,
        signature: Signature,
    ) -> Result<(), Fault> {
        if answer.as_ref().is_some_and(|(_, text)| text.chars().count() > ANSWER_CHARS) {
            return Err(Fault::usage("BAD_ANSWER", format!("an answer has at most {ANSWER_CHARS} characters")));
        }
        if answer.as_ref().is_some_and(|(a, text)| *a == Answer::Refused && text.trim().is_empty()) {
            return Err(Fault::usage("BAD_ANSWER", "a refusal gives its reason").hint("add --text"));
        }
        let (letter, entry) = self.notice_for(caller, notice, Action::NoticeAck).await?;
        let label = notice_of(&entry);
        let act = self.notice_act(Action::NoticeAck, AuditAction::NoticeAnswer, *notice, &label);
        let person = caller.person();
        let key = PublicKey::from_bytes(person.public_key);
        let step = if answer.is_some() { ReceiptState::Answered } else { ReceiptState::Acknowledged };
        let word = Word { by: By { name: person.name.clone(), key, signature }, answer };
        let (state, now) = (self.state(), self.clock.now());
        let say = async { Ok(self.office.say(&state, &letter, step, Some(word), now, &mut RandomOf(self)).await?) };
        let resource = Resource::Record { label: label.clone(), own: entry.header.from == self.agency };
        self.through(caller, act, resource, say).await
    }

    async fn notice_for(
        &self,
        caller: &Caller,
        notice: &NoticeId,
        action: Action,
    ) -> Result<(LetterDigest, In), Fault> {
        let found = self.office.read(|b| b.received_of(notice).map(|(d, i)| (d, i.clone())));
        match found.filter(|(_, i)| self.notice_may(caller, action, i).is_allow()) {
            Some(found) => Ok(found),
            None => Err(self.notice_denied(caller, notice, action).await?),
        }
    }
}

/// What is left of a recalled warning, in the form of one: no words and no times.
fn bare(recall: &Recall) -> Option<Warning> {
    let Warned { level, kind, about: _ } = recall.warning?;
    let (area, measures, issuer, tier) = Default::default();
    Some(Warning { level, kind, area, measures, start: Millis(0), end: Millis(0), issuer, tier })
}

/// The label of a notice that came in.
fn notice_of(entry: &In) -> Label {
    let h = &entry.header;
    notice_label(&h.from, h.grade, [h.to.clone()].into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::notice::{WarningKind, WarningLevel};

    /// Several who watch at one node hear one bell.
    #[test]
    fn a_notice_of_another_node_is_rung_for_once() {
        let watching = Watching::default();
        let notice = |n| NoticeId::from_bytes([n; 16]);
        assert_eq!([1, 1, 2].map(|n| watching.first_ring(notice(n))), [true, false, true]);
    }

    /// A list that counted bodies alone would be longer than a message.
    #[test]
    fn whatever_a_notice_says_counts_in_a_list() {
        let long = "长".repeat(100);
        let addressees = Content { addressees: vec![long.clone(); 9], ..Content::default() };
        assert!(listed_bytes(&addressees) > 9 * long.len());
        let (start, end) = (Millis(0), Millis(1));
        let (level, kind) = (WarningLevel::Red, WarningKind::Alert);
        let (area, measures, issuer, tier) = (String::new(), long.clone(), String::new(), String::new());
        let warning = Some(Warning { level, kind, area, measures, start, end, issuer, tier });
        assert!(listed_bytes(&Content { warning, ..Content::default() }) > long.len());
    }
}
