//! Calls about what another node of the agency took in, sent, or has proposed: they go to it, and its answer comes back. What
//! it decides and discloses is in its audit log. Who may not see something learns as little from either node.

use super::{notices, once, proposals, watch};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::NodeId;
use crate::service::{Caller, Core};
use crate::vault::PeerVault;
use crate::wire::{Message, pb::v1};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Calls, as `hufu.peer.v1.PersonAsks` numbers them.
pub(super) const INBOX: u32 = 1;
pub(super) const SHOW: u32 = 2;
pub(super) const PRESENTED: u32 = 3;
pub(super) const WORDS: u32 = 4;
pub(super) const SAY: u32 = 5;
pub(super) const TRACK: u32 = 6;
pub(super) const CANCEL: u32 = 7;
pub(super) const RECALL: u32 = 8;
pub(super) const CONFIRM: u32 = 9;
pub(super) const NEWS: u32 = 10;
pub(super) const PROPOSALS: u32 = 11;
pub(super) const APPROVE: u32 = 12;
pub(super) const REJECT: u32 = 13;
pub(super) const REQUESTED: u32 = 14;
pub(super) const AGAIN: u32 = 15;
pub(super) const AMENDED: u32 = 16;
pub(super) const AMENDED_AGAIN: u32 = 17;
pub(super) const IMPORTED: u32 = 18;

/// Longest that a node waits for a state on behalf of another one, and that it takes to publish for it: with what an answer
/// takes, less than any call between nodes may last.
pub(super) const TRACK_MOST: Duration = Duration::from_secs(10);
pub(super) const PUBLISH_MOST: Duration = Duration::from_secs(20);

/// How long the other node may take for a call, besides what an answer takes at once.
fn patience(call: u32) -> Duration {
    match call {
        TRACK => TRACK_MOST,
        APPROVE | AGAIN | AMENDED_AGAIN => PUBLISH_MOST,
        _ => Duration::ZERO,
    }
}

/// Answers a call that came by another node of the agency. What is not here is looked for nowhere else: one hop.
pub(super) async fn here(
    core: &Core,
    peers: &Arc<dyn PeerVault>,
    caller: &Caller,
    (call, request): (u32, &[u8]),
) -> Result<Vec<u8>, Fault> {
    let peers = || Arc::clone(peers);
    Ok(match call {
        INBOX => notices::inbox(core, caller, &read(request)?).await?.encode_to_vec(),
        SHOW => notices::show(core, caller, &read(request)?).await?.encode_to_vec(),
        PRESENTED => notices::presented(core, caller, &read(request)?).await?.encode_to_vec(),
        WORDS => notices::words(core, caller, read(request)?).await?.encode_to_vec(),
        SAY => notices::say(core, caller, read(request)?).await?.encode_to_vec(),
        TRACK => notices::track(core, caller, read(request)?, TRACK_MOST).await?.encode_to_vec(),
        CANCEL => notices::cancel(core, caller, read(request)?).await?.encode_to_vec(),
        RECALL => notices::recall(core, caller, read(request)?).await?.encode_to_vec(),
        CONFIRM => notices::confirm(core, caller, read(request)?).await?.encode_to_vec(),
        NEWS => watch::news(core, caller, &read(request)?).await?.encode_to_vec(),
        PROPOSALS => proposals::list(core, caller, read(request)?).await?.encode_to_vec(),
        APPROVE => proposals::approve(core, caller, within(read(request)?), peers()).await?.encode_to_vec(),
        REJECT => proposals::reject(core, caller, read(request)?).await?.encode_to_vec(),
        REQUESTED => once::requested(core, caller, read(request)?)?.encode_to_vec(),
        AGAIN => once::again(core, caller, read(request)?, peers()).await?.encode_to_vec(),
        AMENDED => once::amended(core, caller, read(request)?)?.encode_to_vec(),
        AMENDED_AGAIN => once::amended_again(core, caller, read(request)?, peers()).await?.encode_to_vec(),
        IMPORTED => once::imported(core, caller, &read(request)?).await?.encode_to_vec(),
        _ => return Err(Fault::usage("INVALID", "this node knows no such call")),
    })
}

/// An approval with no more patience than another node has for it; what waits longer goes on by itself.
fn within(request: v1::ApproveRequest) -> v1::ApproveRequest {
    let (wait_ms, timeout_ms) = bounded(request.wait_ms, request.timeout_ms);
    v1::ApproveRequest { wait_ms, timeout_ms, ..request }
}

/// How long to wait for holders and for a leader, in milliseconds: together no longer than another node waits for it.
pub(super) fn bounded(wait_ms: u32, timeout_ms: u32) -> (u32, u32) {
    const WAIT_MS: u32 = 5_000;
    const TIMEOUT_MS: u32 = 12_000;
    (wait_ms.min(WAIT_MS), if timeout_ms == 0 { TIMEOUT_MS } else { timeout_ms.min(TIMEOUT_MS) })
}

/// Asks one other node for somebody.
///
/// # Errors
/// That node's, or that it does not answer.
pub(super) async fn ask<R: Message + Default>(
    core: &Core,
    caller: &Caller,
    node: NodeId,
    (call, request): (u32, &impl Message),
) -> Result<R, Fault> {
    read(&core.ask_elsewhere(caller, node, (call, request.encode_to_vec()), patience(call)).await?)
}

/// Asks all other nodes at once; with their answers the names of those that gave none.
pub(super) async fn ask_all<R: Message + Default>(
    core: &Core,
    caller: &Caller,
    (call, request): (u32, &impl Message),
) -> (Vec<R>, Vec<String>) {
    let bytes = request.encode_to_vec();
    let asked = core.siblings().into_iter().map(|(node, local)| {
        let answered = core.ask_elsewhere(caller, node, (call, bytes.clone()), patience(call));
        async move { (local, answered.await) }
    });
    let (mut replies, mut away) = (Vec::new(), Vec::new());
    for (local, answered) in join_all(asked.collect::<Vec<_>>()).await {
        match answered.and_then(|bytes| read(&bytes)) {
            Ok(reply) => replies.push(reply),
            Err(fault) => {
                tracing::warn!(node = %local, call, reason = fault.reason, "another node of this agency lists nothing");
                away.push(format!("{}/{local}", core.agency));
            }
        }
    }
    (replies, away)
}

/// One answer: this node's when `here` says that it has what is asked about and the person may see it; else that of the other
/// node of the agency that has it. When none has, this node's again: the one place where a denial and an absence are told
/// apart is its log. To the person both come after the same questions to the same nodes, and so they do while one is away.
///
/// # Errors
/// As either node has it; [`FaultKind::Unavailable`] when a node that may have it does not answer.
pub(super) async fn answered<R: Message + Default>(
    core: &Core,
    caller: &Caller,
    here: bool,
    (call, request): (u32, &impl Message),
    own: impl Future<Output = Result<R, Fault>>,
) -> Result<R, Fault> {
    if here {
        return own.await;
    }
    let ask = |(node, local): (NodeId, String)| async move {
        let said = ask::<R>(core, caller, node, (call, request)).await;
        (node, local, said)
    };
    match first_that_has_it(core.siblings().into_iter().map(ask).collect()).await {
        Said::Has(reply) => Ok(reply),
        Said::Refused(fault) => Err(fault),
        Said::None(away) => last_word(own.await, away),
    }
}

/// What the other nodes say together.
#[derive(Debug)]
enum Said<R> {
    Has(R),
    /// One refuses it, and none has it.
    Refused(Fault),
    /// None has it; with one that did not say.
    None(Option<(String, Fault)>),
}

/// Asks all of them at once, and takes the first that has it: one that is silent keeps nobody from another, and one that refuses
/// does not end the search.
async fn first_that_has_it<R>(
    mut asked: FuturesUnordered<impl Future<Output = (NodeId, String, Result<R, Fault>)>>,
) -> Said<R> {
    let (mut refused, mut away) = (BTreeMap::new(), None);
    while let Some((node, local, said)) = asked.next().await {
        match said {
            Ok(reply) => return Said::Has(reply),
            Err(fault) if fault.kind == FaultKind::NotFound => {}
            Err(fault) if is_away(&fault) => away = Some((local, fault)),
            Err(fault) => _ = refused.insert(node, fault),
        }
    }
    // Of several always the same one.
    refused.into_values().next().map_or(Said::None(away), Said::Refused)
}

/// What is said when no other node has it. Nothing is absent while a node of the agency may have it. Why one that answers does
/// nothing, such as a full disk, is told as it says it.
fn last_word<R>(own: Result<R, Fault>, away: Option<(String, Fault)>) -> Result<R, Fault> {
    match (own, away) {
        (Err(own), Some((_, fault))) if own.kind == FaultKind::NotFound && !is_silence(&fault) => Err(fault),
        (Err(own), Some((local, _))) if own.kind == FaultKind::NotFound => {
            let why = format!("node `{local}` of your agency may have it, and does not answer");
            Err(Fault::unavailable("NODE_UNREACHABLE", why).hint("try again when it is back"))
        }
        (own, _) => own,
    }
}

/// The same for a notice that came in.
pub(super) async fn of_notice<R: Message + Default>(
    core: &Core,
    caller: &Caller,
    notice: &str,
    asked: (u32, &impl Message),
    own: impl Future<Output = Result<R, Fault>>,
) -> Result<R, Fault> {
    let here = core.shows(caller, &notice.parse()?);
    answered(core, caller, here, asked, own).await
}

/// The same for a notice that was sent.
pub(super) async fn of_own<R: Message + Default>(
    core: &Core,
    caller: &Caller,
    notice: &str,
    asked: (u32, &impl Message),
    own: impl Future<Output = Result<R, Fault>>,
) -> Result<R, Fault> {
    let here = core.follows(caller, &notice.parse()?);
    answered(core, caller, here, asked, own).await
}

/// Adds what the other nodes of the agency have for somebody to what this one has, newest first, and names those that do not
/// answer. A notice that lies at two nodes is shown once.
pub(super) async fn add_inboxes(
    core: &Core,
    caller: &Caller,
    request: &v1::NoticeInboxRequest,
    reply: &mut v1::NoticeInboxReply,
) {
    let (theirs, away) = ask_all::<v1::NoticeInboxReply>(core, caller, (INBOX, request)).await;
    theirs.into_iter().for_each(|their| add(reply, their.notices, request.limit));
    reply.away.extend(away);
}

fn add(reply: &mut v1::NoticeInboxReply, theirs: Vec<v1::Notice>, limit: u32) {
    let known: BTreeSet<String> = reply.notices.iter().map(|n| n.notice.clone()).collect();
    reply.notices.extend(theirs.into_iter().filter(|n| !known.contains(&n.notice)));
    // Stable: of one moment each node's own order stays.
    reply.notices.sort_by_key(|n| Reverse(n.at));
    reply.notices.truncate(notices::inbox_limit(limit));
}

/// Whether a node says nothing of a notice: it does not answer, fails, or does not know the person yet.
pub(super) fn is_away(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::Unavailable | FaultKind::Internal) || fault.reason == "UNKNOWN_PERSON"
}

/// Whether that says nothing that a person could act on.
fn is_silence(fault: &Fault) -> bool {
    fault.kind != FaultKind::Unavailable || ["NODE_UNREACHABLE", "NOT_FRESH"].contains(&fault.reason)
}

fn read<T: Message + Default>(bytes: &[u8]) -> Result<T, Fault> {
    T::decode(bytes).map_err(|_| Fault::usage("INVALID", "what another node sent does not read"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    fn notice(id: &str, at: u64, state: &str) -> v1::Notice {
        v1::Notice { notice: id.into(), at, state: state.into(), ..v1::Notice::default() }
    }

    /// What another node waits for ends before whoever asked it gives up.
    #[test]
    fn nobody_publishes_for_another_node_longer_than_it_waits() {
        for asked in [(0, 0), (u32::MAX, u32::MAX)] {
            let (wait_ms, timeout_ms) = bounded(asked.0, asked.1);
            assert!(u128::from(wait_ms) + u128::from(timeout_ms) < PUBLISH_MOST.as_millis());
            assert!(timeout_ms > 0, "0 would be the default");
        }
        assert_eq!(bounded(7, 9), (7, 9));
    }

    #[test]
    fn two_inboxes_are_one_newest_first_and_nothing_twice() {
        let notices = vec![notice("n-c", 5, "delivered"), notice("n-a", 1, "presented")];
        let mut reply = v1::NoticeInboxReply { notices, away: Vec::new() };
        add(&mut reply, vec![notice("n-b", 3, "delivered"), notice("n-a", 2, "delivered")], 10);
        let seen: Vec<_> = reply.notices.iter().map(|n| (n.notice.as_str(), n.state.as_str())).collect();
        assert_eq!(seen, [("n-c", "delivered"), ("n-b", "delivered"), ("n-a", "presented")]);
        add(&mut reply, vec![notice("n-d", 9, "delivered")], 2);
        assert_eq!(reply.notices.iter().map(|n| n.notice.as_str()).collect::<Vec<_>>(), ["n-d", "n-c"]);
    }

    /// While a node is away, "not here" is no answer; what was found or refused here is.
    #[test]
    fn nothing_is_absent_while_a_node_may_have_it() {
        let said = |own: Result<(), Fault>, away: Option<Fault>| {
            last_word(own, away.map(|fault| ("2".to_owned(), fault))).map_err(|fault| fault.reason)
        };
        let silent = || Some(Fault::unavailable("NODE_UNREACHABLE", "x"));
        assert_eq!(said(Err(Fault::not_found()), None), Err(Fault::not_found().reason));
        for away in [silent(), Some(Fault::internal("INTERNAL", "x")), Some(Fault::refused("UNKNOWN_PERSON", "x"))] {
            assert_eq!(said(Err(Fault::not_found()), away), Err("NODE_UNREACHABLE"));
        }
        let full = Some(Fault::unavailable("DISK_FULL", "x"));
        assert_eq!(said(Err(Fault::not_found()), full), Err("DISK_FULL"));
        assert_eq!(said(Err(Fault::conflict("ALREADY_SEEN", "x")), silent()), Err("ALREADY_SEEN"));
        assert_eq!(said(Ok(()), silent()), Ok(()));
    }

    /// One that never answers, and one that refuses, hide no other.
    #[tokio::test(start_paused = true)]
    async fn the_first_that_has_it_answers_whatever_the_others_do() {
        type Answer = Result<u8, Fault>;
        let ask = |said: Vec<Option<Answer>>| async move {
            let all = (1..).map(NodeId).zip(said).map(|(node, said)| async move {
                match said {
                    Some(said) => (node, node.to_string(), said),
                    None => std::future::pending().await,
                }
            });
            let asked = first_that_has_it(all.collect());
            tokio::time::timeout(Duration::from_secs(1), asked).await.ok()
        };
        let refused = || Some(Err(Fault::refused("NOT_ALLOWED", "x")));
        let away = || Some(Err(Fault::unavailable("NODE_UNREACHABLE", "x")));
        let absent = || Some(Err(Fault::not_found()));
        assert!(matches!(ask(vec![None, refused(), away(), Some(Ok(7))]).await, Some(Said::Has(7))));
        assert!(
            matches!(ask(vec![away(), refused(), absent()]).await, Some(Said::Refused(f)) if f.reason == "NOT_ALLOWED")
        );
        assert!(matches!(ask(vec![absent(), away()]).await, Some(Said::None(Some(_)))));
        assert!(matches!(ask(vec![absent(), absent()]).await, Some(Said::None(None))));
        assert!(ask(vec![None, absent()]).await.is_none(), "one that may have it is waited for");
    }

    #[test]
    fn whoever_may_not_see_it_is_told_no_other_thing_than_that_it_is_not_there() {
        assert!(!is_away(&Fault::not_found()));
        assert!(!is_away(&Fault::refused("NOT_ALLOWED", "x")));
        assert!(is_away(&Fault::unavailable("NODE_UNREACHABLE", "x")));
        assert!(is_away(&Fault::refused("UNKNOWN_PERSON", "x")));
    }
}
