//! What a shell has around the program: its variables, its pipes, its builds.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::bench::*;

#[test]
fn a_shells_settings_of_one_runtime_stay_out_and_where_traces_go_gets_in() {
    let mut bench = Bench::new();
    bench.set("GOMAXPROCS", "1");
    bench.set("RUST_LOG", "trace");
    bench.set("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
    assert!(bench.run(&["up"]).status.success());
    let [_, acquirer, rust, go] = bench.pids();
    let data = stack::folders::data_folder_of(bench.folder.path()).expect("a folder");
    let bytes = fs::read(format!("/proc/{acquirer}/environ")).expect("runs");
    let wanted = format!("ACQUIRER_LOG={}/acquirer.operations\0", data.display());
    assert!(
        String::from_utf8_lossy(&bytes).contains(&wanted),
        "the card network's log is with the databases"
    );
    for pid in [rust, go] {
        let bytes = fs::read(format!("/proc/{pid}/environ")).expect("runs");
        let environment = String::from_utf8_lossy(&bytes).into_owned();
        assert!(!environment.contains("GOMAXPROCS") && !environment.contains("RUST_LOG"), "{environment}");
        assert!(environment.contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{environment}");
    }
}

#[test]
fn a_shells_settings_stay_out_of_what_makes_and_migrates_the_databases() {
    let finder = Bench::new();
    assert!(finder.run(&["up"]).status.success());
    let postgres = fs::read_link(format!("/proc/{}/exe", finder.pids()[0])).expect("runs");
    let real = postgres.parent().expect("a folder").display();

    let mut bench = Bench::new();
    let dump = "env > \"$0.env\"";
    bench.script("initdb", &format!("{dump}; exec {real}/initdb \"$@\""));
    bench.script("postgres", &format!("exec {real}/postgres \"$@\""));
    let stand_in = stand_in();
    let lines = format!("[ \"$1\" = migrate ] && {dump}\nexec {} \"$@\"", stand_in.display());
    let rust = bench.script("rust", &lines);
    bench.set("TWINPAY_BIN_RUST", &rust);
    bench.set("TWINPAY_POSTGRES_BIN", &bench.folder.path().join("bin").display().to_string());
    let shell = ["PGTZ", "GOMAXPROCS", "RUST_LOG", "OTEL_TRACES_SAMPLER", "TWINPAY_LOG_LEVEL"];
    for name in shell {
        bench.set(name, "of-the-shell");
    }
    let output = bench.run(&["up"]);
    assert!(output.status.success(), "{}", text(&output));
    for program in ["initdb", "rust"] {
        let file = bench.folder.path().join(format!("bin/{program}.env"));
        let environment = fs::read_to_string(file).expect(program);
        assert!(environment.contains("PATH="), "{program}");
        let inherited: Vec<&str> =
            environment.lines().filter(|line| line.ends_with("=of-the-shell")).collect();
        assert_eq!(inherited, Vec::<&str>::new(), "{program}");
    }
}

#[test]
fn a_closed_pipe_stops_nothing_that_was_begun() {
    let mut bench = Bench::new();
    let closed = || {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        Stdio::from(writer)
    };
    let unread = |bench: &Bench, word| {
        bench.command(&[word]).stdout(closed()).stderr(closed()).status().expect("runs").code()
    };
    for word in ["status", "down"] {
        assert_eq!(unread(&bench, word), Some(i32::from(word == "status")), "{word} where nothing runs");
    }
    assert_eq!(unread(&bench, "up"), Some(0));
    assert!(bench.run(&["status", "--quiet"]).status.success(), "everything is up");
    for word in ["up", "status", "down"] {
        assert_eq!(unread(&bench, word), Some(0), "{word}");
    }
    assert_eq!(bench.free_ports(), PORTS.len());
    bench.set("TWINPAY_GO_HTTP_PORT", "x");
    assert_eq!(unread(&bench, "up"), Some(2), "an error keeps its exit code");
}

#[test]
fn programs_that_are_older_than_the_built_ones_are_named_until_they_are_renewed() {
    let mut bench = Bench::new();
    let (program, built) = (bench.folder.path().join("payments"), bench.folder.path().join("built"));
    let build = |to: &Path| {
        assert!(Command::new("cp").arg(stand_in()).arg(to).status().expect("runs").success());
    };
    build(&program);
    bench.set("TWINPAY_BIN_GO", &program.display().to_string());
    let older = "older than the built programs: go; `make down && make up` renews them\n";
    assert!(!text(&bench.run(&["up"])).contains("older"));
    assert!(!text(&bench.run(&["up"])).contains("older"));
    let pids = bench.pids();

    build(&built);
    fs::rename(&built, &program).expect("a new build");
    for word in ["up", "status"] {
        let output = bench.run(&[word]);
        assert!(output.status.success() && text(&output).contains(older), "{}", text(&output));
    }
    assert_eq!(bench.pids(), pids, "they run on");

    assert!(bench.run(&["down"]).status.success());
    assert!(!text(&bench.run(&["up"])).contains("older"));
}
