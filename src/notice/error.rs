//! What can go wrong with notices.

use crate::domain::canon::CanonError;
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::reserve::Work;
use crate::journal::JournalError;
use crate::seal::SealError;
use thiserror::Error;

/// The reason by which an addressee takes no withdrawal and no recall of a notice that it does not have.
pub const RECALLS_FULL: &str = "RECALLS_FULL";

/// An error of the notices; which step failed, and why.
#[derive(Debug, Clone, Error)]
pub enum NoticeError {
    /// The journal failed. Nothing is accepted any more.
    #[error("the journal of notices failed: {0}")]
    Journal(#[from] JournalError),
    /// A letter does not verify or open.
    #[error("a letter is not as it should be: {0}")]
    Seal(SealError),
    /// Bytes do not parse.
    #[error("a letter does not parse: {0}")]
    Canon(#[from] CanonError),
    /// A rule refuses it.
    #[error("refused: {0}")]
    Rule(&'static str),
    /// It is about a notice that is not here.
    #[error("refused: {0}")]
    Absent(&'static str),
    /// Whoever sent it was first.
    #[error("its sender has recalled it")]
    Recalled,
    /// Whoever sent it was first, and nobody here had seen it.
    #[error("its sender has withdrawn it")]
    Withdrawn,
    /// It takes back a notice that is not here, and as many of its sender are kept back already as may.
    #[error("as many notices of its sender are kept back, before they come, as may")]
    KeptBackFull,
    /// Too much lies undelivered.
    #[error("the outbox is full")]
    Full,
    /// The node's disk has no room for one of its precedence.
    #[error("the disk is too full for it")]
    Disk(Work),
    /// More waits for the disk than may.
    #[error("too much waits for the disk")]
    Busy,
    /// Body and the other fields are too much together.
    #[error("the notice is too large: its body, addressees and measures have at most 96 KiB together")]
    TooLarge,
}

impl From<NoticeError> for Fault {
    fn from(e: NoticeError) -> Fault {
        match e {
            NoticeError::Journal(_) => Fault::unavailable("JOURNAL_FAILED", e.to_string())
                .hint("the node takes no notices any more; see its log and disk"),
            NoticeError::Seal(_) => Fault::integrity("UNOPENABLE", e.to_string()),
            NoticeError::Canon(_) => Fault::usage("INVALID", e.to_string()),
            NoticeError::TooLarge => {
                Fault::usage("BODY_TOO_LARGE", e.to_string()).hint("publish a record and attach it")
            }
            NoticeError::Rule(_) => Fault::refused("NOT_ALLOWED", e.to_string()),
            NoticeError::Absent(_) => Fault::new(FaultKind::NotFound, "NOT_FOUND", e.to_string()),
            NoticeError::Recalled => {
                Fault::conflict("RECALLED", e.to_string()).hint("`hufu notice show` says who did, and why")
            }
            NoticeError::Withdrawn => Fault::conflict("RECALLED", e.to_string())
                .hint("nobody of your agency had seen it; there is nothing to do"),
            NoticeError::KeptBackFull => Fault::unavailable(RECALLS_FULL, e.to_string())
                .hint("those whose notices never come are forgotten after eight days"),
            NoticeError::Disk(work) => work.refusal(),
            NoticeError::Busy => Fault::overloaded("too many notices wait for the node's disk"),
            NoticeError::Full => Fault::unavailable("OUTBOX_FULL", e.to_string())
                .hint("earlier notices wait for addressees that cannot be reached; a flash is still taken"),
        }
    }
}
