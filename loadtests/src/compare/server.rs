//! Server-side figures: what the kernel and its language's runtime tell of each service, from before the first slice to after
//! the last. What one language alone has is nothing of the other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::procstat::Switches;
use crate::stats::rounded;

/// A service at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// On the monotonic clock.
    pub at_ns: u64,
    /// Of its threads that are there.
    pub switches: Switches,
    /// What its runtime tells, by name and labels as in `/metrics`.
    pub series: BTreeMap<String, f64>,
}

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerRow {
    /// In report.json.
    pub name: String,
    /// As a person calls it.
    pub label: String,
    /// Of the values.
    pub unit: String,
    /// The contenders' values; unset where its language has no such thing, or too few were counted.
    pub values: [Option<f64>; 2],
}

/// Pauses or waits that a p99 is made of at least.
const SAMPLES_MIN: f64 = 100.0;
const KIB: f64 = 1024.0;
const MIB: f64 = 1_048_576.0;

/// Between two looks.
struct Stretch<'a> {
    looks: &'a [Look; 2],
    replies: f64,
}

type Line = (&'static str, &'static str, &'static str, fn(&Stretch<'_>) -> Option<f64>);

/// In the table's order.
const LINES: [Line; 11] = [
    ("switches_voluntary", "Context switches a reply: a thread waited", "", |stretch| {
        stretch.switched(|switches| switches.voluntary)
    }),
    ("switches_involuntary", "Context switches a reply: a thread was made to", "", |stretch| {
        stretch.switched(|switches| switches.involuntary)
    }),
    ("gc_cycles", "Go: garbage collections", "a second", |stretch| {
        stretch.a_second("go_memory_gc_cycles_total")
    }),
    ("gc_pause", "Go: the world stopped for them", "ms a second", |stretch| {
        Some(stretch.a_second(&format!("{GC_PAUSE}_sum"))? * 1e3)
    }),
    ("gc_pause_p99", "Go: p99 of such a stop, at most", "µs", |stretch| Some(stretch.p99(GC_PAUSE)? * 1e6)),
    ("gc_cpu", "Go: their share of its CPU", "%", |stretch| {
        let [gc, user, scavenge] = ["gc", "user", "scavenge"]
            .map(|state| stretch.added(&format!("go_cpu_time_seconds_total{{go_cpu_state=\"{state}\"}}")));
        let gc = gc?;
        Some(gc / (gc + user? + scavenge?) * 100.0)
    }),
    ("go_allocated", "Go: allocated on the heap a reply", "KiB", |stretch| {
        Some(stretch.added("go_memory_allocated_bytes_total")? / KIB / stretch.replies)
    }),
    ("go_wait_p99", "Go: p99 of a goroutine’s wait for a processor, at most", "µs", |stretch| {
        Some(stretch.p99("go_schedule_duration_seconds")? * 1e6)
    }),
    ("go_used", "Go: memory of its runtime, at the end", "MiB", |stretch| {
        let [other, stack] = ["other", "stack"]
            .map(|kind| stretch.at_end(&format!("go_memory_used_bytes{{go_memory_type=\"{kind}\"}}")));
        Some((other? + stack?) / MIB)
    }),
    ("jemalloc_allocated", "Rust: allocated and not freed, at the end", "MiB", |stretch| {
        Some(stretch.at_end("jemalloc_memory_allocated_bytes")? / MIB)
    }),
    ("jemalloc_resident", "Rust: memory of its allocator, at the end", "MiB", |stretch| {
        Some(stretch.at_end("jemalloc_memory_resident_bytes")? / MIB)
    }),
];
const GC_PAUSE: &str = "go_memory_gc_pause_duration_seconds";

impl Stretch<'_> {
    fn switched(&self, of: fn(&Switches) -> u64) -> Option<f64> {
        let [before, after] = self.looks.each_ref().map(|look| of(&look.switches));
        // Threads that ended took theirs along.
        Some(after.saturating_sub(before) as f64 / self.replies)
    }

    fn at_end(&self, series: &str) -> Option<f64> {
        self.looks[1].series.get(series).copied()
    }

    fn added(&self, series: &str) -> Option<f64> {
        Some(self.at_end(series)? - self.looks[0].series.get(series)?)
    }

    fn a_second(&self, series: &str) -> Option<f64> {
        let ns = self.looks[1].at_ns.saturating_sub(self.looks[0].at_ns);
        Some(self.added(series)? / (ns as f64 / 1e9))
    }

    /// The upper end of the bucket that the percentile lies in.
    fn p99(&self, histogram: &str) -> Option<f64> {
        let prefix = format!("{histogram}_bucket{{le=\"");
        let bucket = |series: &String| {
            let end = series.strip_prefix(&prefix)?.strip_suffix("\"}")?.parse::<f64>().ok()?;
            Some((end, self.added(series)?))
        };
        let mut buckets: Vec<_> = self.looks[1].series.keys().filter_map(bucket).collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let all = buckets.last()?.1;
        let (end, _) = buckets.into_iter().find(|(_, below)| *below >= all * 0.99)?;
        (all >= SAMPLES_MIN).then_some(end)
    }
}

/// The table of two services that were looked at, `replies` each; without the lines that neither has a value in.
pub fn rows(looks: [Option<&[Look; 2]>; 2], replies: [u64; 2]) -> Vec<ServerRow> {
    let row = |(name, label, unit, value): &Line| {
        let of = |index: usize| {
            let stretch = Stretch { looks: looks[index]?, replies: replies[index] as f64 };
            value(&stretch).filter(|value| value.is_finite()).map(rounded)
        };
        let values = [of(0), of(1)];
        let row = ServerRow { name: (*name).into(), label: (*label).into(), unit: (*unit).into(), values };
        values.iter().any(Option::is_some).then_some(row)
    };
    LINES.iter().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(at_s: u64, switches: [u64; 2], series: &[(&str, f64)]) -> Look {
        let switches = Switches { voluntary: switches[0], involuntary: switches[1] };
        let series = series.iter().map(|(name, value)| ((*name).to_owned(), *value));
        Look { at_ns: at_s * 1_000_000_000, switches, series: series.collect() }
    }

    fn go(at_s: u64, cycles: f64, pauses: [f64; 3]) -> Look {
        let [short, long, sum] = pauses;
        look(
            at_s,
            [0, 0],
            &[
                ("go_memory_gc_cycles_total", cycles),
                ("go_memory_gc_pause_duration_seconds_bucket{le=\"1e-05\"}", short),
                ("go_memory_gc_pause_duration_seconds_bucket{le=\"0.0001\"}", short + long),
                ("go_memory_gc_pause_duration_seconds_bucket{le=\"+Inf\"}", short + long),
                ("go_memory_gc_pause_duration_seconds_sum", sum),
                ("go_cpu_time_seconds_total{go_cpu_state=\"gc\"}", cycles),
                ("go_cpu_time_seconds_total{go_cpu_state=\"user\"}", cycles * 3.0),
                ("go_cpu_time_seconds_total{go_cpu_state=\"scavenge\"}", 0.0),
            ],
        )
    }

    fn value(rows: &[ServerRow], name: &str) -> Option<[Option<f64>; 2]> {
        rows.iter().find(|row| row.name == name).map(|row| row.values)
    }

    #[test]
    fn what_was_added_between_the_looks_counts_and_the_other_language_has_none() {
        let rust = [
            look(10, [100, 10], &[("jemalloc_memory_resident_bytes", 9.0 * MIB)]),
            look(20, [300, 20], &[("jemalloc_memory_resident_bytes", 8.0 * MIB)]),
        ];
        let go = [go(10, 5.0, [10.0, 0.0, 0.5]), go(20, 25.0, [200.0, 10.0, 0.7])];
        let rows = rows([Some(&rust), Some(&go)], [100, 50]);
        let wanted = [
            ("switches_voluntary", [Some(2.0), Some(0.0)]),
            ("switches_involuntary", [Some(0.1), Some(0.0)]),
            ("gc_cycles", [None, Some(2.0)]),
            ("gc_pause", [None, Some(20.0)]),
            ("gc_pause_p99", [None, Some(100.0)]),
            ("gc_cpu", [None, Some(25.0)]),
            ("jemalloc_resident", [Some(8.0), None]),
        ];
        for (name, wanted) in wanted {
            assert_eq!(value(&rows, name), Some(wanted), "{name}");
        }
        assert_eq!(rows.len(), wanted.len(), "{rows:?}");
    }

    #[test]
    fn few_pauses_have_no_p99_and_services_that_were_not_looked_at_have_nothing() {
        let few = [go(0, 0.0, [0.0; 3]), go(1, 1.0, [99.0, 0.0, 0.1])];
        assert_eq!(value(&rows([None, Some(&few)], [1, 1]), "gc_pause_p99"), None);
        let enough = [go(0, 0.0, [0.0; 3]), go(1, 1.0, [99.0, 1.0, 0.1])];
        assert_eq!(value(&rows([None, Some(&enough)], [1, 1]), "gc_pause_p99"), Some([None, Some(10.0)]));
        assert_eq!(rows([None, None], [1, 1]), []);
    }
}
