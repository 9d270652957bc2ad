#![allow(clippy::unwrap_used, reason = "test")]

use super::*;
use crate::service::pushes::LARGE;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Mutex;

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// Takes whatever it is sent.
#[derive(Default)]
struct Taking(Mutex<Vec<NodeId>>);

impl PeerVault for Taking {
    fn push<'a>(&'a self, node: NodeId, _: &'a Outgoing) -> Answer<'a, PushState> {
        self.0.lock().unwrap().push(node);
        Box::pin(async { Ok(PushState::Held) })
    }
    fn pull(&self, _: NodeId, _: [u8; 32], _: u32) -> Answer<'_, Option<crate::vault::Parts>> {
        Box::pin(async { Ok(None) })
    }
    fn content(&self, _: NodeId, _: [u8; 32], _: [u8; 32]) -> Answer<'_, Box<dyn Pieces>> {
        Box::pin(async { Err("there is none".to_owned()) })
    }
}

/// Between the publish and its turn a ceiling may be lowered: nothing more of it is sent there.
#[tokio::test]
async fn who_may_have_it_is_asked_when_a_push_has_its_turn() {
    let [customs, police]: [AgencyId; 2] = ["customs", "police"].map(|a| a.parse().unwrap());
    let taking = Arc::new(Taking::default());
    let (room, peers) = (Pushes::default(), Arc::clone(&taking) as Arc<dyn PeerVault>);
    let lowered = Arc::new(Mutex::new(false));
    let (asked, low) = (Arc::clone(&lowered), customs.clone());
    let may: MayBeSent = Arc::new(move |to: &AgencyId| *to != low || !*asked.lock().unwrap());
    let targets = vec![(customs.clone(), NodeId(1)), (police.clone(), NodeId(2))];
    let mut pushes = JoinSet::new();
    spawn_pushes(&mut pushes, 0, (&room, &peers), Outgoing::empty(), (targets, may));
    // One thread: none of them has begun.
    *lowered.lock().unwrap() = true;
    let mut outcomes = BTreeMap::new();
    while let Some(pushed) = pushes.join_next().await {
        let (_, agency, outcome) = pushed.unwrap();
        outcomes.insert(agency, outcome == Ok(PushState::Held));
    }
    assert_eq!(outcomes, BTreeMap::from([(customs, false), (police, true)]));
    assert_eq!(*taking.0.lock().unwrap(), [NodeId(2)]);
}

/// A large one waits for as long as those before it take: what is lowered meanwhile counts for it, too.
#[tokio::test]
async fn who_may_have_a_large_one_is_asked_when_it_has_its_turn() {
    let customs: AgencyId = "customs".parse().unwrap();
    let taking = Arc::new(Taking::default());
    let (room, peers) = (Pushes::default(), Arc::clone(&taking) as Arc<dyn PeerVault>);
    let under_way: Vec<_> = (0..LARGE).map(|_| room.begin(NodeId(1), 1).unwrap()).collect();
    let mut turns = Vec::new();
    for push in &under_way {
        turns.push(push.turn_of_large().await.unwrap());
    }
    let lowered = Arc::new(Mutex::new(false));
    let asked = Arc::clone(&lowered);
    let may: MayBeSent = Arc::new(move |_: &AgencyId| !*asked.lock().unwrap());
    let mut pushes = JoinSet::new();
    spawn_pushes(&mut pushes, 0, (&room, &peers), Outgoing::empty_apart(), (vec![(customs, NodeId(1))], may));
    // One thread: it has begun to wait when this goes on.
    tokio::task::yield_now().await;
    *lowered.lock().unwrap() = true;
    turns.clear();
    let (_, _, outcome) = pushes.join_next().await.unwrap().unwrap();
    assert!(outcome.is_err() && taking.0.lock().unwrap().is_empty(), "{outcome:?}");
}

/// A lower part that is on the ledger was not refused with the record that would have named it.
#[test]
fn a_part_that_stands_did_not_fail() {
    let allow = Decision::Allow { policies: vec!["publish".into()] };
    let failed = Decision::Deny { rule: "act:VERSION_CONFLICT".into(), kind: DenyKind::Refused };
    assert!(ended(Some(&failed), true, &allow).is_allow());
    assert!(!ended(Some(&failed), false, &allow).is_allow());
    assert!(ended(None, false, &allow).is_allow());
}
