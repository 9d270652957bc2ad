//! The materialised state: one value with its position, kept in an embedded database so that a start is quick.
//!
//! What it is: a cache. [`Materialised`] keeps the newest state that it was given, together with opaque bytes that
//! say where in the log that state stands, and gives both back after a restart.
//!
//! What it is not: it is never the truth. Snapshot files and the journal are. Nothing may be purged from the log
//! because it was saved here: the database (sled 0.34) does not fsync on flush, so a power cut can take the last saves,
//! and its open issues include files that cannot be read again.
//!
//! Invariants
//! - State and position are saved in one database batch: both or neither.
//! - What is given back was saved exactly so: a SHA-256 over all of it is checked on every load.
//! - A database that fails, panics or does not verify is set aside under another name, never repaired and never
//!   deleted, and an empty one takes its place. Whoever opened it is told, so that an audit event can be written.
//! - No type of the database leaves this room.
//!
//! It blocks: call it from a blocking thread. One process, one [`Materialised`] for each folder.

mod error;
mod format;
mod materialised;
#[cfg(test)]
mod tests;

pub use error::StoreError;
pub use materialised::{Materialised, Opened, Saved};
