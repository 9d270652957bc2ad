//! The chain check of both sides: a root of the claimed agency, and of no other, then who is expected.

use super::error::IdentityError;
use super::facts::{Facts, certificate_facts_der};
use super::name::{SpiffeName, Subject};
use super::peer::VerifiedPeer;
use super::tls::Credentials;
use super::trust::{Distrust, Root, TrustRoots};
use crate::domain::ids::{AgencyId, FederationId};
use crate::domain::time::Millis;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerIncompatible, SignatureScheme,
};
use std::sync::Arc;
use std::time::Duration;

/// Who may be at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Any node of any agency with a root: the listener for nodes.
    AnyNode,
    /// People of one agency: the listener for people.
    PeopleOf(AgencyId),
    /// Any node of one agency: a person's client.
    NodeOf(AgencyId),
    /// One node: dialing it.
    Node {
        /// Its agency.
        agency: AgencyId,
        /// Its local id.
        id: String,
    },
}

impl Expected {
    fn admits(&self, name: &SpiffeName) -> bool {
        match (self, name.subject()) {
            (Expected::AnyNode, Subject::Node(_)) => true,
            (Expected::PeopleOf(agency), Subject::Person(_)) => name.agency() == agency,
            (Expected::NodeOf(agency), Subject::Node(_)) => name.agency() == agency,
            (Expected::Node { agency, id }, Subject::Node(claimed)) => name.agency() == agency && claimed == id,
            (Expected::PeopleOf(_), Subject::Node(_))
            | (Expected::AnyNode | Expected::NodeOf(_) | Expected::Node { .. }, Subject::Person(_)) => false,
        }
    }
}

/// Verifies clients and servers of one federation.
#[derive(Debug)]
pub struct AgencyVerifier {
    federation: FederationId,
    roots: TrustRoots,
    expected: Expected,
    provider: Arc<CryptoProvider>,
}

impl AgencyVerifier {
    /// A verifier; changes to `roots` count from the next handshake on.
    pub fn new(federation: FederationId, roots: TrustRoots, expected: Expected) -> AgencyVerifier {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        AgencyVerifier { federation, roots, expected, provider }
    }

    /// Whether a peer that passed the handshake still would: its agency has a root, its certificate still counts, and it was
    /// not removed.
    pub(super) fn still_trusts(&self, peer: &VerifiedPeer, now: Millis) -> bool {
        self.roots.check_peer(peer, now).is_ok()
    }

    /// Whether whoever has these roots, and expects the same, would take these credentials as a client's and as a server's.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, credentials: &Credentials, now: Millis) -> Result<(), IdentityError> {
        let now = UnixTime::since_unix_epoch(Duration::from_millis(now.0));
        let (leaf, rest) = credentials.chain().split_first().ok_or(IdentityError::Certificate("there is none"))?;
        self.verify_server(leaf, rest, now)?;
        Ok(())
    }

    /// Whether a client that shows this certificate (DER) now would be taken, and be this person with this key. Whether its holder
    /// showed it is for others to say.
    ///
    /// # Errors
    /// Why not.
    pub fn check_person(
        &self,
        certificate: &[u8],
        (name, public_key): (&str, &[u8; 32]),
        now: Millis,
    ) -> Result<(), IdentityError> {
        let now = UnixTime::since_unix_epoch(Duration::from_millis(now.0));
        self.verify_client_cert(&CertificateDer::from(certificate), &[], now)?;
        let Facts { spiffe, public_key: key, .. } = certificate_facts_der(certificate)?;
        let is_theirs = spiffe.is_some_and(|s| matches!(s.subject(), Subject::Person(n) if n == name));
        if is_theirs && key == *public_key {
            Ok(())
        } else {
            Err(IdentityError::Peer("it is another one's certificate"))
        }
    }

    /// The roots that may vouch for this certificate, with the check of a chain under each, and whom it names.
    fn roots_of(&self, end_entity: &CertificateDer<'_>, now: UnixTime) -> Result<(Vec<Root>, SpiffeName), Error> {
        let Facts { serial, spiffe, .. } = certificate_facts_der(end_entity).map_err(refused)?;
        let name = spiffe.ok_or_else(|| refused(IdentityError::Peer("it showed an authority's certificate")))?;
        if *name.federation() != self.federation {
            return Err(refused(IdentityError::Peer("it belongs to another federation")));
        }
        if !self.expected.admits(&name) {
            return Err(refused(IdentityError::Peer("it is not whom this connection is for")));
        }
        let at = Millis(now.as_secs().saturating_mul(1000));
        let roots = self.roots.vouching(name.agency(), &serial, at).map_err(|why| distrusted(why, now))?;
        Ok((roots, name))
    }

    /// Asked last: only whoever has the certificate is told that its node was removed.
    fn takes_part(&self, name: &SpiffeName, now: UnixTime) -> Result<(), Error> {
        if self.roots.is_removed(name) { Err(distrusted(Distrust::Removed, now)) } else { Ok(()) }
    }

    /// A node's certificate is for both ends of a connection. rustls holds a list only against the certificate of a client,
    /// or of a server with a DNS name, which no node has; so a server's is held against it as a client's.
    fn verify_server(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let (roots, name) = self.roots_of(end_entity, now)?;
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        under_any(&roots, |root| {
            verify_server_cert_signed_by_trust_anchor(&parsed, &root.store, intermediates, now, algorithms)?;
            root.chain.verify_client_cert(end_entity, intermediates, now)
        })?;
        self.takes_part(&name, now)
    }

    fn check_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }
}

impl ClientCertVerifier for AgencyVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // No hints: they would tell strangers which agencies are members.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let (roots, name) = self.roots_of(end_entity, now)?;
        let verified = under_any(&roots, |root| root.chain.verify_client_cert(end_entity, intermediates, now))?;
        self.takes_part(&name, now)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl ServerCertVerifier for AgencyVerifier {
    /// The name dialed is an address and says nothing; the certificate's own name is compared with
    /// [`Expected`] instead.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify_server(end_entity, intermediates, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// What is good under one of an agency's roots is good. Of the others' refusals the last one that says more is told than that
/// somebody else signed it.
fn under_any<T>(roots: &[Root], check: impl Fn(&Root) -> Result<T, Error>) -> Result<T, Error> {
    let mut why: Error = CertificateError::UnknownIssuer.into();
    for root in roots {
        match check(root) {
            Ok(good) => return Ok(good),
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {}
            Err(Error::InvalidCertificate(CertificateError::BadSignature)) if roots.len() > 1 => {}
            Err(other) => why = other,
        }
    }
    Err(why)
}

fn refused(why: IdentityError) -> Error {
    CertificateError::Other(OtherError(Arc::new(why))).into()
}

fn distrusted(why: Distrust, time: UnixTime) -> Error {
    let next_update = |at: Millis| UnixTime::since_unix_epoch(Duration::from_millis(at.0));
    match why {
        Distrust::NoRoot | Distrust::OtherRoot => CertificateError::UnknownIssuer,
        Distrust::Revoked => CertificateError::Revoked,
        // The alert `access_denied` (RFC 8446, section 6.2): the certificate is good, and its holder is let in no more.
        Distrust::Removed => CertificateError::ApplicationVerificationFailure,
        Distrust::NoList => CertificateError::UnknownRevocationStatus,
        Distrust::ListExpired { since } => {
            CertificateError::ExpiredRevocationListContext { time, next_update: next_update(since) }
        }
    }
    .into()
}
