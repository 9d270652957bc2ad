//! Taking in content that comes in pieces, straight to the disk.
//!
//! Before the first piece is asked for or read, the object that it belongs to has passed every check that needs no content:
//! signatures, entitlement, ceiling, agreement, and the ledger's commitment if there is one. Every portion is held against its
//! hash in the signed header while it comes. Once all of it came the object is checked once more, since the ledger went on. What is
//! cut off leaves nothing behind, and is asked for again as a whole.

use super::error::VaultError;
use super::intake::Intake;
use super::large::{Spooled, Whose};
use super::sync::PeerVault;
use crate::domain::ids::{AgencyId, NodeId};
use crate::seal::{ContentCheck, Envelope};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// Content on its way here. Errors are in words: the transfer was cut, and nothing is said of the content.
pub trait Pieces: Send {
    /// The next piece; None at the end.
    fn next(&mut self) -> Answer<'_, Option<Vec<u8>>>;
}

impl Intake {
    /// Writes the content of a checked envelope as it comes; it is durable, and of no use before a frame names it.
    ///
    /// # Errors
    /// [`VaultError::Transfer`] when it was cut off, [`VaultError::Seal`] when it is not what the header describes,
    /// [`VaultError::NotYet`] when as many are taken in as may.
    pub(super) async fn receive(&self, envelope: &Envelope, pieces: &mut dyn Pieces) -> Result<Spooled, VaultError> {
        let mut check = ContentCheck::new(envelope.header())?;
        let mut spool = self.spool(Whose::Others, envelope.ciphertext_bytes())?;
        while let Some(piece) = pieces.next().await.map_err(VaultError::Transfer)? {
            if piece.is_empty() {
                return Err(VaultError::Transfer("a piece has nothing in it".to_owned()));
            }
            check.update(&piece)?;
            spool.write(&piece)?;
        }
        if !check.is_whole() {
            return Err(VaultError::Transfer("it ended early".to_owned()));
        }
        spool.finish().await
    }
}

/// The content of an object that a node answered a pull with, asked for when its first piece is wanted.
pub(super) struct FromHolder<'a> {
    peers: &'a dyn PeerVault,
    node: NodeId,
    token: [u8; 32],
    header_hash: [u8; 32],
    answer: Option<Box<dyn Pieces>>,
}

impl<'a> FromHolder<'a> {
    pub(super) fn new(peers: &'a dyn PeerVault, node: NodeId, token: [u8; 32], header_hash: [u8; 32]) -> Self {
        FromHolder { peers, node, token, header_hash, answer: None }
    }
}

impl Pieces for FromHolder<'_> {
    fn next(&mut self) -> Answer<'_, Option<Vec<u8>>> {
        Box::pin(async move {
            if self.answer.is_none() {
                self.answer = Some(self.peers.content(self.node, self.token, self.header_hash).await?);
            }
            match &mut self.answer {
                Some(answer) => answer.next().await,
                None => Ok(None),
            }
        })
    }
}

/// Large transfers with other agencies that are under way, all of them and of each agency: one that is slow leaves the
/// others their turns.
#[derive(Clone)]
pub(super) struct Turns {
    all: usize,
    each: usize,
    taken: Arc<Mutex<BTreeMap<AgencyId, usize>>>,
}

impl Turns {
    pub(super) fn new(all: usize, each: usize) -> Turns {
        Turns { all, each, taken: Arc::default() }
    }

    /// A turn, if there is one left.
    pub(super) fn begin(&self, agency: &AgencyId) -> Option<Turn> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of = taken.get(agency).copied().unwrap_or_default();
        if of >= self.each || taken.values().sum::<usize>() >= self.all {
            return None;
        }
        taken.insert(agency.clone(), of + 1);
        Some(Turn { agency: agency.clone(), taken: Arc::clone(&self.taken) })
    }
}

/// A large transfer that is under way; over when it is dropped.
pub struct Turn {
    agency: AgencyId,
    taken: Arc<Mutex<BTreeMap<AgencyId, usize>>>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.agency) {
            Some(of) if *of > 1 => *of -= 1,
            _ => {
                taken.remove(&self.agency);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_agency_has_all_turns() {
        let turns = Turns::new(3, 2);
        let [a, b, c] = ["police", "customs", "cyberspace"].map(|id| id.parse::<AgencyId>().ok());
        let begin = |of: &Option<AgencyId>| of.as_ref().and_then(|of| turns.begin(of));
        let (first, second) = (begin(&a), begin(&a));
        assert!(first.is_some() && second.is_some() && begin(&a).is_none(), "two of one");
        let third = begin(&b);
        assert!(third.is_some() && begin(&c).is_none(), "three of all");
        drop(first);
        assert!(begin(&c).is_some(), "what is over is free again");
        assert!(begin(&a).is_some());
        drop((second, third));
        assert!(turns.taken.lock().is_ok_and(|taken| taken.is_empty()));
    }
}
