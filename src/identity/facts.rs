//! What a certificate says, once, in plain types.

use super::error::IdentityError;
use super::name::{SpiffeName, authority_domain, name_of, parse_certificate};
use crate::domain::ids::{AgencyId, FederationId};
use crate::domain::time::Millis;
use crate::seal::{PublicKey, Signature};
use data_encoding::HEXLOWER;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::collections::BTreeSet;
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::OID_SIG_ED25519;

/// The organizational unit that marks certificates of demonstrations and tests.
pub(super) const DEV_UNIT: &str = "hufu-dev";

/// The facts of one certificate. Nothing here says that anybody vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Serial number in lower-case hex; unique for its issuer.
    pub serial: String,
    /// End of validity.
    pub not_after: Millis,
    /// Ed25519 public key.
    pub public_key: [u8; 32],
    /// The holder's name; none for an authority.
    pub spiffe: Option<SpiffeName>,
    /// Whether it comes from a development authority.
    pub dev: bool,
    /// The certificate itself.
    pub der: Vec<u8>,
}

/// Reads a PEM certificate, of a node, a person or an authority.
pub fn certificate_facts(pem: &str) -> Result<Facts, IdentityError> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| IdentityError::Certificate("it is not a pem certificate"))?;
    certificate_facts_der(&der)
}

/// Reads a DER certificate.
pub fn certificate_facts_der(der: &[u8]) -> Result<Facts, IdentityError> {
    let certificate = parse_certificate(der)?;
    let key = certificate.public_key();
    if key.algorithm.algorithm != OID_SIG_ED25519 {
        return Err(IdentityError::Certificate("its key is not ed25519"));
    }
    let public_key = <[u8; 32]>::try_from(&*key.subject_public_key.data)
        .map_err(|_| IdentityError::Certificate("its key is not 32 bytes"))?;
    let seconds = u64::try_from(certificate.validity().not_after.timestamp())
        .map_err(|_| IdentityError::Certificate("its end of validity is before 1970"))?;
    Ok(Facts {
        serial: HEXLOWER.encode(certificate.raw_serial()),
        not_after: Millis(seconds.saturating_mul(1000)),
        public_key,
        spiffe: if certificate.is_ca() { None } else { Some(name_of(&certificate)?) },
        dev: has_dev_unit(&certificate),
        der: der.to_vec(),
    })
}

/// Every certificate of a PEM text, DER, of which there is at least one and at most two: an agency's authority, and the one that
/// takes its place.
pub fn authorities(pem: &str) -> Result<BTreeSet<Vec<u8>>, IdentityError> {
    let found = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|_| IdentityError::Certificate("it is not a pem certificate"))?;
    if found.is_empty() || found.len() > 2 {
        return Err(IdentityError::Certificate("the text is not one pem certificate, or two"));
    }
    Ok(found.into_iter().map(|der| der.to_vec()).collect())
}

/// The agency and the federation for whose certificates an authority may vouch.
pub fn authority_of(der: &[u8]) -> Result<(AgencyId, FederationId), IdentityError> {
    if certificate_facts_der(der)?.spiffe.is_some() {
        return Err(IdentityError::Certificate("it is not that of an authority"));
    }
    authority_domain(der)
}

/// Whether the holder of an Ed25519 key signed a certificate.
pub(super) fn is_signed_by(der: &[u8], key: &[u8; 32]) -> bool {
    let Ok(certificate) = parse_certificate(der) else { return false };
    let Ok(signature) = <[u8; 64]>::try_from(&*certificate.signature_value.data) else { return false };
    let signature = Signature::from_bytes(signature);
    certificate.signature_algorithm.algorithm == OID_SIG_ED25519
        && PublicKey::from_bytes(*key).verify_raw(certificate.tbs_certificate.as_ref(), &signature).is_ok()
}

/// Whether a certificate is a development authority, or was issued by one. Unreadable bytes count as such.
pub fn is_dev(der: &[u8]) -> bool {
    parse_certificate(der).map_or(true, |c| has_dev_unit(&c))
}

fn has_dev_unit(certificate: &X509Certificate<'_>) -> bool {
    let mut units =
        certificate.subject().iter_organizational_unit().chain(certificate.issuer().iter_organizational_unit());
    units.any(|u| u.as_str().is_ok_and(|u| u == DEV_UNIT))
}
