//! `hufu.v1.Records`.

use super::pieces::{self, Body, Given};
use super::{People, decode, many, once, proposals, refuse};
use crate::domain::fault::Fault;
use crate::domain::label::Period;
use crate::domain::limits;
use crate::domain::time::Millis;
use crate::identity::VerifiedPeer;
use crate::service::{
    AmendAsk, Caller, Core, Once, Opened, Patience, PortionAsk, PublishAsk, Published, SealedCopy, SearchAsk, Wait,
};
use crate::vault::DisclosedPortion;
use crate::wire::failure_of;
use crate::wire::pb::v1;
use crate::wire::pb::v1::publish_many_reply::Outcome;
use std::sync::Arc;
use std::time::Duration;
use tonic::{Request, Response, Status, Streaming};

/// Most lines of one list.
pub(super) const LIST_MOST: u32 = 500;

#[tonic::async_trait]
impl v1::records_server::Records for People {
    type PublishManyStream = many::Answers;

    async fn publish(&self, request: Request<v1::PublishRequest>) -> Result<Response<v1::PublishReply>, Status> {
        let caller = self.caller(&request)?;
        self.publish_one(&caller, request.into_inner()).await.map(Response::new).map_err(refuse)
    }

    async fn publish_many(
        &self,
        request: Request<Streaming<v1::PublishRequest>>,
    ) -> Result<Response<Self::PublishManyStream>, Status> {
        let _known = self.caller(&request)?;
        let peer = request.extensions().get::<VerifiedPeer>().cloned();
        let people = self.clone();
        let answer = move |asked: v1::PublishRequest| people.clone().answer_one(peer.clone(), asked);
        Ok(Response::new(many::answers(request.into_inner(), answer)))
    }

    async fn publish_large(
        &self,
        request: Request<Streaming<v1::PublishPiece>>,
    ) -> Result<Response<v1::PublishReply>, Status> {
        let caller = self.caller(&request)?;
        let mut body = Body(request.into_inner());
        let (mut ask, bytes) = body.first().await.map_err(refuse)?;
        let (source, content) = (std::mem::take(&mut ask.source), std::mem::take(&mut ask.content));
        let repeated = once::repeated(&ask);
        let ask = PublishAsk { coming: bytes, ..self::ask(ask).map_err(refuse)? };
        let peers = Arc::clone(&self.peers);
        let reply = if source.is_empty() {
            let known = once::elsewhere(&self.core, &caller, repeated);
            let done = self.core.publish_coming(&caller, ask, &mut body, peers, known).await;
            self.done_once(done.map_err(refuse)?)
        } else {
            let of = (source.as_str(), content.as_slice());
            let known = once::imported_elsewhere(&self.core, &caller, &source);
            let imported = self.core.import_coming(&caller, of, ask, &mut body, peers, known);
            let (imported, p) = imported.await.map_err(refuse)?;
            published(&self.core, p, imported.as_str())
        };
        Ok(Response::new(reply))
    }

    async fn amend(&self, request: Request<v1::AmendRequest>) -> Result<Response<v1::PublishReply>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let repeated = once::repeated_amendment(&request);
        let ask = amend_ask(request).map_err(refuse)?;
        let known = once::amended_elsewhere(&self.core, &caller, repeated);
        let amended = self.core.amend_unless(&caller, ask, Arc::clone(&self.peers), known);
        amended.await.map(|done| Response::new(self.done_once(done))).map_err(refuse)
    }

    async fn amend_large(
        &self,
        request: Request<Streaming<v1::AmendPiece>>,
    ) -> Result<Response<v1::PublishReply>, Status> {
        let caller = self.caller(&request)?;
        let mut body = Body(request.into_inner());
        let (ask, bytes) = body.first().await.map_err(refuse)?;
        let repeated = once::repeated_amendment(&ask);
        let ask = AmendAsk { coming: bytes, ..amend_ask(ask).map_err(refuse)? };
        let known = once::amended_elsewhere(&self.core, &caller, repeated);
        let amended = self.core.amend_coming(&caller, ask, &mut body, Arc::clone(&self.peers), known);
        amended.await.map(|done| Response::new(self.done_once(done))).map_err(refuse)
    }

    async fn proposals(&self, request: Request<v1::ProposalsRequest>) -> Result<Response<v1::ProposalsReply>, Status> {
        let caller = self.caller(&request)?;
        let listed = proposals::list_all(&self.core, &caller, request.into_inner());
        listed.await.map(Response::new).map_err(refuse)
    }

    async fn approve(&self, request: Request<v1::ApproveRequest>) -> Result<Response<v1::PublishReply>, Status> {
        let caller = self.caller(&request)?;
        let peers = Arc::clone(&self.peers);
        let approved = proposals::approve_at_home(&self.core, &caller, request.into_inner(), peers);
        approved.await.map(Response::new).map_err(refuse)
    }

    async fn reject(&self, request: Request<v1::RejectRequest>) -> Result<Response<v1::RejectReply>, Status> {
        let caller = self.caller(&request)?;
        let rejected = proposals::reject_at_home(&self.core, &caller, request.into_inner());
        rejected.await.map(Response::new).map_err(refuse)
    }

    async fn open(&self, request: Request<v1::OpenRequest>) -> Result<Response<v1::OpenReply>, Status> {
        let caller = self.caller(&request)?;
        let v1::OpenRequest { record, version, purpose } = request.into_inner();
        let record = record.parse().map_err(refuse)?;
        let opened = self.core.open(&caller, record, version, &purpose).await.map_err(refuse)?;
        Ok(Response::new(opened_reply(&opened)))
    }

    type OpenLargeStream = Given<v1::OpenPiece>;

    async fn open_large(&self, request: Request<v1::OpenRequest>) -> Result<Response<Self::OpenLargeStream>, Status> {
        let caller = self.caller(&request)?;
        let v1::OpenRequest { record, version, purpose } = request.into_inner();
        let of = (record.parse().map_err(refuse)?, version);
        let parts = self.core.open_in_pieces(&caller, of, &purpose).await.map_err(refuse)?;
        Ok(Response::new(pieces::texts(&self.core, caller, purpose, parts)))
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<v1::ListReply>, Status> {
        let caller = self.caller(&request)?;
        let v1::ListRequest { purpose, limit, after } = request.into_inner();
        let after = decode::optional(&after).map_err(refuse)?;
        let limit = limit.clamp(1, LIST_MOST) as usize;
        let lines = self.core.list(&caller, &purpose, limit, after).await.map_err(refuse)?;
        let hits = lines
            .into_iter()
            .map(|l| v1::Hit {
                record: l.record.to_string(),
                version: l.version,
                title: l.title,
                label: l.label.marking(),
                origin: l.label.originator.to_string(),
                snippet: String::new(),
            })
            .collect();
        Ok(Response::new(v1::ListReply { hits, ledger_index: self.core.cluster.applied() }))
    }

    async fn search(&self, request: Request<v1::SearchRequest>) -> Result<Response<v1::SearchReply>, Status> {
        let caller = self.caller(&request)?;
        let v1::SearchRequest { query, grade, kind, origin, since, limit, purpose, offset } = request.into_inner();
        let ask = SearchAsk {
            query,
            grade: decode::optional(&grade).map_err(refuse)?,
            kind: decode::optional(&kind).map_err(refuse)?,
            origin: decode::optional(&origin).map_err(refuse)?,
            since: (since > 0).then_some(Millis(since)),
            offset: offset as usize,
            limit: limit as usize,
            purpose,
        };
        let found = self.core.search(&caller, ask).await.map_err(refuse)?;
        let hits = found
            .hits
            .into_iter()
            .map(|h| v1::Hit {
                record: h.record.to_string(),
                version: h.version,
                title: h.title,
                label: h.label.marking(),
                origin: h.label.originator.to_string(),
                snippet: h.snippet,
            })
            .collect();
        Ok(Response::new(v1::SearchReply { hits, total: found.total, ledger_index: self.core.cluster.applied() }))
    }

    async fn history(&self, request: Request<v1::HistoryRequest>) -> Result<Response<v1::HistoryReply>, Status> {
        let caller = self.caller(&request)?;
        let v1::HistoryRequest { record, purpose } = request.into_inner();
        let record = record.parse().map_err(refuse)?;
        let (label, lines) = self.core.history(&caller, record, &purpose).await.map_err(refuse)?;
        let versions = lines
            .into_iter()
            .map(|l| {
                let (index, at, commitment) =
                    l.kept.as_ref().map_or((0, 0, Vec::new()), |k| (k.index, k.at.0, k.commitment.to_vec()));
                let folded = l.kept.is_none();
                v1::HistoryVersion { version: l.version, index, at, label: label.marking(), commitment, folded }
            })
            .collect();
        Ok(Response::new(v1::HistoryReply { versions, ledger_index: self.core.cluster.applied() }))
    }

    async fn export(&self, request: Request<v1::ExportRequest>) -> Result<Response<v1::ExportReply>, Status> {
        let caller = self.caller(&request)?;
        let v1::ExportRequest { record, purpose, version } = request.into_inner();
        let of = (record.parse().map_err(refuse)?, version);
        let copy = self.core.export(&caller, of, &purpose).await.map_err(refuse)?;
        Ok(Response::new(self.copied(record, copy)))
    }

    type ExportLargeStream = Given<v1::ExportPiece>;

    async fn export_large(
        &self,
        request: Request<v1::ExportRequest>,
    ) -> Result<Response<Self::ExportLargeStream>, Status> {
        let caller = self.caller(&request)?;
        let v1::ExportRequest { record, purpose, version } = request.into_inner();
        let id = record.parse().map_err(refuse)?;
        let (copy, content) = self.core.export_in_pieces(&caller, (id, version), &purpose).await.map_err(refuse)?;
        let key = (id, copy.version);
        Ok(Response::new(pieces::copy(&self.core, key, self.copied(record, copy), content)))
    }

    type ExportClearLargeStream = Given<v1::OpenPiece>;

    async fn export_clear_large(
        &self,
        request: Request<v1::ExportRequest>,
    ) -> Result<Response<Self::ExportClearLargeStream>, Status> {
        let caller = self.caller(&request)?;
        let v1::ExportRequest { record, purpose, version } = request.into_inner();
        let of = (record.parse().map_err(refuse)?, version);
        let parts = self.core.export_clear_in_pieces(&caller, of, &purpose).await.map_err(refuse)?;
        Ok(Response::new(pieces::texts(&self.core, caller, purpose, parts)))
    }

    async fn export_clear(&self, request: Request<v1::ExportRequest>) -> Result<Response<v1::OpenReply>, Status> {
        let caller = self.caller(&request)?;
        let v1::ExportRequest { record, purpose, version } = request.into_inner();
        let of = (record.parse().map_err(refuse)?, version);
        let opened = self.core.export_clear(&caller, of, &purpose).await.map_err(refuse)?;
        Ok(Response::new(opened_reply(&opened)))
    }

    async fn who_can(&self, request: Request<v1::WhoCanRequest>) -> Result<Response<v1::WhoCanReply>, Status> {
        let caller = self.caller(&request)?;
        let v1::WhoCanRequest { record, purpose } = request.into_inner();
        let record = record.parse().map_err(refuse)?;
        let reach = self.core.who_can(&caller, record, &purpose).await.map_err(refuse)?;
        let line = |l: crate::service::ReachLine| v1::WhoCanLine {
            agency: l.agency.to_string(),
            who: l.who.unwrap_or_default(),
            may: l.may,
            rule: l.rule,
        };
        let (lines, ledger_index) = (reach.lines.into_iter().map(line).collect(), reach.ledger_index);
        Ok(Response::new(v1::WhoCanReply { lines, ledger_index }))
    }
}

impl People {
    /// Publishes, or imports what names a source.
    async fn publish_one(&self, caller: &Caller, mut request: v1::PublishRequest) -> Result<v1::PublishReply, Fault> {
        let (source, content) = (std::mem::take(&mut request.source), std::mem::take(&mut request.content));
        let repeated = once::repeated(&request);
        let ask = ask(request)?;
        let peers = Arc::clone(&self.peers);
        if !source.is_empty() {
            let known = once::imported_elsewhere(&self.core, caller, &source);
            let (imported, p) = self.core.import(caller, (&source, &content), ask, peers, known).await?;
            return Ok(published(&self.core, p, imported.as_str()));
        }
        let known = once::elsewhere(&self.core, caller, repeated);
        Ok(self.done_once(self.core.publish_unless(caller, ask, peers, known).await?))
    }

    /// What was done here, or what another node says that it did.
    fn done_once(&self, done: Once<v1::PublishReply>) -> v1::PublishReply {
        match done {
            Once::Here(p) => published(&self.core, p, ""),
            Once::Elsewhere(reply) => reply,
        }
    }

    /// One of many on a stream. Who asks is looked up for each: somebody suspended meanwhile publishes no more.
    async fn answer_one(self, peer: Option<VerifiedPeer>, request: v1::PublishRequest) -> v1::PublishManyReply {
        let request_id = request.request_id.clone();
        let published = match self.known(&peer) {
            Ok(caller) => self.publish_one(&caller, request).await.map_err(refuse),
            Err(status) => Err(status),
        };
        let outcome = Some(match published {
            Ok(reply) => Outcome::Published(reply),
            Err(status) => Outcome::Failed(failure_of(&status)),
        });
        v1::PublishManyReply { request_id, outcome }
    }

    fn copied(&self, record: String, copy: SealedCopy) -> v1::ExportReply {
        let SealedCopy { version, parts: (envelope, grant, audience), committed, ledger_index } = copy;
        let ledger = v1::LedgerEntry {
            commitment: committed.commitment.to_vec(),
            grants: committed.grants.iter().map(|g| g.to_vec()).collect(),
            tags: committed.tags.iter().map(|t| t.to_vec()).collect(),
            node: committed.node.to_string(),
            index: committed.index,
            at: committed.time.0,
        };
        let (ledger, genesis) = (Some(ledger), self.core.genesis.clone());
        v1::ExportReply { record, version, envelope, grant, audience, ledger, genesis, ledger_index }
    }
}

/// What became of a publish; `result` is what an import did.
pub(super) fn published(core: &Core, p: Published, result: &str) -> v1::PublishReply {
    let state = match (p.proposed, p.index) {
        (true, _) => "proposed",
        (false, Some(_)) => "committed",
        (false, None) => "accepted",
    };
    let portions = core.portions_of(&p).into_iter();
    let portions = portions.map(|(record, version, grade)| v1::PublishedPortion {
        record: record.to_string(),
        version,
        grade: grade.to_string(),
    });
    v1::PublishReply {
        portions: portions.collect(),
        record: p.record.to_string(),
        version: p.version,
        state: state.into(),
        index: p.index.unwrap_or_default(),
        held_by: p.held_by.iter().map(ToString::to_string).collect(),
        owed: p.owed.iter().map(ToString::to_string).collect(),
        warning: p.warning.unwrap_or_default(),
        result: result.to_owned(),
        incomplete: p.incomplete,
    }
}

fn opened_reply(o: &Opened) -> v1::OpenReply {
    let portion = |p: &DisclosedPortion| v1::Portion { label: p.label.marking(), text: p.text.to_vec() };
    v1::OpenReply {
        record: o.record.to_string(),
        version: o.version,
        label: o.label.marking(),
        title: o.disclosed.meta.title.clone(),
        origin: o.origin.to_string(),
        portions: o.disclosed.portions.iter().map(portion).collect(),
        audit_seq: o.audit_seq,
        ledger_index: o.ledger_index,
    }
}

/// What is empty stays as it was: no title and no text of a record is empty.
fn amend_ask(r: v1::AmendRequest) -> Result<AmendAsk, Fault> {
    let v1::AmendRequest {
        record,
        version,
        title,
        body,
        portions,
        reason,
        wait,
        wait_ms,
        timeout_ms,
        request_id,
        repeats: _,
    } = r;
    Ok(AmendAsk {
        record: record.parse()?,
        expected: version,
        title: (!title.is_empty()).then_some(title),
        body: (!body.is_empty()).then_some(body),
        coming: 0,
        portions: portion_asks(portions)?,
        reason,
        patience: patience(&wait, wait_ms, timeout_ms)?,
        request_id: request_key(request_id)?,
    })
}

fn portion_asks(portions: Vec<v1::NewPortion>) -> Result<Vec<PortionAsk>, Fault> {
    portions.into_iter().map(|p| Ok(PortionAsk { grade: p.grade.parse()?, text: p.text })).collect()
}

pub(super) fn request_key(id: Vec<u8>) -> Result<[u8; 16], Fault> {
    id.try_into().map_err(|_| Fault::usage("INVALID", "a request id has 16 bytes"))
}

pub(super) fn patience(wait: &str, wait_ms: u32, timeout_ms: u32) -> Result<Patience, Fault> {
    let wait = match wait {
        "none" => Wait::None,
        "" | "one" => Wait::One,
        "all" => Wait::All,
        _ => return Err(Fault::usage("INVALID", "wait is none, one or all")),
    };
    let wait_for = Duration::from_millis(limits::HOLDERS_WAIT_MS.min(u64::from(wait_ms)));
    Ok(Patience { wait, wait_for, timeout: decode::wait(timeout_ms) })
}

fn ask(r: v1::PublishRequest) -> Result<PublishAsk, Fault> {
    let v1::PublishRequest {
        title,
        body,
        portions,
        grade,
        compartments,
        agreement,
        release,
        kind,
        period_years,
        until,
        condition,
        references,
        reliability,
        credibility,
        legal_basis,
        retain_until,
        caveats,
        wait,
        wait_ms,
        timeout_ms,
        request_id,
        source: _,
        content: _,
        repeats: _,
    } = r;
    let period = match (period_years, until, condition.is_empty()) {
        (0, 0, true) => None,
        (n, 0, true) => Some(Period::Years(u8::try_from(n).unwrap_or(u8::MAX))),
        (0, t, true) => Some(Period::Until(Millis(t))),
        (0, 0, false) => Some(Period::Condition(condition)),
        _ => return Err(Fault::usage("BAD_CONDITION", "give one of period, until and condition")),
    };
    let reliability = match reliability.as_str() {
        "" => None,
        r => match r.chars().next().filter(|c| r.len() == 1 && ('A'..='F').contains(c)) {
            Some(c) => Some(c),
            None => return Err(Fault::usage("INVALID", "reliability is A to F")),
        },
    };
    let credibility = match credibility {
        0 => None,
        1..=6 => u8::try_from(credibility).ok(),
        _ => return Err(Fault::usage("INVALID", "credibility is 1 to 6")),
    };
    if legal_basis.chars().count() > 400 {
        return Err(Fault::usage("INVALID", "the legal basis has at most 400 characters"));
    }
    Ok(PublishAsk {
        title,
        body,
        coming: 0,
        portions: portion_asks(portions)?,
        grade: grade.parse()?,
        compartments: decode::set(&compartments)?,
        agreement: decode::optional(&agreement)?,
        release: decode::set(&release)?,
        kind: if kind.is_empty() { crate::domain::record::Kind::Report } else { kind.parse()? },
        period,
        references: references.iter().map(|t| t.parse()).collect::<Result<_, _>>()?,
        reliability,
        credibility,
        legal_basis,
        retain_until: (retain_until > 0).then_some(Millis(retain_until)),
        caveats: decode::set(&caveats)?,
        patience: patience(&wait, wait_ms, timeout_ms)?,
        request_id: request_key(request_id)?,
    })
}
