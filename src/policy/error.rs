//! What can be wrong with a policy set or its cases. Never a decision: those are always given.

use crate::domain::fault::Fault;
use std::error::Error;

/// Why a policy set or a folder of cases cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The schema does not parse or warns.
    #[error("the policy schema is not valid: {0}")]
    Schema(String),
    /// A file does not parse.
    #[error("`{file}` does not parse")]
    Parse {
        /// Which.
        file: String,
        /// Cedar's reason.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A policy with a slot.
    #[error("`{file}` has a template; only complete policies are admitted")]
    Template {
        /// Which.
        file: String,
    },
    /// A policy without an id that can stand in an audit event.
    #[error("a policy in `{file}` has no usable @id; use lower-case letters, digits and hyphens")]
    NoId {
        /// Which.
        file: String,
    },
    /// Two policies with one id.
    #[error("`{file}` uses the id `{id}` a second time")]
    DuplicateId {
        /// Where the second one is.
        file: String,
        /// The id.
        id: String,
    },
    /// Two files with one name.
    #[error("the file name `{0}` is given twice")]
    DuplicateFile(String),
    /// Nothing to decide by.
    #[error("the policy set is empty")]
    Empty,
    /// Strict validation failed.
    #[error("the policy set does not fit its schema: {}", .0.join("; "))]
    Invalid(Vec<String>),
    /// A file or folder cannot be read.
    #[error("`{path}` cannot be read")]
    Io {
        /// Which.
        path: String,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A file of cases does not parse.
    #[error("`{file}` is not a file of policy cases: {reason}")]
    Case {
        /// Which.
        file: String,
        /// Why.
        reason: String,
    },
    /// A folder without a schema.
    #[error("`{0}` holds no schema.cedarschema, so there is no policy set to try")]
    NoSchema(String),
    /// A folder without cases.
    #[error("`{0}` holds no policy cases")]
    NoCases(String),
}

impl From<PolicyError> for Fault {
    fn from(e: PolicyError) -> Fault {
        let mut message = e.to_string();
        let mut cause = e.source();
        while let Some(c) = cause {
            message.push_str(&format!(": {c}"));
            cause = c.source();
        }
        let fault = Fault::usage("BAD_POLICY_SET", message);
        match e {
            PolicyError::NoSchema(_) => {
                fault.hint("name a folder with schema.cedarschema and *.cedar, or add --built-in")
            }
            _ => fault,
        }
    }
}
