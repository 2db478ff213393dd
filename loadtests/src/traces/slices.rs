//! The slices of a play: which of them a request was in, by the number that its trace's id ends with.

use serde::{Deserialize, Serialize};

/// A play whose requests have numbers, ascending by the slices in which they were sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slices {
    /// The first number of each slice, and the one after the last slice: what lies outside isn't compared.
    pub edges: Vec<u64>,
    /// Slices that don't count, by their places, ascending: nothing in them is compared.
    pub left_out: Vec<usize>,
}

impl Slices {
    /// Those that count.
    pub fn count(&self) -> usize {
        self.edges.len().saturating_sub(1 + self.left_out.len())
    }

    /// The slice of a trace, among those that count; nothing of what was in none of them.
    pub fn of(&self, trace: &[u8]) -> Option<usize> {
        let number = u64::from_be_bytes(*trace.last_chunk()?);
        let slice = self.edges.partition_point(|edge| *edge <= number).checked_sub(1)?;
        let inside = slice + 1 < self.edges.len() && !self.left_out.contains(&slice);
        inside.then(|| slice - self.left_out.partition_point(|left_out| *left_out < slice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(number: u64) -> [u8; 16] {
        (u128::from(u64::MAX) << 64 | u128::from(number)).to_be_bytes()
    }

    #[test]
    fn a_request_is_in_its_slice_and_in_none_where_that_was_left_out() {
        let slices = Slices { edges: vec![10, 20, 20, 30, 40], left_out: vec![0, 2] };
        assert_eq!(slices.count(), 2);
        let found = [9, 10, 19, 20, 29, 30, 39, 40].map(|number| slices.of(&trace(number)));
        // The second slice has no request.
        assert_eq!(found, [None, None, None, None, None, Some(1), Some(1), None]);
        let all = Slices { left_out: vec![], ..slices };
        assert_eq!([19, 20, 39].map(|number| all.of(&trace(number))), [Some(0), Some(2), Some(3)]);
        assert_eq!((all.of(&[1, 2]), Slices { edges: vec![], left_out: vec![] }.count()), (None, 0));
    }
}
