//! The replicated state machine: what all agencies must agree on.
//!
//! Pure, synchronous and deterministic: [`State::apply_batch`] is a function of the state, the index and the
//! bytes. No clock, no randomness, no I/O, no task, no channel. `cluster` feeds it committed entries in order,
//! on every node and after every restart alike.
//!
//! Invariants
//! - Same entries, same digest. Maps are ordered; time enters with the entry and never goes back (P4).
//! - A batch counts once (P3): signed by its node, strictly rising (incarnation, sequence), not after its index;
//!   the last batch sent again gets its stored reply. One refused command never fails its neighbours.
//! - Nodes publish, anchor and introduce; acts of authority carry persons' signatures (P1).
//! - What widens takes force at the entry that brings a certificate for it, what narrows at once (P7).
//! - No agency puts more on the ledger than its budget of a minute (P8).
//! - What was superseded ninety days ago leaves the state for a root of its origin's (P8).
//! - Rules have levels: a log is read by the rules of its time, on every node alike (P5).
//! - A suspended agency's nodes and officers count for nothing (P2).
//! - Ceiling, tier and roots of an agency are those that officers of t others signed last; what was committed keeps its marking.
//! - Who takes part, and who votes, is what officers of t agencies signed; a node that was removed never comes back.
//! - The ledger learns no label, title, or audience: a commitment is a hiding hash and blinded tags (P12, P13).
//! - A record id carries its origin; only a node of that agency commits it (P17).
//!
//! Rule numbers are those of the protocol rules; `docs/rules.md` says which of them this room enforces (L).

mod act;
mod apply;
mod batch;
mod bounds;
#[cfg(test)]
mod bounds_tests;
mod budget;
mod charter;
mod command;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]
pub(crate) mod fixture;
mod fold;
#[cfg(test)]
mod fold_tests;
mod form;
mod genesis;
mod level;
#[cfg(test)]
mod level_tests;
mod members;
#[cfg(test)]
mod members_tests;
mod parts;
#[cfg(test)]
mod parts_tests;
mod record;
mod state;
mod suites;
#[cfg(test)]
mod tests;
mod whole;
mod widening;
#[cfg(test)]
mod widening_tests;

pub use act::{Act, SignedAct, act_hash};
pub use apply::guide_id;
pub use batch::{BatchReply, CommandReply, Refusal, SignedBatch};
pub use budget::Worth;
pub use charter::Charter;
pub use command::Command;
pub use fold::{Folds, folded_leaf};
pub use genesis::{Authority, Descriptor, Genesis, NodeEntry, Place, SignedGenesis, node_id, origin_mark};
pub use level::LEVEL;
pub use members::Retired;
pub use parts::{Changes, Part};
pub use record::{RecordEntry, VersionEntry};
pub use state::{AgencyState, AgreementState, GuideState, LedgerError, NodeState, State};
pub use suites::{SuiteState, Suites};
pub use whole::Proposal;
pub use widening::{ATTESTATION, Waiting, attested};
