//! Each bound, kept and missed.

use super::*;

fn invariant(violations: i64) -> Invariant {
    let example = (violations > 0).then(|| "thing_7".to_owned());
    Invariant { name: "I1 things add up".into(), looked_at: 40, violations, example }
}

fn build(name: &str, commit: &str) -> Build {
    Build { name: name.into(), commit: commit.into(), profile: "release".into(), tuned: false }
}

fn good() -> Evidence {
    let counts = |name: &str| Counts {
        name: name.into(),
        offered: 1000,
        offered_rate: 100.0,
        achieved_rate: 99.7,
        sent: 1200,
        replies: 1200,
        skipped: 1,
        lag_p99_us: 150.0,
        open: (4, 4),
        seconds: 10.0,
        in_flight_seconds: 20.0,
        latency_seconds: 20.5,
        fastest: vec![("make".into(), 2000, 2100)],
        invariants: vec![invariant(0)],
        answered: vec![("make".into(), 900), ("use".into(), 1)],
        effects: vec![("things".into(), 400, 400)],
        counted: Some(1200),
        ..Counts::default()
    };
    Evidence {
        contenders: vec![counts("a"), counts("b")],
        generator_share: 0.1,
        support_share: 0.5,
        others_cores: 0.02,
        stolen_cores: 0.0,
        builds: ["a", "b"].map(|name| build(name, "0a1b2c")).into(),
        generator_profile: "release".into(),
        slices: (48, 48),
        set_aside: Some((6, 24)),
        trial: false,
        inapplicable: vec![],
    }
}

#[test]
fn a_good_run_keeps_every_bound() {
    let bounds = judge(&good(), &[]);
    assert_eq!(bounds.len(), 19);
    assert!(bounds.iter().all(|bound| bound.held && !bound.voids()), "{bounds:#?}");
}

#[test]
fn each_bound_is_missed_by_what_it_is_about_and_by_nothing_else() {
    type Spoil = fn(&mut Evidence);
    let cases: [(&str, Spoil); 29] = [
        (name::RATE, |e| e.contenders[1].achieved_rate = 94.0),
        (name::SKIPPED, |e| e.contenders[0].skipped = 2),
        (name::SHED, |e| e.contenders[0].shed = 2),
        (name::DROPPED, |e| e.contenders[1].dropped = 1),
        (name::ANSWERED, |e| e.contenders[1].answered[1].1 = 0),
        (name::UNEXPECTED, |e| e.contenders[0].unexpected = vec![("pay 503".into(), 1)]),
        (name::COUNTS, |e| e.contenders[1].replies -= 1),
        (name::COUNTS, |e| e.contenders[0].effects[0].2 = 399),
        // One that was sent again by somebody between.
        (name::COUNTS, |e| e.contenders[1].counted = Some(1201)),
        (name::INVARIANTS, |e| e.contenders[1].invariants[0].violations = 1),
        (name::INVARIANTS, |e| e.contenders[0].invariants.clear()),
        (name::CONNECTIONS, |e| e.contenders[0].reopened = 1),
        (name::CONNECTIONS, |e| e.contenders[1].open.0 = 3),
        (name::LITTLE, |e| e.contenders[1].latency_seconds = 21.1),
        (name::LITTLE, |e| e.contenders[0].latency_seconds = 18.9),
        (name::FLOOR, |e| e.contenders[0].fastest[0].2 = 1999),
        (name::LAG, |e| e.contenders[1].lag_p99_us = 1001.0),
        (name::GENERATOR, |e| e.generator_share = 0.51),
        (name::SUPPORT, |e| e.support_share = 0.91),
        (name::OTHERS, |e| e.others_cores = 0.11),
        (name::STOLEN, |e| e.stolen_cores = 0.06),
        (name::DISTURBED, |e| e.set_aside = Some((7, 24))),
        // One in ten, and too few are left for any interval.
        (name::DISTURBED, |e| e.set_aside = Some((1, 10))),
        (name::BUILD, |e| e.generator_profile = "debug".into()),
        (name::BUILD, |e| e.builds[0].profile = "debug".into()),
        (name::BUILD, |e| e.builds[1].commit = "3d4e5f".into()),
        (name::BUILD, |e| e.builds[1].commit = "0a1b2c-dirty".into()),
        (name::BUILD, |e| e.builds.iter_mut().for_each(|build| build.commit = "unknown".into())),
        (name::COMPLETE, |e| e.slices = (48, 47)),
    ];
    for (name, spoil) in cases {
        let mut evidence = good();
        spoil(&mut evidence);
        let missed: Vec<_> =
            judge(&evidence, &[]).into_iter().filter(Bound::voids).map(|bound| bound.name).collect();
        assert_eq!(missed, [name]);
        let allowed = judge(&evidence, &[name.to_owned()]);
        assert!(
            allowed.iter().all(|bound| !bound.voids()) && allowed.iter().any(|bound| !bound.held),
            "{name}"
        );
    }
}

#[test]
fn enough_pairs_are_left_for_intervals_where_there_were_enough() {
    let kept = |set_aside| {
        let bounds = judge(&Evidence { set_aside: Some(set_aside), ..good() }, &[]);
        bounds.into_iter().find(|bound| bound.name == name::DISTURBED).unwrap().held
    };
    assert_eq!([(0, 10), (3, 13), (3, 14)].map(kept), [true; 3]);
    assert_eq!([(1, 10), (3, 12), (4, 14)].map(kept), [false; 3]);
    // Nothing of so few has an interval anyway.
    assert_eq!([(1, 4), (2, 8), (2, 9)].map(kept), [true; 3]);
}

#[test]
fn a_bound_that_does_not_apply_is_neither_kept_nor_missed_and_says_why() {
    let mut evidence = good();
    evidence.contenders.iter_mut().for_each(|counts| counts.invariants.clear());
    evidence.inapplicable = vec![(name::INVARIANTS.into(), "nobody knows".into())];
    let bounds = judge(&evidence, &[name::INVARIANTS.to_owned()]);
    let of_it = |bound: &&Bound| bound.name == name::INVARIANTS;
    let bound = bounds.iter().find(of_it).unwrap();
    assert_eq!(bound.measured, "not applicable: nobody knows");
    assert!(!bound.held && !bound.allowed && !bound.missed() && !bound.voids(), "{bound:?}");
    assert!(bounds.iter().filter(|bound| !of_it(bound)).all(|bound| bound.applies && bound.held));
}

#[test]
fn what_is_not_known_of_builds_and_rows_is_not_asked() {
    let mut evidence = good();
    evidence.builds.clear();
    evidence.contenders.iter_mut().for_each(|counts| counts.effects.clear());
    let said = |evidence: &Evidence, name: &str| {
        let bound = judge(evidence, &[]).into_iter().find(|bound| bound.name == name).unwrap();
        (bound.asks, bound.measured, bound.held)
    };
    let (asks, measured, held) = said(&evidence, name::BUILD);
    assert_eq!(asks, "the generator is a release build");
    assert_eq!((measured.as_str(), held), ("generator release; of the services it isn’t known", true));
    assert!(said(&evidence, name::COUNTS).0.contains("can’t be counted from here"));
    let (asks, measured, _) = said(&good(), name::COUNTS);
    assert!(asks.contains("= requests that the service counted, and replies = rows"), "{asks}");
    let each = "1200 sent = 1200 replies = 1200 counted by the service, 400 things = 400 rows";
    assert_eq!(measured, format!("a {each}; b {each}"));
    let mut silent = good();
    silent.contenders.iter_mut().for_each(|counts| counts.counted = None);
    assert_eq!(said(&silent, name::COUNTS).0, "requests sent = replies, and replies = rows in the database");
    evidence.generator_profile = "debug".into();
    assert!(!said(&evidence, name::BUILD).2);
}

#[test]
fn a_broken_invariant_is_named_with_whose_it_is_how_often_and_an_example() {
    let mut evidence = good();
    evidence.contenders[1].invariants = vec![invariant(3), invariant(0)];
    let bounds = judge(&evidence, &[]);
    let bound = bounds.iter().find(|bound| bound.name == name::INVARIANTS).unwrap();
    assert!(bound.voids());
    let wanted = "a all 1 hold; b “I1 things add up” broken by 3 of 40 rows, such as thing_7";
    assert_eq!(bound.measured, wanted);
}

#[test]
fn a_build_with_changes_beyond_its_commit_is_allowed_and_shown() {
    let builds = ["a", "b"].map(|name| build(name, "0a1b2c-dirty")).into();
    let bounds = judge(&Evidence { builds, ..good() }, &[]);
    let bound = bounds.iter().find(|bound| bound.name == name::BUILD).unwrap();
    assert!(bound.held, "{bound:?}");
    assert!(bound.measured.contains("b 0a1b2c-dirty (release, with changes that aren’t committed)"));
}

#[test]
fn a_trial_may_leave_a_few_requests_unserved_and_no_more() {
    let allowed = OF_THE_MACHINE.map(String::from);
    let missed = |unserved: u64, answered: u64| {
        let mut evidence = Evidence { trial: true, ..good() };
        let counts = &mut evidence.contenders[0];
        (counts.skipped, counts.shed, counts.dropped) = (unserved, unserved, unserved);
        counts.answered[0].1 = answered;
        let bounds = judge(&evidence, &allowed);
        bounds.into_iter().filter(Bound::voids).map(|bound| bound.name).collect::<Vec<_>>()
    };
    assert!(missed(50, 1).is_empty());
    assert_eq!(missed(51, 1), [name::SKIPPED, name::SHED, name::DROPPED]);
    assert_eq!(missed(0, 0), [name::ANSWERED]);
}
