//! What people do: publish, amend, propose and decide, open, send notices and take them back. Each act is told to the oracle
//! with its answer, if one came.

use super::fixture::Reader;
use super::net::{Link, Net};
use super::node::PERSON;
use super::oracle::Claim;
use super::world::World;
use crate::domain::canon::Canon;
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, NodeId, RecordId};
use crate::domain::label::Grade;
use crate::domain::notice::Precedence;
use crate::domain::record::Kind;
use crate::ledger::State;
use crate::service::{AmendAsk, Caller, Core, NoticeAsk, Patience, ProposalsAsk, PublishAsk, Published, Wait};
use crate::vault::Approval;
use crate::wire::fault_of;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What an author acts with, beside the world.
pub(super) struct Author {
    pub(super) core: Arc<Core>,
    pub(super) link: Arc<Link>,
    pub(super) caller: Caller,
    pub(super) claims: Arc<Mutex<Vec<Claim>>>,
    pub(super) net: Net,
    /// Nodes that were removed before the act.
    pub(super) gone: BTreeSet<NodeId>,
}

impl World {
    /// Somebody does something at a node that runs.
    pub(super) fn somebody_acts(&mut self) {
        let works = |n: &usize| self.sites[*n].up().is_some() && self.sites[*n].is_member();
        let up: Vec<usize> = (0..self.sites.len()).filter(works).collect();
        if up.is_empty() {
            return;
        }
        let n = *self.dice.pick(&up);
        // Third only reads: its bodies may be damaged, and are then fetched again. So does an agency's second node: what it
        // published would be gone with it. Its people read what the first took in, too.
        let (first, third) = (self.sites[n].member.local == "1", self.sites[n].member.id.as_str() == "third");
        match self.dice.below(18) {
            0..=4 if first && !third => self.publish(n),
            5..=8 if first => self.send(n),
            9 if first => self.take_back(n),
            10 | 11 if first && !third => self.amend(n),
            12 | 13 if first && !third => self.decide(n),
            16 | 17 => self.reader_looks(n),
            0..=9 if !first => self.read_notices(n),
            _ => self.open(n),
        }
    }

    pub(super) fn patience(&self) -> Patience {
        let wait = *self.dice.pick(&[Wait::None, Wait::One, Wait::All]);
        let timeout = Duration::from_millis(500 + self.dice.below(3_000));
        Patience { wait, wait_for: Duration::from_millis(500), timeout }
    }

    pub(super) fn request_id(&mut self) -> [u8; 16] {
        let mut id = [0; 16];
        crate::domain::time::Entropy::fill(&mut self.dice, &mut id);
        id
    }

    /// Whoever writes at a node that runs.
    pub(super) fn author(&self, n: usize) -> Result<Author, Fault> {
        let site = &self.sites[n];
        let up = site.up().unwrap();
        let (core, link) = (Arc::clone(&up.core), Arc::clone(&up.link));
        let caller = site.member.caller(&core)?;
        let gone = core.state().all_retired().map(|(node, _)| *node).collect();
        Ok(Author { core, link, caller, claims: self.oracle.claims(), net: self.net.clone(), gone })
    }

    pub(super) fn publish(&mut self, n: usize) {
        let own = &self.sites[n].member.id;
        let agreed: Vec<_> = self.agreed.iter().filter(|(_, parties)| parties.contains(own)).collect();
        // A newcomer has none yet.
        if agreed.is_empty() {
            return;
        }
        let (id, audience) = (*self.dice.pick(&agreed)).clone();
        // No guide covers a state secret here: a second person decides on it.
        let grade = if self.dice.one_in(4) { Grade::Confidential } else { Grade::Internal };
        let (patience, request_id) = (self.patience(), self.request_id());
        let body = "正文".repeat(1 + self.dice.below(40) as usize).into();
        let ask = PublishAsk { body, grade, ..record_under(id, patience, request_id) };
        let Author { core, link, caller, claims, net, gone } = match self.author(n) {
            Ok(author) => author,
            Err(fault) => return self.oracle.wrong(format!("a person is not known at home: {fault}")),
        };
        let done = async move {
            let before = core.state();
            match core.publish(&caller, ask, link).await {
                Ok(p) if p.proposed => {
                    net.tell(format_args!("proposed {}", p.record));
                    let audience = sealed_for(&core, &p, audience, Some(&before), &net);
                    let claim = Claim::Proposed { record: p.record, version: p.version, audience, by: n };
                    claims.lock().unwrap().push(claim);
                }
                Ok(p) => {
                    net.tell(format_args!("published {} {:?} held by {}", p.record, p.index, p.held_by.len()));
                    let audience = sealed_for(&core, &p, audience, Some(&before), &net);
                    claims.lock().unwrap().push(published(p, audience, n, gone));
                }
                Err(fault) => net.tell(format_args!("not published: {}", fault.reason)),
            }
        };
        self.spawn(n, done);
    }

    /// An author corrects what was published here.
    pub(super) fn amend(&mut self, n: usize) {
        let own = self.oracle.published_by(n);
        if own.is_empty() {
            return;
        }
        let (record, audience) = self.dice.pick(&own).clone();
        let ask = AmendAsk {
            record,
            expected: 0,
            title: Some("更正".into()),
            body: None,
            coming: 0,
            portions: Vec::new(),
            reason: "更正".into(),
            patience: self.patience(),
            request_id: self.request_id(),
        };
        let Ok(Author { core, link, caller, claims, net, gone }) = self.author(n) else { return };
        let done = async move {
            match core.amend(&caller, ask, link).await {
                Ok(p) => {
                    net.tell(format_args!("amended {record} to {} {:?}", p.version, p.index));
                    let audience = sealed_for(&core, &p, audience, None, &net);
                    claims.lock().unwrap().push(published(p, audience, n, gone));
                }
                Err(fault) => net.tell(format_args!("not amended: {}", fault.reason)),
            }
        };
        self.spawn(n, done);
    }

    /// The second person approves what waits here, or turns it down.
    fn decide(&mut self, n: usize) {
        let waiting = self.oracle.proposed_by(n);
        if waiting.is_empty() {
            return;
        }
        let (record, audience) = self.dice.pick(&waiting).clone();
        let (rejects, patience) = (self.dice.one_in(4), self.patience());
        let site = &self.sites[n];
        let up = site.up().unwrap();
        let (core, link) = (Arc::clone(&up.core), Arc::clone(&up.link));
        let (caller, handle, key) = match site.member.classifier(&core) {
            Ok(known) => known,
            Err(fault) => return self.oracle.wrong(format!("a classifier is not known at home: {fault}")),
        };
        let (claims, net) = (self.oracle.claims(), self.net.clone());
        let gone: BTreeSet<NodeId> = core.state().all_retired().map(|(node, _)| *node).collect();
        let done = async move {
            if rejects {
                match core.reject(&caller, record, "演练").await {
                    Ok(_) => {
                        net.tell(format_args!("rejected {record}"));
                        claims.lock().unwrap().push(Claim::Rejected { record });
                    }
                    Err(fault) => net.tell(format_args!("not rejected: {}", fault.reason)),
                }
                return;
            }
            let ask = ProposalsAsk { purpose: "演练".into(), only: Some(record), limit: 1, after: None };
            let line = match core.proposals(&caller, ask).await {
                Ok(lines) => lines.into_iter().next(),
                Err(fault) => return net.tell(format_args!("no proposals: {}", fault.reason)),
            };
            let Some(line) = line else { return net.tell(format_args!("{record} waits no more")) };
            let expires = core.clock.now().plus_ms(3_600_000);
            let approval = Approval::sign(core.federation.clone(), line.parts, handle, expires, &key).to_canon();
            claims.lock().unwrap().push(Claim::Deciding { record });
            match core.approve(&caller, record, (approval.as_slice(), "演练"), &patience, link).await {
                Ok(p) => {
                    net.tell(format_args!("approved {record} {:?}", p.index));
                    claims.lock().unwrap().push(published(p, audience, n, gone));
                }
                Err(fault) => net.tell(format_args!("not approved: {}", fault.reason)),
            }
        };
        self.spawn(n, done);
    }

    /// A sender takes a notice back: from all, or from whoever has not seen it.
    fn take_back(&mut self, n: usize) {
        let sent = self.oracle.sent_by(n);
        if sent.is_empty() {
            return;
        }
        let (notice, to) = self.dice.pick(&sent).clone();
        let recalls = self.dice.one_in(2);
        let site = &self.sites[n];
        let core = Arc::clone(&site.up().unwrap().core);
        let Ok(caller) = site.member.caller(&core) else { return };
        let (claims, net) = (self.oracle.claims(), self.net.clone());
        claims.lock().unwrap().push(Claim::TakingBack { notice });
        let done = async move {
            let answer = match recalls {
                true => core.notice_recall(&caller, &notice, "误发").await,
                false => core.notice_cancel(&caller, &notice, "误发").await,
            };
            match answer {
                Ok(refused) => {
                    net.tell(format_args!("takes {notice} back"));
                    if recalls {
                        let to = to.into_iter().filter(|a| !refused.contains(a)).collect();
                        claims.lock().unwrap().push(Claim::Recalled { notice, site: n, to });
                    }
                }
                Err(fault) => net.tell(format_args!("not taken back: {}", fault.reason)),
            }
        };
        self.spawn(n, done);
    }

    fn open(&mut self, n: usize) {
        let known = self.oracle.records();
        if known.is_empty() {
            return;
        }
        let record: RecordId = *self.dice.pick(&known);
        if self.oracle.is_large(&record) {
            return self.open_large(n, record);
        }
        let site = &self.sites[n];
        let core = Arc::clone(&site.up().unwrap().core);
        let Ok(caller) = site.member.caller(&core) else { return };
        let (claims, net) = (self.oracle.claims(), self.net.clone());
        let done = async move {
            match core.open(&caller, record, 0, "演练").await {
                Ok(opened) => {
                    net.tell(format_args!("opened {record} by entry {}", opened.audit_seq));
                    claims.lock().unwrap().push(Claim::Opened { record, site: n, seq: opened.audit_seq, by: PERSON });
                }
                Err(fault) => net.tell(format_args!("not opened: {}", fault.reason)),
            }
        };
        self.spawn(n, done);
    }

    /// A person at a node reads what any node of the agency took in: it is displayed, and acknowledged.
    fn read_notices(&mut self, n: usize) {
        let site = &self.sites[n];
        let (reader, net) = (Reader::at(site), self.net.clone());
        self.spawn(n, async move {
            let listed = match reader.inbox().await {
                Ok(listed) => listed,
                Err(status) => return net.tell(format_args!("no notices: {}", fault_of(&status).reason)),
            };
            net.tell(format_args!("{} notices, {} nodes away", listed.notices.len(), listed.away.len()));
            for notice in listed.notices.into_iter().filter(|n| n.state == "delivered").map(|n| n.notice) {
                match reader.acknowledges(&notice).await {
                    Ok(()) => net.tell(format_args!("acknowledged {notice}")),
                    Err(status) => net.tell(format_args!("not acknowledged: {}", fault_of(&status).reason)),
                }
            }
        });
    }

    pub(super) fn send(&mut self, n: usize) {
        let precedence =
            *self.dice.pick(&[Precedence::Flash, Precedence::Immediate, Precedence::Priority, Precedence::Routine]);
        let own = &self.sites[n].member.id;
        let members = self.sites.iter().filter(|s| s.is_member() && s.member.id != *own);
        let others: BTreeSet<AgencyId> = members.map(|s| s.member.id.clone()).collect();
        let others: Vec<AgencyId> = others.into_iter().collect();
        let to: Vec<AgencyId> = match self.dice.one_in(2) {
            true => others,
            false => vec![self.dice.pick(&others).clone()],
        };
        let named = to.iter().map(ToString::to_string).collect();
        let ask = notice_to(named, precedence, self.dice.one_in(4));
        let site = &self.sites[n];
        let core = Arc::clone(&site.up().unwrap().core);
        let Ok(caller) = site.member.caller(&core) else { return };
        let (claims, net) = (self.oracle.claims(), self.net.clone());
        let done = async move {
            let sent: Result<_, Fault> = core.notice_send(&caller, ask).await;
            match sent {
                Ok((notice, refused)) => {
                    net.tell(format_args!("accepted {notice}"));
                    let to = to.into_iter().filter(|a| !refused.contains(a)).collect();
                    claims.lock().unwrap().push(Claim::Sent { notice, site: n, to });
                }
                Err(fault) => net.tell(format_args!("not accepted: {}", fault.reason)),
            }
        };
        self.spawn(n, done);
    }

    pub(super) fn spawn(&self, n: usize, act: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = self.sites[n].runtime() {
            runtime.spawn(act);
        }
    }
}

/// A record without a text, under an agreement.
pub(super) fn record_under(agreement: &str, patience: Patience, request_id: [u8; 16]) -> PublishAsk {
    PublishAsk {
        title: "演练".into(),
        body: Vec::new(),
        coming: 0,
        portions: Vec::new(),
        grade: Grade::Internal,
        compartments: BTreeSet::new(),
        agreement: Some(agreement.parse().unwrap()),
        release: BTreeSet::new(),
        kind: Kind::Report,
        period: None,
        references: Vec::new(),
        reliability: None,
        credibility: None,
        legal_basis: String::new(),
        retain_until: None,
        caveats: BTreeSet::new(),
        patience,
        request_id,
    }
}

/// A notice of a few words.
pub(super) fn notice_to(to: Vec<String>, precedence: Precedence, exercise: bool) -> NoticeAsk {
    NoticeAsk {
        to,
        info: Vec::new(),
        precedence,
        grade: Grade::Internal,
        subject: "演练".into(),
        body: "正文".into(),
        attachments: Vec::new(),
        exercise,
        about: None,
        lead: false,
        warning: None,
    }
}

/// For whom a version was sealed, of those whom its agreement or the version before names: whoever is suspended is left out, and
/// nobody else. `before` is the state in which a first version was begun; a later one names nobody whom one before it left out.
pub(super) fn sealed_for(
    core: &Core,
    p: &Published,
    named: BTreeSet<AgencyId>,
    before: Option<&State>,
    net: &Net,
) -> BTreeSet<AgencyId> {
    let state = core.state();
    let (sealed, left_out): (BTreeSet<_>, BTreeSet<_>) = named.into_iter().partition(|a| p.owed.contains(a));
    let standing = |s: &State, a: &AgencyId| s.agency(a).filter(|_| s.stands(a)).map(|s| s.standing);
    let stood = |a: &&AgencyId| {
        let now = standing(&state, a);
        now.is_some() && before.map_or(now == Some(1), |before| standing(before, a) == now)
    };
    if let Some(agency) = left_out.iter().find(stood) {
        net.wrong(format!("{} version {} leaves {agency} out, which stood all the time", p.record, p.version));
    }
    sealed
}

/// What somebody was told of a version that they published.
pub(super) fn published(p: Published, audience: BTreeSet<AgencyId>, by: usize, gone: BTreeSet<NodeId>) -> Claim {
    Claim::Published { record: p.record, version: p.version, audience, by, gone, index: p.index, held_by: p.held_by }
}
