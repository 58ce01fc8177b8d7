//! Compiles `proto/` without `protoc`: protox parses, tonic generates, reflection reads the same set.

use std::path::PathBuf;
use std::{env, fs};

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let files = [
        "access_service",
        "admin_service",
        "approval_service",
        "audit_service",
        "metadata_service",
        "resources",
    ]
    .map(|f| root.join(format!("hallpass/v1/{f}.proto")));
    let set = protox::compile(&files, [&root])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.binpb"), set.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(set)?;
    Ok(())
}
