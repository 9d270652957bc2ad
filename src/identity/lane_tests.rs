//! One listener for several protocols: what uses up the connections of one leaves the others served.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use super::handshake_tests::{NOW, World, agency, client_of, dial, node, police_node, verifier, world};
use super::*;
use crate::domain::notice::Precedence::{Flash, Routine};
use crate::domain::time::At;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_stream::StreamExt;

const FLASH: Protocol = Protocol::Letters(Flash);
const ROUTINE: Protocol = Protocol::Letters(Routine);

/// The acceptors of police: flash, then routine.
async fn listen(w: &World, limits: Limits, each: LaneLimits) -> (Acceptor, Acceptor) {
    let verifier = verifier(&w.roots, Expected::AnyNode);
    let protocols = vec![FLASH, ROUTINE];
    let exchange = Exchange::PostQuantumOnly;
    let tls = ServerTls::speaking(protocols, exchange, &node(&w.police), verifier, Arc::new(At(NOW))).unwrap();
    let lanes = [(FLASH, each), (ROUTINE, each)];
    let mut all = Acceptor::bind_lanes((Ipv4Addr::LOCALHOST, 0).into(), tls, limits, &lanes).await.unwrap();
    let routine = all.pop().unwrap();
    (all.pop().unwrap(), routine)
}

fn limits(connections: usize) -> Limits {
    Limits { connections, per_address: connections, handshake_ms: 5_000 }
}

/// A connection of an agency's node; an error also when the server hung up after the client's part was done.
async fn open(w: &World, to: &Acceptor, ca: &Authority, of: Protocol) -> std::io::Result<TlsStream<TcpStream>> {
    dial(to, client_of(w, &node(ca), police_node(), of)).await
}

/// Whether both ends hear each other.
async fn works(near: &mut TlsStream<TcpStream>, far: &mut PeerStream) -> bool {
    let mut four = [0u8; 4];
    near.write_all(b"ping").await.is_ok() && far.read_exact(&mut four).await.is_ok() && &four == b"ping"
}

#[tokio::test]
async fn a_flood_of_routine_connections_leaves_flash_served() {
    let w = world();
    let (mut flash, mut routine) = listen(&w, limits(8), LaneLimits { connections: 3, per_agency: 2 }).await;
    let mut first = open(&w, &routine, &w.customs, ROUTINE).await.unwrap();
    let mut taken = vec![routine.next().await.unwrap().unwrap()];
    assert!(works(&mut first, &mut taken[0]).await);
    let mut near = Vec::new();
    for _ in 0..4 {
        near.push(open(&w, &routine, &w.customs, ROUTINE).await.unwrap());
        taken.push(routine.next().await.unwrap().unwrap());
        assert!(routine.live().open() <= 2);
    }
    // The newest of an agency are open, its oldest were cut.
    let cut = taken[0].read_u8().await.unwrap_err();
    assert_eq!(cut.kind(), ErrorKind::ConnectionAborted);
    assert!(works(&mut near[3], &mut taken[4]).await);

    // Another agency has a place; when all are taken it is not at the cost of somebody else.
    near.push(open(&w, &routine, &w.police, ROUTINE).await.unwrap());
    taken.push(routine.next().await.unwrap().unwrap());
    assert_eq!(routine.live().open(), 3);
    let mut late = open(&w, &routine, &w.police, ROUTINE).await.unwrap();
    let mut rest = Vec::new();
    assert!(late.read_to_end(&mut rest).await.is_err() || rest.is_empty(), "the server hung up");
    assert_eq!(routine.live().open(), 3);

    let mut urgent = open(&w, &flash, &w.customs, FLASH).await.unwrap();
    let mut far = flash.next().await.unwrap().unwrap();
    assert_eq!((far.peer().protocol(), far.peer().agency()), (FLASH, &agency("customs")));
    assert!(works(&mut urgent, &mut far).await);
}

#[tokio::test]
async fn whoever_speaks_another_protocol_is_refused() {
    let w = world();
    let each = LaneLimits { connections: 8, per_agency: 8 };
    let (flash, _routine) = listen(&w, limits(8), each).await;
    for of in [Protocol::Calls, Protocol::Letters(crate::domain::notice::Precedence::Priority)] {
        assert!(open(&w, &flash, &w.customs, of).await.is_err(), "{of:?}");
    }
    // A listener for calls takes no letters.
    let verifier = verifier(&w.roots, Expected::AnyNode);
    let exchange = Exchange::PostQuantumOnly;
    let tls = ServerTls::new(exchange, &node(&w.police), verifier, Arc::new(At(NOW))).unwrap();
    let calls = Acceptor::bind((Ipv4Addr::LOCALHOST, 0).into(), tls, limits(8)).await.unwrap();
    assert!(open(&w, &calls, &w.customs, FLASH).await.is_err());
    open(&w, &calls, &w.customs, Protocol::Calls).await.unwrap();
}

/// A place among the handshakes is free again when the handshake is over, whether or not anybody takes the connection.
#[tokio::test]
async fn what_nobody_takes_stands_in_nobody_elses_way() {
    let w = world();
    let each = LaneLimits { connections: 64, per_agency: 64 };
    let (mut flash, routine) = listen(&w, limits(1), each).await;
    let mut near = Vec::new();
    // More than wait between the listener and a server.
    while near.len() < 20 {
        // The place of the one before may be given back a moment after its client knows.
        near.extend(open(&w, &routine, &w.customs, ROUTINE).await);
    }
    let mut urgent = loop {
        if let Ok(open) = open(&w, &flash, &w.customs, FLASH).await {
            break open;
        }
    };
    let mut far = flash.next().await.unwrap().unwrap();
    assert!(works(&mut urgent, &mut far).await);
}
