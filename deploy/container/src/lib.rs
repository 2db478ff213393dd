//! A Postgres in a container, by testcontainers. A crate of its own, so that nobody who doesn't test builds the library.
//!
//! The container belongs to this process: a program in it holds the other end of a connection of ours, and ends the server
//! when that is closed, however we end; the engine then removes it. So no reaper is needed, which would be another image.

use std::collections::HashMap;
use std::error::Error as Cause;
use std::time::Duration;

use futures::TryStreamExt;
use sqlx::{Connection, PgConnection};
use stack::postgres::OWNER;
use stack::server::SERVER;
use stack::test_postgres::{Container, VARIABLE};
use stack::{Error, Result};
use testcontainers::bollard::Docker;
use testcontainers::bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use testcontainers::bollard::models::PortBinding;
use testcontainers::bollard::query_parameters::CreateImageOptionsBuilder;
use testcontainers::core::IntoContainerPort;
use testcontainers::core::client::docker_client_instance;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};
use tokio::sync::{OnceCell, oneshot};
use tokio::time::{Instant, sleep, timeout};
use url::Url;

/// An engine that takes longer to say that it is there is passed over.
const ENGINE_LIMIT: Duration = Duration::from_secs(5);
/// About 150 MB.
const PULL_LIMIT: Duration = Duration::from_secs(300);
/// From the start of the container to the first answer; the image runs initdb before.
const START_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
const PORT: u16 = 5432;
/// As much as the server may map for parallel plans; the engine's 64 MB are less than it takes natively.
const SHARED_MEMORY_BYTES: u64 = 256 << 20;
/// Runs the image's script, and ends the server where nobody holds on to it in time.
const GUARDED: &str = "(sleep 30; [ -e /tmp/held ] || kill -QUIT 1) & exec docker-entrypoint.sh \"$@\"";
/// Says that it holds on, waits for the end of its input and ends the server, which is the container's first process as soon
/// as the image's script is done.
const HOLD: &str = "touch /tmp/held; echo held; cat > /dev/null; while kill -QUIT 1; do sleep 0.1; done";

/// Starts it, once in a process: tests that wait for it at the same time all get the one outcome. For
/// [`stack::test_postgres::choose`].
pub async fn start() -> Result<Container> {
    static OUTCOME: OnceCell<Outcome> = OnceCell::const_new();
    OUTCOME.get_or_init(start_on_a_thread).await.clone().map_err(Error::Other)
}

type Outcome = std::result::Result<Container, String>;

/// On a thread of its own, whose runtime outlives the test that happens to be the first.
async fn start_on_a_thread() -> Outcome {
    let (tell, told) = oneshot::channel();
    std::thread::spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return tell.send(Err(chain(&error))),
        };
        runtime.block_on(async {
            let docker = match engine().await {
                Ok(docker) => docker,
                Err(reason) => return tell.send(Ok(Container::PassedOver(reason))),
            };
            match run(&docker).await {
                Ok((started, _held)) => {
                    tell.send(Ok(started)).ok();
                    std::future::pending().await
                }
                Err(text) => tell.send(Err(format!(
                    "the container of {}: {text}; {VARIABLE} names another Postgres",
                    SERVER.image
                ))),
            }
        })
    });
    told.await.unwrap_or_else(|_| Err("the thread of the container is gone".into()))
}

/// The engine, if it answers and has the image or can get it; else why not.
async fn engine() -> std::result::Result<Docker, String> {
    let place = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".into());
    let silent = |text: String| format!("no container engine answers at {place}: {text}");
    let docker = docker_client_instance().await.map_err(|error| silent(chain(&error)))?;
    let ping = timeout(ENGINE_LIMIT, docker.ping()).await;
    ping.map_err(|_| silent("too late".into()))?.map_err(|error| silent(chain(&error)))?;
    if docker.inspect_image(&SERVER.image).await.is_ok() {
        return Ok(docker);
    }
    let options = CreateImageOptionsBuilder::new().from_image(&SERVER.image).build();
    let pulled = docker.create_image(Some(options), None, None).try_for_each(async |_| Ok(()));
    let missing = |text| format!("image {} isn't there and can't be pulled: {text}", SERVER.image);
    match timeout(PULL_LIMIT, pulled).await {
        Ok(Ok(())) => Ok(docker),
        Ok(Err(error)) => Err(missing(chain(&error))),
        Err(_) => Err(missing(format!("not within {} s", PULL_LIMIT.as_secs()))),
    }
}

/// What keeps the container: both are given up only with the process.
type Held = (ContainerAsync<GenericImage>, StartExecResults);

async fn run(docker: &Docker) -> std::result::Result<(Container, Held), String> {
    let (name, tag) = SERVER.image.split_once(':').unwrap_or((&SERVER.image, "latest"));
    let password = uuid::Uuid::new_v4().simple().to_string();
    let (host, interface) = match remote_host() {
        Some(host) => (host, "0.0.0.0"),
        None => ("127.0.0.1".into(), "127.0.0.1"),
    };
    let settings = SERVER.settings.iter().chain(&SERVER.careless);
    let container = GenericImage::new(name, tag)
        .with_exposed_port(PORT.tcp())
        .with_entrypoint("sh")
        .with_env_var("POSTGRES_USER", OWNER)
        .with_env_var("POSTGRES_PASSWORD", &password)
        .with_env_var("POSTGRES_DB", "postgres")
        .with_env_var("POSTGRES_INITDB_ARGS", SERVER.initdb.join(" "))
        .with_cmd(
            ["-c", GUARDED, "sh", "postgres"].into_iter().chain(settings.flat_map(|setting| ["-c", setting])),
        )
        .with_shm_size(SHARED_MEMORY_BYTES)
        .with_host_config_modifier(move |config| {
            config.auto_remove = Some(true);
            config.publish_all_ports = Some(false);
            let binding = PortBinding { host_ip: Some(interface.into()), host_port: None };
            config.port_bindings = Some(HashMap::from([(PORT.tcp().to_string(), Some(vec![binding]))]));
        })
        .start()
        .await
        .map_err(|error| chain(&error))?;
    let hold = hold(docker, container.id()).await?;
    let port = container.get_host_port_ipv4(PORT.tcp()).await.map_err(|error| chain(&error))?;
    let url = format!("postgres://{OWNER}:{password}@{host}:{port}/postgres?sslmode=disable");
    until_it_answers(&container, &url).await?;
    Ok((Container::Started { url, what: format!("{} at {host}:{port}", SERVER.image) }, (container, hold)))
}

/// Where an engine that is reached over TCP publishes its ports. The library's own answer is the machine's gateway wherever
/// the machine looks like a container.
fn remote_host() -> Option<String> {
    let url = Url::parse(&std::env::var("DOCKER_HOST").ok()?).ok()?;
    if url.scheme() == "unix" { None } else { url.host_str().map(String::from) }
}

/// Ties the container to the connection that this gives back.
async fn hold(docker: &Docker, container: &str) -> std::result::Result<StartExecResults, String> {
    let options = CreateExecOptions {
        cmd: Some(vec!["sh", "-c", HOLD]),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        ..CreateExecOptions::default()
    };
    let exec = docker.create_exec(container, options).await.map_err(|error| chain(&error))?;
    let mut results =
        docker.start_exec(&exec.id, None::<StartExecOptions>).await.map_err(|error| chain(&error))?;
    if let StartExecResults::Attached { output, .. } = &mut results {
        let said = output.try_next().await.map_err(|error| chain(&error))?;
        if said.is_some_and(|said| said.as_ref() == b"held\n") {
            return Ok(results);
        }
    }
    Err("nothing in it holds on to this process".into())
}

async fn until_it_answers(
    container: &ContainerAsync<GenericImage>,
    url: &str,
) -> std::result::Result<(), String> {
    let deadline = Instant::now() + START_LIMIT;
    loop {
        let error = match PgConnection::connect(url).await {
            Ok(connection) => return connection.close().await.map_err(|error| chain(&error)),
            Err(error) => error,
        };
        // A container that has ended is removed, and then this is an error.
        if !container.is_running().await.unwrap_or(false) {
            return Err("it ended before Postgres answered".into());
        }
        if Instant::now() >= deadline {
            return Err(format!(
                "no answer from Postgres within {} s: {}",
                START_LIMIT.as_secs(),
                chain(&error)
            ));
        }
        sleep(POLL).await;
    }
}

/// An error with its causes, in one line: the library's own texts leave them out.
fn chain(error: &(dyn Cause + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        let text = cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        if !texts.last().is_some_and(|before| before.ends_with(&text)) {
            texts.push(text);
        }
        next = cause.source();
    }
    texts.join(": ")
}
