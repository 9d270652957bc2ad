//! The audit log of one node: who did what, in an order that cannot be rewritten unseen.
//!
//! Every event is one leaf of an RFC 6962 Merkle tree, stored as one frame of a journal of its own. Heads are
//! C2SP checkpoints (signed notes) and exports have the C2SP tlog-tiles layout, so that other people's tools
//! verify them too. [`verify_dir`] is the offline verifier; it needs no node.
//!
//! What it is not: it decides nothing, knows no policy and holds no content. Witnessing other nodes' heads and
//! sending reports is the work of `service`; this room makes and checks the bytes.
//!
//! Invariants
//! - An [`AuditReceipt`] exists only for an event that is durable, and only [`AuditLog`] makes one. It cannot
//!   be copied. Without it nothing is decrypted for a person.
//! - The sequence number of an event is its leaf index and the number of its journal frame. There are no gaps.
//! - The tree never holds an event that is not durable, so a signed head never has to be taken back.
//! - A log that is not the one whose heads went to the ledger is not served from ([`Anchors`]).
//! - A failed write ends the log: every later call to record fails, until the node is started again.
//! - Verification never panics, accepts exactly one proof for each question, and names what is wrong.
//!
//! Who may call: `service` and `vault` record; `search` indexes with events of its own; `cli` verifies.

mod anchors;
mod error;
mod event;
mod merkle;
mod note;
mod received;
mod report;
mod tiles;
mod verify;
mod writer;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod merkle_tests;
#[cfg(test)]
mod verify_tests;
#[cfg(test)]
mod writer_tests;

pub use anchors::{Anchors, anchor_digest};
pub use error::AuditError;
pub use event::{Action, Actor, DISCLOSED, Decision, Event, EventDraft, MAX_EVENT_BYTES, Object, Stage, pseudonym};
pub(crate) use merkle::node_hash;
pub use merkle::{Hash, ProofError, Tree, empty_root, leaf_hash, verify_consistency, verify_inclusion};
pub use note::{Checkpoint, Note, NoteKey, NoteSignature};
pub use received::ReceivedReports;
pub use report::{AccessEvent, AccessItem, AccessReport};
pub use tiles::{Resource, encode_bundle, encode_tile, parse_bundle, parse_tile, resources, write_file};
pub use verify::{Verified, verify_dir};
pub use writer::{AuditLog, AuditReceipt, Filter, Sink};
