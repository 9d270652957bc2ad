//! A connection to the own agency's node, and how its answers become faults.

use super::args::Globals;
use crate::config::{Profile, read_text};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::AgencyId;
use crate::identity::{PersonDial, Refusal, dial_as_person};
use crate::wire::fault_of;
use crate::wire::pb::v1;
use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};
use tonic::transport::Channel;

/// Largest answer with a page of a list, in bytes: what a node answers at most.
const LIST_BYTES: usize = 16 << 20;

/// A profile in use.
pub(super) struct Client {
    channel: Channel,
    pub(super) profile: Profile,
    pub(super) agency: AgencyId,
    pub(super) timeout: Duration,
}

impl Client {
    /// Connects with the profile of the command line.
    pub(super) async fn connect(g: &Globals) -> Result<Client, Fault> {
        let path = g.profile.as_ref().ok_or_else(|| {
            Fault::usage("NO_PROFILE", "no profile given").hint("use --profile FILE or set HUFU_PROFILE")
        })?;
        let (mut client, refusal) = dial(path, Duration::from_secs(u64::from(g.timeout))).await?;
        g.connected(refusal);
        // What is read from here on is as new as this moment, whatever the command.
        if g.fresh {
            let asked = Instant::now();
            let barrier = v1::BarrierRequest { timeout_ms: client.timeout_ms() };
            client.cluster().barrier(barrier).await.map_err(fault)?;
            // The command has what is left of the time that it was given.
            client.timeout = client.timeout.saturating_sub(asked.elapsed());
        }
        Ok(client)
    }

    /// Connects with a given profile.
    pub(super) async fn with(path: &Path, timeout: Duration) -> Result<Client, Fault> {
        dial(path, timeout).await.map(|(client, _)| client)
    }

    /// Milliseconds to wait for a leader. None at all is the node's default, so who asked for no wait says a short one.
    pub(super) fn timeout_ms(&self) -> u32 {
        u32::try_from(self.timeout.as_millis()).unwrap_or(u32::MAX).max(1)
    }

    pub(super) fn federation(&self) -> v1::federation_client::FederationClient<Channel> {
        v1::federation_client::FederationClient::new(self.channel.clone()).max_decoding_message_size(LIST_BYTES)
    }

    pub(super) fn persons(&self) -> v1::persons_client::PersonsClient<Channel> {
        v1::persons_client::PersonsClient::new(self.channel.clone()).max_decoding_message_size(LIST_BYTES)
    }

    pub(super) fn records(&self) -> v1::records_client::RecordsClient<Channel> {
        v1::records_client::RecordsClient::new(self.channel.clone())
            .max_decoding_message_size(8 << 20)
            .max_encoding_message_size(8 << 20)
    }

    pub(super) fn audit(&self) -> v1::audit_client::AuditClient<Channel> {
        v1::audit_client::AuditClient::new(self.channel.clone()).max_decoding_message_size(8 << 20)
    }

    pub(super) fn policy(&self) -> v1::policy_client::PolicyClient<Channel> {
        v1::policy_client::PolicyClient::new(self.channel.clone())
    }

    pub(super) fn notices(&self) -> v1::notices_client::NoticesClient<Channel> {
        v1::notices_client::NoticesClient::new(self.channel.clone()).max_decoding_message_size(64 << 20)
    }

    pub(super) fn cluster(&self) -> v1::cluster_client::ClusterClient<Channel> {
        v1::cluster_client::ClusterClient::new(self.channel.clone())
    }
}

async fn dial(path: &Path, timeout: Duration) -> Result<(Client, Refusal), Fault> {
    let profile = Profile::read(path)?;
    let (ca, cert, key) = (read_text(&profile.ca)?, read_text(&profile.cert)?, read_text(&profile.key)?);
    let PersonDial { channel, agency, refusal } = dial_as_person(profile.address(), &ca, &cert, &key).await?;
    Ok((Client { channel, profile, agency, timeout }, refusal))
}

/// A refused call as a fault.
pub(super) fn fault(status: tonic::Status) -> Fault {
    fault_of(&status)
}

/// Runs a command's future on a small runtime.
pub(super) fn block_on<T>(f: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Fault::new(FaultKind::Internal, "RUNTIME", e.to_string()))?
        .block_on(f)
}

/// The same on this very thread, for the demo.
pub(super) fn block_on_here<T>(f: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Fault::new(FaultKind::Internal, "RUNTIME", e.to_string()))?
        .block_on(f)
}
