//! `hufu.v1.Persons`.

use super::{People, decode, refuse};
use crate::domain::fault::Fault;
use crate::identity::Person;
use crate::service::{Change, Entering};
use crate::wire::pb::v1;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl v1::persons_server::Persons for People {
    async fn add(&self, request: Request<v1::AddPersonRequest>) -> Result<Response<v1::AddPersonReply>, Status> {
        let caller = self.caller(&request)?;
        let v1::AddPersonRequest { person, csr_pem } = request.into_inner();
        let new = entering(person.unwrap_or_default()).map_err(refuse)?;
        let (person, certificate_pem) = self.core.add_person(&caller, new, &csr_pem).await.map_err(refuse)?;
        Ok(Response::new(v1::AddPersonReply { certificate_pem, person: Some(self.view(&person)) }))
    }

    async fn list(&self, request: Request<v1::ListPersonsRequest>) -> Result<Response<v1::ListPersonsReply>, Status> {
        let caller = self.caller(&request)?;
        let v1::ListPersonsRequest { name, limit, after } = request.into_inner();
        let persons = self.core.list_persons(&caller, &name).await.map_err(refuse)?;
        let (page, more) = decode::page(persons.iter().filter(|p| p.name > after), limit);
        Ok(Response::new(v1::ListPersonsReply { persons: page.into_iter().map(|p| self.view(p)).collect(), more }))
    }

    async fn change(
        &self,
        request: Request<v1::ChangePersonRequest>,
    ) -> Result<Response<v1::ChangePersonReply>, Status> {
        let caller = self.caller(&request)?;
        let (name, change) = change(request.into_inner()).map_err(refuse)?;
        let person = self.core.change_person(&caller, &name, change).await.map_err(refuse)?;
        Ok(Response::new(v1::ChangePersonReply { person: Some(self.view(&person)) }))
    }

    async fn suspend(
        &self,
        request: Request<v1::SuspendPersonRequest>,
    ) -> Result<Response<v1::SuspendPersonReply>, Status> {
        let caller = self.caller(&request)?;
        let v1::SuspendPersonRequest { name } = request.into_inner();
        let person = self.core.suspend_person(&caller, &name).await.map_err(refuse)?;
        Ok(Response::new(v1::SuspendPersonReply { person: Some(self.view(&person)) }))
    }

    async fn whoami(&self, request: Request<v1::WhoamiRequest>) -> Result<Response<v1::WhoamiReply>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(v1::WhoamiReply {
            person: Some(self.view(caller.person())),
            agency: self.core.agency.to_string(),
            federation: self.core.federation.to_string(),
        }))
    }
}

fn entering(p: v1::Person) -> Result<Entering, Fault> {
    // The node gives the handle and takes the key from the request; what a caller says of them is not read.
    let v1::Person {
        name,
        title,
        unit,
        roles,
        clearance,
        compartments,
        handle: _,
        suspended: _,
        public_key: _,
        version: _,
        ledger_hash: _,
        ledger_version: _,
        serial: _,
        salt: _,
        on_ledger: _,
        registration: _,
    } = p;
    if roles.is_empty() {
        return Err(Fault::usage("BAD_PERSON", "a person holds at least one role"));
    }
    if title.chars().count() > 200 || unit.chars().count() > 200 {
        return Err(Fault::usage("BAD_PERSON", "title and unit have at most 200 characters"));
    }
    Ok(Entering {
        name,
        title,
        unit,
        roles: decode::set(&roles)?,
        clearance: clearance.parse()?,
        compartments: decode::set(&compartments)?,
    })
}

fn change(r: v1::ChangePersonRequest) -> Result<(String, Change), Fault> {
    let v1::ChangePersonRequest {
        name,
        clearance,
        add_roles,
        remove_roles,
        add_compartments,
        remove_compartments,
        title,
        unit,
    } = r;
    if title.chars().count() > 200 || unit.chars().count() > 200 {
        return Err(Fault::usage("BAD_PERSON", "title and unit have at most 200 characters"));
    }
    let change = Change {
        clearance: decode::optional(&clearance)?,
        add_roles: decode::set(&add_roles)?,
        remove_roles: decode::set(&remove_roles)?,
        add_compartments: decode::set(&add_compartments)?,
        remove_compartments: decode::set(&remove_compartments)?,
        title: (!title.is_empty()).then_some(title),
        unit: (!unit.is_empty()).then_some(unit),
    };
    Ok((name, change))
}

impl People {
    /// An entry, and which version of it stands on the ledger.
    fn view(&self, p: &Person) -> v1::Person {
        let state = self.core.state();
        let own = state.agency(&self.core.agency);
        let entry = own.and_then(|a| a.entries.get(&p.handle).copied());
        let registered = own.and_then(|a| a.authorities.get(&p.handle)).map(|(_, suspended)| 1 + u32::from(*suspended));
        v1::Person {
            name: p.name.clone(),
            handle: p.handle.to_string(),
            title: p.title.clone(),
            unit: p.unit.clone(),
            roles: p.roles.iter().map(ToString::to_string).collect(),
            clearance: p.clearance.to_string(),
            compartments: p.compartments.iter().map(ToString::to_string).collect(),
            suspended: p.suspended,
            public_key: p.public_key.to_vec(),
            version: p.version,
            ledger_hash: p.ledger_hash().map(|h| h.to_vec()).unwrap_or_default(),
            ledger_version: entry.map_or(0, |(version, _)| version),
            serial: p.serial.clone(),
            salt: p.salt.to_vec(),
            on_ledger: entry.is_some() && entry == p.ledger_hash().map(|hash| (p.version, hash)),
            registration: registered.unwrap_or(0),
        }
    }
}
