//! `hufu person request|add|approve|list|show|change|suspend`.
//!
//! Each change of an entry is followed by its salted hash on the ledger, under the officer's signature (P1). The change
//! itself needs no quorum: without a leader it is in force, the command ends with 5, and `person approve` brings the hash.

use super::act::Signer;
use super::args::Globals;
use super::client::{Client, block_on, fault};
use super::output::Out;
use crate::config::{Secrecy, read_text, write_file};
use crate::domain::fault::{Fault, FaultKind};
use crate::domain::ids::{AgencyId, FederationId};
use crate::domain::label::{Compartment, Grade};
use crate::domain::person::Role;
use crate::identity::{Person, person_request};
use crate::ledger::{Act, Authority};
use crate::seal::PublicKey;
use crate::wire::pb::v1;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

/// Versions of a registration: one that counts, and one that does not.
const REGISTERED: u32 = 1;
const SUSPENDED: u32 = 2;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Make a key and a certificate request where the person is.
    Request {
        /// Name inside the agency.
        name: String,
        /// Own agency.
        #[arg(long)]
        agency: AgencyId,
        /// Name of the federation.
        #[arg(long, default_value = "hufu")]
        federation: FederationId,
        /// Where to write NAME.csr and NAME.key.
        #[arg(long, default_value = ".")]
        dir: PathBuf,
    },
    /// Sign a request and enter the person (security officer).
    Add {
        /// Name inside the agency, as in the request.
        name: String,
        /// The certificate request, NAME.csr.
        #[arg(long)]
        csr: PathBuf,
        /// Role; may be given several times.
        #[arg(long = "role", required = true)]
        roles: Vec<Role>,
        /// Highest grade that the person may see.
        #[arg(long)]
        clearance: Grade,
        /// Compartment held; may be given several times.
        #[arg(long = "compartment")]
        compartments: Vec<Compartment>,
        /// Title for people to read, at most 200 characters.
        #[arg(long, default_value = "")]
        title: String,
        /// Unit, at most 200 characters.
        #[arg(long, default_value = "")]
        unit: String,
        /// Where to write the certificate.
        #[arg(long)]
        out: PathBuf,
    },
    /// Sign for an entry: its hash on the ledger, and as second officer the key of one who signs acts.
    Approve {
        /// Name inside the agency.
        name: String,
    },
    /// The agency's people, by name.
    List {
        /// Most lines, 1 to 1000.
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// Continue after the person of this name.
        #[arg(long, value_name = "NAME")]
        after: Option<String>,
    },
    /// One person.
    Show {
        /// Name inside the agency.
        name: String,
    },
    /// Change clearance, roles, compartments, title or unit, from the next call on (security officer).
    Change(Box<ChangeArgs>),
    /// Take access away, from the next call on (security officer).
    Suspend {
        /// Name inside the agency.
        name: String,
    },
}

#[derive(clap::Args)]
pub(super) struct ChangeArgs {
    /// Name inside the agency.
    name: String,
    /// New clearance.
    #[arg(long)]
    clearance: Option<Grade>,
    /// Role to give; may be given several times.
    #[arg(long = "add-role")]
    add_roles: Vec<Role>,
    /// Role to take; may be given several times.
    #[arg(long = "remove-role")]
    remove_roles: Vec<Role>,
    /// Compartment to give; may be given several times.
    #[arg(long = "add-compartment")]
    add_compartments: Vec<Compartment>,
    /// Compartment to take; may be given several times.
    #[arg(long = "remove-compartment")]
    remove_compartments: Vec<Compartment>,
    /// New title.
    #[arg(long)]
    title: Option<String>,
    /// New unit.
    #[arg(long)]
    unit: Option<String>,
}

/// What an officer enters.
pub(super) struct NewPerson {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) unit: String,
    pub(super) roles: BTreeSet<Role>,
    pub(super) clearance: Grade,
    pub(super) compartments: BTreeSet<Compartment>,
}

pub(super) fn run(command: Command, g: &Globals, out: &Out) -> Result<ExitCode, Fault> {
    if let Command::Request { name, agency, federation, dir } = &command {
        let (csr, key) = person_request(name, agency, federation)?;
        let (csr_file, key_file) = (dir.join(format!("{name}.csr")), dir.join(format!("{name}.key")));
        // A key that is overwritten is lost, and with it the certificate and every signature to come.
        if let Some(there) = [&key_file, &csr_file].into_iter().find(|f| f.exists()) {
            return Err(Fault::conflict("EXISTS", format!("`{}` is there already", there.display()))
                .hint("give another --dir, or move the earlier request away"));
        }
        write_file(&key_file, key.as_bytes(), Secrecy::Private)?;
        write_file(&csr_file, csr.as_bytes(), Secrecy::Public)?;
        out.answer(&json!({"csr": csr_file, "key": key_file}), || {
            format!("{}\n{}", csr_file.display(), key_file.display())
        });
        return Ok(ExitCode::SUCCESS);
    }
    block_on(async {
        let client = Client::connect(g).await?;
        match command {
            Command::Request { .. } => {}
            Command::Add { name, csr, roles, clearance, compartments, title, unit, out: file } => {
                let new = NewPerson {
                    name,
                    title,
                    unit,
                    roles: roles.into_iter().collect(),
                    clearance,
                    compartments: compartments.into_iter().collect(),
                };
                let reply = add(&client, &new, &read_text(&csr)?).await?;
                write_file(&file, reply.certificate_pem.as_bytes(), Secrecy::Public)?;
                let person = reply.person.as_ref().map(view).unwrap_or_default();
                out.answer(&json!({"person": person, "certificate": file}), || file.display().to_string());
            }
            Command::Approve { name } => {
                let (state, index) = approve(&client, &name).await?;
                out.answer(&json!({"name": name, "state": state, "index": index}), || {
                    format!("{name}: {}", out.word(&state))
                });
            }
            Command::List { limit, after } => {
                let after = after.unwrap_or_default();
                let request = v1::ListPersonsRequest { name: String::new(), limit, after };
                let r = client.persons().list(request).await.map_err(fault)?.into_inner();
                let rows: Vec<_> = r.persons.iter().map(view).collect();
                out.table(
                    &["name", "roles", "clearance", "compartments", "unit", "suspended", "ledger", "handle"],
                    &rows,
                );
                out.goes_on(r.more, r.persons.last().map(|p| p.name.as_str()));
            }
            Command::Show { name } => {
                let person = show(&client, &name).await?;
                out.details(&view(&person), HEADINGS);
            }
            Command::Change(c) => {
                let request = v1::ChangePersonRequest {
                    name: c.name.clone(),
                    clearance: c.clearance.map(|g| g.to_string()).unwrap_or_default(),
                    add_roles: c.add_roles.iter().map(ToString::to_string).collect(),
                    remove_roles: c.remove_roles.iter().map(ToString::to_string).collect(),
                    add_compartments: c.add_compartments.iter().map(ToString::to_string).collect(),
                    remove_compartments: c.remove_compartments.iter().map(ToString::to_string).collect(),
                    title: c.title.clone().unwrap_or_default(),
                    unit: c.unit.clone().unwrap_or_default(),
                };
                if request == (v1::ChangePersonRequest { name: c.name.clone(), ..v1::ChangePersonRequest::default() }) {
                    return Err(Fault::usage("USAGE", "nothing to change").hint("see `hufu person change --help`"));
                }
                let r = client.persons().change(request).await.map_err(fault)?.into_inner();
                let changed = r.person.unwrap_or_default();
                commit_entry(&client, &Signer::of(&client).await?, &changed).await?;
                let person = view(&show(&client, &c.name).await?);
                if c.add_roles.iter().any(|r| r.has_authority()) {
                    out.progress(out.say(
                        "签署职权行为的角色还须由两名保密员在账本登记：hufu person approve",
                        "a role that signs acts must also be registered on the ledger by two officers: hufu person approve",
                    ));
                }
                out.details(&person, HEADINGS);
            }
            Command::Suspend { name } => {
                let before = show(&client, &name).await?;
                let r = client
                    .persons()
                    .suspend(v1::SuspendPersonRequest { name: name.clone() })
                    .await
                    .map_err(fault)?
                    .into_inner();
                let signer = Signer::of(&client).await?;
                let after = r.person.unwrap_or_default();
                let hashed = commit_entry(&client, &signer, &after).await;
                // A person whose key stands on the ledger, or waits to, loses it there too.
                let signs = before.roles.iter().any(|r| r.parse::<Role>().is_ok_and(Role::has_authority));
                if after.registration == REGISTERED || signs && after.registration < SUSPENDED {
                    let act = Act::Suspend { agency: signer.agency.clone(), handle: before.handle.parse()? };
                    signer.submit(&client, &act, REGISTERED).await.map_err(pending)?;
                }
                hashed?;
                let person = view(&show(&client, &name).await?);
                out.answer(&person, || format!("{} {name}", out.say("已停用", "suspended")));
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Enters a person; the first officer's signature for those who sign acts goes with it.
pub(super) async fn add(client: &Client, new: &NewPerson, csr_pem: &str) -> Result<v1::AddPersonReply, Fault> {
    let person = v1::Person {
        name: new.name.clone(),
        title: new.title.clone(),
        unit: new.unit.clone(),
        roles: new.roles.iter().map(ToString::to_string).collect(),
        clearance: new.clearance.to_string(),
        compartments: new.compartments.iter().map(ToString::to_string).collect(),
        ..v1::Person::default()
    };
    let request = v1::AddPersonRequest { person: Some(person), csr_pem: csr_pem.to_owned() };
    let reply = client.persons().add(request).await.map_err(fault)?.into_inner();
    let entered = reply.person.clone().unwrap_or_default();
    let (clearance, roles) = (entered.clearance.parse::<Grade>()?, parsed(&entered.roles)?);
    if clearance != new.clearance || roles != new.roles || parsed(&entered.compartments)? != new.compartments {
        return Err(Fault::integrity("INTEGRITY", "the node entered something else than it was asked to")
            .hint("look at the entry with `hufu person show`, and suspend it"));
    }
    approve(client, &new.name).await?;
    Ok(reply)
}

/// The directory was changed and the ledger not yet.
fn pending(fault: Fault) -> Fault {
    if fault.kind != FaultKind::Unavailable {
        return fault;
    }
    fault.hint("the change is in force at your own node; repeat the command when there is a leader, for the ledger")
}

/// Puts the salted hash of an entry on the ledger, unless it stands there (P1). None when it does.
async fn commit_entry(client: &Client, signer: &Signer, p: &v1::Person) -> Result<Option<(String, u64)>, Fault> {
    let Some(hash) = entry(p)?.ledger_hash() else { return Ok(None) };
    if p.on_ledger {
        return Ok(None);
    }
    if p.ledger_hash != hash || p.ledger_version >= p.version {
        return Err(Fault::integrity("INTEGRITY", format!("the entry of `{}` is not the one that was signed", p.name))
            .hint(
                "the node's directory was changed or restored behind its officers' backs; compare it with a backup",
            ));
    }
    let (agency, handle) = (signer.agency.clone(), p.handle.parse()?);
    let act = Act::Entry { agency, handle, version: p.version, hash };
    signer.submit(client, &act, p.ledger_version).await.map(Some).map_err(pending)
}

/// The entry as the node shows it: what an officer signs is computed from what an officer reads.
fn entry(p: &v1::Person) -> Result<Person, Fault> {
    let wrong = |_| Fault::internal("INTERNAL", "the node shows an entry without key or salt");
    Ok(Person {
        name: p.name.clone(),
        handle: p.handle.parse()?,
        title: p.title.clone(),
        unit: p.unit.clone(),
        roles: parsed(&p.roles)?,
        clearance: p.clearance.parse()?,
        compartments: parsed(&p.compartments)?,
        public_key: p.public_key.as_slice().try_into().map_err(wrong)?,
        serial: p.serial.clone(),
        suspended: p.suspended,
        version: p.version,
        salt: p.salt.as_slice().try_into().map_err(wrong)?,
    })
}

fn parsed<T: std::str::FromStr<Err = Fault> + Ord>(words: &[String]) -> Result<BTreeSet<T>, Fault> {
    words.iter().map(|w| w.parse()).collect()
}

/// Signs the hash of an entry, and the registration of a person who signs acts (P1).
pub(super) async fn approve(client: &Client, name: &str) -> Result<(String, u64), Fault> {
    let person = show(client, name).await?;
    let signer = Signer::of(client).await?;
    let entry = commit_entry(client, &signer, &person).await?;
    let key: [u8; 32] =
        person.public_key.as_slice().try_into().map_err(|_| Fault::internal("INTERNAL", "the node gave no key"))?;
    let roles: BTreeSet<Role> = parsed::<Role>(&person.roles)?.into_iter().filter(|r| r.has_authority()).collect();
    if roles.is_empty() || person.suspended {
        return entry.ok_or_else(|| {
            Fault::conflict("APPROVED", format!("the entry of `{name}` stands on the ledger and needs nothing more"))
        });
    }
    let authority = Authority { handle: person.handle.parse()?, roles, key: PublicKey::from_bytes(key) };
    signer.submit(client, &Act::Register { agency: signer.agency.clone(), authority }, 0).await
}

async fn show(client: &Client, name: &str) -> Result<v1::Person, Fault> {
    let request = v1::ListPersonsRequest { name: name.to_owned(), ..v1::ListPersonsRequest::default() };
    client
        .persons()
        .list(request)
        .await
        .map_err(fault)?
        .into_inner()
        .persons
        .into_iter()
        .next()
        .ok_or_else(Fault::not_found)
}

/// Chinese headings of a person's own: records have titles of another kind.
const HEADINGS: &[(&str, &str)] = &[("title", "职务")];

fn view(p: &v1::Person) -> Value {
    json!({"name": p.name, "handle": p.handle, "title": p.title, "unit": p.unit, "roles": p.roles,
        "clearance": p.clearance, "compartments": p.compartments, "suspended": p.suspended, "version": p.version,
        "ledger": p.on_ledger})
}
