//! The listener for those who watch a node: `/metrics`, `/livez`, `/readyz`, over plain HTTP/1 and for machines.
//!
//! It shows figures and fixed words ([`figures`](super::figures)), changes nothing, and asks nobody who they are: without
//! an explicit setting it is on the loopback interface. Whatever it is asked, a page is made at most once a second, so that
//! it cannot be used to keep the node or its peers busy; connections, header and time are bounded.

use super::assemble::cannot_listen;
use super::exposition::{Kind, MEDIA_TYPE, Page};
use super::figures::Watched;
use super::ready::Seen;
use crate::domain::fault::Fault;
use crate::domain::time::Millis;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// Connections at once; more are dropped.
const CONNECTIONS: usize = 16;
/// Longest request, in bytes: hyper takes no less.
const REQUEST_BYTES: usize = 8_192;
const HEADERS: usize = 32;
const HEADER_TIME: Duration = Duration::from_secs(5);
/// From the connection to the end of the answer.
const CALL_TIME: Duration = Duration::from_secs(15);
/// What was found out is shown again for so long.
const FRESH: Duration = Duration::from_secs(1);
/// The threads of notices take a task within this time.
const ALIVE: Duration = Duration::from_secs(2);
/// Pause after an error of `accept`, so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const TEXT: &str = "text/plain; charset=utf-8";

/// What was found out, and when.
type Kept<T> = Mutex<Option<(Instant, T)>>;

/// What the listener shows. The node plugs in what it has once it has it.
pub(super) struct Monitor {
    started: Millis,
    urgent: Handle,
    stopped: watch::Receiver<bool>,
    watched: OnceLock<Watched>,
    page: Kept<Bytes>,
    reasons: Kept<Vec<&'static str>>,
}

impl Monitor {
    /// Nothing to look at yet; `urgent` are the threads of notices.
    pub(super) fn new(started: Millis, urgent: Handle, stopped: watch::Receiver<bool>) -> Monitor {
        let (watched, page, reasons) = (OnceLock::new(), Kept::default(), Kept::default());
        Monitor { started, urgent, stopped, watched, page, reasons }
    }

    /// From now on there is a node to look at.
    pub(super) fn open(&self, watched: Watched) {
        let _ = self.watched.set(watched);
    }

    /// Binds and starts to answer, until the node is told to stop.
    pub(super) async fn listen(self: &Arc<Self>, address: SocketAddr) -> Result<SocketAddr, Fault> {
        let bound = async {
            let listener = TcpListener::bind(address).await?;
            Ok::<_, std::io::Error>((listener.local_addr()?, listener))
        };
        let (local, listener) = bound.await.map_err(|e| cannot_listen(address, &e))?;
        tokio::spawn(Arc::clone(self).run(listener));
        Ok(local)
    }

    async fn run(self: Arc<Self>, listener: TcpListener) {
        let mut stopped = self.stopped.clone();
        // Connections end with this set.
        let mut open = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                _ = stopped.wait_for(|s| *s) => return,
                Some(_) = open.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((tcp, _)) if open.len() < CONNECTIONS => {
                    open.spawn(Arc::clone(&self).serve(tcp));
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve(self: Arc<Self>, tcp: TcpStream) {
        let service = service_fn(move |request: Request<Incoming>| {
            Arc::clone(&self).answer(request.method().clone(), request.uri().path().to_owned())
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME);
        http.keep_alive(false).max_buf_size(REQUEST_BYTES).max_headers(HEADERS);
        // Whoever went away misses the answer.
        let _ = timeout(CALL_TIME, http.serve_connection(TokioIo::new(tcp), service)).await;
    }

    async fn answer(self: Arc<Self>, method: Method, path: String) -> Result<Response<Full<Bytes>>, Infallible> {
        if !matches!(method, Method::GET | Method::HEAD) {
            return Ok(text(StatusCode::METHOD_NOT_ALLOWED, "only GET"));
        }
        Ok(match path.as_str() {
            "/livez" if self.is_alive().await => text(StatusCode::OK, "alive"),
            "/livez" => text(StatusCode::SERVICE_UNAVAILABLE, "the threads of notices do not answer"),
            "/readyz" => match self.reasons().await.as_slice() {
                [] => text(StatusCode::OK, "ready"),
                reasons => text(StatusCode::SERVICE_UNAVAILABLE, &reasons.join("\n")),
            },
            "/metrics" => of(StatusCode::OK, MEDIA_TYPE, self.page().await),
            _ => text(StatusCode::NOT_FOUND, "ask for /metrics, /livez or /readyz"),
        })
    }

    /// This runs on the threads of bulk work; those of notices must take a task too.
    async fn is_alive(&self) -> bool {
        matches!(timeout(ALIVE, self.urgent.spawn(async {})).await, Ok(Ok(())))
    }

    async fn reasons(&self) -> Vec<&'static str> {
        if *self.stopped.borrow() {
            return vec!["stopping"];
        }
        let Some(watched) = self.watched.get() else { return vec!["starting"] };
        let look = async { Seen::of(&watched.core).await.reasons() };
        kept(&self.reasons, look).await
    }

    async fn page(&self) -> Bytes {
        let make = async {
            let mut page = Page::default();
            let mut build = page.family("hufu_build_info", Kind::Gauge, "The program that runs.");
            build.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
            let started = self.started.0 as f64 / 1000.0;
            page.gauge("process_start_time_seconds", "When the process started, in Unix time.", started);
            if let Some(watched) = self.watched.get() {
                watched.write(&mut page).await;
            }
            Bytes::from(page.finish())
        };
        kept(&self.page, make).await
    }
}

/// What is known already if it is fresh, else what `look` finds out; whoever asks meanwhile waits for the same.
async fn kept<T: Clone>(known: &Kept<T>, look: impl Future<Output = T>) -> T {
    let mut known = known.lock().await;
    if let Some((_, value)) = known.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
        return value.clone();
    }
    let found = look.await;
    *known = Some((Instant::now(), found.clone()));
    found
}

fn text(status: StatusCode, line: &str) -> Response<Full<Bytes>> {
    of(status, TEXT, Bytes::from(format!("{line}\n")))
}

fn of(status: StatusCode, media_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn ask(at: SocketAddr, request: &str) -> String {
        let mut tcp = TcpStream::connect(at).await.unwrap();
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A request that was not read to its end ends in a reset.
        let _ = timeout(CALL_TIME, tcp.read_to_end(&mut answer)).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn it_answers_before_there_is_a_node_and_takes_no_long_request() {
        let (stop, stopped) = watch::channel(false);
        let monitor = Arc::new(Monitor::new(Millis(1_500), Handle::current(), stopped));
        let at = monitor.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(ask(at, &get("/livez")).await.starts_with("HTTP/1.1 200 "));
        let starting = ask(at, &get("/readyz")).await;
        assert!(starting.starts_with("HTTP/1.1 503 ") && starting.ends_with("starting\n"), "{starting}");
        let page = ask(at, &get("/metrics")).await;
        assert!(page.contains("\nprocess_start_time_seconds 1.5\n"), "{page}");
        assert!(page.contains("version=0.0.4"), "{page}");
        assert!(ask(at, &get("/")).await.starts_with("HTTP/1.1 404 "));
        assert!(
            ask(at, "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
                .await
                .starts_with("HTTP/1.1 405 ")
        );
        let long = ask(at, &get(&"/".repeat(REQUEST_BYTES))).await;
        assert!(!long.starts_with("HTTP/1.1 200 "), "{long}");
        stop.send(true).unwrap();
        assert!(monitor.reasons().await == ["stopping"]);
    }
}
