//! The audit log for those who may read it: officers of the own agency, inspectors.

use super::core::Core;
use super::door::{Act, Caller, label_id};
use super::federation::unknown_agency;
use super::notices::notice_label;
use crate::audit::{
    AccessEvent, Action as AuditAction, Actor, AuditError, AuditLog, Decision as Verdict, Event, Filter, Object, Stage,
};
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, NoticeId, RecordId};
use crate::domain::label::{Grade, Label};
use crate::domain::person::Role;
use crate::domain::time::Millis;
use crate::policy::{Action, Resource};
use data_encoding::HEXLOWER;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Name of the signed genesis in an export.
const GENESIS: &str = "genesis.json";
/// How long a verification waits for the ledger's last word.
const FRESH: Duration = Duration::from_secs(2);
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
    /// Only events before this place.
    pub before: Option<u64>,
    /// Most events, the newest ones.
    pub limit: usize,
}

impl SearchQuery {
    /// What the log says of the search itself.
    fn words(&self) -> String {
        let mut words = "search".to_owned();
        let mut add = |name: &str, value: Option<String>| {
            words.extend(value.map(|v| format!(" {name}={v}")));
        };
        add("person", self.person.clone());
        add("record", self.record.map(|r| r.to_string()));
        add("agency", self.agency.as_ref().map(ToString::to_string));
        add("decision", self.decision.map(|d| d.to_string()));
        add("since", self.since.map(Millis::to_rfc3339));
        words
    }
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
    /// The role acted in: as the own directory has it now, or as the other holder stated it. None of a node.
    pub role: Option<Role>,
}

impl Core {
    /// What this node knows labels of these events to say: grade and compartments, which is what their digest is over; a period
    /// is not.
    pub fn label_words(&self, events: &[Event]) -> BTreeMap<[u8; 16], String> {
        let words = |label: &Label| {
            let compartments = label.compartments.iter().map(|c| format!(" +{c}"));
            label.grade.zh().to_owned() + &compartments.collect::<String>()
        };
        let notice = |e: &Event| if let Object::Notice(id) = e.object { Some(id) } else { None };
        let notices: BTreeSet<NoticeId> = events.iter().filter_map(notice).collect();
        let addressees = |id: &NoticeId| {
            self.office.read(|b| {
                b.sent_of(id).into_iter().map(|(_, o)| o.letter.header.to.clone()).collect::<BTreeSet<AgencyId>>()
            })
        };
        let state = self.state();
        let agencies = state.agencies().map(|(id, _)| id);
        let of_notices = notice_labels(&self.agency, agencies, notices.iter().map(addressees));
        let known = self.vault.labels();
        known.iter().chain(&of_notices).map(|label| (label_id(label), words(label))).collect()
    }

    /// Events of this node's log.
    pub async fn audit_search(&self, caller: &Caller, q: SearchQuery) -> Result<Vec<Event>, Fault> {
        if let Some(unknown) = q.agency.as_ref().filter(|a| self.state().agency(a).is_none()) {
            return Err(unknown_agency(unknown));
        }
        let object = Object::Text(q.words().chars().take(200).collect());
        self.audit_act(caller, Action::AuditSearch, AuditAction::AuditQuery, object).await?;
        let filter = Filter {
            person: q.person,
            record: q.record,
            agency: q.agency,
            decision: q.decision,
            since: q.since,
            before: q.before,
            limit: Some(q.limit),
        };
        self.scan(move |log| log.search(&filter)).await
    }

    /// Who came to know a record: this node's log, and for an own record what its other holders reported. Whoever is not
    /// there to watch asks only of records of the own agency that they may see; others are not there for them (P21).
    pub async fn who_read(&self, caller: &Caller, record: RecordId) -> Result<Vec<ReadLine>, Fault> {
        let watches = |r: &Role| matches!(r, Role::SecurityOfficer | Role::Inspector);
        if !caller.person().roles.iter().any(watches) {
            let card = self.find(&self.state(), &record, 0);
            let own = card.filter(|c| c.facts.label.originator == self.agency);
            let act = AuditAction::WhoRead;
            let (act, seen) = self.reading(caller, Action::RecordHistory, act, (record, 0), own.as_ref(), "");
            if let Some(fault) = seen.fault() {
                let _logged = self.log(caller, &act, Stage::Single, &seen).await?;
                return Err(fault);
            }
        }
        let object = Object::Record { id: record, version: 0 };
        self.audit_act(caller, Action::AuditWhoRead, AuditAction::WhoRead, object).await?;
        let filter = Filter { record: Some(record), decision: Some(Verdict::Allow), ..Filter::default() };
        let events = self.scan(move |log| log.search(&filter)).await?;
        let own = events.iter().filter(|e| e.action.is_access() && e.stage != Stage::Intent);
        let mut all: Vec<ReadLine> = own.flat_map(|e| lines(e, record, self.role_of(e))).collect();
        all.extend(self.reports.of(&record).iter().flat_map(|e| reported(e, record)));
        all.sort_by(|a, b| (a.at, &a.agency, a.seq).cmp(&(b.at, &b.agency, b.seq)));
        Ok(all)
    }

    /// The log as C2SP tlog-tiles: (path, content), with the genesis that names its key.
    pub async fn audit_export(&self, caller: &Caller) -> Result<Vec<(String, Vec<u8>)>, Fault> {
        self.audit_act(caller, Action::AuditExport, AuditAction::AuditExport, Object::None).await?;
        let checkpoint = self.audit.checkpoint(&self.signer, &self.log_name()).map_err(failed)?;
        let mut files = self
            .scan(move |log| {
                let mut files = Vec::new();
                log.export(&checkpoint, &mut |path, content| {
                    files.push((path.to_owned(), content.to_vec()));
                    Ok(())
                })?;
                Ok(files)
            })
            .await?;
        files.push((GENESIS.to_owned(), self.genesis.clone()));
        Ok(files)
    }

    /// Reads the whole log back, holds it against its tree, and the tree against what was anchored on the ledger; size and
    /// root of the moment it began.
    pub async fn audit_root(&self, caller: &Caller) -> Result<(u64, [u8; 32]), Fault> {
        self.audit_act(caller, Action::AuditVerify, AuditAction::AuditQuery, Object::Text("verify".into())).await?;
        // Only what is up to date is the ledger's last word.
        let fresh = self.cluster.barrier(tokio::time::Instant::now() + FRESH).await.is_ok();
        let on_ledger = self.state().node(self.node).and_then(|n| n.anchor).filter(|_| fresh).map(|(_, digest)| digest);
        self.anchors.check(&self.audit, on_ledger.as_ref())?;
        self.scan(|log| {
            // Every frame on disk is held against the tree while it is read.
            let (size, root) = log.head();
            let mut at = 0;
            while at < size {
                at = at.saturating_add(log.read(at, VERIFY_PAGE)?.len().max(1) as u64);
            }
            Ok((size, root))
        })
        .await
    }

    /// Reads the log where blocking is allowed; a few at a time, since each may read all of it.
    async fn scan<T: Send + 'static>(
        &self,
        read: impl FnOnce(&AuditLog) -> Result<T, AuditError> + Send + 'static,
    ) -> Result<T, Fault> {
        let busy = |_| Fault::overloaded("too many look into the audit log at this moment");
        let _turn = self.scans.try_acquire().map_err(busy)?;
        let log = Arc::clone(&self.audit);
        let scanned = tokio::task::spawn_blocking(move || read(&log)).await;
        scanned.map_err(|e| Fault::internal("INTERNAL", e.to_string()))?.map_err(failed)
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

fn lines(event: &Event, record: RecordId, role: Option<Role>) -> Vec<ReadLine> {
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
        role,
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

/// The labels that notices may have here: what comes from any of these agencies is released to the own one, what was sent to its
/// addressees, and what is asked about an own one to nobody.
fn notice_labels<'a>(
    own: &'a AgencyId,
    agencies: impl Iterator<Item = &'a AgencyId>,
    sent: impl Iterator<Item = BTreeSet<AgencyId>>,
) -> Vec<Label> {
    let came = agencies.map(|from| (from, BTreeSet::from([own.clone()])));
    let went = sent.map(|to| (own, to));
    came.chain(went).flat_map(|(from, to)| Grade::ALL.map(|grade| notice_label(from, grade, to.clone()))).collect()
}

/// Damage is told as such; the words of a failing disk are for the operator.
fn failed(e: AuditError) -> Fault {
    tracing::error!(error = %e, "the audit log cannot be read");
    match e {
        AuditError::Corrupt { .. } | AuditError::Format(_) => Fault::integrity("INTEGRITY", e.to_string()),
        _ => Fault::unavailable("AUDIT_FAILED", "the audit log cannot be read; the node's log says why"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    #[test]
    fn labels_of_notices_are_found_by_who_sent_them_and_to_whom() {
        let [police, customs, tax] = ["police", "customs", "tax"].map(|a| a.parse::<AgencyId>().unwrap());
        let (agencies, both) = ([police.clone(), customs.clone()], BTreeSet::from([customs.clone(), tax.clone()]));
        let known = notice_labels(&police, agencies.iter(), std::iter::once(both.clone()));
        let is_known = |from, to: &BTreeSet<AgencyId>| {
            Grade::ALL
                .iter()
                .all(|g| known.iter().any(|l| label_id(l) == label_id(&notice_label(from, *g, to.clone()))))
        };
        assert!(is_known(&customs, &[police.clone()].into()), "it came in");
        assert!(is_known(&police, &both) && is_known(&police, &BTreeSet::new()), "it went out, and was asked about");
        assert!(!is_known(&police, &[tax].into()));
    }
}
