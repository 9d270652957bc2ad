//! What can go wrong here, by whose fault it is.

use crate::domain::canon::CanonError;
use crate::domain::fault::Fault;
use crate::journal::JournalError;
use thiserror::Error;

/// Errors of this room.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// A text is not a name of the one accepted form; shown shortened.
    #[error("`{shown}` is not a name of the form spiffe://agency.federation/node/id or /person/name")]
    Name {
        /// The text, cut to 80 characters.
        shown: String,
    },
    /// A certificate is malformed or breaks a rule of this room.
    #[error("the certificate is refused: {0}")]
    Certificate(&'static str),
    /// A certificate request is malformed or asks for another name.
    #[error("the certificate request is refused: {0}")]
    Request(&'static str),
    /// A revocation list is malformed, of somebody else, or older than what is known.
    #[error("the revocation list is refused: {0}")]
    List(&'static str),
    /// A certificate or request could not be made.
    #[error("cannot make or read a certificate: {0}")]
    Issue(#[from] rcgen::Error),
    /// No random numbers, or a time out of range.
    #[error("cannot make a certificate: {0}")]
    Unable(&'static str),
    /// The TLS configuration or handshake failed.
    #[error("tls: {0}")]
    Tls(#[from] rustls::Error),
    /// The other end is not who is expected.
    #[error("the peer is refused: {0}")]
    Peer(&'static str),
    /// A node cannot be reached.
    #[error("cannot reach `{address}`: {why}")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// The chain of causes as text.
        why: String,
    },
    /// Whoever answers a person at an address is not a node that the profile names.
    #[error("the node at `{address}` is refused: {why}")]
    ForeignNode {
        /// Where it is.
        address: String,
        /// What does not fit.
        why: &'static str,
        /// The line of the profile that it does not fit.
        line: &'static str,
    },
    /// A node refused the certificate that a person showed.
    #[error("the node at `{address}` refused this certificate: {why}")]
    OwnCertificate {
        /// Where it is.
        address: String,
        /// What it said of it.
        why: &'static str,
    },
    /// A directory entry breaks a rule.
    #[error("the directory entry is refused: {0}")]
    Entry(&'static str),
    /// Somebody changed the entry first.
    #[error("the entry of `{name}` is at version {current}, not {expected}")]
    Conflict {
        /// The person's name.
        name: String,
        /// Version on disk; 0 when there is none.
        current: u32,
        /// Version that the caller saw.
        expected: u32,
    },
    /// No such person.
    #[error("nobody of that name is in the directory")]
    NoPerson,
    /// The journal refused or failed.
    #[error("directory journal: {0}")]
    Journal(#[from] JournalError),
    /// A stored entry does not read.
    #[error("directory journal holds an unreadable entry: {0}")]
    Stored(#[from] CanonError),
}

impl From<IdentityError> for Fault {
    fn from(e: IdentityError) -> Fault {
        let text = e.to_string();
        match e {
            IdentityError::Name { .. } => Fault::usage("BAD_NAME", text),
            IdentityError::Certificate(_) => Fault::usage("BAD_CERTIFICATE", text),
            IdentityError::Request(_) => Fault::usage("BAD_REQUEST", text),
            IdentityError::List(_) => Fault::usage("BAD_CRL", text),
            IdentityError::Issue(_) => Fault::usage("BAD_CERTIFICATE", text),
            IdentityError::Unable(_) => Fault::internal("CERTIFICATE", text),
            IdentityError::Tls(_) => Fault::usage("BAD_TLS", text).hint("certificate and key must belong together"),
            IdentityError::Peer(_) => Fault::refused("PEER_REFUSED", text),
            IdentityError::ForeignNode { line, .. } => Fault::refused("PEER_REFUSED", text)
                .hint(format!("compare the line `{line}` of the profile with what your agency's operator gave you")),
            IdentityError::OwnCertificate { .. } => Fault::refused("CERTIFICATE_REFUSED", text)
                .hint("compare the line `cert` of the profile with the newest certificate that you got, or ask your agency for one"),
            IdentityError::Unreachable { .. } => Fault::unavailable("NODE_UNREACHABLE", text),
            IdentityError::Entry(_) => Fault::usage("BAD_PERSON", text),
            IdentityError::Conflict { .. } => {
                Fault::conflict("PERSON_CHANGED", text).hint("read the entry again and repeat")
            }
            IdentityError::NoPerson => Fault::not_found(),
            IdentityError::Journal(_) => Fault::internal("DIRECTORY", text),
            IdentityError::Stored(_) => Fault::integrity("DIRECTORY", text),
        }
    }
}
