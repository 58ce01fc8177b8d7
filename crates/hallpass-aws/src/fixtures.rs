//! What the unit tests talk about.

use std::collections::BTreeMap;

use hallpass_types::{
    AccessMode, AccessRequestId, AwsAccountId, EndInstant, Entitlement, EntitlementId,
    GrantDuration, PolicyArn, PrincipalId, Probe, RequestId, Risk, RoleArn,
};
use jiff::Timestamp;

pub(crate) fn requester() -> PrincipalId {
    PrincipalId::parse("https://idp.example#alice@example.com").unwrap()
}

pub(crate) fn request() -> AccessRequestId {
    let key = RequestId::parse("6b0f7c1e-3c1d-4b43-9a53-1d7d3c2f8a10").unwrap();
    AccessRequestId::derive(&requester(), &key)
}

pub(crate) fn other_request() -> AccessRequestId {
    let key = RequestId::parse("11111111-3c1d-4b43-9a53-1d7d3c2f8a10").unwrap();
    AccessRequestId::derive(&requester(), &key)
}

pub(crate) fn end() -> EndInstant {
    EndInstant::from("2026-11-22T10:00:00Z".parse::<Timestamp>().unwrap())
}

pub(crate) fn assume() -> Entitlement {
    Entitlement {
        access: AccessMode::Assume {
            role_arn: RoleArn::parse("arn:aws:iam::111122223333:role/ReportsReader").unwrap(),
            session_policy: None,
        },
        external_id: Some("reports-1".to_owned()),
        ..create()
    }
}

pub(crate) fn create() -> Entitlement {
    let permissions = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
        "Action":["s3:GetObject","s3:ListBucket"],
        "Resource":["arn:aws:s3:::payments-reports","arn:aws:s3:::payments-reports/*"]}]}"#;
    Entitlement {
        id: EntitlementId::parse("payments-reports").unwrap(),
        title: "Read payment reports".to_owned(),
        account: AwsAccountId::parse("111122223333").unwrap(),
        account_name: "payments-prod".to_owned(),
        environment: "prod".to_owned(),
        region: "eu-west-1".to_owned(),
        access: AccessMode::Create {
            permissions: permissions.to_owned(),
            permissions_boundary: PolicyArn::parse(
                "arn:aws:iam::111122223333:policy/hallpass-boundary",
            )
            .unwrap(),
        },
        risk: Risk::new(2).unwrap(),
        owners: vec!["payments".to_owned()],
        max_duration: GrantDuration::from_seconds(3600).unwrap(),
        external_id: None,
        probe: Probe {
            service: "s3".to_owned(),
            path: "/payments-reports?list-type=2&max-keys=1".to_owned(),
        },
        tags: BTreeMap::from([("team".to_owned(), "payments".to_owned())]),
        parameters: Default::default(),
        conditions: Default::default(),
        max_session: None,
        previous_external_id: None,
    }
}
