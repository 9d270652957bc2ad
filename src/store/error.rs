//! What can go wrong here, by whose fault it is.

use crate::domain::canon::CanonError;
use std::io;
use thiserror::Error;

/// Errors of this room.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The operating system refused a step around the database.
    #[error("the store could not {step}: {source}")]
    Io {
        /// The step, as a verb: `create its folder`, `set a folder aside`, …
        step: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// Somebody else has the folder open. Nothing is set aside, since nothing is broken.
    #[error("the store's folder is open elsewhere")]
    InUse,
    /// The database returned an error or panicked; its own words.
    #[error("the store's database failed: {0}")]
    Database(String),
    /// The database answered, but not with what was saved.
    #[error("the stored state is damaged: {0}")]
    Damaged(&'static str),
    /// A part is over the 4 KiB that the database keeps among others.
    #[error("a part of the state is too large to be stored")]
    TooLarge,
}

impl StoreError {
    /// Whether starting over with an empty database is the answer.
    pub(super) fn calls_for_rebuild(&self) -> bool {
        matches!(self, StoreError::Database(_) | StoreError::Damaged(_))
    }

    pub(super) fn io(step: &'static str) -> impl FnOnce(io::Error) -> StoreError {
        move |source| StoreError::Io { step, source }
    }
}

impl From<CanonError> for StoreError {
    fn from(_: CanonError) -> StoreError {
        StoreError::Damaged("it does not parse")
    }
}
