//! The first people of an agency, entered into the directory when it is empty.

use crate::domain::ids::Handle;
use crate::domain::label::{Compartment, Grade};
use crate::domain::person::Role;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// One officer as `hufu agency init` wrote it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstPerson {
    /// Name inside the agency.
    pub name: String,
    /// Handle on the ledger.
    pub handle: Handle,
    /// Title for people to read.
    pub title: String,
    /// Roles.
    pub roles: BTreeSet<Role>,
    /// Clearance.
    pub clearance: Grade,
    /// Compartments held.
    pub compartments: BTreeSet<Compartment>,
    /// The person's certificate, PEM.
    pub certificate: String,
}
