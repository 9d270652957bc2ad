//! Three agencies under seeded loss, cuts and power failures, running the very code that ships; and what an addressee
//! refuses.

mod cases;
mod confirmations;
mod explorer;
mod formats;
mod histories;
mod lowered;
mod models;
mod recalls;
mod refusals;
mod retention;

use super::*;
use crate::domain::agency::Tier;
use crate::domain::canon::Canon;
use crate::domain::ids::{AgencyId, Handle, NodeId, NoticeId};
use crate::domain::label::Grade;
use crate::domain::notice::{Answer, Deadlines, Precedence, ReceiptState};
use crate::domain::person::Role;
use crate::domain::time::{Entropy, Millis};
use crate::journal::{FaultDisk, Journal, JournalOptions};
use crate::ledger::fixture::signed_genesis;
use crate::ledger::{Authority, Descriptor, NodeEntry, State, node_id, origin_mark};
use crate::seal::{Counter, KeyRing, SigningKey, digest};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const START: Millis = Millis(1_800_000_000_000);
const NAMES: [&str; 3] = ["customs", "police", "state-security"];

struct Party {
    id: AgencyId,
    seed: u64,
    disk: FaultDisk,
    /// None while its node is down.
    office: Option<Office>,
}

impl Party {
    fn ring(&self) -> KeyRing {
        KeyRing::create(Grade::Secret, &mut Counter::at(self.seed)).unwrap()
    }

    fn start(&mut self) {
        let journal = Journal::over(Arc::new(self.disk.clone()), JournalOptions::default()).unwrap();
        let federation = "test".parse().unwrap();
        let identity = Identity { federation, agency: self.id.clone(), node: node_id(&self.id, "1") };
        self.office = Some(Office::over(journal, identity, self.ring(), Deadlines::default()).unwrap());
    }

    /// The power goes: what was not synced is gone.
    fn kill(&mut self) {
        self.office = None;
        self.disk = self.disk.after_power_cut();
    }
}

fn federation() -> (Vec<Party>, State) {
    let parties: Vec<Party> = NAMES
        .iter()
        .zip(1u64..)
        .map(|(id, n)| Party { id: id.parse().unwrap(), seed: n << 40, disk: FaultDisk::default(), office: None })
        .collect();
    let mut founders = Vec::new();
    for p in &parties {
        let ring = p.ring();
        let officers = [1u8, 2].map(|n| {
            let seed = digest("test.officer", &[p.id.as_str().as_bytes(), &[n]]);
            (Handle::from_bytes([seed[0]; 16]), SigningKey::from_seed(&seed).unwrap())
        });
        let authority = |(handle, key): &(Handle, SigningKey)| Authority {
            handle: *handle,
            roles: [Role::SecurityOfficer].into(),
            key: key.public(),
        };
        let grades = Grade::ALL.into_iter().filter(|g| *g <= Grade::Secret);
        let descriptor = Descriptor {
            agency: p.id.clone(),
            federation: "test".parse().unwrap(),
            name: p.id.to_string(),
            tier: Tier::Provincial,
            ceiling: Grade::Secret,
            compartments: Default::default(),
            root: p.id.as_str().into(),
            nodes: vec![NodeEntry { local: "1".into(), key: ring.signing_key().unwrap().public(), place: None }],
            grade_keys: grades.map(|g| ring.grade_public(g).unwrap()).collect(),
            authorities: officers.iter().map(authority).collect(),
        };
        let [(handle, key), _] = officers;
        founders.push((descriptor, handle, key));
    }
    let founders: Vec<_> = founders.iter().map(|(d, h, k)| (d, *h, k)).collect();
    let founders: [_; 3] = founders.try_into().ok().unwrap();
    let state = State::genesis(&signed_genesis(&founders)).unwrap();
    (parties, state)
}

fn draft(notice: NoticeId, to: &AgencyId, precedence: Precedence) -> Draft {
    let content = Content {
        subject: "演练".into(),
        body: "三号口岸".into(),
        sender: "duty".into(),
        desks: Vec::new(),
        addressees: vec![to.to_string()],
        attachments: Vec::new(),
        about: None,
        warning: None,
        provisional: false,
    };
    Draft {
        notice,
        to: to.clone(),
        kind: LetterKind::Notice,
        precedence,
        exercise: true,
        action: true,
        lead: false,
        grade: Grade::Secret,
        content,
    }
}

fn withdrawal(notice: NoticeId, to: &AgencyId) -> Draft {
    Draft { kind: LetterKind::Cancel, action: false, ..draft(notice, to, Precedence::Flash) }
}

fn mark(agency: &AgencyId) -> [u8; 4] {
    origin_mark(&"test".parse().unwrap(), agency)
}

/// Splitmix64: the whole run is in its seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn percent(&mut self, n: u64) -> bool {
        self.below(100) < n
    }
}

impl Entropy for Dice {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            *byte = self.below(256) as u8;
        }
    }
}

/// What a naive model knows: who was accepted for whom, and what people did.
#[derive(Default)]
struct Model {
    accepted: BTreeMap<NoticeId, (usize, usize)>,
    cancelled: BTreeSet<NoticeId>,
    seen: BTreeSet<NoticeId>,
    acknowledged: BTreeSet<NoticeId>,
}

struct World {
    parties: Vec<Party>,
    state: State,
    dice: Dice,
    now: Millis,
    /// Pairs between which nothing passes.
    cut: BTreeSet<(usize, usize)>,
    model: Model,
    trace: Vec<String>,
}

impl World {
    fn new(seed: u64) -> World {
        let (mut parties, state) = federation();
        parties.iter_mut().for_each(Party::start);
        let (cut, model) = (BTreeSet::new(), Model::default());
        World { parties, state, dice: Dice(seed), now: START, cut, model, trace: Vec::new() }
    }

    fn index(&self, agency: &AgencyId) -> usize {
        self.parties.iter().position(|p| p.id == *agency).unwrap()
    }

    fn passes(&mut self, from: usize, to: usize, loss: u64) -> bool {
        !self.cut.contains(&(from, to)) && self.parties[to].office.is_some() && !self.dice.percent(loss)
    }

    /// One letter by one path; requests and answers are lost independently.
    async fn post(&mut self, from: usize, letter: LetterDigest, via: Option<usize>, loss: u64) {
        let found = self.parties[from].office.as_ref().unwrap().read(|b| b.out(&letter).map(|o| o.letter.clone()));
        let Some(found) = found else { return };
        let to = self.index(&found.header.to);
        // What travels is bytes.
        let copy = Letter::from_canon(&found.to_canon()).unwrap();
        if let Some(via) = via {
            let own = self.parties[from].id.clone();
            if !self.passes(from, via, loss) {
                return;
            }
            self.parties[via].office.as_ref().unwrap().may_relay(&self.state, &own, &copy).unwrap();
        }
        if !self.passes(via.unwrap_or(from), to, loss) {
            return;
        }
        let taken = self.parties[to].office.as_ref().unwrap().take(&self.state, copy, self.now).await;
        if !self.passes(to, from, loss) {
            return;
        }
        match taken {
            Ok(taken) => {
                let office = self.parties[from].office.as_ref().unwrap();
                office.told(&self.state, taken.receipts, self.now).await.unwrap();
            }
            Err(e) => panic!("an honest letter was refused: {e}"),
        }
    }

    async fn send_due(&mut self, loss: u64) {
        for from in 0..self.parties.len() {
            let Some(office) = &self.parties[from].office else { continue };
            office.step(self.now).await.unwrap();
            let tries = office.tries(self.now, self.now, &mut self.dice);
            for t in tries {
                self.trace.push(format!("{} {from} {:02x?} {}", self.now.0, &t.letter[..4], t.relays));
                self.post(from, t.letter, None, loss).await;
                let to = self.parties[from]
                    .office
                    .as_ref()
                    .unwrap()
                    .read(|b| b.out(&t.letter).unwrap().letter.header.to.clone());
                let to = self.index(&to);
                for via in (0..self.parties.len()).filter(|v| t.relays && *v != from && *v != to) {
                    self.post(from, t.letter, Some(via), loss).await;
                }
            }
        }
    }

    async fn send(&mut self) {
        let (from, to) = (self.dice.below(3) as usize, self.dice.below(3) as usize);
        if from == to || self.parties[from].office.is_none() {
            return;
        }
        let notice = NoticeId::new(self.now, mark(&self.parties[from].id), &mut self.dice);
        let precedence = Precedence::ALL[self.dice.below(4) as usize];
        let draft = draft(notice, &self.parties[to].id.clone(), precedence);
        let office = self.parties[from].office.as_ref().unwrap();
        office.accept(&self.state, vec![draft], ("duty", u64::MAX), self.now, &mut self.dice).await.unwrap();
        self.model.accepted.insert(notice, (from, to));
    }

    /// Somebody does something with a random notice.
    async fn act(&mut self) {
        let Some((notice, (from, to))) =
            self.model.accepted.iter().nth(self.dice.below(1 + self.model.accepted.len() as u64) as usize)
        else {
            return;
        };
        let (notice, from, to) = (*notice, *from, *to);
        match (self.dice.below(4), &self.parties[from].office, &self.parties[to].office) {
            (0, Some(office), _) => {
                let unseen = |o: &Out| o.state().is_none_or(|s| s == ReceiptState::Delivered);
                if office.sent_of(&notice).iter().all(|(_, o)| unseen(o)) {
                    let cancel = withdrawal(notice, &self.parties[to].id);
                    office
                        .accept(&self.state, vec![cancel], ("duty", u64::MAX), self.now, &mut self.dice)
                        .await
                        .unwrap();
                    self.model.cancelled.insert(notice);
                }
            }
            (1, _, Some(office)) => {
                let Some(letter) = office.read(|b| b.received_of(&notice).map(|(d, _)| d)) else { return };
                if office.shown(&self.state, &letter, "duty", self.now, &mut self.dice).await.is_ok() {
                    self.model.seen.insert(notice);
                }
            }
            (2, _, Some(office)) => {
                let Some(letter) = office.read(|b| b.received_of(&notice).map(|(d, _)| d)) else { return };
                let said = office.say(
                    &self.state,
                    &letter,
                    ReceiptState::Acknowledged,
                    Some(word(&letter, "duty", None)),
                    self.now,
                    &mut self.dice,
                );
                if said.await.is_ok() {
                    self.model.acknowledged.insert(notice);
                }
            }
            _ => {}
        }
    }

    async fn run(&mut self, notices: usize) {
        while self.model.accepted.len() < notices {
            self.now = self.now.plus_ms(self.dice.below(200));
            match self.dice.below(100) {
                0..=59 => self.send().await,
                60..=84 => self.act().await,
                85 => {
                    let who = self.dice.below(3) as usize;
                    self.parties[who].kill();
                }
                86..=89 => {
                    let who = self.dice.below(3) as usize;
                    if self.parties[who].office.is_none() {
                        self.parties[who].start();
                    }
                }
                90..=92 => {
                    let cut = (self.dice.below(3) as usize, self.dice.below(3) as usize);
                    self.cut.insert(cut);
                }
                93..=95 => self.cut.clear(),
                _ => self.send_due(30).await,
            }
        }
        // Faults stop, and all that is owed arrives.
        self.cut.clear();
        for p in &mut self.parties {
            if p.office.is_none() {
                p.start();
            }
        }
        for _ in 0..40 {
            self.now = self.now.plus_ms(12_000);
            self.send_due(0).await;
        }
    }

    fn check(&self) {
        for (notice, (from, to)) in &self.model.accepted {
            let sender = self.parties[*from].office.as_ref().unwrap();
            let addressee = self.parties[*to].office.as_ref().unwrap();
            let times = addressee.read(|b| {
                let (arrived, _) = b.arrived_since(0);
                arrived.iter().filter(|d| b.entry(d).unwrap().header.notice == *notice).count()
            });
            assert_eq!(times, 1, "{notice} is there once");
            let there = addressee.read(|b| b.received_of(notice).unwrap().1.clone());
            let here = sender.sent_of(notice);
            assert_eq!(here.len(), 1);
            assert_eq!(here[0].1.state(), Some(there.state()), "{notice}: both sides say the same");
            let withdrawn = there.receipts.iter().any(|r| r.receipt.state == ReceiptState::Withdrawn);
            let seen = self.model.seen.contains(notice) || self.model.acknowledged.contains(notice);
            assert!(!(withdrawn && seen), "{notice} was seen and withdrawn");
            assert!(!withdrawn || self.model.cancelled.contains(notice));
            assert!(
                !self.model.cancelled.contains(notice) || withdrawn || seen,
                "{notice}: nobody saw it, so it is withdrawn"
            );
            if self.model.acknowledged.contains(notice) {
                assert_eq!(there.state(), ReceiptState::Acknowledged);
                assert_eq!(there.acknowledged_by(), Some("duty"));
            }
        }
        for p in &self.parties {
            let open = p.office.as_ref().unwrap().read(|b| b.open().count());
            assert_eq!(open, 0, "nothing of {} waits", p.id);
        }
    }
}

fn person() -> SigningKey {
    SigningKey::from_seed(&[77; 32]).unwrap()
}

fn word(letter: &LetterDigest, name: &str, answer: Option<(Answer, String)>) -> Word {
    let state = if answer.is_some() { ReceiptState::Answered } else { ReceiptState::Acknowledged };
    let said = person_bytes(&"test".parse().unwrap(), letter, state, answer.as_ref(), name);
    let by = By { name: name.into(), key: person().public(), signature: sign_as_person(&said, &person()) };
    Word { by, answer }
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// Each notice arrives once or is withdrawn unseen, and both sides agree, whatever was lost, cut or killed meanwhile.
/// `HUFU_NOTICES=10000` makes it long; `HUFU_SEED=N` replays one seed.
#[test]
fn every_notice_arrives_once_under_loss_cuts_and_power_failures() {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let notices = number("HUFU_NOTICES").unwrap_or(120) as usize;
    let seeds: Vec<u64> = number("HUFU_SEED").map_or_else(|| vec![1, 2, 3], |s| vec![s]);
    for seed in seeds {
        eprintln!("seed {seed}");
        let mut world = World::new(seed);
        block(world.run(notices));
        world.check();
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let traces = [(); 2].map(|()| {
        let mut world = World::new(9);
        block(world.run(30));
        world.trace
    });
    assert!(traces[0].len() > 30 && traces[0] == traces[1]);
}
