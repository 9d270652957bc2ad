//! A verified connection as a stream that can be cut.

use super::accept::Places;
use super::live::Registration;
use super::peer::VerifiedPeer;
use rustls::AlertDescription;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

/// A connection whose other end is verified, in its registry of open ones. It holds its place there, and in the budget of a
/// listener, until it is dropped.
pub struct Held<S> {
    io: S,
    peer: VerifiedPeer,
    registration: Registration,
    _places: Option<Places>,
    /// Set when the other end says that it lets this node in no more.
    denied: Option<Arc<AtomicBool>>,
}

/// A connection that a listener took.
pub type PeerStream = Held<TlsStream<TcpStream>>;

impl<S> Held<S> {
    pub(super) fn new(io: S, peer: VerifiedPeer, registration: Registration, places: Option<Places>) -> Held<S> {
        Held { io, peer, registration, _places: places, denied: None }
    }

    /// Sets this when the other end says that it lets this node in no more: in TLS 1.3 whoever dials hears it on the first
    /// read.
    pub(super) fn telling(mut self, denied: Arc<AtomicBool>) -> Held<S> {
        self.denied = Some(denied);
        self
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &VerifiedPeer {
        &self.peer
    }
}

impl<S> Connected for Held<S> {
    type ConnectInfo = VerifiedPeer;

    fn connect_info(&self) -> VerifiedPeer {
        self.peer.clone()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Held<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // The flag is set before the wake-up. A receiver that was ready must not be polled again.
        if this.registration.is_cut() || Pin::new(&mut this.registration.woken).poll(cx).is_ready() {
            return Poll::Ready(Err(cut()));
        }
        let read = Pin::new(&mut this.io).poll_read(cx, buf);
        if let (Poll::Ready(Err(error)), Some(denied)) = (&read, &this.denied)
            && is_denial(error)
        {
            denied.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Held<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.registration.is_cut() {
            return Poll::Ready(Err(cut()));
        }
        Pin::new(&mut this.io).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.registration.is_cut() {
            return Poll::Ready(Err(cut()));
        }
        Pin::new(&mut this.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

fn is_denial(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::AlertReceived(AlertDescription::AccessDenied)))
}

fn cut() -> io::Error {
    io::Error::new(ErrorKind::ConnectionAborted, "trusted no more, or another connection took its place")
}
