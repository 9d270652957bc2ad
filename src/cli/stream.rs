//! Publishes on one stream: as many under way as the node takes, each answered by its request id.

use super::client::fault;
use crate::domain::fault::Fault;
use crate::wire::fault_of_failure;
use crate::wire::pb::v1;
use crate::wire::pb::v1::publish_many_reply::Outcome;
use crate::wire::pb::v1::records_client::RecordsClient;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

/// Requests made ready before the node takes them.
const AHEAD: usize = 4;

type Answer = Result<v1::PublishReply, Fault>;

/// Who waits for which request; after the end of the stream why it ended.
type Waiting = Arc<Mutex<Result<BTreeMap<Vec<u8>, oneshot::Sender<Answer>>, Fault>>>;

/// An open stream. Clones share it; it ends when the last one is gone and all is answered.
#[derive(Clone)]
pub(super) struct PublishStream {
    requests: mpsc::Sender<v1::PublishRequest>,
    waiting: Waiting,
}

impl PublishStream {
    /// Opens one.
    pub(super) async fn open(mut records: RecordsClient<Channel>) -> Result<PublishStream, Fault> {
        let (requests, queue) = mpsc::channel(AHEAD);
        let replies = records.publish_many(ReceiverStream::new(queue)).await.map_err(fault)?.into_inner();
        let waiting: Waiting = Arc::new(Mutex::new(Ok(BTreeMap::new())));
        tokio::spawn(hand_out(replies, Arc::clone(&waiting)));
        Ok(PublishStream { requests, waiting })
    }

    /// Sends one and waits for its answer. Its id is that of no other request under way here. After the end of the stream
    /// the outcome is not known, as with a call that breaks: the same again is safe on another one.
    pub(super) async fn publish(&self, request: v1::PublishRequest) -> Answer {
        let (answer, mut answered) = oneshot::channel();
        match &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) {
            Ok(waiting) => waiting.insert(request.request_id.clone(), answer),
            Err(why) => return Err(why.clone()),
        };
        // A stream that has ended takes none; why it ended comes as the answer.
        tokio::select! {
            biased;
            early = &mut answered => return early.unwrap_or_else(|_| Err(ended())),
            _sent = self.requests.send(request) => {}
        }
        answered.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Whether it takes nothing any more.
    pub(super) fn is_over(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_err()
    }
}

/// Gives each answer to who waits for it; at the end everybody else is told that.
async fn hand_out(mut replies: Streaming<v1::PublishManyReply>, waiting: Waiting) {
    let why = loop {
        match replies.message().await {
            Ok(Some(reply)) => {
                let waits = match &mut *waiting.lock().unwrap_or_else(PoisonError::into_inner) {
                    Ok(waiting) => waiting.remove(&reply.request_id),
                    Err(_) => None,
                };
                if let Some(waits) = waits {
                    let _gone = waits.send(outcome(reply));
                }
            }
            Ok(None) => break ended(),
            Err(status) => break fault(status),
        }
    };
    let left = std::mem::replace(&mut *waiting.lock().unwrap_or_else(PoisonError::into_inner), Err(why.clone()));
    for (_, waits) in left.into_iter().flatten() {
        let _gone = waits.send(Err(why.clone()));
    }
}

fn outcome(reply: v1::PublishManyReply) -> Answer {
    match reply.outcome {
        Some(Outcome::Published(reply)) => Ok(reply),
        Some(Outcome::Failed(failure)) => Err(fault_of_failure(failure)),
        None => Err(Fault::internal("INTERNAL", "the node answered nothing")),
    }
}

fn ended() -> Fault {
    Fault::unavailable("NODE_UNREACHABLE", "the node ended the stream before it answered")
        .hint("asking again is safe: the same request gets the first answer")
}
