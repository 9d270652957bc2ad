//! A whole federation in one thread: the code that ships, over a simulated machine and network, driven by one seed.
//!
//! What is simulated: disks (what was not synced is lost or torn by a power cut, syncs fail or take long, disks are full,
//! bytes flip), the network (loss, delay, reordering, partitions, one-way too), clocks (skew, jumps), crashes. Logs are cut
//! every few entries, so that who was away is fed a snapshot in pieces, with crashes amid them; nodes come, vote and go;
//! agencies and persons are suspended; months go by, and old notices are deleted; large bodies lie apart and travel in pieces. What
//! is not: the rooms themselves. `node::rooms` opens and drives them here as it does in the product, and this room has no copy of
//! anything that they do (`tests/tidy.rs`). Left out are TLS, the store (it only shortens a start) and the search indexes.
//!
//! How a seed becomes a run: each node has a runtime of its own whose clock stands; the world goes round in ticks of one
//! millisecond, lets each node do what it can within the tick, and carries messages between ticks. Workers run when the
//! dice say (`host`), so one thread does everything in an order that the seed fixes.
//!
//! Oracles (`oracle`), asked at every crash and at the end:
//! - what was acknowledged is there, also after power cuts of all nodes;
//! - all nodes have one ledger: equal digests at equal indexes;
//! - no object lies on, or was sent to, a node that is not entitled;
//! - what waits for a second person is where it was proposed, and nowhere else; what was turned down is published nowhere;
//! - a large body that was acknowledged opens whole at everybody entitled, with the very bytes that were published; one that did
//!   not come whole leaves nothing, and no file of content lies that nothing names;
//! - every disclosure has its entry in the audit log, and its originator is told of it;
//! - every head that an audit log ever had is consistent with each later one;
//! - a notice is delivered once to each agency, or its sender knows that it was not; a recall leaves nothing of it; what its
//!   addressee says of it is one chain of receipts;
//! - nobody who knows that an agency is suspended answers or pushes to it, and nothing that it acknowledged is lost; to a person
//!   who is suspended nothing more is disclosed, also of what began before, and no stop undoes it;
//! - whoever was removed does not come back, nobody listens to it, and it is sent nothing that came later;
//! - once faults stop, what is owed arrives; all know one leader soon, whatever terms they bring, and it stays.
//!
//! `HUFU_SIM_SEEDS=N cargo test --lib sim::` runs N seeds, `HUFU_SIM_SEED=S` one. Six faults that tests plant into the
//! product (`domain::planted`) must each be found, or the oracles are worth nothing.

mod dice;
mod fixture;
mod host;
mod large;
mod members;
mod net;
mod node;
mod oracle;
mod people;
mod pieces;
mod repeats;
mod retention;
mod revoked;
mod siblings;
mod suspension;
mod tests;
mod trouble;
mod twice;
mod work;
mod world;
