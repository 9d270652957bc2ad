//! What must be true, whatever happened.

use super::large::Text;
use super::net::Carried;
use super::node::Up;
use super::world::{Part, Site, World};
use crate::audit::{Actor, Stage};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{AgencyId, NodeId, NoticeId, RecordId};
use crate::service::NoticeLine;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// Within so long all know one leader once it is calm, in ticks, whatever terms they bring: there is no vote before the vote.
const RECOVERY: u64 = 15_000;
/// And so long it stays, in ticks.
const STEADY: u64 = 2_000;

/// What somebody was told.
#[derive(Debug, Clone)]
pub(super) enum Claim {
    /// A record was published; without an index it was accepted.
    Published {
        record: RecordId,
        version: u32,
        audience: BTreeSet<AgencyId>,
        /// The site that published it.
        by: usize,
        /// Nodes that were removed before, as this site knew.
        gone: BTreeSet<NodeId>,
        index: Option<u64>,
        held_by: BTreeSet<AgencyId>,
    },
    /// A record waits for a second person.
    Proposed { record: RecordId, version: u32, audience: BTreeSet<AgencyId>, by: usize },
    /// Somebody is about to approve it.
    Deciding { record: RecordId },
    /// It was turned down.
    Rejected { record: RecordId },
    /// Somebody is about to give a record another large text, or was told as which version one is taken.
    Given { record: RecordId, version: Option<u32>, text: Text },
    /// A record was shown.
    Opened { record: RecordId, site: usize, seq: u64, by: &'static str },
    /// The person who only reads is suspended at a site.
    ShutOut { site: usize },
    /// A notice was accepted.
    Sent { notice: NoticeId, site: usize, to: Vec<AgencyId> },
    /// Somebody is about to take a notice back.
    TakingBack { notice: NoticeId },
    /// A notice was recalled from these.
    Recalled { notice: NoticeId, site: usize, to: Vec<AgencyId> },
}

/// What was claimed and seen.
#[derive(Default)]
pub(super) struct Oracle {
    claims: Arc<Mutex<Vec<Claim>>>,
    /// The digest at an index, as the first node had it.
    digests: BTreeMap<u64, [u8; 32]>,
    /// Heads of each site's audit log.
    heads: BTreeMap<(usize, u64), [u8; 32]>,
    wrongs: Vec<String>,
    /// How far each node was when it was looked at last since its start.
    followed: BTreeMap<usize, u64>,
    met: Met,
}

/// What happened that is not worth much if it never does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Met {
    /// Snapshots that came from another node and were installed.
    pub(super) snapshots: u64,
    /// Nodes that were removed.
    pub(super) removals: u64,
    /// Notices that were deleted because their time was over.
    pub(super) deletions: u64,
    /// Versions that folded because they were superseded long ago.
    pub(super) folds: u64,
    /// Agencies that were suspended.
    pub(super) suspensions: u64,
    /// Times that somebody suspended was sent away at the end.
    pub(super) sent_away: u64,
    /// Large bodies that people of other agencies were shown at the end, for each version and node.
    pub(super) large: u64,
    /// Large bodies that came whole to whoever asked for them, and those that broke off on the lines.
    pub(super) carried: Carried,
}

impl Oracle {
    pub(super) fn claims(&self) -> Arc<Mutex<Vec<Claim>>> {
        Arc::clone(&self.claims)
    }

    /// Every record that was published.
    pub(super) fn records(&self) -> Vec<RecordId> {
        let of = |c: &Claim| if let Claim::Published { record, .. } = c { Some(*record) } else { None };
        self.claims.lock().unwrap().iter().filter_map(of).collect()
    }

    /// What a site published, and for whom.
    pub(super) fn published_by(&self, n: usize) -> Vec<(RecordId, BTreeSet<AgencyId>)> {
        let of = |c: &Claim| match c {
            Claim::Published { record, audience, by, .. } if *by == n => Some((*record, audience.clone())),
            _ => None,
        };
        self.claims.lock().unwrap().iter().filter_map(of).collect()
    }

    /// What was proposed at a site.
    pub(super) fn proposed_by(&self, n: usize) -> Vec<(RecordId, BTreeSet<AgencyId>)> {
        let of = |c: &Claim| match c {
            Claim::Proposed { record, audience, by, .. } if *by == n => Some((*record, audience.clone())),
            _ => None,
        };
        self.claims.lock().unwrap().iter().filter_map(of).collect()
    }

    /// What notices a site sent, and to whom.
    pub(super) fn sent_by(&self, n: usize) -> Vec<(NoticeId, Vec<AgencyId>)> {
        let of = |c: &Claim| match c {
            Claim::Sent { notice, site, to } if *site == n => Some((*notice, to.clone())),
            _ => None,
        };
        self.claims.lock().unwrap().iter().filter_map(of).collect()
    }

    /// Every notice that was accepted.
    pub(super) fn notices(&self) -> Vec<NoticeId> {
        let of = |c: &Claim| if let Claim::Sent { notice, .. } = c { Some(*notice) } else { None };
        self.claims.lock().unwrap().iter().filter_map(of).collect()
    }

    /// The sites at which the person who only reads was suspended.
    pub(super) fn shut_out(&self) -> BTreeSet<usize> {
        let of = |c: &Claim| if let Claim::ShutOut { site } = c { Some(*site) } else { None };
        self.claims.lock().unwrap().iter().filter_map(of).collect()
    }

    pub(super) fn wrong(&mut self, what: String) {
        self.wrongs.push(what);
    }

    /// What happened so far.
    pub(super) fn met(&self) -> Met {
        self.met
    }

    /// Takes out what notices were accepted so far: their time is over.
    pub(super) fn take_notices(&mut self) -> Vec<NoticeId> {
        let notices = self.notices();
        self.claims.lock().unwrap().retain(|c| !matches!(c, Claim::Sent { .. }));
        notices
    }

    pub(super) fn note_deletions(&mut self, notices: usize) {
        self.met.deletions += notices as u64;
    }

    pub(super) fn note_folds(&mut self, versions: u64) {
        self.met.folds += versions;
    }

    pub(super) fn note_large(&mut self, shown: u64, carried: Carried) {
        (self.met.large, self.met.carried) = (shown, carried);
    }

    pub(super) fn note_a_suspension(&mut self) {
        self.met.suspensions += 1;
    }

    pub(super) fn note_one_sent_away(&mut self) {
        self.met.sent_away += 1;
    }

    pub(super) fn note_a_removal(&mut self) {
        self.met.removals += 1;
    }

    /// A node begins with this applied.
    pub(super) fn begins(&mut self, n: usize, applied: u64) {
        self.followed.insert(n, applied);
    }

    /// Looks at what must hold at every moment.
    pub(super) fn look(&mut self, sites: &[Site]) {
        for (n, site) in sites.iter().enumerate() {
            let Some(up) = site.up() else { continue };
            let applied = up.core.cluster.applied();
            let before = self.followed.insert(n, applied).unwrap_or(applied);
            // Whoever applied entries one by one knows the digest after each.
            if applied > before && up.core.cluster.digest_at(before + 1).is_none() {
                self.met.snapshots += 1;
            }
            let position = up.core.position(0);
            if let Some(digest) = position.digest {
                let first = *self.digests.entry(position.applied).or_insert(digest);
                if first != digest {
                    let id = &site.member.id;
                    self.wrongs.push(format!("two ledgers: {id} has another state at index {}", position.applied));
                }
            }
            let (size, root) = up.core.audit.head();
            self.heads.insert((n, size), root);
            if up.core.cluster.has_diverged() {
                self.wrongs.push(format!("{} finds itself diverged", site.member.id));
            }
        }
    }

    /// What was wrong so far.
    pub(super) fn verdict(&self) -> Result<(), String> {
        self.wrongs.first().map_or(Ok(()), |first| Err(first.clone()))
    }
}

impl World {
    /// Asks everything that must hold now, at nodes that run.
    pub(super) fn ask(&mut self) -> Result<(), String> {
        self.oracle.look(&self.sites);
        self.oracle.verdict()?;
        self.net.verdict()?;
        let claims = self.oracle.claims.lock().unwrap().clone();
        self.nothing_where_it_may_not_be(&claims)?;
        self.what_was_held_is_held(&claims)?;
        self.what_was_deleted_stays_so()?;
        self.what_waits_waits(&claims)?;
        self.outsiders_are_refused()?;
        self.whoever_is_suspended_is_refused()?;
        self.who_is_shut_out_stays_so()?;
        self.logs_are_whole(&claims)
    }

    /// Waits, once it is calm, until everything owed is there, and holds the claims against it.
    pub(super) fn ask_at_the_end(&mut self) -> Result<(), String> {
        self.settle_standing()?;
        match self.change {
            Some(_) => self.settle_members()?,
            None => self.recovers()?,
        }
        self.until("one ledger", World::is_of_one_ledger)?;
        self.settle_who_is_shut_out()?;
        let claims = self.oracle.claims.lock().unwrap().clone();
        for claim in &claims {
            match claim {
                Claim::Published { record, version, audience, by, .. } => {
                    let what = format!("{record} at everybody entitled");
                    self.until(&what, |w| {
                        // Of an agency's nodes only the one that published a record has it.
                        let own = |s: &Site| s.member.id == w.sites[*by].member.id;
                        let published = |s: &Site| s.member.node == w.sites[*by].member.node;
                        let entitled =
                            |s: &&Site| s.is_member() && audience.contains(&s.member.id) && (!own(s) || published(s));
                        w.sites.iter().filter(entitled).all(|s| {
                            let Some(core) = s.up().map(|up| &up.core) else { return false };
                            let state = core.state();
                            let held = core.vault.card(&state, record, *version).is_ok_and(|card| card.is_some());
                            held || state.is_folded(record, *version)
                        })
                    })
                    .map_err(|why| format!("{why}\n{}", self.where_it_is(record, *version)))?;
                }
                // Whoever was removed is told nothing any more, and gets nothing.
                Claim::Sent { site, .. } if !self.sites[*site].is_member() => {}
                Claim::Sent { notice, site, to } => {
                    for agency in to.iter().filter(|a| self.takes_part(a)).collect::<Vec<_>>() {
                        let what = format!("{notice} at {agency}, or its sender told");
                        self.until(&what, |w| w.is_delivered_or_told(notice, *site, agency))?;
                    }
                }
                Claim::Recalled { site, .. } if !self.sites[*site].is_member() => {}
                Claim::Recalled { notice, site, to } => {
                    for agency in to.iter().filter(|a| self.has_one_node(a)).collect::<Vec<_>>() {
                        let what = format!("{notice} taken back from {agency}");
                        self.until(&what, |w| w.is_taken_back(notice, *site, agency))?;
                        self.is_shown_no_more(*notice, agency)?;
                    }
                }
                Claim::Proposed { .. } | Claim::Deciding { .. } | Claim::Rejected { .. } | Claim::Given { .. } => {}
                Claim::Opened { .. } | Claim::TakingBack { .. } | Claim::ShutOut { .. } => {}
            }
        }
        self.until("nothing owed", |w| {
            w.members().all(|up| up.core.vault.owed().values().all(|o| o.missing.is_empty() && o.unopenable.is_empty()))
        })?;
        self.until("originators told who read", |w| w.is_told_who_read(&claims))?;
        self.ask()?;
        self.whoever_was_removed_stays_so()?;
        self.chains_are_single()?;
        self.each_notice_once(&claims)
    }

    /// Soon all know one leader, and it stays. Whoever was away may depose one or two first.
    fn recovers(&mut self) -> Result<(), String> {
        let (mut lead, mut since) = (None, 0);
        for tick in 0..RECOVERY {
            let now = self.lead();
            if now.is_none() || now != lead {
                (lead, since) = (now, tick);
            }
            if lead.is_some() && tick - since >= STEADY {
                return Ok(());
            }
            self.step();
        }
        Err(format!("no leader whom all know for a while within {} s of calm; at last {lead:?}", RECOVERY / 1_000))
    }

    /// Leader and term, if all that take part say the same.
    fn lead(&self) -> Option<(NodeId, u64)> {
        let said: BTreeSet<_> = self.members().map(|up| up.core.cluster.status()).map(|s| (s.leader, s.term)).collect();
        let (leader, term) = said.first().filter(|_| said.len() == 1)?;
        leader.map(|leader| (leader, *term))
    }

    /// Whether all that take part have applied the same and know who leads.
    pub(super) fn is_of_one_ledger(&self) -> bool {
        let applied: BTreeSet<u64> = self.members().map(|up| up.core.cluster.applied()).collect();
        let led = self.members().all(|up| up.core.cluster.status().leader.is_some());
        led && applied.len() == 1
    }

    /// Whether an agency has a node that takes part.
    fn takes_part(&self, agency: &AgencyId) -> bool {
        self.sites.iter().any(|s| s.is_member() && s.member.id == *agency)
    }

    /// Whether an agency never had more than one node, which takes part: it has one inbox.
    fn has_one_node(&self, agency: &AgencyId) -> bool {
        self.takes_part(agency) && self.sites.iter().filter(|s| s.member.id == *agency).count() == 1
    }

    /// What each node says of a record, for a failure.
    fn where_it_is(&self, record: &RecordId, version: u32) -> String {
        let of = |s: &Site| {
            let core = &s.up()?.core;
            let card = core.vault.card(&core.state(), record, version);
            let card = card.map(|c| c.is_some()).map_err(|e| e.to_string());
            Some(format!("{}/{}: held {card:?}, owed {:?}", s.member.id, s.member.local, core.vault.owed()))
        };
        self.sites.iter().filter_map(of).collect::<Vec<_>>().join("\n")
    }

    fn nothing_where_it_may_not_be(&self, claims: &[Claim]) -> Result<(), String> {
        let handed = self.net.handed();
        for claim in claims {
            let Claim::Published { record, version, audience, gone, .. } = claim else { continue };
            for site in self.sites.iter().filter(|s| !audience.contains(&s.member.id)) {
                // An amendment leaves out whoever is suspended, and no later one names it again.
                if site.up().is_some_and(|up| up.core.vault.newest_version(record).is_some_and(|v| v >= *version)) {
                    return Err(format!("{record} lies at {}, which is not entitled", site.member.id));
                }
            }
            for (_, node, at) in handed.iter().filter(|(what, ..)| *what == (*record, *version)) {
                let Some(site) = self.sites.iter().find(|s| s.member.node == *node) else { continue };
                let early = match site.part {
                    Part::Outside => true,
                    Part::Member(since) => *at < since,
                    Part::Gone => false,
                };
                if !audience.contains(&site.member.id) || early || gone.contains(node) {
                    let (id, local, part) = (&site.member.id, &site.member.local, site.part);
                    let removed = gone.contains(node);
                    return Err(format!(
                        "{record} was sent at {at} to {id}/{local}, which is not entitled: of {audience:?}, {part:?}, removed {removed}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// What waits for a second person is there, and nowhere else; what was turned down is published nowhere.
    fn what_waits_waits(&self, claims: &[Claim]) -> Result<(), String> {
        let rejected = |id: &RecordId| claims.iter().any(|c| matches!(c, Claim::Rejected { record } if record == id));
        let deciding = |id: &RecordId| claims.iter().any(|c| matches!(c, Claim::Deciding { record } if record == id));
        for claim in claims {
            let Claim::Proposed { record, version, by, .. } = claim else { continue };
            let lost = |up: &Up| up.core.vault.proposal(record, *version).is_none();
            if self.sites[*by].up().is_some_and(lost) {
                return Err(format!("{record} was proposed, and is not there any more"));
            }
            if deciding(record) && !rejected(record) {
                continue;
            }
            for (n, up) in self.sites.iter().enumerate().filter_map(|(n, s)| Some((n, s.up()?))) {
                if up.core.state().record(record).is_some() || (n != *by && up.core.vault.records().contains(record)) {
                    return Err(format!("{record} was approved by nobody, and is at {}", up.core.agency));
                }
            }
        }
        Ok(())
    }

    /// Third's bodies may be damaged, and are fetched again.
    fn what_was_held_is_held(&self, claims: &[Claim]) -> Result<(), String> {
        for claim in claims {
            let Claim::Published { record, version, index, held_by, .. } = claim else { continue };
            for agency in held_by.iter().filter(|a| a.as_str() != "third") {
                // One of its nodes held it. Of one that is down, or was removed, nobody knows.
                let nodes: Vec<&Site> = self.sites.iter().filter(|s| s.member.id == *agency).collect();
                let known = nodes.iter().all(|s| s.part == Part::Outside || (s.is_member() && s.up().is_some()));
                let held = |s: &&Site| s.up().is_some_and(|up| up.core.vault.records().contains(record));
                if known && !nodes.iter().any(held) {
                    return Err(format!("{agency} held {record} and does not any more"));
                }
            }
            for up in self.ups().filter(|up| index.is_some_and(|i| up.core.cluster.applied() >= i)) {
                let state = up.core.state();
                let committed = state.record(record).and_then(|all| all.iter().find(|v| v.version == *version));
                // What folded has no index any more; all have the same of it, or their digests would differ.
                if committed.map(|c| c.index) != *index && !state.is_folded(record, *version) {
                    return Err(format!(
                        "{record} was committed at {index:?}, and at {:?} for {}",
                        committed.map(|c| c.index),
                        up.core.agency
                    ));
                }
            }
        }
        Ok(())
    }

    fn logs_are_whole(&self, claims: &[Claim]) -> Result<(), String> {
        for ((n, size), root) in &self.oracle.heads {
            let Some(up) = self.sites[*n].up() else { continue };
            if up.core.audit.root_at(*size) != Some(*root) {
                return Err(format!("the audit log of {} is not the one of size {size}", self.sites[*n].member.id));
            }
        }
        for claim in claims {
            let Claim::Opened { record, site, seq, by: reader } = claim else { continue };
            let Some(up) = self.sites[*site].up() else { continue };
            let event = up.core.audit.read(*seq, 1).map_err(|e| e.to_string())?.into_iter().next();
            let named = event.is_some_and(|e| {
                let by = matches!(&e.actor, Actor::Person { name, .. } if name == reader);
                by && e.stage == Stage::Intent && e.object.records().iter().any(|(id, _)| id == record)
            });
            if !named {
                return Err(format!("{record} was shown at {} without its entry {seq}", self.sites[*site].member.id));
            }
        }
        Ok(())
    }

    fn is_delivered_or_told(&self, notice: &NoticeId, site: usize, to: &AgencyId) -> bool {
        let core = &self.sites[site].up().unwrap().core;
        core.office.read(|b| {
            let out = b.sent_of(notice).into_iter().find(|(_, o)| o.letter.header.to == *to);
            out.is_some_and(|(_, o)| o.is_delivered() || o.is_unknown() || o.is_taken_back())
        })
    }

    /// Whether the sender knows that an addressee gave a notice up, and the addressee has nothing more of it.
    fn is_taken_back(&self, notice: &NoticeId, site: usize, from: &AgencyId) -> bool {
        let Some(sender) = self.sites[site].up() else { return false };
        let known = sender.core.office.read(|b| {
            let out = b.sent_of(notice).into_iter().find(|(_, o)| o.letter.header.to == *from);
            out.is_some_and(|(_, o)| o.is_taken_back())
        });
        let holds = |up: &Up| {
            up.core.office.read(|b| b.received_of(notice).is_some_and(|(_, entry)| !entry.state().is_taken_back()))
        };
        let receiver = self.sites.iter().find(|s| s.member.id == *from).and_then(Site::up);
        known && receiver.is_some_and(|up| !holds(up))
    }

    /// Whoever asks for a notice where it was taken back is shown nothing that it said.
    pub(super) fn is_shown_no_more(&mut self, notice: NoticeId, by: &AgencyId) -> Result<(), String> {
        let n = self.site_of(by.as_str());
        let mut shown = self.shown_at(n, notice)?;
        // A disk that was full until the calm is looked at again after a while.
        for _ in 0..60 {
            if !shown.as_ref().is_err_and(|fault| fault.reason == "DISK_FULL") {
                break;
            }
            self.run(1_000);
            shown = self.shown_at(n, notice)?;
        }
        let says = |line: &NoticeLine| !(line.content.subject.is_empty() && line.content.body.is_empty());
        match shown {
            Ok(line) if line.reason.is_none() || says(&line) => {
                Err(format!("{notice} was recalled, and {by} still shows it"))
            }
            Ok(_) => Ok(()),
            // It was withdrawn, and nobody ever saw it.
            Err(fault) if fault.kind == FaultKind::NotFound => Ok(()),
            Err(fault) => Err(format!("{notice} was recalled, and {by} says of it: {fault}")),
        }
    }

    fn shown_at(&mut self, n: usize, notice: NoticeId) -> Result<Result<NoticeLine, Fault>, String> {
        let site = &self.sites[n];
        let core = Arc::clone(&site.up().ok_or_else(|| format!("{} does not run", site.member.id))?.core);
        let caller = site.member.caller(&core).map_err(|fault| format!("a person is not known at home: {fault}"))?;
        self.answer(n, async move { core.notice_show(&caller, &notice).await })
    }

    /// Whether each originator knows of every time that a record of its was shown.
    fn is_told_who_read(&self, claims: &[Claim]) -> bool {
        let mut shown: BTreeMap<(RecordId, &AgencyId), usize> = BTreeMap::new();
        for claim in claims {
            let Claim::Opened { record, site, .. } = claim else { continue };
            if self.sites[*site].is_member() {
                *shown.entry((*record, &self.sites[*site].member.id)).or_default() += 1;
            }
        }
        let origin = |id: &RecordId| {
            claims.iter().find_map(|c| match c {
                Claim::Published { record, by, .. } if record == id => Some(&self.sites[*by]),
                _ => None,
            })
        };
        shown.iter().all(|((record, agency), times)| {
            let Some(origin) = origin(record).filter(|s| s.is_member() && s.member.id != **agency) else { return true };
            let told = |up: &Up| up.core.reports.of(record).iter().filter(|e| e.agency == **agency).count();
            origin.up().is_some_and(|up| told(up) >= *times)
        })
    }

    /// What each node that has a notice says of it is one chain of receipts (P24), and says nothing twice, whichever of its
    /// agency's nodes the people sit at.
    pub(super) fn chains_are_single(&self) -> Result<(), String> {
        for site in &self.sites {
            let Some(up) = site.up() else { continue };
            let entries = up.core.office.read(|b| {
                let (letters, _) = b.arrived_since(0);
                letters.iter().filter_map(|l| b.entry(l).cloned()).collect::<Vec<_>>()
            });
            for entry in entries {
                let (mut before, mut said) = (None, BTreeSet::new());
                for r in &entry.receipts {
                    let by = r.receipt.by.as_ref().map(|b| b.name.clone());
                    let answer = r.receipt.answer.as_ref().map(|(a, text)| (a.to_string(), text.clone()));
                    let twice = !said.insert((r.receipt.state, by, answer));
                    if r.receipt.previous != before || r.receipt.node != site.member.node || twice {
                        let (id, local) = (&site.member.id, site.member.local);
                        return Err(format!(
                            "{} has more than one chain of receipts at {id}/{local}",
                            entry.header.notice
                        ));
                    }
                    before = Some(r.digest());
                }
            }
        }
        Ok(())
    }

    fn each_notice_once(&self, claims: &[Claim]) -> Result<(), String> {
        for claim in claims {
            let Claim::Sent { notice, site, to } = claim else { continue };
            if !self.sites[*site].is_member() {
                continue;
            }
            for agency in to {
                let nodes: Vec<&Site> = self.sites.iter().filter(|s| s.member.id == *agency).collect();
                let count = |s: &&Site| {
                    let up = s.up()?;
                    Some(up.core.office.read(|b| {
                        let (letters, _) = b.arrived_since(0);
                        letters.iter().filter(|l| b.entry(l).is_some_and(|i| i.header.notice == *notice)).count()
                    }))
                };
                // Whoever hears first that it was taken back never has it.
                let back = claims.iter().any(|c| matches!(c, Claim::TakingBack { notice: of } if of == notice));
                // A node that was removed may have taken it with it.
                let gone = back || nodes.iter().any(|s| s.part == Part::Gone);
                let counts: Vec<usize> = nodes.iter().filter_map(count).collect();
                let there = counts.iter().sum::<usize>();
                let sender = &self.sites[*site].up().unwrap().core;
                let delivered = sender.office.read(|b| {
                    let mine = b.sent_of(notice).into_iter().find(|(_, o)| o.letter.header.to == *agency);
                    mine.is_some_and(|(_, o)| o.is_delivered())
                });
                if counts.iter().any(|n| *n > 1) || (delivered && there == 0 && !gone) {
                    return Err(format!("{notice} is {there} times at {agency}"));
                }
            }
        }
        Ok(())
    }
}
