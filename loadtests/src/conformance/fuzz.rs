//! `loadtest fuzz`: made-up requests against both twins, by schemathesis from the document that they serve: no 5xx, and no status,
//! content type, header or body that isn't documented.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use http::Method;
use serde_json::{Value, json};
use stack::instance::{Instance, Twin};
use stack::test_postgres;
use tokio::process::Command;

use super::case::Door;
use super::crowd::{Crowd, pay, tokenise};
use super::document;
use super::ledger;
use super::route::{Site, Target};
use super::vars::unique;
use super::wire::Outgoing;
use super::world::{Ground, leave_logs, target};

/// Payments that the requests can name, so that some of them find one that can be captured.
const PAYMENTS: usize = 100;
/// So much that a capture seldom takes all.
const AMOUNT: u64 = 1_000_000_000;
/// What the ids of the document's examples have behind their prefix.
const EXAMPLE: &str = "01h455vb4pex5vsknk084sn02q";

/// Send made-up requests to both services, by schemathesis from the document that they serve
///
/// Starts a Postgres (or uses the one of TEST_DATABASE_URL), a card network, and each service on a database of its own with a
/// merchant, a card and some payments that the requests can name. At the end the databases' invariants are checked.
///
/// Exit codes: 0 no 5xx, and nothing that isn't documented; 1 there was; 2 could not run, or was interrupted (one line
/// says why).
#[derive(Debug, Args)]
pub struct Fuzz {
    /// The program, which `make fuzz` installs
    #[arg(long, value_name = "FILE")]
    schemathesis: PathBuf,
    /// Requests of each kind that are made up for each operation, 1 to 1000000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    cases: u32,
    /// How long it may take for one service
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    limit: u64,
    /// Seed of the requests [default: another one each time]
    #[arg(long)]
    seed: Option<u32>,
}

impl Fuzz {
    /// True where nothing undocumented came back.
    pub async fn run(self) -> anyhow::Result<bool> {
        let (ground, _acquirer) = Ground::start(&[("ACQUIRER_LATENCY", "fixed:1ms")]).await?;
        let seed = self.seed.unwrap_or_else(std::process::id);
        let folder = stack::folders::repository().join("target/fuzz");
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let (mut databases, mut summaries, mut kept) = (Vec::new(), Vec::new(), true);
        for twin in Twin::ALL {
            let database = test_postgres::migrated_database().await?;
            let quiet = [("TWINPAY_LOG_LEVEL", "info")];
            let instance = ground.twin(twin, &database, &format!("{}.log", twin.name()), &quiet).await?;
            let target = target(twin, &instance);
            let (crowd, text) = prepare(&ground, &target).await?;
            let path = folder.join(format!("{}.json", twin.name()));
            std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
            let report = path.with_extension("report.json");
            let well = self.schemathesis(&crowd, &target, seed, &path, &report).await?;
            summaries.push(format!(
                "{}: {} made-up requests, seed {seed}: {}; replies by status: {}",
                target.name,
                generated(&report)?,
                if well { "all as documented" } else { "findings above" },
                replies(&crowd, &instance).await?
            ));
            kept &= well;
            databases.push((target.name, database.owner_url));
        }
        kept &= ledger::verify(&databases).await?;
        summaries.iter().for_each(|summary| println!("{summary}"));
        Ok(leave_logs(&ground.logs, kept))
    }

    /// True where it found nothing.
    async fn schemathesis(
        &self,
        crowd: &Crowd,
        target: &Target,
        seed: u32,
        document: &Path,
        report: &Path,
    ) -> anyhow::Result<bool> {
        let program = std::path::absolute(&self.schemathesis)?;
        let mut command = Command::new(&program);
        command.current_dir(document.parent().unwrap_or(document)).kill_on_drop(true);
        command.env("FUZZ_API_KEY", crowd.values["merchant_key"].as_str().unwrap_or_default());
        command.env("FUZZ_ADMIN_TOKEN", &crowd.bench.admin_token);
        command.arg("--config-file").arg(concat!(env!("CARGO_MANIFEST_DIR"), "/schemathesis.toml"));
        command.arg("run").arg(document).args(["--url", &target.http]);
        command.args(["--seed", &seed.to_string(), "--max-examples", &self.cases.to_string()]);
        command.arg("--report-json-path").arg(report);
        let status = tokio::time::timeout(Duration::from_secs(self.limit), command.status())
            .await
            .with_context(|| format!("{}: schemathesis isn't ready in {} s", target.name, self.limit))?
            .with_context(|| format!("{} can't be started", program.display()))?;
        match status.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => bail!("{}: schemathesis ended with {status}", target.name),
        }
    }
}

/// How many requests schemathesis says it has sent.
fn generated(report: &Path) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(report).with_context(|| report.display().to_string())?;
    let report: Value = serde_json::from_str(&text)?;
    report["test_cases"]["generated"]
        .as_u64()
        .context("schemathesis' report doesn't say how many requests it sent")
}

/// What the service says it has answered, the public routes aside: `200: 12, 400: 3`.
async fn replies(crowd: &Crowd, instance: &Instance) -> anyhow::Result<String> {
    let metrics = read(crowd, &format!("{}/metrics", instance.admin())).await?;
    let mut by_status = BTreeMap::new();
    for line in String::from_utf8_lossy(&metrics).lines() {
        let count = line.strip_prefix("http_server_request_duration_seconds_count{");
        let status = count.and_then(|labels| labels.split("http_response_status_code=\"").nth(1)?.get(..3));
        let value = line.rsplit(' ').next().and_then(|value| value.parse::<u64>().ok());
        if let (Some(status), Some(value)) = (status, value) {
            *by_status.entry(status.to_owned()).or_insert(0) += value;
        }
    }
    Ok(by_status.iter().map(|(status, count)| format!("{status}: {count}")).collect::<Vec<_>>().join(", "))
}

async fn read(crowd: &Crowd, url: &str) -> anyhow::Result<Bytes> {
    let outgoing = Outgoing {
        method: Method::GET,
        uri: url.into(),
        headers: Vec::new(),
        body: Bytes::new(),
        chunked: false,
        stalls: false,
        items: 0,
    };
    Ok(crowd.bench.wire.http(&outgoing, false).await?.body)
}

/// Makes what the requests can name, and the served document narrowed to it.
async fn prepare(ground: &Ground, target: &Target) -> anyhow::Result<(Crowd, String)> {
    let crowd = Crowd::new(ground, target).await?;
    let site = Site { target: target.clone(), door: Door::Http };
    let merchant = crowd.values["merchant"].as_str().unwrap_or_default().to_owned();
    let token = crowd.make(&site, &tokenise(&unique(), "4242424242424242")).await?;
    let mut payments = Vec::new();
    for _ in 0..PAYMENTS {
        payments.push(crowd.make(&site, &pay(&unique(), &token, "manual", &unique(), AMOUNT)).await?);
    }
    let served = read(&crowd, &format!("{}/openapi.json", target.http)).await?;
    if served != document::TEXT {
        bail!("{}/openapi.json isn't proto/openapi.json", target.http);
    }
    let known = [("mer", vec![merchant]), ("ptk", vec![token]), ("pay", payments)];
    let mut text = document::TEXT.to_owned();
    for (prefix, ids) in &known {
        text = text.replace(&format!("{prefix}_{EXAMPLE}"), &ids[0]);
    }
    let mut document = serde_json::from_str(&text)?;
    narrow(&mut document, &known);
    Ok((crowd, document.to_string()))
}

/// Only what requests are made from: replies are judged as they are documented.
fn narrow(document: &mut Value, known: &[(&str, Vec<String>)]) {
    // A deadline that has passed is a 504 that the client asked for.
    for operation in document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut()) {
        for operation in operation.as_object_mut().into_iter().flat_map(|item| item.values_mut()) {
            if let Some(parameters) = operation.get_mut("parameters").and_then(Value::as_array_mut) {
                parameters
                    .retain(|parameter| parameter["$ref"] != "#/components/parameters/RequestTimeoutMs");
            }
        }
    }
    let components = &mut document["components"];
    for parameter in components["parameters"].as_object_mut().into_iter().flat_map(|all| all.values_mut()) {
        offer(&mut parameter["schema"], known);
    }
    for (name, schema) in components["schemas"].as_object_mut().into_iter().flatten() {
        if name.ends_with("Request") {
            schema["properties"]
                .as_object_mut()
                .into_iter()
                .flat_map(|all| all.values_mut())
                .for_each(|member| offer(member, known));
        }
    }
}

/// Offers the ids that exist where any id of their kind may stand.
fn offer(schema: &mut Value, known: &[(&str, Vec<String>)]) {
    let pattern = schema["pattern"].as_str().unwrap_or_default().to_owned();
    if let Some((_, ids)) = known.iter().find(|(prefix, _)| pattern.starts_with(&format!("^{prefix}_"))) {
        *schema = json!({"anyOf": [{"enum": ids}, schema.take()]});
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_can_name_what_exists_and_replies_are_judged_as_documented() {
        let mut document: Value = serde_json::from_str(document::TEXT).unwrap();
        let before = document["components"]["schemas"]["Payment"].clone();
        narrow(
            &mut document,
            &[("ptk", vec!["ptk_a".into()]), ("pay", vec!["pay_a".into(), "pay_b".into()])],
        );
        let components = &document["components"];
        let member = &components["schemas"]["CreatePaymentRequest"]["properties"]["payment_token"];
        assert_eq!(member["anyOf"][0], json!({"enum": ["ptk_a"]}));
        assert!(member["anyOf"][1]["pattern"].is_string());
        let id = &components["parameters"]["PaymentId"]["schema"];
        assert_eq!(id["anyOf"][0], json!({"enum": ["pay_a", "pay_b"]}));
        assert_eq!(components["schemas"]["Payment"], before);
        assert!(!document["paths"].to_string().contains("RequestTimeoutMs"));
        assert!(document["paths"].to_string().contains("IdempotencyKey"));
    }
}
