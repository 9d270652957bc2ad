//! How many calls of people are under way, in all and of one person: each may hold the largest message in memory, with what
//! is made of it. What is above is refused at once and by name, so that it never waits for memory, and so that one person
//! leaves the others room.

use super::refuse;
use crate::domain::fault::Fault;
use crate::identity::VerifiedPeer;
use http_body_util::BodyExt;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;

/// Bounds of calls at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calls {
    /// Of all people.
    pub all: usize,
    /// Of one person, on however many connections.
    pub of_person: usize,
}

/// How long a call counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Until its answer begins: streams that go on for hours have bounds of their own.
    Answered,
    /// Until its answer is sent: it may be large, and its reader slow.
    Sent,
}

/// The places of calls; services that share them count together.
#[derive(Clone)]
pub struct Places {
    most: Calls,
    held: Arc<Mutex<Held>>,
}

/// Calls under way, by the key of their person's certificate.
#[derive(Default)]
struct Held {
    all: usize,
    by: BTreeMap<[u8; 32], usize>,
}

impl Places {
    /// As many places.
    pub fn new(most: Calls) -> Places {
        Places { most, held: Arc::default() }
    }

    fn take(&self, person: [u8; 32]) -> Result<Place, Fault> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let own = held.by.get(&person).copied().unwrap_or(0);
        if own >= self.most.of_person {
            return Err(Fault::overloaded("too many calls of yours are under way"));
        }
        if held.all >= self.most.all {
            return Err(Fault::overloaded("the node has as many calls under way as it takes"));
        }
        held.all = held.all.saturating_add(1);
        held.by.insert(person, own.saturating_add(1));
        Ok(Place { places: self.clone(), person })
    }
}

/// One call's place, until it is dropped.
struct Place {
    places: Places,
    person: [u8; 32],
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.places.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.all = held.all.saturating_sub(1);
        let left = held.by.get(&self.person).copied().unwrap_or(0).saturating_sub(1);
        if left == 0 {
            held.by.remove(&self.person);
        } else {
            held.by.insert(self.person, left);
        }
    }
}

/// A service whose calls need a place.
#[derive(Clone)]
pub struct Admitted<S> {
    inner: S,
    places: Places,
    until: Until,
}

impl<S> Admitted<S> {
    /// Wraps a service of people.
    pub fn new(inner: S, places: &Places, until: Until) -> Admitted<S> {
        Admitted { inner, places: places.clone(), until }
    }
}

impl<S: NamedService> NamedService for Admitted<S> {
    const NAME: &'static str = S::NAME;
}

type Answered = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

impl<S> Service<http::Request<Body>> for Admitted<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answered;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let person = request.extensions().get::<VerifiedPeer>().map(VerifiedPeer::public_key);
        let place = match person {
            Some(person) => self.places.take(person).map_err(refuse),
            None => Err(Status::unauthenticated("no certificate")),
        };
        let place = match place {
            Ok(place) => place,
            Err(status) => return Box::pin(ready(Ok::<http::Response<Body>, Infallible>(status.into_http()))),
        };
        let (answered, until) = (self.inner.call(request), self.until);
        Box::pin(async move {
            let answer = answered.await?;
            Ok(match until {
                Until::Answered => {
                    drop(place);
                    answer
                }
                Until::Sent => answer.map(|body| {
                    Body::new(body.map_frame(move |frame| {
                        let _until_it_is_sent = &place;
                        frame
                    }))
                }),
            })
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use tonic::Code;

    fn request(person: u8) -> http::Request<Body> {
        let name = "spiffe://customs.hufu/person/li".parse().unwrap();
        let mut request = http::Request::new(Body::empty());
        request.extensions_mut().insert(VerifiedPeer::for_test(name, "1", [person; 32]));
        request
    }

    async fn code(answer: Answered) -> Option<Code> {
        Status::from_header_map(answer.await.unwrap().headers()).map(|s| s.code())
    }

    #[tokio::test]
    async fn nobody_has_more_than_a_share_and_all_together_no_more_than_there_is() {
        let inner = tower::service_fn(|_: http::Request<Body>| {
            ready(Ok::<_, Infallible>(http::Response::new(Body::new(String::from("text")))))
        });
        let places = Places::new(Calls { all: 3, of_person: 2 });
        let mut records = Admitted::new(inner, &places, Until::Sent);
        let mut audit = Admitted::new(inner, &places, Until::Sent);
        let mut unsent = vec![records.call(request(1)).await.unwrap(), audit.call(request(1)).await.unwrap()];
        assert_eq!(code(records.call(request(1))).await, Some(Code::ResourceExhausted), "two are a person's share");
        unsent.push(records.call(request(2)).await.unwrap());
        assert_eq!(code(audit.call(request(3))).await, Some(Code::ResourceExhausted), "three are all");
        drop(unsent.pop());
        assert_eq!(code(audit.call(request(3))).await, None);
        assert_eq!(code(records.call(http::Request::new(Body::empty()))).await, Some(Code::Unauthenticated));
        drop(unsent);
        assert!(places.held.lock().unwrap().by.is_empty() && places.held.lock().unwrap().all == 0);
        // A stream counts until it begins.
        let mut watch = Admitted::new(inner, &places, Until::Answered);
        let mut begun = Vec::new();
        for _ in 0..5 {
            begun.push(watch.call(request(1)).await.unwrap());
        }
        assert!(begun.iter().all(|answer| answer.status().is_success()));
        // One that nobody waits for any more gives its place back.
        drop(records.call(request(1)));
        assert_eq!(places.held.lock().unwrap().all, 0);
    }
}
