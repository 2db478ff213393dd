//! Texts with `${names}` in them.

use std::borrow::Cow;
use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What RFC 3986 lets stand as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How a value is put into a text so that it stays one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// A part of a path or a query.
    Url,
    /// Inside of a JSON string, or a number.
    Json,
    /// As it is.
    None,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name(String),
}

/// A text, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

impl Template {
    /// Takes a text apart; fails where a `${` has no `}`, or what is between isn't a name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) =
                after.split_once('}').ok_or_else(|| format!("`${{` without `}}` in {text:?}"))?;
            check_name(name)?;
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Name(name.to_owned()));
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        pieces.retain(|piece| !matches!(piece, Piece::Text(text) if text.is_empty()));
        Ok(Self(pieces))
    }

    /// Names in it, each as often as it is there.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Name(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// With the values in place of the names; nothing where one has none.
    pub fn fill<'a>(&self, value: impl Fn(&str) -> Option<Cow<'a, str>>, escape: Escape) -> Option<String> {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Name(name) => put(&mut out, &value(name)?, escape),
            }
        }
        Some(out)
    }
}

/// A small letter or `_`, then those and digits.
pub fn check_name(name: &str) -> Result<(), String> {
    let good = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if good {
        Ok(())
    } else {
        Err(format!("`{name}` is no name: small letters, digits and _, no digit first"))
    }
}

fn put(out: &mut String, value: &str, escape: Escape) {
    match escape {
        Escape::Url => {
            // Writing to a text can't fail.
            let _ = write!(out, "{}", utf8_percent_encode(value, UNRESERVED));
        }
        Escape::Json => {
            let quoted = serde_json::to_string(value).unwrap_or_default();
            out.push_str(&quoted[1..quoted.len() - 1]);
        }
        Escape::None => out.push_str(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str, escape: Escape) -> Option<String> {
        let value = |name: &str| match name {
            "id" => Some(Cow::Borrowed("a/b \"é\"")),
            "n" => Some(Cow::Borrowed("5")),
            _ => None,
        };
        Template::parse(text).unwrap().fill(value, escape)
    }

    #[test]
    fn a_value_stays_one_value_wherever_it_is_put() {
        assert_eq!(fill("/x/${id}?n=${n}", Escape::Url).unwrap(), "/x/a%2Fb%20%22%C3%A9%22?n=5");
        assert_eq!(fill(r#"{"a":"${id}","n":${n}}"#, Escape::Json).unwrap(), r#"{"a":"a/b \"é\"","n":5}"#);
        assert_eq!(fill("${n}${n} $n {n}", Escape::None).unwrap(), "55 $n {n}");
        assert_eq!(fill("", Escape::None).unwrap(), "");
    }

    #[test]
    fn without_a_value_there_is_no_text() {
        assert_eq!(fill("${n}${other}", Escape::None), None);
    }

    #[test]
    fn names_are_found_and_bad_ones_refused() {
        let template = Template::parse("${a_1}x${b}${a_1}").unwrap();
        assert_eq!(template.names().collect::<Vec<_>>(), ["a_1", "b", "a_1"]);
        for (text, wanted) in
            [("${a", "without"), ("${}", "no name"), ("${A}", "no name"), ("${1a}", "no name")]
        {
            let said = Template::parse(text).unwrap_err();
            assert!(said.contains(wanted), "{text}: {said}");
        }
    }
}
