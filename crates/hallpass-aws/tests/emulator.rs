//! The whole life of grants against an AWS emulator that enforces policy.
//!
//! Runs where `HALLPASS_TEST_AWS_ENDPOINT` names one; every test says so when it does not.

#![expect(
    clippy::unwrap_used,
    reason = "in a test binary a failed unwrap is a failed test"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_iam::config::{BehaviorVersion, Credentials, Region};
use hallpass_aws::cuts::LIFT_MARGIN;
use hallpass_aws::policy::{PolicyDocument, Statement};
use hallpass_aws::sandbox::{self, OBJECT, OBJECT_KEY, Sandbox, SandboxAccount};
use hallpass_aws::{
    AssumeOrder, Aws, AwsError, CutsWritten, EndOrder, ErrorClass, IssuedSession, Order,
    SignedAnswer, SignedHttp, SignedRequest, check_entitlement, documents, names,
};
use hallpass_types::{
    AccessMode, AccessRequestId, Control, Cut, EndCause, EndInstant, Entitlement, EntitlementId,
    Grant, GrantDuration, PrincipalId, Probe, ProofOfEnd, ReadBack, RequestId, Risk, RoleArn,
    SharedRole,
};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::OnceCell;
use url::Url;

const REGION: &str = "eu-west-1";

struct World {
    endpoint: Url,
    sandbox: Sandbox,
    aws: Aws,
    http: SignedHttp,
}

impl World {
    /// `None`, with a word on stderr, where no emulator is named.
    async fn new() -> Option<Self> {
        static SEEDED: OnceCell<Sandbox> = OnceCell::const_new();
        let Ok(endpoint) = std::env::var("HALLPASS_TEST_AWS_ENDPOINT") else {
            eprintln!("skipped: HALLPASS_TEST_AWS_ENDPOINT names no emulator");
            return None;
        };
        let endpoint = Url::parse(&endpoint).unwrap();
        let seed = || async { sandbox::seed(&endpoint, REGION).await.unwrap() };
        let sandbox = SEEDED.get_or_init(seed).await.clone();
        let aws = Aws::new(&sandbox.config).await.unwrap();
        let http = SignedHttp::new(Some(endpoint.clone())).unwrap();
        Some(Self {
            endpoint,
            sandbox,
            aws,
            http,
        })
    }

    fn root_iam(&self, account: &str) -> aws_sdk_iam::Client {
        let config = aws_sdk_iam::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(self.endpoint.as_str())
            .region(Region::new(REGION))
            .credentials_provider(Credentials::new(account, "test", None, None, "test"))
            .build();
        aws_sdk_iam::Client::from_conf(config)
    }

    /// A shared role of the test's own, as the sandbox's: cuts on one role have one writer.
    async fn assume_mode(&self, account: &SandboxAccount) -> Entitlement {
        let iam = self.root_iam(account.id.as_str());
        let model = account.reader.role_name();
        let role = iam.get_role().role_name(model).send().await.unwrap();
        let decoded = |text: &str| {
            let text = percent_encoding::percent_decode_str(text);
            text.decode_utf8_lossy().into_owned()
        };
        let trust = decoded(role.role().unwrap().assume_role_policy_document().unwrap());
        let read = iam.get_role_policy().role_name(model);
        let read = read.policy_name("permissions").send().await.unwrap();
        // The provisioner reaches roles with this beginning.
        let name = format!("hallpass-ar-test-{}", random_uuid());
        let create = iam.create_role().role_name(&name);
        let made = create.assume_role_policy_document(trust).send().await;
        let role_arn = RoleArn::parse(made.unwrap().role().unwrap().arn()).unwrap();
        let put = iam.put_role_policy().role_name(&name);
        let put = put.policy_name("permissions");
        let put = put.policy_document(decoded(read.policy_document()));
        put.send().await.unwrap();
        entitlement(
            account,
            AccessMode::Assume {
                role_arn,
                session_policy: None,
            },
        )
    }

    async fn end(&self, order: &Order, grant: &Grant) -> Result<ProofOfEnd, AwsError> {
        end(&self.aws, order, grant).await
    }

    async fn read(&self, session: &IssuedSession, account: &SandboxAccount) -> SignedAnswer {
        let path = format!("/{}/{OBJECT_KEY}", account.bucket);
        let get = SignedRequest::get("s3", REGION, &path);
        self.http.send(&session.secret, get).await.unwrap()
    }

    async fn granted(&self, order: &Order) -> (Grant, IssuedSession) {
        let grant = self.aws.provision(order).await.unwrap();
        let session = self.session(order, &grant).await;
        (grant, session)
    }

    async fn session(&self, order: &Order, grant: &Grant) -> IssuedSession {
        let order = AssumeOrder {
            order: order.clone(),
            grant: grant.clone(),
            serial: 1,
        };
        self.aws.assume(&order, Timestamp::now()).await.unwrap()
    }

    /// Waits until the session is refused.
    async fn refused(&self, session: &IssuedSession, account: &SandboxAccount) -> Timestamp {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        let mut pace = tokio::time::interval(Duration::from_millis(100));
        loop {
            pace.tick().await;
            let answer = self.read(session, account).await;
            if answer.status != 200 {
                assert_eq!(
                    (answer.status, answer.code.as_deref()),
                    (403, Some("AccessDenied"))
                );
                return Timestamp::now();
            }
            assert!(tokio::time::Instant::now() < deadline, "still allowed");
        }
    }
}

fn entitlement(account: &SandboxAccount, access: AccessMode) -> Entitlement {
    let assume = matches!(access, AccessMode::Assume { .. });
    let entitlement = Entitlement {
        id: EntitlementId::parse("reports").unwrap(),
        title: "Read reports".to_owned(),
        account: account.id.clone(),
        account_name: account.name.to_owned(),
        environment: "dev".to_owned(),
        region: REGION.to_owned(),
        access,
        risk: Risk::new(1).unwrap(),
        owners: vec![],
        max_duration: GrantDuration::from_seconds(3600).unwrap(),
        external_id: assume.then(|| account.reader_external_id.clone()),
        probe: Probe {
            service: "s3".to_owned(),
            path: format!("/{}?list-type=2&max-keys=1", account.bucket),
        },
        tags: BTreeMap::from([("team".to_owned(), "payments".to_owned())]),
        parameters: Default::default(),
        conditions: Default::default(),
        max_session: None,
        previous_external_id: None,
    };
    assert_eq!(check_entitlement(&entitlement), Ok(()));
    entitlement
}

fn create_mode(account: &SandboxAccount) -> Entitlement {
    let bucket = account.bucket;
    let permissions = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":["s3:GetObject","s3:ListBucket"],
        "Resource":["arn:aws:s3:::{bucket}","arn:aws:s3:::{bucket}/*"]}}]}}"#
    );
    let permissions_boundary = account.boundary.clone();
    entitlement(
        account,
        AccessMode::Create {
            permissions,
            permissions_boundary,
        },
    )
}

/// A new access request, never seen before.
fn order(entitlement: Entitlement, seconds: i64) -> Order {
    let requester = PrincipalId::parse("https://idp.example#alice@example.com").unwrap();
    let key = RequestId::parse(&random_uuid()).unwrap();
    Order {
        request: AccessRequestId::derive(&requester, &key),
        requester,
        entitlement,
        end: EndInstant::after(
            Timestamp::now(),
            GrantDuration::from_seconds(seconds).unwrap(),
        ),
    }
}

fn random_uuid() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    let (a, b) = (
        RandomState::new().hash_one(0),
        RandomState::new().hash_one(1),
    );
    let hex = format!("{a:016x}{b:016x}");
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// Ends a grant with no other writer on its role.
async fn end(aws: &Aws, order: &Order, grant: &Grant) -> Result<ProofOfEnd, AwsError> {
    let ending = EndOrder {
        order: order.clone(),
        grant: grant.clone(),
        cause: EndCause::Revoked,
    };
    let cut = |cut| async {
        let written = write(aws, order, &[cut], Timestamp::now()).await?;
        assert_eq!(written.no_room, []);
        let in_place = ReadBack::DenyInPlace {
            policy_name: names::CUTS_POLICY.to_owned(),
            policy_digest: written.policy_digest.unwrap(),
        };
        Ok((in_place, written.aws_request_ids))
    };
    aws.end(&ending, Timestamp::now, cut).await
}

async fn write(
    aws: &Aws,
    order: &Order,
    cuts: &[Cut],
    now: Timestamp,
) -> Result<CutsWritten, AwsError> {
    let grant = order.planned_grant().unwrap();
    let role = SharedRole {
        account: order.entitlement.account.clone(),
        role_name: grant.role_arn.role_name().to_owned(),
    };
    aws.write_cuts(&role, cuts, now).await
}

fn cut_of(order: &Order) -> Cut {
    Cut {
        request: order.request.clone(),
        session_name: order.session_name(),
        end: order.end,
    }
}

#[tokio::test]
async fn both_modes_read_what_was_approved_in_every_account() {
    let Some(world) = World::new().await else {
        return;
    };
    for (i, account) in world.sandbox.accounts.iter().enumerate() {
        let other = &world.sandbox.accounts[1 - i];
        for entitlement in [world.assume_mode(account).await, create_mode(account)] {
            let order = order(entitlement, 600);
            let (grant, session) = world.granted(&order).await;
            let answer = world.read(&session, account).await;
            assert_eq!(String::from_utf8_lossy(&answer.body), OBJECT, "{answer:?}");
            assert_ne!(world.read(&session, other).await.status, 200);
            let put = format!("/{}/other", account.bucket);
            let put = SignedRequest::put("s3", REGION, &put, b"x".to_vec());
            assert_eq!(
                world.http.send(&session.secret, put).await.unwrap().status,
                403
            );
            let facts = &session.facts;
            assert!(
                facts
                    .assumed_role_id
                    .ends_with(&format!(":{}", order.session_name()))
            );
            assert!(facts.session_expires_at > Timestamp::now() + SignedDuration::from_secs(890));
            world.end(&order, &grant).await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_early_end_cuts_this_grant_and_nobody_else() {
    let Some(world) = World::new().await else {
        return;
    };
    let account = &world.sandbox.accounts[0];
    let entitlement = world.assume_mode(account).await;
    let (mine, theirs) = (order(entitlement.clone(), 600), order(entitlement, 600));
    let (grant, session) = world.granted(&mine).await;
    let (_, other_session) = world.granted(&theirs).await;
    assert_eq!(world.read(&session, account).await.status, 200);

    let proof = world.end(&mine, &grant).await.unwrap();
    assert!(
        matches!(&proof.read_back, ReadBack::DenyInPlace { policy_name, .. } if policy_name == names::CUTS_POLICY),
        "{proof:?}"
    );
    let canary = &proof.canary;
    assert_eq!(
        (canary.http_status, canary.code.as_str()),
        (403, "AccessDenied")
    );
    let fence = proof.canary_fence.as_ref().unwrap();
    assert_eq!((&fence.request, fence.end), (&mine.request, mine.end));
    assert_eq!(
        world.read(&session, account).await.code.as_deref(),
        Some("AccessDenied")
    );
    assert_eq!(world.read(&other_session, account).await.status, 200);
    // A session that is issued after the cut is dead as well, and ending twice is ending once.
    let late = world.session(&mine, &grant).await;
    assert_eq!(world.read(&late, account).await.status, 403);
    let again = world.end(&mine, &grant).await.unwrap();
    assert_eq!(again.read_back, proof.read_back);
    assert!(
        matches!(again.control, Control::Missing { .. }),
        "what is cut allows nothing: {again:?}"
    );

    let early = mine.end.timestamp();
    let standing = write(&world.aws, &mine, &[], early).await.unwrap();
    let lift_at = standing.lift_at.unwrap();
    assert!(lift_at >= early + LIFT_MARGIN);
    assert_eq!(world.read(&late, account).await.status, 403);
    for _ in 0..2 {
        let lifted = write(&world.aws, &mine, &[], lift_at).await.unwrap();
        assert_eq!((lifted.lift_at, lifted.policy_digest), (None, None));
    }
    let iam = world.root_iam(account.id.as_str());
    let left = iam
        .list_role_policies()
        .role_name(grant.role_arn.role_name());
    assert_eq!(left.send().await.unwrap().policy_names(), ["permissions"]);
}

#[tokio::test]
async fn one_write_cuts_many_grants_as_far_as_the_role_has_room_for_them() {
    let Some(world) = World::new().await else {
        return;
    };
    let account = &world.sandbox.accounts[1];
    let entitlement = world.assume_mode(account).await;
    let mut sessions = Vec::new();
    for _ in 0..6 {
        let order = order(entitlement.clone(), 600);
        let (_, session) = world.granted(&order).await;
        sessions.push((order, session));
    }
    let cuts: Vec<_> = sessions.iter().map(|(order, _)| cut_of(order)).collect();
    let role = sessions[0].0.planned_grant().unwrap().role_arn;
    let iam = world.root_iam(account.id.as_str());
    let fill = |characters: usize| {
        let resource = format!("arn:aws:s3:::{}", "b".repeat(characters));
        let allow = Statement::allow(&["s3:GetObject"], &[&resource]);
        let put = iam.put_role_policy().role_name(role.role_name());
        put.policy_name("filling")
            .policy_document(PolicyDocument::new(vec![allow]).to_json())
            .send()
    };
    // Room for some, but not for all.
    fill(9_000).await.unwrap();
    let now = Timestamp::now();
    let first = write(&world.aws, &sessions[0].0, &cuts, now).await.unwrap();
    let held = cuts.len() - first.no_room.len();
    assert!((1..cuts.len()).contains(&held), "{first:?}");
    for (n, (order, session)) in sessions.iter().enumerate() {
        let status = world.read(session, account).await.status;
        let expected = if n < held { 403 } else { 200 };
        assert_eq!(status, expected, "{n} of {held}");
        assert_eq!(first.no_room.contains(&order.request), n >= held);
    }
    // Those that stand stay when the others come again, and all stand once there is room.
    let again = write(&world.aws, &sessions[0].0, &cuts, now).await.unwrap();
    assert_eq!(again.no_room, first.no_room);
    fill(10).await.unwrap();
    let all = write(&world.aws, &sessions[0].0, &cuts, now).await.unwrap();
    assert_eq!(all.no_room, []);
    for (_, session) in &sessions {
        assert_eq!(world.read(session, account).await.status, 403);
    }
}

#[tokio::test]
async fn a_policy_of_our_name_that_cannot_be_read_is_not_overwritten() {
    let Some(world) = World::new().await else {
        return;
    };
    let account = &world.sandbox.accounts[0];
    let order = order(world.assume_mode(account).await, 600);
    let role = order.planned_grant().unwrap().role_arn;
    let iam = world.root_iam(account.id.as_str());
    let put = iam.put_role_policy().role_name(role.role_name());
    let odd = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","NotPrincipal":{"AWS":"*"},"Action":"*","Resource":"*"}]}"#;
    let put = put.policy_name(names::CUTS_POLICY).policy_document(odd);
    put.send().await.unwrap();
    let now = Timestamp::now();
    let error = write(&world.aws, &order, &[cut_of(&order)], now).await;
    assert_eq!(error.unwrap_err().class, ErrorClass::Alarm);
}

#[tokio::test]
async fn the_clock_ends_access_without_us() {
    let Some(world) = World::new().await else {
        return;
    };
    let account = &world.sandbox.accounts[0];
    let ends = |entitlement| async {
        let order = order(entitlement, 8);
        let (grant, session) = world.granted(&order).await;
        assert_eq!(world.read(&session, account).await.status, 200);
        let at = world.refused(&session, account).await;
        assert!(
            at >= order.end.timestamp(),
            "refused at {at}, before {:?}",
            order.end
        );
        let late = AssumeOrder {
            order: order.clone(),
            grant: grant.clone(),
            serial: 2,
        };
        let error = world.aws.assume(&late, Timestamp::now()).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Refused);

        let proof = world.end(&order, &grant).await.unwrap();
        assert!(proof.proved_at >= order.end.timestamp());
        if grant.created {
            let role_arn = grant.role_arn.clone();
            assert_eq!(proof.read_back, ReadBack::RoleGone { role_arn });
            let call = format!("sts AssumeRole {}", grant.role_arn.role_name());
            assert_eq!(proof.canary.call, call);
        } else {
            assert_eq!(proof.read_back, ReadBack::FencePassed { end: order.end });
            assert_eq!(proof.canary.code, "AccessDenied");
        }
    };
    tokio::join!(
        ends(world.assume_mode(account).await),
        ends(create_mode(account))
    );
}

#[tokio::test]
async fn a_created_role_is_adopted_after_a_lost_answer_and_deleted_from_every_half_way_point() {
    let Some(world) = World::new().await else {
        return;
    };
    let account = &world.sandbox.accounts[0];
    let iam = world.root_iam(account.id.as_str());
    let order = order(create_mode(account), 600);
    let name = names::role_name(&order.request);
    let planned = order.planned_grant().unwrap();

    // Nothing was ever made.
    world.end(&order, &planned).await.unwrap();

    let (grant, session) = world.granted(&order).await;
    assert_eq!(
        (&grant.role_arn, &grant.session_name),
        (&planned.role_arn, &planned.session_name)
    );
    // CreateRole was executed, its answer and the policy were lost.
    iam.delete_role_policy()
        .role_name(&name)
        .policy_name(names::GRANT_POLICY)
        .send()
        .await
        .unwrap();
    let again = world.aws.provision(&order).await.unwrap();
    assert_eq!(again.role_unique_id, grant.role_unique_id);
    assert_eq!(world.read(&session, account).await.status, 200);

    // Somebody attached more; an earlier end got as far as the deny.
    let attach = iam
        .attach_role_policy()
        .role_name(&name)
        .policy_arn(account.boundary.as_str());
    attach.send().await.unwrap();
    let deny = iam
        .put_role_policy()
        .role_name(&name)
        .policy_name(names::DENY_ALL_POLICY);
    deny.policy_document(documents::deny_all().to_json())
        .send()
        .await
        .unwrap();
    for _ in 0..2 {
        let proof = world.end(&order, &planned).await.unwrap();
        let role_arn = grant.role_arn.clone();
        assert_eq!(proof.read_back, ReadBack::RoleGone { role_arn });
    }
    assert!(iam.get_role().role_name(&name).send().await.is_err());
    assert_eq!(world.read(&session, account).await.status, 403);
}

#[tokio::test]
async fn a_role_that_is_not_ours_is_neither_adopted_nor_deleted() {
    let Some(world) = World::new().await else {
        return;
    };
    let account = &world.sandbox.accounts[0];
    let iam = world.root_iam(account.id.as_str());
    let order = order(create_mode(account), 600);
    let name = names::role_name(&order.request);
    let root = "arn:aws:iam::111122223333:root";
    let trust = documents::trust(root, &order.request, order.end, &Default::default());
    let foreign = iam.create_role().role_name(&name).path(names::ROLE_PATH);
    foreign
        .assume_role_policy_document(trust.to_json())
        .send()
        .await
        .unwrap();

    let error = world.aws.provision(&order).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Refused, "{error}");
    let grant = order.planned_grant().unwrap();
    let error = world.end(&order, &grant).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Refused, "{error}");
    let found = iam.get_role().role_name(&name).send().await.unwrap();
    assert_eq!(found.role().unwrap().role_name(), name);
    iam.delete_role().role_name(&name).send().await.unwrap();
}

#[tokio::test]
async fn an_extension_moves_the_fence_and_old_sessions_keep_their_end() {
    let Some(world) = World::new().await else {
        return;
    };
    let account = &world.sandbox.accounts[0];
    let extends = |entitlement| async {
        let mut order = order(entitlement, 8);
        let (grant, old) = world.granted(&order).await;
        let first_end = order.end;
        order.end = EndInstant::after(Timestamp::now(), GrantDuration::from_seconds(600).unwrap());
        for _ in 0..2 {
            world.aws.move_fence(&order, &grant).await.unwrap();
        }
        let new = world.session(&order, &grant).await;
        let at = world.refused(&old, account).await;
        assert!(at >= first_end.timestamp());
        assert_eq!(world.read(&new, account).await.status, 200);
        world.end(&order, &grant).await.unwrap();
        assert_eq!(world.read(&new, account).await.status, 403);
    };
    tokio::join!(
        extends(world.assume_mode(account).await),
        extends(create_mode(account))
    );
}

#[tokio::test]
async fn a_narrowing_policy_narrows_and_still_proves_its_end() {
    let Some(world) = World::new().await else {
        return;
    };
    let account = &world.sandbox.accounts[0];
    let mut entitlement = world.assume_mode(account).await;
    if let AccessMode::Assume { session_policy, .. } = &mut entitlement.access {
        *session_policy = Some(
            r#"{"Statement":{"Effect":"Allow","Action":"s3:ListBucket","Resource":"*"}}"#
                .to_owned(),
        );
    }
    let order = order(entitlement, 600);
    let (grant, session) = world.granted(&order).await;
    assert_eq!(world.read(&session, account).await.status, 403);
    let list = SignedRequest::get("s3", REGION, &order.entitlement.probe.path);
    assert_eq!(
        world
            .http
            .send(&session.secret, list.clone())
            .await
            .unwrap()
            .status,
        200
    );
    world.end(&order, &grant).await.unwrap();
    assert_eq!(
        world.http.send(&session.secret, list).await.unwrap().status,
        403
    );
}

#[tokio::test]
async fn a_way_in_that_does_not_open_is_an_alarm() {
    let Some(world) = World::new().await else {
        return;
    };
    let account = &world.sandbox.accounts[0];
    let mut config = world.sandbox.config.clone();
    config.accounts.get_mut(&account.id).unwrap().external_id = Some("wrong".to_owned());
    let aws = Aws::new(&config).await.unwrap();
    let error = aws
        .provision(&order(create_mode(account), 600))
        .await
        .unwrap_err();
    assert_eq!(
        (error.class, error.code.as_deref()),
        (ErrorClass::Alarm, Some("AccessDenied"))
    );
    assert_eq!(error.operation, "AssumeRole of the provisioner role");
    // A role whose trust policy wants another external id refuses for good.
    let mut wrong = world.assume_mode(account).await;
    wrong.external_id = Some("wrong".to_owned());
    let order = order(wrong, 600);
    let grant = world.aws.provision(&order).await.unwrap();
    let assume = AssumeOrder {
        order,
        grant,
        serial: 1,
    };
    let error = world
        .aws
        .assume(&assume, Timestamp::now())
        .await
        .unwrap_err();
    assert_eq!(error.class, ErrorClass::Refused, "{error}");
}

#[tokio::test]
async fn seeding_twice_changes_nothing() {
    let Some(world) = World::new().await else {
        return;
    };
    let again = sandbox::seed(&world.endpoint, REGION).await.unwrap();
    assert_eq!(again.accounts, world.sandbox.accounts);
    let account = &again.accounts[0];
    let order = order(world.assume_mode(account).await, 600);
    let (_, session) = world.granted(&order).await;
    assert_eq!(
        world.read(&session, account).await.status,
        200,
        "the older key still works"
    );
}
