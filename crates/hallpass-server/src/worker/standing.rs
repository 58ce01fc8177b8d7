//! Whether those who asked and decided still stand as they did, as the directory says now.

use hallpass_policy::Bundle;
use hallpass_types::{PolicyAnswer, PolicyOutcome, Principal, PrincipalId};
use temporalio_sdk::activities::ActivityError;

use super::evidence::SignedDecision;
use super::failure::{fatal, retry, words};
use crate::directory::{Directory, Standing};

/// Decisions, by whether their makers still stand.
#[derive(Default)]
pub(super) struct Decisions {
    pub(super) standing: Vec<SignedDecision>,
    /// Whose decisions do not count, with why: for the record.
    pub(super) gone: Vec<(PrincipalId, PolicyAnswer)>,
}

/// The requester now.
pub(super) async fn requester(
    directory: &Directory,
    known: &Principal,
) -> Result<Result<Principal, String>, ActivityError> {
    Ok(match directory.recheck(known).await.map_err(retry)? {
        Standing::Stands(now) => Ok(*now),
        Standing::Gone(why) => Err(format!("the directory says that the requester {why}")),
    })
}

/// The requester now; without one nothing is given.
pub(super) async fn needed_requester(
    directory: &Directory,
    known: &Principal,
) -> Result<Principal, ActivityError> {
    let now = requester(directory, known).await?;
    now.map_err(|why| fatal(words(&why)))
}

/// Somebody who left does not count; the others go on.
pub(super) async fn decisions(
    directory: &Directory,
    bundle: &Bundle,
    signed: Vec<SignedDecision>,
) -> Result<Decisions, ActivityError> {
    let mut decisions = Decisions::default();
    for decision in signed {
        let approver = &decision.approver;
        match directory.recheck(approver).await.map_err(retry)? {
            Standing::Stands(person) => {
                decisions.standing.push(SignedDecision {
                    approver: *person,
                    ..decision
                });
            }
            Standing::Gone(why) => {
                let answer = not_counted(bundle, &approver.id, why);
                decisions.gone.push((approver.id.clone(), answer));
            }
        }
    }
    Ok(decisions)
}

fn not_counted(bundle: &Bundle, person: &PrincipalId, why: &str) -> PolicyAnswer {
    PolicyAnswer {
        gate: "directory".to_owned(),
        outcome: PolicyOutcome::Deny,
        policy_ids: Vec::new(),
        messages: vec![format!(
            "The decision of {person} does not count: the directory says that this person {why}."
        )],
        errors: Vec::new(),
        policy_digest: bundle.digest().clone(),
        inputs: Default::default(),
    }
}
