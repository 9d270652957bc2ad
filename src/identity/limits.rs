//! The gRPC limits of every listener. tonic passes `None` over hyper's own defaults, so all are set here.

use std::time::Duration;
use tonic::transport::Server;

/// Window of one stream, in bytes.
pub(super) const STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// Window of one connection, in bytes.
pub(super) const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// Largest header list, in bytes.
pub(super) const HEADER_LIST_BYTES: u32 = 16 << 10;
/// Largest frame, in bytes.
pub(super) const FRAME_BYTES: u32 = 16 << 10;
/// A ping is sent this often.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(10);
/// A ping must be answered within this time.
pub(super) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Streams reset before they were accepted, and by local errors.
const PENDING_ACCEPT_RESETS: usize = 20;
pub(super) const LOCAL_ERROR_RESETS: usize = 256;
const STREAMS: u32 = 128;
const CALLS_AT_ONCE: usize = 64;
/// Bounds a call until its answer starts; streams need their own idle limit per message. A listener whose calls wait
/// longer by design sets its own.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECTION_AGE: Duration = Duration::from_secs(3600);
/// What is under way on a connection that is too old has this long, streams included: a watch begins anew.
const CONNECTION_AGE_GRACE: Duration = Duration::from_secs(30);

/// Sets every limit on a server; call it before adding services.
pub fn harden(server: Server) -> Server {
    server
        .accept_http1(false)
        .max_concurrent_streams(STREAMS)
        .http2_max_pending_accept_reset_streams(Some(PENDING_ACCEPT_RESETS))
        .http2_max_local_error_reset_streams(Some(LOCAL_ERROR_RESETS))
        .http2_max_header_list_size(HEADER_LIST_BYTES)
        .max_frame_size(FRAME_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_adaptive_window(Some(false))
        .concurrency_limit_per_connection(CALLS_AT_ONCE)
        .load_shed(true)
        .timeout(CALL_TIMEOUT)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_connection_age(CONNECTION_AGE)
        .max_connection_age_grace(CONNECTION_AGE_GRACE)
        .tcp_nodelay(true)
}
