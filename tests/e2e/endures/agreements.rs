//! Officers who agree, and end what they agreed: what was shared under it is out of sight from then on.

use super::dice::Dice;
use super::load::{ANSWERED_WITHIN, Load, Person, until_right};
use super::notes::Ended;
use super::records::PURPOSE;
use hufu::domain::fault::FaultKind;
use hufu::seal::sha256;
use hufu::wire::pb::v1;
use hufu::wire::pb::v1::records_client::RecordsClient;
use tonic::transport::Channel;

/// Works until the end; `number` is that of no other thread.
pub fn work(load: &Load, number: u64) {
    let mut dice = Dice::new(load.seed, number);
    let mut author = Person::new(load, "police", "analyst");
    let mut made = 0;
    while load.goes_on() {
        made += 1;
        let agreement = format!("brief-{made}");
        agree(load, &agreement);
        let body = dice.text(&agreement).into_bytes();
        let record = publish(&mut author, &agreement, &body, dice.id());
        let open = ["record", "open", &record, "--purpose", PURPOSE];
        ends_with(load, "the copy arrives", "customs-analyst", &open, 0);
        // It may be ended already, by an attempt whose outcome was not known.
        let party = dice.pick(&["police-officer", "customs-officer"]);
        load.run_until(party, &["--fresh", "agreement", "end", &agreement, "--reason", PURPOSE], &[0, 7]);
        ends_with(load, "the end is applied", "customs-analyst", &open, 4);
        let mut notes = load.notes();
        notes.count("agreements ended");
        notes.ended.push(Ended { record, origin: "police", digest: sha256(&[body.as_slice()]) });
        drop(notes);
        load.pause(dice.between(1_000, 5_000));
    }
}

/// Drafted by police, signed by both, in force at both. A draft that was not known to be taken is drafted again as the next
/// version, and whoever did not know of it yet has signed the one before: so the newest is signed until it is in force.
fn agree(load: &Load, agreement: &str) {
    let terms = ["--parties", "police,customs", "--grade", "internal", "--purpose", PURPOSE];
    load.run_until("police-officer", &[&["--fresh", "agreement", "draft", agreement], &terms[..]].concat(), &[0, 7]);
    until_right("an agreement is in force", ANSWERED_WITHIN, || {
        for officer in ["customs-officer", "police-officer"] {
            load.run_until(officer, &["--fresh", "agreement", "sign", agreement], &[0, 7]);
        }
        for agency in ["police", "customs"] {
            let shown = load.demo.run(&format!("{agency}-analyst"), &["agreement", "show", agreement]);
            if shown.code != 0 || shown.ok()["state"] != "in-force" {
                return Err(format!("{agency}: {:?} {}", shown.lines, shown.stderr));
            }
        }
        Ok(())
    });
}

fn publish(author: &mut Person, agreement: &str, body: &[u8], request_id: Vec<u8>) -> String {
    let request = v1::PublishRequest {
        title: format!("{PURPOSE} {agreement}"),
        body: body.to_vec(),
        grade: "internal".into(),
        agreement: agreement.into(),
        kind: "report".into(),
        wait: "one".into(),
        wait_ms: 2_000,
        timeout_ms: 5_000,
        request_id,
        ..v1::PublishRequest::default()
    };
    // A node that was just started may not have applied yet what it showed before.
    let reply = author.answered("a publish", &[FaultKind::Refused], async |channel: Channel| {
        RecordsClient::new(channel).publish(request.clone()).await
    });
    reply.record
}

/// Waits until a command ends with this code.
fn ends_with(load: &Load, what: &str, persona: &str, args: &[&str], code: i32) {
    until_right(what, ANSWERED_WITHIN, || {
        let ran = load.demo.run(persona, args);
        if ran.code == code { Ok(()) } else { Err(format!("{persona} {args:?}: exit {} {}", ran.code, ran.stderr)) }
    });
}
