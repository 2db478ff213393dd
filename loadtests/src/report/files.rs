//! Writing files so that an old one stays whole until the new one is.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::NamedTempFile;

/// Writes `text` to `path` in one step: whoever reads it sees the old file or the new one, and a full disk leaves the old.
pub fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    replace_all(&[(path.into(), text.to_owned())])
}

/// The same for several files: none is replaced before all are on the disk.
pub fn replace_all(files: &[(PathBuf, String)]) -> anyhow::Result<()> {
    let written: anyhow::Result<Vec<_>> = files.iter().map(|(path, text)| beside(path, text)).collect();
    for (file, (path, _)) in written?.into_iter().zip(files) {
        file.persist(path).map_err(|error| error.error).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Fails where `path` can't be written to: worth knowing before a run.
pub fn writable(path: &Path) -> anyhow::Result<()> {
    beside(path, "").map(drop)
}

/// A whole copy in the same folder, which goes with the value unless it takes its place.
fn beside(path: &Path, text: &str) -> anyhow::Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || {
        // As any new file has them, less what the user's mask takes away; temporary ones are their owner's alone.
        let permissions = Permissions::from_mode(0o666);
        let mut file =
            tempfile::Builder::new().prefix(".report-").permissions(permissions).tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        std::io::Result::Ok(file)
    };
    write().with_context(|| format!("{} can't be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_and_nothing_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for text in ["old", "new"] {
            replace_all(&[(path("a"), text.into()), (path("b"), text.into())]).unwrap();
            let read = |name: &str| std::fs::read_to_string(path(name)).unwrap();
            assert_eq!((read("a"), read("b")), (text.to_owned(), text.to_owned()));
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn where_one_cannot_be_written_all_old_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (old, nowhere) = (folder.path().join("a"), folder.path().join("no/such"));
        replace(&old, "old").unwrap();
        let said = replace_all(&[(old.clone(), "new".into()), (nowhere.clone(), "new".into())]).unwrap_err();
        assert!(
            format!("{said:#}").starts_with(&format!("{} can't be written: ", nowhere.display())),
            "{said:#}"
        );
        assert_eq!(std::fs::read_to_string(old).unwrap(), "old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
