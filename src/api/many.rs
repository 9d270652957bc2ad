//! A stream of publishes: a bounded number of them is under way, and each has an answer of its own, whenever it comes.
//!
//! One that fails ends nothing. A client that is gone takes what is under way along, as the end of any other call does; what
//! was journaled by then goes on the ledger by itself, and the same request again gets the first answer.

use crate::wire::pb::v1::{PublishManyReply, PublishRequest};
use std::future::Future;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

/// Most requests of one stream that are under way.
const WINDOW: usize = 64;
/// Most bytes of their texts, and of one request more.
const WINDOW_BYTES: usize = 4 << 20;
/// A stream on which nothing is under way and nothing comes for this long is over.
const IDLE: Duration = Duration::from_secs(60);

/// The answers of a stream.
pub(super) type Answers = ReceiverStream<Result<PublishManyReply, Status>>;

/// Answers what comes, on the current runtime.
pub(super) fn answers<S, F, A>(asked: S, answer: F) -> Answers
where
    S: Stream<Item = Result<PublishRequest, Status>> + Send + Unpin + 'static,
    F: Fn(PublishRequest) -> A + Send + 'static,
    A: Future<Output = PublishManyReply> + Send + 'static,
{
    answers_within(IDLE, asked, answer)
}

fn answers_within<S, F, A>(idle: Duration, asked: S, answer: F) -> Answers
where
    S: Stream<Item = Result<PublishRequest, Status>> + Send + Unpin + 'static,
    F: Fn(PublishRequest) -> A + Send + 'static,
    A: Future<Output = PublishManyReply> + Send + 'static,
{
    let (answers, stream) = mpsc::channel(WINDOW);
    tokio::spawn(async move {
        if let Err(status) = serve(idle, asked, answer, &answers).await {
            let _gone = answers.send(Err(status)).await;
        }
    });
    ReceiverStream::new(stream)
}

/// Until the client ends the stream and all is answered, or is gone.
async fn serve<S, F, A>(
    idle: Duration,
    mut asked: S,
    answer: F,
    answers: &mpsc::Sender<Result<PublishManyReply, Status>>,
) -> Result<(), Status>
where
    S: Stream<Item = Result<PublishRequest, Status>> + Unpin,
    F: Fn(PublishRequest) -> A,
    A: Future<Output = PublishManyReply> + Send + 'static,
{
    // What is in the set ends with it.
    let mut under_way = JoinSet::new();
    let mut bytes = 0usize;
    let end = loop {
        let next = tokio::select! {
            biased;
            () = answers.closed() => return Ok(()),
            Some(done) = under_way.join_next() => {
                bytes = bytes.saturating_sub(size_of(done)?);
                continue;
            }
            next = asked.next(), if under_way.len() < WINDOW && bytes < WINDOW_BYTES => next,
            () = tokio::time::sleep(idle), if under_way.is_empty() => {
                return Err(Status::deadline_exceeded("nothing was asked for too long"));
            }
        };
        let request = match next {
            Some(Ok(request)) => request,
            Some(Err(status)) => break Err(status),
            None => break Ok(()),
        };
        let size = size(&request);
        bytes = bytes.saturating_add(size);
        let (answering, answers) = (answer(request), answers.clone());
        under_way.spawn(async move {
            let reply = answering.await;
            let _gone = answers.send(Ok(reply)).await;
            size
        });
    };
    loop {
        tokio::select! {
            biased;
            () = answers.closed() => return Ok(()),
            done = under_way.join_next() => match done {
                Some(done) => {
                    let _size = size_of(done)?;
                }
                None => return end,
            },
        }
    }
}

/// What is no longer under way. Without an answer to it nobody could tell what became of it.
fn size_of(done: Result<usize, JoinError>) -> Result<usize, Status> {
    done.map_err(|_| Status::internal("a publish ended without an answer"))
}

fn size(request: &PublishRequest) -> usize {
    request.portions.iter().fold(request.body.len(), |bytes, p| bytes.saturating_add(p.text.len()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Semaphore;

    fn request(n: u8, bytes: usize) -> PublishRequest {
        PublishRequest { request_id: vec![n], body: vec![0; bytes], ..PublishRequest::default() }
    }

    fn reply(request: PublishRequest) -> PublishManyReply {
        PublishManyReply { request_id: request.request_id, outcome: None }
    }

    /// A node that answers when it is let, and counts what it was asked.
    #[derive(Clone)]
    struct Slow {
        asked: Arc<AtomicUsize>,
        let_go: Arc<Semaphore>,
    }

    fn slow() -> Slow {
        Slow { asked: Arc::default(), let_go: Arc::new(Semaphore::new(0)) }
    }

    impl Slow {
        async fn answer(self, request: PublishRequest) -> PublishManyReply {
            self.asked.fetch_add(1, Ordering::Relaxed);
            self.let_go.acquire().await.unwrap().forget();
            reply(request)
        }

        /// How many are under way once nothing more happens.
        async fn settled(&self) -> usize {
            loop {
                let before = self.asked.load(Ordering::Relaxed);
                for _ in 0..1_000 {
                    tokio::task::yield_now().await;
                }
                if self.asked.load(Ordering::Relaxed) == before {
                    return before;
                }
            }
        }
    }

    fn stream(slow: &Slow, requests: Vec<PublishRequest>) -> Answers {
        let slow = slow.clone();
        let requests: Vec<Result<_, Status>> = requests.into_iter().map(Ok).collect();
        answers(tokio_stream::iter(requests), move |request| slow.clone().answer(request))
    }

    #[tokio::test]
    async fn a_window_is_under_way_and_each_request_has_its_answer() {
        let slow = slow();
        let stream = stream(&slow, (0..200).map(|n| request(n, 1)).collect());
        assert_eq!(slow.settled().await, WINDOW);
        slow.let_go.add_permits(1);
        assert_eq!(slow.settled().await, WINDOW + 1, "one is answered, one comes");
        slow.let_go.add_permits(200);
        let ids: Vec<u8> = stream.map(|r| r.unwrap().request_id.first().copied().unwrap()).collect().await;
        assert_eq!(ids.len(), 200);
        assert_eq!(ids.into_iter().collect::<BTreeSet<_>>().len(), 200);
    }

    #[tokio::test]
    async fn large_texts_make_the_window_smaller() {
        let slow = slow();
        let _stream = stream(&slow, (0..20).map(|n| request(n, 1 << 20)).collect());
        assert_eq!(slow.settled().await, WINDOW_BYTES >> 20);
    }

    #[tokio::test]
    async fn what_was_asked_is_answered_before_a_broken_stream_ends() {
        let requests = vec![Ok(request(1, 1)), Err(Status::out_of_range("too long")), Ok(request(2, 1))];
        let stream = answers(tokio_stream::iter(requests), |request| std::future::ready(reply(request)));
        let seen: Vec<_> = stream.collect().await;
        assert_eq!(seen.len(), 2);
        let mut seen = seen.into_iter();
        assert_eq!(seen.next().unwrap().unwrap().request_id, [1]);
        assert_eq!(seen.next().unwrap().unwrap_err().code(), tonic::Code::OutOfRange);
    }

    #[tokio::test]
    async fn what_is_under_way_ends_with_the_client() {
        let slow = slow();
        let stream = stream(&slow, (0..3).map(|n| request(n, 1)).collect());
        assert_eq!(slow.settled().await, 3);
        drop(stream);
        while Arc::strong_count(&slow.let_go) > 1 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_stream_on_which_nothing_comes_is_over() {
        let silent = tokio_stream::pending::<Result<PublishRequest, Status>>();
        let mut stream = answers_within(Duration::from_millis(1), silent, |request| std::future::ready(reply(request)));
        assert_eq!(stream.next().await.unwrap().unwrap_err().code(), tonic::Code::DeadlineExceeded);
        assert!(stream.next().await.is_none());
    }
}
