//! Takes the descriptors that the SDK was generated from, to read canonical proto3 JSON with.

use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let from = env::var("DEP_TEMPORALIO_PROTOS_DESCRIPTOR_PATH")?;
    let to = PathBuf::from(env::var("OUT_DIR")?).join("temporal.binpb");
    fs::copy(from, to)?;
    println!("cargo:rerun-if-env-changed=DEP_TEMPORALIO_PROTOS_DESCRIPTOR_PATH");
    Ok(())
}
