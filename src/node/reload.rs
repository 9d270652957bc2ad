//! Takes changed files while the node runs: its certificate, revocation lists, and the part of its configuration that may
//! change ([`CHANGEABLE`]). At SIGHUP, and by itself when a file is another one.
//!
//! Invariants
//! - What is taken from one file is taken whole or not at all: everything is read and checked before the first of it counts.
//! - What cannot be taken leaves in force what was, and is told: in the node's log, and as an event.
//! - The key ring, the genesis and the authority are read at the start alone. A new certificate is for the same key, and the
//!   roots of agencies are the ledger's.

use super::lists::{Lists, Told};
use crate::audit::{Action as AuditAction, Decision as Verdict};
use crate::config::{CHANGEABLE, NodeConfig, read_text};
use crate::domain::fault::Fault;
use crate::domain::ids::AgencyId;
use crate::domain::time::{Clock, Millis};
use crate::identity::{AgencyVerifier, Credentials, Dialer, NextTls, RevocationList, ServerTls, certificate_facts_der};
use crate::seal::SigningKey;
use crate::service::{Core, DutyChain, Groups, Settings};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

/// How often files are looked at. One that changed is read when it was the same at two looks: whoever writes it is done.
const LOOK: Duration = Duration::from_millis(200);

/// The changeable part of a configuration.
pub(super) fn settings(config: &NodeConfig) -> Settings {
    let n = &config.notices;
    let duty = DutyChain { deputy: n.deputy.clone(), chain: n.chain.clone(), out_of_band: n.out_of_band.clone() };
    Settings { groups: Groups(n.groups.clone()), duty }
}

/// What this node shows at its connections.
pub(super) struct Shown {
    pub(super) listeners: Vec<ServerTls>,
    pub(super) dialer: Arc<Dialer>,
    /// The node's key, which every certificate of it is for.
    pub(super) key: SigningKey,
    /// Takes this node alone.
    pub(super) own: AgencyVerifier,
    /// The certificate in force, DER.
    pub(super) leaf: Vec<u8>,
    /// Until when it is valid, in milliseconds, for whoever watches the node.
    pub(super) until: Arc<AtomicU64>,
}

/// A certificate that was checked and does not count yet.
struct Next {
    listeners: Vec<NextTls>,
    credentials: Credentials,
    until: Millis,
}

impl Shown {
    /// What a certificate's file holds, if it is another one than in force.
    fn next(&self, file: &Path, clock: &dyn Clock) -> Result<Option<Next>, Fault> {
        let credentials = Credentials::from_pem(&read_text(file)?, &self.key.to_pkcs8_pem()?)?;
        if credentials.leaf() == self.leaf {
            return Ok(None);
        }
        let facts = certificate_facts_der(credentials.leaf())?;
        if facts.public_key != *self.key.public().as_bytes() {
            return Err(Fault::usage("BAD_CERTIFICATE", "it is not for the key of this node's key ring"));
        }
        self.own.check(&credentials, clock.now())?;
        let listeners = self.listeners.iter().map(|l| l.showing(&credentials)).collect::<Result<_, _>>()?;
        Ok(Some(Next { listeners, credentials, until: facts.not_after }))
    }

    fn put_in_force(&mut self, next: Next) {
        self.leaf = next.credentials.leaf().to_vec();
        self.until.store(next.until.0, Ordering::Relaxed);
        next.listeners.into_iter().for_each(NextTls::put_in_force);
        self.dialer.show(next.credentials);
    }
}

/// Everything that is looked at again.
pub(super) struct Reload {
    core: Arc<Core>,
    file: PathBuf,
    config: NodeConfig,
    lists: Lists,
    shown: Shown,
    watched: Watched,
    /// Agencies of whose list it was told that it is over.
    over: BTreeSet<AgencyId>,
}

impl Reload {
    pub(super) fn new(core: Arc<Core>, file: PathBuf, config: NodeConfig, lists: Lists, shown: Shown) -> Reload {
        Reload { core, file, config, lists, shown, watched: Watched::default(), over: BTreeSet::new() }
    }

    /// Starts the task; it ends when told. `hangups` comes from the caller: a signal before somebody waits for it would end
    /// the process.
    pub(super) fn start(self, mut hangups: Signal, mut stopped: watch::Receiver<bool>) -> JoinHandle<()> {
        tokio::spawn(async move {
            let mut ticks = interval(LOOK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let (core, mut reload) = (Arc::clone(&self.core), self);
            loop {
                let asked = tokio::select! {
                    biased;
                    _ = stopped.wait_for(|s| *s) => return,
                    Some(()) = hangups.recv() => true,
                    _ = ticks.tick() => false,
                };
                // A disk that hangs holds up a thread of its own.
                let looked = tokio::task::spawn_blocking(move || {
                    let told = reload.look(asked);
                    (reload, told)
                });
                let told = match looked.await {
                    Ok((back, told)) => {
                        reload = back;
                        told
                    }
                    Err(error) => {
                        tracing::error!(%error, "files are not looked at any more; start the node again");
                        return;
                    }
                };
                for one in told {
                    one.tell(&core).await;
                }
            }
        })
    }

    /// Takes what changed; what to tell of it. `asked` reads every file.
    fn look(&mut self, asked: bool) -> Vec<Told> {
        let mut told = Vec::new();
        // Whoever came meanwhile is known by the ledger; its list may lie there already.
        let state = self.core.state();
        let came = self.lists.learn(state.agencies().map(|(agency, a)| (agency, a.roots())));
        if self.watched.is_due(&self.file, asked) {
            told.extend(self.configuration());
        }
        if self.watched.is_due(&self.config.cert, asked) {
            told.extend(self.certificate());
        }
        let now = self.core.clock.now();
        for (agency, file) in &self.config.crl {
            if self.watched.is_due(file, asked || came.contains(agency)) {
                told.extend(self.lists.read(agency, file, now));
            }
            match self.lists.over(agency, now) {
                Some(over) if self.over.insert(agency.clone()) => told.push(over),
                Some(_) => {}
                None => {
                    self.over.remove(agency);
                }
            }
        }
        if asked {
            tracing::info!("all files were read again");
        }
        told
    }

    fn certificate(&mut self) -> Option<Told> {
        let told = |verdict, rule, what| Told {
            action: AuditAction::Key,
            agency: self.core.agency.clone(),
            verdict,
            rule,
            what,
        };
        let file = self.config.cert.clone();
        match self.shown.next(&file, self.core.clock.as_ref()) {
            Ok(None) => None,
            Ok(Some(next)) => {
                let told = told(Verdict::Allow, "certificate-accepted", format!("`{}` is shown now", file.display()));
                self.shown.put_in_force(next);
                Some(told)
            }
            Err(fault) => {
                let what = format!("`{}` is not shown: {fault}", file.display());
                Some(told(Verdict::Deny, "certificate-refused", what))
            }
        }
    }

    fn configuration(&mut self) -> Vec<Told> {
        let told = |verdict, rule, what| Told {
            action: AuditAction::Configure,
            agency: self.core.agency.clone(),
            verdict,
            rule,
            what,
        };
        match self.prepare() {
            Ok(None) => Vec::new(),
            Ok(Some(prepared)) => {
                let what = format!("changed: {}", prepared.changes.join(", "));
                let mut all = vec![told(Verdict::Allow, "configuration-accepted", what)];
                all.extend(self.put_in_force(prepared));
                all
            }
            Err(fault) => vec![told(Verdict::Deny, "configuration-refused", fault.message)],
        }
    }

    /// Reads and checks everything that a changed configuration brings.
    fn prepare(&self) -> Result<Option<Prepared>, Fault> {
        let next = NodeConfig::read(&self.file)?;
        let changes = self.config.changes(&next)?;
        if changes.is_empty() {
            return Ok(None);
        }
        let fixed: Vec<String> =
            changes.iter().filter(|k| !CHANGEABLE.contains(&k.as_str())).map(|k| format!("`{k}`")).collect();
        if !fixed.is_empty() {
            let why = format!("{} needs a restart; nothing of the file is taken", fixed.join(", "));
            return Err(Fault::usage("BAD_CONFIG", why));
        }
        let shown = match next.cert == self.config.cert {
            true => None,
            false => self.shown.next(&next.cert, self.core.clock.as_ref())?,
        };
        let mut lists = BTreeMap::new();
        for (agency, file) in next.crl.iter().filter(|(agency, file)| self.config.crl.get(*agency) != Some(*file)) {
            let list = self.lists.candidate(agency, file).map_err(|why| Fault::usage("BAD_CRL", why))?;
            lists.extend(list.map(|l| (agency.clone(), l)));
        }
        Ok(Some(Prepared { next, changes, shown, lists }))
    }

    fn put_in_force(&mut self, prepared: Prepared) -> Vec<Told> {
        let Prepared { next, changes: _, shown, lists } = prepared;
        let now = self.core.clock.now();
        let mut told = Vec::new();
        for (agency, list) in lists {
            told.extend(self.lists.force(&agency, list, now));
        }
        for agency in self.config.crl.keys().filter(|a| !next.crl.contains_key(*a)) {
            told.push(self.lists.give_up(agency));
        }
        if let Some(shown) = shown {
            self.shown.put_in_force(shown);
        }
        self.core.settings.replace(settings(&next));
        self.config = next;
        told
    }
}

/// A configuration that was checked and does not count yet.
struct Prepared {
    next: NodeConfig,
    changes: Vec<String>,
    shown: Option<Next>,
    lists: BTreeMap<AgencyId, RevocationList>,
}

/// What a file is like, without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Look {
    Absent,
    There { inode: u64, size: u64, modified: (i64, i64), changed: (i64, i64) },
}

fn look_at(file: &Path) -> Look {
    let Ok(m) = std::fs::metadata(file) else { return Look::Absent };
    let (modified, changed) = ((m.mtime(), m.mtime_nsec()), (m.ctime(), m.ctime_nsec()));
    Look::There { inode: m.ino(), size: m.size(), modified, changed }
}

/// Files with what they were like at the last look, and when they were read last.
#[derive(Default)]
struct Watched(BTreeMap<PathBuf, (Look, Option<Look>)>);

impl Watched {
    /// Whether a file is to be read now: it was never, or it is another one than was read and rests.
    fn is_due(&mut self, file: &Path, asked: bool) -> bool {
        let now = look_at(file);
        let (last, read) = self.0.entry(file.to_owned()).or_insert_with(|| (now.clone(), None));
        let rests = *last == now;
        let due = asked || rests && read.as_ref() != Some(&now);
        if due {
            *read = Some(now.clone());
        }
        *last = now;
        due
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_when_it_changed_and_rests() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("crl.pem");
        let mut watched = Watched::default();
        assert!(watched.is_due(&file, false), "what is missing at first is told");
        assert!(!watched.is_due(&file, false));
        for content in ["a", "ab", "abc"] {
            std::fs::write(&file, content).unwrap();
            assert!(!watched.is_due(&file, false), "somebody may be writing");
        }
        assert!(watched.is_due(&file, false));
        assert!(!watched.is_due(&file, false), "once");
        assert!(watched.is_due(&file, true), "unless it is asked for");
        // Another file in its place, of the same size.
        let other = dir.path().join("new");
        std::fs::write(&other, "xyz").unwrap();
        std::fs::rename(&other, &file).unwrap();
        assert!(!watched.is_due(&file, false) && watched.is_due(&file, false));
        std::fs::remove_file(&file).unwrap();
        assert!(!watched.is_due(&file, false) && watched.is_due(&file, false));
    }
}
