//! The network between the nodes: calls and answers that are late, lost, overtaken, or cut off one way.
//!
//! What a node is asked runs in its own services, with the peer that the certificate would have named.

use super::dice::Dice;
use super::pieces::{MORE, PIECE};
use crate::api::{NodeServices, PostServices};
use crate::cluster::{CallError, CallKind, PeerCalls};
use crate::domain::canon::Canon;
use crate::domain::fault::Fault;
use crate::domain::ids::{NodeId, NoticeId, RecordId};
use crate::domain::notice::Precedence;
use crate::identity::{Protocol, SpiffeName, VerifiedPeer};
use crate::notice::{LetterDigest, SignedReceipt};
use crate::service::{
    Asked, Core, PeerComplaints, PeerNotices, PeerPeople, PeerPost, PeerReports, PeopleTold, Position, Positions,
    Posted, Reply,
};
use crate::vault::{AUDIENCE_WANTED, Acknowledged, Encoded, Outgoing, Parts, PeerVault, Pieces, PushState};
use crate::wire::fault_of;
use crate::wire::pb::peer::{
    self, access_server::Access, agency_server::Agency as _, consensus_server::Consensus,
    position_server::Position as _, post_server::Post, vault_server::Vault,
};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tonic::{Code, Request, Response, Status};

/// What a piece of a snapshot is called.
const SNAPSHOT: &str = "snapshot";
const ASK: Duration = Duration::from_secs(1);
const TRANSFER: Duration = Duration::from_secs(10);
const DELIVER: Duration = Duration::from_secs(2);
const RELAY: Duration = Duration::from_secs(4);

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What answers for a node.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) handle: Handle,
    pub(super) core: Arc<Core>,
    pub(super) nodes: NodeServices,
    pub(super) post: PostServices,
}

impl Served {
    /// Whether this node's own ledger says that another one's agency is suspended. Nodes of one agency go on with each other.
    pub(super) fn shuts_out(&self, other: NodeId) -> bool {
        let state = self.core.state();
        state.node(other).is_some_and(|n| n.agency != self.core.agency && !state.stands(&n.agency))
    }
}

/// Who a node is to others.
#[derive(Clone)]
pub(super) struct Card {
    pub(super) node: NodeId,
    pub(super) name: SpiffeName,
    pub(super) key: [u8; 32],
}

/// What is done when a message arrives.
enum Arrival {
    /// A call: its target's services, or none if it is down.
    Call(Box<dyn FnOnce(Option<Served>) + Send>),
    /// An answer.
    Answer(Box<dyn FnOnce() + Send>),
}

/// From, to, what is asked, and whether this is the answer.
type Way = (NodeId, NodeId, &'static str, bool);

struct Sent {
    way: Way,
    arrival: Arrival,
}

#[derive(Default)]
struct Lines {
    tick: u64,
    /// By arrival, then by the line and kind, then by number: in which order a node's own tasks sent within one tick decides
    /// nothing, for tokio wakes who waits for the same change in an order of its own.
    on_the_way: BTreeMap<(u64, Way, u64), Sent>,
    /// How many messages went each way.
    sent: BTreeMap<Way, u64>,
    up: BTreeMap<NodeId, Served>,
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Who calls whom no more, because that one's agency is suspended.
    shut_out: BTreeSet<(NodeId, NodeId)>,
    /// One message in so many is lost; none for 0.
    loses_one_in: u64,
    slowest_ms: u64,
    trace: Vec<String>,
    /// Pieces of snapshots that arrived since somebody looked: (from, to).
    pieces: Vec<(NodeId, NodeId)>,
    /// The same of large bodies.
    parts: Vec<(NodeId, NodeId)>,
    carried: Carried,
    /// Which version an envelope is of, by its hash.
    versions: BTreeMap<[u8; 32], (RecordId, u32)>,
    /// Audience objects that a node knows from another: (from, to). They are remembered over a stop of either, so that some are
    /// named in vain.
    acknowledged: BTreeMap<(NodeId, NodeId), Acknowledged>,
    /// What was wrong first, of what is said on the lines and to people.
    wrong: Option<String>,
    /// Objects that were handed to a node: (record and version, node, when).
    handed: Vec<((RecordId, u32), NodeId, u64)>,
}

/// What became of large bodies on the lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Carried {
    /// Came whole to whoever asked for it.
    pub(super) pulled: u64,
    /// Broke off, of those that were pushed and those that were asked for.
    pub(super) broken: u64,
}

/// The network; clones are the same one.
#[derive(Clone)]
pub(super) struct Net {
    lines: Arc<Mutex<Lines>>,
    seed: u64,
}

impl Net {
    pub(super) fn new(dice: &Dice) -> Net {
        let lines = Lines { slowest_ms: 4, ..Lines::default() };
        Net { lines: Arc::new(Mutex::new(lines)), seed: dice.below(u64::MAX) }
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap()
    }

    /// A node is there, or is not.
    pub(super) fn set(&self, node: NodeId, served: Option<Served>) {
        let mut lines = self.lines();
        match served {
            Some(served) => lines.up.insert(node, served),
            None => lines.up.remove(&node),
        };
    }

    /// From now on so many messages are lost, and take up to so long.
    pub(super) fn be_bad(&self, loses_one_in: u64, slowest_ms: u64) {
        let mut lines = self.lines();
        (lines.loses_one_in, lines.slowest_ms) = (loses_one_in, slowest_ms);
    }

    /// Nothing gets from one to the other any more.
    pub(super) fn cut(&self, from: NodeId, to: NodeId) {
        self.lines().cut.insert((from, to));
    }

    /// A node reaches everybody again, and everybody reaches it.
    pub(super) fn join(&self, node: NodeId) {
        self.lines().cut.retain(|(from, to)| *from != node && *to != node);
    }

    /// Every line is whole again.
    pub(super) fn heal(&self) {
        let mut lines = self.lines();
        lines.cut.clear();
        (lines.loses_one_in, lines.slowest_ms) = (0, 4);
    }

    /// Writes a line into the trace.
    pub(super) fn tell(&self, what: impl std::fmt::Display) {
        let mut lines = self.lines();
        let line = format!("{:>7} {what}", lines.tick);
        lines.trace.push(line);
    }

    /// Who calls whom no more. It is told between ticks: which task of a node comes first within one decides nothing.
    pub(super) fn shut_out(&self, who: BTreeSet<(NodeId, NodeId)>) {
        self.lines().shut_out = who;
    }

    /// Something is wrong.
    pub(super) fn wrong(&self, what: String) {
        self.lines().wrong.get_or_insert(what);
    }

    /// What was wrong so far.
    pub(super) fn verdict(&self) -> Result<(), String> {
        self.lines().wrong.clone().map_or(Ok(()), Err)
    }

    /// Whether a node that runs has heard that another one's agency is suspended.
    fn shuts_out(&self, node: NodeId, other: NodeId) -> bool {
        let served = self.lines().up.get(&node).cloned();
        served.is_some_and(|served| served.shuts_out(other))
    }

    /// The trace so far.
    pub(super) fn trace(&self) -> Vec<String> {
        self.lines().trace.clone()
    }

    /// Which objects were handed to which nodes, and when.
    pub(super) fn handed(&self) -> Vec<((RecordId, u32), NodeId, u64)> {
        self.lines().handed.clone()
    }

    /// Which pieces of snapshots arrived since the last time: (from, to).
    pub(super) fn take_pieces(&self) -> Vec<(NodeId, NodeId)> {
        std::mem::take(&mut self.lines().pieces)
    }

    /// The same of large bodies.
    pub(super) fn take_parts(&self) -> Vec<(NodeId, NodeId)> {
        std::mem::take(&mut self.lines().parts)
    }

    /// What became of large bodies so far.
    pub(super) fn carried(&self) -> Carried {
        self.lines().carried
    }

    /// Something became of one.
    pub(super) fn note(&self, what: impl FnOnce(&mut Carried)) {
        what(&mut self.lines().carried);
    }

    /// Lets everything arrive that is due at this tick.
    pub(super) fn arrive(&self, tick: u64) {
        self.lines().tick = tick;
        loop {
            let (sent, target) = {
                let mut lines = self.lines();
                let due = lines.on_the_way.first_entry().filter(|e| e.key().0 <= tick);
                let Some(sent) = due.map(|e| e.remove()) else { return };
                let (from, to, what, answer) = sent.way;
                let lost = lines.cut.contains(&(from, to));
                let (kind, fate) = (if answer { " answered" } else { "" }, if lost { " (cut off)" } else { "" });
                let line = format!("{tick:>7} {from} -> {to} {what}{kind}{fate}");
                lines.trace.push(line);
                if lost {
                    continue;
                }
                if what == SNAPSHOT && !answer {
                    lines.pieces.push((from, to));
                }
                if (what == PIECE && !answer) || (what == MORE && answer) {
                    lines.parts.push((from, to));
                }
                let target = lines.up.get(&to).cloned();
                (sent, target)
            };
            match sent.arrival {
                Arrival::Call(serve) => serve(target),
                Arrival::Answer(take) => take(),
            }
        }
    }

    /// The number of the next call that goes this way.
    fn number(&self, way: Way) -> u64 {
        let mut lines = self.lines();
        let number = lines.sent.entry(way).or_default();
        *number += 1;
        *number
    }

    /// An answer has the number of its call.
    fn send(&self, way: Way, number: u64, arrival: Arrival) {
        let mut lines = self.lines();
        let (from, to, what, answer) = way;
        let salt = what.bytes().fold(u64::from(answer), |all, b| all.wrapping_mul(131).wrapping_add(u64::from(b)));
        let dice = Dice::of(self.seed ^ from.0 ^ to.0.rotate_left(21) ^ number.rotate_left(42) ^ salt.rotate_left(7));
        if lines.loses_one_in > 0 && dice.one_in(lines.loses_one_in) {
            return;
        }
        let at = lines.tick + 1 + dice.below(lines.slowest_ms);
        lines.on_the_way.insert((at, way, number), Sent { way, arrival });
    }

    /// Asks a node; none if nothing comes back, which a caller bounds by time. Whoever is suspended is not asked, as
    /// `node::peers` has it, and is to be answered nothing.
    pub(super) async fn ask<R: Send + 'static, F: Future<Output = Result<R, Status>> + Send>(
        &self,
        from: NodeId,
        to: NodeId,
        what: &'static str,
        serve: impl FnOnce(Served) -> F + Send + 'static,
    ) -> Option<Result<R, Status>> {
        if self.lines().shut_out.contains(&(from, to)) {
            return None;
        }
        let (answer, answered) = oneshot::channel();
        let net = self.clone();
        let number = self.number((from, to, what, false));
        let call = move |target: Option<Served>| {
            // A machine that is down says nothing; whoever waits gives up by itself. Dropping the answer tells at once,
            // as a refused connection would.
            let Some(target) = target else { return };
            target.handle.clone().spawn(async move {
                // As the ledger here stands when the call comes.
                let shut_out = target.shuts_out(from);
                let reply = serve(target).await;
                if shut_out && reply.is_ok() {
                    net.wrong(format!("{to} answers {what} to {from}, whose agency is suspended"));
                }
                let take = Box::new(move || drop(answer.send(reply)));
                net.send((to, from, what, true), number, Arrival::Answer(take));
            });
        };
        self.send((from, to, what, false), number, Arrival::Call(Box::new(call)));
        answered.await.ok()
    }

    fn hand(&self, to: NodeId, envelope: &[u8]) {
        let Ok(envelope) = crate::seal::Envelope::from_bytes(envelope) else { return };
        let mut lines = self.lines();
        let (now, version) = (lines.tick, (envelope.header().id, envelope.header().version));
        lines.versions.insert(envelope.hash(), version);
        lines.handed.push((version, to, now));
    }

    /// The content of an envelope, which whoever asks for it was handed before.
    pub(super) fn hand_content(&self, to: NodeId, header_hash: &[u8; 32]) {
        let mut lines = self.lines();
        let now = lines.tick;
        match lines.versions.get(header_hash).copied() {
            Some(version) => lines.handed.push((version, to, now)),
            None => _ = lines.wrong.get_or_insert(format!("{to} gets content of an envelope that nobody sent")),
        }
    }
}

/// The network as one node has it.
pub(super) struct Link {
    pub(super) own: Card,
    pub(super) net: Net,
}

impl Link {
    pub(super) fn request<T>(&self, message: T, protocol: Protocol) -> Request<T> {
        let mut request = Request::new(message);
        let peer = VerifiedPeer::for_test(self.own.name.clone(), "1", self.own.key);
        request.extensions_mut().insert(peer.speaking(protocol));
        request
    }

    /// Why a node refuses this one when it asks for its position, without a line between them; none if it answers.
    pub(super) async fn refused_by(&self, node: NodeId) -> Option<&'static str> {
        let served = self.net.lines().up.get(&node).cloned()?;
        let asked = served.nodes.ask(self.request(peer::PositionRequest { at: 0 }, Protocol::Calls)).await;
        asked.err().map(|status| fault_of(&status).reason)
    }

    /// Pushes an object with its audience object, or with the name of that.
    async fn push_once(&self, node: NodeId, of: &Encoded, named: bool) -> Result<peer::PushResult, String> {
        let Encoded { envelope, grant, audience, audience_name } = of.clone();
        let mut object = peer::Sealed { envelope, grant, ..peer::Sealed::default() };
        if named {
            object.audience_name = audience_name.to_vec().into();
        } else {
            object.audience = audience;
        }
        let request = self.request(peer::PushRequest { objects: vec![object] }, Protocol::Calls);
        let serve = |s: Served| async move { s.nodes.push(request).await };
        let reply = self.within(TRANSFER, self.net.ask(self.own.node, node, "push", serve)).await?;
        said(reply)?.results.into_iter().next().ok_or_else(|| "an empty answer".to_owned())
    }

    /// What one node knows of this one's audience objects.
    fn acknowledged<T>(&self, node: NodeId, of: impl FnOnce(&mut Acknowledged) -> T) -> T {
        of(self.net.lines().acknowledged.entry((self.own.node, node)).or_default())
    }

    pub(super) async fn within<R>(&self, limit: Duration, asked: impl Future<Output = Option<R>>) -> Result<R, String> {
        match timeout(limit, asked).await {
            Ok(Some(reply)) => Ok(reply),
            Ok(None) => Err("the connection is refused".to_owned()),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }
}

pub(super) fn said<T>(reply: Result<Response<T>, Status>) -> Result<T, String> {
    reply.map(Response::into_inner).map_err(|s| fault_of(&s).message)
}

pub(super) fn state(result: peer::PushResult) -> PushState {
    match result.state.as_str() {
        "held" => PushState::Held,
        "unopenable" => PushState::Unopenable(result.reason),
        _ => PushState::Refused(result.reason),
    }
}

impl PeerCalls for Link {
    fn call(
        &self,
        to: u64,
        kind: CallKind,
        body: Vec<u8>,
        limit: Duration,
    ) -> Boxed<'static, Result<Vec<u8>, CallError>> {
        let (net, own) = (self.net.clone(), self.own.node);
        let request = self.request(peer::ConsensusCall { kind: kind.code(), body }, Protocol::Calls);
        let what = match kind {
            CallKind::Append => "append",
            CallKind::Vote => "vote",
            CallKind::Snapshot => SNAPSHOT,
            CallKind::Forward => "forward",
            _ => "consensus",
        };
        Box::pin(async move {
            let serve = |s: Served| async move { s.nodes.call(request).await };
            match timeout(limit, net.ask(own, NodeId(to), what, serve)).await {
                Err(_) => Err(CallError::Timeout),
                Ok(None) => Err(CallError::Unreachable("the connection is refused".into())),
                Ok(Some(Ok(reply))) => Ok(reply.into_inner().body),
                Ok(Some(Err(status))) => Err(CallError::Unreachable(status.message().to_owned())),
            }
        })
    }
}

impl Positions for Link {
    fn ask(&self, node: NodeId, at: u64) -> Boxed<'_, Option<Position>> {
        let request = self.request(peer::PositionRequest { at }, Protocol::Calls);
        Box::pin(async move {
            let serve = |s: Served| async move { s.nodes.ask(request).await };
            let reply = self.within(ASK, self.net.ask(self.own.node, node, "position", serve)).await.ok()?.ok()?;
            let reply = reply.into_inner();
            Some(Position { applied: reply.applied, at: reply.digest_index, digest: reply.digest.try_into().ok() })
        })
    }
}

impl PeerVault for Link {
    fn push<'a>(&'a self, node: NodeId, object: &'a Outgoing) -> Boxed<'a, Result<PushState, String>> {
        let parts = &object.parts;
        if self.net.shuts_out(self.own.node, node) {
            self.net.wrong(format!("{} pushes to {node}, whose agency is suspended", self.own.node));
        }
        self.net.hand(node, &parts.envelope);
        Box::pin(async move {
            if let Some(content) = &object.content {
                return self.push_in_pieces(node, object, content).await;
            }
            let name = parts.audience_name;
            let named = self.acknowledged(node, |known| known.has(&name));
            let mut result = self.push_once(node, parts, named).await?;
            if result.state == AUDIENCE_WANTED {
                self.acknowledged(node, |known| known.forget(&name));
                result = self.push_once(node, parts, false).await?;
            }
            let state = state(result);
            if state == PushState::Held {
                self.acknowledged(node, |known| known.note(name));
            }
            Ok(state)
        })
    }

    fn pull(&self, node: NodeId, token: [u8; 32], attempt: u32) -> Boxed<'_, Result<Option<Parts>, String>> {
        let request = self.request(peer::PullRequest { token: token.to_vec(), attempt }, Protocol::Calls);
        Box::pin(async move {
            let (net, own) = (self.net.clone(), self.own.node);
            let serve = move |s: Served| async move {
                let reply = s.nodes.pull(request).await;
                if let Ok(Some(object)) = reply.as_ref().map(|r| r.get_ref().object.as_ref()) {
                    net.hand(own, &object.envelope);
                }
                reply
            };
            match self.within(TRANSFER, self.net.ask(own, node, "pull", serve)).await? {
                Err(status) if status.code() == Code::NotFound => Ok(None),
                reply => Ok(said(reply)?.object.map(|o| (o.envelope.into(), o.grant.into(), o.audience.into()))),
            }
        })
    }

    fn content(&self, node: NodeId, token: [u8; 32], hash: [u8; 32]) -> Boxed<'_, Result<Box<dyn Pieces>, String>> {
        Box::pin(self.pull_in_pieces(node, token, hash))
    }
}

impl PeerComplaints for Link {
    fn complain(&self, node: NodeId, complaint: Vec<u8>) -> Boxed<'_, Result<(), Fault>> {
        let request = self.request(peer::ComplainRequest { complaint }, Protocol::Calls);
        Box::pin(async move {
            let away = |why: String| Fault::unavailable("NODE_UNREACHABLE", why);
            let serve = |s: Served| async move { s.nodes.complain(request).await };
            let reply = self.within(ASK, self.net.ask(self.own.node, node, "complain", serve)).await.map_err(away)?;
            reply.map(|_| ()).map_err(|s| fault_of(&s))
        })
    }
}

impl PeerReports for Link {
    fn report(&self, node: NodeId, report: Vec<u8>) -> Boxed<'_, Result<u64, String>> {
        let request = self.request(peer::AccessReport { report }, Protocol::Calls);
        Box::pin(async move {
            let serve = |s: Served| async move { s.nodes.report(request).await };
            let reply = self.within(TRANSFER, self.net.ask(self.own.node, node, "report", serve)).await?;
            Ok(said(reply)?.next)
        })
    }
}

impl PeerPeople for Link {
    fn people(&self, node: NodeId, seen: u64, after: String) -> PeopleTold<'_> {
        let request = self.request(peer::PeopleRequest { seen, after }, Protocol::Calls);
        Box::pin(async move {
            let serve = |s: Served| async move { s.nodes.people(request).await };
            let reply = said(self.within(ASK, self.net.ask(self.own.node, node, "people", serve)).await?)?;
            Ok((reply.version, reply.entries))
        })
    }
}

impl PeerNotices for Link {
    fn notices(&self, node: NodeId, asked: Asked) -> Reply<'_> {
        let Asked { name, public_key, certificate, call, request, patience } = asked;
        let asks = peer::PersonAsks { name, public_key: public_key.to_vec(), call, request, certificate };
        let request = self.request(asks, Protocol::Calls);
        Box::pin(async move {
            let away = |why: String| Fault::unavailable("NODE_UNREACHABLE", why);
            let serve = |s: Served| async move { s.nodes.notices(request).await };
            let asked = self.net.ask(self.own.node, node, "notices", serve);
            let reply = self.within(ASK + patience, asked).await.map_err(away)?;
            reply.map(|r| r.into_inner().reply).map_err(|s| fault_of(&s))
        })
    }
}

impl PeerPost for Link {
    fn deliver(&self, node: NodeId, precedence: Precedence, letter: Vec<u8>) -> Posted<'_> {
        let request = self.request(peer::Letter { letter }, Protocol::Letters(precedence));
        Box::pin(async move {
            let serve = |s: Served| async move { s.post.deliver(request).await };
            receipts(self.within(DELIVER, self.net.ask(self.own.node, node, "deliver", serve)).await)
        })
    }

    fn held(&self, node: NodeId, precedence: Precedence, (notice, letter): (NoticeId, LetterDigest)) -> Posted<'_> {
        let asked = peer::HeldRequest { letter: letter.to_vec(), notice: notice.as_bytes().to_vec() };
        let request = self.request(asked, Protocol::Letters(precedence));
        Box::pin(async move {
            let serve = |s: Served| async move { s.post.held(request).await };
            receipts(self.within(DELIVER, self.net.ask(self.own.node, node, "held", serve)).await)
        })
    }

    fn relay(&self, via: NodeId, precedence: Precedence, letter: Vec<u8>) -> Posted<'_> {
        let request = self.request(peer::Letter { letter }, Protocol::Letters(precedence));
        Box::pin(async move {
            let serve = |s: Served| async move { s.post.relay(request).await };
            receipts(self.within(RELAY, self.net.ask(self.own.node, via, "relay", serve)).await)
        })
    }
}

type Answered = Result<Result<Response<peer::Receipts>, Status>, String>;

fn receipts(answered: Answered) -> Result<Vec<SignedReceipt>, Fault> {
    let away = |why: String| Fault::unavailable("UNREACHABLE", why);
    let reply = answered.map_err(away)?.map_err(|s| fault_of(&s))?;
    let receipts = reply.into_inner().receipts;
    receipts.iter().map(|r| SignedReceipt::from_canon(r).map_err(|e| away(e.to_string()))).collect()
}
