//! `hufu.toml`; `deploy/hufu.toml` is the commented reference.

use super::read_text;
use crate::domain::fault::Fault;
use crate::domain::ids::AgencyId;
use crate::domain::notice::Deadlines;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Everything a node is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Own agency.
    pub agency: AgencyId,
    /// Local id of this node, as in its certificate.
    pub node: String,
    /// Data folder.
    pub data: PathBuf,
    /// `genesis.json`, signed by every founder.
    pub genesis: PathBuf,
    /// `charter.json`, for a node that was away or is new while others vote than its log knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charter: Option<PathBuf>,
    /// The agency's certificate authority, PEM.
    pub ca: PathBuf,
    /// The authority's key, PEM; only where this node signs people's certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_key: Option<PathBuf>,
    /// This node's certificate, PEM.
    pub cert: PathBuf,
    /// Encrypted key ring: the node's key (signing and TLS) and its grade keys.
    pub keyring: PathBuf,
    /// File with the key ring's passphrase (a systemd credential, for instance).
    pub passphrase: PathBuf,
    /// The first officers, entered when the directory is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_people: Option<PathBuf>,
    /// Accept development certificates. Only `hufu demo` and tests set it.
    #[serde(default)]
    pub dev: bool,
    /// Listeners.
    pub listen: Listen,
    /// Other nodes.
    #[serde(default, rename = "peer")]
    pub peers: Vec<PeerConfig>,
    /// Raft timings.
    #[serde(default)]
    pub raft: Raft,
    /// Urgent notices.
    #[serde(default)]
    pub notices: Notices,
}

/// Urgent notices: deadlines and whom to wake. The four values of a list are flash, immediate, priority, routine.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Notices {
    /// Accepted → delivered, in seconds; later is an alarm at the sender.
    pub deliver_s: [u64; 4],
    /// Accepted → acknowledged, in seconds; later is an alarm at the sender, and wakes the duty chain at the addressee.
    pub acknowledge_s: [u64; 4],
    /// Program and arguments that wake people; it gets one JSON object on standard input, without content.
    pub command: Vec<String>,
    /// Called first when nobody acknowledges.
    pub deputy: Vec<String>,
    /// Called next.
    pub chain: Vec<String>,
    /// Called at last, for a flash.
    pub out_of_band: Vec<String>,
    /// Gets the same as the command, signed; none without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    /// Named sets of addressees: `--to @NAME`.
    pub groups: BTreeMap<String, Vec<String>>,
}

/// An HTTP endpoint that is told of notices, without content.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// `http://` on this machine, or `https://`.
    pub url: String,
    /// File with the secret that signs: HMAC-SHA-256.
    pub secret: PathBuf,
    /// Certificate authorities that an `https` endpoint is verified against, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

impl Default for Notices {
    fn default() -> Self {
        let Deadlines { deliver_ms, acknowledge_ms } = Deadlines::default();
        let (deliver_s, acknowledge_s) = (deliver_ms.map(|ms| ms / 1000), acknowledge_ms.map(|ms| ms / 1000));
        let none = Vec::new;
        Notices {
            deliver_s,
            acknowledge_s,
            command: none(),
            deputy: none(),
            chain: none(),
            out_of_band: none(),
            webhook: None,
            groups: BTreeMap::new(),
        }
    }
}

impl Notices {
    /// The deadlines in milliseconds.
    pub fn deadlines(&self) -> Deadlines {
        let ms = |s: u64| s.saturating_mul(1000);
        Deadlines { deliver_ms: self.deliver_s.map(ms), acknowledge_ms: self.acknowledge_s.map(ms) }
    }
}

/// Listeners, each with its own budget.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// People's API.
    pub people: SocketAddr,
    /// Node to node.
    pub nodes: SocketAddr,
    /// Urgent notices from other nodes.
    pub notices: SocketAddr,
    /// Whether people too must use post-quantum key exchange; without it X25519 and P-256 are taken from them.
    #[serde(default)]
    pub require_post_quantum: bool,
}

/// Another node and where it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerConfig {
    /// Its agency.
    pub agency: AgencyId,
    /// Its local id.
    pub node: String,
    /// Its node-to-node listener.
    pub address: SocketAddr,
    /// Its listener for notices.
    pub notices: SocketAddr,
}

/// Raft timings in milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raft {
    /// Heartbeat interval.
    pub heartbeat_ms: u64,
    /// Shortest election timeout.
    pub election_min_ms: u64,
    /// Longest election timeout.
    pub election_max_ms: u64,
}

impl Default for Raft {
    fn default() -> Self {
        Raft { heartbeat_ms: 250, election_min_ms: 1500, election_max_ms: 3000 }
    }
}

impl NodeConfig {
    /// Reads, resolves and checks a configuration.
    pub fn read(path: &Path) -> Result<NodeConfig, Fault> {
        let mut config: NodeConfig = toml::from_str(&read_text(path)?).map_err(|e| {
            Fault::usage("BAD_CONFIG", format!("`{}`: {}", path.display(), e.message()))
                .hint("compare with deploy/hufu.toml")
        })?;
        let base = path.parent().unwrap_or(Path::new("."));
        let paths = [
            Some(&mut config.data),
            Some(&mut config.genesis),
            Some(&mut config.ca),
            config.charter.as_mut(),
            config.ca_key.as_mut(),
            Some(&mut config.cert),
            Some(&mut config.keyring),
            Some(&mut config.passphrase),
            config.first_people.as_mut(),
        ];
        let webhook = config.notices.webhook.iter_mut().flat_map(|w| [Some(&mut w.secret), w.ca.as_mut()]);
        for p in paths.into_iter().chain(webhook).flatten() {
            *p = base.join(&*p);
        }
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), Fault> {
        let bad = |m: String| Err(Fault::usage("BAD_CONFIG", m));
        let Listen { people, nodes, notices, require_post_quantum: _ } = self.listen;
        if people == nodes || people == notices || nodes == notices {
            return bad("two of `listen.people`, `listen.nodes` and `listen.notices` are the same address".into());
        }
        let r = &self.raft;
        if r.heartbeat_ms < 10 || r.election_min_ms < 3 * r.heartbeat_ms || r.election_max_ms <= r.election_min_ms {
            return bad("raft timings: the election timeout must be at least three heartbeats, and its maximum above its minimum".into());
        }
        if self.notices.deliver_s.contains(&0) || self.notices.acknowledge_s.contains(&0) {
            return bad("a deadline of notices is at least one second".into());
        }
        for p in &self.peers {
            if p.agency == self.agency && p.node == self.node {
                return bad(format!("peer `{}/{}` is this node itself", p.agency, p.node));
            }
        }
        Ok(())
    }
}
