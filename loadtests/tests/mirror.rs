//! The two services have the same files, so that a reader who knows one finds the same thing in the other:
//! `services/payments/src/<path>.rs` is `go-service/internal/<path>.go`, a module of one file is a package of one file
//! (`config.rs`, `config/config.go`), package names drop the underscore, `mod.rs` is `doc.go`, `main.rs` is
//! `cmd/payments/main.go`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Files without a counterpart, each with its reason; at most three.
const EXCEPTIONS: [(&str, &str); 2] = [
    (
        "lib",
        "Rust splits a program into a library and a main file so that tests can link it; Go's packages need no such file",
    ),
    ("migrate", "one service applies the schema, for both"),
];

/// Every file below `root` with the extension, relative and without it.
fn files(root: &Path, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the services") {
            let path: PathBuf = entry.expect("an entry of it").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                let relative = path.strip_prefix(root).expect("it is below its root").with_extension("");
                found.push(relative.to_str().expect("a name in UTF-8").replace('\\', "/"));
            }
        }
    }
    found
}

/// What a Rust file is called on both sides.
fn rust_name(path: &str) -> String {
    let mut parts: Vec<String> = path.split('/').map(str::to_owned).collect();
    let last = parts.len() - 1;
    for folder in &mut parts[..last] {
        *folder = folder.replace('_', "");
    }
    if parts[last] == "mod" {
        parts[last] = "doc".to_owned();
    } else if last == 0 {
        parts[last] = parts[last].replace('_', "");
    }
    parts.join("/")
}

/// What a Go file is called on both sides; none for what has no counterpart by its nature: tests and generated code.
fn go_name(path: &str) -> Option<String> {
    if path.ends_with("_test") || path.starts_with("gen/") {
        return None;
    }
    match path.split_once('/') {
        Some((package, file)) if file.replace('_', "") == package => Some(package.to_owned()),
        _ => Some(path.to_owned()),
    }
}

#[test]
fn both_services_have_the_same_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let rust: BTreeMap<String, String> = files(&root.join("services/payments/src"), "rs")
        .into_iter()
        .filter(|path| path != "main" && !EXCEPTIONS.iter().any(|(name, _)| name == path))
        .map(|path| (rust_name(&path), path))
        .collect();
    let go: BTreeSet<String> =
        files(&root.join("go-service/internal"), "go").iter().filter_map(|path| go_name(path)).collect();
    let mut missing = Vec::new();
    for (name, path) in rust.iter().filter(|(name, _)| !go.contains(*name)) {
        missing.push(format!("services/payments/src/{path}.rs has no go-service/internal/{name}.go"));
    }
    for name in go.iter().filter(|name| !rust.contains_key(*name)) {
        missing.push(format!("go-service/internal/{name}.go has no counterpart in services/payments/src"));
    }
    assert!(
        missing.is_empty(),
        "\n{}\nGive each its counterpart, or name it an exception here.\n",
        missing.join("\n")
    );
    assert!(EXCEPTIONS.len() <= 3);
    assert!(
        root.join("services/payments/src/main.rs").exists()
            && root.join("go-service/cmd/payments/main.go").exists()
    );
}

#[test]
fn names_follow_the_rule() {
    assert_eq!(rust_name("hash_pool"), "hashpool");
    assert_eq!(rust_name("domain/request_hash"), "domain/request_hash");
    assert_eq!(rust_name("store/mod"), "store/doc");
    assert_eq!(go_name("hashpool/hashpool").as_deref(), Some("hashpool"));
    assert_eq!(go_name("hashpool/hash_pool").as_deref(), Some("hashpool"));
    assert_eq!(go_name("store/operations").as_deref(), Some("store/operations"));
    assert_eq!(go_name("store/operations_test"), None);
}
