//! The proof that a handshake finished and whose certificate it showed.

use super::error::IdentityError;
use super::facts::{Facts, certificate_facts_der};
use super::name::SpiffeName;
use crate::domain::ids::AgencyId;
use rustls::CommonState;
use std::sync::Arc;

/// Who is at the other end of a connection. There is no other way to get one than a finished, verified
/// handshake on this side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedPeer(Arc<Inner>);

#[derive(Debug, PartialEq, Eq)]
struct Inner {
    name: SpiffeName,
    serial: String,
    public_key: [u8; 32],
}

impl VerifiedPeer {
    /// From a session whose handshake is over, and whose verifier was an
    /// [`AgencyVerifier`](super::AgencyVerifier).
    pub(super) fn of(session: &CommonState) -> Result<VerifiedPeer, IdentityError> {
        if session.is_handshaking() {
            return Err(IdentityError::Peer("the handshake is not over"));
        }
        if session.alpn_protocol() != Some(b"h2".as_slice()) {
            return Err(IdentityError::Peer("it does not speak h2"));
        }
        let leaf = session.peer_certificates().and_then(<[_]>::first);
        let leaf = leaf.ok_or(IdentityError::Peer("it showed no certificate"))?;
        let Facts { serial, public_key, spiffe, .. } = certificate_facts_der(leaf)?;
        let name = spiffe.ok_or(IdentityError::Peer("it showed an authority's certificate"))?;
        Ok(VerifiedPeer(Arc::new(Inner { name, serial, public_key })))
    }

    /// A peer without a connection, for the tests of other rooms.
    #[cfg(test)]
    #[allow(dead_code, reason = "for the tests of other rooms")]
    pub(crate) fn for_test(name: SpiffeName, serial: &str, public_key: [u8; 32]) -> VerifiedPeer {
        VerifiedPeer(Arc::new(Inner { name, serial: serial.to_owned(), public_key }))
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

    /// Ed25519 public key of the certificate.
    pub fn public_key(&self) -> [u8; 32] {
        self.0.public_key
    }
}
