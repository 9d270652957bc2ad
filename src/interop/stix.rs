//! STIX 2.0 and 2.1 bundles (OASIS): one record for each object.
//!
//! Relationships are no records: each is a reference of its source's record, and stands in its text. Markings are none,
//! either: they say of which grade the others are. Sightings are records: a sighting says what was seen, how often, when
//! and where, and has no source to which all of that belongs (STIX 2.1 §5.2).
//!
//! The files of one import are read together: what one names may stand in another. What is bad is left out with its
//! reason, and the rest goes in. Custom objects are objects like any other.

use super::json::{self, Left};
use super::stix_marks::Stated;
use super::stix_object::{self, Object};
use super::stix_text::{Relation, body, title};
use crate::domain::fault::Fault;
use crate::domain::limits;
use crate::domain::record::Reference;
use crate::seal::digest;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::mem;
use std::sync::Arc;

/// What a parser says is shown up to so many characters: it may quote what it read.
const PARSER_CHARS: usize = 200;
/// A reference of what its producer took back, so that a search can ask for it or leave it out.
const RECALLED: &str = "origin-state:recalled";

/// Where an object stands.
#[derive(Debug, Clone)]
struct Place {
    file: Arc<str>,
    at: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} objects[{}]", self.file, self.at)
    }
}

struct Slot {
    object: Object,
    place: Place,
    /// Another one with the same id and version says something else.
    differs: bool,
}

/// Files of one import while they are read.
pub struct StixFiles {
    bytes_left: usize,
    left: Left,
    found: BTreeMap<String, Slot>,
    refused: Vec<Entry>,
}

struct Entry {
    name: String,
    refusal: Option<Fault>,
}

/// What an import has: records to be, and what was refused, each under a name.
pub struct StixImport {
    /// All good objects by id.
    known: BTreeMap<String, Object>,
    /// Ids of relationships by that of their source.
    relations: BTreeMap<String, Vec<String>>,
    entries: Vec<Entry>,
}

/// An object as a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StixDraft {
    /// `name`, else type and UUID.
    pub title: String,
    /// Description, facts, relations, and the JSON.
    pub body: String,
    /// The object's own id and those that it is related to, as `stix:…`.
    pub references: Vec<Reference>,
    /// Relations for which there was no room among the references; they stand in the text.
    pub left_out: usize,
    /// What its markings and those of its relationships say.
    pub stated: Stated,
    /// Digest of the object and its relationships. The text says more, such as what others are called: when one of those
    /// is renamed, this object was not edited.
    pub content: [u8; 32],
}

impl Default for StixFiles {
    fn default() -> StixFiles {
        let left = Left { elements: limits::STIX_OBJECTS, values: limits::STIX_VALUES };
        StixFiles { bytes_left: limits::STIX_BYTES, left, found: BTreeMap::new(), refused: Vec::new() }
    }
}

impl StixFiles {
    /// How many bytes the next file may have.
    pub fn bytes_left(&self) -> usize {
        self.bytes_left
    }

    /// Adds a file. A file that cannot be read whole is refused whole, a bad object alone.
    pub fn add(&mut self, file: &str, bytes: &[u8]) {
        if let Err(fault) = self.read(file, bytes) {
            self.refuse(file, fault);
        }
    }

    /// Notes what was refused, under a name.
    pub fn refuse(&mut self, name: &str, fault: Fault) {
        self.refused.push(Entry { name: name.to_owned(), refusal: Some(fault) });
    }

    fn read(&mut self, file: &str, bytes: &[u8]) -> Result<(), Fault> {
        self.bytes_left = self.bytes_left.checked_sub(bytes.len()).ok_or_else(too_large)?;
        let text = std::str::from_utf8(bytes).map_err(|e| {
            Fault::usage("BAD_FILE", format!("not UTF-8 text: the first wrong byte is at offset {}", e.valid_up_to()))
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let document = json::listed(text, "objects", &mut self.left).map_err(|e| {
            let why: String = e.to_string().chars().take(PARSER_CHARS).collect();
            bad_file(format!("the file is no STIX bundle: {why}"))
        })?;
        let kind = document.rest.get("type").and_then(|t| t.as_str());
        if kind != Some("bundle") {
            let bare = kind.is_some() && document.rest.contains_key("id");
            let why = if bare { "a STIX object without a bundle" } else { "its `type` is not `bundle`" };
            return Err(bad_file(format!("the file is no STIX bundle: {why}")));
        }
        match document.rest.get("spec_version").map(|v| v.as_str()) {
            None | Some(Some("2.0" | "2.1")) => {}
            Some(_) => return Err(bad_file("the bundle's `spec_version` is neither `2.0` nor `2.1`".to_owned())),
        }
        let Some(list) = document.list.filter(|l| !l.is_empty()) else {
            return Err(bad_file("the bundle has no `objects`".to_owned()));
        };
        let file: Arc<str> = file.into();
        for (at, element) in list.into_iter().enumerate() {
            let place = Place { file: Arc::clone(&file), at };
            let id = element.as_ref().ok().and_then(|v| v.as_object()).and_then(|m| stix_object::identity(m).ok());
            let name = id.map_or_else(|| place.to_string(), |(id, _)| id);
            match element.and_then(Object::of) {
                Ok(object) if object.kind == "bundle" => {
                    self.refuse_at(name, "a bundle within a bundle".into(), &place)
                }
                Ok(object) => self.keep(object, place),
                Err(why) => self.refuse_at(name, why, &place),
            }
        }
        Ok(())
    }

    /// Of several versions of an object the newest counts (STIX 2.1 §3.6). Of several that claim to be the same version
    /// and differ, none does: nobody can tell which one its producer made.
    fn keep(&mut self, object: Object, place: Place) {
        let id = object.id.clone();
        let Some(slot) = self.found.get_mut(&id) else {
            self.found.insert(id, Slot { object, place, differs: false });
            return;
        };
        if slot.object == object {
            return;
        }
        let order = match (&slot.object.modified, &object.modified) {
            (Some(held), Some(new)) => new.cmp(held),
            _ => Ordering::Equal,
        };
        let (place, why) = match order {
            Ordering::Less => (place, OLDER),
            Ordering::Equal => {
                slot.differs = true;
                (place, DIFFERS)
            }
            Ordering::Greater => {
                let newer = Slot { object, place, differs: false };
                let held = mem::replace(slot, newer);
                // The one that differed from it was refused when it came.
                (held.place, if held.differs { DIFFERS } else { OLDER })
            }
        };
        self.refuse_at(id, why.to_owned(), &place);
    }

    fn refuse_at(&mut self, name: String, why: String, place: &Place) {
        self.refused.push(Entry { name, refusal: Some(bad_object(why, place)) });
    }

    /// Joins what was read: relationships to their sources.
    pub fn finish(self) -> StixImport {
        let (mut known, mut places) = (BTreeMap::new(), BTreeMap::new());
        let mut entries = self.refused;
        for (id, slot) in self.found {
            if slot.differs {
                let refusal = Some(bad_object(DIFFERS.to_owned(), &slot.place));
                entries.push(Entry { name: id, refusal });
                continue;
            }
            if slot.object.kind == "relationship" {
                places.insert(id.clone(), slot.place);
            }
            known.insert(id, slot.object);
        }
        let mut relations: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (id, place) in places {
            let of = known.get(&id).and_then(|r: &Object| r.id_in("source_ref")).unwrap_or_default();
            if known.get(&of).is_some_and(is_record) {
                relations.entry(of).or_default().push(id);
            } else {
                let why = format!("its source `{of}` is not among what is imported");
                entries.push(Entry { name: id, refusal: Some(bad_object(why, &place)) });
            }
        }
        let records = known.values().filter(|o| is_record(o));
        entries.extend(records.map(|o| Entry { name: o.id.clone(), refusal: None }));
        StixImport { known, relations, entries }
    }
}

impl StixImport {
    /// Names of what there is, refused or not: the id, else file and place.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|e| e.name.as_str())
    }

    /// The draft of the one with this number among the names.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn draft(&self, number: usize) -> Result<StixDraft, Fault> {
        let absent = || Fault::internal("INTERNAL", "no object has this number");
        let entry = self.entries.get(number).ok_or_else(absent)?;
        if let Some(fault) = &entry.refusal {
            return Err(fault.clone());
        }
        let object = self.known.get(&entry.name).ok_or_else(absent)?;
        let title = title(object);
        if title.chars().count() > limits::TITLE_CHARS {
            let why = format!("the title has more than {} characters", limits::TITLE_CHARS);
            return Err(Fault::usage("BAD_TITLE", why));
        }
        let relations = self.relations_of(object);
        let body = body(object, &relations, &self.known).map_err(|e| Fault::internal("INTERNAL", e.to_string()))?;
        if body.len() > limits::TEXT_BYTES {
            let (size, most) = (body.len(), limits::TEXT_BYTES);
            return Err(Fault::usage(
                "BODY_TOO_LARGE",
                format!("the text has {size} bytes; the limit is {most} (16 MiB)"),
            ));
        }
        if body.contains('\0') {
            return Err(Fault::usage("BAD_BODY", "the object holds a NUL character: it is not text"));
        }
        let relationships = relations.iter().filter_map(|r| r.relationship);
        let parts: Vec<&Object> = [object].into_iter().chain(relationships).collect();
        let stated = Stated::of(parts.iter().copied(), &self.known);
        let content = content(&parts).map_err(|e| Fault::internal("INTERNAL", e.to_string()))?;
        let (references, left_out) = references(object, &relations);
        Ok(StixDraft { title, body, references, left_out, stated, content })
    }

    fn relations_of<'a>(&'a self, object: &'a Object) -> Vec<Relation<'a>> {
        let ids = self.relations.get(&object.id).into_iter().flatten();
        let mut relations: Vec<Relation<'a>> = ids
            .filter_map(|id| self.known.get(id))
            .filter_map(|r| {
                let (by, to) = (r.text("relationship_type")?, r.id_in("target_ref")?);
                Some(Relation { by, to, relationship: Some(r) })
            })
            .collect();
        // By what they say, not by the order of files: the same objects give the same text.
        relations.sort_by(|a, b| (a.by, &a.to).cmp(&(b.by, &b.to)));
        let own = object.embedded().into_iter().map(|(by, to)| Relation { by, to, relationship: None });
        relations.extend(own);
        relations
    }
}

const OLDER: &str = "a newer version of it is there";
const DIFFERS: &str = "it is there more than once, with different content and no later version";

fn is_record(object: &Object) -> bool {
    !matches!(object.kind.as_str(), "relationship" | "marking-definition")
}

/// The object's own key, its state, and those of what it is related to, as many as a record takes. A relationship that was
/// taken back links nothing.
fn references(object: &Object, relations: &[Relation<'_>]) -> (Vec<Reference>, usize) {
    let own = [format!("stix:{}", object.id)].into_iter().chain(object.is_revoked().then(|| RECALLED.to_owned()));
    let holding = relations.iter().filter(|r| !r.relationship.is_some_and(Object::is_revoked));
    let others = holding.map(|r| format!("stix:{}", r.to));
    let (mut references, mut seen, mut left_out) = (Vec::new(), BTreeSet::new(), 0);
    for key in own.chain(others) {
        if !seen.insert(key.clone()) {
            continue;
        }
        // A custom type with a very long name gives a key that no reference holds.
        match key.parse::<Reference>() {
            Ok(reference) if references.len() < limits::REFERENCES => references.push(reference),
            _ => left_out += 1,
        }
    }
    (references, left_out)
}

fn content(parts: &[&Object]) -> Result<[u8; 32], serde_json::Error> {
    let json = parts.iter().map(|p| serde_json::to_vec(&p.members)).collect::<Result<Vec<_>, _>>()?;
    let json: Vec<&[u8]> = json.iter().map(Vec::as_slice).collect();
    Ok(digest("hufu.stix-content", &json))
}

fn bad_object(why: String, place: &Place) -> Fault {
    Fault::usage("BAD_OBJECT", why).hint(format!("look at objects[{}] of `{}`", place.at, place.file))
}

fn bad_file(why: String) -> Fault {
    Fault::usage("BAD_FILE", why).hint("give a JSON file with a STIX 2.0 or 2.1 bundle")
}

fn too_large() -> Fault {
    let most = limits::STIX_BYTES;
    Fault::usage("BODY_TOO_LARGE", format!("the files have more than {most} bytes together (128 MiB)"))
        .hint("import them one after the other")
}
