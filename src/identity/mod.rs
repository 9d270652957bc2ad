//! Who is at the other end: certificates, TLS, the acceptor, the dialer, and the agency's own people.
//!
//! This room turns a TCP connection into a [`VerifiedPeer`] or refuses it. It does not authorize: clearance,
//! roles and compartments are entries of the [`Directory`], looked up at each call, never certificate fields.
//!
//! Invariants
//! - A certificate names its holder by exactly one URI SAN, `spiffe://<agency>.<federation>/node/<id>` or
//!   `/person/<name>`. Two names, or any other kind of name beside it, are refused.
//! - Only the root of the *claimed* agency can vouch for a name: one agency's authority never mints another's.
//! - TLS 1.3 only, mutual, no tickets, no resumption, no early data: every connection checks the chain again.
//! - A [`VerifiedPeer`] is made from a finished handshake and nowhere else; it says what the connection is for.
//! - An agency whose list is required has its certificates taken only with a list that its authority signed, that is not
//!   over, and in which they do not stand; a list never goes back to an older one. Both ends of a connection look.
//! - Who is trusted no more is refused at the next handshake, and open connections are cut: first [`TrustRoots`] changes,
//!   then [`Live::cut`]. A handshake between the two looks again when it is over.
//! - The directory answers after the change is durable; its frames are only ever added.
//!
//! Who may call: `service`, `api`, `cli` and `node`, and the network files of `cluster` and `vault`.

mod accept;
mod crl;
#[cfg(test)]
mod crl_tests;
mod dial;
mod directory;
mod error;
mod facts;
#[cfg(test)]
mod handshake_tests;
mod held;
mod https;
#[cfg(test)]
mod lane_tests;
mod limits;
mod live;
mod name;
mod peer;
mod person;
mod pki;
mod protocol;
mod refusal;
mod tls;
mod trust;
mod verify;

pub use accept::{Acceptor, LaneLimits, Limits};
pub use crl::RevocationList;
pub use dial::{Dialer, Line, PersonDial, dial_as_person};
pub use directory::Directory;
pub use error::IdentityError;
pub use facts::{Facts, authorities, authority_of, certificate_facts, certificate_facts_der, is_dev};
pub use held::{Held, PeerStream};
pub use https::HttpsDial;
pub use limits::harden;
pub use live::Live;
pub use name::{SpiffeName, Subject};
pub use peer::VerifiedPeer;
pub use person::{Person, new_handle};
pub use pki::{Authority, person_request};
pub use protocol::Protocol;
pub use refusal::Refusal;
pub use tls::{Credentials, Exchange, NextTls, ServerTls, client_config, server_config};
pub use trust::{Distrust, TrustRoots};
pub use verify::{AgencyVerifier, Expected};
