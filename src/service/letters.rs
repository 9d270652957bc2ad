//! Letters between nodes: taking in what is addressed to this agency, passing on what is not, alarms.

use super::bell::Ring;
use super::core::Core;
use crate::audit::{Action as AuditAction, Decision as Verdict, Object};
use crate::domain::canon::Canon;
use crate::domain::fault::Fault;
use crate::domain::ids::{AgencyId, NodeId};
use crate::domain::notice::Precedence;
use crate::notice::{
    Frame, Letter, LetterDigest, LetterHeader, LetterKind, NoticeError, SignedReceipt, Step, demoted, origin_allowance,
};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

/// Receipts that a relay remembers, so that a letter passes it once.
const REMEMBERED: usize = 10_000;

/// What a letter brought: receipts, or why it was not taken, in words.
pub type Posted<'a> = Pin<Box<dyn Future<Output = Result<Vec<SignedReceipt>, String>> + Send + 'a>>;

/// Carries letters to other nodes; `node` plugs the network in.
pub trait PeerPost: Send + Sync {
    /// Hands a letter to a node of its addressee.
    fn deliver(&self, node: NodeId, precedence: Precedence, letter: Vec<u8>) -> Posted<'_>;
    /// Asks another node to pass a letter on.
    fn relay(&self, via: NodeId, precedence: Precedence, letter: Vec<u8>) -> Posted<'_>;
}

/// What passed through this node as a relay: nothing of it is stored on disk.
#[derive(Default)]
pub struct Relayed(Mutex<BTreeMap<LetterDigest, Vec<SignedReceipt>>>);

/// Letters of which the audit log was told since the start, taken or refused: each attempt of a sender is not an event of
/// its own. After a stop between book and log, the sender's next copy is told.
#[derive(Default)]
pub struct Logged(Mutex<BTreeSet<(LetterDigest, bool)>>);

impl Logged {
    fn first(&self, letter: LetterDigest, taken: bool) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= REMEMBERED {
            told.pop_first();
        }
        told.insert((letter, taken))
    }
}

impl Core {
    /// Takes a letter in that is addressed to this agency; everything it stands for is durable when it answers.
    pub async fn take_letter(&self, sender: &AgencyId, bytes: &[u8]) -> Result<Vec<SignedReceipt>, Fault> {
        // Whoever calls can be called: what waits for it goes now.
        self.office.reachable(sender);
        let letter = Letter::from_canon(bytes).map_err(NoticeError::from)?;
        let (notice, from) = (letter.header.notice, letter.header.from.clone());
        let (header, digest) = (letter.header.clone(), letter.digest());
        match self.office.take(&self.state(), letter, self.clock.now()).await {
            Ok(taken) => {
                if header.kind == LetterKind::Notice && self.logged.first(digest, true) {
                    let object = Object::Notice(notice);
                    let action = AuditAction::NoticeReceive;
                    let _logged = self.log_node(action, &from, object, Verdict::Allow, "delivered").await?;
                }
                if taken.new {
                    let precedence = self.counted(&header);
                    self.bell.ring(ring("received", &LetterHeader { precedence, ..header }, &from, Vec::new()));
                }
                Ok(taken.receipts)
            }
            Err(error) => {
                let refused = matches!(error, NoticeError::Rule(_) | NoticeError::Seal(_) | NoticeError::Canon(_));
                if refused && self.logged.first(digest, false) {
                    tracing::warn!(%from, %notice, %error, "a letter was refused");
                    let action = AuditAction::NoticeReceive;
                    let rule = error.to_string();
                    let _logged = self.log_node(action, sender, Object::Notice(notice), Verdict::Deny, &rule).await?;
                }
                Err(error.into())
            }
        }
    }

    /// Passes a letter of the caller's own agency on to its addressee: one hop, blind, and once.
    pub async fn relay_letter(
        &self,
        sender: &AgencyId,
        bytes: &[u8],
        post: &dyn PeerPost,
    ) -> Result<Vec<SignedReceipt>, Fault> {
        let letter = Letter::from_canon(bytes).map_err(NoticeError::from)?;
        let h = &letter.header;
        if h.to == self.agency {
            return self.take_letter(sender, bytes).await;
        }
        let state = self.state();
        self.office.may_relay(&state, sender, &letter)?;
        let digest = letter.digest();
        let known = self.relayed.0.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned();
        if let Some(receipts) = known {
            return Ok(receipts);
        }
        let nodes: Vec<NodeId> = state.nodes().filter(|(_, n)| n.agency == h.to).map(|(id, _)| *id).collect();
        let mut why = String::from("the addressee has no node");
        let precedence = self.counted(h);
        for node in nodes {
            match post.deliver(node, precedence, bytes.to_vec()).await {
                Ok(receipts) => {
                    let object = Object::Notice(h.notice);
                    let action = AuditAction::NoticeSend;
                    let _logged = self.log_node(action, sender, object, Verdict::Allow, "relayed").await?;
                    let mut relayed = self.relayed.0.lock().unwrap_or_else(PoisonError::into_inner);
                    if relayed.len() >= REMEMBERED {
                        relayed.pop_first();
                    }
                    relayed.insert(digest, receipts.clone());
                    return Ok(receipts);
                }
                Err(error) => why = error,
            }
        }
        Err(Fault::unavailable("UNREACHABLE", why))
    }

    /// What a letter counts as here: who sends too much of a precedence is handled as the next lower one, never lost (P25).
    fn counted(&self, h: &LetterHeader) -> Precedence {
        let allowed = origin_allowance(h.precedence);
        let mut quota = self.quota.lock().unwrap_or_else(PoisonError::into_inner);
        let within = quota.take(h.from.as_str(), h.precedence, h.exercise, allowed, self.clock.now());
        if within { h.precedence } else { demoted(h.precedence) }
    }

    /// Sends one letter by one path and keeps what came back. What does not arrive is tried again by the schedule.
    pub async fn post_letter(&self, letter: LetterDigest, via: Option<NodeId>, post: &dyn PeerPost) {
        let Some(found) = self.office.read(|b| b.out(&letter).map(|o| o.letter.clone())) else { return };
        let h = &found.header;
        let bytes = found.to_canon();
        let state = self.state();
        let brought = match via {
            Some(via) => post.relay(via, h.precedence, bytes).await,
            None if h.to == self.agency => self.take_letter(&self.agency, &bytes).await.map_err(|f| f.message),
            None => {
                let nodes = state.nodes().filter(|(_, n)| n.agency == h.to).map(|(id, _)| *id);
                let mut brought = Err("the addressee has no node".to_owned());
                for node in nodes.collect::<Vec<_>>() {
                    brought = post.deliver(node, h.precedence, bytes.clone()).await;
                    if brought.is_ok() {
                        break;
                    }
                }
                brought
            }
        };
        match brought {
            Ok(receipts) => {
                if let Err(error) = self.office.told(&state, receipts, self.clock.now()).await {
                    tracing::error!(notice = %h.notice, to = %h.to, %error, "receipts were not taken");
                }
            }
            Err(why) => tracing::debug!(notice = %h.notice, to = %h.to, ?via, %why, "a letter did not arrive"),
        }
    }

    /// Nodes that can pass a letter on: neither this agency's nor the addressee's.
    pub fn relays_for(&self, letter: &LetterDigest) -> Vec<NodeId> {
        let Some(to) = self.office.read(|b| b.out(letter).map(|o| o.letter.header.to.clone())) else {
            return Vec::new();
        };
        if to == self.agency {
            return Vec::new();
        }
        let state = self.state();
        state.nodes().filter(|(_, n)| n.agency != to && n.agency != self.agency).map(|(id, _)| *id).collect()
    }

    /// Ends what expired, gives alarms and escalates what is due. A failed journal is told in the log.
    pub async fn notice_steps(&self) -> Result<(), Fault> {
        for frame in self.office.step(self.clock.now()).await? {
            let (letter, rule, step) = match frame {
                Frame::Stepped { letter, step, .. } => (letter, step.as_str(), Some(step)),
                Frame::Ended { letter, .. } => (letter, "expired", None),
                _ => continue,
            };
            let found = self.office.read(|b| {
                let sent = b.out(&letter).map(|o| (o.letter.header.clone(), o.letter.header.to.clone()));
                sent.or_else(|| b.entry(&letter).map(|i| (i.letter.header.clone(), i.letter.header.from.clone())))
            });
            let Some((header, other)) = found.filter(|(h, _)| h.kind == LetterKind::Notice) else { continue };
            tracing::warn!(notice = %header.notice, agency = %other, step = rule, "ALARM: a notice is overdue");
            let object = Object::Notice(header.notice);
            let received = header.to == self.agency;
            let action = if received { AuditAction::NoticeReceive } else { AuditAction::NoticeSend };
            let _logged = self.log_node(action, &other, object, Verdict::Allow, rule).await?;
            let call = match step {
                Some(Step::Deputy) => self.duty.deputy.clone(),
                Some(Step::Chain) => self.duty.chain.clone(),
                Some(Step::OutOfBand) => self.duty.out_of_band.clone(),
                _ => Vec::new(),
            };
            self.bell.ring(ring(rule, &header, &other, call));
        }
        Ok(())
    }
}

fn ring(event: &'static str, h: &LetterHeader, agency: &AgencyId, call: Vec<String>) -> Ring {
    let (notice, precedence, grade, exercise) = (h.notice, h.precedence, h.grade, h.exercise);
    Ring { event, notice, agency: agency.clone(), precedence, grade, exercise, call }
}
