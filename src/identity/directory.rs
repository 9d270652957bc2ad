//! The agency's own people, durable on a journal, whole in memory.
//!
//! One frame is one version of one entry, complete; the newest of a name counts. Crash story: a change is in
//! memory only after its frame is durable, and it gets there on the journal's own thread, so that a caller who
//! stops waiting leaves neither a gap nor a half-made change. A start that finds mostly frames of earlier versions writes
//! the newest ones into new segments and lets the others go once these are durable; a crash in between leaves both, which say
//! the same.

use super::error::IdentityError;
use super::person::Person;
use crate::domain::canon::CanonError;
use crate::domain::ids::Handle;
use crate::journal::{Host, Journal, JournalError, JournalOptions};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot, watch};

/// Frames and bytes read at a time when opening.
const READ_FRAMES: usize = 1024;
const READ_BYTES: usize = 4 << 20;
/// Fewest bytes of frames for which a start writes them again.
const AGAIN_BYTES: usize = 64 << 10;

/// The directory of an agency's people.
pub struct Directory {
    journal: Journal,
    people: Arc<RwLock<People>>,
    /// Held from the check of a change until it is durable and in memory.
    turn: Arc<Mutex<()>>,
    /// The version, told to who waits for changes.
    changed: Arc<watch::Sender<u64>>,
}

#[derive(Default)]
struct People {
    by_name: BTreeMap<String, Person>,
    /// The version of an entry before the one of now, as far as the frames have it.
    before: BTreeMap<String, Person>,
    name_by_key: BTreeMap<[u8; 32], String>,
    name_by_handle: BTreeMap<Handle, String>,
    version: u64,
}

impl Directory {
    /// Opens or makes a directory in a folder and reads all of it. It blocks; call it at start.
    pub fn open(host: &dyn Host, dir: &Path) -> Result<Directory, IdentityError> {
        let (journal, recovery) = Journal::open(host, dir, JournalOptions::default())?;
        let (mut people, mut bytes) = (People::default(), 0usize);
        let mut at = recovery.first_seq;
        while at < recovery.next_seq {
            let frames = journal.read(at, READ_FRAMES, READ_BYTES)?;
            let (last, _) = frames.last().ok_or(CanonError::Truncated)?;
            at = last.saturating_add(1);
            for (_, frame) in &frames {
                bytes = bytes.saturating_add(frame.len());
                people.enter(Person::from_frame(frame)?);
            }
        }
        let newest: Vec<Vec<u8>> = people.by_name.values().map(Person::to_frame).collect();
        let of_newest = newest.iter().map(Vec::len).fold(0, usize::saturating_add);
        if bytes >= AGAIN_BYTES && bytes > of_newest.saturating_mul(2) {
            journal.replace_blocking(newest.chunks(READ_FRAMES).map(<[Vec<u8>]>::to_vec))?;
        }
        // Not of the frames that are left: whoever saw a version before this start must not take this one for it.
        people.version = journal.next_seq();
        let changed = Arc::new(watch::Sender::new(people.version));
        Ok(Directory { journal, people: Arc::new(RwLock::new(people)), turn: Arc::default(), changed })
    }

    /// Enters or replaces an entry; durable when it answers. `expected_version` is the version that the caller
    /// saw, 0 for a new person; the entry's own `version` is not read, it becomes one more. Name, handle and key
    /// belong to one person each, and a person's handle never changes.
    pub async fn put(&self, person: Person, expected_version: u32) -> Result<Person, IdentityError> {
        person.check()?;
        let turn = Arc::clone(&self.turn).lock_owned().await;
        self.admissible(&person, expected_version)?;
        self.store(Person { version: after(expected_version)?, ..person }, turn).await
    }

    /// Takes an entry over as another node of the agency has it, with its version and salt; durable when it answers. `seen` is
    /// the version here that the caller held it against, 0 for none. A version of the same number takes the place of the one
    /// here: two nodes may each have made one.
    pub async fn adopt(&self, person: Person, seen: u32) -> Result<Person, IdentityError> {
        person.check()?;
        if person.version < seen.max(1) {
            return Err(IdentityError::Entry("a newer version is here"));
        }
        let turn = Arc::clone(&self.turn).lock_owned().await;
        self.admissible(&person, seen)?;
        self.store(person, turn).await
    }

    /// Takes a person's access away; durable when it answers. Suspending twice changes nothing. `salt` is for the new
    /// version's hash.
    pub async fn suspend(&self, name: &str, salt: [u8; 32]) -> Result<Person, IdentityError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let person = self.by_name(name).ok_or(IdentityError::NoPerson)?;
        if person.suspended {
            return Ok(person);
        }
        // Whatever number it has: nobody keeps access because of it.
        let version = person.version.saturating_add(1);
        self.store(Person { suspended: true, version, salt, ..person }, turn).await
    }

    /// The entry of a name.
    pub fn by_name(&self, name: &str) -> Option<Person> {
        self.read(|p| p.by_name.get(name).cloned())
    }

    /// The version of an entry before the one of now; none of the first, and none after a start that let earlier ones go.
    pub fn before(&self, name: &str) -> Option<Person> {
        self.read(|p| p.before.get(name).cloned())
    }

    /// The entry that has this key now.
    pub fn by_key(&self, public_key: &[u8; 32]) -> Option<Person> {
        self.read(|p| p.by_name.get(p.name_by_key.get(public_key)?).cloned())
    }

    /// The entry of a ledger handle.
    pub fn by_handle(&self, handle: &Handle) -> Option<Person> {
        self.read(|p| p.by_name.get(p.name_by_handle.get(handle)?).cloned())
    }

    /// Everybody, by name.
    pub fn list(&self) -> Vec<Person> {
        self.read(|p| p.by_name.values().cloned().collect())
    }

    /// Rises by one with every change, and never falls, at a start either; decisions cached under an older one are stale.
    pub fn directory_version(&self) -> u64 {
        self.read(|p| p.version)
    }

    /// Tells of every change, when it counts.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Whether a certificate with this name and key is that of somebody whose access stands.
    pub fn admits(&self, name: &str, public_key: &[u8; 32]) -> bool {
        self.read(|p| p.by_name.get(name).is_some_and(|x| !x.suspended && x.public_key == *public_key))
    }

    fn admissible(&self, person: &Person, expected: u32) -> Result<(), IdentityError> {
        self.read(|p| {
            let old = p.by_name.get(&person.name);
            let current = old.map_or(0, |o| o.version);
            if current != expected {
                return Err(IdentityError::Conflict { name: person.name.clone(), current, expected });
            }
            if old.is_some_and(|o| o.handle != person.handle) {
                return Err(IdentityError::Entry("a person's handle never changes"));
            }
            if p.name_by_handle.get(&person.handle).is_some_and(|n| *n != person.name) {
                return Err(IdentityError::Entry("the handle is another person's"));
            }
            if p.name_by_key.get(&person.public_key).is_some_and(|n| *n != person.name) {
                return Err(IdentityError::Entry("the key is another person's"));
            }
            Ok(())
        })
    }

    async fn store(&self, person: Person, turn: OwnedMutexGuard<()>) -> Result<Person, IdentityError> {
        let frame = person.to_frame();
        let (answer, answered) = oneshot::channel();
        let (people, changed) = (Arc::clone(&self.people), Arc::clone(&self.changed));
        let entered = person.clone();
        self.journal.submit(
            vec![frame],
            Box::new(move |written: Result<u64, JournalError>| {
                let result = written.map(|_| {
                    let mut people = people.write().unwrap_or_else(PoisonError::into_inner);
                    people.enter(entered);
                    changed.send_replace(people.version);
                });
                drop(turn);
                // Whoever asked may have stopped waiting.
                let _ = answer.send(result);
            }),
        );
        answered.await.unwrap_or(Err(JournalError::Closed))?;
        Ok(person)
    }

    fn read<T>(&self, f: impl FnOnce(&People) -> T) -> T {
        f(&self.people.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn after(seen: u32) -> Result<u32, IdentityError> {
    seen.checked_add(1).ok_or(IdentityError::Entry("it has had too many versions"))
}

impl People {
    fn enter(&mut self, person: Person) {
        if let Some(old) = self.by_name.remove(&person.name) {
            self.name_by_key.remove(&old.public_key);
            self.name_by_handle.remove(&old.handle);
            self.before.insert(person.name.clone(), old);
        }
        self.name_by_key.insert(person.public_key, person.name.clone());
        self.name_by_handle.insert(person.handle, person.name.clone());
        self.by_name.insert(person.name.clone(), person);
        self.version = self.version.saturating_add(1);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::super::person::tests::sample;
    use super::*;
    use crate::journal::System;
    use std::time::{Duration, Instant};

    /// The journal's thread gives its lock up a moment after the last handle is gone.
    fn reopen(dir: &Path) -> Directory {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match Directory::open(&System, dir) {
                Err(IdentityError::Journal(_)) if Instant::now() < deadline => std::thread::yield_now(),
                opened => return opened.unwrap(),
            }
        }
    }

    #[tokio::test]
    async fn changes_survive_and_versions_are_compared() {
        let dir = tempfile::tempdir().unwrap();
        let d = Directory::open(&System, dir.path()).unwrap();
        let wang = d.put(sample("wang", 1), 0).await.unwrap();
        assert_eq!(wang.version, 1);
        assert!(matches!(
            d.put(sample("wang", 1), 0).await,
            Err(IdentityError::Conflict { current: 1, expected: 0, .. })
        ));
        let moved = Person { unit: "情报处".into(), public_key: [9; 32], ..wang.clone() };
        assert_eq!((d.before("wang"), d.put(moved.clone(), 1).await.unwrap().version), (None, 2));
        assert_eq!(d.before("wang").as_ref(), Some(&wang));
        assert!(d.by_key(&[1; 32]).is_none(), "the old key is nobody's");
        d.put(sample("li", 2), 0).await.unwrap();
        assert!(d.suspend("li", [5; 32]).await.unwrap().suspended);
        assert_eq!(d.suspend("li", [5; 32]).await.unwrap().version, 2);
        assert!(matches!(d.suspend("zhao", [5; 32]).await, Err(IdentityError::NoPerson)));
        let (list, version) = (d.list(), d.directory_version());
        assert_eq!(version, 4);
        drop(d);

        let again = reopen(dir.path());
        assert_eq!((again.list(), again.directory_version()), (list, version));
        assert_eq!(again.by_key(&[9; 32]).unwrap().unit, "情报处");
        assert_eq!(again.before("wang"), Some(wang));
        assert!(again.by_handle(&sample("li", 2).handle).unwrap().suspended);
    }

    /// Another node's version comes as it is, over one of the same number too, and never over a newer one.
    #[tokio::test]
    async fn another_nodes_version_is_taken_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let d = Directory::open(&System, dir.path()).unwrap();
        let third = Person { version: 3, ..sample("wang", 1) };
        assert_eq!(d.adopt(third.clone(), 0).await.unwrap(), third);
        let other = Person { unit: "情报处".into(), salt: [8; 32], ..third.clone() };
        assert_eq!(d.adopt(other.clone(), 3).await.unwrap(), other);
        assert!(matches!(d.adopt(other.clone(), 2).await, Err(IdentityError::Conflict { current: 3, .. })));
        assert!(d.adopt(Person { version: 2, ..other.clone() }, 3).await.is_err(), "a newer one is here");
        assert!(d.adopt(Person { version: 0, ..sample("li", 2) }, 0).await.is_err());
        assert!(d.adopt(Person { version: 4, handle: Handle::from_bytes([9; 16]), ..other.clone() }, 3).await.is_err());
        assert_eq!(d.suspend("wang", [5; 32]).await.unwrap().version, 4);
        let list = d.list();
        drop(d);
        assert_eq!(reopen(dir.path()).list(), list);
    }

    /// Also of an entry that can have no version after it.
    #[tokio::test]
    async fn whoever_is_suspended_is_whatever_the_number() {
        let dir = tempfile::tempdir().unwrap();
        let d = Directory::open(&System, dir.path()).unwrap();
        let last = d.adopt(Person { version: u32::MAX, ..sample("wang", 1) }, 0).await.unwrap();
        assert!(d.put(last.clone(), u32::MAX).await.is_err(), "no number is left");
        assert_eq!(d.suspend("wang", [5; 32]).await.unwrap(), Person { suspended: true, salt: [5; 32], ..last });
        assert!(!d.admits("wang", &[1; 32]));
        drop(d);
        assert!(reopen(dir.path()).by_name("wang").unwrap().suspended);
    }

    #[tokio::test]
    async fn a_start_lets_earlier_versions_go() {
        let dir = tempfile::tempdir().unwrap();
        let size = || {
            let segments = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len());
            segments.sum::<u64>()
        };
        let d = Directory::open(&System, dir.path()).unwrap();
        d.put(sample("li", 2), 0).await.unwrap();
        let mut changes = 0;
        while size() < 2 * AGAIN_BYTES as u64 {
            d.put(Person { unit: format!("情报处{changes}"), ..sample("wang", 1) }, changes).await.unwrap();
            changes += 1;
        }
        let (list, version) = (d.list(), d.directory_version());
        drop(d);
        let again = reopen(dir.path());
        assert_eq!(again.list(), list);
        assert!(again.directory_version() >= version, "another node may have seen it");
        assert!(size() < 2_000, "{}", size());
        let wang = again.put(sample("wang", 1), changes).await.unwrap();
        let list = again.list();
        drop(again);
        let third = reopen(dir.path());
        assert_eq!((third.list(), third.by_name("wang")), (list, Some(wang)));
    }

    #[tokio::test]
    async fn a_key_or_handle_belongs_to_one_person() {
        let dir = tempfile::tempdir().unwrap();
        let d = Directory::open(&System, dir.path()).unwrap();
        d.put(sample("wang", 1), 0).await.unwrap();
        assert!(d.put(Person { handle: Handle::from_bytes([2; 16]), ..sample("li", 1) }, 0).await.is_err());
        assert!(d.put(Person { public_key: [2; 32], ..sample("li", 1) }, 0).await.is_err());
        assert!(d.put(Person { handle: Handle::from_bytes([3; 16]), ..sample("wang", 1) }, 1).await.is_err());
        assert_eq!(d.list().len(), 1);
    }
}
