//! `cargo xtask fuzz`: libFuzzer over the corpus of each target, with the compiler that builds the
//! rest: neither `cargo-fuzz` nor a nightly toolchain is needed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use clap::ValueEnum;

use crate::command::{answers, command, display, run};
use crate::workspace;

/// What `cargo fuzz --sanitizer none` passes: the compiler's coverage pass, whose counters
/// libFuzzer reads. Without `--cfg fuzzing`, so that what runs is what ships.
const COVERAGE: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// How long, in seconds, each target runs as part of the test run.
const STAGE_SECONDS: u32 = 20;

/// What is fuzzed, and for how long.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How long each target runs.
    #[arg(long, value_name = "N", default_value_t = 30)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Which targets [default: all, one after the other].
    #[arg(value_enum, value_name = "TARGET")]
    targets: Vec<Target>,
}

/// What inputs are taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// A caller's token, or header and claims of one that is really signed
    Token,
    /// A signed order, as it may be typed straight into Temporal
    Order,
    /// A policy file and a catalogue
    Bundle,
}

impl Target {
    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Builds the targets and runs them, each over what it found before and the seeds in `fuzz/corpus`.
///
/// # Errors
/// When one does not build, or an input breaks it: the error has that input and names its file.
pub(crate) fn fuzz(options: &Options) -> anyhow::Result<()> {
    let targets = match options.targets.as_slice() {
        [] => Target::value_variants(),
        some => some,
    };
    if !has_compiler() {
        bail!("libFuzzer needs a C++ compiler; install one with `apt-get install g++`");
    }
    build_and_hunt(targets, options.seconds)
}

/// The stage of the test run: what strangers can send. Without `bundle`, whose author is trusted
/// and whose dependencies take as long to build as all others.
pub(crate) fn stage() -> anyhow::Result<()> {
    build_and_hunt(&[Target::Token, Target::Order], STAGE_SECONDS)
}

/// Whether libFuzzer, which is C++, can be built.
pub(crate) fn has_compiler() -> bool {
    answers("c++", &["--version"])
}

fn build_and_hunt(targets: &[Target], seconds: u32) -> anyhow::Result<()> {
    let folder = workspace::root().join("target/fuzz");
    let programs = build(targets, &folder)?;
    for target in targets {
        let name = target.name();
        hunt(&name, &programs.join(&name), &folder, seconds)?;
    }
    Ok(())
}

/// Builds the targets; where the programs are.
fn build(targets: &[Target], folder: &Path) -> anyhow::Result<PathBuf> {
    take_versions(&workspace::root(), folder)?;
    let host = host()?;
    let mut build = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--manifest-path", "fuzz/Cargo.toml"]);
    for target in targets {
        build.args(["--bin", &target.name()]);
    }
    if targets.contains(&Target::Bundle) {
        build.args(["--features", "bundle"]);
    }
    // With a target that is named, flags are not for build scripts and macros.
    build.args(["--target", &host, "--target-dir"]).arg(folder);
    run(build
        .env("RUSTFLAGS", COVERAGE)
        .env_remove("CARGO_ENCODED_RUSTFLAGS"))?;
    Ok(folder.join(host).join("debug"))
}

/// Has the targets built with the workspace's locked versions. Cargo adds what only they need, and
/// asks no registry again as long as those versions stay.
fn take_versions(root: &Path, folder: &Path) -> anyhow::Result<()> {
    let (locked, theirs) = (root.join("Cargo.lock"), root.join("fuzz/Cargo.lock"));
    let taken = folder.join("Cargo.lock");
    let current = fs::read(&locked).context("could not read Cargo.lock")?;
    if theirs.is_file() && fs::read(&taken).is_ok_and(|before| before == current) {
        return Ok(());
    }
    fs::create_dir_all(folder).context("could not make target/fuzz")?;
    for copy in [theirs, taken] {
        fs::write(&copy, &current)
            .with_context(|| format!("could not write {}", copy.display()))?;
    }
    Ok(())
}

/// The platform that this compiler builds for.
fn host() -> anyhow::Result<String> {
    let output = command("rustc").arg("-vV").output();
    let output = output.context("could not run rustc")?.stdout;
    let said = String::from_utf8_lossy(&output);
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .context("rustc does not say what it builds for")
}

/// Runs one target. What it finds interesting is kept below `target/fuzz`, for the next time.
fn hunt(name: &str, program: &Path, folder: &Path, seconds: u32) -> anyhow::Result<()> {
    let [found, artifacts] = ["corpus", "artifacts"].map(|kind| folder.join(kind).join(name));
    for made in [&found, &artifacts] {
        fs::create_dir_all(made).with_context(|| format!("could not make {}", made.display()))?;
    }
    let log = folder.join(format!("{name}.log"));
    let mut fuzzer = command(program);
    fuzzer.args([
        format!("-max_total_time={seconds}"),
        format!("-dict=fuzz/{name}.dict"),
        format!("-artifact_prefix={}/", artifacts.display()),
        // An input that takes longer, in seconds, is kept as one that breaks it.
        "-timeout=25".to_owned(),
        "-print_final_stats=1".to_owned(),
    ]);
    // New inputs go into the first folder; the others are only read.
    fuzzer.arg(&found).arg(format!("fuzz/corpus/{name}"));
    println!("$ {}", display(&fuzzer));
    let written = File::create(&log).context("could not make the log")?;
    let status = fuzzer.stdout(Stdio::null()).stderr(written).status();
    let status = status.with_context(|| format!("could not run {}", program.display()))?;
    let said = fs::read(&log).context("could not read the log")?;
    let said = String::from_utf8_lossy(&said);
    if !status.success() {
        for line in last_lines(&said) {
            println!("  {line}");
        }
        let (inputs, log) = (shown(&reproducers(&said)), log.display());
        bail!("{name} failed with {status}: {inputs}; the log is {log}");
    }
    let (ran, new) = figures(&said).context("libFuzzer does not say what it ran")?;
    println!("{name}: {ran} inputs, {new} of them new and interesting");
    Ok(())
}

/// The end of the log, where the panic is.
fn last_lines(said: &str) -> impl Iterator<Item = &str> {
    let count = said.lines().count();
    said.lines().skip(count.saturating_sub(30))
}

/// Failing inputs with their bytes, which outlive a machine that is thrown away.
fn shown(inputs: &[&str]) -> String {
    let shown = inputs.iter().map(|path| {
        let bytes = fs::read(path).unwrap_or_default();
        format!("the input is {path}, b\"{}\"", bytes.escape_ascii())
    });
    match shown.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "no input was kept".to_owned(),
        some => some,
    }
}

/// The files that libFuzzer says it wrote failing inputs to.
fn reproducers(said: &str) -> Vec<&str> {
    let written = said.lines().filter_map(|line| {
        let (_, path) = line.split_once("Test unit written to ")?;
        Some(path.trim())
    });
    written.collect()
}

/// How many inputs ran, and how many of them were new and interesting.
fn figures(said: &str) -> Option<(u64, u64)> {
    let stat = |name: &str| {
        let mut lines = said.lines();
        let value = lines.find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name))?;
        value.trim_start_matches(':').trim().parse().ok()
    };
    Some((stat("number_of_executed_units")?, stat("new_units_added")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failing_input_and_the_figures_are_read_from_the_log() {
        let crashed = "#7 NEW cov: 1\n==9== ERROR: libFuzzer: deadly signal\n\
                       artifact_prefix='a/'; Test unit written to a/crash-00ff\nBase64: fQ==\n";
        assert_eq!(reproducers(crashed), ["a/crash-00ff"]);
        assert_eq!(figures(crashed), None);
        let done = "Done 812 runs in 11 second(s)\nstat::number_of_executed_units: 812\n\
                    stat::average_exec_per_sec:     73\nstat::new_units_added:          12\n";
        assert_eq!(reproducers(done), [""; 0]);
        assert_eq!(figures(done), Some((812, 12)));
    }

    #[test]
    fn a_failing_input_is_told_with_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("crash-00ff");
        fs::write(&input, b"{\"a\":\n\xff").unwrap();
        let input = input.to_str().unwrap();
        let told = format!(r#"the input is {input}, b"{{\"a\":\n\xff""#);
        assert_eq!(shown(&[input]), told);
        assert_eq!(shown(&[]), "no input was kept");
        let long: Vec<_> = (0..40).map(|n| n.to_string()).collect();
        let last: Vec<_> = last_lines(&long.join("\n")).map(str::to_owned).collect();
        assert_eq!(last, long[10..]);
    }

    #[test]
    fn a_target_that_fails_or_ran_nothing_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let hunted = |program: &str| {
            let ended = hunt("token", Path::new(program), folder.path(), 1);
            ended.unwrap_err().to_string()
        };
        let log = folder.path().join("token.log");
        let failed = "token failed with exit status: 1: no input was kept; the log is";
        assert_eq!(hunted("/bin/false"), format!("{failed} {}", log.display()));
        assert_eq!(hunted("/bin/true"), "libFuzzer does not say what it ran");
    }

    #[test]
    fn locked_versions_are_taken_over_once_for_each_change() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("target/fuzz");
        fs::create_dir(root.path().join("fuzz")).unwrap();
        let (locked, theirs) = (
            root.path().join("Cargo.lock"),
            root.path().join("fuzz/Cargo.lock"),
        );
        for (versions, added) in [("one", "one and libFuzzer"), ("two", "two and libFuzzer")] {
            fs::write(&locked, versions).unwrap();
            take_versions(root.path(), &folder).unwrap();
            assert_eq!(fs::read_to_string(&theirs).unwrap(), versions);
            fs::write(&theirs, added).unwrap();
            take_versions(root.path(), &folder).unwrap();
            assert_eq!(fs::read_to_string(&theirs).unwrap(), added);
        }
        fs::remove_file(&theirs).unwrap();
        take_versions(root.path(), &folder).unwrap();
        assert_eq!(fs::read_to_string(&theirs).unwrap(), "two");
    }

    #[test]
    fn every_target_has_a_program_seeds_and_words() {
        let fuzz = workspace::root().join("fuzz");
        for name in Target::value_variants().iter().map(|target| target.name()) {
            assert!(fuzz.join(format!("fuzz_targets/{name}.rs")).is_file());
            assert!(fuzz.join(format!("{name}.dict")).is_file());
            let seeds = fs::read_dir(fuzz.join("corpus").join(&name)).unwrap();
            assert!(seeds.count() >= 10, "{name}");
        }
    }
}
