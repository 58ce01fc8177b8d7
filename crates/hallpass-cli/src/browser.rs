//! Opens a page in the user's browser.

use std::env;
use std::process::{Command, Stdio};

use url::Url;

use crate::source::SECRET_VARIABLES;

/// Whether a browser could be seen by whoever runs this.
pub(crate) fn is_near() -> bool {
    let set = |name: &str| env::var_os(name).is_some_and(|v| !v.is_empty());
    if set("BROWSER") {
        return true;
    }
    !set("SSH_CONNECTION")
        && (cfg!(target_os = "macos") || set("DISPLAY") || set("WAYLAND_DISPLAY"))
}

/// Whether something took the page; whether anybody sees it, nobody knows.
pub(crate) fn open(page: &Url) -> bool {
    let named = env::var_os("BROWSER").filter(|b| !b.is_empty());
    let system = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let mut command = Command::new(named.unwrap_or_else(|| system.into()));
    command
        .arg(page.as_str())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    for secret in SECRET_VARIABLES {
        command.env_remove(secret);
    }
    command.spawn().is_ok()
}
