//! The limits as a table.

use super::{Limit, Limits};
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
    format!("{table}\n{missing}")
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

    #[test]
    fn a_row_has_its_figure_unit_and_n_or_why_it_has_none() {
        let rows = vec![
            Limit::measured("a", "Loop".into(), "hashes/s", &[300.0, 310.0, 290.0], Some("a core".into())),
            Limit::missing("b", "Sale".into(), "sales/s", "pgbench is missing: get it".into()),
        ];
        let text = table(&Limits { seconds: 1.0, rows });
        for wanted in ["300", "290 to 310", "hashes/s", "a core", "Sale: pgbench is missing: get it"] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
    }
}
