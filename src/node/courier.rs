//! Sends what is due, each letter by its paths, each path beside the others. It needs no leader.

use super::bell::Rung;
use super::post::PostOffice;
use crate::domain::ids::{AgencyId, NodeId};
use crate::domain::notice::Precedence;
use crate::notice::LetterDigest;
use crate::service::{Core, PeerPost};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// Looks again at the latest after this long: alarms and escalations are due by the clock.
const ROUND: Duration = Duration::from_millis(500);
/// Paths in use at a time up to which a letter of each precedence may take one more, for one addressee: a flood of routine
/// leaves room for a flash, and one who does not answer takes nobody else's.
const UNDER_WAY: [usize; 4] = [256, 128, 96, 64];
/// How often a path that works, and one that does not, is tried for nothing: the first keeps connections warm, the second
/// shows at once when a path is back.
const WARM: Duration = Duration::from_secs(5);
const AWAY: Duration = Duration::from_millis(200);

/// A path that a letter is on: direct, or by a relay.
type OnPath = (LetterDigest, Option<NodeId>);
/// What is under way, by addressee and whether it is an exercise.
type UnderWay = BTreeMap<(AgencyId, bool), BTreeSet<OnPath>>;

/// Starts the task; it ends when told.
pub(super) fn start(
    urgent: &Handle,
    core: Arc<Core>,
    post: Arc<dyn PeerPost>,
    mut stopped: watch::Receiver<bool>,
) -> JoinHandle<()> {
    urgent.spawn(async move {
        let under_way: Arc<Mutex<UnderWay>> = Arc::default();
        loop {
            send_due(&core, &post, &under_way);
            let now = core.clock.steady();
            let next = core.office.next_try().map(|t| Duration::from_millis(t.0.saturating_sub(now.0).max(1)));
            tokio::select! {
                biased;
                _ = stopped.wait_for(|s| *s) => return,
                () = core.office.woken() => {}
                () = sleep(next.unwrap_or(ROUND).min(ROUND)) => {}
            }
        }
    })
}

/// Gives alarms and escalations when they are due.
pub(super) fn alarms(urgent: &Handle, core: Arc<Core>, mut stopped: watch::Receiver<bool>) -> JoinHandle<()> {
    urgent.spawn(async move {
        loop {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|s| *s) => return,
                () = sleep(ROUND) => {}
            }
            if let Err(error) = core.notice_steps().await {
                tracing::error!(%error, "alarms of notices cannot be kept");
            }
        }
    })
}

/// Tries every path for nothing: what waits for a peer goes at once when a path to it is back. Paths come and go with nodes.
pub(super) fn keep_warm(
    urgent: &Handle,
    core: Arc<Core>,
    post: Arc<PostOffice>,
    mut stopped: watch::Receiver<bool>,
) -> JoinHandle<()> {
    urgent.spawn(async move {
        let (mut known, mut warm) = (BTreeSet::new(), JoinSet::new());
        loop {
            for path in post.paths() {
                if known.insert(path) {
                    warm.spawn(keep_one_warm(Arc::clone(&core), Arc::clone(&post), path, stopped.clone()));
                }
            }
            tokio::select! {
                biased;
                _ = stopped.wait_for(|s| *s) => return,
                () = sleep(ROUND) => {}
            }
        }
    })
}

async fn keep_one_warm(
    core: Arc<Core>,
    post: Arc<PostOffice>,
    path: (NodeId, Precedence),
    mut stopped: watch::Receiver<bool>,
) {
    let mut worked = true;
    while post.has(path) {
        let works = post.ping(path.0, path.1).await;
        if works && !worked {
            core.office.path_is_back();
        }
        worked = works;
        tokio::select! {
            biased;
            _ = stopped.wait_for(|s| *s) => return,
            () = sleep(if works { WARM } else { AWAY }) => {}
        }
    }
}

/// Tells the book of calls that were made, after ringing again for those that a stop left uncertain.
pub(super) fn calls(urgent: &Handle, core: Arc<Core>, mut rung: mpsc::Receiver<Rung>) -> JoinHandle<()> {
    urgent.spawn(async move {
        core.ring_again();
        while let Some((letter, step)) = rung.recv().await {
            if let Err(error) = core.office.called(letter, step, core.clock.now()).await {
                tracing::error!(%error, "a call that was made is not in the book");
            }
        }
    })
}

fn send_due(core: &Arc<Core>, post: &Arc<dyn PeerPost>, under_way: &Arc<Mutex<UnderWay>>) {
    let busy = || under_way.lock().unwrap_or_else(PoisonError::into_inner);
    let steady = core.clock.steady();
    let tries = {
        let mut entropy = core.entropy.lock().unwrap_or_else(PoisonError::into_inner);
        core.office.tries(core.clock.now(), steady, entropy.as_mut())
    };
    for due in tries {
        let place =
            core.office.read(|b| b.out(&due.letter).map(|o| (o.letter.header.to.clone(), o.letter.header.exercise)));
        let Some(place) = place else { continue };
        let relays = if due.relays { core.relays_for(&due.letter) } else { Vec::new() };
        let most = UNDER_WAY.get(due.precedence as usize).copied().unwrap_or_default();
        let mut tried = false;
        for via in std::iter::once(None).chain(relays.into_iter().map(Some)) {
            let path = (due.letter, via);
            {
                let mut all = busy();
                let here = all.entry(place.clone()).or_default();
                tried |= here.contains(&path);
                if here.len() >= most || !here.insert(path) {
                    continue;
                }
            }
            tried = true;
            let (core, post) = (Arc::clone(core), Arc::clone(post));
            let on_path = OnItsWay { under_way: Arc::clone(under_way), place: place.clone(), path };
            tokio::spawn(async move {
                core.post_letter(due.letter, via, post.as_ref()).await;
                drop(on_path);
            });
        }
        if !tried {
            core.office.untried(&due.letter, steady);
        }
    }
}

/// Frees a path when dropped, however its letter fared.
struct OnItsWay {
    under_way: Arc<Mutex<UnderWay>>,
    place: (AgencyId, bool),
    path: OnPath,
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        let mut all = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = all.get_mut(&self.place) {
            here.remove(&self.path);
            if here.is_empty() {
                all.remove(&self.place);
            }
        }
    }
}
