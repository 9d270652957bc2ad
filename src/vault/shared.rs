//! Audience objects, which many blobs name: stored once for all of them, and not with each.
//!
//! An audience object (P15: one key, sealed to each agency and signed) is the same for every record of one label and one day,
//! and about 1.2 KiB for each agency. A blob names it by the digest of its bytes; it lies in the segments of bodies as a blob
//! of its own, and a frame of the intake's journal says where.
//!
//! At rest it is under a shred key of its own, like every blob (P18). That key is never destroyed with a record: other records
//! need the same audience object, and it holds nothing of any of them. The keys in it are sealed to the agencies' grade keys.
//!
//! Crash story: it is written before the blobs that name it, in one write with them or an earlier one, and its frame stands
//! before theirs in one submission, of which a crash leaves a beginning. So whatever is known finds what it names. One that was
//! written and is named by nothing takes its few KiB, and the next object of that audience names it.
//!
//! Damage: what many need lies twice in each segment that has objects of it, written by two different writes where there are
//! two. A place that does not verify is passed over for another, and forgotten; the next object that names it brings it again,
//! as what was fetched again after damage does.

use super::error::VaultError;
use super::files::{Place, read};
use crate::journal::Disk;
use crate::seal::{AudienceObject, digest};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Places of one audience object in one segment.
const COPIES: usize = 2;
/// Parsed ones that are kept in memory, and their bytes.
const KEPT: usize = 64;
const KEPT_BYTES: usize = 4 << 20;

/// By what a blob names an audience object.
pub(super) fn name_of(bytes: &[u8]) -> [u8; 32] {
    digest("hufu.vault.audience", &[bytes])
}

/// Where they lie.
#[derive(Default)]
pub(super) struct Places(BTreeMap<[u8; 32], Vec<Place>>);

impl Places {
    /// One more place; a frame that was written again says what is known.
    pub(super) fn add(&mut self, name: [u8; 32], place: Place) {
        let places = self.0.entry(name).or_default();
        if !places.contains(&place) {
            places.push(place);
        }
    }

    /// Whether an object that goes into a segment is to bring it there.
    pub(super) fn wants(&self, name: &[u8; 32], segment: u32) -> bool {
        self.of(name).iter().filter(|place| place.segment == segment).count() < COPIES
    }

    /// Its places, oldest first.
    pub(super) fn of(&self, name: &[u8; 32]) -> &[Place] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = ([u8; 32], Place)> + '_ {
        self.0.iter().flat_map(|(name, places)| places.iter().map(move |place| (*name, *place)))
    }

    /// Its bytes there do not verify.
    pub(super) fn forget(&mut self, name: &[u8; 32], place: &Place) {
        if let Some(places) = self.0.get_mut(name) {
            places.retain(|known| known != place);
        }
    }
}

/// Reads one from a place.
pub(super) fn read_from(disk: &dyn Disk, name: &[u8; 32], place: &Place) -> Result<AudienceObject, VaultError> {
    let bytes = read(disk, place)?;
    if name_of(&bytes) == *name {
        Ok(AudienceObject::from_bytes(&bytes)?)
    } else {
        Err(VaultError::Rule("another audience key lies in its place"))
    }
}

type Weighed = (usize, Arc<AudienceObject>);

/// Those read lately, each with its bytes; clones are the same.
#[derive(Clone, Default)]
pub(super) struct Kept(Arc<Mutex<BTreeMap<[u8; 32], Weighed>>>);

impl Kept {
    pub(super) fn find(&self, name: &[u8; 32]) -> Option<Arc<AudienceObject>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).map(|(_, object)| Arc::clone(object))
    }

    /// Keeps one of so many bytes; when there is no room, all others go, which are read again when they are asked for.
    pub(super) fn keep(&self, name: [u8; 32], bytes: usize, object: Arc<AudienceObject>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = kept.values().map(|(bytes, _)| *bytes).fold(bytes, usize::saturating_add);
        if kept.len() >= KEPT || held > KEPT_BYTES {
            kept.clear();
        }
        kept.insert(name, (bytes, object));
    }
}
