//! Consensus: openraft on the journal, the door in front of it, the batcher before it.
//!
//! Everything of openraft stays in this room, so that another version is a change here only. It carries bytes
//! through [`PeerCalls`], which `node` plugs in; it knows no transport.
//!
//! Invariants
//! - Vote and entries are durable before they are answered for; one journal keeps their order ([`log`]).
//! - openraft sees no message whose sender is not the voter named in it, that rolls back what was applied, or
//!   that brings a membership which the ledger did not approve, and believes no commit position that the message does
//!   not prove; answers pass the door too ([`door`], P6).
//! - Entries and snapshots come from a leader that shows signed grants of a majority of the voters ([`elections`], P6).
//! - A message that would roll back is kept as evidence, and this node leads nobody and writes nothing more ([`evidence`]).
//! - A snapshot is read as a whole, and held against what is known here, before it can be installed ([`pieces`]).
//! - A node that took part and lost its votes does not start ([`begun`]).
//! - A storage error stops openraft, and `node` then stops the process: nothing is served from a log that
//!   cannot be read (openraft issue 1795).
//! - Agencies' batches are written in turn, and none over a budget ([`fair`], P8).
//! - A batch is answered only once it is applied on this node.
//! - Who takes part by the log is who does by the ledger, as far as whoever leads has brought it ([`members`]).
//!
//! - A snapshot counts only with a certificate of the majority for its very state, and a node whose state is not the
//!   certified one writes nothing more ([`certificate`], P7).
//! - A voter's log is cut only up to a snapshot whose certificate is durable beside it ([`snapshot`], [`machine`]); by its
//!   entries, and by their bytes ([`cutting`]).
//! - What waits on the ledger for a certificate gets one from whoever leads, or from anybody else ([`certifying`]).
//! - How old the applied state may be is known by the signed word of a majority of the voters ([`freshness`], P9).
//! - Two words of one voter on one index that differ are kept as evidence against it ([`heard`]).
//!
//! Not guaranteed: that an elected leader sends everybody the same entries before the next certificate, about a second
//! later. Nothing takes force by it that opens something. What contradicts a fork is kept as evidence; which side was bad,
//! people find out.

#![allow(clippy::result_large_err, reason = "openraft's storage error is large, and its traits ask for it")]

mod batcher;
mod begun;
mod certificate;
mod certifying;
mod codec;
mod committer;
mod cutting;
mod door;
mod elections;
mod error;
mod evidence;
mod fair;
mod forwarded;
mod freshness;
mod group;
mod hand_over;
mod heard;
mod incarnation;
mod log;
mod machine;
mod members;
mod network;
mod pieces;
mod saver;
mod snapshot;
#[cfg(test)]
mod tests;
mod types;
mod voters;

pub use committer::{Committer, Outcome, refused};
pub use error::ClusterError;
pub use evidence::Finding;
pub use group::{Cluster, ClusterOptions, Materialise, Status, Timings};
pub use incarnation::Incarnation;
pub use log::Cuts;
pub use network::{CallError, CallKind, PeerCalls};
pub use types::{Entry, EntryReply, TypeConfig};
