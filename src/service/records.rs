//! Reading: open, list, history, sealed export.

use super::core::Core;
use super::door::{Act, Caller};
use crate::audit::{Action as AuditAction, Object, Stage};
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, RecordId};
use crate::domain::label::{Grade, Label};
use crate::domain::limits;
use crate::domain::time::Millis;
use crate::ledger::State;
use crate::policy::{Action, Decision, Resource};
use crate::vault::{Disclosed, Held};
use std::collections::BTreeSet;
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
    /// Ledger index.
    pub index: u64,
    /// Ledger time.
    pub at: Millis,
}

impl Core {
    /// Waits behind the linearizable barrier when asked to.
    pub async fn barrier(&self, fresh: bool, wait: Duration) -> Result<(), Fault> {
        if fresh {
            self.cluster.barrier(tokio::time::Instant::now() + wait).await.map_err(Fault::from)?;
        }
        Ok(())
    }

    /// Opens a record for a person. Denied and absent take one path: find (or not), decide on the label (or on
    /// a dummy), one durable intent, one answer (P21).
    pub async fn open(&self, caller: &Caller, record: RecordId, version: u32, purpose: &str) -> Result<Opened, Fault> {
        check_purpose(purpose)?;
        let held = self.find(&self.state(), &record, version)?;
        let (act, decision) =
            self.reading(caller, Action::RecordOpen, AuditAction::Open, (record, version), held.as_ref(), purpose);
        let receipt = self.log(caller, &act, Stage::Intent, &decision).await?;
        let Some(held) = held.as_ref().filter(|_| decision.is_allow()) else { return Err(Fault::not_found()) };
        let disclosed = self.vault.disclose(held, &receipt)?;
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
        let mut seen = BTreeSet::new();
        if overall.is_allow() {
            let ids: BTreeSet<RecordId> = state.feed().iter().map(|(r, _)| *r).collect();
            for record in ids.into_iter().rev().filter(|r| after.is_none_or(|a| *r < a)) {
                if shown.len() >= limit {
                    break;
                }
                // A record that does not open is the doctor's matter, not a reason to list nothing.
                let Ok(Some(held)) = self.find(&state, &record, 0) else { continue };
                let resource =
                    Resource::Record { own: held.label.originator == self.agency, label: held.label.clone() };
                if self.decide(caller, Action::RecordList, resource, purpose, held.covered).is_allow()
                    && seen.insert(record)
                {
                    shown.push(held);
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
        for held in shown {
            let disclosed = self.vault.disclose(&held, &receipt)?;
            lines.push(Listed {
                record: held.record(),
                version: held.committed.version,
                label: held.label,
                title: disclosed.meta.title,
            });
        }
        let _outcome = self.log(caller, &act, Stage::Outcome, &overall).await?;
        Ok(lines)
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
        let held = self.find(&state, &record, 0)?;
        let (act, decision) =
            self.reading(caller, Action::RecordHistory, AuditAction::History, (record, 0), held.as_ref(), purpose);
        let _logged = self.log(caller, &act, Stage::Single, &decision).await?;
        let Some(held) = held.as_ref().filter(|_| decision.is_allow()) else { return Err(Fault::not_found()) };
        let versions = state.record(&record).cloned().unwrap_or_default();
        let lines =
            versions.into_iter().map(|v| HistoryLine { version: v.version, index: v.index, at: v.time }).collect();
        Ok((held.label.clone(), lines))
    }

    /// The envelope as held; no key goes with it.
    pub async fn export(
        &self,
        caller: &Caller,
        record: RecordId,
        purpose: &str,
    ) -> Result<(u32, crate::vault::Parts), Fault> {
        check_purpose(purpose)?;
        let held = self.find(&self.state(), &record, 0)?;
        let (act, decision) =
            self.reading(caller, Action::RecordExportSealed, AuditAction::Export, (record, 0), held.as_ref(), purpose);
        let _logged = self.log(caller, &act, Stage::Single, &decision).await?;
        let Some(held) = held.as_ref().filter(|_| decision.is_allow()) else { return Err(Fault::not_found()) };
        Ok((held.committed.version, held.parts()))
    }

    fn find(&self, state: &State, record: &RecordId, version: u32) -> Result<Option<Held>, Fault> {
        match self.vault.held(state, record, version, self.clock.now()) {
            Ok(held) => Ok(held),
            Err(e) => {
                // To the person a damaged object is an integrity failure only where reading would be allowed;
                // nobody has shown that yet, so it is absent. The operator is told.
                tracing::error!(%record, error = %e, "a held object does not verify");
                Ok(None)
            }
        }
    }

    fn reading<'a>(
        &self,
        caller: &Caller,
        action: Action,
        audit: AuditAction,
        (record, version): (RecordId, u32),
        held: Option<&'a Held>,
        purpose: &'a str,
    ) -> (Act<'a>, Decision) {
        let dummy = dummy();
        let label = held.map_or(&dummy, |h| &h.label);
        let resource = Resource::Record { own: label.originator == self.agency, label: label.clone() };
        let decision = self.decide(caller, action, resource, purpose, held.is_some_and(|h| h.covered));
        let decision = match held {
            Some(_) => decision,
            None => Decision::Deny { rule: "absent".into(), kind: crate::policy::DenyKind::Hidden },
        };
        let act = Act {
            action,
            audit,
            object: Object::Record { id: record, version: held.map_or(version, |h| h.committed.version) },
            label: held.map(|h| &h.label),
            purpose,
            origin: held.map(|h| h.label.originator.clone()),
            request: self.random(),
        };
        (act, decision)
    }
}

/// The label that an absent record is decided on, so that both paths do the same work.
fn dummy() -> Label {
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
