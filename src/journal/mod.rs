//! Durable append-only frames: one writer, group commit, recovery, and a seam where storage faults are injected.
//!
//! What it is: a directory of segment files. A frame is any byte string; it gets the next sequence number, and an
//! answer means that it and everything before it was written and `fdatasync`ed. [`Core`] is the journal without a
//! thread, as calls on a [`Disk`] (P28); [`Journal`] is the handle to a worker that drives one, and [`Host`] says what a worker is.
//!
//! What it is not: it does not know what frames mean, does not replicate, and does not defend against somebody who
//! can write its files: checks and chain are against accidents. Tamper evidence is the business of `audit`.
//!
//! Invariants
//! - Answered means durable. Creating, rolling and removing segments, and creating the directory, sync the directory.
//! - After any failed write, sync or directory sync nothing is answered with success again: the journal is poisoned,
//!   since a second sync may report success for pages the kernel has dropped.
//! - After a crash there is a prefix of what was submitted, containing all that was answered. A submission that
//!   was not answered may be there in part: its first frames, never its last without its first.
//! - Recovery cuts only an incomplete end of the last segment. Anything else that does not fit is refused.
//!
//! What is not guaranteed: damage to the very last frame, a file shortened at a frame boundary, whole segments missing
//! at the front or at the back, or an emptied directory look like an ordinary crash, a trim or a new journal. Who must
//! know compares [`Recovery`] with what it remembers elsewhere. Pages that the kernel dropped after a failed sync
//! can still be read until the machine restarts; restart the machine, not only the process, after such a failure.
//! Where a file system writes one unanswered batch out of order, a power cut can leave an intact frame behind a
//! broken one; this is refused too, since it cannot be told from damage.
//!
//! Any room above layer 1 may use it. One process, one handle family per directory: a lock file enforces it.

mod catalog;
mod core;
mod disk;
mod driver;
mod error;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod fault;
mod frame;
mod host;
mod marks;
mod memory;
mod meter;
mod recover;
#[cfg(test)]
mod tests;
mod waiting;
mod walk;
mod whole;

pub use self::core::{Core, JournalOptions};
pub use self::disk::{Disk, RealDisk};
pub use self::driver::{Done, Journal};
pub use self::error::JournalError;
#[cfg(test)]
pub(crate) use self::fault::{FaultDisk, Leaves, Stalled};
pub use self::host::{Host, Once, System, Waker, Work, Worker, aside};
pub use self::meter::{COMMIT_BOUNDS_US, Meter, SLOW, Written};
pub use self::recover::Recovery;
pub use self::waiting::{Place, Waiting};
pub use self::whole::{read_whole, write_whole};
