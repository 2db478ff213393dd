//! `loadtest full`, the built program: interrupted, killed, resumed, and put together.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use loadtests::report::Report;

use crate::contenders::tuned_stand_ins;
use crate::interrupt::interrupted_command;

/// Three parts: the scenario, and a control of each service.
fn full(here: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["full", "--smoke", "--only", "tokenize"]).args(more).current_dir(here);
    command
}

fn run(command: &mut Command) -> (Output, String) {
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, said)
}

/// The only folder of a run.
fn folder(here: &Path) -> PathBuf {
    let folders: Vec<_> = fs::read_dir(here.join("loadtests/out")).expect("runs").flatten().collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
    folders[0].path()
}

fn parts(folder: &Path) -> Vec<(String, u64)> {
    let entries = fs::read_dir(folder.join("parts")).expect("parts").flatten();
    let named = |entry: fs::DirEntry| {
        let inode = entry.metadata().expect("a file").ino();
        (entry.file_name().to_string_lossy().into_owned(), inode)
    };
    let mut parts: Vec<_> = entries.map(named).collect();
    parts.sort();
    parts
}

#[test]
fn a_run_that_was_interrupted_and_then_killed_goes_on_with_what_is_missing_alone() {
    let outer = tempfile::tempdir().expect("a folder");
    let here = outer.path();
    // In the second part.
    let is_time = |line: &str| line.contains("against itself: starting two instances");
    let end = interrupted_command(&mut full(here, &[]), "-INT", is_time);
    assert_eq!(end.code, Some(2), "{}", end.stderr);
    end.assert_nothing_stays();
    let folder = folder(here);
    let shown = folder.strip_prefix(here).expect("it is here").display().to_string();
    let on =
        format!("1 of 3 parts are kept; to go on: loadtest full --smoke --only tokenize --resume {shown}\n");
    assert!(end.stderr.ends_with(&format!("loadtest: interrupted; {on}")), "{}", end.stderr);
    assert!(end.stderr.contains("in all, until "), "{}", end.stderr);
    let first = parts(&folder);
    assert_eq!(first.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["01-tokenize.json"]);

    refused(here, &folder);

    // In the third part.
    let is_time = |line: &str| line.contains("Go against itself: starting two instances");
    let end = interrupted_command(&mut full(here, &["--resume", &shown]), "-KILL", is_time);
    assert_eq!(end.code, None, "{}", end.stderr);
    end.assert_nothing_stays();
    assert!(end.stderr.contains(&format!("resuming {shown}: 1 of 3 parts are there\n")), "{}", end.stderr);

    let (output, said) = run(&mut full(here, &[]));
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stdout));
    assert!(said.contains(&format!("resuming {shown}: 2 of 3 parts are there\n")), "{said}");
    let all = parts(&folder);
    assert_eq!((all.len(), &all[0]), (3, &first[0]), "the first part was played again");
    let report = Report::read(&folder.join("report.json")).expect("a report");
    let names: Vec<_> = report.scenarios[0].controls.iter().map(|control| control.name.as_str()).collect();
    assert_eq!((report.scenarios.len(), names), (1, vec!["rust", "go"]));
    assert_eq!(report.contenders.iter().map(|one| one.ready_ms.len()).collect::<Vec<_>>(), [1, 1]);
    let (verified, _) =
        run(Command::new(env!("CARGO_BIN_EXE_loadtest")).arg("verify").arg(&folder).current_dir(here));
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stdout));
}

/// Parts of another commit, or with other options.
fn refused(here: &Path, folder: &Path) {
    let other = here.join("other");
    let copy = Command::new("cp").arg("-r").args([folder, &other]).status().expect("cp runs");
    assert!(copy.success());
    let refusal = |more: &[&str]| {
        let (output, said) = run(&mut full(here, more));
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        said
    };
    let said = refusal(&["--allow-void", "skipped", "--resume", "other"]);
    let wanted = "loadtest: other: its parts can’t be used: it was begun with --smoke --only tokenize, and this is with --smoke --only tokenize --allow-void skipped; go on with";
    assert!(said.starts_with(wanted), "{said}");
    let text = fs::read_to_string(other.join("run.json")).expect("a run");
    let at = text.find("\"commit\": \"").expect("a commit");
    fs::write(other.join("run.json"), format!("{}\"commit\": \"x{}", &text[..at], &text[at + 11..]))
        .expect("written");
    let said = refusal(&["--resume", "other"]);
    assert!(said.contains("it is of another build: of commit x"), "{said}");
}

#[test]
fn tuned_services_have_their_rows_in_the_whole_report() {
    let outer = tempfile::tempdir().expect("a folder");
    let out = outer.path().join("report");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    tuned_stand_ins(&mut command);
    command.args(["full", "--smoke", "--only", "checkout", "--tuned", "--out"]).arg(&out);
    let (output, said) = run(&mut command);
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stdout));
    let report = Report::read(&out.join("report.json")).expect("a report");
    let rows = report.scenarios[0].rows.as_ref().expect("rows");
    let names: Vec<_> = rows.compared.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["tuned", "rust_tuned", "go_tuned"]);
    let given: Vec<_> = rows.given.iter().map(|one| one.row.as_str()).collect();
    assert_eq!(given, ["defaults", "defaults", "tuned", "tuned"]);
    // Parts of another tuned build aren't mixed with these.
    let begun = fs::read_to_string(out.join("run.json")).expect("a run");
    assert!(
        ["the tuned Rust service", "the tuned Go service"].iter().all(|name| begun.contains(name)),
        "{begun}"
    );
    let verify = || {
        let (verified, _) = run(Command::new(env!("CARGO_BIN_EXE_loadtest")).arg("verify").arg(&out));
        (verified.status.code(), String::from_utf8_lossy(&verified.stdout).into_owned())
    };
    let (code, said) = verify();
    assert_eq!(code, Some(0), "{said}");
    // Its traces are beside it, and nobody has to believe what it says of them.
    let traces = &report.scenarios[0].traced.as_ref().expect("traces").traces;
    assert!(traces.operations.iter().all(|operation| operation.differences.is_empty()), "{traces:?}");
    let files = traces.sides.each_ref().map(|side| out.join(side.files.concat()));
    fs::copy(&files[0], &files[1]).expect("copied");
    let (code, said) = verify();
    assert!(code == Some(1) && said.contains("the traces don't say what the report says"), "{said}");
    fs::remove_file(&files[0]).expect("it was there");
    let (code, said) = verify();
    assert!(code == Some(1) && said.contains("isn't there: nobody can say"), "{said}");
}

#[test]
fn scenarios_of_one_service_are_put_beside_and_verified() {
    let outer = tempfile::tempdir().expect("a folder");
    let out = outer.path().join("report");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["full", "--smoke", "--only", "spike", "--out"]).arg(&out);
    let (output, said) = run(&mut command);
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stdout));
    let report = Report::read(&out.join("report.json")).expect("a report");
    let played: Vec<_> =
        report.alone.iter().map(|run| (run.scenario.name.as_str(), run.service.label.as_str())).collect();
    assert_eq!(played, [("spike", "Rust"), ("spike", "Go")]);
    let page = fs::read_to_string(out.join("report.html")).expect("a page");
    assert!(page.contains("spike: Go alone"));
    let (verified, _) = run(Command::new(env!("CARGO_BIN_EXE_loadtest")).arg("verify").arg(&out));
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stdout));
}
