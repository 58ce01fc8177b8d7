//! Requests in several states, as tests of rendering need them.

use hallpass_proto::v1;
use hallpass_proto::v1::access_request::State;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::View;

/// 2026-03-01 12:00:00 UTC plus `seconds`.
pub(crate) fn at(seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: 1_772_366_400 + seconds,
        nanos: 0,
    }
}

/// A reader in UTC at 12:10, without colours.
pub(crate) fn view(width: Option<u16>) -> View {
    View {
        now: Timestamp::from_second(at(600).seconds).unwrap(),
        zone: TimeZone::UTC,
        colour: false,
        width,
    }
}

/// A person.
pub(crate) fn person(name: &str) -> v1::Principal {
    v1::Principal {
        id: format!("https://idp.example#{}", name.to_lowercase()),
        kind: v1::PrincipalKind::Human.into(),
        display_name: name.to_owned(),
        groups: vec!["eng".to_owned()],
        acting_for: String::new(),
        mfa: true,
        authenticated_time: Some(at(-60)),
    }
}

/// What is asked for.
pub(crate) fn entitlement() -> v1::Entitlement {
    v1::Entitlement {
        name: "entitlements/prod-db-admin".to_owned(),
        title: "Database admin".to_owned(),
        account: "111122223333".to_owned(),
        account_name: "prod-data".to_owned(),
        environment: "prod".to_owned(),
        mode: v1::AccessMode::Assume.into(),
        role_arn: "arn:aws:iam::111122223333:role/db-admin".to_owned(),
        risk: 2,
        max_duration: Some(span(14_400)),
        owners: vec!["data-owners".to_owned()],
        allowed_duration: Some(span(7_200)),
        region: "eu-central-1".to_owned(),
        parameters: vec![v1::Parameter {
            name: "prefix".to_owned(),
            title: "Folder".to_owned(),
            kind: v1::ParameterKind::Path.into(),
            choices: Vec::new(),
            default_value: "none".to_owned(),
        }],
        ..Default::default()
    }
}

/// The same, with sessions that are bound and short.
pub(crate) fn bound() -> v1::Entitlement {
    v1::Entitlement {
        source_ips: vec!["203.0.113.0/24".to_owned()],
        source_vpces: vec!["vpce-1a2b3c4d".to_owned()],
        org_id: "o-a1b2c3d4e5".to_owned(),
        max_session: Some(span(900)),
        ..entitlement()
    }
}

/// Approved; starts at 14:00.
pub(crate) fn scheduled() -> v1::AccessRequest {
    v1::AccessRequest {
        state: State::Scheduled.into(),
        start_time: Some(at(7_200)),
        lapse_time: None,
        ..pending()
    }
}

/// Whole seconds.
pub(crate) fn span(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

/// Waits for a second approval; its words try to drive the terminal.
pub(crate) fn pending() -> v1::AccessRequest {
    let tally = |owner, security, distinct| v1::ApprovalTally {
        owner,
        security,
        distinct,
    };
    v1::AccessRequest {
        name: "accessRequests/ar-0123456789abcdefghjkmnpqrs".to_owned(),
        entitlement: "entitlements/prod-db-admin".to_owned(),
        duration: Some(span(5_400)),
        reason: "stuck\u{1b}[2J migration\n\u{202e}of orders".to_owned(),
        ticket: "INC-42".to_owned(),
        parameters: [("prefix".to_owned(), "orders".to_owned())].into(),
        requester: Some(person("Ada")),
        state: State::AwaitingApproval.into(),
        create_time: Some(at(0)),
        update_time: Some(at(30)),
        lapse_time: Some(at(3_600)),
        approvals: Some(v1::Approvals {
            required: Some(tally(1, 1, 2)),
            counted: Some(tally(1, 0, 1)),
        }),
        decisions: vec![v1::Decision {
            request_id: "6b0f7c1e-3c1d-4b43-9a53-1d7d3c2f8a10".to_owned(),
            approver: Some(person("Bob")),
            verdict: v1::Verdict::Approve.into(),
            reason: "seen".to_owned(),
            sign_time: Some(at(30)),
            statement_digest: "ab".repeat(32),
            evidence: v1::EvidenceLevel::Service.into(),
            at_most: None,
        }],
        policy_answers: vec![v1::PolicyAnswer {
            gate: "request".to_owned(),
            allowed: true,
            policy_ids: vec!["on-call-may-ask".to_owned()],
            messages: vec!["on call this week".to_owned()],
            errors: Vec::new(),
            policy_digest: "cd".repeat(32),
        }],
        revision: 3,
        entitlement_details: Some(entitlement()),
        ..Default::default()
    }
}

/// Approved and active until 13:40.
pub(crate) fn active() -> v1::AccessRequest {
    v1::AccessRequest {
        state: State::Active.into(),
        update_time: Some(at(60)),
        lapse_time: None,
        end_time: Some(at(6_000)),
        role_arn: "arn:aws:iam::111122223333:role/db-admin".to_owned(),
        issued_credentials: vec![v1::IssuedCredential {
            access_key_id: "ASIAEXAMPLE".to_owned(),
            session_expire_time: Some(at(3_700)),
            end_time: Some(at(6_000)),
            assumed_role_id: "AROAEXAMPLE:ada-01234567".to_owned(),
            serial: 1,
            recipient_key_digest: "ef".repeat(32),
        }],
        revision: 5,
        ..pending()
    }
}

/// Returned and proved.
pub(crate) fn ended() -> v1::AccessRequest {
    v1::AccessRequest {
        state: State::Ended.into(),
        update_time: Some(at(500)),
        end_cause: v1::EndCause::Returned.into(),
        proof: Some(v1::ProofOfEnd {
            prove_time: Some(prost_types::Timestamp {
                nanos: 400_000_000,
                ..at(500)
            }),
            read_back: "deny hallpass-cuts stands on the shared role".to_owned(),
            denied_call: "s3 GET /reports".to_owned(),
            denied_code: "AccessDenied".to_owned(),
            aws_request_ids: vec!["req-1".to_owned()],
            allowed_call: "s3 GET /reports".to_owned(),
            ..Default::default()
        }),
        lag: Some(prost_types::Duration {
            seconds: 0,
            nanos: 400_000_000,
        }),
        revision: 8,
        ..active()
    }
}

/// Something is left, and a message was refused.
pub(crate) fn stuck() -> v1::AccessRequest {
    v1::AccessRequest {
        state: State::Stuck.into(),
        end_cause: v1::EndCause::Expired.into(),
        leftovers: vec![v1::Leftover {
            what: "arn:aws:iam::111122223333:role/db-admin".to_owned(),
            error: "AccessDenied on PutRolePolicy".to_owned(),
            cure: "give hallpass iam:PutRolePolicy on the role".to_owned(),
        }],
        refusals: vec![v1::Refusal {
            time: Some(at(40)),
            door: "decide".to_owned(),
            code: "bad_signature".to_owned(),
            why: "the signature does not verify".to_owned(),
        }],
        ..active()
    }
}

/// Opened by break-glass, shortened, over and reviewed: everything that may be unusual.
pub(crate) fn excepted() -> v1::AccessRequest {
    let mut request = ended();
    request.granted_duration = Some(span(1_800));
    request.break_glass = true;
    request.decisions[0].at_most = Some(span(1_800));
    let asked = |group: &str, seconds| v1::Asked {
        time: Some(at(seconds)),
        groups: vec![group.to_owned()],
    };
    request.asked = vec![asked("data-owners", 0), asked("security", 900)];
    request.review = Some(v1::Review {
        break_glass: true,
        paged: vec!["security".to_owned()],
        reviewers: vec!["leads".to_owned()],
        since_time: Some(at(60)),
        closed_by: Some(person("Carol")),
        reason: "rightly so".to_owned(),
        close_time: Some(at(550)),
    });
    request
}
