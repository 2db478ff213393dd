//! The page in a real browser.

use std::path::Path;
use std::process::Command;

use loadtests::report::page;

use crate::compare::report;

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

fn runs(name: &str) -> bool {
    Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success())
}

fn dom(browser: &str, folder: &Path) -> String {
    let output = Command::new(browser)
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
        .arg(format!("file://{}", folder.join("report.html").display()))
        .output()
        .expect("the browser runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
