//! Decisions that identity providers signed, verified again from the record.

use std::collections::{BTreeMap, BTreeSet};

use hallpass_audit::{Check, weighings};
use hallpass_evidence::{Order, Statement};
use hallpass_identity::{ExpectedDecision, RecordedKey, SignedBy};
use hallpass_types::{EvidenceLevel, PrincipalId, RequestId, Verdict};
use hallpass_workflows::wire::{IdentityProof, WeighInput, Weighing};
use serde::Deserialize;
use serde_json::Value;
use temporalio_common::protos::temporal::api::history::v1::History;

const CLAIM: &str =
    "what counted as signed by an identity provider was signed by it, for this decision";
const AS_RECORDED: &str = "with the keys in the record: that they are the issuers' own is the \
     worker's word, unless --issuer-keys says so";

/// Keys of identity providers that an auditor had from elsewhere: issuer to its key set.
#[derive(Default)]
pub struct IssuerKeys(BTreeMap<String, Vec<RecordedKey>>);

/// A file that holds no issuers' keys.
#[derive(Debug, thiserror::Error)]
#[error("it is no object of issuers with their key sets: {{\"https://idp\": {{\"keys\": [...]}}}}")]
pub struct IssuerKeysError(#[source] serde_json::Error);

impl IssuerKeys {
    /// Reads `{"https://issuer": {"keys": [...]}}`: what each issuer published (RFC 7517). Keys that
    /// cannot verify signatures are left out.
    ///
    /// # Errors
    /// [`IssuerKeysError`] when it has another form.
    pub fn parse(json: &[u8]) -> Result<Self, IssuerKeysError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let sets: BTreeMap<String, Set> = serde_json::from_slice(json).map_err(IssuerKeysError)?;
        let read = |set: Set| {
            let keys = set.keys.iter().map(Value::to_string);
            keys.filter_map(|key| RecordedKey::parse(&key)).collect()
        };
        let sets = sets.into_iter().map(|(issuer, set)| (issuer, read(set)));
        Ok(Self(sets.collect()))
    }
}

/// Whether every decision that counted as an identity provider's carries that provider's signature.
pub(crate) fn identity(history: &History, pinned: Option<&IssuerKeys>) -> Check {
    let mut wrong = Vec::new();
    let mut proven = BTreeSet::new();
    for (event_id, input, weighing) in weighings(history) {
        let decisions = statements(&input);
        for proof in &weighing.proven {
            proven.insert(proof.decision.clone());
            if let Err(why) = verify(decisions.get(&proof.decision), proof, pinned) {
                let (who, id) = (&proof.approver, &proof.decision);
                wrong.push(format!("event {event_id}: decision {id} of {who}: {why}"));
            }
        }
        let more = unproven(&weighing, &decisions);
        wrong.extend(
            more.into_iter()
                .map(|why| format!("event {event_id}: {why}")),
        );
    }
    let seen = match (proven.len(), pinned) {
        (0, _) => "no decision was signed by an identity provider".to_owned(),
        (n, Some(_)) => format!("{n} decisions, with the keys of --issuer-keys"),
        (n, None) => format!("{n} decisions, {AS_RECORDED}"),
    };
    Check::of("identity", CLAIM, wrong, seen)
}

fn statements(input: &WeighInput) -> BTreeMap<RequestId, Statement> {
    let decisions = input.evidence.decisions.iter();
    decisions
        .filter_map(|envelope| envelope.claimed())
        .map(|statement| (statement.request_id.clone(), statement))
        .collect()
}

fn verify(
    statement: Option<&Statement>,
    proof: &IdentityProof,
    pinned: Option<&IssuerKeys>,
) -> Result<(), String> {
    let statement = statement.ok_or("nobody had made it")?;
    let nonce = statement.decision().map(|decision| decision.nonce());
    let (
        Order::Decide {
            token: Some(token), ..
        },
        Some(nonce),
    ) = (&statement.order, nonce)
    else {
        return Err("it came without a token".to_owned());
    };
    if statement.actor.id != proof.approver {
        return Err("it was made by somebody else".to_owned());
    }
    let expected = ExpectedDecision {
        approver: &proof.approver,
        nonce: &nonce,
        made_at: statement.signed_at,
    };
    let by = SignedBy {
        client: proof.client.clone(),
        subject_claim: proof.subject_claim.clone(),
        key: proof.key.clone(),
    };
    let recorded = RecordedKey::parse(&proof.key).ok_or("the recorded key is none")?;
    let holds = |key: &RecordedKey| key.verify(token.expose(), &expected, &by);
    holds(&recorded).map_err(|reject| format!("{} ({})", reject, reject.code()))?;
    let Some(IssuerKeys(pinned)) = pinned else {
        return Ok(());
    };
    let keys = pinned.get(proof.approver.issuer());
    match keys.into_iter().flatten().any(|key| holds(key).is_ok()) {
        true => Ok(()),
        false => Err("no key of --issuer-keys signed it".to_owned()),
    }
}

/// What a weighing took for an identity provider's word without any.
fn unproven(weighing: &Weighing, decisions: &BTreeMap<RequestId, Statement>) -> Vec<String> {
    let mut wrong = Vec::new();
    let proven = |id: &RequestId| weighing.proven.iter().any(|p| p.decision == *id);
    let signers: BTreeSet<&PrincipalId> = weighing.proven.iter().map(|p| &p.approver).collect();
    let approvers: BTreeSet<&PrincipalId> = decisions
        .values()
        .filter(|s| proven(&s.request_id) && is_approval(&s.order))
        .map(|s| &s.actor.id)
        .collect();
    let (tally, signed) = (weighing.tally, approvers.len());
    let counted = usize::try_from(tally.distinct).unwrap_or(usize::MAX);
    if tally.evidence == EvidenceLevel::IdentityProvider && counted > signed {
        wrong.push(format!(
            "{counted} approvals counted as signed, {signed} were"
        ));
    }
    for (who, answer) in &weighing.not_counted {
        let context = answer.inputs.get("context");
        let context = context.and_then(|text| serde_json::from_str::<Value>(text).ok());
        let said = context.map(|context| context["evidence"] == "identity_provider");
        if said == Some(true) && !signers.contains(who) {
            wrong.push(format!("policy was told that {who} signed, who did not"));
        }
    }
    for (id, statement) in decisions {
        let has_token = matches!(&statement.order, Order::Decide { token: Some(_), .. });
        let refused = weighing.disproved.iter().any(|d| d.decision == *id);
        if has_token && !proven(id) && !refused {
            wrong.push(format!("the token of decision {id} was not looked at"));
        }
    }
    wrong
}

fn is_approval(order: &Order) -> bool {
    matches!(
        order,
        Order::Decide {
            verdict: Verdict::Approve,
            ..
        }
    )
}
