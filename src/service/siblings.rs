//! One directory of people at all nodes of an agency (P22). Each asks the others for what changed, and takes over what may be.
//!
//! Invariants
//! - A version that gives anybody anything is taken only if the ledger has its salted hash (P1), signed by an officer: a node
//!   that makes people up by itself makes none for another one.
//! - A version that only takes away counts at once, and who is suspended at one node is suspended at all: nobody comes back.
//! - No node's word alone takes anything from the last two officers: the agency can shut out again whoever misuses its nodes.
//! - Of two versions that were made apart, what either takes away counts at both. What a node took away because the other did,
//!   before the ledger confirmed the rest of that change, takes away nothing of the rest.
//! - Every version that is taken over is in the audit log before it is in force.
//! - Which node is told of the agency's people is in the audit log before it is, once for each day: who they are, and what they
//!   are cleared for, is read by nobody unlogged, and a node asks far too often for an event each time.

use super::core::Core;
use crate::audit::{Action as AuditAction, Decision as Verdict, Object};
use crate::domain::fault::Fault;
use crate::domain::ids::{Handle, NodeId};
use crate::domain::limits;
use crate::domain::person::Role;
use crate::domain::reserve::Work;
use crate::domain::time::Millis;
use crate::identity::{IdentityError, Person};
use crate::ledger::State;
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// Bytes of the entries of one answer.
const PAGE_BYTES: usize = limits::PEER_MESSAGE_BYTES / 2;

/// Numbers that a version may be ahead of the one here and be taken by a node's word alone. Each such version takes something
/// away, so that no node brings an entry to the last number.
const AHEAD: u32 = 16;

/// As many officers keep what they have, whatever another node says: two sign what one of them cannot do alone.
const OFFICERS: usize = 2;

/// More people than these, suspended by other nodes' word within an hour, are an alarm.
const FEW: usize = 3;
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// All pages of one directory come within this.
const WHOLE: Duration = Duration::from_secs(3);

/// Version of another node's directory, and some of its entries, in frames. Errors are in words.
pub type PeopleTold<'a> = Pin<Box<dyn Future<Output = Result<(u64, Vec<Vec<u8>>), String>> + Send + 'a>>;

/// Asks another node of the agency for its people; `node` plugs the network in.
pub trait PeerPeople: Send + Sync {
    /// Entries behind a name, unless its directory is still at the version that was `seen`.
    fn people(&self, node: NodeId, seen: u64, after: String) -> PeopleTold<'_>;
}

/// What the other nodes have that this one has not taken over. Lost at a stop, for they have it.
#[derive(Default)]
pub struct Offers {
    /// Versions of their directories of which all was seen.
    seen: BTreeMap<NodeId, u64>,
    by_name: BTreeMap<(NodeId, String), Person>,
    /// Index of the ledger and version of the own directory against which all of it was held.
    looked: Option<(u64, u64)>,
    /// When people were suspended by another node's word, within the last hour, by the clock that nobody sets.
    gone: Vec<Millis>,
    /// Officers of whom the log was told that another node would take something from them.
    told: BTreeSet<Handle>,
}

impl Offers {
    /// All of a node's directory at a version, in the place of what it had before.
    fn note(&mut self, node: NodeId, version: u64, entries: BTreeMap<String, Person>) {
        self.by_name.retain(|(of, _), _| *of != node);
        self.by_name.extend(entries.into_iter().map(|(name, person)| ((node, name), person)));
        self.seen.insert(node, version);
        self.looked = None;
    }

    /// So many more people were suspended by other nodes' word. How many it is within an hour, once they are more than a few.
    fn suspended(&mut self, people: usize, now: Millis) -> Option<usize> {
        self.gone.retain(|at| at.plus_ms(HOUR_MS) > now);
        let before = self.gone.len();
        self.gone.extend(std::iter::repeat_n(now, people));
        (before <= FEW && self.gone.len() > FEW).then_some(self.gone.len())
    }
}

/// Nodes of this agency that were told of its people, each with the day (UTC, counted from 1970) of the last event of it.
#[derive(Default)]
pub struct ToldOfPeople(Mutex<BTreeMap<String, u64>>);

impl ToldOfPeople {
    fn is_logged(&self, local: &str, day: u64) -> bool {
        self.days().get(local) == Some(&day)
    }

    fn note(&self, local: &str, day: u64) {
        self.days().insert(local.to_owned(), day);
    }

    fn days(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What becomes of another node's version of an entry.
#[derive(Debug, PartialEq, Eq)]
enum Offer {
    Take,
    /// The person is suspended here, too; the rest of the version is not taken.
    Suspend,
    /// The person may do less here, too, by a version of this node's own.
    Narrow(Box<Person>),
    /// The ledger may confirm it later.
    Wait,
    Leave,
}

impl Core {
    /// Version of the own directory, and entries behind a name, for another node of this agency by its local id.
    ///
    /// # Errors
    /// A failed audit log; nothing is told then.
    pub async fn tell_people(&self, local: &str, seen: u64, after: &str) -> Result<(u64, Vec<Vec<u8>>), Fault> {
        let told = self.people_since(seen, after);
        let day = self.clock.now().0 / DAY_MS;
        if !told.1.is_empty() && !self.told_of_people.is_logged(local, day) {
            let object = Object::Text(format!("directory of people to node {local}"));
            let _logged =
                self.log_node(AuditAction::PersonAdmin, &self.agency, object, Verdict::Allow, "told-node").await?;
            self.told_of_people.note(local, day);
        }
        Ok(told)
    }

    fn people_since(&self, seen: u64, after: &str) -> (u64, Vec<Vec<u8>>) {
        // Before the entries: what changes meanwhile is asked for again.
        let version = self.directory.directory_version();
        if version == seen {
            return (version, Vec::new());
        }
        let mut bytes = 0;
        let frames = self.directory.list().into_iter().filter(|p| p.name.as_str() > after).map(|p| p.to_frame());
        let page = frames.take_while(|frame| {
            bytes += frame.len();
            bytes <= PAGE_BYTES
        });
        (version, page.collect())
    }

    /// Asks every other node of this agency what changed of the people, and takes over what may be.
    pub async fn share_people(&self, offers: &mut Offers, peers: &dyn PeerPeople) {
        let others: BTreeMap<NodeId, String> = self.siblings().into_iter().collect();
        offers.seen.retain(|node, _| others.contains_key(node));
        offers.by_name.retain(|(node, _), _| others.contains_key(node));
        // All at once: who is suspended at one is not kept waiting by another that says nothing.
        let asked = others.iter().map(|(node, local)| {
            let seen = offers.seen.get(node).copied().unwrap_or(0);
            async move { (*node, local, ask(peers, *node, seen).await) }
        });
        for (node, local, told) in join_all(asked.collect::<Vec<_>>()).await {
            match told {
                Ok(Some((version, entries))) => offers.note(node, version, entries),
                Ok(None) => {}
                Err(why) => {
                    tracing::debug!(node = %local, %why, "another node of this agency does not say what changed of its people");
                }
            }
        }
        // The index before the state: what is applied meanwhile is looked at again.
        let at = (self.cluster.applied(), self.directory.directory_version());
        let state = self.state();
        if offers.by_name.is_empty() || offers.looked.replace(at) == Some(at) {
            return;
        }
        // By a state that is not the majority's nothing is confirmed.
        let own = state.agency(&self.agency).filter(|_| !self.cluster.has_diverged());
        let mut gone = 0;
        for ((node, name), theirs) in std::mem::take(&mut offers.by_name) {
            let (here, before) = (self.directory.by_name(&name), self.directory.before(&name));
            let entry = own.and_then(|a| a.entries.get(&theirs.handle)).copied();
            let is_kept = here.as_ref().is_some_and(|h| self.is_of_the_last_officers(&state, h));
            let offer = weigh((here.as_ref(), before.as_ref()), &theirs, OnLedger { entry, is_kept });
            let local = others.get(&node).map(String::as_str).unwrap_or_default();
            if is_kept && theirs.suspended && offer == Offer::Wait && offers.told.insert(theirs.handle) {
                tracing::error!(
                    node = local,
                    "ALARM: by another node's word alone one of the last two officers is suspended"
                );
            }
            let again = match offer {
                Offer::Leave => {
                    if here.is_some_and(|h| h.handle != theirs.handle) {
                        tracing::error!(node = local, "one name is two persons' at two nodes of this agency");
                    }
                    continue;
                }
                Offer::Wait => true,
                Offer::Take | Offer::Suspend | Offer::Narrow(_) => {
                    self.take_over(&offer, here.as_ref(), &theirs, local).await.unwrap_or_else(|error| {
                        tracing::error!(node = local, %error, "an entry of another node of this agency was not taken over");
                        true
                    })
                }
            };
            let stood = here.is_some_and(|h| !h.suspended);
            gone += usize::from(stood && self.directory.by_name(&name).is_some_and(|p| p.suspended));
            if again {
                // What could not be done is tried again, whatever stays as it is.
                offers.looked = offers.looked.filter(|_| offer == Offer::Wait);
                offers.by_name.insert((node, name), theirs);
            }
        }
        if let Some(people) = offers.suspended(gone, self.clock.steady()) {
            tracing::error!(people, "ALARM: other nodes of this agency suspended many people within an hour");
            let object = Object::Text(format!("{people} people suspended by other nodes within an hour"));
            let logged =
                self.log_node(AuditAction::PersonAdmin, &self.agency, object, Verdict::Allow, "another-node-many");
            if let Err(error) = logged.await {
                tracing::error!(%error, "that many people were suspended could not be audited");
            }
        }
    }

    /// Whether somebody is a security officer whom the ledger has, and there are no more than two of them left here. One whom
    /// another officer suspended on the ledger counts as none.
    fn is_of_the_last_officers(&self, state: &State, person: &Person) -> bool {
        let is_officer = |p: &Person| {
            let known = state.registered(&self.agency, p.handle).filter(|a| *a.key.as_bytes() == p.public_key);
            let registered = known.is_some_and(|a| a.roles.contains(&Role::SecurityOfficer));
            registered && !p.suspended && p.roles.contains(&Role::SecurityOfficer)
        };
        is_officer(person) && self.directory.list().iter().filter(|p| is_officer(p)).count() <= OFFICERS
    }

    /// Takes one version over; whether it is to be looked at again.
    async fn take_over(
        &self,
        offer: &Offer,
        here: Option<&Person>,
        theirs: &Person,
        local: &str,
    ) -> Result<bool, Fault> {
        // What takes away goes without room for more.
        if *offer == Offer::Take && !theirs.suspended && self.disk.check(Work::Act).is_err() {
            return Ok(true);
        }
        let what = match offer {
            Offer::Take => "take over",
            Offer::Narrow(_) => "narrow by",
            _ => "suspend",
        };
        let object = Object::Text(format!("{what} {} version {} of node {local}", theirs.name, theirs.version));
        let _logged =
            self.log_node(AuditAction::PersonAdmin, &self.agency, object, Verdict::Allow, "another-node").await?;
        let seen = here.map_or(0, |h| h.version);
        let done = match offer {
            Offer::Take => self.directory.adopt(theirs.clone(), seen).await,
            Offer::Narrow(less) => {
                let version = narrowed_number(seen, theirs.version);
                let next = Person { version, salt: self.random(), ..Person::clone(less) };
                self.directory.adopt(next, seen).await
            }
            _ => self.directory.suspend(&theirs.name, self.random()).await,
        };
        match done {
            // The ledger may confirm the rest of the version later.
            Ok(_) => Ok(matches!(offer, Offer::Narrow(_))),
            // Somebody changed it here meanwhile.
            Err(IdentityError::Conflict { .. }) => Ok(true),
            // Name, handle or key is another person's here: it is as it is until one of the two entries changes.
            Err(error @ IdentityError::Entry(_)) => {
                tracing::error!(node = local, %error, "an entry of another node of this agency does not fit those here");
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// A version of a node's directory, and its entries by name.
type Told = (u64, BTreeMap<String, Person>);

/// Asks one node for its entries, unless its directory is still at the version that was seen. All of them come in time, or
/// nothing of it counts.
async fn ask(peers: &dyn PeerPeople, node: NodeId, seen: u64) -> Result<Option<Told>, String> {
    timeout(WHOLE, pages(peers, node, seen)).await.map_err(|_| "not all of it in time".to_owned())?
}

async fn pages(peers: &dyn PeerPeople, node: NodeId, seen: u64) -> Result<Option<Told>, String> {
    let (mut newest, mut after, mut all) = (None, String::new(), BTreeMap::new());
    loop {
        let (version, entries) = peers.people(node, seen, after.clone()).await?;
        // What changes between two pages is asked for again: its version is a later one.
        let newest = *newest.get_or_insert(version);
        if entries.is_empty() {
            return Ok((newest != seen).then_some((newest, all)));
        }
        for entry in entries {
            let person = Person::from_frame(&entry).map_err(|e| e.to_string())?;
            if person.name <= after || all.len() >= limits::ENTRIES {
                return Err("its entries are too many, or in no order".to_owned());
            }
            after.clone_from(&person.name);
            all.insert(person.name.clone(), person);
        }
    }
}

/// What the ledger has of a person.
#[derive(Debug, Clone, Copy, Default)]
struct OnLedger {
    /// Version and hash of the entry.
    entry: Option<(u32, [u8; 32])>,
    /// Whether this is one of the last officers.
    is_kept: bool,
}

/// What becomes of another node's version, by the version here and the one before it, and what the ledger has of this person.
fn weigh((here, before): (Option<&Person>, Option<&Person>), theirs: &Person, ledger: OnLedger) -> Offer {
    let confirmed = theirs.ledger_hash().is_some_and(|hash| ledger.entry == Some((theirs.version, hash)));
    let Some(here) = here else { return if confirmed { Offer::Take } else { Offer::Wait } };
    if here == theirs || here.handle != theirs.handle || here.suspended && !theirs.suspended {
        return Offer::Leave;
    }
    let follows = |by, version| before.is_some_and(|before| is_only_narrowed(before, by, version));
    if confirmed && theirs.version >= here.version {
        // One number twice: two nodes made a version each. What an officer signed is taken, but for what the other took away.
        let apart = theirs.version == here.version && !follows(theirs, here);
        return match narrowed(theirs, here).filter(|_| apart) {
            Some(less) if says_the_same(&less, here) => Offer::Leave,
            Some(less) => Offer::Narrow(Box::new(less)),
            None => Offer::Take,
        };
    }
    if ledger.is_kept {
        return Offer::Wait;
    }
    // The other node has the same change, as far as it may without the ledger: it took nothing away by itself.
    if theirs.version == here.version && follows(here, theirs) {
        return Offer::Wait;
    }
    let ahead = theirs.version.saturating_sub(here.version);
    if (1..=AHEAD).contains(&ahead) && takes_away(here, theirs) {
        return Offer::Take;
    }
    if theirs.suspended && !here.suspended {
        return Offer::Suspend;
    }
    // An earlier number is no evidence: what the person got here since would be taken away again.
    if theirs.version < here.version {
        return Offer::Leave;
    }
    narrowed(here, theirs).map_or(Offer::Wait, |less| Offer::Narrow(Box::new(less)))
}

/// An entry without what another version of it does not have; none when that is nothing.
fn narrowed(entry: &Person, by: &Person) -> Option<Person> {
    let less = Person {
        clearance: entry.clearance.min(by.clearance),
        roles: entry.roles.intersection(&by.roles).copied().collect(),
        compartments: entry.compartments.intersection(&by.compartments).cloned().collect(),
        ..entry.clone()
    };
    (less != *entry).then_some(less)
}

/// Whether a version is what a node made of the one before because another node had taken something away, and says nothing else.
fn is_only_narrowed(before: &Person, by: &Person, version: &Person) -> bool {
    narrowed(before, by).is_some_and(|less| says_the_same(&less, version))
}

/// The number of a version that leaves less than the one here: the other node's where that is not far ahead, since a lower
/// one says nothing there. What was taken away here then counts there, too; each such version leaves less, so they come to rest.
fn narrowed_number(seen: u32, theirs: u32) -> u32 {
    let next = seen.saturating_add(1);
    if theirs.saturating_sub(seen) <= AHEAD { next.max(theirs) } else { next }
}

/// Whether two versions differ in nothing but number and salt.
fn says_the_same(one: &Person, other: &Person) -> bool {
    *one == Person { version: one.version, salt: one.salt, ..other.clone() }
}

/// Whether a version takes something away and nothing else: the same person, who may do less.
fn takes_away(here: &Person, theirs: &Person) -> bool {
    let Person { name, handle, title, unit, roles, clearance, compartments, public_key, serial, .. } = theirs;
    let same = *name == here.name && *handle == here.handle && *title == here.title && *unit == here.unit;
    let key = *public_key == here.public_key && *serial == here.serial;
    let no_more = *clearance <= here.clearance && roles.is_subset(&here.roles);
    let no_more = no_more && compartments.is_subset(&here.compartments);
    let fewer = roles.len() < here.roles.len() || compartments.len() < here.compartments.len();
    let less = *clearance < here.clearance || fewer || theirs.suspended && !here.suspended;
    same && key && no_more && less
}

#[cfg(test)]
#[path = "siblings_tests.rs"]
mod tests;
