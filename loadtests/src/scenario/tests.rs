//! What is good, and what is refused and how.

use super::*;

const GOOD: &str = include_str!("../../scenarios/checkout.toml");

fn refusal(text: &str) -> String {
    Scenario::parse("x.toml", "x", text, &Overrides::default()).expect_err("refused").to_string()
}

#[test]
fn the_shipped_scenarios_are_good() {
    for name in [
        "checkout",
        "tokenize",
        "read",
        "sale",
        "waiting",
        "connections",
        "overload",
        "spike",
        "soak",
        "plain-example",
    ] {
        Scenario::load(name, &Overrides::default()).unwrap();
    }
}

#[test]
fn each_refusal_is_one_line_that_names_file_field_and_problem() {
    let cases = [
        (GOOD.replace("pairs =", "pears ="), "unknown field `pears`"),
        (GOOD.replacen("rate = ", "rate = 0.0 #", 2), "warm_up.rate: must be over 0"),
        (
            GOOD.replacen("seconds = ", "seconds = 1e-9 #", 2),
            "warm_up.seconds: must be 0.001 to 86400, is 0.000000001",
        ),
        (GOOD.replace("connections = ", "connections = 0 #"), "connections: must be 1 to 10000, is 0"),
        (GOOD.replace("arrivals = \"poisson\"", "arrivals = \"often\""), "arrivals: unknown variant `often`"),
        (GOOD.replace("seed = ", "seed = \"x\" #"), "seed: invalid type: string \"x\", expected u64"),
        (GOOD.replace("[warm_up]", "[warm_up"), "line "),
        (GOOD.replace("pairs = ", "# pairs = "), "missing field `pairs`"),
        (GOOD.replace("p99_ms = ", "p99_ms = -"), "solo.p99_ms: must be over 0"),
        (GOOD.replace("p99_ms = ", "p99 = "), "solo.p99: unknown field `p99`"),
    ];
    for (text, wanted) in cases {
        let got = refusal(&text);
        assert!(
            got.starts_with("x.toml: ") && got.contains(wanted) && !got.contains('\n'),
            "wanted {wanted:?}, got {got:?}"
        );
    }
}

#[test]
fn a_wrong_option_is_blamed_itself_and_not_the_file() {
    let good = Overrides::default;
    let cases = [
        (Overrides { rate: Some(0.0), ..good() }, "--rate: must be over 0 and at most 100000, is 0"),
        (Overrides { rate: Some(f64::NAN), ..good() }, "--rate: must be over 0 and at most 100000, is NaN"),
        (Overrides { pairs: Some(1), ..good() }, "--pairs: must be 2 to 10000, is 1"),
        (Overrides { slice_ms: Some(49), ..good() }, "--slice: must be 50 to 60000, is 49"),
        (Overrides { warm_up_seconds: Some(-1.0), ..good() }, "--warm-up: must be 0.001 to 86400, is -1"),
    ];
    for (overrides, wanted) in cases {
        let error = Scenario::parse("x.toml", "x", GOOD, &overrides).expect_err("refused");
        assert_eq!(error.to_string(), wanted);
    }
}

#[test]
fn a_missing_file_is_named() {
    let got = Scenario::load("no/such.toml", &Overrides::default()).expect_err("refused").to_string();
    assert!(got.starts_with("no/such.toml: file: can't be read"), "{got}");
}

#[test]
fn the_command_line_comes_before_the_file() {
    let overrides = Overrides {
        rate: Some(5.0),
        pairs: Some(3),
        slice_ms: Some(200),
        seed: Some(9),
        warm_up_seconds: Some(0.5),
        doors: Some(Doors::only(Door::Grpc)),
        think_time_ms: Some(700),
        trace: None,
    };
    let scenario = Scenario::load("checkout", &overrides).unwrap();
    assert_eq!((scenario.pairs, scenario.slice_ms, scenario.seed), (3, 200, 9));
    assert_eq!(scenario.think_time_ms, 700);
    assert!(scenario.stages.iter().all(|stage| stage.rate == 5.0));
    assert_eq!(scenario.total_us(), 500_000 + 600_000);
}
