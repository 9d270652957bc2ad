//! Open connections by certificate, so that a revocation reaches them too.

use super::accept::LaneLimits;
use super::name::Subject;
use super::peer::VerifiedPeer;
use crate::domain::ids::AgencyId;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The registry of one listener's open connections; clones share it.
#[derive(Clone, Default)]
pub struct Live(Arc<Mutex<Registry>>);

#[derive(Default)]
struct Registry {
    next: u64,
    open: BTreeMap<u64, Entry>,
}

struct Entry {
    agency: AgencyId,
    /// Local id of a node; none of a person.
    node: Option<String>,
    serial: String,
    cut: Arc<AtomicBool>,
    wake: oneshot::Sender<()>,
}

/// A connection's place in the registry; dropping it gives the place up.
pub(super) struct Registration {
    live: Live,
    id: u64,
    cut: Arc<AtomicBool>,
    pub(super) woken: oneshot::Receiver<()>,
}

impl Live {
    /// Cuts every open connection of one certificate; returns how many. Serials are unique only within an
    /// agency, so an agency cannot cut another's connections by copying a serial.
    pub fn close(&self, agency: &AgencyId, serial: &str) -> usize {
        self.close_where(|e| e.agency == *agency && e.serial == serial)
    }

    /// Cuts every open connection of an agency, for instance when it is suspended.
    pub fn close_agency(&self, agency: &AgencyId) -> usize {
        self.close_where(|e| e.agency == *agency)
    }

    /// Cuts every open connection of one node, for instance when it is removed.
    pub fn close_node(&self, agency: &AgencyId, node: &str) -> usize {
        self.close_where(|e| e.agency == *agency && e.node.as_deref() == Some(node))
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.registry().open.len()
    }

    pub(super) fn register(&self, peer: &VerifiedPeer) -> Registration {
        self.add(&mut self.registry(), peer)
    }

    /// The same within limits. An agency that has all its places gets another by losing its oldest connection: those whose
    /// line died stay open for a while, and keep nobody out. None when all the others are taken.
    pub(super) fn admit(&self, peer: &VerifiedPeer, most: LaneLimits) -> Option<Registration> {
        let mut registry = self.registry();
        let of_it = registry.open.iter().filter(|(_, e)| e.agency == *peer.agency());
        let ids: Vec<u64> = of_it.map(|(id, _)| *id).collect();
        let oldest = ids.first().filter(|_| ids.len() >= most.per_agency).and_then(|id| registry.open.remove(id));
        if registry.open.len() >= most.connections {
            return None;
        }
        let registration = self.add(&mut registry, peer);
        drop(registry);
        if let Some(oldest) = oldest {
            oldest.end();
        }
        Some(registration)
    }

    fn add(&self, registry: &mut Registry, peer: &VerifiedPeer) -> Registration {
        let (wake, woken) = oneshot::channel();
        let cut = Arc::new(AtomicBool::new(false));
        let node = match peer.name().subject() {
            Subject::Node(id) => Some(id.clone()),
            Subject::Person(_) => None,
        };
        let (agency, serial) = (peer.agency().clone(), peer.serial().to_owned());
        let entry = Entry { agency, node, serial, cut: Arc::clone(&cut), wake };
        let id = registry.next;
        registry.next = id.wrapping_add(1);
        registry.open.insert(id, entry);
        Registration { live: self.clone(), id, cut, woken }
    }

    fn close_where(&self, wanted: impl Fn(&Entry) -> bool) -> usize {
        let mut registry = self.registry();
        let (gone, kept): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut registry.open).into_iter().partition(|(_, e)| wanted(e));
        registry.open = kept;
        drop(registry);
        let count = gone.len();
        gone.into_values().for_each(Entry::end);
        count
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn end(self) {
        self.cut.store(true, Ordering::Release);
        // The receiver is gone when the connection ended by itself just now.
        let _ = self.wake.send(());
    }
}

impl Registration {
    /// Whether the connection was cut.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.live.registry().open.remove(&self.id);
    }
}
