//! The odd bodies of `proto/vectors/odd_json*.toml`: one case a row, made of the steps that `loadtests/conformance/odd_json.toml`
//! has for its operation and its kind of answer. What plain serde makes of a row is checked here, without any service.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::case::{Case, Expect};

/// The area of these cases.
pub const AREA: &str = "odd_json";

/// Stands in a step for the row's body; the row's answer is what that step expects.
const PLACE: &str = "${odd}";

const FILES: [&str; 5] = [
    include_str!("../../../proto/vectors/odd_json.toml"),
    include_str!("../../../proto/vectors/odd_json_members.toml"),
    include_str!("../../../proto/vectors/odd_json_numbers.toml"),
    include_str!("../../../proto/vectors/odd_json_text.toml"),
    include_str!("../../../proto/vectors/odd_json_values.toml"),
];

/// The rows that a case stands for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rows {
    /// Their operation.
    pub call: String,
    /// Whether they are refused.
    pub refused: bool,
}

/// One odd body.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// What is odd.
    pub name: String,
    /// The operation.
    #[serde(default = "create_payment")]
    pub call: String,
    /// As it is sent, but for what has yet to be filled in.
    pub body: String,
    /// Of both services.
    pub answer: Expect,
    /// What plain serde makes of it.
    pub serde: Plain,
    /// What plain encoding/json makes of it.
    pub go: Plain,
}

/// What a plain decoder makes of a body.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Plain {
    /// Refuses it, or takes it for the ordinary one.
    Word(Word),
    /// Takes it for the ordinary one with these members in place of its own.
    Members(Map<String, Value>),
}

/// As the vectors write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// An error.
    Refused,
    /// The ordinary value.
    Taken,
}

/// All rows, and one ordinary body an operation.
#[derive(Debug, Default)]
pub struct Table {
    /// By the operation's name.
    pub ordinary: BTreeMap<String, String>,
    /// In the order of the files.
    pub rows: Vec<Row>,
}

fn create_payment() -> String {
    "CreatePayment".into()
}

impl Table {
    /// Reads the vectors.
    pub fn load() -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            rest: Option<String>,
            #[serde(default)]
            ordinary: BTreeMap<String, String>,
            row: Vec<Row>,
        }
        let (mut table, mut rest) = (Self::default(), String::new());
        for text in FILES {
            let file: File = toml::from_str(text).context("proto/vectors/odd_json*.toml")?;
            rest = file.rest.unwrap_or(rest);
            table.ordinary.extend(file.ordinary);
            table.rows.extend(file.row);
        }
        let bodies = table.ordinary.values_mut().chain(table.rows.iter_mut().map(|row| &mut row.body));
        bodies.for_each(|body| *body = body.replace("${rest}", &rest));
        Ok(table)
    }

    /// How many there are, and how many of them the two plain decoders treat differently.
    pub fn summary(&self) -> String {
        let differ = self.rows.iter().filter(|row| row.serde != row.go).count();
        format!("{} odd bodies; plain serde and plain encoding/json differ at {differ}", self.rows.len())
    }
}

/// A case a row, where the case stands for rows.
pub fn unfold(case: Case) -> anyhow::Result<Vec<Case>> {
    let Some(rows) = case.rows.clone() else { return Ok(vec![case]) };
    if !case.steps.iter().any(|step| step.text.as_deref() == Some(PLACE)) {
        bail!("{}: no step has text = \"{PLACE}\"", case.name);
    }
    let all = Table::load()?.rows.into_iter();
    let chosen = all.filter(|row| row.call == rows.call && row.answer.reason.is_some() == rows.refused);
    Ok(chosen.map(|row| fill_in(case.clone(), &row)).collect())
}

fn fill_in(mut case: Case, row: &Row) -> Case {
    case.name.clone_from(&row.name);
    for step in case.steps.iter_mut().filter(|step| step.text.as_deref() == Some(PLACE)) {
        step.text = Some(row.body.clone());
        step.expect = row.answer.clone();
    }
    case
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};
    use std::path::Path;

    use serde::Serialize;
    use serde_json::json;

    use super::super::vars::fill_bytes;
    use super::*;

    #[derive(Deserialize, Serialize)]
    struct CreatePayment {
        amount: i64,
        currency: String,
        payment_token: String,
        capture: Capture,
        merchant_reference: String,
        description: Option<String>,
        metadata: Option<HashMap<String, String>>,
    }

    #[derive(Deserialize, Serialize)]
    #[serde(rename_all = "lowercase")]
    enum Capture {
        Automatic,
        Manual,
    }

    #[derive(Deserialize, Serialize)]
    struct CapturePayment {
        amount: Option<i64>,
        r#final: Option<bool>,
    }

    #[derive(Deserialize, Serialize)]
    struct CreatePaymentToken {
        card: Card,
    }

    #[derive(Deserialize, Serialize)]
    struct Card {
        number: String,
        exp_month: i64,
        exp_year: i64,
        cvc: String,
    }

    /// The members that are there; none where it is refused.
    fn decode(call: &str, body: &str) -> Option<Map<String, Value>> {
        fn plain<T: serde::de::DeserializeOwned + Serialize>(bytes: &[u8]) -> Option<Value> {
            let decoded: T = serde_json::from_slice(bytes).ok()?;
            Some(serde_json::to_value(decoded).unwrap())
        }
        let Value::Object(values) = json!({"token": "ptk_01h455vb4pex5vsknk084sn02r"}) else {
            unreachable!()
        };
        let bytes = fill_bytes(body, &values).unwrap();
        let decoded = match call {
            "CreatePayment" => plain::<CreatePayment>(&bytes),
            "CapturePayment" => plain::<CapturePayment>(&bytes),
            "CreatePaymentToken" => plain::<CreatePaymentToken>(&bytes),
            other => panic!("{other} has no plain struct"),
        };
        let Value::Object(mut members) = decoded? else { panic!("a struct is an object") };
        members.retain(|_, value| !value.is_null());
        Some(members)
    }

    #[test]
    fn plain_serde_does_what_the_table_says() {
        let table = Table::load().unwrap();
        let mut wrong = Vec::new();
        for row in &table.rows {
            let mut ordinary =
                decode(&row.call, &table.ordinary[&row.call]).expect("the ordinary body is taken");
            let wanted = match &row.serde {
                Plain::Word(Word::Refused) => None,
                Plain::Word(Word::Taken) => Some(ordinary),
                Plain::Members(members) => {
                    ordinary.extend(members.clone());
                    Some(ordinary)
                }
            };
            let got = decode(&row.call, &row.body);
            if got != wanted {
                wrong.push(format!("{}: got {got:?}, want {wanted:?}", row.name));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn each_row_is_a_case_and_there_are_enough() {
        let table = Table::load().unwrap();
        assert!(table.rows.len() >= 60, "{}", table.summary());
        let names: BTreeSet<_> = table.rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names.len(), table.rows.len(), "a name occurs twice");
        let cases =
            crate::conformance::case::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance"))
                .unwrap();
        let ours: BTreeSet<_> =
            cases.iter().filter(|case| case.area == AREA).map(|case| case.name.as_str()).collect();
        let unlike: Vec<_> = ours.symmetric_difference(&names).collect();
        assert!(unlike.is_empty(), "rows without a case, or cases without a row: {unlike:?}");
    }
}
