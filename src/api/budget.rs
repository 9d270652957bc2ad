//! What calls may hold in memory, by the agency that makes them: one that makes many leaves the others their room.
//!
//! A call counts as its largest message, from before that message is read until its answer is on its way. What does not fit
//! is refused at once, and its sender tries again. Calls that wait for somebody else, as a relay's do, count apart from those
//! of the same agency that do not.

use super::refuse;
use crate::domain::fault::Fault;
use crate::domain::ids::AgencyId;
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

/// The method whose calls wait for somebody else.
const WAITS: &str = "/Relay";

/// How much calls may hold, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// What a call counts as.
    pub call_bytes: usize,
    /// Of all calls; beyond it only what agencies have in reserve.
    pub all_bytes: usize,
    /// Of one agency, for calls that wait and again for those that do not.
    pub agency_bytes: usize,
    /// Of that, what is an agency's own whatever others hold.
    pub reserved_bytes: usize,
}

/// A service whose calls keep to their shares; clones share them.
#[derive(Clone)]
pub struct Budgeted<S> {
    inner: S,
    budget: Budget,
}

impl<S> Budgeted<S> {
    /// Wraps a service of nodes.
    pub fn new(inner: S, shares: Shares) -> Budgeted<S> {
        Budgeted { inner, budget: Budget { shares, held: Arc::default() } }
    }
}

impl<S: NamedService> NamedService for Budgeted<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Budgeted<S>
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
        let Some(peer) = request.extensions().get::<VerifiedPeer>() else {
            return refused(Status::unauthenticated("no certificate"));
        };
        let Some(share) = self.budget.take(peer.agency(), request.uri().path().ends_with(WAITS)) else {
            let full = Fault::overloaded("too many calls of this kind are under way");
            return refused(refuse(full));
        };
        let answered = self.inner.call(request);
        Box::pin(async move {
            let answer = answered.await?;
            Ok(answer.map(|body| {
                Body::new(body.map_frame(move |frame| {
                    let _until_it_is_sent = &share;
                    frame
                }))
            }))
        })
    }
}

type Answered = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

fn refused(status: Status) -> Answered {
    Box::pin(ready(Ok::<http::Response<Body>, Infallible>(status.into_http())))
}

/// Whose calls, and whether they wait.
type Caller = (AgencyId, bool);

#[derive(Default)]
struct Held {
    all: usize,
    by: BTreeMap<Caller, usize>,
}

#[derive(Clone)]
struct Budget {
    shares: Shares,
    held: Arc<Mutex<Held>>,
}

/// What one call holds, until it is dropped.
struct Share {
    budget: Budget,
    caller: Caller,
}

impl Budget {
    fn take(&self, agency: &AgencyId, waits: bool) -> Option<Share> {
        let Shares { call_bytes, all_bytes, agency_bytes, reserved_bytes } = self.shares;
        let caller = (agency.clone(), waits);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let all = held.all.saturating_add(call_bytes);
        let own = held.by.get(&caller).copied().unwrap_or(0).saturating_add(call_bytes);
        if own > agency_bytes || (all > all_bytes && own > reserved_bytes) {
            return None;
        }
        held.all = all;
        held.by.insert(caller.clone(), own);
        Some(Share { budget: self.clone(), caller })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let bytes = self.budget.shares.call_bytes;
        let mut held = self.budget.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.all = held.all.saturating_sub(bytes);
        let left = held.by.get(&self.caller).copied().unwrap_or(0).saturating_sub(bytes);
        if left == 0 {
            held.by.remove(&self.caller);
        } else {
            held.by.insert(self.caller.clone(), left);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use tonic::Code;

    const SHARES: Shares = Shares { call_bytes: 10, all_bytes: 50, agency_bytes: 40, reserved_bytes: 20 };

    fn agency(name: &str) -> AgencyId {
        name.parse().unwrap()
    }

    #[test]
    fn an_agency_has_its_share_and_a_reserve_whatever_others_hold() {
        let budget = Budget { shares: SHARES, held: Arc::default() };
        let take = |name: &str| budget.take(&agency(name), false);
        let mut customs: Vec<Share> = (0..4).map(|_| take("customs").unwrap()).collect();
        assert!(take("customs").is_none(), "its share");
        let police: Vec<Share> = (0..2).map(|_| take("police").unwrap()).collect();
        assert!(take("police").is_none(), "all are used, and its reserve too");
        let _reserve = take("cyberspace").unwrap();
        // Calls that wait are another share of the same agency.
        let waiting = budget.take(&agency("customs"), true).unwrap();
        drop((waiting, police));
        assert!(take("customs").is_none());
        customs.pop();
        customs.push(take("customs").unwrap());
        drop(customs);
        let held = budget.held.lock().unwrap();
        assert_eq!((held.all, held.by.len()), (10, 1));
    }

    fn request(path: &str) -> http::Request<Body> {
        let name = "spiffe://customs.hufu/node/1".parse().unwrap();
        let mut request = http::Request::new(Body::empty());
        *request.uri_mut() = path.parse().unwrap();
        request.extensions_mut().insert(VerifiedPeer::for_test(name, "1", [0; 32]));
        request
    }

    async fn code(answer: impl Future<Output = Result<http::Response<Body>, Infallible>>) -> Option<Code> {
        Status::from_header_map(answer.await.unwrap().headers()).map(|s| s.code())
    }

    #[tokio::test]
    async fn what_does_not_fit_is_refused_and_a_place_is_free_when_the_answer_is_sent() {
        // A service that answers at once, with a body.
        let inner = tower::service_fn(|_: http::Request<Body>| {
            ready(Ok::<_, Infallible>(http::Response::new(Body::new(String::from("receipts")))))
        });
        let mut routine = Budgeted::new(inner, SHARES);
        let mut flash = Budgeted::new(inner, SHARES);
        let mut unsent = Vec::new();
        for _ in 0..4 {
            unsent.push(routine.call(request("/hufu.peer.v1.Post/Deliver")).await.unwrap());
        }
        assert_eq!(code(routine.call(request("/hufu.peer.v1.Post/Deliver"))).await, Some(Code::ResourceExhausted));
        assert_eq!(code(routine.call(request("/hufu.peer.v1.Post/Relay"))).await, None);
        assert_eq!(code(flash.call(request("/hufu.peer.v1.Post/Deliver"))).await, None);
        drop(unsent.pop());
        assert_eq!(code(routine.call(request("/hufu.peer.v1.Post/Deliver"))).await, None);
        let nobody = http::Request::new(Body::empty());
        assert_eq!(code(routine.call(nobody)).await, Some(Code::Unauthenticated));
    }
}
