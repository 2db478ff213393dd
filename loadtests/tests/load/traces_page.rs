//! The page of two services' traces in a real browser.

use std::sync::OnceLock;

use serde_json::Value;

use loadtests::report::Traced;
use loadtests::traces::{Above, TracesReport, page};

use crate::browser::{Shown, fits_a_phone, number, rows, shown};
use crate::spans::{Took, compare, file, line, request, span};

/// What the parts of a request take: long, so that the page has the widest figures that it will meet.
const LONG: Took = Took { wait: 20_000, run: 200_000, bank: 500_000 };
/// What the bank of the second takes more, in µs.
const MORE: u64 = 100_000;
const REQUESTS: u64 = 3000;
/// A request that is among the slowest of both.
const SLOW: u64 = 77;

/// Types a trace's id into the search, then one that isn't there: puts what it says, and what it marked, into attributes.
const SEARCH: &str = r#"<script>
(() => {
  const field = document.querySelector(".find-trace");
  const found = ["4d", "000000000000000000000000000000ff", ""].map((text) => {
    field.value = text === "4d" ? "0".repeat(30) + text : text;
    field.dispatchEvent(new Event("input"));
    const pairs = [...document.querySelectorAll(".pair.found")];
    return [field.closest("p").querySelector("[role=status]").textContent, pairs.length, pairs.every((pair) => pair.open)].join();
  });
  document.body.dataset.found = found.join("|");
  const boxes = [...document.querySelectorAll(".icicle span, .waterfall .lane")].filter((box) => box.checkVisibility());
  document.body.dataset.boxes = String(boxes.filter((box) => box.getBoundingClientRect().width >= 1).length);
})();
</script>"#;

/// Two services: the second's bank takes longer, and one in a hundred of its requests asks it twice.
pub fn report() -> &'static TracesReport {
    static REPORT: OnceLock<TracesReport> = OnceLock::new();
    REPORT.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let files = [("one", 0), ("two", MORE)].map(|(service, more)| {
            let spans = (1..=REQUESTS).flat_map(|trace| {
                let slow = if trace == SLOW { 2_000_000 } else { 0 };
                let mut spans = request(trace, Took { bank: LONG.bank + more + slow, ..LONG });
                if more > 0 && trace % 100 == 0 {
                    let start = 1_000_000 + trace * 10_000 + 10;
                    spans.push(span(trace, 4, 1, "ask <again>", [start, start + 5]));
                }
                spans
            });
            file(folder.path(), service, line(service, spans.collect()))
        });
        let out = folder.path().join("out");
        let output =
            compare(files.each_ref().map(|file| file.as_path()), &["--out", out.to_str().expect("a name")]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let json = std::fs::read(out.join("traces.json")).expect("traces.json");
        let report: TracesReport = serde_json::from_slice(&json).expect("JSON");
        let html = std::fs::read_to_string(out.join("traces.html")).expect("traces.html");
        assert_eq!(
            html,
            page(&report, &Above::default()).expect("a page"),
            "the page is what traces.json says"
        );
        report
    })
}

fn html() -> String {
    page(report(), &Above::default()).expect("a page").replace("</body>", &format!("{SEARCH}</body>"))
}

/// An attribute that a script has left.
fn left<'a>(shown: &'a Shown, name: &str) -> &'a str {
    let begin = format!("data-{name}=\"");
    shown.dom.split_once(&begin).and_then(|(_, rest)| rest.split_once('"')).expect("the script ran").0
}

/// The numbers of a cell, with their signs, each with half of a unit of its last digit.
fn signed(cell: &str) -> Vec<(f64, f64)> {
    let parts = cell.split(|one: char| one.is_whitespace() && one != '\u{202f}' || "[],;/%".contains(one));
    let parts = parts.map(|part| part.replace('\u{202f}', "")).filter(|part| !part.is_empty());
    let half =
        |part: &str| 0.5 * 10_f64.powi(-(part.split_once('.').map_or(0, |(_, rest)| rest.len()) as i32));
    let one = |part: String| (part.parse().unwrap_or_else(|_| panic!("{part:?} in {cell:?}")), half(&part));
    parts.map(one).collect()
}

/// Whether a cell says these, as exactly as it writes them.
fn says(cell: &str, wanted: &[f64]) {
    let found = signed(cell);
    assert_eq!(found.len(), wanted.len(), "{cell:?}, wanted {wanted:?}");
    for ((found, half), wanted) in found.iter().zip(wanted) {
        assert!((found - wanted).abs() <= half * 1.000_001, "{cell:?}, wanted {wanted}");
    }
}

#[test]
fn the_figures_of_the_traces_are_those_of_traces_json() {
    let shown = shown(&html(), &[]);
    assert_eq!(shown.console, Vec::<String>::new());
    let operation = serde_json::to_value(&report().operations[0]).expect("JSON");
    let places = operation["rows"].as_array().expect("rows");
    let cells = rows(&shown.dom, "contributions");
    assert_eq!(cells.len(), places.len() + 1);
    for (cells, row) in cells.iter().zip([&operation["whole"]].into_iter().chain(places)) {
        let us = |value: &Value| number(value) / 1e3;
        let interval = &row["interval"];
        says(&cells[1], &[us(&row["difference_ns"]), us(&interval["low"]), us(&interval["high"])]);
        let critical = [0, 1].map(|side| us(&row["critical_ns"][side]));
        let share = |side: usize| critical[side] / us(&operation["whole"]["critical_ns"][side]) * 100.0;
        says(&cells[2], &[critical[0], critical[1], share(0), share(1)]);
        for (cell, (percentile, ratio)) in cells[3..6]
            .iter()
            .zip(["p50", "p90", "p99"].into_iter().zip(row["ratios"].as_array().expect("three")))
        {
            let times = [0, 1].map(|side| &row["times"][side][percentile]);
            if times.iter().any(|time| time.is_null()) {
                assert_eq!(cell, "too few");
                continue;
            }
            let mut wanted = times.map(us).to_vec();
            wanted.push(number(&ratio["estimate"]));
            if !ratio["interval"].is_null() {
                wanted.extend([&ratio["interval"]["low"], &ratio["interval"]["high"]].map(number));
            }
            says(cell, &wanted);
        }
    }
    assert_eq!(cells[1][0], "bank", "the largest first");
    let structure = rows(&shown.dom, "structure");
    let wanted = ["pay", "on one side only", "–", "ask <again>", "30"].map(str::to_owned);
    assert_eq!(structure.len(), 1);
    assert_eq!(structure[0][..5], wanted);
    assert!(shown.text.contains("The largest part of it: bank, "), "{}", shown.text);
}

#[test]
fn the_traces_are_drawn_and_found_in_both_themes_and_on_a_phone() {
    for (preferred, papers) in [("1", 2), ("0", 2)] {
        let shown = shown(&html(), &[&format!("--blink-settings=preferredColorScheme={preferred}")]);
        assert_eq!(shown.console, Vec::<String>::new());
        let mut seen: Vec<_> = shown.seen.iter().map(|look| look["paper"].to_string()).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), papers, "light and dark");
        for look in &shown.seen {
            assert_eq!(look["overflow"], 0, "the page is wider than its window: {look}");
        }
        assert_eq!(shown.seen[0]["cut"], serde_json::json!([]), "a table has to be scrolled");
        assert_eq!(left(&shown, "found"), "1 found,1,true|none of the 6 pairs that were kept,0,true|,0,true");
        // Of each side: pay, hash, its wait and bank in the mean request; and at least pay, hash and bank in an open pair.
        assert!(left(&shown, "boxes").parse::<usize>().expect("a count") >= 14, "{}", left(&shown, "boxes"));
    }
    let folder = tempfile::tempdir().expect("a folder");
    fits_a_phone(&html(), folder.path());
}

#[test]
fn a_comparisons_page_has_its_traces_too() {
    let mut comparison = crate::compare::whole().clone();
    let scenario = &mut comparison.scenarios[0];
    let play = scenario.clone();
    scenario.traced = Some(Box::new(Traced::of(report().clone(), play, [0; 2])));
    let html = loadtests::report::page(&comparison).expect("a page");
    let [of_both, of_traces] =
        [html.replace("</body>", &format!("{SEARCH}</body>")), self::html()].map(|html| shown(&html, &[]));
    assert_eq!(of_both.console, Vec::<String>::new());
    assert_eq!((&of_both.seen[0]["overflow"], &of_both.seen[0]["cut"]), (&0.into(), &serde_json::json!([])));
    assert_eq!(rows(&of_both.dom, "contributions"), rows(&of_traces.dom, "contributions"));
    assert_eq!(left(&of_both, "found"), left(&of_traces, "found"));
    assert!(of_both.text.contains("toy, by its traces"), "{}", of_both.text);
}

#[test]
fn options_of_files_and_of_a_play_are_not_mixed_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = ["one", "two"].map(|service| file(folder.path(), service, line(service, request(1, LONG))));
    let loadtest = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_loadtest"));
        let output = command.arg("traces").args(arguments).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let [one, two] = files.each_ref().map(|file| file.to_str().expect("a name"));
    for option in ["--by=operation", "--service-a=x", "--label-b=x", "--may-differ=x", "--wait=x=ms"] {
        let (code, said) = loadtest(&[option]);
        assert!(code == Some(2) && said.contains("required") && said.contains("<A>"), "{option}: {said}");
    }
    for option in ["--smoke", "--scenario=read", "--pair=go,go", "--allow-void=lag", "--rate=5", "--pairs=3"]
    {
        let (code, said) = loadtest(&[one, two, option]);
        assert!(code == Some(2) && said.contains("cannot be used with"), "{option}: {said}");
    }
    let (code, said) = loadtest(&[one, two, "--by", "operation", "--assert", "unpaired==0"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("with --by operation nothing is paired: it would always be 0"), "{said}");
    assert_eq!(loadtest(&[one, two, "--by", "operation", "--label-a", "x"]).0, Some(0));
}
