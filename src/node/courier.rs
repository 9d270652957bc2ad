//! Sends what is due, each letter by its paths, each path beside the others. It needs no leader.

use crate::domain::ids::NodeId;
use crate::node::system::SystemEntropy;
use crate::notice::LetterDigest;
use crate::service::{Core, PeerPost};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Looks again at the latest after this long: alarms and escalations are due by the clock.
const ROUND: Duration = Duration::from_millis(500);
/// Paths in use at a time up to which a letter of each precedence may take one more: a flood of routine to somebody who
/// does not answer leaves room for a flash.
const UNDER_WAY: [usize; 4] = [1_024, 512, 384, 256];

/// A path that a letter is on: direct, or by a relay.
type OnPath = (LetterDigest, Option<NodeId>);

/// Starts the task; it ends when told.
pub(super) fn start(
    urgent: &Handle,
    core: Arc<Core>,
    post: Arc<dyn PeerPost>,
    mut stopped: watch::Receiver<bool>,
) -> JoinHandle<()> {
    urgent.spawn(async move {
        let under_way: Arc<Mutex<BTreeSet<OnPath>>> = Arc::default();
        loop {
            send_due(&core, &post, &under_way);
            let now = core.clock.now();
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

fn send_due(core: &Arc<Core>, post: &Arc<dyn PeerPost>, under_way: &Arc<Mutex<BTreeSet<OnPath>>>) {
    let busy = || under_way.lock().unwrap_or_else(PoisonError::into_inner);
    for due in core.office.tries(core.clock.now(), &mut SystemEntropy) {
        let relays = if due.relays { core.relays_for(&due.letter) } else { Vec::new() };
        let most = UNDER_WAY.get(due.precedence as usize).copied().unwrap_or_default();
        for via in std::iter::once(None).chain(relays.into_iter().map(Some)) {
            let path = (due.letter, via);
            if busy().len() >= most || !busy().insert(path) {
                continue;
            }
            let (core, post, under_way) = (Arc::clone(core), Arc::clone(post), Arc::clone(under_way));
            tokio::spawn(async move {
                core.post_letter(due.letter, via, post.as_ref()).await;
                under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&path);
            });
        }
    }
}
