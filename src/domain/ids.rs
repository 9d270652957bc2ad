//! Names and identifiers. Parsing is the only way in; canonical form and text form are one to one.

use super::canon::{Canon, CanonError, Reader, Writer};
use super::fault::Fault;
use super::time::{Entropy, Millis};
use data_encoding::{Encoding, Specification};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::LazyLock};

/// A name: a lower-case letter, then lower-case letters, digits and hyphens.
pub(crate) fn is_slug(text: &str, max: usize) -> bool {
    let mut chars = text.chars();
    text.len() >= 2
        && text.len() <= max
        && chars.next().is_some_and(|c| c.is_ascii_lowercase())
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

macro_rules! slug {
    ($(#[$doc:meta])* $name:ident, $max:expr, $what:literal, $reason:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Fault;
            fn from_str(text: &str) -> Result<Self, Fault> {
                if crate::domain::ids::is_slug(text, $max) {
                    Ok($name(text.to_owned()))
                } else {
                    let shown: String = text.chars().take(80).collect();
                    Err(Fault::usage($reason, format!(concat!("`{}` is not a valid ", $what), shown))
                        .hint(format!("use 2 to {} lower-case letters, digits and hyphens, a letter first", $max)))
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = Fault;
            fn try_from(text: String) -> Result<Self, Fault> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(v: $name) -> String {
                v.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Canon for $name {
            fn write(&self, w: &mut Writer) {
                w.str(&self.0);
            }
            fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
                r.str($max)?.parse().map_err(|_| CanonError::Invalid($what))
            }
        }
    };
}
pub(crate) use slug;

slug!(
    /// An agency, e.g. `customs`.
    AgencyId, 32, "agency", "BAD_AGENCY"
);
slug!(
    /// A federation, e.g. `hufu`.
    FederationId, 32, "federation", "BAD_FEDERATION"
);
slug!(
    /// An agreement, e.g. `border-2026`.
    AgreementId, 64, "agreement", "BAD_AGREEMENT"
);

/// Lower-case base32 without padding (RFC 4648 alphabet): 16 bytes are 26 characters.
static BASE32: LazyLock<Option<Encoding>> = LazyLock::new(|| {
    let mut spec = Specification::new();
    spec.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    spec.encoding().ok()
});

fn encode32(bytes: &[u8]) -> String {
    BASE32.as_ref().map_or_else(String::new, |e| e.encode(bytes))
}

fn decode32(text: &str) -> Option<[u8; 16]> {
    BASE32.as_ref()?.decode(text.as_bytes()).ok()?.try_into().ok()
}

macro_rules! opaque {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $what:literal, $reason:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; 16]);

        impl $name {
            /// From its 16 bytes.
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                $name(bytes)
            }
            /// Its 16 bytes.
            pub fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Fault;
            fn from_str(text: &str) -> Result<Self, Fault> {
                text.strip_prefix($prefix).and_then(decode32).map($name).ok_or_else(|| {
                    let shown: String = text.chars().take(80).collect();
                    Fault::usage($reason, format!(concat!("`{}` is not a ", $what), shown))
                        .hint(concat!("it is `", $prefix, "` and 26 characters"))
                })
            }
        }

        impl TryFrom<String> for $name {
            type Error = Fault;
            fn try_from(text: String) -> Result<Self, Fault> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(v: $name) -> String {
                v.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), encode32(&self.0))
            }
        }

        impl Canon for $name {
            fn write(&self, w: &mut Writer) {
                w.array(&self.0);
            }
            fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
                r.array().map($name)
            }
        }
    };
}

opaque!(
    /// A record: `r-` and the base32 of a UUIDv7 (RFC 9562 §5.7) whose last four bytes name the origin (P17).
    RecordId, "r-", "record id", "BAD_RECORD_ID"
);
opaque!(
    /// A person's opaque handle on the ledger (P1). It says nothing about who that is.
    Handle, "p-", "person handle", "BAD_HANDLE"
);

opaque!(
    /// A notice: `n-` and the base32 of a UUIDv7 (RFC 9562 §5.7) whose last four bytes name the origin, so that no other
    /// agency can put a notice in its place.
    NoticeId, "n-", "notice id", "BAD_NOTICE_ID"
);

macro_rules! marked {
    ($name:ident) => {
        impl $name {
            /// A new id at `now` for an origin, whose four-byte mark the caller computes (see `ledger::origin_mark`).
            pub fn new(now: Millis, origin_mark: [u8; 4], entropy: &mut dyn Entropy) -> $name {
                let mut random = [0u8; 10];
                entropy.fill(&mut random);
                let [a, b, c, d, e, f, ..] = random;
                let [w, x, y, z] = origin_mark;
                let uuid =
                    uuid::Builder::from_unix_timestamp_millis(now.0, &[a, b, c, d, e, f, w, x, y, z]).into_uuid();
                $name(uuid.into_bytes())
            }

            /// When its origin says that it was made: the first 48 bits (RFC 9562 §5.7).
            pub fn created(&self) -> Millis {
                let [a, b, c, d, e, f, ..] = self.0;
                Millis(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
            }

            /// The last four bytes: the mark of the origin.
            pub fn origin_mark(&self) -> [u8; 4] {
                let [.., w, x, y, z] = self.0;
                [w, x, y, z]
            }
        }
    };
}

marked!(RecordId);
marked!(NoticeId);

/// A node's number on the ledger, derived from its agency and local id; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for NodeId {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        let wrong = || Fault::usage("BAD_NODE", format!("`{text}` is not a node number"));
        if text.len() != 16 {
            return Err(wrong());
        }
        u64::from_str_radix(text, 16).map(NodeId).map_err(|_| wrong())
    }
}

impl Canon for NodeId {
    fn write(&self, w: &mut Writer) {
        w.u64(self.0);
    }
    fn read(r: &mut Reader<'_>) -> Result<Self, CanonError> {
        r.u64().map(NodeId)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod tests {
    use super::*;

    struct Count(u8);
    impl Entropy for Count {
        fn fill(&mut self, out: &mut [u8]) {
            for b in out {
                self.0 = self.0.wrapping_add(1);
                *b = self.0;
            }
        }
    }

    #[test]
    fn record_ids_sort_by_time_and_round_trip() {
        let mut e = Count(0);
        let a = RecordId::new(Millis(1_000), [9, 9, 9, 9], &mut e);
        let b = RecordId::new(Millis(2_000), [9, 9, 9, 9], &mut e);
        assert!(a < b && a.to_string() < b.to_string());
        assert_eq!(a.to_string().len(), 28);
        assert_eq!(a.to_string().parse::<RecordId>().unwrap(), a);
        assert_eq!(a.origin_mark(), [9, 9, 9, 9]);
        assert!("r-short".parse::<RecordId>().is_err());
        assert!(a.to_string().replace("r-", "n-").parse::<RecordId>().is_err());
    }

    #[test]
    fn names_are_strict() {
        assert!("customs".parse::<AgencyId>().is_ok());
        for bad in ["", "x", "9a", "Customs", "a_b", "a.b", "海关", &"a".repeat(33)] {
            assert!(bad.parse::<AgencyId>().is_err(), "{bad}");
        }
    }
}
