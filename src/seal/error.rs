//! What can go wrong in this room, by step. Nothing here says more about a secret than that it did not fit.

use crate::domain::canon::CanonError;
use crate::domain::fault::Fault;
use thiserror::Error;

/// A failed step.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SealError {
    /// Bytes that no honest writer makes.
    #[error("the {what} does not parse")]
    Format {
        /// Which object.
        what: &'static str,
        /// Where it failed.
        source: CanonError,
    },
    /// Key material of the wrong size or shape.
    #[error("the {what} is not usable")]
    Key {
        /// Which key.
        what: &'static str,
    },
    /// A signature, or the path to a signed root, does not verify.
    #[error("the signature of the {what} does not verify")]
    Signature {
        /// What was signed.
        what: &'static str,
    },
    /// Encryption failed; the inputs are over a limit of the primitive.
    #[error("the {step} could not be sealed")]
    Seal {
        /// Which step.
        step: &'static str,
    },
    /// Decryption failed: another key, another context, or changed bytes. The three look alike.
    #[error("the {step} could not be opened")]
    Open {
        /// Which step.
        step: &'static str,
    },
    /// A key is not the one that was committed to.
    #[error("the {what} does not match its commitment")]
    Commitment {
        /// Which key.
        what: &'static str,
    },
    /// Something is over, or under, its limit.
    #[error("the {what} is outside its limit")]
    Limit {
        /// What.
        what: &'static str,
    },
    /// The object has no such part.
    #[error("there is no {what}")]
    Missing {
        /// What was asked for.
        what: &'static str,
    },
    /// The passphrase is empty or does not open the key ring. A changed file looks the same.
    #[error("the passphrase does not open the key ring")]
    Passphrase,
}

impl SealError {
    /// Wraps a parse error of an object, for `map_err`.
    pub(super) fn format(what: &'static str) -> impl FnOnce(CanonError) -> SealError {
        move |source| SealError::Format { what, source }
    }
}

impl From<SealError> for Fault {
    fn from(e: SealError) -> Fault {
        let text = e.to_string();
        match e {
            SealError::Passphrase => {
                Fault::usage("BAD_PASSPHRASE", text).hint("check the passphrase; if it is right, restore the key ring")
            }
            SealError::Limit { .. } => Fault::usage("OVER_LIMIT", text),
            SealError::Seal { .. } => Fault::internal("SEAL_FAILED", text),
            SealError::Key { .. } => Fault::integrity("BAD_KEY", text),
            SealError::Missing { .. } => Fault::integrity("INCOMPLETE_OBJECT", text),
            SealError::Format { .. } => Fault::integrity("MALFORMED", text),
            SealError::Signature { .. } => Fault::integrity("BAD_SIGNATURE", text),
            SealError::Open { .. } => Fault::integrity("NOT_OPENABLE", text),
            SealError::Commitment { .. } => Fault::integrity("COMMITMENT_MISMATCH", text),
        }
    }
}
