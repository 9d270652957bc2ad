//! A person's certificate that one node of their agency knows to be revoked, and the other does not yet.

use super::fixture::{Pair, reason};
use super::node::PERSON;
use super::world::World;
use crate::audit::{Decision, Object};
use crate::domain::notice::ReceiptState;
use crate::domain::time::Millis;
use crate::service::{Certificates, Vouched};
use crate::wire::pb::v1;
use crate::wire::pb::v1::notices_server::Notices as _;
use std::collections::BTreeSet;
use std::sync::Mutex;

/// A node's revocation list, over the certificates that peers without a connection have: name and serial.
#[derive(Default)]
pub(super) struct Revoked(Mutex<BTreeSet<Vec<u8>>>);

impl Revoked {
    fn add(&self, certificate: &[u8]) {
        self.0.lock().unwrap().insert(certificate.to_vec());
    }
}

impl Certificates for Revoked {
    fn taken(&self, certificate: &[u8], (name, _): (&str, &[u8; 32]), _: Millis) -> Result<(), String> {
        if self.0.lock().unwrap().contains(certificate) {
            return Err("it is revoked".to_owned());
        }
        let of_theirs = String::from_utf8_lossy(certificate).contains(&format!("/person/{name} "));
        if of_theirs { Ok(()) } else { Err("it is another one's, or none".to_owned()) }
    }
}

/// Whoever is revoked at the home alone is served there by no other node: they see and say nothing, their refusal is that of
/// somebody unknown, and it is an event. What the other node has itself it serves until its own list says so.
#[test]
fn a_certificate_that_the_home_knows_to_be_revoked_is_served_there_through_no_other_node() {
    let mut pair = Pair::new();
    let (police, first, second) = (pair.police, pair.first, pair.second);
    let notice = pair.send(police, "customs");
    pair.until_step(police, notice, ReceiptState::Delivered);
    assert!(pair.has(first, &notice) && !pair.has(second, &notice));
    let listed = |pair: &mut Pair| {
        let reader = pair.reader(second);
        pair.answer(second, async move { reader.inbox().await }).unwrap()
    };
    let before = listed(&mut pair);
    assert!(before.away.is_empty() && before.notices.iter().any(|n| n.notice == notice.to_string()), "{before:?}");

    let state = |pair: &Pair| pair.up(first).core.office.read(|b| b.received_of(&notice).map(|(_, i)| i.state()));
    let (seen, peer) = (state(&pair), pair.world.sites[second].member.peer());
    pair.up(first).revoked.add(peer.certificate());
    let after = listed(&mut pair);
    assert_eq!(after.away, [format!("customs/{}", pair.world.sites[first].member.local)]);
    assert!(after.notices.iter().all(|n| n.notice != notice.to_string()), "{after:?}");
    let reader = pair.reader(second);
    let ask = reader.request(v1::NoticeRequest { notice: notice.to_string() });
    let shown = pair.answer(second, async move { reader.people.show(ask).await });
    assert_eq!(reason(shown), "NODE_UNREACHABLE", "as of somebody whom the home does not know");
    let reader = pair.reader(second);
    let said = pair.answer(second, async move { reader.acknowledges(&notice.to_string()).await });
    assert!(said.is_err());
    assert_eq!(state(&pair), seen, "nothing was presented or acknowledged");

    let told = |w: &World| {
        let audit = &w.sites[first].up().unwrap().core.audit;
        let of_them =
            |object: &Object| matches!(object, Object::Text(text) if text.ends_with(&format!(": person/{PERSON}")));
        (0..audit.size()).any(|seq| {
            let events = audit.read(seq, 1).unwrap();
            events.iter().any(|e| e.rule == "person-certificate" && e.decision == Decision::Deny && of_them(&e.object))
        })
    };
    pair.world.until("an event of the refusal", told).unwrap();
}

/// Neither without a certificate, as a node of before would ask, nor with another one's; each is refused as somebody unknown is.
/// Whoever was let in is asked again while their call goes on.
#[test]
fn another_nodes_word_alone_lets_nobody_in() {
    let pair = Pair::new();
    let (core, revoked) = (&pair.up(pair.first).core, &pair.up(pair.first).revoked);
    let (peer, key) = (pair.world.sites[pair.second].member.peer(), pair.person(pair.first).public_key);
    let good = Vouched { name: PERSON, public_key: &key, certificate: peer.certificate(), via: "2" };
    let caller = core.caller_elsewhere(good).ok().unwrap();
    assert!(core.caller_now(&caller).is_ok());
    let refused =
        |vouched: Vouched<'_>| core.caller_elsewhere(vouched).err().map(|(rule, fault)| (rule, fault.message));
    let unknown = refused(Vouched { name: "nobody", ..good }).unwrap();
    assert_eq!(unknown.0, "unknown-person");
    let none = refused(Vouched { certificate: &[], ..good }).unwrap();
    let others = refused(Vouched { certificate: b"spiffe://customs.test/person/wang 3", ..good }).unwrap();
    revoked.add(peer.certificate());
    for (rule, message) in [none, others, refused(good).unwrap()] {
        assert_eq!((rule, &message), ("person-certificate", &unknown.1));
    }
    assert!(core.caller_now(&caller).is_err());
}
