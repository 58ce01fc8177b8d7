//! Asking: every field is checked, the request is signed and started, and policy's answer awaited.

use hallpass_evidence::{Order, Statement};
use hallpass_proto::{convert, v1};
use hallpass_types::{
    AccessRequestId, AccessRequestSpec, EntitlementId, GrantDuration, Principal, Reason, RequestId,
    Ticket,
};
use jiff::Timestamp;
use tonic::Status;

use super::super::Api;
use super::super::errors::{self, BadFields};
use super::super::preview::preview;
use crate::requests::Started;
use crate::trace;

pub(super) async fn create(
    api: &Api,
    caller: Principal,
    request: v1::CreateAccessRequestRequest,
) -> Result<v1::AccessRequest, Status> {
    let bundle = api.bundles.current();
    let spec = read(&caller, &request)?;
    let entitlement = bundle
        .entitlement(&spec.entitlement)
        .ok_or_else(|| errors::not_found("hallpass.v1/Entitlement", &spec.entitlement.name()))?;
    if spec.duration > entitlement.max_duration {
        let why = format!(
            "must be at most {}, the longest of this entitlement",
            entitlement.max_duration
        );
        return Err(errors::bad_field("access_request.duration", &why));
    }
    if request.validate_only {
        return Ok(preview(&bundle, &spec, entitlement, Timestamp::now()));
    }
    let statement = Statement {
        deployment: api.deployment.clone(),
        access_request: spec.id.clone(),
        run: None,
        request_digest: spec.body_digest(),
        request_id: spec.request_id.clone(),
        actor: caller,
        order: Order::RequestAccess {
            spec: Box::new(spec.clone()),
        },
        signed_at: Timestamp::now(),
    };
    let envelope = api
        .signer
        .sign(&statement)
        .map_err(|e| errors::internal(&e))?;
    let name = spec.id.name();
    let failed = |e| errors::from_requests(e, &name);
    let started = api.requests.start(&spec, &envelope).await.map_err(failed)?;
    match started {
        Started::New => trace::begins(&spec.id),
        Started::Existing => trace::about(&spec.id),
    }
    let look = api
        .requests
        .settle(&spec.id, None, |l| {
            l.refused_start.is_some() || (l.snapshot.is_some() && !l.busy)
        })
        .await
        .map_err(failed)?;
    if let (Started::Existing, Some(digest)) = (started, &look.body_digest)
        && *digest != spec.body_digest()
    {
        return Err(errors::request_id_reused());
    }
    if let Some(why) = look.refused_start {
        return Err(errors::precondition("START", &name, &why));
    }
    if let Some(snapshot) = look.snapshot {
        return Ok(convert::access_request(&snapshot));
    }
    let why = match api.requests.held_up_by(&spec.id).await {
        Some(why) => format!("waits: {why}"),
        None => "no worker has taken it up yet".to_owned(),
    };
    Err(errors::unavailable(
        &format!("the request is recorded, but {why}; ask again with the same request_id"),
        std::time::Duration::from_secs(2),
    ))
}

/// Reads the request, or says everything that is wrong with it at once.
fn read(
    caller: &Principal,
    request: &v1::CreateAccessRequestRequest,
) -> Result<AccessRequestSpec, Status> {
    let mut bad = BadFields::default();
    let request_id = bad.take("request_id", RequestId::parse(&request.request_id));
    let Some(body) = &request.access_request else {
        bad.add("access_request", "must be set");
        return Err(bad.into_status());
    };
    let entitlement = bad.take(
        "access_request.entitlement",
        EntitlementId::parse_name(&body.entitlement),
    );
    let seconds = body
        .duration
        .as_ref()
        .ok_or("must be set")
        .and_then(|d| convert::whole_seconds(d).ok_or("must be a whole number of seconds"));
    let duration = bad
        .take("access_request.duration", seconds)
        .and_then(|s| bad.take("access_request.duration", GrantDuration::from_seconds(s)));
    let reason = bad.take("access_request.reason", Reason::parse(&body.reason));
    let ticket = if body.ticket.trim().is_empty() {
        None
    } else {
        bad.take("access_request.ticket", Ticket::parse(&body.ticket))
    };
    let (Some(request_id), Some(entitlement), Some(duration), Some(reason)) =
        (request_id, entitlement, duration, reason)
    else {
        return Err(bad.into_status());
    };
    bad.finish()?;
    Ok(AccessRequestSpec {
        id: AccessRequestId::derive(&caller.id, &request_id),
        request_id,
        requester: caller.clone(),
        entitlement,
        duration,
        reason,
        ticket,
        break_glass: body.break_glass,
    })
}
