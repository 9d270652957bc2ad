//! A request that its author may have made at another node of the agency before: a client that had no clear answer asks again,
//! wherever it can, with the same request id. Before anything is published the other nodes are asked whether they have it.
//!
//! Only what says that it may be a repetition is looked for, and only where the agency has another node. One that does not
//! answer soon is not waited for: what it published, and could not tell anybody, is published again here. Amendments are looked
//! for in the same way; a source that is imported always is, since it may have been imported at another node at any time.

use super::homes;
use super::records::{patience, published, request_key};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::NodeId;
use crate::service::{Caller, Core};
use crate::vault::PeerVault;
use crate::wire::Message;
use crate::wire::pb::v1;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// All other nodes together have this long to say whether they have a request.
const ASK: Duration = Duration::from_secs(1);

/// What of a publish another node is asked by; none unless it may be a repetition.
pub(super) fn repeated(request: &v1::PublishRequest) -> Option<v1::PublishRequest> {
    let v1::PublishRequest { request_id, wait, wait_ms, timeout_ms, repeats, .. } = request;
    let (wait_ms, timeout_ms) = homes::bounded(*wait_ms, *timeout_ms);
    repeats.then(|| v1::PublishRequest {
        request_id: request_id.clone(),
        wait: wait.clone(),
        wait_ms,
        timeout_ms,
        ..v1::PublishRequest::default()
    })
}

/// What became of it at another node; none if nobody says that it has it.
///
/// # Errors
/// A conflict while one of them works on it; what its node answers, or that it does not any more, once it has it.
pub(super) async fn elsewhere(
    core: &Core,
    caller: &Caller,
    repeated: Option<v1::PublishRequest>,
) -> Result<Option<v1::PublishReply>, Fault> {
    let Some(asked) = repeated else { return Ok(None) };
    let others = core.siblings().into_iter().map(|(node, _)| node).collect();
    match who_has(core, caller, others, (homes::REQUESTED, &asked)).await? {
        Some(node) => homes::ask(core, caller, node, (homes::AGAIN, &asked)).await.map(Some),
        None => Ok(None),
    }
}

/// The same of an amendment.
pub(super) fn repeated_amendment(request: &v1::AmendRequest) -> Option<v1::AmendRequest> {
    let v1::AmendRequest { record, request_id, wait, wait_ms, timeout_ms, repeats, .. } = request;
    let (wait_ms, timeout_ms) = homes::bounded(*wait_ms, *timeout_ms);
    repeats.then(|| v1::AmendRequest {
        record: record.clone(),
        request_id: request_id.clone(),
        wait: wait.clone(),
        wait_ms,
        timeout_ms,
        ..v1::AmendRequest::default()
    })
}

/// What became of an amendment at another node; none if nobody says that it has it.
///
/// # Errors
/// As [`elsewhere`].
pub(super) async fn amended_elsewhere(
    core: &Core,
    caller: &Caller,
    repeated: Option<v1::AmendRequest>,
) -> Result<Option<v1::PublishReply>, Fault> {
    let Some(asked) = repeated else { return Ok(None) };
    let others = core.siblings().into_iter().map(|(node, _)| node).collect();
    match who_has(core, caller, others, (homes::AMENDED, &asked)).await? {
        Some(node) => homes::ask(core, caller, node, (homes::AMENDED_AGAIN, &asked)).await.map(Some),
        None => Ok(None),
    }
}

/// Which other node imported a source; none if nobody says that it did. One that said nothing a moment ago is not asked for
/// each of many sources.
///
/// # Errors
/// A conflict while one of them works on it; refused when one says that it is not told to this person.
pub(super) async fn imported_elsewhere(core: &Core, caller: &Caller, source: &str) -> Result<Option<String>, Fault> {
    let others = core.siblings();
    let now = core.clock.steady();
    let asked = others.iter().map(|(node, _)| *node).filter(|node| core.unheard.is_asked(*node, now)).collect();
    let named = v1::PublishRequest { source: source.to_owned(), ..v1::PublishRequest::default() };
    let has = who_has(core, caller, asked, (homes::IMPORTED, &named)).await.map_err(for_person)?;
    Ok(others.into_iter().find(|(node, _)| has == Some(*node)).map(|(_, local)| local))
}

/// The first of some nodes that says that it has something.
async fn who_has(
    core: &Core,
    caller: &Caller,
    nodes: Vec<NodeId>,
    asked: (u32, &impl Message),
) -> Result<Option<NodeId>, Fault> {
    let all = nodes.into_iter().map(|node| {
        let has = homes::ask::<v1::PublishReply>(core, caller, node, asked);
        async move { (node, timeout(ASK, has).await.ok()) }
    });
    let all = join_all(all.collect::<Vec<_>>()).await;
    let now = core.clock.steady();
    all.iter().for_each(|(node, said)| core.unheard.note(*node, said.as_ref().is_some_and(is_heard), now));
    told(all)
}

/// Whether a node said anything. One that refuses, since it does not know this person yet, keeps nobody waiting, and is asked for
/// the next person.
fn is_heard(said: &Result<v1::PublishReply, Fault>) -> bool {
    !said.as_ref().is_err_and(|fault| matches!(fault.kind, FaultKind::Unavailable | FaultKind::Internal))
}

/// The node that has it, by what each of them said; nothing of one that did not in time.
fn told(all: Vec<(NodeId, Option<Result<v1::PublishReply, Fault>>)>) -> Result<Option<NodeId>, Fault> {
    let mut has = None;
    for (node, said) in all {
        match said {
            Some(Ok(_)) => has = Some(node),
            Some(Err(fault)) if fault.kind == FaultKind::Conflict => return Err(fault),
            Some(Err(fault)) if fault.kind == FaultKind::NotFound => {}
            silent => {
                let reason = silent.and_then(Result::err).map_or("TIMEOUT", |fault| fault.reason);
                tracing::warn!(%node, reason, "another node of this agency does not say whether it has a request");
            }
        }
    }
    Ok(has)
}

/// Whether this node has a request of somebody's; not found if not.
pub(super) fn requested(core: &Core, caller: &Caller, request: v1::PublishRequest) -> Result<v1::PublishReply, Fault> {
    found(core.was_requested(caller, &request_key(request.request_id)?)?)
}

/// What became of it here.
pub(super) async fn again(
    core: &Core,
    caller: &Caller,
    request: v1::PublishRequest,
    peers: Arc<dyn PeerVault>,
) -> Result<v1::PublishReply, Fault> {
    let v1::PublishRequest { request_id, wait, wait_ms, timeout_ms, .. } = request;
    let (wait_ms, timeout_ms) = homes::bounded(wait_ms, timeout_ms);
    let patience = patience(&wait, wait_ms, timeout_ms)?;
    let p = core.publish_again(caller, &request_key(request_id)?, &patience, peers).await?;
    Ok(published(core, p, ""))
}

/// Whether this node has an amendment of somebody's; not found if not.
pub(super) fn amended(core: &Core, caller: &Caller, request: v1::AmendRequest) -> Result<v1::PublishReply, Fault> {
    let v1::AmendRequest { record, request_id, .. } = request;
    found(core.was_amended(caller, &record.parse()?, &request_key(request_id)?)?)
}

/// What became of it here.
pub(super) async fn amended_again(
    core: &Core,
    caller: &Caller,
    request: v1::AmendRequest,
    peers: Arc<dyn PeerVault>,
) -> Result<v1::PublishReply, Fault> {
    let v1::AmendRequest { record, request_id, wait, wait_ms, timeout_ms, .. } = request;
    let (wait_ms, timeout_ms) = homes::bounded(wait_ms, timeout_ms);
    let patience = patience(&wait, wait_ms, timeout_ms)?;
    let (record, id) = (record.parse()?, request_key(request_id)?);
    let p = core.amended_again(caller, (&record, &id), &patience, peers).await?;
    Ok(published(core, p, ""))
}

/// Whether this node imported a source; not found if not. It is told to the other node alone: what that one tells its person is
/// decided there.
pub(super) async fn imported(
    core: &Core,
    caller: &Caller,
    request: &v1::PublishRequest,
) -> Result<v1::PublishReply, Fault> {
    found(core.was_imported(caller, &request.source).await.map_err(as_word)?)
}

/// That a source is not told of is this node's word on it, and travels as one: what is merely refused may be the node that asks.
fn as_word(fault: Fault) -> Fault {
    if fault.kind == FaultKind::Refused { Fault { kind: FaultKind::Conflict, ..fault } } else { fault }
}

/// The same as a person is told it.
fn for_person(fault: Fault) -> Fault {
    if fault.reason == "NOT_ALLOWED" { Fault { kind: FaultKind::Refused, ..fault } } else { fault }
}

fn found(is_here: bool) -> Result<v1::PublishReply, Fault> {
    if is_here { Ok(v1::PublishReply::default()) } else { Err(Fault::not_found()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(all: [Option<Result<(), Fault>>; 2]) -> Result<Option<NodeId>, &'static str> {
        let reply = |said: Option<Result<(), Fault>>| said.map(|s| s.map(|()| v1::PublishReply::default()));
        let all = [1, 2].map(NodeId).into_iter().zip(all.map(reply)).collect();
        told(all).map_err(|fault| fault.reason)
    }

    #[test]
    fn a_request_is_published_here_only_if_nobody_says_that_it_has_it() {
        let (absent, away) =
            (|| Some(Err(Fault::not_found())), || Some(Err(Fault::unavailable("NODE_UNREACHABLE", "x"))));
        let busy = || Some(Err(Fault::conflict("IN_PROGRESS", "x")));
        assert_eq!(said([absent(), absent()]), Ok(None));
        assert_eq!(said([None, away()]), Ok(None), "nobody waits for whoever is silent");
        assert_eq!(said([None, Some(Ok(()))]), Ok(Some(NodeId(2))));
        assert_eq!(said([Some(Ok(())), busy()]), Err("IN_PROGRESS"), "it is being published at this moment");
    }

    #[test]
    fn whoever_refuses_is_asked_for_the_next_person_and_whoever_is_silent_is_not() {
        assert!(is_heard(&Ok(v1::PublishReply::default())) && is_heard(&Err(Fault::not_found())));
        assert!(is_heard(&Err(Fault::refused("UNKNOWN_PERSON", "x"))));
        assert!(!is_heard(&Err(Fault::unavailable("NODE_UNREACHABLE", "x"))));
    }

    #[test]
    fn that_a_source_is_not_told_of_is_an_answer_and_that_a_node_is_refused_is_none() {
        let (denied, busy) = (Fault::refused("NOT_ALLOWED", "x"), Fault::conflict("IN_PROGRESS", "x"));
        let heard = |fault: Fault| told(vec![(NodeId(1), Some(Err(fault)))]).map_err(for_person);
        assert_eq!(heard(as_word(denied.clone())), Err(denied.clone()));
        assert_eq!(heard(denied), Ok(None));
        assert_eq!(heard(as_word(busy.clone())), Err(busy));
    }

    #[test]
    fn only_what_may_be_a_repetition_is_looked_for() {
        let first = v1::PublishRequest { request_id: vec![1; 16], ..v1::PublishRequest::default() };
        assert!(repeated(&first).is_none());
        let again = v1::PublishRequest { repeats: true, body: vec![0; 9], timeout_ms: 5, ..first };
        let asked = repeated(&again);
        assert!(asked.is_some_and(|a| a.request_id == [1; 16] && a.timeout_ms == 5 && a.body.is_empty()));
        let first = v1::AmendRequest { request_id: vec![1; 16], record: "r".into(), ..v1::AmendRequest::default() };
        assert!(repeated_amendment(&first).is_none());
        let asked = repeated_amendment(&v1::AmendRequest { repeats: true, body: vec![0; 9], ..first });
        assert!(asked.is_some_and(|a| a.request_id == [1; 16] && a.record == "r" && a.body.is_empty()));
    }
}
