//! The agency's people: entered, shown and suspended by its security officers.

use super::core::Core;
use super::door::{Act, Caller};
use crate::audit::{Action as AuditAction, Object};
use crate::domain::fault::Fault;
use crate::domain::ids::Handle;
use crate::domain::label::{Compartment, Grade};
use crate::domain::person::Role;
use crate::identity::{Person, certificate_facts};
use crate::policy::{Action, Resource};
use std::collections::BTreeSet;

/// Certificates of people last this long, in days.
const CERT_DAYS: u32 = 365;

/// Whom an officer enters.
pub struct Entering {
    /// Name inside the agency.
    pub name: String,
    /// Title.
    pub title: String,
    /// Unit.
    pub unit: String,
    /// Roles.
    pub roles: BTreeSet<Role>,
    /// Clearance.
    pub clearance: Grade,
    /// Compartments.
    pub compartments: BTreeSet<Compartment>,
}

impl Entering {
    /// What the audit log says of it.
    fn words(&self) -> String {
        let roles: String = self.roles.iter().map(|r| format!(" +{r}")).collect();
        let compartments: String = self.compartments.iter().map(|c| format!(" +{c}")).collect();
        format!("add {} to {}{roles}{compartments}", self.name, self.clearance)
    }
}

/// What an officer changes of a person; what is empty stays.
pub struct Change {
    /// New clearance.
    pub clearance: Option<Grade>,
    /// Roles given.
    pub add_roles: BTreeSet<Role>,
    /// Roles taken.
    pub remove_roles: BTreeSet<Role>,
    /// Compartments given.
    pub add_compartments: BTreeSet<Compartment>,
    /// Compartments taken.
    pub remove_compartments: BTreeSet<Compartment>,
    /// New title.
    pub title: Option<String>,
    /// New unit.
    pub unit: Option<String>,
}

impl Change {
    /// What the audit log says of it.
    fn words(&self, name: &str) -> String {
        let list = |sign: char, all: Vec<String>| all.iter().map(|x| format!(" {sign}{x}")).collect::<String>();
        let texts = |all: &BTreeSet<Compartment>| all.iter().map(ToString::to_string).collect();
        let roles = |all: &BTreeSet<Role>| all.iter().map(ToString::to_string).collect();
        format!(
            "change {name}{}{}{}{}{}",
            self.clearance.map(|g| format!(" to {g}")).unwrap_or_default(),
            list('+', roles(&self.add_roles)),
            list('-', roles(&self.remove_roles)),
            list('+', texts(&self.add_compartments)),
            list('-', texts(&self.remove_compartments)),
        )
    }
}

impl Core {
    /// Signs a request and enters the person; durable when it answers.
    pub async fn add_person(&self, caller: &Caller, new: Entering, csr_pem: &str) -> Result<(Person, String), Fault> {
        let what = new.words();
        self.person_act(caller, Action::PersonAdd, &what, self.enter(new, csr_pem)).await
    }

    async fn enter(&self, new: Entering, csr_pem: &str) -> Result<(Person, String), Fault> {
        let state = self.state();
        let ceiling = state.agency(&self.agency).map_or(Grade::Internal, |a| a.ceiling());
        if new.clearance > ceiling {
            return Err(Fault::refused("ABOVE_CEILING", format!("your agency's ceiling is {ceiling}"))
                .hint("a clearance above the ceiling could never be used here"));
        }
        let authority = self.authority.as_ref().ok_or_else(|| {
            Fault::unavailable("NO_AUTHORITY_KEY", "this node does not hold the agency's certificate authority")
                .hint("sign the request where `ca_key` is configured")
        })?;
        if self.directory.by_name(&new.name).is_some() {
            let why = format!("`{}` is in the directory already", new.name);
            return Err(Fault::conflict("EXISTS", why).hint(format!(
                "a name is given once, and stays with whoever was suspended: use another, e.g. `{}-2`",
                new.name
            )));
        }
        let pem = authority.issue_person(csr_pem, &new.name, self.clock.now(), CERT_DAYS)?;
        let facts = certificate_facts(&pem)?;
        let person = Person {
            name: new.name,
            handle: Handle::from_bytes(self.random()),
            title: new.title,
            unit: new.unit,
            roles: new.roles,
            clearance: new.clearance,
            compartments: new.compartments,
            public_key: facts.public_key,
            serial: facts.serial,
            suspended: false,
            version: 1,
            salt: self.random(),
        };
        self.directory.put(person.clone(), 0).await?;
        Ok((person, pem))
    }

    /// The directory, or one entry of it.
    pub async fn list_persons(&self, caller: &Caller, name: &str) -> Result<Vec<Person>, Fault> {
        let look = async {
            if name.is_empty() {
                return Ok(self.directory.list());
            }
            Ok(vec![self.directory.by_name(name).ok_or_else(Fault::not_found)?])
        };
        self.person_act(caller, Action::PersonList, format!("list {name}").trim_end(), look).await
    }

    /// Changes clearance, roles and compartments; durable, and in force at the next call. A role that signs acts
    /// (P1) counts only once two officers registered the key on the ledger ([`Core::caller`]), which this does not do.
    pub async fn change_person(&self, caller: &Caller, name: &str, change: Change) -> Result<Person, Fault> {
        let what = change.words(name);
        self.person_act(caller, Action::PersonAdd, &what, self.change(caller, name, change)).await
    }

    async fn change(&self, caller: &Caller, name: &str, change: Change) -> Result<Person, Fault> {
        if caller.person().name == name {
            return Err(Fault::refused("NOT_ALLOWED", "nobody changes his own entry").hint("another officer does it"));
        }
        let mut person = self.directory.by_name(name).ok_or_else(Fault::not_found)?;
        let state = self.state();
        // What stands on the ledger is changed there, by two officers, or not at all (P1). A role whose key was never
        // registered stands in the directory alone.
        let own = state.agency(&self.agency);
        let registered = own.and_then(|a| a.authorities.get(&person.handle)).map(|(authority, _)| &authority.roles);
        let is_bound = |role: &Role| match registered {
            Some(roles) if change.remove_roles.contains(role) => roles.contains(role),
            Some(roles) => !roles.contains(role),
            None => false,
        };
        let mut signing = change.add_roles.iter().chain(&change.remove_roles).filter(|r| r.has_authority());
        if let Some(role) = signing.find(|r| is_bound(r)) {
            let why = format!("`{role}` signs acts; its key stands on the ledger");
            return Err(Fault::refused("NOT_ALLOWED", why).hint(format!(
                "suspend the person and enter the same one under another name, e.g. `{name}-2`; two officers sign that"
            )));
        }
        let ceiling = state.agency(&self.agency).map_or(Grade::Internal, |a| a.ceiling());
        if change.clearance.is_some_and(|c| c > ceiling) {
            return Err(Fault::refused("ABOVE_CEILING", format!("your agency's ceiling is {ceiling}"))
                .hint("a clearance above the ceiling could never be used here"));
        }
        let Change { clearance, add_roles, remove_roles, add_compartments, remove_compartments, title, unit } = change;
        person.clearance = clearance.unwrap_or(person.clearance);
        person.roles.extend(add_roles);
        person.roles.retain(|r| !remove_roles.contains(r));
        person.compartments.extend(add_compartments);
        person.compartments.retain(|c| !remove_compartments.contains(c));
        person.title = title.unwrap_or(person.title);
        person.unit = unit.unwrap_or(person.unit);
        if person.roles.is_empty() {
            return Err(
                Fault::usage("BAD_PERSON", "a person holds at least one role").hint("suspend the person instead")
            );
        }
        let seen = person.version;
        person.salt = self.random();
        Ok(self.directory.put(person, seen).await?)
    }

    /// Takes access away: durable, and in force at the next call.
    pub async fn suspend_person(&self, caller: &Caller, name: &str) -> Result<Person, Fault> {
        let suspend = async {
            if caller.person().name == name {
                return Err(Fault::refused("NOT_ALLOWED", "nobody suspends himself").hint("another officer does it"));
            }
            self.directory.by_name(name).ok_or_else(Fault::not_found)?;
            self.directory.suspend(name, self.random()).await?;
            self.directory.by_name(name).ok_or_else(Fault::not_found)
        };
        self.person_act(caller, Action::PersonSuspend, &format!("suspend {name}"), suspend).await
    }

    async fn person_act<T>(
        &self,
        caller: &Caller,
        action: Action,
        what: &str,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let act = Act {
            action,
            audit: AuditAction::PersonAdmin,
            object: Object::Text(what.chars().take(200).collect()),
            label: None,
            purpose: "",
            origin: None,
            request: self.random(),
        };
        self.through(caller, act, Resource::Agency(self.agency.clone()), work).await
    }
}
