//! Where in a TOML text a field stands.

use toml::de::{DeTable, DeValue};

/// The line, from 1, of the field with a dotted path such as `stages[0].rate`, or of what is nearest around it where it
/// isn't there; nothing where the text has none of it.
pub fn line_of(text: &str, path: &str) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let names = path.split(['.', '[']).map(|part| part.trim_end_matches(']'));
    let mut names = names.filter(|name| !name.is_empty());
    let first = names.next()?;
    let (key, mut value) = document.get_ref().get_key_value(first)?;
    let mut begin = key.span().start;
    for name in names {
        let inner = match value.get_ref() {
            DeValue::Table(table) => table.get_key_value(name).map(|(key, value)| (key.span(), value)),
            DeValue::Array(items) => {
                let item = name.parse::<usize>().ok().and_then(|index| items.get(index));
                item.map(|item| (item.span(), item))
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => None,
        };
        let Some((span, next)) = inner else { break };
        (begin, value) = (span.start, next);
    }
    Some(text[..begin].matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
seed = 1
[warm_up]
rate = 2
[[stages]]
rate = 3
seconds = 4
[[stages]]
rate = 5
[[flows]]
steps = [
  "a",
  "b",
]
parameters = { card = "x" }
"#;

    #[test]
    fn a_field_is_found_by_its_path_and_a_missing_one_by_what_is_around_it() {
        let cases = [
            ("seed", Some(2)),
            ("warm_up.rate", Some(4)),
            ("stages[0].seconds", Some(7)),
            ("stages[1].rate", Some(9)),
            ("stages[1].seconds", Some(8)),
            ("flows[0].steps[1]", Some(13)),
            ("flows[0].steps[9]", Some(11)),
            ("flows[0].parameters.card", Some(15)),
            ("nothing", None),
            ("", None),
        ];
        for (path, wanted) in cases {
            assert_eq!(line_of(TEXT, path), wanted, "{path}");
        }
        assert_eq!(line_of("not = = toml", "not"), None);
    }
}
