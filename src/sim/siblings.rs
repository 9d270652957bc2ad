//! Two nodes of one agency, in calm: what comes to either is at one of them, and its people sit at any.

use super::fixture::{Pair, publish, reason};
use super::node::PERSON;
use super::world::World;
use crate::domain::label::Grade;
use crate::domain::notice::ReceiptState;
use crate::domain::person::Role;
use crate::identity::Person;
use crate::ledger::Act;
use crate::wire::pb::v1;
use crate::wire::pb::v1::notices_server::Notices as _;
use crate::wire::pb::v1::records_server::Records as _;
use std::sync::Arc;
use tokio_stream::StreamExt;

/// A node that gets a letter hands it to the node before it; whoever sits at either lists, displays and acknowledges it there,
/// and its sender is told once.
#[test]
fn a_notice_has_one_home_and_is_acknowledged_from_anywhere() {
    let mut pair = Pair::new();
    let (police, third, first, second) = (pair.police, pair.third, pair.first, pair.second);
    pair.cut(police, first);
    pair.cut(third, first);
    let notice = pair.send(police, "customs");
    pair.until_step(police, notice, ReceiptState::Delivered);
    assert!(pair.has(first, &notice) && !pair.has(second, &notice), "it was handed on");
    pair.world.net.heal();

    let reader = pair.reader(second);
    let listed = pair.answer(second, async move { reader.inbox().await }).unwrap();
    assert!(listed.away.is_empty() && listed.notices.iter().any(|n| n.notice == notice.to_string()), "{listed:?}");
    let reader = pair.reader(second);
    pair.answer(second, async move { reader.acknowledges(&notice.to_string()).await }).unwrap();
    pair.until_step(police, notice, ReceiptState::Acknowledged);
    // Once more, at the other node.
    let reader = pair.reader(first);
    pair.answer(first, async move { reader.acknowledges(&notice.to_string()).await }).unwrap();
    pair.world.run(3_000);
    let home = pair.node(first);
    let once = [ReceiptState::Delivered, ReceiptState::Presented, ReceiptState::Acknowledged].map(|s| (s, home));
    assert_eq!(pair.steps(police, &notice), once);
    pair.world.chains_are_single().unwrap();
    // Another node is told that it is there, and not what people said of it.
    let letter = pair.up(police).core.office.sent_of(&notice)[0].0;
    let held: Vec<_> = pair.up(first).core.letter_held(&letter, None).into_iter().map(|r| r.receipt.state).collect();
    assert_eq!(held, [ReceiptState::Delivered, ReceiptState::Presented]);

    // While its home is away, nothing is said to be absent.
    pair.cut(first, second);
    let reader = pair.reader(second);
    let ask = reader.request(v1::NoticeRequest { notice: notice.to_string() });
    let shown = pair.answer(second, async move { reader.people.show(ask).await });
    assert_eq!(reason(shown), "NODE_UNREACHABLE");
}

/// The second took it in while the first was away. What takes it back comes to the first, and is handed on.
#[test]
fn what_takes_a_notice_back_finds_its_home() {
    let mut pair = Pair::new();
    let (police, first, second) = (pair.police, pair.first, pair.second);
    let notice = pair.taken_in_by_the_second(Grade::Internal);
    let reader = pair.reader(first);
    let listed = pair.answer(first, async move { reader.inbox().await }).unwrap();
    assert!(listed.notices.iter().any(|n| n.notice == notice.to_string()), "{listed:?}");
    pair.cut(police, second);
    pair.cut(pair.third, second);
    assert!(pair.recall(police, notice));
    pair.until_step(police, notice, ReceiptState::Recalled);
    assert!(pair.steps(police, &notice).iter().all(|(_, node)| *node == pair.node(second)));
    assert!(!pair.has(first, &notice));
    pair.world.chains_are_single().unwrap();
    // The first keeps a late copy back, and does not say that nobody saw it.
    pair.world.net.heal();
    pair.late_copy(police, first, &notice);
    assert!(!pair.has(first, &notice));
}

/// The second took it in while the first was away. A copy that comes to the first later stays with the second.
#[test]
fn a_late_copy_makes_no_second_notice() {
    let mut pair = Pair::new();
    let (police, first, second) = (pair.police, pair.first, pair.second);
    let notice = pair.taken_in_by_the_second(Grade::Internal);
    pair.late_copy(police, first, &notice);
    assert!(!pair.has(first, &notice) && pair.has(second, &notice));
    pair.world.chains_are_single().unwrap();
}

/// The same while the two do not reach each other: it lies at both. Its sender hears
/// that it is recalled when it is at both, and not before.
#[test]
fn what_lies_at_two_nodes_is_recalled_at_both_or_not_reported() {
    let mut pair = Pair::new();
    let (police, first, second) = (pair.police, pair.first, pair.second);
    let notice = pair.taken_in_by_the_second(Grade::Internal);
    pair.cut(first, second);
    pair.late_copy(police, first, &notice);
    assert!(pair.has(first, &notice) && pair.has(second, &notice));
    pair.world.net.heal();
    // Somebody may have seen both.
    for n in [first, second] {
        let reader = pair.reader(n);
        pair.answer(n, async move { reader.inbox().await }).unwrap();
    }
    pair.cut(first, second);
    assert!(pair.recall(police, notice));
    let recalled = |w: &World, n: usize| {
        let at = w.sites[n].up().unwrap().core.office.read(|b| b.received_of(&notice).map(|(_, i)| i.state()));
        at == Some(ReceiptState::Recalled)
    };
    pair.world.until("a recall at both", |w| recalled(w, first) && recalled(w, second)).unwrap();
    pair.world.run(3_000);
    assert!(pair.steps(police, &notice).iter().all(|(s, _)| *s != ReceiptState::Recalled), "one of them did not say");
    pair.world.net.heal();
    pair.until_step(police, notice, ReceiptState::Recalled);
}

/// What a node sent is followed up and taken back by whoever sits at the other one.
#[test]
fn what_was_sent_at_one_node_is_followed_and_withdrawn_at_the_other() {
    let mut pair = Pair::new();
    let (police, first, second) = (pair.police, pair.first, pair.second);
    let notice = pair.send(first, "police");
    pair.until_step(first, notice, ReceiptState::Delivered);
    let reader = pair.reader(second);
    let wait = v1::NoticeTrackRequest { notice: notice.to_string(), wait: "delivered".into(), timeout_ms: 5_000 };
    let ask = reader.request(wait);
    let tracked = pair.answer(second, async move { reader.people.track(ask).await }).unwrap().into_inner();
    assert!(tracked.reached && tracked.state == "delivered", "{tracked:?}");
    let reader = pair.reader(second);
    let ask = reader.request(v1::NoticeCancelRequest { notice: notice.to_string(), reason: "误发".into() });
    pair.answer(second, async move { reader.people.cancel(ask).await }).unwrap();
    pair.until_step(first, notice, ReceiptState::Withdrawn);
    assert!(pair.up(second).core.office.sent_of(&notice).is_empty() && pair.has(police, &notice));
    pair.cut(first, second);
    let reader = pair.reader(second);
    let ask = reader.request(v1::NoticeCancelRequest { notice: notice.to_string(), reason: "误发".into() });
    assert_eq!(reason(pair.answer(second, async move { reader.people.cancel(ask).await })), "NODE_UNREACHABLE");
}

/// Whoever watches at one node is shown what the other takes in meanwhile.
#[test]
fn a_watch_shows_what_the_other_node_takes_in() {
    let mut pair = Pair::new();
    let (police, third, first, second) = (pair.police, pair.third, pair.first, pair.second);
    let reader = pair.reader(second);
    let ask = reader.request(v1::NoticeWatchRequest {});
    let mut lines = pair.answer(second, async move { reader.people.watch(ask).await }).unwrap().into_inner();
    pair.world.run(2_000);
    pair.cut(police, second);
    pair.cut(third, second);
    let notice = pair.send(police, "customs");
    let line = pair.answer(second, async move { lines.next().await }).unwrap().unwrap();
    assert_eq!((line.notice, line.body), (notice.to_string(), "正文".to_owned()));
    assert!(pair.has(first, &notice) && !pair.has(second, &notice));
}

/// One that does not open any more is named, in a list and on a stream at either node, and stands in front of no other. No
/// terminal has displayed it.
#[test]
fn a_notice_that_does_not_open_is_named_and_hides_no_other() {
    let mut pair = Pair::new();
    let (police, first, second) = (pair.police, pair.first, pair.second);
    let spoilt = pair.send(police, "customs");
    pair.until_step(police, spoilt, ReceiptState::Delivered);
    let letter = pair.up(police).core.office.sent_of(&spoilt)[0].0;
    assert!(pair.has(first, &spoilt));
    pair.up(first).core.office.spoil(&letter);
    let whole = pair.send(police, "customs");
    pair.until_step(police, whole, ReceiptState::Delivered);
    let both = [(spoilt.to_string(), false), (whole.to_string(), true)];
    for n in [first, second] {
        let reader = pair.reader(n);
        let listed = pair.answer(n, async move { reader.inbox().await }).unwrap().notices;
        let listed: Vec<_> = listed.into_iter().rev().map(|one| (one.notice, one.unopenable.is_empty())).collect();
        assert_eq!(listed, both);
        let reader = pair.reader(n);
        let ask = reader.request(v1::NoticeWatchRequest {});
        let mut lines = pair.answer(n, async move { reader.people.watch(ask).await }).unwrap().into_inner();
        let shown = pair.answer(n, async move { [lines.next().await, lines.next().await] });
        let shown = shown.map(|line| line.unwrap().unwrap()).map(|one| (one.notice, one.unopenable.is_empty()));
        assert_eq!(shown, both);
        let reader = pair.reader(n);
        let ask = reader.request(v1::NoticePresentedRequest { notice: spoilt.to_string(), recall: false });
        assert_eq!(reason(pair.answer(n, async move { reader.people.presented(ask).await })), "UNOPENABLE");
    }
}

/// Each node but its home keeps a recalled notice back, and only so many: a recall counts though the other node keeps no more
/// back. Of one that nobody has, its sender's officers hear that it is not taken; the node that has room keeps it back.
#[test]
fn a_recall_is_heard_of_though_a_node_keeps_no_more_back() {
    let mut pair = Pair::new();
    let (police, first, second) = (pair.police, pair.first, pair.second);
    let notice = pair.send(police, "customs");
    pair.until_step(police, notice, ReceiptState::Delivered);
    let from = pair.world.sites[police].member.id.clone();
    let fill = |pair: &Pair, n: usize| {
        let core = &pair.up(n).core;
        core.office.keep_no_more_back(&from, core.clock.now());
    };
    assert!(pair.has(first, &notice));
    fill(&pair, second);
    pair.recall(police, notice);
    pair.until_step(police, notice, ReceiptState::Withdrawn);
    assert!(!pair.up(second).core.office.read(|b| b.is_withheld(&from, &notice)));

    let others: Vec<usize> = (0..pair.world.sites.len()).filter(|n| ![first, second].contains(n)).collect();
    others.iter().for_each(|n| [first, second].into_iter().for_each(|own| pair.cut(*n, own)));
    // It was tried so often that it is tried again only after a while: its recall comes first.
    let lost = pair.send(police, "customs");
    pair.world.run(40_000);
    pair.world.net.heal();
    pair.recall(police, lost);
    let told = |w: &World| {
        let audit = &w.sites[police].up().unwrap().core.audit;
        (0..audit.size()).any(|seq| audit.read(seq, 1).unwrap().iter().any(|e| e.rule == "recalls-full"))
    };
    pair.world.until("that a recall is not taken", told).unwrap();
    assert!(pair.up(first).core.office.read(|b| b.is_withheld(&from, &lost)));
}

/// A suspension counts at both at once; what gives anybody anything does not without the ledger.
#[test]
fn a_suspension_at_one_node_counts_at_both_and_what_one_makes_up_at_none() {
    let mut pair = Pair::new();
    let (first, second) = (pair.first, pair.second);
    let (core, known) = (Arc::clone(&pair.up(first).core), pair.person(first));
    let moved = Person { unit: "情报处".into(), ..known.clone() };
    let seen = known.version;
    pair.answer(first, async move { core.directory.put(moved, seen).await }).unwrap();
    pair.world.run(3_000);
    assert_eq!(pair.person(second), known, "the ledger has no such version");
    pair.suspend(first, PERSON);
    pair.until_suspended(second, PERSON);
    assert_eq!(pair.person(second).unit, known.unit, "nothing else of that version");
    let reader = pair.reader(second);
    let listed = pair.answer(second, async move { reader.inbox().await });
    assert_eq!(reason(listed), "UNKNOWN_PERSON");
}

/// A clearance is lowered at one node while the other changes the same entry: it is lowered at both, and they come to rest.
#[test]
fn a_clearance_that_is_lowered_at_one_node_is_lowered_at_both() {
    let mut pair = Pair::new();
    let (first, second) = (pair.first, pair.second);
    pair.cut(first, second);
    let known = pair.person(first);
    let lowered = Person { clearance: Grade::Internal, salt: [8; 32], ..known.clone() };
    let moved = Person { unit: "情报处".into(), salt: [9; 32], ..known.clone() };
    for (n, changed) in [(first, lowered), (second, moved)] {
        let (core, seen) = (Arc::clone(&pair.up(n).core), known.version);
        let entered = pair.answer(n, async move { core.directory.put(changed, seen).await }).unwrap();
        assert_eq!(entered.version, seen + 1);
    }
    pair.world.net.heal();
    let clearance = |w: &World, n: usize| w.sites[n].up().unwrap().core.directory.by_name(PERSON).unwrap().clearance;
    pair.world.until("a lower clearance at the other node", |w| clearance(w, second) == Grade::Internal).unwrap();
    pair.world.run(2_000);
    let rests = [first, second].map(|n| pair.person(n));
    assert!(rests.iter().all(|p| p.clearance == Grade::Internal) && rests[1].unit == "情报处", "{rests:?}");
    pair.world.run(3_000);
    assert_eq!([first, second].map(|n| pair.person(n)), rests);
}

/// A suspended agency is shut out of the federation, and still shuts its own people out at all of its nodes.
#[test]
fn nodes_of_a_suspended_agency_tell_each_other_who_is_suspended() {
    let mut pair = Pair::new();
    let (first, second) = (pair.first, pair.second);
    let agency = pair.world.sites[first].member.id.clone();
    let out = Act::SuspendAgency { agency: agency.clone() };
    pair.world.bring(&out, 1, &[("police", 0), ("third", 0)]);
    let told = |w: &World| [first, second].iter().all(|n| !w.sites[*n].up().unwrap().core.state().stands(&agency));
    pair.world.until("both know that their agency is suspended", told).unwrap();
    pair.suspend(first, PERSON);
    pair.until_suspended(second, PERSON);
}

/// A node that answers every entry with "suspended" shuts nobody out who could end that: the last two officers go by the
/// ledger alone.
#[test]
fn no_node_suspends_the_last_officers_by_its_word() {
    const OFFICERS: [&str; 2] = ["officer-a", "officer-b"];
    let mut pair = Pair::new();
    let (first, second) = (pair.first, pair.second);
    let like = pair.person(first);
    for n in [first, second] {
        for (k, name) in OFFICERS.into_iter().enumerate() {
            let (handle, key) = &pair.world.sites[n].member.officers[k];
            let officer = Person {
                name: name.into(),
                handle: *handle,
                roles: [Role::SecurityOfficer].into(),
                public_key: *key.public().as_bytes(),
                ..like.clone()
            };
            let core = Arc::clone(&pair.up(n).core);
            pair.answer(n, async move { core.directory.put(officer, 0).await }).unwrap();
        }
    }
    OFFICERS.into_iter().for_each(|name| pair.suspend(first, name));
    pair.suspend(first, PERSON);
    pair.until_suspended(second, PERSON);
    pair.world.run(3_000);
    assert!(OFFICERS.iter().all(|name| !pair.is_suspended(second, name)));
    let member = &pair.world.sites[first].member;
    let out = Act::Suspend { agency: member.id.clone(), handle: member.officers[0].0 };
    pair.world.bring(&out, 0, &[("customs", 1)]);
    pair.until_suspended(second, OFFICERS[0]);
    pair.world.run(3_000);
    assert!(!pair.is_suspended(second, OFFICERS[1]));
}

/// A client that had no clear answer from one node asks the other: it gets the first answer, unless the two do not reach each
/// other.
#[test]
fn a_repeated_publish_is_one_record_while_the_nodes_reach_each_other() {
    let mut pair = Pair::new();
    let (first, second) = (pair.first, pair.second);
    let ask = |pair: &mut Pair, n: usize, repeats: bool| {
        let reader = pair.reader(n);
        let request = reader.request(publish(7, "internal", repeats));
        pair.answer(n, async move { reader.people.publish(request).await }).unwrap().into_inner()
    };
    let made = ask(&mut pair, first, false);
    assert_eq!(made.state, "committed", "{made:?}");
    let again = ask(&mut pair, second, true);
    assert_eq!((&again.record, again.index), (&made.record, made.index));
    pair.cut(first, second);
    let apart = ask(&mut pair, second, true);
    assert_ne!(apart.record, made.record, "at most once for each node");
}

/// A proposal is listed at both nodes, and taken back from the other one.
#[test]
fn a_proposal_is_decided_where_it_waits() {
    let mut pair = Pair::new();
    let (first, second) = (pair.first, pair.second);
    let reader = pair.reader(first);
    let request = publish(8, "confidential", false);
    let request = reader.request(v1::PublishRequest { agreement: "all-2026".into(), ..request });
    let made = pair.answer(first, async move { reader.people.publish(request).await }).unwrap().into_inner();
    assert_eq!(made.state, "proposed", "{made:?}");
    let list = |pair: &mut Pair, n: usize| {
        let reader = pair.reader(n);
        let ask = v1::ProposalsRequest { purpose: "演练".into(), limit: 9, ..v1::ProposalsRequest::default() };
        let ask = reader.request(ask);
        pair.answer(n, async move { reader.people.proposals(ask).await }).unwrap().into_inner()
    };
    let listed = list(&mut pair, second);
    assert!(listed.away.is_empty() && listed.proposals.iter().any(|p| p.record == made.record), "{listed:?}");
    let reader = pair.reader(second);
    let ask = reader.request(v1::RejectRequest { record: made.record.clone(), reason: "演练".into() });
    pair.answer(second, async move { reader.people.reject(ask).await }).unwrap();
    assert!(list(&mut pair, first).proposals.is_empty());
    pair.cut(first, second);
    assert_eq!(list(&mut pair, second).away, [format!("customs/{}", pair.world.sites[first].member.local)]);
}
