//! Names in certificates: SPIFFE ids of one strict form (SPIFFE-ID §2, X509-SVID §2).

use super::error::IdentityError;
use crate::domain::ids::{AgencyId, FederationId};
use std::{fmt, str::FromStr};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;

/// Longest whole name, in bytes.
const NAME_BYTES: usize = 160;
/// Longest node id, in bytes.
const NODE_BYTES: usize = 32;
/// Longest name of a person, in bytes.
const PERSON_BYTES: usize = 64;

/// What inside an agency is named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A node by its local id: lower-case letters, digits and inner hyphens, at most 32.
    Node(String),
    /// A person: a lower-case letter, then lower-case letters, digits, `-`, `.`, `_`; at most 64.
    Person(String),
}

/// The checked name of a node or a person.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeName {
    agency: AgencyId,
    federation: FederationId,
    subject: Subject,
}

impl SpiffeName {
    /// A node's name.
    pub fn node(agency: &AgencyId, federation: &FederationId, id: &str) -> Result<SpiffeName, IdentityError> {
        if !is_node_id(id) {
            return Err(wrong(id));
        }
        Ok(SpiffeName { agency: agency.clone(), federation: federation.clone(), subject: Subject::Node(id.to_owned()) })
    }

    /// A person's name.
    pub fn person(agency: &AgencyId, federation: &FederationId, name: &str) -> Result<SpiffeName, IdentityError> {
        if !is_person_name(name) {
            return Err(wrong(name));
        }
        let subject = Subject::Person(name.to_owned());
        Ok(SpiffeName { agency: agency.clone(), federation: federation.clone(), subject })
    }

    /// The one name of a certificate: exactly one SAN extension with exactly one entry, a URI.
    pub fn from_certificate(der: &[u8]) -> Result<SpiffeName, IdentityError> {
        name_of(&parse_certificate(der)?)
    }

    /// The agency that vouches for the name.
    pub fn agency(&self) -> &AgencyId {
        &self.agency
    }

    /// The federation.
    pub fn federation(&self) -> &FederationId {
        &self.federation
    }

    /// Node or person.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }
}

impl fmt::Display for SpiffeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, id) = match &self.subject {
            Subject::Node(id) => ("node", id),
            Subject::Person(name) => ("person", name),
        };
        write!(f, "spiffe://{}.{}/{kind}/{id}", self.agency, self.federation)
    }
}

impl FromStr for SpiffeName {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let parse = || {
            if text.len() > NAME_BYTES {
                return None;
            }
            let (domain, path) = text.strip_prefix("spiffe://")?.split_once('/')?;
            let (agency, federation) = parse_domain(domain)?;
            let (kind, id) = path.split_once('/')?;
            match kind {
                "node" => SpiffeName::node(&agency, &federation, id).ok(),
                "person" => SpiffeName::person(&agency, &federation, id).ok(),
                _ => None,
            }
        };
        parse().ok_or_else(|| wrong(text))
    }
}

/// `agency.federation`; neither holds a dot.
fn parse_domain(domain: &str) -> Option<(AgencyId, FederationId)> {
    let (agency, federation) = domain.split_once('.')?;
    Some((agency.parse().ok()?, federation.parse().ok()?))
}

/// The trust domain that an authority's certificate names (X509-SVID §3.1): a SPIFFE id without a path.
pub(super) fn authority_domain(der: &[u8]) -> Result<(AgencyId, FederationId), IdentityError> {
    let certificate = parse_certificate(der)?;
    let uri = only_uri(&certificate)?;
    uri.strip_prefix("spiffe://").and_then(parse_domain).ok_or_else(|| wrong(uri))
}

/// Parses a certificate and refuses trailing bytes.
pub(super) fn parse_certificate(der: &[u8]) -> Result<X509Certificate<'_>, IdentityError> {
    match x509_parser::parse_x509_certificate(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(IdentityError::Certificate("there are bytes after its end")),
        Err(_) => Err(IdentityError::Certificate("it is not an x.509 certificate")),
    }
}

/// The one name of a parsed certificate.
pub(super) fn name_of(certificate: &X509Certificate<'_>) -> Result<SpiffeName, IdentityError> {
    only_uri(certificate)?.parse()
}

fn only_uri<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str, IdentityError> {
    let mut found = certificate.extensions().iter().filter(|e| e.oid == OID_X509_EXT_SUBJECT_ALT_NAME);
    let (Some(extension), None) = (found.next(), found.next()) else {
        return Err(IdentityError::Certificate("it must have exactly one subject alternative name extension"));
    };
    let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else {
        return Err(IdentityError::Certificate("its subject alternative name does not parse"));
    };
    match names.general_names.as_slice() {
        [GeneralName::URI(uri)] => Ok(*uri),
        _ => Err(IdentityError::Certificate("it must have exactly one name, a uri")),
    }
}

pub(super) fn is_person_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | '_');
    name.len() <= PERSON_BYTES && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(plain)
}

fn is_node_id(id: &str) -> bool {
    (1..=NODE_BYTES).contains(&id.len())
        && !id.starts_with('-')
        && !id.ends_with('-')
        && id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

fn wrong(text: &str) -> IdentityError {
    IdentityError::Name { shown: text.chars().take(80).collect() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_round_trip() {
        for text in ["spiffe://customs.hufu/node/1", "spiffe://customs.hufu/person/officer-2"] {
            assert_eq!(text.parse::<SpiffeName>().unwrap().to_string(), text);
        }
        let name: SpiffeName = "spiffe://customs.hufu/node/a-1".parse().unwrap();
        assert_eq!(name.agency().as_str(), "customs");
        assert_eq!(name.subject(), &Subject::Node("a-1".into()));
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "spiffe://",
            "SPIFFE://customs.hufu/node/1",
            "https://customs.hufu/node/1",
            "spiffe://customs/node/1",
            "spiffe://customs.hufu.other/node/1",
            "spiffe://customs.hufu:1/node/1",
            "spiffe://u@customs.hufu/node/1",
            "spiffe://customs.hufu/node",
            "spiffe://customs.hufu/node/",
            "spiffe://customs.hufu/node/1/",
            "spiffe://customs.hufu/node/1/2",
            "spiffe://customs.hufu//node/1",
            "spiffe://customs.hufu/node/%31",
            "spiffe://customs.hufu/node/1?x",
            "spiffe://customs.hufu/node/1#x",
            "spiffe://customs.hufu/node/-",
            "spiffe://customs.hufu/Node/1",
            "spiffe://customs.hufu/person/.",
            "spiffe://customs.hufu/person/..",
            "spiffe://customs.hufu/person/王",
            " spiffe://customs.hufu/node/1",
            "spiffe://customs.hufu/node/1\0",
        ] {
            assert!(text.parse::<SpiffeName>().is_err(), "{text}");
        }
        let long = format!("spiffe://customs.hufu/person/{}", "a".repeat(PERSON_BYTES + 1));
        assert!(long.parse::<SpiffeName>().is_err());
    }

    proptest! {
        #[test]
        fn whatever_parses_prints_itself(text in "spiffe://[a-z.0-9%-]{2,20}/(node|person|x)/[a-z0-9./%_-]{0,12}") {
            if let Ok(name) = text.parse::<SpiffeName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }

        #[test]
        fn no_bytes_make_the_certificate_parser_panic(der in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(SpiffeName::from_certificate(&der).is_err());
        }
    }
}
