//! What can go wrong with held records.

use crate::domain::canon::CanonError;
use crate::domain::fault::Fault;
use crate::journal::JournalError;
use crate::seal::SealError;
use thiserror::Error;

/// An error of the vault; which step failed, and why.
#[derive(Debug, Clone, Error)]
pub enum VaultError {
    /// The disk failed. After a failed write the vault takes nothing in any more.
    #[error("cannot {step}: {why}")]
    Io {
        /// Step.
        step: &'static str,
        /// The system's words.
        why: String,
    },
    /// The intake journal failed.
    #[error("the intake journal failed: {0}")]
    Journal(#[from] JournalError),
    /// A sealed object does not verify or open.
    #[error("a sealed object is not as it should be: {0}")]
    Seal(#[from] SealError),
    /// Stored bytes do not parse.
    #[error("a stored object does not parse: {0}")]
    Canon(#[from] CanonError),
    /// A file ends before what should stand in it.
    #[error("a stored object is cut off")]
    Cut,
    /// An object is over the limit.
    #[error("a sealed object is over its limit")]
    TooLarge,
    /// What was asked for is made of whole texts, and these are read in pieces only.
    #[error("its texts are too large to be taken in one piece")]
    Whole,
    /// An earlier write failed; the vault stays closed.
    #[error("the vault is closed after an earlier failure")]
    Poisoned,
    /// The receipt does not cover what it was shown for.
    #[error("the audit receipt does not cover this record")]
    Receipt,
    /// It may be taken later: what it needs is not on the ledger as applied here, or too much waits already.
    #[error("not yet: {0}")]
    NotYet(&'static str),
    /// Content that came in pieces was cut off on its way; nothing of it was kept.
    #[error("its content did not come whole: {0}")]
    Transfer(String),
    /// An object names an audience object that is not here: its sender is to send the bytes.
    #[error("its audience key is named and is not here")]
    AudienceWanted,
    /// More waits for the disk than may.
    #[error("too much waits for the disk")]
    Busy,
    /// As many proposals wait for a classifier as may.
    #[error("too many proposals wait for a classifier already")]
    Crowded,
    /// Somebody else decided on the proposal before.
    #[error("it was decided already")]
    Decided,
    /// It was superseded so long ago that the ledger has no commitment of it any more (P8).
    #[error("it was superseded over ninety days ago")]
    Folded,
    /// A rule of the receiving node (R in the table of rules) refuses the object.
    #[error("refused: {0}")]
    Rule(&'static str),
}

impl VaultError {
    /// Whether it tells of the stored bytes, not of a disk that may answer the next time.
    pub(super) fn is_damage(&self) -> bool {
        !matches!(
            self,
            VaultError::Io { .. }
                | VaultError::NotYet(_)
                | VaultError::Transfer(_)
                | VaultError::AudienceWanted
                | VaultError::Whole
        )
    }

    /// Whether it tells of the object, and not of this node or its disk: then its originator is told (P15).
    pub fn blames_object(&self) -> bool {
        matches!(self, VaultError::Seal(_) | VaultError::Canon(_) | VaultError::TooLarge | VaultError::Rule(_))
    }

    /// Wraps an I/O error with its step.
    pub(super) fn io(step: &'static str) -> impl Fn(std::io::Error) -> VaultError + Copy {
        move |e| VaultError::Io { step, why: e.to_string() }
    }
}

impl From<VaultError> for Fault {
    fn from(e: VaultError) -> Fault {
        match e {
            VaultError::Io { .. } | VaultError::Journal(_) | VaultError::Poisoned => {
                Fault::unavailable("JOURNAL_FAILED", e.to_string())
                    .hint("the node stops taking records in; see its log and disk")
            }
            VaultError::TooLarge => Fault::usage("BODY_TOO_LARGE", e.to_string()),
            VaultError::Whole => Fault::usage("BODY_TOO_LARGE", e.to_string()).hint(
                "read it in pieces, as `hufu record open` does; an amendment gives its text anew, with --body-file",
            ),
            VaultError::Rule(_) => Fault::refused("NOT_ALLOWED", e.to_string()),
            VaultError::Folded => Fault::conflict("FOLDED", e.to_string()),
            VaultError::Decided => Fault::conflict("REJECTED", e.to_string()).hint("somebody was first; look again"),
            VaultError::Busy => Fault::overloaded("too many records wait for the node's disk"),
            VaultError::Crowded => Fault::unavailable("TOO_MANY", e.to_string()).hint("see `hufu record proposals`"),
            VaultError::NotYet(_) | VaultError::Transfer(_) | VaultError::AudienceWanted => {
                Fault::unavailable("NOT_FRESH", e.to_string())
            }
            VaultError::Receipt => Fault::internal("INTERNAL", e.to_string()),
            VaultError::Seal(_) | VaultError::Canon(_) | VaultError::Cut => {
                Fault::integrity("UNOPENABLE", e.to_string())
            }
        }
    }
}
