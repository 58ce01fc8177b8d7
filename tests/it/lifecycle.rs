//! Requests from the first call to the proof of their end.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::{
    AccessRequest, ApprovalTally, DecideAccessRequestRequest, EndCause, PrincipalKind, Verdict,
};
use harness::{Aws, Private, Reading, Session, Shared, issue, reason_of, seconds, uuid};
use tonic::Code;

const SANDBOX: &str = "444455556666";
const BUCKET: &str = "sandbox-reports";
/// The built-in guard rail and the pack's own.
const NO_SELF_APPROVAL: &str = "hallpass.no-self-approval,no-self-approval";

fn role_of(request: &AccessRequest) -> &str {
    request.role_arn.rsplit('/').next().unwrap()
}

fn end_of(request: &AccessRequest) -> i64 {
    request.end_time.unwrap().seconds
}

fn counted(request: &AccessRequest) -> ApprovalTally {
    request.approvals.unwrap().counted.unwrap()
}

fn policy_ids(request: &AccessRequest, gate: &str) -> Vec<String> {
    let answer = request.policy_answers.iter().find(|a| a.gate == gate);
    let answer = answer.unwrap_or_else(|| panic!("{gate} was not asked: {request:?}"));
    assert!(!answer.allowed, "{answer:?}");
    assert_eq!(answer.policy_digest.len(), 64);
    answer.policy_ids.clone()
}

fn denying_policies(status: &tonic::Status) -> String {
    use tonic_types::StatusExt as _;
    let details = status.get_error_details();
    let info = details.error_info().expect("an ErrorInfo");
    info.metadata.get("policy_ids").cloned().unwrap_or_default()
}

fn seconds_of(span: Option<prost_types::Duration>) -> f64 {
    let span = span.expect("a duration");
    span.seconds as f64 + f64::from(span.nanos) / 1e9
}

async fn works(aws: &Aws, session: &Session) {
    let read = aws.read(&session.secret, BUCKET).await;
    assert_eq!(read, Reading::Allowed);
}

async fn is_refused(aws: &Aws, session: &Session) {
    let read = aws.read(&session.secret, BUCKET).await;
    assert!(matches!(read, Reading::Refused(_)), "{read:?}");
}

#[tokio::test]
async fn an_assumed_role_works_until_its_end_and_not_after() {
    let world = Shared::get().await;
    let alice = world.client("alice").await;
    let request = alice.ask("sandbox-reports", 8).await.unwrap();
    assert_eq!(request.state(), State::Active, "{request:?}");
    let session = issue(&alice, &request.name).await.unwrap();
    works(&world.aws(), &session).await;

    let ended = alice.watch_until(&request.name, State::Ended).await;
    is_refused(&world.aws(), &session).await;
    assert_eq!(ended.end_cause(), EndCause::Expired);
    assert_eq!(end_of(&ended), end_of(&request), "the end never moved");
    let proof = ended.proof.unwrap();
    let call = "s3 GET /sandbox-reports?list-type=2&max-keys=1";
    assert_eq!(proof.denied_call, call);
    assert!(!proof.denied_code.is_empty(), "{proof:?}");
    assert!(!proof.aws_request_ids.is_empty(), "{proof:?}");
    let proved = proof.prove_time.unwrap().seconds;
    assert!(proved >= end_of(&request), "proved only once it was over");
    let lag = seconds_of(ended.lag);
    assert!((0.0..20.0).contains(&lag), "{lag}");
    let facts = &ended.issued_credentials[0];
    assert_eq!(facts.serial, 1);
    assert_eq!(Some(facts), session.sealed.credential.as_ref());
}

#[tokio::test]
async fn a_created_role_exists_while_access_is_active_and_is_gone_afterwards() {
    let world = Shared::get().await;
    let (alice, aws) = (world.client("alice").await, world.aws());
    let request = alice.ask("sandbox-scratch", 10).await.unwrap();
    assert_eq!(request.state(), State::Active, "{request:?}");
    assert!(aws.role_exists(SANDBOX, role_of(&request)).await);
    let session = issue(&alice, &request.name).await.unwrap();
    works(&aws, &session).await;

    let ended = alice.watch_until(&request.name, State::Ended).await;
    assert!(!aws.role_exists(SANDBOX, role_of(&request)).await);
    is_refused(&aws, &session).await;
    assert_eq!(ended.end_cause(), EndCause::Expired);
    let proof = ended.proof.unwrap();
    let gone = format!("role {} is gone", request.role_arn);
    assert_eq!(proof.read_back, gone);
    let refused = format!("sts AssumeRole {}", role_of(&request));
    assert_eq!(proof.denied_call, refused);
    assert_eq!(proof.denied_code, "AccessDenied");
    assert_eq!(proof.no_allowed_call, "the end had already come");
    assert!(seconds_of(ended.lag) < 20.0);
    let refused = issue(&alice, &request.name).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
}

#[tokio::test]
async fn policy_denies_and_the_denial_is_recorded_with_its_policies() {
    let world = Shared::get().await;
    let (bot, agent) = (
        world.client("deploy-bot").await,
        world.client("alice-agent").await,
    );
    // Nothing permits it: no policy decided, and the gate says so.
    for (entitlement, seconds) in [("sandbox-scratch", 60), ("prod-reports", 901)] {
        let denied = bot.ask(entitlement, seconds).await.unwrap();
        assert_eq!(denied.state(), State::Denied, "{denied:?}");
        assert_eq!(policy_ids(&denied, "request"), Vec::<String>::new());
        assert_eq!(denied.note, "No policy allows this (request gate).");
        assert_eq!(bot.get(&denied.name).await.unwrap(), denied);
    }
    // A guard rail forbids it, in its own words.
    let denied = agent.ask("sandbox-reports", 1801).await.unwrap();
    assert_eq!(denied.state(), State::Denied, "{denied:?}");
    assert_eq!(policy_ids(&denied, "request"), ["agents-stay-short"]);
    assert_eq!(denied.note, "An agent asks for at most 30 minutes.");
    let denied = agent.ask("prod-export", 60).await.unwrap();
    assert_eq!(denied.state(), State::Denied, "{denied:?}");
    assert_eq!(policy_ids(&denied, "request"), ["agents-stay-low"]);
    let refused = issue(&agent, &denied.name).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
}

#[tokio::test]
async fn a_pipeline_asks_within_its_limits_and_waits_for_an_owner() {
    let world = Shared::get().await;
    let (bot, bob) = (world.client("deploy-bot").await, world.client("bob").await);
    let request = bot.ask("prod-reports", 900).await.unwrap();
    assert_eq!(request.state(), State::AwaitingApproval, "{request:?}");
    assert_eq!(
        request.requester.as_ref().unwrap().kind(),
        PrincipalKind::Workload
    );
    let required = request.approvals.unwrap().required.unwrap();
    let one_owner = ApprovalTally {
        owner: 1,
        security: 0,
        distinct: 1,
    };
    assert_eq!(required, one_owner);
    let active = bob.decide(&request.name, Verdict::Approve).await.unwrap();
    assert_eq!(active.state(), State::Active, "{active:?}");
    issue(&bot, &request.name).await.unwrap();
    bot.give_back(&request.name).await.unwrap();
    bot.watch_until(&request.name, State::Ended).await;
}

#[tokio::test]
async fn a_person_denies_and_the_reason_is_kept() {
    let world = Shared::get().await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let request = alice.ask("prod-reports", 60).await.unwrap();
    let decision = DecideAccessRequestRequest {
        name: request.name.clone(),
        request_id: uuid(),
        verdict: Verdict::Deny.into(),
        reason: "  not during the freeze ".to_owned(),
        ..Default::default()
    };
    let mut approval = bob.approval.clone();
    let decided = approval.decide_access_request(decision.clone()).await;
    let denied = decided.unwrap().into_inner();
    assert_eq!(denied.state(), State::Denied, "{denied:?}");
    let [kept] = denied.decisions.as_slice() else {
        panic!("one decision: {denied:?}");
    };
    assert_eq!(kept.request_id, decision.request_id);
    assert_eq!(kept.reason, "not during the freeze");
    assert_eq!(kept.verdict(), Verdict::Deny);
    let approver = kept.approver.as_ref().unwrap();
    assert!(
        approver.id.ends_with("#bob") && approver.mfa,
        "{approver:?}"
    );
    assert_eq!(kept.statement_digest.len(), 64);
    assert_eq!(denied.note, format!("Denied by {}.", approver.id));
    assert_eq!(alice.get(&request.name).await.unwrap(), denied);
    assert_eq!(denied.role_arn, "", "nothing was opened");
}

#[tokio::test]
async fn a_request_that_nobody_answers_lapses() {
    let world = Private::start_with_pack(|pack| {
        let file = pack.join("entitlements.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let short = text.replace(
            "approval_window_seconds = 3600",
            "approval_window_seconds = 5",
        );
        assert_ne!(short, text);
        std::fs::write(file, short).unwrap();
    })
    .await;
    let _service = world.serve("all").await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let request = alice.ask("prod-reports", 60).await.unwrap();
    assert_eq!(request.state(), State::AwaitingApproval);
    let window = request.lapse_time.unwrap().seconds - request.create_time.unwrap().seconds;
    assert!((5..=8).contains(&window), "{request:?}");
    let lapsed = alice.watch_until(&request.name, State::Lapsed).await;
    assert!(lapsed.update_time.unwrap().seconds >= request.lapse_time.unwrap().seconds);
    let late = bob
        .decide(&request.name, Verdict::Approve)
        .await
        .unwrap_err();
    assert_eq!(late.code(), Code::FailedPrecondition, "{late:?}");
    assert_eq!(alice.get(&request.name).await.unwrap(), lapsed);
}

#[tokio::test]
async fn a_question_is_taken_back_and_cannot_be_answered_any_more() {
    let world = Shared::get().await;
    let (alice, bob) = (world.client("alice").await, world.client("bob").await);
    let request = alice.ask("prod-reports", 60).await.unwrap();
    let withdrawn = alice.withdraw(&request.name).await.unwrap();
    assert_eq!(withdrawn.state(), State::Withdrawn, "{withdrawn:?}");
    let late = bob
        .decide(&request.name, Verdict::Approve)
        .await
        .unwrap_err();
    assert_eq!(late.code(), Code::FailedPrecondition, "{late:?}");
    let again = alice.withdraw(&request.name).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition, "{again:?}");
    assert_eq!(alice.get(&request.name).await.unwrap(), withdrawn);

    let active = alice.ask("sandbox-reports", 8).await.unwrap();
    let too_late = alice.withdraw(&active.name).await.unwrap_err();
    assert_eq!(too_late.code(), Code::FailedPrecondition, "{too_late:?}");
}

#[tokio::test]
async fn returning_a_shared_role_cuts_that_grant_at_once_and_nobody_else() {
    let world = Shared::get().await;
    let (alice, bob, aws) = (
        world.client("alice").await,
        world.client("bob").await,
        world.aws(),
    );
    let mine = alice.ask("sandbox-reports", 600).await.unwrap();
    let my_other = alice.ask("sandbox-reports", 600).await.unwrap();
    let theirs = bob.ask("sandbox-reports", 600).await.unwrap();
    assert_eq!(mine.role_arn, theirs.role_arn, "they share the role");
    let session = issue(&alice, &mine.name).await.unwrap();
    let other = issue(&alice, &my_other.name).await.unwrap();
    let bystander = issue(&bob, &theirs.name).await.unwrap();
    works(&aws, &session).await;

    let returned = alice.give_back(&mine.name).await.unwrap();
    assert_eq!(returned.name, mine.name);
    let ended = alice.watch_until(&mine.name, State::Ended).await;
    is_refused(&aws, &session).await;
    works(&aws, &other).await;
    works(&aws, &bystander).await;
    assert_eq!(ended.end_cause(), EndCause::Returned);
    assert!(seconds_of(ended.lag) < 20.0);
    let proof = ended.proof.as_ref().unwrap();
    assert_eq!(
        proof.read_back,
        "deny hallpass-cuts stands on the shared role"
    );
    assert!(proof.denied_call.starts_with("s3 GET /"), "{proof:?}");
    // The same canary had worked before: what is denied is denied by the cut.
    assert_eq!(proof.allowed_call, proof.denied_call);
    assert_eq!(proof.canary_access_request, mine.name);
    let policies = aws.role_policies(SANDBOX, role_of(&mine)).await;
    assert!(
        policies.contains(&"hallpass-cuts".to_owned()),
        "{policies:?}"
    );
    for (who, request) in [(&alice, &my_other), (&bob, &theirs)] {
        assert_eq!(who.get(&request.name).await.unwrap().state(), State::Active);
        who.give_back(&request.name).await.unwrap();
        who.watch_until(&request.name, State::Ended).await;
    }
    is_refused(&aws, &bystander).await;
}

#[tokio::test]
async fn returning_a_created_role_deletes_it_at_once() {
    let world = Shared::get().await;
    let (alice, aws) = (world.client("alice").await, world.aws());
    let request = alice.ask("sandbox-scratch", 600).await.unwrap();
    let bystander = alice.ask("sandbox-scratch", 600).await.unwrap();
    assert_ne!(
        request.role_arn, bystander.role_arn,
        "each has a role of its own"
    );
    let session = issue(&alice, &request.name).await.unwrap();
    let other = issue(&alice, &bystander.name).await.unwrap();
    works(&aws, &session).await;
    alice.give_back(&request.name).await.unwrap();
    let ended = alice.watch_until(&request.name, State::Ended).await;
    assert_eq!(ended.end_cause(), EndCause::Returned);
    is_refused(&aws, &session).await;
    assert!(!aws.role_exists(SANDBOX, role_of(&request)).await);
    let proof = ended.proof.as_ref().unwrap();
    // The role went after a session of it was seen refused.
    assert!(proof.denied_call.starts_with("s3 GET /"), "{proof:?}");
    assert_eq!(proof.canary_access_request, request.name);
    // The deny waits for no control: it was seen, or the record says that it was too late.
    let seen = proof.allowed_call.starts_with("s3 GET /");
    assert_ne!(seen, !proof.no_allowed_call.is_empty(), "{proof:?}");
    works(&aws, &other).await;
    assert!(aws.role_exists(SANDBOX, role_of(&bystander)).await);
    let again = alice.give_back(&request.name).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition, "{again:?}");
    alice.give_back(&bystander.name).await.unwrap();
    alice.watch_until(&bystander.name, State::Ended).await;
}

#[tokio::test]
async fn an_owner_revokes_access_that_needed_nobodys_approval() {
    let world = Shared::get().await;
    let (alice, bob, aws) = (
        world.client("alice").await,
        world.client("bob").await,
        world.aws(),
    );
    let request = alice.ask("sandbox-scratch", 600).await.unwrap();
    let session = issue(&alice, &request.name).await.unwrap();
    works(&aws, &session).await;
    bob.revoke(&request.name).await.unwrap();
    let ended = alice.watch_until(&request.name, State::Ended).await;
    assert_eq!(ended.end_cause(), EndCause::Revoked);
    is_refused(&aws, &session).await;
    let refused = issue(&alice, &request.name).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    let extended = alice.extend(&request.name, 60).await.unwrap_err();
    assert_eq!(extended.code(), Code::FailedPrecondition, "{extended:?}");
}

#[tokio::test]
async fn an_extension_opens_new_sessions_and_leaves_old_ones_their_end() {
    let world = Shared::get().await;
    let (alice, aws) = (world.client("alice").await, world.aws());
    let request = alice.ask("sandbox-reports", 10).await.unwrap();
    let old = issue(&alice, &request.name).await.unwrap();
    works(&aws, &old).await;
    let extended = alice.extend(&request.name, 12).await.unwrap();
    assert_eq!(extended.state(), State::Active, "{extended:?}");
    assert_eq!(end_of(&extended), end_of(&request) + 12);
    let new = issue(&alice, &request.name).await.unwrap();
    let end = |s: &Session| {
        s.sealed
            .credential
            .as_ref()
            .unwrap()
            .end_time
            .unwrap()
            .seconds
    };
    assert_eq!(end(&old), end_of(&request));
    assert_eq!(end(&new), end_of(&extended));

    harness::until("the old session ends", || async {
        let read = aws.read(&old.secret, BUCKET).await;
        matches!(read, Reading::Refused(_)).then_some(())
    })
    .await;
    works(&aws, &new).await;
    assert_eq!(
        alice.get(&request.name).await.unwrap().state(),
        State::Active
    );
    let ended = alice.watch_until(&request.name, State::Ended).await;
    assert_eq!(ended.end_cause(), EndCause::Expired);
    assert!(ended.proof.unwrap().prove_time.unwrap().seconds >= end_of(&extended));
    is_refused(&aws, &new).await;
}

#[tokio::test]
async fn an_extension_moves_the_fence_of_a_created_role() {
    let world = Shared::get().await;
    let (alice, aws) = (world.client("alice").await, world.aws());
    let request = alice.ask("sandbox-scratch", 12).await.unwrap();
    let old = issue(&alice, &request.name).await.unwrap();
    let extended = alice.extend(&request.name, 12).await.unwrap();
    assert_eq!(end_of(&extended), end_of(&request) + 12);
    assert_eq!(extended.role_arn, request.role_arn);
    let new = issue(&alice, &request.name).await.unwrap();
    harness::until("the old session ends", || async {
        let read = aws.read(&old.secret, BUCKET).await;
        matches!(read, Reading::Refused(_)).then_some(())
    })
    .await;
    works(&aws, &new).await;
    let ended = alice.watch_until(&request.name, State::Ended).await;
    assert!(ended.proof.unwrap().prove_time.unwrap().seconds >= end_of(&extended));
    is_refused(&aws, &new).await;
    assert!(!aws.role_exists(SANDBOX, role_of(&request)).await);
}

#[tokio::test]
async fn an_extension_beyond_the_entitlements_longest_is_refused_and_changes_nothing() {
    let world = Shared::get().await;
    let alice = world.client("alice").await;
    let request = alice.ask("sandbox-reports", 600).await.unwrap();
    let refused = alice.extend(&request.name, 7200).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    assert_eq!(reason_of(&refused), "POLICY_DENIED");
    let too_long = alice.extend(&request.name, 43_200).await.unwrap_err();
    assert_eq!(too_long.code(), Code::InvalidArgument, "{too_long:?}");
    assert_eq!(harness::violated_fields(&too_long), ["extend_by"]);
    let now = alice.get(&request.name).await.unwrap();
    assert_eq!(now.state(), State::Active);
    assert_eq!(now.end_time, request.end_time);
    assert_eq!(now.duration, Some(seconds(600)));
    let doors: Vec<_> = now.refusals.iter().map(|r| (&*r.door, &*r.code)).collect();
    assert_eq!(doors, [("extend", "policy_denied"), ("extend", "too_long")]);
    alice.give_back(&request.name).await.unwrap();
    alice.watch_until(&request.name, State::Ended).await;
}

#[tokio::test]
async fn two_people_open_a_critical_entitlement() {
    let world = Shared::get().await;
    let (alice, bob, dave) = (
        world.client("alice").await,
        world.client("bob").await,
        world.client("dave").await,
    );
    let request = alice.ask("prod-export", 600).await.unwrap();
    assert_eq!(request.state(), State::AwaitingApproval);
    let once = bob.decide(&request.name, Verdict::Approve).await.unwrap();
    assert_eq!(once.state(), State::AwaitingApproval);
    let active = dave.decide(&request.name, Verdict::Approve).await.unwrap();
    assert_eq!(active.state(), State::Active);
    let revoked = dave.revoke(&request.name).await.unwrap();
    assert_eq!(revoked.name, request.name);
    let ended = alice.watch_until(&request.name, State::Ended).await;
    assert_eq!(ended.end_cause(), EndCause::Revoked);
}

#[tokio::test]
async fn one_person_in_two_capacities_is_one_person() {
    let world = Shared::get().await;
    let (alice, bob, carol) = (
        world.client("alice").await,
        world.client("bob").await,
        world.client("carol").await,
    );
    let request = alice.ask("prod-export", 600).await.unwrap();
    let carols = ApprovalTally {
        owner: 1,
        security: 1,
        distinct: 1,
    };
    for _ in 0..2 {
        let waiting = carol.decide(&request.name, Verdict::Approve).await.unwrap();
        assert_eq!(waiting.state(), State::AwaitingApproval, "{waiting:?}");
        assert_eq!(counted(&waiting), carols);
    }
    let active = bob.decide(&request.name, Verdict::Approve).await.unwrap();
    assert_eq!(active.state(), State::Active, "{active:?}");
    assert_eq!(counted(&active).distinct, 2);
    assert_eq!(active.decisions.len(), 3);
    alice.give_back(&request.name).await.unwrap();
    alice.watch_until(&request.name, State::Ended).await;
}

#[tokio::test]
async fn nobody_approves_their_own_request() {
    let world = Shared::get().await;
    let (bob, carol) = (world.client("bob").await, world.client("carol").await);
    let request = bob.ask("prod-reports", 60).await.unwrap();
    assert_eq!(request.state(), State::AwaitingApproval, "{request:?}");
    for verdict in [Verdict::Approve, Verdict::Deny] {
        let refused = bob.decide(&request.name, verdict).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
        assert_eq!(reason_of(&refused), "POLICY_DENIED");
        assert_eq!(denying_policies(&refused), NO_SELF_APPROVAL);
    }
    let now = bob.get(&request.name).await.unwrap();
    assert_eq!(
        (now.state(), now.decisions.len()),
        (State::AwaitingApproval, 0)
    );
    let active = carol.decide(&request.name, Verdict::Approve).await.unwrap();
    assert_eq!(active.state(), State::Active, "another owner may");
    bob.give_back(&request.name).await.unwrap();
    bob.watch_until(&request.name, State::Ended).await;
}

#[tokio::test]
async fn an_agents_person_approves_nothing_of_the_agents_and_the_other_way_round() {
    let world = Private::start().await;
    let _service = world.serve("all").await;
    // An agent that acts for bob, who owns what it asks for, and that claims bob's groups.
    let token = world
        .issuer
        .mint_with("alice-agent", |_, claims| {
            claims["sub"] = "bob-agent".into();
            claims["acting_for"] = "bob".into();
            claims["groups"] = ["engineering", "reports-owners"].as_slice().into();
            claims["amr"] = ["pwd", "mfa"].as_slice().into();
        })
        .unwrap();
    let agent = world.client_with(format!("Bearer {token}")).await;
    let (alice, bob, carol) = (
        world.client("alice").await,
        world.client("bob").await,
        world.client("carol").await,
    );
    let asked = agent.ask("prod-reports", 60).await.unwrap();
    assert_eq!(asked.state(), State::AwaitingApproval, "{asked:?}");
    let bobs = bob.ask("prod-reports", 60).await.unwrap();
    let alices = alice.ask("prod-reports", 60).await.unwrap();
    for (who, request, why) in [
        (&bob, &asked, NO_SELF_APPROVAL),
        (
            &agent,
            &bobs,
            "approvers-are-human,hallpass.no-self-approval,hallpass.people-approve,no-self-approval",
        ),
        (
            &agent,
            &alices,
            "approvers-are-human,hallpass.people-approve",
        ),
    ] {
        let refused = who
            .decide(&request.name, Verdict::Approve)
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
        assert_eq!(reason_of(&refused), "POLICY_DENIED");
        assert_eq!(denying_policies(&refused), why);
    }
    // A person whose sign-in is weak or old does not count either.
    for change in [
        |claims: &mut serde_json::Value| claims["amr"] = ["pwd"].as_slice().into(),
        |claims: &mut serde_json::Value| {
            claims["auth_time"] = (claims["auth_time"].as_i64().unwrap() - 43_300).into();
        },
    ] {
        let token = world.issuer.mint_with("carol", |_, claims| change(claims));
        let carol = world
            .client_with(format!("Bearer {}", token.unwrap()))
            .await;
        let refused = carol
            .decide(&asked.name, Verdict::Approve)
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
        assert_eq!(denying_policies(&refused), "fresh-mfa");
    }
    let active = carol.decide(&asked.name, Verdict::Approve).await.unwrap();
    assert_eq!(active.state(), State::Active, "{active:?}");
    assert_eq!(active.decisions.len(), 1, "nothing refused was recorded");
    issue(&agent, &asked.name).await.unwrap();
}

#[tokio::test]
async fn an_agent_gets_what_it_asks_within_its_limits_and_its_person_may_stop_it() {
    let world = Shared::get().await;
    let (agent, alice, aws) = (
        world.client("alice-agent").await,
        world.client("alice").await,
        world.aws(),
    );
    let request = agent.ask("sandbox-reports", 1800).await.unwrap();
    assert_eq!(request.state(), State::Active, "{request:?}");
    let requester = request.requester.as_ref().unwrap();
    assert_eq!(requester.kind(), PrincipalKind::Agent);
    assert!(requester.acting_for.ends_with("#alice"), "{requester:?}");
    let session = issue(&agent, &request.name).await.unwrap();
    works(&aws, &session).await;
    let longer = agent.extend(&request.name, 60).await.unwrap_err();
    assert_eq!(longer.code(), Code::PermissionDenied, "{longer:?}");
    assert_eq!(reason_of(&longer), "POLICY_DENIED");
    assert_eq!(longer.message(), "An agent asks for at most 30 minutes.");
    alice.revoke(&request.name).await.unwrap();
    let ended = agent.watch_until(&request.name, State::Ended).await;
    assert_eq!(ended.end_cause(), EndCause::Revoked);
    is_refused(&aws, &session).await;
}

#[tokio::test]
async fn a_killed_service_ends_access_when_it_comes_back() {
    let world = Private::start().await;
    let service = world.serve("all").await;
    let alice = world.client("alice").await;
    let request = alice.ask("sandbox-scratch", 15).await.unwrap();
    assert_eq!(request.state(), State::Active, "{request:?}");
    let session = issue(&alice, &request.name).await.unwrap();
    works(&world.aws(), &session).await;
    service.kill_hard().await;
    let _service = world.serve("all").await;
    let alice = world.client("alice").await;
    let ended = alice.watch_until(&request.name, State::Ended).await;
    assert_eq!(ended.end_cause(), EndCause::Expired);
    assert!(!world.aws().role_exists(SANDBOX, role_of(&request)).await);
}
