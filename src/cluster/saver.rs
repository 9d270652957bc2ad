//! Keeps the materialised state in the store, beside the state machine and never in its way.
//!
//! The store is a cache: what is in it only shortens a start. One thread of low priority saves the newest state, at most
//! a fiftieth of the time; states that were overtaken meanwhile are never saved. A save writes the parts that changed since
//! the one before, whose state is kept for that: the two share what did not change. What the store lost (power,
//! zeros, a panic of the database) comes back from snapshot file and log, and is told as an incident.

use super::codec;
use super::types::{LogId, SnapshotMeta, StoredMembership};
use crate::domain::canon::{CanonError, Reader, Writer};
use crate::ledger::State;
use crate::store::{Materialised, Opened, Saved, StoreError, Stored};
use rustix::process::{getpid, getpriority_process, setpriority_process};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const DOMAIN: &str = "hufu.materialised";
const VERSION: u16 = 1;
/// Shortest pause between two saves.
const PAUSE: Duration = Duration::from_millis(500);
/// A pause is so many times as long as the save before it.
const PAUSES: u32 = 50;
/// Above the nice value of the process, as what indexes has: nobody waits for it.
const NICER: i32 = 10;

/// What the store gave back: a state with its position.
pub(super) type Kept = (SnapshotMeta, State);

/// A state with its position.
pub(super) struct Moment {
    pub(super) applied: Option<LogId>,
    pub(super) membership: StoredMembership,
    pub(super) state: State,
}

#[derive(Default)]
struct Desk {
    newest: Option<Moment>,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    desk: Mutex<Desk>,
    woken: Condvar,
    incidents: Mutex<Vec<String>>,
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, incident: String) {
        tracing::warn!(%incident, "the materialised state was rebuilt");
        self.incidents.lock().unwrap_or_else(PoisonError::into_inner).push(incident);
    }
}

/// Handle to the saving thread; dropping it saves the newest state and ends the thread.
pub(super) struct Saver {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What the rest of the node may ask of the saver.
#[derive(Clone)]
pub(super) struct Incidents(Arc<Shared>);

impl Incidents {
    /// What was rebuilt since the last call.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.incidents.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Saver {
    /// Opens the store and starts the thread; answers what was saved, if that verifies. `begun` says that this
    /// node has applied something before, so that an empty store is a lost one.
    pub(super) fn open(dir: &Path, begun: bool) -> Result<(Saver, Option<Kept>), StoreError> {
        let shared = Arc::new(Shared::default());
        let (mut saving, saved) = Saving::open(dir, begun, |incident| shared.tell(incident))?;
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("ledger-saver".into())
            .spawn(move || run(&theirs, &mut saving))
            .map_err(|e| StoreError::Database(format!("its thread does not start: {e}")))?;
        Ok((Saver { shared, thread: Some(thread) }, saved))
    }

    /// One that keeps nothing.
    pub(super) fn of_nothing() -> Saver {
        Saver { shared: Arc::default(), thread: None }
    }

    pub(super) fn incidents(&self) -> Incidents {
        Incidents(Arc::clone(&self.shared))
    }

    /// Lays a state on the desk, over one that was not saved yet.
    pub(super) fn offer(&self, moment: Moment) {
        if self.thread.is_some() {
            self.shared.desk().newest = Some(moment);
            self.shared.woken.notify_one();
        }
    }
}

impl Drop for Saver {
    fn drop(&mut self) {
        self.shared.desk().closed = true;
        self.shared.woken.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The store, and the state whose parts are in it.
struct Saving {
    store: Materialised,
    last: Option<State>,
}

impl Saving {
    /// Opens the store; what was saved, if that verifies.
    fn open(dir: &Path, begun: bool, tell: impl Fn(String)) -> Result<(Saving, Option<Kept>), StoreError> {
        let (mut store, opened) = Materialised::open_or_rebuild(dir)?;
        let (saved, last) = match kept(&store) {
            Ok(Some((kept, in_parts))) => {
                let last = in_parts.then(|| kept.1.clone());
                (Some(kept), last)
            }
            Ok(None) => {
                match opened {
                    Opened::SetAside { why, aside } => tell(set_aside(&why, &aside)),
                    Opened::Fresh | Opened::Existing if begun => tell("the store was empty".into()),
                    Opened::Fresh | Opened::Existing => {}
                }
                (None, None)
            }
            Err(why) => {
                let aside = store.set_aside()?;
                tell(set_aside(&why, &aside));
                (None, None)
            }
        };
        Ok((Saving { store, last }, saved))
    }

    /// Saves a moment: what changed, or all of it where nothing is kept; that once more if the database fails.
    fn save(&mut self, m: &Moment, tell: impl Fn(String)) -> Result<(), StoreError> {
        let applied = position(m);
        for _ in 0..2 {
            let last = self.last.take().filter(|_| !self.store.needs_all());
            let changes = m.state.changes(last.as_ref());
            let saved = match last {
                Some(_) => self.store.save(&applied, changes.put, changes.removed)?,
                None => self.store.save_all(&applied, changes.put)?,
            };
            match saved {
                Saved::Written => {
                    self.last = Some(m.state.clone());
                    return Ok(());
                }
                Saved::SetAside { why, aside } => tell(set_aside(&why, &aside)),
            }
        }
        Err(StoreError::Database("an empty one failed, too".into()))
    }
}

/// What the store has, and whether in parts; or why it is not to be believed.
fn kept(store: &Materialised) -> Result<Option<(Kept, bool)>, String> {
    let (applied, state, in_parts) = match store.load().map_err(|e| e.to_string())? {
        None => return Ok(None),
        Some(Stored::Parts { applied, parts }) => (applied, State::from_parts(parts), true),
        Some(Stored::Whole { applied, state }) => (applied, State::decode(&state), false),
    };
    let state = state.map_err(|e| format!("the saved state is damaged: {e}"))?;
    let meta = meta(&applied).map_err(|e| format!("a saved position does not parse: {e}"))?;
    Ok(Some(((meta, state), in_parts)))
}

fn set_aside(why: &str, aside: &Path) -> String {
    format!("{why}; set aside as {}", aside.display())
}

fn run(shared: &Shared, saving: &mut Saving) {
    let own = getpriority_process(Some(getpid()));
    if let Err(error) = own.and_then(|nice| setpriority_process(None, (nice + NICER).min(19))) {
        tracing::debug!(%error, "the state is saved at normal priority");
    }
    loop {
        let (newest, closed) = {
            let waiting = |d: &mut Desk| d.newest.is_none() && !d.closed;
            let mut desk = shared.woken.wait_while(shared.desk(), waiting).unwrap_or_else(PoisonError::into_inner);
            (desk.newest.take(), desk.closed)
        };
        let began = Instant::now();
        if let Some(Err(e)) = newest.map(|m| saving.save(&m, |incident| shared.tell(incident))) {
            // The next start reads snapshot and log; serving goes on.
            tracing::error!(error = %e, "the materialised state was not saved");
        }
        if closed {
            return;
        }
        let pause = PAUSE.max(began.elapsed() * PAUSES);
        let desk = shared.desk();
        let _ = shared.woken.wait_timeout_while(desk, pause, |d| !d.closed);
    }
}

fn position(m: &Moment) -> Vec<u8> {
    let snapshot_id = m.applied.map_or_else(|| "0".to_owned(), |l| format!("{}-{}", l.leader_id.term, l.index));
    let meta = SnapshotMeta { last_log_id: m.applied, last_membership: m.membership.clone(), snapshot_id };
    let mut w = Writer::new(DOMAIN, VERSION);
    codec::write_meta(&mut w, &meta);
    w.finish()
}

fn meta(bytes: &[u8]) -> Result<SnapshotMeta, CanonError> {
    let mut r = Reader::new(bytes, DOMAIN, VERSION)?;
    let meta = codec::read_meta(&mut r)?;
    r.finish()?;
    Ok(meta)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "test")]
mod tests {
    use super::*;
    use crate::domain::ids::RecordId;
    use crate::ledger::fixture::{Federation, batch, later, newest};
    use crate::ledger::{Command, origin_mark};
    use crate::store::write_whole;
    use openraft::CommittedLeaderId;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    const DAY: u64 = 24 * 3_600_000;

    fn moment(state: &State, index: u64) -> Moment {
        let applied = Some(LogId::new(CommittedLeaderId::new(1, 1), index));
        Moment { applied, membership: StoredMembership::default(), state: state.clone() }
    }

    /// The next versions of police's records of these numbers.
    fn amend(f: &Federation, s: &mut State, numbers: &BTreeSet<u8>, at: u64) {
        let commit = |n: &u8| {
            let mut id = [*n; 16];
            id.iter_mut().rev().zip(origin_mark(&f.id, &f.police.id).iter().rev()).for_each(|(b, of)| *b = *of);
            let record = RecordId::from_bytes(id);
            let version = s.record(&record).and_then(|kept| kept.last()).map_or(1, |v| v.version + 1);
            let tags = (0..4).map(|n| [n; 16]).collect();
            Command::Commit { record, version, commitment: [*n; 32], grant: [9; 32], tags }
        };
        let commands: Vec<Command> = numbers.iter().map(commit).collect();
        s.apply_batch(at, &batch(f, &f.police, (1, at), commands));
    }

    fn no_incident(why: String) {
        panic!("{why}");
    }

    fn same(found: &Kept, (state, at): &(State, u64)) -> bool {
        let (meta, found) = found;
        let equal = (found.digest(), found.encode()) == (state.digest(), state.encode());
        equal && meta.last_log_id.is_some_and(|id| id.index == *at)
    }

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("state");
        (temp, dir)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        /// Whatever came after the last save is lost with the process, and nothing else.
        #[test]
        fn a_start_finds_the_state_that_was_saved_last(
            steps in proptest::collection::vec(
                (proptest::collection::btree_set(0u8..40, 0..30), 0u64..60, any::<bool>(), any::<bool>()),
                1..12,
            )
        ) {
            let (f, (_temp, dir)) = (newest(), folder());
            let mut s = State::genesis(&f.genesis).unwrap();
            let mut last: Option<(State, u64)> = None;
            let (mut saving, found) = Saving::open(&dir, false, no_incident).unwrap();
            prop_assert!(found.is_none());
            for ((numbers, days, saves, crashes), at) in steps.into_iter().zip(1u64..) {
                s = later(&s, days * DAY);
                amend(&f, &mut s, &numbers, at);
                if saves {
                    saving.save(&moment(&s, at), no_incident).unwrap();
                    last = Some((s.clone(), at));
                }
                if crashes {
                    drop(saving);
                    let (again, found) = Saving::open(&dir, false, no_incident).unwrap();
                    prop_assert!(found.is_some() == last.is_some());
                    prop_assert!(found.iter().zip(&last).all(|(found, last)| same(found, last)));
                    saving = again;
                }
            }
        }
    }

    /// What the store gives back is not the state that was saved: it is set aside, told, and everything is saved again.
    #[test]
    fn a_state_of_another_digest_is_set_aside() {
        let (f, (_temp, dir)) = (newest(), folder());
        let mut s = State::genesis(&f.genesis).unwrap();
        amend(&f, &mut s, &(0..9).collect(), 1);
        let (mut saving, _) = Saving::open(&dir, false, no_incident).unwrap();
        saving.save(&moment(&s, 1), no_incident).unwrap();
        let entry = s.changes(None).put.into_iter().find(|(key, _)| key.starts_with(b"v")).unwrap();
        saving.store.save(&position(&moment(&s, 1)), Vec::new(), vec![entry.0]).unwrap();
        drop(saving);
        let told = Mutex::new(Vec::new());
        let (mut saving, found) = Saving::open(&dir, true, |why| told.lock().unwrap().push(why)).unwrap();
        assert!(found.is_none() && dir.with_file_name("state.aside-1").exists());
        let told = told.into_inner().unwrap();
        assert!(
            told.len() == 1 && told.iter().all(|why| why.contains("damaged") && why.contains("aside-1")),
            "{told:?}"
        );
        saving.save(&moment(&s, 2), no_incident).unwrap();
        drop(saving);
        let (_saving, found) = Saving::open(&dir, true, no_incident).unwrap();
        assert!(same(&found.unwrap(), &(s, 2)));
    }

    /// A store of the first format, which kept the encoded state, gives it back; the next save replaces it, and nothing of
    /// this is told.
    #[test]
    fn a_store_of_the_first_format_is_taken_over() {
        let (f, (_temp, dir)) = (newest(), folder());
        let mut s = State::genesis(&f.genesis).unwrap();
        amend(&f, &mut s, &(0..9).collect(), 1);
        write_whole(&dir, &position(&moment(&s, 1)), &s.encode());
        let (mut saving, found) = Saving::open(&dir, true, no_incident).unwrap();
        assert!(same(&found.unwrap(), &(s.clone(), 1)));
        amend(&f, &mut s, &(5..12).collect(), 2);
        saving.save(&moment(&s, 2), no_incident).unwrap();
        amend(&f, &mut s, &(7..20).collect(), 3);
        saving.save(&moment(&s, 3), no_incident).unwrap();
        drop(saving);
        let (_saving, found) = Saving::open(&dir, true, no_incident).unwrap();
        assert!(same(&found.unwrap(), &(s, 3)));
        assert!(!dir.with_file_name("state.aside-1").exists());
    }

    /// The position is stored as it was in the first format.
    #[test]
    fn positions_have_frozen_bytes() {
        let s = State::genesis(&newest().genesis).unwrap();
        let mut bytes = b"\0\0\0\x11hufu.materialised\0\x01".to_vec();
        bytes.push(1);
        for number in [1u64, 1, 9] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(b"\0\0\0\x031-9");
        let written = position(&moment(&s, 9));
        assert_eq!(written, bytes);
        assert_eq!(meta(&written).unwrap().last_log_id, moment(&s, 9).applied);
    }
}
