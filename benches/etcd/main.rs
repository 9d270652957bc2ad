//! Load on etcd, for `benches/compare.sh`: puts over gRPC and mutual TLS, one in flight on each connection, measured and
//! reported as `hufu bench publish` does. Of etcd's messages only what is used stands here, so no protocol file is needed.

use clap::Parser;
use hyper_util::rt::TokioIo;
use prost::Message;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic_prost::ProstCodec;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Not counted, as in `hufu bench`.
const WARM_UP: Duration = Duration::from_secs(1);
const AFTER_ERROR: Duration = Duration::from_millis(10);
const KEY_BYTES: usize = 16;

#[derive(Parser)]
struct Ask {
    /// Members as host:port, separated by commas; the connections are shared out among them.
    #[arg(long, value_delimiter = ',', required = true)]
    endpoints: Vec<String>,
    /// Authority of the members' certificates, PEM.
    #[arg(long)]
    ca: PathBuf,
    /// The client's certificate, PEM.
    #[arg(long)]
    cert: PathBuf,
    /// Its key, PEM.
    #[arg(long)]
    key: PathBuf,
    /// Connections, each with one put in flight.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// How long it is measured, in seconds.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Size of each value in bytes.
    #[arg(long, default_value_t = 1024)]
    bytes: usize,
    /// What `cargo bench` adds.
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

/// `etcdserverpb.PutRequest`.
#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `etcdserverpb.PutResponse`; its header is passed over.
#[derive(Clone, PartialEq, Message)]
struct PutResponse {}

#[derive(Default)]
struct Seen {
    micros: Vec<u128>,
    errors: u64,
    first_error: Option<String>,
}

fn main() -> Result<ExitCode, Failure> {
    let ask = Ask::parse();
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(run(&ask))
}

async fn run(ask: &Ask) -> Result<ExitCode, Failure> {
    let tls = tls(ask)?;
    let mut channels = Vec::new();
    for endpoint in ask.endpoints.iter().cycle().take(ask.clients) {
        channels.push(connect(endpoint.clone(), tls.clone()).await?);
    }
    let begin = Instant::now() + WARM_UP;
    let end = begin + Duration::from_secs(ask.seconds);
    let running: Vec<_> =
        channels.into_iter().map(|channel| tokio::spawn(one_client(channel, ask.bytes, begin, end))).collect();
    let mut all = Seen::default();
    for task in running {
        let seen = task.await??;
        all.micros.extend(seen.micros);
        all.errors += seen.errors;
        all.first_error = all.first_error.or(seen.first_error);
    }
    Ok(report(all, ask.seconds))
}

/// TLS 1.3 with the client's certificate.
fn tls(ask: &Ask) -> Result<TlsConnector, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&ask.ca)?)?;
    let chain = vec![CertificateDer::from_pem_file(&ask.cert)?];
    let key = PrivateKeyDer::from_pem_file(&ask.key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn connect(address: String, tls: TlsConnector) -> Result<Channel, Failure> {
    let host = address.split(':').next().unwrap_or_default().to_owned();
    let name = ServerName::try_from(host)?;
    let endpoint = Endpoint::from_shared(format!("https://{address}"))?;
    let connector = tower::service_fn(move |_: Uri| {
        let (address, name, tls) = (address.clone(), name.clone(), tls.clone());
        async move {
            let tcp = TcpStream::connect(address).await?;
            tcp.set_nodelay(true)?;
            Ok::<_, std::io::Error>(TokioIo::new(tls.connect(name, tcp).await?))
        }
    });
    Ok(endpoint.connect_with_connector(connector).await?)
}

async fn one_client(channel: Channel, bytes: usize, begin: Instant, end: Instant) -> Result<Seen, Failure> {
    let mut kv = Grpc::new(channel);
    let mut seen = Seen::default();
    loop {
        // A new key each time, and characters that do not repeat.
        let mut value = random(bytes)?;
        value.iter_mut().for_each(|b| *b = b' ' + *b % 94);
        let request = PutRequest { key: random(KEY_BYTES)?, value };
        let sent = Instant::now();
        let outcome = put(&mut kv, request).await;
        let now = Instant::now();
        match outcome {
            Ok(()) if sent >= begin && now < end => seen.micros.push(now.duration_since(sent).as_micros()),
            Ok(()) => {}
            Err(why) => {
                seen.errors += 1;
                seen.first_error.get_or_insert(why.to_string());
                tokio::time::sleep(AFTER_ERROR).await;
            }
        }
        if now >= end {
            return Ok(seen);
        }
    }
}

async fn put(kv: &mut Grpc<Channel>, request: PutRequest) -> Result<(), Failure> {
    kv.ready().await?;
    let codec: ProstCodec<PutRequest, PutResponse> = ProstCodec::default();
    kv.unary(tonic::Request::new(request), PathAndQuery::from_static("/etcdserverpb.KV/Put"), codec).await?;
    Ok(())
}

fn random(bytes: usize) -> Result<Vec<u8>, Failure> {
    let mut out = vec![0; bytes];
    aws_lc_rs::rand::fill(&mut out).map_err(|_| "the system gives no randomness")?;
    Ok(out)
}

fn report(mut all: Seen, seconds: u64) -> ExitCode {
    all.micros.sort_unstable();
    let n = all.micros.len();
    let ms = |per_mille: usize| {
        let at = (n * per_mille).div_ceil(1000).saturating_sub(1);
        all.micros.get(at).map_or(0.0, |us| *us as f64 / 1000.0)
    };
    let per_s = (n as f64 / seconds as f64 * 10.0).round() / 10.0;
    let line = json!({"op": "put", "ops": n, "per_s": per_s, "p50_ms": ms(500), "p99_ms": ms(990), "max_ms": ms(1000),
        "errors": all.errors});
    println!("{line}");
    if let Some(why) = &all.first_error {
        eprintln!("first error: {why}");
    }
    if all.errors == 0 && n > 0 { ExitCode::SUCCESS } else { ExitCode::from(8) }
}
