//! The business error: what a person is told, by kind, with a stable reason and a way out.
//!
//! Rooms have their own error types; they become a [`Fault`] at the service door. The kind fixes the exit
//! code of the command line and the gRPC status (see `api`).

use std::fmt;

/// Whose turn it is to do something, and which exit code that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// Wrong usage or input (exit 2).
    Usage,
    /// Refused: one's own act lacks a role, a clearance, an agreement (exit 3).
    Refused,
    /// Not found, or not visible to the asker; the two look alike (exit 4).
    NotFound,
    /// No quorum, peer, node, or the deadline passed (exit 5).
    Unavailable,
    /// Bytes do not verify (exit 6).
    Integrity,
    /// Somebody was first (exit 7).
    Conflict,
    /// Partly done, the rest is listed (exit 8).
    Partial,
    /// A bug (exit 1).
    Internal,
}

impl FaultKind {
    /// The exit code of the command line.
    pub fn exit_code(self) -> u8 {
        match self {
            FaultKind::Internal => 1,
            FaultKind::Usage => 2,
            FaultKind::Refused => 3,
            FaultKind::NotFound => 4,
            FaultKind::Unavailable => 5,
            FaultKind::Integrity => 6,
            FaultKind::Conflict => 7,
            FaultKind::Partial => 8,
        }
    }
}

/// An error as a person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What kind of failure.
    pub kind: FaultKind,
    /// Stable upper-snake-case word for scripts, e.g. `ABOVE_CLEARANCE`.
    pub reason: &'static str,
    /// One sentence, lower case, no full stop; user input in backticks.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Fault {
    /// A fault without a hint.
    pub fn new(kind: FaultKind, reason: &'static str, message: impl Into<String>) -> Fault {
        Fault { kind, reason, message: message.into(), hint: None }
    }

    /// Adds what the person can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Fault {
        self.hint = Some(hint.into());
        self
    }

    /// Exit 2.
    pub fn usage(reason: &'static str, message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Usage, reason, message)
    }

    /// Exit 3.
    pub fn refused(reason: &'static str, message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Refused, reason, message)
    }

    /// Exit 4. One text for absent and for invisible.
    pub fn not_found() -> Fault {
        Fault::new(FaultKind::NotFound, "NOT_FOUND", "not found, or not visible to you")
    }

    /// Exit 5.
    pub fn unavailable(reason: &'static str, message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Unavailable, reason, message)
    }

    /// Exit 5: a queue or a number of calls is at its bound.
    pub fn overloaded(message: impl Into<String>) -> Fault {
        Fault::unavailable("OVERLOADED", message).hint("nothing was done; ask again in a moment")
    }

    /// Exit 6.
    pub fn integrity(reason: &'static str, message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Integrity, reason, message)
    }

    /// Exit 7.
    pub fn conflict(reason: &'static str, message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Conflict, reason, message)
    }

    /// Exit 1.
    pub fn internal(reason: &'static str, message: impl Into<String>) -> Fault {
        Fault::new(FaultKind::Internal, reason, message)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}
