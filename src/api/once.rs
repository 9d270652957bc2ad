//! A request that its author may have made at another node of the agency before: a client that had no clear answer asks again,
//! wherever it can, with the same request id. Before anything is published the other nodes are asked whether they have it.
//!
//! Only what says that it may be a repetition is looked for, and only where the agency has another node. One that does not
//! answer soon is not waited for: what it published, and could not tell anybody, is published again here.

use super::homes;
use super::records::{patience, published, request_key};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::NodeId;
use crate::service::{Caller, Core};
use crate::vault::PeerVault;
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
    let all = core.siblings().into_iter().map(|(node, _)| {
        let has = homes::ask::<v1::PublishReply>(core, caller, node, (homes::REQUESTED, &asked));
        async move { (node, timeout(ASK, has).await.ok()) }
    });
    match told(join_all(all.collect::<Vec<_>>()).await)? {
        Some(node) => homes::ask(core, caller, node, (homes::AGAIN, &asked)).await.map(Some),
        None => Ok(None),
    }
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
    match core.was_requested(caller, &request_key(request.request_id)?)? {
        true => Ok(v1::PublishReply::default()),
        false => Err(Fault::not_found()),
    }
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
    fn only_what_may_be_a_repetition_is_looked_for() {
        let first = v1::PublishRequest { request_id: vec![1; 16], ..v1::PublishRequest::default() };
        assert!(repeated(&first).is_none());
        let again = v1::PublishRequest { repeats: true, body: vec![0; 9], timeout_ms: 5, ..first };
        let asked = repeated(&again);
        assert!(asked.is_some_and(|a| a.request_id == [1; 16] && a.timeout_ms == 5 && a.body.is_empty()));
    }
}
