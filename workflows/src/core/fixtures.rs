//! Requests, people and signed orders for the tests of the pure middle.

use std::collections::BTreeSet;

use hallpass_evidence::{Keyring, Order, SigningKey, Statement};
use hallpass_types::machine::Event;
use hallpass_types::{
    AccessMode, AccessRequestId, AccessRequestSpec, ApprovalTally, AuthFacts, AwsAccountId,
    Entitlement, EntitlementId, Grant, GrantDuration, PolicyAnswer, PolicyOutcome, Principal,
    PrincipalId, PrincipalKind, Probe, Reason, Refusal, RequestId, Risk, RoleArn, Sha256Digest,
    Verdict,
};
use jiff::Timestamp;
use serde_json::Value;

use super::RequestCore;
use super::hearing::Heard;
use crate::wire::Admitted;

pub(super) const RUN: &str = "run-1";

pub(super) fn now() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

pub(super) fn person(name: &str, acting_for: Option<&str>) -> Principal {
    let id = |n: &str| PrincipalId::new("https://idp.example", n).unwrap();
    Principal {
        id: id(name),
        kind: if acting_for.is_some() {
            PrincipalKind::Agent
        } else {
            PrincipalKind::Human
        },
        display_name: None,
        groups: BTreeSet::new(),
        acting_for: acting_for.map(id),
        auth: AuthFacts {
            mfa: true,
            authenticated_at: now(),
            client: None,
            evidence: Default::default(),
        },
    }
}

pub(super) fn key(n: u64) -> RequestId {
    RequestId::parse(&format!("00000000-0000-4000-8000-{n:012x}")).unwrap()
}

pub(super) fn service() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

pub(super) fn spec(requester: Principal) -> AccessRequestSpec {
    AccessRequestSpec {
        id: AccessRequestId::derive(&requester.id, &key(1)),
        request_id: key(1),
        requester,
        entitlement: EntitlementId::parse("prod-reports").unwrap(),
        duration: GrantDuration::from_seconds(600).unwrap(),
        reason: Reason::parse("because").unwrap(),
        ticket: None,
        break_glass: false,
        parameters: Default::default(),
        start: None,
    }
}

pub(super) fn statement(
    spec: &AccessRequestSpec,
    actor: Principal,
    id: u64,
    order: Order,
) -> Statement {
    Statement {
        deployment: "test".to_owned(),
        access_request: spec.id.clone(),
        run: Some(RUN.to_owned()),
        request_digest: spec.body_digest(),
        request_id: key(id),
        actor,
        order,
        signed_at: now(),
    }
}

/// A request of alice's that is admitted and waits.
pub(super) fn waiting() -> (RequestCore, AccessRequestSpec) {
    waiting_for(person("alice", None))
}

pub(super) fn entitlement(spec: &AccessRequestSpec, role_arn: RoleArn) -> Entitlement {
    Entitlement {
        id: spec.entitlement.clone(),
        title: String::new(),
        account: AwsAccountId::parse("111122223333").unwrap(),
        account_name: String::new(),
        environment: String::new(),
        region: "us-east-1".to_owned(),
        access: AccessMode::Assume {
            role_arn,
            session_policy: None,
        },
        risk: Risk::new(1).unwrap(),
        owners: Vec::new(),
        max_duration: spec.duration,
        external_id: None,
        probe: Probe {
            service: "s3".to_owned(),
            path: "/".to_owned(),
        },
        tags: Default::default(),
        parameters: Default::default(),
        conditions: Default::default(),
        max_session: None,
        previous_external_id: None,
    }
}

pub(super) fn waiting_for(requester: Principal) -> (RequestCore, AccessRequestSpec) {
    let spec = spec(requester);
    let role_arn = RoleArn::parse("arn:aws:iam::111122223333:role/Reader").unwrap();
    let answer = PolicyAnswer {
        gate: "request".to_owned(),
        outcome: PolicyOutcome::Allow,
        policy_ids: Vec::new(),
        messages: Vec::new(),
        errors: Vec::new(),
        policy_digest: Sha256Digest::of(b""),
        inputs: Default::default(),
    };
    let start = Order::RequestAccess {
        spec: Box::new(spec.clone()),
    };
    let admitted = Admitted {
        start: service()
            .sign(&statement(&spec, spec.requester.clone(), 1, start))
            .unwrap(),
        spec: spec.clone(),
        keyring: Keyring::new([service().public_key()]),
        deployment: "test".to_owned(),
        entitlement: entitlement(&spec, role_arn.clone()),
        request: answer.clone(),
        activate: answer,
        required: Some(ApprovalTally {
            owner: 1,
            security: 0,
            distinct: 1,
            evidence: Default::default(),
        }),
        planned: Grant {
            role_arn,
            role_unique_id: None,
            created: false,
            session_name: "alice".to_owned(),
            aws_request_ids: Vec::new(),
        },
        approval_window_seconds: 3600,
        max_issues: 2,
        stages: Default::default(),
        exception: None,
        notifies: false,
        giving_beats: false,
        bounds_decisions: true,
        own_workers: false,
    };
    let mut core = RequestCore::new(RUN.to_owned(), now());
    core.admit(Box::new(admitted), now());
    core.apply(Event::PolicyAllowed { lapses_at: now() }, now())
        .unwrap();
    (core, spec)
}

pub(super) fn active() -> (RequestCore, AccessRequestSpec) {
    let (mut core, spec) = waiting();
    core.apply(Event::ApprovalsComplete { end: now().into() }, now())
        .unwrap();
    core.apply(Event::Provisioned, now()).unwrap();
    (core, spec)
}

pub(super) fn approve() -> Order {
    Order::Decide {
        verdict: Verdict::Approve,
        reason: None,
        token: None,
        at_most: None,
    }
}

pub(super) fn deny() -> Order {
    Order::Decide {
        verdict: Verdict::Deny,
        reason: None,
        at_most: None,
        token: None,
    }
}

pub(super) fn signed(statement: &Statement) -> Option<Value> {
    serde_json::to_value(service().sign(statement).unwrap()).ok()
}

pub(super) fn code(heard: Result<Heard, Refusal>) -> String {
    match heard {
        Ok(Heard::New(..)) => "new".to_owned(),
        Ok(Heard::Again(_)) => "again".to_owned(),
        Err(refusal) => refusal.code,
    }
}
