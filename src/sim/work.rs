//! What people do: publish, open, send notices. Each act is told to the oracle with its answer, if one came.

use super::oracle::Claim;
use super::world::World;
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, NodeId, RecordId};
use crate::domain::label::Grade;
use crate::domain::notice::Precedence;
use crate::domain::record::Kind;
use crate::service::{NoticeAsk, Patience, PublishAsk, Wait};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

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
        // published would be gone with it.
        let (first, third) = (self.sites[n].member.local == "1", self.sites[n].member.id.as_str() == "third");
        match self.dice.below(10) {
            0..=3 if first && !third => self.publish(n),
            7..=9 if first => self.send(n),
            _ => self.open(n),
        }
    }

    pub(super) fn publish(&mut self, n: usize) {
        let own = &self.sites[n].member.id;
        let agreed: Vec<_> = self.agreed.iter().filter(|(_, parties)| parties.contains(own)).collect();
        let (id, audience) = (*self.dice.pick(&agreed)).clone();
        let mut request_id = [0; 16];
        crate::domain::time::Entropy::fill(&mut self.dice, &mut request_id);
        let wait = *self.dice.pick(&[Wait::None, Wait::One, Wait::All]);
        let timeout = Duration::from_millis(500 + self.dice.below(3_000));
        let ask = PublishAsk {
            title: "演练".into(),
            body: "正文".repeat(1 + self.dice.below(40) as usize).into(),
            portions: Vec::new(),
            grade: Grade::Internal,
            compartments: BTreeSet::new(),
            agreement: Some(id.parse().unwrap()),
            release: BTreeSet::new(),
            kind: Kind::Report,
            period: None,
            references: Vec::new(),
            reliability: None,
            credibility: None,
            legal_basis: String::new(),
            retain_until: None,
            caveats: BTreeSet::new(),
            patience: Patience { wait, wait_for: Duration::from_millis(500), timeout },
            request_id,
        };
        let site = &self.sites[n];
        let up = site.up().unwrap();
        let (core, link) = (Arc::clone(&up.core), Arc::clone(&up.link));
        let caller = match site.member.caller(&core) {
            Ok(caller) => caller,
            Err(fault) => return self.oracle.wrong(format!("a person is not known at home: {fault}")),
        };
        let (claims, net) = (self.oracle.claims(), self.net.clone());
        let gone: BTreeSet<NodeId> = core.state().all_retired().map(|(node, _)| *node).collect();
        let done = async move {
            match core.publish(&caller, ask, link).await {
                Ok(p) => {
                    net.tell(format_args!("published {} {:?} held by {}", p.record, p.index, p.held_by.len()));
                    claims.lock().unwrap().push(Claim::Published {
                        record: p.record,
                        version: p.version,
                        audience,
                        by: n,
                        gone,
                        index: p.index,
                        held_by: p.held_by,
                    });
                }
                Err(fault) => net.tell(format_args!("not published: {}", fault.reason)),
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
        let site = &self.sites[n];
        let core = Arc::clone(&site.up().unwrap().core);
        let Ok(caller) = site.member.caller(&core) else { return };
        let (claims, net) = (self.oracle.claims(), self.net.clone());
        let done = async move {
            match core.open(&caller, record, 0, "演练").await {
                Ok(opened) => {
                    net.tell(format_args!("opened {record} by entry {}", opened.audit_seq));
                    claims.lock().unwrap().push(Claim::Opened { record, site: n, seq: opened.audit_seq });
                }
                Err(fault) => net.tell(format_args!("not opened: {}", fault.reason)),
            }
        };
        self.spawn(n, done);
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
        let ask = NoticeAsk {
            to: to.iter().map(ToString::to_string).collect(),
            info: Vec::new(),
            precedence,
            grade: Grade::Internal,
            subject: "演练".into(),
            body: "正文".into(),
            attachments: Vec::new(),
            exercise: self.dice.one_in(4),
            about: None,
            lead: false,
            warning: None,
        };
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
