//! The folder of a full run: `run.json` says what it is of, `parts` has a file for each part that is finished, and the
//! report comes beside them at the end. Each file is written in one step, so whatever is there is whole.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::about::About;
use crate::command::parts::Outcome;
use crate::report::{ContenderReport, Environment, FORMAT, replace};

/// What a run is of.
const RUN: &str = "run.json";
const PARTS: &str = "parts";
/// Times that a part is played at most by one `loadtest full`, where it is void.
const ATTEMPTS: usize = 2;
/// What helps where parts don't fit.
const ANEW: &str = "go on with what it was begun with, or begin anew with --new";

/// Somebody else plays it.
#[derive(Debug, Error)]
#[error("{0} is being played by another loadtest: wait until it ends, or end it")]
pub struct Busy(String);

/// `run.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Of every file, as of report.json.
    pub format: u32,
    /// RFC 3339.
    pub started_at: String,
    /// The order within pairs is drawn from it; no two runs have the same.
    pub order_seed: u64,
    pub about: About,
}

/// A file of `parts`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    pub format: u32,
    /// The run's `order_seed`.
    pub run: u64,
    pub name: String,
    pub seconds: f64,
    pub environment: Environment,
    /// The two, as this part met them.
    pub contenders: Vec<ContenderReport>,
    /// Why it is void, beside missed bounds.
    pub trouble: Vec<String>,
    pub outcome: Outcome,
}

impl Part {
    /// Why it is no result; none: it is.
    pub fn void(&self) -> Vec<String> {
        [self.trouble.clone(), self.outcome.void()].concat()
    }
}

/// What is kept of one part.
pub struct Kept {
    pub good: Option<Part>,
    /// In the order in which they were played.
    pub void: Vec<Part>,
}

/// The folder, which nobody else uses meanwhile.
pub struct Store {
    folder: PathBuf,
    start: Start,
    /// Of each part, how often it was void before.
    void_before: Vec<usize>,
    _lock: File,
}

impl Store {
    /// A new run in `folder`.
    pub fn begin(folder: &Path, start: Start) -> anyhow::Result<Self> {
        let run = folder.join(RUN);
        if run.exists() {
            let folder = folder.display();
            bail!(
                "{folder}: a run is in it already: go on with it by --resume {folder}, or name another folder"
            );
        }
        let unwritable =
            || format!("no report can be written to {}, name another folder by --out", folder.display());
        fs::create_dir_all(folder.join(PARTS)).with_context(unwritable)?;
        replace(&run, &(serde_json::to_string_pretty(&start)? + "\n")).with_context(unwritable)?;
        let void_before = vec![0; start.about.parts.len()];
        Ok(Self { folder: folder.into(), start, void_before, _lock: lock(folder)? })
    }

    /// The run that is there, where it is of the same things.
    pub fn resume(folder: &Path, now: &About) -> anyhow::Result<Self> {
        let run = folder.join(RUN);
        if !run.exists() {
            bail!("{}: no run of `loadtest full` is there", folder.display());
        }
        let start: Start = read(&run)?;
        if let Some(why) = start.about.differs(now) {
            bail!("{}: its parts can’t be used: {why}; {ANEW}", folder.display());
        }
        let mut store = Self { folder: folder.into(), start, void_before: Vec::new(), _lock: lock(folder)? };
        store.void_before = (0..now.parts.len()).map(|index| store.void_files(index).len()).collect();
        let all = now.parts.len();
        eprintln!("resuming {}: {} of {all} parts are there", folder.display(), store.good());
        Ok(store)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn start(&self) -> &Start {
        &self.start
    }

    /// The parts that are to be played, by their place: those that never were, then those that were void. One that was void
    /// before this run went on comes once more, however often that was.
    pub fn missing(&self) -> Vec<usize> {
        let (mut never, mut again) = (Vec::new(), Vec::new());
        for (index, before) in self.void_before.iter().copied().enumerate() {
            let (good, void) = (self.file(index, None).exists(), self.void_files(index).len());
            let last = if before == 0 { ATTEMPTS } else { before + 1 };
            match void {
                _ if good || void >= last => {}
                0 => never.push(index),
                _ => again.push(index),
            }
        }
        [never, again].concat()
    }

    /// Parts that are a result.
    pub fn good(&self) -> usize {
        (0..self.void_before.len()).filter(|index| self.file(*index, None).exists()).count()
    }

    /// Writes a part down: why it is void, where it is.
    pub fn keep(&self, index: usize, part: &Part) -> anyhow::Result<Vec<String>> {
        let void = part.void();
        let attempt = (!void.is_empty()).then(|| self.void_files(index).len() + 1);
        replace(&self.file(index, attempt), &(serde_json::to_string(part)? + "\n"))?;
        Ok(void)
    }

    /// Everything of one part.
    pub fn kept(&self, index: usize) -> anyhow::Result<Kept> {
        let good = Some(self.file(index, None)).filter(|file| file.exists());
        let good = good.map(|file| self.part(&file, index)).transpose()?;
        let void = self.void_files(index).into_iter().map(|file| self.part(&file, index));
        Ok(Kept { good, void: void.collect::<anyhow::Result<_>>()? })
    }

    fn part(&self, file: &Path, index: usize) -> anyhow::Result<Part> {
        let (part, name): (Part, _) = (read(file)?, &self.start.about.parts[index].0);
        if part.run != self.start.order_seed || part.name != *name {
            bail!(
                "{}: it is a part of another run: take it away, and “{name}” is played again",
                file.display()
            );
        }
        Ok(part)
    }

    fn void_files(&self, index: usize) -> Vec<PathBuf> {
        let files = (1..).map(|attempt| self.file(index, Some(attempt)));
        files.take_while(|file| file.exists()).collect()
    }

    /// `parts/02-checkout-rust-against-itself.json`, or with `.void-1` before its ending.
    fn file(&self, index: usize, void: Option<usize>) -> PathBuf {
        let words = self.start.about.parts[index]
            .0
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty());
        let name = words.map(str::to_lowercase).collect::<Vec<_>>().join("-");
        let void = void.map_or(String::new(), |attempt| format!(".void-{attempt}"));
        self.folder.join(PARTS).join(format!("{:02}-{name}{void}.json", index + 1))
    }
}

/// The run in `out` that began last of those that have no report and are of the same things; `say` hears which were passed
/// over, and why. One of the same things that somebody plays already is an error.
pub fn newest_that_fits(out: &Path, now: &About, say: impl Fn(&str)) -> anyhow::Result<Option<Store>> {
    for folder in unfinished(out) {
        match Store::resume(&folder, now) {
            Ok(store) => return Ok(Some(store)),
            Err(error) if error.is::<Busy>() => return Err(error),
            Err(error) => say(&format!("passed over: {error:#}")),
        }
    }
    Ok(None)
}

/// The folders in `out` whose runs have no report, the one that began last first.
fn unfinished(out: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(out).into_iter().flatten().flatten().map(|entry| entry.path());
    let unfinished =
        folders.filter(|folder| folder.join(RUN).exists() && !folder.join("report.json").exists());
    let begun =
        unfinished.filter_map(|folder| Some((read::<Start>(&folder.join(RUN)).ok()?.started_at, folder)));
    let mut begun: Vec<_> = begun.collect();
    begun.sort_unstable_by(|one, other| other.cmp(one));
    begun.into_iter().map(|(_, folder)| folder).collect()
}

fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join(RUN);
    let file = File::open(&path).with_context(|| path.display().to_string())?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Busy(folder.display().to_string()).into()),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// A file of this format; another one is refused by its number.
fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    let name = || path.display().to_string();
    let text = fs::read_to_string(path).with_context(name)?;
    let Head { format } = serde_json::from_str(&text).with_context(name)?;
    if format != FORMAT {
        bail!("{}: it is of format {format}, and this loadtest’s is {FORMAT}; {ANEW}", name());
    }
    serde_json::from_str(&text).with_context(name)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::super::about::tests::about;
    use super::*;
    use crate::report::sample;
    use crate::validity::Bound;

    fn start(order_seed: u64) -> Start {
        let started_at = format!("2026-01-01T00:00:0{order_seed}Z");
        Start { format: FORMAT, started_at, order_seed, about: about() }
    }

    fn part(run: u64, name: &str, kept: bool) -> Part {
        let bound = Bound {
            name: "lag".into(),
            asks: "early enough".into(),
            measured: "late".into(),
            held: kept,
            allowed: false,
            applies: true,
        };
        let mut report = sample::scenario(12, vec![]);
        report.validity.push(bound);
        Part {
            format: FORMAT,
            run,
            name: name.into(),
            seconds: 1.5,
            environment: Environment::default(),
            contenders: vec![],
            trouble: vec![],
            outcome: Outcome::Compared(Box::new(report)),
        }
    }

    fn said<T>(result: anyhow::Result<T>) -> String {
        format!("{:#}", result.map(drop).expect_err("refused"))
    }

    #[test]
    fn a_void_part_is_kept_apart_and_comes_again_after_all_others_and_whenever_the_run_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::begin(folder.path(), start(1)).unwrap();
        assert_eq!(store.missing(), [0, 1]);
        let reasons = store.keep(0, &part(1, "checkout", false)).unwrap();
        assert_eq!(reasons, ["checkout, lag: early enough; it was late."]);
        assert_eq!(store.missing(), [1, 0]);
        assert!(store.keep(1, &part(1, "checkout, Rust against itself", true)).unwrap().is_empty());
        assert_eq!(store.missing(), [0]);
        store.keep(0, &part(1, "checkout", false)).unwrap();
        assert!(store.missing().is_empty(), "it would be played a third time");
        assert_eq!(store.good(), 1, "what is void isn't there");
        drop(store);
        let store = Store::resume(folder.path(), &about()).unwrap();
        assert_eq!(store.missing(), [0], "who goes on with it wants it again");
        store.keep(0, &part(1, "checkout", false)).unwrap();
        assert!(store.missing().is_empty(), "it would be played a second time by one run");
        let kept = store.kept(0).unwrap();
        assert!(kept.good.is_none() && kept.void.len() == 3);
        let mut names: Vec<_> = fs::read_dir(folder.path().join(PARTS)).unwrap().flatten().collect();
        names.sort_by_key(|entry| entry.file_name());
        let names: Vec<_> = names.iter().map(|entry| entry.file_name().into_string().unwrap()).collect();
        assert_eq!(
            names,
            [
                "01-checkout.void-1.json",
                "01-checkout.void-2.json",
                "01-checkout.void-3.json",
                "02-checkout-rust-against-itself.json"
            ]
        );
    }

    #[test]
    fn a_part_that_is_good_when_it_is_played_again_counts_and_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::begin(folder.path(), start(1)).unwrap();
        let good = part(1, "checkout", true);
        store.keep(0, &part(1, "checkout", false)).unwrap();
        store.keep(0, &good).unwrap();
        let kept = store.kept(0).unwrap();
        assert!(kept.good == Some(good) && kept.void.len() == 1);
        assert_eq!(store.missing(), [1]);
    }

    #[test]
    fn a_part_of_another_run_is_named_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::begin(folder.path(), start(1)).unwrap();
        store.keep(0, &part(2, "checkout", true)).unwrap();
        let file = folder.path().join("parts/01-checkout.json");
        let wanted = format!(
            "{}: it is a part of another run: take it away, and “checkout” is played again",
            file.display()
        );
        assert_eq!(said(store.kept(0)), wanted);
    }

    #[test]
    fn a_run_is_resumed_by_one_and_only_with_what_it_was_begun_with() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("run");
        let none = said(Store::resume(&folder, &about()));
        assert!(none.ends_with("no run of `loadtest full` is there"), "{none}");
        let store = Store::begin(&folder, start(1)).unwrap();
        let busy = Store::resume(&folder, &about()).map(drop).expect_err("busy");
        assert!(busy.is::<Busy>(), "{busy}");
        drop(store);
        assert_eq!(Store::resume(&folder, &about()).unwrap().missing(), [0, 1]);
        let other = About { commit: "def".into(), ..about() };
        let wanted = format!(
            "{}: its parts can’t be used: it is of another build: of commit abc, and this is def; {ANEW}",
            folder.display()
        );
        assert_eq!(said(Store::resume(&folder, &other)), wanted);
        assert!(said(Store::begin(&folder, start(2))).contains("a run is in it already"));
    }

    #[test]
    fn the_newest_run_without_a_report_that_fits_is_the_one_to_go_on_with() {
        let out = tempfile::tempdir().unwrap();
        let passed = RefCell::new(Vec::new());
        let found = |now: &About| {
            passed.borrow_mut().clear();
            let say = |text: &str| passed.borrow_mut().push(text.to_owned());
            let store = newest_that_fits(out.path(), now, say).unwrap();
            store.map(|store| store.folder().strip_prefix(out.path()).unwrap().display().to_string())
        };
        assert_eq!(found(&about()), None);
        for (name, begun) in [("c", 1), ("a", 3), ("b", 2)] {
            Store::begin(&out.path().join(name), start(begun)).unwrap();
        }
        fs::create_dir(out.path().join("d")).unwrap();
        assert_eq!(found(&about()).as_deref(), Some("a"));
        assert!(passed.borrow().is_empty());
        let whole = About { options: vec![], ..about() };
        drop(Store::begin(&out.path().join("e"), Start { about: whole.clone(), ..start(1) }).unwrap());
        assert_eq!(found(&whole).as_deref(), Some("e"));
        let wanted = |name: &str| {
            let folder = out.path().join(name).display().to_string();
            format!(
                "passed over: {folder}: its parts can’t be used: it was begun with --smoke, and this is with no options; {ANEW}"
            )
        };
        assert_eq!(*passed.borrow(), ["a", "b"].map(wanted));
        fs::write(out.path().join("a/report.json"), "{}").unwrap();
        assert_eq!(found(&about()).as_deref(), Some("b"));
        let busy = Store::resume(&out.path().join("b"), &about()).unwrap();
        assert!(newest_that_fits(out.path(), &about(), |_| ()).is_err_and(|error| error.is::<Busy>()));
        drop(busy);
    }
}
