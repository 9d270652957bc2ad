//! Which segments there are, for readers beside the writer.

use super::frame::Link;
use std::sync::{Arc, PoisonError, RwLock};

/// One segment file.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    /// Where its first frame stands.
    pub first: Link,
    /// File name.
    pub name: String,
    /// Durable bytes.
    pub len: u64,
}

#[derive(Debug, Default)]
struct Known {
    segments: Vec<Segment>,
    next: u64,
}

/// The durable part of the journal; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Catalog(Arc<RwLock<Known>>);

impl Catalog {
    /// All segments, oldest first, up to the durable end, and the number of the next frame.
    pub fn snapshot(&self) -> (Vec<Segment>, u64) {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        (known.segments.clone(), known.next)
    }

    /// Number of the oldest frame and of the next one.
    pub fn range(&self) -> (u64, u64) {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        (known.segments.first().map_or(known.next, |s| s.first.seq), known.next)
    }

    /// Replaces what is known.
    pub fn set(&self, segments: Vec<Segment>, next: u64) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Known { segments, next };
    }
}
