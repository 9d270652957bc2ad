//! What of the configuration may change while the node runs.

use super::bell::DutyChain;
use super::notices::Groups;
use std::sync::{Arc, PoisonError, RwLock};

/// The changeable part of a configuration.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Named sets of addressees.
    pub groups: Groups,
    /// Whom to call when nobody acknowledges.
    pub duty: DutyChain,
}

/// The settings in force. Whoever reads them has one whole version.
pub struct InForce(RwLock<Arc<Settings>>);

impl InForce {
    /// Starts with these.
    pub fn new(settings: Settings) -> InForce {
        InForce(RwLock::new(Arc::new(settings)))
    }

    /// As they are now.
    pub fn now(&self) -> Arc<Settings> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on.
    pub fn replace(&self, settings: Settings) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }
}
