//! Revocation lists: what is a list, which one is in force, and what handshakes make of it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use super::handshake_tests::{
    NOW, World, agency, client, dial, listen, node, nodes_tls, person, police_node, refused, shake, verifier, world,
};
use super::*;
use crate::domain::time::{At, Millis};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, Error};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_stream::StreamExt;

const DAY_MS: u64 = 86_400_000;

fn serial(of: &Credentials) -> String {
    certificate_facts_der(of.leaf()).unwrap().serial
}

fn made(ca: &Authority, last: Option<&RevocationList>, serials: &[String], at: Millis, days: u32) -> RevocationList {
    let pem = ca.revoke(last, serials, at, days).unwrap();
    RevocationList::from_pem(&pem, ca.certificate_der()).unwrap()
}

fn put(w: &World, ca: &Authority, list: RevocationList) -> Result<bool, IdentityError> {
    w.roots.set_list(ca.agency(), list)
}

fn police(w: &World, shown: &Credentials) -> ServerTls {
    let verifier = verifier(&w.roots, Expected::AnyNode);
    ServerTls::new(Exchange::PostQuantumOnly, shown, verifier, Arc::new(At(NOW))).unwrap()
}

#[test]
fn a_list_says_what_was_asked_and_keeps_what_the_one_before_said() {
    let w = world();
    let (a, b) = (serial(&node(&w.customs)), serial(&node(&w.customs)));
    let first = made(&w.customs, None, std::slice::from_ref(&a), NOW, 7);
    assert_eq!((first.number().as_str(), first.this_update()), ("1", NOW));
    assert_eq!(first.next_update(), NOW.plus_ms(7 * DAY_MS));
    let later = NOW.plus_ms(DAY_MS);
    let second = made(&w.customs, Some(&first), &[b.to_uppercase()], later, 7);
    assert_eq!((second.number().as_str(), second.revoked().len()), ("2", 2));
    assert_eq!((second.revoked().get(&a), second.revoked().get(&b)), (Some(&NOW), Some(&later)));
    // A clock that went back makes no list that nobody takes.
    let third = made(&w.customs, Some(&second), &[], NOW, 7);
    assert!(third.follows(&second).unwrap());
    assert!(w.customs.revoke(None, &["no hex".into()], NOW, 7).is_err());
    assert!(w.customs.revoke(None, &[], NOW, 0).is_err(), "over before it begins");
}

#[test]
fn what_is_no_list_of_this_authority_is_refused() {
    let w = world();
    let list = made(&w.customs, None, &["4a01".into()], NOW, 7);
    let root = w.customs.certificate_der();
    assert_eq!(RevocationList::from_der(list.der(), root).unwrap(), list);
    assert!(RevocationList::from_der(list.der(), w.police.certificate_der()).is_err());
    // The same name, another key.
    let twin = Authority::create(&agency("customs"), w.customs.federation(), "customs", NOW, false).unwrap();
    assert!(RevocationList::from_der(list.der(), twin.certificate_der()).is_err());
    for n in 0..list.der().len() {
        assert!(RevocationList::from_der(&list.der()[..n], root).is_err(), "cut at {n}");
        let mut changed = list.der().to_vec();
        changed[n] ^= 1;
        if let Ok(read) = RevocationList::from_der(&changed, root) {
            assert_eq!((read.number(), read.revoked()), (list.number(), list.revoked()), "changed at {n}");
        }
    }
    assert!(RevocationList::from_der(&[list.der(), &[0]].concat(), root).is_err());
    let pem = w.customs.revoke(None, &[], NOW, 7).unwrap();
    assert!(RevocationList::from_pem(&format!("{pem}{pem}"), root).is_err(), "two lists");
    assert!(RevocationList::from_pem(w.customs.certificate_pem(), root).is_err(), "a certificate");
}

#[test]
fn a_list_never_goes_back() {
    let w = world();
    let bad = serial(&node(&w.customs));
    let first = made(&w.customs, None, &[], NOW, 7);
    let second = made(&w.customs, Some(&first), std::slice::from_ref(&bad), NOW, 7);
    assert!(put(&w, &w.customs, second.clone()).unwrap());
    assert!(!put(&w, &w.customs, second.clone()).unwrap(), "the same again is no change");
    let other = made(&w.customs, Some(&first), &[], NOW, 8);
    // A higher number and an earlier date.
    let before = Millis(NOW.0 - DAY_MS);
    let old =
        (0..3).fold(None::<RevocationList>, |last, _| Some(made(&w.customs, last.as_ref(), &[], before, 30))).unwrap();
    assert_eq!(old.number(), "3");
    for older in [first, other, old] {
        assert!(put(&w, &w.customs, older).is_err());
        assert_eq!(w.roots.check(&agency("customs"), &bad, NOW), Err(Distrust::Revoked));
    }
    // Nor by a root that goes and comes back.
    w.roots.remove(&agency("customs"));
    assert_eq!(w.roots.check(&agency("customs"), "4a01", NOW), Err(Distrust::NoRoot));
    w.roots.set(agency("customs"), w.customs.certificate_der()).unwrap();
    assert_eq!(w.roots.check(&agency("customs"), &bad, NOW), Err(Distrust::Revoked));
    assert_eq!(w.roots.check(&agency("customs"), "4a01", NOW), Ok(()));
}

/// What another node of the agency was shown counts here as in a handshake.
#[test]
fn a_certificate_that_was_shown_elsewhere_is_held_against_the_list_here() {
    let w = world();
    let people = verifier(&w.roots, Expected::PeopleOf(agency("customs")));
    let key = |of: &Credentials| certificate_facts_der(of.leaf()).unwrap().public_key;
    let taken = |of: &Credentials, name: &str, at: Millis| people.check_person(of.leaf(), (name, &key(of)), at);
    let (wang, li) = (person(&w.customs, "wang"), person(&w.customs, "li"));
    taken(&wang, "wang", NOW).unwrap();
    taken(&wang, "li", NOW).unwrap_err();
    people.check_person(wang.leaf(), ("wang", &key(&li)), NOW).unwrap_err();
    people.check_person(&[], ("wang", &key(&wang)), NOW).unwrap_err();
    taken(&person(&w.police, "wang"), "wang", NOW).unwrap_err();
    taken(&node(&w.customs), "1", NOW).unwrap_err();
    taken(&wang, "wang", NOW.plus_ms(31 * DAY_MS)).unwrap_err();

    put(&w, &w.customs, made(&w.customs, None, &[serial(&wang)], NOW, 7)).unwrap();
    let revoked = taken(&wang, "wang", NOW).unwrap_err();
    assert!(matches!(revoked, IdentityError::Tls(Error::InvalidCertificate(CertificateError::Revoked))), "{revoked}");
    taken(&li, "li", NOW).unwrap();
    taken(&li, "li", NOW.plus_ms(7 * DAY_MS)).unwrap_err();
}

/// What was revoked under one authority stays so, whichever of two signs the next list.
#[test]
fn a_list_of_the_next_authority_holds_what_was_revoked_under_the_one_before() {
    let w = world();
    let next = Authority::create(&agency("customs"), w.customs.federation(), "customs", NOW, false).unwrap();
    let (bad, other) = (serial(&node(&w.customs)), serial(&node(&next)));
    put(&w, &w.customs, made(&w.customs, None, std::slice::from_ref(&bad), NOW, 7)).unwrap();
    w.roots.set_all(agency("customs"), [w.customs.certificate_der(), next.certificate_der()]).unwrap();
    let check = |serial: &str| w.roots.check(&agency("customs"), serial, NOW);
    assert_eq!((check(&bad), check(&other)), (Err(Distrust::Revoked), Ok(())));
    let lacks = made(&next, None, std::slice::from_ref(&other), NOW, 7);
    assert!(put(&w, &next, lacks).is_err());
    assert_eq!((check(&bad), check(&other)), (Err(Distrust::Revoked), Ok(())));
    let whole = made(&next, None, &[bad.clone(), other.clone()], NOW, 7);
    assert!(put(&w, &next, whole).unwrap(), "it counts its lists anew");
    assert_eq!((check(&bad), check(&other)), (Err(Distrust::Revoked), Err(Distrust::Revoked)));
    // Under the root that did not sign it, rustls has no list to ask.
    let verifier = verifier(&w.roots, Expected::AnyNode);
    verifier.check(&node(&w.customs), NOW).unwrap();
    verifier.check(&node(&next), NOW).unwrap();
}

#[tokio::test]
async fn both_ends_refuse_a_revoked_certificate_and_no_other() {
    let w = world();
    let (shown, good, bad) = (node(&w.police), node(&w.customs), node(&w.customs));
    let server = police(&w, &shown);
    shake(&server, client(&w, &bad, police_node())).await.0.unwrap();
    put(&w, &w.customs, made(&w.customs, None, &[serial(&bad)], NOW, 7)).unwrap();
    let why = refused(&server, client(&w, &bad, police_node())).await;
    assert!(why.contains("Revoked"), "{why}");
    shake(&server, client(&w, &good, police_node())).await.0.unwrap();

    put(&w, &w.police, made(&w.police, None, &[serial(&shown)], NOW, 7)).unwrap();
    let said = shake(&server, client(&w, &good, police_node())).await.1.unwrap_err();
    assert!(said.contains("Revoked"), "{said}");
    let renewed = police(&w, &node(&w.police));
    shake(&renewed, client(&w, &good, police_node())).await.1.unwrap();
}

/// The list is asked twice, here and by rustls: what one of them overlooked would still be refused.
#[test]
fn the_check_of_the_chain_knows_the_list_too() {
    let w = world();
    let bad = node(&w.customs);
    put(&w, &w.customs, made(&w.customs, None, &[serial(&bad)], NOW, 7)).unwrap();
    let root = w.roots.vouching(&agency("customs"), "4a01", NOW).unwrap().remove(0);
    let leaf = CertificateDer::from(bad.leaf());
    let at = |ms: u64| UnixTime::since_unix_epoch(Duration::from_millis(ms));
    let asked = root.chain.verify_client_cert(&leaf, &[], at(NOW.0));
    assert!(matches!(asked, Err(Error::InvalidCertificate(CertificateError::Revoked))), "{asked:?}");
    let good = node(&w.customs);
    let leaf = CertificateDer::from(good.leaf());
    root.chain.verify_client_cert(&leaf, &[], at(NOW.0)).unwrap();
    root.chain.verify_client_cert(&leaf, &[], at(NOW.0 + 8 * DAY_MS)).unwrap_err();
}

#[tokio::test]
async fn without_a_list_that_is_required_nobody_of_the_agency_is_taken() {
    let w = world();
    let (server, good) = (nodes_tls(&w), node(&w.customs));
    w.roots.require_list(&agency("customs"));
    assert_eq!(w.roots.check(&agency("customs"), &serial(&good), NOW), Err(Distrust::NoList));
    let why = refused(&server, client(&w, &good, police_node())).await;
    assert!(why.contains("UnknownRevocationStatus"), "{why}");

    // One that is over is in force, and nobody is taken; until the next one.
    let over = made(&w.customs, None, &[], Millis(NOW.0 - 9 * DAY_MS), 7);
    let since = over.next_update();
    put(&w, &w.customs, over.clone()).unwrap();
    assert_eq!(w.roots.check(&agency("customs"), &serial(&good), NOW), Err(Distrust::ListExpired { since }));
    assert_eq!(w.roots.check(&agency("customs"), &serial(&good), Millis(since.0 - 1)), Ok(()));
    refused(&server, client(&w, &good, police_node())).await;
    put(&w, &w.customs, made(&w.customs, Some(&over), &[], NOW, 7)).unwrap();
    shake(&server, client(&w, &good, police_node())).await.0.unwrap();

    w.roots.require_list(&agency("customs"));
    assert_eq!(w.roots.check(&agency("customs"), &serial(&good), NOW), Ok(()), "it has one");
    w.roots.drop_list(&agency("customs")).unwrap();
    assert!(w.roots.list_of(&agency("customs")).is_none());
    shake(&server, client(&w, &good, police_node())).await.0.unwrap();
}

#[tokio::test]
async fn a_listener_shows_a_new_certificate_and_open_connections_stay() {
    let w = world();
    let (old, new) = (node(&w.police), node(&w.police));
    let tls = police(&w, &old);
    let limits = Limits { connections: 8, per_address: 8, handshake_ms: 5_000 };
    let address = (std::net::Ipv4Addr::LOCALHOST, 0).into();
    let mut acceptor = Acceptor::bind(address, tls.clone(), limits).await.unwrap();
    let customs = client(&w, &node(&w.customs), police_node());
    let mut near = dial(&acceptor, Arc::clone(&customs)).await.unwrap();
    let mut far = acceptor.next().await.unwrap().unwrap();

    tls.showing(&new).unwrap().put_in_force();
    let again = dial(&acceptor, customs).await.unwrap();
    acceptor.next().await.unwrap().unwrap();
    let seen = |io: &tokio_rustls::client::TlsStream<tokio::net::TcpStream>| {
        io.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    assert_eq!((seen(&near), seen(&again)), (old.leaf().to_vec(), new.leaf().to_vec()));
    near.write_all(b"ping").await.unwrap();
    let mut four = [0u8; 4];
    far.read_exact(&mut four).await.unwrap();
    assert_eq!(&four, b"ping");
}

#[tokio::test]
async fn a_revocation_names_the_open_connections_to_cut() {
    let w = world();
    let mut acceptor = listen(&w, Limits { connections: 8, per_address: 8, handshake_ms: 5_000 }).await;
    let (good, bad) = (node(&w.customs), node(&w.customs));
    let mut open = Vec::new();
    for shown in [&good, &bad] {
        let near = dial(&acceptor, client(&w, shown, police_node())).await.unwrap();
        open.push((near, acceptor.next().await.unwrap().unwrap()));
    }
    put(&w, &w.customs, made(&w.customs, None, &[serial(&bad)], NOW, 7)).unwrap();
    for (place, peer) in acceptor.live().peers() {
        if w.roots.check(peer.agency(), peer.serial(), NOW).is_err() {
            assert!(acceptor.live().cut(place));
        }
    }
    assert!(open[1].1.read_u8().await.is_err());
    open[0].0.write_all(b"x").await.unwrap();
    assert_eq!(open[0].1.read_u8().await.unwrap(), b'x');
}

#[test]
fn credentials_that_others_would_refuse_are_known_before_they_are_shown() {
    let w = world();
    let own = verifier(&w.roots, police_node());
    let good = node(&w.police);
    own.check(&good, NOW).unwrap();
    assert!(own.check(&node(&w.customs), NOW).is_err(), "another name");
    assert!(own.check(&good, NOW.plus_ms(31 * DAY_MS)).is_err(), "over");
    put(&w, &w.police, made(&w.police, None, &[serial(&good)], NOW, 7)).unwrap();
    assert!(own.check(&good, NOW).is_err(), "revoked");
    own.check(&node(&w.police), NOW).unwrap();
}
