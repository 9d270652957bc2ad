//! `notice watch`: what comes in at this node, and at the agency's other nodes, for one terminal.
//!
//! Another node is asked often which notices are new to the person; each of them is then shown by it as any other notice is,
//! so it discloses and logs. While one does not answer, what it took in comes when it is back. One that lies here, too, is
//! shown by this node alone.

use super::{People, homes, notices::line, refuse};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{NodeId, NoticeId};
use crate::domain::label::Grade;
use crate::domain::notice::Precedence;
use crate::service::{Caller, Core, UNOPENABLE};
use crate::wire::pb::{peer, v1};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tonic::{Request, Status};

/// A terminal that takes nothing for this long is not there.
const SLOW: Duration = Duration::from_secs(30);
/// Who watches is looked up again at the latest after this long; so is which nodes the agency has.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How often another node is asked.
const OFTEN: Duration = Duration::from_millis(500);
/// How often one that refuses: each refusal is an event there.
const SELDOM: Duration = Duration::from_secs(30);
/// News of one answer, and notices of which a stream knows that it showed them: the rest is older.
const MOST: usize = 10_000;

type Lines = mpsc::Sender<Result<v1::Notice, Status>>;

/// What a stream has of another node.
#[derive(Default)]
struct Seen {
    /// Where that node's next news begin; none at first, and after it did not answer.
    next: Option<(u64, u64)>,
    /// Whether it answered before: what comes from then on came while somebody watches.
    begun: bool,
    /// Notices that were shown, and recalls.
    shown: BTreeSet<(String, bool)>,
    /// Those that cannot be shown: each attempt is an event there.
    failed: BTreeSet<(String, bool)>,
}

impl Seen {
    /// One that cannot be shown hides no other: only a node that says nothing ends the round. Answers what the person is told of
    /// one that does not open there.
    fn fail(&mut self, key: (String, bool), fault: Fault) -> Result<Option<v1::Notice>, Fault> {
        if homes::is_away(&fault) {
            return Err(fault);
        }
        tracing::warn!(notice = %key.0, reason = fault.reason, "another node of this agency cannot show a notice");
        let told = (fault.reason == UNOPENABLE).then(|| v1::Notice {
            notice: key.0.clone(),
            unopenable: fault.message,
            ..v1::Notice::default()
        });
        note(&mut self.failed, key);
        Ok(told)
    }
}

/// Adds to what a stream knows, within bounds.
fn note(known: &mut BTreeSet<(String, bool)>, key: (String, bool)) {
    if known.len() >= MOST {
        known.pop_first();
    }
    known.insert(key);
}

/// Why another node is followed no more.
enum Ended {
    /// The terminal is gone, or takes nothing.
    Terminal,
    /// It is no node of this agency any more.
    Node,
    /// The person is refused.
    Person(Status),
}

impl People {
    /// Streams until the terminal is gone or the person is refused.
    pub(super) async fn follow(&self, request: &Request<v1::NoticeWatchRequest>, lines: &Lines) -> Result<(), Status> {
        let _watching = self.core.watching.begin(&self.caller(request)?).map_err(refuse)?;
        tokio::select! {
            ended = self.stream(request, lines) => ended,
            ended = self.stream_elsewhere(request, lines) => ended,
        }
    }

    /// What this node took in.
    async fn stream(&self, request: &Request<v1::NoticeWatchRequest>, lines: &Lines) -> Result<(), Status> {
        let mut changes = self.core.office.changes();
        changes.mark_unchanged();
        let mut people = self.core.directory.changes();
        let (mut letters, mut next) = self.core.notices_unseen(&self.caller(request)?);
        loop {
            for letter in letters {
                let caller = self.caller(request)?;
                let Some(shown) = self.core.notice_shown(&caller, letter).await.map_err(refuse)? else { continue };
                match timeout(SLOW, lines.send(Ok(line(shown)))).await {
                    Ok(Ok(())) => {}
                    // Gone, or it takes nothing: what it did not confirm is sent again to the next watch.
                    Ok(Err(_)) | Err(_) => return Ok(()),
                }
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return Ok(()) },
                () = lines.closed() => return Ok(()),
                // Somebody suspended meanwhile is sent away, also when nothing comes in.
                changed = people.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    self.caller(request)?;
                }
                () = sleep(LOOK_AGAIN) => { self.caller(request)?; }
            }
            (letters, next) = self.core.notices_since(&self.caller(request)?, next);
        }
    }

    /// What the agency's other nodes took in, whichever there are. Without any it only looks whether there is one now.
    async fn stream_elsewhere(&self, request: &Request<v1::NoticeWatchRequest>, lines: &Lines) -> Result<(), Status> {
        let (mut followed, mut all) = (BTreeSet::new(), FuturesUnordered::new());
        loop {
            for (node, _) in self.core.siblings() {
                if followed.insert(node) {
                    all.push(self.stream_of(node, request, lines));
                }
            }
            tokio::select! {
                Some((node, ended)) = all.next() => match ended {
                    Ended::Terminal => return Ok(()),
                    Ended::Person(status) => return Err(status),
                    Ended::Node => _ = followed.remove(&node),
                },
                () = sleep(LOOK_AGAIN) => {}
            }
        }
    }

    /// What one other node took in.
    async fn stream_of(
        &self,
        node: NodeId,
        request: &Request<v1::NoticeWatchRequest>,
        lines: &Lines,
    ) -> (NodeId, Ended) {
        let mut seen = Seen::default();
        loop {
            if !self.core.siblings().iter().any(|(id, _)| *id == node) {
                return (node, Ended::Node);
            }
            let caller = match self.caller(request) {
                Ok(caller) => caller,
                Err(status) => return (node, Ended::Person(status)),
            };
            let pause = match show_news(&self.core, &caller, node, &mut seen, lines).await {
                Ok(true) => OFTEN,
                Ok(false) => return (node, Ended::Terminal),
                Err(fault) => {
                    seen.next = None;
                    pause_after(&fault)
                }
            };
            sleep(pause).await;
        }
    }
}

/// One that does not answer, or does not know the person yet, is asked again soon.
fn pause_after(fault: &Fault) -> Duration {
    let soon = matches!(fault.kind, FaultKind::Unavailable | FaultKind::Internal) || fault.reason == "UNKNOWN_PERSON";
    if soon { LOOK_AGAIN } else { SELDOM }
}

/// Shows what is new at another node; false when the terminal is gone.
async fn show_news(core: &Core, caller: &Caller, node: NodeId, seen: &mut Seen, lines: &Lines) -> Result<bool, Fault> {
    let (begun, (arrived, recalled)) = (seen.next.is_some(), seen.next.unwrap_or_default());
    let asked = peer::NewsRequest { begun, arrived, recalled };
    let reply: peer::NewsReply = homes::ask(core, caller, node, (homes::NEWS, &asked)).await?;
    for peer::News { notice, recalled } in reply.news {
        let id: NoticeId = notice.parse()?;
        let key = (notice.clone(), recalled);
        if seen.shown.contains(&key) || seen.failed.contains(&key) || core.shows(caller, &id) {
            continue;
        }
        let asked = v1::NoticeRequest { notice };
        let told: Option<v1::Notice> = match homes::ask::<v1::Notice>(core, caller, node, (homes::SHOW, &asked)).await {
            Ok(shown) => {
                note(&mut seen.shown, key);
                if seen.begun && !recalled {
                    let (precedence, grade): (Precedence, Grade) = (shown.precedence.parse()?, shown.grade.parse()?);
                    core.ring_elsewhere(id, shown.from.parse()?, (precedence, grade, shown.exercise));
                }
                Some(shown)
            }
            // It was taken back meanwhile.
            Err(fault) if fault.kind == FaultKind::NotFound => None,
            Err(fault) => seen.fail(key, fault)?,
        };
        let Some(told) = told else { continue };
        if !matches!(timeout(SLOW, lines.send(Ok(told))).await, Ok(Ok(()))) {
            return Ok(false);
        }
    }
    (seen.next, seen.begun) = (Some((reply.arrived, reply.recalled)), true);
    Ok(true)
}

/// What is new here to a person who watches at another node: which notices, and nothing of what they say. Where that node's
/// last answer does not fit this book, which began anew, it is everything that is new to the person.
pub(super) async fn news(core: &Core, caller: &Caller, request: &peer::NewsRequest) -> Result<peer::NewsReply, Fault> {
    let peer::NewsRequest { begun, arrived, recalled } = request;
    core.notice_gate(caller).await?;
    let position = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let (arrived, recalled) = (position(*arrived), position(*recalled));
    let since = begun.then(|| core.notices_since(caller, (arrived, recalled)));
    let since = since.filter(|(_, next)| next.0 >= arrived && next.1 >= recalled);
    let (letters, next) = since.unwrap_or_else(|| core.notices_unseen(caller));
    let newest = letters.len().saturating_sub(MOST);
    let news = letters.iter().skip(newest).filter_map(|letter| core.notice_news(caller, letter));
    let news = news.map(|(notice, recalled)| peer::News { notice: notice.to_string(), recalled }).collect();
    Ok(peer::NewsReply { news, arrived: next.0 as u64, recalled: next.1 as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each refusal is an event at the other node, and nobody is left without notices for long by one that is away.
    #[test]
    fn whoever_refuses_is_not_asked_again_at_once() {
        assert_eq!(pause_after(&Fault::refused("NOT_ALLOWED", "x")), SELDOM);
        assert_eq!(pause_after(&Fault::usage("INVALID", "an older node knows no such call")), SELDOM);
        assert_eq!(pause_after(&Fault::unavailable("NODE_UNREACHABLE", "x")), LOOK_AGAIN);
        assert_eq!(pause_after(&Fault::refused("UNKNOWN_PERSON", "x")), LOOK_AGAIN);
    }

    /// One that does not open, or whose grade is above the key ring, is left out once; what a node that is away has comes later.
    #[test]
    fn a_notice_that_cannot_be_shown_hides_no_other() {
        let (mut seen, key) = (Seen::default(), |id: &str| (id.to_owned(), false));
        for away in [Fault::unavailable("NODE_UNREACHABLE", "x"), Fault::refused("UNKNOWN_PERSON", "x")] {
            assert_eq!(seen.fail(key("n-a"), away.clone()), Err(away));
        }
        assert!(seen.failed.is_empty());
        let named = v1::Notice { notice: "n-a".into(), unopenable: "x".into(), ..v1::Notice::default() };
        for (id, broken, told) in
            [("n-a", Fault::integrity(UNOPENABLE, "x"), Some(named)), ("n-b", Fault::refused("NOT_ALLOWED", "x"), None)]
        {
            assert_eq!(seen.fail(key(id), broken), Ok(told));
            assert!(seen.failed.contains(&key(id)) && !seen.failed.contains(&(id.to_owned(), true)));
        }
        (0..=MOST).for_each(|n| note(&mut seen.failed, key(&n.to_string())));
        assert_eq!(seen.failed.len(), MOST);
    }
}
