//! What can go wrong in search.

use crate::domain::fault::Fault;
use thiserror::Error;

/// An error of the search room.
#[derive(Debug, Error)]
pub enum SearchError {
    /// The index engine failed.
    #[error("the index failed: {0}")]
    Engine(#[from] tantivy::TantivyError),
    /// A file or folder could not be read or written.
    #[error("could not {step}: {source}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// What is in the index is not what was put there.
    #[error("the index holds {0}")]
    Damaged(&'static str),
}

impl From<SearchError> for Fault {
    fn from(e: SearchError) -> Fault {
        Fault::unavailable("SEARCH_FAILED", e.to_string())
            .hint("opening and listing records still work; see the node's log")
    }
}
