//! A duty officer who sends notices, acknowledges those of others, recalls and follows own ones.

use super::dice::Dice;
use super::load::{Load, Person};
use super::nodes::AGENCIES;
use super::notes::Letter;
use super::records::PURPOSE;
use hufu::domain::fault::FaultKind;
use hufu::wire::pb::v1;
use hufu::wire::pb::v1::notices_client::NoticesClient;
use std::collections::BTreeSet;
use tonic::transport::Channel;

const PRECEDENCES: [&str; 4] = ["flash", "immediate", "priority", "routine"];
/// Somebody looks at the newest so many.
const NEWEST: usize = 64;

struct Duty<'a> {
    load: &'a Load<'a>,
    person: Person<'a>,
    agency: &'static str,
    dice: Dice,
    made: u32,
}

/// Works until the end; `number` is that of no other thread.
pub fn work(load: &Load, agency: &'static str, number: u64) {
    let (person, dice) = (Person::new(load, agency, "duty"), Dice::new(load.seed, number));
    let mut duty = Duty { load, person, agency, dice, made: 0 };
    while load.goes_on() {
        match duty.dice.below(100) {
            0..40 => duty.send(),
            40..75 => duty.acknowledge(),
            75..85 => duty.recall(),
            _ => duty.track(),
        }
        load.pause(duty.dice.between(200, 1_000));
    }
}

impl Duty<'_> {
    /// A notice has no id of its sender's: what is not known to be accepted may exist, and is not counted.
    fn send(&mut self) {
        self.made += 1;
        let others: Vec<&'static str> = AGENCIES.into_iter().filter(|a| *a != self.agency).collect();
        let to: BTreeSet<&'static str> = (0..2).map(|_| self.dice.pick(&others)).collect();
        // The ceiling of cyberspace, which is party to no agreement above it.
        let is_low = self.agency == "cyberspace" || to.contains("cyberspace");
        let grade = if is_low { "internal" } else { self.dice.pick(&["internal", "secret"]) };
        let subject = format!("{PURPOSE} {}-{}", self.agency, self.made);
        let body = self.dice.text(&subject).chars().take(2_000).collect::<String>();
        let request = v1::NoticeSendRequest {
            to: to.iter().map(|a| (*a).to_owned()).collect(),
            precedence: self.dice.pick(&PRECEDENCES).into(),
            grade: grade.into(),
            subject: subject.clone(),
            body: body.clone(),
            exercise: true,
            ..v1::NoticeSendRequest::default()
        };
        let sent =
            self.person.call(&mut async |channel: Channel| NoticesClient::new(channel).send(request.clone()).await);
        match sent {
            Ok(reply) => {
                assert!(reply.state == "accepted" && reply.refused.is_empty(), "{reply:?}");
                let mut notes = self.load.notes();
                notes.count("notices");
                notes.letters.push(Letter {
                    notice: reply.notice,
                    from: self.agency,
                    to,
                    subject,
                    body,
                    acknowledged: BTreeSet::new(),
                    recall_asked: false,
                    recalled: false,
                });
            }
            Err(fault) if fault.kind == FaultKind::Unavailable => self.load.count("notices unknown"),
            Err(fault) => panic!("{}: a notice: {fault:?}", self.agency),
        }
    }

    /// One of the newest that fit, and its place.
    fn some_letter(&mut self, fits: impl Fn(&Letter) -> bool) -> Option<(usize, String)> {
        let notes = self.load.notes();
        let newest = notes.letters.iter().enumerate().rev().take(NEWEST).filter(|(_, l)| fits(l));
        let all: Vec<(usize, &Letter)> = newest.collect();
        let (at, letter) = (!all.is_empty()).then(|| all[self.dice.below(all.len())])?;
        Some((at, letter.notice.clone()))
    }

    /// With the person's own key, as the command line does it.
    fn acknowledge(&mut self) {
        let agency = self.agency;
        let fits = |l: &Letter| l.to.contains(agency) && !l.acknowledged.contains(agency) && !l.recall_asked;
        let Some((at, notice)) = self.some_letter(fits) else { return };
        let ran = self.load.demo.run(&format!("{agency}-duty"), &["notice", "ack", &notice]);
        let mut notes = self.load.notes();
        match ran.code {
            0 => {
                notes.count("notices acknowledged");
                notes.letters[at].acknowledged.insert(agency);
            }
            // Not here yet, or taken back meanwhile.
            4 => notes.count("not there yet"),
            5 => notes.count("unavailable or unknown"),
            7 if notes.letters[at].recall_asked && ran.stderr.contains("RECALLED") => notes.count("recalled first"),
            code => panic!("{agency}: {notice}: exit {code} {}", ran.stderr),
        }
    }

    /// Again and again until it is known: once more changes nothing.
    fn recall(&mut self) {
        let agency = self.agency;
        let Some((at, notice)) = self.some_letter(|l| l.from == agency && !l.recall_asked) else { return };
        self.load.notes().letters[at].recall_asked = true;
        let request = v1::NoticeRecallRequest { notice, reason: PURPOSE.into() };
        let done = self.person.answered("a recall", &[], async |channel: Channel| {
            NoticesClient::new(channel).recall(request.clone()).await
        });
        assert!(done.refused.is_empty(), "{done:?}");
        let mut notes = self.load.notes();
        notes.count("recalls");
        notes.letters[at].recalled = true;
    }

    fn track(&mut self) {
        let agency = self.agency;
        let Some((_, notice)) = self.some_letter(|l| l.from == agency) else { return };
        let request = v1::NoticeTrackRequest { notice, wait: String::new(), timeout_ms: 0 };
        let tracked =
            self.person.call(&mut async |channel: Channel| NoticesClient::new(channel).track(request.clone()).await);
        match tracked {
            Ok(_) => self.load.count("tracked"),
            Err(fault) if fault.kind == FaultKind::Unavailable => {}
            // Also when it is absent: its sender's node accepted it.
            Err(fault) => panic!("{agency}: {}: {fault:?}", request.notice),
        }
    }
}
