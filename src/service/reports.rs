//! Telling originators who had access to their records, and keeping what this agency is told.

use super::audit::log_name;
use super::core::Core;
use crate::audit::{AccessReport, Action as AuditAction, Actor, Decision as Verdict, Event, Object};
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, NodeId};
use crate::domain::person::Role;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

/// Most accesses of one report.
const REPORT_ITEMS: usize = 512;

/// Sends a report to another node; `node` plugs the network in. No bytes ask for the cursor alone.
pub trait PeerReports: Send + Sync {
    /// The cursor that the originator stored durably. Errors are in words.
    fn report(&self, node: NodeId, report: Vec<u8>) -> Pin<Box<dyn Future<Output = Result<u64, String>> + Send + '_>>;
}

/// How far each originator's node is told. Lost at a stop: the originator knows.
#[derive(Default)]
pub struct Told(BTreeMap<NodeId, u64>);

impl Core {
    /// Tells every originator of the accesses that it does not know yet, as far as its nodes can be reached.
    pub async fn report_accesses(&self, told: &mut Told, peers: &dyn PeerReports) {
        let state = self.state();
        let others: Vec<(NodeId, AgencyId)> =
            state.nodes().filter(|(_, n)| n.agency != self.agency).map(|(id, n)| (*id, n.agency.clone())).collect();
        for (node, agency) in others {
            if let Err(why) = self.report_to(told, peers, node, &agency).await {
                tracing::debug!(%agency, %why, "an originator is not told yet");
            }
        }
    }

    async fn report_to(
        &self,
        told: &mut Told,
        peers: &dyn PeerReports,
        node: NodeId,
        agency: &AgencyId,
    ) -> Result<(), String> {
        let words = |e: crate::audit::AuditError| e.to_string();
        loop {
            let from = told.0.get(&node).copied();
            if self.audit.events_about(agency, from.unwrap_or(0), 1).map_err(words)?.is_empty() {
                return Ok(());
            }
            let Some(from) = from else {
                let cursor = peers.report(node, Vec::new()).await?;
                told.0.insert(node, cursor);
                continue;
            };
            let Some(report) = self.make_report(agency, from)? else { return Ok(()) };
            let next = peers.report(node, report).await?;
            if next <= from {
                return Err("it does not take the report".into());
            }
            told.0.insert(node, next);
        }
    }

    fn make_report(&self, agency: &AgencyId, from: u64) -> Result<Option<Vec<u8>>, String> {
        let role = |e: &Event| self.role_of(e);
        let log = self.log_name();
        AccessReport::make(&self.audit, agency, from, REPORT_ITEMS, &self.signer, &log, role)
            .map(|made| made.map(|r| r.to_bytes()))
            .map_err(|e| e.to_string())
    }

    /// The role that somebody acted in, as the directory has it now: the one that reads, if there are several.
    fn role_of(&self, event: &Event) -> Option<Role> {
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
        let verdict = if checked.is_ok() { Verdict::Allow } else { Verdict::Deny };
        let object = match &checked {
            Ok((report, _)) => Object::Text(format!("{} accesses", report.items.len())),
            Err(why) => Object::Text(why.chars().take(200).collect()),
        };
        let _logged = self.log_node(AuditAction::AccessReport, agency, object, verdict, "report-proofs").await?;
        let (report, head) = checked.map_err(|why| Fault::refused("BAD_REPORT", why))?;
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
            if item.event.records.iter().any(|(r, _)| state.origin_of(r) != Some(&self.agency)) {
                return Err("it names a record of another originator".into());
            }
        }
        Ok((report, head))
    }
}
