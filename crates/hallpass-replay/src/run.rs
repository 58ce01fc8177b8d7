//! What each command does: files in, verdicts out.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use hallpass_audit::{Trust, Verdict, read_history};
use hallpass_bundle::{Bundle, BundleError, decompress};
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
                let held = Held::open(file)?;
                for found in held.histories() {
                    let (subject, history) = found?;
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
            let held = Held::open(&file)?;
            let policies = policies_for(&held, policies.as_deref())?;
            let mut printer = print::Reports::new(output);
            for found in held.histories() {
                let (subject, history) = found?;
                let check = decide_again(&history, &policies);
                printer.print(&report(subject, &history, check));
            }
            Ok(printer.finish())
        }
        Command::List { file } => {
            print::list(Held::open(&file)?.histories())?;
            Ok(Verdict::Holds)
        }
        Command::Show { file, id, format } => {
            let (subject, history) = chosen(&file, id.as_deref())?;
            print::show(&subject, &history, format)?;
            Ok(Verdict::Holds)
        }
        Command::Convert { file, format } => {
            print::convert(Held::open(&file)?.histories(), format)?;
            Ok(Verdict::Holds)
        }
    }
}

/// The history with that id, or the only one.
fn chosen(file: &Path, id: Option<&str>) -> anyhow::Result<(String, History)> {
    let held = Held::open(file)?;
    if let Some(id) = id {
        let found = held.named(id)?;
        return found.with_context(|| format!("{} holds no request {id}", file.display()));
    }
    let mut all = held.histories();
    match (all.next(), all.next()) {
        (Some(only), None) => only,
        _ => anyhow::bail!(
            "{} holds {} requests: name one with --id",
            file.display(),
            held.histories().count()
        ),
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
    let bundle = match Held::open(file) {
        Ok(Held::Bundle(bundle)) => bundle,
        Ok(held) => {
            verifier.policies = policies_for(&held, evidence.policies.as_deref())?;
            for found in held.histories() {
                let (subject, history) = found?;
                each(verifier.history(&subject, &history).await);
            }
            return Ok(());
        }
        Err(error) => match error.downcast::<BundleError>() {
            Ok(error) => {
                each(wrong(chain(&error)));
                return Ok(());
            }
            Err(error) => return Err(error),
        },
    };
    match bundle.policies() {
        Ok(files) => match Policies::of(&files) {
            Ok(policies) => verifier.policies = policies,
            Err(error) => each(wrong(chain(&error))),
        },
        Err(error) => each(wrong(chain(&error))),
    }
    verifier.bundle(&bundle, each).await;
    Ok(())
}

/// A file, opened: of a bundle one history at a time is in memory.
enum Held {
    Bundle(Box<Bundle>),
    One(String, Box<History>),
}

impl Held {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = || format!("cannot read {}", path.display());
        let mut file = File::open(path).with_context(shown)?;
        let mut head = Vec::new();
        let read = file.by_ref().take(512).read_to_end(&mut head);
        read.with_context(shown)?;
        if Bundle::is_one(&head) {
            return Ok(Self::Bundle(Box::new(Bundle::open(file)?)));
        }
        let mut bytes = Vec::new();
        file.rewind()
            .and_then(|()| file.read_to_end(&mut bytes))
            .with_context(shown)?;
        let bytes = match bytes.starts_with(&[0x1f, 0x8b]) {
            true => decompress(&bytes)
                .map_err(|e| anyhow::anyhow!("{}: {}", path.display(), chain(&e)))?,
            false => bytes,
        };
        let history = read_history(&bytes).with_context(|| path.display().to_string())?;
        Ok(Self::One(path.display().to_string(), Box::new(history)))
    }

    /// The histories: one, or all of a bundle.
    fn histories(&self) -> Box<dyn Iterator<Item = anyhow::Result<(String, History)>> + '_> {
        match self {
            Self::One(subject, history) => {
                let one = (subject.clone(), History::clone(history));
                Box::new(std::iter::once(Ok(one)))
            }
            Self::Bundle(bundle) => Box::new(bundle.histories().map(|(id, packed)| {
                let history = read_history(&packed?)?;
                Ok((id.to_owned(), history))
            })),
        }
    }

    fn named(&self, id: &str) -> anyhow::Result<Option<(String, History)>> {
        match self {
            Self::One(subject, history) if subject == id => {
                Ok(Some((subject.clone(), History::clone(history))))
            }
            Self::One(..) => Ok(None),
            Self::Bundle(bundle) => {
                let found = bundle.history(id)?;
                let read = found.map(|bytes| anyhow::Ok((id.to_owned(), read_history(&bytes)?)));
                read.transpose()
            }
        }
    }
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

fn policies_for(held: &Held, folder: Option<&Path>) -> anyhow::Result<Policies> {
    match (folder, held) {
        (Some(folder), _) => Ok(Policies::in_folder(folder)?),
        (None, Held::Bundle(bundle)) => Ok(Policies::of(&bundle.policies()?)?),
        (None, Held::One(..)) => Ok(Policies::default()),
    }
}
