//! After the load: what was acknowledged is held against what the nodes have. Each check answers what is wrong, in words.

use super::super::demo::{hufu, ran};
use super::load::{Load, Person, Work, right_by, until_right};
use super::nodes::AGENCIES;
use super::notes::{Ended, Letter, Opened, Version};
use super::records::{PURPOSE, found, opened};
use hufu::domain::fault::{Fault, FaultKind};
use hufu::seal::sha256;
use hufu::wire::pb::v1;
use hufu::wire::pb::v1::audit_client::AuditClient;
use hufu::wire::pb::v1::notices_client::NoticesClient;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tonic::transport::Channel;

/// With all nodes up, all is where it belongs within this time.
const SETTLED_WITHIN: Duration = Duration::from_secs(180);
/// Most records that are looked for by their word, and of which it is asked who read them, at each agency.
const SAMPLE: usize = 1_000;
/// Events of the log at a time, and what they take at most.
const PAGE: u32 = 5_000;
const PAGE_BYTES: usize = 16 << 20;

/// Waits until all nodes have the same state and all that they are owed.
pub fn settled(load: &Load) {
    let status = |persona: &str| load.demo.run(persona, &["cluster", "status"]);
    let words = |status: &Value| Err(status.to_string());
    until_right("all states are equal", SETTLED_WITHIN, || {
        let ran = status("cyberspace-clerk");
        let told = ran.lines.first().cloned().unwrap_or_default();
        let nodes = told["nodes"].as_array().cloned().unwrap_or_default();
        let first = nodes.first().map(|n| n["digest"].clone()).unwrap_or_default();
        let is_equal = nodes.iter().all(|n| n["reachable"] == json!(true) && n["digest"] == first);
        if nodes.len() == AGENCIES.len() && first.is_string() && is_equal { Ok(()) } else { words(&told) }
    });
    for agency in AGENCIES {
        until_right("all that is owed is held", SETTLED_WITHIN, || {
            let ran = status(&format!("{agency}-officer"));
            let told = ran.lines.first().cloned().unwrap_or_default();
            let sync = told["sync"].as_array().cloned().unwrap_or_default();
            let is_whole = ran.code == 0 && sync.iter().all(|s| s["owed"] == s["held"]);
            if is_whole { Ok(()) } else { words(&told) }
        });
    }
}

/// Whatever was acknowledged and is not there, or is there and was taken back. An agency a thread.
pub fn lost(load: &Load) -> Vec<String> {
    let deadline = Instant::now() + SETTLED_WITHIN;
    let check = |agency: &'static str| -> Work<'_, Vec<String>> {
        Box::new(move || {
            let mut wrong = records(load, agency, deadline);
            wrong.extend(sent(load, agency, deadline));
            wrong.extend(received(load, agency, deadline));
            wrong
        })
    };
    let works: Vec<Work<'_, Vec<String>>> = AGENCIES.into_iter().map(check).collect();
    load.at_once(works).concat()
}

/// Each version opens wherever its label names the agency, and its record is found; what was under an agreement that ended
/// opens at its origin alone.
fn records(load: &Load, agency: &'static str, deadline: Instant) -> Vec<String> {
    let (versions, ended) = {
        let notes = load.notes();
        (notes.versions.clone(), notes.ended.clone())
    };
    let mut analyst = Person::new(load, agency, "analyst");
    let mut wrong = Vec::new();
    let entitled: Vec<&Version> = versions.iter().filter(|v| v.entitled.contains(agency)).collect();
    for version in &entitled {
        let name = format!("{} {} of {} at {agency}", version.record, version.number, version.origin);
        let shown = right_by(deadline, || opened(&mut analyst, agency, version).map_err(|f| format!("{name}: {f:?}")));
        match shown {
            Ok(shown) => load.notes().opened.push(shown),
            Err(why) => wrong.push(why),
        }
    }
    let firsts: Vec<&Version> = entitled.into_iter().filter(|v| v.number == 1).collect();
    for version in sample(&firsts) {
        let look = || match found(&mut analyst, version) {
            Ok(true) => Ok(()),
            other => Err(format!("{} is not found at {agency} by `{}`: {other:?}", version.record, version.word)),
        };
        wrong.extend(right_by(deadline, look).err());
    }
    wrong.extend(ended.iter().filter_map(|record| after_end(&mut analyst, agency, record, deadline).err()));
    wrong
}

fn after_end(analyst: &mut Person, agency: &'static str, ended: &Ended, deadline: Instant) -> Result<(), String> {
    let request = v1::OpenRequest { record: ended.record.clone(), version: 0, purpose: PURPOSE.into() };
    right_by(deadline, || {
        let shown = analyst.call(&mut async |channel: Channel| {
            v1::records_client::RecordsClient::new(channel).open(request.clone()).await
        });
        let is_right = match &shown {
            Ok(reply) => {
                agency == ended.origin && reply.portions.iter().all(|p| sha256(&[&p.text[..]]) == ended.digest)
            }
            Err(fault) => fault.kind == FaultKind::NotFound && agency != ended.origin,
        };
        let what = || format!("{}, whose agreement ended, at {agency}: {shown:?}", ended.record);
        if is_right { Ok(()) } else { Err(what()) }
    })
}

/// What the sender is told of each notice: delivered once to everybody, acknowledged once by who was told so, taken back from
/// everybody where that was asked for.
fn sent(load: &Load, agency: &'static str, deadline: Instant) -> Vec<String> {
    let mut duty = Person::new(load, agency, "duty");
    let own: Vec<Letter> = load.notes().letters.iter().filter(|l| l.from == agency).cloned().collect();
    let mut look = |letter: &Letter| -> Result<(), String> {
        let request = v1::NoticeTrackRequest { notice: letter.notice.clone(), ..Default::default() };
        let tracked = duty.call(&mut async |channel: Channel| NoticesClient::new(channel).track(request.clone()).await);
        let tracked = tracked.map_err(|fault| format!("{} of {agency}: {fault:?}", letter.notice))?;
        let told = |to: &str, state: &str| {
            tracked
                .steps
                .iter()
                .filter(|s| s.agency == to && s.state == state)
                .map(|s| s.by.as_str())
                .collect::<Vec<_>>()
        };
        let is_right = if letter.recalled {
            ["recalled", "cancelled"].contains(&tracked.state.as_str())
        } else {
            letter.to.iter().all(|to| {
                let by = format!("{to}/duty");
                let is_acknowledged = !letter.acknowledged.contains(to) || told(to, "acknowledged") == [by.as_str()];
                told(to, "delivered").len() == 1 && is_acknowledged
            })
        };
        if is_right { Ok(()) } else { Err(format!("{letter:?}: {tracked:?}")) }
    };
    own.iter().filter_map(|letter| right_by(deadline, || look(letter)).err()).collect()
}

/// What addressees are shown: each notice as it was sent, and nothing of one that was taken back.
fn received(load: &Load, agency: &'static str, deadline: Instant) -> Vec<String> {
    let mut duty = Person::new(load, agency, "duty");
    let all: Vec<Letter> = load.notes().letters.iter().filter(|l| l.to.contains(agency)).cloned().collect();
    let mut look = |letter: &Letter| -> Result<(), String> {
        let request = v1::NoticeRequest { notice: letter.notice.clone() };
        let shown: Result<v1::Notice, Fault> =
            duty.call(&mut async |channel: Channel| NoticesClient::new(channel).show(request.clone()).await);
        let is_right = match &shown {
            Ok(n) if letter.recalled => n.state == "recalled" && n.subject.is_empty() && n.body.is_empty(),
            Ok(n) => n.subject == letter.subject && n.body == letter.body,
            Err(fault) => letter.recalled && fault.kind == FaultKind::NotFound,
        };
        if is_right { Ok(()) } else { Err(format!("{letter:?} at {agency}: {shown:?}")) }
    };
    all.iter().filter_map(|letter| right_by(deadline, || look(letter)).err()).collect()
}

/// Opens without an entry where they were, or of which the originator is not told; logs that do not verify. An agency a thread.
pub fn unaudited(load: &Load) -> Vec<String> {
    let deadline = Instant::now() + SETTLED_WITHIN;
    let check = |agency: &'static str| -> Work<'_, Vec<String>> {
        Box::new(move || {
            let mut wrong = unlogged(load, agency);
            wrong.extend(untold(load, agency, deadline));
            verified(load, agency);
            wrong
        })
    };
    let works: Vec<Work<'_, Vec<String>>> = AGENCIES.into_iter().map(check).collect();
    load.at_once(works).concat()
}

/// Every open that somebody of an agency saw has its entry in the log of its node, at the place that they were told.
fn unlogged(load: &Load, agency: &'static str) -> Vec<String> {
    let mut officer = Person::new(load, agency, "officer");
    let mut opens: BTreeMap<u64, v1::AuditEvent> = BTreeMap::new();
    let mut before = 0;
    loop {
        let request = v1::AuditSearchRequest { limit: PAGE, before, ..Default::default() };
        let page = officer.answered("a page of the log", &[], async |channel: Channel| {
            AuditClient::new(channel).max_decoding_message_size(PAGE_BYTES).search(request.clone()).await
        });
        let first = page.events.first().map_or(0, |e| e.seq);
        opens.extend(page.events.into_iter().filter(|e| e.action == "open").map(|e| (e.seq, e)));
        if first == 0 {
            break;
        }
        before = first;
    }
    let actor = format!("{agency}/analyst");
    let is_logged = |o: &&Opened| {
        opens.get(&o.seq).is_some_and(|e| e.record == o.record && e.actor == actor && e.decision == "allow")
    };
    let notes = load.notes();
    let unlogged = notes.opened.iter().filter(|o| o.at == agency).filter(|o| !is_logged(o));
    unlogged.map(|o| format!("{} {} at {agency}: no open at {}", o.record, o.version, o.seq)).collect()
}

/// The originator is told of as many opens as there were, or more: one without a known outcome counts there alone.
fn untold(load: &Load, agency: &'static str, deadline: Instant) -> Vec<String> {
    let mut reads: BTreeMap<String, BTreeMap<(&'static str, u32), usize>> = BTreeMap::new();
    for o in load.notes().opened.iter().filter(|o| o.origin == agency) {
        *reads.entry(o.record.clone()).or_default().entry((o.at, o.version)).or_default() += 1;
    }
    let mut officer = Person::new(load, agency, "officer");
    let mut look = |record: &str, opens: &BTreeMap<(&'static str, u32), usize>| {
        let request = v1::WhoReadRequest { record: record.to_owned() };
        let told = officer.answered("who read it", &[], async |channel: Channel| {
            AuditClient::new(channel).max_decoding_message_size(PAGE_BYTES).who_read(request.clone()).await
        });
        for ((at, version), opened) in opens {
            let is_one = |r: &&v1::WhoRead| r.action == "open" && r.agency == *at && r.version == *version;
            let known = told.reads.iter().filter(is_one).count();
            if known < *opened {
                return Err(format!("{record} {version}: {opened} opens at {at}, and {agency} knows of {known}"));
            }
        }
        Ok(())
    };
    let all: Vec<(String, _)> = reads.into_iter().collect();
    sample(&all).filter_map(|(record, opens)| right_by(deadline, || look(record, opens)).err()).collect()
}

/// The log verifies where it is, and as an export without any node.
fn verified(load: &Load, agency: &str) {
    let (demo, officer) = (load.demo, format!("{agency}-officer"));
    assert_eq!(demo.run(&officer, &["audit", "verify", "--live"]).ok()["consistent"], json!(true));
    let out = demo.dir().join(format!("log-{agency}"));
    demo.run(&officer, &["audit", "export", "--out", out.to_str().unwrap()]).ok();
    let mut verify = hufu();
    verify.args(["--json", "audit", "verify"]).arg(&out).arg("--genesis").arg(demo.dir().join("genesis.json"));
    assert_eq!(ran(verify.output().unwrap()).ok()["pinned"], json!(true));
}

/// At most so many, spread over all.
fn sample<T>(all: &[T]) -> impl Iterator<Item = &T> {
    all.iter().step_by(all.len().div_ceil(SAMPLE).max(1))
}
