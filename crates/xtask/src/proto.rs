//! The protobuf files: lint, and no breaking change against the committed image.

use anyhow::bail;

use crate::command::{command, run};
use crate::{node, progress, workspace};

const IMAGE: &str = "proto/hallpass.binpb";

/// Checks style and naming of the protobuf files.
pub(crate) fn lint() -> anyhow::Result<()> {
    buf(&["lint"])
}

/// Checks that no change breaks a client built against the committed image.
pub(crate) fn breaking() -> anyhow::Result<()> {
    if !workspace::root().join(IMAGE).is_file() {
        bail!("{IMAGE} is missing; write it with `cargo xtask proto-image` and commit it");
    }
    buf(&["breaking", "--against", IMAGE])
}

/// Writes the image that later changes are compared with.
pub(crate) fn write_image() -> anyhow::Result<()> {
    buf(&["build", "--exclude-source-info", "--output", IMAGE])?;
    println!("wrote {IMAGE}");
    Ok(())
}

fn buf(arguments: &[&str]) -> anyhow::Result<()> {
    let buf = node::buf(&*progress::for_terminal())?;
    run(command(buf).args(arguments))
}
