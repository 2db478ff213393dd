//! `.stack/stack.json`: what runs where, for programs. The conformance runner, the judge and anybody's script read it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::folders;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// The credential of the admin operations, of both twins.
    pub admin_token: String,
    /// Both twins.
    pub twins: Twins,
    /// The card network.
    pub acquirer: Acquirer,
    /// The server that holds both databases.
    pub postgres: Server,
}

/// Both twins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Twins {
    /// `services/payments`.
    pub rust: Twin,
    /// `go-service`.
    pub go: Twin,
}

/// A running twin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Twin {
    /// `http://host:port`.
    pub http: String,
    /// `host:port`.
    pub grpc: String,
    /// `http://host:port`.
    pub admin: String,
    /// The process.
    pub pid: u32,
    /// The owner's, for checks; the service uses its own role.
    pub database_url: String,
}

/// The running card network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acquirer {
    /// `host:port`.
    pub grpc: String,
    /// The process.
    pub pid: u32,
}

/// The running Postgres.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// The owner's, of the database `postgres`.
    pub url: String,
    /// The postmaster.
    pub pid: u32,
}

/// `.stack/stack.json` of this clone, or `stack.json` in the folder that `TWINPAY_STACK` names. Every program that works on
/// the running stack takes its default from here, so that all of them mean the same stack.
pub fn path() -> Result<PathBuf> {
    Ok(folders::stack_folder()?.join("stack.json"))
}

/// Reads the file of this clone; None where nothing was started.
pub fn read() -> Result<Option<Stack>> {
    read_file(&path()?)
}

/// Writes the file of this clone.
pub fn write(stack: &Stack) -> Result<()> {
    write_file(&path()?, stack)
}

/// Removes the file of this clone, if it is there.
pub fn remove() -> Result<()> {
    remove_file(&path()?)
}

/// Removes a file, if it is there.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("removing {}", path.display()))(error))
        }
        _ => Ok(()),
    }
}

/// Reads a JSON file; None where there is none.
pub(crate) fn read_file<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| Error::Other(format!("{} can't be read: {error}; remove it", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(format!("reading {}", path.display()))(error)),
    }
}

/// Writes a JSON file beside and renames it: a reader sees the old one or the new one. Only for our eyes: it has secrets.
pub(crate) fn write_file(path: &Path, value: &impl Serialize) -> Result<()> {
    let doing = || format!("writing {}", path.display());
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut text =
        serde_json::to_string_pretty(value).map_err(|error| Error::Other(format!("{}: {error}", doing())))?;
    text.push('\n');
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(Error::io(doing()))?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o600)).map_err(Error::io(doing()))?;
    file.write_all(text.as_bytes()).map_err(Error::io(doing()))?;
    file.persist(path).map(drop).map_err(|error| Error::io(doing())(error.error))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"{"admin_token": "t",
 "twins": {"rust": {"http": "http://127.0.0.1:8081", "grpc": "127.0.0.1:9081", "admin": "http://127.0.0.1:9481", "pid": 101, "database_url": "postgres://a"},
           "go":   {"http": "http://127.0.0.1:8082", "grpc": "127.0.0.1:9082", "admin": "http://127.0.0.1:9482", "pid": 102, "database_url": "postgres://b"}},
 "acquirer": {"grpc": "127.0.0.1:9090", "pid": 103},
 "postgres": {"url": "postgres://c", "pid": 104}}"#;

    #[test]
    fn the_documented_shape_goes_in_and_out_unchanged() {
        let stack: Stack = serde_json::from_str(EXAMPLE).expect("parses");
        let again: serde_json::Value = serde_json::to_value(&stack).expect("renders");
        assert_eq!(again, serde_json::from_str::<serde_json::Value>(EXAMPLE).expect("parses"));
    }

    #[test]
    fn a_file_is_for_its_owner_only_and_comes_back_equal() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("stack.json");
        assert_eq!(read_file::<Stack>(&path).expect("no error"), None);
        let stack: Stack = serde_json::from_str(EXAMPLE).expect("parses");
        write_file(&path, &stack).expect("written");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(read_file::<Stack>(&path).expect("reads"), Some(stack));
    }
}
