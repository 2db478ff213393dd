//! Compiles proto/ with protox, so that no protoc is needed. Writes the descriptors beside the types, for reflection.

use std::{env, error::Error, fs, path::Path};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.join("payments").display());
    println!("cargo::rerun-if-changed={}", root.join("acquirer").display());
    let files = [
        "payments/v1/admin.proto",
        "payments/v1/vault.proto",
        "payments/v1/payment.proto",
        "payments/v1/ledger.proto",
        "payments/v1/event.proto",
        "payments/v1/webhook.proto",
        "payments/v1/error.proto",
        "acquirer/v1/acquirer.proto",
    ];
    let descriptors = protox::compile(files, [&root])?;
    let out = env::var("OUT_DIR")?;
    fs::write(Path::new(&out).join("descriptors.bin"), descriptors.encode_to_vec())?;
    // A map in key order: a reply's bytes then don't depend on a hash seed.
    tonic_prost_build::configure().btree_map(".").compile_fds(descriptors)?;
    Ok(())
}
