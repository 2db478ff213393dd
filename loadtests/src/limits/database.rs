//! pgbench with the statements of `db/queries`: the same Postgres on the same cores, as many connections as a service
//! has, and nothing between. pgbench runs on the services' core, in a service's place.
//!
//! pgbench has whole numbers only, so each `$n` becomes an expression over one: that is all that differs from the
//! services' statements.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, bail};
use regex::{Captures, Regex};
use sqlx::{Connection, PgConnection};
use stack::errand;

use super::{InTurns, Limit, said_on_cores};
use crate::clock::now_ns;
use crate::payments::{Bench, MERCHANTS};
use crate::procstat::{family_cpu_ns, waited_cpu_ns};
use crate::report::wording::number;

/// A service's connections for requests; `proto/config.toml` has the number.
pub const CONNECTIONS: u32 = 16;
/// Numbers between two transactions' ids: more than a script takes.
const STEP: u32 = 16;

static PARAMETER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\$(\d+)").expect("a valid pattern"));

/// What one transaction of pgbench stands for.
struct Script {
    name: &'static str,
    label: &'static str,
    unit: &'static str,
    /// Statements and the expressions of their parameters, in order.
    statements: Vec<(&'static str, Vec<String>)>,
}

/// The scripts, measured in turn.
pub struct Statements {
    pgbench: Option<PathBuf>,
    /// What each gave, or why it has no figure.
    scripts: Vec<(Script, Result<Vec<Turn>, String>)>,
    url: String,
    cores: Vec<usize>,
    postgres: u32,
    postgres_cores: usize,
    folder: tempfile::TempDir,
    turns: u64,
}

/// One measurement of a script.
#[derive(Debug, Clone, Copy, Default)]
struct Turn {
    /// Transactions a second.
    rate: f64,
    wall_ns: u64,
    postgres_ns: u64,
    pgbench_ns: u64,
}

impl Statements {
    /// A database of its own on the Postgres of `bench`, with merchants, each with a payment token.
    pub async fn prepare(bench: &Bench) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (postgres, layout) = (bench.postgres_pid(), bench.layout());
        let pgbench = find(postgres);
        let mut url = String::new();
        if pgbench.is_ok() {
            let database = bench.database("limits").await?;
            fill(&database.owner_url).await?;
            url = database.service_url;
        }
        let none = pgbench.as_ref().map(|_| Vec::new()).map_err(String::clone);
        let scripts: Vec<_> = scripts().into_iter().map(|script| (script, none.clone())).collect();
        for (script, _) in &scripts {
            std::fs::write(folder.path().join(script.name), text(script)?)?;
        }
        let (cores, postgres_cores) = (layout.service.clone(), layout.support.len());
        let pgbench = pgbench.ok();
        Ok(Self { pgbench, scripts, url, cores, postgres, postgres_cores, folder, turns: 0 })
    }

    /// There is a program that measures.
    pub fn is_there(&self) -> bool {
        self.pgbench.is_some()
    }

    /// One a script.
    pub fn limits(self) -> Vec<Limit> {
        let row = |(script, turns): (Script, Result<Vec<Turn>, String>)| {
            let (name, label) = (format!("database_{}", script.name), script.label);
            let label = format!("{label}: its statements by pgbench over {CONNECTIONS} connections");
            match turns {
                Ok(turns) => {
                    let rates: Vec<f64> = turns.iter().map(|turn| turn.rate).collect();
                    let full = full(&turns, self.postgres_cores, self.cores.len());
                    Limit::measured(&name, label, script.unit, &rates, Some(full))
                }
                Err(why) => Limit::missing(&name, label, script.unit, why),
            }
        };
        self.scripts.into_iter().map(row).collect()
    }
}

impl InTurns for Statements {
    const WHAT: &'static str = "statements";

    /// One measurement of each; who is first changes from turn to turn.
    async fn repeat(&mut self, length: Duration) -> anyhow::Result<()> {
        let Some(pgbench) = &self.pgbench else { return Ok(()) };
        self.turns += 1;
        for (index, (script, turns)) in self.scripts.iter_mut().enumerate() {
            let Ok(measured) = turns else { continue };
            let base = (self.turns * 16 + index as u64) << 40;
            let mut command = errand(pgbench, None);
            command.args(["--no-vacuum", "--protocol", "prepared", "--jobs", "1"]);
            command.args(["--client", &CONNECTIONS.to_string()]);
            command.args(["--time", &length.as_secs().max(1).to_string()]);
            command.args(["--define", "seq=0", "--define", &format!("base={base}")]);
            command.arg("--file").arg(self.folder.path().join(script.name)).arg(&self.url);
            let used = || (now_ns(), family_cpu_ns(self.postgres), waited_cpu_ns());
            let before = used();
            let said = said_on_cores(&self.cores, command).await;
            let after = used();
            match said.and_then(|said| rate(&said)) {
                Ok(rate) => measured.push(Turn {
                    rate,
                    wall_ns: after.0 - before.0,
                    postgres_ns: after.1.saturating_sub(before.1),
                    pgbench_ns: after.2.saturating_sub(before.2),
                }),
                // One figure less, not all that was measured before.
                Err(why) => *turns = Err(format!("pgbench: {why:#}")),
            }
        }
        Ok(())
    }

    fn take_back(&mut self) {
        self.scripts.iter_mut().for_each(|(_, turns)| drop(turns.as_mut().map(Vec::pop)));
    }
}

/// Which of the two had no CPU left; where neither, the disk or the locks were the limit.
fn full(turns: &[Turn], postgres_cores: usize, cores: usize) -> String {
    let sum = |of: fn(&Turn) -> u64| turns.iter().map(of).sum::<u64>() as f64;
    let percent = |of: fn(&Turn) -> u64, cores: usize| {
        number(sum(of) * 100.0 / sum(|turn| turn.wall_ns).max(1.0) / cores.max(1) as f64)
    };
    format!(
        "Postgres {} % of its cores, pgbench {} % of the services’",
        percent(|turn| turn.postgres_ns, postgres_cores),
        percent(|turn| turn.pgbench_ns, cores)
    )
}

/// Beside the server that runs, else on the path.
fn find(server: u32) -> Result<PathBuf, String> {
    let beside =
        std::fs::read_link(format!("/proc/{server}/exe")).map(|exe| exe.with_file_name("pgbench")).ok();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("pgbench"));
    let missing = "pgbench is missing; it comes with Postgres (Debian, Ubuntu: apt-get install postgresql), and isn’t in \
                   the bundle that is downloaded where there is none";
    beside.into_iter().chain(on_path).find(|file| file.is_file()).ok_or_else(|| missing.to_owned())
}

/// Transactions a second; none may have failed.
fn rate(said: &str) -> anyhow::Result<f64> {
    let after = |begin: &str| said.lines().find_map(|line| line.strip_prefix(begin));
    if let Some(failed) = after("number of failed transactions: ").filter(|text| !text.starts_with("0 ")) {
        bail!("transactions failed: {failed}");
    }
    let tps = after("tps = ")
        .and_then(|rest| rest.split(' ').next())
        .context("it names no rate: did one transaction end in time (--seconds)?")?;
    Ok(tps.parse()?)
}

/// The script: the numbers of this transaction, then the statements.
fn text(script: &Script) -> anyhow::Result<String> {
    let mut text = format!(
        "\\set seq :seq + 1\n\\set id :base + (:seq * {CONNECTIONS} + :client_id) * {STEP}\n\
         \\set merchant 1 + (:seq * 7 + :client_id) % {MERCHANTS}\n"
    );
    for (name, parameters) in &script.statements {
        let path = stack::folders::repository().join(format!("db/queries/{name}.sql"));
        let statement = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        text += &filled_in(name, &statement, parameters)?;
    }
    Ok(text)
}

fn filled_in(name: &str, statement: &str, parameters: &[String]) -> anyhow::Result<String> {
    let lines: Vec<_> = statement.lines().filter(|line| !line.starts_with("--")).collect();
    let bare = lines.join("\n");
    let mut used = vec![false; parameters.len()];
    for found in PARAMETER.captures_iter(&bare) {
        let number: usize = found[1].parse()?;
        *used
            .get_mut(number - 1)
            .with_context(|| format!("{name} has a ${number} that nothing is known of"))? = true;
    }
    if let Some(unused) = used.iter().position(|used| !used) {
        bail!("{name} has no ${}", unused + 1);
    }
    let one = |found: &Captures<'_>| {
        found[1].parse::<usize>().map_or(String::new(), |number| parameters[number - 1].clone())
    };
    Ok(format!("{};\n", PARAMETER.replace_all(&bare, one).trim_end()))
}

fn scripts() -> Vec<Script> {
    let sale = vec![("claim_payment", claim()), ("record_operation", record())];
    let tokenize = vec![("find_replay", vec![merchant(), key(), hash()]), ("insert_payment_token", token())];
    vec![
        Script { name: "sale", label: "A sale", unit: "sales/s", statements: sale },
        Script { name: "tokenize", label: "A tokenisation", unit: "tokens/s", statements: tokenize },
    ]
}

fn id(number: u32) -> String {
    format!("lpad(to_hex(:id::bigint + {number}), 32, '0')::uuid")
}

fn merchant() -> String {
    "lpad(to_hex(:merchant::bigint), 32, '0')::uuid".into()
}

fn key() -> String {
    "(:id::bigint)::text".into()
}

fn hash() -> String {
    "decode(lpad(to_hex(:id::bigint), 64, '0'), 'hex')".into()
}

/// As long as a payment's.
fn body() -> String {
    let rest = "x".repeat(480);
    format!(r#"'{{"id":"pay_0","amount":1000,"currency":"USD","state":"captured",{rest}}}'::text"#)
}

fn plain(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// A sale of 10.00 USD, with the merchant's one token.
fn claim() -> Vec<String> {
    [
        vec![merchant(), key(), hash(), id(1), id(2), "'sale'".into(), merchant()],
        plain(&["1000::bigint", "'USD'", "'automatic'"]),
        vec![key()],
        plain(&["null::text", "'{}'::jsonb", "null::timestamptz", "now()", "(now() + interval '4 s')"]),
        vec![id(3), body(), "null::text".into()],
    ]
    .concat()
}

fn record() -> Vec<String> {
    [
        vec![merchant(), id(2)],
        plain(&[
            "0::bigint",
            "'succeeded'",
            "1000::bigint",
            "null::text",
            "'captured'",
            "1000::bigint",
            "1000::bigint",
        ]),
        plain(&["0::bigint", "null::text", "null::timestamptz", "now()"]),
        vec![format!("array[{}, {}, {}]", id(4), id(5), id(6))],
        plain(&[
            "array['acquirer_receivable', 'merchant_payable', 'fee_income']",
            "array[1000::bigint, -941, -59]",
        ]),
        vec!["'USD'".into(), format!("array[{}, {}]", id(7), id(8))],
        plain(&["array['payment.authorized', 'payment.captured']"]),
        vec![format!("array[{}, {}]", body(), body()), "201::smallint".into(), body()],
    ]
    .concat()
}

fn token() -> Vec<String> {
    [
        vec![merchant(), key(), hash(), id(1), hash()],
        plain(&[
            "'nt_0123456789'",
            "'visa'",
            "'4242'",
            "12::smallint",
            "2090::smallint",
            "now()",
            "201::smallint",
        ]),
        vec![body()],
    ]
    .concat()
}

/// Merchants 1 to so many; each has the token of its own id.
async fn fill(owner_url: &str) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(owner_url).await.context("connecting as the owner")?;
    let one = "lpad(to_hex(g), 32, '0')::uuid";
    let statements = [
        format!(
            "insert into merchants (id, name, fee_bps, fee_fixed, amount_limit, velocity_limit, created_at)
             select {one}, 'limits', 290, 30, 999999999999, null, now() from generate_series(1, {MERCHANTS}) g"
        ),
        format!(
            "insert into payment_tokens (merchant_id, id, card_fingerprint, network_token, brand, last4, exp_month,
               exp_year, created_at)
             select {one}, {one}, decode(lpad(to_hex(g), 64, '0'), 'hex'), 'nt', 'visa', '4242', 12, 2090, now()
             from generate_series(1, {MERCHANTS}) g"
        ),
        // And nothing else: see `upkeep::vacuum`.
        "vacuum (analyze) merchants, payment_tokens".into(),
    ];
    for statement in statements {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement.clone()))
            .execute(&mut connection)
            .await
            .context(statement)?;
    }
    connection.close().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connections_are_the_services_own() {
        let config: toml::Table = include_str!("../../../proto/config.toml").parse().unwrap();
        let variables = config["variable"].as_array().unwrap();
        let own = variables.iter().find(|variable| variable["name"].as_str() == Some("DATABASE_CONNECTIONS"));
        assert_eq!(own.unwrap()["default"].as_str().unwrap(), CONNECTIONS.to_string());
    }

    #[test]
    fn every_parameter_is_filled_in_and_none_is_left_over() {
        let two = ["'a'".to_owned(), ":id::bigint".to_owned()];
        let text = filled_in("x", "-- x: about $3\nselect $2, $1\nwhere $2 > 0\n", &two).unwrap();
        assert_eq!(text, "select :id::bigint, 'a'\nwhere :id::bigint > 0;\n");
        let refusal = |statement: &str| filled_in("x", statement, &two).unwrap_err().to_string();
        assert_eq!(refusal("select $1, $2, $3"), "x has a $3 that nothing is known of");
        assert_eq!(refusal("select $1"), "x has no $2");
        for script in scripts() {
            assert!(!PARAMETER.is_match(&super::text(&script).unwrap()), "{}", script.name);
        }
    }

    #[test]
    fn a_rate_is_read_and_failed_transactions_are_refused() {
        let said = "number of transactions actually processed: 950\nnumber of failed transactions: 0 (0.000%)\n\
                    latency average = 16.8 ms\ntps = 949.73 (without initial connection time)\n";
        assert_eq!(rate(said).unwrap(), 949.73);
        let failed = said.replace("transactions: 0 ", "transactions: 7 ");
        assert!(rate(&failed).unwrap_err().to_string().contains("7 (0.000%)"));
        assert!(rate("").unwrap_err().to_string().contains("no rate: did one"));
    }

    #[tokio::test]
    async fn a_pgbench_that_fails_is_a_row_without_a_figure() {
        let mut statements = Statements {
            pgbench: Some("/bin/false".into()),
            scripts: scripts().into_iter().map(|script| (script, Ok(Vec::new()))).collect(),
            url: String::new(),
            cores: crate::environment::cores().unwrap()[..1].into(),
            postgres: std::process::id(),
            postgres_cores: 1,
            folder: tempfile::tempdir().unwrap(),
            turns: 0,
        };
        statements.repeat(Duration::from_secs(1)).await.unwrap();
        statements.repeat(Duration::from_secs(1)).await.unwrap();
        for row in statements.limits() {
            let wanted = "pgbench: exit status: 1: it said nothing";
            assert_eq!((row.figure, row.missing.as_deref()), (None, Some(wanted)), "{}", row.name);
        }
    }

    #[test]
    fn what_was_in_use_is_a_share_of_its_own_cores() {
        let turn = Turn { rate: 1.0, wall_ns: 1000, postgres_ns: 1800, pgbench_ns: 400 };
        assert_eq!(full(&[turn; 2], 2, 1), "Postgres 90.0 % of its cores, pgbench 40.0 % of the services’");
    }
}
