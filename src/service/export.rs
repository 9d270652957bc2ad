//! Copies that leave the system: sealed as they are held, or the own agency's texts in clear.

use super::core::Core;
use super::door::Caller;
use super::reading::Reading;
use super::records::{Opened, Showing, check_purpose};
use crate::audit::{Action as AuditAction, Stage};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::RecordId;
use crate::ledger::VersionEntry;
use crate::policy::{Action, Decision};
use crate::vault::{Content, Parts, VaultError};

/// A record as it is held, with what the ledger says of it.
pub struct SealedCopy {
    /// Version.
    pub version: u32,
    /// Envelope, grant and audience key, sealed.
    pub parts: Parts,
    /// The ledger's entry of this version.
    pub committed: VersionEntry,
    /// Ledger index answered from.
    pub ledger_index: u64,
}

impl Core {
    /// The envelope of a version (0: the newest) as held; no key goes with it.
    ///
    /// # Errors
    /// Refused to whoever may open it and not take it out; absent to everybody else who may not.
    pub async fn export(
        &self,
        caller: &Caller,
        (record, version): (RecordId, u32),
        purpose: &str,
    ) -> Result<SealedCopy, Fault> {
        match self.export_in_pieces(caller, (record, version), purpose).await? {
            (copy, None) => Ok(copy),
            (_, Some(_)) => Err(VaultError::Whole.into()),
        }
    }

    /// The same of any size: with what is too large for one piece come its ciphertexts, which are not in its envelope then.
    ///
    /// # Errors
    /// As [`Core::export`].
    pub async fn export_in_pieces(
        &self,
        caller: &Caller,
        (record, version): (RecordId, u32),
        purpose: &str,
    ) -> Result<(SealedCopy, Option<Content>), Fault> {
        check_purpose(purpose)?;
        let ledger_index = self.cluster.applied();
        let card = self.find(&self.state(), &record, version);
        let (sealed, of) = (Action::RecordExportSealed, (record, version));
        let (act, decision) = self.reading(caller, sealed, AuditAction::Export, of, card.as_ref(), purpose);
        let (_, opens) = self.reading(caller, Action::RecordOpen, AuditAction::Export, of, card.as_ref(), purpose);
        let _logged = self.log(caller, &act, Stage::Single, &decision).await?;
        let Some(card) = card.as_ref().filter(|_| decision.is_allow()) else { return Err(told(&decision, &opens)) };
        let held = self.load(card)?;
        let (parts, content) = self.vault.copy_in_pieces(&held)?;
        Ok((SealedCopy { version: held.committed.version, parts, committed: held.committed, ledger_index }, content))
    }

    /// The texts of an own record's version (0: the newest) in clear, with those portions of its lower classes that the person
    /// may take out. Each envelope is an export of its own in the log, before it is opened.
    ///
    /// # Errors
    /// As [`Core::export`].
    pub async fn export_clear(
        &self,
        caller: &Caller,
        (record, version): (RecordId, u32),
        purpose: &str,
    ) -> Result<Opened, Fault> {
        check_purpose(purpose)?;
        let refusal = self.kept_in(caller, (record, version), purpose);
        let shown = self.show_texts(caller, (record, version), purpose, Showing::Exported).await;
        shown.map_err(|fault| if fault.kind == FaultKind::NotFound { refusal } else { fault })
    }

    /// The same with texts that are read piece by piece.
    ///
    /// # Errors
    /// As [`Core::export`].
    pub async fn export_clear_in_pieces(
        &self,
        caller: &Caller,
        (record, version): (RecordId, u32),
        purpose: &str,
    ) -> Result<Vec<Reading>, Fault> {
        check_purpose(purpose)?;
        let refusal = self.kept_in(caller, (record, version), purpose);
        let shown = self.read_in_pieces(caller, (record, version), purpose, Showing::Exported).await;
        shown.map_err(|fault| if fault.kind == FaultKind::NotFound { refusal } else { fault })
    }

    /// What somebody is told who may not take a record out in clear.
    fn kept_in(&self, caller: &Caller, (record, version): (RecordId, u32), purpose: &str) -> Fault {
        let card = self.find(&self.state(), &record, version);
        let asked = |action: Action| {
            self.reading(caller, action, AuditAction::Export, (record, version), card.as_ref(), purpose).1
        };
        told(&asked(Action::RecordExportClear), &asked(Action::RecordOpen))
    }
}

/// Whoever may open a record knows of it, and is told which policy keeps it in; to everybody else it is absent.
fn told(takes: &Decision, opens: &Decision) -> Fault {
    if takes.is_allow() || !opens.is_allow() {
        return Fault::not_found();
    }
    let hint = "open it where it is; its originator's people decide what leaves";
    Fault::refused("POLICY_REFUSED", format!("refused by policy `{}`", takes.rule())).hint(hint)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use crate::policy::DenyKind;

    #[test]
    fn only_who_may_open_it_hears_that_it_stays_in() {
        let deny = |rule: &str| Decision::Deny { rule: rule.into(), kind: DenyKind::Hidden };
        let allow = Decision::Allow { policies: vec!["permit-reading".into()] };
        let named = told(&deny("export-clear-own-only"), &allow);
        assert_eq!(named.kind, FaultKind::Refused);
        assert!(named.message.contains("export-clear-own-only"));
        let absent = Fault::not_found();
        assert_eq!(told(&deny("export-clear-own-only"), &deny("lattice:grade")), absent);
        assert_eq!(told(&deny("absent"), &deny("absent")), absent);
        assert_eq!(told(&allow, &allow), absent, "it went away meanwhile");
    }
}
