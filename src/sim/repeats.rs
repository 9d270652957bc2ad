//! The same again at the other node of an agency: an amendment that had no clear answer, and a source that was imported.

use super::fixture::{Pair, publish, reason};
use super::work::record_under;
use crate::domain::fault::Fault;
use crate::domain::person::Role;
use crate::identity::Person;
use crate::service::{Patience, PublishAsk, Wait};
use crate::wire::pb::v1;
use crate::wire::pb::v1::records_server::Records as _;
use std::sync::Arc;
use std::time::Duration;
use tonic::Status;

fn ask_publish(pair: &mut Pair, n: usize, request: v1::PublishRequest) -> Result<v1::PublishReply, Status> {
    let reader = pair.reader(n);
    let request = reader.request(request);
    pair.answer(n, async move { reader.people.publish(request).await.map(|r| r.into_inner()) })
}

/// It gets the first answer, and makes no further version.
#[test]
fn a_repeated_amendment_is_one_version() {
    let mut pair = Pair::new();
    let (first, second) = (pair.first, pair.second);
    let made = ask_publish(&mut pair, first, publish(9, "internal", false)).unwrap();
    let amend = |pair: &mut Pair, n: usize, repeats: bool| {
        let reader = pair.reader(n);
        let request = reader.request(v1::AmendRequest {
            record: made.record.clone(),
            body: "更正".into(),
            reason: "演练".into(),
            wait: "none".into(),
            timeout_ms: 5_000,
            request_id: vec![10; 16],
            repeats,
            ..v1::AmendRequest::default()
        });
        pair.answer(n, async move { reader.people.amend(request).await }).unwrap().into_inner()
    };
    let amended = amend(&mut pair, first, false);
    assert_eq!((amended.state.as_str(), amended.version), ("committed", 2));
    let again = amend(&mut pair, second, true);
    assert_eq!((&again.record, again.version, again.index), (&amended.record, 2, amended.index));
}

/// It would be two records. What no other node knows is imported, and so is what is asked for while the other one is away.
#[test]
fn a_source_that_the_other_node_imported_is_not_imported_again() {
    let mut pair = Pair::new();
    let (first, second) = (pair.first, pair.second);
    let source = |name: &str| v1::PublishRequest { source: name.into(), ..publish(11, "internal", false) };
    let import = |pair: &mut Pair, n, name| ask_publish(pair, n, source(name));
    assert_eq!(import(&mut pair, first, "text:a").unwrap().result, "imported");
    assert_eq!(reason(import(&mut pair, second, "text:a")), "EXISTS");
    assert_eq!(import(&mut pair, first, "text:a").unwrap().result, "unchanged");
    assert_eq!(import(&mut pair, second, "text:b").unwrap().result, "imported");
    pair.cut(first, second);
    assert_ne!(reason(import(&mut pair, second, "text:a")), "EXISTS");
}

/// An officer takes the role from somebody by which they import.
fn may_import_no_more(pair: &mut Pair, n: usize) {
    let known = pair.person(n);
    let (core, seen) = (Arc::clone(&pair.up(n).core), known.version);
    let change = Person { roles: [Role::Analyst].into(), salt: [8; 32], ..known };
    pair.answer(n, async move { core.directory.put(change, seen).await }).unwrap();
}

/// Whether the source is imported at a node, as its person there is told when they ask by another one.
fn is_told_of(pair: &mut Pair, n: usize, source: &'static str) -> Result<bool, &'static str> {
    let core = Arc::clone(&pair.up(n).core);
    let caller = pair.world.sites[n].member.caller(&core).unwrap();
    pair.answer(n, async move { core.was_imported(&caller, source).await.map_err(|fault| fault.reason) })
}

/// Whoever may not publish under the label that a source is known under does not hear by way of another node that it is known.
#[test]
fn a_source_is_told_of_only_for_those_who_may_import_it() {
    let mut pair = Pair::new();
    let first = pair.first;
    let source = v1::PublishRequest { source: "text:a".into(), ..publish(11, "internal", false) };
    assert_eq!(ask_publish(&mut pair, first, source).unwrap().result, "imported");
    let asked = |pair: &mut Pair| (is_told_of(pair, first, "text:a"), is_told_of(pair, first, "text:b"));
    assert_eq!(asked(&mut pair), (Ok(true), Ok(false)));
    may_import_no_more(&mut pair, first);
    assert_eq!(asked(&mut pair), (Err("NOT_ALLOWED"), Ok(false)));
}

/// Nor while it was accepted and is not on the ledger.
#[test]
fn a_source_that_was_only_accepted_is_told_of_to_nobody_else() {
    let mut pair = Pair::new();
    let first = pair.first;
    for other in [pair.police, pair.third, pair.second] {
        pair.cut(first, other);
    }
    let source = v1::PublishRequest { source: "text:a".into(), ..publish(13, "internal", false) };
    assert_eq!(reason(ask_publish(&mut pair, first, source)), "NO_LEADER");
    assert_eq!(is_told_of(&mut pair, first, "text:a"), Ok(true));
    may_import_no_more(&mut pair, first);
    assert_eq!(is_told_of(&mut pair, first, "text:a"), Err("NOT_ALLOWED"));
}

/// Nor that another node works on it at this moment.
#[test]
fn what_another_node_says_of_a_source_is_told_to_those_who_may_import_it() {
    let mut pair = Pair::new();
    let first = pair.first;
    let imported = |pair: &mut Pair| {
        let (core, link) = (Arc::clone(&pair.up(first).core), Arc::clone(&pair.up(first).link));
        let caller = pair.world.sites[first].member.caller(&core).unwrap();
        let busy = std::future::ready(Err::<Option<String>, Fault>(Fault::conflict("IN_PROGRESS", "x")));
        pair.answer(first, async move {
            let done = core.import(&caller, ("text:a", b"".as_slice()), ask(), link, busy).await;
            done.err().map(|fault| fault.reason)
        })
    };
    assert_eq!(imported(&mut pair), Some("IN_PROGRESS"));
    may_import_no_more(&mut pair, first);
    assert_eq!(imported(&mut pair), Some("POLICY_REFUSED"));
}

fn ask() -> PublishAsk {
    let patience = Patience { wait: Wait::None, wait_for: Duration::ZERO, timeout: Duration::from_secs(5) };
    PublishAsk { body: "正文".into(), agreement: None, ..record_under("border", patience, [12; 16]) }
}
