//! A later end: what the gates would say to it, and the order.

use hallpass_evidence::Order;
use hallpass_policy::{RequestFacts, Said};
use hallpass_proto::{convert, v1};
use hallpass_types::{
    EvidenceLevel, GrantDuration, Phase, PolicyAnswer, Principal, Reason, RequestSnapshot,
};
use hallpass_workflows::core::lengthened;
use hallpass_workflows::wire::Reply;
use jiff::Timestamp;
use tonic::Status;

use super::super::Api;
use super::super::errors::{self, BadFields};
use super::super::orders::{Address, must_be_same};
use super::must_be_requester;
use crate::requests::RequestsError;

pub(super) async fn extend(
    api: &Api,
    caller: Principal,
    request: v1::ExtendAccessRequestRequest,
) -> Result<v1::AccessRequest, Status> {
    let mut bad = BadFields::default();
    let address = Address::read(&mut bad, &request.name, &request.request_id);
    let reason = bad.take("reason", Reason::parse(&request.reason));
    let by = request.extend_by.as_ref().and_then(convert::whole_seconds);
    let by = by.ok_or("must be a whole number of seconds".to_owned());
    let by = by.and_then(|s| GrantDuration::from_seconds(s).map_err(|e| e.to_string()));
    let by = bad.take("extend_by", by);
    let (Some(Address { id, request_id }), Some(reason), Some(by)) = (address, reason, by) else {
        return Err(bad.into_status());
    };
    let name = id.name();
    let look = api.requests.look(&id, None);
    let (look, snapshot) = api.visible(&caller, &id, look).await?;
    must_be_requester(&caller, &snapshot)?;
    if request.validate_only {
        return preview(api, &snapshot, by, Timestamp::now());
    }
    let order = Order::Extend {
        by_seconds: by.as_seconds(),
        reason,
    };
    let (statement, envelope) = api.sign(&caller, (&look.run, &snapshot), &request_id, order)?;
    let reply = match api.requests.extend(&id, &request_id, &envelope).await {
        Err(RequestsError::NotFound) => return Err(not_active(&snapshot)),
        reply => reply.map_err(|e| errors::from_requests(e, &name))?,
    };
    let look = api.requests.look(&id, Some(&request_id));
    let (look, snapshot) = api.visible(&caller, &id, look).await?;
    // The update id decides, not its input: another order under it must not look carried out.
    must_be_same(&look, &statement)?;
    if let Reply::Refused(refusal) = reply {
        return Err(errors::from_refusal(&refusal, &name));
    }
    Ok(api.shown(&snapshot))
}

fn not_active(snapshot: &RequestSnapshot) -> Status {
    let why = format!(
        "the request is {}, not active",
        snapshot.state.phase().words()
    );
    errors::precondition("STATE", &snapshot.spec.id.name(), &why)
}

/// What the gates say now. The directory is asked when it is ordered.
fn preview(
    api: &Api,
    snapshot: &RequestSnapshot,
    by: GrantDuration,
    now: Timestamp,
) -> Result<v1::AccessRequest, Status> {
    let open = snapshot.state.phase() == Phase::Active && snapshot.end_order.is_none();
    let fixed = snapshot.activated_at.zip(snapshot.end).filter(|_| open);
    let (start, end) = fixed.ok_or_else(|| not_active(snapshot))?;
    let (later, total) = lengthened(start, end, by.as_seconds())
        .map_err(|(_, why)| errors::bad_field("extend_by", &why))?;
    let bundle = api.bundles.current();
    let spec = &snapshot.spec;
    let entitlement = bundle.fill(&spec.entitlement, &spec.parameters);
    let entitlement = entitlement
        .map_err(|e| errors::precondition("ENTITLEMENT", &spec.id.name(), &e.to_string()))?;
    let facts = |duration| RequestFacts {
        id: &spec.id,
        requester: &spec.requester,
        entitlement: &entitlement,
        duration,
        break_glass: spec.break_glass,
    };
    let said = snapshot.decisions.iter().map(|d| {
        let by_provider = d.evidence > EvidenceLevel::Service;
        Said {
            approver: &d.approver,
            verdict: d.verdict,
            made_at: d.signed_at,
            at_most: d.at_most.or(by_provider.then_some(spec.duration)),
        }
    });
    let weighed = bundle.tally_extension(&facts(total), said);
    let answers = [
        bundle.activate(&facts(total), weighed.tally, now),
        bundle.request_of(spec, &entitlement, total, now),
    ];
    let shut = answers.iter().filter(|a| !a.allows());
    let mut words: Vec<_> = shut.map(PolicyAnswer::explain).collect();
    // Guard rails often stand at both gates, in the same words.
    words.dedup();
    if !words.is_empty() {
        let words = words.join(" ");
        return Err(errors::denied("POLICY_DENIED", &words, Default::default()));
    }
    Ok(v1::AccessRequest {
        end_time: Some(convert::timestamp(later.timestamp())),
        policy_answers: answers.iter().map(convert::policy_answer).collect(),
        ..api.shown(snapshot)
    })
}
