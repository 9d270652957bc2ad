//! The HTTP endpoint that is told of notices, without content. Each request is signed, so that the endpoint can tell the
//! node's word from anybody else's, and an old request from a new one:
//! `Hufu-Timestamp: MILLISECONDS`, `Hufu-Signature: sha256=HEX` of HMAC-SHA-256(secret, timestamp ‖ "." ‖ body).

use super::system::SystemClock;
use crate::config::{Webhook, read_text};
use crate::domain::fault::Fault;
use crate::domain::time::Clock;
use crate::identity::HttpsDial;
use crate::seal::signature_of;
use data_encoding::HEXLOWER;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

/// Shortest secret, in bytes.
const SECRET_BYTES: usize = 16;

/// Sends to one endpoint.
pub(super) struct WebhookSender {
    uri: Uri,
    host: String,
    port: u16,
    tls: Option<HttpsDial>,
    secret: Zeroizing<Vec<u8>>,
}

impl WebhookSender {
    /// Checks the address and reads secret and authorities.
    pub(super) fn new(config: &Webhook) -> Result<WebhookSender, Fault> {
        let bad = |why: &str| Fault::usage("BAD_CONFIG", format!("webhook `{}`: {why}", config.url));
        let uri: Uri = config.url.parse().map_err(|_| bad("it is no URL"))?;
        let host = uri.host().ok_or_else(|| bad("it names no host"))?.trim_matches(['[', ']']).to_owned();
        let local = host == "localhost" || host.parse().is_ok_and(|a: std::net::IpAddr| a.is_loopback());
        let (tls, port) = match (uri.scheme_str(), &config.ca) {
            (Some("https"), Some(ca)) => (Some(HttpsDial::new(&host, &read_text(ca)?)?), 443),
            (Some("https"), None) => {
                return Err(bad("`ca` names the authorities that the endpoint is verified against"));
            }
            (Some("http"), _) if local => (None, 80),
            (Some("http"), _) => return Err(bad("`http` goes no further than this machine; use `https` with `ca`")),
            _ => return Err(bad("it is neither `http` nor `https`")),
        };
        let secret = Zeroizing::new(read_text(&config.secret)?.trim_end().as_bytes().to_vec());
        if secret.len() < SECRET_BYTES {
            return Err(bad("its secret has fewer than 16 bytes"));
        }
        Ok(WebhookSender { host, port: uri.port_u16().unwrap_or(port), uri, tls, secret })
    }

    /// One request; anything but a 2xx answer is an error, in words.
    pub(super) async fn post(&self, line: &str) -> Result<(), String> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|e| e.to_string())?;
        match &self.tls {
            None => self.send(tcp, line).await,
            Some(tls) => self.send(tls.connect(tcp).await.map_err(|e| e.to_string())?, line).await,
        }
    }

    async fn send(&self, io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, line: &str) -> Result<(), String> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(|e| e.to_string())?;
        let driver = tokio::spawn(connection);
        let time = SystemClock.now().0.to_string();
        let mac = signature_of(&self.secret, &[time.as_bytes(), b".", line.as_bytes()]);
        let path = self.uri.path_and_query().map_or("/", |p| p.as_str());
        let request = Request::post(path)
            .header(HOST, self.uri.authority().map_or(self.host.as_str(), |a| a.as_str()))
            .header(CONTENT_TYPE, "application/json")
            .header("Hufu-Timestamp", time)
            .header("Hufu-Signature", format!("sha256={}", HEXLOWER.encode(&mac)))
            .body(Full::new(Bytes::copy_from_slice(line.as_bytes())))
            .map_err(|e| e.to_string())?;
        let answer = sender.send_request(request).await.map_err(|e| e.to_string());
        driver.abort();
        let status = answer?.status();
        if status.is_success() { Ok(()) } else { Err(format!("it answered {status}")) }
    }
}
