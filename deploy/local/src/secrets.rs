//! Random secrets of this clone's stack: made once, kept in `.stack/secrets.json`, for the owner's eyes only.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::instance::Credentials;
use crate::postgres::random_text;
use crate::stack_json::{read_file, write_file};

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    /// Of the admin operations, the same for both twins.
    pub admin_token: String,
    /// Of the card fingerprints, the same for both twins. Another one orphans every token in the databases.
    pub pepper: String,
    /// Of the webhooks' secrets, the same for both twins. Another one changes every secret.
    #[serde(default = "crate::instance::random_key")]
    pub webhook_master: String,
    /// Of the databases' owner.
    pub owner_password: String,
    /// Of the services' role.
    pub service_password: String,
}

impl Secrets {
    /// Reads them, or makes them. Beside them lies the header that `curl -H @file` takes.
    pub fn read_or_make(folder: &Path) -> Result<Secrets> {
        let path = folder.join("secrets.json");
        let secrets = match read_file(&path)? {
            Some(secrets) => secrets,
            None => {
                let Credentials { admin_token, pepper, webhook_master } = Credentials::random();
                let (owner_password, service_password) = (random_text(32), random_text(32));
                Secrets { admin_token, pepper, webhook_master, owner_password, service_password }
            }
        };
        // What the file lacked was made, and is kept.
        write_file(&path, &secrets)?;
        write_header(&header_path(folder), &secrets.admin_token)?;
        Ok(secrets)
    }

    /// What both twins share.
    pub fn credentials(&self) -> Credentials {
        Credentials {
            admin_token: self.admin_token.clone(),
            pepper: self.pepper.clone(),
            webhook_master: self.webhook_master.clone(),
        }
    }
}

/// The file with the `Authorization` header, so that no command line needs the token.
pub fn header_path(folder: &Path) -> PathBuf {
    folder.join("authorization")
}

fn write_header(path: &Path, token: &str) -> Result<()> {
    let doing = || format!("writing {}", path.display());
    let mut options = fs::OpenOptions::new();
    let mut file =
        options.create(true).write(true).truncate(true).mode(0o600).open(path).map_err(Error::io(doing()))?;
    file.write_all(format!("Authorization: Bearer {token}\n").as_bytes()).map_err(Error::io(doing()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn secrets_are_made_once_and_for_the_owner_only() {
        let folder = tempfile::tempdir().expect("folder");
        let first = Secrets::read_or_make(folder.path()).expect("made");
        assert_eq!(Secrets::read_or_make(folder.path()).expect("read"), first);
        assert!(first.admin_token.len() >= 32);
        assert_ne!(first.webhook_master, first.pepper);
        let path = folder.path().join("secrets.json");
        let text = fs::read_to_string(&path).expect("there");
        let mut older: serde_json::Value = serde_json::from_str(&text).expect("an object");
        older.as_object_mut().expect("an object").remove("webhook_master");
        fs::write(&path, older.to_string()).expect("written");
        let made = Secrets::read_or_make(folder.path()).expect("read");
        assert_eq!(Secrets::read_or_make(folder.path()).expect("read"), made, "what was lacking is kept");
        assert_eq!(Secrets { webhook_master: first.webhook_master.clone(), ..made }, first);
        assert!(first.pepper.len() == 64 && first.pepper.bytes().all(|byte| byte.is_ascii_hexdigit()));
        for name in ["secrets.json", "authorization"] {
            let mode = fs::metadata(folder.path().join(name)).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }
}
