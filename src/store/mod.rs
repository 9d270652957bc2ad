//! The materialised state: parts under keys with their position, kept in an embedded database so that a start is quick.
//!
//! What it is: a cache. [`Materialised`] keeps the parts that it was given, together with opaque bytes that say where in the
//! log the state stands that they are, and gives all back after a restart. A save brings only the parts that changed.
//!
//! What it is not: it is never the truth. Snapshot files and the journal are. Nothing may be purged from the log
//! because it was saved here: the database (sled 0.34) does not fsync on flush, so a power cut can take the last saves,
//! and its open issues include files that cannot be read again.
//!
//! Invariants
//! - What a save changes and its position are one database batch: all or nothing.
//! - What is given back may still not be what was saved: whoever reads it knows the digest of the state, and sets the database
//!   aside when it is another one.
//! - A database that fails, panics or does not verify is set aside under another name, never repaired and never
//!   deleted, and an empty one takes its place. Whoever opened it is told, so that an audit event can be written.
//! - One that is whole is removed when all of it is saved again: because it is of the format of before, or its files grew.
//! - No type of the database leaves this room.
//!
//! It blocks: call it from a blocking thread. One process, one [`Materialised`] for each folder.

mod error;
mod format;
mod materialised;
#[cfg(test)]
mod tests;

pub use error::StoreError;
#[cfg(test)]
pub(crate) use materialised::write_whole;
pub use materialised::{Materialised, Opened, Part, Saved, Stored};
