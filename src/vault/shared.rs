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
use crate::wire::Bytes;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

/// Places of one audience object in one segment.
const COPIES: usize = 2;
/// Parsed ones that are kept in memory, and their bytes.
const KEPT: usize = 256;
const KEPT_BYTES: usize = 4 << 20;
/// Most bytes of one.
pub(super) const AUDIENCE_BYTES: usize = 1 << 20;

/// By what a blob names an audience object.
pub(super) fn name_of(bytes: &[u8]) -> [u8; 32] {
    digest("hufu.vault.audience", &[bytes])
}

/// An audience object with its bytes and its name, each made once for all objects that need it; clones are the same one.
#[derive(Debug, Clone)]
pub struct SharedAudience(Arc<Whole>);

#[derive(Debug)]
struct Whole {
    object: AudienceObject,
    bytes: Bytes,
    name: [u8; 32],
}

impl SharedAudience {
    /// Of one that was made here.
    pub(super) fn of(object: AudienceObject) -> SharedAudience {
        let bytes = Bytes::from(object.to_bytes());
        let name = name_of(&bytes);
        SharedAudience(Arc::new(Whole { object, bytes, name }))
    }

    /// Parses; says nothing about the signature.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<SharedAudience, VaultError> {
        SharedAudience::from_bytes_unless(bytes, |_| None)
    }

    /// The same, unless it is known by its name.
    pub(super) fn from_bytes_unless(
        bytes: &[u8],
        known: impl FnOnce(&[u8; 32]) -> Option<SharedAudience>,
    ) -> Result<SharedAudience, VaultError> {
        if bytes.len() > AUDIENCE_BYTES {
            return Err(VaultError::TooLarge);
        }
        let name = name_of(bytes);
        known(&name).map_or_else(|| SharedAudience::parse(name, bytes), Ok)
    }

    fn parse(name: [u8; 32], bytes: &[u8]) -> Result<SharedAudience, VaultError> {
        let object = AudienceObject::from_bytes(bytes)?;
        Ok(SharedAudience(Arc::new(Whole { object, bytes: Bytes::copy_from_slice(bytes), name })))
    }

    /// The digest of its bytes, by which it is named.
    pub fn name(&self) -> &[u8; 32] {
        &self.0.name
    }

    /// Its bytes, as they came or were made.
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }
}

impl Deref for SharedAudience {
    type Target = AudienceObject;

    fn deref(&self) -> &AudienceObject {
        &self.0.object
    }
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
pub(super) fn read_from(disk: &dyn Disk, name: &[u8; 32], place: &Place) -> Result<SharedAudience, VaultError> {
    let bytes = read(disk, place)?;
    if name_of(&bytes) == *name {
        SharedAudience::parse(*name, &bytes)
    } else {
        Err(VaultError::Rule("another audience key lies in its place"))
    }
}

/// Those taken in and read lately; clones are the same.
#[derive(Clone, Default)]
pub(super) struct Kept(Arc<Mutex<BTreeMap<[u8; 32], SharedAudience>>>);

impl Kept {
    pub(super) fn find(&self, name: &[u8; 32]) -> Option<SharedAudience> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Keeps one; when there is no room, all others go, which are read again when they are asked for.
    pub(super) fn keep(&self, audience: &SharedAudience) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.contains_key(audience.name()) {
            return;
        }
        let held = kept.values().map(|a| a.bytes().len()).fold(audience.bytes().len(), usize::saturating_add);
        if kept.len() >= KEPT || held > KEPT_BYTES {
            kept.clear();
        }
        kept.insert(*audience.name(), audience.clone());
    }
}
