//! What goes to AWS, to the byte: the documents, and the form that each operation sends.

#![expect(
    clippy::unwrap_used,
    reason = "in a test binary a failed unwrap is a failed test"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aws_smithy_http_client::test_util::infallible_client_fn;
use aws_smithy_types::body::SdkBody;
use hallpass_aws::cuts::{CutEntry, CutsPolicy};
use hallpass_aws::limits::INLINE_POLICY_CHARS;
use hallpass_aws::policy::PolicyDocument;
use hallpass_aws::{
    AccountAccess, AccountWorkers, AssumeOrder, Aws, AwsConfig, AwsError, EndOrder, ErrorClass,
    Order, SecretAccessKey, ServiceCredentials, documents, names,
};
use hallpass_types::{
    AccessMode, AccessRequestId, AwsAccountId, Control, Cut, EndCause, EndInstant, Entitlement,
    EntitlementId, GrantDuration, PolicyArn, PrincipalId, Probe, ReadBack, RequestId, Risk,
    RoleArn, SessionDuration,
};
use jiff::Timestamp;

const ACCOUNT: &str = "111122223333";
const ROLE_ID: &str = "AROA00000000000000001";
const OTHER: &str = "11111111-3c1d-4b43-9a53-1d7d3c2f8a10";
const SECRET: &str = "hunter2hunter2";

fn order(access: AccessMode) -> Order {
    let requester = PrincipalId::parse("https://idp.example#alice@example.com").unwrap();
    let key = RequestId::parse("6b0f7c1e-3c1d-4b43-9a53-1d7d3c2f8a10").unwrap();
    let created = matches!(access, AccessMode::Create { .. });
    Order {
        request: AccessRequestId::derive(&requester, &key),
        requester,
        end: EndInstant::from("2026-11-22T10:00:00Z".parse::<Timestamp>().unwrap()),
        entitlement: Entitlement {
            id: EntitlementId::parse("payments-reports").unwrap(),
            title: "Read payment reports".to_owned(),
            account: AwsAccountId::parse(ACCOUNT).unwrap(),
            account_name: "payments-prod".to_owned(),
            environment: "prod".to_owned(),
            region: "eu-west-1".to_owned(),
            access,
            risk: Risk::new(2).unwrap(),
            owners: vec![],
            max_duration: GrantDuration::from_seconds(3600).unwrap(),
            external_id: (!created).then(|| "reports-1".to_owned()),
            probe: Probe {
                service: "s3".to_owned(),
                path: "/reports?list-type=2".to_owned(),
            },
            tags: BTreeMap::from([("team".to_owned(), "payments".to_owned())]),
            parameters: Default::default(),
            conditions: Default::default(),
            max_session: None,
            previous_external_id: None,
        },
    }
}

fn assume_mode() -> Order {
    order(AccessMode::Assume {
        role_arn: RoleArn::parse("arn:aws:iam::111122223333:role/ReportsReader").unwrap(),
        session_policy: Some(
            r#"{"Version":"2012-10-17","Statement":{"Sid":"Read","Effect":"Allow","Action":"s3:GetObject",
            "Resource":"arn:aws:s3:::reports/*","Condition":{"Bool":{"aws:SecureTransport":true}}}}"#
                .to_owned(),
        ),
    })
}

fn create_mode() -> Order {
    let boundary = format!("arn:aws:iam::{ACCOUNT}:policy/hallpass-boundary");
    order(AccessMode::Create {
        permissions: r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
            "Action":["s3:GetObject","s3:ListBucket"],"Resource":"*"}]}"#
            .to_owned(),
        permissions_boundary: PolicyArn::parse(&boundary).unwrap(),
    })
}

#[test]
fn documents_are_these() {
    let (assume, create) = (assume_mode(), create_mode());
    let AccessMode::Create { permissions, .. } = &create.entitlement.access else {
        unreachable!()
    };
    let principal = format!("arn:aws:iam::{ACCOUNT}:role/hallpass-provisioner");
    let id = &create.request;
    let all = [
        (
            "session-policy-narrowed",
            documents::session_policy(&assume.entitlement, assume.end).unwrap(),
        ),
        (
            "session-policy-whole",
            documents::session_policy(&create.entitlement, create.end).unwrap(),
        ),
        (
            "permissions",
            documents::permissions(permissions, create.end, &Default::default()).unwrap(),
        ),
        (
            "trust",
            documents::trust(&principal, id, create.end, &Default::default()),
        ),
        ("deny-all", documents::deny_all()),
        ("cuts", cuts(&assume)),
    ];
    insta::with_settings!({ snapshot_path => "golden", prepend_module_to_snapshot => false }, {
        for (name, document) in all {
            insta::assert_snapshot!(name, pretty(&document.to_json()));
        }
    });
}

fn cuts(order: &Order) -> PolicyDocument {
    let mut policy = CutsPolicy::default();
    let (other, mut later) = (create_mode(), order.clone());
    later.request = AccessRequestId::derive(&other.requester, &RequestId::parse(OTHER).unwrap());
    for order in [order, &later] {
        let cut = Cut {
            request: order.request.clone(),
            session_name: order.session_name(),
            end: order.end,
        };
        assert!(policy.add(&CutEntry::new(ROLE_ID, &cut), INLINE_POLICY_CHARS));
    }
    policy.document().unwrap()
}

fn pretty(json: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    serde_json::to_string_pretty(&value).unwrap()
}

type Recorded = Arc<Mutex<Vec<String>>>;

/// AWS as a function of the form that is sent; every form is written down.
async fn recorded(answer: fn(&str, usize) -> (u16, String)) -> (Aws, Recorded) {
    let recorded = Recorded::default();
    let book = recorded.clone();
    let http = infallible_client_fn(move |request: http::Request<SdkBody>| {
        let form = request.body().bytes().unwrap_or_default();
        let form: BTreeMap<String, String> =
            url::form_urlencoded::parse(form).into_owned().collect();
        let action = form["Action"].clone();
        let mut book = book.lock().unwrap();
        let before = book
            .iter()
            .filter(|f| f.contains(&format!("Action = {action}\n")))
            .count();
        let lines = form.iter().map(|(key, value)| format!("{key} = {value}\n"));
        let host = request.uri().host().unwrap_or_default();
        book.push(format!("POST {host}\n{}", lines.collect::<String>()));
        let (status, body) = answer(&action, before);
        http::Response::builder()
            .status(status)
            .body(SdkBody::from(body))
            .unwrap()
    });
    let role =
        RoleArn::parse(&format!("arn:aws:iam::{ACCOUNT}:role/hallpass-provisioner")).unwrap();
    let access = AccountAccess {
        provisioner_role_arn: Some(role),
        external_id: Some("hallpass-1".to_owned()),
        previous_external_id: None,
        workers: AccountWorkers::Shared,
    };
    let config = AwsConfig {
        endpoint_url: None,
        region: "eu-central-1".to_owned(),
        credentials: ServiceCredentials::Static {
            access_key_id: "AKIA1".to_owned(),
            secret_access_key: SecretAccessKey::Inline(SECRET.to_owned().into()),
        },
        accounts: BTreeMap::from([(AwsAccountId::parse(ACCOUNT).unwrap(), access)]),
        only: None,
    };
    (
        Aws::with_http_client(&config, http).await.unwrap(),
        recorded,
    )
}

fn aws(action: &str, before: usize) -> (u16, String) {
    let result = match action {
        // The provisioner's, the grant's, and none once the role is gone.
        "AssumeRole" if before > 1 => return error(403, "AccessDenied"),
        "AssumeRole" => session_xml("2199-11-22T09:00:00Z"),
        "GetRole" if before > 0 => return error(404, "NoSuchEntity"),
        "CreateRole" | "GetRole" => role_xml(),
        "ListRolePolicies" => "<PolicyNames><member>hallpass-grant</member></PolicyNames>".to_owned(),
        "ListAttachedRolePolicies" => {
            "<AttachedPolicies><member><PolicyArn>arn:aws:iam::aws:policy/X</PolicyArn></member></AttachedPolicies>"
                .to_owned()
        }
        _ => String::new(),
    };
    (
        200,
        format!("<{action}Response><{action}Result>{result}</{action}Result></{action}Response>"),
    )
}

fn session_xml(expiry: &str) -> String {
    format!(
        "<Credentials><AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>\
         <SessionToken>{SECRET}</SessionToken><Expiration>{expiry}</Expiration></Credentials>\
         <AssumedRoleUser><AssumedRoleId>{ROLE_ID}:s</AssumedRoleId><Arn>arn:aws:sts::{ACCOUNT}:assumed-role/r/s</Arn></AssumedRoleUser>"
    )
}

fn role_xml() -> String {
    let name = names::role_name(&create_mode().request);
    let id = create_mode().request;
    format!(
        "<Role><Path>/hallpass/</Path><RoleName>{name}</RoleName><RoleId>{ROLE_ID}</RoleId>\
         <Arn>arn:aws:iam::{ACCOUNT}:role/hallpass/{name}</Arn><CreateDate>2026-11-22T09:00:00Z</CreateDate>\
         <Tags><member><Key>hallpass:request</Key><Value>{id}</Value></member></Tags></Role>"
    )
}

fn error(status: u16, code: &str) -> (u16, String) {
    let body = format!(
        "<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"
    );
    (status, body)
}

fn snapshot(name: &str, recorded: &Recorded) {
    let text = recorded.lock().unwrap().join("\n");
    insta::with_settings!({ snapshot_path => "golden", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, text);
    });
}

#[tokio::test]
async fn create_mode_sends_these_forms() {
    let (client, recorded) = recorded(aws).await;
    let order = create_mode();
    let grant = client.provision(&order).await.unwrap();
    assert_eq!(grant.role_unique_id.as_deref(), Some(ROLE_ID));
    let now = order.end.timestamp() - jiff::SignedDuration::from_secs(1800);
    let assume = AssumeOrder {
        order: order.clone(),
        grant: grant.clone(),
        serial: 3,
    };
    let session = client.assume(&assume, now).await.unwrap();
    assert_eq!((session.facts.serial, session.facts.end), (3, order.end));
    assert!(!format!("{session:?}").contains(SECRET));
    let ending = EndOrder {
        order,
        grant,
        cause: EndCause::Revoked,
    };
    let proof = client.end(&ending, || now, no_cut).await.unwrap();
    assert_eq!(proof.canary.code, "AccessDenied");
    snapshot("create-mode-forms", &recorded);
}

/// A created role is deleted; nothing is cut.
async fn no_cut(cut: Cut) -> Result<(ReadBack, Vec<String>), AwsError> {
    unreachable!("{cut:?}")
}

/// What is given and taken, with everything that AWS is asked for it.
#[tokio::test]
async fn a_created_role_costs_five_calls_and_three_for_the_proof() {
    let (client, recorded) = recorded(aws).await;
    let order = create_mode();
    let grant = client.provision(&order).await.unwrap();
    let before = order.end.timestamp() - jiff::SignedDuration::from_secs(1800);
    let assume = AssumeOrder {
        order: order.clone(),
        grant: grant.clone(),
        serial: 1,
    };
    client.assume(&assume, before).await.unwrap();
    let after = order.end.timestamp();
    let ending = EndOrder {
        order,
        grant,
        cause: EndCause::Expired,
    };
    let proof = client.end(&ending, || after, no_cut).await.unwrap();
    assert!(matches!(proof.control, Control::Missing { .. }));
    // The first session is the service's own, made once for all grants of an account.
    assert_eq!(
        actions(&recorded),
        [
            "AssumeRole",
            "CreateRole",
            "PutRolePolicy",
            "AssumeRole",
            // Proof: that it is the role of this request, that it gives nothing, that it is gone.
            "GetRole",
            "AssumeRole",
            "DeleteRolePolicy",
            "DeleteRole",
            "GetRole",
        ]
    );
}

fn actions(recorded: &Recorded) -> Vec<String> {
    let forms = recorded.lock().unwrap();
    let action = |form: &String| {
        let line = form.lines().find_map(|l| l.strip_prefix("Action = "));
        line.unwrap_or_default().to_owned()
    };
    forms.iter().map(action).collect()
}

#[tokio::test]
async fn assume_mode_sends_this_form() {
    let (client, recorded) = recorded(aws).await;
    let order = assume_mode();
    let now = order.end.timestamp() - jiff::SignedDuration::from_secs(7200);
    let grant = client.provision(&order).await.unwrap();
    assert!(
        recorded.lock().unwrap().is_empty(),
        "assume mode provisions without a call"
    );
    client
        .assume(
            &AssumeOrder {
                order,
                grant,
                serial: 1,
            },
            now,
        )
        .await
        .unwrap();
    snapshot("assume-mode-forms", &recorded);
}

/// What a canary asks for fits every role, whatever the grant's own sessions may be.
#[tokio::test]
async fn a_canary_asks_for_the_shortest_session_that_there_is() {
    let (client, recorded) = recorded(aws).await;
    let mut order = assume_mode();
    order.entitlement.max_session = Some(SessionDuration::from_seconds(7200).unwrap());
    let now = order.end.timestamp() - jiff::SignedDuration::from_secs(7200);
    let grant = client.provision(&order).await.unwrap();
    let role_arn = grant.role_arn.clone();
    let assume = AssumeOrder {
        order: order.clone(),
        grant: grant.clone(),
        serial: 1,
    };
    client.assume(&assume, now).await.unwrap();
    let ending = EndOrder {
        order,
        grant,
        cause: EndCause::Revoked,
    };
    let gone = |_: Cut| async move { Ok((ReadBack::RoleGone { role_arn }, vec![])) };
    client.end(&ending, || now, gone).await.unwrap();
    let forms = recorded.lock().unwrap();
    let asked = forms.iter().flat_map(|form| form.lines());
    let asked: Vec<_> = asked
        .filter_map(|line| line.strip_prefix("DurationSeconds = "))
        .collect();
    // The grant's own session, the control, and the refusal that proves the end.
    assert_eq!(asked, ["3600", "900", "900"]);
}

/// Concurrent calls share one provisioner session.
#[tokio::test]
async fn the_provisioner_session_is_made_once() {
    let (client, recorded) = recorded(aws).await;
    let order = create_mode();
    let (a, b, c) = tokio::join!(
        client.provision(&order),
        client.provision(&order),
        client.provision(&order)
    );
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    let forms = recorded.lock().unwrap();
    let assumed = forms
        .iter()
        .filter(|f| f.contains("Action = AssumeRole\n"))
        .count();
    assert_eq!(assumed, 1, "{forms:#?}");
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_does_not_leak() {
    // First the provisioner's own session, then the grant's.
    for broken in [0, 1] {
        let answers: fn(&str, usize) -> _ = match broken {
            0 => |action, before| unreadable(action, before, 0),
            _ => |action, before| unreadable(action, before, 1),
        };
        let (client, recorded) = recorded(answers).await;
        let order = assume_mode();
        let grant = client.provision(&order).await.unwrap();
        let now = order.end.timestamp() - jiff::SignedDuration::from_secs(60);
        let assume = AssumeOrder {
            order,
            grant,
            serial: 1,
        };
        let error = client.assume(&assume, now).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Retry, "{error:?}");
        assert_eq!(recorded.lock().unwrap().len(), broken + 1);
        assert_silent(&error);
    }
}

fn unreadable(action: &str, before: usize, broken: usize) -> (u16, String) {
    if before == broken {
        (200, format!("<{SECRET}>{SECRET}</{SECRET}>"))
    } else {
        aws(action, before)
    }
}

#[tokio::test]
async fn half_of_the_credentials_are_none() {
    let (client, _) = recorded(|action, before| match before {
        0 => aws(action, before),
        _ => (200, aws(action, before).1.replace("SessionToken", "Other")),
    })
    .await;
    let order = assume_mode();
    let grant = client.provision(&order).await.unwrap();
    let now = order.end.timestamp() - jiff::SignedDuration::from_secs(60);
    let assume = AssumeOrder {
        order,
        grant,
        serial: 1,
    };
    let error = client.assume(&assume, now).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Alarm, "{error:?}");
    assert_silent(&error);
}

fn assert_silent(error: &hallpass_aws::AwsError) {
    let mut told = format!("{error} {error:?}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        told.push_str(&format!(" {cause} {cause:?}"));
        source = cause.source();
    }
    assert!(!told.contains(SECRET), "{told}");
}

#[tokio::test]
async fn refusals_are_classed_by_where_they_come_from() {
    for (answer, class) in [
        (
            (|a, n| {
                if n > 0 {
                    error(403, "AccessDenied")
                } else {
                    aws(a, n)
                }
            }) as fn(&str, usize) -> _,
            ErrorClass::NotYetVisible,
        ),
        (
            |a, n| {
                if n > 0 {
                    error(400, "Throttling")
                } else {
                    aws(a, n)
                }
            },
            ErrorClass::Throttled,
        ),
        (
            |a, n| {
                if n > 0 {
                    error(400, "PackedPolicyTooLarge")
                } else {
                    aws(a, n)
                }
            },
            ErrorClass::Refused,
        ),
        (|_, _| error(403, "AccessDenied"), ErrorClass::Alarm),
        (|_, _| error(503, "Odd"), ErrorClass::Retry),
    ] {
        let (client, _) = recorded(answer).await;
        let order = create_mode();
        let grant = order.planned_grant().unwrap();
        let now = order.end.timestamp() - jiff::SignedDuration::from_secs(60);
        let assume = AssumeOrder {
            order,
            grant,
            serial: 1,
        };
        let error = client.assume(&assume, now).await.unwrap_err();
        assert_eq!(error.class, class, "{error:?}");
    }
}
