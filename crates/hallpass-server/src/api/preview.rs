//! What would happen: the answer to `validate_only`. Nothing is recorded.

use hallpass_policy::{Bundle, RequestFacts};
use hallpass_proto::{convert, v1};
use hallpass_types::{AccessRequestSpec, Entitlement, Phase, Review};
use jiff::Timestamp;

use super::catalogue;

/// The request as it would stand once policy has answered.
pub(super) fn preview(
    bundle: &Bundle,
    spec: &AccessRequestSpec,
    entitlement: &Entitlement,
    now: Timestamp,
) -> v1::AccessRequest {
    let facts = RequestFacts {
        id: &spec.id,
        requester: &spec.requester,
        entitlement,
        duration: spec.duration,
        break_glass: spec.break_glass,
    };
    let request = bundle.request_of(spec, entitlement, spec.duration, now);
    let activate = bundle.activate(&facts, Default::default(), now);
    let required = bundle.approvals_beyond(&activate, &facts, now);
    let exception = bundle.exception(&facts, Default::default(), &activate, now);
    let review = exception.filter(|e| e.needs_review() && request.allows());
    let (phase, note) = if !request.allows() {
        (Phase::Denied, request.explain())
    } else if activate.allows() {
        let later = spec.start.is_some_and(|start| start > now);
        let phase = if later {
            Phase::Scheduled
        } else {
            Phase::Active
        };
        (phase, String::new())
    } else if required.is_some() {
        (Phase::AwaitingApproval, String::new())
    } else {
        (
            Phase::Denied,
            "No number of approvals opens this.".to_owned(),
        )
    };
    v1::AccessRequest {
        name: spec.id.name(),
        entitlement: spec.entitlement.name(),
        duration: Some(convert::duration(spec.duration.as_std())),
        reason: spec.reason.to_string(),
        ticket: spec
            .ticket
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        requester: Some(convert::principal(&spec.requester)),
        state: convert::phase(phase).into(),
        approvals: Some(v1::Approvals {
            required: Some(convert::tally(required.unwrap_or_default())),
            counted: Some(v1::ApprovalTally::default()),
        }),
        policy_answers: [&request, &activate].map(convert::policy_answer).into(),
        note,
        entitlement_details: Some(catalogue::entitlement(bundle, entitlement, None)),
        break_glass: spec.break_glass,
        review: review.map(|exception| {
            convert::review(&Review {
                exception,
                since: now,
                closed: None,
            })
        }),
        parameters: spec.parameters.clone().into_iter().collect(),
        start_time: spec.start.map(convert::timestamp),
        ..Default::default()
    }
}
