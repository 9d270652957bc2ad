//! Open connections, so that what takes somebody's trust away reaches them too.

use super::accept::LaneLimits;
use super::name::Subject;
use super::peer::VerifiedPeer;
use crate::domain::ids::AgencyId;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The registry of the open connections of a listener, or of a dialer; clones share it.
#[derive(Clone, Default)]
pub struct Live(Arc<Mutex<Registry>>);

#[derive(Default)]
struct Registry {
    next: u64,
    open: BTreeMap<u64, Entry>,
}

struct Entry {
    peer: VerifiedPeer,
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
    /// Who is at the other end of each open connection, by its place. A place is given once.
    pub fn peers(&self) -> Vec<(u64, VerifiedPeer)> {
        self.registry().open.iter().map(|(id, e)| (*id, e.peer.clone())).collect()
    }

    /// Cuts the connection of a place; false when it is gone already.
    pub fn cut(&self, place: u64) -> bool {
        let gone = self.registry().open.remove(&place);
        let was_open = gone.is_some();
        gone.into_iter().for_each(Entry::end);
        was_open
    }

    /// Cuts every open connection of one node, for instance when it is removed; how many there were.
    pub fn close_node(&self, agency: &AgencyId, node: &str) -> usize {
        let of_it =
            |p: &VerifiedPeer| p.agency() == agency && matches!(p.name().subject(), Subject::Node(id) if id == node);
        self.peers().into_iter().filter(|(place, p)| of_it(p) && self.cut(*place)).count()
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
        let of_it = registry.open.iter().filter(|(_, e)| e.peer.agency() == peer.agency());
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
        let entry = Entry { peer: peer.clone(), cut: Arc::clone(&cut), wake };
        let id = registry.next;
        registry.next = id.wrapping_add(1);
        registry.open.insert(id, entry);
        Registration { live: self.clone(), id, cut, woken }
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
