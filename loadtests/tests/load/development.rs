//! What developing a service takes, measured on programs of a line, and counted in this repository.

use std::path::Path;
use std::process::Command;

use loadtests::development::{Development, Recipe, Times};

fn tiny(folder: &Path) -> Recipe {
    let (sources, target) = (folder.join("tiny"), folder.join("target"));
    std::fs::create_dir_all(sources.join("src")).expect("a folder");
    let manifest = "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n";
    std::fs::write(sources.join("Cargo.toml"), manifest).expect("written");
    std::fs::write(sources.join("src/main.rs"), "fn main() {}\n").expect("written");
    Recipe {
        name: "Tiny".into(),
        command: ["cargo", "build", "--offline"].map(String::from).to_vec(),
        env: vec![("CARGO_TARGET_DIR".into(), target.clone())],
        program: target.join("debug/tiny"),
        kept: vec![target],
        changed: sources.join("src/main.rs"),
        added: |nth| format!("pub fn added_{nth}() {{}}\n"),
        folder: sources,
    }
}

#[test]
fn each_build_is_timed_and_a_change_is_built() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = tiny(folder.path());
    let said = std::cell::RefCell::new(Vec::new());
    let tried = recipe.tried(Times { clean: 2, changed: 2 }, &|text| said.borrow_mut().push(text.to_owned()));
    let tried = tried.expect("it builds");
    assert!(tried.clean.len() == 2 && tried.changed.len() == 2 && tried.clean[0] > 0.0, "{tried:?}");
    assert_eq!(tried.bytes, std::fs::metadata(&recipe.program).expect("built").len());
    assert!(said.borrow()[3].starts_with("Tiny: 2 of 2 after a change: "), "{said:?}");
    let text = std::fs::read_to_string(&recipe.changed).expect("a file");
    assert!(text.ends_with("pub fn added_1() {}\npub fn added_2() {}\n"), "{text}");
    // One that doesn't compile is no figure.
    let broken = Recipe { added: |_| "fn".to_owned(), ..recipe };
    let said = broken.tried(Times { clean: 1, changed: 1 }, &|_| ()).expect_err("it doesn't compile");
    assert!(format!("{said:#}").contains("could not compile"), "{said:#}");
}

#[test]
fn dependencies_and_lines_of_both_services_are_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("development.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    let output =
        command.args(["development", "--builds", "0", "--json"]).arg(&file).output().expect("it runs");
    let (table, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{table}");
    let found = Development::read(&file).expect("written");
    let labels: Vec<_> = found.services.iter().map(|service| service.label.as_str()).collect();
    assert_eq!(labels, ["Rust", "Go"]);
    for service in &found.services {
        let figure = |name: &str| {
            service
                .rows
                .iter()
                .find(|row| row.name == name)
                .unwrap_or_else(|| panic!("no {name}"))
                .figure
                .median
        };
        assert!(figure("dependencies_direct") > 5.0, "{table}");
        assert!(figure("dependencies_all") > figure("dependencies_direct"), "{table}");
        assert!(figure("lines") > 1000.0 && figure("comments") < figure("lines"), "{table}");
        assert!(service.left_out.iter().any(|why| why.starts_with("size of an image: ")), "{service:?}");
        assert!(service.left_out.iter().any(|why| why.starts_with("builds and the program’s size: ")));
    }
    // As the manifest has them: optional ones aren't of the program that is built.
    let manifest = include_str!("../../../services/payments/Cargo.toml");
    let (_, rest) = manifest.split_once("[dependencies]\n").expect("dependencies");
    let named = rest.lines().take_while(|line| !line.is_empty());
    let named = named.filter(|line| !line.contains("optional") && !line.starts_with("payments-proto"));
    let direct =
        &found.services[0].rows.iter().find(|row| row.name == "dependencies_direct").expect("it").figure;
    assert_eq!(direct.median, named.count() as f64);
    let commit = Command::new("git").args(["rev-parse", "HEAD"]).output().expect("git runs").stdout;
    let known = found.commit.trim_end_matches("-dirty");
    assert!(String::from_utf8_lossy(&commit).starts_with(known), "{known}");
}
