//! One event of the log and its canonical bytes (format version 1), which are the leaf.
//!
//! The order and the numbers of the enums here are format. There is no content in an event: records are named
//! by id and version, labels by a digest, queries by a keyed hash.

use super::error::AuditError;
use crate::domain::canon::{Canon, CanonError, Reader, Writer};
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, NodeId, NoticeId, RecordId};
use crate::domain::limits;
use crate::domain::time::Millis;
use crate::seal;
use std::{fmt, str::FromStr};

/// Largest event in bytes: an entry of a C2SP bundle has a 16-bit length.
pub const MAX_EVENT_BYTES: usize = 65_535;

const DOMAIN: &str = "hufu.audit.event";
const VERSION: u16 = 1;
/// Where the sequence number stands: after the domain with its length, and the version.
const SEQ_OFFSET: usize = 4 + DOMAIN.len() + 2;

const NAME_CHARS: usize = 64;
const TEXT_CHARS: usize = 200;
const RULE_CHARS: usize = 120;
/// Most records that one event names: what fits in it with every other field at its longest.
pub const DISCLOSED: usize = 3_000;

/// Who acted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A person.
    Person {
        /// The person's agency.
        agency: AgencyId,
        /// Name in the agency's directory, at most 64 characters. It does not leave the agency in reports.
        name: String,
        /// The same person under another name, see [`pseudonym`].
        pseudonym: [u8; 16],
    },
    /// A node acting by itself, or for another agency's people.
    Node {
        /// The node's agency.
        agency: AgencyId,
        /// The node.
        node: NodeId,
    },
}

impl Actor {
    /// The actor's agency.
    pub fn agency(&self) -> &AgencyId {
        match self {
            Actor::Person { agency, .. } | Actor::Node { agency, .. } => agency,
        }
    }

    /// The person's name, if it is a person.
    pub fn person(&self) -> Option<&str> {
        match self {
            Actor::Person { name, .. } => Some(name),
            Actor::Node { .. } => None,
        }
    }
}

impl fmt::Display for Actor {
    /// `customs/clerk`, `customs/node-00000000000000a1`, or `customs` for a node of it whose number is not told.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::Person { agency, name, .. } => write!(f, "{agency}/{name}"),
            Actor::Node { agency, node: NodeId(0) } => write!(f, "{agency}"),
            Actor::Node { agency, node } => write!(f, "{agency}/node-{node}"),
        }
    }
}

/// The stable name of a person towards other agencies: nobody without the agency's key can tell whose it is.
pub fn pseudonym(key: &[u8; 32], name: &str) -> [u8; 16] {
    let mac = seal::hmac(key, "hufu.pseudonym", &[name.as_bytes()]);
    mac.first_chunk::<16>().copied().unwrap_or_default()
}

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident = $code:literal $word:literal;)*) => {
        /// What was done or tried. The codes are format: they are only ever added to.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Action { $($(#[$doc])* $variant = $code,)* }

        impl Action {
            /// All actions in the order of their codes.
            pub const ALL: &[Action] = &[$(Action::$variant,)*];

            /// The word used in commands and filters.
            pub fn as_str(self) -> &'static str {
                match self { $(Action::$variant => $word,)* }
            }
        }
    };
}

actions! {
    /// A record or a version of one was published.
    Publish = 1 "publish";
    /// A record was opened.
    Open = 2 "open";
    /// Parts of records were shown among search results.
    Snippet = 3 "snippet";
    /// Records were listed.
    List = 4 "list";
    /// A search.
    Search = 5 "search";
    /// Records were exported.
    Export = 6 "export";
    /// The versions of a record were looked at.
    History = 7 "history";
    /// Foreign material was imported.
    Import = 8 "import";
    /// The audit log was searched.
    AuditQuery = 9 "audit-query";
    /// The audit log was exported.
    AuditExport = 10 "audit-export";
    /// A decision was explained.
    PolicyExplain = 11 "policy-explain";
    /// The directory of people was changed or read.
    PersonAdmin = 12 "person-admin";
    /// An agreement was proposed, signed or ended.
    Agreement = 13 "agreement";
    /// A marking guide was changed.
    Guide = 14 "guide";
    /// An envelope was sent to another node.
    SyncPush = 15 "sync-push";
    /// An envelope was fetched by, or from, another node.
    SyncPull = 16 "sync-pull";
    /// Another node was refused an envelope, or its envelope was refused.
    SyncRefused = 17 "sync-refused";
    /// A record was decrypted for the search index.
    Index = 18 "index";
    /// A bad envelope was set aside.
    Quarantine = 19 "quarantine";
    /// Materialised state was rebuilt.
    Rebuild = 20 "rebuild";
    /// The node started.
    Start = 21 "start";
    /// The node stopped.
    Stop = 22 "stop";
    /// A label was changed.
    Relabel = 23 "relabel";
    /// A record was recalled.
    Recall = 24 "recall";
    /// A record was erased here.
    Purge = 25 "purge";
    /// A notice was sent.
    NoticeSend = 26 "notice-send";
    /// A notice was delivered here.
    NoticeReceive = 27 "notice-receive";
    /// A notice was opened.
    NoticeOpen = 28 "notice-open";
    /// A notice was acknowledged or answered.
    NoticeAnswer = 29 "notice-answer";
    /// Break-glass was asked for, granted or used.
    BreakGlass = 30 "break-glass";
    /// A policy set was proposed, approved or loaded.
    Policy = 31 "policy";
    /// A key or certificate was added, changed or revoked.
    Key = 32 "key";
    /// An agency or node was admitted, suspended or removed.
    Membership = 33 "membership";
    /// Another node's head was cosigned or refused.
    Witness = 34 "witness";
    /// A backup was made.
    Backup = 35 "backup";
    /// A backup was restored.
    Restore = 36 "restore";
    /// An originator was asked about its records.
    Request = 37 "request";
    /// Accesses were reported to an originator.
    AccessReport = 38 "access-report";
    /// A connection or call was refused before any action was known.
    PeerRefused = 39 "peer-refused";
    /// Records were counted.
    Count = 40 "count";
    /// A stream of results was opened or aborted.
    Stream = 41 "stream";
    /// A person was told who read a record.
    WhoRead = 42 "who-read";
    /// A node could not take an object and told its originator so, signed (P15).
    Complaint = 43 "complaint";
    /// Digest of all notices and receipts so far; the log's next anchor on the ledger covers it.
    NoticeAnchor = 44 "notice-anchor";
    /// A classifier approved a proposed record.
    Approve = 45 "approve";
    /// A proposed record was turned down or taken back.
    Reject = 46 "reject";
    /// The node's configuration was changed while it ran, or a change of it was refused.
    Configure = 47 "configure";
    /// A new version of a record was made from the one before.
    Amend = 48 "amend";
    /// A person was told who may open a record.
    WhoCan = 49 "who-can";
}

impl Action {
    /// The stable code.
    pub fn code(self) -> u16 {
        self as u16
    }

    /// The action of a code.
    pub fn from_code(code: u16) -> Option<Action> {
        Action::ALL.iter().copied().find(|a| a.code() == code)
    }

    /// Whether the action shows something of a record's sealed portions to a person. Only an intent of such
    /// an action is a ticket for decryption.
    pub fn discloses(self) -> bool {
        matches!(
            self,
            Action::Open
                | Action::Snippet
                | Action::List
                | Action::Search
                | Action::Export
                | Action::History
                | Action::Stream
                | Action::NoticeOpen
                | Action::Approve
                | Action::Amend
        )
    }

    /// Whether originators are told of it.
    pub fn is_access(self) -> bool {
        matches!(self, Action::Open | Action::Snippet | Action::Export)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Action {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        Action::ALL.iter().copied().find(|a| a.as_str() == text).ok_or_else(|| {
            let shown: String = text.chars().take(80).collect();
            Fault::usage("UNKNOWN_ACTION", format!("`{shown}` is not an action of the audit log"))
        })
    }
}

/// Where in an operation the event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Before acting.
    Intent = 0,
    /// After acting.
    Outcome = 1,
    /// The one event of an operation that needs no intent.
    Single = 2,
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// Allowed.
    Allow = 0,
    /// Denied.
    Deny = 1,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Intent => "intent",
            Stage::Outcome => "outcome",
            Stage::Single => "single",
        })
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Decision::Allow => "allow",
            Decision::Deny => "deny",
        })
    }
}

impl FromStr for Decision {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        match text {
            "allow" => Ok(Decision::Allow),
            "deny" => Ok(Decision::Deny),
            _ => {
                let shown: String = text.chars().take(80).collect();
                Err(Fault::usage("UNKNOWN_DECISION", format!("`{shown}` is not a decision")).hint("use allow or deny"))
            }
        }
    }
}

/// What it was done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// Nothing in particular.
    None,
    /// One version of a record.
    Record {
        /// The record.
        id: RecordId,
        /// Its version.
        version: u32,
    },
    /// A search and what it disclosed. At most 3,000 records: a longer answer is several events.
    Query {
        /// Keyed hash of the query.
        hash: [u8; 32],
        /// Record and version of every hit that was shown.
        disclosed: Vec<(RecordId, u32)>,
    },
    /// Anything else, by name, at most 200 characters.
    Text(String),
    /// A notice.
    Notice(NoticeId),
}

impl Object {
    /// The records and versions it names.
    pub fn records(&self) -> Vec<(RecordId, u32)> {
        match self {
            Object::Record { id, version } => vec![(*id, *version)],
            Object::Query { disclosed, .. } => disclosed.clone(),
            Object::None | Object::Text(_) | Object::Notice(_) => Vec::new(),
        }
    }
}

/// An event without its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventDraft {
    /// When, by the node's clock.
    pub time: Millis,
    /// Who.
    pub actor: Actor,
    /// What.
    pub action: Action,
    /// Before, after, or the only event.
    pub stage: Stage,
    /// To what.
    pub object: Object,
    /// Digest of the label's class, if an object has a label.
    pub label: Option<[u8; 16]>,
    /// Allowed or denied.
    pub decision: Decision,
    /// The rule or policy that decided, at most 120 characters.
    pub rule: String,
    /// The purpose the person gave, at most 200 characters.
    pub purpose: String,
    /// Hash of the policy set in force.
    pub policy_set: [u8; 32],
    /// How far this node had applied the ledger.
    pub ledger_index: u64,
    /// The request; it is random, and joins intent and outcome. It also blinds the leaf's hash in reports, and
    /// must not be told to other agencies.
    pub request: [u8; 16],
    /// The originator of the record, who is told of accesses.
    pub origin: Option<AgencyId>,
}

impl EventDraft {
    /// The event at this place.
    pub fn at(self, seq: u64) -> Event {
        let EventDraft {
            time,
            actor,
            action,
            stage,
            object,
            label,
            decision,
            rule,
            purpose,
            policy_set,
            ledger_index,
            request,
            origin,
        } = self;
        Event {
            seq,
            time,
            actor,
            action,
            stage,
            object,
            label,
            decision,
            rule,
            purpose,
            policy_set,
            ledger_index,
            request,
            origin,
        }
    }
}

/// One event of the log. The fields are those of [`EventDraft`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented on EventDraft")]
pub struct Event {
    /// Its place: leaf index and journal frame, from 0.
    pub seq: u64,
    pub time: Millis,
    pub actor: Actor,
    pub action: Action,
    pub stage: Stage,
    pub object: Object,
    pub label: Option<[u8; 16]>,
    pub decision: Decision,
    pub rule: String,
    pub purpose: String,
    pub policy_set: [u8; 32],
    pub ledger_index: u64,
    pub request: [u8; 16],
    pub origin: Option<AgencyId>,
}

impl Event {
    /// The canonical bytes, which are the leaf.
    ///
    /// # Errors
    /// [`AuditError::Field`] when a field is longer than the format allows. The length of the bytes does not
    /// depend on `seq`.
    pub fn to_bytes(&self) -> Result<Vec<u8>, AuditError> {
        if let Actor::Person { name, .. } = &self.actor {
            fits("actor", name, NAME_CHARS)?;
        }
        if let Object::Text(text) = &self.object {
            fits("object", text, TEXT_CHARS)?;
        }
        if let Object::Query { disclosed, .. } = &self.object
            && disclosed.len() > DISCLOSED
        {
            return Err(AuditError::Field("list of disclosed records"));
        }
        fits("rule", &self.rule, RULE_CHARS)?;
        fits("purpose", &self.purpose, limits::PURPOSE_CHARS)?;

        let mut w = Writer::new(DOMAIN, VERSION);
        w.u64(self.seq).value(&self.time);
        write_actor(&mut w, &self.actor);
        w.u16(self.action.code()).u8(self.stage as u8);
        write_object(&mut w, &self.object);
        w.option(self.label, |w, l| {
            w.array(&l);
        });
        w.u8(self.decision as u8).str(&self.rule).str(&self.purpose);
        w.array(&self.policy_set).u64(self.ledger_index).array(&self.request);
        w.option(self.origin.as_ref(), |w, o| o.write(w));
        let bytes = w.finish();
        if bytes.len() > MAX_EVENT_BYTES { Err(AuditError::Field("whole")) } else { Ok(bytes) }
    }

    /// Reads exactly what [`Event::to_bytes`] writes.
    ///
    /// # Errors
    /// [`CanonError`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Event, CanonError> {
        if bytes.len() > MAX_EVENT_BYTES {
            return Err(CanonError::TooLong);
        }
        let mut r = Reader::new(bytes, DOMAIN, VERSION)?;
        let event = Event {
            seq: r.u64()?,
            time: r.value()?,
            actor: read_actor(&mut r)?,
            action: Action::from_code(r.u16()?).ok_or(CanonError::Invalid("action"))?,
            stage: match r.u8()? {
                0 => Stage::Intent,
                1 => Stage::Outcome,
                2 => Stage::Single,
                _ => return Err(CanonError::Invalid("stage")),
            },
            object: read_object(&mut r)?,
            label: r.option(|r| r.array())?,
            decision: match r.u8()? {
                0 => Decision::Allow,
                1 => Decision::Deny,
                _ => return Err(CanonError::Invalid("decision")),
            },
            rule: text(&mut r, RULE_CHARS)?,
            purpose: text(&mut r, limits::PURPOSE_CHARS)?,
            policy_set: r.array()?,
            ledger_index: r.u64()?,
            request: r.array()?,
            origin: r.option(AgencyId::read)?,
        };
        r.finish()?;
        Ok(event)
    }
}

/// Puts the sequence number into the bytes of an event that was written with another one.
pub(crate) fn set_seq(bytes: &mut [u8], seq: u64) {
    if let Some(slot) = bytes.get_mut(SEQ_OFFSET..SEQ_OFFSET + 8) {
        slot.copy_from_slice(&seq.to_be_bytes());
    }
}

fn fits(field: &'static str, text: &str, chars: usize) -> Result<(), AuditError> {
    if text.chars().count() > chars { Err(AuditError::Field(field)) } else { Ok(()) }
}

fn text(r: &mut Reader<'_>, chars: usize) -> Result<String, CanonError> {
    let text = r.str(chars * 4)?;
    if text.chars().count() > chars { Err(CanonError::TooLong) } else { Ok(text.to_owned()) }
}

fn write_actor(w: &mut Writer, actor: &Actor) {
    match actor {
        Actor::Person { agency, name, pseudonym } => {
            w.u8(0).value(agency).str(name).array(pseudonym);
        }
        Actor::Node { agency, node } => {
            w.u8(1).value(agency).value(node);
        }
    }
}

fn read_actor(r: &mut Reader<'_>) -> Result<Actor, CanonError> {
    match r.u8()? {
        0 => Ok(Actor::Person { agency: r.value()?, name: text(r, NAME_CHARS)?, pseudonym: r.array()? }),
        1 => Ok(Actor::Node { agency: r.value()?, node: r.value()? }),
        _ => Err(CanonError::Invalid("actor")),
    }
}

fn write_object(w: &mut Writer, object: &Object) {
    match object {
        Object::None => {
            w.u8(0);
        }
        Object::Record { id, version } => {
            w.u8(1).value(id).u32(*version);
        }
        Object::Query { hash, disclosed } => {
            w.u8(2).array(hash);
            write_records(w, disclosed);
        }
        Object::Text(text) => {
            w.u8(3).str(text);
        }
        Object::Notice(id) => {
            w.u8(4).value(id);
        }
    }
}

fn read_object(r: &mut Reader<'_>) -> Result<Object, CanonError> {
    match r.u8()? {
        0 => Ok(Object::None),
        1 => Ok(Object::Record { id: r.value()?, version: r.u32()? }),
        2 => Ok(Object::Query { hash: r.array()?, disclosed: read_records(r)? }),
        3 => Ok(Object::Text(text(r, TEXT_CHARS)?)),
        4 => Ok(Object::Notice(r.value()?)),
        _ => Err(CanonError::Invalid("object")),
    }
}

pub(crate) fn write_records(w: &mut Writer, records: &[(RecordId, u32)]) {
    w.list(records.iter(), |w, (id, version)| {
        w.value(id).u32(*version);
    });
}

pub(crate) fn read_records(r: &mut Reader<'_>) -> Result<Vec<(RecordId, u32)>, CanonError> {
    r.list(DISCLOSED, |r| Ok((r.value()?, r.u32()?)))
}
