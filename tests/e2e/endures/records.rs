//! An analyst who publishes, amends, opens what others published, and searches.

use super::dice::Dice;
use super::load::{Load, Person};
use super::nodes::AGENCIES;
use super::notes::{Opened, Version};
use hufu::domain::fault::{Fault, FaultKind};
use hufu::seal::sha256;
use hufu::wire::pb::v1;
use hufu::wire::pb::v1::records_client::RecordsClient;
use std::collections::BTreeSet;
use tonic::transport::Channel;

pub const PURPOSE: &str = "演练：耐久";
/// Parties of border-2026.
const PARTIES: [&str; 3] = ["police", "state-security", "customs"];
/// Holders of the compartment border-ops.
const CLEARED: [&str; 2] = ["police", "customs"];
/// How often somebody looks for a version that their agency is entitled to.
const LOOKS: usize = 20;

/// With whom a record is shared.
struct Scope {
    grade: &'static str,
    agreement: &'static str,
    compartments: Vec<String>,
    release: Vec<String>,
    entitled: BTreeSet<&'static str>,
}

impl Scope {
    fn thrown(agency: &'static str, dice: &mut Dice) -> Scope {
        let of = |grade, agreement, entitled: &[&'static str]| {
            let (compartments, release) = (Vec::new(), Vec::new());
            Scope { grade, agreement, compartments, release, entitled: entitled.iter().copied().collect() }
        };
        let throw = dice.below(8);
        if !PARTIES.contains(&agency) || throw < 2 {
            return of("internal", "common-2026", &AGENCIES);
        }
        if throw == 2 {
            return of("internal", "", &[agency]);
        }
        if throw == 3 && CLEARED.contains(&agency) {
            return Scope { compartments: vec!["border-ops".into()], ..of("secret", "border-2026", &CLEARED) };
        }
        if throw == 4 {
            let others: Vec<&'static str> = PARTIES.into_iter().filter(|a| *a != agency).collect();
            let other = dice.pick(&others);
            return Scope { release: vec![other.into()], ..of("secret", "border-2026", &[agency, other]) };
        }
        of(dice.pick(&["internal", "confidential", "secret"]), "border-2026", &PARTIES)
    }
}

struct Analyst<'a> {
    load: &'a Load<'a>,
    person: Person<'a>,
    agency: &'static str,
    dice: Dice,
    /// Begins the words of its records.
    number: u64,
    made: u32,
    /// The newest version of each record of its own.
    own: Vec<Version>,
}

/// Works until the end; `number` is that of no other thread.
pub fn work(load: &Load, agency: &'static str, number: u64) {
    let (person, dice) = (Person::new(load, agency, "analyst"), Dice::new(load.seed, number));
    let mut analyst = Analyst { load, person, agency, dice, number, made: 0, own: Vec::new() };
    while load.goes_on() {
        match analyst.dice.below(100) {
            0..40 => analyst.publish(),
            40..50 => analyst.amend(),
            50..85 => analyst.open(),
            _ => analyst.search(),
        }
        load.pause(analyst.dice.between(50, 450));
    }
}

impl Analyst<'_> {
    fn publish(&mut self) {
        self.made += 1;
        let word = format!("zq{}x{}", self.number, self.made);
        let scope = Scope::thrown(self.agency, &mut self.dice);
        let body = self.dice.text(&word).into_bytes();
        let wait = self.dice.pick(&["none", "one", "all"]);
        let request = v1::PublishRequest {
            title: format!("{PURPOSE} {word}"),
            body: body.clone(),
            grade: scope.grade.into(),
            compartments: scope.compartments,
            agreement: scope.agreement.into(),
            release: scope.release,
            kind: "report".into(),
            wait: wait.into(),
            wait_ms: 2_000,
            timeout_ms: 5_000,
            request_id: self.dice.id(),
            ..v1::PublishRequest::default()
        };
        let reply = self.person.answered("a publish", &[], async |channel: Channel| {
            RecordsClient::new(channel).publish(request.clone()).await
        });
        assert_eq!(reply.version, 1, "{reply:?}");
        let version = Version {
            record: reply.record.clone(),
            number: 1,
            origin: self.agency,
            entitled: scope.entitled,
            digest: sha256(&[body.as_slice()]),
            bytes: body.len(),
            word,
        };
        self.acknowledged(version, wait, &reply);
    }

    /// The next version of an own record that is on the ledger.
    fn amend(&mut self) {
        if self.own.is_empty() {
            return;
        }
        let at = self.dice.below(self.own.len());
        let before = self.own.swap_remove(at);
        let body = self.dice.text(&before.word).into_bytes();
        let wait = self.dice.pick(&["none", "one", "all"]);
        let request = v1::AmendRequest {
            record: before.record.clone(),
            version: before.number,
            title: String::new(),
            body: body.clone(),
            portions: Vec::new(),
            reason: PURPOSE.into(),
            wait: wait.into(),
            wait_ms: 2_000,
            timeout_ms: 5_000,
            request_id: self.dice.id(),
            repeats: false,
        };
        // A node that was just started may not have applied yet what it acknowledged before.
        let lags = [FaultKind::NotFound, FaultKind::Conflict];
        let reply = self.person.answered("an amendment", &lags, async |channel: Channel| {
            RecordsClient::new(channel).amend(request.clone()).await
        });
        assert_eq!((&reply.record, reply.version), (&before.record, before.number + 1), "{reply:?}");
        let (number, digest, bytes) = (reply.version, sha256(&[body.as_slice()]), body.len());
        self.acknowledged(Version { number, digest, bytes, ..before }, wait, &reply);
    }

    /// Notes what is acknowledged, and that the answer says what it was asked for.
    fn acknowledged(&mut self, version: Version, wait: &str, reply: &v1::PublishReply) {
        let on_ledger = match reply.state.as_str() {
            "committed" => true,
            // Durable here, with no leader in time; `incomplete` says so.
            "accepted" if reply.incomplete => false,
            _ => panic!("{reply:?}"),
        };
        let names = |list: &[String]| -> BTreeSet<String> { list.iter().cloned().collect() };
        let (held, owed) = (names(&reply.held_by), names(&reply.owed));
        assert!(owed.iter().map(String::as_str).eq(version.entitled.iter().copied()), "{reply:?}");
        assert!(held.is_subset(&owed) && held.contains(self.agency), "{reply:?}");
        assert!(wait != "all" || reply.incomplete || held == owed, "{reply:?}");
        let mut notes = self.load.notes();
        notes.count(if on_ledger { "publishes committed" } else { "publishes accepted" });
        if version.number > 1 {
            notes.count("amendments");
        }
        if on_ledger {
            self.own.push(version.clone());
        }
        notes.versions.push(version);
    }

    /// A version that the own agency is entitled to, whoever made it.
    fn some_version(&mut self) -> Option<Version> {
        let notes = self.load.notes();
        let all = &notes.versions;
        (0..LOOKS.min(all.len())).find_map(|_| {
            let version = &all[self.dice.below(all.len())];
            version.entitled.contains(self.agency).then(|| version.clone())
        })
    }

    fn open(&mut self) {
        let Some(version) = self.some_version() else { return };
        match opened(&mut self.person, self.agency, &version) {
            Ok(opened) => {
                self.load.count("opened");
                self.load.notes().opened.push(opened);
            }
            // The copy is on its way, or somebody is away; the oracle looks again.
            Err(fault) if [FaultKind::NotFound, FaultKind::Unavailable].contains(&fault.kind) => {}
            Err(fault) => panic!("{} {} at {}: {fault:?}", version.record, version.number, self.agency),
        }
    }

    fn search(&mut self) {
        let Some(version) = self.some_version() else { return };
        match found(&mut self.person, &version) {
            Ok(_) => self.load.count("searched"),
            Err(fault) if fault.kind == FaultKind::Unavailable => {}
            Err(fault) => panic!("{} at {}: {fault:?}", version.word, self.agency),
        }
    }
}

/// Opens a version; what is shown must be what was published.
pub fn opened(person: &mut Person, at: &'static str, version: &Version) -> Result<Opened, Fault> {
    let (record, number) = (version.record.clone(), version.number);
    let request = v1::OpenRequest { record: record.clone(), version: number, purpose: PURPOSE.into() };
    let reply = person.call(&mut async |channel: Channel| RecordsClient::new(channel).open(request.clone()).await)?;
    let texts: Vec<&[u8]> = reply.portions.iter().map(|p| p.text.as_slice()).collect();
    let is_it = reply.version == number && texts.len() == 1 && sha256(&texts) == version.digest;
    assert!(is_it, "{record} {number} at {at} is another: version {}, {} texts", reply.version, texts.len());
    Ok(Opened { at, record, origin: version.origin, version: number, seq: reply.audit_seq })
}

/// Whether a search for the word of a record finds it, and nothing else.
pub fn found(person: &mut Person, version: &Version) -> Result<bool, Fault> {
    let request =
        v1::SearchRequest { query: version.word.clone(), limit: 20, purpose: PURPOSE.into(), ..Default::default() };
    let reply = person.call(&mut async |channel: Channel| RecordsClient::new(channel).search(request.clone()).await)?;
    let hits: Vec<&str> = reply.hits.iter().map(|h| h.record.as_str()).collect();
    assert!(hits.is_empty() || hits == [version.record.as_str()], "{}: {hits:?}", version.word);
    Ok(!hits.is_empty())
}
