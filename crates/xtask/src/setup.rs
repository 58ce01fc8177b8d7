//! `cargo xtask setup`: the pinned tools, and what is missing to install them.

use anyhow::bail;
use hallpass_standins::{Cvc5, Tools};

use crate::command::answers;
use crate::{fuzz, node, progress};

/// Installs everything that can be installed and names every prerequisite that is missing.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut missing = Vec::new();
    match install_tools() {
        Ok(tools) => {
            println!("temporal   {}", tools.temporal.display());
            println!("ministack  {}", tools.ministack.display());
        }
        Err(error) => missing.push(format!("{error:#}")),
    }
    match node::buf(&*progress::for_terminal()) {
        Ok(buf) => println!("buf        {}", buf.display()),
        Err(error) => missing.push(format!("{error:#}")),
    }
    if !answers("git", &["--version"]) {
        missing.push("git is missing; install it with `apt-get install git`".to_owned());
    }
    for (tool, why) in [
        ("cargo-nextest", "without it tests run with `cargo test`"),
        ("cargo-deny", "without it the `deny` stage is skipped"),
    ] {
        if !answers(tool, &["--version"]) {
            println!("note: {tool} is not installed ({why}): `cargo install --locked {tool}`");
        }
    }
    if !fuzz::has_compiler() {
        println!(
            "note: c++ is not installed (without it the `fuzz` stage is skipped): `apt-get install g++`"
        );
    }
    if !missing.is_empty() {
        bail!(
            "not everything could be set up:\n- {}",
            missing.join("\n- ")
        );
    }
    Ok(())
}

/// Finds or installs the stand-ins for Temporal and AWS, and the solver.
pub(crate) fn install_tools() -> anyhow::Result<Tools> {
    Cvc5::locate_or_install(&Tools::default_dir()?, &*progress::for_terminal())?;
    Ok(Tools::locate_or_install(
        &Tools::default_dir()?,
        &*progress::for_terminal(),
    )?)
}
