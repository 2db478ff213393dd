//! Where things are kept: the clone, its `.stack/`, and a folder outside of it that another user can enter.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// The clone that this crate was built from.
pub fn repository() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    path.canonicalize().unwrap_or(path)
}

/// The variable that names another folder than `.stack/`: a second stack beside the first, with data of its own.
pub const STACK_VARIABLE: &str = "TWINPAY_STACK";

/// `.stack/` of the clone, made if it isn't there: logs, pids, secrets and `stack.json`.
pub fn stack_folder() -> Result<PathBuf> {
    let path = std::env::var_os(STACK_VARIABLE).map_or_else(|| repository().join(".stack"), PathBuf::from);
    if !path.is_absolute() {
        return Err(Error::Setting(format!(
            "{STACK_VARIABLE} is {:?}: it must be an absolute path",
            path.display()
        )));
    }
    fs::create_dir_all(&path).map_err(Error::io(format!("making {}", path.display())))?;
    Ok(path)
}

/// `/var/tmp/twinpay-<hash of the clone's path>`, made if it isn't there: Postgres' binaries and data. Outside of the
/// clone, because initdb and postgres refuse root, and the user who runs them instead can't enter root's home.
pub fn shared_folder() -> Result<PathBuf> {
    let path = PathBuf::from(format!("/var/tmp/twinpay-{}", hash(&repository())));
    match fs::DirBuilder::new().mode(0o711).create(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Error::io(format!("making {}", path.display()))(error)),
    }
    // The name can be guessed and /var/tmp is everybody's: only a real folder of our own will do.
    let metadata =
        fs::symlink_metadata(&path).map_err(Error::io(format!("looking at {}", path.display())))?;
    if !metadata.is_dir() || metadata.uid() != rustix::process::getuid().as_raw() {
        return Err(Error::Other(format!("{} belongs to another user: remove it", path.display())));
    }
    let_others_in(&path)?;
    Ok(path)
}

/// The folder of the databases of this stack.
pub fn data_folder() -> Result<PathBuf> {
    match std::env::var_os(STACK_VARIABLE) {
        Some(folder) => data_folder_of(Path::new(&folder)),
        None => Ok(shared_folder()?.join("stack")),
    }
}

/// The folder of the databases of a stack that `TWINPAY_STACK` names.
pub fn data_folder_of(stack: &Path) -> Result<PathBuf> {
    Ok(shared_folder()?.join(format!("stack-{}", hash(stack))))
}

fn hash(path: &Path) -> String {
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// Lets other users pass through a folder. Making it is subject to the umask, which may have taken that right.
pub(crate) fn let_others_in(path: &Path) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o711))
        .map_err(Error::io(format!("opening {} to other users", path.display())))
}

/// A user that isn't root, for Postgres: `(uid, gid)`. None where we aren't root ourselves.
pub fn unprivileged_user() -> Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd").map_err(Error::io("reading /etc/passwd"))?;
    find_user(&passwd, "postgres").or_else(|| find_user(&passwd, "nobody")).map(Some).ok_or_else(|| {
        Error::Other(
            "Postgres refuses to run as root, and /etc/passwd has neither postgres nor nobody".into(),
        )
    })
}

fn find_user(passwd: &str, name: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some((uid, gid))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\nnobody2:x:5:6::/:/bin/sh\nnobody:x:65534:65533::/:/bin/sh\n";
        assert_eq!(find_user(passwd, "nobody"), Some((65534, 65533)));
        assert_eq!(find_user(passwd, "postgres"), None);
    }

    #[test]
    fn the_shared_folder_can_be_entered_by_others() {
        let path = shared_folder().expect("made");
        let mode = fs::metadata(path).expect("there").mode() & 0o777;
        assert_eq!(mode, 0o711);
    }
}
