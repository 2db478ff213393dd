//! Two services whose traces are made here, with a difference put in that has to be found, and nothing else.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::model::{Operation, Pairing, Row, TracesReport};
use super::shape::Kind;
use super::text::place;
use super::*;
use crate::draw::Draw;

const US: u64 = 1000;
const REQUESTS: u64 = 2000;
const WAIT: &str = "app.wait_ms";

/// Changes a service's spans of one request.
type Change = fn(&mut Vec<Span>);

fn text(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.into())) };
    KeyValue { key: key.into(), value: Some(value), ..KeyValue::default() }
}

fn number(key: &str, value: f64) -> KeyValue {
    let value = AnyValue { value: Some(Value::DoubleValue(value)) };
    KeyValue { key: key.into(), value: Some(value), ..KeyValue::default() }
}

/// How long the parts of a request take on one side, in µs: the database, waiting and hashing, the bank; drawn around these.
#[derive(Clone, Copy)]
struct Took {
    find: f64,
    wait: f64,
    run: f64,
    bank: f64,
}

const USUAL: Took = Took { find: 300.0, wait: 200.0, run: 2000.0, bank: 5000.0 };

/// One after another below the request: find, hash (with its wait), bank.
fn request(number_of: u64, began: u64, took: Took, draw: &mut Draw) -> Vec<Span> {
    let id = |index: u64| (number_of * 16 + index + 1).to_be_bytes().to_vec();
    let mut cursor = began + 50 * US;
    let mut child = |index: u64, name: &str, us: f64, attributes: Vec<KeyValue>| {
        let start = cursor;
        let end = start + (us * US as f64) as u64;
        cursor = end + 20 * US;
        Span {
            span_id: id(index),
            parent_span_id: id(0),
            name: name.into(),
            kind: SpanKind::Client.into(),
            start_time_unix_nano: start,
            end_time_unix_nano: end,
            attributes,
            ..Span::default()
        }
    };
    let mut around = |us: f64| us * (0.9 + 0.2 * draw.unit());
    let (wait, run) = (around(took.wait), around(took.run));
    let children = [
        child(1, "find", around(took.find), vec![text("app.table", "payments")]),
        child(2, "hash", wait + run, vec![number(WAIT, wait / 1000.0)]),
        child(3, "bank", around(took.bank), vec![]),
    ];
    let root = Span {
        span_id: id(0),
        name: "pay".into(),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: began,
        end_time_unix_nano: cursor + 50 * US,
        ..Span::default()
    };
    let mut spans: Vec<_> = [root].into_iter().chain(children).collect();
    let trace = u128::from(number_of + 1).to_be_bytes().to_vec();
    spans.iter_mut().for_each(|span| span.trace_id.clone_from(&trace));
    spans
}

/// A side with its requests, in batches that mix them.
fn side(service: &str, took: Took, seed: u64, change: Change) -> Spill {
    let mut draw = Draw::new(seed, "traces");
    let mut spans = Vec::new();
    for index in 0..REQUESTS {
        let mut request = request(index, (index + 1) * 10_000 * US, took, &mut draw);
        change(&mut request);
        spans.extend(request);
    }
    // The last to be made is the first to be written.
    spans.reverse();
    let mut spill = Spill::new(vec![format!("{service}.jsonl")]).unwrap();
    for (line, spans) in (1..).zip(spans.chunks(7)) {
        let resource = Resource { attributes: vec![text("service.name", service)], ..Resource::default() };
        let scope_spans = vec![ScopeSpans { spans: spans.to_vec(), ..ScopeSpans::default() }];
        let sent = ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() };
        spill.add(super::trouble::Place { file: 0, line }, sent).unwrap();
    }
    spill
}

fn options(pairing: Pairing) -> Options {
    Options {
        pairing,
        labels: [None, None],
        services: [None, None],
        variable: Variable::from([WAIT.to_owned()]),
        waits: vec![format!("{WAIT}=ms").parse().unwrap()],
        blocks: Blocks::Windows(BLOCKS),
        resamples: 400,
        seed: 1,
    }
}

fn compared(second: Took, change: Change, pairing: Pairing) -> TracesReport {
    let sides = [side("one", USUAL, 1, |_| {}), side("two", second, 2, change)];
    compare(sides, [vec!["one".into()], vec!["two".into()]], &options(pairing)).unwrap()
}

fn only(report: &TracesReport) -> &Operation {
    assert_eq!(report.operations.len(), 1);
    &report.operations[0]
}

/// What a span's attribute says.
fn waited_ns(span: &Span) -> u64 {
    match span.attributes[0].value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::DoubleValue(ms)) => (ms * 1e6).round() as u64,
        other => panic!("{other:?}"),
    }
}

/// Checks that a row's difference is `us`, within a tenth, and that its interval has it.
fn added(row: &Row, us: f64) {
    let interval = row.interval.unwrap();
    assert!((row.difference_ns / 1e3 - us).abs() < us / 10.0, "{row:?}");
    assert!(interval.low / 1e3 <= us && us <= interval.high / 1e3, "{interval:?}");
}

#[test]
fn a_delay_is_named_first_with_what_it_adds_and_the_rows_sum_to_the_whole() {
    for (us, pairing) in [(1000.0, Pairing::Trace), (200.0, Pairing::Trace), (200.0, Pairing::Operation)] {
        let report = compared(Took { bank: USUAL.bank + us, ..USUAL }, |_| {}, pairing);
        let operation = only(&report);
        assert_eq!(operation.requests, [REQUESTS; 2]);
        assert_eq!(place(&operation.rows[0]), "bank");
        added(&operation.rows[0], us);
        added(&operation.whole, us);
        let sum: f64 = operation.rows.iter().map(|row| row.difference_ns).sum();
        assert!(
            (sum - operation.whole.difference_ns).abs() < 1.0,
            "{sum} of {}",
            operation.whole.difference_ns
        );
        assert!((operation.explained_ns / operation.whole.difference_ns - 1.0).abs() < 0.01);
        let p50 = |side: usize| operation.rows[0].times[side].p50.unwrap() as f64 / 1e3;
        assert!(
            (p50(0) - USUAL.bank).abs() < 100.0 && (p50(1) - p50(0) - us).abs() < 150.0,
            "{:?}",
            operation.rows[0]
        );
        let ratio = operation.rows[0].ratios[0].estimate.unwrap();
        assert!((ratio - p50(0) / p50(1)).abs() < 0.02, "{ratio}");
        // Nobody else has a difference as large as a tenth of it.
        assert!(
            operation.rows[1..].iter().all(|row| row.difference_ns.abs() < us * 100.0),
            "{:?}",
            operation.rows
        );
        assert_eq!(operation.differences, []);
    }
}

#[test]
fn a_delay_in_a_wait_is_told_from_one_in_what_comes_after() {
    // The hash's span begins with its wait.
    let within = |second: Took| {
        let report = compared(second, |_| {}, Pairing::Trace);
        let operation = only(&report);
        added(&operation.rows[0], 500.0);
        place(&operation.rows[0])
    };
    // The hash's span begins when its wait is over.
    let before = |second: Took| {
        let change: Change = |spans| spans[2].start_time_unix_nano += waited_ns(&spans[2]);
        let waits = vec![format!("{WAIT}=ms:before").parse().unwrap()];
        let options = Options { waits, ..options(Pairing::Trace) };
        let sides = [side("one", USUAL, 1, change), side("two", second, 2, change)];
        let report = compare(sides, [vec!["one".into()], vec!["two".into()]], &options).unwrap();
        let operation = only(&report);
        added(&operation.rows[0], 500.0);
        // What waiting took stands nowhere else, and all of the run in its own row.
        let hashed = |row: &&Row| row.path.len() == 2 && row.path[1] == "hash";
        for row in operation.rows.iter().filter(hashed) {
            let wanted = if row.wait.is_some() { USUAL.wait } else { USUAL.run };
            assert!((row.critical_ns[0] / 1e3 - wanted).abs() < wanted / 50.0, "{row:?}");
        }
        for span in operation.examples.iter().flat_map(|example| example.spans.iter().flatten()) {
            let told = span.attributes.iter().find(|(key, _)| key == WAIT);
            let ms = told.map_or(0.0, |(_, value)| value.parse::<f64>().unwrap());
            assert!((span.before_ns as f64 / 1e6 - ms).abs() < 1e-3, "{span:?}");
        }
        assert!(report.sides.iter().all(|side| side.troubles.is_empty()), "{:?}", report.sides);
        place(&operation.rows[0])
    };
    let waited = format!("hash: waited, by {WAIT}");
    for hash in [&within as &dyn Fn(Took) -> String, &before] {
        assert_eq!(hash(Took { wait: USUAL.wait + 500.0, ..USUAL }), waited);
        assert_eq!(hash(Took { run: USUAL.run + 500.0, ..USUAL }), "hash");
    }
}

#[test]
fn each_change_of_structure_is_named_in_every_pair_and_none_else() {
    let found = |change: Change| {
        let report = compared(USUAL, change, Pairing::Trace);
        let all = &only(&report).differences;
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!(all[0].count, REQUESTS);
        (all[0].spot.kind, all[0].sides.clone())
    };
    let sides = |first: &str, second: &str| [first.to_owned(), second.to_owned()];
    assert_eq!(found(|spans| spans[1].attributes.clear()), (Kind::Attribute, sides("\"payments\"", "")));
    assert_eq!(found(|spans| spans[3].name = "banks".into()), (Kind::Renamed, sides("bank", "banks")));
    assert_eq!(found(|spans| spans[0].name = "paid".into()), (Kind::Renamed, sides("pay", "paid")));
    let doubled = |spans: &mut Vec<Span>| {
        let mut again = spans[1].clone();
        again.span_id[0] = 9;
        spans.push(again);
    };
    assert_eq!(found(doubled), (Kind::Count, sides("find", "2 × find")));
    let failed = |spans: &mut Vec<Span>| {
        let status = spans[3].status.get_or_insert_default();
        status.code = 2;
    };
    assert_eq!(found(failed), (Kind::Status, sides("unset", "error")));
}

#[test]
fn what_one_pair_in_ten_has_is_counted() {
    let change = |spans: &mut Vec<Span>| {
        if spans[0].span_id[7] % 10 == 1 {
            spans.remove(1);
        }
    };
    let report = compared(USUAL, change, Pairing::Trace);
    let found = &only(&report).differences;
    assert_eq!((found.len(), found[0].spot.kind), (1, Kind::OnlyFirst));
    assert!(found[0].count > 0 && found[0].count < REQUESTS / 2, "{}", found[0].count);
}

#[test]
fn requests_are_paired_by_an_attribute_where_the_traces_are_others() {
    let named = |spans: &mut Vec<Span>| {
        let order = hex::encode(&spans[0].span_id);
        spans[0].attributes.push(text("order.id", &order));
    };
    let other = |spans: &mut Vec<Span>| {
        let order = hex::encode(&spans[0].span_id);
        spans[0].attributes.push(text("order.id", &order));
        spans.iter_mut().for_each(|span| span.trace_id[0] = 7);
    };
    let slower = Took { find: USUAL.find + 400.0, ..USUAL };
    let sides = || [side("one", USUAL, 1, named), side("two", slower, 2, other)];
    let files = || [vec!["one".into()], vec!["two".into()]];
    let error = compare(sides(), files(), &options(Pairing::Trace)).unwrap_err().to_string();
    assert_eq!(
        error,
        "no request of one has the trace id of one of two: compare them by --by ATTRIBUTE or --by operation"
    );
    let report = compare(sides(), files(), &options(Pairing::Attribute("order.id".into()))).unwrap();
    let operation = only(&report);
    assert_eq!((operation.requests, operation.alone), ([REQUESTS; 2], [0, 0]));
    assert_eq!(place(&operation.rows[0]), "find");
    added(&operation.rows[0], 400.0);
    let error =
        compare(sides(), files(), &options(Pairing::Attribute("no.such".into()))).unwrap_err().to_string();
    assert_eq!(error, "one: no request has the attribute `no.such`, by which they were to be paired");
}

#[test]
fn the_tail_and_the_pairs_to_look_at_are_what_they_say() {
    let slow = |spans: &mut Vec<Span>| {
        // Twenty-five of two thousand wait for the bank.
        let number = u64::from_be_bytes(spans[0].span_id.clone().try_into().unwrap()) / 16;
        if number % 80 == 3 {
            spans[3].end_time_unix_nano += 20_000 * US;
            spans[0].end_time_unix_nano += 20_000 * US;
        }
    };
    let report = compared(USUAL, slow, Pairing::Trace);
    let operation = only(&report);
    let tail = operation.tails[1].as_ref().unwrap();
    assert!((10..=25).contains(&tail.requests), "{tail:?}");
    let parts = text::most(operation, tail);
    assert_eq!(place(parts[0].0), "bank");
    assert!(parts[0].1 > 24_000_000.0, "{parts:?}");
    assert!((parts.iter().map(|(_, ns)| ns).sum::<f64>() - tail.mean_ns).abs() < 10.0);
    let whys: Vec<_> = operation.examples.iter().map(|example| example.why).collect();
    use super::model::Why::{Median, Slowest};
    assert_eq!(whys, [Median, Slowest, Slowest, Slowest, Slowest, Slowest]);
    for example in &operation.examples[1..] {
        assert_eq!(example.traces[0], example.traces[1]);
        assert!(example.spans[1][0].duration_ns > 25_000 * US);
        let names: Vec<_> = example.spans[0].iter().map(|span| span.name.as_str()).collect();
        assert_eq!(names, ["pay", "find", "hash", "bank"]);
    }
}

#[test]
fn names_without_end_are_summed_up_where_they_hang_and_the_rows_still_sum_to_the_whole() {
    let named = |spans: &mut Vec<Span>| {
        let id = hex::encode(&spans[0].span_id);
        spans[1].name = format!("GET /users/{id}");
    };
    let deep = |spans: &mut Vec<Span>| {
        let last = spans[3].clone();
        for index in 0..200 {
            let parent = spans.last().unwrap().span_id.clone();
            let mut span_id = last.span_id.clone();
            span_id[0] = index + 1;
            spans.push(Span { span_id, parent_span_id: parent, ..last.clone() });
        }
    };
    // Places and their row of what was waited; of those that are too many or too deep, one.
    for (change, most) in [(named as Change, 202), (deep, 68)] {
        let sides = [side("one", USUAL, 1, change), side("two", USUAL, 2, change)];
        let asked = Options { resamples: 20, ..options(Pairing::Trace) };
        let report = compare(sides, [vec![], vec![]], &asked).unwrap();
        let operation = only(&report);
        assert_eq!(operation.rows.len(), most);
        let sum: f64 = operation.rows.iter().map(|row| row.critical_ns[0]).sum();
        assert!((sum - operation.whole.critical_ns[0]).abs() < 100.0, "{sum}");
    }
}

/// The first 500 requests.
fn few(spans: &mut Vec<Span>) {
    if u64::from_be_bytes(spans[0].span_id.clone().try_into().unwrap()) / 16 >= 500 {
        spans.clear();
    }
}

#[test]
fn the_tail_is_above_the_highest_percentile_that_has_enough_beyond_it() {
    let sides = || [side("one", USUAL, 1, few), side("two", USUAL, 2, few)];
    let files = || [vec!["one".into()], vec!["two".into()]];
    let report = compare(sides(), files(), &options(Pairing::Trace)).unwrap();
    let tails = only(&report).tails.each_ref().map(|tail| tail.as_ref().map(|tail| tail.percentile));
    assert_eq!(tails, [Some(95.0); 2]);
    assert!(text::text(&report).contains(" requests above p95 ("));
}

#[test]
fn fewer_slices_than_an_interval_needs_give_none_and_it_is_said() {
    let sides = || [side("one", USUAL, 1, |_| {}), side("two", USUAL, 2, |_| {})];
    let files = || [vec!["one".into()], vec!["two".into()]];
    for (blocks, told) in [(12, false), (9, true)] {
        let asked = Options { blocks: Blocks::Windows(blocks), ..options(Pairing::Trace) };
        let report = compare(sides(), files(), &asked).unwrap();
        let rows = || only(&report).rows.iter().chain([&only(&report).whole]);
        assert!(rows().all(|row| row.interval.is_none() == told), "{blocks}");
        assert_eq!(paired(&report).contains("from 9 slices, too few for intervals"), told);
    }
}

/// Puts what a generator and a service behind a gateway would have sent around a side's requests: `k6` visits, the service
/// serves, and asks `auth` twice at its begin.
fn around(service: &str, requests: &[Vec<Span>]) -> Spill {
    let mut spill = Spill::new(vec![format!("{service}.jsonl")]).unwrap();
    let mut add = |service: &str, spans: Vec<Span>| {
        let resource = Resource { attributes: vec![text("service.name", service)], ..Resource::default() };
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let sent = ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() };
        spill.add(super::trouble::Place { file: 0, line: 1 }, sent).unwrap();
    };
    for request in requests {
        let [mut visit, mut asked, mut again] = [0; 3].map(|_| request[0].clone());
        (visit.name, visit.span_id) = ("visit".into(), vec![7; 8]);
        visit.set_kind(SpanKind::Client);
        let begin = request[0].start_time_unix_nano;
        for (index, who) in [&mut asked, &mut again].into_iter().enumerate() {
            (who.name, who.span_id) = ("who".into(), vec![8 + index as u8; 8]);
            who.parent_span_id.clone_from(&request[0].span_id);
            let start = begin + 10 * US + index as u64 * 20 * US;
            (who.start_time_unix_nano, who.end_time_unix_nano) = (start, start + 10 * US);
        }
        let mut served = request.clone();
        served[0].parent_span_id.clone_from(&visit.span_id);
        add("k6", vec![visit]);
        add("auth", vec![asked, again]);
        add(service, served);
    }
    spill
}

#[test]
fn a_service_is_compared_that_isnt_where_its_traces_begin() {
    let sides = |services: [&str; 2]| {
        let slower = Took { bank: USUAL.bank + 500.0, ..USUAL };
        let requests = |took, seed| {
            let mut draw = Draw::new(seed, "traces");
            let mut one = |index: u64| {
                let mut spans = request(index, (index + 1) * 10_000 * US, took, &mut draw);
                spans[0].attributes.push(text("order.id", &index.to_string()));
                spans
            };
            (0..REQUESTS).map(&mut one).collect::<Vec<_>>()
        };
        [around(services[0], &requests(USUAL, 1)), around(services[1], &requests(slower, 2))]
    };
    let files = || [vec!["one".into()], vec!["two".into()]];
    let named =
        Options { services: [Some("shop-rust".into()), Some("shop-go".into())], ..options(Pairing::Trace) };
    let keyed = options(Pairing::Attribute("order.id".into()));
    for options in [options(Pairing::Trace), named, keyed] {
        let report = compare(sides(["shop-rust", "shop-go"]), files(), &options).unwrap();
        assert_eq!(report.sides.each_ref().map(|side| side.service.as_str()), ["shop-rust", "shop-go"]);
        assert!(report.sides.iter().all(|side| side.troubles.is_empty()), "{:?}", report.sides);
        let operation = only(&report);
        assert_eq!((operation.name.as_str(), operation.requests), ("pay", [REQUESTS; 2]));
        assert_eq!(operation.differences, []);
        assert_eq!(place(&operation.rows[0]), "bank");
        added(&operation.rows[0], 500.0);
        let mut places: Vec<_> = operation.rows.iter().map(place).collect();
        places.sort();
        let waited = format!("hash: waited, by {WAIT}");
        assert_eq!(places, ["(its own: in no span below it)", "bank", "find", "hash", &waited, "who (auth)"]);
    }
    // Whoever else is asked for, too.
    let asked = Options { services: [Some("auth".into()), Some("auth".into())], ..options(Pairing::Trace) };
    let report = compare(sides(["shop-rust", "shop-go"]), files(), &asked).unwrap();
    assert_eq!((only(&report).name.as_str(), only(&report).requests), ("who", [2 * REQUESTS; 2]));
}

#[test]
fn requests_that_begin_with_spans_of_no_kind_are_compared() {
    let change: Change = |spans| {
        spans[0].parent_span_id = vec![9; 8];
        spans[0].set_kind(SpanKind::Internal);
    };
    let sides = [side("one", USUAL, 1, change), side("two", USUAL, 2, change)];
    let report = compare(sides, [vec!["one".into()], vec!["two".into()]], &options(Pairing::Trace)).unwrap();
    assert_eq!(only(&report).requests, [REQUESTS; 2]);
    let troubles: Vec<_> =
        report.sides[0].troubles.iter().map(|trouble| (trouble.what.as_str(), trouble.count)).collect();
    let wanted = "has a span whose parent isn't there, and doesn't say whether it was in the same process: taken for a request's first";
    assert_eq!(troubles, [(wanted, REQUESTS)]);
}

#[test]
fn where_there_is_nothing_to_compare_it_says_why() {
    let none = || Spill::new(vec!["none.jsonl".into()]).unwrap();
    let files = || [vec!["none.jsonl".into()], vec!["two".into()]];
    let sides = [none(), side("two", USUAL, 1, |_| {})];
    let error = compare(sides, files(), &options(Pairing::Trace)).unwrap_err().to_string();
    assert_eq!(error, "none.jsonl: there is no request in it");
    let mut asked = options(Pairing::Trace);
    asked.services[0] = Some("other".into());
    let sides = [side("one", USUAL, 1, |_| {}), side("two", USUAL, 1, |_| {})];
    let error = compare(sides, [vec!["one".into()], vec![]], &asked).unwrap_err().to_string();
    assert_eq!(error, "one: no request of `other`, there are those of `one`");
}

#[test]
fn sides_without_an_operation_in_common_say_what_each_has() {
    let renamed: Change = |spans| {
        let number = u64::from(spans[0].span_id[6]) % 7;
        spans[0].name = format!("sell {number}");
    };
    let sides = [side("one", USUAL, 1, |_| {}), side("two", USUAL, 2, renamed)];
    let files = [vec!["one".into()], vec!["two".into()]];
    let error = compare(sides, files, &options(Pairing::Operation)).unwrap_err().to_string();
    let wanted = "nothing to compare, no operation is on both sides: one has `pay`; two has `sell ";
    assert!(error.starts_with(wanted) && error.ends_with(" and 2 more"), "{error}");
}

#[test]
fn what_was_in_a_slice_that_was_set_aside_is_not_compared() {
    let sides = || [side("one", USUAL, 1, |_| {}), side("two", Took { bank: 6000.0, ..USUAL }, 2, |_| {})];
    let files = || [vec!["one".into()], vec!["two".into()]];
    let edges = (0..=20).map(|slice| slice * 100 + 1).collect();
    let slices = Slices { edges, left_out: vec![3, 7, 19] };
    let asked = Options { blocks: Blocks::Slices(slices), ..options(Pairing::Trace) };
    let report = compare(sides(), files(), &asked).unwrap();
    assert_eq!((only(&report).requests, only(&report).alone, report.blocks), ([1700; 2], [0; 2], 17));
    assert!(paired(&report).ends_with("what was in 3 pairs of slices that were set aside isn’t among them"));
    assert_eq!(report.sides[0].requests, REQUESTS, "all of them were read");
}

#[test]
fn the_page_holds_what_was_found() {
    let report =
        compared(Took { bank: 6000.0, ..USUAL }, |spans| spans[1].name = "find <all>".into(), Pairing::Trace);
    let page = page(&report, &Above::default()).unwrap();
    for wanted in ["find &lt;all&gt;", "class=\"icicle\"", "class=\"pair\"", "The largest part of it: bank"] {
        assert!(page.contains(wanted), "{wanted}");
    }
}
