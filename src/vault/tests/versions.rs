//! Which version of an agreement covers a record: the one that governs at its commitment, or a newer one.

use super::*;

/// Signs the next version of the agreement by both, at two indices.
fn sign(t: &mut Two, terms: &Terms, index: u64) {
    for (n, party) in [&mut t.police, &mut t.customs].into_iter().enumerate() {
        let (handle, key) = &party.officer;
        let act = Act::Agreement(terms.clone());
        let act = SignedAct::sign(&"test".parse().unwrap(), &act, terms.version - 1, Millis(u64::MAX), *handle, key);
        party.apply(&mut t.state, index + n as u64, Command::Act(act));
    }
}

/// Seals under version 1, signs `second`, commits; whether customs may have it.
fn after(second: Terms) -> Result<(), String> {
    let mut t = two();
    let id = record(60);
    let prepared = t.seal(draft(id, Grade::Secret, &["customs"]));
    sign(&mut t, &second, 18);
    let (t, object) = t.committed(prepared);
    let taken = block(t.customs.vault.accept(&t.state, object, NOW)).map_err(|e| e.to_string());
    let held = t.customs.vault.held(&t.state, &id, 0, NOW).unwrap();
    assert_eq!(held.as_ref().is_some_and(|h| h.covered), taken.is_ok());
    assert_eq!(held.is_some(), taken.is_ok());
    taken
}

/// The next year's agreement is signed early; this year's governs until then.
#[test]
fn r_a_version_signed_for_later_strands_nothing() {
    let later = Terms { version: 2, start: Millis(NOW.0 + 1_000_000), grade: Grade::Internal, ..border_terms() };
    assert_eq!(after(later), Ok(()));
}

/// What was accepted under the version before is covered as long as the newer one covers it.
#[test]
fn r_a_newer_version_that_covers_it_takes_it_over() {
    let wider = Terms { version: 2, purpose: "演练二".into(), ..border_terms() };
    assert_eq!(after(wider), Ok(()));
}

#[test]
fn r_what_a_newer_version_does_not_cover_is_refused() {
    let narrower = Terms { version: 2, grade: Grade::Confidential, ..border_terms() };
    assert!(after(narrower).unwrap_err().contains("outside its agreement"));
    let over = Terms { version: 2, end: Millis(NOW.0 - 1), ..border_terms() };
    assert!(after(over).unwrap_err().contains("was over"));
}

/// Nobody reaches back: a grant that names a newer version than any that governs is refused.
#[test]
fn r_a_version_that_is_not_signed_covers_nothing() {
    let t = two();
    let id = record(61);
    let agreement = Some(("border-2026".parse().unwrap(), 2));
    let prepared = t.seal(Draft { agreement, ..draft(id, Grade::Secret, &["customs"]) });
    let (t, object) = t.committed(prepared);
    assert!(block(t.customs.vault.accept(&t.state, object, NOW)).is_err());
}
