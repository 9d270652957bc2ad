//! What goes wrong with consensus, for people and for callers.

use crate::domain::canon::CanonError;
use crate::domain::fault::Fault;
use thiserror::Error;

/// What goes wrong with consensus.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClusterError {
    /// Nobody leads, or the leader did not take it before the deadline. The outcome is unknown.
    #[error("no quorum took it in time{0}")]
    Unavailable(String),
    /// A message does not parse.
    #[error("a message does not parse: {0}")]
    Malformed(#[from] CanonError),
    /// A message that no honest member sends.
    #[error("refused at the door: {0}")]
    Door(String),
    /// As much waits for the ledger as may: nothing was sent.
    #[error("too much waits for the ledger")]
    Overloaded,
    /// Somebody tried to undo what was applied.
    #[error("the ledger is closed for writing: {0}")]
    Halted(String),
    /// Storage or configuration failed; the node stops.
    #[error("consensus stopped: {0}")]
    Fatal(String),
}

impl From<ClusterError> for Fault {
    fn from(e: ClusterError) -> Fault {
        match e {
            ClusterError::Unavailable(_) => Fault::unavailable("NO_LEADER", e.to_string())
                .hint("`hufu cluster status` shows who is reachable; asking again is safe"),
            ClusterError::Overloaded => Fault::overloaded(e.to_string()),
            ClusterError::Malformed(_) => Fault::usage("INVALID", e.to_string()),
            ClusterError::Door(_) => Fault::refused("NOT_ALLOWED", e.to_string()),
            ClusterError::Halted(_) => Fault::integrity("LEDGER_HALTED", e.to_string())
                .hint("evidence is in `ledger/evidence` of the node's data; agree with the other agencies, move it away, start the node again"),
            ClusterError::Fatal(_) => Fault::unavailable("JOURNAL_FAILED", e.to_string()),
        }
    }
}
