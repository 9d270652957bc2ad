//! Whole handshakes: who is let in, who is not, and with which key exchange.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use super::*;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{AgencyId, FederationId};
use crate::domain::time::{At, Entropy, Millis};
use crate::seal::SigningKey;
use rcgen::{ExtendedKeyUsagePurpose, KeyPair, PKCS_ED25519};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use rustls::{ClientConfig, DigitallySignedStruct, NamedGroup, ProtocolVersion, SignatureScheme};
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_stream::StreamExt;

pub(super) const NOW: Millis = Millis(1_772_323_200_000);
const DAYS: u32 = 30;
const BOTH: [ExtendedKeyUsagePurpose; 2] = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];

struct Count(u8);
impl Entropy for Count {
    fn fill(&mut self, out: &mut [u8]) {
        for b in out {
            self.0 = self.0.wrapping_add(1);
            *b = self.0;
        }
    }
}

pub(super) fn agency(name: &str) -> AgencyId {
    name.parse().unwrap()
}

fn federation() -> FederationId {
    "hufu".parse().unwrap()
}

/// Two agencies and the roots that both trust.
pub(super) struct World {
    pub(super) customs: Authority,
    pub(super) police: Authority,
    pub(super) roots: TrustRoots,
}

pub(super) fn world() -> World {
    let make = |name: &str| Authority::create(&agency(name), &federation(), name, NOW, false).unwrap();
    let (customs, police) = (make("customs"), make("police"));
    let roots = TrustRoots::new();
    roots.set(agency("customs"), customs.certificate_der()).unwrap();
    roots.set(agency("police"), police.certificate_der()).unwrap();
    World { customs, police, roots }
}

fn key() -> String {
    KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_pem()
}

pub(super) fn node(ca: &Authority) -> Credentials {
    let key = key();
    Credentials::from_pem(&ca.issue_node("1", &key, NOW, DAYS).unwrap(), &key).unwrap()
}

pub(super) fn person(ca: &Authority, name: &str) -> Credentials {
    let (csr, key) = person_request(name, ca.agency(), ca.federation()).unwrap();
    Credentials::from_pem(&ca.issue_person(&csr, name, NOW, DAYS).unwrap(), &key).unwrap()
}

/// A certificate that claims `uris`, made by whoever has `ca`'s key; as (chain, key) in PEM.
fn forged(ca: &Authority, uris: &[&str]) -> (String, String) {
    let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    (ca.sign(&pair, uris, "forged", &BOTH, NOW, DAYS).unwrap(), pair.serialize_pem())
}

pub(super) fn verifier(roots: &TrustRoots, expected: Expected) -> AgencyVerifier {
    AgencyVerifier::new(federation(), roots.clone(), expected)
}

pub(super) fn police_node() -> Expected {
    Expected::Node { agency: agency("police"), id: "1".into() }
}

pub(super) fn nodes_tls(w: &World) -> ServerTls {
    ServerTls::new(
        Exchange::PostQuantumOnly,
        &node(&w.police),
        verifier(&w.roots, Expected::AnyNode),
        Arc::new(At(NOW)),
    )
    .unwrap()
}

pub(super) fn client(w: &World, credentials: &Credentials, expected: Expected) -> Arc<ClientConfig> {
    client_of(w, credentials, expected, Protocol::Calls)
}

pub(super) fn client_of(w: &World, credentials: &Credentials, expected: Expected, of: Protocol) -> Arc<ClientConfig> {
    let verifier = Arc::new(verifier(&w.roots, expected));
    client_config(Exchange::PostQuantumOnly, of, credentials, verifier, Arc::new(At(NOW))).unwrap()
}

/// A client that shows a chain our own [`Credentials`] might not read, offers these key exchanges, and takes any
/// server, so that only the server's decision is under test.
fn rough_client(chain: &str, key: &str, kx_groups: &[&'static dyn SupportedKxGroup]) -> Arc<ClientConfig> {
    let provider = CryptoProvider { kx_groups: kx_groups.to_vec(), ..default_provider() };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

type Seen = (VerifiedPeer, Option<ProtocolVersion>, Option<NamedGroup>);

/// Both ends in memory: what the server saw or refused, and what the client said.
pub(super) async fn shake(
    server: &ServerTls,
    client: Arc<ClientConfig>,
) -> (Result<Seen, IdentityError>, Result<(), String>) {
    let (a, b) = tokio::io::duplex(64 << 10);
    let unnamed = ServerName::from(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let serving = async {
        let io = TlsAcceptor::from(server.current()).accept(a).await.map_err(accept::of_handshake)?;
        let session = io.get_ref().1;
        let group = session.negotiated_key_exchange_group().map(|g| g.name());
        Ok::<Seen, IdentityError>((VerifiedPeer::of(session)?, session.protocol_version(), group))
    };
    let dialing = async {
        let mut io = TlsConnector::from(client).connect(unnamed, b).await.map_err(|e| e.to_string())?;
        // In TLS 1.3 a client hears of its refusal only when it reads.
        io.flush().await.map_err(|e| e.to_string())
    };
    tokio::join!(serving, dialing)
}

pub(super) async fn refused(server: &ServerTls, client: Arc<ClientConfig>) -> String {
    shake(server, client).await.0.unwrap_err().to_string()
}

#[tokio::test]
async fn a_node_of_another_agency_is_let_in_over_tls_1_3_and_a_hybrid_exchange() {
    let w = world();
    let (seen, said) = shake(&nodes_tls(&w), client(&w, &node(&w.customs), police_node())).await;
    let (peer, version, group) = seen.unwrap();
    said.unwrap();
    assert_eq!(peer.name().to_string(), "spiffe://customs.hufu/node/1");
    assert_eq!(version, Some(ProtocolVersion::TLSv1_3));
    assert_eq!(group, Some(NamedGroup::X25519MLKEM768));
}

#[tokio::test]
async fn one_agencys_authority_cannot_mint_anothers_name() {
    let w = world();
    let (chain, key) = forged(&w.police, &["spiffe://customs.hufu/node/1"]);
    let forger = Credentials::from_pem(&chain, &key).unwrap();
    refused(&nodes_tls(&w), client(&w, &forger, police_node())).await;
    // The same subject and trust domain, another key.
    let twin = Authority::create(&agency("customs"), &federation(), "customs", NOW, false).unwrap();
    refused(&nodes_tls(&w), client(&w, &node(&twin), police_node())).await;
    // And a server that claims to be the police node with the customs authority's signature.
    let (chain, key) = forged(&w.customs, &["spiffe://police.hufu/node/1"]);
    let server = ServerTls::new(
        Exchange::PostQuantumOnly,
        &Credentials::from_pem(&chain, &key).unwrap(),
        verifier(&w.roots, Expected::AnyNode),
        Arc::new(At(NOW)),
    )
    .unwrap();
    assert!(shake(&server, client(&w, &node(&w.customs), police_node())).await.1.is_err());
}

#[tokio::test]
async fn two_names_in_one_certificate_are_refused() {
    let w = world();
    let good = "spiffe://customs.hufu/node/1";
    let (chain, key) = forged(&w.customs, &[good]);
    shake(&nodes_tls(&w), rough_client(&chain, &key, &[kx_group::X25519MLKEM768])).await.0.unwrap();
    for uris in [&[good, "spiffe://customs.hufu/node/2"][..], &[good, good][..], &[]] {
        let (chain, key) = forged(&w.customs, uris);
        assert!(Credentials::from_pem(&chain, &key).is_err());
        let why = refused(&nodes_tls(&w), rough_client(&chain, &key, &[kx_group::X25519MLKEM768])).await;
        assert!(why.contains("exactly one"), "{why}");
    }
}

#[tokio::test]
async fn each_listener_takes_its_own_kind_only() {
    let w = world();
    let wang = person(&w.police, "wang");
    refused(&nodes_tls(&w), client(&w, &wang, police_node())).await;
    let people = ServerTls::new(
        Exchange::PreferPostQuantum,
        &node(&w.police),
        verifier(&w.roots, Expected::PeopleOf(agency("police"))),
        Arc::new(At(NOW)),
    )
    .unwrap();
    let own = Expected::NodeOf(agency("police"));
    let seen = shake(&people, client(&w, &wang, own.clone())).await.0.unwrap();
    assert_eq!(seen.0.name().subject(), &Subject::Person("wang".into()));
    refused(&people, client(&w, &node(&w.police), own.clone())).await;
    refused(&people, client(&w, &person(&w.customs, "wang"), own)).await;
}

#[tokio::test]
async fn a_dialer_takes_exactly_the_node_it_dialed() {
    let w = world();
    let other = Expected::Node { agency: agency("police"), id: "2".into() };
    assert!(shake(&nodes_tls(&w), client(&w, &node(&w.customs), other)).await.1.is_err());
}

#[tokio::test]
async fn a_classical_client_is_refused_between_nodes() {
    let w = world();
    let key = key();
    let chain = w.customs.issue_node("1", &key, NOW, DAYS).unwrap();
    refused(&nodes_tls(&w), rough_client(&chain, &key, &[kx_group::X25519])).await;
    refused(&nodes_tls(&w), rough_client(&chain, &key, &[kx_group::SECP256R1])).await;
    // The same client with the hybrid among its offers is let in, so it is the exchange that was refused.
    let both = [kx_group::X25519, kx_group::X25519MLKEM768];
    shake(&nodes_tls(&w), rough_client(&chain, &key, &both)).await.0.unwrap();
}

#[tokio::test]
async fn a_removed_root_is_refused_at_the_next_handshake() {
    let w = world();
    let (server, credentials) = (nodes_tls(&w), node(&w.customs));
    shake(&server, client(&w, &credentials, police_node())).await.0.unwrap();
    w.roots.remove(&agency("customs"));
    refused(&server, client(&w, &credentials, police_node())).await;
}

/// An agency exchanges its authority: nobody is refused while it has both, and then whoever has a certificate of the old one.
#[tokio::test]
async fn either_of_two_roots_vouches_and_one_that_was_taken_back_does_not() {
    let w = world();
    let next = Authority::create(&agency("customs"), &federation(), "customs", NOW, false).unwrap();
    let (server, old, new) = (nodes_tls(&w), node(&w.customs), node(&next));
    refused(&server, client(&w, &new, police_node())).await;
    let set =
        |of: &[&Authority]| w.roots.set_all(of[0].agency().clone(), of.iter().map(|a| a.certificate_der())).unwrap();
    set(&[&w.customs, &next]);
    let mut peers = Vec::new();
    for shown in [&old, &new, &old] {
        peers.push(shake(&server, client(&w, shown, police_node())).await.0.unwrap().0);
    }
    let asked = |peers: &[VerifiedPeer]| peers.iter().map(|p| w.roots.check_peer(p, NOW)).collect::<Vec<_>>();
    // The last one is asked about for the first time when its root is gone.
    assert_eq!(asked(&peers[..2]), [Ok(()), Ok(())]);
    set(&[&next]);
    assert_eq!(asked(&peers), [Err(Distrust::OtherRoot), Ok(()), Err(Distrust::OtherRoot)]);
    refused(&server, client(&w, &old, police_node())).await;
    shake(&server, client(&w, &new, police_node())).await.0.unwrap();
    // So it is at the other end.
    let theirs = Authority::create(&agency("police"), &federation(), "police", NOW, false).unwrap();
    let verifier = verifier(&w.roots, Expected::AnyNode);
    let moved = ServerTls::new(Exchange::PostQuantumOnly, &node(&theirs), verifier, Arc::new(At(NOW))).unwrap();
    assert!(shake(&moved, client(&w, &new, police_node())).await.1.is_err());
    set(&[&w.police, &theirs]);
    shake(&moved, client(&w, &new, police_node())).await.1.unwrap();
    shake(&server, client(&w, &new, police_node())).await.1.unwrap();
}

/// Its certificate is as good as it was, and nobody revoked it.
#[tokio::test]
async fn a_removed_node_is_refused_at_both_ends_and_its_connection_is_named() {
    let w = world();
    let mut acceptor = listen(&w, Limits { connections: 8, per_address: 8, handshake_ms: 5_000 }).await;
    let (server, first) = (nodes_tls(&w), node(&w.customs));
    let _near = dial(&acceptor, client(&w, &first, police_node())).await.unwrap();
    let far = acceptor.next().await.unwrap().unwrap();
    w.roots.remove_node(&agency("customs"), "1");
    assert_eq!(w.roots.check_peer(far.peer(), NOW), Err(Distrust::Removed));
    let why = refused(&server, client(&w, &first, police_node())).await;
    assert!(why.contains("ApplicationVerificationFailure"), "{why}");
    // Another node of its agency, and its people, are let in as before.
    let key = key();
    let second = Credentials::from_pem(&w.customs.issue_node("2", &key, NOW, DAYS).unwrap(), &key).unwrap();
    shake(&server, client(&w, &second, police_node())).await.0.unwrap();
    // A stranger who claims its name hears only that nobody vouches for it.
    let twin = Authority::create(&agency("customs"), &federation(), "customs", NOW, false).unwrap();
    let why = refused(&server, client(&w, &node(&twin), police_node())).await;
    assert!(!why.contains("ApplicationVerificationFailure"), "{why}");
    w.roots.remove_node(&agency("police"), "1");
    assert!(shake(&server, client(&w, &second, police_node())).await.1.is_err(), "whoever dials looks too");
}

#[tokio::test]
async fn an_expired_certificate_and_another_federation_are_refused() {
    let w = world();
    let key = key();
    let old = Millis(NOW.0 - 40 * 86_400_000);
    let chain = w.customs.issue_node("1", &key, old, DAYS).unwrap();
    refused(&nodes_tls(&w), rough_client(&chain, &key, &[kx_group::X25519MLKEM768])).await;
    let (chain, key) = forged(&w.customs, &["spiffe://customs.other/node/1"]);
    let why = refused(&nodes_tls(&w), rough_client(&chain, &key, &[kx_group::X25519MLKEM768])).await;
    assert!(why.contains("another federation"), "{why}");
}

#[test]
fn keys_of_the_seal_room_serve_in_certificates() {
    let w = world();
    let signing = SigningKey::generate(&mut Count(7)).unwrap();
    let pem = signing.to_pkcs8_pem().unwrap();
    let chain = w.customs.issue_node("1", &pem, NOW, DAYS).unwrap();
    assert_eq!(certificate_facts(&chain).unwrap().public_key, *signing.public().as_bytes());
    let credentials = Credentials::from_pem(&chain, &pem).unwrap();
    client(&w, &credentials, police_node());
    let (_, key) = person_request("wang", &agency("customs"), &federation()).unwrap();
    SigningKey::from_pkcs8_pem(&key).unwrap();
}

pub(super) async fn listen(w: &World, limits: Limits) -> Acceptor {
    Acceptor::bind((Ipv4Addr::LOCALHOST, 0).into(), nodes_tls(w), limits).await.unwrap()
}

pub(super) async fn dial(
    acceptor: &Acceptor,
    tls: Arc<ClientConfig>,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(acceptor.local_addr()).await?;
    TlsConnector::from(tls).connect(ServerName::from(acceptor.local_addr().ip()), tcp).await
}

#[tokio::test]
async fn the_acceptor_yields_peers_that_can_be_cut() {
    let w = world();
    let mut acceptor = listen(&w, Limits { connections: 8, per_address: 8, handshake_ms: 5_000 }).await;
    let tls = client(&w, &node(&w.customs), police_node());
    let mut near = dial(&acceptor, tls).await.unwrap();
    let mut far = acceptor.next().await.unwrap().unwrap();
    near.write_all(b"ping").await.unwrap();
    let mut four = [0u8; 4];
    far.read_exact(&mut four).await.unwrap();
    assert_eq!(&four, b"ping");

    let live = acceptor.live();
    let open = live.peers();
    let (place, peer) = open.first().unwrap();
    assert_eq!((live.open(), open.len(), peer), (1, 1, far.peer()));
    let reading = tokio::spawn(async move {
        let mut one = [0u8; 1];
        let error = far.read_exact(&mut one).await.unwrap_err();
        let written = far.write_all(b"x").await;
        (error.kind(), written.is_err())
    });
    // Lets the reader wait first, so that the cut must wake it.
    tokio::task::yield_now().await;
    assert!(live.cut(*place));
    assert_eq!(reading.await.unwrap(), (std::io::ErrorKind::ConnectionAborted, true));
    assert_eq!((live.open(), live.cut(*place)), (0, false));
}

#[tokio::test]
async fn connections_over_a_cap_are_dropped_and_places_come_back() {
    let w = world();
    for limits in [
        Limits { connections: 1, per_address: 8, handshake_ms: 5_000 },
        Limits { connections: 8, per_address: 1, handshake_ms: 5_000 },
    ] {
        let mut acceptor = listen(&w, limits).await;
        let tls = client(&w, &node(&w.customs), police_node());
        let _near = dial(&acceptor, tls.clone()).await.unwrap();
        let far = acceptor.next().await.unwrap().unwrap();
        assert!(dial(&acceptor, tls.clone()).await.is_err());
        drop(far);
        let _again = dial(&acceptor, tls).await.unwrap();
        acceptor.next().await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_silent_client_is_hung_up_on() {
    let w = world();
    let acceptor = listen(&w, Limits { connections: 8, per_address: 8, handshake_ms: 20 }).await;
    let mut silent = TcpStream::connect(acceptor.local_addr()).await.unwrap();
    let mut rest = Vec::new();
    assert_eq!(silent.read_to_end(&mut rest).await.unwrap(), 0);
}

#[tokio::test]
async fn a_person_dials_a_node_of_the_own_agency() {
    let w = world();
    // The person's client has the machine's own time, so these certificates start now.
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = Millis(u64::try_from(since.as_millis()).unwrap());
    let node_key = key();
    let ca = Authority::create(&agency("police"), &federation(), "police", now, false).unwrap();
    let credentials = Credentials::from_pem(&ca.issue_node("1", &node_key, now, DAYS).unwrap(), &node_key).unwrap();
    w.roots.set(agency("police"), ca.certificate_der()).unwrap();
    let expected = Expected::PeopleOf(agency("police"));
    let tls =
        ServerTls::new(Exchange::PreferPostQuantum, &credentials, verifier(&w.roots, expected), Arc::new(At(now)))
            .unwrap();
    let limits = Limits { connections: 8, per_address: 8, handshake_ms: 5_000 };
    let mut acceptor = Acceptor::bind((Ipv4Addr::LOCALHOST, 0).into(), tls, limits).await.unwrap();
    let address = acceptor.local_addr().to_string();
    let (csr, key) = person_request("wang", &agency("police"), &federation()).unwrap();
    let chain = ca.issue_person(&csr, "wang", now, DAYS).unwrap();
    let (dialed, met) = tokio::join!(dial_as_person(&address, ca.certificate_pem(), &chain, &key), acceptor.next());
    assert_eq!(dialed.unwrap().agency, agency("police"));
    assert_eq!(met.unwrap().unwrap().peer().name().subject(), &Subject::Person("wang".into()));
    // Refused, and not unreachable: the line of the profile is named, and nothing of the certificate.
    let (csr, other_key) = person_request("wang", &agency("customs"), &federation()).unwrap();
    let other = w.customs.issue_person(&csr, "wang", now, DAYS).unwrap();
    let foreign = w.customs.certificate_pem();
    // An authority of the same name is another one by its key.
    let twin = Authority::create(&agency("police"), &federation(), "police", now, false).unwrap();
    for (ca, chain, key, line) in [
        (foreign, &chain, &key, "`ca`"),
        (twin.certificate_pem(), &chain, &key, "`ca`"),
        (foreign, &other, &other_key, "`endpoint`"),
    ] {
        let fault = Fault::from(dial_as_person(&address, ca, chain, key).await.err().unwrap());
        assert_eq!((fault.kind, fault.reason), (FaultKind::Refused, "PEER_REFUSED"), "{fault:?}");
        assert!(fault.hint.as_ref().is_some_and(|h| h.contains(line)), "{fault:?}");
        assert!(!fault.message.contains("Issuer") && !fault.message.contains("spiffe"), "{fault:?}");
    }
}
