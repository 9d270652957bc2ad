//! `hufu.toml`; `deploy/hufu.toml` is the commented reference.

use super::read_text;
use crate::domain::fault::Fault;
use crate::domain::ids::AgencyId;
use crate::domain::notice::Deadlines;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Keys that a running node takes from a changed configuration; any other one needs a restart.
pub const CHANGEABLE: [&str; 6] =
    ["cert", "crl", "notices.groups", "notices.deputy", "notices.chain", "notices.out_of_band"];

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
    /// Form of the log on standard error.
    #[serde(default)]
    pub log: LogForm,
    /// How much of Hufu's own is logged; the environment's `HUFU_LOG` comes first.
    #[serde(default)]
    pub log_level: LogLevel,
    /// Accept development certificates. Only `hufu demo` and tests set it.
    #[serde(default)]
    pub dev: bool,
    /// Listeners.
    pub listen: Listen,
    /// Files with agencies' revocation lists, PEM. The certificates of an agency that stands here count only with a list.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub crl: BTreeMap<AgencyId, PathBuf>,
    /// Other nodes.
    #[serde(default, rename = "peer")]
    pub peers: Vec<PeerConfig>,
    /// Raft timings.
    #[serde(default)]
    pub raft: Raft,
    /// Urgent notices.
    #[serde(default)]
    pub notices: Notices,
    /// How much is done at once.
    #[serde(default)]
    pub load: Load,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogForm {
    /// A line for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged: this, and what is more severe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What somebody must look at.
    Error,
    /// What may become that.
    Warn,
    /// What happened.
    #[default]
    Info,
    /// Why something is tried again.
    Debug,
    /// Everything.
    Trace,
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
    /// Figures and health for machines, without anybody's name or content, over plain HTTP; none without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<SocketAddr>,
    /// Lets `metrics` be an address that other machines reach: whoever does reads how much is shared with whom, and how
    /// urgent it is.
    #[serde(default)]
    pub metrics_beyond_loopback: bool,
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

/// How much is done at once, and in how much memory. Each call of people takes up to about 8 MiB while it is under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Load {
    /// Calls of people at once that publish, open, search or audit; and as many others.
    pub calls: u32,
    /// Of these, calls of one person.
    pub calls_per_person: u32,
    /// Memory of the process in MiB above which nothing is taken in that would stay in it; three quarters of what the machine,
    /// or the control group, has by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
}

/// More calls than this are no bound.
const CALLS_MOST: u32 = 4_096;

impl Default for Load {
    fn default() -> Self {
        Load { calls: 256, calls_per_person: 128, memory_mib: None }
    }
}

impl Load {
    /// The bound of the memory in bytes, where one is set.
    pub fn memory_bytes(&self) -> Option<u64> {
        self.memory_mib.map(|mib| mib.saturating_mul(1 << 20))
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
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        for p in paths.into_iter().chain(webhook).flatten().chain(config.crl.values_mut()) {
            *p = resolved(p, base, credentials.as_deref());
        }
        config.check()?;
        Ok(config)
    }

    /// Keys in which a configuration differs from this one.
    ///
    /// # Errors
    /// When one of them cannot be written as TOML.
    pub fn changes(&self, next: &NodeConfig) -> Result<Vec<String>, Fault> {
        let table = |c: &NodeConfig| toml::Table::try_from(c).map_err(|e| Fault::internal("ENCODE", e.to_string()));
        let mut keys = Vec::new();
        differing("", &table(self)?, &table(next)?, &mut keys);
        Ok(keys)
    }

    fn check(&self) -> Result<(), Fault> {
        let bad = |m: String| Err(Fault::usage("BAD_CONFIG", m));
        let Listen { people, nodes, notices, metrics, metrics_beyond_loopback, require_post_quantum: _ } = self.listen;
        let mut addresses: Vec<SocketAddr> = [people, nodes, notices].into_iter().chain(metrics).collect();
        addresses.sort_unstable();
        if addresses.windows(2).any(|two| two.first() == two.last()) {
            return bad("two of the addresses under `listen` are the same".into());
        }
        let remote = metrics.filter(|m| !m.ip().to_canonical().is_loopback());
        if let Some(address) = remote.filter(|_| !metrics_beyond_loopback) {
            let why = format!("`listen.metrics` {address} is reachable from other machines, without TLS");
            let hint = "use 127.0.0.1, or set `metrics_beyond_loopback = true` on a network of its own";
            return Err(Fault::usage("BAD_CONFIG", why).hint(hint));
        }
        let r = &self.raft;
        if r.heartbeat_ms < 10 || r.election_min_ms < 3 * r.heartbeat_ms || r.election_max_ms <= r.election_min_ms {
            return bad("raft timings: the election timeout must be at least three heartbeats, and its maximum above its minimum".into());
        }
        if self.notices.deliver_s.contains(&0) || self.notices.acknowledge_s.contains(&0) {
            return bad("a deadline of notices is at least one second".into());
        }
        let Load { calls, calls_per_person, memory_mib } = self.load;
        if calls_per_person == 0 || calls_per_person > calls || calls > CALLS_MOST {
            return bad(format!("load: 1 <= calls_per_person <= calls <= {CALLS_MOST}"));
        }
        if memory_mib == Some(0) {
            return bad(
                "load: `memory_mib` is at least 1; without it a node takes three quarters of what there is".into()
            );
        }
        for p in &self.peers {
            if p.agency == self.agency && p.node == self.node {
                return bad(format!("peer `{}/{}` is this node itself", p.agency, p.node));
            }
        }
        Ok(())
    }
}

/// Names of the keys that differ, those inside a section as `section.key`.
fn differing(section: &str, a: &toml::Table, b: &toml::Table, found: &mut Vec<String>) {
    let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for key in keys {
        let name = if section.is_empty() { key.clone() } else { format!("{section}.{key}") };
        match (a.get(key), b.get(key)) {
            (x, y) if x == y => {}
            (Some(toml::Value::Table(x)), Some(toml::Value::Table(y))) if !CHANGEABLE.contains(&name.as_str()) => {
                differing(&name, x, y, found);
            }
            _ => found.push(name),
        }
    }
}

/// A path of the configuration: relative to its folder, or `credential:NAME` for what the service manager hands over in
/// `$CREDENTIALS_DIRECTORY`. Without that the words stay, and whoever reads the file says that it is not there.
fn resolved(path: &Path, base: &Path, credentials: Option<&Path>) -> PathBuf {
    let name = path.to_str().and_then(|p| p.strip_prefix("credential:"));
    match (name.filter(|n| !n.is_empty() && !n.contains('/') && *n != "." && *n != ".."), credentials) {
        (Some(name), Some(folder)) => folder.join(name),
        (Some(_), None) => path.to_owned(),
        (None, _) => base.join(path),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    const REFERENCE: &str = include_str!("../../deploy/hufu.toml");

    fn read(text: &str) -> Result<NodeConfig, Fault> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hufu.toml");
        std::fs::write(&file, text).unwrap();
        NodeConfig::read(&file)
    }

    #[test]
    fn what_differs_is_named_by_its_key() {
        let reference = read(REFERENCE).unwrap();
        assert!(reference.changes(&read(REFERENCE).unwrap()).unwrap().is_empty());
        let changed = |from: &str, to: &str| {
            let text = REFERENCE.replacen(from, to, 1);
            assert_ne!(text, REFERENCE, "`{from}` stands there");
            reference.changes(&read(&text).unwrap()).unwrap()
        };
        assert_eq!(changed("10.0.0.5:7000", "10.0.0.5:7009"), ["listen.people"]);
        assert_eq!(changed("heartbeat_ms = 250", "heartbeat_ms = 300"), ["raft.heartbeat_ms"]);
        assert_eq!(changed("10.0.0.6:7001", "10.0.0.8:7001"), ["peer"]);
        assert_eq!(changed("/etc/hufu/node.pem", "/etc/hufu/node-2.pem"), ["cert"]);
        assert_eq!(changed("# [crl]", "[crl]\npolice = \"p.pem\"\n#"), ["crl"]);
        let notices = "[notices]\nchain = [\"li\"]\ndeliver_s = [9, 30, 300, 3600]\n#";
        assert_eq!(changed("# [notices]", notices), ["notices.chain", "notices.deliver_s"]);
    }

    #[test]
    fn every_changeable_key_is_one() {
        let mut next = read(REFERENCE).unwrap();
        let now = next.clone();
        next.cert = "other.pem".into();
        next.crl.insert("police".parse().unwrap(), "police.pem".into());
        next.notices.groups.insert("border".into(), vec!["police".into()]);
        next.notices.deputy.push("li".into());
        next.notices.chain.push("wang".into());
        next.notices.out_of_band.push("+86".into());
        let mut changes = now.changes(&next).unwrap();
        changes.sort_unstable();
        let mut changeable = CHANGEABLE;
        changeable.sort_unstable();
        assert_eq!(changes, changeable);
    }

    #[test]
    fn lists_are_found_beside_the_file() {
        let text = REFERENCE.replacen("# [crl]", "[crl]\npolice = \"crl/police.pem\"\n#", 1);
        let config = read(&text).unwrap();
        let file = config.crl.values().next().unwrap();
        assert!(file.is_absolute() && file.ends_with("crl/police.pem"), "{file:?}");
        assert!(read(&text.replacen("police =", "Police =", 1)).is_err());
    }

    #[test]
    fn the_reference_configuration_is_one() {
        let config = read(REFERENCE).unwrap();
        assert_eq!(config.listen.metrics.unwrap().port(), 7004);
        assert_eq!((config.log, config.log_level), (LogForm::Text, LogLevel::Info));
        // What is commented out there is right too: a comment of a whole line that holds a key and its value.
        let is_setting = |l: &str| l.contains(" = ") || l.starts_with('[');
        let lines = REFERENCE.lines().map(|l| l.strip_prefix("# ").filter(|l| is_setting(l)).unwrap_or(l));
        let all: Vec<&str> = lines.collect();
        let config = read(&all.join("\n")).unwrap();
        assert!(config.ca_key.is_some() && config.notices.webhook.is_some() && config.listen.require_post_quantum);
    }

    #[test]
    fn load_is_bounded() {
        let with = |calls: u32, own: u32| {
            read(&REFERENCE.replacen("# [load]", &format!("[load]\ncalls = {calls}\ncalls_per_person = {own}\n#"), 1))
        };
        assert_eq!(with(64, 64).unwrap().load.calls, 64);
        for (calls, own) in [(64, 65), (64, 0), (0, 0), (CALLS_MOST + 1, 1)] {
            assert_eq!(with(calls, own).unwrap_err().reason, "BAD_CONFIG", "{calls} {own}");
        }
        let memory = |mib: u64| read(&REFERENCE.replacen("# [load]", &format!("[load]\nmemory_mib = {mib}\n#"), 1));
        assert_eq!(memory(2_048).unwrap().load.memory_bytes(), Some(2 << 30));
        assert_eq!(memory(0).unwrap_err().reason, "BAD_CONFIG");
        assert_eq!(read(REFERENCE).unwrap().load.memory_bytes(), None);
    }

    #[test]
    fn metrics_stay_on_the_machine_unless_told_otherwise() {
        let with = |address: &str, more: &str| {
            read(&REFERENCE.replace("metrics = \"127.0.0.1:7004\"", &format!("metrics = \"{address}\"\n{more}")))
        };
        for local in ["127.0.0.1:7", "127.8.0.1:7", "[::1]:7", "[::ffff:127.0.0.1]:7"] {
            with(local, "").unwrap();
        }
        for remote in ["10.0.0.5:7", "0.0.0.0:7", "[::]:7"] {
            assert_eq!(with(remote, "").unwrap_err().reason, "BAD_CONFIG");
            with(remote, "metrics_beyond_loopback = true").unwrap();
        }
        let people = "10.0.0.5:7000";
        assert!(with(people, "metrics_beyond_loopback = true").unwrap_err().message.contains("the same"));
    }

    #[test]
    fn credentials_come_from_the_service_manager() {
        let (base, given) = (Path::new("/etc/hufu"), Some(Path::new("/run/credentials/hufu.service")));
        let at = |path: &str, credentials| resolved(Path::new(path), base, credentials);
        assert_eq!(at("credential:passphrase", given), Path::new("/run/credentials/hufu.service/passphrase"));
        assert_eq!(at("credential:passphrase", None), Path::new("credential:passphrase"));
        assert_eq!(at("keyring", given), Path::new("/etc/hufu/keyring"));
        assert_eq!(at("/else", given), Path::new("/else"));
        for no_name in ["credential:../x", "credential:..", "credential:"] {
            assert!(at(no_name, given).starts_with(base), "{no_name}");
        }
    }
}
