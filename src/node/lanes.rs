//! The listener of notices: one port, and behind it a server for each precedence, which the handshake chooses.
//!
//! Connections, calls and their memory are each server's own: a flood of routine letters fills what is routine's. So is what
//! one agency may use of a server, and there is a reserve for each. Handshakes come before anybody knows who calls and what
//! for, and are bounded together: in number, for each address, and in time. Threads and the journal are one.

use super::assemble::{cannot_listen, told};
use crate::api::{Budgeted, PostServices, Shares};
use crate::domain::fault::Fault;
use crate::domain::notice::Precedence;
use crate::identity::{Acceptor, LaneLimits, Limits, Live, Protocol, ServerTls, harden};
use crate::notice::LETTER_BYTES;
use crate::wire::pb::peer::post_server::PostServer;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::Server;

/// Whoever dials gives up after 0.8 s.
const HANDSHAKES: Limits = Limits { connections: 256, per_address: 64, handshake_ms: 1_500 };
/// A peer's node has two connections of each precedence; those whose line died stay open for some seconds.
const CONNECTIONS: LaneLimits = LaneLimits { connections: 512, per_agency: 16 };
/// Calls of one connection.
const STREAMS: u32 = 64;
/// A letter fits, and the windows of a connection are what it may hold unread: 256 KiB.
const STREAM_WINDOW_BYTES: u32 = 144 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 256 << 10;
/// The sealed content, the header and the signature.
const LETTER_MESSAGE_BYTES: usize = LETTER_BYTES + (4 << 10);
/// All receipts of a letter.
const RECEIPTS_MESSAGE_BYTES: usize = 2 * LETTER_BYTES;
/// 32 MiB for letters of one precedence, for each agency as many as one connection carries, and four in reserve.
const SHARES: Shares = Shares {
    call_bytes: LETTER_MESSAGE_BYTES,
    all_bytes: 32 << 20,
    agency_bytes: 64 * LETTER_MESSAGE_BYTES,
    reserved_bytes: 4 * LETTER_MESSAGE_BYTES,
};
/// A relay waits for the addressee, at most 4 s.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The servers of notices.
pub(super) struct Lanes {
    /// Their open connections.
    pub(super) live: Vec<Live>,
    pub(super) servers: Vec<JoinHandle<Result<(), tonic::transport::Error>>>,
}

/// What is spoken on the port.
pub(super) fn protocols() -> Vec<Protocol> {
    Precedence::ALL.iter().map(|p| Protocol::Letters(*p)).collect()
}

/// Binds and starts to serve, on the current runtime; `tls` speaks the [`protocols`].
pub(super) async fn serve(
    address: SocketAddr,
    tls: ServerTls,
    post: PostServices,
    stopped: watch::Receiver<bool>,
) -> Result<Lanes, Fault> {
    let lanes: Vec<(Protocol, LaneLimits)> = protocols().into_iter().map(|p| (p, CONNECTIONS)).collect();
    let acceptors = Acceptor::bind_lanes(address, tls, HANDSHAKES, &lanes).await;
    let acceptors = acceptors.map_err(|e| cannot_listen(address, &e))?;
    let live = acceptors.iter().map(Acceptor::live).collect();
    let start = |acceptor: Acceptor| {
        let service = PostServer::new(post.clone())
            .max_decoding_message_size(LETTER_MESSAGE_BYTES)
            .max_encoding_message_size(RECEIPTS_MESSAGE_BYTES);
        let router = harden(Server::builder())
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .timeout(CALL_TIMEOUT)
            .add_service(Budgeted::new(service, SHARES));
        tokio::spawn(router.serve_with_incoming_shutdown(acceptor, told(stopped.clone())))
    };
    let servers = acceptors.into_iter().map(start).collect();
    Ok(Lanes { live, servers })
}
