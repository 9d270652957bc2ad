//! An agency's certificate authority: Ed25519, one level, short lists of what it signs.

use super::crl::{NUMBER_BYTES, RevocationList};
use super::error::IdentityError;
use super::facts::{DEV_UNIT, Facts, authority_of, certificate_facts, certificate_facts_der, is_signed_by};
use super::name::{SpiffeName, Subject, authority_domain};
use crate::domain::ids::{AgencyId, FederationId};
use crate::domain::time::Millis;
use data_encoding::HEXLOWER;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ED25519, PublicKeyData,
    RevokedCertParams, SanType, SerialNumber, SignatureAlgorithm,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use std::collections::BTreeSet;
use time::OffsetDateTime;
use zeroize::Zeroizing;

/// How long an authority lasts.
const AUTHORITY_YEARS: u8 = 10;
/// Certificates begin this much earlier, for clocks that are behind.
const BACKDATE_MS: u64 = 3_600_000;
/// Longest display name inside a certificate, in characters.
const COMMON_NAME_CHARS: usize = 40;
const DAY_MS: u64 = 86_400_000;
/// Longest serial number with the zero before it (RFC 5280 §4.1.2.2).
const SERIAL_BYTES: usize = 21;

/// An agency's authority with its key.
pub struct Authority {
    agency: AgencyId,
    federation: FederationId,
    certificate_pem: String,
    certificate_der: CertificateDer<'static>,
    key: KeyPair,
    key_pem: Zeroizing<String>,
    not_after: Millis,
}

impl Authority {
    /// Makes an authority for ten years. `name` is the agency's display name; `dev` marks everything it will
    /// sign as fit for demonstrations and tests only (see [`is_dev`](super::is_dev)).
    pub fn create(
        agency: &AgencyId,
        federation: &FederationId,
        name: &str,
        now: Millis,
        dev: bool,
    ) -> Result<Authority, IdentityError> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let shown: String = name.chars().filter(|c| !c.is_control()).take(COMMON_NAME_CHARS).collect();
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, agency.as_str());
        if dev {
            params.distinguished_name.push(DnType::OrganizationalUnitName, DEV_UNIT);
        }
        params.distinguished_name.push(DnType::CommonName, format!("{shown} 证书机构 authority"));
        params.subject_alt_names = vec![uri(&format!("spiffe://{agency}.{federation}"))?];
        params.serial_number = Some(serial()?);
        params.not_before = moment(Millis(now.0.saturating_sub(BACKDATE_MS)))?;
        params.not_after = moment(now.plus_years(AUTHORITY_YEARS))?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        Authority::from_pem(&certificate.pem(), &Zeroizing::new(key.serialize_pem()))
    }

    /// Reads an authority's certificate and key; they must belong together.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Authority, IdentityError> {
        let facts = certificate_facts(certificate)?;
        if facts.spiffe.is_some() {
            return Err(IdentityError::Certificate("it is not that of an authority"));
        }
        let (agency, federation) = authority_domain(&facts.der)?;
        let pair = KeyPair::from_pkcs8_pem_and_sign_algo(key, &PKCS_ED25519)?;
        if pair.public_key_raw() != facts.public_key.as_slice() {
            return Err(IdentityError::Certificate("the key belongs to another certificate"));
        }
        Ok(Authority {
            agency,
            federation,
            certificate_pem: certificate.to_owned(),
            certificate_der: CertificateDer::from(facts.der),
            key: pair,
            key_pem: Zeroizing::new(key.to_owned()),
            not_after: facts.not_after,
        })
    }

    /// The agency it vouches for.
    pub fn agency(&self) -> &AgencyId {
        &self.agency
    }

    /// The federation that its certificates name.
    pub fn federation(&self) -> &FederationId {
        &self.federation
    }

    /// Its certificate, PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Its certificate, DER: the agency's root.
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate_der
    }

    /// Its secret key, PKCS#8 PEM.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// Issues the certificate of a node for its Ed25519 key (PKCS#8 PEM); for both ends of a connection.
    pub fn issue_node(&self, node_id: &str, key_pem: &str, now: Millis, days: u32) -> Result<String, IdentityError> {
        let name = SpiffeName::node(&self.agency, &self.federation, node_id)?.to_string();
        let key = KeyPair::from_pkcs8_pem_and_sign_algo(key_pem, &PKCS_ED25519)?;
        let usages = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&key, &[&name], &format!("{} node {node_id}", self.agency), &usages, now, days)
    }

    /// Answers a person's request. Only the public key is taken from it; it must be signed by that key and ask
    /// for exactly this name in this agency and federation.
    pub fn issue_person(&self, csr_pem: &str, name: &str, now: Millis, days: u32) -> Result<String, IdentityError> {
        let expected = SpiffeName::person(&self.agency, &self.federation, name)?.to_string();
        let request = CertificateSigningRequestParams::from_pem(csr_pem)
            .map_err(|_| IdentityError::Request("it does not parse or its signature is wrong"))?;
        if PublicKeyData::algorithm(&request.public_key) != &PKCS_ED25519 {
            return Err(IdentityError::Request("its key is not ed25519"));
        }
        if request.params.subject_alt_names != [uri(&expected)?] {
            return Err(IdentityError::Request("it asks for another name, agency or federation"));
        }
        let usages = [ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&request.public_key, &[&expected], name, &usages, now, days)
    }

    /// Issues a person's certificate anew, for the key and the name of an earlier one, whichever of `authorities` signed that: those
    /// of the agency, DER, with its newest list.
    ///
    /// # Errors
    /// Also of a certificate that stands in the list: whoever was shut out is not let in again by its renewal.
    pub fn renew_person(
        &self,
        earlier: &Facts,
        (authorities, list): (&BTreeSet<Vec<u8>>, Option<&RevocationList>),
        now: Millis,
        days: u32,
    ) -> Result<String, IdentityError> {
        let not_ours = IdentityError::Certificate("it is not that of a person of this agency");
        let Some(Subject::Person(name)) = earlier.spiffe.as_ref().map(SpiffeName::subject) else {
            return Err(not_ours);
        };
        let expected = SpiffeName::person(&self.agency, &self.federation, name)?;
        if earlier.spiffe.as_ref() != Some(&expected) {
            return Err(not_ours);
        }
        if !authorities.iter().any(|root| self.is_like(root) && was_signed_by(earlier, root)) {
            return Err(IdentityError::Certificate("no authority of this agency signed it"));
        }
        if list.is_some_and(|list| list.revokes(&earlier.serial)) {
            return Err(IdentityError::Certificate("it is revoked"));
        }
        let usages = [ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&Ed25519Key(earlier.public_key), &[&expected.to_string()], name, &usages, now, days)
    }

    /// Whether another authority is of the same agency and federation.
    fn is_like(&self, root: &[u8]) -> bool {
        authority_of(root).is_ok_and(|(agency, federation)| agency == self.agency && federation == self.federation)
    }

    /// Signs the revocation list after `last`: what stands there stays revoked from its time on, and `serials` (hex) are added.
    /// Without `last` it is the first. It is over after so many days.
    pub fn revoke(
        &self,
        last: Option<&RevocationList>,
        serials: &[String],
        now: Millis,
        days: u32,
    ) -> Result<String, IdentityError> {
        let mut revoked = last.map(|l| l.revoked().clone()).unwrap_or_default();
        for serial in serials {
            revoked.entry(serial.to_ascii_lowercase()).or_insert(now);
        }
        let entry = |(serial, since): (&String, &Millis)| -> Result<RevokedCertParams, IdentityError> {
            let bytes = HEXLOWER.decode(serial.as_bytes()).ok().filter(|b| (1..=SERIAL_BYTES).contains(&b.len()));
            let bytes = bytes.ok_or(IdentityError::List("a serial is hex of 1 to 21 bytes"))?;
            Ok(RevokedCertParams {
                serial_number: SerialNumber::from(bytes),
                revocation_time: moment(*since)?,
                reason_code: None,
                invalidity_date: None,
            })
        };
        let mut first = [0; NUMBER_BYTES];
        if let Some(units) = first.last_mut() {
            *units = 1;
        }
        // A clock that went back must not make a list that nobody takes.
        let this_update = last.map_or(now, |l| now.max(l.this_update()));
        let list = CertificateRevocationListParams {
            this_update: moment(this_update)?,
            next_update: moment(this_update.plus_ms(u64::from(days).saturating_mul(DAY_MS)))?,
            crl_number: SerialNumber::from_slice(&last.map_or(first, RevocationList::next_number)),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect::<Result<_, IdentityError>>()?,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let issuer = Issuer::from_ca_cert_der(&self.certificate_der, &self.key)?;
        Ok(list.signed_by(&issuer)?.pem()?)
    }

    /// Signs a leaf. Tests call it to make what the public functions never would.
    pub(super) fn sign(
        &self,
        key: &impl PublicKeyData,
        uris: &[&str],
        common_name: &str,
        usages: &[ExtendedKeyUsagePurpose],
        now: Millis,
        days: u32,
    ) -> Result<String, IdentityError> {
        let end = now.plus_ms(u64::from(days).saturating_mul(DAY_MS)).min(self.not_after);
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, self.agency.as_str());
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names = uris.iter().map(|u| uri(u)).collect::<Result<_, _>>()?;
        params.serial_number = Some(serial()?);
        params.not_before = moment(Millis(now.0.saturating_sub(BACKDATE_MS)))?;
        params.not_after = moment(end)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages.to_vec();
        params.use_authority_key_identifier_extension = true;
        let issuer = Issuer::from_ca_cert_der(&self.certificate_der, &self.key)?;
        Ok(params.signed_by(key, &issuer)?.pem())
    }
}

fn was_signed_by(certificate: &Facts, root: &[u8]) -> bool {
    certificate_facts_der(root).is_ok_and(|authority| is_signed_by(&certificate.der, &authority.public_key))
}

/// A public key of which nothing else is at hand.
struct Ed25519Key([u8; 32]);

impl PublicKeyData for Ed25519Key {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }
    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

/// Makes a person's key and the request for a certificate: (request PEM, secret key PKCS#8 PEM).
pub fn person_request(
    name: &str,
    agency: &AgencyId,
    federation: &FederationId,
) -> Result<(String, Zeroizing<String>), IdentityError> {
    let spiffe = SpiffeName::person(agency, federation, name)?;
    let key = KeyPair::generate_for(&PKCS_ED25519)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = vec![uri(&spiffe.to_string())?];
    let request = params.serialize_request(&key)?.pem()?;
    Ok((request, Zeroizing::new(key.serialize_pem())))
}

fn uri(text: &str) -> Result<SanType, IdentityError> {
    Ok(SanType::URI(Ia5String::try_from(text)?))
}

/// 16 random bytes. rcgen's own default is a hash of the key, the same again at each renewal.
fn serial() -> Result<SerialNumber, IdentityError> {
    let mut bytes = [0u8; 16];
    default_provider().secure_random.fill(&mut bytes).map_err(|_| IdentityError::Unable("no random numbers"))?;
    if let Some(first) = bytes.first_mut() {
        // Positive, and always the same length in DER.
        *first = (*first & 0x3f) | 0x40;
    }
    Ok(SerialNumber::from_slice(&bytes))
}

fn moment(at: Millis) -> Result<OffsetDateTime, IdentityError> {
    i64::try_from(at.0 / 1000)
        .ok()
        .and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok())
        .ok_or(IdentityError::Unable("the time is out of range"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::super::is_dev;
    use super::*;
    use data_encoding::BASE64;
    use rustls::pki_types::{CertificateSigningRequestDer, pem::PemObject};

    const NOW: Millis = Millis(1_772_323_200_000);

    fn authority(agency: &str, dev: bool) -> Authority {
        Authority::create(&agency.parse().unwrap(), &"hufu".parse().unwrap(), "海关 Customs", NOW, dev).unwrap()
    }

    #[test]
    fn an_authority_survives_its_files_and_knows_whom_it_is() {
        let ca = authority("customs", false);
        let again = Authority::from_pem(ca.certificate_pem(), ca.key_pem()).unwrap();
        assert_eq!(again.agency().as_str(), "customs");
        assert_eq!(again.federation().as_str(), "hufu");
        assert_eq!(again.certificate_der(), certificate_facts(ca.certificate_pem()).unwrap().der.as_slice());
        let other = authority("police", false);
        assert!(Authority::from_pem(ca.certificate_pem(), other.key_pem()).is_err());
    }

    #[test]
    fn a_node_certificate_says_what_was_asked() {
        let ca = authority("customs", false);
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let pem = ca.issue_node("1", &key.serialize_pem(), NOW, 30).unwrap();
        let facts = certificate_facts(&pem).unwrap();
        assert_eq!(facts.spiffe.unwrap().subject(), &Subject::Node("1".into()));
        assert_eq!(facts.public_key.as_slice(), key.public_key_raw());
        assert_eq!(facts.not_after, NOW.plus_ms(30 * DAY_MS));
        assert_eq!(facts.serial.len(), 32);
        let renewed = ca.issue_node("1", &key.serialize_pem(), NOW, 30).unwrap();
        assert_ne!(certificate_facts(&renewed).unwrap().serial, facts.serial);
        let long = ca.issue_node("1", &key.serialize_pem(), NOW, 36_500).unwrap();
        assert_eq!(certificate_facts(&long).unwrap().not_after, NOW.plus_years(AUTHORITY_YEARS));
        assert!(ca.issue_node("1/2", &key.serialize_pem(), NOW, 30).is_err());
    }

    #[test]
    fn a_request_gets_its_own_name_only() {
        let ca = authority("customs", false);
        let (csr, key) = person_request("wang", ca.agency(), ca.federation()).unwrap();
        let facts = certificate_facts(&ca.issue_person(&csr, "wang", NOW, 30).unwrap()).unwrap();
        let pair = KeyPair::from_pkcs8_pem_and_sign_algo(&key, &PKCS_ED25519).unwrap();
        assert_eq!(facts.public_key.as_slice(), pair.public_key_raw());
        assert!(ca.issue_person(&csr, "li", NOW, 30).is_err(), "another name");
        assert!(authority("police", false).issue_person(&csr, "wang", NOW, 30).is_err(), "another agency");
    }

    #[test]
    fn a_person_keeps_key_and_name_under_another_authority() {
        let (old, next) = (authority("customs", false), authority("customs", false));
        let (csr, _) = person_request("wang", old.agency(), old.federation()).unwrap();
        let before = certificate_facts(&old.issue_person(&csr, "wang", NOW, 30).unwrap()).unwrap();
        let both: BTreeSet<Vec<u8>> = [&old, &next].map(|ca| ca.certificate_der().to_vec()).into();
        let after = certificate_facts(&next.renew_person(&before, (&both, None), NOW, 30).unwrap()).unwrap();
        assert_eq!((&after.spiffe, after.public_key), (&before.spiffe, before.public_key));
        assert_ne!(after.serial, before.serial);
        let police = authority("police", false);
        assert!(police.renew_person(&before, (&both, None), NOW, 30).is_err(), "another agency's");
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_pem();
        let node = certificate_facts(&old.issue_node("1", &key, NOW, 30).unwrap()).unwrap();
        assert!(next.renew_person(&node, (&both, None), NOW, 30).is_err(), "a node's");
    }

    #[test]
    fn what_is_revoked_or_of_nobody_known_is_not_renewed() {
        let (old, next) = (authority("customs", false), authority("customs", false));
        let (csr, _) = person_request("wang", old.agency(), old.federation()).unwrap();
        let before = certificate_facts(&old.issue_person(&csr, "wang", NOW, 30).unwrap()).unwrap();
        let der = |ca: &Authority| ca.certificate_der().to_vec();
        let (both, alone) = (BTreeSet::from([der(&old), der(&next)]), BTreeSet::from([der(&next)]));
        let renewed = |known: &BTreeSet<Vec<u8>>, list: Option<&RevocationList>| {
            next.renew_person(&before, (known, list), NOW, 30).map_err(|e| e.to_string())
        };
        assert!(renewed(&alone, None).unwrap_err().contains("no authority of this agency signed it"));
        // Whoever says of its authority that it is this agency's must be known as that; and another agency's counts for nothing.
        let (police, stranger) = (authority("police", false), authority("customs", false));
        let foreign = BTreeSet::from([der(&police), der(&stranger)]);
        assert!(renewed(&foreign, None).is_err());

        let list = |serials: &[String]| {
            let pem = old.revoke(None, serials, NOW, 7).unwrap();
            RevocationList::from_pem(&pem, old.certificate_der()).unwrap()
        };
        assert!(renewed(&both, Some(&list(&[]))).is_ok());
        let revoked = list(std::slice::from_ref(&before.serial));
        assert!(renewed(&both, Some(&revoked)).unwrap_err().contains("it is revoked"));
    }

    #[test]
    fn a_request_must_be_signed_by_its_key() {
        let ca = authority("customs", false);
        let (csr, _) = person_request("wang", ca.agency(), ca.federation()).unwrap();
        let mut der = CertificateSigningRequestDer::from_pem_slice(csr.as_bytes()).unwrap().to_vec();
        let pem = |der: &[u8]| {
            format!("-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n", BASE64.encode(der))
        };
        ca.issue_person(&pem(&der), "wang", NOW, 30).unwrap();
        *der.last_mut().unwrap() ^= 1;
        assert!(ca.issue_person(&pem(&der), "wang", NOW, 30).is_err());
    }

    #[test]
    fn development_shows_in_all_that_it_signs() {
        for dev in [false, true] {
            let ca = authority("customs", dev);
            let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
            let leaf = certificate_facts(&ca.issue_node("1", &key.serialize_pem(), NOW, 30).unwrap()).unwrap();
            assert_eq!((is_dev(ca.certificate_der()), is_dev(&leaf.der), leaf.dev), (dev, dev, dev));
        }
        assert!(is_dev(b"garbage"));
    }
}
