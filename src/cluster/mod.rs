//! Consensus: openraft on the journal, the door in front of it, the batcher before it.
//!
//! Everything of openraft stays in this room, so that another version is a change here only. It carries bytes
//! through [`PeerCalls`], which `node` plugs in; it knows no transport.
//!
//! Invariants
//! - Vote and entries are durable before they are answered for; one journal keeps their order ([`log`]).
//! - openraft sees no message whose sender is not the voter named in it, that rolls back what was applied, or
//!   that brings a membership which the ledger did not approve ([`door`], P6).
//! - A message that would roll back is kept as evidence, and this node writes nothing more ([`evidence`]).
//! - A storage error stops openraft, and `node` then stops the process: nothing is served from a log that
//!   cannot be read (openraft issue 1795).
//! - A batch is answered only once it is applied on this node.

#![allow(clippy::result_large_err, reason = "openraft's storage error is large, and its traits ask for it")]

mod batcher;
mod codec;
mod committer;
mod door;
mod evidence;
mod group;
mod log;
mod machine;
mod network;
mod saver;
#[cfg(test)]
mod tests;
mod types;

pub use committer::{Committer, Outcome, refused};
pub use group::{Cluster, ClusterError, ClusterOptions, Status, Timings};
pub use network::{CallError, CallKind, PeerCalls};
pub use types::{Entry, EntryReply, TypeConfig};
