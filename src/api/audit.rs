//! `hufu.v1.Audit`.

use super::{People, decode, refuse};
use crate::audit::{Event, Object};
use crate::domain::time::Millis;
use crate::service::SearchQuery;
use crate::wire::pb::v1;
use data_encoding::HEXLOWER;
use std::collections::BTreeMap;
use tonic::{Request, Response, Status};

/// Most events of one answer.
const SEARCH_MOST: u32 = 10_000;

type Files = tokio_stream::Iter<std::vec::IntoIter<Result<v1::AuditExportFile, Status>>>;

#[tonic::async_trait]
impl v1::audit_server::Audit for People {
    type ExportStream = Files;

    async fn search(&self, request: Request<v1::AuditSearchRequest>) -> Result<Response<v1::AuditSearchReply>, Status> {
        let caller = self.caller(&request)?;
        let v1::AuditSearchRequest { person, record, agency, decision, since, limit, before } = request.into_inner();
        let query = SearchQuery {
            person: (!person.is_empty()).then_some(person),
            record: decode::optional(&record).map_err(refuse)?,
            agency: decode::optional(&agency).map_err(refuse)?,
            decision: decode::optional(&decision).map_err(refuse)?,
            since: (since > 0).then_some(Millis(since)),
            before: (before > 0).then_some(before),
            limit: limit.clamp(1, SEARCH_MOST) as usize,
        };
        let events = self.core.audit_search(&caller, query).await.map_err(refuse)?;
        let labels = self.core.label_words(&events);
        Ok(Response::new(v1::AuditSearchReply { events: events.iter().map(|e| view(e, &labels)).collect() }))
    }

    async fn who_read(&self, request: Request<v1::WhoReadRequest>) -> Result<Response<v1::WhoReadReply>, Status> {
        let caller = self.caller(&request)?;
        let record = request.into_inner().record.parse().map_err(refuse)?;
        let reads = self.core.who_read(&caller, record).await.map_err(refuse)?;
        let reads = reads
            .into_iter()
            .map(|r| v1::WhoRead {
                agency: r.agency.to_string(),
                who: r.who,
                at: r.at.0,
                version: r.version,
                action: r.action.to_string(),
                seq: r.seq,
                role: r.role.map(|r| r.to_string()).unwrap_or_default(),
            })
            .collect();
        Ok(Response::new(v1::WhoReadReply { reads }))
    }

    async fn export(&self, request: Request<v1::AuditExportRequest>) -> Result<Response<Files>, Status> {
        let caller = self.caller(&request)?;
        let files = self.core.audit_export(&caller).await.map_err(refuse)?;
        let files: Vec<_> =
            files.into_iter().map(|(path, content)| Ok(v1::AuditExportFile { path, content })).collect();
        Ok(Response::new(tokio_stream::iter(files)))
    }

    async fn verify(&self, request: Request<v1::AuditVerifyRequest>) -> Result<Response<v1::AuditVerifyReply>, Status> {
        let caller = self.caller(&request)?;
        let (size, root) = self.core.audit_root(&caller).await.map_err(refuse)?;
        Ok(Response::new(v1::AuditVerifyReply { size, root: root.to_vec(), consistent: true, witnesses: Vec::new() }))
    }
}

fn view(e: &Event, labels: &BTreeMap<[u8; 16], String>) -> v1::AuditEvent {
    let record = match &e.object {
        Object::Record { id, .. } => id.to_string(),
        Object::Query { disclosed, .. } => disclosed.iter().map(|(r, _)| r.to_string()).collect::<Vec<_>>().join(","),
        Object::Notice(id) => id.to_string(),
        Object::None | Object::Text(_) => String::new(),
    };
    let detail = match &e.object {
        Object::Text(text) => text.clone(),
        _ => String::new(),
    };
    v1::AuditEvent {
        detail,
        seq: e.seq,
        at: e.time.0,
        actor: e.actor.to_string(),
        action: e.action.to_string(),
        record,
        label: e.label.map(|l| labels.get(&l).cloned().unwrap_or_else(|| HEXLOWER.encode(&l))).unwrap_or_default(),
        decision: e.decision.to_string(),
        rule: e.rule.clone(),
        purpose: e.purpose.clone(),
        stage: e.stage.to_string(),
    }
}
