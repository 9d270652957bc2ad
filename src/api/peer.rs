//! The services for other nodes: consensus, position, vault.
//!
//! The sender is whoever the certificate says, as a number and key of the ledger: certificate name, ledger
//! number and ledger key must agree, whatever a message claims.

use super::refuse;
use crate::audit::{Action as AuditAction, Decision as Verdict, Object};
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, NodeId, RecordId};
use crate::domain::label::Label;
use crate::domain::limits;
use crate::domain::reserve::Work;
use crate::identity::{Subject, VerifiedPeer};
use crate::ledger::node_id;
use crate::policy::Resource;
use crate::service::Core;
use crate::vault::{
    AUDIENCE_WANTED, Arriving, Brought, Content, HEAD_BYTES, PeerVault, Pieces, SealedObject, Turn, VaultError,
};
use crate::wire::pb::peer;
use futures_util::future::join_all;
use futures_util::{Stream, StreamExt};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// The answer to an object that may be taken later; its receiver pulls it then.
const LATER: &str = "later";
/// Most objects of one push.
const PUSH_MOST: usize = 64;
/// A piece of a large transfer comes, or is taken, within this time; else the transfer is over.
const PIECE: Duration = Duration::from_secs(10);

/// What serves, and what pushes.
type Behind = (Arc<Core>, Arc<dyn PeerVault>);

/// Opens when the node is assembled; until then nodes are asked to wait.
#[derive(Clone, Default)]
pub struct NodeGate(Arc<OnceLock<Behind>>);

impl NodeGate {
    /// Lets calls through to `core`; `peers` is where it pushes what other nodes of its agency ask it to publish. A second
    /// opening changes nothing.
    pub fn open(&self, core: Arc<Core>, peers: Arc<dyn PeerVault>) {
        let _ = self.0.set((core, peers));
    }
}

/// The node-to-node services.
#[derive(Clone)]
pub struct NodeServices {
    cluster: Arc<crate::cluster::Cluster>,
    gate: NodeGate,
}

/// Who called, as the ledger knows it.
pub(super) struct Sender {
    pub(super) node: NodeId,
    pub(super) agency: AgencyId,
}

impl NodeServices {
    /// Consensus is served at once; the rest when the gate opens.
    pub fn new(cluster: Arc<crate::cluster::Cluster>, gate: NodeGate) -> NodeServices {
        NodeServices { cluster, gate }
    }

    pub(super) fn core(&self) -> Result<&Arc<Core>, Status> {
        self.opened().map(|(core, _)| core)
    }

    /// Where publishes are pushed to.
    pub(super) fn peers(&self) -> Result<&Arc<dyn PeerVault>, Status> {
        self.opened().map(|(_, peers)| peers)
    }

    /// Takes a pushed object in whose content comes behind it, whatever carries its pieces.
    pub(crate) async fn take_in_pieces<S: Incoming>(
        &self,
        request: Request<S>,
    ) -> Result<Response<peer::PushResult>, Status> {
        let sender = self.sender(&request)?;
        let core = self.core()?;
        let taken = take_large(core, &sender, request.into_inner()).await;
        answered(core, &sender, taken).await.map(Response::new)
    }

    fn opened(&self) -> Result<&Behind, Status> {
        self.gate.0.get().ok_or_else(|| refuse(Fault::unavailable("NOT_FRESH", "this node is starting")))
    }

    pub(super) fn sender<T>(&self, request: &Request<T>) -> Result<Sender, Status> {
        self.known(request).inspect_err(|_| {
            let agency = request.extensions().get::<VerifiedPeer>().map(|p| p.agency().clone());
            if let (Some(agency), Some((core, _))) = (agency, self.gate.0.get()) {
                tell_refused(Arc::clone(core), agency, "unknown-node");
            }
        })
    }

    fn known<T>(&self, request: &Request<T>) -> Result<Sender, Status> {
        let refused = || refuse(Fault::refused("NOT_ALLOWED", "the ledger knows no such node"));
        let from = request.extensions().get::<VerifiedPeer>().ok_or_else(refused)?;
        let Subject::Node(local) = from.name().subject() else { return Err(refused()) };
        let node = node_id(from.agency(), local);
        if self.cluster.state().retired(node).is_some() {
            return Err(refuse(Fault::refused("NODE_REMOVED", "this node was removed from the federation")));
        }
        // At first sight of a suspension, before its connections are cut.
        let member = self.cluster.member(node);
        let known = member.filter(|(a, key)| a == from.agency() && *key.as_bytes() == from.public_key());
        known.map(|(agency, _)| Sender { node, agency }).ok_or_else(refused)
    }
}

#[tonic::async_trait]
impl peer::consensus_server::Consensus for NodeServices {
    async fn call(&self, request: Request<peer::ConsensusCall>) -> Result<Response<peer::ConsensusReply>, Status> {
        let sender = self.sender(&request)?;
        let peer::ConsensusCall { kind, body } = request.into_inner();
        let body = self.cluster.handle(sender.node, kind, body).await.map_err(|e| refuse(e.into()))?;
        Ok(Response::new(peer::ConsensusReply { body }))
    }
}

#[tonic::async_trait]
impl peer::position_server::Position for NodeServices {
    async fn ask(&self, request: Request<peer::PositionRequest>) -> Result<Response<peer::PositionReply>, Status> {
        self.sender(&request)?;
        let p = self.core()?.position(request.into_inner().at);
        let digest = p.digest.map(|d| d.to_vec()).unwrap_or_default();
        Ok(Response::new(peer::PositionReply { applied: p.applied, digest_index: p.at, digest }))
    }
}

#[tonic::async_trait]
impl peer::vault_server::Vault for NodeServices {
    async fn push(&self, request: Request<peer::PushRequest>) -> Result<Response<peer::PushReply>, Status> {
        let sender = self.sender(&request)?;
        let core = self.core()?;
        let objects = request.into_inner().objects;
        if objects.len() > PUSH_MOST {
            return Err(refuse(Fault::usage("INVALID", format!("at most {PUSH_MOST} objects a push"))));
        }
        // One bad object never stops the rest, and none waits for another's turn at the disk: they share it.
        let mut arriving = core.vault.arriving(&sender.agency);
        let objects: Vec<_> = objects.iter().map(|o| put_together(&mut arriving, o)).collect();
        let taking: Vec<_> = objects.into_iter().map(|o| take(core, &sender, o)).collect();
        let taken = join_all(taking).await;
        let mut results = Vec::with_capacity(taken.len());
        for outcome in taken {
            results.push(answered(core, &sender, outcome).await?);
        }
        Ok(Response::new(peer::PushReply { results }))
    }

    async fn push_large(&self, request: Request<Streaming<peer::Piece>>) -> Result<Response<peer::PushResult>, Status> {
        self.take_in_pieces(request).await
    }

    type PullContentStream = ReceiverStream<Result<peer::Piece, Status>>;

    async fn pull_content(
        &self,
        request: Request<peer::ContentRequest>,
    ) -> Result<Response<Self::PullContentStream>, Status> {
        let sender = self.sender(&request)?;
        let core = self.core()?;
        core.disk.check(Work::Act).map_err(refuse)?;
        let peer::ContentRequest { token, header_hash } = request.into_inner();
        let token: [u8; 32] = token.try_into().map_err(|_| refuse(Fault::not_found()))?;
        let header_hash: [u8; 32] = header_hash.try_into().map_err(|_| refuse(Fault::not_found()))?;
        let leaves = |label: &Label| !core.withholds(&Resource::Record { label: label.clone(), own: false });
        let served = core.vault.serve_content(&core.state(), &sender.agency, (&token, &header_hash), leaves);
        let found = served.unwrap_or_else(|error| {
            tracing::error!(%error, "an object that a peer asked for does not verify");
            None
        });
        let Some((record, version, content)) = found else {
            let object = Object::Text("pull content".into());
            core.log_refusal(AuditAction::SyncRefused, &sender.agency, object, "not-entitled-or-absent")
                .await
                .map_err(refuse)?;
            return Err(refuse(Fault::not_found()));
        };
        let turn = core
            .vault
            .serving(&sender.agency)
            .ok_or_else(|| refuse(Fault::unavailable("OVERLOADED", "as many large transfers are under way as may")))?;
        let object = Object::Record { id: record, version };
        let _logged = core
            .log_node(AuditAction::SyncPull, &sender.agency, object, Verdict::Allow, "entitled-content")
            .await
            .map_err(refuse)?;
        let (to, pieces) = mpsc::channel(1);
        tokio::spawn(send(Arc::clone(core), (record, version), content, to, turn));
        Ok(Response::new(ReceiverStream::new(pieces)))
    }

    async fn pull(&self, request: Request<peer::PullRequest>) -> Result<Response<peer::PullReply>, Status> {
        let sender = self.sender(&request)?;
        let core = self.core()?;
        // What is served is audited here, at a peer's pleasure.
        core.disk.check(Work::Act).map_err(refuse)?;
        let peer::PullRequest { token, attempt } = request.into_inner();
        let token: [u8; 32] = token.try_into().map_err(|_| refuse(Fault::not_found()))?;
        // The predicate of the people's door: what is withheld looks like what is not there.
        let leaves = |label: &Label| !core.withholds(&Resource::Record { label: label.clone(), own: false });
        let found =
            core.vault.serve(&core.state(), &sender.agency, (&token, attempt), leaves).unwrap_or_else(|error| {
                tracing::error!(%error, "an object that a peer asked for does not verify");
                None
            });
        let Some((record, version, (envelope, grant, audience))) = found else {
            let object = Object::Text("pull".into());
            core.log_refusal(AuditAction::SyncRefused, &sender.agency, object, "not-entitled-or-absent")
                .await
                .map_err(refuse)?;
            return Err(refuse(Fault::not_found()));
        };
        let object = Object::Record { id: record, version };
        let _logged = core
            .log_node(AuditAction::SyncPull, &sender.agency, object, Verdict::Allow, "entitled")
            .await
            .map_err(refuse)?;
        let object = peer::Sealed {
            envelope: envelope.into(),
            grant: grant.into(),
            audience: audience.into(),
            ..peer::Sealed::default()
        };
        Ok(Response::new(peer::PullReply { object: Some(object) }))
    }

    async fn complain(&self, request: Request<peer::ComplainRequest>) -> Result<Response<peer::ComplainReply>, Status> {
        let sender = self.sender(&request)?;
        let (core, complaint) = (self.core()?, request.into_inner().complaint);
        core.disk.check(Work::Act).map_err(refuse)?;
        core.take_complaint(sender.node, &sender.agency, &complaint).await.map_err(refuse)?;
        Ok(Response::new(peer::ComplainReply {}))
    }
}

#[tonic::async_trait]
impl peer::access_server::Access for NodeServices {
    async fn report(&self, request: Request<peer::AccessReport>) -> Result<Response<peer::AccessReportReply>, Status> {
        let sender = self.sender(&request)?;
        let core = self.core()?;
        let report = request.into_inner().report;
        core.disk.check(Work::Act).map_err(refuse)?;
        let next = core.take_report(sender.node, &sender.agency, &report).await.map_err(refuse)?;
        Ok(Response::new(peer::AccessReportReply { next }))
    }
}

/// That somebody unknown was refused is an event; nobody waits for it.
pub(super) fn tell_refused(core: Arc<Core>, agency: AgencyId, rule: &'static str) {
    tell_refused_of(core, agency, Object::None, rule);
}

/// The same where it is known whom somebody vouched for.
pub(super) fn tell_refused_of(core: Arc<Core>, agency: AgencyId, object: Object, rule: &'static str) {
    tokio::spawn(async move {
        if let Err(error) = core.log_refusal(AuditAction::PeerRefused, &agency, object, rule).await {
            tracing::error!(%agency, rule, %error, "a refusal could not be audited");
        }
    });
}

/// The state and the words for the sender and the log.
type Refused = (&'static str, String);

/// Parses the next object of a push; answers its bytes as well.
fn put_together(arriving: &mut Arriving<'_>, o: &peer::Sealed) -> Result<(SealedObject, usize), Refused> {
    let refused = |why: &str| ("refused", why.to_owned());
    let peer::Sealed { envelope, grant, audience, audience_name } = o;
    let bytes = envelope.len() + grant.len() + audience.len();
    if bytes > limits::PEER_MESSAGE_BYTES {
        return Err(refused("over the size of a message"));
    }
    let brought = match (audience.is_empty(), audience_name.is_empty()) {
        (false, true) => Brought::Bytes(audience),
        (true, false) => Brought::Name(audience_name),
        (true, true) | (false, false) => return Err(refused("it brings or names one audience key")),
    };
    let object = arriving.object(envelope, grant, &brought).map_err(|e| {
        let wanted = matches!(e, VaultError::AudienceWanted);
        (if wanted { AUDIENCE_WANTED } else { "refused" }, e.to_string())
    })?;
    Ok((object, bytes))
}

/// Checks and holds one pushed object.
async fn take(
    core: &Core,
    sender: &Sender,
    pushed: Result<(SealedObject, usize), Refused>,
) -> Result<Vec<u8>, Refused> {
    let (object, bytes) = pushed?;
    may_come(core, sender, &object)?;
    room_for(core, &object, bytes)?;
    let hash = object.envelope.hash().to_vec();
    core.vault.accept(&core.state(), object, core.clock.now()).await.map_err(state_of)?;
    Ok(hash)
}

/// The same of an object whose content comes behind it.
async fn take_large(core: &Core, sender: &Sender, stream: impl Incoming) -> Result<Vec<u8>, Refused> {
    let busy = || (LATER, "as many large objects are being taken in as may".to_owned());
    let _turn = core.vault.receiving(&sender.agency).ok_or_else(busy)?;
    let mut pieces = Arrived { stream, ready: Vec::new() };
    let head = pieces.head().await.map_err(|why| (LATER, why))?;
    let object = SealedObject::from_head(&head).map_err(|e| ("refused", e.to_string()))?;
    may_come(core, sender, &object)?;
    room_for(core, &object, head.len() + object.envelope.ciphertext_bytes())?;
    let hash = object.envelope.hash().to_vec();
    core.vault.accept_large(&|| core.state(), object, &mut pieces, core.clock.now()).await.map_err(state_of)?;
    Ok(hash)
}

/// What is known of an object before the vault looks at it.
fn may_come(core: &Core, sender: &Sender, object: &SealedObject) -> Result<(), Refused> {
    if object.envelope.header().originator != sender.agency {
        return Err(("refused", "it is not the sender's own".to_owned()));
    }
    // Against a state that is not the majority's an object is neither taken, which its originator would count as held, nor
    // blamed. It is pulled once this node is put right.
    if core.cluster.has_diverged() {
        return Err((LATER, "this node takes nothing while its ledger is not the majority's".to_owned()));
    }
    Ok(())
}

/// Memory for an object's place in the index, and room on the disk for its bytes. What is here already is held, however full
/// they are; anything else its originator brings again, or this node pulls it.
fn room_for(core: &Core, object: &SealedObject, bytes: usize) -> Result<(), Refused> {
    if core.vault.has(object) {
        return Ok(());
    }
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    let room = core.memory.check(Work::Content).and_then(|()| core.disk.take(Work::Content, bytes));
    room.map_err(|full| (LATER, full.message))
}

fn state_of(e: VaultError) -> Refused {
    let state = match e {
        VaultError::NotYet(_) | VaultError::Busy | VaultError::Transfer(_) => LATER,
        _ if e.blames_object() => "unopenable",
        _ => "refused",
    };
    (state, e.to_string())
}

/// The answer to a pushed object; one that is refused for good is an event.
async fn answered(core: &Core, sender: &Sender, taken: Result<Vec<u8>, Refused>) -> Result<peer::PushResult, Status> {
    let (state, reason) = match taken {
        Ok(header_hash) => return Ok(peer::PushResult { header_hash, state: "held".into(), reason: String::new() }),
        Err(refused) => refused,
    };
    if state != LATER && state != AUDIENCE_WANTED {
        let object = Object::Text(format!("push: {reason}").chars().take(200).collect());
        core.log_refusal(AuditAction::Quarantine, &sender.agency, object, "receiver-rules").await.map_err(refuse)?;
    }
    Ok(peer::PushResult { header_hash: Vec::new(), state: state.into(), reason })
}

/// Pieces of a push as they come: by a connection, or from a test.
pub(crate) trait Incoming: Stream<Item = Result<peer::Piece, Status>> + Send + Unpin {}

impl<S: Stream<Item = Result<peer::Piece, Status>> + Send + Unpin> Incoming for S {}

/// A pushed object that comes in pieces: what stands before its content, and the content.
struct Arrived<S> {
    stream: S,
    /// Content that came in one piece with the end of what stands before it.
    ready: Vec<u8>,
}

impl<S: Incoming> Arrived<S> {
    async fn piece(&mut self) -> Result<Option<peer::Piece>, String> {
        let piece = tokio::time::timeout(PIECE, self.stream.next()).await;
        match piece.map_err(|_| "no piece in time".to_owned())?.transpose() {
            Err(status) => Err(status.message().to_owned()),
            Ok(Some(piece)) if piece.data.len() > limits::PIECE_BYTES => Err("a piece is too large".to_owned()),
            Ok(piece) => Ok(piece),
        }
    }

    async fn head(&mut self) -> Result<Vec<u8>, String> {
        let ended = || "it ended early".to_owned();
        let peer::Piece { head, data: mut bytes } = self.piece().await?.ok_or_else(ended)?;
        let size = usize::try_from(head).unwrap_or(usize::MAX);
        if size == 0 || size > HEAD_BYTES {
            return Err("what stands before its content is outside its limit".to_owned());
        }
        while bytes.len() < size {
            let piece = self.piece().await?.ok_or_else(ended)?;
            if piece.data.is_empty() {
                return Err("a piece has nothing in it".to_owned());
            }
            bytes.extend_from_slice(&piece.data);
        }
        self.ready = bytes.split_off(size);
        Ok(bytes)
    }
}

impl<S: Incoming> Pieces for Arrived<S> {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Result<Option<Vec<u8>>, String>> + Send + '_>> {
        Box::pin(async move {
            if !self.ready.is_empty() {
                return Ok(Some(std::mem::take(&mut self.ready)));
            }
            Ok(self.piece().await?.map(|p| p.data))
        })
    }
}

/// Sends a content as fast as it is taken. Whoever takes nothing for a while, or goes away, gets no more.
async fn send(
    core: Arc<Core>,
    key: (RecordId, u32),
    content: Content,
    to: mpsc::Sender<Result<peer::Piece, Status>>,
    _turn: Turn,
) {
    let failed = |error: VaultError| {
        core.vault.spoilt(key, &content, &error);
        refuse(error.into())
    };
    let mut reader = match content.reader() {
        Ok(reader) => reader,
        Err(error) => {
            let _ = to.send(Err(failed(error))).await;
            return;
        }
    };
    loop {
        let piece = match reader.read(limits::PIECE_BYTES) {
            Ok(data) if data.is_empty() => return,
            Ok(data) => Ok(peer::Piece { head: 0, data }),
            Err(error) => Err(failed(error)),
        };
        let ends = piece.is_err();
        match tokio::time::timeout(PIECE, to.send(piece)).await {
            Ok(Ok(())) if !ends => {}
            _ => return,
        }
    }
}
