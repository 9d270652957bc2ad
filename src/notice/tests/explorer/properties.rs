//! What must hold of the states that the explorer visits.

use super::*;

impl Explorer<'_> {
    /// What holds at every moment.
    pub(super) fn check(&self, scene: &Scene) -> Result<(), String> {
        let [customs, police] = &scene.nodes;
        let (entry, facts) = (customs.book.entry(&self.first), scene.facts);
        let out = police.book.out(&self.first).ok_or("its sender lost it")?;
        let arrived = customs.book.arrived_since(0).0.len();
        must(arrived <= 1 && facts.rung <= 1, "it is shown as new twice")?;
        let said = |r: &SignedReceipt| r.receipt.letter != self.first || entry.is_some_and(|i| i.receipts.contains(r));
        must(out.receipts.iter().all(said), "its sender believes what nobody said durably")?;
        for message in &scene.net {
            let Message::Answer { receipts, .. } = message else { continue };
            must(receipts.iter().all(|r| said(&self.receipts[r])), "what is answered is not durable")?;
        }
        let withdrawn = entry.is_some_and(|i| i.state() == ReceiptState::Withdrawn);
        let asked = facts.withdrawn || facts.recalled;
        must(!withdrawn || asked && !facts.seen, "what was seen, or not withdrawn, is withdrawn")?;
        let recalled = entry.is_some_and(|i| i.state() == ReceiptState::Recalled);
        must(!recalled || facts.recalled, "nobody recalled it")?;
        must(
            entry.is_none_or(|i| i.letter.is_none() == recalled),
            "what is recalled can be opened, or what is not cannot",
        )?;
        must(out.state() != Some(ReceiptState::Withdrawn) || withdrawn, "its sender takes it for withdrawn")?;
        let acknowledged = entry.is_some_and(|i| i.acknowledged_by() == Some("duty"));
        must(!facts.acknowledged || acknowledged, "an acknowledgement is lost")?;
        must(!out.is_acknowledged() || acknowledged, "its sender takes it for acknowledged")?;
        must(out.confirmed.is_none() || facts.confirming, "its sender takes it for confirmed, and nobody was asked")?;
        let marked = entry.and_then(|i| i.confirmed.as_ref());
        must(marked.is_none_or(|(by, _)| by == CLASSIFIER), "somebody else confirmed it")?;
        must(marked.is_none() || out.confirmed.is_some(), "it is marked, and its sender has not confirmed it durably")?;
        let now = self.case.at(scene);
        if entry.is_some_and(|i| i.state() == ReceiptState::Delivered && i.header.expires > now) {
            let due = customs.book.uncalled(now).contains(&(self.first, None));
            must(facts.rung > 0 || due, "nobody is told of it, nor will be")?;
        }
        must(out.ended.is_none_or(|(_, at)| at >= out.letter.header.expires), "it ended early")?;
        for node in &scene.nodes {
            let mut given = BTreeSet::new();
            for frame in &node.frames {
                let Frame::Stepped { letter, step, at } = frame else { continue };
                must(given.insert((*letter, *step)), "an alarm is given twice")?;
                let since = node.book.out(letter).map(|o| o.accepted);
                let since = since.or_else(|| node.book.entry(letter).map(|i| i.at)).ok_or("an alarm about nothing")?;
                must(*at >= since.plus_ms(after_ms(*step)), "an alarm is early")?;
            }
        }
        Ok(())
    }

    /// Faults stop and one path works: what is owed arrives, and the end is true.
    pub(super) fn ends_well(&mut self, scene: &Scene, by_relay: bool) -> Result<(), String> {
        let mut at = scene.clone();
        at.net.clear();
        for letter in std::mem::take(&mut at.waits) {
            at.relay.failed(&letter);
        }
        let mut path = Vec::new();
        while !self.well[usize::from(by_relay)].contains(&at.key()) {
            must(path.len() < 100, "it goes on for ever")?;
            path.push(at.key());
            match self.fair(&at, by_relay) {
                Some(next) => at = next,
                None => {
                    self.check_end(&at)?;
                    break;
                }
            }
            self.check(&at)?;
        }
        self.well[usize::from(by_relay)].extend(path);
        Ok(())
    }

    /// The next thing that changes something: a step that is due, or the most urgent letter that the schedule tries.
    fn fair(&mut self, scene: &Scene, by_relay: bool) -> Option<Scene> {
        let now = self.case.at(scene);
        for (n, node) in scene.nodes.iter().enumerate() {
            let frames = node.book.due(now, &Deadlines::default());
            if !frames.is_empty() {
                return self.outcomes(scene, n, &frames).pop().map(|(_, next)| next);
            }
        }
        for node in &scene.nodes {
            // As after a start; again and again, until relays are asked too.
            let mut schedule = Schedule::default();
            node.book.open().for_each(|(letter, out)| schedule.add(&out.letter.header.to, letter));
            for round in 1..6 {
                for t in schedule.due(&node.book, now, Millis(round * 60_000), |_| 0) {
                    let (letter, keys) = (t.letter, scene.nodes.each_ref().map(|n| n.key));
                    let message = match by_relay {
                        true if !t.relays => continue,
                        true => Message::ToRelay(letter),
                        false => Message::Letter { letter, by_relay: false },
                    };
                    let next = self.exchange(scene, message);
                    if next.nodes.each_ref().map(|n| n.key) != keys {
                        return Some(next);
                    }
                }
            }
        }
        None
    }

    /// One message, and all that follows from it.
    fn exchange(&mut self, scene: &Scene, message: Message) -> Scene {
        let mut at = Scene { net: [message].into(), ..scene.clone() };
        while let Some(message) = at.net.pop_first() {
            if let Some((None, next)) = self.apply(&at, &Move::Arrives(message)).pop() {
                at = next;
            }
        }
        at
    }

    /// What holds when nothing is left to do.
    fn check_end(&self, scene: &Scene) -> Result<(), String> {
        let [customs, police] = &scene.nodes;
        must(scene.nodes.iter().all(|n| n.book.open().count() == 0), "something waits, though the path works")?;
        let (now, facts) = (self.case.at(scene), scene.facts);
        let out = police.book.out(&self.first).ok_or("its sender lost it")?;
        let entry = customs.book.entry(&self.first);
        if let Some(entry) = entry.filter(|i| self.case.action && i.state() < ReceiptState::Acknowledged) {
            for step in [Step::Deputy, Step::Chain, Step::OutOfBand] {
                let due = entry.at.plus_ms(after_ms(step)) <= now && entry.state() != ReceiptState::Withdrawn;
                must(!due || entry.steps.contains_key(&step), "an escalation is left out")?;
            }
        }
        let silent = self.case.action && !out.is_acknowledged() && !out.is_taken_back();
        let overdue = silent && out.accepted.plus_ms(after_ms(Step::Unacknowledged)) <= now;
        must(!overdue || out.steps.contains_key(&Step::Unacknowledged), "an alarm is left out")?;
        let unmarked = out.provisional && out.confirmed.is_none() && !out.is_taken_back();
        let overdue = unmarked && out.accepted.plus_ms(after_ms(Step::Unconfirmed)) <= now;
        must(!overdue || out.steps.contains_key(&Step::Unconfirmed), "nobody is told that it is unconfirmed")?;
        if out.ended.is_some() {
            // Whether it was delivered is unknown, unless a late receipt says so.
            return Ok(());
        }
        let entry = entry.ok_or("it is lost")?;
        must(out.state() == Some(entry.state()), "sender and addressee say different things")?;
        let withdrawn = entry.state() == ReceiptState::Withdrawn;
        let seen = entry.opened || entry.state() > ReceiptState::Withdrawn;
        must(!facts.withdrawn || withdrawn || seen, "nobody saw it, and it is not withdrawn")?;
        must(!facts.recalled || entry.state().is_taken_back(), "it is not recalled")?;
        let marked = entry.confirmed.is_some() || entry.state().is_taken_back();
        must(!facts.confirmed || marked, "it is confirmed, and not marked where it went")?;
        must(!facts.acknowledged || out.is_acknowledged(), "its sender is not told of the acknowledgement")
    }

    pub(super) fn reached(&self, scene: &Scene, goal: Goal) -> bool {
        let [customs, police] = &scene.nodes;
        let (Some(out), entry) = (police.book.out(&self.first), customs.book.entry(&self.first)) else { return false };
        match goal {
            Goal::Relayed => out.is_delivered() && scene.keeps.contains_key(&self.first),
            Goal::Unknown => out.ended.is_some() && !out.is_delivered() && entry.is_some(),
            Goal::Corrected => out.ended.is_some() && out.is_delivered(),
            Goal::Withdrawn => out.state() == Some(ReceiptState::Withdrawn),
            Goal::TooLate => scene.facts.withdrawn && scene.facts.seen && out.is_delivered(),
            Goal::Recalled => out.state() == Some(ReceiptState::Recalled),
            Goal::Confirmed => {
                let told = police.book.about(&self.notice, &self.ids[CUSTOMS], LetterKind::Confirm);
                told.is_some_and(|(_, o)| o.is_delivered()) && entry.is_some_and(|i| i.confirmed.is_some())
            }
            Goal::Unconfirmed => out.steps.contains_key(&Step::Unconfirmed),
            Goal::Moot => {
                let told = police.book.about(&self.notice, &self.ids[CUSTOMS], LetterKind::Confirm);
                told.is_some_and(|(_, o)| o.is_delivered()) && entry.is_some_and(|i| i.confirmed.is_none())
            }
            Goal::Acknowledged => out.is_acknowledged(),
            Goal::Deputy => entry.is_some_and(|i| i.steps.contains_key(&Step::Deputy)),
            Goal::OutOfBand => entry.is_some_and(|i| i.steps.contains_key(&Step::OutOfBand)),
        }
    }
}

fn must(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

/// When a flash's alarms and escalations are due, as `domain.md` and P26 have it: after acceptance at the sender, after
/// arrival at the addressee.
fn after_ms(step: Step) -> u64 {
    match step {
        Step::Undelivered => 10_000,
        Step::Unacknowledged | Step::Deputy => 120_000,
        Step::Chain => 240_000,
        Step::OutOfBand => 360_000,
        Step::Unconfirmed => 4 * 3_600_000,
        Step::Reminder => u64::MAX,
    }
}
