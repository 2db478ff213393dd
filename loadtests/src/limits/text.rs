//! The limits as a table.

use super::{Between, Limit, Limits, Saturation, between};
use crate::report::wording::number;
use crate::report::{align, plain};

/// For the terminal.
pub fn table(limits: &Limits) -> String {
    let mut table = plain(&["limit", "median", "least to most", "unit", "n", "what was full"]);
    limits.rows.iter().for_each(|limit| {
        table.add_row(cells(limit));
    });
    align(&mut table, &[1, 2, 4]);
    let missing = limits.rows.iter().filter_map(|limit| Some((&limit.label, limit.missing.as_ref()?)));
    let missing: String = missing.map(|(label, why)| format!("{label}: {why}\n")).collect();
    let line = limits.surroundings.line().map(|line| line + "\n").unwrap_or_default();
    format!("{table}\n{missing}{}{line}", saturations(&limits.saturations))
}

fn saturations(saturations: &[Saturation]) -> String {
    if saturations.is_empty() {
        return String::new();
    }
    let mut table =
        plain(&["answered at most", "median", "least to most", "unit", "n", "CPU a reply µs", "share", "of"]);
    for one in saturations {
        let share = one.share.as_ref().map_or("–".to_owned(), |share| format!("{:.2}", share.median));
        table.add_row([
            one.label.clone(),
            number(one.rate.median),
            format!("{} to {}", number(one.rate.low), number(one.rate.high)),
            one.unit.clone(),
            one.rate.values.len().to_string(),
            number(one.cpu_us.median),
            share,
            format!("{}\n{}", one.limit, one.full),
        ]);
    }
    align(&mut table, &[1, 2, 4, 5, 6]);
    let title = "What each service answers at most, and its share of the limit in the same minutes";
    format!("{title}\n{table}\n{}", ratios(saturations))
}

fn ratios(saturations: &[Saturation]) -> String {
    let found = between(saturations);
    if found.is_empty() {
        return String::new();
    }
    let mut table = plain(&Between::HEAD);
    found.iter().for_each(|one| {
        table.add_row(one.cells());
    });
    align(&mut table, &[2, 3, 4]);
    format!("One by the other, with the 95 % interval\n{table}\n")
}

fn cells(limit: &Limit) -> [String; 6] {
    let dash = || "–".to_owned();
    let (median, ends, count) = limit.figure.as_ref().map_or((dash(), dash(), dash()), |spread| {
        let ends = format!("{} to {}", number(spread.low), number(spread.high));
        (number(spread.median), ends, spread.values.len().to_string())
    });
    let full = limit.full.clone().unwrap_or_else(dash);
    [limit.label.clone(), median, ends, limit.unit.clone(), count, full]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spread::Spread;
    use crate::surroundings::Surroundings;

    #[test]
    fn a_row_has_its_figure_unit_and_n_or_why_it_has_none() {
        let rows = vec![
            Limit::measured("a", "Loop".into(), "hashes/s", &[300.0, 310.0, 290.0], Some("a core".into())),
            Limit::missing("b", "Sale".into(), "sales/s", "pgbench is missing: get it".into()),
        ];
        let spread = |value: f64| Spread::of(&[value]).unwrap();
        let saturation = |service: &str, rate: f64| Saturation {
            name: "saturated".into(),
            label: format!("Tokens, {service}"),
            unit: "tokens/s".into(),
            rate: spread(rate),
            cpu_us: spread(3300.0),
            limit: "Loop".into(),
            share: Some(spread(0.9)),
            full: "service 99 %".into(),
        };
        let saturations = vec![saturation("rust", 270.0), saturation("go", 300.0)];
        let text = table(&Limits { seconds: 1.0, rows, saturations, surroundings: Surroundings::default() });
        for wanted in [
            "300",
            "290 to 310",
            "hashes/s",
            "a core",
            "Sale: pgbench is missing: get it",
            "270",
            "0.90",
            "service 99 %",
            "rust/go",
            "0.90 (too few repetitions for an interval)",
        ] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
    }
}
