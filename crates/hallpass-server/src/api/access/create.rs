//! Asking: every field is checked, the request is signed and started, and policy's answer awaited.

use hallpass_evidence::{Envelope, Order, Statement};
use hallpass_policy::Bundle;
use hallpass_proto::{convert, v1};
use hallpass_types::{
    AccessRequestId, AccessRequestSpec, Entitlement, EntitlementId, GrantDuration, LONGEST_LEAD,
    Principal, Reason, RequestId, Ticket,
};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tonic::Status;

use super::super::Api;
use super::super::catalogue;
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
    let (spec, entitlement) = asked(&bundle, &caller, &request)?;
    let now = Timestamp::now();
    if let Some(why) = spec.start.and_then(|start| no_start(start, now)) {
        // Asked again under its id, what was asked in time is answered as before.
        if request.validate_only || api.requests.look(&spec.id, None).await.is_err() {
            return Err(errors::bad_field("access_request.start_time", why));
        }
    }
    if request.validate_only {
        return Ok(v1::AccessRequest {
            uri: api.link(&spec.id),
            ..preview(&bundle, &spec, &entitlement, now)
        });
    }
    let envelope = signed(api, caller, &spec)?;
    let name = spec.id.name();
    let failed = |e| errors::from_requests(e, &name);
    let sent = Instant::now();
    let (started, worked_out) = api.requests.ask(&spec, &envelope).await.map_err(failed)?;
    match started {
        Started::New => trace::begins(&spec.id),
        Started::Existing => trace::about(&spec.id),
    }
    let look = match worked_out {
        Some(look) => look,
        None => api
            .requests
            .settle(&spec.id, (started, None), sent, |l| {
                l.refused_start.is_some() || (l.snapshot.is_some() && !l.busy)
            })
            .await
            .map_err(failed)?,
    };
    if let Some(digest) = &look.body_digest
        && *digest != spec.body_digest()
    {
        return Err(errors::request_id_reused());
    }
    if let Some(why) = look.refused_start {
        return Err(errors::precondition("START", &name, &why));
    }
    if let Some(snapshot) = look.snapshot {
        let shown = api.shown(&snapshot);
        if started == Started::New {
            api.requests.foretold.learn(&snapshot);
        }
        api.requests.known.keep(look.run, *snapshot);
        return Ok(shown);
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

/// The order to start the request.
fn signed(api: &Api, caller: Principal, spec: &AccessRequestSpec) -> Result<Envelope, Status> {
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
    let signed = api.signer.sign(&statement);
    signed.map_err(|e| errors::internal(&e))
}

/// What is asked, which the catalogue has.
fn asked(
    bundle: &Bundle,
    caller: &Principal,
    request: &v1::CreateAccessRequestRequest,
) -> Result<(AccessRequestSpec, Entitlement), Status> {
    let mut spec = read(caller, request)?;
    let given = request.access_request.as_ref().map(|r| &r.parameters);
    let given = given.cloned().unwrap_or_default();
    let entitlement = catalogue::filled(bundle, &spec.entitlement, &given)?;
    // Defaults become part of what is asked: who approves sees them, and a later one changes nothing.
    spec.parameters = entitlement.parameters.clone();
    if spec.duration > entitlement.max_duration {
        let why = format!(
            "must be at most {}, the longest of this entitlement",
            entitlement.max_duration
        );
        return Err(errors::bad_field("access_request.duration", &why));
    }
    Ok((spec, entitlement))
}

/// Why access cannot start then; what is just past starts at once.
fn no_start(start: Timestamp, now: Timestamp) -> Option<&'static str> {
    let lead = start.duration_since(now);
    if lead < -SignedDuration::from_secs(60) {
        Some("is past; leave it out to start at once")
    } else if lead > LONGEST_LEAD {
        Some("is more than 7 days ahead")
    } else {
        None
    }
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
    let start = match &body.start_time {
        None => Some(None),
        Some(at) => {
            let start = convert::from_timestamp(at).ok_or("must be an instant");
            bad.take("access_request.start_time", start.map(Some))
        }
    };
    if body.break_glass && body.start_time.is_some() {
        let why = "breaks the glass at once; leave start_time out";
        bad.add("access_request.break_glass", why);
    }
    let (Some(request_id), Some(entitlement), Some(duration), Some(reason), Some(start)) =
        (request_id, entitlement, duration, reason, start)
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
        parameters: Default::default(),
        start,
    })
}
