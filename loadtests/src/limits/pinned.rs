//! Work on chosen cores, in a thread of its own that ends with it: a thread that is used again would stay pinned.

use anyhow::{Context, bail};
use tokio::process::Command;
use tokio::sync::oneshot;

use crate::realtime;

/// Does `work` on `cores`; what it starts runs there too.
pub async fn on_cores<T: Send + 'static>(
    cores: &[usize],
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let (cores, (done, result)) = (cores.to_vec(), oneshot::channel());
    std::thread::Builder::new().name("pinned".into()).spawn(move || {
        // Nobody waits any more: then the result is of no use.
        let _ = done.send(realtime::pin(&cores).and_then(|()| work()));
    })?;
    result.await.context("a measuring thread panicked")?
}

/// What a program says that runs to its end on `cores`; of a `stack::errand`, which ends with this process.
pub async fn said_on_cores(cores: &[usize], mut errand: Command) -> anyhow::Result<String> {
    let output = on_cores(cores, move || Ok(errand.as_std_mut().output()?)).await?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let error = said.lines().find(|line| line.contains("error")).unwrap_or(said.trim());
        bail!("{}: {}", output.status, if error.is_empty() { "it said nothing" } else { error });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn said(script: &str) -> Result<String, String> {
        let mut shell = stack::errand("/bin/sh".as_ref(), None);
        shell.args(["-c", script]);
        let cores = crate::environment::cores().unwrap();
        said_on_cores(&cores[..1], shell).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_program_runs_on_its_cores_and_one_that_fails_says_why() {
        let core = crate::environment::cores().unwrap()[0];
        let allowed = said("grep Cpus_allowed_list /proc/self/status").await.unwrap();
        assert_eq!(allowed.split_whitespace().last(), Some(core.to_string().as_str()));
        let refused = |script: &str| said(script.to_owned().leak());
        assert_eq!(
            refused("echo well; echo an error >&2; exit 3").await,
            Err("exit status: 3: an error".into())
        );
        assert_eq!(refused("exit 1").await, Err("exit status: 1: it said nothing".into()));
    }
}
