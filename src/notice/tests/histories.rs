//! Every order of events of one notice, up to a depth.

use super::*;

/// What can happen to one notice from police to customs.
#[derive(Debug, Clone, Copy)]
enum Event {
    Sent,
    AnswerLost,
    SenderDies,
    AddresseeDies,
    Shown,
    Acknowledged,
    Cancelled,
}

const EVENTS: [Event; 7] = [
    Event::Sent,
    Event::AnswerLost,
    Event::SenderDies,
    Event::AddresseeDies,
    Event::Shown,
    Event::Acknowledged,
    Event::Cancelled,
];

impl World {
    async fn happen(&mut self, event: Event, notice: NoticeId) {
        self.now = self.now.plus_ms(1_000);
        let there = self.parties[0].office.as_ref().unwrap().read(|b| b.received_of(&notice).map(|(d, _)| d));
        let (customs, state) = (self.parties[0].office.as_ref().unwrap(), &self.state);
        match (event, there) {
            (Event::Sent, _) => self.send_due(0).await,
            (Event::AnswerLost, _) => {
                self.cut.insert((0, 1));
                self.send_due(0).await;
                self.cut.clear();
            }
            (Event::SenderDies, _) => {
                self.parties[1].kill();
                self.parties[1].start();
            }
            (Event::AddresseeDies, _) => {
                self.parties[0].kill();
                self.parties[0].start();
            }
            (Event::Shown, Some(letter)) => {
                let shown = customs.shown(state, &letter, "duty", self.now, &mut self.dice).await;
                self.model.seen.extend(shown.ok().map(|()| notice));
            }
            (Event::Acknowledged, Some(letter)) => {
                let word = Some(word(&letter, "duty", None));
                let said = customs.say(state, &letter, ReceiptState::Acknowledged, word, self.now, &mut self.dice);
                if said.await.is_ok() {
                    self.model.acknowledged.insert(notice);
                }
            }
            (Event::Cancelled, _) if !self.model.cancelled.contains(&notice) => {
                let to = self.parties[0].id.clone();
                let cancel = withdrawal(notice, &to);
                let police = self.parties[1].office.as_ref().unwrap();
                if police.sent_of(&notice).iter().all(|(_, o)| o.state().is_none_or(|s| s == ReceiptState::Delivered)) {
                    police
                        .accept(&self.state, vec![cancel], ("duty", u64::MAX), self.now, &mut self.dice)
                        .await
                        .unwrap();
                    self.model.cancelled.insert(notice);
                }
            }
            _ => {}
        }
    }
}

/// Every order of events up to a depth (4; `HUFU_DEPTH` for more), each ended by faults that stop: no loss, nothing
/// twice, no end that lies.
#[test]
fn every_short_history_of_one_notice_ends_well() {
    let depth = std::env::var("HUFU_DEPTH").ok().and_then(|v| v.parse().ok()).unwrap_or(4u32);
    for history in 0..EVENTS.len().pow(depth) {
        let events: Vec<Event> = (0..depth).map(|d| EVENTS[history / EVENTS.len().pow(d) % EVENTS.len()]).collect();
        let mut world = World::new(3);
        block(async {
            let notice = NoticeId::new(world.now, mark(&world.parties[1].id), &mut world.dice);
            let draft = draft(notice, &world.parties[0].id.clone(), Precedence::Flash);
            let police = world.parties[1].office.as_ref().unwrap();
            police.accept(&world.state, vec![draft], ("duty", u64::MAX), world.now, &mut world.dice).await.unwrap();
            world.model.accepted.insert(notice, (1, 0));
            for event in &events {
                world.happen(*event, notice).await;
            }
            world.run(1).await;
        });
        eprintln!("{events:?}");
        world.check();
    }
}
