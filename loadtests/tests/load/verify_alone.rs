//! What was measured beside a comparison, against its own raw data: a true part verifies, each wrong figure is named.

use loadtests::development::Development;
use loadtests::histogram::{Sparse, encode, record_ns, recorder};
use loadtests::limits::looking::{Looked, Looking};
use loadtests::limits::{Limit, Limits, Saturation};
use loadtests::report::Report;
use loadtests::solo::{
    Block, Capacity, Footprint, Probe, Reach, Row, Search, ServiceCapacity, Settings, SoloReport,
    StageReport, Used, missed,
};
use loadtests::spread::Spread;
use loadtests::surroundings::{Care, Late, Meanwhile, Surroundings};
use serde_json::{Value, json};

use crate::compare::whole;
use crate::verify::{grow, loadtest, verified};

const BOUND_MS: f64 = 20.0;
const REACH: Reach =
    Reach { start: 50.0, least: 1.0, most: 20_000.0, resolution: 1.1, confirmations: 1, trials: 30 };

/// A second at one rate on a service that takes so many a second; beyond that each tenth request takes a second.
fn load(rate: f64, takes: f64) -> StageReport {
    let (mut latency, offered) = (recorder(), rate as u64);
    let ms = |id: u64| if rate > takes && id.is_multiple_of(10) { 1000 } else { 5 };
    (0..offered).for_each(|id| record_ns(&mut latency, ms(id) * 1_000_000));
    StageReport {
        rate,
        from_seconds: 0.0,
        seconds: 1.0,
        offered,
        expected: offered,
        shed: 0,
        unexpected: 0,
        latency_ms: loadtests::solo::percentiles(&latency),
        latency: encode(&latency).expect("encoded"),
    }
}

fn block(turn: usize, takes: f64) -> Block {
    let (mut search, mut probes) = (Search::new(REACH), Vec::new());
    while let Some(rate) = search.next() {
        let load = load(rate, takes);
        let missed = missed(&load, BOUND_MS).expect("readable");
        let share = (rate / takes).min(1.0);
        let used = vec![Used { resource: "the service’s core".into(), share }];
        let probe = Probe { rate, load, held: missed.is_empty(), missed, used };
        search.tell(rate, probe.outcome());
        probes.push(probe);
    }
    Block::of(turn, REACH, probes)
}

/// So many quiet measurements.
fn surroundings(count: usize) -> Surroundings {
    let quiet = |number: usize| Meanwhile {
        what: format!("measurement {number}"),
        wall_ns: 1000,
        stolen_ns: 10,
        ..Meanwhile::default()
    };
    Surroundings::of((1..=count).map(quiet).collect(), &Care::default())
}

/// A build of one of them.
fn development() -> Development {
    let build = Row {
        name: "build_clean".into(),
        label: "Release build from nothing".into(),
        unit: "s".into(),
        figure: Spread::of(&[120.0, 100.0]).expect("values"),
    };
    Development {
        measured_at: "2026-01-01T00:00:00Z".into(),
        commit: "abc".into(),
        machine: vec![("Kernel".into(), "6.1".into())],
        services: vec![Footprint {
            label: "Quick".into(),
            rows: vec![build],
            left_out: vec![],
            surroundings: Surroundings::default(),
        }],
    }
}

/// The toy comparison with two services that take 400 and 310 requests a second, a limit and a footprint.
pub fn report() -> Report {
    let mut report = whole().clone();
    report.scenarios[0].scenario.solo = Some(Settings { p99_ms: Some(BOUND_MS), ..Settings::default() });
    let service = |label: &str, takes: f64, turn: usize| {
        ServiceCapacity::of(label, vec![block(turn, takes), block(turn + 2, takes * 1.02)])
    };
    let services = vec![service("Quick", 400.0, 0), service("Slow", 310.0, 1)];
    let limit = Limit {
        name: "makes".into(),
        label: "Makes in a loop".into(),
        unit: "makes/s".into(),
        figure: Spread::of(&[300.0, 310.0, 290.0]),
        full: None,
        missing: None,
    };
    let row = Row {
        name: "rss_idle".into(),
        label: "Memory idle".into(),
        unit: "MiB".into(),
        figure: Spread::of(&[12.0, 14.0, 13.0]).expect("values"),
    };
    let mut blocks: Vec<_> = services.iter().flat_map(|service| &service.blocks).collect();
    blocks.sort_by_key(|block| block.turn);
    let held: Vec<bool> = blocks.iter().flat_map(|block| &block.probes).map(|probe| probe.held).collect();
    let capacity = Capacity {
        scenario: "toy".into(),
        p99_ms: BOUND_MS,
        trial_seconds: 1.0,
        reach: REACH,
        services,
        surroundings: of_trials(&held),
    };
    report.development = Some(development());
    let spread: fn([f64; 3]) -> Spread = |values| Spread::of(&values).expect("values");
    let saturation = |service: &str, rate: Spread| Saturation {
        name: format!("saturated_make_{}", service.to_lowercase()),
        label: format!("Tokenisations by 64 clients, {}", service.to_lowercase()),
        unit: "tokens/s".into(),
        cpu_us: spread([3300.0, 3200.0, 3400.0]),
        limit: limit.label.clone(),
        share: limit.share(&rate),
        rate,
        full: "service 99.7 % of a core; Postgres, card network and clients 43.7 % of theirs".into(),
    };
    let saturations = vec![
        saturation("Quick", spread([270.0, 280.0, 270.0])),
        saturation("Slow", spread([1250.0, 1240.0, 1260.0])),
    ];
    report.limits =
        Some(Limits { seconds: 1.0, rows: vec![limit], saturations, surroundings: surroundings(2) });
    report.looking = Some(looking(spread));
    report.solo = Some(SoloReport {
        capacities: vec![capacity],
        footprints: vec![Footprint {
            label: "Quick".into(),
            rows: vec![row],
            left_out: vec![],
            surroundings: Surroundings::default(),
        }],
    });
    report
}

/// Two services, without traces and with them.
fn looking(spread: fn([f64; 3]) -> Spread) -> Looking {
    let mut rows: Vec<Looked> = Vec::new();
    for (service, share, most) in
        [("Quick", 0.0, 2270.0), ("Quick", 0.01, 2250.0), ("Quick", 1.0, 1970.0), ("Slow", 0.0, 1800.0)]
    {
        let mut row = Looked {
            kind: "Reads of a payment".into(),
            service: service.into(),
            share,
            rate: spread([most, most * 1.01, most * 0.99]),
            cpu_us: spread([1e6 / most, 1e6 / most * 1.01, 1e6 / most * 0.98]),
            rate_ratio: None,
            cpu_ratio: None,
            spans_dropped: 12_345,
        };
        [row.rate_ratio, row.cpu_ratio] = row.by_untraced(&rows);
        rows.push(row);
    }
    Looking { seconds: 1.0, rows, surroundings: surroundings(2) }
}

/// With one place changed.
fn tampered(pointer: &str, change: &dyn Fn(&mut Value)) -> Report {
    let mut json = serde_json::to_value(report()).expect("JSON");
    change(json.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")));
    serde_json::from_value(json).expect("still a report")
}

/// The same of trials that were held or missed, whose requests left in time.
fn of_trials(held: &[bool]) -> Surroundings {
    let mut seen = surroundings(held.len()).seen;
    for (one, held) in seen.iter_mut().zip(held) {
        one.late = Some(Late::of(&Sparse(vec![(100, 99), (700, 1)]), !held).expect("a histogram"));
    }
    Surroundings::of(seen, &Care::default())
}

#[test]
fn what_was_measured_beside_the_comparison_verifies() {
    assert_eq!(verified(&report()).differences, Vec::<String>::new());
    let bracket = report().solo.expect("solo").capacities[0].services[0].blocks[0].bracket;
    assert!(bracket.low.is_some_and(|low| low <= 400.0) && bracket.confirmed, "{bracket:?}");
}

#[test]
fn a_capacity_verifies_where_its_scenario_was_not_compared_too() {
    let alone = Report { scenarios: vec![], void: vec![], allowed: vec![], ..report() };
    assert_eq!(verified(&alone).differences, Vec::<String>::new());
}

#[test]
fn each_wrong_figure_of_a_capacity_is_named() {
    let service = "/solo/capacities/0/services/0";
    let cases = [
        (
            format!("{service}/blocks/0/bracket/low"),
            "solo.capacities.toy.services.Quick.blocks.0.bracket.low: ",
        ),
        (
            format!("{service}/blocks/1/bracket/high"),
            "solo.capacities.toy.services.Quick.blocks.1.bracket.high: ",
        ),
        (
            format!("{service}/blocks/1/bracket/confirmed"),
            "solo.capacities.toy.services.Quick.blocks.1.bracket.confirmed: ",
        ),
        (format!("{service}/blocks/0/full"), "solo.capacities.toy.services.Quick.blocks.0.full: "),
        (
            "/solo/capacities/0/surroundings/seen/3/others_ns".to_owned(),
            "solo.capacities.toy.surroundings.validity.others.measured: ",
        ),
        (
            "/solo/capacities/0/surroundings/seen/3/late/p99_us".to_owned(),
            "solo.capacities.toy.surroundings.seen.3.late.p99_us: ",
        ),
        (
            "/solo/capacities/0/surroundings/seen/3/late/missed".to_owned(),
            "solo.capacities.toy.surroundings.seen.3.late.missed: ",
        ),
        (format!("{service}/kept/median"), "solo.capacities.toy.services.Quick.kept.median: "),
        (format!("{service}/most_goodput/high"), "solo.capacities.toy.services.Quick.most_goodput.high: "),
        (
            format!("{service}/most_goodput/values/1"),
            "solo.capacities.toy.services.Quick.most_goodput.values.1: ",
        ),
        (
            format!("{service}/blocks/0/probes/2/held"),
            "solo.capacities.toy.services.Quick.blocks.0.probes.2.held: ",
        ),
        (
            format!("{service}/blocks/0/probes/2/rate"),
            "solo.capacities.toy.services.Quick.blocks.0.probes.2.rate: ",
        ),
        (
            format!("{service}/blocks/0/probes/2/load/expected"),
            "solo.capacities.toy.services.Quick.blocks.0.probes.2.load.expected: ",
        ),
        (
            format!("{service}/blocks/0/probes/2/load/offered"),
            "solo.capacities.toy.services.Quick.blocks.0.probes.2.missed: ",
        ),
        (
            format!("{service}/blocks/0/probes/2/load/latency_ms/0"),
            "solo.capacities.toy.services.Quick.blocks.0.probes.2.load.latency_ms: ",
        ),
        ("/solo/capacities/0/p99_ms".into(), "solo.capacities.toy.p99_ms: "),
        (
            "/solo/capacities/0/reach/start".into(),
            "solo.capacities.toy.services.Quick.blocks.0.probes.0.rate: ",
        ),
    ];
    for (place, wanted) in cases {
        named(&place, wanted);
    }
}

#[test]
fn each_wrong_figure_beside_the_comparison_is_named() {
    let cases = [
        ("/limits/rows/0/figure/median", "limits.rows.makes.figure: "),
        ("/limits/surroundings/seen/1/stolen_ns", "limits.surroundings.validity.stolen.measured: "),
        ("/looking/rows/0/cpu_us/median", "looking.rows.0.cpu_us: "),
        ("/looking/rows/0/rate/values/1", "looking.rows.1.rate_ratio.estimate: "),
        ("/looking/rows/1/rate_ratio/estimate", "looking.rows.1.rate_ratio.estimate: "),
        ("/looking/rows/2/cpu_ratio/interval/low", "looking.rows.2.cpu_ratio.interval.low: "),
        ("/limits/saturations/0/rate/values/0", "limits.saturations.saturated_make_quick.share: "),
        ("/limits/saturations/0/share/values/1", "limits.saturations.saturated_make_quick.share: "),
        (
            "/development/services/0/rows/0/figure/high",
            "development.services.Quick.rows.build_clean.figure: ",
        ),
        ("/solo/footprints/0/rows/0/figure/median", "solo.footprints.Quick.rows.rss_idle.figure: "),
    ];
    for (place, wanted) in cases {
        named(place, wanted);
    }
}

/// That a figure was changed there.
fn named(place: &str, wanted: &str) {
    let differences = verified(&tampered(place, &grow)).differences;
    let named = differences.iter().any(|line| line.starts_with(wanted));
    assert!(named, "{place}: wanted {wanted:?}, got {differences:#?}");
}

#[test]
fn a_trial_that_was_left_out_or_made_up_is_named() {
    let place = "/solo/capacities/0/services/0/blocks/0/probes";
    let shorten = |value: &mut Value| drop(value.as_array_mut().expect("a list").pop());
    let differences = verified(&tampered(place, &shorten)).differences;
    assert!(
        differences.iter().any(|line| line.contains("the rate that is tried next: ")),
        "{differences:#?}"
    );
    let again = |value: &mut Value| {
        let trials = value.as_array_mut().expect("a list");
        trials.push(trials[0].clone());
    };
    let differences = verified(&tampered(place, &again)).differences;
    assert!(differences[0].contains("rate: the report says 50, the raw data say none"), "{differences:#?}");
    // Another histogram tells another p99.
    let slow = |value: &mut Value| *value = json!(load(800.0, 400.0).latency);
    let differences = verified(&tampered(&format!("{place}/0/load/latency"), &slow)).differences;
    assert!(differences.iter().any(|line| line.contains("probes.0.missed: ")), "{differences:#?}");
}

#[test]
fn the_command_ends_in_1_where_a_bracket_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    report().write(folder.path()).expect("written");
    let (code, said) = loadtest(folder.path());
    assert_eq!(code, Some(0), "{said}");
    for place in [
        "/solo/capacities/0/services/1/blocks/0/bracket/low",
        "/solo/capacities/0/services/1/most_goodput/median",
        "/limits/saturations/0/share/median",
        "/solo/footprints/0/rows/0/figure/median",
        "/development/services/0/rows/0/figure/median",
    ] {
        tampered(place, &grow).write(folder.path()).expect("written");
        let (code, said) = loadtest(folder.path());
        assert!(
            code == Some(1) && ["solo.", "limits.", "development."].iter().any(|part| said.starts_with(part)),
            "{place}: {said}"
        );
    }
}
