//! `hufu agency init`: authority, node keys, key ring, first officers, public descriptor.

use super::output::Out;
use crate::config::{FirstPerson, Secrecy, write_descriptor, write_file};
use crate::domain::agency::Tier;
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, FederationId, Handle};
use crate::domain::label::{Compartment, Grade};
use crate::domain::person::Role;
use crate::domain::time::{Clock, Entropy, Millis};
use crate::identity::{Authority as CertificateAuthority, certificate_facts, person_request};
use crate::ledger::{Authority, Descriptor, NodeEntry};
use crate::node::{SystemClock, SystemEntropy};
use crate::seal::{KeyRing, SigningKey};
use data_encoding::HEXLOWER;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

/// Certificates of nodes and people last this long.
const CERT_DAYS: u32 = 365;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Make an agency's authority, keys and first two officers; write its public descriptor.
    Init(Init),
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
}

pub(super) fn run(command: Command, out: &Out) -> Result<ExitCode, Fault> {
    let Command::Init(args) = command;
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

/// Makes everything under `args.dir`; returns the public descriptor.
pub(super) fn init(args: &Init, dev: bool, now: Millis, entropy: &mut dyn Entropy) -> Result<Descriptor, Fault> {
    if args.dir.read_dir().is_ok_and(|mut d| d.next().is_some()) {
        return Err(Fault::conflict("DIR_NOT_EMPTY", format!("`{}` is not empty", args.dir.display()))
            .hint("give a new folder"));
    }
    let put = |name: &str, content: &[u8], secrecy| write_file(&args.dir.join(name), content, secrecy);
    let ca = CertificateAuthority::create(&args.id, &args.federation, &args.name, now, dev)?;
    put("ca.pem", ca.certificate_pem().as_bytes(), Secrecy::Public)?;
    put("ca.key", ca.key_pem().as_bytes(), Secrecy::Private)?;

    let ring = KeyRing::create(args.ceiling, entropy)?;
    let mut secret = [0u8; 24];
    entropy.fill(&mut secret);
    let passphrase = HEXLOWER.encode(&secret);
    put("passphrase", passphrase.as_bytes(), Secrecy::Private)?;
    put("keyring", &ring.seal_file(passphrase.as_bytes(), entropy)?, Secrecy::Private)?;

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
        nodes: vec![NodeEntry { local: "1".into(), key: ring.signing_key()?.public(), place: None }],
        grade_keys,
        authorities,
    };
    descriptor.check()?;
    write_descriptor(&args.dir.join("descriptor.json"), &descriptor)?;
    Ok(descriptor)
}
