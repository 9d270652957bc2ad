//! Revocation lists of agencies' authorities (RFC 5280 §5): checked whole when they are read, and against the one before.

use super::error::IdentityError;
use super::facts::certificate_facts_der;
use super::name::parse_certificate;
use crate::domain::time::Millis;
use crate::seal::{PublicKey, Signature};
use data_encoding::HEXLOWER;
use rustls::pki_types::{CertificateRevocationListDer, pem::PemObject};
use std::collections::BTreeMap;
use x509_parser::oid_registry::OID_SIG_ED25519;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::time::ASN1Time;

/// Longest number of a list (RFC 5280 §5.2.3).
pub(super) const NUMBER_BYTES: usize = 20;
/// Version 2, as it is encoded: the only one that has a number.
const VERSION_2: u32 = 1;

/// A list that an agency's authority signed. There is no other way to get one than [`RevocationList::from_pem`] and
/// [`RevocationList::from_der`], which check the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationList {
    der: Vec<u8>,
    /// Key of the authority that signed it.
    by: [u8; 32],
    number: [u8; NUMBER_BYTES],
    this_update: Millis,
    next_update: Millis,
    revoked: BTreeMap<String, Millis>,
}

impl RevocationList {
    /// Reads the one list of a PEM text; `root` is the DER of the authority that must have signed it.
    pub fn from_pem(pem: &str, root: &[u8]) -> Result<RevocationList, IdentityError> {
        let mut found = CertificateRevocationListDer::pem_slice_iter(pem.as_bytes());
        match (found.next(), found.next()) {
            (Some(Ok(der)), None) => RevocationList::from_der(&der, root),
            _ => Err(IdentityError::List("the text is not exactly one `X509 CRL` in pem")),
        }
    }

    /// The same of a DER list. Lists that cover only some certificates, or that say critically what this version does not
    /// know, are refused: they would be read as more than they are.
    pub fn from_der(der: &[u8], root: &[u8]) -> Result<RevocationList, IdentityError> {
        let refuse = |why| Err(IdentityError::List(why));
        let list = match CertificateRevocationList::from_der(der) {
            Ok(([], list)) => list,
            Ok(_) => return refuse("there are bytes after its end"),
            Err(_) => return refuse("it is not an x.509 revocation list"),
        };
        let (authority, facts) = (parse_certificate(root)?, certificate_facts_der(root)?);
        if facts.spiffe.is_some() || list.issuer().as_raw() != authority.subject().as_raw() {
            return refuse("another authority issued it");
        }
        let algorithms = [&list.signature_algorithm.algorithm, &list.tbs_cert_list.signature.algorithm];
        if algorithms.into_iter().any(|a| *a != OID_SIG_ED25519) {
            return refuse("it is not signed with ed25519");
        }
        let signature = <[u8; 64]>::try_from(&*list.signature_value.data)
            .map_err(|_| IdentityError::List("its signature is not 64 bytes"))?;
        PublicKey::from_bytes(facts.public_key)
            .verify_raw(list.tbs_cert_list.as_ref(), &Signature::from_bytes(signature))
            .map_err(|_| IdentityError::List("its signature is not the authority's"))?;
        if list.version().is_none_or(|v| v.0 != VERSION_2) {
            return refuse("it is not of version 2");
        }
        let entries = list.iter_revoked_certificates().flat_map(|r| r.extensions());
        if list.extensions().iter().chain(entries).any(|e| e.critical) {
            return refuse("it has a critical extension");
        }
        let number = list.crl_number().and_then(|n| padded(&n.to_bytes_be()));
        let number = number.ok_or(IdentityError::List("it has no number of at most 20 bytes"))?;
        let this_update = millis(list.last_update())?;
        let next_update = list.next_update().ok_or(IdentityError::List("it does not say when the next one comes"))?;
        let revoked = list
            .iter_revoked_certificates()
            .map(|r| Ok((HEXLOWER.encode(r.raw_serial()), millis(r.revocation_date)?)))
            .collect::<Result<_, IdentityError>>()?;
        let (der, by, next_update) = (der.to_vec(), facts.public_key, millis(next_update)?);
        Ok(RevocationList { der, by, number, this_update, next_update, revoked })
    }

    /// Whether it is newer than `last`; false for the very same list. An authority that takes another's place counts its own lists
    /// anew, so among lists of two the time decides, and what was revoked under the one must stand in that of the other: its
    /// certificates count as long as its root does.
    ///
    /// # Errors
    /// [`IdentityError::List`] when it is older, or another one of the same number: whoever can put an old list in place
    /// would bring back what was revoked since.
    pub fn follows(&self, last: &RevocationList) -> Result<bool, IdentityError> {
        if self.der == last.der {
            return Ok(false);
        }
        if self.by != last.by && !last.revoked.keys().all(|serial| self.revokes(serial)) {
            return Err(IdentityError::List("it lacks what was revoked under the authority of before"));
        }
        let counted = self.by != last.by || self.number > last.number;
        if !counted || self.this_update < last.this_update {
            return Err(IdentityError::List("it is not newer than the one before"));
        }
        Ok(true)
    }

    /// Whether the authority with this key signed it.
    pub(super) fn is_signed_by(&self, key: &[u8; 32]) -> bool {
        self.by == *key
    }

    /// Whether a certificate stands in it; `serial` as in [`Facts`](super::Facts).
    pub fn revokes(&self, serial: &str) -> bool {
        self.revoked.contains_key(serial)
    }

    /// Serials with the time from which each is revoked.
    pub fn revoked(&self) -> &BTreeMap<String, Millis> {
        &self.revoked
    }

    /// When it was made.
    pub fn this_update(&self) -> Millis {
        self.this_update
    }

    /// From then on it says nothing any more.
    pub fn next_update(&self) -> Millis {
        self.next_update
    }

    /// Its number in decimal, or in hex when it is very long.
    pub fn number(&self) -> String {
        let (high, low) = self.number.split_at(NUMBER_BYTES - 16);
        match <[u8; 16]>::try_from(low) {
            Ok(low) if high.iter().all(|b| *b == 0) => u128::from_be_bytes(low).to_string(),
            _ => format!("0x{}", HEXLOWER.encode(&self.number)),
        }
    }

    /// The number after its own.
    pub(super) fn next_number(&self) -> [u8; NUMBER_BYTES] {
        let mut next = self.number;
        for byte in next.iter_mut().rev() {
            let (sum, carry) = byte.overflowing_add(1);
            *byte = sum;
            if !carry {
                break;
            }
        }
        next
    }

    /// The list itself.
    pub fn der(&self) -> &[u8] {
        &self.der
    }
}

fn padded(number: &[u8]) -> Option<[u8; NUMBER_BYTES]> {
    let mut padded = [0; NUMBER_BYTES];
    let from = NUMBER_BYTES.checked_sub(number.len())?;
    padded.get_mut(from..)?.copy_from_slice(number);
    Some(padded)
}

fn millis(time: ASN1Time) -> Result<Millis, IdentityError> {
    let seconds = u64::try_from(time.timestamp()).map_err(|_| IdentityError::List("it has a date before 1970"))?;
    Ok(Millis(seconds.saturating_mul(1000)))
}
