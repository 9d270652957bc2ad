//! Many publishes on one stream.

use super::demo::Demo;
use hufu::wire::fault_of_failure;
use hufu::wire::pb::v1;
use hufu::wire::pb::v1::publish_many_reply::Outcome;
use std::collections::BTreeMap;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

fn request(n: u8, title: &str) -> v1::PublishRequest {
    v1::PublishRequest {
        title: title.into(),
        body: "正文".into(),
        grade: "secret".into(),
        agreement: "border-2026".into(),
        kind: "report".into(),
        request_id: vec![n; 16],
        ..v1::PublishRequest::default()
    }
}

/// What a whole stream of requests is answered, by their ids: the record, or the reason of a refusal.
async fn answers(demo: &Demo, asked: Vec<v1::PublishRequest>) -> BTreeMap<Vec<u8>, Result<String, &'static str>> {
    let mut records = demo.records("police-analyst").await;
    let mut replies = records.publish_many(tokio_stream::iter(asked)).await.unwrap().into_inner();
    let mut all = BTreeMap::new();
    while let Some(reply) = replies.message().await.unwrap() {
        let outcome = match reply.outcome.unwrap() {
            Outcome::Published(published) => Ok(published.record),
            Outcome::Failed(failure) => Err(fault_of_failure(failure).reason),
        };
        assert!(all.insert(reply.request_id, outcome).is_none(), "answered once");
    }
    all
}

#[test]
fn each_of_a_stream_is_asked_for_and_answered_by_itself() {
    let demo = Demo::start();
    let runtime = Runtime::new().unwrap();
    let asked = || vec![request(1, "演练：一"), request(2, ""), request(3, "演练：三")];
    let first = runtime.block_on(answers(&demo, asked()));
    assert_eq!(first.len(), 3);
    assert_eq!(first[&vec![2; 16]], Err("BAD_TITLE"), "and it ended nothing");
    assert!(first[&vec![1; 16]].is_ok() && first[&vec![3; 16]].is_ok());
    assert_eq!(runtime.block_on(answers(&demo, asked())), first, "the same again gets the first answer");

    // Whoever is suspended amid a stream publishes no more on it.
    let (requests, queue) = mpsc::channel(4);
    let mut replies = runtime.block_on(async {
        let mut records = demo.records("police-analyst").await;
        requests.send(request(4, "演练：四")).await.unwrap();
        let mut replies = records.publish_many(ReceiverStream::new(queue)).await.unwrap().into_inner();
        let fourth = replies.message().await.unwrap().unwrap();
        assert!(matches!(fourth.outcome, Some(Outcome::Published(_))), "{fourth:?}");
        replies
    });
    demo.run("police-officer", &["person", "suspend", "analyst"]).ok();
    let fifth = runtime.block_on(async {
        let _closed = requests.send(request(5, "演练：五")).await;
        replies.message().await
    });
    // The connection may be cut before.
    if let Ok(Some(reply)) = fifth {
        assert!(matches!(reply.outcome, Some(Outcome::Failed(_))), "{reply:?}");
    }
}
