//! Runs a service's calls on other threads than its connections.
//!
//! The people's connections stand on the threads of notices, so that what comes in is on a screen at once; what publishes,
//! opens and searches is sent from there to the threads that do the bulk. A call whose client is gone is dropped, as anywhere.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;

/// A service whose calls run on `bulk`.
#[derive(Clone)]
pub struct Apart<S> {
    inner: S,
    bulk: Handle,
}

impl<S> Apart<S> {
    /// Wraps a service.
    pub fn new(inner: S, bulk: Handle) -> Apart<S> {
        Apart { inner, bulk }
    }
}

impl<S: NamedService> NamedService for Apart<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Apart<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        // A set aborts what is in it when it is dropped.
        let mut running = JoinSet::new();
        running.spawn_on(self.inner.call(request), &self.bulk);
        Box::pin(async move {
            match running.join_next().await {
                Some(Ok(answer)) => answer,
                Some(Err(_)) | None => Ok(Status::internal("the call ended without an answer").into_http()),
            }
        })
    }
}
