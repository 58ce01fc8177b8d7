//! Decisions that the identity provider must have signed: by whom, for which, and when.

use hallpass_evidence::{Order, Statement};
use hallpass_identity::DevIssuer;
use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::{AccessRequest, DecideAccessRequestRequest, EvidenceLevel, Verdict};
use hallpass_types::{
    DecisionToken, EvidenceLevel as Signed, PrincipalId, Reason, Verdict as SignedVerdict,
};
use harness::{Clients, Private, message, reason_of, uuid, violates, workflow_of};
use serde_json::json;
use tonic::{Code, Status};

use super::{about, asked, codes, count, service_key, sign, timeline};

fn decision(request: &AccessRequest, verdict: Verdict) -> DecideAccessRequestRequest {
    DecideAccessRequestRequest {
        name: request.name.clone(),
        request_id: uuid(),
        verdict: verdict.into(),
        reason: "looked at it".to_owned(),
        ..Default::default()
    }
}

/// Sends a decision with a token; the answer.
async fn send(
    by: &Clients,
    decision: &DecideAccessRequestRequest,
    token: String,
) -> Result<AccessRequest, Status> {
    let mut decision = decision.clone();
    decision.decision_token = token;
    by.send_decision(decision).await
}

/// A token that signs this decision of bob's, but for what `change` does to its claims.
async fn signed_by(
    issuer: &DevIssuer,
    who: &str,
    (bob, decision): (&Clients, &DecideAccessRequestRequest),
    change: impl FnOnce(&mut serde_json::Value),
) -> String {
    let nonce = bob.decision_nonce(decision).await.unwrap();
    let token = issuer.sign_decision(who, &nonce, |_, claims| change(claims));
    token.unwrap()
}

#[tokio::test]
async fn a_high_risk_decision_counts_only_with_the_approvers_own_sign_in_for_it() {
    let world = Private::start().await;
    let _service = world.serve("all").await;
    let (alice, bob, dave) = (
        world.client("alice").await,
        world.client("bob").await,
        world.client("dave").await,
    );
    let request = alice.ask("prod-export", 60).await.unwrap();
    let yes = || decision(&request, Verdict::Approve);
    let refused = send(&bob, &yes(), String::new()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(violates(&refused, "EVIDENCE"), "{refused:?}");

    let issuer = &world.issuer;
    let other = DevIssuer::start(
        vec![hallpass_identity::DevPerson {
            name: "bob".to_owned(),
            subject: "bob".to_owned(),
            kind: hallpass_types::PrincipalKind::Human,
            groups: vec!["reports-owners".to_owned()],
            acting_for: None,
            mfa: true,
            display_name: None,
        }],
        tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(),
    )
    .unwrap();
    let ours = issuer.issuer().to_owned();
    let mut expected = Vec::new();
    let mut attempts = Vec::new();
    // Of another decision, and of the opposite one.
    let (one, another) = (yes(), yes());
    let token = signed_by(issuer, "bob", (&bob, &another), |_| {}).await;
    attempts.push((one, token, "nonce_mismatch"));
    let mut denial = yes();
    denial.verdict = Verdict::Deny.into();
    let flipped = DecideAccessRequestRequest {
        verdict: Verdict::Approve.into(),
        ..denial.clone()
    };
    let token = signed_by(issuer, "bob", (&bob, &denial), |_| {}).await;
    attempts.push((flipped, token, "nonce_mismatch"));
    // Of another person, too old, for another client, without a time, and by another key.
    let one = yes();
    let token = signed_by(issuer, "carol", (&bob, &one), |_| {}).await;
    attempts.push((one, token, "other_person"));
    let ago = |claims: &mut serde_json::Value| {
        claims["auth_time"] = json!(claims["auth_time"].as_i64().unwrap() - 600);
    };
    let one = yes();
    let token = signed_by(issuer, "bob", (&bob, &one), ago).await;
    attempts.push((one, token, "auth_time_stale"));
    let one = yes();
    let token = signed_by(issuer, "bob", (&bob, &one), |c| {
        c["aud"] = json!("hallpass")
    })
    .await;
    attempts.push((one, token, "audience_mismatch"));
    let one = yes();
    let silent = |claims: &mut serde_json::Value| {
        claims.as_object_mut().unwrap().remove("auth_time");
    };
    let token = signed_by(issuer, "bob", (&bob, &one), silent).await;
    attempts.push((one, token, "auth_time_missing"));
    let one = yes();
    let token = signed_by(&other, "bob", (&bob, &one), |c| c["iss"] = json!(ours)).await;
    attempts.push((one, token, "key_unknown"));
    for (decision, token, code) in attempts {
        let refused = send(&bob, &decision, token).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
        assert!(
            violates(&refused, &code.to_uppercase()),
            "{code}: {refused:?}"
        );
        expected.push(code);
    }
    let after = alice.get(&request.name).await.unwrap();
    assert_eq!(after.state(), State::AwaitingApproval);
    assert_eq!(after.decisions, []);
    assert_eq!(codes(&after), expected);
    let entries = timeline(&alice, &request.name).await;
    assert_eq!(count(&entries, "order.refused"), expected.len());

    let once = bob.decide(&request.name, Verdict::Approve).await.unwrap();
    assert_eq!(once.state(), State::AwaitingApproval);
    let active = dave.decide(&request.name, Verdict::Approve).await.unwrap();
    assert_eq!(active.state(), State::Active, "{active:?}");
    let signed = EvidenceLevel::IdentityProvider;
    assert!(active.decisions.iter().all(|d| d.evidence() == signed));
    let entries = timeline(&alice, &request.name).await;
    assert_eq!(
        count(&entries, "decision.proven"),
        3,
        "bob's is looked at twice"
    );
    alice.give_back(&request.name).await.unwrap();
}

#[tokio::test]
async fn a_token_that_signs_a_decision_opens_no_door() {
    let world = Private::start().await;
    let _service = world.serve("all").await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let request = alice.ask("prod-reports", 60).await.unwrap();
    let yes = decision(&request, Verdict::Approve);
    let nonce = bob.decision_nonce(&yes).await.unwrap();
    let whole = world
        .issuer
        .sign_decision("bob", &nonce, |_, _| {})
        .unwrap();
    // In the clothes of an access token, with one mark of a decision left.
    let dressed = |mark: &'static str, value: serde_json::Value| {
        let token = world
            .issuer
            .mint_with("bob", |_, claims| claims[mark] = value);
        token.unwrap()
    };
    let with_nonce = dressed("nonce", json!(nonce));
    let with_audience = dressed("aud", json!(["hallpass", "hallpass-decisions"]));
    for (token, why) in [
        (whole, "type_not_allowed"),
        (with_nonce, "decision_token"),
        (with_audience, "decision_token"),
    ] {
        let thief = world.client_with(format!("Bearer {token}")).await;
        let refused = thief.get(&request.name).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
        assert_eq!(reason_of(&refused), "TOKEN_REJECTED");
        assert!(format!("{refused:?}").contains(why), "{why}: {refused:?}");
    }
    alice.withdraw(&request.name).await.unwrap();
}

/// What an API that was taken over can sign: anything, in anybody's name, with its own key.
fn in_the_name_of(world: &Private, who: &str, asked: &Statement) -> Statement {
    let mut forged = about(
        asked,
        asked,
        Order::Decide {
            verdict: SignedVerdict::Approve,
            reason: Reason::parse("trust me").ok(),
            at_most: None,
            token: None,
        },
    );
    forged.actor.id = PrincipalId::new(world.issuer.issuer(), who).unwrap();
    forged.actor.auth.mfa = true;
    forged.actor.auth.evidence = Signed::IdentityProvider;
    let all = ["reports-owners", "security"];
    forged.actor.groups.extend(all.map(str::to_owned));
    forged
}

#[tokio::test]
async fn an_api_that_was_taken_over_cannot_approve_what_identity_providers_must_sign() {
    let world = Private::start().await;
    let _service = world.serve("all").await;
    let alice = world.client("alice").await;
    let request = alice.ask("prod-export", 60).await.unwrap();
    let workflow = workflow_of(&request.name);
    let (engine, key) = (world.engine(), service_key(&world));
    let asked = asked(&world, &request.name).await;

    // Nobody signed in: the service's word, for two people, in perfect form.
    for who in ["bob", "carol"] {
        let forged = in_the_name_of(&world, who, &asked);
        engine
            .signal(&workflow, "decide", &sign(&key, &forged))
            .await;
    }
    // Somebody signed in, but for another decision.
    let mut forged = in_the_name_of(&world, "bob", &asked);
    let elsewhere = world
        .issuer
        .sign_decision("bob", "hpd1-x", |_, _| {})
        .unwrap();
    forged.order = Order::Decide {
        verdict: SignedVerdict::Approve,
        reason: None,
        at_most: None,
        token: DecisionToken::parse(&elsewhere).ok(),
    };
    engine
        .signal(&workflow, "decide", &sign(&key, &forged))
        .await;
    // An accomplice signed in for it: what the service says of their groups is worth nothing.
    let mut forged = in_the_name_of(&world, "bob", &asked);
    let nonce = forged.decision().unwrap().nonce();
    let weaker = world.issuer.sign_decision("bob", &nonce, |_, claims| {
        claims["groups"] = json!(["engineering"]);
    });
    if let Order::Decide { token, .. } = &mut forged.order {
        *token = DecisionToken::parse(&weaker.unwrap()).ok();
    }
    engine
        .signal(&workflow, "decide", &sign(&key, &forged))
        .await;

    let after = harness::until("all are weighed", || async {
        let now = alice.get(&request.name).await.unwrap();
        let mut proven = now.decisions.iter().map(|d| d.evidence());
        let weighed = proven.any(|level| level == EvidenceLevel::IdentityProvider);
        (now.decisions.len() == 3 && now.refusals.len() == 1 && weighed).then_some(now)
    })
    .await;
    assert_eq!(after.state(), State::AwaitingApproval, "{after:?}");
    assert_eq!(
        after.approvals.as_ref().unwrap().counted.unwrap().distinct,
        0
    );
    assert_eq!(codes(&after), ["nonce_mismatch"]);
    let levels: Vec<_> = after.decisions.iter().map(|d| d.evidence()).collect();
    let (service, signed) = (EvidenceLevel::Service, EvidenceLevel::IdentityProvider);
    assert_eq!(levels, [service, service, signed]);
    let words = format!("{:?}", after.policy_answers);
    assert!(words.contains("high-risk-is-signed-for"), "{words}");
    let entries = timeline(&alice, &request.name).await;
    assert!(count(&entries, "decision.not_counted") >= 2, "{entries:?}");
    assert_eq!(super::roles(&world).await, Vec::<String>::new());
    let history = engine.history(&workflow).await;
    let provisioned = harness::activities(&history);
    assert!(!provisioned.contains(&"hallpass.provision".to_owned()));
    assert!(!message(&history, "decide").is_null());
    alice.withdraw(&request.name).await.unwrap();
}
