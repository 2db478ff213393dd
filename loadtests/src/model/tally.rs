//! How often each operation was asked for, and how often it was accepted.

use std::collections::BTreeMap;
use std::fmt;

use comfy_table::{CellAlignment, Table, presets};

use super::script::Line;

/// Of one operation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Count {
    /// All.
    pub requests: usize,
    /// That were done: errors and replays aren't.
    pub accepted: usize,
}

/// By operation.
#[derive(Debug, Default)]
pub struct Tally(BTreeMap<&'static str, Count>);

impl Tally {
    /// Counts requests by what the model says of them.
    pub fn add(&mut self, lines: &[Line]) {
        for line in lines {
            let count = self.0.entry(line.call.operation).or_default();
            count.requests += 1;
            count.accepted += usize::from(line.wanted.reason.is_none() && !line.wanted.replayed);
        }
    }

    /// In the order of the names.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, Count)> {
        self.0.iter().map(|(name, count)| (*name, *count))
    }

    /// Of one operation; none where it wasn't asked for.
    pub fn of(&self, name: &str) -> Option<Count> {
        self.0.get(name).copied()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY);
        table.set_header(["operation", "requests", "accepted", "%"]);
        for (name, Count { requests, accepted }) in self.all() {
            let share = accepted * 100 / requests.max(1);
            table.add_row([name.to_owned(), requests.to_string(), accepted.to_string(), share.to_string()]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        write!(out, "{table}")
    }
}
