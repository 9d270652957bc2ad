//! The same again at the other node of an agency: an amendment that had no clear answer, and a source that was imported.

use super::fixture::{Pair, publish, reason};
use crate::wire::pb::v1;
use crate::wire::pb::v1::records_server::Records as _;
use tonic::Status;

fn ask_publish(pair: &mut Pair, n: usize, request: v1::PublishRequest) -> Result<v1::PublishReply, Status> {
    let reader = pair.reader(n);
    let request = reader.request(request);
    pair.answer(n, async move { reader.people.publish(request).await.map(|r| r.into_inner()) })
}

/// It gets the first answer, and makes no further version.
#[test]
fn a_repeated_amendment_is_one_version() {
    let mut pair = Pair::new();
    let (first, second) = (pair.first, pair.second);
    let made = ask_publish(&mut pair, first, publish(9, "internal", false)).unwrap();
    let amend = |pair: &mut Pair, n: usize, repeats: bool| {
        let reader = pair.reader(n);
        let request = reader.request(v1::AmendRequest {
            record: made.record.clone(),
            body: "更正".into(),
            reason: "演练".into(),
            wait: "none".into(),
            timeout_ms: 5_000,
            request_id: vec![10; 16],
            repeats,
            ..v1::AmendRequest::default()
        });
        pair.answer(n, async move { reader.people.amend(request).await }).unwrap().into_inner()
    };
    let amended = amend(&mut pair, first, false);
    assert_eq!((amended.state.as_str(), amended.version), ("committed", 2));
    let again = amend(&mut pair, second, true);
    assert_eq!((&again.record, again.version, again.index), (&amended.record, 2, amended.index));
}

/// It would be two records. What no other node knows is imported, and so is what is asked for while the other one is away.
#[test]
fn a_source_that_the_other_node_imported_is_not_imported_again() {
    let mut pair = Pair::new();
    let (first, second) = (pair.first, pair.second);
    let source = |name: &str| v1::PublishRequest { source: name.into(), ..publish(11, "internal", false) };
    let import = |pair: &mut Pair, n, name| ask_publish(pair, n, source(name));
    assert_eq!(import(&mut pair, first, "text:a").unwrap().result, "imported");
    assert_eq!(reason(import(&mut pair, second, "text:a")), "EXISTS");
    assert_eq!(import(&mut pair, first, "text:a").unwrap().result, "unchanged");
    assert_eq!(import(&mut pair, second, "text:b").unwrap().result, "imported");
    pair.cut(first, second);
    assert_ne!(reason(import(&mut pair, second, "text:a")), "EXISTS");
}
