//! Holding, syncing and disclosing sealed records.
//!
//! What it is: the intake of sealed objects ([`Intake`]), the keys that a node seals and opens with
//! ([`Keys`]), the rules that every receiving node checks ([`rules`]), the sync with peers ([`Vault::scan`], [`Vault::pull`]),
//! what a decision needs of a held version ([`Vault::card`]), and the one
//! file that yields plaintext: for people ([`Vault::disclose`]) and for the index ([`Vault::text_for_index`]).
//! What it is not: it decides nothing about persons; `service` does.
//!
//! Invariants
//! - An object is durable here before anybody is told that it is held (P15: held means openable).
//! - Only what the ledger committed is exposed; an uncommitted object lies aside (P17), and only if an agreement in
//!   force covers it already.
//! - A proposal goes nowhere before a classifier signed it, and what was turned down never does ([`Proposal`]).
//! - Nothing is taken in that this agency is not entitled to, or that is above its ceiling: the node has no
//!   key for it.
//! - Content above [`INLINE_BYTES`](crate::domain::limits::INLINE_BYTES) lies apart from its object and is never whole in
//!   memory while it is sealed, sent, taken in or served.
//! - `seal::open_portion` and its like are called in `disclose.rs` and nowhere else (kept by `tests/tidy.rs`).
//! - A bad object is set aside with its reason, never stops the others, and its originator is told by a signed
//!   complaint (P15).

mod arriving;
mod card;
mod clerk;
mod complaint;
mod disclose;
mod error;
mod files;
mod frame;
mod holder;
mod index;
mod intake;
mod keys;
mod large;
mod object;
mod outgoing;
mod proposal;
mod pull;
mod receive;
mod rules;
mod shared;
mod signing;
mod sync;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "test")]
mod tests;
mod within;

pub use arriving::{Arriving, Brought};
pub use card::{Card, Facts, is_covered};
pub use complaint::{Complained, Complaint, Complaints, Refusal};
pub use disclose::{Disclosed, DisclosedPortion, Disclosing, Piece};
pub use error::VaultError;
pub use holder::{Coming, Draft, Held, Prepared, Vault};
pub use intake::{Entry, Intake, Take};
pub use keys::Keys;
pub use large::{Content, ContentReader, Spooled};
pub use object::{HEAD_BYTES, SealedObject};
pub use outgoing::{AUDIENCE_WANTED, Acknowledged, Encoded, Outgoing};
pub use proposal::{Approval, Part, Proposal, Proposed, Stand};
pub use pull::Pulling;
pub use receive::{Pieces, Turn};
pub use rules::META_TYPE;
pub use shared::SharedAudience;
pub use sync::{Missing, Owed, Parts, PeerVault, PushState, States};
