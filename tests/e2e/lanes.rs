//! Each precedence has a server of its own behind the port of notices: the test speaks as a node that does what no node
//! should.

use super::demo::Demo;
use super::notices::{Watch, id, send};
use super::peers::{channel_of, config, ring};
use hufu::domain::canon::Canon;
use hufu::domain::ids::NoticeId;
use hufu::domain::label::Grade;
use hufu::domain::notice::Precedence;
use hufu::domain::time::Clock;
use hufu::identity::Protocol;
use hufu::ledger::node_id;
use hufu::node::{SystemClock, SystemEntropy};
use hufu::notice::{LETTER_BYTES, Letter, LetterHeader, LetterKind};
use hufu::wire::pb::peer;
use hufu::wire::pb::peer::post_client::PostClient;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tonic::Code;
use tonic::transport::Channel;

/// Police's server of one precedence, asked as customs' node; inside a runtime.
fn post(demo: &Demo, precedence: Precedence) -> PostClient<Channel> {
    PostClient::new(channel_of(demo, "police", "customs", Protocol::Letters(precedence)))
}

/// A flash of customs to police, signed.
fn flash(demo: &Demo) -> Vec<u8> {
    let (own, other) = (config(demo, "customs"), config(demo, "police"));
    let now = SystemClock.now();
    let header = LetterHeader {
        federation: "hufu-demo".parse().unwrap(),
        from: own.agency.clone(),
        node: node_id(&own.agency, &own.node),
        to: other.agency.clone(),
        notice: NoticeId::new(now, [0; 4], &mut SystemEntropy),
        kind: LetterKind::Notice,
        precedence: Precedence::Flash,
        exercise: true,
        action: false,
        lead: false,
        grade: Grade::Internal,
        created: now,
        expires: now.plus_ms(60_000),
    };
    let to = ring(&other).grade_public(Grade::Internal).unwrap();
    let key = ring(&own).signing_key().unwrap();
    Letter::seal(header, b"x", &to, &key, &mut SystemEntropy).unwrap().to_canon()
}

#[test]
fn a_letter_comes_by_a_connection_of_its_precedence_and_a_flood_of_one_leaves_the_others() {
    let demo = Demo::start();
    let runtime = Runtime::new().unwrap();
    let letter = flash(&demo);
    let deliver = |precedence: Precedence| {
        let letter = peer::Letter { letter: letter.clone() };
        runtime.block_on(async { post(&demo, precedence).deliver(letter).await })
    };
    let misplaced = "another precedence";
    for precedence in [Precedence::Immediate, Precedence::Routine] {
        let refused = deliver(precedence).unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
        assert!(refused.message().contains(misplaced), "{refused:?}");
    }
    // By its own it is judged like any other.
    assert!(deliver(Precedence::Flash).err().is_none_or(|e| !e.message().contains(misplaced)));
    let denied = demo.run("police-officer", &["audit", "search", "--decision", "deny", "--agency", "customs"]);
    let told = |e: &&serde_json::Value| e["action"] == "notice-receive" && e["rule"] == "letter-misplaced";
    assert_eq!(denied.lines.iter().filter(told).count(), 2, "{:?}", denied.lines);

    // Large routine letters, all at once and without end, over almost all the connections that an agency may have.
    for _ in 0..12 {
        let client = runtime.block_on(async { post(&demo, Precedence::Routine) });
        for _ in 0..8 {
            let mut client = client.clone();
            runtime.spawn(async move {
                loop {
                    let _ = client.deliver(peer::Letter { letter: vec![0; LETTER_BYTES] }).await;
                    tokio::task::yield_now().await;
                }
            });
        }
    }
    let watch = Watch::start(&demo, "police-duty");
    for _ in 0..5 {
        let began = Instant::now();
        let sent = id(&send(&demo, "customs-duty", "police", "flash", "internal", "演练：洪泛之中"));
        assert_eq!(watch.next()["notice"], json!(sent));
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }
    runtime.shutdown_background();
}
