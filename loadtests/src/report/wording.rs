//! Numbers and verdicts as a person reads them; the same words in terminal, summary and page.

use super::control::{Control, objections};
use super::model::{Metric, OperationRow, Report};
use crate::spread::Spread;
use crate::stats::{Interval, Ratio};

/// What the intervals don't hold.
const ONE_START: &str = "Behind these intervals stand one start of each service, and no control of one service against itself (A/A).";
/// The same with controls.
const CONTROLLED: &str = "Behind these intervals stand one start of each service. Each was compared with a second instance of itself, too (A/A): a difference is named only where those controls show none.";
/// The same where one service is compared with itself.
const A_A: &str = "Both are the same program (an A/A comparison): a difference named here is chance, or shows how two starts of one service differ.";

/// A rate within this share of what is offered is the offered one: a service isn't faster for being asked more.
const KEPT_UP: f64 = 0.01;

/// What one of the table's rows is.
pub const IDLE: &str = "CPU while idle is what a service used in the other’s slices, when it had nothing to answer: timers, background work, collecting garbage. It is on the same core and may disturb the other. Whether its timers fall together is decided by its start, so slices of one start have no interval.";

/// What another of the table's rows is.
pub const MEMORY: &str = "Memory is that of one process each, at the slices’ ends. Another start may have another, and slices can’t show by how much: only repeated starts have an interval (compare --solo, or loadtest solo).";

/// Three significant digits, thousands apart.
pub fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let digits = value.abs().log10().floor() as i32 + 1;
    let most = if digits > 0 { 2 } else { 4 };
    let decimals = (3 - digits).clamp(0, most) as usize;
    let text = format!("{value:.decimals$}");
    let (whole, rest) =
        text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    rest.map_or(grouped(whole), |rest| format!("{}.{rest}", grouped(whole)))
}

/// A count, thousands apart.
pub fn whole(count: u64) -> String {
    grouped(&count.to_string())
}

/// A count of something: `1 request`, `2 requests`.
pub fn counted(count: u64, one: &str) -> String {
    format!("{} {one}{}", whole(count), if count == 1 { "" } else { "s" })
}

/// How many of something each value is of; once where both are of as many.
pub fn counts([first, second]: [u64; 2], of: &str) -> String {
    let each = if first == second { whole(first) } else { format!("{}; {}", whole(first), whole(second)) };
    if of == "slices" { format!("{each} slices") } else { each }
}

/// Of an operation: its name, n, both medians in ms and their ratio, both p99 and theirs.
pub fn operation_cells(row: &OperationRow) -> [String; 8] {
    let [p99, other] = row.p99_us.map_or(["too few", ""].map(String::from), |p99| p99.map(millis));
    [
        row.operation.clone(),
        counts(row.replies, ""),
        millis(row.p50_us[0]),
        millis(row.p50_us[1]),
        with_interval(&row.ratio),
        p99,
        other,
        row.p99_ratio.as_ref().map_or_else(String::new, with_interval),
    ]
}

fn grouped(digits: &str) -> String {
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0
            && digit.is_ascii_digit()
            && (digits.len() - index).is_multiple_of(3)
            && !grouped.ends_with('-')
        {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// `321 (310 to 330)`: the middle, the least and the most; of one value that one.
pub fn spread(Spread { values, median, low, high }: &Spread) -> String {
    match values.len() {
        1 => number(*median),
        _ => format!("{} ({} to {})", number(*median), number(*low), number(*high)),
    }
}

/// A ratio to two digits after the point, or three where it is close to 1; a dash where there is none.
pub fn ratio(ratio: &Ratio) -> String {
    ratio.estimate.map_or("–".into(), |value| format!("{value:.*}", digits(value)))
}

fn digits(ratio: f64) -> usize {
    if (0.95..1.05).contains(&ratio) { 3 } else { 2 }
}

/// `0.83 to 0.88`, or why there is none.
pub fn interval(ratio: &Ratio) -> String {
    match &ratio.interval {
        Some(interval) => ends(interval),
        None => ratio.no_interval.clone().unwrap_or_else(|| "no interval".into()),
    }
}

/// `1.010 [0.980, 1.030]`, or why there is no interval.
pub fn with_interval(ratio: &Ratio) -> String {
    let (Some(estimate), Some(Interval { low, high })) = (ratio.estimate, ratio.interval) else {
        return format!("{} ({})", self::ratio(ratio), interval(ratio));
    };
    let digits = [estimate, low, high].map(digits).into_iter().max().unwrap_or(2);
    format!("{estimate:.digits$} [{low:.digits$}, {high:.digits$}]")
}

/// The same of a ratio that may well have none, where the reason needn’t be said or stands beside it.
pub fn repeated(ratio: &Ratio) -> String {
    if ratio.interval.is_some() { with_interval(ratio) } else { self::ratio(ratio) }
}

fn ends(interval: &Interval) -> String {
    let digits = digits(interval.low).max(digits(interval.high));
    format!("{:.digits$} to {:.digits$}", interval.low, interval.high)
}

/// µs as ms.
pub fn millis(us: f64) -> String {
    number(us / 1e3)
}

/// What was offered, where both keep it.
fn keeps_up(metric: &Metric) -> Option<f64> {
    let offered = metric.offered?;
    let near = |value: &f64| (value / offered - 1.0).abs() <= KEPT_UP;
    metric.values.iter().all(near).then_some(offered)
}

/// What a metric comes to.
enum Finding {
    /// There is no interval.
    Untold,
    /// Both serve what is offered.
    KeepsUp(f64),
    /// So wide that nothing can be said.
    Noise(Interval),
    /// The interval holds 1.
    Same(Interval),
    /// It doesn't, but neither do controls: why.
    Doubted(Interval, Vec<String>),
    /// It doesn't, and the controls' do.
    Differs(Interval, f64),
}

fn finding(metric: &Metric, controls: &[Control]) -> Finding {
    let (Some(found), Some(estimate)) = (metric.ratio.interval, metric.ratio.estimate) else {
        return Finding::Untold;
    };
    if let Some(offered) = keeps_up(metric) {
        return Finding::KeepsUp(offered);
    }
    if !found.excludes_one() {
        return if is_noise(&found) { Finding::Noise(found) } else { Finding::Same(found) };
    }
    let objections = objections(controls, |control| control.metric(&metric.name));
    if objections.is_empty() {
        Finding::Differs(found, estimate)
    } else {
        Finding::Doubted(found, objections)
    }
}

/// Whether a metric is called a difference: its interval excludes 1, and those of its controls don't.
pub fn is_difference(metric: &Metric, controls: &[Control]) -> bool {
    matches!(finding(metric, controls), Finding::Differs(..))
}

/// What a metric says, in a few words.
pub fn verdict_word(metric: &Metric, controls: &[Control], labels: &[String]) -> String {
    match finding(metric, controls) {
        Finding::Untold => "no verdict".into(),
        Finding::KeepsUp(_) => "both keep up".into(),
        Finding::Noise(_) => "too noisy to say".into(),
        Finding::Same(found) => format!("no difference seen (±{})", percent(found.half_width())),
        Finding::Doubted(..) => "no verdict: see its control".into(),
        Finding::Differs(_, estimate) => {
            format!("{} {} {}", labels[0], percent((estimate - 1.0).abs()), direction(estimate))
        }
    }
}

/// What a metric says, as a sentence.
pub fn verdict(metric: &Metric, controls: &[Control], labels: &[String]) -> String {
    let Metric { label, unit, values, ratio, .. } = metric;
    let value = |index: usize| format!("{} {} {unit}", labels[index], number(values[index]));
    let both = format!("{} and {}", value(0), value(1));
    match finding(metric, controls) {
        Finding::Untold => format!("{label}: {both}: {}.", interval(ratio)),
        Finding::KeepsUp(offered) => {
            let offered = number(offered);
            format!("{label}: both answer the {offered} requests/s that are offered ({both}).")
        }
        Finding::Noise(found) => {
            let ends = ends(&found);
            format!("{label}: too noisy to say ({both}; the ratio may be anything from {ends}).")
        }
        Finding::Same(found) => format!(
            "{label}: no difference seen ({both}); differences below about {} can’t be told from none.",
            percent(found.half_width())
        ),
        Finding::Doubted(found, objections) => format!(
            "{label}: not called a difference ({both}; the ratio’s 95 % interval is {}), since {}.",
            ends(&found),
            objections.join(", and ")
        ),
        Finding::Differs(found, estimate) => {
            let change = |ratio: f64| number((ratio - 1.0).abs() * 100.0);
            let (near, far) = if estimate < 1.0 { (found.high, found.low) } else { (found.low, found.high) };
            format!(
                "{label}: {}’s is {} {} than {}’s ({both}; 95 % interval {} to {} %).",
                labels[0],
                percent((estimate - 1.0).abs()),
                direction(estimate),
                labels[1],
                change(near),
                change(far),
            )
        }
    }
}

fn direction(ratio: f64) -> &'static str {
    if ratio < 1.0 { "lower" } else { "higher" }
}

/// How a run's ratio differs from an earlier run's, in a few words.
pub fn change(now: &Ratio, then: Option<&Ratio>) -> String {
    let Some((change, found)) = then.and_then(|then| now.change_from(then)) else {
        return "can’t be told".into();
    };
    if !found.excludes_one() {
        return if is_noise(&found) {
            "too noisy to say".into()
        } else {
            format!("no difference seen (±{})", percent(found.half_width()))
        };
    }
    let direction = if change < 1.0 { "lower" } else { "higher" };
    format!("{} {direction} ({} times)", percent((change - 1.0).abs()), ends(&found))
}

/// An interval so wide that naming what would have shown would be a joke.
fn is_noise(interval: &Interval) -> bool {
    interval.half_width() > 0.5
}

fn percent(share: f64) -> String {
    format!(
        "{} %",
        if share < 0.0995 { format!("{:.1}", share * 100.0) } else { format!("{:.0}", share * 100.0) }
    )
}

/// What stands behind the intervals, and what doesn't.
pub fn starts(report: &Report) -> &'static str {
    let of = |index: usize| {
        report.contenders.get(index).map(|contender| contender.version.implementation.as_str())
    };
    let same = of(0) == of(1) && of(0).is_some_and(|implementation| !implementation.is_empty());
    let controlled = report.scenarios.iter().any(|scenario| !scenario.controls.is_empty());
    match (same, controlled) {
        (true, _) => A_A,
        (false, true) => CONTROLLED,
        (false, false) => ONE_START,
    }
}

/// The contenders' names for sentences.
pub fn labels(report: &Report) -> Vec<String> {
    report.contenders.iter().map(|contender| contender.label.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(estimate: f64, low: f64, high: f64, less_is_better: Option<bool>) -> Metric {
        Metric {
            name: "p99".into(),
            label: "p99 latency".into(),
            unit: "ms".into(),
            values: [estimate * 10.0, 10.0],
            ratio: Ratio {
                estimate: Some(estimate),
                interval: Some(Interval { low, high }),
                no_interval: None,
            },
            less_is_better,
            offered: None,
            n: [100, 100],
            n_of: "replies".into(),
        }
    }

    #[test]
    fn numbers_have_three_digits_that_matter() {
        let cases = [
            (0.0, "0"),
            (0.00512, "0.0051"),
            (0.1234, "0.123"),
            (3.456, "3.46"),
            (34.56, "34.6"),
            (345.6, "346"),
            (1234567.0, "1\u{202f}234\u{202f}567"),
        ];
        for (value, wanted) in cases {
            assert_eq!(number(value), wanted);
        }
        assert_eq!([0, 24, 1234567].map(whole), ["0", "24", "1\u{202f}234\u{202f}567"]);
    }

    #[test]
    fn a_verdict_is_a_difference_only_where_the_interval_excludes_one() {
        let labels = ["Rust".to_owned(), "Go".to_owned()];
        assert_eq!(
            verdict(&metric(0.8, 0.75, 0.86, Some(true)), &[], &labels),
            "p99 latency: Rust’s is 20 % lower than Go’s (Rust 8 ms and Go 10 ms; 95 % interval 14 to 25 %)."
                .replace("Rust 8 ms", "Rust 8.00 ms")
                .replace("Go 10 ms", "Go 10.0 ms")
                .replace("14 to 25 %", "14.0 to 25.0 %")
        );
        assert!(verdict(&metric(1.25, 1.2, 1.3, Some(true)), &[], &labels).contains("25 % higher"));
        assert!(verdict(&metric(0.98, 0.93, 1.03, Some(true)), &[], &labels).contains("no difference seen"));
        assert!(
            verdict(&metric(0.98, 0.93, 1.03, Some(true)), &[], &labels)
                .contains("differences below about 5.0 % can’t be told from none")
        );
        assert!(verdict(&metric(4.8, 0.8, 8.6, Some(true)), &[], &labels).contains("too noisy to say"));
    }

    #[test]
    fn a_rate_that_both_keep_is_no_difference_and_one_that_is_lost_is() {
        let labels = ["Rust".to_owned(), "Go".to_owned()];
        let rate = |values: [f64; 2], low, high| {
            let metric = metric(values[0] / values[1], low, high, None);
            Metric { values, offered: Some(100.0), label: "Rate".into(), unit: "replies/s".into(), ..metric }
        };
        // Told from 1, and still both as fast as they were asked.
        let kept = rate([99.9, 99.1], 1.001, 1.009);
        assert_eq!(verdict_word(&kept, &[], &labels), "both keep up");
        assert_eq!(
            verdict(&kept, &[], &labels),
            "Rate: both answer the 100 requests/s that are offered (Rust 99.9 replies/s and Go 99.1 replies/s)."
        );
        for lost in [rate([99.9, 98.9], 1.005, 1.02), rate([101.1, 100.0], 1.005, 1.02)] {
            assert_eq!(
                verdict_word(&lost, &[], &labels),
                format!("Rust {} higher", percent(lost.values[0] / lost.values[1] - 1.0))
            );
            assert!(!verdict(&lost, &[], &labels).contains("both answer"));
        }
        let unclear = rate([98.0, 98.5], 0.98, 1.01);
        assert!(verdict_word(&unclear, &[], &labels).starts_with("no difference seen"));
    }

    #[test]
    fn without_an_interval_there_is_no_verdict() {
        let labels = ["Rust".to_owned(), "Go".to_owned()];
        for less_is_better in [Some(true), None] {
            let mut few = metric(0.5, 0.4, 0.6, less_is_better);
            let why = "too few pairs (3) for an interval";
            few.ratio = Ratio { interval: None, no_interval: Some(why.into()), ..few.ratio };
            assert_eq!(verdict_word(&few, &[], &labels), "no verdict");
            assert_eq!(interval(&few.ratio), why);
            let sentence = format!("p99 latency: Rust 5.00 ms and Go 10.0 ms: {why}.");
            assert_eq!(verdict(&few, &[], &labels), sentence);
        }
    }
}
