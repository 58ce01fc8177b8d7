//! One step of the trail in people's words.

use std::collections::BTreeSet;

use hallpass_evidence::{Envelope, Order, Statement};
use hallpass_types::grant::ReadBack;
use hallpass_types::{
    Control, EndCause, Exception, Grant, PolicyAnswer, ProofOfEnd, SealedCredentials, Verdict,
};
use hallpass_workflows::wire::{
    Disproved, EndInput, ExtendReply, IdentityProof, IssueReply, NotifyInput, Outcome, Reply,
    Weighing,
};
use temporalio_common::protos::temporal::api::common::v1::Payload;
use temporalio_common::protos::temporal::api::update::v1::outcome::Value as UpdateValue;

use super::{decode, first};

/// A step before it is stamped.
pub(super) struct Step {
    pub(super) actor: String,
    pub(super) kind: &'static str,
    pub(super) summary: String,
    pub(super) details: Vec<(&'static str, String)>,
}

pub(super) fn step(
    actor: impl Into<String>,
    kind: &'static str,
    summary: impl Into<String>,
) -> Step {
    Step {
        actor: actor.into(),
        kind,
        summary: summary.into(),
        details: Vec::new(),
    }
}

impl Step {
    pub(super) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.details.push((name, value.to_string()));
        self
    }
}

pub(super) fn requested(payload: Option<serde_json::Value>) -> Step {
    // The admission that follows says whether the signature holds.
    let statement = payload
        .and_then(|p| serde_json::from_value::<Envelope>(p).ok())
        .and_then(|e| e.claimed());
    match statement.as_ref().map(|s| (&s.actor, &s.order)) {
        Some((actor, Order::RequestAccess { spec })) => {
            let glass = match spec.break_glass {
                true => ", breaking the glass",
                false => "",
            };
            let what = format!(
                "asked for {} for {}{glass}: {}",
                spec.entitlement, spec.duration, spec.reason
            );
            let mut step = step(actor.id.to_string(), "request", what)
                .with("entitlement", &spec.entitlement)
                .with("duration", spec.duration)
                .with("reason", &spec.reason)
                .with("request_id", &spec.request_id);
            if !spec.parameters.is_empty() {
                let values = spec.parameters.iter();
                let values: Vec<_> = values.map(|(n, v)| format!("{n}={v}")).collect();
                step = step.with("parameters", values.join(", "));
            }
            if let Some(start) = spec.start {
                step = step.with("start", start);
            }
            match &spec.ticket {
                Some(ticket) => step.with("ticket", ticket),
                None => step,
            }
        }
        _ => step(
            "unknown",
            "request.unsigned",
            "started with something that is no signed request",
        ),
    }
}

pub(super) fn spoken(statement: &Statement) -> Step {
    let because = |reason: &Option<_>| match reason {
        Some(reason) => format!(": {reason}"),
        None => String::new(),
    };
    let who = statement.actor.id.to_string();
    let step = match &statement.order {
        Order::Decide {
            verdict: Verdict::Approve,
            reason,
            at_most: None,
            ..
        } => step(
            who,
            "decision.approve",
            format!("approved{}", because(reason)),
        ),
        Order::Decide {
            verdict: Verdict::Approve,
            reason,
            at_most: Some(bound),
            ..
        } => step(
            who,
            "decision.approve",
            format!("approved for at most {bound}{}", because(reason)),
        )
        .with("at_most", bound),
        Order::Decide {
            verdict: Verdict::Deny,
            reason,
            ..
        } => step(who, "decision.deny", format!("denied{}", because(reason))),
        Order::Withdraw { reason } => step(
            who,
            "order.withdraw",
            format!("withdrew the request{}", because(reason)),
        ),
        Order::Return { reason } => step(
            who,
            "order.return",
            format!("gave access back{}", because(reason)),
        ),
        Order::Revoke { reason } => {
            step(who, "order.revoke", format!("took access back: {reason}"))
        }
        Order::Review { reason } => {
            step(who, "order.review", format!("closed the review: {reason}"))
        }
        Order::Extend { by_seconds, reason } => step(
            who,
            "order.extend",
            format!("asked for {by_seconds} s more: {reason}"),
        ),
        Order::IssueCredentials { .. } => step(
            who,
            "order.issue",
            "asked for credentials, sealed to a key of their own",
        ),
        Order::RequestAccess { .. } => step(who, "order.refused", "a request inside a request"),
    };
    step.with("request_id", &statement.request_id)
        .with("signed_at", statement.signed_at)
        .with("mfa", statement.actor.auth.mfa)
}

pub(super) fn answered(answer: &PolicyAnswer) -> Step {
    let (kind, word) = if answer.allows() {
        ("policy.allow", "opened")
    } else {
        ("policy.deny", "stayed shut")
    };
    let summary = format!("the {} gate {word}. {}", answer.gate, answer.explain());
    step("policy", kind, summary)
        .with("policy_ids", answer.policy_ids.join(", "))
        .with("policy_digest", &answer.policy_digest)
}

pub(super) fn weighed(weighing: Weighing) -> Vec<Step> {
    let tally = weighing.tally;
    let mut steps: Vec<Step> = weighing.proven.iter().map(proven).collect();
    steps.extend(weighing.disproved.iter().map(disproved));
    steps.extend(weighing.not_counted.iter().map(|(who, answer)| {
        step(
            "policy",
            "decision.not_counted",
            format!("{who} does not count. {}", answer.explain()),
        )
    }));
    if let Some(who) = &weighing.denied_by {
        steps.push(step(
            "policy",
            "decision.final",
            format!("{who} may deny: the request is over"),
        ));
        return steps;
    }
    steps.extend(weighing.answers.iter().map(|answer| {
        answered(answer)
            .with("owner", tally.owner)
            .with("security", tally.security)
            .with("distinct", tally.distinct)
            .with("evidence", tally.evidence.as_str())
    }));
    if let Some(shorter) = weighing.shortened {
        let words = format!("the shortest approval that counts is for {shorter}");
        steps.push(step("policy", "shortened", words).with("duration", shorter));
    }
    steps.extend(weighing.exception.as_ref().map(excepted));
    steps
}

fn proven(proof: &IdentityProof) -> Step {
    let (who, issuer) = (&proof.approver, proof.approver.issuer());
    let words = format!("{issuer} signed this decision of {who}, who signed in for it");
    step("hallpass", "decision.proven", words)
        .with("request_id", &proof.decision)
        .with("client", &proof.client)
}

fn disproved(refused: &Disproved) -> Step {
    let words = format!("a decision was refused: {}", refused.why);
    step("hallpass", "order.refused", words)
        .with("request_id", &refused.decision)
        .with("code", &refused.code)
}

/// That access opened by way of an exception, and what is owed for it.
pub(super) fn excepted(exception: &Exception) -> Step {
    let groups = |groups: &BTreeSet<String>| groups.iter().cloned().collect::<Vec<_>>().join(", ");
    let (page, review) = (groups(&exception.page), groups(&exception.review));
    let how = match exception.break_glass {
        true => "opened by break-glass",
        false => "opened by an exception",
    };
    step(
        "policy",
        "exception",
        format!("{how}: pages {page}; review by {review}"),
    )
    .with("page", page)
    .with("review", review)
}

/// Whom a request is put to, and of what people are told.
pub(super) fn asked(groups: &str) -> Step {
    step("hallpass", "asked", format!("put to {groups}")).with("groups", groups)
}

fn notice(input: &NotifyInput) -> Step {
    let groups: Vec<_> = input.groups.iter().map(String::as_str).collect();
    let (what, groups) = (input.notice.as_str(), groups.join(", "));
    step("hallpass", "notice", format!("told {groups}: {what}"))
        .with("groups", groups)
        .with("notice", what)
}

pub(super) fn scheduled(name: &str, input: Option<&Payload>) -> Vec<Step> {
    match name {
        "hallpass.provision" => {
            vec![step(
                "hallpass",
                "provision.ordered",
                "ordered to make the role; its end is fixed",
            )]
        }
        "hallpass.notify" => {
            let input = input.and_then(decode::<NotifyInput>);
            input.iter().map(notice).collect()
        }
        "hallpass.end_access" => {
            let Some(input) = input.and_then(decode::<EndInput>) else {
                return Vec::new();
            };
            let words = match input.cause {
                EndCause::Expired => "the end has come",
                EndCause::Returned => "access was given back: cutting sessions",
                EndCause::Revoked => "access was taken back: cutting sessions",
                EndCause::ProvisioningFailed => "provisioning failed: taking back what was made",
            };
            vec![step("hallpass", "end.ordered", words).with("end", input.end)]
        }
        _ => Vec::new(),
    }
}

pub(super) fn made(grant: Grant) -> Step {
    step(
        "aws",
        "role.made",
        format!("made {} with its fence", grant.role_arn),
    )
    .with("role_arn", &grant.role_arn)
    .with("aws_request_ids", grant.aws_request_ids.join(", "))
}

pub(super) fn updated(name: &str, value: Option<&UpdateValue>) -> Vec<Step> {
    let payloads = match value {
        Some(UpdateValue::Success(payloads)) => Some(payloads),
        Some(UpdateValue::Failure(failure)) => {
            return vec![step("hallpass", "order.refused", failure.message.clone())];
        }
        None => None,
    };
    let refused = |why: String| step("hallpass", "order.refused", format!("refused: {why}"));
    match name {
        "issue" => match first::<IssueReply>(payloads) {
            Some(Reply::Done(sealed)) => vec![issued(&sealed)],
            Some(Reply::Refused(refusal)) => vec![refused(refusal.why)],
            None => Vec::new(),
        },
        "extend" => match first::<ExtendReply>(payloads) {
            Some(Reply::Done(end)) => {
                vec![step("hallpass", "extended", format!("the end is now {end}")).with("end", end)]
            }
            Some(Reply::Refused(refusal)) => vec![refused(refusal.why)],
            None => Vec::new(),
        },
        _ => Vec::new(),
    }
}

pub(super) fn issued(sealed: &SealedCredentials) -> Step {
    let c = &sealed.credential;
    let summary = format!(
        "issued session {} ({}), sealed; refused from {} on",
        c.serial, c.access_key_id, c.end
    );
    step("aws", "session.issued", summary)
        .with("access_key_id", &c.access_key_id)
        .with("session_expires_at", c.session_expires_at)
        .with("end", c.end)
        .with("aws_userid", &c.assumed_role_id)
        .with("recipient_key_digest", &c.recipient_key_digest)
        .with("aws_request_id", c.aws_request_id.as_deref().unwrap_or("-"))
}

pub(super) fn proved(proof: &ProofOfEnd, input: Option<EndInput>) -> Step {
    let read_back = match &proof.read_back {
        ReadBack::RoleGone { role_arn } => format!("role {role_arn} is gone"),
        ReadBack::DenyInPlace { policy_name, .. } => format!("deny {policy_name} stands"),
        ReadBack::FencePassed { end } => format!("the fence's instant {end} has passed"),
    };
    let (call, code) = (&proof.canary.call, &proof.canary.code);
    let before = match &proof.control {
        Control::Allowed { call, .. } => format!("; {call} had been allowed"),
        Control::Missing { .. } => String::new(),
    };
    let summary = format!("proved over: {read_back}{before}; {call} was refused: {code}");
    let mut step = step("aws", "end.proved", summary)
        .with("proved_at", proof.proved_at)
        .with("aws_request_ids", proof.aws_request_ids.join(", "));
    step = match &proof.control {
        Control::Allowed { call, .. } => step.with("allowed_call", call),
        Control::Missing { why } => step.with("no_allowed_call", why),
    };
    if let Some(fence) = &proof.canary_fence {
        step = step
            .with("canary_fence", fence.end)
            .with("canary_fence_of", &fence.request);
    }
    if let Some(EndInput {
        cause: EndCause::Expired,
        end,
        ..
    }) = input
    {
        let lag = proof.proved_at.duration_since(end.timestamp());
        step = step.with("lag_ms", lag.as_millis());
    }
    step
}

pub(super) fn closed(outcome: Outcome) -> Step {
    let phase = outcome.state.phase();
    let lag = outcome.state.lag();
    let step = step("hallpass", "closed", format!("{phase}"))
        .with("sessions", outcome.issued)
        .with("decisions", outcome.decisions)
        .with("refused_messages", outcome.refused);
    match lag {
        Some(lag) => step.with("lag_ms", lag.as_millis()),
        None => step,
    }
}
