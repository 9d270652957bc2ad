//! A question in Cedar's terms. Every request and entity is checked against the schema.

use super::question::{Question, Resource, Subject};
use crate::domain::canon::Writer;
use crate::domain::ids::AgencyId;
use crate::domain::label::{Caveat, Clearance};
use crate::seal::digest;
use cedar_policy as cp;
use std::str::FromStr;

/// A request with the entities it speaks of.
pub(super) struct Asked {
    pub request: cp::Request,
    pub entities: cp::Entities,
}

/// Translates; the error is a text for the log, and a denial.
pub(super) fn translate(q: &Question, schema: &cp::Schema) -> Result<Asked, String> {
    let person = person(q)?;
    let resource = resource(q)?;
    let action = uid("Action", q.action.as_str())?;
    let context =
        cp::Context::from_pairs([("purposeChars".to_owned(), cp::RestrictedExpression::new_long(q.purpose_chars()))])
            .map_err(text)?;
    let request = cp::Request::new(person.uid(), action, resource.uid(), context, Some(schema)).map_err(text)?;
    let entities = cp::Entities::from_entities([person, resource], Some(schema)).map_err(text)?;
    Ok(Asked { request, entities })
}

/// A digest of all that [`translate`] reads: questions with one name have one translation.
pub(super) fn name(q: &Question) -> [u8; 32] {
    let mut w = Writer::bare();
    w.str(q.action.as_str()).str(&q.purpose_chars().to_string());
    let Subject { agency, name, roles, clearance: Clearance { grade, .. }, suspended } = &q.subject;
    w.value(agency).str(name).value(grade).flag(*suspended).list(roles.iter(), |w, role| {
        w.value(role);
    });
    match &q.resource {
        Resource::Record { label, .. } => {
            let flag = |c: Caveat| label.caveats.contains(&c);
            w.u8(0).value(&label.originator).flag(q.own()).value(&label.grade);
            w.flag(flag(Caveat::Orcon)).flag(flag(Caveat::TwoHalves))
        }
        Resource::Audit { agency } => w.u8(1).value(agency),
        Resource::Agency(agency) => w.u8(2).value(agency),
        Resource::None => w.u8(3),
    };
    digest("hufu.policy.question", &[&w.finish()])
}

fn person(q: &Question) -> Result<cp::Entity, String> {
    let subject = &q.subject;
    let roles = subject.roles.iter().map(|r| uid("Role", r.as_str())).collect::<Result<Vec<_>, _>>()?;
    let attributes = [
        ("agency".to_owned(), agency(&subject.agency)?),
        ("grade".to_owned(), cp::RestrictedExpression::new_long(i64::from(subject.clearance.grade as u8))),
        ("suspended".to_owned(), cp::RestrictedExpression::new_bool(subject.suspended)),
    ];
    let name = format!("{}/{}", subject.agency, subject.name);
    cp::Entity::new_with_tags(uid("Person", &name)?, attributes, roles, []).map_err(text)
}

fn resource(q: &Question) -> Result<cp::Entity, String> {
    match &q.resource {
        Resource::Record { label, .. } => {
            let flag = |c: Caveat| cp::RestrictedExpression::new_bool(label.caveats.contains(&c));
            let attributes = [
                ("originator".to_owned(), agency(&label.originator)?),
                ("own".to_owned(), cp::RestrictedExpression::new_bool(q.own())),
                ("grade".to_owned(), cp::RestrictedExpression::new_long(i64::from(label.grade as u8))),
                ("orcon".to_owned(), flag(Caveat::Orcon)),
                ("twoHalves".to_owned(), flag(Caveat::TwoHalves)),
            ];
            // Policies speak of attributes, never of one label by name.
            cp::Entity::new_with_tags(uid("Label", "asked")?, attributes, [], []).map_err(text)
        }
        Resource::Audit { agency: owner } => {
            let attributes = [("agency".to_owned(), agency(owner)?)];
            cp::Entity::new_with_tags(uid("AuditLog", owner.as_str())?, attributes, [], []).map_err(text)
        }
        Resource::Agency(id) => Ok(cp::Entity::with_uid(uid("Agency", id.as_str())?)),
        Resource::None => Ok(cp::Entity::with_uid(uid("System", "hufu")?)),
    }
}

fn agency(id: &AgencyId) -> Result<cp::RestrictedExpression, String> {
    uid("Agency", id.as_str()).map(cp::RestrictedExpression::new_entity_uid)
}

fn uid(kind: &str, id: &str) -> Result<cp::EntityUid, String> {
    let kind = cp::EntityTypeName::from_str(kind).map_err(text)?;
    Ok(cp::EntityUid::from_type_name_and_id(kind, cp::EntityId::new(id)))
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}
