//! What a node says of a person's certificate that it does not take.
//!
//! In TLS 1.3 a client's handshake is over before the other end has looked at its certificate: the alert comes with the first
//! read, when HTTP/2 owns the connection, which keeps no cause of a broken one. So the connection itself notes what it heard.

use super::error::IdentityError;
use rustls::AlertDescription;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// An alert in its record (RFC 8446, sections 5.1 and 6), with room to spare.
const ALERT_BYTES: usize = 64;

/// Why a node refused a person's certificate, if it did; the same for all connections of a channel, of which one that was served
/// ends what an earlier one heard.
#[derive(Debug, Clone)]
pub struct Refusal {
    address: String,
    why: Arc<Mutex<Option<&'static str>>>,
}

impl Refusal {
    /// None yet, of the node at an address.
    pub(super) fn of(address: &str) -> Refusal {
        Refusal { address: address.to_owned(), why: Arc::default() }
    }

    /// The refusal, if there was one.
    pub fn error(&self) -> Option<IdentityError> {
        let why = (*self.why.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(IdentityError::OwnCertificate { address: self.address.clone(), why })
    }

    fn hear(&self, error: &io::Error) {
        let tls = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
        let Some(rustls::Error::AlertReceived(alert)) = tls else { return };
        if let Some(why) = reason(*alert) {
            self.note(Some(why));
        }
    }

    fn note(&self, why: Option<&'static str>) {
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }
}

/// What an alert says of the certificate that was shown; none of those that are about something else.
fn reason(alert: AlertDescription) -> Option<&'static str> {
    match alert {
        AlertDescription::CertificateRevoked => Some("it is revoked"),
        AlertDescription::CertificateExpired => Some("it is expired"),
        // Also when the node must have a list of that authority and has none that counts.
        AlertDescription::UnknownCA => Some("its authority counts for nothing there, or has no list there that counts"),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRequired
        | AlertDescription::AccessDenied => Some("it is unknown"),
        _ => None,
    }
}

/// A connection that notes such an alert.
pub(super) struct Heard<S> {
    io: S,
    refusal: Refusal,
    /// Whether the node said something: it sends nothing before it has looked at the certificate.
    served: bool,
    /// Why a write failed, while what the node said before it closed is still to be read.
    ending: Option<io::Error>,
}

impl<S: AsyncRead + Unpin> Heard<S> {
    pub(super) fn new(io: S, refusal: Refusal) -> Heard<S> {
        Heard { io, refusal, served: false, ending: None }
    }

    /// What a write came to. Whoever refuses closes at once, so a write may fail before the alert is read, which came before the
    /// end: the failure is told when that was read.
    fn wrote<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match written {
            Poll::Ready(Err(error)) if !self.served => {
                self.ending = Some(error);
                self.end(cx)
            }
            written => written,
        }
    }

    fn end<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let mut rest = [0; ALERT_BYTES];
        let read = std::task::ready!(Pin::new(&mut self.io).poll_read(cx, &mut ReadBuf::new(&mut rest)));
        if let Err(error) = read {
            self.refusal.hear(&error);
        }
        Poll::Ready(Err(self.ending.take().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (this, before) = (self.get_mut(), buf.filled().len());
        let read = Pin::new(&mut this.io).poll_read(cx, buf);
        match &read {
            Poll::Ready(Err(error)) => this.refusal.hear(error),
            Poll::Ready(Ok(())) if !this.served && buf.filled().len() > before => {
                this.served = true;
                this.refusal.note(None);
            }
            _ => {}
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.ending.is_some() {
            return this.end(cx);
        }
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        this.wrote(cx, written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ending.is_some() {
            return this.end(cx);
        }
        let flushed = Pin::new(&mut this.io).poll_flush(cx);
        this.wrote(cx, flushed)
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
        if this.ending.is_some() {
            return this.end(cx);
        }
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.wrote(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;
    use crate::domain::fault::{Fault, FaultKind};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Breaks on what comes first, as TLS does with an alert behind it, which may come a little later.
    struct Broken {
        alert: Option<AlertDescription>,
        late: bool,
    }

    impl AsyncRead for Broken {
        fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let this = self.get_mut();
            if std::mem::take(&mut this.late) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(match this.alert {
                Some(alert) => Err(io::Error::new(io::ErrorKind::InvalidData, rustls::Error::AlertReceived(alert))),
                None => Err(io::ErrorKind::ConnectionReset.into()),
            })
        }
    }

    impl AsyncWrite for Broken {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn heard(alert: Option<AlertDescription>, reads: bool) -> Option<Fault> {
        let refusal = Refusal::of("127.0.0.1:1");
        let mut io = Heard::new(Broken { alert, late: true }, refusal.clone());
        assert!(if reads { io.read_u8().await.is_err() } else { io.write_u8(0).await.is_err() });
        refusal.error().map(Fault::from)
    }

    /// What fails later, fails for another reason.
    #[tokio::test]
    async fn a_node_that_serves_a_later_connection_refuses_no_more() {
        let refusal = Refusal::of("127.0.0.1:1");
        let mut first = Heard::new(Broken { alert: Some(AlertDescription::UnknownCA), late: false }, refusal.clone());
        assert!(first.read_u8().await.is_err() && refusal.error().is_some());
        let mut ended = Heard::new(&b""[..], refusal.clone());
        assert!(ended.read_u8().await.is_err() && refusal.error().is_some(), "it said nothing");
        let mut second = Heard::new(&b"\x07"[..], refusal.clone());
        assert_eq!((second.read_u8().await.unwrap(), refusal.error().is_none()), (7, true));
    }

    #[tokio::test]
    async fn a_refused_certificate_is_heard_on_a_read_and_behind_a_write_that_failed() {
        for reads in [true, false] {
            let fault = heard(Some(AlertDescription::CertificateRevoked), reads).await.unwrap();
            assert_eq!((fault.kind, fault.reason), (FaultKind::Refused, "CERTIFICATE_REFUSED"));
            assert!(fault.message.contains("revoked"), "{fault:?}");
            assert_eq!(heard(Some(AlertDescription::NoApplicationProtocol), reads).await, None, "of something else");
            assert_eq!(heard(None, reads).await, None, "a line that was cut");
        }
    }
}
