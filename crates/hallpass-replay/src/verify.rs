//! All checks together: one history, or every history of a bundle.

use std::collections::BTreeMap;
use std::sync::Arc;

use hallpass_audit::{Check, Trust, Verdict, checks, is_closed, read_history};
use hallpass_bundle::{Bundle, Page};
use hallpass_types::Sha256Digest;
use jiff::Timestamp;
use serde::Serialize;
use temporalio_common::protos::temporal::api::history::v1::History;

use crate::gates::{Policies, decide_again};
use crate::identity::{IssuerKeys, identity};
use crate::log::{Log, logged};
use crate::strict::{ReplayError, Replayer};

const REPLAY: &str = "the workflow's code asks for exactly what the history says";
const SIGNED: &str = "the service signed every page of the export";
const WHOLE: &str = "the bundle is whole, and each history is the one that its page names";
/// Divergences beyond these say nothing new.
const TOLD: usize = 5;

/// What became of one history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The request's id, or the file.
    pub subject: String,
    /// Events in it; zero for what is no history.
    pub events: usize,
    /// Whether it is over.
    pub closed: bool,
    /// Every check.
    pub checks: Vec<Check>,
}

impl Report {
    /// The worst verdict among the checks.
    pub fn verdict(&self) -> Verdict {
        let all = self.checks.iter().map(|c| c.verdict);
        all.max().unwrap_or(Verdict::Unchecked)
    }
}

/// What a verification believes and decides with.
#[derive(Clone)]
pub struct Verifier {
    /// The workflows of this build.
    pub replayer: Replayer,
    /// Whose signatures count.
    pub trust: Trust,
    /// Policy to decide again with.
    pub policies: Policies,
    /// Keys of identity providers, where the auditor has them from elsewhere.
    pub issuer_keys: Option<Arc<IssuerKeys>>,
    /// What the auditor knows of the transparency log.
    pub log: Log,
}

impl Verifier {
    /// Verifies one history.
    pub async fn history(&self, subject: &str, history: &History) -> Report {
        let mut all = vec![self.replay(history).await];
        if all.iter().all(|c| c.id != "whole") {
            all.extend(checks(history, &self.trust));
            if all.iter().any(|c| c.id == "own_request") {
                all.push(identity(history, self.issuer_keys.as_deref()));
            }
            all.push(decide_again(history, &self.policies));
        }
        Report {
            subject: subject.to_owned(),
            events: history.events.len(),
            closed: is_closed(history),
            checks: all,
        }
    }

    /// Replays one history.
    pub async fn replay(&self, history: &History) -> Check {
        let agreement = match self.replayer.replay(history).await {
            Ok(agreement) => agreement,
            Err(ReplayError::NotWhole(why)) => {
                return Check::of("whole", REPLAY, vec![why.to_string()], "");
            }
            Err(error @ ReplayError::Setup(_)) => {
                return Check::unchecked("replay", REPLAY, error.to_string());
            }
            Err(error) => return Check::of("replay", REPLAY, vec![chain(&error)], ""),
        };
        let told = agreement.divergences.iter().take(TOLD);
        let wrong: Vec<String> = told.map(ToString::to_string).collect();
        let seen = match agreement.pending {
            0 => format!("{} commands agree", agreement.commands),
            n => format!(
                "{} commands agree; {n} are not recorded yet",
                agreement.commands
            ),
        };
        Check::of("replay", REPLAY, wrong, seen)
    }

    /// Verifies a bundle: the bundle itself first, then every history in it. `each` is told of
    /// every report as it comes.
    pub async fn bundle(&self, bundle: &Bundle, mut each: impl FnMut(Report)) {
        each(Report {
            subject: "bundle".to_owned(),
            events: 0,
            closed: true,
            checks: self.of_bundle(bundle),
        });
        for (id, packed) in bundle.histories() {
            let history = packed.map_err(|e| chain(&e));
            let history = history.and_then(|b| read_history(&b).map_err(|e| chain(&e)));
            match history {
                Ok(history) => each(self.history(id, &history).await),
                Err(why) => each(Report {
                    subject: id.to_owned(),
                    events: 0,
                    closed: false,
                    checks: vec![Check::of("whole", REPLAY, vec![why], "")],
                }),
            }
        }
    }

    /// Checks the bundle itself: signatures, digests, and what its log proves.
    pub fn of_bundle(&self, bundle: &Bundle) -> Vec<Check> {
        let pages: Vec<&Page> = bundle.pages().collect();
        let requests: usize = pages.iter().map(|p| p.requests.len()).sum();
        let signed = match &self.trust.keys {
            None => Check::unchecked(
                "signed",
                SIGNED,
                "no public keys were named: pass --keys with the service's own",
            ),
            Some(keys) => {
                let wrong = bundle.verify(keys).err().map(|e| chain(&e));
                let mut wrong: Vec<String> = wrong.into_iter().collect();
                let theirs = pages.first().map(|p| p.deployment.as_str());
                if let Some(ours) = self.trust.deployment.as_deref()
                    && theirs != Some(ours)
                {
                    wrong.push(format!("it is of another deployment than {ours}"));
                }
                Check::of("signed", SIGNED, wrong, format!("{} pages", pages.len()))
            }
        };
        let seen = glance(bundle);
        let mut all = vec![signed, whole(&seen, &pages, requests)];
        all.extend(logged(bundle, &seen, self.trust.keys.as_ref(), &self.log));
        all
    }
}

/// What the checks of the bundle itself need of each history.
pub(crate) type Seen<'a> = BTreeMap<&'a str, Glance>;

/// Of one history: its digest, and when its last event was.
#[derive(Default)]
pub(crate) struct Glance {
    digest: Option<Sha256Digest>,
    pub(crate) last: Option<Timestamp>,
}

/// Reads every history once; none is kept.
fn glance(bundle: &Bundle) -> Seen<'_> {
    let look = |packed: Vec<u8>| {
        let history = read_history(&packed).ok()?;
        let last = history.events.last().and_then(|e| e.event_time);
        Some(Glance {
            digest: hallpass_audit::digest(&history).ok(),
            last: last.and_then(|at| Timestamp::new(at.seconds, at.nanos).ok()),
        })
    };
    let all = bundle.histories();
    all.map(|(id, packed)| (id, packed.ok().and_then(look).unwrap_or_default()))
        .collect()
}

/// The digests that pages name are those of the histories.
fn whole(seen: &Seen<'_>, pages: &[&Page], requests: usize) -> Check {
    let named = pages.iter().flat_map(|p| &p.requests);
    let named: BTreeMap<_, _> = named.map(|r| (r.id.as_str(), &r.history_digest)).collect();
    let mut wrong = Vec::new();
    for (id, glance) in seen {
        if glance.digest.as_ref() != named.get(id).copied() {
            wrong.push(format!("{id} is not the history that its page names"));
        }
    }
    Check::of(
        "whole",
        WHOLE,
        wrong,
        format!("{requests} requests, each with its history"),
    )
}

/// An error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
