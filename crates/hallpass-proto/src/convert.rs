//! Domain to wire, and wire to domain.

use std::collections::BTreeSet;
use std::fmt;

use hallpass_types::grant::ReadBack;
use hallpass_types::machine::Leftover;
use hallpass_types::{
    AccessMode, ApprovalTally, Asked, Control, Credential, DeniedBy, EndCause, Entitlement,
    EvidenceLevel, GrantDuration, Phase, PolicyAnswer, Principal, PrincipalKind, ProofOfEnd,
    Refusal, RequestSnapshot, Review, State, Verdict,
};
use jiff::Timestamp;

use crate::v1;

/// An instant on the wire.
pub fn timestamp(t: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: t.as_second(),
        nanos: t.subsec_nanosecond(),
    }
}

/// An instant from the wire; `None` when out of range.
pub fn from_timestamp(t: &prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(t.seconds, t.nanos).ok()
}

/// A duration on the wire.
pub fn duration(d: std::time::Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(d.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(d.subsec_nanos()).unwrap_or_default(),
    }
}

/// Whole seconds of a wire duration; `None` when it has a fraction.
pub fn whole_seconds(d: &prost_types::Duration) -> Option<i64> {
    (d.nanos == 0).then_some(d.seconds)
}

/// A caller on the wire.
pub fn principal(p: &Principal) -> v1::Principal {
    v1::Principal {
        id: p.id.to_string(),
        kind: match p.kind {
            PrincipalKind::Human => v1::PrincipalKind::Human,
            PrincipalKind::Workload => v1::PrincipalKind::Workload,
            PrincipalKind::Agent => v1::PrincipalKind::Agent,
        }
        .into(),
        display_name: p.display_name.clone().unwrap_or_default(),
        groups: p.groups.iter().cloned().collect(),
        acting_for: p
            .acting_for
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        mfa: p.auth.mfa,
        authenticated_time: Some(timestamp(p.auth.authenticated_at)),
    }
}

/// An entitlement on the wire; `allowed` is the longest grant policy allows the caller.
pub fn entitlement(e: &Entitlement, allowed: Option<GrantDuration>) -> v1::Entitlement {
    let (mode, role_arn) = match &e.access {
        AccessMode::Assume { role_arn, .. } => (v1::AccessMode::Assume, role_arn.to_string()),
        AccessMode::Create { .. } => (v1::AccessMode::Create, String::new()),
    };
    v1::Entitlement {
        name: e.id.name(),
        title: e.title.clone(),
        account: e.account.to_string(),
        account_name: e.account_name.clone(),
        environment: e.environment.clone(),
        mode: mode.into(),
        role_arn,
        risk: i32::from(e.risk.level()),
        max_duration: Some(duration(e.max_duration.as_std())),
        owners: e.owners.clone(),
        allowed_duration: allowed.map(|d| duration(d.as_std())),
        region: e.region.clone(),
        parameters: Vec::new(),
        source_ips: texts(&e.conditions.source_ips),
        source_vpces: texts(&e.conditions.source_vpces),
        org_id: e
            .conditions
            .org_id
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        max_session: e.max_session.map(|s| prost_types::Duration {
            seconds: i64::from(s),
            nanos: 0,
        }),
    }
}

fn texts<T: ToString>(all: &BTreeSet<T>) -> Vec<String> {
    all.iter().map(T::to_string).collect()
}

/// A state on the wire.
pub fn phase(p: Phase) -> v1::access_request::State {
    use v1::access_request::State as W;
    match p {
        Phase::Checking => W::Checking,
        Phase::AwaitingApproval => W::AwaitingApproval,
        Phase::Scheduled => W::Scheduled,
        Phase::Provisioning => W::Provisioning,
        Phase::Active => W::Active,
        Phase::Ending => W::Ending,
        Phase::Stuck => W::Stuck,
        Phase::Ended => W::Ended,
        Phase::Denied => W::Denied,
        Phase::Lapsed => W::Lapsed,
        Phase::Withdrawn => W::Withdrawn,
        Phase::Failed => W::Failed,
    }
}

/// A state from the wire; `None` for unspecified.
pub fn from_phase(s: v1::access_request::State) -> Option<Phase> {
    Phase::ALL.into_iter().find(|p| phase(*p) == s)
}

/// A verdict from the wire; `None` for unspecified.
pub fn from_verdict(v: v1::Verdict) -> Option<Verdict> {
    match v {
        v1::Verdict::Approve => Some(Verdict::Approve),
        v1::Verdict::Deny => Some(Verdict::Deny),
        v1::Verdict::Unspecified => None,
    }
}

/// A tally on the wire.
pub fn tally(t: ApprovalTally) -> v1::ApprovalTally {
    let n = |x: u32| i32::try_from(x).unwrap_or(i32::MAX);
    v1::ApprovalTally {
        owner: n(t.owner),
        security: n(t.security),
        distinct: n(t.distinct),
    }
}

/// A gate's answer on the wire, without the engine's inputs.
pub fn policy_answer(a: &PolicyAnswer) -> v1::PolicyAnswer {
    v1::PolicyAnswer {
        gate: a.gate.clone(),
        allowed: a.allows(),
        policy_ids: a.policy_ids.clone(),
        messages: a.messages.clone(),
        errors: a.errors.clone(),
        policy_digest: a.policy_digest.to_string(),
    }
}

/// An issued session's public facts on the wire.
pub fn credential(c: &Credential) -> v1::IssuedCredential {
    v1::IssuedCredential {
        access_key_id: c.access_key_id.clone(),
        session_expire_time: Some(timestamp(c.session_expires_at)),
        end_time: Some(timestamp(c.end.timestamp())),
        assumed_role_id: c.assumed_role_id.clone(),
        serial: i32::try_from(c.serial).unwrap_or(i32::MAX),
        recipient_key_digest: c.recipient_key_digest.to_string(),
    }
}

/// A cause on the wire.
pub fn end_cause(c: EndCause) -> v1::EndCause {
    match c {
        EndCause::Expired => v1::EndCause::Expired,
        EndCause::Returned => v1::EndCause::Returned,
        EndCause::Revoked => v1::EndCause::Revoked,
        EndCause::ProvisioningFailed => v1::EndCause::ProvisioningFailed,
    }
}

/// What was read back, in words.
pub fn read_back(r: &ReadBack) -> String {
    match r {
        ReadBack::RoleGone { role_arn } => format!("role {role_arn} is gone"),
        ReadBack::DenyInPlace { policy_name, .. } => {
            format!("deny {policy_name} stands on the shared role")
        }
        ReadBack::FencePassed { end } => format!("the fence's instant {end} has passed"),
    }
}

fn proof(p: &ProofOfEnd) -> v1::ProofOfEnd {
    let (allowed_call, no_allowed_call) = match &p.control {
        Control::Allowed { call, .. } => (call.clone(), String::new()),
        Control::Missing { why } => (String::new(), why.clone()),
    };
    let fence = p.canary_fence.as_ref();
    v1::ProofOfEnd {
        prove_time: Some(timestamp(p.proved_at)),
        read_back: read_back(&p.read_back),
        denied_call: p.canary.call.clone(),
        denied_code: p.canary.code.clone(),
        aws_request_ids: p.aws_request_ids.clone(),
        allowed_call,
        no_allowed_call,
        canary_access_request: fence.map(|f| f.request.name()).unwrap_or_default(),
        canary_fence_time: fence.map(|f| timestamp(f.end.timestamp())),
    }
}

struct DeniedWord(DeniedBy);

impl fmt::Display for DeniedWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            DeniedBy::Policy => "Denied by policy.",
            DeniedBy::Person => "Denied by an approver.",
        })
    }
}

/// An access request on the wire.
pub fn access_request(s: &RequestSnapshot) -> v1::AccessRequest {
    let (cause, leftovers) = match &s.state {
        State::Ending { cause, .. } | State::Ended { cause, .. } => (Some(*cause), &[][..]),
        State::Stuck {
            cause, leftovers, ..
        } => (Some(*cause), leftovers.as_slice()),
        State::Failed { .. } => (Some(EndCause::ProvisioningFailed), &[][..]),
        _ => (None, &[][..]),
    };
    let note = match (&s.note, &s.state) {
        (Some(note), _) => note.clone(),
        (None, State::Denied { by }) => DeniedWord(*by).to_string(),
        (None, _) => String::new(),
    };
    v1::AccessRequest {
        name: s.spec.id.name(),
        entitlement: s.spec.entitlement.name(),
        duration: Some(duration(s.spec.duration.as_std())),
        reason: s.spec.reason.to_string(),
        ticket: s
            .spec
            .ticket
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        requester: Some(principal(&s.spec.requester)),
        state: phase(s.state.phase()).into(),
        create_time: Some(timestamp(s.created_at)),
        update_time: Some(timestamp(s.changed_at)),
        lapse_time: match &s.state {
            State::AwaitingApproval { lapses_at } => Some(timestamp(*lapses_at)),
            _ => None,
        },
        end_time: s.end.map(|e| timestamp(e.timestamp())),
        approvals: Some(v1::Approvals {
            required: Some(tally(s.approvals.required)),
            counted: Some(tally(s.approvals.counted)),
        }),
        decisions: s.decisions.iter().map(decision).collect(),
        policy_answers: s.answers.iter().map(policy_answer).collect(),
        role_arn: s
            .grant
            .as_ref()
            .map(|g| g.role_arn.to_string())
            .unwrap_or_default(),
        issued_credentials: s.credentials.iter().map(credential).collect(),
        end_cause: cause.map_or(v1::EndCause::Unspecified, end_cause).into(),
        proof: s.proof.as_ref().map(proof),
        lag: s.state.lag().map(duration),
        leftovers: leftovers.iter().map(leftover).collect(),
        note,
        refusals: s.refusals.iter().map(refusal).collect(),
        revision: i64::try_from(s.revision).unwrap_or(i64::MAX),
        entitlement_details: s.entitlement.as_ref().map(|e| entitlement(e, None)),
        granted_duration: s.granted.map(|d| duration(d.as_std())),
        break_glass: s.spec.break_glass,
        asked: s.asked.iter().map(asked).collect(),
        review: s.review.as_ref().map(review),
        parameters: s.spec.parameters.clone().into_iter().collect(),
        start_time: s.spec.start.map(timestamp),
        uri: String::new(),
    }
}

fn asked(a: &Asked) -> v1::Asked {
    v1::Asked {
        time: Some(timestamp(a.at)),
        groups: a.groups.iter().cloned().collect(),
    }
}

/// A review on the wire.
pub fn review(r: &Review) -> v1::Review {
    let closed = r.closed.as_ref();
    v1::Review {
        break_glass: r.exception.break_glass,
        paged: r.exception.page.iter().cloned().collect(),
        reviewers: r.exception.review.iter().cloned().collect(),
        since_time: Some(timestamp(r.since)),
        closed_by: closed.map(|c| principal(&c.by)),
        reason: closed.map(|c| c.reason.to_string()).unwrap_or_default(),
        close_time: closed.map(|c| timestamp(c.signed_at)),
    }
}

fn leftover(l: &Leftover) -> v1::Leftover {
    v1::Leftover {
        what: l.what.clone(),
        error: l.error.clone(),
        cure: l.cure.clone(),
    }
}

fn refusal(r: &Refusal) -> v1::Refusal {
    v1::Refusal {
        time: Some(timestamp(r.at)),
        door: r.door.clone(),
        code: r.code.clone(),
        why: r.why.clone(),
    }
}

fn decision(d: &hallpass_types::RecordedDecision) -> v1::Decision {
    v1::Decision {
        request_id: d.id.to_string(),
        approver: Some(principal(&d.approver)),
        verdict: match d.verdict {
            Verdict::Approve => v1::Verdict::Approve,
            Verdict::Deny => v1::Verdict::Deny,
        }
        .into(),
        reason: d
            .reason
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        sign_time: Some(timestamp(d.signed_at)),
        statement_digest: d.statement_digest.to_string(),
        evidence: match d.evidence {
            EvidenceLevel::Service => v1::EvidenceLevel::Service,
            EvidenceLevel::IdentityProvider => v1::EvidenceLevel::IdentityProvider,
        }
        .into(),
        at_most: d.at_most.map(|d| duration(d.as_std())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_has_its_own_wire_state_and_comes_back() {
        for p in Phase::ALL {
            assert_eq!(from_phase(phase(p)), Some(p));
        }
        assert_eq!(from_phase(v1::access_request::State::Unspecified), None);
    }

    #[test]
    fn fractions_of_a_second_are_not_whole() {
        let d = |seconds, nanos| prost_types::Duration { seconds, nanos };
        assert_eq!(whole_seconds(&d(60, 0)), Some(60));
        assert_eq!(whole_seconds(&d(60, 1)), None);
    }
}
