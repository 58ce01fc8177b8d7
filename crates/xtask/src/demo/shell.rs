//! Runs what a person would type, shows what came out, and checks what is claimed of it.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::IsTerminal;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, bail, ensure};
use hallpass_standins::Tools;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

use crate::service::Service;

/// The program that makes real AWS calls.
const AWS_CALL: &str = include_str!("aws_call.py");
const LINES: usize = 24;
const WIDTH: usize = 150;

/// A person's terminal, with a count of the claims that held.
pub(crate) struct Shell {
    environment: Vec<(&'static str, OsString)>,
    _programs: TempDir,
    colors: bool,
    held: usize,
}

/// What a command left.
pub(crate) struct Ran {
    /// Its exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// Its standard output, without the white space at the end.
    pub(crate) stdout: String,
}

/// What `hallpass creds` printed: never shown, and overwritten when dropped.
pub(crate) struct Secret {
    of: String,
    printed: Zeroizing<Vec<u8>>,
}

impl Shell {
    /// A terminal in which `hallpass` and `aws-call` speak to `service`.
    pub(crate) fn new(service: &Service) -> anyhow::Result<Self> {
        let programs = tempfile::Builder::new()
            .prefix("hallpass-demo-")
            .tempdir()?;
        let tools = Tools::locate_or_install(&Tools::default_dir()?, &())?;
        let python = tools.ministack.with_file_name("python");
        install_aws_call(programs.path(), &python)?;
        let mut environment = service.environment()?;
        for (name, value) in &mut environment {
            if *name == "PATH" {
                let folders = [programs.path().to_owned()];
                let all: Vec<_> = folders
                    .into_iter()
                    .chain(env::split_paths(&*value))
                    .collect();
                *value = env::join_paths(all)?;
            }
        }
        let terminal = std::io::stdout().is_terminal();
        Ok(Self {
            environment,
            _programs: programs,
            colors: terminal && env::var_os("NO_COLOR").is_none(),
            held: 0,
        })
    }

    /// How many claims have held so far.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Opens a chapter.
    pub(crate) fn chapter(&self, title: &str) {
        println!("\n{}", self.painted("1", &format!("== {title}")));
    }

    /// Runs a command and shows its output as it comes.
    pub(crate) async fn run(&self, line: &[&str]) -> anyhow::Result<Ran> {
        self.prompt(line, "");
        let child = self.spawn(line, Stdio::null())?;
        follow(child).await
    }

    /// As [`Shell::run`], with the credentials on standard input.
    pub(crate) async fn run_with(&self, secret: &Secret, line: &[&str]) -> anyhow::Result<Ran> {
        self.prompt(line, &format!("    (with {}'s credentials)", secret.of));
        let mut child = self.spawn(line, Stdio::piped())?;
        let mut stdin = child.stdin.take().context("there is no standard input")?;
        stdin.write_all(&secret.printed).await?;
        drop(stdin);
        follow(child).await
    }

    /// Has credentials issued to somebody, and keeps them.
    pub(crate) async fn keep(&self, of: &str, id: &str) -> anyhow::Result<Secret> {
        let line = ["hallpass", "--as", of, "creds", id];
        self.prompt(&line, "");
        let mut child = self.spawn(&line, Stdio::null())?;
        let mut kept = Zeroizing::new(Vec::with_capacity(16 * 1024));
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_end(&mut kept).await?;
        }
        let output = child.wait_with_output().await?;
        ensure!(
            output.status.success(),
            "`{}` failed: {}",
            typed(&line),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        println!("    (credentials; kept in memory, not shown)");
        Ok(Secret {
            of: of.to_owned(),
            printed: kept,
        })
    }

    /// Asks for JSON without showing it.
    pub(crate) async fn json(&self, line: &[&str]) -> anyhow::Result<Value> {
        let line: Vec<_> = line.iter().copied().chain(["--output", "json"]).collect();
        let output = self.spawn(&line, Stdio::null())?.wait_with_output().await?;
        ensure!(output.status.success(), "`{}` failed", typed(&line));
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("`{}` prints no JSON", typed(&line)))
    }

    /// Says a claim and whether it holds.
    pub(crate) fn claim(&mut self, claim: &str, holds: bool) -> anyhow::Result<()> {
        if !holds {
            println!("  {} {claim}", self.painted("31", "✗"));
            bail!("this claim does not hold: {claim}");
        }
        println!("  {} {claim}", self.painted("32", "✓"));
        self.held += 1;
        Ok(())
    }

    fn prompt(&self, line: &[&str], note: &str) {
        println!(
            "\n  {}{note}",
            self.painted("36", &format!("$ {}", typed(line)))
        );
    }

    fn painted(&self, color: &str, text: &str) -> String {
        match self.colors {
            true => format!("\x1b[{color}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }

    fn spawn(&self, line: &[&str], stdin: Stdio) -> anyhow::Result<Child> {
        let [program, arguments @ ..] = line else {
            bail!("there is no command");
        };
        // Only what is said here: a person's own AWS or hallpass settings would change the story.
        let mut command = Command::new("env");
        command
            .arg(program)
            .args(arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
            .spawn()
            .with_context(|| format!("could not run `{}`", typed(line)))
    }
}

/// A program of its own, so that the commands shown are those that run.
fn install_aws_call(folder: &Path, python: &Path) -> anyhow::Result<()> {
    let script = folder.join("aws_call.py");
    fs::write(&script, AWS_CALL)?;
    let quoted = |path: &Path| quoted(&path.to_string_lossy());
    let program = folder.join("aws-call");
    let text = format!(
        "#!/bin/sh\nexec {} {} \"$@\"\n",
        quoted(python),
        quoted(&script)
    );
    fs::write(&program, text)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

async fn follow(mut child: Child) -> anyhow::Result<Ran> {
    let mut stdout = child.stdout.take().map(lines);
    let mut stderr = child.stderr.take().map(lines);
    let (mut kept, mut shown) = (Vec::new(), 0);
    while stdout.is_some() || stderr.is_some() {
        let line = tokio::select! {
            line = next(&mut stdout), if stdout.is_some() => {
                let line = line?;
                kept.extend(line.clone());
                line
            }
            line = next(&mut stderr), if stderr.is_some() => line?,
        };
        if let Some(line) = line {
            show(&line, &mut shown);
        }
    }
    if shown > LINES {
        println!("    … and {} more lines", shown - LINES);
    }
    Ok(Ran {
        code: child.wait().await?.code(),
        stdout: kept.join("\n").trim_end().to_owned(),
    })
}

fn show(line: &str, shown: &mut usize) {
    *shown += 1;
    if *shown > LINES {
        return;
    }
    let cut: String = line.chars().take(WIDTH).collect();
    let dots = if cut.len() < line.len() { "…" } else { "" };
    println!("    {cut}{dots}");
}

fn lines<R: AsyncRead>(pipe: R) -> Lines<BufReader<R>> {
    BufReader::new(pipe).lines()
}

/// The next line; at the end the pipe is let go.
async fn next<R: AsyncRead + Unpin>(
    pipe: &mut Option<Lines<BufReader<R>>>,
) -> anyhow::Result<Option<String>> {
    let Some(lines) = pipe else { return Ok(None) };
    let line = lines.next_line().await?;
    if line.is_none() {
        *pipe = None;
    }
    Ok(line)
}

/// The command as a shell takes it.
fn typed(line: &[&str]) -> String {
    let words: Vec<_> = line.iter().map(|word| quoted(word)).collect();
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_as_a_shell_takes_them() {
        let line = ["hallpass", "-m", "INC-4127: it's late", "", "a=b"];
        assert_eq!(typed(&line), r"hallpass -m 'INC-4127: it'\''s late' '' a=b");
    }

    #[tokio::test]
    async fn output_and_exit_code_are_kept() {
        let child = Command::new("sh")
            .args(["-c", "echo one; echo two; echo words >&2; exit 7"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let ran = follow(child).await.unwrap();
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(7), "one\ntwo"));
    }
}
