//! The proof that a handshake finished and whose certificate it showed.

use super::error::IdentityError;
use super::facts::{Facts, certificate_facts_der, is_signed_by};
use super::name::SpiffeName;
use super::protocol::Protocol;
use crate::domain::ids::AgencyId;
use rustls::CommonState;
use std::sync::{Arc, OnceLock};

/// Who is at the other end of a connection. There is no other way to get one than a finished, verified
/// handshake on this side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedPeer(Arc<Inner>);

#[derive(Debug, PartialEq, Eq)]
struct Inner {
    name: SpiffeName,
    serial: String,
    public_key: [u8; 32],
    protocol: Protocol,
    /// Its certificate.
    leaf: Vec<u8>,
    /// Key of the authority that signed it, once that was asked and found: it has signed it for good.
    authority: OnceLock<[u8; 32]>,
}

impl VerifiedPeer {
    /// From a session whose handshake is over, and whose verifier was an
    /// [`AgencyVerifier`](super::AgencyVerifier).
    pub(super) fn of(session: &CommonState) -> Result<VerifiedPeer, IdentityError> {
        if session.is_handshaking() {
            return Err(IdentityError::Peer("the handshake is not over"));
        }
        let protocol = session.alpn_protocol().and_then(Protocol::of_alpn);
        let protocol = protocol.ok_or(IdentityError::Peer("it offers no protocol of ours"))?;
        let leaf = session.peer_certificates().and_then(<[_]>::first);
        let leaf = leaf.ok_or(IdentityError::Peer("it showed no certificate"))?;
        let Facts { serial, public_key, spiffe, der: leaf, .. } = certificate_facts_der(leaf)?;
        let name = spiffe.ok_or(IdentityError::Peer("it showed an authority's certificate"))?;
        let authority = OnceLock::new();
        Ok(VerifiedPeer(Arc::new(Inner { name, serial, public_key, protocol, leaf, authority })))
    }

    /// A peer without a connection, for the tests of other rooms.
    #[cfg(test)]
    pub(crate) fn for_test(name: SpiffeName, serial: &str, public_key: [u8; 32]) -> VerifiedPeer {
        // No certificate, and another one for each name and serial.
        let leaf = format!("{name} {serial}").into_bytes();
        let (serial, protocol, authority) = (serial.to_owned(), Protocol::Calls, OnceLock::new());
        VerifiedPeer(Arc::new(Inner { name, serial, public_key, protocol, leaf, authority }))
    }

    /// The same peer on a connection for something else.
    #[cfg(test)]
    pub(crate) fn speaking(&self, protocol: Protocol) -> VerifiedPeer {
        let Inner { name, serial, public_key, protocol: _, leaf, authority } = self.0.as_ref();
        let (name, serial, leaf, authority) = (name.clone(), serial.clone(), leaf.clone(), authority.clone());
        VerifiedPeer(Arc::new(Inner { name, serial, public_key: *public_key, protocol, leaf, authority }))
    }

    /// The same peer, for whom the authority with this key vouched.
    #[cfg(test)]
    pub(crate) fn vouched_for_by(self, authority: [u8; 32]) -> VerifiedPeer {
        let _first = self.0.authority.set(authority);
        self
    }

    /// Whether the authority with this key signed its certificate, as the handshake found of one of the agency's. Authorities sign
    /// with no other between (see [`Authority`](super::Authority)).
    pub(super) fn is_vouched_for_by(&self, authority: &[u8; 32]) -> bool {
        if let Some(known) = self.0.authority.get() {
            return known == authority;
        }
        let signed = is_signed_by(&self.0.leaf, authority);
        if signed {
            let _first = self.0.authority.set(*authority);
        }
        signed
    }

    /// The name in the certificate.
    pub fn name(&self) -> &SpiffeName {
        &self.0.name
    }

    /// The agency that vouched for it.
    pub fn agency(&self) -> &AgencyId {
        self.0.name.agency()
    }

    /// Serial of the certificate in lower-case hex, unique within the agency.
    pub fn serial(&self) -> &str {
        &self.0.serial
    }

    /// The certificate that it showed, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.0.leaf
    }

    /// What the connection is for.
    pub fn protocol(&self) -> Protocol {
        self.0.protocol
    }

    /// Ed25519 public key of the certificate.
    pub fn public_key(&self) -> [u8; 32] {
        self.0.public_key
    }
}
