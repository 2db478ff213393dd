//! The case format: `loadtests/conformance/<area>.toml`. A case is a sentence and its steps; a step is one request and
//! what must come back. Unknown members are errors, each said in one line.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::odd_json::{self, Rows};

/// Named values of a running case.
pub type Values = Map<String, Value>;

/// The doors that a case or a plan can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Door {
    /// HTTP/1.1; in a case: any HTTP.
    Http,
    /// Cleartext HTTP/2.
    #[serde(skip)]
    Http2,
    /// gRPC.
    Grpc,
}

impl Door {
    /// As tables show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http/1.1",
            Self::Http2 => "http/2",
            Self::Grpc => "grpc",
        }
    }

    /// Whether it speaks JSON.
    pub fn is_http(self) -> bool {
        self != Self::Grpc
    }
}

/// One value or several of a header.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Many {
    /// Sent once.
    One(String),
    /// Sent once each; none: not at all.
    Several(Vec<String>),
}

impl Many {
    /// All of them.
    pub fn values(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Several(values) => values,
        }
    }
}

/// A raw HTTP request line.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawHttp {
    /// The method.
    pub method: String,
    /// Path and query as they are sent.
    pub path: String,
}

/// A violation that is expected; its description follows from `proto/errors.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Violation {
    /// The dotted member.
    pub field: String,
    /// The rule.
    pub reason: String,
    /// Its lower bound.
    pub min: Option<i64>,
    /// Its upper bound.
    pub max: Option<i64>,
}

/// What must come back. Without a reason: success.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The error's reason.
    pub reason: Option<String>,
    /// The HTTP status, where it doesn't follow from the reason or the operation.
    pub status: Option<u16>,
    /// The gRPC code of a reply that the library makes by itself, without a reason.
    pub code: Option<String>,
    /// Members that the body has; objects in it may have more.
    pub body: Option<Value>,
    /// Dotted members that the body doesn't have.
    #[serde(default)]
    pub absent: Vec<String>,
    /// All violations, in order.
    pub violations: Option<Vec<Violation>>,
    /// Headers; an empty value: absent.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Whether it is a replay.
    #[serde(default)]
    pub replayed: bool,
    /// The name of an earlier step with the same body: over HTTP byte for byte.
    pub same_as: Option<String>,
    /// The exact text of an HTTP body, after ids and times are replaced by their placeholders.
    pub text: Option<String>,
    /// A status (over gRPC: a code) without a reason that the library may give instead, before the service is asked.
    pub library: Option<String>,
    /// Whether the order of lists in the body doesn't matter.
    #[serde(default)]
    pub unordered: bool,
    /// Don't compare with the other twin: the reply is the library's own.
    #[serde(default)]
    pub loose: bool,
}

/// One request.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// For `same_as` and messages.
    pub name: Option<String>,
    /// An operation by the name of its rpc.
    pub call: Option<String>,
    /// A raw HTTP request instead.
    pub http: Option<RawHttp>,
    /// A raw gRPC method instead, `package.Service/Method`; `body` is its message.
    pub grpc: Option<String>,
    /// `other`: on the other twin, in cross-twin cases.
    pub on: Option<Other>,
    /// `other`: through the other door, in cross-twin cases.
    pub door: Option<Other>,
    /// admin, merchant, other, none, or the raw values of Authorization. Default: what the operation takes.
    pub auth: Option<Many>,
    /// Idempotency keys; none: no header. Default: a fresh one where the operation needs one.
    pub key: Option<Many>,
    /// More headers (gRPC: metadata), in order; may repeat.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Values of Content-Type. Default: application/json.
    pub content_type: Option<Many>,
    /// Ids of the path (gRPC: members of the message).
    #[serde(default)]
    pub path: BTreeMap<String, String>,
    /// What follows `?`, HTTP only.
    pub query: Option<String>,
    /// Parameters of the query (gRPC: members of the message, where `limit` is `page_size` and `cursor` is `page_token`).
    #[serde(default)]
    pub params: Values,
    /// The body as a value.
    pub body: Option<Value>,
    /// The body as text, HTTP only. `${pad:N}` fills with blanks up to N bytes, `${hex:ff}` is a byte.
    pub text: Option<String>,
    /// The body (gRPC: the message) as bytes in hex, through one door only.
    pub hex: Option<String>,
    /// Whether the body's size is not told beforehand, HTTP only.
    #[serde(default)]
    pub chunked: bool,
    /// Whether the body, sent so far, never ends (gRPC: the message lacks its last byte), through one door only.
    #[serde(default)]
    pub stalls: bool,
    /// How many items of a stream are read, 1 where it isn't said.
    pub items: Option<usize>,
    /// The deadline in milliseconds: Request-Timeout-Ms or grpc-timeout.
    pub timeout_ms: Option<u64>,
    /// Names for members of the reply: `payment = "id"`.
    #[serde(default)]
    pub save: BTreeMap<String, String>,
    /// Whether to repeat while the answer is IDEMPOTENCY_IN_PROGRESS, PAYMENT_BUSY or OVERLOADED, or lacks a member that is saved; where
    /// UNAUTHENTICATED is expected, while the key is still good; where OVERLOADED is, while the deadline passes before there is a place.
    #[serde(default)]
    pub settle: bool,
    /// Whether it is sent twice at once: the first reply counts; the other, waited for after the last step, must be a success.
    #[serde(default)]
    pub twice: bool,
    /// What must come back.
    #[serde(default)]
    pub expect: Expect,
}

/// Marks a step of a cross-twin case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Other {
    /// Not the one that the case began with.
    Other,
}

/// Settings under which twins give answers that they ordinarily don't. One case a stage and door: cases would meet there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Nobody listens where the card network should be.
    NoAcquirer,
    /// One hash at a time, none may wait, and each takes half a second and more: long against any request.
    LongHash,
    /// Two requests of a key at once, then one a second.
    RateLimit,
    /// A body has a third of a second.
    SlowBody,
    /// Webhooks may reach public addresses over https alone.
    PublicTargets,
}

/// A case.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// A sentence.
    pub name: String,
    /// The file's name without its ending; not a member of the file.
    #[serde(skip)]
    pub area: String,
    /// The doors it can be said through. Default: all.
    pub doors: Option<Vec<Door>>,
    /// Whether it is also said over HTTP/2.
    #[serde(default = "yes")]
    pub http2: bool,
    /// Runs on both twins of one database, in every order of twins and doors.
    #[serde(default)]
    pub cross: bool,
    /// Runs on twins with settings of their own.
    pub stage: Option<Stage>,
    /// The odd bodies that it stands for: it is a case for each.
    pub rows: Option<Rows>,
    /// Whether each step may go to another twin and door.
    #[serde(default = "yes")]
    pub scatter: bool,
    /// Members of the fresh merchant.
    #[serde(default)]
    pub merchant: Map<String, Value>,
    /// Named steps of `fixtures.toml` that come first.
    #[serde(default)]
    pub before: Vec<String>,
    /// Values, in place of the fixtures' own.
    #[serde(default)]
    pub vars: Values,
    /// The requests.
    pub steps: Vec<Step>,
}

fn yes() -> bool {
    true
}

/// Steps that many cases begin with, and the values they use.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    /// Other fixtures that come before it.
    #[serde(default)]
    pub before: Vec<String>,
    /// Values.
    #[serde(default)]
    pub vars: Values,
    /// The requests.
    #[serde(default)]
    pub steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixtures {
    fixture: BTreeMap<String, Fixture>,
}

/// Reads every case of a folder, fixtures worked in, in the order of files and lines.
pub fn load(folder: &Path) -> anyhow::Result<Vec<Case>> {
    load_with(folder, &folder.join("fixtures.toml"))
}

/// The same with the fixtures of another file.
pub fn load_with(folder: &Path, fixtures: &Path) -> anyhow::Result<Vec<Case>> {
    let fixtures: Fixtures = parse(fixtures)?;
    let entries = fs::read_dir(folder).with_context(|| format!("{} can't be read", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let ours = path.extension().is_some_and(|ending| ending == "toml");
        if !ours || stem == "fixtures" || stem == "operations" {
            continue;
        }
        for mut case in parse::<File>(&path)?.case {
            case.area.clone_from(&stem);
            prepare(&mut case, &fixtures.fixture)
                .map_err(|error| anyhow!("{}: {}: {error}", path.display(), case.name))?;
            cases.extend(odd_json::unfold(case)?);
        }
    }
    Ok(cases)
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
    toml::from_str(&text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text[..start].matches('\n').count() + 1;
        anyhow!(
            "{}: line {line}: {}",
            path.display(),
            error.message().split_whitespace().collect::<Vec<_>>().join(" ")
        )
    })
}

/// Puts the fixtures' steps in front and refuses what can't be meant.
fn prepare(case: &mut Case, fixtures: &BTreeMap<String, Fixture>) -> anyhow::Result<()> {
    for step in &case.steps {
        check(step, case.doors.as_deref())?;
    }
    let mut steps = Vec::new();
    for name in std::mem::take(&mut case.before) {
        unfold(&name, fixtures, &mut steps, &mut case.vars, 0)?;
    }
    steps.append(&mut case.steps);
    case.steps = steps;
    Ok(())
}

fn unfold(
    name: &str,
    all: &BTreeMap<String, Fixture>,
    steps: &mut Vec<Step>,
    vars: &mut Values,
    depth: u8,
) -> anyhow::Result<()> {
    let fixture = all.get(name).ok_or_else(|| anyhow!("no fixture {name}"))?;
    if depth > 8 {
        bail!("fixture {name} needs itself");
    }
    for (name, value) in &fixture.vars {
        vars.entry(name).or_insert_with(|| value.clone());
    }
    for earlier in &fixture.before {
        unfold(earlier, all, steps, vars, depth + 1)?;
    }
    steps.extend(fixture.steps.iter().cloned());
    Ok(())
}

fn check(step: &Step, doors: Option<&[Door]>) -> anyhow::Result<()> {
    if [step.call.is_some(), step.http.is_some(), step.grpc.is_some()].iter().filter(|given| **given).count()
        != 1
    {
        bail!("a step has one of call, http, grpc");
    }
    if [step.body.is_some(), step.text.is_some(), step.hex.is_some()].iter().filter(|given| **given).count()
        > 1
    {
        bail!("a step has one of body, text, hex");
    }
    if step.query.is_some() && !step.params.is_empty() {
        bail!("a step has one of query, params");
    }
    let only = |door| doors.is_some_and(|doors| doors == [door]);
    let raw = step.http.is_some() || step.text.is_some() || step.chunked || step.query.is_some();
    if raw && !only(Door::Http) {
        bail!("http, text, chunked and query need doors = [\"http\"]");
    }
    if (step.hex.is_some() || step.stalls) && !only(Door::Http) && !only(Door::Grpc) {
        bail!("hex and stalls need doors = [\"http\"] or doors = [\"grpc\"]: no bytes mean the same to both");
    }
    if step.grpc.is_some() && !only(Door::Grpc) {
        bail!("grpc needs doors = [\"grpc\"]");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_cases_can_be_read_and_have_names_of_their_own() {
        let cases = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance")).unwrap();
        let mut names: Vec<_> = cases.iter().map(|case| (&case.area, &case.name)).collect();
        names.sort();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "a name occurs twice");
        assert!(cases.len() >= 150, "only {} cases", cases.len());
    }

    fn refusal(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("fixtures.toml"), "[fixture.token]\nsteps = []\n").unwrap();
        fs::write(folder.path().join("x.toml"), text).unwrap();
        load(folder.path()).expect_err("refused").to_string()
    }

    #[test]
    fn each_refusal_is_one_line_that_names_file_and_problem() {
        let step = "steps = [{ call = \"GetPayment\", ";
        for (text, wanted) in [
            ("[[case]]\nname = \"a\"\nstepps = []\n".to_owned(), "line 3: unknown field `stepps`"),
            (format!("[[case]]\nname = \"a\"\n{step} kee = \"k\" }}]\n"), "line 3: unknown field `kee`"),
            (format!("[[case]]\nname = \"a\"\n{step} text = \"k\" }}]\n"), "need doors"),
            (format!("[[case]]\nname = \"a\"\n{step} hex = \"00\" }}]\n"), "hex and stalls need doors"),
            (format!("[[case]]\nname = \"a\"\nbefore = [\"b\"]\n{step} }}]\n"), "no fixture b"),
        ] {
            let got = refusal(&text);
            assert!(
                got.contains("x.toml") && got.contains(wanted) && !got.contains('\n'),
                "wanted {wanted:?}, got {got:?}"
            );
        }
    }
}
