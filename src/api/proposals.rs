//! Proposals of `hufu.v1.Records`: what waits lies at the node where it was proposed, and is decided there, wherever the agency's
//! people sit.

use super::homes;
use super::records::{LIST_MOST, patience, published};
use crate::domain::fault::Fault;
use crate::domain::ids::RecordId;
use crate::service::{Caller, Core, ProposalsAsk};
use crate::vault::PeerVault;
use crate::wire::pb::v1;
use std::sync::Arc;

/// What waits at this node, for somebody.
pub(super) async fn list(
    core: &Core,
    caller: &Caller,
    request: v1::ProposalsRequest,
) -> Result<v1::ProposalsReply, Fault> {
    let v1::ProposalsRequest { purpose, record, limit, after } = request;
    let (only, after) = (super::decode::optional(&record)?, super::decode::optional(&after)?);
    let ask = ProposalsAsk { purpose, only, limit: most(limit), after };
    let part = |(record, version, commitment): crate::vault::Part| v1::ProposedPart {
        record: record.to_string(),
        version,
        commitment: commitment.to_vec(),
    };
    let proposals = core.proposals(caller, ask).await?.into_iter().map(|l| v1::ProposedRecord {
        record: l.record.to_string(),
        version: l.version,
        title: l.title,
        label: l.label.marking(),
        author: l.author,
        at: l.at.0,
        parts: l.parts.into_iter().map(part).collect(),
    });
    Ok(v1::ProposalsReply { proposals: proposals.collect(), away: Vec::new() })
}

/// What waits at any node of the agency, with the names of those that do not answer.
pub(super) async fn list_all(
    core: &Core,
    caller: &Caller,
    request: v1::ProposalsRequest,
) -> Result<v1::ProposalsReply, Fault> {
    let mut reply = list(core, caller, request.clone()).await?;
    let (theirs, away) = homes::ask_all::<v1::ProposalsReply>(core, caller, (homes::PROPOSALS, &request)).await;
    theirs.into_iter().for_each(|their| add(&mut reply.proposals, their.proposals, most(request.limit)));
    reply.away = away;
    Ok(reply)
}

/// Approves what waits at this node.
pub(super) async fn approve(
    core: &Core,
    caller: &Caller,
    request: v1::ApproveRequest,
    peers: Arc<dyn PeerVault>,
) -> Result<v1::PublishReply, Fault> {
    let v1::ApproveRequest { record, approval, wait, wait_ms, timeout_ms, purpose } = request;
    let patience = patience(&wait, wait_ms, timeout_ms)?;
    let p = core.approve(caller, record.parse()?, (&approval, &purpose), &patience, peers).await?;
    Ok(published(core, p, ""))
}

/// Approves it where it waits.
pub(super) async fn approve_at_home(
    core: &Core,
    caller: &Caller,
    request: v1::ApproveRequest,
    peers: Arc<dyn PeerVault>,
) -> Result<v1::PublishReply, Fault> {
    let here = core.has_proposed(caller, &request.record.parse()?);
    let own = approve(core, caller, request.clone(), peers);
    homes::answered(core, caller, here, (homes::APPROVE, &request), own).await
}

/// Turns down, or takes back, what waits at this node.
pub(super) async fn reject(core: &Core, caller: &Caller, request: v1::RejectRequest) -> Result<v1::RejectReply, Fault> {
    let v1::RejectRequest { record, reason } = request;
    let version = core.reject(caller, record.parse()?, &reason).await?;
    Ok(v1::RejectReply { version })
}

/// The same where it waits.
pub(super) async fn reject_at_home(
    core: &Core,
    caller: &Caller,
    request: v1::RejectRequest,
) -> Result<v1::RejectReply, Fault> {
    let here = core.has_proposed(caller, &request.record.parse()?);
    let own = reject(core, caller, request.clone());
    homes::answered(core, caller, here, (homes::REJECT, &request), own).await
}

fn most(limit: u32) -> usize {
    limit.clamp(1, LIST_MOST) as usize
}

/// Puts another node's proposals among these, in the order of their ids. Each node answered with its first ones, so the first
/// of all are among them.
fn add(all: &mut Vec<v1::ProposedRecord>, theirs: Vec<v1::ProposedRecord>, limit: usize) {
    all.extend(theirs);
    all.sort_by_cached_key(|p| p.record.parse::<RecordId>().ok());
    all.dedup_by(|a, b| a.record == b.record);
    all.truncate(limit);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(ids: &[u8]) -> Vec<v1::ProposedRecord> {
        let of = |n: &u8| RecordId::from_bytes([*n; 16]).to_string();
        ids.iter().map(|n| v1::ProposedRecord { record: of(n), ..v1::ProposedRecord::default() }).collect()
    }

    /// A page of both nodes is a page of one list: whoever asks behind its last id misses nothing.
    #[test]
    fn two_lists_are_one_in_the_order_of_ids() {
        let mut all = waiting(&[1, 4, 9]);
        add(&mut all, waiting(&[2, 3, 4]), 4);
        assert_eq!(all, waiting(&[1, 2, 3, 4]));
    }
}
