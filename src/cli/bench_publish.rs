//! `hufu bench publish`: from request to committed answer, with text that does not repeat; in calls of their own, or on one
//! stream.

use super::args::Globals;
use super::bench::{Operation, Span, connect, measure, report};
use super::bench_text::text_of;
use super::client::{Client, block_on, fault};
use super::output::Out;
use super::stream::PublishStream;
use crate::domain::fault::Fault;
use crate::domain::ids::AgreementId;
use crate::domain::label::Grade;
use crate::domain::time::Entropy;
use crate::node::SystemEntropy;
use crate::wire::pb::v1;
use crate::wire::pb::v1::records_client::RecordsClient;
use std::process::ExitCode;
use std::time::Duration;
use tonic::transport::Channel;

/// Under what records of a bench are published.
#[derive(clap::Args)]
pub(super) struct Under {
    /// Agreement under which the records are published.
    #[arg(long)]
    pub(super) agreement: AgreementId,
    /// Grade of the records: internal, confidential, secret or top-secret.
    #[arg(long, default_value = "secret")]
    pub(super) grade: Grade,
    /// none: committed; one: replicated; all: complete.
    #[arg(long, default_value = "none", value_parser = ["none", "one", "all"])]
    pub(super) wait: String,
}

#[derive(clap::Args)]
pub(super) struct Publish {
    #[command(flatten)]
    span: Span,
    /// Size of each body in bytes, up to 1 MiB.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    bytes: u32,
    #[command(flatten)]
    under: Under,
    /// All clients on one connection and one stream of publishes. A node takes 64 of them at a time.
    #[arg(long)]
    stream: bool,
}

pub(super) fn run(ask: &Publish, g: &Globals, out: &Out) -> Result<ExitCode, Fault> {
    block_on(async {
        let asking = |client: &Client| Asking {
            request: request(client, ask.under.grade, &ask.under.agreement, &ask.under.wait),
            bytes: ask.bytes,
        };
        let mut all = if ask.stream {
            let client = Client::connect(g).await?;
            let stream = PublishStream::open(client.records()).await?;
            let streaming = |_| Streaming { stream: stream.clone(), asking: asking(&client) };
            measure((0..ask.span.clients).map(streaming).collect(), ask.span.seconds).await?
        } else {
            let calling = |client: Client| Calling { records: client.records(), asking: asking(&client) };
            let clients = connect(g, ask.span.clients).await?;
            measure(clients.into_iter().map(calling).collect(), ask.span.seconds).await?
        };
        Ok(report("publish", &mut all, Duration::from_secs(ask.span.seconds), out))
    })
}

/// What all publishes of a load have in common.
pub(super) fn request(client: &Client, grade: Grade, agreement: &AgreementId, wait: &str) -> v1::PublishRequest {
    v1::PublishRequest {
        title: "演练 bench".into(),
        grade: grade.to_string(),
        agreement: agreement.to_string(),
        kind: "report".into(),
        wait: wait.to_owned(),
        wait_ms: 2000,
        timeout_ms: client.timeout_ms(),
        ..v1::PublishRequest::default()
    }
}

/// A request of its own: nothing that was asked before is answered again.
pub(super) fn fresh(request: &mut v1::PublishRequest) {
    let mut id = [0u8; 16];
    SystemEntropy.fill(&mut id);
    request.request_id = id.to_vec();
}

/// A body that does not repeat, of just so many bytes: Chinese sentences, as [`bench load`](super::bench_load) publishes them.
pub(super) fn fill(body: &mut Vec<u8>, bytes: u32) {
    let mut seed = [0; 8];
    SystemEntropy.fill(&mut seed);
    let most = bytes as usize;
    // Numbers have one byte a character, words three: never fewer than two bytes a character from the beginning of a sentence.
    let mut text = text_of(u64::from_be_bytes(seed), u64::from(bytes) / 2 + 1).into_bytes();
    // What was cut within a character ends with full stops, so that it is a text.
    text.truncate(most);
    let whole = text.utf8_chunks().map(|chunk| chunk.valid().len()).next().unwrap_or_default();
    text.truncate(whole);
    text.resize(most, b'.');
    *body = text;
}

/// What one client asks for again and again.
struct Asking {
    request: v1::PublishRequest,
    bytes: u32,
}

impl Asking {
    fn anew(&mut self) {
        fresh(&mut self.request);
        fill(&mut self.request.body, self.bytes);
    }
}

/// A call for each publish.
struct Calling {
    records: RecordsClient<Channel>,
    asking: Asking,
}

impl Operation for Calling {
    fn prepare(&mut self) {
        self.asking.anew();
    }

    async fn send(&mut self) -> Result<(), Fault> {
        self.records.publish(self.asking.request.clone()).await.map(drop).map_err(fault)
    }
}

/// All publishes on one stream.
struct Streaming {
    stream: PublishStream,
    asking: Asking,
}

impl Operation for Streaming {
    fn prepare(&mut self) {
        self.asking.anew();
    }

    async fn send(&mut self) -> Result<(), Fault> {
        self.stream.publish(self.asking.request.clone()).await.map(drop)
    }
}
