//! A page as a real browser shows it, and the figures on it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::Command;

/// A browser that takes so long hangs; two seconds are usual.
const LIMIT: Duration = Duration::from_secs(60);

/// Put at the page's end: tells, in an attribute, what only a browser knows.
const PROBE: &str = r#"<script>
(async () => {
  const look = async () => ({
    drawn: await null, // charts are drawn in a microtask
    paper: getComputedStyle(document.body).backgroundColor,
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    over: [...document.querySelectorAll("body *")].filter((part) => !part.closest(".wide, nav") && part.getBoundingClientRect().right > document.documentElement.clientWidth).map((part) => part.outerHTML.slice(0, 100)),
    cut: [...document.querySelectorAll(".wide")].filter((box) => box.checkVisibility() && box.scrollWidth > box.clientWidth).map((box) => box.innerText),
    // What stays in sight of a table that scrolls, of what there is to see of it.
    held: Math.max(0, ...[...document.querySelectorAll(".wide")].filter((box) => box.checkVisibility() && box.scrollWidth > box.clientWidth).map((box) => box.querySelector("tbody th").getBoundingClientRect().width / box.clientWidth)),
    widest: Math.max(...[...document.querySelectorAll(".plot canvas")].map((canvas) => canvas.getBoundingClientRect().right)),
    canvases: [...document.querySelectorAll(".plot canvas")].map((canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const colours = new Set();
      for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255) colours.add(data.slice(i, i + 3).join());
      return colours.size;
    }),
  });
  const seen = [await look()];
  for (let i = 0; i < 2; i++) { document.getElementById("theme").click(); seen.push(await look()); }
  dispatchEvent(new Event("beforeprint"));
  seen.push({ ...await look(), folded: document.querySelectorAll("details:not([open])").length });
  dispatchEvent(new Event("afterprint"));
  seen.push({ ...await look(), folded: document.querySelectorAll("details:not([open])").length });
  document.body.dataset.seen = JSON.stringify(seen);
})();
</script>"#;

pub fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// The numbers of a text, each with half of a unit of its last digit.
pub fn figures(text: &str) -> Vec<(f64, f64)> {
    let joined = text.replace('\u{202f}', "").replace(';', " ");
    let digits = |part: &&str| part.starts_with(|first: char| first.is_ascii_digit());
    let of = |part: &str| {
        let decimals = part.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        (
            part.parse().unwrap_or_else(|_| panic!("{part:?} in {text:?}")),
            0.5 * 10_f64.powi(-(decimals as i32)),
        )
    };
    joined.split_whitespace().filter(digits).map(of).collect()
}

/// `2 (10 %)` as `2  10 % `.
pub fn unbracketed(text: &str) -> String {
    text.replace(['(', ')'], " ")
}

/// Whether the text says these numbers, as exactly as it writes them.
pub fn near(text: &str, wanted: &[f64]) {
    let found = figures(text);
    assert_eq!(found.len(), wanted.len(), "{text:?}, wanted {wanted:?}");
    for ((found, half), wanted) in found.iter().zip(wanted) {
        assert!((found - wanted).abs() <= half * 1.000_001, "{text:?}, wanted {wanted}");
    }
}

/// Cells of the body of the table of this class, as text.
pub fn rows(dom: &str, class: &str) -> Vec<Vec<String>> {
    let table = dom.split_once(&format!("<table class=\"{class}\">")).expect(class).1;
    let table = table.split_once("</table>").expect("its end").0;
    let body = table.split_once("<tbody>").expect("a body").1;
    let cells = |row: &str| {
        let cells = row.split("<t").filter(|cell| cell.starts_with("d") || cell.starts_with("h "));
        cells.map(|cell| text(&format!("<t{cell}"))).collect()
    };
    body.split("<tr").skip(1).map(cells).collect()
}

/// Without the tags.
pub fn text(html: &str) -> String {
    let parts = html.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text));
    parts
        .collect::<String>()
        .trim()
        .replace("&nbsp;", " ")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}

/// What a browser made of a report's page.
pub struct Shown {
    /// As it stands at the end.
    pub dom: String,
    /// Of its main part, without the tags.
    pub text: String,
    /// What its console said.
    pub console: Vec<String>,
    /// What the probe saw, a look each.
    pub seen: Vec<Value>,
}

pub fn shown(html: &str, options: &[&str]) -> Shown {
    let folder = tempfile::tempdir().expect("a folder");
    let page = write(html, folder.path());
    let (dom, said) = browse(&page, &[options, &["--dump-dom"]].concat());
    let console = said.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect();
    let body = dom.split_once("<main>").and_then(|(_, rest)| rest.split_once("</main>")).expect("a body").0;
    let text = text(body);
    Shown { text, console, seen: seen(&dom, &said), dom }
}

/// The page in a window as wide as a phone.
pub fn fits_a_phone(html: &str, folder: &Path) {
    let page = std::fs::read_to_string(write(html, folder)).expect("written");
    // A window can't be as narrow as a phone; a frame in it can.
    let framed = format!(
        r#"<iframe id="phone" width="390" height="800" srcdoc="{}"></iframe><script>
        onload = () => document.body.dataset.seen = document.getElementById("phone").contentDocument.body.dataset.seen;
        </script>"#,
        page.replace('&', "&amp;").replace('"', "&quot;")
    );
    let path = folder.join("phone.html");
    std::fs::write(&path, framed).expect("written");
    let (dom, said) = browse(&path, &["--dump-dom"]);
    for look in seen(&dom, &said) {
        assert_eq!(look["overflow"], 0, "the page is wider than a phone: {look}");
        assert!(look["held"].as_f64() < Some(0.6), "a table's names hide its figures: {look}");
        assert!(look["widest"].as_u64() <= Some(390), "a chart is wider than a phone: {look}");
    }
}

/// What the probe saw, a look each.
fn seen(dom: &str, said: &str) -> Vec<Value> {
    // Of the frame's text, an attribute too, only the quotes are escaped.
    let told = dom.rsplit_once("data-seen=\"").and_then(|(_, rest)| rest.split_once('"'));
    let told = told.unwrap_or_else(|| panic!("the probe didn't run: {said}")).0.replace("&quot;", "\"");
    serde_json::from_str(&told).expect("JSON")
}

/// The page with the probe.
fn write(html: &str, folder: &Path) -> PathBuf {
    let path = folder.join("report.html");
    std::fs::write(&path, html.replace("</body>", &format!("{PROBE}</body>"))).expect("written");
    path
}

/// What a browser prints, and what it says beside: the console of the page among it.
fn browse(page: &Path, options: &[&str]) -> (String, String) {
    let browser =
        ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| runs(name)).expect(
            "no browser: the page is tested in chromium or google-chrome (Debian: apt-get install chromium)",
        );
    let profile = tempfile::tempdir().expect("a folder");
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
            "--enable-logging=stderr",
            "--window-size=1280,1000",
        ])
        .args(options)
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", page.display()));
    output(&mut command, LIMIT).unwrap_or_else(|error| panic!("the browser doesn't show the page: {error}"))
}

fn runs(name: &str) -> bool {
    output(Command::new(name).arg("--version"), LIMIT).is_ok()
}

/// What a program says; past the limit it is ended, with the processes that it started.
fn output(command: &mut Command, limit: Duration) -> Result<(String, String), String> {
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
        Ok((text(&output.stdout), text(&output.stderr)))
    })
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
