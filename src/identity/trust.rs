//! One root for each agency, and what was revoked under it.

use super::error::IdentityError;
use super::facts::certificate_facts_der;
use crate::domain::ids::AgencyId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

/// The roots in force, shared: a change through one handle is seen by all at the next handshake.
#[derive(Debug, Clone, Default)]
pub struct TrustRoots(Arc<RwLock<State>>);

#[derive(Debug, Default)]
struct State {
    roots: BTreeMap<AgencyId, Arc<[u8]>>,
    revoked: BTreeSet<(AgencyId, String)>,
}

impl TrustRoots {
    /// No agency is trusted.
    pub fn new() -> TrustRoots {
        TrustRoots::default()
    }

    /// Sets an agency's root (DER of its authority). Bytes that are no certificate of an authority are refused.
    pub fn set(&self, agency: AgencyId, root: &[u8]) -> Result<(), IdentityError> {
        if certificate_facts_der(root)?.spiffe.is_some() {
            return Err(IdentityError::Certificate("it is not that of an authority"));
        }
        self.write(|s| s.roots.insert(agency, root.into()));
        Ok(())
    }

    /// Trusts an agency no longer.
    pub fn remove(&self, agency: &AgencyId) {
        self.write(|s| s.roots.remove(agency));
    }

    /// The root of an agency.
    pub fn root_for(&self, agency: &AgencyId) -> Option<Arc<[u8]>> {
        self.read(|s| s.roots.get(agency).cloned())
    }

    /// Refuses one certificate of an agency from now on; `serial` as in [`Facts`](super::Facts).
    pub fn revoke(&self, agency: AgencyId, serial: impl Into<String>) {
        self.write(|s| s.revoked.insert((agency, serial.into())));
    }

    /// Whether a certificate was revoked.
    pub fn is_revoked(&self, agency: &AgencyId, serial: &str) -> bool {
        self.read(|s| s.revoked.contains(&(agency.clone(), serial.to_owned())))
    }

    // Each change is one insert or removal, so a poisoned lock still guards a whole value.
    fn read<T>(&self, f: impl FnOnce(&State) -> T) -> T {
        f(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, f: impl FnOnce(&mut State) -> T) {
        f(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}
