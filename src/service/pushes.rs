//! What is on its way to other nodes. Nobody waits for a push to its end, so what is under way is bounded, in bytes for each
//! node and for all: towards one that is slow or comes and goes it does not pile up. What has no room is not pushed, and its
//! receiver pulls it.

use crate::domain::ids::NodeId;
use crate::journal::{Place, Waiting};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes on their way to one node, and to all: objects of the largest size that people may publish at once.
const NODE_BYTES: usize = 64 << 20;
const ALL_BYTES: usize = 256 << 20;
/// Calls at once to one node; the others wait. A connection takes 64, and pulls and reports go by the same one.
const CALLS: usize = 48;
/// Large ones at once to one node, in turns of their own: as many as it takes of one agency. Others wait here instead of being
/// refused there, and small ones do not wait behind them.
pub(super) const LARGE: usize = 2;

/// The pushes of this node.
pub struct Pushes {
    all: Waiting,
    by: Mutex<BTreeMap<NodeId, Lane>>,
    left_out: AtomicU64,
}

#[derive(Clone)]
struct Lane {
    waiting: Waiting,
    turns: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

/// One push, until it is dropped.
pub(super) struct Push {
    turns: Arc<Semaphore>,
    large: Arc<Semaphore>,
    _places: (Place, Place),
}

impl Default for Pushes {
    fn default() -> Self {
        Pushes { all: Waiting::new(ALL_BYTES), by: Mutex::default(), left_out: AtomicU64::new(0) }
    }
}

impl Pushes {
    /// Room for a push; none when it is to be left out.
    pub(super) fn begin(&self, node: NodeId, bytes: usize) -> Option<Push> {
        let turns = |most| Arc::new(Semaphore::new(most));
        let new = || Lane { waiting: Waiting::new(NODE_BYTES), turns: turns(CALLS), large: turns(LARGE) };
        let lane = self.by.lock().unwrap_or_else(PoisonError::into_inner).entry(node).or_insert_with(new).clone();
        let places = lane.waiting.take(bytes).and_then(|own| Some((own, self.all.take(bytes)?)));
        if places.is_none() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        places.map(|places| Push { turns: lane.turns, large: lane.large, _places: places })
    }

    /// How many were left out since the start.
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }
}

impl Push {
    /// Waits for its turn among the calls to the same node.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }

    /// The same of one whose content goes in pieces.
    pub(super) async fn turn_of_large(&self) -> Option<SemaphorePermit<'_>> {
        self.large.acquire().await.ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    #[test]
    fn what_piles_up_towards_one_node_leaves_room_for_another() {
        let pushes = Pushes::default();
        let to = |node: u64| pushes.begin(NodeId(node), NODE_BYTES / 4);
        let stuck: Vec<Push> = std::iter::from_fn(|| to(1)).collect();
        assert_eq!((stuck.len(), pushes.left_out()), (4, 1));
        let second: Vec<Push> = std::iter::from_fn(|| to(2)).collect();
        assert_eq!(second.len(), 4);
        // All together have a bound of their own.
        let others: Vec<Push> = (3..9).flat_map(|node| std::iter::from_fn(move || Some(node)).map_while(to)).collect();
        assert_eq!(others.len(), ALL_BYTES / (NODE_BYTES / 4) - 8);
        drop((stuck, others));
        assert!(to(1).is_some() && to(2).is_none());
    }

    #[tokio::test]
    async fn calls_to_one_node_have_turns() {
        let pushes = Pushes::default();
        let under_way: Vec<Push> = (0..=CALLS).map(|_| pushes.begin(NodeId(1), 1).unwrap()).collect();
        let mut turns = Vec::new();
        for push in under_way.iter().take(CALLS) {
            turns.push(push.turn().await.unwrap());
        }
        let last = under_way.last().unwrap();
        let waiting = tokio::time::timeout(std::time::Duration::ZERO, last.turn()).await;
        assert!(waiting.is_err(), "it waits");
        turns.pop();
        assert!(last.turn().await.is_some());
    }
}
