//! Keeps the materialised state in the store, beside the state machine and never in its way.
//!
//! The store is a cache: what is in it only shortens a start. One thread of low priority saves the newest state, at most
//! a fiftieth of the time; states that were overtaken meanwhile are never saved. What the store lost (power,
//! zeros, a panic of the database) comes back from snapshot file and log, and is told as an incident.

use super::codec;
use super::types::{LogId, SnapshotMeta, StoredMembership};
use crate::domain::canon::{CanonError, Reader, Writer};
use crate::ledger::State;
use crate::store::{Materialised, Opened, Saved, StoreError};
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

/// What the store gave back: a position and an encoded state.
type Kept = (SnapshotMeta, Vec<u8>);

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
        let (mut store, opened) = Materialised::open_or_rebuild(dir)?;
        let saved = match store.load().map(|saved| saved.map(|(at, state)| (meta(&at), state))) {
            Ok(Some((Ok(meta), state))) => Some((meta, state)),
            Ok(Some((Err(e), _))) => {
                shared.tell(format!("a saved position does not parse: {e}"));
                None
            }
            Ok(None) => {
                match opened {
                    Opened::SetAside { why, aside } => shared.tell(format!("{why}; set aside as {}", aside.display())),
                    Opened::Fresh | Opened::Existing if begun => shared.tell("the store was empty".into()),
                    Opened::Fresh | Opened::Existing => {}
                }
                None
            }
            Err(e) => {
                shared.tell(e.to_string());
                None
            }
        };
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("ledger-saver".into())
            .spawn(move || run(&theirs, &mut store))
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

    /// A state that was saved and does not decode: worse than none, and worth telling.
    pub(super) fn refuse(&self, why: String) {
        self.shared.tell(why);
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

fn run(shared: &Shared, store: &mut Materialised) {
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
        if let Some(m) = newest {
            match store.save(&position(&m), &m.state.encode()) {
                Ok(Saved::Written) => {}
                Ok(Saved::Rebuilt { why, aside }) => shared.tell(format!("{why}; set aside as {}", aside.display())),
                // The next start reads snapshot and log; serving goes on.
                Err(e) => tracing::error!(error = %e, "the materialised state was not saved"),
            }
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
