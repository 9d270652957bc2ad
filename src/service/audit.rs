//! The audit log for those who may read it: officers of the own agency, inspectors.

use super::core::Core;
use super::door::{Act, Caller};
use crate::audit::{AccessEvent, Action as AuditAction, Actor, Decision as Verdict, Event, Filter, Object, Stage};
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, RecordId};
use crate::domain::person::Role;
use crate::domain::time::Millis;
use crate::policy::{Action, Resource};
use data_encoding::HEXLOWER;

/// Events read at a time when the log is verified.
const VERIFY_PAGE: usize = 4_096;

/// What an officer looks for.
#[derive(Debug, Clone, Default)]
pub struct SearchQuery {
    /// Name of a person of the own agency.
    pub person: Option<String>,
    /// A record.
    pub record: Option<RecordId>,
    /// The actor's agency.
    pub agency: Option<AgencyId>,
    /// Allowed or denied.
    pub decision: Option<Verdict>,
    /// Not before.
    pub since: Option<Millis>,
    /// Most events.
    pub limit: usize,
}

/// One access to a record.
#[derive(Debug, Clone)]
pub struct ReadLine {
    /// Agency of the reader.
    pub agency: AgencyId,
    /// Name in one's own agency, a stable pseudonym elsewhere.
    pub who: String,
    /// When.
    pub at: Millis,
    /// Version.
    pub version: u32,
    /// open, snippet or export.
    pub action: AuditAction,
    /// Place in that agency's log.
    pub seq: u64,
    /// The role acted in, as the holder states it; none from the own log.
    pub role: Option<Role>,
}

impl Core {
    /// Events of this node's log.
    pub async fn audit_search(&self, caller: &Caller, q: SearchQuery) -> Result<Vec<Event>, Fault> {
        self.audit_act(caller, Action::AuditSearch, AuditAction::AuditQuery, Object::Text("search".into())).await?;
        let filter = Filter {
            person: q.person,
            record: q.record,
            agency: q.agency,
            decision: q.decision,
            since: q.since,
            from_seq: 0,
            limit: Some(q.limit),
        };
        self.audit.search(&filter).map_err(failed)
    }

    /// Who came to know a record: this node's log, and for an own record what its other holders reported.
    pub async fn who_read(&self, caller: &Caller, record: RecordId) -> Result<Vec<ReadLine>, Fault> {
        let object = Object::Record { id: record, version: 0 };
        self.audit_act(caller, Action::AuditWhoRead, AuditAction::WhoRead, object).await?;
        let filter = Filter { record: Some(record), decision: Some(Verdict::Allow), ..Filter::default() };
        let events = self.audit.search(&filter).map_err(failed)?;
        let own = events.iter().filter(|e| e.action.is_access() && e.stage != Stage::Intent);
        let mut all: Vec<ReadLine> = own.flat_map(|e| lines(e, record)).collect();
        all.extend(self.reports.of(&record).iter().flat_map(|e| reported(e, record)));
        all.sort_by(|a, b| (a.at, &a.agency, a.seq).cmp(&(b.at, &b.agency, b.seq)));
        Ok(all)
    }

    /// The log as C2SP tlog-tiles: (path, content).
    pub async fn audit_export(&self, caller: &Caller) -> Result<Vec<(String, Vec<u8>)>, Fault> {
        self.audit_act(caller, Action::AuditExport, AuditAction::AuditExport, Object::None).await?;
        let checkpoint = self.audit.checkpoint(&self.signer, &self.log_name()).map_err(failed)?;
        let mut files = Vec::new();
        self.audit
            .export(&checkpoint, &mut |path, content| {
                files.push((path.to_owned(), content.to_vec()));
                Ok(())
            })
            .map_err(failed)?;
        Ok(files)
    }

    /// Reads the whole log back and holds it against its tree; size and root of the moment it began.
    pub async fn audit_root(&self, caller: &Caller) -> Result<(u64, [u8; 32]), Fault> {
        self.audit_act(caller, Action::AuditVerify, AuditAction::AuditQuery, Object::Text("verify".into())).await?;
        // Every frame on disk is held against the tree while it is read.
        let (size, root) = self.audit.head();
        let mut at = 0;
        while at < size {
            let page = self.audit.read(at, VERIFY_PAGE).map_err(|e| Fault::integrity("INTEGRITY", e.to_string()))?;
            at = at.saturating_add(page.len().max(1) as u64);
        }
        Ok((size, root))
    }

    /// The log's name in checkpoints.
    pub fn log_name(&self) -> String {
        log_name(&self.agency, &self.federation, self.node)
    }

    async fn audit_act(
        &self,
        caller: &Caller,
        action: Action,
        audit: AuditAction,
        object: Object,
    ) -> Result<(), Fault> {
        let act = Act { action, audit, object, label: None, purpose: "", origin: None, request: self.random() };
        self.pass(caller, act, Resource::Audit { agency: self.agency.clone() }).await.map(|_receipt| ())
    }
}

/// The name of a node's log in checkpoints.
pub fn log_name(
    agency: &AgencyId,
    federation: &crate::domain::ids::FederationId,
    node: crate::domain::ids::NodeId,
) -> String {
    format!("{agency}.{federation}/audit/{node}")
}

fn lines(event: &Event, record: RecordId) -> Vec<ReadLine> {
    let who = match &event.actor {
        Actor::Person { name, .. } => name.clone(),
        Actor::Node { node, .. } => HEXLOWER.encode(&node.0.to_be_bytes()),
    };
    let line = |version| ReadLine {
        agency: event.actor.agency().clone(),
        who: who.clone(),
        at: event.time,
        version,
        action: event.action,
        seq: event.seq,
        role: None,
    };
    event.object.records().into_iter().filter(|(id, _)| *id == record).map(|(_, v)| line(v)).collect()
}

fn reported(event: &AccessEvent, record: RecordId) -> Vec<ReadLine> {
    let who = event.pseudonym.map_or_else(|| "node".to_owned(), |p| HEXLOWER.encode(&p));
    let line = |version| ReadLine {
        agency: event.agency.clone(),
        who: who.clone(),
        at: event.time,
        version,
        action: event.action,
        seq: event.seq,
        role: event.role,
    };
    event.records.iter().filter(|(id, _)| *id == record).map(|(_, v)| line(*v)).collect()
}

fn failed(e: crate::audit::AuditError) -> Fault {
    Fault::unavailable("AUDIT_FAILED", e.to_string())
}
