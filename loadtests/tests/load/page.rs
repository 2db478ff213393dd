//! The page in a real browser.

use serde_json::Value;

use loadtests::report::{Control, Report, page, run_page};
use loadtests::stats::Ratio;

use crate::alone::run;
use crate::browser::{Shown, figures, fits_a_phone, near, number, rows, shown, text, unbracketed};
use crate::compare::{report, whole};
use crate::verify_alone::report as with_solo;

#[test]
fn the_page_needs_nothing_from_outside_and_escapes_what_it_shows() {
    let mut report = report(2);
    report.void = vec!["a <b>reason</b>".into()];
    let page = page(&report).expect("a page");
    for outside in ["src=\"http", "href=\"http", "url(http", "@import", "fetch("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("a &lt;b&gt;reason") && !page.contains("<b>reason"));
    assert_eq!(page.matches("</script>").count(), 3, "something looks like the end of a script");
}

#[test]
fn the_charts_are_drawn_in_both_themes_and_on_paper() {
    for (preferred, paper) in [("1", ["light", "dark"]), ("0", ["dark", "light"])] {
        let shown = shown(&html(whole()), &[&format!("--blink-settings=preferredColorScheme={preferred}")]);
        assert_eq!(shown.console, Vec::<String>::new());
        let light = "rgb(252, 252, 250)";
        let theme = |look: &Value| if look["paper"] == light { "light" } else { "dark" };
        let themes: Vec<_> = shown.seen.iter().map(theme).collect();
        // As preferred, after one click, after another; for the printer, and after it.
        assert_eq!(themes, [paper[0], paper[1], paper[0], "light", paper[0]], "{:?}", shown.seen);
        for look in &shown.seen {
            let colours: Vec<_> = look["canvases"].as_array().expect("canvases").iter().collect();
            assert_eq!(colours.len(), 5, "one by percentile and four by slice: {look}");
            // Axes, grid and two lines.
            assert!(colours.iter().all(|count| count.as_u64() >= Some(4)), "a chart is empty: {look}");
            assert_eq!(look["overflow"], 0, "the page is wider than its window: {look}");
        }
        assert_eq!([&shown.seen[3]["folded"], &shown.seen[4]["folded"]], [0, 5]);
    }
}

#[test]
fn on_a_desk_no_table_has_to_be_scrolled() {
    let mut controlled = whole().clone();
    let scenario = &mut controlled.scenarios[0];
    let control = |label: &str| Control { name: label.into(), label: label.into(), report: scenario.clone() };
    scenario.controls = vec![control("Quick"), control("Slow")];
    for html in [html(&controlled), html(&with_solo()), run_page(run()).expect("a page")] {
        let looks = shown(&html, &[]).seen;
        assert_eq!(looks[0]["cut"], serde_json::json!([]));
    }
}

#[test]
fn the_page_fits_a_phone() {
    let folder = tempfile::tempdir().expect("a folder");
    for html in [html(whole()), html(&with_solo()), run_page(run()).expect("a page")] {
        fits_a_phone(&html, folder.path());
    }
}

#[test]
fn the_figures_on_the_page_are_those_of_report_json() {
    let report = whole();
    let shown = shown(&html(report), &[]);
    let scenario = serde_json::to_value(&report.scenarios[0]).expect("JSON");
    let list = |key: &str| scenario[key].as_array().expect("a list").clone();
    let ends = |ratio: &Value| [&ratio["interval"]["low"], &ratio["interval"]["high"]].map(number);
    for (row, metric) in rows(&shown.dom, "metrics").iter().zip(list("metrics")) {
        assert_eq!(Value::from(row[0].clone()), metric["label"]);
        near(&row[1], &[number(&metric["values"][0])]);
        near(&row[2], &[number(&metric["values"][1])]);
        assert!(row[1].ends_with(metric["unit"].as_str().expect("a unit")), "{row:?}");
        let n: Vec<_> = figures(&row[3]).iter().map(|(n, _)| *n).collect();
        let wanted = [&metric["n"][0], &metric["n"][1]].map(number);
        assert!([n[0], *n.last().expect("n")] == wanted, "{row:?}, wanted {wanted:?}");
        near(&row[4], &[number(&metric["ratio"]["estimate"])]);
        match metric["ratio"]["no_interval"].as_str() {
            None => near(&row[5], &ends(&metric["ratio"])),
            Some(why) => assert_eq!(row[5], why),
        }
    }
    for (row, operation) in rows(&shown.dom, "operations").iter().zip(list("operations")) {
        assert_eq!(Value::from(row[0].clone()), operation["operation"]);
        near(&row[2], &[number(&operation["p50_us"][0]) / 1e3]);
        near(&row[3], &[number(&operation["p50_us"][1]) / 1e3]);
        let told = |ratio: &Value| [&[number(&ratio["estimate"])], &ends(ratio)[..]].concat();
        near(&row[4].replace(['[', ',', ']'], " "), &told(&operation["ratio"]));
        match operation["p99_us"].as_array() {
            None => assert_eq!(row[5..], ["too few", "", ""]),
            Some(p99) => {
                near(&row[5], &[number(&p99[0]) / 1e3]);
                near(&row[6], &[number(&p99[1]) / 1e3]);
                near(&row[7].replace(['[', ',', ']'], " "), &told(&operation["p99_ratio"]));
            }
        }
    }
    let curves = rows(&shown.dom, "curves");
    for (index, row) in curves.iter().enumerate() {
        let point = |contender: usize| &scenario["curves"][contender][index];
        near(&row[0][1..], &[number(&point(0)["percentile"])]);
        near(&row[1], &[number(&point(0)["latency_us"]) / 1e3]);
        near(&row[2], &[number(&point(1)["latency_us"]) / 1e3]);
        near(&row[3], &[number(&scenario["curve_ratios"][index]["estimate"])]);
        near(&row[5], &[number(&point(0)["service_us"]) / 1e3]);
        near(&row[6], &[number(&point(1)["service_us"]) / 1e3]);
    }
    let slices = rows(&shown.dom, "slices");
    for (index, row) in slices.iter().enumerate() {
        for contender in 0..2 {
            let slice = &scenario["slices"][contender][index];
            near(&row[2 + contender], &[number(&slice["replies"])]);
            near(&row[4 + contender], &[number(&slice["replies"]) * 1e9 / number(&slice["answering_ns"])]);
            near(&row[10 + contender], &[number(&slice["cpu_ns"]) / 1e3 / number(&slice["replies"])]);
            near(&row[12 + contender], &[number(&slice["rss_bytes"]) / 1_048_576.0]);
        }
    }
    let lengths = ["metrics", "operations", "curve_ratios"].map(|key| list(key).len());
    let seen = ["metrics", "operations", "curves"].map(|class| rows(&shown.dom, class).len());
    assert_eq!(seen, lengths);
    assert_eq!(slices.len(), report.scenarios[0].slices[0].len());
    for bound in &report.scenarios[0].validity {
        assert!(shown.text.contains(&format!("{}: {}", bound.name, bound.measured)), "{bound:?}");
    }
    let sha = &report.scenarios[0].trace_sha256;
    assert!(shown.text.contains(sha) && shown.text.contains("95 % interval"));
}

#[test]
fn what_tuning_changed_and_what_the_services_tell_of_themselves_are_on_the_page() {
    let report = whole();
    let (scenario, shown) = (&report.scenarios[0], shown(&html(report), &[]));
    let compared = rows(&shown.dom, "rows");
    assert_eq!(compared.len(), scenario.metrics.len());
    let tuned = &scenario.rows.as_ref().expect("rows").compared[0].report;
    for (row, (default, tuned)) in compared.iter().zip(scenario.metrics.iter().zip(&tuned.metrics)) {
        assert_eq!(row[0], default.label);
        for (cell, metric) in row[1..].iter().zip([default, tuned]) {
            let ends = metric.ratio.interval.map(|interval| [interval.low, interval.high]);
            let ratio = metric.ratio.estimate.into_iter().chain(ends.into_iter().flatten());
            let cell = cell.split('(').next().unwrap_or_default().replace(['[', ',', ']'], " ");
            near(&cell, &metric.values.into_iter().chain(ratio).collect::<Vec<_>>());
        }
    }
    assert!(shown.text.contains("Quick tuned’s is ") && shown.text.contains("Quick tuned / Slow tuned"));
    let given: Vec<_> =
        rows(&shown.dom, "given").into_iter().map(|row| [1, 3].map(|cell| row[cell].clone())).collect();
    assert_eq!(given, [["defaults", "none"], ["tuned", "GOGC=400"]]);
    let inside = rows(&shown.dom, "server");
    for (row, wanted) in inside.iter().zip(&scenario.server) {
        assert_eq!(row[0], wanted.label);
        for (cell, value) in row[1..3].iter().zip(wanted.values) {
            near(cell, &value.into_iter().collect::<Vec<_>>());
            assert_eq!(cell == "–", value.is_none());
        }
    }
    let names: Vec<_> = scenario.server.iter().map(|row| row.name.as_str()).collect();
    assert_eq!((inside.len(), names), (3, vec!["switches_voluntary", "switches_involuntary", "gc_cycles"]));
}

#[test]
fn the_distribution_counts_every_reply_once() {
    let shown = shown(&html(whole()), &[]);
    for (contender, column) in [(0, 1), (1, 3)] {
        let counted: f64 =
            rows(&shown.dom, "distribution").iter().map(|row| figures(&row[column])[0].0).sum();
        let replies: u64 = whole().scenarios[0].slices[contender].iter().map(|slice| slice.replies).sum();
        assert_eq!(counted, replies as f64);
    }
}

/// How many charts there are, each drawn: axes, grid and a line at least.
fn charts(shown: &Shown) -> usize {
    assert_eq!(shown.console, Vec::<String>::new());
    let look = &shown.seen[0];
    assert_eq!(look["overflow"], 0, "the page is wider than its window: {look}");
    let colours = look["canvases"].as_array().expect("canvases");
    assert!(colours.iter().all(|count| count.as_u64() >= Some(3)), "a chart is empty: {look}");
    colours.len()
}

#[test]
fn the_figures_of_a_run_of_one_service_are_those_of_report_json() {
    let shown = shown(&run_page(run()).expect("a page"), &[]);
    assert_eq!(charts(&shown), 4, "rate, latency, by stage, memory");
    let run = serde_json::to_value(run()).expect("JSON");
    let list = |key: &str| run[key].as_array().expect("a list").clone();
    let a_second = |stage: &Value, count: f64| count / number(&stage["seconds"]);
    let counts = |stage: &Value| ["offered", "expected", "shed"].map(|key| number(&stage[key]));
    let stages = rows(&shown.dom, "stages");
    assert_eq!(stages.len(), list("stages").len() + 1);
    for (row, stage) in stages.iter().zip([list("stages"), vec![run["overall"].clone()]].concat()) {
        let [offered, expected, shed] = counts(&stage);
        near(&row[1], &[number(&stage["from_seconds"])]);
        near(&row[2], &[number(&stage["rate"])]);
        near(&row[3], &[expected]);
        near(&row[4], &[a_second(&stage, offered)]);
        near(&row[5], &[a_second(&stage, expected)]);
        near(&unbracketed(&row[6]), &[shed, shed * 100.0 / offered]);
        near(
            &unbracketed(&row[7]),
            &[offered - expected - shed, (offered - expected - shed) * 100.0 / offered],
        );
        for (cell, ms) in row[8..].iter().zip(stage["latency_ms"].as_array().expect("percentiles")) {
            if ms.is_null() { assert_eq!(cell, "too few") } else { near(cell, &[number(ms)]) }
        }
    }
    let parts = rows(&shown.dom, "ticks");
    assert_eq!(parts.len(), list("ticks").len());
    for (row, part) in parts.iter().zip(list("ticks")) {
        let [offered, expected, shed] = counts(&part);
        near(&row[0], &[number(&part["from_seconds"])]);
        for (cell, count) in row[1..5].iter().zip([offered, expected, shed, offered - expected - shed]) {
            near(cell, &[a_second(&part, count)]);
        }
    }
    let looks = run["memory"]["samples"].as_array().expect("samples");
    for (row, look) in rows(&shown.dom, "looks").iter().zip(looks) {
        near(&row[0], &[number(&look["at_ms"]) / 1e3]);
        near(&row[1], &[number(&look["rss_bytes"]) / 1_048_576.0]);
    }
    for bound in list("validity") {
        let told = format!(
            "{}: {}",
            text(bound["name"].as_str().expect("a name")),
            bound["measured"].as_str().expect("a text")
        );
        assert!(shown.text.contains(&told), "{told}");
    }
}

#[test]
fn the_trials_of_a_capacity_are_drawn_and_those_of_report_json() {
    let report = with_solo();
    let shown = shown(&html(&report), &[]);
    assert_eq!(charts(&shown), 6, "five of the scenario, and its knee");
    let capacity = &report.solo.as_ref().expect("solo").capacities[0];
    let blocks = || capacity.services.iter().flat_map(|service| &service.blocks);
    let probes: Vec<_> = blocks().flat_map(|block| &block.probes).collect();
    let trials = rows(&shown.dom, "trials");
    assert_eq!(trials.len(), probes.len());
    for (row, probe) in trials.iter().zip(probes) {
        near(&row[3], &[probe.rate]);
        near(&row[4], &[probe.load.offered as f64 / probe.load.seconds]);
        near(&row[5], &[probe.load.expected as f64 / probe.load.seconds]);
        let histogram = loadtests::histogram::decode(&probe.load.latency).expect("a histogram");
        near(&row[6], &[histogram.value_at_percentile(99.0) as f64 / 1e3]);
        assert_eq!(row[8], if probe.held { "kept" } else { "missed" });
    }
    let brackets = rows(&shown.dom, "brackets");
    assert_eq!(brackets.len(), blocks().count());
    for (row, block) in brackets.iter().zip(blocks()) {
        near(&row[2], &[block.bracket.low.expect("kept")]);
        near(&row[3], &[block.bracket.high.expect("missed")]);
        assert_eq!(row[5], block.full);
    }
    for (row, service) in rows(&shown.dom, "capacity").iter().zip(&capacity.services) {
        let kept = service.kept.as_ref().expect("kept");
        near(&unbracketed(&row[1]), &[kept.median, kept.low, kept.high]);
    }
}

#[test]
fn what_services_answer_at_most_has_its_n_and_its_ratios() {
    let report = with_solo();
    let shown = shown(&html(&report), &[]);
    let plain = |cell: &String| cell.replace(['[', ',', ']'], " ");
    let told = |ratio: &Ratio| {
        let interval = ratio.interval.expect("an interval");
        [ratio.estimate.expect("a ratio"), interval.low, interval.high]
    };
    let [first, second] = &report.limits.as_ref().expect("limits").saturations[..] else { panic!("two") };
    for (row, wanted) in rows(&shown.dom, "saturations").iter().zip([first, second]) {
        near(&unbracketed(&row[1]), &[wanted.rate.median, wanted.rate.low, wanted.rate.high]);
        assert_eq!(row[4], wanted.rate.values.len().to_string());
    }
    let between = rows(&shown.dom, "between");
    assert_eq!(between.len(), 1);
    assert_eq!([&between[0][1], &between[0][4]], ["quick/slow", "3"]);
    near(&plain(&between[0][2]), &told(&first.rate.paired_ratio_to(&second.rate)));
    near(&plain(&between[0][3]), &told(&first.cpu_us.paired_ratio_to(&second.cpu_us)));
    let looking = &report.looking.as_ref().expect("looking").rows;
    let seen = rows(&shown.dom, "looking");
    assert_eq!(seen.len(), looking.len());
    for (row, wanted) in seen.iter().zip(looking) {
        assert_eq!(row[3], wanted.rate.values.len().to_string());
        near(&row[4], &[wanted.rate.median]);
        match &wanted.rate_ratio {
            None => assert_eq!(row[5], "–"),
            Some(ratio) => near(&plain(&row[5]), &told(ratio)),
        }
    }
}

fn html(report: &Report) -> String {
    page(report).expect("a page")
}
