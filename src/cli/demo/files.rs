//! The demo's folder: agencies, genesis, configurations, profiles of the first officers.

use crate::cli::agency::{At, Init, init};
use crate::cli::federation::{draw_up, sign};
use crate::cli::output::Out;
use crate::config::{
    Listen, Load, LogForm, LogLevel, NodeConfig, Notices, PeerConfig, Profile, Raft, Secrecy, read_text, write_file,
    write_genesis,
};
use crate::domain::agency::Tier;
use crate::domain::fault::Fault;
use crate::domain::ids::AgencyId;
use crate::domain::label::Grade;
use crate::domain::time::Clock;
use crate::node::SystemEntropy;
use crate::seal::SigningKey;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

/// One agency of the demo.
pub(super) struct DemoAgency {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) ceiling: Grade,
    pub(super) votes: bool,
    pub(super) border_ops: bool,
}

/// The four, in port order.
pub(super) const AGENCIES: [DemoAgency; 4] = [
    DemoAgency { id: "police", name: "公安 Police", ceiling: Grade::TopSecret, votes: true, border_ops: true },
    DemoAgency {
        id: "state-security",
        name: "国安 State Security",
        ceiling: Grade::TopSecret,
        votes: true,
        border_ops: false,
    },
    DemoAgency { id: "customs", name: "海关 Customs", ceiling: Grade::Secret, votes: true, border_ops: true },
    DemoAgency {
        id: "cyberspace",
        name: "网信 Cyberspace",
        ceiling: Grade::Confidential,
        votes: false,
        border_ops: false,
    },
];

/// Where a node's metrics are, above its first port; the one before is the console's.
const METRICS: u16 = 4;

const MARKER: &str = ".hufu-demo.json";

#[derive(Serialize, Deserialize)]
struct Marker {
    port_base: u16,
    peopled: bool,
}

/// Where everything is.
pub(super) struct Plan {
    pub(super) dir: PathBuf,
    port_base: u16,
    peopled: bool,
}

impl Plan {
    pub(super) fn ready(&self) -> PathBuf {
        self.dir.join("ready")
    }

    pub(super) fn node_dir(&self, agency: &str) -> PathBuf {
        self.dir.join("nodes").join(agency)
    }

    pub(super) fn profile(&self, agency: &str, persona: &str) -> PathBuf {
        self.dir.join("profiles").join(format!("{agency}-{persona}.toml"))
    }

    pub(super) fn peopled(&self) -> bool {
        self.peopled
    }

    pub(super) fn mark_peopled(&self) -> Result<(), Fault> {
        write_marker(&self.dir, &Marker { port_base: self.port_base, peopled: true })
    }

    /// Writes a person's key, certificate and profile.
    pub(super) fn write_person(&self, agency: &str, persona: &str, key: &str, cert: &str) -> Result<(), Fault> {
        let folder = self.dir.join("people").join(agency);
        write_file(&folder.join(format!("{persona}.key")), key.as_bytes(), Secrecy::Private)?;
        write_file(&folder.join(format!("{persona}.pem")), cert.as_bytes(), Secrecy::Public)?;
        let index = AGENCIES.iter().position(|a| a.id == agency).unwrap_or_default();
        let profile = Profile {
            endpoint: format!("https://{}", address(self.port_base, index, 0)),
            ca: PathBuf::from(format!("../nodes/{agency}/ca.pem")),
            cert: PathBuf::from(format!("../people/{agency}/{persona}.pem")),
            key: PathBuf::from(format!("../people/{agency}/{persona}.key")),
            name: persona.into(),
        };
        let text = toml::to_string(&profile).map_err(|e| Fault::internal("ENCODE", e.to_string()))?;
        write_file(&self.profile(agency, persona), text.as_bytes(), Secrecy::Public)
    }
}

/// Makes the folder, or takes up an earlier demo's on its own ports.
pub(super) fn prepare(dir: &Path, port_base: u16, clock: &dyn Clock, out: &Out) -> Result<Plan, Fault> {
    let io = |e: std::io::Error| Fault::usage("BAD_DIR", format!("cannot use `{}`: {e}", dir.display()));
    std::fs::create_dir_all(dir).map_err(io)?;
    let dir = dir.canonicalize().map_err(io)?;
    if dir.join(MARKER).exists() {
        let marker: Marker = serde_json::from_str(&read_text(&dir.join(MARKER))?)
            .map_err(|e| Fault::usage("BAD_DIR", format!("`{}` holds a damaged demo: {e}", dir.display())))?;
        check_ports(marker.port_base).map_err(|f| {
            f.hint(format!(
                "this demo keeps its ports ({} and up): stop it, its nodes that were started by hand, or whatever listens there",
                marker.port_base
            ))
        })?;
        if !marker.peopled {
            // Stopped before it was ready: nobody has put anything into it, so what the demo made is made again.
            out.progress(out.say("先前的演练未完成，重新开始。", "the earlier demo was never ready; it is made anew"));
            for made in ["nodes", "people", "profiles"] {
                remove_dir(&dir.join(made)).map_err(io)?;
            }
            return begin(dir, marker.port_base, clock);
        }
        out.progress(out.say("继续先前的演练。", "taking up the earlier demo"));
        let _ = std::fs::remove_file(dir.join("ready"));
        return Ok(Plan { dir, port_base: marker.port_base, peopled: true });
    }
    if dir.read_dir().map_err(io)?.next().is_some() {
        return Err(Fault::conflict("DIR_NOT_EMPTY", format!("`{}` is neither empty nor a demo's", dir.display()))
            .hint("give another --dir"));
    }
    if port_base > u16::MAX - 40 {
        return Err(Fault::usage("BAD_PORT", "the port base is too high: the demo needs 35 ports above it"));
    }
    check_ports(port_base)?;
    begin(dir, port_base, clock)
}

fn remove_dir(dir: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn begin(dir: PathBuf, port_base: u16, clock: &dyn Clock) -> Result<Plan, Fault> {
    let plan = Plan { dir, port_base, peopled: false };
    write_marker(&plan.dir, &Marker { port_base, peopled: false })?;
    make(&plan, clock)?;
    Ok(plan)
}

fn make(plan: &Plan, clock: &dyn Clock) -> Result<(), Fault> {
    let mut descriptors = Vec::new();
    for a in &AGENCIES {
        let args = Init {
            id: a.id.parse()?,
            name: a.name.into(),
            tier: Tier::Provincial,
            ceiling: a.ceiling,
            compartments: if a.border_ops { vec!["border-ops".parse()?] } else { Vec::new() },
            federation: "hufu-demo".parse()?,
            dir: plan.node_dir(a.id),
            place: At::default(),
        };
        descriptors.push(init(&args, true, clock.now(), &mut SystemEntropy)?);
        for officer in ["officer", "officer-2"] {
            let read = |ext: &str| read_text(&plan.node_dir(a.id).join(format!("people/{officer}.{ext}")));
            plan.write_person(a.id, officer, &read("key")?, &read("pem")?)?;
        }
    }
    let voters = AGENCIES.iter().filter(|a| a.votes).map(|a| a.id.parse()).collect::<Result<_, Fault>>()?;
    let mut genesis = draw_up(descriptors, None, Some(voters), clock.now())?;
    for a in &AGENCIES {
        let pem = read_text(&plan.dir.join("people").join(a.id).join("officer.key"))?;
        sign(&mut genesis, &SigningKey::from_pkcs8_pem(&pem)?)?;
    }
    write_genesis(&plan.dir.join("genesis.json"), &genesis)?;
    for (i, a) in AGENCIES.iter().enumerate() {
        let text =
            toml::to_string(&config(plan, i, a.id.parse()?)?).map_err(|e| Fault::internal("ENCODE", e.to_string()))?;
        write_file(&plan.node_dir(a.id).join("hufu.toml"), text.as_bytes(), Secrecy::Public)?;
    }
    Ok(())
}

fn config(plan: &Plan, index: usize, agency: AgencyId) -> Result<NodeConfig, Fault> {
    let peers = AGENCIES
        .iter()
        .enumerate()
        .filter(|(i, _)| *i != index)
        .map(|(i, a)| {
            Ok(PeerConfig {
                agency: a.id.parse()?,
                node: "1".into(),
                address: address(plan.port_base, i, 1),
                notices: address(plan.port_base, i, 2),
            })
        })
        .collect::<Result<_, Fault>>()?;
    Ok(NodeConfig {
        agency,
        node: "1".into(),
        data: "data".into(),
        genesis: "../../genesis.json".into(),
        charter: None,
        ca: "ca.pem".into(),
        ca_key: Some("ca.key".into()),
        cert: "node.pem".into(),
        keyring: "keyring".into(),
        passphrase: "passphrase".into(),
        first_people: Some("people.json".into()),
        log: LogForm::default(),
        log_level: LogLevel::default(),
        dev: true,
        listen: Listen {
            people: address(plan.port_base, index, 0),
            nodes: address(plan.port_base, index, 1),
            notices: address(plan.port_base, index, 2),
            metrics: Some(address(plan.port_base, index, METRICS)),
            metrics_beyond_loopback: false,
            require_post_quantum: false,
        },
        crl: Default::default(),
        peers,
        raft: Raft::default(),
        notices: Notices::default(),
        load: Load::default(),
    })
}

fn address(base: u16, index: usize, offset: u16) -> SocketAddr {
    let node = u16::try_from(index).unwrap_or(u16::MAX).saturating_mul(10);
    SocketAddr::from((Ipv4Addr::LOCALHOST, base.saturating_add(node).saturating_add(offset)))
}

fn check_ports(base: u16) -> Result<(), Fault> {
    for i in 0..AGENCIES.len() {
        for offset in [0, 1, 2, METRICS] {
            let a = address(base, i, offset);
            TcpListener::bind(a).map_err(|e| {
                Fault::conflict("PORT_IN_USE", format!("cannot listen on {a}: {e}"))
                    .hint("give another --port-base, or stop what listens there")
            })?;
        }
    }
    Ok(())
}

fn write_marker(dir: &Path, marker: &Marker) -> Result<(), Fault> {
    let text = serde_json::to_string(marker).map_err(|e| Fault::internal("ENCODE", e.to_string()))?;
    write_file(&dir.join(MARKER), text.as_bytes(), Secrecy::Public)
}
