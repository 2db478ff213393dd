//! Pages of lists, newest first. A cursor names the last object of a page and holds a hash of what was asked for; its definition
//! stands on top of `proto/vectors/cursors.toml`.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use uuid::Uuid;

use super::request_hash::RequestHash;
use crate::domain::{
    error::{Error, Violations},
    id::MerchantId,
};

/// The largest page.
const MAX_SIZE: i64 = 100;
/// Where none is given.
const DEFAULT_SIZE: i64 = 10;
/// Of the cursors that this program writes and reads.
const VERSION: u8 = 1;

/// Which page, as it was asked for.
#[derive(Debug)]
pub struct Page {
    /// What the door calls the size.
    pub field: &'static str,
    /// How many objects at most.
    pub size: Option<i64>,
    /// From the page before; an empty one is as absent.
    pub cursor: Option<String>,
}

impl Page {
    /// How many objects at most.
    pub(super) fn size(&self, violations: &mut Violations) -> i64 {
        violations.optional_integer(self.field, self.size, 1, MAX_SIZE).unwrap_or(DEFAULT_SIZE)
    }

    /// The position after which it begins; none: with the newest.
    pub(super) fn after(&self, filter: Filter) -> Result<Option<Uuid>, Error> {
        let given = self.cursor.as_deref().filter(|cursor| !cursor.is_empty());
        given.map(|cursor| filter.position(cursor).ok_or(Error::CursorInvalid)).transpose()
    }

    /// The same where sequences are positions.
    pub(super) fn after_sequence(&self, filter: Filter) -> Result<Option<i64>, Error> {
        let sequence = |position: Uuid| i64::try_from(position.as_u128());
        self.after(filter)?.map(sequence).transpose().map_err(|_| Error::CursorInvalid)
    }
}

/// The position of what has a sequence.
pub(super) fn of_sequence(sequence: i64) -> Uuid {
    Uuid::from_u64_pair(0, sequence.unsigned_abs())
}

/// The hash of a list, its merchant and what it is narrowed down to: another's cursor is none of its.
#[derive(Clone, Copy)]
pub(super) struct Filter([u8; 8]);

impl Filter {
    /// `members` in the order of the .proto.
    pub(super) fn new(list: &str, merchant: MerchantId, members: &[(&str, Option<String>)]) -> Self {
        let mut hash = RequestHash::new(list, &[&merchant.to_string()]);
        for (name, value) in members {
            if let Some(value) = value {
                hash.member(name, value);
            }
        }
        let [a, b, c, d, e, f, g, h, ..] = hash.finish();
        Self([a, b, c, d, e, f, g, h])
    }

    fn cursor(self, position: Uuid) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(position.as_bytes());
        bytes.extend_from_slice(&self.0);
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    fn position(self, cursor: &str) -> Option<Uuid> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let rest = bytes.strip_prefix(&[VERSION])?.strip_suffix(&self.0)?;
        Uuid::from_slice(rest).ok()
    }
}

/// A page.
#[derive(Debug)]
pub struct List<T> {
    /// Newest first.
    pub data: Vec<T>,
    /// The next page's cursor; none on the last one.
    pub next: Option<String>,
}

impl<T> List<T> {
    /// Of the rows of a statement that was asked for one more than `size`.
    pub(super) fn new(mut rows: Vec<T>, size: i64, filter: Filter, position: impl Fn(&T) -> Uuid) -> Self {
        let size = usize::try_from(size).unwrap_or(0);
        let more = rows.len() > size;
        rows.truncate(size);
        let next = rows.last().filter(|_| more).map(|last| filter.cursor(position(last)));
        Self { data: rows, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vectors() -> toml::Table {
        include_str!("../../../../proto/vectors/cursors.toml").parse().unwrap()
    }

    fn page(cursor: &str) -> Page {
        Page { field: "limit", size: None, cursor: Some(cursor.to_owned()) }
    }

    fn merchant(case: &toml::Value) -> MerchantId {
        MerchantId::parse(case["merchant"].as_str().unwrap()).unwrap()
    }

    #[test]
    fn cursors_are_those_of_the_vectors() {
        for case in vectors()["cursor"].as_array().unwrap() {
            let members: Vec<_> = case["filter"].as_array().unwrap().iter().collect();
            let member = |pair: &toml::Value, n: usize| pair[n].as_str().unwrap().to_owned();
            let members: Vec<_> = members.iter().map(|pair| (member(pair, 0), member(pair, 1))).collect();
            let members: Vec<_> =
                members.iter().map(|(name, value)| (name.as_str(), Some(value.clone()))).collect();
            let sequence = case.get("sequence").map(|sequence| sequence.as_integer().unwrap());
            let position = match sequence {
                Some(sequence) => of_sequence(sequence),
                None => case["position"].as_str().unwrap().parse().unwrap(),
            };
            let filter = Filter::new(case["list"].as_str().unwrap(), merchant(case), &members);
            let text = case["text"].as_str().unwrap();
            if sequence.is_some() {
                assert_eq!(page(text).after_sequence(filter).unwrap(), sequence, "{case}");
            }
            assert_eq!(filter.cursor(position), text, "{case}");
            assert_eq!(filter.position(text), Some(position), "{case}");
        }
        for case in vectors()["invalid"].as_array().unwrap() {
            let filter = Filter::new("list_payments", merchant(case), &[]);
            assert_eq!(filter.position(case["text"].as_str().unwrap()), None, "{case}");
        }
        for case in vectors()["invalid_sequence"].as_array().unwrap() {
            let filter = Filter::new("list_events", merchant(case), &[]);
            let result = page(case["text"].as_str().unwrap()).after_sequence(filter);
            assert!(matches!(result, Err(Error::CursorInvalid)), "{case}");
        }
    }

    #[test]
    fn the_row_beyond_the_page_says_that_there_is_more() {
        let filter = Filter::new("list_payments", MerchantId(Uuid::nil()), &[]);
        let list = |rows: u128| List::new((0..rows).map(Uuid::from_u128).collect(), 2, filter, |id| *id);
        assert_eq!((list(0).data.len(), list(0).next), (0, None));
        assert_eq!((list(2).data.len(), list(2).next), (2, None));
        assert_eq!((list(3).data.len(), list(3).next), (2, Some(filter.cursor(Uuid::from_u128(1)))));
    }
}
