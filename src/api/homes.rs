//! Calls about notices that another node of the agency took in: they go to it, and its answer comes back. What it decides and
//! discloses is in its audit log. Who may not see a notice learns as little from either node.

use super::notices;
use crate::domain::fault::{Fault, FaultKind};
use crate::service::{Caller, Core};
use crate::wire::pb::v1;
use prost::Message;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::future::Future;

/// Calls, as `hufu.peer.v1.PersonAsks` numbers them.
pub(super) const INBOX: u32 = 1;
pub(super) const SHOW: u32 = 2;
pub(super) const PRESENTED: u32 = 3;
pub(super) const WORDS: u32 = 4;
pub(super) const SAY: u32 = 5;

/// Answers a call that came by another node of the agency. What is not here is looked for nowhere else: one hop.
pub(super) async fn here(core: &Core, caller: &Caller, call: u32, request: &[u8]) -> Result<Vec<u8>, Fault> {
    Ok(match call {
        INBOX => notices::inbox(core, caller, &read(request)?).await?.encode_to_vec(),
        SHOW => notices::show(core, caller, &read(request)?).await?.encode_to_vec(),
        PRESENTED => notices::presented(core, caller, &read(request)?).await?.encode_to_vec(),
        WORDS => notices::words(core, caller, read(request)?).await?.encode_to_vec(),
        SAY => notices::say(core, caller, read(request)?).await?.encode_to_vec(),
        _ => return Err(Fault::usage("INVALID", "this node knows no such call")),
    })
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
    let mut away = None;
    for (node, local) in core.siblings() {
        match core.ask_elsewhere(caller, node, call, request.encode_to_vec()).await {
            Ok(reply) => return read(&reply),
            Err(fault) if fault.kind == FaultKind::NotFound => {}
            Err(fault) if is_away(&fault) => away = Some(local),
            Err(fault) => return Err(fault),
        }
    }
    last_word(own.await, away)
}

/// What is said when no other node has it. Nothing is absent while a node of the agency may have it.
fn last_word<R>(own: Result<R, Fault>, away: Option<String>) -> Result<R, Fault> {
    match (own, away) {
        (Err(fault), Some(local)) if fault.kind == FaultKind::NotFound => {
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

/// Adds what the other nodes of the agency have for somebody to what this one has, newest first, and names those that do not
/// answer. A notice that lies at two nodes is shown once.
pub(super) async fn add_inboxes(
    core: &Core,
    caller: &Caller,
    request: &v1::NoticeInboxRequest,
    reply: &mut v1::NoticeInboxReply,
) {
    for (node, local) in core.siblings() {
        let answered = core.ask_elsewhere(caller, node, INBOX, request.encode_to_vec()).await;
        match answered.and_then(|bytes| read::<v1::NoticeInboxReply>(&bytes)) {
            Ok(theirs) => add(reply, theirs.notices, request.limit),
            Err(fault) => {
                tracing::warn!(node = %local, reason = fault.reason, "another node of this agency shows no notices");
                reply.away.push(format!("{}/{local}", core.agency));
            }
        }
    }
}

fn add(reply: &mut v1::NoticeInboxReply, theirs: Vec<v1::Notice>, limit: u32) {
    let known: BTreeSet<String> = reply.notices.iter().map(|n| n.notice.clone()).collect();
    reply.notices.extend(theirs.into_iter().filter(|n| !known.contains(&n.notice)));
    // Stable: of one moment each node's own order stays.
    reply.notices.sort_by_key(|n| Reverse(n.at));
    reply.notices.truncate(notices::inbox_limit(limit));
}

/// Whether a node says nothing of a notice: it does not answer, fails, or does not know the person yet.
fn is_away(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::Unavailable | FaultKind::Internal) || fault.reason == "UNKNOWN_PERSON"
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
        let said = |own: Result<(), Fault>, away: Option<&str>| {
            last_word(own, away.map(str::to_owned)).map_err(|fault| fault.reason)
        };
        assert_eq!(said(Err(Fault::not_found()), None), Err(Fault::not_found().reason));
        assert_eq!(said(Err(Fault::not_found()), Some("2")), Err("NODE_UNREACHABLE"));
        assert_eq!(said(Err(Fault::conflict("ALREADY_SEEN", "x")), Some("2")), Err("ALREADY_SEEN"));
        assert_eq!(said(Ok(()), Some("2")), Ok(()));
    }

    #[test]
    fn whoever_may_not_see_it_is_told_no_other_thing_than_that_it_is_not_there() {
        assert!(!is_away(&Fault::not_found()));
        assert!(!is_away(&Fault::refused("NOT_ALLOWED", "x")));
        assert!(is_away(&Fault::unavailable("NODE_UNREACHABLE", "x")));
        assert!(is_away(&Fault::refused("UNKNOWN_PERSON", "x")));
    }
}
