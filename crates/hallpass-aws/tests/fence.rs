//! The fence, over documents, ends and instants that nobody thought of: what a grant may do is
//! never more than what was approved, and nothing at all from its end on.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeMap;
use std::net::IpAddr;

use hallpass_aws::check_entitlement;
use hallpass_aws::documents::{canary_policy, permissions, session_policy, trust};
use hallpass_aws::evaluate::{Answer, Call, evaluate, evaluate_within};
use hallpass_aws::limits::{INLINE_POLICY_CHARS, SESSION_POLICY_CHARS, TRUST_POLICY_CHARS};
use hallpass_aws::policy::{Effect, OneOrMany, PolicyDocument, Scalar, Statement};
use hallpass_types::{
    AccessMode, AccessRequestId, AddressRange, AwsAccountId, EndInstant, Entitlement,
    EntitlementId, GrantDuration, OrganizationId, PolicyArn, PrincipalId, Probe, RequestId, Risk,
    RoleArn, TrustConditions, VpcEndpointId,
};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

const ACCOUNT: &str = "111122223333";

fn entitlement(access: AccessMode) -> Entitlement {
    Entitlement {
        id: EntitlementId::parse("any").unwrap(),
        title: "Anything".to_owned(),
        account: AwsAccountId::parse(ACCOUNT).unwrap(),
        account_name: "any".to_owned(),
        environment: "test".to_owned(),
        region: "eu-west-1".to_owned(),
        access,
        risk: Risk::new(1).unwrap(),
        owners: Vec::new(),
        max_duration: GrantDuration::from_seconds(3600).unwrap(),
        external_id: None,
        probe: Probe {
            service: "s3".to_owned(),
            path: "/b".to_owned(),
        },
        tags: BTreeMap::new(),
        parameters: Default::default(),
        conditions: Default::default(),
        max_session: None,
        previous_external_id: None,
    }
}

fn assume(narrow: Option<&PolicyDocument>) -> Entitlement {
    entitlement(AccessMode::Assume {
        role_arn: RoleArn::parse(&format!("arn:aws:iam::{ACCOUNT}:role/Shared")).unwrap(),
        session_policy: narrow.map(PolicyDocument::to_json),
    })
}

fn create(permissions: &PolicyDocument) -> Entitlement {
    entitlement(AccessMode::Create {
        permissions: permissions.to_json(),
        permissions_boundary: PolicyArn::parse(&format!("arn:aws:iam::{ACCOUNT}:policy/b"))
            .unwrap(),
    })
}

fn word() -> BoxedStrategy<String> {
    prop_oneof![
        Just("*".to_owned()),
        "(s3|sqs|iam|sts):(Get|Put|List|\\*)[A-Za-z]{0,6}\\*?",
        Just("s3:GetObject".to_owned()),
    ]
    .boxed()
}

fn place() -> BoxedStrategy<String> {
    prop_oneof![
        Just("*".to_owned()),
        "arn:aws:s3:::[ab](/\\*|/x)?",
        Just("arn:aws:s3:::a/x".to_owned()),
    ]
    .boxed()
}

fn one_or_many<T: Clone + std::fmt::Debug + 'static>(
    values: BoxedStrategy<T>,
) -> impl Strategy<Value = OneOrMany<T>> {
    prop_oneof![
        values.clone().prop_map(OneOrMany::One),
        prop::collection::vec(values, 1..4).prop_map(OneOrMany::Many),
    ]
}

/// Conditions that hold, that do not, that depend on the instant, and that nobody knows.
fn conditions() -> impl Strategy<Value = BTreeMap<String, BTreeMap<String, OneOrMany<Scalar>>>> {
    let operator = prop::sample::select(vec![
        "DateLessThan",
        "DateGreaterThanEquals",
        "StringEquals",
        "StringNotEquals",
        "StringLike",
        "Bool",
        "IpAddress",
    ]);
    let key = prop::sample::select(vec!["aws:CurrentTime", "aws:userid", "aws:MultiFactor"]);
    let value = prop_oneof![
        (0i64..4_000_000_000).prop_map(|s| Timestamp::from_second(s).unwrap().to_string()),
        "[a-z*]{0,4}",
        Just("true".to_owned()),
    ]
    .prop_map(|text| Scalar::from(text.as_str()));
    let one = (operator, key, one_or_many(value.boxed())).prop_map(|(operator, key, values)| {
        (
            operator.to_owned(),
            BTreeMap::from([(key.to_owned(), values)]),
        )
    });
    prop::collection::vec(one, 0..3).prop_map(|all| all.into_iter().collect())
}

fn statement() -> impl Strategy<Value = Statement> {
    let not = any::<(bool, bool)>();
    let parts = (
        one_or_many(word()),
        one_or_many(place()),
        not,
        any::<bool>(),
        conditions(),
    );
    parts.prop_map(
        |(actions, resources, (not_action, not_resource), deny, condition)| {
            let mut statement = Statement::allow_everything();
            if deny {
                statement.effect = Effect::Deny;
            }
            (statement.action, statement.not_action) = match not_action {
                false => (Some(actions), None),
                true => (None, Some(actions)),
            };
            (statement.resource, statement.not_resource) = match not_resource {
                false => (Some(resources), None),
                true => (None, Some(resources)),
            };
            statement.condition = condition;
            statement
        },
    )
}

fn document() -> impl Strategy<Value = PolicyDocument> {
    prop::collection::vec(statement(), 0..6).prop_map(PolicyDocument::new)
}

/// Any end that a calendar has, and any instant, often within a second of it.
fn end_and_instant() -> impl Strategy<Value = (EndInstant, Timestamp)> {
    let near = prop_oneof![
        -2_000i64..2_000,
        -86_400_000i64..86_400_000,
        Just(0),
        Just(-1),
        -400_000_000_000i64..400_000_000_000,
    ];
    (0i64..4_000_000_000, near).prop_map(|(end, offset)| {
        let end = EndInstant::from(Timestamp::from_second(end).unwrap());
        (end, end.timestamp() + SignedDuration::from_millis(offset))
    })
}

fn call(at: Timestamp, action: &str, resource: &str, user: &str) -> Call {
    Call::new(action, resource, at).with("aws:userid", user)
}

const ACTIONS: [&str; 4] = ["s3:GetObject", "s3:PutA", "sqs:ListQueues", "iam:GetRole"];
const RESOURCES: [&str; 3] = ["arn:aws:s3:::a/x", "arn:aws:s3:::b", "arn:aws:sqs:::q"];

/// Where a call comes from: an address, or an endpoint instead.
#[derive(Clone, Debug)]
enum Whence {
    Address(IpAddr),
    Endpoint(VpcEndpointId),
    Nowhere,
}

impl Whence {
    fn of(&self, call: Call, via_service: bool) -> Call {
        let call = call.with(
            "aws:ViaAWSService",
            if via_service { "true" } else { "false" },
        );
        match self {
            Self::Address(ip) => call.with("aws:SourceIp", &ip.to_string()),
            Self::Endpoint(id) => call.with("aws:SourceVpce", id.as_str()),
            Self::Nowhere => call,
        }
    }

    fn is_in(&self, conditions: &TrustConditions) -> bool {
        !conditions.bind_network()
            || match self {
                Self::Address(ip) => conditions.source_ips.iter().any(|r| r.contains(*ip)),
                Self::Endpoint(id) => conditions.source_vpces.contains(id),
                Self::Nowhere => false,
            }
    }
}

fn range() -> impl Strategy<Value = AddressRange> {
    let four = (any::<u32>(), 1u32..=32).prop_map(|(bits, length)| {
        let first = bits & u32::MAX.checked_shl(32 - length).unwrap();
        format!("{}/{length}", std::net::Ipv4Addr::from(first))
    });
    let near = prop::sample::select(vec!["203.0.113.0/24", "2001:db8::/32", "203.0.0.0/16"]);
    prop_oneof![four, near.prop_map(str::to_owned)]
        .prop_map(|text| AddressRange::parse(&text).unwrap())
}

fn endpoint() -> impl Strategy<Value = VpcEndpointId> {
    let ids = vec!["vpce-1a2b3c4d", "vpce-0123456789abcdef0"];
    prop::sample::select(ids).prop_map(|id| VpcEndpointId::parse(id).unwrap())
}

fn organization() -> impl Strategy<Value = OrganizationId> {
    let ids = vec!["o-a1b2c3d4e5", "o-0000000000"];
    prop::sample::select(ids).prop_map(|id| OrganizationId::parse(id).unwrap())
}

fn whence() -> impl Strategy<Value = Whence> {
    let ip = prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::from(std::net::Ipv4Addr::from(bits))),
        Just("203.0.113.9".parse().unwrap()),
        Just("2001:db8::1".parse().unwrap()),
    ];
    prop_oneof![
        ip.prop_map(Whence::Address),
        endpoint().prop_map(Whence::Endpoint),
        Just(Whence::Nowhere),
    ]
}

fn trust_conditions() -> impl Strategy<Value = TrustConditions> {
    let ranges = prop::collection::btree_set(range(), 0..3);
    let endpoints = prop::collection::btree_set(endpoint(), 0..2);
    let parts = (ranges, endpoints, prop::option::of(organization()));
    parts.prop_map(|(source_ips, source_vpces, org_id)| TrustConditions {
        source_ips,
        source_vpces,
        org_id,
    })
}

fn request() -> AccessRequestId {
    let requester = PrincipalId::parse("https://idp.example#alice").unwrap();
    let key = RequestId::parse("6b0f7c1e-3c1d-4b43-9a53-1d7d3c2f8a10").unwrap();
    AccessRequestId::derive(&requester, &key)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_session_on_a_shared_role_has_approved_rights_until_its_end_and_none_after(
        role in document(), narrow in prop::option::of(document()),
        (end, at) in end_and_instant(), user in "[a-z]{0,3}",
    ) {
        let session = session_policy(&assume(narrow.as_ref()), end).unwrap();
        for (action, resource) in ACTIONS.iter().flat_map(|a| RESOURCES.map(|r| (*a, r))) {
            let call = call(at, action, resource, &user);
            let answer = evaluate_within(&[&role], &[&session], &call);
            if end.has_come(at) {
                prop_assert_eq!(answer, Answer::DeniedExplicitly);
            } else {
                let approved = match &narrow {
                    Some(narrow) => evaluate_within(&[&role], &[narrow], &call),
                    None => evaluate(&[&role], &call),
                };
                prop_assert_eq!(answer, approved);
            }
        }
    }

    #[test]
    fn a_role_of_its_own_has_approved_rights_until_its_end_and_none_after(
        approved in document(), (end, at) in end_and_instant(), user in "[a-z]{0,3}",
    ) {
        let role = permissions(&approved.to_json(), end, &Default::default()).unwrap();
        let session = session_policy(&create(&approved), end).unwrap();
        for (action, resource) in ACTIONS.iter().flat_map(|a| RESOURCES.map(|r| (*a, r))) {
            let call = call(at, action, resource, &user);
            let answer = evaluate_within(&[&role], &[&session], &call);
            if end.has_come(at) {
                prop_assert_eq!(answer, Answer::DeniedExplicitly);
                // Each of the two fences would do alone.
                prop_assert_eq!(evaluate(&[&role], &call), Answer::DeniedExplicitly);
                prop_assert_eq!(evaluate(&[&session], &call), Answer::DeniedExplicitly);
            } else {
                prop_assert_eq!(answer, evaluate(&[&approved], &call));
            }
        }
    }

    #[test]
    fn a_longer_grant_is_never_less_fenced_than_its_own_end(
        approved in document(), (end, at) in end_and_instant(), by in 1i64..50_000,
    ) {
        // An extension: new sessions take the later end, old ones keep theirs.
        let later = EndInstant::from(end.timestamp() + SignedDuration::from_secs(by));
        let role = permissions(&approved.to_json(), later, &Default::default()).unwrap();
        let old = session_policy(&create(&approved), end).unwrap();
        let new = session_policy(&create(&approved), later).unwrap();
        let call = call(at, ACTIONS[0], RESOURCES[0], "u");
        let old = evaluate_within(&[&role], &[&old], &call);
        let new = evaluate_within(&[&role], &[&new], &call);
        prop_assert!(!end.has_come(at) || old == Answer::DeniedExplicitly);
        prop_assert!(!later.has_come(at) || new == Answer::DeniedExplicitly);
        prop_assert!(end.has_come(at) || old == new);
    }

    #[test]
    fn nobody_assumes_a_role_of_its_own_from_its_end_on((end, at) in end_and_instant()) {
        let id = request();
        let none = TrustConditions::default();
        let trust = trust("arn:aws:iam::111122223333:role/p", &id, end, &none);
        let asked = [("sts:AssumeRole", Some(id.as_str())), ("sts:TagSession", None)];
        for (action, external_id) in asked {
            let call = Call::new(action, "*", at);
            let call = external_id.map_or(call.clone(), |id| call.with("sts:ExternalId", id));
            prop_assert_eq!(evaluate(&[&trust], &call) == Answer::Allowed, !end.has_come(at));
        }
    }

    /// From elsewhere nothing is allowed, from where it may be used the same as without conditions; and
    /// what the canary is denied is denied to every session.
    #[test]
    fn a_session_works_from_where_it_may_be_used_and_the_canary_sees_no_less(
        role in document(), narrow in document(), conditions in trust_conditions(),
        (end, at) in end_and_instant(), from in whence(), org in prop::option::of(organization()),
        via_service: bool,
    ) {
        let plain = assume(Some(&narrow));
        let bound = Entitlement { conditions: conditions.clone(), ..plain.clone() };
        let mut call = from.of(call(at, ACTIONS[0], RESOURCES[0], "u"), via_service);
        if let Some(org) = &org {
            call = call.with("aws:PrincipalOrgID", org.as_str());
        }
        let says = |policy: PolicyDocument| evaluate_within(&[&role], &[&policy], &call);
        let session = says(session_policy(&bound, end).unwrap());
        let free = says(session_policy(&plain, end).unwrap());
        let canary = says(canary_policy(&bound, end).unwrap());
        let ours = conditions.org_id.is_none() || conditions.org_id == org;
        let there = via_service || from.is_in(&conditions);
        prop_assert_eq!(session, if ours && there { free } else { Answer::DeniedExplicitly });
        prop_assert_eq!(canary, if ours { free } else { Answer::DeniedExplicitly });
        prop_assert!(session != Answer::Allowed || canary == Answer::Allowed);
    }

    #[test]
    fn a_created_role_is_assumed_and_used_from_its_organization_only(
        approved in document(), conditions in trust_conditions(), (end, at) in end_and_instant(),
        org in prop::option::of(organization()),
    ) {
        let id = request();
        let ours = conditions.org_id.is_none() || conditions.org_id == org;
        let with_org = |call: Call| match &org {
            Some(org) => call.with("aws:PrincipalOrgID", org.as_str()),
            None => call,
        };
        let trust = trust("arn:aws:iam::111122223333:role/p", &id, end, &conditions);
        let assume = Call::new("sts:AssumeRole", "*", at).with("sts:ExternalId", id.as_str());
        let lets_in = evaluate(&[&trust], &with_org(assume)) == Answer::Allowed;
        prop_assert_eq!(lets_in, ours && !end.has_come(at));
        let role = permissions(&approved.to_json(), end, &conditions).unwrap();
        let call = with_org(call(at, ACTIONS[0], RESOURCES[0], "u"));
        let expected = match ours && !end.has_come(at) {
            true => evaluate(&[&approved], &call),
            false => Answer::DeniedExplicitly,
        };
        prop_assert_eq!(evaluate(&[&role], &call), expected);
    }

    /// Whatever is not refused when the entitlement is loaded fits when the grant is made, with the
    /// fence of any end: an end is always written in as many characters.
    #[test]
    fn what_is_not_refused_beforehand_fits(
        statements in prop::collection::vec(statement(), 0..30), (end, _) in end_and_instant(),
    ) {
        let document = PolicyDocument::new(statements);
        let fits = |json: &str, limit: usize| json.chars().count() <= limit;
        let shared = assume(Some(&document));
        let session = session_policy(&shared, end).unwrap().to_json();
        match check_entitlement(&shared) {
            Ok(()) => prop_assert!(fits(&session, SESSION_POLICY_CHARS)),
            Err(found) => {
                prop_assert!(found.iter().all(|v| v.field == "session_policy"), "{:?}", found);
                prop_assert!(!fits(&session, SESSION_POLICY_CHARS));
                prop_assert!(found[0].problem.contains("AWS takes 2048"), "{:?}", found);
            }
        }
        let own = create(&document);
        let role = permissions(&document.to_json(), end, &Default::default()).unwrap().to_json();
        let deny_all = hallpass_aws::documents::deny_all().to_json();
        let room = role.split_whitespace().map(str::len).sum::<usize>() + deny_all.len();
        prop_assert_eq!(check_entitlement(&own).is_ok(), room <= INLINE_POLICY_CHARS);
        let none = TrustConditions::default();
        let trust = trust("arn:aws:iam::111122223333:role/p", &request(), end, &none);
        prop_assert!(fits(&trust.to_json(), TRUST_POLICY_CHARS));
    }
}
