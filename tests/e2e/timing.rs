//! Denied and absent take the same time: medians of interleaved calls over one connection.

use super::demo::Demo;
use hufu::wire::pb::v1;
use std::time::Instant;

/// Calls of each kind.
const CALLS: usize = 1_000;

#[test]
fn denied_takes_as_long_as_absent() {
    let demo = Demo::start();
    demo.equal_digests("customs-clerk", 4);
    let body = "很长的演练正文。".repeat(20_000);
    let file = demo.dir().join("long.txt");
    std::fs::write(&file, &body).unwrap();
    let published = demo.run(
        "police-analyst",
        &[
            "record",
            "publish",
            "--title",
            "长",
            "--body-file",
            file.to_str().unwrap(),
            "--grade",
            "secret",
            "--agreement",
            "border-2026",
            "--wait",
            "all",
        ],
    );
    let held = published.ok()["record"].as_str().unwrap().to_owned();
    let never = format!("{}aaaaaa", held.get(..held.len() - 6).unwrap());
    let (mut denied, mut absent) = tokio::runtime::Runtime::new().unwrap().block_on(measure(&demo, &held, &never));
    denied.sort_unstable();
    absent.sort_unstable();
    let at = |v: &[u64], q: usize| v[v.len() * q / 100];
    let (d, a) = (at(&denied, 50), at(&absent, 50));
    // The noise is what one kind differs from itself: the distance between its quartiles.
    let noise = at(&absent, 75) - at(&absent, 25);
    println!("denied {d} µs, absent {a} µs, quartiles of absent {noise} µs apart");
    assert!(d.abs_diff(a) <= noise.max(20), "denied {d} µs, absent {a} µs, noise {noise} µs");
}

async fn measure(demo: &Demo, held: &str, never: &str) -> (Vec<u64>, Vec<u64>) {
    let mut client = demo.records("customs-clerk").await;
    let (mut denied, mut absent) = (Vec::new(), Vec::new());
    for n in 0..2 * CALLS + 100 {
        let record = if n % 2 == 0 { held } else { never }.to_owned();
        let request = v1::OpenRequest { record, version: 0, purpose: "CASE-1".into() };
        let began = Instant::now();
        let status = client.open(request).await.unwrap_err();
        let took = u64::try_from(began.elapsed().as_micros()).unwrap();
        assert_eq!(status.code(), tonic::Code::NotFound);
        // The first calls warm both paths up.
        if n >= 100 {
            if n % 2 == 0 { denied.push(took) } else { absent.push(took) }
        }
    }
    (denied, absent)
}
