//! `hufu agency init|add-node`: authority, node keys, key ring, first officers, public descriptor; further nodes.

use super::output::Out;
use super::revocation;
use crate::config::{FirstPerson, Secrecy, read_descriptor, read_text, write_descriptor, write_file, write_node};
use crate::domain::agency::Tier;
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, FederationId, Handle};
use crate::domain::label::{Compartment, Grade};
use crate::domain::person::Role;
use crate::domain::time::{Clock, Entropy, Millis};
use crate::identity::{Authority as CertificateAuthority, certificate_facts, person_request};
use crate::ledger::{Act, Authority, Descriptor, NodeEntry, Place};
use crate::node::{SystemClock, SystemEntropy};
use crate::seal::{KeyRing, SigningKey};
use data_encoding::HEXLOWER;
use serde_json::json;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Certificates of nodes and people last this long.
const CERT_DAYS: u32 = 365;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Make an agency's authority, keys and first two officers; write its public descriptor.
    Init(Init),
    /// Revoke certificates of nodes and people: the authority signs a new list, crl.pem.
    Revoke(revocation::Revoke),
    /// Sign the revocation list again before it is over; the first one is empty.
    Crl(revocation::List),
    /// Issue the node's certificate anew, for the same key; a running node takes it by itself.
    Renew(revocation::Renew),
    /// Issue people's certificates anew, for the same keys, by the authority that is in the folder now.
    RenewPerson(revocation::RenewPerson),
    /// Make the authority that is to take the place of this one. Officers of other agencies let it in beside this one with `hufu
    /// federation trust-root`; certificates are issued anew; then they let it stand alone.
    NewCa(revocation::NewCa),
    /// Make keys and certificate of another node of the agency; its officers then run `hufu cluster add-node`.
    AddNode(AddNode),
}

#[derive(clap::Args)]
pub(super) struct Init {
    /// Short name, e.g. customs.
    #[arg(long)]
    pub(super) id: AgencyId,
    /// Display name.
    #[arg(long)]
    pub(super) name: String,
    /// national, provincial, city or county.
    #[arg(long)]
    pub(super) tier: Tier,
    /// Highest grade that its nodes may hold.
    #[arg(long)]
    pub(super) ceiling: Grade,
    /// Compartment that its nodes may hold; may be given several times.
    #[arg(long = "compartment")]
    pub(super) compartments: Vec<Compartment>,
    /// Federation that its certificates name.
    #[arg(long, default_value = "hufu")]
    pub(super) federation: FederationId,
    /// Where to write; must be empty or absent.
    #[arg(long)]
    pub(super) dir: PathBuf,
    #[command(flatten)]
    pub(super) place: At,
}

/// Where a node will be. The ledger then tells the others, who need no `[[peer]]` for it.
#[derive(clap::Args, Clone, Copy, Default)]
pub(super) struct At {
    /// Address at which other nodes reach it, e.g. 10.0.0.5:7001.
    #[arg(long, requires = "notices_at")]
    nodes_at: Option<SocketAddr>,
    /// Address at which other nodes bring it notices.
    #[arg(long, requires = "nodes_at")]
    notices_at: Option<SocketAddr>,
}

impl At {
    fn place(self) -> Option<Place> {
        Some(Place { nodes: self.nodes_at?, notices: self.notices_at? })
    }
}

#[derive(clap::Args)]
pub(super) struct AddNode {
    /// The agency's folder, as `agency init` made it.
    #[arg(long)]
    from: PathBuf,
    /// Local id of the new node: one that the agency never used, e.g. 2.
    #[arg(long)]
    id: String,
    /// Where to write; must be empty or absent.
    #[arg(long)]
    dir: PathBuf,
    #[command(flatten)]
    place: At,
}

pub(super) fn run(command: Command, out: &Out) -> Result<ExitCode, Fault> {
    let args = match command {
        Command::Init(args) => args,
        Command::Revoke(args) => return revocation::revoke(&args, out),
        Command::Crl(args) => return revocation::renew_list(&args, out),
        Command::Renew(args) => return revocation::renew(&args, out),
        Command::RenewPerson(args) => return revocation::renew_person(&args, out),
        Command::NewCa(args) => return revocation::new_ca(&args, out),
        Command::AddNode(args) => return add_node(&args, out),
    };
    let made = init(&args, false, SystemClock.now(), &mut SystemEntropy)?;
    let json = json!({
        "agency": made.agency, "dir": args.dir, "descriptor": args.dir.join("descriptor.json"),
        "officers": made.authorities.iter().map(|a| a.handle).collect::<Vec<_>>(),
    });
    out.answer(&json, || {
        format!(
            "{}\n  descriptor.json  {}\n  ca.key, keyring, passphrase, people/*.key  {}",
            out.say("机构已就绪。", "The agency is ready."),
            out.say("公开，交给发起人", "public: give it to whoever draws up the genesis"),
            out.say("保密：钥匙属于各人与本机构", "secret: they belong to the persons and the agency alone")
        )
    });
    Ok(ExitCode::SUCCESS)
}

/// Makes a node with the agency's grade keys, a signing key of its own, and what its officers sign (P22).
fn add_node(args: &AddNode, out: &Out) -> Result<ExitCode, Fault> {
    refuse_full(&args.dir)?;
    let (now, mut entropy) = (SystemClock.now(), SystemEntropy);
    let descriptor = read_descriptor(&args.from.join("descriptor.json"))?;
    let read = |name: &str| read_text(&args.from.join(name));
    let ca = CertificateAuthority::from_pem(&read("ca.pem")?, &read("ca.key")?)?;
    let sealed = std::fs::read(args.from.join("keyring"))
        .map_err(|e| Fault::usage("UNREADABLE_FILE", format!("cannot read `keyring` of the agency's folder: {e}")))?;
    let first = KeyRing::open_file(&sealed, read("passphrase")?.trim_end().as_bytes())?;
    let ring = first.for_another_node(&mut entropy)?;
    let pem = ring.signing_key()?.to_pkcs8_pem()?;
    let certificate = ca.issue_node(&args.id, &pem, now, CERT_DAYS)?;
    let put = |name: &str, content: &[u8], secrecy| write_file(&args.dir.join(name), content, secrecy);
    put("ca.pem", ca.certificate_pem().as_bytes(), Secrecy::Public)?;
    put("node.pem", certificate.as_bytes(), Secrecy::Public)?;
    put("people.json", read("people.json")?.as_bytes(), Secrecy::Private)?;
    put_ring(&args.dir, &ring, &mut entropy)?;
    let node = NodeEntry { local: args.id.clone(), key: ring.signing_key()?.public(), place: None };
    let file = args.dir.join("node.json");
    write_node(&file, &Act::AddNode { agency: descriptor.agency.clone(), node, place: args.place.place() })?;
    out.answer(&json!({"agency": descriptor.agency, "node": args.id, "dir": args.dir, "file": file}), || {
        out.say(
            "节点已就绪。请本机构两名保密员执行 `hufu cluster add-node node.json`。",
            "The node is ready. Two officers of the agency run `hufu cluster add-node node.json`.",
        )
        .to_owned()
    });
    Ok(ExitCode::SUCCESS)
}

fn refuse_full(dir: &Path) -> Result<(), Fault> {
    if dir.read_dir().is_ok_and(|mut d| d.next().is_some()) {
        return Err(
            Fault::conflict("DIR_NOT_EMPTY", format!("`{}` is not empty", dir.display())).hint("give a new folder")
        );
    }
    Ok(())
}

/// The key ring under a new passphrase.
fn put_ring(dir: &Path, ring: &KeyRing, entropy: &mut dyn Entropy) -> Result<(), Fault> {
    let mut secret = [0u8; 24];
    entropy.fill(&mut secret);
    let passphrase = HEXLOWER.encode(&secret);
    write_file(&dir.join("passphrase"), passphrase.as_bytes(), Secrecy::Private)?;
    write_file(&dir.join("keyring"), &ring.seal_file(passphrase.as_bytes(), entropy)?, Secrecy::Private)
}

/// Makes everything under `args.dir`; returns the public descriptor.
pub(super) fn init(args: &Init, dev: bool, now: Millis, entropy: &mut dyn Entropy) -> Result<Descriptor, Fault> {
    refuse_full(&args.dir)?;
    let put = |name: &str, content: &[u8], secrecy| write_file(&args.dir.join(name), content, secrecy);
    let ca = CertificateAuthority::create(&args.id, &args.federation, &args.name, now, dev)?;
    put("ca.pem", ca.certificate_pem().as_bytes(), Secrecy::Public)?;
    put("ca.key", ca.key_pem().as_bytes(), Secrecy::Private)?;

    let ring = KeyRing::create(args.ceiling, entropy)?;
    put_ring(&args.dir, &ring, entropy)?;

    // The certificate's key is the ledger's signing key; it lies in the key ring only.
    let node_pem = ring.signing_key()?.to_pkcs8_pem()?;
    put("node.pem", ca.issue_node("1", &node_pem, now, CERT_DAYS)?.as_bytes(), Secrecy::Public)?;

    let mut people = Vec::new();
    let mut authorities = Vec::new();
    for (name, title) in [("officer", "保密员 security officer"), ("officer-2", "副保密员 deputy security officer")]
    {
        let (csr, key) = person_request(name, &args.id, &args.federation)?;
        let certificate = ca.issue_person(&csr, name, now, CERT_DAYS)?;
        put(&format!("people/{name}.key"), key.as_bytes(), Secrecy::Private)?;
        put(&format!("people/{name}.pem"), certificate.as_bytes(), Secrecy::Public)?;
        let mut bytes = [0u8; 16];
        entropy.fill(&mut bytes);
        let handle = Handle::from_bytes(bytes);
        let roles: BTreeSet<Role> = [Role::SecurityOfficer].into();
        let key = SigningKey::from_pkcs8_pem(&key)?.public();
        authorities.push(Authority { handle, roles: roles.clone(), key });
        people.push(FirstPerson {
            name: name.into(),
            handle,
            title: title.into(),
            roles,
            clearance: args.ceiling,
            compartments: args.compartments.iter().cloned().collect(),
            certificate,
        });
    }
    let text = serde_json::to_string_pretty(&people).map_err(|e| Fault::internal("ENCODE", e.to_string()))?;
    put("people.json", text.as_bytes(), Secrecy::Private)?;

    let grade_keys = Grade::ALL
        .into_iter()
        .filter(|g| *g <= args.ceiling)
        .map(|g| ring.grade_public(g))
        .collect::<Result<Vec<_>, _>>()?;
    let descriptor = Descriptor {
        agency: args.id.clone(),
        federation: args.federation.clone(),
        name: args.name.clone(),
        tier: args.tier,
        ceiling: args.ceiling,
        compartments: args.compartments.iter().cloned().collect(),
        root: certificate_facts(ca.certificate_pem())?.der,
        nodes: vec![NodeEntry { local: "1".into(), key: ring.signing_key()?.public(), place: args.place.place() }],
        grade_keys,
        authorities,
    };
    descriptor.check()?;
    write_descriptor(&args.dir.join("descriptor.json"), &descriptor)?;
    Ok(descriptor)
}
