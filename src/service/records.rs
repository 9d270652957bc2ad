//! Reading: open, list, history.

use super::core::Core;
use super::door::{Act, Caller};
use crate::audit::{Action as AuditAction, AuditReceipt, Object, Stage};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{AgencyId, RecordId};
use crate::domain::label::{Grade, Label};
use crate::domain::limits;
use crate::domain::time::Millis;
use crate::ledger::{State, VersionEntry};
use crate::policy::{Action, Decision, Resource};
use crate::vault::{Card, Disclosed, Facts, Held, Vault};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// An opened record.
pub struct Opened {
    /// Record.
    pub record: RecordId,
    /// Version.
    pub version: u32,
    /// Its label.
    pub label: Label,
    /// Originator.
    pub origin: AgencyId,
    /// What was disclosed.
    pub disclosed: Disclosed,
    /// The intent's place in the audit log.
    pub audit_seq: u64,
    /// Ledger index answered from.
    pub ledger_index: u64,
}

/// Where a person gets to see texts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Showing {
    /// On the person's own screen.
    OnScreen,
    /// In files that leave the system. What waits for a classifier does not.
    Exported,
}

impl Showing {
    pub(super) fn action(self) -> Action {
        match self {
            Showing::OnScreen => Action::RecordOpen,
            Showing::Exported => Action::RecordExportClear,
        }
    }

    pub(super) fn audit(self) -> AuditAction {
        match self {
            Showing::OnScreen => AuditAction::Open,
            Showing::Exported => AuditAction::Export,
        }
    }
}

/// One line of a list.
pub struct Listed {
    /// Record.
    pub record: RecordId,
    /// Newest held version.
    pub version: u32,
    /// Label.
    pub label: Label,
    /// Title.
    pub title: String,
}

/// One version.
pub struct HistoryLine {
    /// Version.
    pub version: u32,
    /// What the ledger has of it; none when it folded (P8).
    pub kept: Option<OnLedger>,
}

/// What the ledger has of a version.
pub struct OnLedger {
    /// Ledger index.
    pub index: u64,
    /// Ledger time.
    pub at: Millis,
    /// Hiding commitment of its header, the same on every node.
    pub commitment: [u8; 32],
}

/// A lower class of a record: its envelope, and the card, if it is here.
pub(super) type Lower = (RecordId, u32, Option<Card>);

impl Core {
    /// Waits behind the linearizable barrier, and for a leader if there is none, as a write does.
    pub async fn barrier(&self, wait: Duration) -> Result<(), Fault> {
        self.cluster.barrier_once_led(tokio::time::Instant::now() + wait).await.map_err(Fault::from)
    }

    /// Opens a record for a person, with those portions of its lower classes that the person may see (P10).
    pub async fn open(&self, caller: &Caller, record: RecordId, version: u32, purpose: &str) -> Result<Opened, Fault> {
        self.show_texts(caller, (record, version), purpose, Showing::OnScreen).await
    }

    /// Denied and absent take one path: find (or not), decide on the label (or on a dummy), one durable intent, one answer
    /// (P21). A record of which no part may be seen is denied once, however many parts it has.
    pub(super) async fn show_texts(
        &self,
        caller: &Caller,
        (record, version): (RecordId, u32),
        purpose: &str,
        showing: Showing,
    ) -> Result<Opened, Fault> {
        check_purpose(purpose)?;
        let (card, mut lower) = self.parts(caller, (record, version), showing);
        let own = self.show_part(caller, (record, version), card.as_ref(), purpose, showing).await;
        let mut opened = match own {
            Ok(opened) => Some(opened),
            // The higher part stays hidden; what the person may see of the record is shown as what it is.
            Err(fault) if fault.kind == FaultKind::NotFound => {
                self.keep_seen(caller, &mut lower, purpose, showing);
                None
            }
            Err(fault) => return Err(fault),
        };
        for (part, version, card) in lower {
            match (self.show_part(caller, (part, version), card.as_ref(), purpose, showing).await, &mut opened) {
                (Ok(part), Some(whole)) => whole.disclosed.portions.extend(part.disclosed.portions),
                (Ok(part), None) => opened = Some(part),
                (Err(fault), _) if fault.kind == FaultKind::NotFound => {}
                (Err(fault), _) => return Err(fault),
            }
        }
        opened.ok_or_else(Fault::not_found)
    }

    /// The card of a record, and those of its lower classes. What waits for a classifier is shown on a screen alone.
    pub(super) fn parts(
        &self,
        caller: &Caller,
        (record, version): (RecordId, u32),
        showing: Showing,
    ) -> (Option<Card>, Vec<Lower>) {
        let state = self.state();
        let find = |record: &RecordId, version: u32| {
            let card = self.find(&state, record, version);
            let waiting = || self.proposal_card(caller, &state, record, version);
            card.or_else(|| if showing == Showing::OnScreen { waiting() } else { None })
        };
        let card = find(&record, version);
        let lower = card.iter().flat_map(|c| &c.facts.lower);
        // A lower part may have been amended by itself so long ago that the one it names folded.
        let lower = lower.map(|(id, version)| (*id, *version, find(id, state.standing_for(id, *version)))).collect();
        (card, lower)
    }

    /// Leaves those lower parts that the person may see: of a record that is hidden itself, the others are not even denied.
    pub(super) fn keep_seen(&self, caller: &Caller, lower: &mut Vec<Lower>, purpose: &str, showing: Showing) {
        let may = |card: &Card| self.may(caller, showing.action(), card, purpose).is_allow();
        lower.retain(|(_, _, card)| card.as_ref().is_some_and(may));
    }

    /// Shows one envelope of a record.
    async fn show_part(
        &self,
        caller: &Caller,
        (record, version): (RecordId, u32),
        card: Option<&Card>,
        purpose: &str,
        showing: Showing,
    ) -> Result<Opened, Fault> {
        let (act, decision) = self.reading(caller, showing.action(), showing.audit(), (record, version), card, purpose);
        let receipt = self.log(caller, &act, Stage::Intent, &decision).await?;
        let Some(card) = card.filter(|_| decision.is_allow()) else { return Err(Fault::not_found()) };
        let held = self.load(card)?;
        let disclosed = self.vault.disclose(&held, &receipt)?;
        let _outcome = self.log(caller, &act, Stage::Outcome, &decision).await?;
        Ok(Opened {
            record,
            version: held.committed.version,
            origin: held.label.originator.clone(),
            label: held.label.clone(),
            disclosed,
            audit_seq: receipt.seq(),
            ledger_index: self.cluster.applied(),
        })
    }

    /// Records the person may see, newest first. Their titles are a disclosure: one intent names them all.
    pub async fn list(
        &self,
        caller: &Caller,
        purpose: &str,
        limit: usize,
        after: Option<RecordId>,
    ) -> Result<Vec<Listed>, Fault> {
        check_purpose(purpose)?;
        let state = self.state();
        let overall = self.decide(caller, Action::RecordList, Resource::None, purpose, true);
        let mut shown = Vec::new();
        if overall.is_allow() {
            // One decision for each label and agreement; the facts are shared, so their address names them.
            let mut decided: BTreeMap<*const Facts, bool> = BTreeMap::new();
            for record in self.vault.records().into_iter().rev().filter(|r| after.is_none_or(|a| *r < a)) {
                if shown.len() >= limit {
                    break;
                }
                let Some(card) = self.find(&state, &record, 0) else { continue };
                let may = *decided
                    .entry(Arc::as_ptr(&card.facts))
                    .or_insert_with(|| self.may(caller, Action::RecordList, &card, purpose).is_allow());
                if may {
                    // A record that does not open is the doctor's matter, not a reason to list nothing.
                    shown.extend(self.load(&card).ok());
                }
            }
        }
        let disclosed = shown.iter().map(|h| (h.record(), h.committed.version)).collect();
        let act = Act {
            action: Action::RecordList,
            audit: AuditAction::List,
            object: Object::Query { hash: [0; 32], disclosed },
            label: None,
            purpose,
            origin: None,
            request: self.random(),
        };
        let receipt = self.log(caller, &act, Stage::Intent, &overall).await?;
        if let Some(fault) = overall.fault() {
            return Err(fault);
        }
        let mut lines = Vec::with_capacity(shown.len());
        let mut by_origin: BTreeMap<AgencyId, Vec<(RecordId, u32)>> = BTreeMap::new();
        for held in shown {
            let Some(disclosed) = self.shown(&held, &receipt, 0) else { continue };
            by_origin.entry(held.label.originator.clone()).or_default().push((held.record(), held.version()));
            lines.push(Listed {
                record: held.record(),
                version: held.committed.version,
                label: held.label,
                title: disclosed.meta.title,
            });
        }
        self.tell_shown(caller, &act, by_origin, &overall).await?;
        Ok(lines)
    }

    /// A title or a snippet that was shown is an access of which its originator is told: one event for each.
    pub(super) async fn tell_shown(
        &self,
        caller: &Caller,
        intent: &Act<'_>,
        by_origin: BTreeMap<AgencyId, Vec<(RecordId, u32)>>,
        decision: &Decision,
    ) -> Result<(), Fault> {
        let Object::Query { hash, .. } = intent.object else { return Ok(()) };
        for (origin, disclosed) in by_origin {
            let act = Act {
                action: intent.action,
                audit: AuditAction::Snippet,
                object: Object::Query { hash, disclosed },
                label: None,
                purpose: intent.purpose,
                origin: Some(origin),
                request: intent.request,
            };
            let _outcome = self.log(caller, &act, Stage::Outcome, decision).await?;
        }
        Ok(())
    }

    /// Versions of a record that the person may see.
    pub async fn history(
        &self,
        caller: &Caller,
        record: RecordId,
        purpose: &str,
    ) -> Result<(Label, Vec<HistoryLine>), Fault> {
        check_purpose(purpose)?;
        let state = self.state();
        let card = self.find(&state, &record, 0);
        let (act, decision) =
            self.reading(caller, Action::RecordHistory, AuditAction::History, (record, 0), card.as_ref(), purpose);
        let _logged = self.log(caller, &act, Stage::Single, &decision).await?;
        let Some(card) = card.as_ref().filter(|_| decision.is_allow()) else { return Err(Fault::not_found()) };
        let versions = state.record(&record).cloned().unwrap_or_default();
        let folded = (1..versions.first().map_or(1, |v| v.version)).map(|version| HistoryLine { version, kept: None });
        let line = |v: &VersionEntry| {
            let kept = Some(OnLedger { index: v.index, at: v.time, commitment: v.commitment });
            HistoryLine { version: v.version, kept }
        };
        let lines = folded.chain(versions.iter().map(line)).collect();
        Ok((card.facts.label.clone(), lines))
    }

    /// Refuses what would be told of a version that folded: its index is known to nobody any more.
    pub(super) fn check_kept(&self, record: &RecordId, version: u32) -> Result<(), Fault> {
        if !self.state().is_folded(record, version) {
            return Ok(());
        }
        Err(Fault::conflict("FOLDED", format!("version {version} was superseded over ninety days ago"))
            .hint("`hufu record history` shows what the ledger has"))
    }

    /// The card of a held version. A damaged object has none: nobody has shown yet that reading would be allowed,
    /// so to the person it is absent; the operator is told.
    pub(super) fn find(&self, state: &State, record: &RecordId, version: u32) -> Option<Card> {
        self.vault.card(state, record, version).unwrap_or_else(|error| {
            tracing::error!(%record, %error, "a held object does not verify");
            None
        })
    }

    /// The object of a card that somebody may see: of a committed version, or of a proposal.
    pub(super) fn load(&self, card: &Card) -> Result<Held, Fault> {
        let state = self.state();
        let held = match self.vault.held(&state, &card.record, card.version, self.clock.now()) {
            Ok(None) => self.vault.held_proposal(&state, &card.record, card.version),
            held => held,
        };
        held.map_err(|error| {
            tracing::error!(record = %card.record, %error, "a held object does not verify");
            Fault::from(error)
        })?
        .ok_or_else(Fault::not_found)
    }

    /// One of many records to show, with the first `most` bytes of its texts. What does not open is left out: the intent named
    /// it, and the operator is told.
    pub(super) fn shown(&self, held: &Held, receipt: &AuditReceipt, most: usize) -> Option<Disclosed> {
        shown(&self.vault, held, receipt, most)
    }

    /// The policies' answer on a held version.
    pub(super) fn may(&self, caller: &Caller, action: Action, card: &Card, purpose: &str) -> Decision {
        let label = &card.facts.label;
        let covered = card.facts.covered(&self.state(), &self.agency, self.clock.now());
        let resource = Resource::Record { own: label.originator == self.agency, label: label.clone() };
        self.decide(caller, action, resource, purpose, covered)
    }

    /// The act and the decision of a look at a record, held or not: both do the same work (P21).
    pub(super) fn reading<'a>(
        &self,
        caller: &Caller,
        action: Action,
        audit: AuditAction,
        (record, version): (RecordId, u32),
        card: Option<&'a Card>,
        purpose: &'a str,
    ) -> (Act<'a>, Decision) {
        let decision = match card {
            Some(card) => self.may(caller, action, card, purpose),
            None => {
                let _same_work =
                    self.decide(caller, action, Resource::Record { own: false, label: dummy() }, purpose, false);
                Decision::Deny { rule: "absent".into(), kind: crate::policy::DenyKind::Hidden }
            }
        };
        let act = Act {
            action,
            audit,
            object: Object::Record { id: record, version: card.map_or(version, |c| c.version) },
            label: card.map(|c| &c.facts.label),
            purpose,
            origin: card.map(|c| c.facts.label.originator.clone()),
            request: self.random(),
        };
        (act, decision)
    }
}

/// As [`Core::shown`], for a thread that has the vault alone.
pub(super) fn shown(vault: &Vault, held: &Held, receipt: &AuditReceipt, most: usize) -> Option<Disclosed> {
    let disclosed = vault.disclose_beginning(held, receipt, most);
    disclosed.inspect_err(|error| tracing::error!(record = %held.record(), %error, "a held text does not open")).ok()
}

/// The label that an absent record is decided on, so that both paths do the same work.
pub(super) fn dummy() -> Label {
    let nobody = "nobody-at-all".parse::<AgencyId>();
    Label {
        #[expect(clippy::expect_used, reason = "a constant that parses; a test of ids covers the alphabet")]
        originator: nobody.expect("a constant"),
        grade: Grade::TopSecret,
        compartments: BTreeSet::new(),
        release: BTreeSet::new(),
        caveats: BTreeSet::new(),
        period: None,
    }
}

pub(super) fn check_purpose(purpose: &str) -> Result<(), Fault> {
    let n = purpose.chars().count();
    if purpose.trim().is_empty() || n > limits::PURPOSE_CHARS {
        return Err(Fault::usage("BAD_PURPOSE", "a purpose has 1 to 200 characters")
            .hint("state a case number or an order with --purpose"));
    }
    Ok(())
}
