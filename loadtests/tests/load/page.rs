//! The page in a real browser.

use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;

use loadtests::report::page;

use crate::compare::report;

/// A browser that takes so long hangs; two seconds are usual.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn the_page_needs_nothing_from_outside_and_escapes_what_it_shows() {
    let mut report = report(2);
    report.void = vec!["a <b>reason</b>".into()];
    let page = page(&report).expect("a page");
    for outside in ["src=\"http", "href=\"http", "url(http", "@import", "fetch("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("a &lt;b&gt;reason") && !page.contains("<b>reason"));
    assert_eq!(page.matches("</script>").count(), 4, "something looks like the end of a script");
}

#[test]
fn the_page_draws_its_curves_in_a_browser() {
    let browser =
        ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| runs(name)).expect(
            "no browser: the page is tested in chromium or google-chrome (Debian: apt-get install chromium)",
        );
    let folder = tempfile::tempdir().expect("a folder");
    report(4).write(folder.path()).expect("written");
    let dom = dom(browser, folder.path());
    // The script sets this when it has drawn: one percentile plot and three by slice.
    assert!(dom.contains("data-drawn=\"4\""), "the script didn't draw:\n{}", &dom[..dom.len().min(600)]);
    assert_eq!(dom.matches("<canvas").count(), 4);
    assert!(dom.contains("p50 latency"));
}

#[test]
fn a_browser_that_hangs_is_ended_and_named() {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = Command::new("sh");
    command.args(["-c", "( sleep 30; echo outlived >&0 ); :"]).stdin(writer);
    let said = output(&mut command, Duration::from_secs(1)).expect_err("it hangs");
    assert!(said.starts_with("`sh` (process ") && said.ends_with("didn't end within 1 s"), "{said}");
    // Those that it started hold the pipe's other end until they have ended too.
    drop(command);
    let mut left = String::new();
    reader.read_to_string(&mut left).expect("read");
    assert_eq!(left, "");
}

fn runs(name: &str) -> bool {
    output(Command::new(name).arg("--version"), LIMIT).is_ok()
}

/// What a program says; past the limit it is ended, with the processes that it started.
fn output(command: &mut Command, limit: Duration) -> Result<String, String> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        // A group of its own, named by its first process: what it starts may outlive it and hold the pipes.
        let spawned = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let child = spawned.map_err(|error| format!("`{name}`: {error}"))?;
        let pid = child.id().expect("it was just started");
        let Ok(output) = tokio::time::timeout(limit, child.wait_with_output()).await else {
            killpg(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).expect("its group can be ended");
            return Err(format!("`{name}` (process {pid}) didn't end within {} s", limit.as_secs()));
        };
        let output = output.map_err(|error| format!("`{name}`: {error}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if !output.status.success() {
            return Err(format!("`{name}`: {}: {}", output.status, text(&output.stderr)));
        }
        Ok(text(&output.stdout))
    })
}

fn dom(browser: &str, folder: &Path) -> String {
    let mut command = Command::new(browser);
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("file://{}", folder.join("report.html").display()));
    output(&mut command, LIMIT).unwrap_or_else(|error| panic!("the browser doesn't show the page: {error}"))
}
