//! Two services that run already: found by their base URLs, left as they are.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use http::Uri;

use super::listener;
use crate::compare::{Contender, Support};
use crate::engine::Addresses;
use crate::environment::{cores, cores_of};
use crate::payments::Layout;
use crate::procstat::parent;
use crate::validity::name;
use crate::workload::{PlayerTarget, Sampled};

/// A service that runs takes a connection at once.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// What the two are called in report.json and in asserts.
pub const NAMES: [&str; 2] = ["a", "b"];
/// Labels stand in table heads.
const LABEL_MAX: usize = 24;

/// Which two services, where it isn't the judge that starts them.
#[derive(Debug, Clone, Default, Args)]
pub struct GivenArgs {
    /// Base URL of the first of two services that run already, such as http://127.0.0.1:8001; needs a scenario whose
    /// workload is `plain` (`plain-example` shows how). They are neither started nor pinned nor stopped, and
    /// have to be ready. Their processes are found by the ports they listen on; where one can't be, CPU and memory are
    /// left out, and the report says so
    #[arg(long, value_name = "URL", requires = "b", conflicts_with_all = ["pair", "control", "traced", "tuned", "solo", "limits"])]
    pub a: Option<String>,
    /// Base URL of the second
    #[arg(long, value_name = "URL", requires = "a")]
    pub b: Option<String>,
    /// What reports call the first
    #[arg(long, value_name = "NAME", requires = "a", default_value = "A")]
    pub label_a: String,
    /// What reports call the second
    #[arg(long, value_name = "NAME", requires = "a", default_value = "B")]
    pub label_b: String,
    /// The first's process, where its port doesn't tell (several processes listen, or another user's)
    #[arg(long, value_name = "PID", requires = "a")]
    pub pid_a: Option<u32>,
    /// The second's process
    #[arg(long, value_name = "PID", requires = "a")]
    pub pid_b: Option<u32>,
    /// A process that the two need, such as their database: its CPU, and its children's, isn't that of others. May be
    /// given again; not a service, nor what has started one
    #[arg(long, value_name = "PID", requires = "a")]
    pub around: Vec<u32>,
}

/// One of the two.
struct Side {
    label: String,
    url: String,
    authority: String,
    address: SocketAddr,
    /// Its process, or why it isn't known.
    pid: Result<u32, String>,
}

/// Both, and where everything runs.
pub struct Given {
    sides: [Side; 2],
    support: Vec<Support>,
    /// The services' cores are those that they may use.
    layout: Layout,
}

impl GivenArgs {
    /// Whether there are any.
    pub fn are_there(&self) -> bool {
        self.a.is_some()
    }

    /// Meets both services: fails where one doesn't take a connection, or both are the same.
    pub fn meet(&self) -> anyhow::Result<Option<Given>> {
        let (Some(a), Some(b)) = (&self.a, &self.b) else { return Ok(None) };
        check_labels(&self.label_a, &self.label_b)?;
        let sides =
            [Side::meet("a", a, &self.label_a, self.pid_a)?, Side::meet("b", b, &self.label_b, self.pid_b)?];
        if sides[0].address == sides[1].address {
            bail!("--a and --b are the same service, at {}: two have to run", sides[0].address);
        }
        if let (Ok(a), Ok(b)) = (&sides[0].pid, &sides[1].pid)
            && a == b
        {
            bail!("--a and --b are the same process, {a}: two have to run (--pid-a and --pid-b name them)");
        }
        let support = support(&self.around, &sides)?;
        let layout = layout(&sides, &cores()?)?;
        Ok(Some(Given { sides, support, layout }))
    }
}

fn check_labels(a: &str, b: &str) -> anyhow::Result<()> {
    for (option, label) in [("--label-a", a), ("--label-b", b)] {
        if label.trim().is_empty() || label.chars().count() > LABEL_MAX {
            bail!("{option}: must have 1 to {LABEL_MAX} characters");
        }
    }
    if a == b {
        bail!("--label-a, --label-b: both are `{a}`, and nobody could tell them apart");
    }
    Ok(())
}

fn around(pid: u32) -> anyhow::Result<Support> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
    let name = name.with_context(|| format!("--around {pid}: no such process"))?;
    Ok(Support { name: format!("{} ({pid})", name.trim()), pid })
}

/// Each process whose CPU is expected, once: a child counts with its parent.
fn support(pids: &[u32], sides: &[Side; 2]) -> anyhow::Result<Vec<Support>> {
    let [a, b] = sides.each_ref().map(|side| side.pid.clone().ok());
    let counted =
        [("the service of --a", a), ("the service of --b", b), ("loadtest", Some(std::process::id()))];
    let mut support: Vec<Support> = Vec::new();
    for pid in pids {
        let one = around(*pid)?;
        for (who, its) in counted.iter().filter_map(|(who, its)| Some((who, (*its)?))) {
            let twice = if its == *pid {
                format!("is {who}")
            } else if parent(its) == Some(*pid) {
                format!("has {who} as its child")
            } else {
                continue;
            };
            bail!(
                "--around {pid}: {twice}, whose CPU counts already: name only what the two need beside them"
            );
        }
        let known = support.iter().any(|known| known.pid == *pid);
        if !known && !parent(*pid).is_some_and(|parent| pids.contains(&parent)) {
            support.push(one);
        }
    }
    Ok(support)
}

/// The generator keeps away from the services where they leave it a core.
fn layout(sides: &[Side; 2], mine: &[usize]) -> anyhow::Result<Layout> {
    let mut service = Vec::new();
    for side in sides {
        service.extend(match side.pid {
            Ok(pid) => cores_of(pid)?,
            Err(_) => mine.to_vec(),
        });
    }
    service.sort_unstable();
    service.dedup();
    let free = mine.iter().find(|core| !service.contains(core));
    let generator: Vec<_> = free.or(mine.first()).copied().into_iter().collect();
    Ok(Layout { service, support: generator.clone(), generator })
}

impl Side {
    fn meet(option: &str, url: &str, label: &str, pid: Option<u32>) -> anyhow::Result<Self> {
        let authority = authority(url).with_context(|| format!("--{option} {url}"))?;
        let address = connect(&authority).with_context(|| {
            format!(
                "--{option} {url}: it takes no connection; has it been started, and does it listen there?"
            )
        })?;
        let pid = match pid {
            Some(pid) => {
                let there = Path::new("/proc").join(pid.to_string()).exists();
                if !there {
                    bail!("--pid-{option} {pid}: no such process");
                }
                Ok(pid)
            }
            None => listener::pid(address),
        };
        Ok(Self { label: label.into(), url: url.into(), authority, address, pid })
    }

    fn line(&self) -> (String, String) {
        let left = "isn’t started, pinned or stopped by loadtest";
        let told = match &self.pid {
            Ok(pid) => match cores_of(*pid) {
                Ok(cores) => format!("process {pid}, which may use core {}", list(&cores)),
                Err(error) => format!("process {pid} ({error})"),
            },
            Err(why) => format!(
                "its process isn’t known: {why}; CPU and memory of both are left out (--pid-a and --pid-b name the processes)"
            ),
        };
        (self.label.clone(), format!("{}, {told}; it {left}", self.url))
    }
}

fn list(cores: &[usize]) -> String {
    cores.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

/// `host:port` of a base URL.
fn authority(url: &str) -> anyhow::Result<String> {
    let parsed: Uri = url.parse().context("is no URL")?;
    match parsed.scheme_str() {
        Some("http") => {}
        Some("https") => bail!("https isn’t spoken: name a port that takes plain http"),
        _ => bail!("a base URL begins with http://"),
    }
    if parsed.path() != "/" || parsed.query().is_some() {
        bail!("a base URL has no path: what follows the port stands in the scenario");
    }
    let host = parsed.host().context("there is no host in it")?;
    Ok(format!("{host}:{}", parsed.port_u16().unwrap_or(80)))
}

/// The address that takes a connection.
fn connect(authority: &str) -> anyhow::Result<SocketAddr> {
    let mut refused = None;
    for address in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
            Ok(_) => return Ok(address),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.map_or_else(|| anyhow::anyhow!("its host has no address"), anyhow::Error::from))
}

impl Given {
    /// As sentences call them.
    pub fn labels(&self) -> [String; 2] {
        self.sides.each_ref().map(|side| side.label.clone())
    }

    /// As what plays a trace takes them.
    pub fn contenders(&self) -> [Contender; 2] {
        let contender = |index: usize| {
            let side = &self.sides[index];
            let addresses = Addresses { http: side.address, grpc: None };
            Contender {
                name: NAMES[index].into(),
                pid: side.pid.clone().ok(),
                target: PlayerTarget { addresses, credentials: Vec::new(), sampled: Sampled::default() },
            }
        };
        [contender(0), contender(1)]
    }

    /// Those whose CPU is expected.
    pub fn support(&self) -> Vec<Support> {
        self.support.clone()
    }

    /// Cores, as they came out.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// For the report.
    pub fn lines(&self) -> Vec<(String, String)> {
        let generator = &self.layout.generator;
        let mut lines: Vec<_> = self.sides.iter().map(Side::line).collect();
        lines.push(("Load generator".into(), format!("core {}", list(generator))));
        let around: Vec<_> = self.support.iter().map(|support| support.name.clone()).collect();
        if !around.is_empty() {
            lines.push(("Around them".into(), around.join(", ")));
        }
        if generator.iter().any(|core| self.layout.service.contains(core)) {
            let warning = "the services may use the generator’s core, and the figures show that: pin both to one of the others (taskset)";
            lines.push(("Warning".into(), warning.into()));
        }
        lines
    }

    /// Bounds that can't be looked at, and why.
    pub fn inapplicable(&self) -> Vec<(String, String)> {
        let because = |bound: &str, why: &str| (bound.to_owned(), why.to_owned());
        let mut all = vec![
            because(name::INVARIANTS, "loadtest doesn’t know what these services keep"),
            because(name::SUPPORT, "loadtest starts nothing around these services"),
        ];
        if self.sides.iter().any(|side| side.pid.is_err()) {
            all.push(because(name::OTHERS, "a service’s own CPU can’t be told from that of others"));
        }
        all
    }

    /// Who takes no connection any more, in a sentence.
    pub fn obituary(&self) -> Option<String> {
        let gone = self.sides.iter().find_map(|side| Some((side, connect(&side.authority).err()?)))?;
        let (Side { label, url, .. }, error) = gone;
        Some(format!("{label} ({url}) takes no connection any more: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::process::{Command, Stdio};

    use super::*;

    fn listener() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        (listener, url)
    }

    fn args(a: &str, b: &str) -> GivenArgs {
        let text = |text: &str| Some(text.to_owned());
        let (label_a, label_b) = ("A".into(), "B".into());
        GivenArgs { a: text(a), b: text(b), label_a, label_b, ..GivenArgs::default() }
    }

    fn refusal(args: &GivenArgs) -> String {
        let error = args.meet().map(drop).expect_err("refused");
        format!("{error:#}")
    }

    #[test]
    fn what_is_no_base_url_is_refused_by_its_option() {
        let (_one, good) = listener();
        let cases = [
            ("127.0.0.1:80", "a base URL begins with http://"),
            ("https://127.0.0.1", "https isn’t spoken"),
            ("ftp://127.0.0.1", "a base URL begins with http://"),
            ("http://127.0.0.1/v1", "a base URL has no path"),
            ("http://127.0.0.1/?x=1", "a base URL has no path"),
            ("http://", "is no URL"),
        ];
        for (url, wanted) in cases {
            let said = refusal(&args(&good, url));
            assert!(said.starts_with(&format!("--b {url}: ")) && said.contains(wanted), "{said}");
        }
    }

    #[test]
    fn a_service_that_is_not_there_is_named() {
        let (_one, good) = listener();
        let nobody = listener().1;
        let said = refusal(&args(&nobody, &good));
        assert!(
            said.starts_with(&format!("--a {nobody}: it takes no connection; has it been started")),
            "{said}"
        );
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        let ((_one, a), (_other, b)) = (listener(), listener());
        // Above every number that Linux gives.
        let nobody = (1 << 22) + 1;
        let said = refusal(&GivenArgs { pid_b: Some(nobody), ..args(&a, &b) });
        assert_eq!(said, format!("--pid-b {nobody}: no such process"));
        let said = refusal(&GivenArgs { around: vec![nobody], pid_a: Some(1), ..args(&a, &b) });
        assert!(said.starts_with(&format!("--around {nobody}: no such process")), "{said}");
    }

    #[test]
    fn a_service_is_not_compared_with_itself() {
        let ((_one, a), (_other, b)) = (listener(), listener());
        assert!(refusal(&args(&a, &a)).starts_with("--a and --b are the same service, at 127.0.0.1:"));
        // Two ports of this process.
        let wanted = format!("--a and --b are the same process, {}", std::process::id());
        assert!(refusal(&args(&a, &b)).starts_with(&wanted));
    }

    #[test]
    fn labels_tell_the_two_apart() {
        let ((_one, a), (_other, b)) = (listener(), listener());
        let labelled =
            |one: &str, other: &str| GivenArgs { label_a: one.into(), label_b: other.into(), ..args(&a, &b) };
        assert!(refusal(&labelled("X", "X")).starts_with("--label-a, --label-b: both are `X`"));
        assert!(refusal(&labelled(" ", "X")).starts_with("--label-a: must have 1 to 24"));
        assert!(refusal(&labelled("X", &"y".repeat(25))).starts_with("--label-b: must have 1 to 24"));
    }

    fn side(label: &str, pid: Result<u32, String>) -> Side {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let (url, authority) = ("http://127.0.0.1:1".to_owned(), "127.0.0.1:1".to_owned());
        Side { label: label.into(), url, authority, address, pid }
    }

    #[test]
    fn no_process_counts_twice() {
        // A parent and its child.
        let mut shell = Command::new("sh").args(["-c", "cat; exit"]).stdin(Stdio::piped()).spawn().unwrap();
        let child = loop {
            let mut pids = std::fs::read_dir("/proc").unwrap().flatten();
            let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse().ok();
            if let Some(pid) =
                pids.find_map(|entry| number(entry).filter(|pid| parent(*pid) == Some(shell.id())))
            {
                break pid;
            }
        };
        let (me, sides) = (std::process::id(), |a| [side("X", Ok(a)), side("Y", Err(String::new()))]);
        let pids = |around: &[u32]| {
            let found = support(around, &sides(1)).unwrap();
            found.into_iter().map(|one| one.pid).collect::<Vec<_>>()
        };
        assert_eq!(pids(&[shell.id(), child, shell.id()]), [shell.id()]);
        assert_eq!(pids(&[child, child]), [child]);
        let refusal = |pid: u32, a: u32| support(&[pid], &sides(a)).map(drop).unwrap_err().to_string();
        let said = |pid: u32, who: &str| {
            format!(
                "--around {pid}: {who}, whose CPU counts already: name only what the two need beside them"
            )
        };
        assert_eq!(refusal(child, child), said(child, "is the service of --a"));
        assert_eq!(refusal(shell.id(), child), said(shell.id(), "has the service of --a as its child"));
        assert_eq!(refusal(me, 1), said(me, "is loadtest"));
        drop(shell.stdin.take());
        assert!(shell.wait().unwrap().success());
    }

    #[test]
    fn the_layout_says_who_is_left_alone_and_where_each_may_run() {
        let me = std::process::id();
        let unknown = || Err("2 processes listen on port 1".to_owned());
        let sides = [side("X", Ok(me)), side("Y", unknown())];
        let layout = layout(&sides, &cores().unwrap()).unwrap();
        let given = Given { sides, support: vec![], layout };
        let lines = given.lines();
        let cores = list(&cores().unwrap());
        let wanted = format!(
            "http://127.0.0.1:1, process {me}, which may use core {cores}; it isn’t started, pinned or stopped by loadtest"
        );
        assert_eq!(lines[0], ("X".to_owned(), wanted));
        assert!(lines[1].1.contains(
            "its process isn’t known: 2 processes listen on port 1; CPU and memory of both are left out"
        ));
        // Both may use every core.
        assert_eq!(lines.last().unwrap().0, "Warning");
        let names: Vec<_> = given.inapplicable().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, [name::INVARIANTS, name::SUPPORT, name::OTHERS]);
    }

    #[test]
    fn the_generator_takes_a_core_that_the_services_leave() {
        let me = || side("X", Ok(std::process::id()));
        let mine = cores().unwrap();
        let more: Vec<_> = mine.iter().copied().chain([1000]).collect();
        assert_eq!(layout(&[me(), me()], &more).unwrap().generator, [1000]);
        assert_eq!(layout(&[me(), me()], &mine).unwrap().generator, mine[..1]);
    }
}
