//! Ends a process group when this process dies in a way that runs no destructor.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// A shell that blocks on a pipe of ours: the kernel closes the pipe when we die, however we die.
#[derive(Debug)]
pub(crate) struct Watchdog(Child);

impl Watchdog {
    pub(crate) fn guard(group: u32) -> io::Result<Self> {
        Command::new("/bin/sh")
            .args([
                "-c",
                r#"read -r _; kill -s KILL -- "-$1""#,
                "sh",
                &group.to_string(),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map(Self)
    }

    /// Simulates our own death: the pipe closes and the shell acts.
    #[cfg(test)]
    fn abandon(mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

impl Drop for Watchdog {
    /// Kills the shell before the pipe closes, so that it never acts on a group id used again.
    fn drop(&mut self) {
        let ended = self.0.kill().and_then(|()| self.0.wait());
        if let Err(error) = ended {
            tracing::warn!(%error, "could not end a watchdog");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn sleeper() -> Child {
        Command::new("sleep")
            .arg("600")
            .process_group(0)
            .spawn()
            .unwrap()
    }

    #[test]
    fn the_group_dies_with_its_owner() {
        let mut child = sleeper();
        Watchdog::guard(child.id()).unwrap().abandon();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }

    #[test]
    fn an_ended_watchdog_harms_nobody() {
        let mut child = sleeper();
        drop(Watchdog::guard(child.id()).unwrap());
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
