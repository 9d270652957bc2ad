//! Use cases, one file per noun, behind one door: authenticate, audit intent, authorize, act, audit outcome.
//!
//! No tonic type and no protobuf enters here. Every function takes a [`Caller`], which only the door makes
//! from a finished handshake and the directory, so nothing is done for somebody unknown or suspended.
//!
//! Invariants
//! - Content is opened only through `vault::disclose` with the receipt of an intent that is durable, or of an
//!   `index` event for the search index, which shows nothing to anybody.
//! - A refusal to read is word for word the absence of the thing, and takes the same path (P21).
//! - What cannot be audited is not done.
//! - What the disk has no room for is refused before anything of it is written ([`DiskRoom`]), and so is what would add for
//!   good to a memory that is at its bound ([`MemoryRoom`]).

mod amend;
mod audit;
mod bell;
mod bounds;
mod cluster;
mod coming;
mod complaints;
mod core;
mod disk;
mod door;
mod draft;
mod elsewhere;
mod explain;
mod export;
mod federation;
mod folded;
mod holders;
mod homes;
mod import;
mod inbox;
mod letters;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test")]
mod machine;
mod members;
mod memory;
mod notices;
mod once;
mod persons;
mod proposals;
mod publish;
mod pushes;
mod reach;
mod reading;
mod recommit;
mod records;
mod reports;
mod search;
mod settings;
mod siblings;
mod track;

pub use self::core::Core;
pub use amend::AmendAsk;
pub use audit::{ReadLine, SearchQuery, log_name};
pub use bell::{Bell, DutyChain, Ring};
pub use bounds::{bounds_words, root_fingerprint, unknown_suite};
pub use cluster::{ClusterView, NodeView, Position, Positions};
pub use complaints::PeerComplaints;
pub use disk::DiskRoom;
pub use door::Caller;
pub use elsewhere::{Asked, Certificates, PeerNotices, Reply, Vouched};
pub use export::SealedCopy;
pub use folded::Folded;
pub use import::{Imported, InProgress};
pub use inbox::{NoticeLine, UNOPENABLE, Watching};
pub use letters::{Logged, PeerPost, Posted, Relayed};
pub use memory::MemoryRoom;
pub use notices::{Groups, NoticeAsk};
pub use once::{Once, Unheard};
pub use persons::{Change, Entering};
pub use proposals::{ProposalLine, ProposalsAsk};
pub use publish::{Patience, PortionAsk, PublishAsk, Published, Wait};
pub use pushes::Pushes;
pub use reach::{Reach, ReachLine};
pub use reading::Reading;
pub use recommit::Recommits;
pub use records::{HistoryLine, Listed, OnLedger, Opened};
pub use reports::PeerReports;
pub use search::{Found, Hit, Indexing, SearchAsk};
pub use settings::{InForce, Settings};
pub use siblings::{Offers, PeerPeople, PeopleTold, ToldOfPeople};
pub use track::{Awaited, Lead, TrackLine, Tracked};
