//! JSON of strangers, read strictly.
//!
//! `serde_json` by itself keeps the last of two equal keys; another reader keeps the first, and the two see different
//! objects. Here a key that stands twice, a value nested too deep, one too many, or a number that would not be kept
//! exactly is a flaw. A flaw spoils the element of the list in which it stands and no other: reading goes on behind it,
//! without recursion, however deep it is.

use crate::domain::limits;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

/// Keys are shown up to so many characters.
const KEY_CHARS: usize = 80;
/// From here on a double does not tell whole numbers apart.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// What may still be read of an import.
pub(super) struct Left {
    /// Elements of lists.
    pub(super) elements: usize,
    /// JSON values.
    pub(super) values: usize,
}

/// A whole value, or what is wrong with it.
pub(super) type Element = Result<Value, String>;

/// A document: an object of which one member is a list.
pub(super) struct Listed {
    /// Its other members, keys in order.
    pub(super) rest: BTreeMap<String, Value>,
    /// The elements of the list; none if there is no such member.
    pub(super) list: Option<Vec<Element>>,
}

/// Reads a document whose member `name` is the list. What is wrong outside of the list is wrong with the document.
pub(super) fn listed(text: &str, name: &str, left: &mut Left) -> Result<Listed, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let found = Document { name, left }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(found)
}

fn twice(key: &str) -> String {
    format!("the key `{}` stands twice in one object", key.chars().take(KEY_CHARS).collect::<String>())
}

struct Document<'a> {
    name: &'a str,
    left: &'a mut Left,
}

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = Listed;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Listed, D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = Listed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with `{}`", self.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Listed, A::Error> {
        let mut found = Listed { rest: BTreeMap::new(), list: None };
        while let Some(key) = map.next_key::<String>()? {
            if key == self.name {
                if found.list.is_some() {
                    return Err(A::Error::custom(twice(&key)));
                }
                found.list = Some(map.next_value_seed(Elements { left: &mut *self.left })?);
                continue;
            }
            let mut flaw = None;
            let value = map.next_value_seed(Strict { flaw: &mut flaw, left: &mut self.left.values, depth: 1 })?;
            if found.rest.contains_key(&key) {
                flaw = Some(twice(&key));
            }
            if let Some(flaw) = flaw {
                return Err(A::Error::custom(flaw));
            }
            found.rest.insert(key, value);
        }
        Ok(found)
    }
}

struct Elements<'a> {
    left: &'a mut Left,
}

impl<'de> DeserializeSeed<'de> for Elements<'_> {
    type Value = Vec<Element>;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Vec<Element>, D::Error> {
        d.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = Vec<Element>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Element>, A::Error> {
        let mut list = Vec::new();
        loop {
            let (mut flaw, before) = (None, self.left.values.min(limits::STIX_OBJECT_VALUES));
            let mut values = before;
            let element = seq.next_element_seed(Strict { flaw: &mut flaw, left: &mut values, depth: 0 })?;
            let Some(value) = element else { return Ok(list) };
            self.left.values = self.left.values.saturating_sub(before - values);
            let Some(elements) = self.left.elements.checked_sub(1) else {
                return Err(A::Error::custom(format!("more than {} objects in one import", limits::STIX_OBJECTS)));
            };
            self.left.elements = elements;
            list.push(flaw.map_or(Ok(value), Err));
        }
    }
}

/// Reads one value. With a flaw the value is void.
struct Strict<'a> {
    flaw: &'a mut Option<String>,
    left: &'a mut usize,
    depth: usize,
}

impl Strict<'_> {
    fn within(&mut self) -> Strict<'_> {
        Strict { flaw: &mut *self.flaw, left: &mut *self.left, depth: self.depth + 1 }
    }

    fn is_flawed(&self) -> bool {
        self.flaw.is_some()
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        if !self.is_flawed() {
            match self.left.checked_sub(1) {
                None => *self.flaw = Some("it has too many values".to_owned()),
                Some(_) if self.depth > limits::STIX_DEPTH => {
                    *self.flaw = Some(format!("it is nested deeper than {} levels", limits::STIX_DEPTH));
                }
                Some(left) => *self.left = left,
            }
        }
        if self.is_flawed() {
            return IgnoredAny::deserialize(d).map(|_| Value::Null);
        }
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E: Error>(self, v: i64) -> Result<Value, E> {
        Ok(Value::from(v))
    }

    fn visit_u64<E: Error>(self, v: u64) -> Result<Value, E> {
        Ok(Value::from(v))
    }

    /// Whole numbers over 64 bits arrive here, too, rounded.
    fn visit_f64<E: Error>(self, v: f64) -> Result<Value, E> {
        match Number::from_f64(v).filter(|_| v.abs() < EXACT) {
            Some(n) => Ok(Value::Number(n)),
            None => {
                *self.flaw = Some("it has a number that cannot be kept exactly".to_owned());
                Ok(Value::Null)
            }
        }
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<Value, E> {
        Ok(Value::String(v.to_owned()))
    }

    fn visit_string<E: Error>(self, v: String) -> Result<Value, E> {
        Ok(Value::String(v))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element_seed(self.within())? {
            // What is void is not kept, however much follows.
            if !self.is_flawed() {
                list.push(value);
            }
        }
        Ok(Value::Array(list))
    }

    /// Keys come into order, whether or not `serde_json` keeps that of the text.
    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Value, A::Error> {
        let mut members = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(self.within())?;
            if self.is_flawed() {
                continue;
            }
            match members.entry(key) {
                Entry::Occupied(e) => *self.flaw = Some(twice(e.key())),
                Entry::Vacant(e) => {
                    e.insert(value);
                }
            }
        }
        Ok(Value::Object(members.into_iter().collect()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Element>, String> {
        let mut left = Left { elements: 10, values: 2 * limits::STIX_OBJECT_VALUES };
        listed(text, "list", &mut left).map(|l| l.list.unwrap_or_default()).map_err(|e| e.to_string())
    }

    /// One element, and whether the one behind it came through.
    fn element(text: &str) -> Element {
        let mut list = read(&format!("{{\"list\":[{text},7]}}")).unwrap();
        assert_eq!(list.pop(), Some(Ok(Value::from(7))), "what stands behind a flaw is read");
        list.remove(0)
    }

    #[test]
    fn keys_come_into_order_and_numbers_stay() {
        let value = element(r#"{"b":1.5,"a":[-3,18446744073709551615,null,true,"\u864e"],"c":{}}"#).unwrap();
        assert_eq!(value.to_string(), r#"{"a":[-3,18446744073709551615,null,true,"虎"],"b":1.5,"c":{}}"#);
    }

    #[test]
    fn a_flaw_spoils_its_element_alone() {
        assert!(element(r#"{"a":1,"b":{"x":1,"x":2}}"#).unwrap_err().contains("`x` stands twice"));
        assert!(element(r#"{"a":1,"\u0061":1}"#).unwrap_err().contains("`a` stands twice"), "however it is written");
        assert!(element("18446744073709551616").unwrap_err().contains("exactly"));
        assert!(element("1e300").unwrap_err().contains("exactly"));
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(element(&deep(limits::STIX_DEPTH)).is_ok());
        assert!(element(&deep(limits::STIX_DEPTH + 2)).unwrap_err().contains("nested deeper"));
        assert!(element(&deep(100_000)).unwrap_err().contains("nested deeper"), "no stack holds it");
        assert!(element(&format!("[{}1]", "1,".repeat(limits::STIX_OBJECT_VALUES))).unwrap_err().contains("too many"));
    }

    #[test]
    fn what_is_wrong_outside_of_the_list_is_wrong_with_the_whole() {
        for text in [
            "",
            "7",
            "[]",
            "{",
            r#"{"list":7}"#,
            r#"{"list":[]} x"#,
            r#"{"list":[],"list":[]}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"list":["\ud800"]}"#,
            r#"{"a":{"b":1,"b":2}}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read(&format!("{{\"list\":[{}1]}}", "1,".repeat(10))).unwrap_err().contains("more than"));
        assert!(read("{}").unwrap().is_empty());
    }
}
