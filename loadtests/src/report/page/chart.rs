//! A chart over numbers, as the page's script draws it.

use serde::Serialize;

/// All lines have a value, or none, at each place of `at`.
#[derive(Debug, Serialize)]
pub struct Chart {
    /// What the horizontal axis counts.
    pub x: &'static str,
    /// Of the values.
    pub unit: &'static str,
    /// Each power of ten takes the same room.
    pub log: bool,
    /// Ascending.
    pub at: Vec<f64>,
    /// In the order of the legend.
    pub lines: Vec<ChartLine>,
}

/// One line, or points.
#[derive(Debug, Serialize)]
pub struct ChartLine {
    /// In the legend.
    pub label: String,
    /// A colour of the page: `first`, `second`, `good`, `bad`, `warn` or `soft`.
    pub colour: &'static str,
    /// How it is drawn.
    pub style: Style,
    /// One a place.
    pub values: Vec<Option<f64>>,
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// From value to value.
    Line,
    /// The same, broken.
    Dashed,
    /// Full points, no line.
    Dots,
    /// Empty points, no line.
    Rings,
}

impl ChartLine {
    /// One that has a value everywhere.
    pub fn whole(label: &str, colour: &'static str, style: Style, values: Vec<f64>) -> Self {
        Self { label: label.to_owned(), colour, style, values: values.into_iter().map(Some).collect() }
    }
}

/// What the script reads, as JSON in a script element: nothing is escaped there, so nothing may look like its end.
pub fn data(labels: &[String], scenarios: impl Serialize, charts: &[Chart]) -> serde_json::Result<String> {
    let data = serde_json::json!({ "labels": labels, "scenarios": scenarios, "charts": charts });
    Ok(serde_json::to_string(&data)?.replace('<', "\\u003c"))
}
