//! What cannot run ends with exit code 2 and one line that names what is wrong.

use std::process::{Command, Output};

fn loadtest(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.env("TWINPAY_BIN_GO", "/nowhere/payments").env("TWINPAY_BIN_GO_TUNED", "/nowhere/tuned");
    command.env("TWINPAY_BIN_RUST_TUNED", env!("CARGO_BIN_EXE_loadtest"));
    command.args(arguments).output().expect("it runs")
}

fn refusal(arguments: &[&str]) -> String {
    let output = loadtest(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    said.lines().last().unwrap_or_default().to_owned()
}

/// Those that take a scenario and what is put in place of its values.
const COMMANDS: [&[&str]; 3] = [&["trace"], &["compare"], &["run", "--service", "rust"]];

#[test]
fn a_wrong_scenario_is_said_in_one_line_before_anything_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("wrong.toml");
    let good = include_str!("../../scenarios/checkout.toml");
    let path = file.to_str().expect("a path");
    let set = |settings: &str| good.replacen("\n\n", &format!("\nsettings = {{ {settings} }}\n\n"), 1);
    let cases = [
        (good.replace("drain_ms", "drian_ms"), "drian_ms: unknown field `drian_ms`"),
        (good.replace("rate = 50.0", "rate = 0.0"), "warm_up.rate: must be over 0 and at most 100000, is 0"),
        (
            good.replace("rate = 50.0", "rate = 1e9"),
            "warm_up.rate: must be over 0 and at most 100000, is 1000000000",
        ),
        (
            good.replace("rate = 50.0", "rate = -1.0"),
            "warm_up.rate: must be over 0 and at most 100000, is -1",
        ),
        (good.replace("seconds = 36.0", "seconds = 0.0"), "stages[0].seconds: must be 0.001 to 86400, is 0"),
        (good.replace("share = 55", "share = 0"), "flows[0].share: must be 1 to 1000000, is 0"),
        (good.replace("[\"tokenize\", \"sale\", \"get\"]", "[]"), "flows[0].steps: must be 1 to 32, is 0"),
        (
            good.replace("\"capture\"", "\"chargeback\""),
            "flows[1].steps[2]: unknown operation `chargeback`, expected one of tokenize",
        ),
        (
            good.replace("workload = \"payments\"", "workload = \"parcels\""),
            "unknown workload `parcels`, expected payments or plain",
        ),
        (
            set("card_network_latency = \"fixed:fast\""),
            "settings.card_network_latency: must be like fixed:2ms or lognormal:p50=20ms,p99=200ms, from 0 to 30s, p99 above p50, is fixed:fast",
        ),
        (
            set("TWINPAY_HASH_QEUE = \"1\""),
            "settings.TWINPAY_HASH_QEUE: no service reads it: proto/config.toml lists what they read",
        ),
        (set("TWINPAY_HASH_QUEUE = \"many\""), "settings.TWINPAY_HASH_QUEUE: must be 0 to 65536, is many"),
        (
            set("latency = \"1\""),
            "settings.latency: unknown setting, expected card_network_latency or TWINPAY_…",
        ),
    ];
    for (text, wanted) in cases {
        std::fs::write(&file, &text).expect("written");
        for command in COMMANDS {
            let said = refusal(&[command, &["--scenario", path]].concat());
            // The first line that isn't the good one's is the wrong one.
            let same = text.lines().zip(good.lines()).take_while(|(wrong, good)| wrong == good).count();
            let begin = format!("loadtest: {path}: line {}: ", same + 1);
            assert!(
                said.starts_with(&begin) && said.contains(wanted),
                "wanted {begin:?} and {wanted:?}, got {said:?}"
            );
        }
    }
    assert!(refusal(&["trace", "--scenario", "nonsense"]).contains("nonsense.toml: file: can't be read"));
}

#[test]
fn scenarios_that_cannot_be_told_apart_are_refused_before_anything_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    let written = |name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, include_str!("../../scenarios/checkout.toml")).expect("written");
        path.to_str().expect("a path").to_owned()
    };
    let (same, alike) = (written("checkout.toml"), written("my-own.toml"));
    let twice = |first: &str, second: &str, name: &str| {
        for command in ["compare", "solo"] {
            let said = refusal(&[command, "--scenario", first, "--scenario", second]);
            let wanted = format!(
                "loadtest: --scenario: two scenarios are called {name}: name each once, or rename a file"
            );
            assert_eq!(said, wanted);
        }
    };
    twice("checkout", "checkout", "checkout");
    twice("checkout", &same, "checkout");
    twice(&alike, &written("my_own.toml"), "my_own");
    let capital = written("Mine.toml");
    let said = refusal(&["compare", "--scenario", &capital]);
    assert!(
        said.starts_with(&format!("loadtest: {capital}: file: a scenario has its file’s name, ")),
        "{said}"
    );
}

#[test]
fn a_trace_that_was_written_down_is_not_played_with_every_request_traced() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a path");
    assert!(loadtest(&["trace", "--out", path]).status.success());
    let said = refusal(&["compare", "--traced", "--trace", path]);
    assert!(said.starts_with("loadtest: --traced: is played at half the rate and in part"), "{said}");
}

#[test]
fn a_wrong_option_is_blamed_itself_before_anything_starts() {
    let cases = [
        (vec!["--rate", "0"], "--rate: must be over 0 and at most 100000, is 0"),
        (vec!["--pairs", "1"], "--pairs: must be 2 to 10000, is 1"),
        (vec!["--slice", "1"], "--slice: must be 50 to 60000, is 1"),
        (vec!["--warm-up", "0"], "--warm-up: must be 0.001 to 86400, is 0"),
        (vec!["--rate", "90000", "--pairs", "10000"], "--rate, --pairs: make more than"),
    ];
    for (options, wanted) in cases {
        for command in COMMANDS {
            let said = refusal(&[command, options.as_slice()].concat());
            assert!(said.starts_with(&format!("loadtest: {wanted}")), "wanted {wanted:?}, got {said:?}");
        }
    }
}

#[test]
fn efforts_out_of_bounds_are_refused() {
    let said = refusal(&["limits", "--seconds", "0"]);
    assert_eq!(said, "loadtest: --seconds: must be 0.1 to 600, is 0");
    assert_eq!(refusal(&["calibrate", "--pairs", "9"]), "loadtest: --pairs: must be 10 to 10000, is 9");
    assert!(refusal(&["calibrate", "--slice", "10"]).contains("--slice: must be 50 to 60000, is 10"));
    assert!(refusal(&["limits", "--repetitions", "0"]).contains("--repetitions: must be 1 to 1000"));
}

#[test]
fn what_is_for_one_service_at_a_time_is_not_interleaved() {
    for name in ["overload", "spike", "soak"] {
        let wanted = format!(
            "loadtest: {name}: is for one service at a time: loadtest run --service rust --scenario {name}, and again with go"
        );
        assert_eq!(refusal(&["compare", "--smoke", "--scenario", name]), wanted);
    }
    let said = refusal(&["run", "--service", "rust", "--scenario", "overload", "--capacity", "0"]);
    assert_eq!(said, "loadtest: --capacity: must be over 0 and at most 100000, is 0");
    assert_eq!(refusal(&["solo", "--blocks", "0"]), "loadtest: --blocks: must be 1 to 100, is 0");
}

#[test]
fn a_folder_that_takes_no_report_is_said_before_anything_starts() {
    let said = refusal(&["compare", "--smoke", "--out", "/dev/null/report"]);
    let wanted = "loadtest: no report can be written to /dev/null/report, name another folder by --out: ";
    assert!(said.starts_with(wanted), "{said}");
}

#[test]
fn a_missing_program_is_named_with_what_builds_it() {
    let said = refusal(&["compare", "--smoke"]);
    assert!(said.contains("is missing: build it with `"), "{said}");
}

#[test]
fn a_pair_that_is_none_is_refused_with_those_that_are() {
    let output = loadtest(&["compare", "--pair", "rust,java"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let wanted =
        "invalid value 'rust,java' for '--pair <A,B>': two of rust and go, such as `rust,go` or `rust,rust`";
    assert!(said.contains(wanted), "{said}");
}

#[test]
fn an_assert_that_cannot_be_looked_at_is_refused_before_anything_starts() {
    let said = refusal(&["compare", "--smoke", "--assert", "errors==0", "--assert", "p98_ratio<1"]);
    let wanted = "loadtest: --assert 'p98_ratio<1': unknown figure `p98_ratio`; known are p50, p90,";
    assert!(said.starts_with(wanted), "{said}");
    let said = refusal(&["compare", "--smoke", "--junit", "/dev/null/junit.xml"]);
    assert!(said.starts_with("loadtest: /dev/null/junit.xml can't be written: "), "{said}");
}

#[test]
fn a_bound_about_right_and_wrong_may_not_be_missed() {
    let said = refusal(&["compare", "--allow-void", "lag,counts"]);
    assert!(said.contains("`counts` is no bound that may be missed"), "{said}");
}

#[test]
fn json_that_cannot_be_written_is_said_before_anything_is_measured() {
    for command in ["limits", "solo", "calibrate"] {
        let said = refusal(&[command, "--json", "/nowhere/figures.json"]);
        assert!(said.starts_with("loadtest: /nowhere/figures.json can't be written: "), "{said}");
    }
}

#[test]
fn a_trace_goes_with_no_rates_that_are_multiples_of_the_capacity() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a path");
    assert!(loadtest(&["trace", "--scenario", "overload", "--out", path]).status.success());
    let said = refusal(&["run", "--service", "rust", "--scenario", "overload", "--trace", path]);
    assert!(said.starts_with("loadtest: --trace: overload’s rates are multiples of the capacity"), "{said}");
}

#[test]
fn tuned_programs_that_are_not_built_are_named_before_anything_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let path = out.to_str().expect("a path");
    let said = refusal(&["compare", "--tuned", "--out", path]);
    let wanted = "loadtest: /nowhere/tuned is missing: build it with `make build-tuned`, or name another by TWINPAY_BIN_GO_TUNED";
    assert_eq!(said, wanted);
    let file = folder.path().join("mine.toml");
    let usual = include_str!("../../tuning.toml");
    std::fs::write(&file, usual.replace("GOGC", "TWINPAY_RATE_LIMIT")).expect("written");
    let said = refusal(&["compare", &format!("--tuned={}", file.display()), "--out", path]);
    assert!(
        said.contains("mine.toml: line ") && said.contains("TWINPAY_RATE_LIMIT is a setting of both"),
        "{said}"
    );
    let said = refusal(&["compare", "--tuned=/nowhere.toml", "--out", path]);
    assert!(said.contains("/nowhere.toml: "), "{said}");
    assert!(!out.exists(), "nothing was begun");
}
