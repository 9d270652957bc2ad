//! Who loses access while things are under way: an agency that is suspended and stands again, and a person who is suspended for
//! good.
//!
//! A suspended agency is asked for nothing and answered nothing by whoever knows of it, and nobody's rooms push to it; its node
//! goes on, and what it acknowledged meanwhile goes on the ledger when it stands again. Of the person who only reads, each node
//! of their agency discloses nothing from the moment that its directory has the suspension, whenever what they ask for began.

use super::fixture::Reader;
use super::node::{READER, Up};
use super::oracle::Claim;
use super::world::World;
use crate::domain::ids::{AgencyId, NodeId, RecordId};
use crate::domain::time::Entropy;
use crate::ledger::Act;
use crate::service::{Caller, Core};
use crate::wire::fault_of;
use std::sync::Arc;
use std::time::Duration;

/// How often officers try, in ticks.
const AGAIN: u64 = 400;
/// How long an agency stays suspended at least, and how much longer, in ticks.
const LASTS: (u64, u64) = (600, 2_000);

/// An agency that officers of the two others suspend, and let in again.
pub(super) struct Suspension {
    agency: AgencyId,
    signers: [(&'static str, usize); 2],
    /// When they try next.
    next: u64,
    /// Until when it lasts, once it is on the ledger.
    until: Option<u64>,
    is_over: bool,
}

/// A person whom an officer suspends at one node.
pub(super) struct ShutOut {
    site: usize,
    /// When the officer tries next.
    next: u64,
}

impl World {
    /// In every third federation an agency is suspended for a while, in two of three a person for good. No agency is where
    /// nodes come and go: two of three voters must stand.
    pub(super) fn plan_suspensions(&mut self) {
        const ALL: [&str; 3] = ["customs", "police", "third"];
        if self.seed % 3 == 1 {
            let out = self.dice.below(3) as usize;
            let signers = [ALL[(out + 1) % 3], ALL[(out + 2) % 3]].map(|agency| (agency, 0));
            let next = self.tick + 200 + self.dice.below(2_000);
            let agency = ALL[out].parse().unwrap();
            self.suspension = Some(Suspension { agency, signers, next, until: None, is_over: false });
        }
        if self.seed % 3 != 2 {
            // Not where a node goes: it may be gone before.
            let site = self.dice.below(if self.change.is_some() { 2 } else { 3 }) as usize;
            self.shut_out = Some(ShutOut { site, next: self.tick + 500 + self.dice.below(3_500) });
        }
    }

    /// Goes on with what is planned.
    pub(super) fn suspend(&mut self) {
        self.change_standing();
        self.shut_somebody_out();
        if let Some(s) = &self.suspension {
            let out = self.sites.iter().filter(|site| site.member.id == s.agency).map(|site| site.member.node);
            let out: Vec<NodeId> = out.collect();
            let knows = |up: &&Up| up.core.agency != s.agency && !up.core.state().stands(&s.agency);
            let knowing = self.ups().filter(knows).map(|up| up.core.node);
            self.net.shut_out(knowing.flat_map(|node| out.iter().map(move |out| (node, *out))).collect());
        }
    }

    fn change_standing(&mut self) {
        let Some(mut s) = self.suspension.take_if(|s| s.next <= self.tick && !s.is_over) else { return };
        s.next = self.tick + AGAIN;
        // Its standing counts up, so that whoever is behind tells nothing wrong.
        match self.newest().and_then(|up| standing(up, &s.agency)) {
            None => {}
            Some(1) => self.bring(&Act::SuspendAgency { agency: s.agency.clone() }, 1, &s.signers),
            Some(2) => {
                if s.until.is_none() {
                    self.net.tell(format_args!("{} is suspended", s.agency));
                    self.oracle.note_a_suspension();
                }
                let until = s.until.unwrap_or_else(|| self.tick + LASTS.0 + self.dice.below(LASTS.1));
                s.until = Some(until);
                if until <= self.tick {
                    self.bring(&Act::ReinstateAgency { agency: s.agency.clone() }, 2, &s.signers);
                }
            }
            Some(_) => {
                self.net.tell(format_args!("{} stands again", s.agency));
                s.is_over = true;
            }
        }
        self.suspension = Some(s);
    }

    fn shut_somebody_out(&mut self) {
        let Some(mut s) = self.shut_out.take_if(|s| s.next <= self.tick) else { return };
        let site = s.site;
        if self.oracle.shut_out().contains(&site) {
            return;
        }
        s.next = self.tick + AGAIN;
        self.shut_out = Some(s);
        let Some(core) = self.sites[site].up().map(|up| Arc::clone(&up.core)) else { return };
        let mut salt = [0; 32];
        self.dice.fill(&mut salt);
        let (claims, net) = (self.oracle.claims(), self.net.clone());
        self.spawn(site, async move {
            match core.directory.suspend(READER, salt).await {
                Ok(_) => {
                    net.tell(format_args!("{READER} is suspended at {}", core.agency));
                    claims.lock().unwrap().push(Claim::ShutOut { site });
                }
                Err(error) => net.tell(format_args!("{READER} is not suspended: {error}")),
            }
        });
    }

    /// The person who only reads looks through the notices, or opens a record, at once or in pieces.
    pub(super) fn reader_looks(&mut self, n: usize) {
        let (how, pause) = (self.dice.below(3), Duration::from_millis(self.dice.below(300)));
        let known = self.oracle.records();
        if how > 0 && known.is_empty() {
            return;
        }
        let record = (how > 0).then(|| *self.dice.pick(&known));
        let site = &self.sites[n];
        let core = Arc::clone(&site.up().unwrap().core);
        let (reader, peer) = (Reader::who_only_reads(site), site.member.reader());
        let (claims, net) = (self.oracle.claims(), self.net.clone());
        self.spawn(n, async move {
            let shut_out = is_shut_out(&core);
            let Some(record) = record else {
                let listed = reader.inbox().await;
                if shut_out && listed.is_ok() {
                    net.wrong(format!("{} lists notices for {READER}, who is suspended", core.agency));
                }
                return net.tell(format_args!("{READER} looks at notices: {}", listed.is_ok()));
            };
            let caller = match core.caller(&peer) {
                Ok(caller) => caller,
                Err(fault) if shut_out => return net.tell(format_args!("{READER} is sent away: {}", fault.reason)),
                Err(fault) => return net.wrong(format!("a person is not known at home: {fault}")),
            };
            if how == 1 {
                match core.open(&caller, record, 0, "演练").await {
                    Ok(_) if shut_out => {
                        net.wrong(format!("{} opens {record} for {READER}, who is suspended", core.agency));
                    }
                    Ok(opened) => {
                        net.tell(format_args!("{READER} opened {record} by entry {}", opened.audit_seq));
                        let seq = opened.audit_seq;
                        claims.lock().unwrap().push(Claim::Opened { record, site: n, seq, by: READER });
                    }
                    Err(fault) => net.tell(format_args!("{READER} does not open: {}", fault.reason)),
                }
                return;
            }
            let (given, wrong) = give_slowly(&core, &caller, record, pause).await;
            net.tell(format_args!("{READER} is given {given} parts of {record}"));
            if wrong {
                net.wrong(format!("{} goes on giving {record} to {READER}, who is suspended", core.agency));
            }
        });
    }

    /// A suspension that was acknowledged stands at its node, whatever became of it since.
    pub(super) fn who_is_shut_out_stays_so(&self) -> Result<(), String> {
        for n in self.oracle.shut_out() {
            if self.sites[n].up().is_some_and(|up| !is_shut_out(&up.core)) {
                return Err(format!("{READER} was suspended at {}, and is not any more", self.sites[n].member.id));
            }
        }
        Ok(())
    }

    /// Nobody who knows that an agency is suspended listens to it.
    pub(super) fn whoever_is_suspended_is_refused(&self) -> Result<(), String> {
        let Some(s) = &self.suspension else { return Ok(()) };
        let own_or_stands = |up: &Up| up.core.agency == s.agency || up.core.state().stands(&s.agency);
        for site in self.sites.iter().filter(|site| site.member.id == s.agency) {
            self.refuse(site, "NOT_ALLOWED", own_or_stands)?;
        }
        Ok(())
    }

    /// Waits, once it is calm, until every agency stands again.
    pub(super) fn settle_standing(&mut self) -> Result<(), String> {
        if let Some(s) = &mut self.suspension {
            s.until = s.until.map(|until| until.min(self.tick));
        }
        self.until("a suspended agency that stands again", |w| w.suspension.as_ref().is_none_or(|s| s.is_over))
    }

    /// Waits, once all are of one ledger, until whoever is shut out is so at each node of their agency, and is told nothing there.
    pub(super) fn settle_who_is_shut_out(&mut self) -> Result<(), String> {
        self.until("a person's suspension", |w| w.shut_out.is_none())?;
        for shut_out in self.oracle.shut_out() {
            let agency = self.sites[shut_out].member.id.clone();
            let at = |w: &World| -> Vec<usize> {
                (0..w.sites.len()).filter(|n| w.sites[*n].is_member() && w.sites[*n].member.id == agency).collect()
            };
            self.until("a suspension at all nodes of an agency", |w| {
                at(w).into_iter().all(|n| w.sites[n].up().is_some_and(|up| is_shut_out(&up.core)))
            })?;
            for n in at(&*self) {
                let reader = Reader::who_only_reads(&self.sites[n]);
                let said = self.answer(n, async move { reader.inbox().await.map_err(|s| fault_of(&s).reason) })?;
                if said.err() != Some("UNKNOWN_PERSON") {
                    return Err(format!(
                        "{READER} is suspended, and is not sent away at {}",
                        self.sites[n].member.node
                    ));
                }
                self.oracle.note_one_sent_away();
            }
        }
        Ok(())
    }
}

fn standing(up: &Up, agency: &AgencyId) -> Option<u32> {
    let state = up.core.state();
    state.agency(agency).map(|a| a.standing)
}

fn is_shut_out(core: &Core) -> bool {
    core.directory.by_name(READER).is_none_or(|person| person.suspended)
}

/// Opens in pieces, with a pause before each part: how many were given, and whether one was to somebody suspended by then.
async fn give_slowly(core: &Core, caller: &Caller, record: RecordId, pause: Duration) -> (usize, bool) {
    let (mut given, mut wrong) = (0, false);
    let shut_out = is_shut_out(core);
    let parts = core.open_in_pieces(caller, (record, 0), "演练").await.unwrap_or_default();
    wrong |= shut_out && !parts.is_empty();
    for part in &parts {
        tokio::time::sleep(pause).await;
        let shut_out = is_shut_out(core);
        if core.begin_giving(caller, part, "演练").await.is_ok() {
            given += 1;
            wrong |= shut_out;
        }
    }
    (given, wrong)
}

/// Publishes at a node until it has a record for an agency that waits for nobody.
fn published_at(world: &mut World, n: usize, to: &str) -> RecordId {
    let to: AgencyId = to.parse().unwrap();
    let known = |w: &World| -> Vec<RecordId> {
        let all = w.oracle.published_by(n).into_iter();
        all.filter(|(_, audience)| audience.contains(&to)).map(|(record, _)| record).collect()
    };
    let had = known(&*world).len();
    for _ in 0..40 {
        world.publish(n);
        world.run(4_500);
        if let Some(record) = known(&*world).get(had) {
            return *record;
        }
    }
    panic!("nothing for {to} is published");
}

/// Its own people are served by their own node, and nobody else gives it anything new. What its node accepted meanwhile is on
/// the ledger once it stands again, with no start in between.
#[test]
fn a_suspended_agency_is_served_at_home_alone_and_loses_nothing() {
    let mut world = World::new(5);
    world.begin().unwrap();
    let (police, third) = (world.site_of("police"), world.site_of("third"));
    let agency = world.sites[third].member.id.clone();
    let holds = |w: &World, record: &RecordId| w.sites[third].up().unwrap().core.vault.records().contains(record);
    let before = published_at(&mut world, police, "third");
    world.until("a record at third", |w| holds(w, &before)).unwrap();

    let others = |w: &World, stands: bool| {
        let mut others = w.ups().filter(|up| up.core.agency != agency);
        others.all(|up| up.core.state().stands(&agency) == stands)
    };
    let both = [("customs", 0), ("police", 0)];
    let lasting = Some(u64::MAX);
    let suspension = Suspension { agency: agency.clone(), signers: both, next: 0, until: lasting, is_over: false };
    world.suspension = Some(suspension);
    world.until("a suspension", |w| others(w, false)).unwrap();
    let without = published_at(&mut world, police, "customs");
    assert!(!holds(&world, &without));
    let core = Arc::clone(&world.sites[third].up().unwrap().core);
    let caller = world.sites[third].member.caller(&core).unwrap();
    world.answer(third, async move { core.open(&caller, before, 0, "演练").await }).unwrap().unwrap();
    let meanwhile = published_at(&mut world, third, "customs");
    assert!(world.ups().all(|up| up.core.state().record(&meanwhile).is_none()));

    world.suspension.as_mut().unwrap().until = Some(0);
    world.until("a reinstatement", |w| others(w, true)).unwrap();
    world.until("what was accepted", |w| w.ups().all(|up| up.core.state().record(&meanwhile).is_some())).unwrap();
    assert!(!holds(&world, &without), "it was not for third");
    world.net.verdict().unwrap();
}
