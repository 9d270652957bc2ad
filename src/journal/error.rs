//! What can go wrong in the journal.

use std::io;
use std::sync::Arc;

/// The journal's error. Cheap to clone: everybody waiting for one group commit gets the same one.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// The disk refused a step. If the step was a write, the journal is poisoned from here on.
    #[error("journal could not {step}")]
    Io {
        /// The step that failed, as a verb: `append`, `sync segment`, …
        step: &'static str,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// An earlier write or sync failed; only opening the journal again helps.
    #[error("journal stopped after a failed write")]
    Poisoned,
    /// Stored bytes do not fit together; nothing was changed or cut.
    #[error("journal segment `{segment}` is damaged at byte {offset}: {reason}")]
    Corrupt {
        /// File name of the segment.
        segment: String,
        /// Byte in the file where the damaged frame or header starts.
        offset: u64,
        /// What does not fit.
        reason: &'static str,
    },
    /// A frame is larger than [`JournalOptions::max_frame_bytes`](super::JournalOptions::max_frame_bytes); the
    /// whole submission was refused, the journal goes on.
    #[error("frame of {bytes} bytes is larger than the limit of {max}")]
    FrameTooLarge {
        /// Size of the refused frame.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The writer thread has ended.
    #[error("journal is closed")]
    Closed,
}

/// For `map_err`: names the step a disk error happened in.
pub(super) fn io_at(step: &'static str) -> impl FnOnce(io::Error) -> JournalError {
    move |source| JournalError::Io { step, source: Arc::new(source) }
}
