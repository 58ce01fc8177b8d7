//! What each command does: files in, verdicts out.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use hallpass_audit::{Trust, Verdict, read_history};
use hallpass_bundle::{Bundle, decompress};
use hallpass_evidence::{Keyring, PublicKey};
use hallpass_replay::{IssuerKeys, Log, Policies, Replayer, Report, Verifier, chain, decide_again};
use temporalio_common::protos::temporal::api::history::v1::History;

use crate::cli::{Command, Evidence};
use crate::print;

/// Runs a command; the worst verdict is the exit code.
pub(crate) async fn run(command: Command) -> anyhow::Result<Verdict> {
    match command {
        Command::Verify {
            file,
            evidence,
            output,
        } => {
            let mut printer = print::Reports::new(output);
            verify(&file, &evidence, |report| printer.print(&report)).await?;
            Ok(printer.finish())
        }
        Command::Replay { files, output } => {
            let verifier = Verifier {
                replayer: Replayer::new()?,
                trust: Trust::default(),
                policies: Policies::default(),
                issuer_keys: None,
                log: Log::default(),
            };
            let mut printer = print::Reports::new(output);
            for file in &files {
                for (subject, history) in histories(file)? {
                    let check = verifier.replay(&history).await;
                    printer.print(&report(subject, &history, check));
                }
            }
            Ok(printer.finish())
        }
        Command::Redecide {
            file,
            policies,
            output,
        } => {
            let policies = policies_for(&file, policies.as_deref())?;
            let mut printer = print::Reports::new(output);
            for (subject, history) in histories(&file)? {
                let check = decide_again(&history, &policies);
                printer.print(&report(subject, &history, check));
            }
            Ok(printer.finish())
        }
        Command::List { file } => {
            print::list(&histories(&file)?);
            Ok(Verdict::Holds)
        }
        Command::Show { file, id, format } => {
            let all = histories(&file)?;
            let chosen = match &id {
                Some(id) => all.iter().find(|(subject, _)| subject == id),
                None => all.first().filter(|_| all.len() == 1),
            };
            let (subject, history) = chosen.with_context(|| match id {
                Some(id) => format!("{} holds no request {id}", file.display()),
                None => format!(
                    "{} holds {} requests: name one with --id",
                    file.display(),
                    all.len()
                ),
            })?;
            print::show(subject, history, format)?;
            Ok(Verdict::Holds)
        }
        Command::Convert { file, format } => {
            print::convert(&histories(&file)?, format)?;
            Ok(Verdict::Holds)
        }
    }
}

fn report(subject: String, history: &History, check: hallpass_audit::Check) -> Report {
    Report {
        subject,
        events: history.events.len(),
        closed: hallpass_audit::is_closed(history),
        checks: vec![check],
    }
}

async fn verify(
    file: &Path,
    evidence: &Evidence,
    mut each: impl FnMut(Report),
) -> anyhow::Result<()> {
    let keys = match &evidence.keys {
        Some(path) => Some(keys(path)?),
        None => None,
    };
    let mut verifier = Verifier {
        replayer: Replayer::new()?,
        trust: Trust {
            keys,
            deployment: evidence.deployment.clone(),
        },
        policies: Policies::default(),
        issuer_keys: issuer_keys(evidence.issuer_keys.as_deref())?,
        log: log(evidence)?,
    };
    let bytes = read(file)?;
    if !Bundle::is_one(&bytes) {
        verifier.policies = policies_for(file, evidence.policies.as_deref())?;
        for (subject, history) in histories(file)? {
            each(verifier.history(&subject, &history).await);
        }
        return Ok(());
    }
    let wrong = |why: String| Report {
        subject: "bundle".to_owned(),
        events: 0,
        closed: false,
        checks: vec![hallpass_audit::Check::of(
            "bundle",
            "every byte of the bundle is accounted for",
            vec![why],
            "",
        )],
    };
    let bundle = match Bundle::read(&bytes) {
        Ok(bundle) => bundle,
        Err(error) => {
            each(wrong(chain(&error)));
            return Ok(());
        }
    };
    match Policies::of(&bundle.policies()) {
        Ok(policies) => verifier.policies = policies,
        Err(error) => each(wrong(chain(&error))),
    }
    verifier.bundle(&bundle, each).await;
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

fn log(evidence: &Evidence) -> anyhow::Result<Log> {
    let key = evidence.log_key.as_deref().map(str::parse).transpose();
    let former = evidence
        .former_checkpoint
        .as_deref()
        .map(|file| String::from_utf8(read(file)?).context("a checkpoint is text"));
    Ok(Log {
        key: key.context("--log-key is no key of a log: `hallpass admin archive` prints it")?,
        former: former.transpose()?,
    })
}

/// Key sets of identity providers, where a file with them was named.
fn issuer_keys(file: Option<&Path>) -> anyhow::Result<Option<Arc<IssuerKeys>>> {
    let Some(file) = file else {
        return Ok(None);
    };
    let keys = IssuerKeys::parse(&read(file)?);
    let keys = keys.with_context(|| file.display().to_string())?;
    Ok(Some(Arc::new(keys)))
}

/// Public keys, one a line in base 64; `#` begins a comment.
fn keys(file: &Path) -> anyhow::Result<Keyring> {
    let text = String::from_utf8(read(file)?).context("a key file is text")?;
    let lines = text
        .lines()
        .map(|l| l.split('#').next().unwrap_or_default().trim());
    let keys: Vec<PublicKey> = lines
        .filter(|l| !l.is_empty())
        .map(|l| {
            let key = PublicKey::try_from(l.to_owned());
            key.with_context(|| format!("{}: `{l}` is no public key", file.display()))
        })
        .collect::<Result<_, _>>()?;
    anyhow::ensure!(!keys.is_empty(), "{} holds no key", file.display());
    Ok(Keyring::new(keys))
}

fn policies_for(file: &Path, folder: Option<&Path>) -> anyhow::Result<Policies> {
    if let Some(folder) = folder {
        return Ok(Policies::in_folder(folder)?);
    }
    let bytes = read(file)?;
    if Bundle::is_one(&bytes) {
        return Ok(Policies::of(&Bundle::read(&bytes)?.policies())?);
    }
    Ok(Policies::default())
}

/// The histories in a file: one, packed or not, or all of a bundle.
fn histories(file: &Path) -> anyhow::Result<Vec<(String, History)>> {
    let bytes = read(file)?;
    if Bundle::is_one(&bytes) {
        let bundle = Bundle::read(&bytes).with_context(|| file.display().to_string())?;
        let all = bundle.histories().map(|(id, packed)| {
            let history = read_history(&packed?)?;
            Ok((id.to_owned(), history))
        });
        return all.collect();
    }
    let bytes = match bytes.starts_with(&[0x1f, 0x8b]) {
        true => decompress(&bytes)?,
        false => bytes,
    };
    let history = read_history(&bytes).with_context(|| file.display().to_string())?;
    Ok(vec![(file.display().to_string(), history)])
}
