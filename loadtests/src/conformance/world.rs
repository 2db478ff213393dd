//! What is under test: a running stack, or one started here and ended with us.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use stack::instance::{AcquirerOptions, Credentials, Instance, Twin, TwinOptions};
use stack::migrate::Database;
use stack::{stack_json, test_postgres};

use super::case::Stage;
use super::route::Target;

/// Rounds of a fingerprint where nothing is said about them: a hash then takes microseconds.
const ITERATIONS: u32 = 100;

/// Twins, card network and databases.
pub struct World {
    /// The credential of the admin operations.
    pub admin_token: String,
    /// Each on a database of its own.
    pub separate: [Target; 2],
    /// Both on one database.
    pub shared: Option<[Target; 2]>,
    /// Twins with settings of their own.
    pub stages: Vec<(Stage, [Target; 2])>,
    /// Gets the logs of what was started here.
    pub logs: Option<PathBuf>,
    /// Name and owner's URL of each database.
    pub databases: Vec<(String, String)>,
    /// What was started here.
    pub instances: Vec<Instance>,
}

/// What a started world is made of, for who starts further twins.
#[derive(Debug, Clone)]
pub struct Ground {
    /// Admin token and pepper.
    pub credentials: Credentials,
    /// Gets the logs.
    pub logs: PathBuf,
    /// `host:port` of the card network.
    pub acquirer: String,
}

impl Ground {
    /// A card network and credentials.
    pub async fn start(acquirer_env: &[(&str, &str)]) -> anyhow::Result<(Self, Instance)> {
        let logs = logs_folder()?;
        std::fs::create_dir_all(&logs).with_context(|| format!("making {}", logs.display()))?;
        let mut options = AcquirerOptions::new(&logs.join("acquirer.log"));
        options.env = acquirer_env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let acquirer = Instance::acquirer(options).await?;
        let ground = Self { credentials: Credentials::random(), logs, acquirer: acquirer.grpc() };
        Ok((ground, acquirer))
    }

    /// Starts a twin on a database.
    pub async fn twin(
        &self,
        twin: Twin,
        database: &Database,
        log: &str,
        env: &[(&str, &str)],
    ) -> anyhow::Result<Instance> {
        let mut options = TwinOptions::new(
            twin,
            &database.service_url,
            &self.acquirer,
            &self.credentials,
            &self.logs.join(log),
        );
        options.env.push(("TWINPAY_HASH_ITERATIONS".into(), ITERATIONS.to_string()));
        // The cases are about answers, not about how fast a hash comes free.
        options.env.push(("TWINPAY_HASH_WAIT_MS".into(), "5000".into()));
        options.env.push(("TWINPAY_HASH_QUEUE".into(), "1000".into()));
        options.env.push(("TWINPAY_DATABASE_WAIT_MS".into(), "5000".into()));
        options.env.push(("TWINPAY_RATE_LIMIT".into(), "0".into()));
        // So that the search for card numbers has a line of each request to look at.
        options.env.push(("TWINPAY_LOG_LEVEL".into(), "debug".into()));
        // Receivers are on this machine.
        options.env.push(("TWINPAY_WEBHOOK_TARGETS".into(), "any".into()));
        options.env.extend(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Ok(Instance::twin(options).await?)
    }
}

/// Where this process' logs are.
pub fn logs_folder() -> anyhow::Result<PathBuf> {
    Ok(stack::folders::stack_folder()?.join(format!("conformance-{}", std::process::id())))
}

/// Removes the logs where all went well, else says where they are; hands on which.
pub fn leave_logs(logs: &Path, well: bool) -> bool {
    if well {
        std::fs::remove_dir_all(logs).ok();
    } else {
        println!("the logs are in {}", logs.display());
    }
    well
}

/// Where a running twin is.
pub fn target(twin: Twin, instance: &Instance) -> Target {
    Target { name: twin.name().into(), http: instance.http(), grpc: instance.grpc() }
}

impl World {
    /// The world of a `stack.json`.
    pub fn running(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
        let stack: stack_json::Stack =
            serde_json::from_str(&text).map_err(|error| anyhow!("{}: {error}", path.display()))?;
        let target = |name: &str, twin: &stack_json::Twin| Target {
            name: name.into(),
            http: twin.http.clone(),
            grpc: twin.grpc.clone(),
        };
        let (rust, go) = (&stack.twins.rust, &stack.twins.go);
        Ok(Self {
            admin_token: stack.admin_token.clone(),
            separate: [target("rust", rust), target("go", go)],
            shared: None,
            stages: Vec::new(),
            logs: None,
            databases: vec![
                ("rust".into(), rust.database_url.clone()),
                ("go".into(), go.database_url.clone()),
            ],
            instances: Vec::new(),
        })
    }

    /// Starts everything: a card network, each twin on its own database, and both once more on one database.
    pub async fn start(stages: &[Stage]) -> anyhow::Result<Self> {
        let (ground, acquirer) = Ground::start(&[("ACQUIRER_LATENCY", "fixed:1ms")]).await?;
        let (rust, rust_url) = separate(&ground, Twin::Rust).await?;
        let (go, go_url) = separate(&ground, Twin::Go).await?;
        let database = test_postgres::migrated_database().await?;
        let rust_too = ground.twin(Twin::Rust, &database, "rust-shared.log", &[]).await?;
        let go_too = ground.twin(Twin::Go, &database, "go-shared.log", &[]).await?;
        let mut world = Self {
            admin_token: ground.credentials.admin_token.clone(),
            separate: [target(Twin::Rust, &rust), target(Twin::Go, &go)],
            shared: Some([target(Twin::Rust, &rust_too), target(Twin::Go, &go_too)]),
            stages: Vec::new(),
            logs: Some(ground.logs.clone()),
            databases: vec![
                ("rust".into(), rust_url),
                ("go".into(), go_url),
                ("shared".into(), database.owner_url),
            ],
            instances: vec![acquirer, rust, go, rust_too, go_too],
        };
        for stage in stages {
            world.set(*stage, &ground).await?;
        }
        Ok(world)
    }

    /// Starts both twins for a stage, each on a database of its own.
    async fn set(&mut self, stage: Stage, ground: &Ground) -> anyhow::Result<()> {
        let mut targets = Vec::new();
        for twin in Twin::ALL {
            let database = test_postgres::migrated_database().await?;
            let (name, env) = settings(stage, twin);
            let log = format!("{}-{name}.log", twin.name());
            let instance = ground.twin(twin, &database, &log, &env).await?;
            targets.push(target(twin, &instance));
            self.databases.push((format!("{} {name}", twin.name()), database.owner_url));
            self.instances.push(instance);
        }
        let targets: [Target; 2] = targets.try_into().map_err(|_| anyhow!("there are two twins"))?;
        self.stages.push((stage, targets));
        Ok(())
    }
}

/// A stage's name, and its settings for a twin.
pub fn settings(stage: Stage, twin: Twin) -> (&'static str, Vec<(&'static str, &'static str)>) {
    match stage {
        // Port 1 needs root to listen on, and nobody does.
        Stage::NoAcquirer => ("no-acquirer", vec![("TWINPAY_ACQUIRER_URL", "http://127.0.0.1:1")]),
        Stage::LongHash => ("long-hash", long_hashes(twin)),
        Stage::RateLimit => ("rate-limit", vec![("TWINPAY_RATE_LIMIT", "1"), ("TWINPAY_RATE_BURST", "2")]),
        Stage::SlowBody => ("slow-body", vec![("TWINPAY_BODY_TIMEOUT_MS", "300")]),
        Stage::PublicTargets => ("public-targets", vec![("TWINPAY_WEBHOOK_TARGETS", "public")]),
    }
}

/// One hash at a time, none may wait. The Rust twin is built as we are, and Go has no debug build.
fn long_hashes(twin: Twin) -> Vec<(&'static str, &'static str)> {
    let iterations = if cfg!(debug_assertions) && twin == Twin::Rust { "200000" } else { "5000000" };
    vec![("TWINPAY_HASH_ITERATIONS", iterations), ("TWINPAY_HASH_PERMITS", "1"), ("TWINPAY_HASH_QUEUE", "0")]
}

async fn separate(ground: &Ground, twin: Twin) -> anyhow::Result<(Instance, String)> {
    let database = test_postgres::migrated_database().await?;
    let instance = ground.twin(twin, &database, &format!("{}.log", twin.name()), &[]).await?;
    Ok((instance, database.owner_url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_stack_is_read_from_its_file_and_a_missing_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stack.json");
        let missing = World::running(&path).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(missing.contains("stack.json can't be read"), "{missing}");
        let twin = |port: u16| {
            format!(
                r#"{{"http":"http://127.0.0.1:{port}","grpc":"127.0.0.1:1","admin":"http://127.0.0.1:2","pid":3,"database_url":"postgres://d"}}"#
            )
        };
        let (rust, go) = (twin(8081), twin(8082));
        let text = format!(
            r#"{{"admin_token":"t","twins":{{"rust":{rust},"go":{go}}},"acquirer":{{"grpc":"127.0.0.1:4","pid":5}},"postgres":{{"url":"postgres://p","pid":6}}}}"#
        );
        std::fs::write(&path, text).unwrap();
        let world = World::running(&path).unwrap();
        assert_eq!(world.separate[1].http, "http://127.0.0.1:8082");
        assert!(world.shared.is_none() && world.databases.len() == 2);
    }
}
