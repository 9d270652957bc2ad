//! What comes to two nodes of one agency about one notice: a confirmed marking, and a second letter of a dishonest sender.

use super::fixture::Pair;
use super::node::PERSON;
use super::world::World;
use crate::domain::canon::Canon;
use crate::domain::ids::NoticeId;
use crate::domain::label::Grade;
use crate::domain::notice::ReceiptState;
use crate::notice::{Content, Letter, LetterHeader};
use crate::seal::Counter;
use std::sync::Arc;

/// It lies at both, since they did not reach each other: whoever reads it at either sees that its marking is confirmed.
#[test]
fn a_confirmed_marking_counts_at_both_nodes_that_have_the_notice() {
    let mut pair = Pair::new();
    let (police, first, second) = (pair.police, pair.first, pair.second);
    let notice = pair.taken_in_by_the_second(Grade::Confidential);
    pair.cut(first, second);
    pair.late_copy(police, first, &notice);
    assert!(pair.has(first, &notice) && pair.has(second, &notice));
    pair.world.net.heal();
    let core = Arc::clone(&pair.up(police).core);
    let (classifier, ..) = pair.world.sites[police].member.classifier(&core).unwrap();
    let refused = pair.answer(police, async move { core.notice_confirm(&classifier, &notice).await }).unwrap();
    assert!(refused.is_empty());
    let confirmed = |w: &World, n: usize| {
        let office = &w.sites[n].up().unwrap().core.office;
        office.read(|b| b.received_of(&notice).is_some_and(|(_, i)| i.confirmed.is_some()))
    };
    pair.world.until("a confirmed marking at both", |w| confirmed(w, first) && confirmed(w, second)).unwrap();
}

/// Another letter under the number of a notice that police sent to customs.
fn second_letter(pair: &Pair, notice: &NoticeId) -> Letter {
    let police = pair.police;
    let sent = pair.up(police).core.office.sent_of(notice)[0].1.letter.header.clone();
    let header = LetterHeader { created: sent.created.plus_ms(1), ..sent };
    let content =
        Content { subject: "另一份".into(), body: "正文".into(), sender: PERSON.into(), ..Content::default() };
    let state = pair.up(police).core.state();
    let (key, ring) = (state.grade_key(&header.to, header.grade).unwrap(), pair.world.sites[police].member.ring());
    let signer = ring.signing_key().unwrap();
    Letter::seal(header, &content.to_bytes(), key, &signer, &mut Counter::at(7)).unwrap()
}

/// It is refused at a node, and told there.
fn is_refused(pair: &mut Pair, n: usize, letter: &Letter) {
    let (core, link) = (Arc::clone(&pair.up(n).core), Arc::clone(&pair.up(n).link));
    let (bytes, from) = (letter.to_canon(), letter.header.from.clone());
    let refused = pair.answer(n, async move { core.receive_letter(&from, &bytes, &*link).await });
    assert_eq!(refused.map_err(|fault| fault.reason), Err("NOT_ALLOWED"));
    let audit = &pair.up(n).core.audit;
    let told = (0..audit.size()).any(|seq| audit.read(seq, 1).unwrap().iter().any(|e| e.rule == "letter-refused"));
    assert!(told, "it is evidence at node {n}");
}

/// Another letter under the number of one that the first has is refused at the second, too, and told there. Copies of the first
/// letter are receipted as before.
#[test]
fn a_second_letter_of_one_notice_is_refused_at_both_nodes() {
    let mut pair = Pair::new();
    let (police, first, second) = (pair.police, pair.first, pair.second);
    let notice = pair.send(police, "customs");
    pair.until_step(police, notice, ReceiptState::Delivered);
    assert!(pair.has(first, &notice) && !pair.has(second, &notice));
    let other = second_letter(&pair, &notice);
    for n in [first, second] {
        is_refused(&mut pair, n, &other);
    }
    assert!(!pair.has(second, &notice));
    pair.late_copy(police, second, &notice);
    assert!(!pair.has(second, &notice), "it is handed to its home");
}

/// The second has the notice, since the first was away: it hands another letter of it to no node that would take it in.
#[test]
fn a_second_letter_is_not_handed_to_a_node_that_has_neither() {
    let mut pair = Pair::new();
    let (first, second) = (pair.first, pair.second);
    let notice = pair.taken_in_by_the_second(Grade::Internal);
    let other = second_letter(&pair, &notice);
    for n in [second, first] {
        is_refused(&mut pair, n, &other);
        assert!(!pair.has(first, &notice), "after it came to {n}");
    }
}
