//! Telling originators who had access to their records, and keeping what this agency is told.

use super::audit::log_name;
use super::core::Core;
use crate::audit::{AccessReport, Action as AuditAction, Actor, Decision as Verdict, Event, Object};
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, NodeId, RecordId};
use crate::domain::person::Role;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;

/// Most accesses of one report.
const REPORT_ITEMS: usize = 512;

/// Sends a report to another node; `node` plugs the network in. No bytes ask for the cursor alone.
pub trait PeerReports: Send + Sync {
    /// The cursor that the originator stored durably. Errors are in words.
    fn report(&self, node: NodeId, report: Vec<u8>) -> Pin<Box<dyn Future<Output = Result<u64, String>> + Send + '_>>;
}

/// Reports to one originator in one go: one that never has enough holds nobody up.
const ROUND: usize = 16;

impl Core {
    /// Tells a node of an originator of the accesses that it does not know yet. `told` is how far it is told, none before
    /// it was asked; lost at a stop, for the originator knows.
    ///
    /// # Errors
    /// In words, when it could not be told.
    pub async fn report_accesses(
        &self,
        told: &mut Option<u64>,
        peers: &dyn PeerReports,
        node: NodeId,
        agency: &AgencyId,
    ) -> Result<(), String> {
        let words = |e: crate::audit::AuditError| e.to_string();
        for _ in 0..ROUND {
            if self.audit.events_about(agency, told.unwrap_or(0), 1).map_err(words)?.is_empty() {
                return Ok(());
            }
            let Some(from) = *told else {
                *told = Some(peers.report(node, Vec::new()).await?);
                continue;
            };
            let Some(report) = self.make_report(agency, from)? else { return Ok(()) };
            let next = peers.report(node, report).await?;
            if next <= from {
                return Err("it does not take the report".into());
            }
            *told = Some(next);
        }
        Ok(())
    }

    fn make_report(&self, agency: &AgencyId, from: u64) -> Result<Option<Vec<u8>>, String> {
        let role = |e: &Event| self.role_of(e);
        let log = self.log_name();
        AccessReport::make(&self.audit, agency, from, REPORT_ITEMS, &self.signer, &log, role)
            .map(|made| made.map(|r| r.to_bytes()))
            .map_err(|e| e.to_string())
    }

    /// The role that somebody of the own agency acted in, as the directory has it now: the one that reads, if there are
    /// several. Events do not hold it.
    pub(super) fn role_of(&self, event: &Event) -> Option<Role> {
        let Actor::Person { name, .. } = &event.actor else { return None };
        let person = self.directory.by_name(name)?;
        [Role::Analyst, Role::DutyOfficer]
            .into_iter()
            .find(|r| person.roles.contains(r))
            .or(person.roles.first().copied())
    }

    /// Takes a report from another node; durable when it answers with the next number wanted.
    pub async fn take_report(&self, from: NodeId, agency: &AgencyId, bytes: &[u8]) -> Result<u64, Fault> {
        if bytes.is_empty() {
            return Ok(self.reports.cursor(from));
        }
        let checked = self.check_report(from, agency, bytes);
        let (report, head) = match checked {
            Ok(good) => good,
            Err(why) => {
                let object = Object::Text(why.chars().take(200).collect());
                self.log_refusal(AuditAction::AccessReport, agency, object, "report-proofs").await?;
                return Err(Fault::refused("BAD_REPORT", why));
            }
        };
        let object = Object::Text(format!("{} accesses", report.items.len()));
        let _logged = self.log_node(AuditAction::AccessReport, agency, object, Verdict::Allow, "report-proofs").await?;
        self.reports.keep(from, report, &head).await.map_err(|e| {
            tracing::error!(%agency, error = %e, "an access report was not kept");
            Fault::unavailable("AUDIT_FAILED", e.to_string())
        })
    }

    fn check_report(
        &self,
        from: NodeId,
        agency: &AgencyId,
        bytes: &[u8],
    ) -> Result<(AccessReport, crate::audit::Checkpoint), String> {
        let state = self.state();
        let key = state.node(from).map(|n| n.key).ok_or_else(|| "the ledger knows no such node".to_owned())?;
        let report = AccessReport::from_bytes(bytes).map_err(|e| e.to_string())?;
        let log = log_name(agency, &self.federation, from);
        let head = report.verify(&key, &log, &self.agency).map_err(|e| e.to_string())?;
        for item in &report.items {
            if item.event.agency != *agency {
                return Err("it speaks for another agency".into());
            }
            let records = &item.event.records;
            if !records.iter().all(|(r, _)| state.origin_of(r) == Some(&self.agency) && state.record(r).is_some()) {
                return Err("it names a record that is not one of this originator".into());
            }
            let distinct: BTreeSet<&RecordId> = records.iter().map(|(r, _)| r).collect();
            if distinct.len() != records.len() {
                return Err("it names a record twice".into());
            }
        }
        Ok((report, head))
    }
}
