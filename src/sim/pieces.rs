//! Large bodies on the simulated lines: a call with pieces behind it, or an answer that comes in pieces.
//!
//! Each piece is a message of its own, and goes when the one before it was taken, as with a stream whose reader is slow. So none
//! overtakes another. One that is lost or cut off ends all of them, as a connection ends that breaks; so does whoever hears that the
//! other's agency is suspended, and a start of the node that sends.

use super::net::{Link, Served, said, state};
use crate::domain::ids::NodeId;
use crate::domain::limits;
use crate::identity::Protocol;
use crate::node::peers::pieces;
use crate::service::Core;
use crate::vault::{Content, Outgoing, Pieces, PushState};
use crate::wire::fault_of;
use crate::wire::pb::peer::{self, vault_server::Vault as _};
use futures_util::future::{Either, select};
use futures_util::{Stream, StreamExt};
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

/// What a piece of a push is called.
pub(super) const PIECE: &str = "piece";
/// And what asks for one of a content; its answer is the piece.
pub(super) const MORE: &str = "more";
const PUSH: &str = "push large";
const CONTENT: &str = "content";
/// As long as the other node's calls may last.
const PUSHED: Duration = Duration::from_secs(30);
/// For an answer, and for each piece of it.
const ANSWERED: Duration = Duration::from_secs(10);

/// A piece, or why none comes any more.
type Came = Result<peer::Piece, Status>;

impl Link {
    /// Pushes an object with its content behind it; an answer ends it, however much was sent.
    pub(super) async fn push_in_pieces(
        &self,
        node: NodeId,
        object: &Outgoing,
        content: &Content,
    ) -> Result<PushState, String> {
        let (to, taken) = mpsc::channel::<Came>(1);
        let request: Request<ReceiverStream<Came>> = self.request(ReceiverStream::new(taken), Protocol::Calls);
        let serve = |s: Served| async move { s.nodes.take_in_pieces(request).await };
        let asked = pin!(self.within(PUSHED, self.net.ask(self.own.node, node, PUSH, serve)));
        let sent = pin!(self.send_pieces(node, pieces(object.head(), content)?, to));
        let (reply, whole) = match select(asked, sent).await {
            Either::Left((reply, _)) => (reply, true),
            Either::Right((whole, asked)) => (asked.await, whole),
        };
        if reply.is_err() || !whole {
            self.net.note(|carried| carried.broken += 1);
        }
        Ok(state(said(reply?)?))
    }

    /// Sends one behind the other, until one is not taken; whether all were.
    async fn send_pieces(
        &self,
        node: NodeId,
        pieces: impl Stream<Item = peer::Piece> + Send,
        to: mpsc::Sender<Came>,
    ) -> bool {
        let mut pieces = pin!(pieces);
        let own = self.own.node;
        while let Some(piece) = pieces.next().await {
            let to = to.clone();
            let serve = move |s: Served| async move {
                if s.shuts_out(own) {
                    return Err(cut());
                }
                to.send(Ok(piece)).await.map_err(|_| cut())
            };
            match self.within(PUSHED, self.net.ask(own, node, PIECE, serve)).await {
                Ok(Ok(())) => {}
                _ => return false,
            }
        }
        true
    }

    /// Asks for a content, of which each piece is then asked for.
    pub(super) async fn pull_in_pieces(
        &self,
        node: NodeId,
        token: [u8; 32],
        hash: [u8; 32],
    ) -> Result<Box<dyn Pieces>, String> {
        let asked = peer::ContentRequest { token: token.to_vec(), header_hash: hash.to_vec() };
        let request = self.request(asked, Protocol::Calls);
        let (net, own) = (self.net.clone(), self.own.node);
        let serve = move |s: Served| async move {
            let stream = s.nodes.pull_content(request).await?.into_inner();
            net.hand_content(own, &hash);
            Ok::<_, Status>((Arc::downgrade(&s.core), stream))
        };
        let reply = self.within(ANSWERED, self.net.ask(own, node, CONTENT, serve)).await?;
        let (by, stream) = reply.map_err(|s| fault_of(&s).message)?;
        let link = Link { own: self.own.clone(), net: self.net.clone() };
        Ok(Box::new(FromNode { link, node, by, stream: Arc::new(Mutex::new(stream)) }))
    }
}

fn cut() -> Status {
    Status::unavailable("the connection is cut")
}

/// Content that a node answers with.
struct FromNode {
    link: Link,
    node: NodeId,
    /// What answered: after another start nothing more comes.
    by: Weak<Core>,
    stream: Arc<Mutex<ReceiverStream<Came>>>,
}

impl FromNode {
    async fn piece(&self) -> Result<Option<peer::Piece>, String> {
        let (by, stream, own) = (Weak::clone(&self.by), Arc::clone(&self.stream), self.link.own.node);
        let serve = move |s: Served| async move {
            if s.shuts_out(own) || !Weak::ptr_eq(&by, &Arc::downgrade(&s.core)) {
                return Err(cut());
            }
            let piece = stream.lock().await.next().await;
            piece.transpose()
        };
        let asked = self.link.net.ask(own, self.node, MORE, serve);
        match self.link.within(ANSWERED, asked).await?.map_err(|s| fault_of(&s).message)? {
            Some(piece) if piece.data.len() > limits::PIECE_BYTES => Err("a piece is too large".to_owned()),
            piece => Ok(piece),
        }
    }
}

impl Pieces for FromNode {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Result<Option<Vec<u8>>, String>> + Send + '_>> {
        Box::pin(async move {
            let piece = self.piece().await;
            self.link.net.note(|carried| match &piece {
                Ok(Some(_)) => {}
                Ok(None) => carried.pulled += 1,
                Err(_) => carried.broken += 1,
            });
            Ok(piece?.map(|p| p.data))
        })
    }
}
