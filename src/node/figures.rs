//! What a node shows of itself in figures: counts, sizes, ages and states. No record or notice is named, no person, no
//! title and no purpose; other agencies appear by their ids, which the genesis has in clear. How much waits, and how
//! urgent it is, can be read off all the same: whoever may ask is for `listen.metrics` to bound.

use super::exposition::{Kind, Page};
use crate::api::refused_calls;
use crate::domain::ids::{AgencyId, NodeId};
use crate::domain::notice::Precedence;
use crate::domain::reserve::Work;
use crate::domain::time::Millis;
use crate::identity::Live;
use crate::journal::{COMMIT_BOUNDS_US, Written};
use crate::ledger::State;
use crate::notice::Book;
use crate::service::{Core, Position};
use crate::vault::Owed;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is looked at.
pub(super) struct Watched {
    /// The rooms.
    pub(super) core: Arc<Core>,
    /// Open connections by listener.
    pub(super) live: Vec<(&'static str, Vec<Live>)>,
    /// Until when the certificate is valid that the node shows, in milliseconds; it may change meanwhile.
    pub(super) certified_until: Arc<AtomicU64>,
}

/// Another node, and where it says it is.
struct Other {
    agency: AgencyId,
    local: String,
    votes: bool,
    position: Option<Position>,
}

/// What is counted of what one originator owes.
type Count = fn(&Owed) -> u64;

impl Watched {
    /// Adds the node's figures to a page. It asks the other nodes where they are, all at once and for a second at most.
    pub(super) async fn write(&self, page: &mut Page) {
        let state = self.core.state();
        let others = others(&self.core, &state).await;
        self.ledger(page, &state, &others);
        self.vault(page);
        self.durable(page, &state);
        waiting(page, &self.core.office.read(waiting_letters), self.core.clock.now());
        self.core.office.read(|book| kept_back(page, book));
        self.rest(page);
    }

    fn ledger(&self, page: &mut Page, state: &State, others: &[Other]) {
        let (cluster, node) = (&self.core.cluster, self.core.node);
        let status = cluster.status();
        page.gauge("hufu_ledger_applied_index", "Last index applied here.", cluster.applied());
        page.gauge("hufu_ledger_certified_index", "Last index whose state a majority signed.", cluster.certified());
        page.gauge("hufu_ledger_term", "Term of the consensus.", status.term);
        let leads = status.leader == Some(node);
        page.gauge("hufu_ledger_has_leader", "1 while a leader is known.", u8::from(status.leader.is_some()));
        page.gauge("hufu_ledger_is_leader", "1 while this node leads.", u8::from(leads));
        let (age, fresh) = cluster.freshness();
        let help = "1 while all that was committed three seconds ago is applied here.";
        page.gauge("hufu_fresh", help, u8::from(fresh));
        if let Some(age) = age {
            let help = "How long ago all that was committed is known to be applied here.";
            page.gauge("hufu_ledger_age_seconds", help, age.as_secs());
        }
        let halted = u8::from(cluster.halted().is_some());
        page.gauge("hufu_ledger_closed", "1 when evidence closed the ledger for writing here.", halted);
        let diverged = u8::from(cluster.has_diverged());
        page.gauge("hufu_ledger_diverged", "1 when the majority certified another state than this node's.", diverged);
        let own = usize::from(state.voters().contains(&node));
        let reachable = others.iter().filter(|o| o.votes && o.position.is_some()).count();
        page.gauge("hufu_voters", "Nodes that vote.", state.voters().len());
        page.gauge("hufu_voters_reachable", "Of these, how many answer, this one included.", own + reachable);
        let mut answers = page.family("hufu_peer_reachable", Kind::Gauge, "1 for another node that answers.");
        for o in others {
            answers
                .sample(&[("agency", o.agency.as_str()), ("node", o.local.as_str())], u8::from(o.position.is_some()));
        }
        let help = "Last index that another node says it applied; absent while it is silent.";
        let mut applied = page.family("hufu_peer_applied_index", Kind::Gauge, help);
        for o in others {
            if let Some(position) = o.position {
                applied.sample(&[("agency", o.agency.as_str()), ("node", o.local.as_str())], position.applied);
            }
        }
    }

    fn vault(&self, page: &mut Page) {
        let owed = self.core.vault.owed();
        let counts: [(&str, &str, Count); 5] = [
            ("hufu_vault_owed", "Versions that the ledger says are for this agency, by originator.", |o| o.owed),
            ("hufu_vault_held", "Of these, held and openable.", |o| o.held),
            ("hufu_vault_missing", "Of these, not here yet.", |o| o.missing.len() as u64),
            ("hufu_vault_quarantined", "Of these, refused here because they do not open or break a rule.", |o| {
                o.unopenable.len() as u64
            }),
            ("hufu_vault_lost", "Of these, given up by their originator.", |o| o.lost.len() as u64),
        ];
        for (name, help, count) in counts {
            let mut by_origin = page.family(name, Kind::Gauge, help);
            for (origin, o) in &owed {
                by_origin.sample(&[("origin", origin.as_str())], count(o));
            }
        }
        let help = "1 when a failed write closed the vault until the next start.";
        page.gauge("hufu_vault_closed", help, u8::from(self.core.vault.is_closed()));
    }

    fn durable(&self, page: &mut Page, state: &State) {
        let core = &self.core;
        let audit = &core.audit;
        page.gauge("hufu_audit_events", "Durable events of the audit log.", audit.size());
        page.gauge(
            "hufu_audit_stopped",
            "1 when it takes nothing, so that nothing is done.",
            u8::from(audit.stopped().is_some()),
        );
        if let Some((index, digest)) = state.node(core.node).and_then(|n| n.anchor) {
            page.gauge("hufu_audit_anchor_index", "Ledger index of the last anchored checkpoint.", index);
            if let Some(covered) = core.anchors.covered(&digest) {
                page.gauge("hufu_audit_anchored_events", "Events that this checkpoint covers.", covered);
            }
        }
        journals(
            page,
            &[
                ("audit", audit.written()),
                ("ledger", core.cluster.written()),
                ("notices", core.office.written()),
                ("vault", core.vault.written()),
            ],
        );
        if let Some(free) = core.disk.free() {
            page.gauge("hufu_disk_free_bytes", "Room on the disk of the node's data.", free);
        }
        let help = "Of it, what may be written: without the ledger's next snapshot, and what was promised.";
        page.gauge("hufu_disk_room_bytes", help, core.disk.room());
        let reserve = Work::Content.reserve();
        page.gauge("hufu_disk_reserve_bytes", "With less room, content and routine notices are refused.", reserve);
        if let Some(used) = core.memory.used() {
            page.gauge("hufu_memory_used_bytes", "Memory of the process, resident or swapped out.", used);
        }
        let help = "With more memory than this, content is refused, and then routine notices.";
        page.gauge("hufu_memory_bound_bytes", help, core.memory.bound());
    }

    fn rest(&self, page: &mut Page) {
        page.gauge("hufu_index_documents", "Documents in the search indexes.", self.core.indexes.documents());
        let help = "Calls answered with an error, by kind; denied and absent are one kind.";
        let mut refused = page.family("hufu_calls_refused_total", Kind::Counter, help);
        for (kind, count) in refused_calls() {
            refused.sample(&[("kind", kind)], count);
        }
        let help = "Pushes left out because too much was on its way to their node; it pulls them.";
        page.family("hufu_pushes_left_out_total", Kind::Counter, help).sample(&[], self.core.pushes.left_out());
        let mut open = page.family("hufu_connections", Kind::Gauge, "Open connections, by listener.");
        for (listener, live) in &self.live {
            open.sample(&[("listener", *listener)], live.iter().map(Live::open).sum::<usize>());
        }
        let until = self.certified_until.load(Ordering::Relaxed) / 1000;
        page.gauge("hufu_certificate_expiry_seconds", "When the node's certificate ends, in Unix time.", until);
    }
}

async fn others(core: &Core, state: &State) -> Vec<Other> {
    let voters = state.voters();
    let nodes: Vec<(NodeId, AgencyId, String)> = state
        .nodes()
        .filter(|(id, _)| **id != core.node)
        .map(|(id, n)| (*id, n.agency.clone(), n.local.clone()))
        .collect();
    let positions = futures_util::future::join_all(nodes.iter().map(|(id, ..)| core.positions.ask(*id, 0))).await;
    let of = |((id, agency, local), position): ((NodeId, AgencyId, String), Option<Position>)| {
        let votes = voters.contains(&id);
        Other { agency, local, votes, position }
    };
    nodes.into_iter().zip(positions).map(of).collect()
}

fn journals(page: &mut Page, all: &[(&str, Written)]) {
    let mut frames = page.family("hufu_journal_frames_total", Kind::Counter, "Frames made durable since the start.");
    for (journal, written) in all {
        frames.sample(&[("journal", *journal)], written.frames);
    }
    let mut failed = page.family("hufu_journal_failed", Kind::Gauge, "1 after a failed write or sync.");
    for (journal, written) in all {
        failed.sample(&[("journal", *journal)], u8::from(written.failed));
    }
    let help = "Commits of over a second, each told in the log.";
    let mut slow = page.family("hufu_journal_slow_commits_total", Kind::Counter, help);
    for (journal, written) in all {
        slow.sample(&[("journal", *journal)], written.slow());
    }
    let seconds = |micros: u64| micros as f64 / 1e6;
    let bounds = COMMIT_BOUNDS_US.map(seconds);
    let help = "One write and fdatasync, shared by all that waited for it.";
    let mut took = page.family("hufu_journal_commit_seconds", Kind::Histogram, help);
    for (journal, written) in all {
        took.histogram(&[("journal", *journal)], &bounds, &written.took, seconds(written.micros));
    }
}

/// Letters that no receipt came for yet, by precedence and whether they are of an exercise: how many, and since when.
type Waiting = BTreeMap<(Precedence, bool), (u64, Millis)>;

fn waiting_letters(book: &Book) -> Waiting {
    let mut all = Waiting::new();
    for (_, out) in book.open() {
        let h = &out.letter.header;
        let (count, oldest) = all.entry((h.precedence, h.exercise)).or_insert((0, out.accepted));
        *count += 1;
        *oldest = (*oldest).min(out.accepted);
    }
    all
}

fn waiting(page: &mut Page, letters: &Waiting, now: Millis) {
    let kinds = || Precedence::ALL.iter().flat_map(|p| [(*p, false), (*p, true)]);
    let exercise = |is: bool| if is { "true" } else { "false" };
    let mut counts =
        page.family("hufu_notices_waiting", Kind::Gauge, "Letters that their addressees have not receipted.");
    for kind in kinds() {
        let count = letters.get(&kind).map_or(0, |(count, _)| *count);
        counts.sample(&[("precedence", kind.0.as_str()), ("exercise", exercise(kind.1))], count);
    }
    let help = "Age of the oldest of them; 0 for none.";
    let mut ages = page.family("hufu_notices_waiting_oldest_seconds", Kind::Gauge, help);
    for kind in kinds() {
        let age = letters.get(&kind).map_or(0, |(_, since)| now.0.saturating_sub(since.0) / 1000);
        ages.sample(&[("precedence", kind.0.as_str()), ("exercise", exercise(kind.1))], age);
    }
}

fn kept_back(page: &mut Page, book: &Book) {
    let help = "Notices of a sender that its recalls and withdrawals keep back before they come; at 1000 no more are.";
    let mut by_sender = page.family("hufu_notices_kept_back", Kind::Gauge, help);
    for (from, count) in book.kept_back() {
        by_sender.sample(&[("from", from.as_str())], count);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use crate::domain::ids::NoticeId;
    use crate::notice::Frame;

    #[test]
    fn every_precedence_is_there_also_when_nothing_waits() {
        let mut page = Page::default();
        let letters = Waiting::from([((Precedence::Flash, false), (2, Millis(1_000)))]);
        waiting(&mut page, &letters, Millis(9_500));
        let text = page.finish();
        let lines: Vec<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
        assert_eq!(lines.len(), 16);
        assert!(lines.contains(&"hufu_notices_waiting{precedence=\"flash\",exercise=\"false\"} 2"));
        assert!(lines.contains(&"hufu_notices_waiting_oldest_seconds{precedence=\"flash\",exercise=\"false\"} 8"));
        assert!(lines.contains(&"hufu_notices_waiting{precedence=\"routine\",exercise=\"true\"} 0"));
    }

    #[test]
    fn who_recalls_what_never_came_is_named() {
        let mut book = Book::default();
        for n in [1, 2] {
            let (notice, from) = (NoticeId::from_bytes([n; 16]), "police".parse().unwrap());
            book.fold(Frame::Withheld { notice, from, at: Millis(1) });
        }
        let mut page = Page::default();
        kept_back(&mut page, &book);
        assert!(page.finish().lines().any(|l| l == "hufu_notices_kept_back{from=\"police\"} 2"));
    }

    #[test]
    fn a_journal_shows_its_classes_in_seconds() {
        let mut page = Page::default();
        let mut written = Written { frames: 3, micros: 1_500, failed: true, ..Written::default() };
        if let Some(first) = written.took.first_mut() {
            *first = 2;
        }
        journals(&mut page, &[("audit", written)]);
        let text = page.finish();
        for line in [
            "hufu_journal_frames_total{journal=\"audit\"} 3",
            "hufu_journal_failed{journal=\"audit\"} 1",
            "hufu_journal_commit_seconds_bucket{journal=\"audit\",le=\"0.00025\"} 2",
            "hufu_journal_commit_seconds_bucket{journal=\"audit\",le=\"+Inf\"} 2",
            "hufu_journal_commit_seconds_sum{journal=\"audit\"} 0.0015",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }
}
