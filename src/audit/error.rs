//! What can go wrong in the audit log.

use super::merkle::ProofError;
use crate::domain::canon::CanonError;
use crate::domain::fault::Fault;
use crate::journal::JournalError;
use thiserror::Error;

/// An error of the audit room.
#[derive(Debug, Error)]
pub enum AuditError {
    /// An earlier write failed, so that the log takes nothing more until the node is started again.
    #[error("the audit log has stopped: {0}")]
    Stopped(String),
    /// More events wait for the disk than may: nothing was recorded, the log goes on.
    #[error("too many events wait for the disk of the audit log")]
    Busy,
    /// The journal refused a read, or could not be opened.
    #[error("the audit journal failed: {0}")]
    Journal(#[from] JournalError),
    /// The stored log does not add up at this event.
    #[error("event {seq} of the audit log is wrong: {what}")]
    Corrupt {
        /// The event, which is also the journal frame.
        seq: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The log is shorter or another than the one that an anchored head was of.
    #[error("the audit log is not the one that was anchored with {size} events: it was cut or written anew")]
    Anchor {
        /// Events of the anchored head.
        size: u64,
    },
    /// The ledger has an anchor of this node that no head kept here belongs to.
    #[error("the ledger has an anchor of this node's audit log that no checkpoint kept here belongs to")]
    Unanchored,
    /// A field of an event is longer than its format allows.
    #[error("the {0} of an audit event is too long")]
    Field(&'static str),
    /// Bytes of an event or a report do not parse.
    #[error("audit bytes do not parse: {0}")]
    Format(#[from] CanonError),
    /// An event or a size beyond the end of the log was asked for.
    #[error("the audit log has {size} events, {asked} was asked for")]
    Beyond {
        /// What was asked for.
        asked: u64,
        /// Events in the log.
        size: u64,
    },
    /// A proof does not verify.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// A note or checkpoint is malformed or not signed as it must be.
    #[error("the checkpoint is not valid: {0}")]
    Note(&'static str),
    /// A report of accesses does not verify.
    #[error("the access report is not valid: {0}")]
    Report(&'static str),
    /// A file of an export is wrong.
    #[error("`{path}` {what}")]
    File {
        /// Path inside the export, with `/`.
        path: String,
        /// What is wrong, as the end of a sentence.
        what: String,
    },
    /// A file could not be read or written.
    #[error("could not {step} `{path}`: {source}")]
    Io {
        /// `read`, `write` or `list`.
        step: &'static str,
        /// Path inside the export.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
}

impl AuditError {
    pub(crate) fn file(path: &str, what: impl Into<String>) -> AuditError {
        AuditError::File { path: path.to_owned(), what: what.into() }
    }
}

impl From<AuditError> for Fault {
    fn from(e: AuditError) -> Fault {
        let text = e.to_string();
        match e {
            AuditError::Stopped(_) => Fault::unavailable("AUDIT_STOPPED", text)
                .hint("nothing can be read or changed without its audit entry; check the disk and restart the node"),
            AuditError::Busy => Fault::overloaded(text),
            AuditError::Journal(_) => Fault::unavailable("AUDIT_UNAVAILABLE", text),
            AuditError::Field(_) => Fault::usage("TOO_LONG", text),
            AuditError::Beyond { .. } => Fault::usage("BEYOND_LOG", text),
            AuditError::Io { .. } => Fault::unavailable("AUDIT_IO", text),
            AuditError::Anchor { .. } | AuditError::Unanchored => Fault::integrity("AUDIT_INVALID", text).hint(
                "bring the node's data back as it was; a log with a gap is evidence, and nothing is served from it",
            ),
            AuditError::Corrupt { .. }
            | AuditError::Format(_)
            | AuditError::Proof(_)
            | AuditError::Note(_)
            | AuditError::Report(_)
            | AuditError::File { .. } => Fault::integrity("AUDIT_INVALID", text),
        }
    }
}
