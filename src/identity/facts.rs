//! What a certificate says, once, in plain types.

use super::error::IdentityError;
use super::name::{SpiffeName, name_of, parse_certificate};
use crate::domain::time::Millis;
use data_encoding::HEXLOWER;
use rustls::pki_types::{CertificateDer, pem::PemObject};
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

/// Whether a certificate is a development authority, or was issued by one. Unreadable bytes count as such.
pub fn is_dev(der: &[u8]) -> bool {
    parse_certificate(der).map_or(true, |c| has_dev_unit(&c))
}

fn has_dev_unit(certificate: &X509Certificate<'_>) -> bool {
    let mut units =
        certificate.subject().iter_organizational_unit().chain(certificate.issuer().iter_organizational_unit());
    units.any(|u| u.as_str().is_ok_and(|u| u == DEV_UNIT))
}
