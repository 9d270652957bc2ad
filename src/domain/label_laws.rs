//! The lattice's laws, checked exhaustively over a small universe: every pair and, for the join, every triple.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "test")]

use super::*;

fn subsets<T: Ord + Clone>(items: &[T]) -> Vec<BTreeSet<T>> {
    (0..1u32 << items.len())
        .map(|bits| items.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1).map(|(_, v)| v.clone()).collect())
        .collect()
}

fn agencies() -> Vec<AgencyId> {
    ["customs", "cyberspace"].iter().map(|a| a.parse().unwrap()).collect()
}

fn compartments() -> Vec<Compartment> {
    ["border-ops", "other-ops"].iter().map(|c| c.parse().unwrap()).collect()
}

fn labels() -> Vec<Label> {
    let mut all = Vec::new();
    for grade in Grade::ALL {
        for compartments in subsets(&compartments()) {
            for release in subsets(&agencies()) {
                for caveats in subsets(&[Caveat::Orcon]) {
                    all.push(Label {
                        originator: "police".parse().unwrap(),
                        grade,
                        compartments: compartments.clone(),
                        release: release.clone(),
                        caveats: caveats.clone(),
                        period: None,
                    });
                }
            }
        }
    }
    all
}

fn readers() -> Vec<Clearance> {
    let mut all = Vec::new();
    for agency in ["police", "customs", "cyberspace", "stranger"] {
        for grade in Grade::ALL {
            for compartments in subsets(&compartments()) {
                all.push(Clearance { agency: agency.parse().unwrap(), grade, compartments });
            }
        }
    }
    all
}

/// The relation and the join as tables over the universe, so that every triple is looked at.
struct Tables {
    flows: Vec<Vec<bool>>,
    join: Vec<Vec<usize>>,
}

fn tables(all: &[Label]) -> Tables {
    let place = |l: &Label| all.iter().position(|x| x == l).expect("the universe is closed under join");
    Tables {
        flows: all.iter().map(|a| all.iter().map(|b| a.flows_to(b)).collect()).collect(),
        join: all.iter().map(|a| all.iter().map(|b| place(&a.join(b).unwrap())).collect()).collect(),
    }
}

#[test]
fn flows_to_is_a_partial_order() {
    let all = labels();
    let Tables { flows, .. } = tables(&all);
    for a in 0..all.len() {
        assert!(flows[a][a], "reflexive");
        for b in 0..all.len() {
            assert!(!(flows[a][b] && flows[b][a]) || a == b, "antisymmetric");
            for c in 0..all.len() {
                assert!(!(flows[a][b] && flows[b][c]) || flows[a][c], "transitive");
            }
        }
    }
}

#[test]
fn join_is_the_least_upper_bound() {
    let all = labels();
    let Tables { flows, join } = tables(&all);
    for a in 0..all.len() {
        for b in 0..all.len() {
            let j = join[a][b];
            assert!(flows[a][j] && flows[b][j], "upper bound");
            assert_eq!(j, join[b][a], "commutative");
            for c in 0..all.len() {
                assert!(!(flows[a][c] && flows[b][c]) || flows[j][c], "least");
                assert_eq!(join[j][c], join[a][join[b][c]], "associative");
            }
        }
    }
}

/// The chain of grades is their order, which is that of their numbers.
#[test]
fn grades_are_a_chain() {
    let chain = [Grade::Internal, Grade::Confidential, Grade::Secret, Grade::TopSecret];
    assert_eq!(Grade::ALL, chain);
    assert!(chain.windows(2).all(|two| two[0] < two[1] && (two[0] as u8) < two[1] as u8));
    assert!(chain.windows(2).all(|two| two[0].max_years() < two[1].max_years()), "the higher may last longer");
}

/// The same laws for periods: what is not known to be longer is no upper bound, whatever variant it is.
#[test]
fn a_period_is_never_taken_for_longer_than_it_is_known_to_be() {
    let until = |text: &str| Some(Period::Until(Millis::parse(text).unwrap()));
    let condition = |text: &str| Some(Period::Condition(text.into()));
    let periods = [
        None,
        Some(Period::Years(10)),
        Some(Period::Years(20)),
        until("2027-01-01"),
        until("2046-01-01"),
        condition("专案终结"),
        condition("演练结束"),
    ];
    let base = labels().into_iter().find(|l| l.grade == Grade::Secret).unwrap();
    let all: Vec<Label> = periods.iter().map(|p| Label { period: p.clone(), ..base.clone() }).collect();
    for a in &all {
        assert!(a.flows_to(a));
        for b in &all {
            assert!(!(a.flows_to(b) && b.flows_to(a)) || a == b, "antisymmetric");
            assert_eq!(a.join(b), b.join(a));
            let above: Vec<&Label> = all.iter().filter(|c| a.flows_to(c) && b.flows_to(c)).collect();
            match a.join(b) {
                Some(j) => assert!(above.contains(&&j) && above.iter().all(|c| j.flows_to(c)), "{a:?} {b:?}"),
                None => assert!(above.is_empty(), "{a:?} {b:?}"),
            }
            for c in &all {
                assert!(!(a.flows_to(b) && b.flows_to(c)) || a.flows_to(c), "transitive");
            }
        }
    }
    let [years, date] = [&all[2], &all[3]];
    assert!(!years.flows_to(date), "twenty years are not over next January");
}

#[test]
fn reading_is_the_and_of_everything() {
    for l in labels() {
        for c in readers() {
            let naive = c.grade as u8 >= l.grade as u8
                && l.compartments.iter().all(|k| c.compartments.contains(k))
                && (c.agency == l.originator || l.release.contains(&c.agency));
            assert_eq!(l.readable_by(&c).is_ok(), naive, "{l:?} {c:?}");
        }
    }
}

#[test]
fn no_read_up_no_write_down_and_empty_means_nobody() {
    let all = labels();
    for c in readers() {
        for a in &all {
            if a.readable_by(&c).is_err() {
                for b in &all {
                    // What flows from an unreadable label stays unreadable: raising never opens.
                    assert!(!(a.flows_to(b) && b.readable_by(&c).is_ok()), "{a:?} -> {b:?} by {c:?}");
                }
            }
            if a.release.is_empty() && c.agency.as_str() != "police" {
                assert!(a.readable_by(&c).is_err(), "an empty release list means nobody");
            }
            if c.agency.as_str() != "police" {
                assert!(a.markable_by(&c).is_err(), "nobody marks for another agency");
            }
        }
    }
}

#[test]
fn class_ids_are_one_to_one_and_labels_round_trip() {
    let ids: BTreeSet<Vec<u8>> = labels().iter().map(Label::class_id).collect();
    assert_eq!(ids.len(), labels().len());
    for l in labels() {
        assert_eq!(Label::from_canon(&l.to_canon()).unwrap(), l);
    }
}

#[test]
fn periods_keep_the_law() {
    let now = Millis::parse("2026-01-01").unwrap();
    for (grade, max) in [(Grade::Confidential, 10), (Grade::Secret, 20), (Grade::TopSecret, 30)] {
        assert!(Period::Years(max).check(grade, now).is_ok());
        assert_eq!(Period::Years(max + 1).check(grade, now).unwrap_err().reason, "PERIOD_TOO_LONG");
        assert!(Period::Until(now.plus_years(max)).check(grade, now).is_ok());
        assert!(Period::Until(now.plus_years(max).plus_ms(1)).check(grade, now).is_err());
    }
    assert_eq!(Period::Years(1).check(Grade::Internal, now).unwrap_err().reason, "PERIOD_ON_INTERNAL");
}
