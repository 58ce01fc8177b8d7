//! The recorded gates, decided again with the recorded policy.

use std::collections::BTreeMap;
use std::path::Path;

use hallpass_audit::{Check, RecordedAnswer, Verdict, answers};
use hallpass_policy::{Bundle, BundleError};
use hallpass_types::PolicyAnswer;
use temporalio_common::protos::temporal::api::history::v1::History;

const CLAIM: &str = "the recorded policy, asked again, gives the recorded answers";

/// Archived policy that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoliciesError {
    /// A folder or file cannot be read.
    #[error("cannot read the policy archive {path}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A bundle does not parse.
    #[error("the archived policy bundle {digest} is not valid")]
    Invalid {
        /// The digest that names it.
        digest: String,
        /// Why.
        #[source]
        source: BundleError,
    },
    /// A bundle is not the one that its name says.
    #[error("the archived policy bundle {name} has the digest {digest}: it was changed")]
    Changed {
        /// The digest that names it.
        name: String,
        /// The digest that it has.
        digest: String,
    },
}

/// Archived policy bundles by digest.
#[derive(Clone, Debug, Default)]
pub struct Policies(BTreeMap<String, Bundle>);

impl Policies {
    /// The bundles in an archive folder, one folder for each digest.
    ///
    /// # Errors
    /// [`PoliciesError`].
    pub fn in_folder(folder: &Path) -> Result<Self, PoliciesError> {
        let mut found = BTreeMap::new();
        for path in entries(folder)? {
            if path.is_dir() {
                let digest = path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                let mut files = BTreeMap::new();
                for file in entries(&path)? {
                    if file.is_dir() {
                        for inner in entries(&file)? {
                            files.insert(relative(&path, &inner), bytes(&inner)?);
                        }
                    } else {
                        files.insert(relative(&path, &file), bytes(&file)?);
                    }
                }
                found.insert(digest, files);
            }
        }
        Self::of(&found)
    }

    /// The bundles of these files, by digest.
    ///
    /// # Errors
    /// [`PoliciesError::Invalid`], [`PoliciesError::Changed`].
    pub fn of(
        archived: &BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    ) -> Result<Self, PoliciesError> {
        let mut bundles = BTreeMap::new();
        for (name, files) in archived {
            let invalid = |source| PoliciesError::Invalid {
                digest: name.clone(),
                source,
            };
            let bundle = Bundle::parse_archived(files).map_err(invalid)?;
            let digest = bundle.digest().to_string();
            if digest != *name {
                let name = name.clone();
                return Err(PoliciesError::Changed { name, digest });
            }
            bundles.insert(digest, bundle);
        }
        Ok(Self(bundles))
    }
}

fn entries(folder: &Path) -> Result<Vec<std::path::PathBuf>, PoliciesError> {
    let io = |source| read_error(folder, source);
    let entries = std::fs::read_dir(folder).map_err(io)?;
    let mut paths: Vec<_> = entries
        .map(|e| e.map(|e| e.path()))
        .collect::<Result<_, _>>()
        .map_err(io)?;
    paths.sort();
    Ok(paths)
}

fn bytes(path: &Path) -> Result<Vec<u8>, PoliciesError> {
    std::fs::read(path).map_err(|source| read_error(path, source))
}

fn read_error(path: &Path, source: std::io::Error) -> PoliciesError {
    PoliciesError::Read {
        path: path.display().to_string(),
        source,
    }
}

fn relative(folder: &Path, file: &Path) -> String {
    file.strip_prefix(folder)
        .unwrap_or(file)
        .display()
        .to_string()
}

/// Puts every recorded question again and compares the answers, in words.
pub fn decide_again(history: &History, policies: &Policies) -> Check {
    let (mut wrong, mut missing, mut same) = (Vec::new(), Vec::new(), 0);
    for RecordedAnswer { event_id, answer } in answers(history) {
        let at = format!("event {event_id}, {} gate", answer.gate);
        let Some(bundle) = policies.0.get(answer.policy_digest.as_str()) else {
            let digest = &answer.policy_digest;
            missing.push(format!("{at}: policy bundle {digest} is not at hand"));
            continue;
        };
        match bundle.decide_again(&answer) {
            Ok(again) if again == answer => same += 1,
            Ok(again) => wrong.push(format!("{at}: {}", difference(&answer, &again))),
            Err(error) => wrong.push(format!("{at}: {error}")),
        }
    }
    if wrong.is_empty() && !missing.is_empty() {
        return Check {
            id: "gates",
            claim: CLAIM,
            verdict: Verdict::Unchecked,
            evidence: missing,
        };
    }
    Check::of(
        "gates",
        CLAIM,
        wrong,
        format!("{same} answers, all the same again"),
    )
}

fn difference(recorded: &PolicyAnswer, again: &PolicyAnswer) -> String {
    let word = |a: &PolicyAnswer| if a.allows() { "yes" } else { "no" };
    let by = |a: &PolicyAnswer| match a.policy_ids.is_empty() {
        true => "by no policy".to_owned(),
        false => format!("by {}", a.policy_ids.join(", ")),
    };
    let (was, now) = (word(recorded), word(again));
    let mut text = format!(
        "recorded {was} {}, decided again {now} {}",
        by(recorded),
        by(again)
    );
    if recorded.messages != again.messages {
        let (was, now) = (recorded.messages.join(" "), again.messages.join(" "));
        text.push_str(&format!("; recorded words \"{was}\", now \"{now}\""));
    }
    if recorded.errors != again.errors {
        text.push_str(&format!(
            "; errors {:?}, now {:?}",
            recorded.errors, again.errors
        ));
    }
    text
}
