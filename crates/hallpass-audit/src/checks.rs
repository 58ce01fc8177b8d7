//! The promises as checks over one history: each with a verdict and what it rests on.

mod given;
mod people;
mod questions;
mod secrets;
mod states;

use std::collections::BTreeMap;
use std::fmt;

use hallpass_evidence::{Envelope, Keyring, Statement};
use hallpass_workflows::names::ACCESS_REQUEST_WORKFLOW;
use hallpass_workflows::wire::{WeighInput, Weighing};
use serde::Serialize;
use temporalio_common::protos::temporal::api::history::v1::History;

use crate::facts::Facts;

pub use questions::RecordedAnswer;

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It could not be checked: something that it needs is not there.
    Unchecked,
    /// It does not hold.
    Broken,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Holds => "holds",
            Self::Unchecked => "unchecked",
            Self::Broken => "BROKEN",
        })
    }
}

/// One check with its verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// A stable name, for instance `own_request`.
    pub id: &'static str,
    /// What must hold, in words.
    pub claim: &'static str,
    /// Whether it does.
    pub verdict: Verdict,
    /// What the verdict rests on: what was seen, or what is wrong.
    pub evidence: Vec<String>,
}

impl Check {
    /// A check that could not be made, and why.
    pub fn unchecked(id: &'static str, claim: &'static str, why: impl Into<String>) -> Self {
        Self {
            id,
            claim,
            verdict: Verdict::Unchecked,
            evidence: vec![why.into()],
        }
    }

    /// A check that holds when nothing is wrong.
    pub fn of(
        id: &'static str,
        claim: &'static str,
        wrong: Vec<String>,
        seen: impl Into<String>,
    ) -> Self {
        let holds = wrong.is_empty();
        Self {
            id,
            claim,
            verdict: if holds {
                Verdict::Holds
            } else {
                Verdict::Broken
            },
            evidence: if holds { vec![seen.into()] } else { wrong },
        }
    }
}

/// Whose signatures count: from a file that the auditor has, never from the history itself.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The service's public keys; `None` when the auditor named none.
    pub keys: Option<Keyring>,
    /// The deployment that orders must be signed for; the record's own when not named.
    pub deployment: Option<String>,
}

/// Checks everything that can be told from one history without running code or policy.
pub fn checks(history: &History, trust: &Trust) -> Vec<Check> {
    let facts = Facts::of(history);
    if facts.workflow_type != ACCESS_REQUEST_WORKFLOW {
        // A sweep, or another helper of ours: nobody asks and nobody decides there.
        return vec![secrets::secrets(history)];
    }
    let Some(keys) = &trust.keys else {
        let why = "no public keys were named: pass --keys with the service's own";
        let mut all = vec![
            Check::unchecked("request", people::REQUEST, why),
            Check::unchecked("signatures", people::SIGNATURES, why),
            Check::unchecked("counted", people::COUNTED, why),
            Check::unchecked("own_request", people::OWN_REQUEST, why),
        ];
        all.extend(without_keys(history, &facts));
        return all;
    };
    let deployment = trust.deployment.clone().or_else(|| {
        let (_, admitted) = facts.admitted()?;
        Some(admitted.deployment)
    });
    let read = Read {
        facts: &facts,
        keys,
        deployment: deployment.unwrap_or_default(),
    };
    let mut all = vec![
        read.request(),
        read.signatures(),
        read.counted(),
        read.own_request(),
    ];
    all.extend(without_keys(history, &facts));
    all
}

/// Every gate's answer that a history records, in its order: what can be decided again.
pub fn answers(history: &History) -> Vec<RecordedAnswer> {
    questions::answers(&Facts::of(history))
}

/// Every weighing of decisions that a history records: its event, what was asked, what was answered.
pub fn weighings(history: &History) -> Vec<(i64, WeighInput, Weighing)> {
    Facts::of(history).weighings().collect()
}

fn without_keys(history: &History, facts: &Facts) -> Vec<Check> {
    vec![
        questions::questions(facts),
        states::transitions(facts),
        given::order_first(facts),
        given::sessions(facts),
        given::proof(facts),
        secrets::secrets(history),
    ]
}

/// A history with the keys that count.
struct Read<'a> {
    facts: &'a Facts,
    keys: &'a Keyring,
    deployment: String,
}

impl Read<'_> {
    fn statement(&self, envelope: &Envelope) -> Result<Statement, String> {
        envelope
            .verify(self.keys, &self.deployment)
            .map_err(|e| e.to_string())
    }

    /// Messages with a good signature, by the digest of their payload, with the event of each.
    fn verified(&self) -> BTreeMap<String, Vec<(i64, Statement)>> {
        let mut found: BTreeMap<String, Vec<(i64, Statement)>> = BTreeMap::new();
        for message in &self.facts.messages {
            if let Some(envelope) = &message.envelope
                && let Ok(statement) = self.statement(envelope)
            {
                let digest = envelope.digest().to_string();
                found
                    .entry(digest)
                    .or_default()
                    .push((message.event_id, statement));
            }
        }
        found
    }
}
