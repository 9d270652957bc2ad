//! What the tests of single matters begin with: a person at a node, and two nodes of one agency in calm.

use super::node::{PERSON, Up};
use super::work::notice_to;
use super::world::{Site, World};
use crate::api::People;
use crate::domain::canon::Canon;
use crate::domain::ids::{NodeId, NoticeId};
use crate::domain::label::Grade;
use crate::domain::notice::{Precedence, ReceiptState};
use crate::identity::{Person, VerifiedPeer};
use crate::notice::sign_as_person;
use crate::seal::SigningKey;
use crate::service::NoticeAsk;
use crate::wire::fault_of;
use crate::wire::pb::v1;
use crate::wire::pb::v1::notices_server::Notices as _;
use std::sync::Arc;
use tonic::{Request, Status};

/// Whoever is served by a node, and what they sign with.
pub(super) struct Reader {
    pub(super) people: People,
    peer: VerifiedPeer,
    signer: SigningKey,
}

impl Reader {
    /// The person of an agency, at a node that runs.
    pub(super) fn at(site: &Site) -> Reader {
        let people = site.up().unwrap().people.clone();
        Reader { people, peer: site.member.peer(), signer: site.member.person_signer() }
    }

    /// The person of an agency who only reads.
    pub(super) fn who_only_reads(site: &Site) -> Reader {
        let people = site.up().unwrap().people.clone();
        Reader { people, peer: site.member.reader(), signer: site.member.reader_signer() }
    }

    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.extensions_mut().insert(self.peer.clone());
        request
    }

    pub(super) async fn inbox(&self) -> Result<v1::NoticeInboxReply, Status> {
        let asked = self.request(v1::NoticeInboxRequest { limit: 50 });
        Ok(self.people.inbox(asked).await?.into_inner())
    }

    /// It is displayed, and acknowledged with the person's own signature.
    pub(super) async fn acknowledges(&self, notice: &str) -> Result<(), Status> {
        let notice = notice.to_owned();
        let displayed = v1::NoticePresentedRequest { notice: notice.clone(), recall: false };
        self.people.presented(self.request(displayed)).await?;
        let mut ask = v1::NoticeSayRequest { notice, ..v1::NoticeSayRequest::default() };
        let words = self.people.words(self.request(ask.clone())).await?.into_inner().words;
        ask.signature = sign_as_person(&words, &self.signer).as_bytes().to_vec();
        self.people.say(self.request(ask)).await?;
        Ok(())
    }
}

/// A seed in which customs gets a second node.
const SEED: u64 = 6;

/// Customs has two nodes: `first` is the one before the other in the ledger's order. Police and third have one.
pub(super) struct Pair {
    pub(super) world: World,
    pub(super) police: usize,
    pub(super) third: usize,
    pub(super) first: usize,
    pub(super) second: usize,
}

impl Pair {
    pub(super) fn new() -> Pair {
        let mut world = World::new(SEED);
        world.begin().unwrap();
        world.let_a_second_node_in().unwrap();
        let (police, third) = (world.site_of("police"), world.site_of("third"));
        let mut both: Vec<usize> = (0..world.sites.len()).filter(|n| *n != police && *n != third).collect();
        both.sort_by_key(|n| world.sites[*n].member.node);
        let [first, second] = both[..] else { panic!("customs has two nodes") };
        Pair { world, police, third, first, second }
    }

    pub(super) fn node(&self, n: usize) -> NodeId {
        self.world.sites[n].member.node
    }

    pub(super) fn up(&self, n: usize) -> &Up {
        self.world.sites[n].up().unwrap()
    }

    pub(super) fn reader(&self, n: usize) -> Reader {
        Reader::at(&self.world.sites[n])
    }

    /// Nothing gets from either to the other.
    pub(super) fn cut(&self, a: usize, b: usize) {
        self.world.net.cut(self.node(a), self.node(b));
        self.world.net.cut(self.node(b), self.node(a));
    }

    /// What a node answers, once it does.
    pub(super) fn answer<R: Send + 'static>(&mut self, n: usize, act: impl Future<Output = R> + Send + 'static) -> R {
        self.world.answer(n, act).unwrap()
    }

    /// Sends a flash from one agency's node to another agency.
    pub(super) fn send(&mut self, n: usize, to: &str) -> NoticeId {
        self.send_marked(n, to, Grade::Internal)
    }

    pub(super) fn send_marked(&mut self, n: usize, to: &str, grade: Grade) -> NoticeId {
        let core = Arc::clone(&self.up(n).core);
        let caller = self.world.sites[n].member.caller(&core).unwrap();
        let ask = NoticeAsk { grade, ..notice_to(vec![to.to_owned()], Precedence::Flash, true) };
        self.answer(n, async move { core.notice_send(&caller, ask).await }).unwrap().0
    }

    /// The second takes a notice of police in, since nobody reaches the first meanwhile; then all reach each other again.
    pub(super) fn taken_in_by_the_second(&mut self, grade: Grade) -> NoticeId {
        for other in [self.police, self.third, self.second] {
            self.cut(self.first, other);
        }
        let notice = self.send_marked(self.police, "customs", grade);
        self.until_step(self.police, notice, ReceiptState::Delivered);
        assert!(self.has(self.second, &notice) && !self.has(self.first, &notice));
        self.world.net.heal();
        notice
    }

    /// A notice that a node sent is recalled there; whether all its addressees are told.
    pub(super) fn recall(&mut self, n: usize, notice: NoticeId) -> bool {
        let core = Arc::clone(&self.up(n).core);
        let caller = self.world.sites[n].member.caller(&core).unwrap();
        let refused = self.answer(n, async move { core.notice_recall(&caller, &notice, "误发").await }).unwrap();
        refused.is_empty()
    }

    /// What the sender knows of a notice: each step with the node that signed it.
    pub(super) fn steps(&self, n: usize, notice: &NoticeId) -> Vec<(ReceiptState, NodeId)> {
        steps(&self.world, n, notice)
    }

    pub(super) fn until_step(&mut self, n: usize, notice: NoticeId, state: ReceiptState) {
        let reached = |w: &World| steps(w, n, &notice).iter().any(|(s, _)| *s == state);
        self.world.until(&format!("{state} known to the sender"), reached).unwrap();
    }

    /// A copy of a notice that comes late to a node, whatever became of it.
    pub(super) fn late_copy(&mut self, from: usize, to: usize, notice: &NoticeId) {
        let sent = self.up(from).core.office.sent_of(notice);
        let (bytes, sender) = (sent[0].1.letter.to_canon(), self.world.sites[from].member.id.clone());
        let (core, link) = (Arc::clone(&self.up(to).core), Arc::clone(&self.up(to).link));
        self.answer(to, async move { core.receive_letter(&sender, &bytes, &*link).await }).unwrap();
    }

    pub(super) fn has(&self, n: usize, notice: &NoticeId) -> bool {
        self.up(n).core.office.read(|b| b.received_of(notice).is_some())
    }

    pub(super) fn person(&self, n: usize) -> Person {
        self.up(n).core.directory.by_name(PERSON).unwrap()
    }

    /// An officer suspends somebody at one node.
    pub(super) fn suspend(&mut self, n: usize, name: &'static str) {
        let core = Arc::clone(&self.up(n).core);
        self.answer(n, async move { core.directory.suspend(name, [5; 32]).await }).unwrap();
    }

    pub(super) fn is_suspended(&self, n: usize, name: &str) -> bool {
        is_suspended(&self.world, n, name)
    }

    pub(super) fn until_suspended(&mut self, n: usize, name: &'static str) {
        self.world.until("a suspension at the other node", |w| is_suspended(w, n, name)).unwrap();
    }
}

fn steps(world: &World, n: usize, notice: &NoticeId) -> Vec<(ReceiptState, NodeId)> {
    let sent = world.sites[n].up().unwrap().core.office.sent_of(notice);
    sent.iter().flat_map(|(_, o)| o.receipts.iter().map(|r| (r.receipt.state, r.receipt.node))).collect()
}

fn is_suspended(world: &World, n: usize, name: &str) -> bool {
    world.sites[n].up().unwrap().core.directory.by_name(name).unwrap().suspended
}

/// The reason of a refusal; empty for an answer.
pub(super) fn reason<R>(answered: Result<R, Status>) -> &'static str {
    answered.err().map_or("", |status| fault_of(&status).reason)
}

/// A record of a few words, for the own agency.
pub(super) fn publish(request: u8, grade: &str, repeats: bool) -> v1::PublishRequest {
    v1::PublishRequest {
        title: "演练".into(),
        body: "正文".into(),
        grade: grade.to_owned(),
        wait: "none".into(),
        timeout_ms: 5_000,
        request_id: vec![request; 16],
        repeats,
        ..v1::PublishRequest::default()
    }
}
