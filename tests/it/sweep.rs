//! The sweep finds what is left, ends what is over, and touches nothing that only looks like ours.

use hallpass_proto::v1::access_request::State;
use hallpass_proto::v1::{SweepFinding, SweepRequest};
use harness::{Aws, Private, reason_of, uuid};
use tonic::Code;

const PROD: &str = "111122223333";
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::999988887777:root"},"Action":"sts:AssumeRole"}]}"#;
const PAST: &str = "2026-01-01T00:00:00Z";
const FUTURE: &str = "2099-01-01T00:00:00Z";

/// A well-formed id that no history knows.
fn unknown(n: u8) -> String {
    format!("ar-0000000000000000000000000{}", char::from(b'0' + n))
}

async fn plant_role(aws: &Aws, name: &str, path: &str, tags: &[(&str, &str)]) {
    let numbered: Vec<(String, String)> = tags
        .iter()
        .enumerate()
        .flat_map(|(i, (key, value))| {
            let member = format!("Tags.member.{}", i + 1);
            [
                (format!("{member}.Key"), (*key).to_owned()),
                (format!("{member}.Value"), (*value).to_owned()),
            ]
        })
        .collect();
    let mut parameters = vec![
        ("Action", "CreateRole"),
        ("RoleName", name),
        ("Path", path),
        ("AssumeRolePolicyDocument", TRUST),
    ];
    parameters.extend(numbered.iter().map(|(k, v)| (k.as_str(), v.as_str())));
    aws.as_root(PROD, &parameters).await;
}

/// Cuts of an earlier life, until these times, and a statement that somebody else added.
async fn plant_cuts(aws: &Aws, until: &[&str]) {
    let deny = |sid: &str, user_id: &str| {
        format!(
            r#"{{"Sid":"{sid}","Effect":"Deny","Action":"*","Resource":"*","Condition":{{"StringEquals":{{"aws:userid":["{user_id}"]}}}}}}"#
        )
    };
    let mut statements = vec![deny("SomebodyElse", "AROAX:somebody")];
    let cuts = until.iter();
    statements.extend(cuts.map(|until| deny(&format!("HallpassCutA{until}"), "AROAX:nobody")));
    let document = format!(
        r#"{{"Version":"2012-10-17","Statement":[{}]}}"#,
        statements.join(",")
    );
    let parameters = [
        ("Action", "PutRolePolicy"),
        ("RoleName", "ReportsReader"),
        ("PolicyName", "hallpass-cuts"),
        ("PolicyDocument", &document),
    ];
    aws.as_root(PROD, &parameters).await;
}

async fn sweep(
    world: &Private,
    who: &str,
    dry_run: bool,
) -> Result<Vec<SweepFinding>, tonic::Status> {
    let request = SweepRequest {
        request_id: uuid(),
        dry_run,
    };
    let answer = world
        .client(who)
        .await
        .admin
        .sweep(request)
        .await?
        .into_inner();
    assert_eq!(answer.errors, Vec::<String>::new());
    Ok(answer.findings)
}

fn judgement(findings: &[SweepFinding], what: &str) -> String {
    let found: Vec<_> = findings.iter().filter(|f| f.what.ends_with(what)).collect();
    assert_eq!(found.len(), 1, "{what} in {findings:?}");
    format!("{} {}", found[0].known, found[0].judgement)
}

#[tokio::test]
async fn the_sweep_ends_what_is_over_and_nothing_that_only_looks_like_ours() {
    let world = Private::start().await;
    let _service = world.serve("all").await;
    let (alice, aws) = (world.client("alice").await, world.aws());

    // A request that is over, whose role somebody put back, and one that is active.
    let over = alice.ask("sandbox-reports", 5).await.unwrap();
    let over = alice.watch_until(&over.name, State::Ended).await;
    let over = over.name.trim_start_matches("accessRequests/").to_owned();
    let active = alice.ask("sandbox-scratch", 600).await.unwrap();
    assert_eq!(active.state(), State::Active);

    let tags =
        |id: &'static str, end: &'static str| [("hallpass:request", id), ("hallpass:end", end)];
    let leaked = format!("hallpass-{over}");
    plant_role(
        &aws,
        &leaked,
        "/hallpass/",
        &[("hallpass:request", &over), ("hallpass:end", FUTURE)],
    )
    .await;
    let ids: Vec<&'static str> = (0..6).map(|n| &*unknown(n).leak()).collect();
    let role = |n: usize| format!("hallpass-{}", ids[n]);
    plant_role(&aws, &role(0), "/hallpass/", &tags(ids[0], PAST)).await;
    let mut reported = tags(ids[1], PAST).to_vec();
    reported.push(("hallpass:reported", PAST));
    plant_role(&aws, &role(1), "/hallpass/", &reported).await;
    plant_role(&aws, &role(2), "/hallpass/", &[]).await;
    plant_role(&aws, &role(3), "/hallpass/", &tags(ids[4], PAST)).await;
    plant_role(&aws, &role(5), "/", &tags(ids[5], PAST)).await;
    plant_cuts(&aws, &["20260101T000000Z", "20990101T000000Z", "sometime"]).await;

    let denied = sweep(&world, "alice", false).await.unwrap_err();
    assert_eq!(
        (denied.code(), reason_of(&denied).as_str()),
        (Code::PermissionDenied, "POLICY_DENIED")
    );

    let plan = sweep(&world, "dave", true).await.unwrap();
    assert!(plan.iter().all(|f| !f.done), "{plan:?}");
    assert!(
        aws.role_exists(PROD, &leaked).await,
        "a dry run does nothing"
    );
    assert_eq!(judgement(&plan, &leaked), "closed end");
    assert_eq!(judgement(&plan, &role(0)), "unknown report");
    assert_eq!(judgement(&plan, &role(1)), "unknown end");
    assert_eq!(judgement(&plan, &role(2)), "unknown not_ours");
    assert_eq!(judgement(&plan, &role(3)), "unknown not_ours");
    let active_role = active.role_arn.rsplit('/').next().unwrap();
    assert_eq!(judgement(&plan, active_role), "open leave");
    assert!(
        !plan.iter().any(|f| f.what.ends_with(&role(5))),
        "outside our path"
    );
    let cuts = |until: &str| format!("ReportsReader hallpass-cuts until {until}");
    assert_eq!(judgement(&plan, &cuts(PAST)), " end");
    assert_eq!(judgement(&plan, &cuts(FUTURE)), " leave");

    let done = sweep(&world, "dave", false).await.unwrap();
    assert!(done.iter().all(|f| f.error.is_empty()), "{done:?}");
    for gone in [&leaked, &role(1)] {
        assert!(!aws.role_exists(PROD, gone).await, "{gone}");
    }
    for kept in [role(0), role(2), role(3), role(5)] {
        assert!(aws.role_exists(PROD, &kept).await, "{kept}");
    }
    assert!(aws.role_exists("444455556666", active_role).await);
    let policy = aws
        .role_policy(PROD, "ReportsReader", "hallpass-cuts")
        .await;
    let policy = policy.expect("the cuts that stand");
    assert!(!policy.contains("HallpassCutA20260101T000000Z"), "{policy}");
    for kept in [
        "HallpassCutA20990101T000000Z",
        "HallpassCutAsometime",
        "SomebodyElse",
    ] {
        assert!(policy.contains(kept), "{kept} in {policy}");
    }
    // What was reported is marked in AWS itself: it is not reported again before it is ended.
    let again = sweep(&world, "dave", true).await.unwrap();
    assert_eq!(judgement(&again, &role(0)), "unknown leave");
}
