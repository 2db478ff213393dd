//! `${name}` in cases: values saved from replies, set-up, and what depends on the day; `${repeat:x:N}`,
//! `${pad:N}` and, in raw bodies, `${hex:ff}`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::case::Values;

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A text that no other run has: `uniq_` and twelve hex digits, which comparisons take as an id.
pub fn unique() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let digest = Sha256::digest(format!("{now} {} {count}", std::process::id()));
    format!("uniq_{}", hex::encode(&digest[..6]))
}

/// The values that every case begins with.
pub fn builtin(now: OffsetDateTime) -> Values {
    let (year, month) = (now.year(), u8::from(now.month()));
    let (last_year, last_month) = if month == 1 { (year - 1, 12) } else { (year, month - 1) };
    let values = json!({
        "unique": unique(),
        "this_year": year,
        "this_month": month,
        "last_month": last_month,
        "last_month_year": last_year,
        "good_year": year + 4,
    });
    if let Value::Object(values) = values { values } else { Values::new() }
}

/// A value with every `${…}` in its texts replaced; a text that is nothing but `${name}` becomes the value itself.
pub fn fill(value: &Value, values: &Values) -> anyhow::Result<Value> {
    Ok(match value {
        Value::String(text) => match whole_name(text).and_then(|name| values.get(name)) {
            Some(found) => found.clone(),
            None => Value::String(fill_text(text, values)?),
        },
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| fill(item, values)).collect::<Result<_, _>>()?)
        }
        Value::Object(members) => {
            let members =
                members.iter().map(|(name, value)| Ok((fill_text(name, values)?, fill(value, values)?)));
            Value::Object(members.collect::<anyhow::Result<_>>()?)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    })
}

fn whole_name(text: &str) -> Option<&str> {
    let name = text.strip_prefix("${")?.strip_suffix('}')?;
    (!name.contains('}')).then_some(name)
}

/// A text with every `${…}` replaced.
pub fn fill_text(text: &str, values: &Values) -> anyhow::Result<String> {
    let (mut out, mut rest, mut pad) = (String::new(), text, None);
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').ok_or_else(|| anyhow!("`${{` without `}}` in {text:?}"))?;
        out.push_str(before);
        if let Some(size) = name.strip_prefix("pad:") {
            pad = Some((out.len(), size.parse::<usize>()?));
        } else {
            out.push_str(&resolve(name, values)?);
        }
        rest = after;
    }
    out.push_str(rest);
    if let Some((at, size)) = pad {
        let missing =
            size.checked_sub(out.len()).ok_or_else(|| anyhow!("already over {size} bytes: {text:?}"))?;
        out.insert_str(at, &" ".repeat(missing));
    }
    Ok(out)
}

/// The same as bytes, with `${hex:ff}` for those that are no text; not beside `${pad:N}`, which would count its own part alone.
pub fn fill_bytes(text: &str, values: &Values) -> anyhow::Result<Vec<u8>> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once("${hex:") {
        let (digits, after) =
            after.split_once('}').ok_or_else(|| anyhow!("`${{` without `}}` in {text:?}"))?;
        out.extend(fill_text(before, values)?.into_bytes());
        out.extend(hex::decode(digits).with_context(|| format!("{digits:?} isn't hex"))?);
        rest = after;
    }
    if rest.len() < text.len() && text.contains("${pad:") {
        bail!("pad beside hex in {text:?}");
    }
    out.extend(fill_text(rest, values)?.into_bytes());
    Ok(out)
}

fn resolve(name: &str, values: &Values) -> anyhow::Result<String> {
    if let Some(rest) = name.strip_prefix("repeat:") {
        let (what, count) =
            rest.rsplit_once(':').ok_or_else(|| anyhow!("${{repeat:text:count}}, not {name:?}"))?;
        return Ok(what.repeat(count.parse()?));
    }
    match values.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        Some(other) => bail!("${{{name}}} is {other}, which can't stand in a text"),
        None => bail!("${{{name}}} isn't known here"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_repeats_and_pads_are_filled_in() {
        let Value::Object(values) = json!({"a": "x", "n": 5}) else { panic!("an object") };
        assert_eq!(fill_text("<${a}${n}${repeat:é:2}>", &values).unwrap(), "<x5éé>");
        assert_eq!(fill_text("{${pad:8}}", &values).unwrap(), "{      }");
        assert_eq!(fill(&json!({"k${a}": ["${n}", "=${n}"]}), &values).unwrap(), json!({"kx": [5, "=5"]}));
        assert!(fill_text("${b}", &values).unwrap_err().to_string().contains("isn't known"));
    }

    #[test]
    fn bytes_that_are_no_text_stand_in_hex() {
        let Value::Object(values) = json!({"a": "é"}) else { panic!("an object") };
        assert_eq!(fill_bytes("<${hex:ff00}${a}${hex:}>", &values).unwrap(), b"<\xff\0\xc3\xa9>");
        for (text, wanted) in
            [("${hex:f}", "isn't hex"), ("${hex:ff", "without"), ("${pad:9}${hex:ff}", "pad beside hex")]
        {
            let error = fill_bytes(text, &values).unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    #[test]
    fn the_month_before_january_is_last_years_december() {
        let values = builtin(time::macros::datetime!(2031-01-15 12:00 UTC));
        assert_eq!((&values["last_month"], &values["last_month_year"]), (&json!(12), &json!(2030)));
        assert_eq!((&values["this_month"], &values["this_year"]), (&json!(1), &json!(2031)));
    }

    #[test]
    fn unique_texts_differ() {
        assert_ne!(unique(), unique());
    }
}
