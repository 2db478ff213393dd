//! A data folder of Postgres: made, repaired, and put in order before the server starts on it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::AsyncWriteExt;

use crate::error::{Error, Result};
use crate::postgres_bin::Programs;
use crate::process::{Identity, errand};
use crate::server::SERVER;

/// The role that owns the databases.
pub const OWNER: &str = "twinpay";

/// Makes the folder with initdb unless it is there. Done beside and renamed, so that an interrupted initdb leaves nothing
/// that looks like data.
pub(crate) async fn make(
    programs: &Programs,
    data: &Path,
    password: &str,
    user: Option<(u32, u32)>,
) -> Result<()> {
    if data.join("PG_VERSION").is_file() {
        return Ok(());
    }
    let half = sibling(data, "half");
    remove(&half)?;
    make_owned(&half, user)?;
    let mut file = tempfile::NamedTempFile::new().map_err(Error::io("making a password file"))?;
    file.write_all(password.as_bytes()).map_err(Error::io("writing a password file"))?;
    if let Some((uid, gid)) = user {
        chown(file.path(), Some(uid), Some(gid)).map_err(Error::io("giving away the password file"))?;
    }
    let mut command = errand(&programs.folder.join("initdb"), user);
    command.args(["--auth=scram-sha-256", "--no-sync", "--no-instructions"]).args(&SERVER.initdb);
    command.arg(format!("--username={OWNER}")).arg("--pwfile").arg(file.path()).arg("--pgdata").arg(&half);
    let output = command.output().await.map_err(Error::io("running initdb"))?;
    if !output.status.success() {
        remove(&half)?;
        return Err(Error::Other(format!(
            "initdb failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )));
    }
    remove(data)?;
    fs::rename(&half, data).map_err(Error::io(format!("renaming {}", half.display())))
}

/// Gives the owner this password, with the server down: the folder can be older than the file that remembers it.
pub(crate) async fn set_password(
    programs: &Programs,
    data: &Path,
    password: &str,
    user: Option<(u32, u32)>,
) -> Result<()> {
    let mut command = errand(&programs.folder.join("postgres"), user);
    command.args(["--single", "-c", "password_encryption=scram-sha-256", "-D"]).arg(data).arg("postgres");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(Error::io("running postgres --single"))?;
    let statement = format!("alter role {OWNER} password '{password}'\n");
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(statement.as_bytes()).await.map_err(Error::io("writing to postgres --single"))?;
    }
    let output = child.wait_with_output().await.map_err(Error::io("waiting for postgres --single"))?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    // A statement that fails doesn't change the exit status.
    if output.status.success() && !errors.contains("ERROR:") {
        return Ok(());
    }
    Err(Error::Other(format!("the owner's password can't be set: {}", errors.trim())))
}

/// Makes the folder free to start on: stops a server that an earlier run left on it, and removes the pid file of a dead
/// one, whose pid may be another process' by now.
pub(crate) async fn clear(data: &Path) -> Result<()> {
    let pid_file = data.join("postmaster.pid");
    if let Some(left) = running(data) {
        left.stop(Signal::INT, Duration::from_secs(30)).await;
    }
    match fs::remove_file(&pid_file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("removing {}", pid_file.display()))(error))
        }
        _ => Ok(()),
    }
}

/// The server that runs on this folder, if there is one. What counts is its command line: it names the folder.
pub(crate) fn running(data: &Path) -> Option<Identity> {
    let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let identity = Identity::of(text.lines().next()?.trim().parse().ok()?)?;
    let command = fs::read(format!("/proc/{}/cmdline", identity.pid)).ok()?;
    let data = data.as_os_str().as_encoded_bytes();
    command.split(|byte| *byte == 0).any(|word| word == data).then_some(identity)
}

/// Makes a folder that only `user` (or we) can enter, which is what Postgres asks for.
pub(crate) fn make_owned(folder: &Path, user: Option<(u32, u32)>) -> Result<()> {
    let failed = || format!("making {}", folder.display());
    fs::DirBuilder::new().mode(0o700).create(folder).map_err(Error::io(failed()))?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(Error::io(failed()))?;
    match user {
        Some((uid, gid)) => chown(folder, Some(uid), Some(gid)).map_err(Error::io(failed())),
        None => Ok(()),
    }
}

/// Removes a folder, if it is there.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("removing {}", folder.display()))(error))
        }
        _ => Ok(()),
    }
}

fn sibling(folder: &Path, ending: &str) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name(format!("{name}.{ending}"))
}
